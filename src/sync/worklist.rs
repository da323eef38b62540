//! The worklist: every parked delivery has a Task that says why it is parked and what to do, made and closed in the same
//! commit as the parking and the decision; what the writer itself decides, that a block holds a delivery or lets go of it, a
//! moment after (`tend`), also after a kill. The sender's unit owns it, or for a notice whoever runs the gateway; it is never
//! delivered to anybody.
//!
//! Its id follows from the delivery's, so a delivery that is parked again opens the same Task again, and the Task's history
//! tells how often. It belongs to no exchange: reading it is not reading the document, and no partner moves it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::weigh::{Scale, Weighed, current, instant, touch};
use super::{Refusal, identify};
use crate::Gateway;
use crate::domain::delivery::{State, partner_of};
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::store::{
    Action, Attempt, Commit, Committed, Delivery, DeliveryChange, DeliveryQuery, Exchange, Expect, Filter, Listed,
};

/// The code of such a Task in our CodeSystem `worklist`.
pub const PARKED: &str = "delivery-parked";

/// Why a delivery is parked, and what mends it.
struct Remedy {
    /// A code of our CodeSystem `parked-reason`.
    code: &'static str,
    sv: &'static str,
    en: &'static str,
}

/// The remedy for each class of failure. No text of the partner's and nothing of the document is in it.
fn remedy(class: &str, action: Action) -> Remedy {
    let (code, sv, en) = match class {
        _ if action == Action::Notice => (
            "notice",
            "Dokumentet finns att läsa; det är adressen för aviseringar som inte tar emot: rätta notice_url eller hemligheten tillsammans med partnern och försök sedan igen.",
            "The document is there to be read; it is the address for notices that refuses: mend notice_url or the secret together with the partner, then try again.",
        ),
        "unauthorized" => (
            "unauthorized",
            "Mottagarens system godtar inte gatewayens behörighet: be dess förvaltning rätta den och försök sedan igen.",
            "The recipient's system does not accept who the gateway is: have its operators mend that, then try again.",
        ),
        "conflict" => (
            "conflict",
            "Mottagarens uppgifter är inte som väntat, till exempel finns något dubbelt: be mottagaren rätta det och försök sedan igen.",
            "The recipient's data are not as expected, for instance something is there twice: have it mended, then try again.",
        ),
        "transient" => (
            "gave-up",
            "Mottagarens system har inte svarat på hela försökstiden: kontakta mottagaren på annat sätt; försök igen när det svarar.",
            "The recipient's system has not answered for as long as it was tried: reach the recipient in another way; try again when it answers.",
        ),
        "barred" => (
            "barred",
            "Gatewayen ansluter inte till mottagarens adress: rätta adressen eller [outgoing] allow i inställningarna, starta om och försök igen.",
            "The gateway does not connect to the recipient's address: mend the address or [outgoing] allow in the settings, restart, and try again.",
        ),
        _ => (
            "permanent",
            "Mottagarens system tar inte emot innehållet: rätta dokumentet och sänd en ny version, eller be mottagaren rätta sin mottagning och försök igen.",
            "The recipient's system does not take the content: mend the document and send a new version, or have the recipient mend its intake and try again.",
        ),
    };
    Remedy { code, sv, en }
}

/// What a block holds: nobody has anything to do but to know.
const BLOCKED: Remedy = Remedy {
    code: "blocked",
    sv: "Patienten har spärrat uppgifterna för mottagaren: leveransen sänds av sig själv när spärren hävs. Hoppa över den om den inte ska sändas alls.",
    en: "The patient has blocked the data for the recipient: the delivery is sent by itself when the block is lifted. Skip it if it is not to be sent at all.",
};

/// A parked delivery as something that a person has to see to.
pub(super) fn attention(delivery: &Delivery, last: Option<&Attempt>) -> Value {
    let remedy = match delivery.held {
        true => BLOCKED,
        false => remedy(last.map_or("", |attempt| attempt.class.as_str()), delivery.action),
    };
    json!({
        "what": PARKED, "partner": partner_of(&delivery.partner).0, "delivery": delivery.id.to_string(),
        "since": instant(last.map_or(delivery.created_at, |attempt| attempt.at)),
        "reason": delivery.note, "remedy": format!("{} | {}", remedy.sv, remedy.en),
    })
}

/// Adds to the commit what its delivery changes mean for the worklist: a Task for each that is parked with it, and the end
/// of the Task of each that is parked no more.
pub(super) async fn follow(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let is_about = |c: &&DeliveryChange| (c.from == State::Parked) != (c.to == State::Parked);
    let changes: Vec<DeliveryChange> = commit.delivery_changes.iter().filter(is_about).cloned().collect();
    if changes.is_empty() {
        return Ok(());
    }
    let query = DeliveryQuery { exchange: Some(exchange.id), ..DeliveryQuery::default() };
    let deliveries = gateway.store.deliveries(&query).await?;
    let names: Vec<String> = changes.iter().map(|c| format!("Task/{}", task_id(c.id))).collect();
    let current = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let sender: Vec<String> = exchange.sender().map(|s| s.unit.clone()).into_iter().collect();
    let mut weighed = Weighed::default();
    for (change, name) in changes.iter().zip(&names) {
        let stored = current.get(name).map(|(_, task)| task);
        let task = match deliveries.iter().find(|d| d.id == change.id) {
            Some(delivery) if change.to == State::Parked => {
                let remedy = remedy(change.attempt.as_ref().map_or("", |attempt| &attempt.class), delivery.action);
                let parked = Parked { delivery, remedy, note: change.note.as_deref() };
                Some(opened(gateway, exchange, &parked, stored, now))
            }
            _ => stored.map(|task| closed(task, change, now)),
        };
        // One that ends may be of another exchange about the patient: whoever saw it still does, and nobody else.
        let is_notice = deliveries.iter().any(|d| d.id == change.id && d.action == Action::Notice);
        let units = if change.to == State::Parked && !is_notice { &sender[..] } else { &[] };
        let patient = exchange.patient.as_deref().filter(|_| !is_notice);
        let scale = Scale { now, patient, units, exchange: None };
        if let Some(task) = task {
            scale.add(&task, &current, &mut weighed);
        }
    }
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    Ok(())
}

/// The Task of a delivery, whatever becomes of it.
pub fn task_id(delivery: Uuid) -> String {
    identify::id(&["worklist", &delivery.to_string()])
}

/// Tells the worklist of what blocks hold and have let go of: what the writer decides, a moment after it did. Where the
/// program was stopped in between, at the next start. How many deliveries that were.
pub async fn tend(gateway: &Gateway, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let mut told = 0;
    loop {
        let unlisted = gateway.store.unlisted(AT_ONCE).await?;
        if unlisted.is_empty() {
            return Ok(told);
        }
        let before = told;
        for delivery in unlisted {
            told += usize::from(list(gateway, &delivery, now).await?);
        }
        if told == before {
            // Others are faster with every one of them: they come back when they are done.
            return Ok(told);
        }
    }
}

/// Deliveries that are looked at together.
const AT_ONCE: u32 = 100;

/// False where something happened to it meanwhile: it is looked at again.
async fn list(gateway: &Gateway, delivery: &Delivery, now: DateTime<Utc>) -> Result<bool, Refusal> {
    let mut commit =
        Commit { listed: vec![Listed { delivery: delivery.id, held: delivery.held }], ..Commit::default() };
    commit.expect.push(Expect::Delivery { delivery: delivery.id, state: delivery.state });
    // That there is something to read is told by a notice; that one is held, by nothing.
    if delivery.action != Action::Notice
        && let Some(exchange) = gateway.store.exchange(&Filter::ALL, delivery.exchange).await?
    {
        let name = format!("Task/{}", task_id(delivery.id));
        let current = current(gateway.store.resources(&Filter::ALL, std::slice::from_ref(&name)).await?);
        let stored = current.get(&name).map(|(_, task)| task);
        let is_open = stored.is_some_and(|task| task["status"] == "requested");
        // To the sender of what is held: the recipient of an answer that is kept from it is the exchange's sender itself.
        let sender = exchange.sender().map(|s| s.unit.clone());
        let is_for_sender = !sender.as_ref().is_some_and(|unit| unit.eq_ignore_ascii_case(&delivery.unit));
        let units: Vec<String> = sender.into_iter().filter(|_| is_for_sender).collect();
        let patient = exchange.patient.as_deref().filter(|_| is_for_sender);
        let task = match delivery.held {
            true => {
                let parked = Parked { delivery, remedy: BLOCKED, note: delivery.note.as_deref() };
                Some(opened(gateway, &exchange, &parked, stored, now))
            }
            false => stored.filter(|_| is_open).map(|task| ended(task, delivery.state, now)),
        };
        let scale = Scale { now, patient, units: &units, exchange: None };
        let mut weighed = Weighed::default();
        if let Some(task) = task {
            scale.add(&task, &current, &mut weighed);
        }
        commit.put = weighed.put;
        commit.expect.extend(weighed.expect);
    }
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

/// A delivery that the worklist is told of.
struct Parked<'a> {
    delivery: &'a Delivery,
    remedy: Remedy,
    note: Option<&'a str>,
}

fn opened(
    gateway: &Gateway,
    exchange: &Exchange,
    parked: &Parked<'_>,
    stored: Option<&Value>,
    now: DateTime<Utc>,
) -> Value {
    let Parked { delivery, remedy, note } = parked;
    // Nothing of the patient's waits: who runs the gateway mends the address, and needs not know about whom it was. Nor is the
    // recipient of an answer told that a block keeps one from it.
    let is_for_sender = !exchange.sender().is_some_and(|sender| sender.unit.eq_ignore_ascii_case(&delivery.unit));
    let is_notice = delivery.action == Action::Notice || (delivery.held && !is_for_sender);
    let mut task = json!({
        "resourceType": "Task",
        "id": task_id(delivery.id),
        "meta": { "profile": [format!("{BASE}/StructureDefinition/parked-delivery-task")] },
        // How the delivery is found: GET /v1/deliveries?id, vardkedja retry.
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", delivery.id) }],
        "status": "requested",
        "statusReason": {
            "coding": [{ "system": format!("{BASE}/CodeSystem/parked-reason"), "code": remedy.code }],
            "text": note,
        },
        "intent": "order",
        "priority": if delivery.urgent { "urgent" } else { "routine" },
        "code": { "coding": [{ "system": format!("{BASE}/CodeSystem/worklist"), "code": PARKED }] },
        "description": format!("{} | {}", remedy.sv, remedy.en),
        "focus": if is_notice { Value::Null } else { focus(exchange) },
        "for": exchange.patient.as_ref().filter(|_| !is_notice).map(|id| json!({ "reference": format!("Patient/{id}") })),
        "authoredOn": stored.map_or_else(|| json!(instant(now)), |task| task["authoredOn"].clone()),
        "requester": { "type": "Organization", "identifier": { "system": HSA_ID, "value": gateway.config.hsa_id } },
        "owner": owner(gateway, exchange, is_notice),
        "note": [{ "text": format!("vardkedja retry {0} · vardkedja skip {0} --by … --reason …", delivery.id) }],
    });
    if let Some(object) = task.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        touch(object, now);
    }
    task
}

/// What the document is about: the request, the plan, the handover or what was done.
pub(super) fn focus(exchange: &Exchange) -> Value {
    let kinds = ["ServiceRequest/", "CarePlan/", "Composition/", "Procedure/", "Encounter/", "Task/"];
    let found = kinds.iter().find_map(|kind| exchange.resources.iter().find(|name| name.starts_with(kind)));
    found.map_or(Value::Null, |name| json!({ "reference": name }))
}

/// The sender's unit; for a notice, and where it has no unit any more, whoever runs the gateway.
fn owner(gateway: &Gateway, exchange: &Exchange, is_notice: bool) -> Value {
    let unit = exchange.sender().filter(|_| !is_notice).map_or(&gateway.config.hsa_id, |sender| &sender.unit);
    let organization = format!("Organization/{}", identify::id(&["Organization", &unit.to_ascii_uppercase()]));
    let mut owner = json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": unit } });
    if exchange.resources.contains(&organization) {
        owner["reference"] = json!(organization);
    }
    owner
}

/// Tried again: done with. Given up by a person or superseded: cancelled, and by whom or what stands in the delivery.
fn closed(task: &Value, change: &DeliveryChange, now: DateTime<Utc>) -> Value {
    ended(task, change.to, now)
}

fn ended(task: &Value, state: State, now: DateTime<Utc>) -> Value {
    let mut closed = task.clone();
    if let Some(object) = closed.as_object_mut() {
        let status = if state == State::Skipped { "cancelled" } else { "completed" };
        object.insert("status".into(), json!(status));
        touch(object, now);
        object.shift_remove("statusReason");
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::CLASSES;

    #[test]
    fn every_class_of_failure_has_a_remedy_of_its_own_and_the_code_system_has_its_code() {
        let system = include_str!("../../profiles/CodeSystem-parked-reason.json");
        let system: Value = serde_json::from_str(system).unwrap();
        let known: Vec<&str> = system["concept"].as_array().unwrap().iter().flat_map(|c| c["code"].as_str()).collect();
        let mut codes: Vec<&str> =
            CLASSES.iter().filter(|c| **c != "delivered").map(|c| remedy(c, Action::Transaction).code).collect();
        codes.extend(CLASSES.map(|c| remedy(c, Action::Notice).code));
        codes.push(BLOCKED.code);
        assert!(codes.iter().all(|code| known.contains(code)), "{codes:?} {known:?}");
        codes.dedup();
        assert_eq!(codes.len(), known.len());
    }
}
