//! What the people at the unit do with a Task: receive, accept, start, hold, complete, reject.
//!
//! Each step is one transaction: the Task and what was written with it are there together, or not at all.

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::face::blocking;
use super::records::Desk;
use super::refusal::Refusal;
use super::terms::text;
use super::{Receiver, worklist};
use crate::fhir::issue::{Code, Issue};

const KVA: &str = "urn:oid:1.2.752.116.1.3.2.1.4";
const HSA_ID: &str = "urn:oid:1.2.752.29.4.19";
/// The add-on code for care at a distance: it belongs to the measures it was given with.
const AT_A_DISTANCE: &str = "ZV051";

/// Who works here.
#[derive(Debug, Clone)]
pub struct Staff {
    pub hsa_id: String,
    pub name: String,
}

/// What somebody says when taking a step.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Note {
    /// The answer when completing, the reason when rejecting or holding.
    text: Option<String>,
    /// KVÅ codes of what was done.
    kva: Vec<String>,
    contact: Option<Contact>,
    business_status: Option<String>,
}

/// A contact with the patient.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contact {
    at: DateTime<chrono::FixedOffset>,
    with: String,
    medium: String,
}

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/worklist", web::get().to(open_tasks)).route("/worklist/{task}/{step}", web::post().to(take_step));
}

async fn open_tasks(receiver: Data<Receiver>) -> Result<Answer, Refusal> {
    staff_of(&receiver)?;
    blocking(move || {
        let names = &receiver.unit_names;
        Ok(Answer::ok(receiver.change(|desk| worklist::open(desk, names))?))
    })
    .await
}

async fn take_step(
    receiver: Data<Receiver>,
    path: web::Path<(String, String)>,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let staff = staff_of(&receiver)?;
    let (task, step) = path.into_inner();
    let note: Note = if body.is_empty() { Ok(Note::default()) } else { serde_json::from_slice(&body) }
        .map_err(|e| Refusal::unreadable(&e))?;
    blocking(move || {
        let task = receiver.change(|desk| act(desk, &staff, &task, &step, &note))?;
        Ok(Answer::ok(json!({ "task": task })))
    })
    .await
}

fn staff_of(receiver: &Receiver) -> Result<Staff, Refusal> {
    receiver.staff.clone().ok_or_else(|| Refusal::missing(""))
}

/// The status that a step leads to, and the statuses it may be taken from.
fn transition(step: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match step {
        "receive" => ("received", &["requested"]),
        "accept" => ("accepted", &["requested", "received"]),
        "reject" => ("rejected", &["requested", "received"]),
        "start" => ("in-progress", &["accepted", "ready", "on-hold"]),
        "hold" => ("on-hold", &["accepted", "ready", "in-progress"]),
        "complete" => ("completed", &["accepted", "ready", "in-progress"]),
        _ => return None,
    })
}

/// Takes one step with a Task and gives the Task as it then is.
fn act(desk: &mut Desk<'_>, staff: &Staff, id: &str, step: &str, note: &Note) -> Result<Value, Refusal> {
    let (status, from) = transition(step).ok_or_else(|| Refusal::missing(""))?;
    let before = desk.read("Task", id)?.resource.unwrap_or_default();
    if !text(&before, "status").is_some_and(|s| from.contains(&s)) {
        let sv = format!("Steget kan bara tas från {}.", from.join(", "));
        let en = format!("The step can be taken only from {}.", from.join(", "));
        return Err(Refusal::new(StatusCode::CONFLICT, Issue::error(Code::Conflict, "Task.status", sv, en)));
    }
    refuse_incomplete(step, note, &before)?;
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let Value::Object(mut task) = before else { return Err(Refusal::fault()) };
    task.insert("status".into(), json!(status));
    task.insert("lastModified".into(), json!(now));
    if let (Some(reason), "reject" | "hold") = (&note.text, step) {
        task.insert("statusReason".into(), json!({ "text": reason }));
    } else {
        task.shift_remove("statusReason");
    }
    if let Some(business) = &note.business_status {
        task.insert("businessStatus".into(), json!({ "text": business }));
    }
    if step == "complete" {
        report(desk, staff, &mut task, note, &now)?;
    }
    let (version, _) = desk.write("Task", id, Value::Object(task), None)?;
    Ok(version.resource.unwrap_or_default())
}

/// An answer or a refusal needs words, and what was done needs a patient.
fn refuse_incomplete(step: &str, note: &Note, task: &Value) -> Result<(), Refusal> {
    let words = note.text.as_ref().is_some_and(|t| !t.trim().is_empty());
    let mut issues = Vec::new();
    let mut miss = |expression: &str, sv: &str, en: &str| issues.push(Issue::error(Code::Required, expression, sv, en));
    if (step == "reject" && !words) || (step == "complete" && !words && note.contact.is_none()) {
        miss("text", "Skriv ett svar eller skäl.", "Write an answer or a reason.");
    }
    if step == "complete" && task.pointer("/for/reference").is_none() {
        miss("Task.for", "Uppgiften saknar patient.", "The Task has no patient.");
    }
    if step != "complete" && (note.contact.is_some() || !note.kva.is_empty()) {
        miss("kva", "Åtgärder och kontakt anges när uppgiften slutförs.", "Measures and contact belong to completing.");
    }
    if note.kva.iter().any(|c| c == AT_A_DISTANCE) && note.kva.iter().all(|c| c == AT_A_DISTANCE) {
        miss("kva", "ZV051 står aldrig ensam; ange åtgärden.", "ZV051 never stands alone; give the measure.");
    }
    if issues.is_empty() { Ok(()) } else { Err(Refusal::unprocessable(issues)) }
}

/// Writes the answer, the measures and the contact, and puts them in `Task.output`.
fn report(
    desk: &mut Desk<'_>,
    staff: &Staff,
    task: &mut Map<String, Value>,
    note: &Note,
    now: &str,
) -> Result<(), Refusal> {
    let subject = task.get("for").cloned().unwrap_or_default();
    let request = task.get("focus").filter(|f| text(f, "reference").is_some_and(|r| r.starts_with("ServiceRequest/")));
    let performer = json!({ "identifier": { "system": HSA_ID, "value": staff.hsa_id }, "display": staff.name });
    let based_on = request.map(|r| json!([r]));
    let mut output = task.get("output").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut write = |desk: &mut Desk<'_>, kind: &str, role: &str, mut resource: Value| {
        if let Some(based_on) = &based_on {
            resource["basedOn"] = based_on.clone();
        }
        let (version, _) = desk.write(kind, &Uuid::new_v4().to_string(), resource, None)?;
        let reference = json!({ "reference": version.local() });
        output.push(json!({ "type": { "text": role }, "valueReference": reference }));
        Ok::<Value, Refusal>(reference)
    };
    if let Some(answer) = note.text.as_ref().filter(|t| !t.trim().is_empty()) {
        let communication = json!({
            "status": "completed", "subject": subject, "sent": now, "sender": performer,
            "payload": [{ "contentString": answer }],
        });
        write(desk, "Communication", "answer", communication)?;
    }
    let (add_ons, measures): (Vec<&String>, Vec<&String>) = note.kva.iter().partition(|c| *c == AT_A_DISTANCE);
    let procedure = |code: &str| {
        json!({
            "status": "completed", "code": { "coding": [{ "system": KVA, "code": code }] },
            "subject": subject, "performedDateTime": now, "performer": [{ "actor": performer }],
        })
    };
    let mut mains = Vec::new();
    for code in measures {
        mains.push(write(desk, "Procedure", "activity", procedure(code))?);
    }
    if let Some(code) = add_ons.first() {
        let mut add_on = procedure(code);
        add_on["partOf"] = Value::Array(mains);
        write(desk, "Procedure", "activity", add_on)?;
    }
    if let Some(contact) = &note.contact {
        let communication = json!({
            "status": "completed", "category": [{ "text": "patient-contact" }], "subject": subject,
            "medium": [{ "text": contact.medium }], "sent": contact.at.to_rfc3339(),
            "recipient": [{ "display": contact.with }], "sender": performer,
        });
        write(desk, "Communication", "patient-contact", communication)?;
    }
    task.insert("output".into(), Value::Array(output));
    Ok(())
}
