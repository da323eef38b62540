//! Values in rows: how times, ids and words of the domain stand in the database, and what is wrong when they cannot be read.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use uuid::Uuid;

use super::StoreError;

impl From<rusqlite::Error> for StoreError {
    /// A failure is one of reading unless the place where it happens says otherwise.
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error)
    }
}

pub(super) fn time(row: &Row<'_>, column: &str) -> Result<DateTime<Utc>, StoreError> {
    instant(row.get(column)?)
}

pub(super) fn time_if_any(row: &Row<'_>, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    row.get::<_, Option<i64>>(column)?.map(instant).transpose()
}

pub(super) fn instant(ms: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(ms).ok_or(StoreError::Corrupt("a time"))
}

pub(super) fn uuid(row: &Row<'_>, column: &str) -> Result<Uuid, StoreError> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(Uuid::from_bytes(bytes))
}

pub(super) fn uuid_if_any(row: &Row<'_>, column: &str) -> Result<Option<Uuid>, StoreError> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
}

/// A word of the domain: a kind, a stage, a state. `what` names it if it is none of those known.
pub(super) fn word<T>(
    row: &Row<'_>,
    column: &str,
    what: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text = row.get_ref(column)?.as_str().map_err(|_| StoreError::Corrupt(what))?;
    parse(text).ok_or(StoreError::Corrupt(what))
}

/// A list as the JSON array that `json_each` reads: one parameter, whatever its length.
pub(super) fn list(values: impl IntoIterator<Item = impl Into<serde_json::Value>>) -> String {
    serde_json::Value::Array(values.into_iter().map(Into::into).collect()).to_string()
}
