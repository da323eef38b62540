//! Reads resources: as they stand, as they stood, and by identifier.

use rusqlite::Row;
use rusqlite::types::Value;

use super::grants::Right;
use super::query::Filter;
use super::record::Stored;
use super::row::time;
use super::search::Asked;
use super::sql::Sql;
use super::statement::Statements;
use super::visible::and;
use super::{Store, StoreError};

/// Columns of a [`Stored`], from `resource r` and `version v`.
macro_rules! stored {
    () => {
        "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient FROM "
    };
}

pub(super) const VERSION_NOW: &str = "SELECT version FROM resource WHERE type = ?1 AND id = ?2";

/// The oldest first, so that whoever takes one always takes the same.
pub(super) const BY_IDENTIFIER: &str = "SELECT r.rid, r.id FROM token t CROSS JOIN resource r ON r.rid = t.rid \
     WHERE t.param = (SELECT id FROM param WHERE type = ?1 AND name = 'identifier') \
       AND t.code = ?3 AND t.system_id = (SELECT id FROM system WHERE uri = ?2) ORDER BY t.rid";

const NOW: &str = concat!(stored!(), "resource r CROSS JOIN version v ON v.seq = r.seq WHERE r.type = ? AND r.id = ?");
const VERSION: &str = concat!(
    stored!(),
    "resource r CROSS JOIN version v ON v.rid = r.rid AND v.version = ? WHERE r.type = ? AND r.id = ?"
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
        patient: row.get("patient")?,
    })
}

/// The version of that `seq`.
pub(super) fn at(db: &Statements<'_>, seq: i64) -> Result<Option<Stored>, StoreError> {
    db.first(AT, [seq], stored)
}

/// The resource as it stands, where the one who asks may see it.
pub(super) fn now(
    asked: &Asked<'_, '_>,
    right: Right,
    resource_type: &str,
    id: &str,
) -> Result<Option<Stored>, StoreError> {
    let named = [Value::from(resource_type.to_owned()), Value::from(id.to_owned())];
    let visible = asked.visible(right, resource_type, "r")?;
    and(Sql::new(NOW, named), visible.as_ref()).first(asked.db, stored)
}

/// What has the identifier and may be seen, oldest first.
pub(super) fn identified(
    asked: &Asked<'_, '_>,
    resource_type: &str,
    system: &str,
    value: &str,
) -> Result<Vec<Stored>, StoreError> {
    let ids: Vec<String> =
        asked.db.all(BY_IDENTIFIER, (resource_type, system, value), |row| row.get("id").map_err(StoreError::from))?;
    ids.iter().filter_map(|id| now(asked, Right::Search, resource_type, id).transpose()).collect()
}

impl Store {
    pub async fn resource(&self, filter: &Filter, resource_type: &str, id: &str) -> Result<Option<Stored>, StoreError> {
        let (filter, resource_type, id) = (filter.clone(), resource_type.to_owned(), id.to_owned());
        self.read(move |db| now(&Asked::of(db, &filter), Right::Read, &resource_type, &id)).await
    }

    /// The resources named `Type/id`, in the order asked for; what is missing or hidden is left out.
    pub async fn resources(&self, filter: &Filter, ids: &[String]) -> Result<Vec<Stored>, StoreError> {
        let (filter, names) = (filter.clone(), ids.to_vec());
        self.read(move |db| {
            let asked = Asked::of(db, &filter);
            let named = names.iter().filter_map(|name| name.split_once('/'));
            named.filter_map(|(kind, id)| now(&asked, Right::Read, kind, id).transpose()).collect()
        })
        .await
    }

    /// A version: of a resource that may be seen as it stands, where what the version says may be seen too.
    pub async fn version(
        &self,
        filter: &Filter,
        resource_type: &str,
        id: &str,
        version: u32,
    ) -> Result<Option<Stored>, StoreError> {
        let (filter, resource_type, id) = (filter.clone(), resource_type.to_owned(), id.to_owned());
        self.read(move |db| {
            let asked = Asked::of(db, &filter);
            let visible = asked.visible(Right::Read, &resource_type, "r")?;
            let named = [Value::from(version), Value::from(resource_type), Value::from(id)];
            match and(Sql::new(VERSION, named), visible.as_ref()).first(db, stored)? {
                Some(found) if asked.covers(Right::Read, &found)? => Ok(Some(found)),
                _ => Ok(None),
            }
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
        let key = (filter.clone(), resource_type.to_owned(), system.to_owned(), value.to_owned());
        self.read(move |db| identified(&Asked::of(db, &key.0), &key.1, &key.2, &key.3)).await
    }

    /// Whether scopes cover a resource that is not stored yet, with that right.
    pub async fn covers(&self, filter: &Filter, right: Right, resource: &Stored) -> Result<bool, StoreError> {
        let (filter, resource) = (filter.clone(), resource.clone());
        self.read(move |db| Asked::of(db, &filter).covers(right, &resource)).await
    }

    /// The id of the Patient with this identifier, for the gateway itself.
    pub async fn patient_id(&self, system: &str, value: &str) -> Result<Option<String>, StoreError> {
        let key = ("Patient", system.to_owned(), value.to_owned());
        self.read(move |db| Ok(db.first(BY_IDENTIFIER, key, |row| row.get("id"))?)).await
    }
}
