//! `$status` and `$events`: how a subscription stands, and what its numbers say, for a subscriber that was away or wants to be sure.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::rights::{rights, standing};
use super::tell::told;
use super::{register, said};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::subscription::{Payload, Status};
use crate::fhir::subscription::{Kind, Notification, Told, bundle, status as status_of};
use crate::store::{Commit, Eyes, Filter, Numbered, Stored, Subscription, SubscriptionChange};
use crate::sync::{Refusal, witness};

/// Events that are numbered for one question.
const AT_ONCE: u32 = 1000;

/// Which events are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventsAsked {
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub content: Option<Payload>,
    pub limit: u32,
}

/// What there is of them.
#[derive(Debug)]
pub enum Events {
    Found(Value),
    /// Kept no more; the first that is.
    TooOld {
        first: i64,
    },
}

/// With whose eyes a question is answered: what the subscription may be told, of what the one who asks may see. Nothing where nothing
/// is agreed any more.
fn eyes(gateway: &Gateway, caller: &Caller, of: &Subscription, payload: Payload, now: DateTime<Utc>) -> Eyes {
    let rights = rights(payload);
    match standing(gateway, of, now) {
        // The same client asks: its token may be narrower than what it subscribed with, and never makes it wider.
        Some(standing) if caller.grants.is_none() => Eyes { filter: standing.eyes.filter, rights },
        Some(_) => Eyes { filter: caller.filter(), rights },
        None => Eyes { filter: Filter::nothing(), rights },
    }
}

/// Numbers what has happened so far, and the last number that may be told.
async fn count(gateway: &Gateway, of: &Subscription, now: DateTime<Utc>) -> Result<i64, Refusal> {
    let known = of.told.max(of.dropped);
    let Some(standing) = standing(gateway, of, now) else { return Ok(known) };
    let eyes = Box::new(standing.eyes.clone());
    let number = SubscriptionChange::Number { id: of.id, eyes, most: AT_ONCE };
    gateway.store.commit(Commit { subscriptions: vec![number], ..Commit::default() }).await?;
    let last = gateway.store.last_number(of.id, &standing.eyes, known).await?;
    Ok(last.unwrap_or(known))
}

/// How one stands, as a Parameters resource.
pub async fn status(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<Value, Refusal> {
    let of = register::own(gateway, caller, id).await?;
    one(gateway, &of, now).await
}

/// How those of the caller stand that are named, or all; only those in one of these states, where some are given.
pub async fn statuses(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[Uuid],
    states: &[Status],
    limit: u32,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, Refusal> {
    let mut all = Vec::new();
    let found = match ids {
        [] => register::list(gateway, caller, None, limit).await?,
        ids => {
            let mut found = Vec::new();
            for id in ids {
                found.push(register::own(gateway, caller, *id).await?);
            }
            found
        }
    };
    for of in found.iter().filter(|of| states.is_empty() || states.contains(&of.status)) {
        all.push(one(gateway, of, now).await?);
    }
    Ok(all)
}

async fn one(gateway: &Gateway, of: &Subscription, now: DateTime<Utc>) -> Result<Value, Refusal> {
    let count = count(gateway, of, now).await?;
    let answer = Notification {
        base: &base(gateway),
        id: of.id,
        topic: &of.topic,
        kind: Kind::Status,
        status: of.status,
        payload: of.channel.payload,
        count,
        at: &said(now),
        error: of.error.as_deref(),
        events: &[],
    };
    Ok(status_of(&answer))
}

fn base(gateway: &Gateway) -> String {
    format!("{}/fhir", gateway.config.base_url)
}

/// The events that are asked for, as a notification. Reading them is reading: it is in the log before it is answered.
pub async fn events(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    asked: EventsAsked,
    now: DateTime<Utc>,
) -> Result<Events, Refusal> {
    let of = register::own(gateway, caller, id).await?;
    let count = count(gateway, &of, now).await?;
    let payload = asked.content.unwrap_or(of.channel.payload);
    let from = asked.since.unwrap_or(of.dropped + 1).max(1);
    if from <= of.dropped {
        return Ok(Events::TooOld { first: of.dropped + 1 });
    }
    let until = asked.until.unwrap_or(count).min(count);
    let eyes = eyes(gateway, caller, &of, payload, now);
    let mut numbered = gateway.store.numbered(id, &eyes, (from, until), asked.limit).await?;
    // A number at the end that is hidden says the next that is not, as it does when it is told.
    if let Some(last) = numbered.last().filter(|last| last.seen.is_none()).map(|last| last.number) {
        let behind = gateway.store.numbered(id, &eyes, (last + 1, count), AT_ONCE).await?;
        numbered.extend(behind);
    }
    let limit = numbered.iter().map(|one| one.number).filter(|n| *n <= until).take(asked.limit as usize).last();
    let mut events = told(&numbered, payload);
    events.retain(|event| limit.is_some_and(|limit| event.number <= limit));
    let shown: Vec<Stored> = shown(&numbered, &events);
    if payload == Payload::FullResource {
        witness::shown(gateway, caller, "read", &format!("Subscription/{id}/$events"), &shown, now).await?;
    } else {
        witness::listed(gateway, caller, &format!("Subscription/{id}/$events"), &shown, now).await?;
    }
    let answer = Notification {
        base: &base(gateway),
        id,
        topic: &of.topic,
        kind: Kind::Query,
        status: of.status,
        payload,
        count,
        at: &said(now),
        error: of.error.as_deref(),
        events: &events,
    };
    Ok(Events::Found(bundle(&answer)))
}

fn shown(numbered: &[Numbered], events: &[Told]) -> Vec<Stored> {
    let is_told =
        |stored: &&Stored| events.iter().any(|e| e.id == stored.id && e.resource_type == stored.resource_type);
    numbered.iter().filter_map(|one| one.seen.as_ref()).filter(is_told).cloned().collect()
}
