//! Takes a document in: recall, read, map, identify, validate, and one commit of everything that follows from it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::identify::{self, DocumentIds, settle_patients};
use super::package::{self, Address, is_pushed};
use super::receipt::receipt;
use super::route::{Followed, Ties, follow, named, open_unit, ties};
use super::tie::{Tie, tie, waits};
use super::weigh::{Scale, Weighed, current, instant, join, set_status};
use super::{Refusal, TRIES};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::delivery::State;
use crate::domain::task::Status;
use crate::domain::{Format, HsaId, Kind, PartyRole, Stage};
use crate::fhir::bundle::TaskMode;
use crate::fhir::canonical::{DOCUMENT_ID, HSA_ID};
use crate::fhir::document::rules;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::lifecycle::retract;
use crate::fhir::resource::{reference_of, type_of};
use crate::mapping::{Envelope, Table, traced};
use crate::partner::NO_CONNECTION;
use crate::store::{
    Answer, Audit, Commit, Committed, Delivery, DeliveryChange, DeliveryQuery, Document, Exchange, ExchangeQuery,
    Expect, Filter, Party, Share,
};

/// A document that somebody sends.
#[derive(Debug, Clone)]
pub struct Submission<'a> {
    pub caller: &'a Caller,
    pub kind: Kind,
    pub format: Format,
    pub bytes: &'a [u8],
    /// The Idempotency-Key.
    pub key: Option<&'a str>,
    pub now: DateTime<Utc>,
}

/// What the sender is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// The document read and mapped, before the store is asked anything.
struct Read<'a> {
    table: &'a Table,
    envelope: Envelope,
    unit: String,
    organisation: String,
    resources: Vec<Value>,
    issues: Vec<Issue>,
    hash: String,
}

/// Takes a document in. Nothing is answered before it is on disk.
pub async fn submit(gateway: &Gateway, submission: &Submission<'_>) -> Result<Answered, Refusal> {
    let request_hash =
        hash(&[submission.kind.name().as_bytes(), submission.format.name().as_bytes(), submission.bytes]);
    if let Some(answer) = recall(gateway, submission, &request_hash).await? {
        return Ok(answer);
    }
    let read = read(gateway, submission)?;
    for _ in 0..TRIES {
        if let Some(answered) = attempt(gateway, submission, &read, &request_hash).await? {
            if submission.kind == Kind::Activity
                && let Err(error) = resume(gateway, Some(&read.unit), submission.now).await
            {
                // The document itself is on disk; what waits is tried again with the next one, and at every start.
                tracing::warn!(error = %error, "activities that wait could not be taken up");
            }
            return Ok(answered);
        }
        if let Some(answer) = recall(gateway, submission, &request_hash).await? {
            return Ok(answer);
        }
    }
    Err(Refusal::Busy)
}

async fn recall(
    gateway: &Gateway,
    submission: &Submission<'_>,
    request_hash: &str,
) -> Result<Option<Answered>, Refusal> {
    let Some(key) = submission.key else { return Ok(None) };
    let Some(answer) = gateway.store.recall(&submission.caller.name, key).await? else { return Ok(None) };
    if answer.request_hash != request_hash {
        return Err(Refusal::KeyReused);
    }
    Ok(Some(Answered { status: answer.status, location: answer.location, body: answer.body }))
}

fn read<'a>(gateway: &'a Gateway, submission: &Submission<'_>) -> Result<Read<'a>, Refusal> {
    let tree = gateway.read(submission.kind, submission.format, submission.bytes).map_err(Refusal::Malformed)?;
    let table = gateway
        .mappings
        .choose(submission.kind, submission.format, &tree.value)
        .map_err(|issue| Refusal::Findings(vec![issue]))?;
    let envelope = table.envelope(&tree.value);
    let mut issues = tree.issues;
    let today = submission.now.date_naive();
    let directory = &gateway.config.directory;
    let Some(unit) = envelope.unit.clone() else {
        issues.extend(table.out(&tree.value, &identify::Blank).issues);
        issues.push(Issue::error(
            Code::Required,
            "unit",
            "Det framgår inte vilken enhet som sänder; ange dess HSA-id.",
            "It does not say which unit is sending; give its HSA-id.",
        ));
        return Err(Refusal::Findings(issues));
    };
    if !submission.caller.may_act_for(&unit) {
        return Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "unit",
            format!("Anroparen får inte sända för enheten {}.", named(&unit)),
            format!("The caller may not send for unit {}.", named(&unit)),
        )));
    }
    if submission.format == Format::Json {
        issues.extend(check_id(&envelope.id).err());
    }
    issues.extend(open_unit(directory, &unit, "unit", today).err());
    for recipient in &envelope.recipients {
        issues.extend(open_unit(directory, recipient, "recipient", today).err());
    }
    let organisation = directory.find(&unit).map_or_else(|| unit.clone(), |u| u.care_provider.to_ascii_uppercase());
    let ids = DocumentIds { organisation: &organisation, kind: submission.kind, document: &envelope.id };
    let mapped = table.out(&tree.value, &ids);
    issues.extend(mapped.issues);
    let mut resources: Vec<Value> = mapped.resources.into_iter().map(|m| m.value).collect();
    for (_, owner) in &ties(&resources).owners {
        if !envelope.recipients.iter().any(|r| r.eq_ignore_ascii_case(owner)) {
            issues.extend(open_unit(directory, owner, "Task.owner", today).err());
        }
    }
    for resource in &mut resources {
        // Inera's convention for the system of origin (inera.ehds.tk): the HSA-id of the source.
        resource["meta"]["source"] = json!(format!("urn:oid:1.2.752.129.2.1.4.1#{unit}"));
    }
    issues.extend(rules(&resources));
    let mut found: Vec<(usize, Issue)> = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        found.extend(gateway.validate(std::slice::from_ref(resource)).into_iter().map(|issue| (index, issue)));
    }
    if !found.is_empty() {
        // Only now is it worth asking which row made what.
        let trace = table.explain(&tree.value, &ids).trace;
        for (index, issue) in found {
            issues.push(resources.get(index).map_or(issue.clone(), |r| traced(issue, r, &trace)));
        }
    }
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    let canonical = serde_json::to_vec(&tree.value).unwrap_or_default();
    Ok(Read {
        table,
        unit: unit.to_ascii_uppercase(),
        organisation,
        resources,
        issues,
        hash: hash(&[&canonical]),
        envelope,
    })
}

/// A document id is `HSA-id#local`, as RIV-TA has it: two organisations never choose the same.
fn check_id(id: &str) -> Result<(), Issue> {
    let whole = id.split_once('#').is_some_and(|(unit, local)| HsaId::parse(unit).is_ok() && !local.is_empty());
    if whole && id.len() <= 256 {
        return Ok(());
    }
    Err(Issue::error(
        Code::Value,
        "id",
        "Dokumentets id ska vara HSA-id#lokalt-id, högst 256 tecken, som SE2321000131-E000000000101#R-1.",
        "The document's id is HSA-id#local-id, at most 256 characters, as SE2321000131-E000000000101#R-1.",
    ))
}

/// One try: `None` when somebody else committed in between.
async fn attempt(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    request_hash: &str,
) -> Result<Option<Answered>, Refusal> {
    let store = &gateway.store;
    let before = store.exchange_of(&read.organisation, submission.kind, &read.envelope.id).await?;
    let version = match weigh_version(gateway, read, before.as_ref()).await? {
        Version::Known(document) => {
            return Ok(Some(answered(document.exchange, document.receipt)));
        }
        Version::New(version) => version,
    };
    let late = before.as_ref().filter(|b| version < b.version);
    let mut commit = match late {
        Some(before) => keep_late(gateway, submission, read, before, version),
        None => supersede(gateway, submission, read, before, version).await?,
    };
    let Some((exchange, receipt)) = commit.documents.first().map(|d| (d.exchange, d.receipt.clone())) else {
        return Err(Refusal::Busy);
    };
    let answer = answered(exchange, receipt);
    commit.audit.push(Audit {
        at: submission.now,
        actor: submission.caller.name.clone(),
        action: "submit".into(),
        object: format!("exchange/{exchange}"),
        payload: json!({ "kind": submission.kind.name(), "version": version, "unit": read.unit, "hash": read.hash })
            .to_string(),
    });
    if let Some(key) = submission.key {
        commit.expect.push(Expect::FreshKey { caller: submission.caller.name.clone(), key: key.to_owned() });
        commit.answer = Some(Answer {
            caller: submission.caller.name.clone(),
            key: key.to_owned(),
            request_hash: request_hash.to_owned(),
            exchange: Some(exchange),
            status: answer.status,
            location: answer.location.clone(),
            body: answer.body.clone(),
        });
    }
    match store.commit(commit).await? {
        Committed::Done { .. } => {
            gateway.wake.notify_one();
            Ok(Some(answer))
        }
        Committed::Conflict(_) => Ok(None),
    }
}

fn answered(exchange: Uuid, body: Vec<u8>) -> Answered {
    Answered { status: 202, location: Some(format!("/v1/exchanges/{exchange}")), body }
}

enum Version {
    /// The same content was taken in before: the same receipt again.
    Known(Document),
    New(u32),
}

/// Without a version (RIV-TA activities) the content decides: known content is known, other content is the next version.
async fn weigh_version(gateway: &Gateway, read: &Read<'_>, before: Option<&Exchange>) -> Result<Version, Refusal> {
    let Some(before) = before else { return Ok(Version::New(read.envelope.version.unwrap_or(1))) };
    let documents = gateway.store.documents(before.id).await?;
    let Some(version) = read.envelope.version else {
        let known = documents.into_iter().find(|d| d.hash == read.hash);
        return Ok(known.map_or(Version::New(before.version + 1), Version::Known));
    };
    match documents.into_iter().find(|d| d.version == version) {
        Some(document) if document.hash == read.hash => Ok(Version::Known(document)),
        Some(_) => Err(Refusal::Conflict(Issue::error(
            Code::Conflict,
            "version",
            format!(
                "Version {version} finns redan med annat innehåll; sänd ändringen som version {}.",
                before.version + 1
            ),
            format!(
                "Version {version} is here already with other content; send the change as version {}.",
                before.version + 1
            ),
        ))),
        None => Ok(Version::New(version)),
    }
}

/// An older version that arrives late is kept as history and changes nothing.
fn keep_late(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: &Exchange,
    version: u32,
) -> Commit {
    let mut issues = read.issues.clone();
    issues.push(Issue::information(
        "version",
        format!("Version {} gäller redan; version {version} sparas som historik och ändrar inget.", before.version),
        format!(
            "Version {} is in force already; version {version} is kept as history and changes nothing.",
            before.version
        ),
    ));
    let receipt = receipt(gateway, before, version, read.table, &issues, submission.now, false);
    Commit {
        expect: vec![Expect::Revision { exchange: before.id, revision: before.revision }],
        exchanges: vec![Exchange { revision: before.revision + 1, updated_at: submission.now, ..before.clone() }],
        documents: vec![document(submission, read, before.id, version, receipt, false)],
        ..Commit::default()
    }
}

fn document(
    submission: &Submission<'_>,
    read: &Read<'_>,
    exchange: Uuid,
    version: u32,
    receipt: Vec<u8>,
    in_force: bool,
) -> Document {
    Document {
        exchange,
        version,
        format: submission.format,
        source: submission.bytes.to_vec(),
        hash: read.hash.clone(),
        table: read.table.name().to_owned(),
        table_version: read.table.version().to_owned(),
        received_at: submission.now,
        in_force,
        receipt,
    }
}

/// An add-on whose main activity has not come: kept whole, and taken up again when it comes.
fn park(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<&Exchange>,
    version: u32,
    main: &[String],
) -> Commit {
    let partner = gateway.config.directory.find(&read.unit).map_or(String::new(), |u| u.partner.clone());
    let exchange = Exchange {
        id: before.map_or_else(Uuid::now_v7, |b| b.id),
        revision: before.map_or(1, |b| b.revision + 1),
        kind: submission.kind,
        format: submission.format,
        organisation: read.organisation.clone(),
        document: read.envelope.id.clone(),
        version,
        entered_in_error: false,
        patient: None,
        stage: Stage::Parked,
        created_at: before.map_or(submission.now, |b| b.created_at),
        updated_at: submission.now,
        parties: vec![Party {
            unit: read.unit.clone(),
            partner,
            role: PartyRole::Sender,
            task: None,
            status: None,
            stage: Stage::Parked,
        }],
        resources: before.map_or_else(Vec::new, |b| b.resources.clone()),
    };
    let mut issues = read.issues.clone();
    issues.push(waits(main));
    let receipt = receipt(gateway, &exchange, version, read.table, &issues, submission.now, true);
    Commit {
        expect: vec![Expect::Exchange {
            organisation: exchange.organisation.clone(),
            kind: exchange.kind,
            document: exchange.document.clone(),
            revision: before.map(|b| b.revision),
        }],
        documents: vec![document(submission, read, exchange.id, version, receipt, true)],
        exchanges: vec![exchange],
        ..Commit::default()
    }
}

/// Takes up add-ons that wait for their main activity; gives how many found it. `unit`: only those it sent.
pub async fn resume(gateway: &Gateway, unit: Option<&str>, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let query = ExchangeQuery {
        kind: Some(Kind::Activity),
        stage: Some(Stage::Parked),
        unit: unit.map(str::to_owned),
        limit: MOST_WAITING,
        ..ExchangeQuery::default()
    };
    let mut resumed = 0;
    for exchange in gateway.store.exchanges(&Filter::All, &query).await?.matches {
        let Some(kept) = gateway.store.document(exchange.id, None).await? else { continue };
        if exchange.recipients().next().is_some() {
            continue; // what is parked there is a delivery
        }
        let caller = Caller::operator();
        let submission = Submission {
            caller: &caller,
            kind: exchange.kind,
            format: kept.format,
            bytes: &kept.source,
            key: None,
            now,
        };
        let read = read(gateway, &submission)?;
        let version = exchange.version;
        let mut commit = supersede(gateway, &submission, &read, Some(exchange), version).await?;
        if commit.exchanges.iter().any(|e| e.stage == Stage::Parked) {
            continue;
        }
        commit.documents.clear(); // it is there since it came
        commit.audit.push(Audit {
            at: now,
            actor: "gateway".into(),
            action: "resume".into(),
            object: format!("exchange/{}", kept.exchange),
            payload: json!({ "version": version, "unit": read.unit }).to_string(),
        });
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            resumed += 1;
        }
    }
    Ok(resumed)
}

/// Waiting add-ons looked at in one round.
const MOST_WAITING: u32 = 500;

/// The version becomes the one in force: everything that follows from it, in one commit.
async fn supersede(
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

/// Whether the patient has refused or taken back the consent that the document rests on.
fn consent_withdrawn(resources: &[Value]) -> bool {
    let gone = |status: &Value| status == "inactive" || status == "rejected";
    resources.iter().any(|r| type_of(r) == "Consent" && gone(&r["status"]))
}

fn no_consent() -> Issue {
    Issue::error(
        Code::BusinessRule,
        "consent.decision",
        "En SIP kräver patientens samtycke (HSL 16 kap. 4 §); med ett nekat eller återkallat samtycke tas den inte emot.",
        "A SIP needs the patient's consent (HSL 16:4); with a refused or withdrawn one it is not taken.",
    )
}

/// The resources that belong to this exchange alone: everything but people and units.
fn only_here(exchange: &Exchange) -> Vec<String> {
    let shared = ["Patient/", "Organization/", "Practitioner/", "PractitionerRole/", "RelatedPerson/", "Location/"];
    exchange.resources.iter().filter(|r| !shared.iter().any(|s| r.starts_with(s))).cloned().collect()
}

/// What a withdrawal stops, and who has to be told of it.
struct Stop {
    changes: Vec<DeliveryChange>,
    /// Units that have got something of it.
    informed: Vec<String>,
}

/// What was not sent is never sent; whoever has got the plan is told that the consent is withdrawn.
async fn stop_deliveries(gateway: &Gateway, exchange: &Exchange) -> Result<Stop, Refusal> {
    let query = DeliveryQuery { exchange: Some(exchange.id), ..DeliveryQuery::default() };
    let made = gateway.store.deliveries(&query).await?;
    let mut sent = Vec::new();
    for delivery in &made {
        // A delivery that was tried may have arrived although nobody said so, unless there never was a connection.
        let tries = gateway.store.attempts(delivery.id).await?;
        let reached = tries.iter().any(|a| a.reason.as_deref() != Some(NO_CONNECTION));
        if delivery.state == State::Delivered || reached {
            sent.push(delivery.unit.clone());
        }
    }
    let fetched = exchange
        .recipients()
        .filter(|p| !is_pushed(gateway, &p.partner) && p.stage != Stage::Waiting)
        .map(|p| p.unit.clone());
    let informed = sent.into_iter().chain(fetched).collect();
    let changes = made
        .iter()
        .filter(|d| matches!(d.state, State::Waiting | State::Parked))
        .map(|d| DeliveryChange {
            id: d.id,
            from: d.state,
            to: State::Skipped,
            due_at: d.due_at,
            note: Some("samtycket är återkallat | the consent is withdrawn".into()),
            attempt: None,
        })
        .collect();
    Ok(Stop { changes, informed })
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

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
