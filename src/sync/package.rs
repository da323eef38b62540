//! Packs what a recipient gets into the bytes of a delivery. After the commit these bytes never change.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Gateway;
use crate::config::Channel;
use crate::domain::delivery;
use crate::domain::task::Status;
use crate::fhir::bundle::{Dialect, TaskMode, transaction};
use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::protection::conceal_protected;
use crate::fhir::resource::type_of;
use crate::store::{Action, Delivery, Exchange, Party};

/// Where a delivery belongs.
#[derive(Debug, Clone)]
pub struct Address<'a> {
    pub exchange: Uuid,
    pub version: u32,
    pub partner: &'a str,
    pub unit: &'a str,
    pub patient: &'a str,
    pub now: DateTime<Utc>,
}

impl<'a> Address<'a> {
    /// To a party of the exchange, about the version in force.
    pub fn of(exchange: &'a Exchange, party: &'a Party, now: DateTime<Utc>) -> Self {
        Self {
            exchange: exchange.id,
            version: exchange.version,
            partner: &party.partner,
            unit: &party.unit,
            patient: exchange.patient.as_deref().unwrap_or_default(),
            now,
        }
    }
}

/// Whether the partner wants deliveries; one that is not configured reads from us.
pub fn is_pushed(gateway: &Gateway, partner: &str) -> bool {
    matches!(gateway.config.partner(partner).map(|p| &p.channel), Some(Channel::Push { .. }))
}

/// Whether the partner's server takes our Provenance.
pub fn takes_provenance(gateway: &Gateway, partner: &str) -> bool {
    gateway.takes_provenance.lock().is_ok_and(|partners| partners.contains(partner))
}

/// The Bundle for one recipient: everything but other recipients' Tasks, and where a protected person lives.
pub fn bundle(
    gateway: &Gateway,
    address: &Address<'_>,
    resources: &[Value],
    tasks: TaskMode,
    own_task: Option<&str>,
) -> Delivery {
    let none = Dialect::default();
    let dialect = gateway.config.partner(address.partner).map_or(&none, |p| &p.dialect);
    let mut mine: Vec<Value> = resources
        .iter()
        .filter(|r| type_of(r) != "Provenance" || takes_provenance(gateway, address.partner))
        .filter(|r| type_of(r) != "Task" || own_task.is_none_or(|id| r["id"] == id) || tasks == TaskMode::Replace)
        .cloned()
        .collect();
    conceal_protected(&mut mine);
    mine.extend(successors(&mine));
    let body = serde_json::to_vec(&transaction(&mine, tasks, dialect)).unwrap_or_default();
    Delivery { urgent: mine.iter().any(is_urgent), ..delivery_of(address, Action::Transaction, body) }
}

/// A Patient of its own for each number that has replaced one of these: a partner's Patient is never updated by us, and from this
/// one it learns that its own is known by another number now.
fn successors(resources: &[Value]) -> Vec<Value> {
    let mut all = Vec::new();
    for patient in resources.iter().filter(|r| type_of(r) == "Patient") {
        let links = patient["link"].as_array().map_or(&[][..], Vec::as_slice);
        for link in links.iter().filter(|link| link["type"] == "replaced-by") {
            let (other, id) = (&link["other"], patient["id"].as_str().unwrap_or_default());
            let Some(new) = other["reference"].as_str().and_then(|r| r.strip_prefix("Patient/")) else { continue };
            if other["identifier"].is_null() || resources.iter().any(|r| type_of(r) == "Patient" && r["id"] == new) {
                continue;
            }
            let mut successor = json!({
                "resourceType": "Patient",
                "id": new,
                "meta": { "profile": patient["meta"]["profile"], "security": patient["meta"]["security"] },
                "identifier": [other["identifier"]],
                "active": true,
                "deceasedBoolean": patient["deceasedBoolean"],
                "deceasedDateTime": patient["deceasedDateTime"],
                "link": [{ "other": { "reference": format!("Patient/{id}") }, "type": "replaces" }],
            });
            for part in ["/meta", ""] {
                if let Some(object) = successor.pointer_mut(part).and_then(Value::as_object_mut) {
                    object.retain(|_, value| !value.is_null());
                }
            }
            all.push(successor);
        }
    }
    all
}

/// Whether the sender wants it looked at before others: R4's request-priority above `routine`.
fn is_urgent(resource: &Value) -> bool {
    let asks = matches!(type_of(resource), "ServiceRequest" | "Task");
    asks && matches!(resource["priority"].as_str(), Some("urgent" | "asap" | "stat"))
}

/// What is asked in a Task: how urgent it is, and which version of the request it is about (`input`), which came for that reason
/// (`reasonCode`). The placer's alone, however far the partner has gone on.
pub const PLACERS: [&str; 3] = ["priority", "input", "reasonCode"];

/// By what right the partner's copy of a Task is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// The placer's alone.
    Placer,
    /// Either side's: the owner has agreed, or nobody may go on (a consent that is withdrawn).
    Both,
}

/// How a Task stands: said together.
const LIFE: [&str; 4] = ["status", "statusReason", "businessStatus", "lastModified"];

/// A move of the partner's copy of a Task: these elements become ours, all others stay.
pub fn task_move(address: &Address<'_>, task: &Value, right: Right) -> Delivery {
    moved(address, task, right, LIFE.into_iter().chain(PLACERS))
}

/// What a new version of the request changes in the partner's copy, and nothing else: of how the Task stands the partner may
/// have said something that was not read yet. `None`: nothing.
pub fn task_change(address: &Address<'_>, task: &Value, stored: &Value, right: Right) -> Option<Delivery> {
    let differs = |name: &&str| task.get(*name) != stored.get(*name);
    let is_moved = LIFE.iter().take(3).any(|name| differs(&name));
    let life = LIFE.into_iter().filter(|_| is_moved);
    let names: Vec<&'static str> = life.chain(PLACERS.into_iter().filter(|name| differs(&name))).collect();
    (!names.is_empty()).then(|| moved(address, task, right, names.into_iter()))
}

fn moved(address: &Address<'_>, task: &Value, right: Right, names: impl Iterator<Item = &'static str>) -> Delivery {
    let mut set = serde_json::Map::new();
    let mut clear = Vec::new();
    for name in names {
        match task.get(name) {
            Some(value) => {
                set.insert(name.to_owned(), value.clone());
            }
            None => clear.push(name),
        }
    }
    let identifier = format!("{RESOURCE_ID}|{}", task["id"].as_str().unwrap_or_default());
    let mut body = json!({ "identifier": identifier, "set": set, "clear": clear });
    if right == Right::Both {
        body["agreed"] = json!(true);
    }
    let body = serde_json::to_vec(&body).unwrap_or_default();
    Delivery { urgent: is_urgent(task), ..delivery_of(address, Action::MoveTask, body) }
}

/// A delivery that waits to be sent for the first time.
pub fn delivery_of(address: &Address<'_>, action: Action, body: Vec<u8>) -> Delivery {
    Delivery {
        id: Uuid::now_v7(),
        exchange: address.exchange,
        document_version: address.version,
        partner: address.partner.to_owned(),
        unit: address.unit.to_owned(),
        patient: address.patient.to_owned(),
        action,
        body,
        state: delivery::State::Waiting,
        attempts: 0,
        seq: 0,
        created_at: address.now,
        first_attempt_at: None,
        due_at: address.now,
        begun_at: None,
        note: None,
        urgent: false,
        resend_of: None,
        held: false,
    }
}

/// What a stored Task move asks of the partner's copy: the changed Task, `None` if it is already right,
/// or why it cannot be (the partner's people were faster).
pub fn apply_move(stored: &Value, theirs: &Value) -> Result<Option<Value>, String> {
    use crate::domain::task::{Role, Verdict, verdict};
    let mut set = stored["set"].as_object().cloned().unwrap_or_default();
    let status = |v: &Value| v.as_str().and_then(Status::parse);
    let wanted = set.get("status").and_then(status);
    if wanted.is_some_and(|w| !w.is_final())
        && status(&theirs["status"]).is_some_and(|s| s > Status::OnHold && !s.is_final())
    {
        // The partner has gone on by itself: its own step is read back in the next round, and only what is asked is ours.
        set.retain(|name, _| PLACERS.contains(&name.as_str()));
    }
    let may = |from, to, role| matches!(verdict(from, to, role), Verdict::Allowed | Verdict::Same);
    if let (Some(from), Some(to)) = (status(&theirs["status"]), set.get("status").and_then(status))
        && !may(from, to, Role::Placer)
        && !(stored["agreed"] == true && may(from, to, Role::Filler))
    {
        return Err(format!("the partner's Task stands at {from} and cannot be moved to {to} by the sender"));
    }
    let mut changed = theirs.clone();
    let Some(object) = changed.as_object_mut() else { return Ok(None) };
    for (name, value) in set {
        object.insert(name, value);
    }
    let cleared = stored["clear"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let as_asked = object.get("status") == stored["set"].get("status");
    for name in cleared.filter(|name| as_asked || PLACERS.contains(name)) {
        object.shift_remove(name);
    }
    Ok((changed != *theirs).then_some(changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_does_not_overrun_an_acceptance() {
        let stored = json!({ "set": { "status": "cancelled" } });
        assert!(apply_move(&stored, &json!({ "status": "requested" })).unwrap().is_some());
        assert_eq!(apply_move(&stored, &json!({ "status": "cancelled" })), Ok(None));
        assert!(apply_move(&stored, &json!({ "status": "accepted" })).is_err());
        let agreed = json!({ "set": { "status": "cancelled" }, "agreed": true });
        assert!(apply_move(&agreed, &json!({ "status": "accepted" })).unwrap().is_some());
        assert!(apply_move(&agreed, &json!({ "status": "completed" })).is_err(), "what is done is done");
    }

    #[test]
    fn a_partner_that_has_gone_on_by_itself_only_hears_what_is_asked_of_it() {
        let version = json!([{ "valuePositiveInt": 2 }]);
        let stored = json!({ "set": { "status": "requested", "priority": "stat", "input": version }, "clear": ["statusReason"] });
        let theirs = json!({ "status": "in-progress", "priority": "routine", "statusReason": { "text": "x" } });
        let changed = apply_move(&stored, &theirs).unwrap().unwrap();
        assert_eq!(
            changed,
            json!({ "status": "in-progress", "priority": "stat", "statusReason": { "text": "x" }, "input": version })
        );
        let held = json!({ "status": "on-hold", "statusReason": { "text": "x" } });
        let moved = json!({ "status": "requested", "priority": "stat", "input": version });
        assert_eq!(apply_move(&stored, &held).unwrap().unwrap(), moved);
    }
}
