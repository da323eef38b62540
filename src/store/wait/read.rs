//! Reads waits: what is due, what is open for whom, how much of it there is; and pauses and what was told.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::Value;
use uuid::Uuid;

use super::super::grants::Right;
use super::super::query::Who;
use super::super::row::{instant, list, time, time_if_any, uuid, word};
use super::super::search::Asked;
use super::super::sql::Sql;
use super::super::statement::Statements;
use super::super::{Store, StoreError};
use super::{Escalated, HeldBy, OpenCount, PauseRow, StepCount, WaitQuery, Waiting};
use crate::domain::clock::{Priority, Sort, Step};

pub(super) const OF_EXCHANGE: &str = "SELECT * FROM wait WHERE exchange = ?1";
pub(super) const ONE: &str = "SELECT * FROM wait WHERE exchange = ?1 AND unit = ?2 AND step = ?3 AND subject = ?4";
pub(super) const PAUSES: &str = "SELECT * FROM pause WHERE exchange = ?1 ORDER BY from_at, id";
const DUE: &str =
    "SELECT * FROM wait INDEXED BY wait_next WHERE next_at IS NOT NULL AND next_at <= ?1 ORDER BY next_at LIMIT ?2";
const NEXT: &str = "SELECT min(next_at) FROM wait INDEXED BY wait_next WHERE next_at IS NOT NULL";
const ESCALATIONS: &str = "SELECT * FROM escalation WHERE exchange = ?1 ORDER BY at, unit, step";
/// One pass along an index that has all of it, and so many rows at most.
const COUNTS: &str = "SELECT step, level, count(*) AS count, min(since) AS oldest FROM \
     (SELECT step, level, since FROM wait INDEXED BY wait_step ORDER BY step, level, since LIMIT ?1) GROUP BY step, level";
/// Open waits are counted up to this.
const MOST_COUNTED: u32 = 100_000;

pub(super) fn waiting(row: &Row<'_>) -> Result<Waiting, StoreError> {
    let held_by: Option<String> = row.get("held_by")?;
    let held_by = held_by.map(|by| HeldBy::parse(&by).ok_or(StoreError::Corrupt("a pause"))).transpose()?;
    Ok(Waiting {
        exchange: uuid(row, "exchange")?,
        unit: row.get("unit")?,
        step: word(row, "step", "a step", Step::parse)?,
        subject: row.get("subject")?,
        task: row.get("task")?,
        sender: row.get("sender")?,
        sort: word(row, "sort", "a sort", Sort::parse)?,
        priority: word(row, "priority", "a priority", Priority::parse)?,
        since: time(row, "since")?,
        dues: serde_json::from_str(&row.get::<_, String>("dues")?).map_err(|_| StoreError::Corrupt("due times"))?,
        held_until: row.get("held_until")?,
        held_by,
        due_at: row.get("due_at")?,
        next_at: row.get("next_at")?,
        level: row.get("level")?,
        has_item: row.get("item")?,
    })
}

pub(super) fn pause(row: &Row<'_>) -> Result<PauseRow, StoreError> {
    Ok(PauseRow {
        id: uuid(row, "id")?,
        unit: row.get("unit")?,
        why: word(row, "why", "a pause", HeldBy::parse)?,
        from: time(row, "from_at")?,
        until: time_if_any(row, "until_at")?,
        by: row.get("by")?,
        reason: row.get("reason")?,
        ended_by: row.get("ended_by")?,
    })
}

fn escalated(row: &Row<'_>) -> Result<Escalated, StoreError> {
    Ok(Escalated {
        unit: row.get("unit")?,
        step: row.get("step")?,
        level: row.get("level")?,
        at: time(row, "at")?,
        ended_at: time_if_any(row, "ended_at")?,
    })
}

/// How much is open, by step and what was told; for whoever watches.
pub(in crate::store) fn open_counts(db: &Statements<'_>) -> Result<Vec<OpenCount>, StoreError> {
    db.all(COUNTS, [MOST_COUNTED], |row| {
        Ok(OpenCount {
            step: word(row, "step", "a step", Step::parse)?,
            level: row.get("level")?,
            count: row.get("count")?,
            oldest: time(row, "oldest")?,
        })
    })
}

/// The waits that a question is about, without an order. A wait shows no more than the exchange and the Task that it is about.
fn asked_for(db: &Statements<'_>, query: &WaitQuery, columns: &str) -> Result<Sql, StoreError> {
    let asked = Asked::of(db, &query.filter);
    let own = match (&query.unit, &query.filter.who) {
        (Some(unit), _) => Some(list([unit.clone()])),
        (None, Who::Units(units)) => Some(list(units.iter().cloned())),
        (None, _) => None,
    };
    let walk = if own.is_some() { "" } else { " INDEXED BY wait_due" };
    let mut sql =
        Sql::new(format!("SELECT {columns} FROM wait w{walk} CROSS JOIN exchange e ON e.id = w.exchange WHERE "), []);
    sql = match own {
        // By the indexes of both columns.
        Some(own) => sql
            .text("(w.unit IN (SELECT value FROM json_each(?)) OR w.sender IN (SELECT value FROM json_each(?)))")
            .value(own.clone())
            .value(own),
        None => sql.text("true"),
    };
    if let Some(among) = &query.among {
        let units = list(among.iter().map(|unit| unit.to_ascii_uppercase()));
        sql = sql
            .text(" AND (upper(w.unit) IN (SELECT value FROM json_each(?)) OR upper(w.sender) IN (SELECT value FROM json_each(?)))")
            .value(units.clone())
            .value(units);
    }
    if let Some(step) = query.step {
        sql = sql.text(" AND w.step = ?").value(step.code().to_owned());
    }
    if let Some(sort) = query.sort {
        sql = sql.text(" AND w.sort = ?").value(sort.code().to_owned());
    }
    if let Some(at) = query.overdue_at {
        sql = sql.text(" AND w.due_at <= ?").value(at.timestamp_millis());
    }
    if let Some(visible) = asked.exchange(Right::Search)? {
        sql = sql.text(" AND ").then(&visible);
    }
    if let Some(visible) = asked.visible(Right::Search, "Task", "r")? {
        let test =
            " AND (w.task IS NULL OR EXISTS (SELECT 1 FROM resource r WHERE r.type = 'Task' AND r.id = w.task AND ";
        sql = sql.text(test).then(&visible).text("))");
    }
    Ok(sql)
}

impl Store {
    /// What is to be told now, the longest due first; for the gateway itself.
    pub async fn due_waits(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Waiting>, StoreError> {
        self.read(move |db| db.all(DUE, (now.timestamp_millis(), limit), waiting)).await
    }

    /// When something is to be told next.
    pub async fn next_wait(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at = self.read(|db| db.first(NEXT, [], |row| Ok::<_, StoreError>(row.get::<_, Option<i64>>(0)?))).await?;
        at.flatten().map(instant).transpose()
    }

    /// A page of what is open, the first due first.
    pub async fn open_loops(&self, query: &WaitQuery) -> Result<Vec<Waiting>, StoreError> {
        let query = query.clone();
        self.read(move |db| {
            let mut sql = asked_for(db, &query, "w.*")?;
            if let Some(after) = &query.after {
                sql = sql.text(" AND (w.due_at, w.exchange, w.unit, w.step, w.subject) > (?, ?, ?, ?, ?)");
                let id = Value::from(after.exchange.as_bytes().to_vec());
                sql = sql.value(after.due_at).value(id).value(after.unit.clone());
                sql = sql.value(after.step.code().to_owned()).value(after.subject.clone());
            }
            let order = " ORDER BY w.due_at, w.exchange, w.unit, w.step, w.subject LIMIT ?";
            sql.text(order).value(i64::from(query.limit)).all(db, waiting)
        })
        .await
    }

    /// How many there are of what is asked for, step by step, and how many of them are overdue.
    pub async fn count_loops(&self, query: &WaitQuery, now: DateTime<Utc>) -> Result<Vec<StepCount>, StoreError> {
        let query = query.clone();
        self.read(move |db| {
            let columns = format!(
                "w.step AS step, count(*) AS open, coalesce(sum(w.due_at <= {}), 0) AS overdue",
                now.timestamp_millis()
            );
            asked_for(db, &query, &columns)?.text(" GROUP BY w.step").all(db, |row| {
                Ok(StepCount {
                    step: word(row, "step", "a step", Step::parse)?,
                    open: row.get("open")?,
                    overdue: row.get("overdue")?,
                })
            })
        })
        .await
    }

    /// What is waited for in an exchange; for the gateway itself.
    pub async fn waits_of(&self, exchange: Uuid) -> Result<Vec<Waiting>, StoreError> {
        self.read(move |db| db.all(OF_EXCHANGE, [exchange.as_bytes()], waiting)).await
    }

    /// The pauses of an exchange, the first first; for the gateway itself.
    pub async fn pauses_of(&self, exchange: Uuid) -> Result<Vec<PauseRow>, StoreError> {
        self.read(move |db| db.all(PAUSES, [exchange.as_bytes()], pause)).await
    }

    /// What was told of an exchange, the first first; for the gateway itself.
    pub async fn escalations_of(&self, exchange: Uuid) -> Result<Vec<Escalated>, StoreError> {
        self.read(move |db| db.all(ESCALATIONS, [exchange.as_bytes()], escalated)).await
    }

    /// How much is open, by step and what was told.
    pub async fn open_counts(&self) -> Result<Vec<OpenCount>, StoreError> {
        self.read(open_counts).await
    }
}
