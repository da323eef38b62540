//! One attempt to tell one subscriber: the handshake, what happened, or that nothing did. What it may see is asked last of all, and
//! what came of it is on disk before the next.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::rights::{Standing, standing};
use super::{said, trouble};
use crate::Gateway;
use crate::domain::audit::{self, By, Deed, Event};
use crate::domain::breaker::Sign;
use crate::domain::delivery::{Next, Outcome, after};
use crate::domain::subscription::{Payload, Status, tell};
use crate::fhir::subscription::{Kind, Notification, Told, bundle};
use crate::partner::Reply;
use crate::store::{Audit, Commit, Committed, Numbered, Spoken, Stored, Subscription, SubscriptionChange};
use crate::sync::{Refusal, witness};

/// What came of a turn: what it says of the endpoint, and when the next is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) sign: Option<Sign>,
    pub(super) next: Option<DateTime<Utc>>,
}

/// What is said in one attempt.
struct Saying {
    kind: Kind,
    body: Vec<u8>,
    /// Up to this number, where it is of events.
    through: Option<i64>,
    shown: Vec<Stored>,
}

/// Looks at a subscription and does what is due now.
pub(super) async fn turn(gateway: &Gateway, id: Uuid, now: DateTime<Utc>, dice: f64) -> Result<Turn, Refusal> {
    let Some(subscription) = gateway.store.subscription(id).await? else { return Ok(Turn::default()) };
    if matches!(subscription.status, Status::Off | Status::Error) {
        return Ok(Turn::default());
    }
    if subscription.end_at.is_some_and(|end| end <= now) {
        let spoken = Spoken { status: Status::Off, ..nothing_new(&subscription, now) };
        settle(gateway, &subscription, spoken, None, now).await?;
        return Ok(Turn::default());
    }
    let until_end = |next: Option<DateTime<Utc>>| match (next, subscription.end_at) {
        (Some(next), Some(end)) => Some(next.min(end)),
        (next, end) => next.or(end),
    };
    if let Some(due) = subscription.due_at.filter(|due| *due > now) {
        return Ok(Turn { sign: None, next: until_end(Some(due)) });
    }
    let Some(standing) = standing(gateway, &subscription, now) else {
        give_up(gateway, &subscription, "nothing is agreed with the subscriber any more", None, now).await?;
        return Ok(Turn::default());
    };
    if !is_agreed(gateway, &standing, &subscription) {
        give_up(gateway, &subscription, "the endpoint is not agreed any more", None, now).await?;
        return Ok(Turn::default());
    }
    let Some(saying) = saying(gateway, &subscription, &standing, now).await? else {
        return Ok(Turn { sign: None, next: until_end(heartbeat_at(&subscription)) });
    };
    let channel = &subscription.channel;
    let timeout = Duration::from_secs(u64::from(channel.timeout_s)).min(gateway.config.subscriptions.timeout());
    let reply = gateway.hooks.tell(&channel.endpoint, &channel.headers, timeout, saying.body.clone()).await;
    let finished_at = now + reply.took;
    tracing::info!(
        subscription = %id, kind = ?saying.kind, class = reply.outcome.class(), reason = reply.outcome.reason(),
        "told subscription {id}"
    );
    let next = record(gateway, &subscription, &standing, &saying, &reply, (now, finished_at), dice).await?;
    Ok(Turn { sign: Some(reply.outcome.sign()), next: until_end(next) })
}

/// Whether the settings still say that its partner may be told there.
fn is_agreed(gateway: &Gateway, standing: &Standing, subscription: &Subscription) -> bool {
    let partner = standing.caller.partner.as_deref().and_then(|name| gateway.config.partner(name));
    let hooks = partner.map_or(&[][..], |partner| &partner.hooks);
    hooks.iter().any(|hook| hook.covers(&subscription.channel.endpoint).is_some())
}

/// When it must be told that nothing has happened.
pub(super) fn heartbeat_at(subscription: &Subscription) -> Option<DateTime<Utc>> {
    let period = TimeDelta::seconds(i64::from(subscription.channel.heartbeat_s?));
    subscription.spoken_at.unwrap_or(subscription.created_at).checked_add_signed(period)
}

async fn saying(
    gateway: &Gateway,
    subscription: &Subscription,
    standing: &Standing,
    now: DateTime<Utc>,
) -> Result<Option<Saying>, Refusal> {
    let id = subscription.id;
    let of_nothing = |kind| {
        let body = written(gateway, subscription, kind, subscription.told, &said(now), &[]);
        Some(Saying { kind, body, through: None, shown: Vec::new() })
    };
    if subscription.status == Status::Requested {
        return Ok(of_nothing(Kind::Handshake));
    }
    let heartbeat = || {
        let is_due = heartbeat_at(subscription).is_some_and(|at| at <= now);
        if is_due { of_nothing(Kind::Heartbeat) } else { None }
    };
    if gateway.store.with_news(vec![id]).await?.is_empty() {
        return Ok(heartbeat());
    }
    let (eyes, most) = (Box::new(standing.eyes.clone()), subscription.channel.max_count);
    let commit = Commit { subscriptions: vec![SubscriptionChange::Offer { id, eyes, most }], ..Commit::default() };
    if let Committed::Conflict(_) = gateway.store.commit(commit).await? {
        return Ok(None);
    }
    // Asked last of all: a block that was registered since the number was given keeps it from being told.
    let offered = gateway.store.offered(id, &standing.eyes).await?;
    let told = told(&offered, subscription.channel.payload);
    let Some(last) = told.last() else { return Ok(heartbeat()) };
    let (through, at) = (last.number, said(now));
    let body = written(gateway, subscription, Kind::Event, through, &at, &told);
    let shown = offered.into_iter().filter_map(|numbered| numbered.seen).collect();
    Ok(Some(Saying { kind: Kind::Event, body, through: Some(through), shown }))
}

/// Numbers as they are told.
pub(super) fn told(numbered: &[Numbered], payload: Payload) -> Vec<Told> {
    let numbers: Vec<(i64, Option<&Numbered>)> =
        numbered.iter().map(|one| (one.number, one.seen.is_some().then_some(one))).collect();
    let one = |(number, of): (i64, &Numbered)| {
        let seen = of.seen.as_ref()?;
        let body = match payload {
            Payload::FullResource => Some(serde_json::from_slice::<Value>(&seen.body).ok()?),
            Payload::Empty | Payload::IdOnly => None,
        };
        let (resource_type, id) = (seen.resource_type.clone(), seen.id.clone());
        Some(Told { number, at: said(of.at), resource_type, id, is_new: seen.version == 1, body })
    };
    tell(&numbers).into_iter().filter_map(one).collect()
}

fn written(gateway: &Gateway, of: &Subscription, kind: Kind, count: i64, at: &str, events: &[Told]) -> Vec<u8> {
    let base = format!("{}/fhir", gateway.config.base_url);
    let notification = Notification {
        base: &base,
        id: of.id,
        topic: &of.topic,
        kind,
        status: of.status,
        payload: of.channel.payload,
        count,
        at,
        error: None,
        events,
    };
    serde_json::to_vec(&bundle(&notification)).unwrap_or_default()
}

fn nothing_new(of: &Subscription, at: DateTime<Utc>) -> Spoken {
    Spoken {
        id: of.id,
        generation: of.generation,
        status: of.status,
        error: None,
        told: None,
        attempts: 0,
        failing_since: None,
        due_at: None,
        spoken_at: None,
        at,
    }
}

/// Records what came of an attempt; when the next is.
async fn record(
    gateway: &Gateway,
    of: &Subscription,
    standing: &Standing,
    saying: &Saying,
    reply: &Reply,
    (started_at, finished_at): (DateTime<Utc>, DateTime<Utc>),
    dice: f64,
) -> Result<Option<DateTime<Utc>>, Refusal> {
    let audit = noted(gateway, of, standing, saying, reply, finished_at);
    let reason = reply.outcome.reason().unwrap_or_default();
    if reply.outcome == Outcome::Delivered {
        let spoken = Spoken {
            status: Status::Active,
            told: saying.through,
            spoken_at: Some(finished_at),
            ..nothing_new(of, finished_at)
        };
        settle(gateway, of, spoken, audit, finished_at).await?;
        if of.channel.payload == Payload::FullResource {
            witness::fetched(gateway, &standing.caller, &saying.shown, finished_at).await?;
        }
        // There may be more: the next turn looks.
        return Ok(Some(finished_at));
    }
    // Who does not answer the handshake is not waited for: its client is there, and asks again.
    if saying.kind == Kind::Handshake {
        let spoken = Spoken { status: Status::Error, error: Some(reason.to_owned()), ..nothing_new(of, finished_at) };
        settle(gateway, of, spoken, audit, finished_at).await?;
        return Ok(None);
    }
    let since = of.failing_since.unwrap_or(started_at);
    let waited = (started_at - since).to_std().unwrap_or_default();
    let attempts = of.attempts.saturating_add(1);
    match after(&reply.outcome, attempts, waited, &gateway.config.subscriptions.schedule, dice) {
        Next::RetryIn(delay) => {
            let due_at = finished_at + delay;
            let spoken = Spoken {
                error: Some(reason.to_owned()),
                attempts,
                failing_since: Some(since),
                due_at: Some(due_at),
                ..nothing_new(of, finished_at)
            };
            settle(gateway, of, spoken, audit, finished_at).await?;
            Ok(Some(due_at))
        }
        Next::Park | Next::Done => {
            give_up(gateway, of, reason, audit, finished_at).await?;
            Ok(None)
        }
    }
}

/// The row of an attempt that may have shown something.
fn noted(
    gateway: &Gateway,
    of: &Subscription,
    standing: &Standing,
    saying: &Saying,
    reply: &Reply,
    at: DateTime<Utc>,
) -> Option<Audit> {
    let through = saying.through?;
    let outcome = match reply.outcome {
        Outcome::Delivered => audit::Outcome::Success,
        Outcome::Transient { .. } => audit::Outcome::Minor,
        _ => audit::Outcome::Serious,
    };
    let mut event = Event::new(at, By::gateway(), Deed::Notify, format!("subscription/{}", of.id))
        .ended(outcome)
        .with("recipient", standing.caller.name.as_str())
        .with("partner", standing.caller.partner.clone().unwrap_or_default())
        .with("payload", of.channel.payload.code())
        .with("through", through)
        .with("class", reply.outcome.class());
    if let Some(unit) = gateway.config.directory.find(&standing.caller.name) {
        event = event.with("unit", unit.hsa_id.as_str());
    }
    if of.channel.payload == Payload::Empty {
        return Some(event.about([]).into());
    }
    let names = saying.shown.iter().map(|r| format!("{}/{}/{}", r.resource_type, r.id, r.version)).collect();
    Some(event.showing(names).about(witness::patients(&saying.shown)).into())
}

async fn give_up(
    gateway: &Gateway,
    of: &Subscription,
    reason: &str,
    audit: Option<Audit>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    tracing::error!(subscription = %of.id, reason, "subscription {} is told no more", of.id);
    let spoken = Spoken { status: Status::Error, error: Some(reason.to_owned()), ..nothing_new(of, now) };
    settle(gateway, of, spoken, audit, now).await
}

/// One commit. What the client has changed meanwhile stands, and is looked at in the next turn.
async fn settle(
    gateway: &Gateway,
    of: &Subscription,
    spoken: Spoken,
    audit: Option<Audit>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let (is_over, reason) = (spoken.status == Status::Error, spoken.error.clone());
    for _ in 0..crate::sync::TRIES {
        let mut commit = Commit {
            subscriptions: vec![SubscriptionChange::Speak(Box::new(spoken.clone()))],
            audit: audit.clone().into_iter().collect(),
            ..Commit::default()
        };
        // A handshake that fails is for the client alone: nothing was promised yet.
        if is_over && of.status == Status::Active {
            trouble::begin(gateway, &mut commit, of, reason.as_deref().unwrap_or_default(), now).await?;
        }
        match gateway.store.commit(commit).await? {
            Committed::Done { .. } => return Ok(()),
            Committed::Conflict(crate::store::Expect::Subscription { .. }) => {
                // The attempt was made all the same.
                let audit: Vec<Audit> = audit.into_iter().collect();
                if !audit.is_empty() {
                    gateway.store.commit(Commit { audit, ..Commit::default() }).await?;
                }
                return Ok(());
            }
            Committed::Conflict(_) => {}
        }
    }
    Err(Refusal::Busy)
}
