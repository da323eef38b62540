//! Holds: a patient or an exchange of which nothing is removed, however old, until somebody lifts them.

use rusqlite::Row;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::rights::Hold;
use super::row::{time, time_if_any, uuid, uuid_if_any};
use super::{Expect, Store, StoreError};

const PLACE: &str =
    "INSERT INTO hold (id, patient, exchange, reason, placed_at, placed_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const LIFT: &str = "UPDATE hold SET lifted_at = ?2, lifted_by = ?3 WHERE id = ?1 AND lifted_at IS NULL";
const ONE: &str = "SELECT * FROM hold WHERE id = ?1";
const LIST: &str = "SELECT * FROM hold INDEXED BY hold_placed WHERE lifted_at IS NULL ORDER BY placed_at LIMIT ?1";

impl Writing<'_, '_> {
    pub(super) fn hold(&mut self, hold: &Hold) -> Result<(), Refusal> {
        let exchange = hold.exchange.as_ref().map(|id| id.as_bytes());
        let at = hold.placed_at.timestamp_millis();
        self.statements.run(PLACE, (hold.id.as_bytes(), &hold.patient, exchange, &hold.reason, at, &hold.placed_by))?;
        Ok(())
    }

    pub(super) fn lift_hold(&mut self, id: Uuid, at_ms: i64, by: &str) -> Result<(), Refusal> {
        match self.statements.run(LIFT, (id.as_bytes(), at_ms, by))? {
            0 => Err(Refusal::Unmet(Expect::OptOut { id })),
            _ => Ok(()),
        }
    }
}

fn hold(row: &Row<'_>) -> Result<Hold, StoreError> {
    Ok(Hold {
        id: uuid(row, "id")?,
        patient: row.get("patient")?,
        exchange: uuid_if_any(row, "exchange")?,
        reason: row.get("reason")?,
        placed_at: time(row, "placed_at")?,
        placed_by: row.get("placed_by")?,
        lifted_at: time_if_any(row, "lifted_at")?,
        lifted_by: row.get("lifted_by")?,
    })
}

impl Store {
    pub async fn hold(&self, id: Uuid) -> Result<Option<Hold>, StoreError> {
        self.read(move |db| db.first(ONE, [id.as_bytes()], hold)).await
    }

    /// Holds in force, the oldest first.
    pub async fn holds(&self, limit: u32) -> Result<Vec<Hold>, StoreError> {
        self.read(move |db| db.all(LIST, [limit], hold)).await
    }
}
