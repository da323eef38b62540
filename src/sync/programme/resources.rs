//! A programme in FHIR: its plan with the modules, its team, what goes to the patient and what somebody has to do.
//!
//! Units and people are named by their HSA-ids and not by references: a programme makes no actors, and none has to go with it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::responsible;
use super::state::State;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::origin::BY_UNIT;
use crate::rules::programme as rules;
use crate::store::Programme;
use crate::sync::identify;
use crate::sync::weigh::instant;

/// The identifier of a programme of a patient.
pub const PROGRAMME_ID: &str = "https://vardkedja.example/fhir/sid/programme";

/// The id of something that a programme has once.
pub fn id_of(programme: Uuid, thing: &str) -> String {
    identify::id(&["programme", &programme.to_string(), thing])
}

fn meta(profile: &str, unit: &str) -> Value {
    json!({ "source": format!("{BY_UNIT}{unit}"), "profile": [format!("{BASE}/StructureDefinition/{profile}")] })
}

fn unit(hsa_id: &str) -> Value {
    json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": hsa_id } })
}

fn person(hsa_id: &str) -> Value {
    json!({ "type": "Practitioner", "identifier": { "system": HSA_ID, "value": hsa_id } })
}

fn subject(one: &Programme) -> Value {
    json!({ "reference": format!("Patient/{}", one.patient.as_deref().unwrap_or_default()) })
}

fn plan(one: &Programme) -> Value {
    json!({ "reference": format!("CarePlan/{}", one.id) })
}

fn of(one: &Programme) -> Value {
    json!({ "system": PROGRAMME_ID, "value": one.id.to_string() })
}

fn coded(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": format!("{BASE}/CodeSystem/{system}"), "code": code }] })
}

/// The CarePlan: one activity for each module.
pub fn care_plan(definition: &rules::Programme, one: &Programme, state: &State, now: DateTime<Utc>) -> Value {
    let module = |module: &rules::Module| {
        let progress = state.modules.get(&module.code).cloned().unwrap_or_default();
        let status = match (progress.started_at, progress.completed_at) {
            (_, Some(_)) => "completed",
            (Some(_), None) => "in-progress",
            (None, None) if one.stage.is_open() => "not-started",
            (None, None) => "stopped",
        };
        let mut detail = json!({
            "code": coded("programme-module", &module.code),
            "status": status,
            "description": module.title,
        });
        if let Some(start) = progress.started_at {
            detail["scheduledPeriod"] = json!({ "start": instant(start) });
            if let Some(end) = progress.completed_at {
                detail["scheduledPeriod"]["end"] = json!(instant(end));
            }
        }
        json!({ "detail": detail })
    };
    let mut resource = json!({
        "resourceType": "CarePlan",
        "id": one.id.to_string(),
        "meta": meta("programme-plan", &one.unit),
        "identifier": [of(one)],
        "instantiatesCanonical": [definition.canonical()],
        "status": if one.stage.is_open() { "active" } else { "completed" },
        "intent": "plan",
        "category": [coded("programme", &one.definition)],
        "title": definition.title,
        "subject": subject(one),
        "period": { "start": instant(one.started_at) },
        "created": instant(one.started_at),
        "author": unit(&one.unit),
        "careTeam": [{ "reference": format!("CareTeam/{}", id_of(one.id, "team")) }],
        "activity": definition.modules.iter().map(module).collect::<Vec<_>>(),
    });
    if !one.stage.is_open() {
        resource["period"]["end"] = json!(instant(one.closed_at.unwrap_or(now)));
    }
    resource
}

/// Who takes care of it: the contact nurse, and the behandlare once there is one.
pub fn care_team(one: &Programme, state: &State) -> Value {
    let mut participants = Vec::new();
    let mut add = |role: &str, who: &Option<String>, of: &str| {
        let member = who.as_ref().map_or_else(|| unit(of), |who| person(who));
        let mut participant = json!({ "role": [coded("programme-role", role)], "member": member });
        if who.is_some() {
            participant["onBehalfOf"] = unit(of);
        }
        participants.push(participant);
    };
    add("contact-nurse", &state.started_by, &one.unit);
    if let Some(team) = &one.team {
        add("therapist", &state.therapist, team);
    }
    json!({
        "resourceType": "CareTeam",
        "id": id_of(one.id, "team"),
        "meta": meta("programme-team", &one.unit),
        "identifier": [of(one)],
        "status": if one.stage.is_open() { "active" } else { "inactive" },
        "subject": subject(one),
        "participant": participants,
        "managingOrganization": [unit(responsible(one))],
    })
}

/// A message of the calendar. One that a later one has overtaken before it could go out goes out no more.
pub fn message(one: &Programme, message: &rules::Message, at: DateTime<Utc>, is_overtaken: bool) -> Value {
    let mut resource = json!({
        "resourceType": "CommunicationRequest",
        "id": id_of(one.id, &format!("message/{}", message.code)),
        "meta": meta("programme-message", &one.unit),
        "identifier": [{ "system": PROGRAMME_ID, "value": format!("{}|{}", one.id, message.code) }],
        "basedOn": [plan(one)],
        "groupIdentifier": of(one),
        "status": if is_overtaken { "revoked" } else { "active" },
        "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "reminder" }] }],
        "subject": subject(one),
        "payload": [{ "contentString": message.text }],
        "occurrenceDateTime": instant(at),
        "authoredOn": instant(at),
        "requester": unit(&one.unit),
        "recipient": [subject(one)],
        "sender": unit(responsible(one)),
    });
    if is_overtaken {
        resource["statusReason"] = json!({ "text": "Ett senare meddelande var redan på väg när det skulle sändas." });
    }
    resource
}

/// Why a message that was ordered is not to be sent after all.
pub const DEAD: &str = "Patienten är avliden.";
pub const TREATED: &str = "Behandlingen har börjat (LIF-8).";
pub const CLOSED: &str = "Programmet är avslutat.";

/// A message that is not to be sent, and why.
pub fn unsend(message: &mut Value, why: &str) {
    message["status"] = json!("revoked");
    message["statusReason"] = json!({ "text": why });
}

/// That a message of the calendar went out, and when: without its words.
pub fn sent(one: &Programme, code: &str, request: &Value, at: DateTime<Utc>) -> Value {
    json!({
        "resourceType": "Communication",
        "id": id_of(one.id, &format!("sent/{code}")),
        "meta": { "source": format!("{BY_UNIT}{}", responsible(one)) },
        "identifier": [{ "system": PROGRAMME_ID, "value": format!("{}|sent-{code}", one.id) }],
        "basedOn": [{ "reference": format!("CommunicationRequest/{}", request["id"].as_str().unwrap_or_default()) }],
        "status": "completed",
        "category": request["category"],
        "subject": subject(one),
        "sent": instant(at),
        "recipient": [subject(one)],
        "sender": unit(responsible(one)),
    })
}

/// A message that somebody wrote.
pub fn conversation(one: &Programme, id: &str, by_patient: bool, by: &str, text: &str, at: DateTime<Utc>) -> Value {
    let (sender, recipient) = match by_patient {
        true => (subject(one), unit(responsible(one))),
        false => (person(by), subject(one)),
    };
    json!({
        "resourceType": "Communication",
        "id": id_of(one.id, &format!("conversation/{id}")),
        "meta": meta("programme-conversation", responsible(one)),
        "identifier": [{ "system": PROGRAMME_ID, "value": format!("{}|{id}", one.id) }],
        "basedOn": [plan(one)],
        "status": "completed",
        "subject": subject(one),
        "sent": instant(at),
        "recipient": [recipient],
        "sender": sender,
        "payload": [{ "contentString": text }],
    })
}

/// Something to do, of which there is one for each `thing`.
#[derive(Debug, Clone)]
pub struct ToDo<'a> {
    pub thing: &'a str,
    /// A code of `programme-task`.
    pub code: &'a str,
    pub text: &'a str,
    pub from: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
    pub owner: &'a str,
}

pub fn task(one: &Programme, to_do: &ToDo<'_>, now: DateTime<Utc>) -> Value {
    let mut period = json!({ "start": instant(to_do.from) });
    if let Some(until) = to_do.until {
        period["end"] = json!(instant(until));
    }
    json!({
        "resourceType": "Task",
        "id": id_of(one.id, to_do.thing),
        "meta": meta("programme-task", &one.unit),
        "identifier": [{ "system": PROGRAMME_ID, "value": format!("{}|{}", one.id, to_do.thing) }],
        "groupIdentifier": of(one),
        "status": "requested",
        "intent": "order",
        "code": coded("programme-task", to_do.code),
        "description": to_do.text,
        "for": subject(one),
        "authoredOn": instant(to_do.from.min(now)),
        "lastModified": instant(now),
        "requester": unit(&one.unit),
        "owner": unit(to_do.owner),
        "restriction": { "period": period },
    })
}

/// A Task as it ended; none where it is over already.
pub fn ended(task: &Value, status: &str, reason: Option<&str>, now: DateTime<Utc>) -> Option<Value> {
    if task["status"] != "requested" {
        return None;
    }
    let mut ended = task.clone();
    ended["status"] = json!(status);
    ended["lastModified"] = json!(instant(now));
    if let Some(reason) = reason {
        ended["statusReason"] = json!({ "text": reason });
    }
    Some(ended)
}

/// Documents, with the words of the rule, that it must be documented in the journal.
pub fn document(one: &Programme, is_end: bool, now: DateTime<Utc>) -> Value {
    let (thing, code, text) = if is_end {
        (
            "document/end",
            "document-end",
            "JRN-14: ”Kom ihåg att dokumentera i patientens journal att programmet avslutas.”",
        )
    } else {
        (
            "document/start",
            "document-start",
            "JRN-1: ”I journal dommentera att programmet Inför din cancerbehandling har startats.”",
        )
    };
    let owner = if is_end { responsible(one) } else { &one.unit };
    task(one, &ToDo { thing, code, text, from: now, until: None, owner }, now)
}
