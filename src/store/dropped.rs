//! Which exchanges came by which drop (a folder of files), and which of their changes were written back there.

use rusqlite::Row;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::row::uuid;
use super::{Store, StoreError};

/// An exchange that came by a drop, and the revision of it that was written back last; 0: none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub name: String,
    pub exchange: Uuid,
    pub told: u32,
}

/// Somebody who is killed does it again, and never takes back what is known.
const PUT: &str = "INSERT INTO dropped (name, exchange, told) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM exchange WHERE id = ?2) \
     ON CONFLICT (name, exchange) DO UPDATE SET told = max(told, excluded.told)";
const UNTOLD: &str = "SELECT e.id, e.revision FROM dropped d CROSS JOIN exchange e ON e.id = d.exchange \
     WHERE d.name = ?1 AND e.revision > d.told ORDER BY e.updated_at LIMIT ?2";

impl Writing<'_, '_> {
    pub(super) fn put_dropped(&mut self, dropped: &Dropped) -> Result<(), Refusal> {
        self.statements.run(PUT, (&dropped.name, dropped.exchange.as_bytes(), dropped.told))?;
        Ok(())
    }
}

fn changed(row: &Row<'_>) -> Result<(Uuid, u32), StoreError> {
    Ok((uuid(row, "id")?, row.get("revision")?))
}

impl Store {
    /// Exchanges of the drop that have changed since they were written back, with the revision that they have now.
    pub async fn untold(&self, name: &str, limit: u32) -> Result<Vec<(Uuid, u32)>, StoreError> {
        let name = name.to_owned();
        self.read(move |db| db.all(UNTOLD, (&name, limit), changed)).await
    }
}
