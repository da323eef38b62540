//! A version comes into force: everything that follows from it, composed into one commit.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Refusal;
use super::consent::{consent_withdrawn, no_consent, only_here, stop_deliveries};
use super::identify::{self, settle_patients};
use super::package::{self, Address, is_pushed};
use super::read::Read;
use super::receipt::receipt;
use super::route::{Followed, Ties, follow, ties};
use super::submit::{Submission, document};
use super::tie::{Tie, tie};
use super::waiting::park;
use super::weigh::{Scale, Weighed, current, instant, join, set_status};
use crate::Gateway;
use crate::domain::task::Status;
use crate::domain::{PartyRole, Stage};
use crate::fhir::bundle::TaskMode;
use crate::fhir::canonical::{DOCUMENT_ID, HSA_ID};
use crate::fhir::lifecycle::retract;
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Commit, Delivery, Exchange, Expect, Filter, Party, Share};

/// The version becomes the one in force: everything that follows from it, in one commit.
pub(super) async fn supersede(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<Exchange>,
    version: u32,
) -> Result<Commit, Refusal> {
    let now = submission.now;
    let store = &gateway.store;
    let mut resources = read.resources.clone();
    let patients = settle_patients(store, &mut resources).await?;
    let subject = patients.first();
    match tie(gateway, &read.unit, &mut resources).await? {
        Tie::Tied => {}
        Tie::Refused(issue) => return Err(Refusal::Findings(vec![issue])),
        Tie::Waiting(main) => return Ok(park(gateway, submission, read, before.as_ref(), version, &main)),
    }
    let known_patient = subject.filter(|p| !p.is_new).map(|p| p.id.as_str());
    let ties = ties(&resources);
    let followed =
        follow(gateway, submission.kind, &read.unit, &read.envelope.recipients, &ties, known_patient).await?;

    let names: Vec<String> = resources.iter().filter_map(reference_of).collect();
    let dropped: Vec<String> =
        before.iter().flat_map(|b| b.resources.iter()).filter(|r| !names.contains(r)).cloned().collect();
    let wanted: Vec<String> = names.iter().chain(&dropped).chain(&followed.plan).cloned().collect();
    let current = current(store.resources(&Filter::All, &wanted).await?);

    let wrong = read.envelope.entered_in_error;
    for resource in &mut resources {
        let stored = reference_of(resource).and_then(|r| current.get(&r)).map(|(_, value)| value);
        let is_new_task = type_of(resource) == "Task" && stored.is_none();
        *resource = join(std::mem::take(resource), stored);
        let by_sender =
            ties.owners.iter().any(|(task, unit)| resource["id"] == **task && unit.eq_ignore_ascii_case(&read.unit));
        if is_new_task
            && by_sender
            && let Some(task) = resource.as_object_mut()
        {
            // A unit that makes the plan has taken its own part in it.
            set_status(task, Status::Accepted, None);
        }
        if wrong {
            retract(resource);
        }
    }
    let outputs = output_names(&resources);
    let fallen: Vec<Value> = dropped
        .iter()
        .filter(|name| !outputs.contains(name))
        .filter_map(|name| current.get(name))
        .map(|(_, value)| {
            let mut value = value.clone();
            retract(&mut value);
            value
        })
        .collect();

    let id = before.as_ref().map_or_else(Uuid::now_v7, |b| b.id);
    let parties = parties(gateway, read, &followed, &ties, &resources, before.as_ref());
    let units: Vec<String> = parties.iter().map(|p| p.unit.clone()).collect();
    let mut kept = names.clone();
    kept.extend(outputs.iter().filter(|o| !names.contains(o)).cloned());
    let mut exchange = Exchange {
        id,
        revision: before.as_ref().map_or(1, |b| b.revision + 1),
        kind: submission.kind,
        format: submission.format,
        organisation: read.organisation.clone(),
        document: read.envelope.id.clone(),
        version,
        entered_in_error: wrong,
        patient: subject.map(|p| p.id.clone()),
        stage: Stage::Recorded,
        created_at: before.as_ref().map_or(now, |b| b.created_at),
        updated_at: now,
        parties,
        resources: kept,
    };
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));

    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(id) };
    let mut weighed = Weighed::default();
    for resource in resources.iter().chain(&fallen) {
        scale.add(resource, &current, &mut weighed);
    }
    let provenance = provenance(gateway, read, &exchange, version, now, &weighed);
    scale.add(&provenance, &current, &mut weighed);

    let mut issues = read.issues.clone();
    issues.extend(followed.issues.iter().cloned());
    let plan: Vec<Value> = followed
        .plan
        .iter()
        .filter(|p| !names.contains(p))
        .filter_map(|p| current.get(p))
        .map(|(_, value)| value.clone())
        .collect();
    let all: Vec<Value> = resources.iter().chain(&fallen).chain(&plan).chain([&provenance]).cloned().collect();
    let mut deliveries = deliveries(gateway, &exchange, &all, before.as_ref(), now);
    let (mut stopped, mut hidden) = (Vec::new(), Vec::new());
    if consent_withdrawn(&resources) {
        let Some(before) = &before else { return Err(Refusal::Findings(vec![no_consent()])) };
        let stop = stop_deliveries(gateway, before).await?;
        deliveries.retain(|d| stop.informed.contains(&d.unit));
        stopped = stop.changes;
        // Who never got it is no party to it any more, and sees nothing of it.
        let never: Vec<String> =
            exchange.recipients().filter(|p| !stop.informed.contains(&p.unit)).map(|p| p.unit.clone()).collect();
        exchange.parties.retain(|p| p.role == PartyRole::Sender || !never.contains(&p.unit));
        exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
        hidden.push(Share { resources: only_here(&exchange), units: never });
    }
    let units = exchange.units();

    let mut commit = Commit {
        put: weighed.put,
        expect: weighed.expect,
        share: vec![Share { resources: kept_and(&exchange.resources, &followed.plan), units }],
        hide: hidden,
        deliveries,
        delivery_changes: stopped,
        ..Commit::default()
    };
    commit.expect.push(Expect::Exchange {
        organisation: exchange.organisation.clone(),
        kind: exchange.kind,
        document: exchange.document.clone(),
        revision: before.as_ref().map(|b| b.revision),
    });
    for patient in patients {
        let id = (!patient.is_new).then_some(patient.id);
        commit.expect.push(Expect::Patient { system: patient.system, value: patient.value, id });
    }
    let receipt = receipt(gateway, &exchange, version, read.table, &issues, now, true);
    commit.documents.push(document(submission, read, id, version, receipt, true));
    commit.exchanges.push(exchange);
    Ok(commit)
}

fn kept_and(resources: &[String], plan: &[String]) -> Vec<String> {
    resources.iter().chain(plan).cloned().collect()
}

/// `Type/id` of what the Tasks have brought back; answers stay when the request is revised.
pub fn output_names(resources: &[Value]) -> Vec<String> {
    let tasks = resources.iter().filter(|r| type_of(r) == "Task");
    let outputs = tasks.flat_map(|t| t["output"].as_array().map_or(&[][..], Vec::as_slice));
    outputs.filter_map(|o| o["valueReference"]["reference"].as_str()).map(str::to_owned).collect()
}

fn parties(
    gateway: &Gateway,
    read: &Read<'_>,
    followed: &Followed,
    ties: &Ties,
    resources: &[Value],
    before: Option<&Exchange>,
) -> Vec<Party> {
    let status_of = |task: &str| {
        resources.iter().find(|r| r["id"] == *task).and_then(|t| t["status"].as_str()).and_then(Status::parse)
    };
    let own_task =
        ties.owners.iter().find(|(_, unit)| unit.eq_ignore_ascii_case(&read.unit)).map(|(task, _)| task.clone());
    let partner = gateway.config.directory.find(&read.unit).map_or(String::new(), |u| u.partner.clone());
    let mut parties = vec![Party {
        unit: read.unit.clone(),
        partner,
        role: PartyRole::Sender,
        status: own_task.as_deref().and_then(status_of),
        task: own_task,
        stage: Stage::Recorded,
    }];
    for recipient in &followed.recipients {
        parties.push(Party {
            unit: recipient.unit.clone(),
            partner: recipient.partner.clone(),
            role: recipient.role,
            status: recipient.task.as_deref().and_then(status_of),
            task: recipient.task.clone(),
            stage: Stage::Waiting,
        });
    }
    // Whoever got an earlier version gets the later ones too, so that nobody is left with what no longer holds.
    for old in before.iter().flat_map(|b| b.recipients()) {
        if !parties.iter().any(|p| p.unit == old.unit) {
            parties.push(Party { stage: Stage::Waiting, ..old.clone() });
        }
    }
    parties
}

fn deliveries(
    gateway: &Gateway,
    exchange: &Exchange,
    resources: &[Value],
    before: Option<&Exchange>,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for party in exchange.recipients().filter(|p| is_pushed(gateway, &p.partner)) {
        let address = Address {
            exchange: exchange.id,
            version: exchange.version,
            partner: &party.partner,
            unit: &party.unit,
            patient: exchange.patient.as_deref().unwrap_or_default(),
            now,
        };
        let none = String::new();
        let own = party.task.as_ref().unwrap_or(&none);
        deliveries.push(package::bundle(gateway, &address, resources, TaskMode::CreateOnce, Some(own)));
        // A Bundle never updates a Task that is there: a move that this version makes is delivered by itself.
        let was = before.and_then(|b| b.parties.iter().find(|p| p.task == party.task)).and_then(|p| p.status);
        let task = party.task.as_ref().and_then(|id| resources.iter().find(|r| r["id"] == **id));
        if let Some(task) = task.filter(|_| was.is_some() && was != party.status) {
            deliveries.push(package::task_move(&address, task));
        }
    }
    deliveries
}

/// Who sent the version, who holds the data, who mapped it, and by which table.
fn provenance(
    gateway: &Gateway,
    read: &Read<'_>,
    exchange: &Exchange,
    version: u32,
    now: DateTime<Utc>,
    weighed: &Weighed,
) -> Value {
    let agent = |kind: &str, hsa_id: &str| {
        json!({
            "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": kind }] },
            "who": { "identifier": { "system": HSA_ID, "value": hsa_id } },
        })
    };
    let targets: Vec<Value> =
        weighed.put.iter().map(|p| json!({ "reference": format!("{}/{}", p.resource_type, p.id) })).collect();
    let targets = if targets.is_empty() {
        exchange.resources.iter().map(|r| json!({ "reference": r })).collect()
    } else {
        targets
    };
    let document = format!("{}/{}/{version}", exchange.kind, exchange.document);
    json!({
        "resourceType": "Provenance",
        "id": identify::id(&[&exchange.organisation, exchange.kind.name(), &exchange.document, "provenance", &version.to_string()]),
        "target": targets,
        "recorded": instant(now),
        "agent": [
            agent("author", &read.unit),
            agent("custodian", &read.organisation),
            agent("assembler", &gateway.config.hsa_id),
        ],
        "entity": [{
            "role": "source",
            "what": {
                "identifier": { "system": DOCUMENT_ID, "value": document },
                "display": format!("{} {} (sha-256 {})", read.table.name(), read.table.version(), read.hash),
            },
        }],
    })
}
