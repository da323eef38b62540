//! Reads the audit log for those who may: newest first, by whom it is about or who took part, in a span of time.

use rusqlite::Row;

use chrono::{DateTime, Utc};

use super::{CHAIN, HEAD, agent, indexed_to};
use crate::domain::audit::{Outcome, Record};
use crate::store::link::kin;
use crate::store::query::{Filter, Who};
use crate::store::row::time;
use crate::store::{Store, StoreError};

macro_rules! record {
    ($of:literal) => {
        concat!("SELECT a.seq, a.at, a.actor, a.action, a.object, a.outcome, a.about, a.form, a.payload FROM ", $of)
    };
}

const ABOUT: &str = record!(
    "audit_about w CROSS JOIN audit a ON a.chain = ?1 AND a.seq = w.seq \
     WHERE w.about = ?2 AND (w.at, w.seq) < (?3, ?4) AND w.at >= ?5 ORDER BY w.at DESC, w.seq DESC LIMIT ?6"
);
const TAIL: &str = record!("audit a WHERE a.chain = ?1 AND a.seq > ?2");
const RECENT: &str = record!(
    "audit a INDEXED BY audit_recent WHERE a.chain = ?1 AND (a.at, a.seq) < (?2, ?3) AND a.at >= ?4 \
     ORDER BY a.at DESC, a.seq DESC LIMIT ?5"
);
const FAILED: &str = record!(
    "audit a INDEXED BY audit_failed WHERE a.outcome <> 0 AND a.chain = ?1 AND (a.at, a.seq) < (?2, ?3) AND a.at >= ?4 \
     ORDER BY a.at DESC, a.seq DESC LIMIT ?5"
);
const ONE: &str = record!("audit a WHERE a.chain = ?1 AND a.seq = ?2");
const IN_ORDER: &str = record!("audit a WHERE a.chain = ?1 AND a.seq > ?2 ORDER BY a.seq LIMIT ?3");

/// A question for audit rows, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// The id of a Patient.
    pub patient: Option<String>,
    /// Somebody who did it or had a part in it: HSA-id or name. Only without a patient.
    pub agent: Option<String>,
    /// Only what did not end well. Only without patient and agent.
    pub failed: bool,
    /// Not before this.
    pub from: Option<DateTime<Utc>>,
    /// Before this.
    pub until: Option<DateTime<Utc>>,
    /// Only those behind this one: time in milliseconds and `seq` of the last that was seen.
    pub before: Option<(i64, i64)>,
    pub limit: u32,
}

impl AuditQuery {
    /// The place behind which the rows begin.
    fn bound(&self) -> (i64, i64) {
        let until = self.until.map(|at| (at.timestamp_millis(), i64::MIN));
        [until, self.before].into_iter().flatten().min().unwrap_or((i64::MAX, i64::MAX))
    }
}

impl Store {
    /// The log is for the gateway and its operators: a unit or a registry finds nothing in it.
    pub async fn audit_rows(&self, filter: &Filter, of: &AuditQuery) -> Result<Vec<Record>, StoreError> {
        if filter.who != Who::Gateway {
            return Ok(Vec::new());
        }
        let of = of.clone();
        let ((at, seq), from) = (of.bound(), of.from.map_or(i64::MIN, |at| at.timestamp_millis()));
        self.read(move |db| {
            let about = match (&of.patient, &of.agent) {
                // The person, under whichever number something was done.
                (Some(id), _) => kin(db, id)?.iter().chain([id]).map(|id| format!("Patient/{id}")).collect(),
                (None, Some(name)) => vec![agent(name)],
                (None, None) => {
                    return db.all(if of.failed { FAILED } else { RECENT }, (CHAIN, at, seq, from, of.limit), record);
                }
            };
            let is_about = |row: &Record| about.iter().any(|about| is_about(row, about));
            let head = db.first(HEAD, [CHAIN], |row| row.get::<_, i64>(0))?.unwrap_or(0);
            let mut rows = db.all(TAIL, (CHAIN, indexed_to(head)), record)?;
            let place = |row: &Record| (row.at.timestamp_millis(), row.seq);
            rows.retain(|row| place(row) < (at, seq) && place(row).0 >= from && is_about(row));
            // The row itself says whom it is about; an entry of the index that somebody put in does not.
            for about in &about {
                let found = db.all(ABOUT, (CHAIN, about, at, seq, from, of.limit), record)?;
                rows.extend(found.into_iter().filter(|row| is_about(row)));
            }
            rows.sort_unstable_by_key(|row| std::cmp::Reverse(place(row)));
            // Rows of an older program are indexed already.
            rows.dedup_by_key(|row| row.seq);
            rows.truncate(of.limit as usize);
            Ok(rows)
        })
        .await
    }

    /// The row at that place of the chain.
    pub async fn audit_row(&self, filter: &Filter, seq: i64) -> Result<Option<Record>, StoreError> {
        if filter.who != Who::Gateway {
            return Ok(None);
        }
        self.read(move |db| db.first(ONE, (CHAIN, seq), record)).await
    }
}

/// Rows behind that place, in the order of the chain.
pub(super) fn in_order(
    db: &crate::store::statement::Statements<'_>,
    after: i64,
    limit: u32,
) -> Result<Vec<Record>, StoreError> {
    db.all(IN_ORDER, (CHAIN, after, limit), record)
}

/// Whether the row is found by that.
fn is_about(record: &Record, about: &str) -> bool {
    match about.split_once('/') {
        Some(("Patient", id)) => record.patients.iter().any(|patient| patient == id),
        _ => agent(&record.actor) == about || record.agents.iter().any(|name| agent(name) == about),
    }
}

fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let about: String = row.get("about")?;
    let named = |kind: &str| about.lines().filter_map(|line| line.strip_prefix(kind)).map(str::to_owned).collect();
    let payload: Option<String> = row.get("payload")?;
    Ok(Record {
        seq: row.get("seq")?,
        at: time(row, "at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        object: row.get("object")?,
        outcome: Outcome::of(row.get("outcome")?).ok_or(StoreError::Corrupt("an outcome"))?,
        patients: named("Patient/"),
        agents: named("agent/"),
        payload: payload.map(|text| serde_json::from_str(&text).unwrap_or_default()),
    })
}
