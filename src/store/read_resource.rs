//! Reads resources: as they stand, as they stood, and by identifier.

use rusqlite::Row;

use super::block::Gate;
use super::query::Filter;
use super::record::Stored;
use super::row::time;
use super::statement::Statements;
use super::{Store, StoreError};

/// Columns of a [`Stored`], from `resource r` and `version v`.
macro_rules! stored {
    () => {
        "SELECT r.type, r.id, v.version, v.seq, v.at, v.body FROM "
    };
}

/// Whether a unit among the JSON array `$units` may see `r`; null sees everything.
macro_rules! visible {
    ($units:literal) => {
        concat!(
            " AND (",
            $units,
            " IS NULL OR EXISTS (SELECT 1 FROM concern c WHERE c.rid = r.rid AND c.unit IN (SELECT value FROM json_each(",
            $units,
            "))))"
        )
    };
}

pub(super) const VERSION_NOW: &str = "SELECT version FROM resource WHERE type = ?1 AND id = ?2";

/// The oldest first, so that whoever takes one always takes the same.
pub(super) const BY_IDENTIFIER: &str = "SELECT r.rid, r.id FROM token t CROSS JOIN resource r ON r.rid = t.rid \
     WHERE t.param = (SELECT id FROM param WHERE type = ?1 AND name = 'identifier') \
       AND t.code = ?3 AND t.system_id = (SELECT id FROM system WHERE uri = ?2) ORDER BY t.rid";

const NOW: &str = concat!(
    stored!(),
    "resource r CROSS JOIN version v ON v.seq = r.seq WHERE r.type = ?1 AND r.id = ?2",
    visible!("?3")
);
const VERSION: &str = concat!(
    stored!(),
    "resource r CROSS JOIN version v ON v.rid = r.rid AND v.version = ?4 WHERE r.type = ?1 AND r.id = ?2",
    visible!("?3")
);
const AT: &str = concat!(stored!(), "version v CROSS JOIN resource r ON r.rid = v.rid WHERE v.seq = ?1");

pub(super) fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    Ok(Stored {
        resource_type: row.get("type")?,
        id: row.get("id")?,
        version: row.get("version")?,
        seq: row.get("seq")?,
        updated_at: time(row, "at")?,
        body: row.get("body")?,
    })
}

/// The version of that `seq`.
pub(super) fn at(db: &Statements<'_>, seq: i64) -> Result<Option<Stored>, StoreError> {
    db.first(AT, [seq], stored)
}

/// The resource as it stands, where a unit of that list may see it.
pub(super) fn now(
    db: &Statements<'_>,
    resource_type: &str,
    id: &str,
    units: &Option<String>,
) -> Result<Option<Stored>, StoreError> {
    db.first(NOW, (resource_type, id, units), stored)
}

impl Store {
    pub async fn resource(&self, filter: &Filter, resource_type: &str, id: &str) -> Result<Option<Stored>, StoreError> {
        let key = (resource_type.to_owned(), id.to_owned(), filter.units_for(resource_type));
        let gate = Gate::of(filter);
        self.read(move |db| match gate.admits(db, &key.0, &key.1)? {
            true => db.first(NOW, key, stored),
            false => Ok(None),
        })
        .await
    }

    /// The resources named `Type/id`, in the order asked for; what is missing or hidden is left out.
    pub async fn resources(&self, filter: &Filter, ids: &[String]) -> Result<Vec<Stored>, StoreError> {
        let keys: Vec<(String, String, Option<String>)> = ids
            .iter()
            .filter_map(|name| name.split_once('/'))
            .map(|(resource_type, id)| (resource_type.to_owned(), id.to_owned(), filter.units_for(resource_type)))
            .collect();
        let gate = Gate::of(filter);
        let one =
            move |db: &Statements<'_>, key: (String, String, Option<String>)| match gate.admits(db, &key.0, &key.1)? {
                true => db.first(NOW, key, stored),
                false => Ok(None),
            };
        self.read(move |db| keys.into_iter().filter_map(|key| one(db, key).transpose()).collect()).await
    }

    pub async fn version(
        &self,
        filter: &Filter,
        resource_type: &str,
        id: &str,
        version: u32,
    ) -> Result<Option<Stored>, StoreError> {
        let key = (resource_type.to_owned(), id.to_owned(), filter.units_for(resource_type), version);
        let gate = Gate::of(filter);
        self.read(move |db| match gate.admits(db, &key.0, &key.1)? {
            true => db.first(VERSION, key, stored),
            false => Ok(None),
        })
        .await
    }

    /// Every resource of the type with this identifier, oldest first.
    pub async fn by_identifier(
        &self,
        filter: &Filter,
        resource_type: &str,
        system: &str,
        value: &str,
    ) -> Result<Vec<Stored>, StoreError> {
        let key = (resource_type.to_owned(), system.to_owned(), value.to_owned());
        let (units, gate) = (filter.units_for(resource_type), Gate::of(filter));
        self.read(move |db| {
            let ids: Vec<String> = db.all(BY_IDENTIFIER, (&key.0, &key.1, &key.2), |row| row.get("id"))?;
            let find = |id: &String| match gate.admits(db, &key.0, id) {
                Ok(true) => db.first(NOW, (&key.0, id, &units), stored).transpose(),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            };
            ids.iter().filter_map(find).collect()
        })
        .await
    }

    /// The id of the Patient with this identifier, for the gateway itself.
    pub async fn patient_id(&self, system: &str, value: &str) -> Result<Option<String>, StoreError> {
        let key = ("Patient", system.to_owned(), value.to_owned());
        self.read(move |db| Ok(db.first(BY_IDENTIFIER, key, |row| row.get("id"))?)).await
    }
}
