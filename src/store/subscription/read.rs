//! Reads subscriptions: whose they are, how they stand, and what their numbers say to whom.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use uuid::Uuid;

use super::{Eyes, Hook, Numbered, Subscription};
use crate::domain::subscription::{Payload, Status};
use crate::store::grants::Right;
use crate::store::read_resource::stored;
use crate::store::record::Stored;
use crate::store::row::{instant, time, time_if_any, uuid, word};
use crate::store::search::Asked;
use crate::store::sql::Sql;
use crate::store::visible::and;
use crate::store::{Store, StoreError};

const BY_ID: &str = "SELECT * FROM subscription WHERE id = ?1";
const OF_CLIENT: &str = "SELECT * FROM subscription INDEXED BY subscription_of_client WHERE client = ?1 \
     AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT ?4";
const CHANGED: &str = "SELECT * FROM subscription INDEXED BY subscription_changed WHERE changed > ?1 ORDER BY changed";
const MATCHED: &str = "SELECT matched FROM subscription_log WHERE id = 1";
/// Those that have something to tell, of a few that are asked.
const HAS_NEWS: &str = "SELECT EXISTS (SELECT 1 FROM subscription_event INDEXED BY subscription_event_pending \
     WHERE subscription = ?1 AND number IS NULL) OR EXISTS (SELECT 1 FROM subscription WHERE id = ?1 AND numbered > told)";
const NUMBERED: &str = "SELECT number, version, at FROM subscription_event INDEXED BY subscription_event_number \
     WHERE subscription = ?1 AND number >= ?2 AND number <= ?3 AND number IS NOT NULL ORDER BY number LIMIT ?4";
const BACKWARDS: &str = "SELECT number, version FROM subscription_event INDEXED BY subscription_event_number \
     WHERE subscription = ?1 AND number > ?2 AND number IS NOT NULL ORDER BY number DESC";
const OFFER: &str = "SELECT told, offered FROM subscription WHERE id = ?1";
/// The oldest is too old, or there are too many.
const OVERFULL: &str = "SELECT (SELECT at FROM subscription_event WHERE subscription = ?1 ORDER BY seq LIMIT 1) < ?2 \
     OR (SELECT min(e.number) FROM subscription_event e INDEXED BY subscription_event_number \
         WHERE e.subscription = ?1 AND e.number IS NOT NULL) <= (SELECT numbered - ?3 FROM subscription WHERE id = ?1)";
const TYPE_AT: &str = "SELECT r.type FROM version v CROSS JOIN resource r ON r.rid = v.rid WHERE v.seq = ?1";
const AT: &str = "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient \
     FROM version v CROSS JOIN resource r ON r.rid = v.rid WHERE v.seq = ?";

/// The version of that `seq`, where its resource may be seen as it stands, and what the version says too, with every one of the rights.
pub(super) fn seen(asked: &Asked<'_, '_>, rights: &[Right], seq: i64) -> Result<Option<Stored>, StoreError> {
    let kind: Option<String> = asked.db.first(TYPE_AT, [seq], |row| Ok::<_, StoreError>(row.get(0)?))?;
    let Some(kind) = kind else { return Ok(None) };
    let mut sql = Sql::new(AT, [Value::from(seq)]);
    for right in rights {
        sql = and(sql, asked.visible(*right, &kind, "r")?.as_ref());
    }
    let Some(found) = asked.db.first(&sql.text, params_from_iter(sql.values), stored)? else { return Ok(None) };
    for right in rights {
        if !asked.covers(*right, &found)? {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn subscription(row: &Row<'_>) -> Result<Subscription, StoreError> {
    let headers: String = row.get("headers")?;
    Ok(Subscription {
        id: uuid(row, "id")?,
        client: row.get("client")?,
        caller: row.get("caller")?,
        topic: row.get("topic")?,
        asked: row.get("asked")?,
        channel: Hook {
            endpoint: row.get("endpoint")?,
            headers: serde_json::from_str(&headers).map_err(|_| StoreError::Corrupt("headers"))?,
            payload: word(row, "payload", "a payload", Payload::parse)?,
            heartbeat_s: row.get("heartbeat_s")?,
            timeout_s: row.get("timeout_s")?,
            max_count: row.get("max_count")?,
        },
        end_at: time_if_any(row, "end_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.get("version")?,
        generation: row.get("generation")?,
        changed: row.get("changed")?,
        status: word(row, "status", "the status of a subscription", Status::parse)?,
        error: row.get("error")?,
        since_seq: row.get("since_seq")?,
        told: row.get("told")?,
        dropped: row.get("dropped")?,
        attempts: row.get("attempts")?,
        failing_since: time_if_any(row, "failing_since")?,
        due_at: time_if_any(row, "due_at")?,
        spoken_at: time_if_any(row, "spoken_at")?,
    })
}

impl Store {
    /// For whoever works on it.
    pub async fn subscription(&self, id: Uuid) -> Result<Option<Subscription>, StoreError> {
        self.read(move |db| db.first(BY_ID, [id.as_bytes()], subscription)).await
    }

    /// Those of a client, the first made first, behind that one.
    pub async fn subscriptions_of(
        &self,
        client: &str,
        after: Option<(chrono::DateTime<chrono::Utc>, Uuid)>,
        limit: u32,
    ) -> Result<Vec<Subscription>, StoreError> {
        let client = client.to_owned();
        let (at, id) = after.map_or((i64::MIN, Uuid::nil()), |(at, id)| (at.timestamp_millis(), id));
        self.read(move |db| db.all(OF_CLIENT, (client, at, id.as_bytes(), limit), subscription)).await
    }

    /// Those that were made or changed since that change.
    pub async fn subscriptions_changed(&self, since: i64) -> Result<Vec<Subscription>, StoreError> {
        self.read(move |db| db.all(CHANGED, [since], subscription)).await
    }

    /// How far the log was read for them.
    pub async fn matched(&self) -> Result<i64, StoreError> {
        let found = self.read(move |db| db.first(MATCHED, [], |row| Ok::<i64, StoreError>(row.get(0)?))).await?;
        Ok(found.unwrap_or(0))
    }

    /// Those of these that have something which was not taken yet.
    pub async fn with_news(&self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        self.read(move |db| {
            let mut all = Vec::new();
            for id in ids {
                let has: Option<bool> = db.first(HAS_NEWS, [id.as_bytes()], |row| Ok::<_, StoreError>(row.get(0)?))?;
                all.extend(has.unwrap_or(false).then_some(id));
            }
            Ok(all)
        })
        .await
    }

    /// What is offered: the numbers after the last that was taken, up to the last that an attempt may show.
    pub async fn offered(&self, id: Uuid, eyes: &Eyes) -> Result<Vec<Numbered>, StoreError> {
        let eyes = eyes.clone();
        self.read(move |db| {
            let bounds: Option<(i64, i64)> =
                db.first(OFFER, [id.as_bytes()], |row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?)))?;
            let Some((told, offered)) = bounds else { return Ok(Vec::new()) };
            numbered(&Asked::of(db, &eyes.filter), id, &eyes, (told + 1, offered), u32::MAX)
        })
        .await
    }

    /// What the numbers from that one to that one say, at most so many.
    pub async fn numbered(
        &self,
        id: Uuid,
        eyes: &Eyes,
        bounds: (i64, i64),
        limit: u32,
    ) -> Result<Vec<Numbered>, StoreError> {
        let eyes = eyes.clone();
        self.read(move |db| numbered(&Asked::of(db, &eyes.filter), id, &eyes, bounds, limit)).await
    }

    /// The last number after that one whose event may be seen.
    pub async fn last_number(&self, id: Uuid, eyes: &Eyes, after: i64) -> Result<Option<i64>, StoreError> {
        let eyes = eyes.clone();
        self.read(move |db| {
            let asked = Asked::of(db, &eyes.filter);
            let found = |row: &Row<'_>| {
                let (number, version): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok::<_, StoreError>(seen(&asked, &eyes.rights, version)?.map(|_| number))
            };
            Ok(db.some(BACKWARDS, (id.as_bytes(), after), found, 1)?.pop())
        })
        .await
    }

    /// Those of these with events from before that, or with more than so many.
    pub async fn overfull(
        &self,
        ids: Vec<Uuid>,
        before: chrono::DateTime<chrono::Utc>,
        keep: u32,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.read(move |db| {
            let mut all = Vec::new();
            for id in ids {
                let is: Option<Option<bool>> =
                    db.first(OVERFULL, (id.as_bytes(), before.timestamp_millis(), keep), |row| {
                        Ok::<_, StoreError>(row.get(0)?)
                    })?;
                all.extend(is.flatten().unwrap_or(false).then_some(id));
            }
            Ok(all)
        })
        .await
    }
}

fn numbered(
    asked: &Asked<'_, '_>,
    id: Uuid,
    eyes: &Eyes,
    (from, to): (i64, i64),
    limit: u32,
) -> Result<Vec<Numbered>, StoreError> {
    let rows: Vec<(i64, i64, i64)> = asked.db.all(NUMBERED, (id.as_bytes(), from, to, limit), |row| {
        Ok::<_, StoreError>((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let one = |(number, version, at): (i64, i64, i64)| {
        Ok(Numbered { number, at: instant(at)?, seen: seen(asked, &eyes.rights, version)? })
    };
    rows.into_iter().map(one).collect()
}
