//! The sender takes its request back: at once while nobody has accepted it, by asking the owner from then on.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::abort;
use super::charge::{self, Speaks};
use super::consultation;
use super::moved::{Mover, moves};
use super::notice::{News, notices};
use super::package::{self, Address, Right, is_pushed};
use super::sender::sent_by;
use super::weigh::{Scale, Weighed, current, set_status, touch};
use super::{Refusal, TRIES, witness, worklist};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::Stage;
use crate::domain::audit::{Deed, Event};
use crate::domain::delivery::State;
use crate::domain::task::{self, Role, Status, Verdict};
use crate::fhir::bundle::TaskMode;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{reference_of, type_of};
use crate::partner::had_no_effect;
use crate::store::{
    Action, Attempt, Commit, Committed, Delivery, DeliveryChange, DeliveryQuery, Exchange, Expect, Filter,
};

/// What came of it, one line for each recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// Units whose Task is cancelled.
    pub cancelled: Vec<String>,
    /// Units that have accepted and are now asked to stop.
    pub asked: Vec<String>,
}

const NOT_YOURS: (&str, &str) =
    ("Bara den sändande enheten kan ta tillbaka en begäran.", "Only the sending unit can take a request back.");

/// Cancels what can be cancelled, and asks the rest.
pub async fn cancel(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Cancelled, Refusal> {
    for _ in 0..TRIES {
        let exchange = sent_by(gateway, caller, id, NOT_YOURS).await?;
        if consultation::waits(&exchange) {
            consultation::abandon(gateway, caller, &exchange, now).await?;
            return Ok(Cancelled { cancelled: Vec::new(), asked: Vec::new() });
        }
        let (commit, cancelled) = plan(gateway, caller, &exchange, reason, now).await?;
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.wake.notify_one();
            return Ok(cancelled);
        }
    }
    Err(Refusal::Busy)
}

async fn plan(
    gateway: &Gateway,
    caller: &Caller,
    before: &Exchange,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(Commit, Cancelled), Refusal> {
    let current = current(gateway.store.resources(&Filter::ALL, &before.resources).await?);
    let mut exchange = Exchange { revision: before.revision + 1, updated_at: now, ..before.clone() };
    let mut cancelled = Cancelled { cancelled: Vec::new(), asked: Vec::new() };
    let mut already: Vec<String> = Vec::new();
    let mut changed: Vec<Value> = Vec::new();
    let mut commit = Commit::default();
    let parties = exchange.parties.iter_mut().zip(&before.parties);
    for (party, known) in parties.filter(|(p, _)| p.role != crate::domain::PartyRole::Sender) {
        let Some((_, task)) = party.task.as_ref().and_then(|id| current.get(&format!("Task/{id}"))) else { continue };
        let from = task["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
        if from.is_final() {
            continue;
        }
        let address = Address::of(before, known, now);
        if task::verdict(from, Status::Cancelled, Role::Placer) == Verdict::Allowed {
            let never_sent = never_arrived(gateway, before.id, &party.unit).await?;
            let mut task = task.clone();
            if let Some(object) = task.as_object_mut() {
                set_status(object, Status::Cancelled, Some(reason));
                touch(object, now);
            }
            party.status = Some(Status::Cancelled);
            party.stage = Stage::Cancelled;
            if !never_sent.is_empty() {
                commit.delivery_changes.extend(never_sent.iter().map(take_back));
            } else if is_pushed(gateway, &party.partner) {
                commit.deliveries.push(package::task_move(&address, &task, Right::Placer));
                party.stage = Stage::Waiting;
            }
            changed.push(task);
            cancelled.cancelled.push(party.unit.clone());
        } else {
            let focus = reference_of(task).unwrap_or_default();
            if abort::asked_of(&current, &focus).any(abort::is_open) {
                already.push(party.unit.clone()); // asked before: once is enough
                continue;
            }
            // What was refused may be asked for again: another request, with its own answer.
            let abort = abort::ask(before, task, abort::asked_of(&current, &focus).count(), reason, now);
            if is_pushed(gateway, &party.partner) {
                let carried: Vec<Value> = current
                    .values()
                    .map(|(_, v)| v)
                    .filter(|r| matches!(type_of(r), "Patient" | "Organization"))
                    .chain([&abort])
                    .cloned()
                    .collect();
                let id = abort["id"].as_str();
                commit.deliveries.push(package::bundle(gateway, &address, &carried, TaskMode::CreateOnce, id));
            }
            changed.push(abort);
            cancelled.asked.push(party.unit.clone());
        }
    }
    if changed.is_empty() && !already.is_empty() {
        cancelled.asked = already;
        return Ok((commit, cancelled));
    }
    if changed.is_empty() {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "exchange.stage",
            format!("Det finns inget att ta tillbaka: ärendet står på {}.", before.stage),
            format!("There is nothing to take back: the exchange stands at {}.", before.stage),
        )));
    }
    if cancelled.asked.is_empty() {
        for (_, request) in current.values().filter(|(_, r)| type_of(r) == "ServiceRequest") {
            let mut request = request.clone();
            request["status"] = json!("revoked");
            changed.push(request);
        }
    }
    for resource in &changed {
        let name = format!("{}/{}", type_of(resource), resource["id"].as_str().unwrap_or_default());
        if !exchange.resources.contains(&name) {
            exchange.resources.push(name);
        }
    }
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    for resource in &changed {
        scale.add(resource, &current, &mut weighed);
    }
    let told: Vec<&String> = cancelled.cancelled.iter().chain(&cancelled.asked).collect();
    let parties = exchange.recipients().filter(|p| told.contains(&&p.unit));
    commit.deliveries.extend(notices(gateway, &exchange, parties, News::Cancellation, now));
    commit.put = weighed.put;
    commit.moves = moves(&exchange, &changed, &current, Mover { actor: &caller.name, by: None }, now);
    commit.expect = weighed.expect;
    commit.expect.push(Expect::Revision { exchange: before.id, revision: before.revision });
    let event = Event::new(
        now,
        witness::by(&gateway.config.directory, caller),
        Deed::Cancel,
        format!("exchange/{}", before.id),
    )
    .with("cancelled", json!(cancelled.cancelled))
    .with("asked", json!(cancelled.asked));
    commit.audit.push(witness::wrote(event, &commit));
    worklist::follow(gateway, &mut commit, &exchange, now).await?;
    let by = witness::by(&gateway.config.directory, caller);
    charge::follow(gateway, &mut commit, &exchange, Speaks::Sender, by, now).await?;
    commit.exchanges.push(exchange);
    Ok((commit, cancelled))
}

/// What is parked of the request, and what stands behind it, where certainly nothing of it has reached the unit: there is
/// nothing to take back there. Empty where something may have.
async fn never_arrived(gateway: &Gateway, exchange: Uuid, unit: &str) -> Result<Vec<Delivery>, Refusal> {
    let query = DeliveryQuery { exchange: Some(exchange), ..DeliveryQuery::default() };
    let mut made = gateway.store.deliveries(&query).await?;
    made.retain(|d| d.unit == unit && d.action != Action::Notice);
    if !made.iter().any(|d| d.state == State::Parked && d.action == Action::Transaction) {
        return Ok(Vec::new());
    }
    for delivery in &made {
        let tries = gateway.store.attempts(delivery.id).await?;
        // Who gave no answer may have got it; so may whoever the last attempt gave up on.
        let unanswered = |a: &Attempt| a.class == "transient" && !had_no_effect(a.reason.as_deref());
        let gave_up = delivery.state == State::Parked && tries.last().is_some_and(|a| a.class == "transient");
        let arrived = delivery.state == State::Delivered || tries.iter().any(|a| a.class == "delivered");
        if arrived || gave_up || delivery.begun_at.is_some() || tries.iter().any(unanswered) {
            return Ok(Vec::new());
        }
    }
    made.retain(|d| matches!(d.state, State::Waiting | State::Parked));
    Ok(made)
}

fn take_back(delivery: &Delivery) -> DeliveryChange {
    DeliveryChange {
        id: delivery.id,
        from: delivery.state,
        to: State::Skipped,
        due_at: delivery.due_at,
        note: Some("återtagen av avsändaren | taken back by the sender".into()),
        attempt: None,
    }
}
