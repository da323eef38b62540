//! Histories: versions in the order in which they were committed, the newest first, of a resource, a type or everything.
//!
//! The order of commits never changes, and what is written meanwhile stands before the first page: paging misses nothing.

use chrono::{DateTime, Utc};
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::block::open_to;
use super::query::Filter;
use super::read_resource::stored;
use super::{Store, StoreError, Stored};

/// A caller that may see at most this many resources is answered from them; for others all versions are walked.
const FEW: i64 = 10_000;

const COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM concern WHERE unit IN (SELECT value FROM json_each(?1)) LIMIT ?2)";
const COLUMNS: &str = "SELECT r.type, r.id, v.version, v.seq, v.at, v.body FROM ";
/// Through one resource, through what the units may see, through everything.
const OF_ONE: &str = "resource r CROSS JOIN version v ON v.rid = r.rid";
const OF_FEW: &str = "(SELECT DISTINCT rid FROM concern WHERE unit IN (SELECT value FROM json_each(?))) l \
                      CROSS JOIN resource r ON r.rid = l.rid CROSS JOIN version v ON v.rid = r.rid";
const OF_ALL: &str = "version v CROSS JOIN resource r ON r.rid = v.rid";
/// Not as a join, which would have the versions sorted.
const VISIBLE: &str = " AND (? IS NULL OR EXISTS (SELECT 1 FROM concern c WHERE c.rid = r.rid \
                       AND c.unit IN (SELECT value FROM json_each(?))))";

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
        // Of everything at once a caller gets what concerns it: actors as far as they take part in that.
        let units = of.resource_type.as_ref().map_or_else(|| filter.asking_units(), |kind| filter.units_for(kind));
        let (of, open) = (of.clone(), open_to(filter, "r"));
        self.read(move |db| {
            let few = match &units {
                Some(units) if of.id.is_none() => {
                    let count: Option<i64> = db.first(COUNT, (units, FEW + 1), |row| row.get(0))?;
                    count.is_some_and(|count| count <= FEW)
                }
                _ => false,
            };
            let is_one = of.id.is_some();
            let mut values = Vec::new();
            let mut sql = String::from(COLUMNS);
            sql.push_str(match (&of.id, few) {
                (Some(_), _) => OF_ONE,
                (None, true) => OF_FEW,
                (None, false) => OF_ALL,
            });
            values.extend(units.clone().filter(|_| few).map(Value::from));
            sql.push_str(" WHERE v.seq < ?");
            values.push(Value::from(of.before.unwrap_or(i64::MAX)));
            for (column, value) in [("r.type", of.resource_type), ("r.id", of.id)] {
                if let Some(value) = value {
                    sql.push_str(&format!(" AND {column} = ?"));
                    values.push(Value::from(value));
                }
            }
            if let Some(since) = of.since {
                sql.push_str(" AND v.at >= ?");
                values.push(Value::from(since.timestamp_millis()));
            }
            if let Some(units) = units.filter(|_| !few) {
                sql.push_str(VISIBLE);
                values.extend([Value::from(units.clone()), Value::from(units)]);
            }
            if let Some(open) = open {
                sql.push_str(&format!(" AND {open}"));
            }
            // Of one resource versions are numbered in the order of commits, and that is an index.
            sql.push_str(if is_one { " ORDER BY v.version DESC LIMIT ?" } else { " ORDER BY v.seq DESC LIMIT ?" });
            values.push(Value::from(i64::from(of.limit)));
            db.all(&sql, params_from_iter(values), stored)
        })
        .await
    }
}
