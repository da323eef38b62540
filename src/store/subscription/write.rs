//! Writes subscriptions: where one begins in the order of commits, and which events get a number, is decided here, by the only one
//! who knows that order and what may be seen at that moment.

use rusqlite::params_from_iter;
use rusqlite::types::Value;
use uuid::Uuid;

use super::read::seen;
use super::{Eyes, NewEvent, Spoken, SubscriptionChange, SubscriptionOrder};
use crate::store::apply::{Refusal, Writing};
use crate::store::search::Asked;
use crate::store::{Expect, StoreError};

const CHANGES: &str = "UPDATE subscription_log SET changes = changes + 1 WHERE id = 1";
/// What an order says has the same numbers in both: see [`row`].
const INSERT: &str = "INSERT INTO subscription (id, client, caller, topic, asked, endpoint, headers, payload, heartbeat_s, timeout_s, \
     max_count, end_at, created_at, updated_at, version, generation, changed, status, since_seq) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, 1, 1, \
             (SELECT changes FROM subscription_log WHERE id = 1), ?14, ?15)";
/// Whoever comes back from `off` is told of what happens from then on; what had not been told before is.
const REVISE: &str = "UPDATE subscription SET caller = ?3, endpoint = ?6, headers = ?7, payload = ?8, heartbeat_s = ?9, timeout_s = ?10, \
     max_count = ?11, end_at = ?12, updated_at = ?13, version = version + 1, generation = generation + 1, \
     changed = (SELECT changes FROM subscription_log WHERE id = 1), \
     since_seq = iif(status = 'off' AND ?14 <> 'off', ?15, since_seq), status = ?14, error = NULL, \
     attempts = 0, failing_since = NULL, due_at = NULL WHERE id = ?1 AND version = ?16";
const REMOVE: &str = "DELETE FROM subscription WHERE id = ?1";
const MATCHED: &str = "UPDATE subscription_log SET matched = max(matched, ?1) WHERE id = 1";
const EVENT: &str = "INSERT INTO subscription_event (subscription, seq, rid, version, at) \
     SELECT s.id, ?2, ?3, ?4, ?5 FROM subscription s WHERE s.id = ?1 AND s.status <> 'off' AND s.since_seq < ?2 \
     ON CONFLICT DO NOTHING";
const NUMBERS: &str = "SELECT numbered, offered, told FROM subscription WHERE id = ?1";
const PENDING: &str = "SELECT seq, version FROM subscription_event INDEXED BY subscription_event_pending \
     WHERE subscription = ?1 AND number IS NULL ORDER BY seq LIMIT ?2";
const NUMBER: &str = "UPDATE subscription_event SET number = ?3 WHERE subscription = ?1 AND seq = ?2";
const PASS: &str = "DELETE FROM subscription_event WHERE subscription = ?1 AND seq = ?2 AND number IS NULL";
const GIVEN: &str = "UPDATE subscription SET numbered = ?2 WHERE id = ?1";
const OFFERED: &str = "UPDATE subscription SET offered = ?2 WHERE id = ?1 AND offered < ?2";
const OPEN: &str = "SELECT number, version FROM subscription_event INDEXED BY subscription_event_number \
     WHERE subscription = ?1 AND number > ?2 AND number <= ?3 AND number IS NOT NULL ORDER BY number LIMIT ?4";
const SPEAK: &str = "UPDATE subscription SET version = version + (status <> ?3 OR error IS NOT ?4), \
     updated_at = iif(status <> ?3 OR error IS NOT ?4, ?10, updated_at), status = ?3, error = ?4, \
     told = max(told, coalesce(?5, told)), attempts = ?6, failing_since = ?7, due_at = ?8, \
     spoken_at = coalesce(?9, spoken_at) WHERE id = ?1 AND generation = ?2";
const LAST_OLD: &str = "SELECT max(number) FROM subscription_event WHERE subscription = ?1 AND number IS NOT NULL \
     AND (at < ?2 OR number <= (SELECT numbered - ?3 FROM subscription WHERE id = ?1))";
const FORGET: &str = "DELETE FROM subscription_event WHERE subscription = ?1 AND number <= ?2 AND number IS NOT NULL";
const FORGET_PENDING: &str = "DELETE FROM subscription_event WHERE subscription = ?1 AND number IS NULL AND at < ?2";
const DROPPED: &str = "UPDATE subscription SET dropped = max(dropped, ?2) WHERE id = ?1";
/// What a client has.
pub(in crate::store) const COUNT_OF: &str =
    "SELECT count(*) AS n FROM subscription INDEXED BY subscription_of_client WHERE client = ?1";

/// Numbers that one attempt looks at to find what it may tell.
const LOOKED_AT: u32 = 5000;

impl Writing<'_, '_> {
    pub(in crate::store) fn change_subscription(&mut self, change: &SubscriptionChange) -> Result<(), Refusal> {
        let db = self.statements;
        match change {
            SubscriptionChange::Begin(order) => self.begin_subscription(order),
            SubscriptionChange::Revise { order, version } => self.revise_subscription(order, *version),
            SubscriptionChange::Remove { id } => stands(*id, db.run(REMOVE, [id.as_bytes()])?),
            SubscriptionChange::Match { through, events } => {
                events.iter().try_for_each(|event| self.put_event(event))?;
                db.run(MATCHED, [through])?;
                Ok(())
            }
            SubscriptionChange::Number { id, eyes, most } => self.number(*id, eyes, *most),
            SubscriptionChange::Offer { id, eyes, most } => self.offer(*id, eyes, *most),
            SubscriptionChange::Speak(spoken) => self.speak(spoken),
            SubscriptionChange::Forget { id, before, keep } => {
                let before = before.timestamp_millis();
                let last: Option<Option<i64>> =
                    db.first(LAST_OLD, (id.as_bytes(), before, keep), |row| Ok::<_, StoreError>(row.get(0)?))?;
                if let Some(last) = last.flatten() {
                    db.run(FORGET, (id.as_bytes(), last))?;
                    db.run(DROPPED, (id.as_bytes(), last))?;
                }
                db.run(FORGET_PENDING, (id.as_bytes(), before))?;
                Ok(())
            }
        }
    }

    fn begin_subscription(&mut self, order: &SubscriptionOrder) -> Result<(), Refusal> {
        let db = self.statements;
        db.run(CHANGES, [])?;
        db.run(INSERT, params_from_iter(row(order, self.state.seq())))?;
        Ok(())
    }

    fn revise_subscription(&mut self, order: &SubscriptionOrder, version: u32) -> Result<(), Refusal> {
        let db = self.statements;
        db.run(CHANGES, [])?;
        let row = row(order, self.state.seq()).into_iter().chain([Value::from(version)]);
        stands(order.id, db.run(REVISE, params_from_iter(row))?)
    }

    fn put_event(&mut self, event: &NewEvent) -> Result<(), Refusal> {
        let row = (event.subscription.as_bytes(), event.seq, event.rid, event.version, event.at.timestamp_millis());
        self.statements.run(EVENT, row)?;
        Ok(())
    }

    /// Numbers without a gap: what may not be seen gets none, and nothing tells that it was there.
    fn number(&mut self, id: Uuid, eyes: &Eyes, most: u32) -> Result<(), Refusal> {
        let db = self.statements;
        let Some((mut number, ..)) = self.numbers(id)? else { return Err(gone(id)) };
        let pending: Vec<(i64, i64)> = db.all(PENDING, (id.as_bytes(), most), two)?;
        if pending.is_empty() {
            return Ok(());
        }
        let asked = Asked::of(db, &eyes.filter);
        for (seq, version) in pending {
            if seen(&asked, &eyes.rights, version)?.is_some() {
                number += 1;
                db.run(NUMBER, (id.as_bytes(), seq, number))?;
            } else {
                db.run(PASS, (id.as_bytes(), seq))?;
            }
        }
        db.run(GIVEN, (id.as_bytes(), number))?;
        Ok(())
    }

    /// What an attempt may have shown is offered again as it was, with nothing new behind it.
    fn offer(&mut self, id: Uuid, eyes: &Eyes, most: u32) -> Result<(), Refusal> {
        let Some((_, offered, told)) = self.numbers(id)? else { return Err(gone(id)) };
        if offered > told && self.last_seen(id, eyes, (told, offered), u32::MAX)?.is_some() {
            return Ok(());
        }
        self.number(id, eyes, most)?;
        let Some((numbered, ..)) = self.numbers(id)? else { return Err(gone(id)) };
        if let Some(through) = self.last_seen(id, eyes, (told, numbered), most)? {
            self.statements.run(OFFERED, (id.as_bytes(), through))?;
        }
        Ok(())
    }

    /// The last of the first so many numbers in between whose events may be seen.
    fn last_seen(
        &self,
        id: Uuid,
        eyes: &Eyes,
        (after, through): (i64, i64),
        most: u32,
    ) -> Result<Option<i64>, Refusal> {
        let db = self.statements;
        let rows: Vec<(i64, i64)> = db.all(OPEN, (id.as_bytes(), after, through, LOOKED_AT), two)?;
        let asked = Asked::of(db, &eyes.filter);
        let (mut last, mut count) = (None, 0);
        for (number, version) in rows {
            if count < most && seen(&asked, &eyes.rights, version)?.is_some() {
                (last, count) = (Some(number), count + 1);
            }
        }
        Ok(last)
    }

    fn numbers(&self, id: Uuid) -> Result<Option<(i64, i64, i64)>, StoreError> {
        self.statements.first(NUMBERS, [id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    }

    fn speak(&mut self, spoken: &Spoken) -> Result<(), Refusal> {
        let ms = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.timestamp_millis());
        let changed = self.statements.run(
            SPEAK,
            rusqlite::params![
                spoken.id.as_bytes(),
                spoken.generation,
                spoken.status.code(),
                spoken.error,
                spoken.told,
                spoken.attempts,
                ms(spoken.failing_since),
                ms(spoken.due_at),
                ms(spoken.spoken_at),
                spoken.at.timestamp_millis(),
            ],
        )?;
        stands(spoken.id, changed)
    }
}

fn two(row: &rusqlite::Row<'_>) -> Result<(i64, i64), StoreError> {
    Ok((row.get(0)?, row.get(1)?))
}

/// An order, in the order of the numbers that it has in a statement.
fn row(order: &SubscriptionOrder, seq: i64) -> [Value; 15] {
    let channel = &order.channel;
    [
        order.id.as_bytes().to_vec().into(),
        order.client.clone().into(),
        order.caller.clone().into(),
        order.topic.clone().into(),
        order.asked.clone().into(),
        channel.endpoint.clone().into(),
        crate::store::row::list(channel.headers.iter().map(String::as_str)).into(),
        channel.payload.code().to_owned().into(),
        channel.heartbeat_s.into(),
        channel.timeout_s.into(),
        channel.max_count.into(),
        order.end_at.map(|at| at.timestamp_millis()).into(),
        order.at.timestamp_millis().into(),
        order.status.code().to_owned().into(),
        seq.into(),
    ]
}

fn gone(subscription: Uuid) -> Refusal {
    Refusal::Unmet(Expect::Subscription { subscription })
}

fn stands(subscription: Uuid, changed: usize) -> Result<(), Refusal> {
    if changed == 1 { Ok(()) } else { Err(gone(subscription)) }
}
