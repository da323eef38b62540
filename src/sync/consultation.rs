//! A referral that waits for samråd (RMR, TRF-1): taken and kept whole, on the worklist of its sender, until the consultations
//! with patient and primary care are recorded; then it goes out in the commit that records them. Nobody else sees it before.
//! Longer than most files: all ways out of waiting stand together.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::identify;
use super::kept::{alone, keep, let_go};
use super::read::{Read, read};
use super::refusal::missing;
use super::sender::sent_by;
use super::submit::Submission;
use super::supersede::check_successor;
use super::weigh::{Scale, Weighed, current, instant, set_status, touch};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::{Deed, Event};
use crate::domain::task::Status;
use crate::domain::{Kind, Stage};
use crate::fhir::canonical::{BASE, HSA_ID, REQUEST_ID};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::origin::BY_UNIT;
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Commit, Committed, Exchange, Expect, Filter};

/// The code of such a Task in our CodeSystem `worklist`.
pub const MISSING: &str = "consultation-missing";

/// What its sender does about it.
const REMEDY: (&str, &str) = (
    "Remissen är mottagen men inte sänd: registrera samråd med patienten och med primärvården (POST /v1/exchanges/{id}/consultations), så går den i samma stund; eller ta tillbaka den.",
    "The referral is taken but not sent: record the consultations with the patient and with primary care (POST /v1/exchanges/{id}/consultations), and it leaves at once; or take it back.",
);

const NOT_YOURS: (&str, &str) =
    ("Bara den sändande enheten kan registrera samråd.", "Only the sending unit can record consultations.");

/// A conversation that was had before the referral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consultation {
    /// `sent`, as it was told.
    pub at: String,
    /// A code of v3-ParticipationMode.
    pub medium: &'static str,
    pub text: Option<String>,
}

/// Who was asked in primary care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consulted {
    pub person: Option<String>,
    pub name: Option<String>,
    pub profession: String,
    pub unit: String,
}

/// Both of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consultations {
    pub patient: Consultation,
    pub primary_care: Consultation,
    pub consulted: Consulted,
}

/// The ways to speak, by our name, as codes of v3-ParticipationMode: those of `mappings/codes/medium.json`.
pub const MEDIA: [(&str, &str); 5] = [
    ("face-to-face", "FACE"),
    ("phone", "PHONE"),
    ("video", "VIDEOCONF"),
    ("message", "ONLINEWRIT"),
    ("letter", "MAILWRIT"),
];

const KINDS: [&str; 2] = ["consultation-patient", "consultation-primary-care"];

fn communication_id(exchange: Uuid, kind: &str) -> String {
    identify::id(&["consultation", &exchange.to_string(), kind])
}

pub(super) fn task_id(exchange: Uuid) -> String {
    identify::id(&[MISSING, &exchange.to_string()])
}

/// Whether the exchange is a referral that waits for this.
pub fn waits(exchange: &Exchange) -> bool {
    exchange.stage == Stage::Parked && never_left(exchange)
}

/// Whether it is a referral that waits, or was taken back while it did: nobody but its sender has heard of it.
pub(super) fn never_left(exchange: &Exchange) -> bool {
    exchange.kind == Kind::Referral && exchange.recipients().next().is_none()
}

/// Whether the consultations of an earlier version of the referral are recorded: they were had.
pub(super) fn is_recorded(before: Option<&Exchange>) -> bool {
    before.is_some_and(|b| {
        KINDS.iter().all(|kind| b.resources.contains(&format!("Communication/{}", communication_id(b.id, kind))))
    })
}

/// A later version of a referral carries what was recorded of the first.
pub(super) fn carry(resources: &mut [Value], before: Option<&Exchange>) {
    let Some(before) = before else { return };
    for kind in KINDS {
        let name = format!("Communication/{}", communication_id(before.id, kind));
        if before.resources.contains(&name) {
            refer(resources, &name);
        }
    }
}

/// Lets the request point at a consultation, once.
fn refer(resources: &mut [Value], name: &str) {
    for request in resources.iter_mut().filter(|r| type_of(r) == "ServiceRequest") {
        let mut info = request["supportingInfo"].as_array().cloned().unwrap_or_default();
        if !info.iter().any(|one| one["reference"] == *name) {
            info.push(json!({ "reference": name }));
            request["supportingInfo"] = json!(info);
        }
    }
}

/// Keeps the referral whole, on its sender's worklist; or, where the version takes back what waits, ends it there. Nothing of the
/// patient is made known either way.
pub(super) async fn park(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<&Exchange>,
    version: u32,
) -> Result<Commit, Refusal> {
    if before.is_some_and(|b| b.recipients().next().is_some()) {
        // What has been sent is not called back; the sender adds what is missing, or writes a new one.
        let as_errors =
            read.lacks.iter().map(|lack| Issue { severity: crate::fhir::issue::Severity::Error, ..lack.clone() });
        return Err(Refusal::Findings(read.issues.iter().cloned().chain(as_errors).collect()));
    }
    if let Some(before) = before {
        check_successor(before, read, false)?;
    }
    let is_over = read.envelope.entered_in_error;
    let stage = if is_over { Stage::Cancelled } else { Stage::Parked };
    let exchange = Exchange { entered_in_error: is_over, ..alone(gateway, submission, read, before, version, stage) };
    let mut issues = read.issues.clone();
    if !is_over {
        issues.extend(read.lacks.iter().cloned());
        issues.push(Issue::warning(Code::BusinessRule, "", REMEDY.0, REMEDY.1));
    }
    let mut commit = keep(gateway, submission, read, before, &exchange, &issues);
    let request = read.resources.iter().find(|r| type_of(r) == "ServiceRequest");
    let urgency = request.map(|request| request["priority"].clone()).unwrap_or_default();
    let to = is_over.then_some(Status::Cancelled);
    list(gateway, &mut commit, &exchange, to, &urgency, submission.now).await?;
    commit.exchanges.push(exchange);
    Ok(commit)
}

/// Ends the worklist's Task of what waited, where a newer version goes out without the consultations.
pub(super) async fn overtaken(
    gateway: &Gateway,
    commit: &mut Commit,
    before: &Exchange,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    list(gateway, commit, before, Some(Status::Cancelled), &Value::Null, now).await
}

/// Opens the Task of the worklist, or ends it. `urgency` is the referral's.
async fn list(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    ends: Option<Status>,
    urgency: &Value,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let name = format!("Task/{}", task_id(exchange.id));
    let known = current(gateway.store.resources(&Filter::ALL, std::slice::from_ref(&name)).await?);
    let stored = known.get(&name).map(|(_, task)| task);
    let sender: Vec<String> = exchange.sender().map(|s| s.unit.clone()).into_iter().collect();
    let mut task = match (ends, stored) {
        (Some(_), None) => return Ok(()),
        (Some(_), Some(stored)) => stored.clone(),
        (None, _) => json!({
            "resourceType": "Task",
            "id": task_id(exchange.id),
            "meta": { "profile": [format!("{BASE}/StructureDefinition/held-referral-task")] },
            "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", exchange.id) }],
            "groupIdentifier": { "system": REQUEST_ID, "value": exchange.document },
            "status": "requested",
            "intent": "order",
            "priority": urgency.as_str().unwrap_or("routine"),
            "code": { "coding": [{ "system": format!("{BASE}/CodeSystem/worklist"), "code": MISSING }] },
            "description": format!("{} | {}", REMEDY.0, REMEDY.1),
            "authoredOn": stored.map_or_else(|| json!(instant(now)), |task| task["authoredOn"].clone()),
            "requester": { "type": "Organization", "identifier": { "system": HSA_ID, "value": gateway.config.hsa_id } },
            "owner": { "type": "Organization", "identifier": { "system": HSA_ID, "value": sender.first() } },
        }),
    };
    if let Some(object) = task.as_object_mut() {
        if let Some(status) = ends {
            set_status(object, status, None);
        }
        touch(object, now);
    }
    let mut weighed = Weighed::default();
    Scale { now, patient: None, units: &sender, exchange: None }.add(&task, &known, &mut weighed);
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    Ok(())
}

/// What waits, as something that a person has to see to.
pub(super) fn attention(exchange: &Exchange) -> Option<Value> {
    waits(exchange).then(|| {
        json!({
            "what": MISSING, "partner": null, "delivery": null, "since": instant(exchange.updated_at),
            "reason": "TRF-1", "remedy": format!("{} | {}", REMEDY.0, REMEDY.1),
        })
    })
}

/// The sender takes back what waits: it was never sent to anybody.
pub(super) async fn abandon(
    gateway: &Gateway,
    caller: &Caller,
    exchange: &Exchange,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let mut after =
        Exchange { revision: exchange.revision + 1, updated_at: now, stage: Stage::Cancelled, ..exchange.clone() };
    after.parties.iter_mut().for_each(|party| party.stage = Stage::Cancelled);
    let mut commit = Commit {
        expect: vec![Expect::Revision { exchange: exchange.id, revision: exchange.revision }],
        ..Commit::default()
    };
    list(gateway, &mut commit, exchange, Some(Status::Cancelled), &Value::Null, now).await?;
    let who = witness::by(&gateway.config.directory, caller);
    let event = Event::new(now, who, Deed::Cancel, format!("exchange/{}", exchange.id));
    commit.audit.push(witness::wrote(event, &commit));
    commit.exchanges.push(after);
    match gateway.store.commit(commit).await? {
        Committed::Done { .. } => Ok(()),
        Committed::Conflict(_) => Err(Refusal::Busy),
    }
}

/// What became of a record of consultations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The referral goes out.
    Released,
    /// They were recorded before, in the same words.
    There,
}

/// Records the consultations and sends the referral on, in one commit.
pub async fn record(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    had: &Consultations,
    now: DateTime<Utc>,
) -> Result<Recorded, Refusal> {
    for _ in 0..TRIES {
        let exchange = sent_by(gateway, caller, id, NOT_YOURS).await?;
        if !waits(&exchange) {
            return already(gateway, &exchange, had).await;
        }
        let kept = gateway.store.document(id, None).await?.ok_or_else(|| missing("document"))?;
        let submission = Submission::again(caller, exchange.kind, &kept, now);
        let mut read = read(gateway, &submission)?;
        let sender = exchange.sender().map_or("", |s| s.unit.as_str());
        add(gateway, &mut read, &exchange, sender, had)?;
        let version = exchange.version;
        let mut commit = let_go(gateway, &submission, &read, exchange.clone()).await?;
        list(gateway, &mut commit, &exchange, Some(Status::Completed), &Value::Null, now).await?;
        let who = witness::by(&gateway.config.directory, caller);
        let event = Event::new(now, who, Deed::Submit, format!("exchange/{id}"))
            .with("kind", exchange.kind.name())
            .with("version", version)
            .with("change", "consultations");
        commit.audit.push(witness::wrote(event, &commit));
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.traces.keep(id);
            gateway.wake.notify_one();
            return Ok(Recorded::Released);
        }
    }
    Err(Refusal::Busy)
}

/// Adds the conversations to what the referral makes, and lets it point at them.
fn add(
    gateway: &Gateway,
    read: &mut Read<'_>,
    exchange: &Exchange,
    sender: &str,
    had: &Consultations,
) -> Result<(), Refusal> {
    let of = |kind: &str| read.resources.iter().find(|r| type_of(r) == kind);
    let patient = of("Patient").and_then(reference_of).unwrap_or_default();
    let said_by = match of("ServiceRequest").map(|r| r["requester"].clone()) {
        Some(requester) if !requester.is_null() => requester,
        _ => json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": sender } }),
    };
    let mut practitioner = json!({ "type": "Practitioner" });
    if let Some(person) = &had.consulted.person {
        practitioner["identifier"] = json!({ "system": HSA_ID, "value": person });
    }
    if let Some(name) = &had.consulted.name {
        practitioner["display"] = json!(name);
    }
    let is_named = had.consulted.person.is_some() || had.consulted.name.is_some();
    let mut consulted = json!({
        "resourceType": "PractitionerRole",
        "id": identify::id(&["consulted", &exchange.id.to_string()]),
        "meta": { "profile": [format!("{BASE}/StructureDefinition/practitioner-role")] },
        "practitioner": practitioner,
        "organization": { "type": "Organization", "identifier": { "system": HSA_ID, "value": had.consulted.unit } },
        "code": [{ "coding": [{ "system": format!("{BASE}/CodeSystem/profession"), "code": had.consulted.profession }] }],
    });
    if let (false, Some(object)) = (is_named, consulted.as_object_mut()) {
        object.shift_remove("practitioner");
    }
    let consulted_name = reference_of(&consulted).unwrap_or_default();
    let mut made = vec![consulted];
    for (kind, one, recipient) in [(KINDS[0], &had.patient, &patient), (KINDS[1], &had.primary_care, &consulted_name)] {
        let mut communication = json!({
            "resourceType": "Communication",
            "id": communication_id(exchange.id, kind),
            "meta": {
                "source": format!("{BY_UNIT}{sender}"),
                "profile": [format!("{BASE}/StructureDefinition/consultation")],
            },
            "status": "completed",
            "category": [{ "coding": [{ "system": format!("{BASE}/CodeSystem/communication-kind"), "code": kind }] }],
            "medium": [{ "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": one.medium,
            }] }],
            "subject": { "reference": patient },
            "sent": one.at,
            "recipient": [{ "reference": recipient }],
            "sender": said_by,
        });
        if let Some(text) = &one.text {
            communication["payload"] = json!([{ "contentString": text }]);
        }
        refer(&mut read.resources, &reference_of(&communication).unwrap_or_default());
        made.push(communication);
    }
    let issues = gateway.validate(&made);
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    read.resources.extend(made);
    Ok(())
}

/// Nothing waits any more: told again in the same words, it is as it was.
async fn already(gateway: &Gateway, exchange: &Exchange, had: &Consultations) -> Result<Recorded, Refusal> {
    let names: Vec<String> =
        KINDS.iter().map(|kind| format!("Communication/{}", communication_id(exchange.id, kind))).collect();
    let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let same = |name: &String, one: &Consultation| {
        known.get(name).is_some_and(|(_, c)| c["sent"] == *one.at && c["medium"][0]["coding"][0]["code"] == one.medium)
    };
    let both = names.iter().zip([&had.patient, &had.primary_care]).all(|(name, one)| same(name, one));
    if both {
        return Ok(Recorded::There);
    }
    Err(Refusal::Conflict(Issue::error(
        Code::BusinessRule,
        "exchange.stage",
        format!("Ärendet väntar inte på samråd: det står på {}.", exchange.stage),
        format!("The exchange does not wait for consultations: it stands at {}.", exchange.stage),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_speak_are_those_of_the_documents() {
        let text = include_str!("../../mappings/codes/medium.json");
        let map: Value = serde_json::from_str(text).unwrap();
        let pairs: Vec<(String, String)> = map["group"][0]["element"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["code"].as_str().unwrap().to_owned(), e["target"][0]["code"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(pairs, MEDIA.map(|(name, code)| (name.to_owned(), code.to_owned())));
    }
}
