//! What happened, in the order of commits: new versions, and units that were let in to what stood already.

use rusqlite::Row;

use crate::store::row::{instant, list};
use crate::store::state::LAST_SEQ;
use crate::store::statement::Statements;
use crate::store::{Store, StoreError};

const CHANGES: &str = "SELECT changes FROM subscription_log WHERE id = 1";
const VERSIONS: &str = "SELECT v.seq, v.rid, v.version, v.seq AS version_seq, v.at, r.type, r.id, v.body, NULL AS gained \
     FROM version v CROSS JOIN resource r ON r.rid = v.rid \
     WHERE v.seq > ?1 AND r.type IN (SELECT value FROM json_each(?2)) ORDER BY v.seq LIMIT ?3";
/// Of whoever was let in meanwhile, the version that it was let in to.
const SIGHTS: &str = "SELECT s.seq, s.rid, v.version, v.seq AS version_seq, v.at, r.type, r.id, v.body, s.unit AS gained \
     FROM sight s INDEXED BY sight_by_seq CROSS JOIN resource r ON r.rid = s.rid CROSS JOIN version v \
     ON v.rid = s.rid AND v.version = (SELECT max(w.version) FROM version w WHERE w.rid = s.rid AND w.seq < s.seq) \
     WHERE s.seq > ?1 AND +s.gained = 1 AND s.unit <> '' AND r.type IN (SELECT value FROM json_each(?2)) ORDER BY s.seq LIMIT ?3";
const UNITS: &str = "SELECT unit FROM concern WHERE rid = ?1";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    pub seq: i64,
    pub rid: i64,
    pub resource_type: String,
    pub id: String,
    pub version: u32,
    /// The `seq` of the version.
    pub version_seq: i64,
    /// When the version was made.
    pub at: chrono::DateTime<chrono::Utc>,
    pub body: Vec<u8>,
    /// Units that it concerns now.
    pub units: Vec<String>,
    /// The unit that was let in, where nothing else happened.
    pub gained: Option<String>,
}

/// Part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// How often a subscription had been made or changed.
    pub changes: i64,
    /// Everything up to this `seq` is in it.
    pub through: i64,
    pub rows: Vec<Happening>,
}

impl Store {
    /// What happened to resources of these types after that `seq`, from one snapshot; at most so many of each sort.
    pub async fn happened(&self, after: i64, types: &[String], most: u32) -> Result<Happened, StoreError> {
        let types = list(types.iter().map(String::as_str));
        self.read(move |db| {
            let changes = db.first(CHANGES, [], |row| Ok::<i64, StoreError>(row.get(0)?))?.unwrap_or(0);
            let mut through = db.first(LAST_SEQ, [], |row| Ok::<i64, StoreError>(row.get(0)?))?.unwrap_or(0);
            let mut rows = Vec::new();
            for sql in [VERSIONS, SIGHTS] {
                let found = db.all(sql, (after, &types, most), |row| happening(db, row))?;
                if found.len() == most as usize {
                    through = found.last().map_or(through, |last| through.min(last.seq));
                }
                rows.extend(found);
            }
            rows.retain(|row| row.seq <= through);
            rows.sort_by_key(|row| row.seq);
            Ok(Happened { changes, through, rows })
        })
        .await
    }

    /// Rung after every commit, with the last `seq`.
    pub fn commits(&self) -> tokio::sync::watch::Receiver<i64> {
        self.shared.committed.subscribe()
    }
}

fn happening(db: &Statements<'_>, row: &Row<'_>) -> Result<Happening, StoreError> {
    let rid: i64 = row.get("rid")?;
    Ok(Happening {
        seq: row.get("seq")?,
        rid,
        resource_type: row.get("type")?,
        id: row.get("id")?,
        version: row.get("version")?,
        version_seq: row.get("version_seq")?,
        at: instant(row.get("at")?)?,
        body: row.get("body")?,
        units: db.all(UNITS, [rid], |row| Ok::<_, StoreError>(row.get(0)?))?,
        gained: row.get("gained")?,
    })
}
