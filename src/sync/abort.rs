//! A Task that asks for another Task to be stopped (HL7 Clinical Order Workflows, cancellation after acceptance), and what
//! its answer does: agreed, the Task it is about is cancelled; refused, that Task goes on and the sender reads why.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Refusal;
use super::identify;
use super::part::is_part;
use super::redirect::is_redirected;
use super::weigh::{Current, instant, set_status, touch};
use crate::domain::task::{self, Role, Status, Verdict};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{has_coding, reference_of, type_of};
use crate::store::Exchange;

/// The code system of a Task that asks for another Task to be stopped.
const TASK_CODE: &str = "http://hl7.org/fhir/CodeSystem/task-code";

/// Whether the Task asks for another one to be stopped.
pub fn is_abort(resource: &Value) -> bool {
    type_of(resource) == "Task" && has_coding(&resource["code"], TASK_CODE, "abort")
}

/// Whether nobody has answered it yet.
pub fn is_open(task: &Value) -> bool {
    status_of(task).is_none_or(|s| !s.is_final())
}

fn status_of(task: &Value) -> Option<Status> {
    task["status"].as_str().and_then(Status::parse)
}

/// `Task/id` of the Task that it asks to stop.
pub fn target(abort: &Value) -> &str {
    abort["focus"]["reference"].as_str().unwrap_or_default()
}

/// Every request to stop that Task (`Task/id`), answered or not.
pub(super) fn asked_of<'a>(current: &'a Current, task: &str) -> impl Iterator<Item = &'a Value> {
    current.values().map(|(_, v)| v).filter(move |v| is_abort(v) && target(v) == task)
}

/// A new request to stop the Task. `earlier`: how many there were for it in this version of the document.
pub(super) fn ask(exchange: &Exchange, task: &Value, earlier: usize, reason: &str, now: DateTime<Utc>) -> Value {
    let focus = format!("Task/{}", task["id"].as_str().unwrap_or_default());
    let version = exchange.version.to_string();
    let id = match earlier {
        0 => identify::id(&["abort", &focus, &version]),
        n => identify::id(&["abort", &focus, &version, &n.to_string()]),
    };
    json!({
        "resourceType": "Task",
        "id": id,
        "status": "requested",
        "intent": "order",
        "code": { "coding": [{ "system": TASK_CODE, "code": "abort" }] },
        "focus": { "reference": focus },
        "for": task["for"],
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "requester": task["requester"],
        "owner": task["owner"],
        "reasonCode": { "text": reason },
    })
}

/// Whether the Task may be cancelled when both sides want it: the placer asked, the filler agreed.
pub(super) fn may_cancel(from: Status) -> bool {
    [Role::Placer, Role::Filler].iter().any(|role| task::verdict(from, Status::Cancelled, *role) == Verdict::Allowed)
}

/// What else the owner's move changes: the Task that it agreed to stop, or the requests to stop that its move answers, and
/// the ServiceRequest when nobody works on it any more. `moved` is the Task as it stands after the move.
pub(super) fn follow(moved: &Value, current: &Current, now: DateTime<Utc>) -> Result<Vec<Value>, Refusal> {
    let Some(status) = status_of(moved) else { return Ok(Vec::new()) };
    let mut changed = Vec::new();
    if is_abort(moved) {
        if status == Status::Completed {
            changed.extend(stopped(moved, current, now)?);
        }
    } else if status.is_final() {
        let name = reference_of(moved).unwrap_or_default();
        for abort in asked_of(current, &name).filter(|a| is_open(a)) {
            changed.push(closed(abort, status, now));
        }
        if changed.is_empty() || status != Status::Cancelled {
            return Ok(changed);
        }
    }
    if !changed.is_empty() {
        changed.extend(revoked(moved, &changed, current));
    }
    Ok(changed)
}

/// The Task that the owner agreed to stop; nothing where it stopped already.
fn stopped(abort: &Value, current: &Current, now: DateTime<Utc>) -> Result<Option<Value>, Refusal> {
    let Some((_, task)) = current.get(target(abort)) else { return Ok(None) };
    let from = status_of(task).unwrap_or(Status::Requested);
    if from == Status::Cancelled {
        return Ok(None);
    }
    if !may_cancel(from) {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            format!(
                "Uppgiften som skulle avbrytas är redan avslutad ({from}); avvisa begäran (rejected) med ett skäl."
            ),
            format!("The Task that was to be stopped has ended already ({from}); reject this one with a reason."),
        )));
    }
    let mut task = task.clone();
    let said = abort["statusReason"]["text"].as_str().or_else(|| abort["reasonCode"]["text"].as_str());
    if let Some(object) = task.as_object_mut() {
        set_status(object, Status::Cancelled, said);
        touch(object, now);
    }
    Ok(Some(task))
}

/// The request to stop a Task that has ended otherwise: by being cancelled, which answers it, or in another way.
pub(super) fn closed(abort: &Value, ended: Status, now: DateTime<Utc>) -> Value {
    let mut abort = abort.clone();
    if let Some(object) = abort.as_object_mut() {
        match ended {
            Status::Cancelled => set_status(object, Status::Completed, None),
            Status::EnteredInError => set_status(object, Status::Cancelled, None),
            _ => {
                let text = format!("Uppgiften hann avslutas ({ended}). | The Task had ended before ({ended}).");
                set_status(object, Status::Rejected, Some(&text));
            }
        }
        touch(object, now);
    }
    abort
}

/// The ServiceRequests, when the last Task of the exchange is cancelled: the sender wanted that.
fn revoked(moved: &Value, changed: &[Value], current: &Current) -> Vec<Value> {
    let now = |task: &Value| {
        let name = reference_of(task);
        let standing = changed.iter().chain([moved]).find(|c| reference_of(c) == name).unwrap_or(task);
        status_of(standing) == Some(Status::Cancelled)
    };
    let is_whole = |v: &&Value| type_of(v) == "Task" && !is_abort(v) && !is_part(v) && !is_redirected(v);
    let mut tasks = current.values().map(|(_, v)| v).filter(is_whole);
    if !tasks.all(now) {
        return Vec::new();
    }
    let requests = current.values().map(|(_, v)| v).filter(|v| type_of(v) == "ServiceRequest");
    let active = requests.filter(|r| r["status"] == "active");
    active
        .map(|r| {
            let mut request = r.clone();
            request["status"] = json!("revoked");
            request
        })
        .collect()
}
