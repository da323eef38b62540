//! Makes one delivery: sends the stored bytes, and commits what came of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::counterpart::{self, Sent};
use super::package::apply_move;
use super::{Refusal, TRIES, worklist};
use crate::Gateway;
use crate::domain::audit::{self, By, Deed, Event};
use crate::domain::delivery::{Next, Outcome, State, after, partner_of};
use crate::domain::{PartyRole, Stage};
use crate::partner::Reply;
use crate::store::{
    Action, Attempt, Audit, Begun, Commit, Committed, Delivery, DeliveryChange, DeliveryQuery, Exchange, Expect, Filter,
};
use crate::telemetry::{Attempted, join};

/// Sends the delivery and records the outcome. `started_at` is when the attempt began, `dice` spreads the next one.
/// `None`: it was decided about before anything was sent, and nothing was.
pub async fn deliver(
    gateway: &Gateway,
    delivery: &Delivery,
    started_at: DateTime<Utc>,
    dice: f64,
) -> Result<Option<Outcome>, Refusal> {
    // What was begun and never ended may have been written there: whoever sends it next reads first.
    let is_first = delivery.action == Action::Transaction && delivery.attempts == 0 && delivery.begun_at.is_none();
    let may_go = match is_first || rests_on_consent(delivery) {
        true => begin(gateway, delivery, started_at).await?,
        // Asked last of all: a block that was registered since it was found due has parked it.
        false => !gateway.store.is_held(delivery.id).await?,
    };
    if !may_go {
        return Ok(None);
    }
    let _in_flight = gateway.figures.begin_attempt(&delivery.partner);
    // The attempt goes on with the thread of the request that caused it.
    let span = tracing::info_span!("deliver", delivery = %delivery.id, partner = delivery.partner);
    let context = join(&span, gateway.traces.of(delivery.exchange));
    let sent = context.scope(send(gateway, delivery, started_at).instrument(span)).await?;
    let reply = &sent.reply;
    let (partner, class) = (delivery.partner.as_str(), reply.outcome.class());
    gateway.figures.attempted(Attempted { partner, class, took: reply.took });
    let finished_at = started_at + reply.took;
    record(gateway, delivery, &sent, started_at, finished_at, dice).await?;
    Ok(Some(sent.reply.outcome))
}

/// Whether it carries a Consent. No text of a document can look like one: a quotation mark within it is escaped.
fn rests_on_consent(delivery: &Delivery) -> bool {
    let says_so = || std::str::from_utf8(&delivery.body).is_ok_and(|body| body.contains("\"Consent\""));
    delivery.action == Action::Transaction && says_so()
}

/// Puts on record that it is about to be sent, so that a withdrawal knows whom it may have reached, and the next attempt that it
/// may stand there, whatever becomes of this one. False where it waits no more.
async fn begin(gateway: &Gateway, delivery: &Delivery, at: DateTime<Utc>) -> Result<bool, Refusal> {
    let commit = Commit {
        expect: vec![Expect::Delivery { delivery: delivery.id, state: State::Waiting }],
        begun: vec![Begun { delivery: delivery.id, at }],
        ..Commit::default()
    };
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

async fn send(gateway: &Gateway, delivery: &Delivery, at: DateTime<Utc>) -> Result<Sent, Refusal> {
    if delivery.action == Action::Notice {
        let (partner, _) = partner_of(&delivery.partner);
        return Ok(Sent::plain(match gateway.notifiers.get(partner) {
            Some(notifier) => notifier.tell(&delivery.id.to_string(), delivery.body.clone(), at).await,
            None => never("the partner has no notice_url any more"),
        }));
    }
    let Some(client) = gateway.clients.get(&delivery.partner) else {
        return Ok(Sent::plain(never("the partner is not configured for push any more")));
    };
    if delivery.action == Action::Transaction && super::protection::exposes(gateway, delivery).await? {
        return Ok(Sent::plain(never(
            "the patient's identity is protected since this was made; a new version of the document goes in its place",
        )));
    }
    Ok(Sent::plain(match delivery.action {
        Action::Transaction => return counterpart::send(gateway, client, delivery, at).await,
        Action::MoveTask => {
            let stored: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
            let identifier = stored["identifier"].as_str().unwrap_or_default().to_owned();
            let refused = std::sync::Mutex::new(None);
            let task = identifier.rsplit('|').next().map(|id| format!("Task/{id}")).unwrap_or_default();
            let known = gateway.store.counterparts(&delivery.partner, &[task]).await?;
            let known = known.first().map(|c| c.theirs.clone());
            let mut reply = client
                .move_task(&identifier, known.as_deref(), |theirs| match apply_move(&stored, theirs) {
                    Ok(changed) => changed,
                    Err(reason) => {
                        if let Ok(mut slot) = refused.lock() {
                            *slot = Some(reason);
                        }
                        None
                    }
                })
                .await;
            if let Some(reason) = refused.into_inner().ok().flatten() {
                reply.outcome = Outcome::Conflict { reason };
            }
            reply
        }
        Action::Notice => never("a notice is not for the partner's FHIR server"),
    }))
}

/// Nothing was sent, and nothing will be until the settings change.
fn never(reason: &str) -> Reply {
    Reply { outcome: Outcome::Permanent { reason: reason.to_owned() }, status: None, took: Duration::ZERO }
}

/// How an attempt ended, in the audit log.
fn told(outcome: &Outcome) -> audit::Outcome {
    match outcome {
        Outcome::Delivered => audit::Outcome::Success,
        Outcome::Transient { .. } => audit::Outcome::Minor,
        _ => audit::Outcome::Serious,
    }
}

async fn record(
    gateway: &Gateway,
    delivery: &Delivery,
    sent: &Sent,
    started_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    dice: f64,
) -> Result<(), Refusal> {
    let reply = &sent.reply;
    let waited = (started_at - delivery.first_attempt_at.unwrap_or(started_at)).to_std().unwrap_or_default();
    let schedule = gateway.config.partner(partner_of(&delivery.partner).0).map(|p| &p.schedule);
    let next = match schedule {
        Some(schedule) => after(&reply.outcome, delivery.attempts + 1, waited, schedule, dice),
        None => Next::Park,
    };
    let (to, due_at) = match next {
        Next::Done => (State::Delivered, delivery.due_at),
        Next::Park => (State::Parked, delivery.due_at),
        Next::RetryIn(delay) => (State::Waiting, finished_at + delay),
    };
    let reason = reply.outcome.reason().map(str::to_owned);
    let change = DeliveryChange {
        id: delivery.id,
        from: State::Waiting,
        to,
        due_at,
        note: (to == State::Parked).then(|| reason.clone().unwrap_or_default()),
        attempt: Some(Attempt {
            at: started_at,
            class: reply.outcome.class().to_owned(),
            status: reply.status,
            reason,
            duration_ms: u32::try_from(reply.took.as_millis()).unwrap_or(u32::MAX),
        }),
    };
    let event = Event::new(finished_at, By::gateway(), Deed::Deliver, format!("delivery/{}", delivery.id))
        .ended(told(&reply.outcome))
        .with("exchange", delivery.exchange.to_string())
        .with("documentVersion", delivery.document_version)
        .with("action", delivery.action.code())
        .with("partner", delivery.partner.as_str())
        .with("unit", delivery.unit.as_str())
        .with("class", reply.outcome.class())
        .with("state", to.code());
    let audit = Audit::from(event);
    for _ in 0..TRIES {
        let mut commit =
            Commit { delivery_changes: vec![change.clone()], audit: vec![audit.clone()], ..Commit::default() };
        commit.counterparts.clone_from(&sent.counterparts);
        if let Some(exchange) = staged(gateway, delivery, to, finished_at).await? {
            commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision - 1 });
            commit.exchanges.push(exchange);
        }
        if to == State::Parked
            && let Some(exchange) = gateway.store.exchange(&Filter::ALL, delivery.exchange).await?
        {
            worklist::follow(gateway, &mut commit, &exchange, finished_at).await?;
        }
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            return Ok(());
        }
        let query = DeliveryQuery { id: Some(delivery.id), ..DeliveryQuery::default() };
        let Some(decided) = gateway.store.deliveries(&query).await?.into_iter().next() else { return Ok(()) };
        if decided.state != State::Waiting && note_attempt(gateway, &decided, &change, &audit, sent).await? {
            tracing::warn!(delivery = %delivery.id, "delivery {} was decided on while it was sent", delivery.id);
            return Ok(());
        }
    }
    Err(Refusal::Busy)
}

/// A person, or a withdrawal, decided about it while it was on its way. The decision stands; that it was sent, and what
/// came of that, is recorded all the same. False where it was decided about again.
async fn note_attempt(
    gateway: &Gateway,
    decided: &Delivery,
    change: &DeliveryChange,
    audit: &Audit,
    sent: &Sent,
) -> Result<bool, Refusal> {
    let mut payload: Value = serde_json::from_str(&audit.payload).unwrap_or_default();
    payload["state"] = json!(decided.state.code());
    let stays = DeliveryChange {
        from: decided.state,
        to: decided.state,
        due_at: decided.due_at,
        note: decided.note.clone(),
        ..change.clone()
    };
    let audit = Audit { payload: payload.to_string(), ..audit.clone() };
    // What the partner has now it has, whatever was decided: the next write goes over it, not beside it.
    let counterparts = sent.counterparts.clone();
    let commit = Commit { delivery_changes: vec![stays], audit: vec![audit], counterparts, ..Commit::default() };
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

/// The exchange with the recipient's new stage; `None` where the stage stays as it is.
pub async fn staged(
    gateway: &Gateway,
    delivery: &Delivery,
    to: State,
    now: DateTime<Utc>,
) -> Result<Option<Exchange>, Refusal> {
    if !stages(delivery) {
        return Ok(None);
    }
    let Some(mut exchange) = gateway.store.exchange(&Filter::ALL, delivery.exchange).await? else { return Ok(None) };
    let query = DeliveryQuery { exchange: Some(delivery.exchange), ..DeliveryQuery::default() };
    let siblings = gateway.store.deliveries(&query).await?;
    let mut states: Vec<State> = siblings
        .iter()
        .filter(|d| d.unit == delivery.unit && d.id != delivery.id && stages(d))
        // What a block holds has not come, and says no more than that.
        .map(|d| if d.held { State::Waiting } else { d.state })
        .collect();
    states.push(to);
    let before = exchange.clone();
    for party in exchange.parties.iter_mut().filter(|p| p.role != PartyRole::Sender && p.unit == delivery.unit) {
        party.stage = if states.contains(&State::Parked) {
            Stage::Parked
        } else if states.contains(&State::Waiting) {
            Stage::Waiting
        } else {
            party.status.map_or(Stage::Delivered, Stage::of_task)
        };
    }
    if exchange.entered_in_error {
        for party in exchange.parties.iter_mut().filter(|p| p.stage == Stage::Delivered && p.role != PartyRole::Sender)
        {
            party.stage = Stage::EnteredInError;
        }
    }
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
    if exchange == before {
        return Ok(None);
    }
    exchange.revision += 1;
    exchange.updated_at = now;
    Ok(Some(exchange))
}

/// Whether it says how far the document has come: a notice brings nothing, and what is sent again has been there.
fn stages(delivery: &Delivery) -> bool {
    delivery.action != Action::Notice && delivery.resend_of.is_none()
}
