//! What is due to be removed, and what has been: asked of a running store, or of a file that is only looked at.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::Row;
use uuid::Uuid;

use super::read_queue::read_only;
use super::removal::{RECEIPTS, RECEIVED, SENT, actors, hashed, is_free, is_held, is_over};
use super::rights::Stub;
use super::row::{time, uuid};
use super::statement::Statements;
use super::{Store, StoreError};
use crate::domain::Kind;
use crate::domain::retention::{Rule, Rules, What};

/// Exchanges that nothing happened to since `?1`, nor to anything in them.
macro_rules! due {
    ($columns:literal, $more:expr) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM exchange e INDEXED BY exchange_recent WHERE e.updated_at < ?1 AND e.kind = ?2 AND ",
            is_over!(),
            " AND NOT EXISTS (SELECT 1 FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid WHERE x.exchange = e.id \
             AND r.updated_at >= ?1 AND r.type <> 'Patient' AND r.type NOT IN ",
            actors!(),
            ")",
            $more
        )
    };
}
const DUE: &str = due!("e.id, e.revision", concat!(" AND ", is_free!(), " ORDER BY e.updated_at, e.id LIMIT ?3"));
const COUNT_DUE: &str = due!("count(*)", concat!(" AND ", is_free!()));
const COUNT_ALL: &str = due!("count(*)", "");
const COUNT_LOG: &str = concat!(
    "SELECT count(*) FROM audit_removal l LEFT JOIN audit a ON a.chain = l.chain AND a.seq = l.seq WHERE l.due_at <= ?1 AND NOT ",
    is_held!()
);
const STUBS: &str = "SELECT * FROM removal INDEXED BY removal_at WHERE at < ?1 ORDER BY at DESC LIMIT ?2";
const WALK: &str = "SELECT * FROM removal INDEXED BY removal_at WHERE object IS NOT NULL ORDER BY at";

/// An exchange that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub exchange: Uuid,
    pub revision: u32,
}

/// How much is due by a rule, and how much of that a hold keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub rule: String,
    pub what: What,
    pub before: DateTime<Utc>,
    pub due: u64,
    pub held: u64,
}

fn number(db: &Statements<'_>, sql: &str, params: impl rusqlite::Params) -> Result<u64, StoreError> {
    let count: Option<i64> = db.first(sql, params, |row| row.get(0))?;
    Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
}

fn tally(db: &Statements<'_>, rule: &Rule, now: DateTime<Utc>) -> Result<Option<Tally>, StoreError> {
    let Some(before) = rule.keep.cutoff(now) else { return Ok(None) };
    let before_ms = before.timestamp_millis();
    let copies = |sql: &str| number(db, &format!("SELECT count(*) FROM ({sql})"), (before_ms, i64::MAX));
    let (mut due, mut held) = (0, 0);
    match rule.what {
        What::Exchange => {
            for kind in &rule.kinds {
                let free = number(db, COUNT_DUE, (before_ms, kind.name()))?;
                due += free;
                held += number(db, COUNT_ALL, (before_ms, kind.name()))?.saturating_sub(free);
            }
        }
        What::DeliveryBody => due = copies(SENT)?,
        What::Inbound => due = copies(RECEIVED)?,
        What::Answer => due = copies(RECEIPTS)?,
        What::AuditPayload => due = number(db, COUNT_LOG, [now.timestamp_millis()])?,
    }
    Ok(Some(Tally { rule: rule.name.clone(), what: rule.what, before, due, held }))
}

fn tallies(db: &Statements<'_>, rules: &Rules, now: DateTime<Utc>) -> Result<Vec<Tally>, StoreError> {
    rules.iter().filter_map(|rule| tally(db, rule, now).transpose()).collect()
}

/// What is due in a file that a gateway may have open. Nothing is written.
pub fn look_due(path: &Path, rules: &Rules, now: DateTime<Utc>) -> Result<Vec<Tally>, StoreError> {
    let connection = read_only(path)?;
    tallies(&Statements::new(&connection), rules, now)
}

fn stub(row: &Row<'_>) -> Result<Stub, StoreError> {
    Ok(Stub {
        id: uuid(row, "id")?,
        what: row.get("what")?,
        kind: row.get("kind")?,
        rule: row.get("rule")?,
        rule_version: row.get("rule_version")?,
        at: time(row, "at")?,
        by: row.get("by")?,
        counts: row.get("counts")?,
    })
}

impl Store {
    /// Exchanges of a kind of which nothing changed since `before`, of which nothing more is expected, and which nothing holds;
    /// the oldest first.
    pub async fn removable(&self, kind: Kind, before: DateTime<Utc>, limit: u32) -> Result<Vec<Due>, StoreError> {
        let key = (before.timestamp_millis(), kind.name(), limit);
        self.read(move |db| {
            db.all(DUE, key, |row| Ok(Due { exchange: uuid(row, "id")?, revision: row.get("revision")? }))
        })
        .await
    }

    /// Whether there is a copy that the rule takes.
    pub async fn has_copies_due(
        &self,
        what: What,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (before, now) = (before.timestamp_millis(), now.timestamp_millis());
        self.read(move |db| {
            let one = |sql: &str| Ok(db.first(sql, (before, 1), |_| Ok::<_, StoreError>(()))?.is_some());
            match what {
                What::Exchange => Ok(false),
                What::DeliveryBody => one(SENT),
                What::Inbound => one(RECEIVED),
                What::Answer => one(RECEIPTS),
                What::AuditPayload => Ok(number(db, COUNT_LOG, [now])? > 0),
            }
        })
        .await
    }

    /// How much is due by each rule.
    pub async fn tally(&self, rules: &Rules, now: DateTime<Utc>) -> Result<Vec<Tally>, StoreError> {
        let rules = rules.clone();
        self.read(move |db| tallies(db, &rules, now)).await
    }

    /// What was removed before a time, the latest first.
    pub async fn stubs(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Stub>, StoreError> {
        let key = (before.timestamp_millis(), limit);
        self.read(move |db| db.all(STUBS, key, stub)).await
    }

    /// The stub of an exchange that was here, for whoever still has its id.
    pub async fn stub_of(&self, exchange: Uuid) -> Result<Option<Stub>, StoreError> {
        self.read(move |db| {
            let is_it = |row: &Row<'_>| {
                let (salt, object): ([u8; 16], [u8; 32]) = (row.get("salt")?, row.get("object")?);
                Ok::<_, StoreError>(if hashed(&salt, exchange) == object { Some(stub(row)?) } else { None })
            };
            Ok(db.some(WALK, [], is_it, 1)?.into_iter().next())
        })
        .await
    }
}
