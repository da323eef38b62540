//! Composes the commit of an answer: the moved Tasks with the exchange, what its owner and its sender are told, and the unit
//! that it may be sent on to.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::moved::{Mover, moves};
use super::super::notice::{News, notices};
use super::super::package::{self, Address, Right, is_pushed};
use super::super::redirect::SentOn;
use super::super::weigh::{Current, Scale, Weighed};
use super::super::{part, witness};
use super::{Change, Heard};
use crate::Gateway;
use crate::domain::audit::{Deed, Event};
use crate::domain::task::Status;
use crate::domain::{PartyRole, Stage};
use crate::fhir::bundle::TaskMode;
use crate::fhir::resource::reference_of;
use crate::store::{Commit, Counterpart, Delivery, Exchange, Expect, Inbound, Party, Put};

/// `tasks`: what follows from the owner's move, and last the Task that it moved.
pub(super) fn commit_of(
    gateway: &Gateway,
    before: &Exchange,
    tasks: &[Value],
    change: &Change,
    heard: &Heard<'_>,
    current: &Current,
    now: DateTime<Utc>,
) -> Commit {
    let mut exchange = before.clone();
    exchange.revision += 1;
    exchange.updated_at = now;
    let mut deliveries = Vec::new();
    let mut counterparts = Vec::new();
    let others = tasks.split_last().map_or(&[][..], |(_, others)| others);
    for party in &mut exchange.parties {
        let own = |t: &&Value| party.task.is_some() && party.task.as_deref() == t["id"].as_str();
        let Some(standing) = tasks.iter().find(own) else { continue };
        let Some(status) = standing["status"].as_str().and_then(Status::parse) else { continue };
        party.status = Some(status);
        if party.role == PartyRole::Sender {
            continue;
        }
        party.stage = Stage::of_task(status);
        // What the owner moved in its own system that has; what it moved here, and what follows, it has to be told.
        if (heard.here || others.iter().any(|t| own(&t))) && is_pushed(gateway, &party.partner) {
            let address = Address::of(before, party, now);
            deliveries.push(package::task_move(&address, standing, Right::Both));
            party.stage = Stage::Waiting;
        }
        if is_pushed(gateway, &party.partner) {
            let sent = parts(gateway, before, party, tasks, change, current, now);
            if !sent.deliveries.is_empty() {
                party.stage = Stage::Waiting;
            }
            deliveries.extend(sent.deliveries);
            counterparts.extend(sent.counterparts);
        }
    }
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
    for name in outputs(change).map(str::to_owned).chain(tasks.iter().filter_map(reference_of)) {
        if !exchange.resources.contains(&name) {
            exchange.resources.push(name);
        }
    }
    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    for resource in change.resources.iter().chain(tasks) {
        scale.add(resource, current, &mut weighed);
    }
    let moves = moves(&exchange, tasks, current, Mover { actor: heard.actor, by: heard.by }, now);
    let mut commit = Commit {
        moves,
        put: weighed.put,
        expect: weighed.expect,
        deliveries,
        counterparts,
        inbound: vec![Inbound {
            partner: heard.partner.to_owned(),
            key: heard.key.to_owned(),
            exchange: Some(exchange.id),
            at: now,
            body: heard.body.to_vec(),
            finding: None,
        }],
        ..Commit::default()
    };
    commit.expect.push(Expect::Revision { exchange: before.id, revision: before.revision });
    commit.expect.push(Expect::Unheard { partner: heard.partner.to_owned(), key: heard.key.to_owned() });
    commit.exchanges.push(exchange);
    commit
}

/// What the owner's own server gets of the areas.
#[derive(Default)]
struct Parts {
    deliveries: Vec<Delivery>,
    counterparts: Vec<Counterpart>,
}

/// The Tasks about areas that are new or moved, to the server of the unit that owns the whole; what that made itself is known
/// there, and from now on here.
fn parts(
    gateway: &Gateway,
    exchange: &Exchange,
    party: &Party,
    tasks: &[Value],
    change: &Change,
    current: &Current,
    now: DateTime<Utc>,
) -> Parts {
    let mut sent = Parts::default();
    let address = Address::of(exchange, party, now);
    let mut new: Vec<Value> = Vec::new();
    let own = tasks.iter().filter(|t| part::is_part(t) && part::whole_of(t) == party.task.as_deref());
    for task in own {
        let child = change.children.iter().find(|child| Some(child.area.as_str()) == part::area_of(task));
        let (Some(id), stored) = (task["id"].as_str(), reference_of(task).is_some_and(|n| current.contains_key(&n)))
        else {
            continue;
        };
        match child {
            Some(child) => sent.counterparts.push(Counterpart {
                partner: party.partner.clone(),
                resource_type: "Task".to_owned(),
                id: id.to_owned(),
                theirs: child.task["id"].as_str().unwrap_or_default().to_owned(),
                version: child.task["meta"]["versionId"].as_str().map(str::to_owned),
                changed: child.task["meta"]["lastUpdated"].as_str().map(str::to_owned),
                patient: address.patient.to_owned(),
                exchange: exchange.id,
                mark: 0,
                settled: true,
                body: serde_json::to_vec(&child.task).unwrap_or_default(),
            }),
            None if stored => sent.deliveries.push(package::task_move(&address, task, Right::Both)),
            None => new.push(task.clone()),
        }
    }
    if !new.is_empty() {
        let carried = ["Patient", "Organization", "PractitionerRole", "ServiceRequest"];
        let carries = |name: &&String| carried.iter().any(|kind| name.starts_with(&format!("{kind}/")));
        let found = exchange.resources.iter().filter(carries).filter_map(|name| current.get(name));
        let mut resources: Vec<Value> = found.map(|(_, value)| value.clone()).collect();
        resources.extend(tasks.iter().filter(|t| t["id"].as_str() == party.task.as_deref()).cloned());
        resources.extend(new);
        sent.deliveries.push(package::bundle(gateway, &address, &resources, TaskMode::CreateOnce, None));
    }
    sent
}

/// Puts into the commit that it was answered, and what the sender is told of it.
pub(super) fn tell(
    gateway: &Gateway,
    commit: &mut Commit,
    task_id: &str,
    tasks: &[Value],
    change: &Change,
    heard: &Heard<'_>,
    (current, now): (&Current, DateTime<Utc>),
) {
    let Some(exchange) = commit.exchanges.first().cloned() else { return };
    let also = tasks.iter().filter(|t| t["id"] != *task_id).filter_map(reference_of).collect::<Vec<_>>();
    let event = Event::new(now, witness::named(gateway, heard.actor), Deed::Answer, format!("Task/{task_id}"))
        .with("exchange", exchange.id.to_string())
        .with("partner", heard.partner)
        .with("status", change.status.code())
        .with("also", also);
    let event = match heard.by {
        Some(by) => event.with("by", by),
        None => event,
    };
    commit.audit.push(witness::wrote(event, commit));
    commit.deliveries.extend(notices(gateway, &exchange, exchange.sender().into_iter(), News::Answer, now));
    commit.deliveries.extend(reports(gateway, &exchange, tasks, change, current, now));
}

/// The exchange goes on with the unit that it was sent on to.
pub(super) fn hand_over(commit: &mut Commit, sent_on: SentOn, heard: &Heard<'_>, now: DateTime<Utc>) {
    let Some(exchange) = commit.exchanges.first_mut() else { return };
    exchange.parties.retain(|p| p.unit != sent_on.from || p.role == PartyRole::Sender);
    exchange.parties.push(sent_on.party);
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
    for name in sent_on.resources.iter().filter_map(reference_of) {
        if !exchange.resources.contains(&name) {
            exchange.resources.push(name);
        }
    }
    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    for resource in &sent_on.resources {
        scale.add(resource, &sent_on.known, &mut weighed);
    }
    let mover = Mover { actor: heard.actor, by: heard.by };
    commit.moves.extend(moves(exchange, &sent_on.resources, &sent_on.known, mover, now));
    let is_actor = |put: &Put| put.resource_type == "Organization";
    for put in commit.put.iter_mut().filter(|put| !is_actor(put)) {
        put.units.retain(|unit| *unit != sent_on.from);
        put.units.extend(units.iter().filter(|unit| !put.units.contains(unit)).cloned().collect::<Vec<_>>());
    }
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    commit.expect.extend(sent_on.expect);
    commit.deliveries.extend(sent_on.deliveries);
    commit.share.push(sent_on.share);
    commit.hide.push(sent_on.hide);
}

/// What the sender's own FHIR server gets, where it has one: the Task as it stands, and what came with it.
fn reports(
    gateway: &Gateway,
    exchange: &Exchange,
    tasks: &[Value],
    change: &Change,
    current: &Current,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let Some(sender) = exchange.sender().filter(|s| is_pushed(gateway, &s.partner)) else { return Vec::new() };
    let carried = ["Patient", "Organization", "Practitioner", "PractitionerRole", "ServiceRequest"];
    let mut resources: Vec<Value> = exchange
        .resources
        .iter()
        .filter(|name| carried.iter().any(|c| name.starts_with(&format!("{c}/"))))
        .filter_map(|name| current.get(name))
        .map(|(_, value)| value)
        .filter(|value| !tasks.iter().any(|t| reference_of(t) == reference_of(value)))
        .cloned()
        .collect();
    // A part that moves by itself says what it is a part of.
    let wholes = tasks.iter().filter(|t| part::is_part(t)).filter_map(part::whole_of);
    let mut wholes: Vec<String> = wholes.map(|id| format!("Task/{id}")).collect();
    wholes.dedup();
    wholes.retain(|name| !tasks.iter().any(|t| reference_of(t).as_ref() == Some(name)));
    resources.extend(wholes.iter().filter_map(|name| current.get(name)).map(|(_, value)| value.clone()));
    let told = outputs(change).filter_map(|name| current.get(name)).map(|(_, value)| value.clone());
    resources.extend(told);
    resources.extend(change.resources.iter().cloned());
    resources.extend(tasks.iter().cloned());
    let address = Address::of(exchange, sender, now);
    vec![package::bundle(gateway, &address, &resources, TaskMode::Replace, None)]
}

/// `Type/id` of what the output points at.
pub(super) fn outputs(change: &Change) -> impl Iterator<Item = &str> {
    change.output.iter().filter_map(|o| o["valueReference"]["reference"].as_str())
}
