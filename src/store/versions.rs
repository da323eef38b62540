//! Histories: versions in the order in which they were committed, the newest first, of a resource, a type or everything.
//!
//! The order of commits never changes, and what is written meanwhile stands before the first page: paging misses nothing.

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::grants::Right;
use super::query::Filter;
use super::read_resource::stored;
use super::search::Asked;
use super::sql::Sql;
use super::visible::units;
use super::{Store, StoreError, Stored};

/// A caller that may see at most this many resources is answered from them; for others all versions are walked.
const FEW: i64 = 10_000;

const COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM concern WHERE unit IN (SELECT value FROM json_each(?1)) LIMIT ?2)";
const COLUMNS: &str = "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient FROM ";
/// Through one resource, through what the units may see, through everything.
const OF_ONE: &str = "resource r CROSS JOIN version v ON v.rid = r.rid";
const OF_FEW: &str = "(SELECT DISTINCT rid FROM concern WHERE unit IN (SELECT value FROM json_each(?))) l \
                      CROSS JOIN resource r ON r.rid = l.rid CROSS JOIN version v ON v.rid = r.rid";
const OF_ALL: &str = "version v CROSS JOIN resource r ON r.rid = v.rid";
/// A question for versions.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    pub resource_type: Option<String>,
    /// Only with a type.
    pub id: Option<String>,
    /// Only those made at or after that.
    pub since: Option<DateTime<Utc>>,
    /// Only those committed before that `seq`.
    pub before: Option<i64>,
    pub limit: u32,
}

impl Store {
    pub async fn versions(&self, filter: &Filter, of: &Versions) -> Result<Vec<Stored>, StoreError> {
        let (filter, of) = (filter.clone(), of.clone());
        self.read(move |db| {
            let asked = Asked::of(db, &filter);
            let right = if of.id.is_some() { Right::Read } else { Right::Search };
            let visible = match &of.resource_type {
                Some(resource_type) => asked.visible(right, resource_type, "r")?,
                None => asked.visible_of_any_type(right)?,
            };
            let few = match units(&filter).filter(|_| of.id.is_none() && visible.is_some()) {
                Some(units) => {
                    let count: Option<i64> = db.first(COUNT, (&units, FEW + 1), |row| row.get(0))?;
                    count.is_some_and(|count| count <= FEW).then_some(units)
                }
                None => None,
            };
            let is_one = of.id.is_some();
            let mut sql = match (is_one, few) {
                (true, _) => Sql::new(format!("{COLUMNS}{OF_ONE}"), []),
                (false, Some(units)) => Sql::new(format!("{COLUMNS}{OF_FEW}"), [Value::from(units)]),
                (false, None) => Sql::new(format!("{COLUMNS}{OF_ALL}"), []),
            };
            sql = sql.text(" WHERE v.seq < ?").value(of.before.unwrap_or(i64::MAX));
            for (column, value) in [("r.type", of.resource_type), ("r.id", of.id)] {
                if let Some(value) = value {
                    sql = sql.text(&format!(" AND {column} = ?")).value(value);
                }
            }
            if let Some(since) = of.since {
                sql = sql.text(" AND v.at >= ?").value(since.timestamp_millis());
            }
            if let Some(visible) = &visible {
                // Within a function it is not made into a join, which would have the versions sorted.
                sql = sql.text(" AND coalesce(").then(visible).text(", false)");
            }
            // Of one resource versions are numbered in the order of commits, and that is an index.
            sql = sql.text(if is_one { " ORDER BY v.version DESC" } else { " ORDER BY v.seq DESC" });
            // How many are looked at is not bounded here: a scope may cover some of the versions only.
            let shown = |row: &Row<'_>| {
                let version = stored(row)?;
                Ok::<_, StoreError>(asked.covers(right, &version)?.then_some(version))
            };
            db.some(&sql.text, params_from_iter(sql.values), shown, of.limit as usize)
        })
        .await
    }
}
