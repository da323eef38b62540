//! Reads deliveries: what is due, what waits and why, and what was tried.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::Value;
use uuid::Uuid;

use super::grants::Right;
use super::query::{DeliveryQuery, Filter, Window};
use super::record::{Action, Attempt, Delivery};
use super::row::{instant, list, time, time_if_any, uuid, uuid_if_any, word};
use super::search::Asked;
use super::sql::Sql;
use super::statement::Statements;
use super::visible::{and, units};
use super::{Store, StoreError};
use crate::domain::delivery::State;

const AT: &str = "SELECT * FROM delivery WHERE seq = ?1";
const ATTEMPTS: &str = "SELECT * FROM attempt WHERE delivery = ?1 ORDER BY number";
const NEXT_PARTNER: &str =
    "SELECT min(partner) FROM delivery INDEXED BY delivery_due WHERE head = 1 AND state = 'waiting' AND partner > ?1";
const HEADS: &str = "SELECT seq, patient, due_at FROM delivery INDEXED BY delivery_due \
                     WHERE head = 1 AND state = 'waiting' AND partner = ?1 AND urgent = ?2 ORDER BY due_at, seq";
const RETRYING: &str = "SELECT id FROM delivery INDEXED BY delivery_due WHERE head = 1 AND state = 'waiting' AND partner = ?1 \
                        AND urgent = ?2 AND due_at > ?3 AND attempts > 0 ORDER BY due_at, seq LIMIT ?4";
const HEAD_OF: &str =
    "SELECT * FROM delivery INDEXED BY delivery_head WHERE partner = ?1 AND patient = ?2 AND head = 1";

/// A lane by way of its patient's exchanges: an index of all lanes would cost every acceptance, for what is hardly ever asked.
const LANE_AFTER: &str = "SELECT d.* FROM exchange o CROSS JOIN exchange e ON e.patient = o.patient OR e.id = o.id \
     OR e.patient IN (SELECT k.other FROM kin k WHERE k.patient = o.patient) \
     CROSS JOIN delivery d ON d.exchange = e.id WHERE o.id = ?1 AND d.partner = ?2 AND d.seq > ?3";
pub(super) const LANE_END: &str = "SELECT max(d.seq) AS last FROM exchange o CROSS JOIN exchange e ON e.patient = o.patient OR e.id = o.id \
     OR e.patient IN (SELECT k.other FROM kin k WHERE k.patient = o.patient) \
     CROSS JOIN delivery d ON d.exchange = e.id WHERE o.id = ?1 AND d.partner = ?2";
const BETWEEN: &str = "SELECT * FROM delivery INDEXED BY delivery_of_partner \
     WHERE partner = ? AND +state IN (SELECT value FROM json_each(?)) \
     AND coalesce((SELECT max(at) FROM attempt a WHERE a.delivery = id), created_at) BETWEEN ? AND ? \
     AND seq > ? AND (resend_of IS NULL OR +state <> 'delivered')";

const ANY: &str = "SELECT * FROM delivery WHERE true";
const WAITING: &str = "SELECT * FROM delivery INDEXED BY delivery_waiting WHERE state = 'waiting'";
const PARKED: &str = "SELECT * FROM delivery INDEXED BY delivery_parked WHERE state = 'parked'";

pub(super) fn delivery(row: &Row<'_>) -> Result<Delivery, StoreError> {
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
        begun_at: time_if_any(row, "begun_at")?,
        note: row.get("note")?,
        urgent: row.get("urgent")?,
        resend_of: uuid_if_any(row, "resend_of")?,
        held: row.get("held")?,
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

/// How many may go at once, and which first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// At each partner; none for one that must wait.
    pub at: HashMap<String, Room>,
    /// At a partner that is not named.
    pub elsewhere: usize,
    /// In all.
    pub most: usize,
}

/// What one partner may be sent now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    pub most: usize,
    /// How many urgent ones in a row have overtaken others so far.
    pub overtaken: usize,
    /// It is asked whether it is back: where nothing is due, the first that will be goes before its time.
    pub is_probe: bool,
}

/// Of so many attempts one at least goes to the longest due, however much is urgent.
pub const TURN: usize = 4;

impl Rooms {
    /// So many wherever they go.
    pub fn upto(most: usize) -> Self {
        Self { at: HashMap::new(), elsewhere: most, most }
    }
}

/// What may go now, and when the rest may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    pub ready: Vec<Delivery>,
    /// For each partner, when the first that is not in `ready` and not under way is due; it may have been already.
    pub next: BTreeMap<String, DateTime<Utc>>,
}

impl Store {
    /// What may go now: for each (partner, patient) at most the first that is not over, if it waits and its time has come.
    /// Lanes in `busy` are left out. Partners take turns in the list, each with what is urgent first and then its longest
    /// due, so that one with much to get does not fill it.
    pub async fn due(&self, now: DateTime<Utc>, busy: &[(String, String)], rooms: &Rooms) -> Result<Due, StoreError> {
        let busy: HashSet<(String, String)> = busy.iter().cloned().collect();
        let rooms = rooms.clone();
        self.read(move |db| {
            let (partners, next) = due_by_partner(db, now.timestamp_millis(), &busy, &rooms)?;
            let turns = in_turns(partners, rooms.most);
            let ready = turns.into_iter().filter_map(|seq| db.first(AT, [seq], delivery).transpose());
            Ok(Due { ready: ready.collect::<Result<_, _>>()?, next })
        })
        .await
    }

    /// Of the lanes of a partner, the first deliveries that were tried and wait for their next time; what is urgent first.
    pub async fn retrying(&self, partner: &str, now: DateTime<Utc>, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        let partner = partner.to_owned();
        self.read(move |db| {
            let of = |urgent: bool, most: u32| {
                db.all(RETRYING, (&partner, urgent, now.timestamp_millis(), most), |row| uuid(row, "id"))
            };
            let mut found = of(true, limit)?;
            let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit));
            found.extend(of(false, left)?);
            Ok(found)
        })
        .await
    }

    /// The first of a lane that is not over.
    pub async fn head_of(&self, partner: &str, patient: &str) -> Result<Option<Delivery>, StoreError> {
        let lane = (partner.to_owned(), patient.to_owned());
        self.read(move |db| db.first(HEAD_OF, lane, delivery)).await
    }

    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        let query = query.clone();
        self.read(move |db| listing(&query, seen(db, &query.filter)?.as_ref()).all(db, delivery)).await
    }

    /// Those to a partner that were last tried, or made where they never were, between two times; the first made first.
    /// Without the copies that were delivered: the first of them stands for them all.
    /// Walks all that the partner ever got: for the rare day when it lost something.
    pub async fn deliveries_between(&self, window: &Window) -> Result<Vec<Delivery>, StoreError> {
        let Window { partner, from, to, states, filter, after, limit } = window.clone();
        let states = list(states.iter().map(|state| state.code().to_owned()));
        let (from, to, after) = (from.timestamp_millis(), to.timestamp_millis(), after.unwrap_or(0));
        self.read(move |db| {
            let values = [partner.into(), states.into(), from.into(), to.into(), after.into()];
            let sql = and(Sql::new(BETWEEN, values), seen(db, &filter)?.as_ref());
            sql.text(" ORDER BY seq LIMIT ?").value(limit).all(db, delivery)
        })
        .await
    }

    /// What was made after `seq` for this partner about the patient of this exchange, in order.
    pub async fn lane_after(&self, exchange: Uuid, partner: &str, seq: i64) -> Result<Vec<Delivery>, StoreError> {
        let question = (exchange.as_bytes().to_vec(), partner.to_owned(), seq);
        self.read(move |db| {
            let mut found = db.all(LANE_AFTER, question, delivery)?;
            found.sort_by_key(|delivery| delivery.seq);
            Ok(found)
        })
        .await
    }

    /// In the order they were made.
    pub async fn attempts(&self, delivery: Uuid) -> Result<Vec<Attempt>, StoreError> {
        self.read(move |db| db.all(ATTEMPTS, [delivery.as_bytes()], attempt)).await
    }
}

/// The `seq` of what may go, for each partner, and when the first of its others is due.
type Heads = (Vec<Vec<i64>>, BTreeMap<String, DateTime<Utc>>);

fn due_by_partner(
    db: &Statements<'_>,
    now_ms: i64,
    busy: &HashSet<(String, String)>,
    rooms: &Rooms,
) -> Result<Heads, StoreError> {
    let (mut partners, mut nexts) = (Vec::new(), BTreeMap::new());
    let mut last = String::new();
    while let Some(partner) = next_partner(db, &last)? {
        let elsewhere = Room { most: rooms.elsewhere, ..Room::default() };
        let room = rooms.at.get(&partner).copied().unwrap_or(elsewhere);
        let free = |row: &Row<'_>| {
            let lane = (partner.clone(), row.get("patient")?);
            let head = (row.get::<_, i64>("due_at")?, row.get::<_, i64>("seq")?);
            Ok::<_, StoreError>(if busy.contains(&lane) { None } else { Some(head) })
        };
        // One more than there is room for: the first that must wait says when to look again.
        let first = |urgent: bool| db.some(HEADS, (&partner, urgent), free, room.most.saturating_add(1));
        let (urgent, others) = (first(true)?, first(false)?);
        let (ready, next) = choose(urgent, others, now_ms, room);
        if let Some(next) = next {
            nexts.insert(partner.clone(), instant(next)?);
        }
        partners.push(ready);
        last = partner;
    }
    Ok((partners, nexts))
}

/// Heads of lanes as (due, seq), each list by when it is due → the `seq` of those that go, and when the next is due.
/// What is urgent overtakes; but every [`TURN`]th place belongs to the longest due of the others, so that however much is
/// urgent, nobody waits for ever.
fn choose(urgent: Vec<(i64, i64)>, others: Vec<(i64, i64)>, now_ms: i64, room: Room) -> (Vec<i64>, Option<i64>) {
    let (mut urgent, mut others) = (urgent.into_iter().peekable(), others.into_iter().peekable());
    let (mut ready, mut overtaken) = (Vec::new(), room.overtaken);
    let is_due = |head: &(i64, i64)| head.0 <= now_ms;
    while ready.len() < room.most {
        let next = match (urgent.peek().is_some_and(is_due), others.peek().is_some_and(is_due)) {
            (true, true) if overtaken.saturating_add(1) < TURN => {
                overtaken = overtaken.saturating_add(1);
                urgent.next()
            }
            (true, false) => urgent.next(),
            (_, true) => {
                overtaken = 0;
                others.next()
            }
            (false, false) => None,
        };
        let Some((_, seq)) = next else { break };
        ready.push(seq);
    }
    if room.is_probe && room.most > 0 && ready.is_empty() {
        let first = match (urgent.peek(), others.peek()) {
            (Some(one), Some(other)) if other.0 < one.0 => others.next(),
            (Some(_), _) => urgent.next(),
            (None, _) => others.next(),
        };
        ready.extend(first.map(|(_, seq)| seq));
    }
    let next = urgent.peek().into_iter().chain(others.peek()).map(|(due, _)| *due).min();
    (ready, next)
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
fn listing(query: &DeliveryQuery, seen: Option<&Sql>) -> Sql {
    let (from, partner, state) = match (query, query.state) {
        (DeliveryQuery { id: Some(_), .. } | DeliveryQuery { exchange: Some(_), .. }, _) => (ANY, "+partner", "+state"),
        (DeliveryQuery { partner: Some(_), .. }, Some(State::Waiting)) => (WAITING, "partner", "+state"),
        (DeliveryQuery { partner: Some(_), .. }, Some(State::Parked)) => (PARKED, "partner", "+state"),
        (DeliveryQuery { partner: Some(_), .. }, _) => (ANY, "partner", "+state"),
        _ => (ANY, "partner", "state"),
    };
    let mut sql = Sql::new(from, []);
    let exchange = if query.id.is_some() { "+exchange" } else { "exchange" };
    let text = |value: &str| Value::from(value.to_owned());
    let bytes = |id: &Uuid| Value::from(id.as_bytes().to_vec());
    let tests = [
        ("id", query.id.as_ref().map(bytes)),
        (exchange, query.exchange.as_ref().map(bytes)),
        (partner, query.partner.as_deref().map(text)),
        (state, query.state.map(|state| text(state.code()))),
    ];
    for (column, value) in tests {
        if let Some(value) = value {
            sql = sql.text(&format!(" AND {column} = ?")).value(value);
        }
    }
    if let Some(after) = query.after {
        sql = sql.text(" AND seq > ?").value(after);
    }
    sql = and(sql, seen).text(" ORDER BY seq");
    if query.exchange.is_none() {
        sql = sql.text(" LIMIT ?").value(query.limit);
    }
    sql
}

/// That the one who asks may see the delivery's exchange; none where none is hidden.
fn seen(db: &Statements<'_>, filter: &Filter) -> Result<Option<Sql>, StoreError> {
    let Some(visible) = Asked::of(db, filter).exchange(Right::Search)? else { return Ok(None) };
    // The limit keeps SQLite from joining the two, which would have the deliveries sorted.
    let exchange = "(SELECT 1 FROM exchange e WHERE e.id = delivery.exchange AND ";
    let seen = Sql::new(exchange, []).then(&visible).text(" LIMIT 1)");
    let Some(units) = units(filter) else { return Ok(Some(seen)) };
    // What a block holds is the sender's business: from the recipient it is kept, and nobody else is to know whom it is kept from.
    let sender = " AND (delivery.held = 0 OR EXISTS (SELECT 1 FROM party p WHERE p.exchange = delivery.exchange \
                  AND p.role = 'sender' AND p.unit <> delivery.unit AND +p.unit IN (SELECT value FROM json_each(?))))";
    Ok(Some(seen.text(sender).value(units)))
}
