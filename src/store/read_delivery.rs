//! Reads deliveries: what is due, what waits and why, and what was tried.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::Value;
use uuid::Uuid;

use super::query::DeliveryQuery;
use super::record::{Action, Attempt, Delivery};
use super::row::{instant, time, time_if_any, uuid, word};
use super::statement::Statements;
use super::{Store, StoreError};
use crate::domain::delivery::State;

const AT: &str = "SELECT * FROM delivery WHERE seq = ?1";
const ATTEMPTS: &str = "SELECT * FROM attempt WHERE delivery = ?1 ORDER BY number";
const NEXT_PARTNER: &str =
    "SELECT min(partner) FROM delivery INDEXED BY delivery_due WHERE head = 1 AND state = 'waiting' AND partner > ?1";
const DUE: &str = "SELECT seq, patient FROM delivery INDEXED BY delivery_due \
                   WHERE head = 1 AND state = 'waiting' AND partner = ?1 AND due_at <= ?2 ORDER BY due_at, seq";
const NEXT_DUE: &str = "SELECT min(due_at) FROM delivery INDEXED BY delivery_next WHERE head = 1 AND state = 'waiting'";

const ANY: &str = "SELECT * FROM delivery WHERE true";
const WAITING: &str = "SELECT * FROM delivery INDEXED BY delivery_waiting WHERE state = 'waiting'";
const PARKED: &str = "SELECT * FROM delivery INDEXED BY delivery_parked WHERE state = 'parked'";

fn delivery(row: &Row<'_>) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: uuid(row, "id")?,
        exchange: uuid(row, "exchange")?,
        document_version: row.get("document_version")?,
        partner: row.get("partner")?,
        unit: row.get("unit")?,
        patient: row.get("patient")?,
        action: word(row, "action", "an action", Action::parse)?,
        body: row.get("body")?,
        state: word(row, "state", "a delivery's state", State::parse)?,
        attempts: row.get("attempts")?,
        seq: row.get("seq")?,
        created_at: time(row, "created_at")?,
        first_attempt_at: time_if_any(row, "first_attempt_at")?,
        due_at: time(row, "due_at")?,
        note: row.get("note")?,
    })
}

fn attempt(row: &Row<'_>) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        at: time(row, "at")?,
        class: row.get("class")?,
        status: row.get("status")?,
        reason: row.get("reason")?,
        duration_ms: row.get("duration_ms")?,
    })
}

impl Store {
    /// What may go now: for each (partner, patient) at most the first that is not over, if it waits and its time has come.
    /// Lanes in `busy` are left out. Partners take turns in the list, each with its longest due first, so that one with
    /// much to get does not fill it.
    pub async fn due(
        &self,
        now: DateTime<Utc>,
        busy: &[(String, String)],
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let busy: HashSet<(String, String)> = busy.iter().cloned().collect();
        self.read(move |db| {
            let limit = limit as usize;
            let turns = in_turns(due_by_partner(db, now.timestamp_millis(), &busy, limit)?, limit);
            turns.into_iter().filter_map(|seq| db.first(AT, [seq], delivery).transpose()).collect()
        })
        .await
    }

    /// When the next delivery that may go is due, which may have been already. Those under way count too.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.read(|db| {
            let due = db.first(NEXT_DUE, [], |row| row.get::<_, Option<i64>>(0).map_err(StoreError::from))?;
            due.flatten().map(instant).transpose()
        })
        .await
    }

    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        let (sql, values) = listing(query);
        self.read(move |db| db.all(&sql, rusqlite::params_from_iter(values), delivery)).await
    }

    /// In the order they were made.
    pub async fn attempts(&self, delivery: Uuid) -> Result<Vec<Attempt>, StoreError> {
        self.read(move |db| db.all(ATTEMPTS, [delivery.as_bytes()], attempt)).await
    }
}

/// For each partner the `seq` of what may go, longest due first.
fn due_by_partner(
    db: &Statements<'_>,
    now_ms: i64,
    busy: &HashSet<(String, String)>,
    limit: usize,
) -> Result<Vec<Vec<i64>>, StoreError> {
    let mut partners = Vec::new();
    let mut last = String::new();
    while let Some(partner) = next_partner(db, &last)? {
        let free = |row: &Row<'_>| {
            let lane = (partner.clone(), row.get("patient")?);
            Ok::<_, StoreError>(if busy.contains(&lane) { None } else { Some(row.get("seq")?) })
        };
        partners.push(db.some(DUE, (&partner, now_ms), free, limit)?);
        last = partner;
    }
    Ok(partners)
}

fn next_partner(db: &Statements<'_>, last: &str) -> Result<Option<String>, StoreError> {
    let next = db.first(NEXT_PARTNER, [last], |row| row.get::<_, Option<String>>(0).map_err(StoreError::from))?;
    Ok(next.flatten())
}

fn in_turns(partners: Vec<Vec<i64>>, limit: usize) -> Vec<i64> {
    let mut partners: Vec<_> = partners.into_iter().map(Vec::into_iter).collect();
    let mut turns = Vec::new();
    while turns.len() < limit {
        let before = turns.len();
        turns.extend(partners.iter_mut().filter_map(Iterator::next));
        if turns.len() == before {
            break;
        }
    }
    turns.truncate(limit);
    turns
}

/// The statement for a question. Of the conditions given, the one that allows least leads; `+` keeps the others from it.
fn listing(query: &DeliveryQuery) -> (String, Vec<Value>) {
    let (from, partner, state) = match (query, query.state) {
        (DeliveryQuery { id: Some(_), .. } | DeliveryQuery { exchange: Some(_), .. }, _) => (ANY, "+partner", "+state"),
        (DeliveryQuery { partner: Some(_), .. }, Some(State::Waiting)) => (WAITING, "partner", "+state"),
        (DeliveryQuery { partner: Some(_), .. }, Some(State::Parked)) => (PARKED, "partner", "+state"),
        (DeliveryQuery { partner: Some(_), .. }, _) => (ANY, "partner", "+state"),
        _ => (ANY, "partner", "state"),
    };
    let mut sql = from.to_owned();
    let exchange = if query.id.is_some() { "+exchange" } else { "exchange" };
    let text = |value: &str| Value::from(value.to_owned());
    let bytes = |id: &Uuid| Value::from(id.as_bytes().to_vec());
    let tests = [
        ("id", query.id.as_ref().map(bytes)),
        (exchange, query.exchange.as_ref().map(bytes)),
        (partner, query.partner.as_deref().map(text)),
        (state, query.state.map(|state| text(state.code()))),
    ];
    let mut values = Vec::new();
    for (column, value) in tests {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY seq");
    if query.exchange.is_none() {
        sql.push_str(" LIMIT ?");
        values.push(Value::from(query.limit));
    }
    (sql, values)
}
