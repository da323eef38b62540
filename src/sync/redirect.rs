//! A request is sent on (vidareskickas): the unit that was asked ends its Task, another unit's goes on, and the exchange with it.
//!
//! The new Task has the id that the document would give it if it named the new unit, so that a newer version finds it whichever
//! of the two its sender names. The unit that sent it on is no party any more: it keeps its own Task, and what it told itself.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Refusal;
use super::charge;
use super::consent::only_here;
use super::contribute::told_by;
use super::identify::{self, DocumentIds};
use super::moved::business_status;
use super::notice::{News, notices};
use super::package::{self, Address, is_pushed};
use super::route::{follow, open_unit, ties};
use super::weigh::{Current, current, instant, set_status, touch};
use crate::Gateway;
use crate::domain::business_status::BusinessStatus;
use crate::domain::redirect::Barred;
use crate::domain::task::Status;
use crate::domain::{Kind, PartyRole, Stage};
use crate::fhir::bundle::TaskMode;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::{id_of, identifier, reference_of, type_of};
use crate::mapping::{IdAsk, Ids};
use crate::store::{Delivery, Exchange, Expect, Filter, Party, Share};

/// The output of the Task that was sent on: its value is the unit, by HSA-id.
pub(super) const TO: &str = "redirected-to";
/// The input of the Task that goes on: its value is the Task that was sent on.
pub(super) const FROM: &str = "redirected-from";

/// What follows from sending on, beside the end of the Task itself.
#[derive(Debug)]
pub(super) struct SentOn {
    /// The party that was asked before, and the one that is asked now.
    pub(super) from: String,
    pub(super) party: Party,
    /// The new Task, its unit, and the note of who sent it on.
    pub(super) resources: Vec<Value>,
    /// What is stored of those.
    pub(super) known: Current,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) share: Share,
    pub(super) hide: Share,
    pub(super) expect: Vec<Expect>,
}

/// Whether the Task ended by being sent on.
pub fn is_redirected(task: &Value) -> bool {
    type_of(task) == "Task" && business_status(task) == Some(BusinessStatus::Redirected.code())
}

/// The unit that an owner names in its Task's output as the one it sends on to, where it had not named it before.
pub fn said_in(stored: &Value, wanted: &Value) -> Option<String> {
    let to = named(wanted)?;
    (named(stored) != Some(to)).then(|| to.to_owned())
}

/// The unit that the Task was sent on to.
pub fn named(task: &Value) -> Option<&str> {
    let output = list(&task["output"]).iter().find(|output| output["type"]["text"] == TO)?;
    let identifier = &output["valueReference"]["identifier"];
    identifier["value"].as_str().filter(|_| identifier["system"] == HSA_ID)
}

/// The Task (`Task/id`) that this one continues.
pub fn continues(task: &Value) -> Option<&str> {
    let input = list(&task["input"]).iter().find(|input| input["type"]["text"] == FROM)?;
    input["valueReference"]["reference"].as_str()
}

/// Ends the Task as sent on: rejected, with why and where to.
pub(super) fn end(task: &mut Value, from: &str, to: &str, place: &str) {
    let Some(object) = task.as_object_mut() else { return };
    if let Some(owner) = object.get_mut("owner").and_then(Value::as_object_mut) {
        // Nobody's party says it from now on.
        owner.insert("type".into(), json!("Organization"));
        owner.insert("identifier".into(), json!({ "system": HSA_ID, "value": from }));
    }
    object.insert("businessStatus".into(), super::part::concept(BusinessStatus::Redirected));
    if object.get("statusReason").is_none_or(Value::is_null) {
        object.insert("statusReason".into(), json!({ "text": format!("Vidareskickad till {to}. | Sent on to {to}.") }));
    }
    if place.starts_with("Task.") {
        return; // the owner has written the output itself
    }
    let output = json!({
        "type": { "text": TO },
        "valueReference": { "type": "Organization", "identifier": { "system": HSA_ID, "value": to } },
    });
    match object.get_mut("output").and_then(Value::as_array_mut) {
        Some(outputs) => outputs.push(output),
        None => {
            object.insert("output".into(), json!([output]));
        }
    }
}

/// What follows from the end of `ended`, a Task of this exchange, which was sent on to that unit.
pub(super) async fn send_on(
    gateway: &Gateway,
    exchange: &Exchange,
    ended: &Value,
    to: &str,
    place: &str,
    current_here: &Current,
    now: DateTime<Utc>,
) -> Result<SentOn, Refusal> {
    let store = &gateway.store;
    let party = exchange.parties.iter().find(|p| p.task.as_deref() == id_of(ended) && p.role == PartyRole::Recipient);
    let Some(party) = party.filter(|_| exchange.kind == Kind::Referral) else {
        return Err(Refusal::Findings(vec![only_referrals(place)]));
    };
    let unit = check(gateway, exchange, party, to, place, current_here, now)?;
    let ids = DocumentIds { organisation: &exchange.organisation, kind: exchange.kind, document: &exchange.document };
    let ask = |resource_type, block, key, actor| IdAsk { resource_type, block, key, actor };
    let task_id = ids.id(&ask("Task", "task", &unit.hsa_id, false));
    let unit_id = ids.id(&ask("Organization", "", &unit.hsa_id, true));
    let names = [format!("Task/{task_id}"), format!("Organization/{unit_id}")];
    let known = current(store.resources(&Filter::ALL, &names).await?);
    let note = forwarding(exchange, party, ended, now);
    let stored = known.get(&format!("Task/{task_id}")).map(|(_, task)| task);
    let task = continued(ended, stored, &task_id, &unit_id, &unit.hsa_id, &note, now);
    let organization = match known.get(&format!("Organization/{unit_id}")) {
        Some((_, organization)) => organization.clone(),
        None => json!({
            "resourceType": "Organization",
            "id": unit_id,
            "meta": { "profile": [format!("{BASE}/StructureDefinition/organization")] },
            "identifier": [{ "system": HSA_ID, "value": unit.hsa_id }],
            "name": unit.name,
        }),
    };
    let next = Party {
        unit: unit.hsa_id.clone(),
        partner: unit.partner.clone(),
        role: PartyRole::Recipient,
        task: Some(task_id.clone()),
        status: Some(Status::Requested),
        stage: Stage::Waiting,
    };
    let mut resources = vec![task, organization, note];
    let here: Vec<Value> =
        exchange.resources.iter().filter_map(|n| current_here.get(n)).map(|(_, v)| v.clone()).collect();
    // The plan travels along, as it did to the unit before.
    let sender = exchange.sender().map_or("", |s| s.unit.as_str());
    let mut ties = ties(&here);
    ties.owners.clear();
    let followed = follow(gateway, exchange.kind, sender, &[], &ties, exchange.patient.as_deref()).await?;
    let plan = current(store.resources(&Filter::ALL, &followed.plan).await?);
    let mut deliveries = Vec::new();
    if is_pushed(gateway, &next.partner) {
        let names = followed.plan.iter().filter(|name| !exchange.resources.contains(name));
        let plan = names.filter_map(|name| plan.get(name)).map(|(_, value)| value.clone());
        let all: Vec<Value> = here.iter().cloned().chain(plan).chain(resources.iter().cloned()).collect();
        let address = Address::of(exchange, &next, now);
        deliveries.push(package::bundle(gateway, &address, &all, TaskMode::CreateOnce, Some(&task_id)));
    }
    deliveries.extend(notices(gateway, exchange, std::iter::once(&next), News::Document, now));
    let own_task = reference_of(ended).unwrap_or_default();
    let own = |name: &String| {
        *name == own_task || current_here.get(name).is_some_and(|(_, r)| told_by(&party.unit, Some(ended), r))
    };
    let episodes = charge::episodes_of(gateway, exchange.id).await?;
    let others = episodes.iter().filter(|(_, of)| *of != party.unit.to_ascii_uppercase()).map(|(name, _)| name.clone());
    let hidden = only_here(exchange).into_iter().filter(|name| !own(name)).chain(others).collect();
    resources.retain(|r| known.get(&reference_of(r).unwrap_or_default()).is_none_or(|(_, stored)| stored != r));
    Ok(SentOn {
        from: party.unit.clone(),
        share: Share {
            resources: exchange
                .resources
                .iter()
                .chain(&followed.plan)
                .chain(episodes.iter().map(|(name, _)| name))
                .cloned()
                .collect(),
            units: vec![next.unit.clone()],
        },
        hide: Share { resources: hidden, units: vec![party.unit.clone()] },
        expect: followed.expect,
        party: next,
        resources,
        known,
        deliveries,
    })
}

/// The unit, if what was asked for may be sent on there.
fn check<'g>(
    gateway: &'g Gateway,
    exchange: &Exchange,
    from: &Party,
    to: &str,
    place: &str,
    current_here: &Current,
    now: DateTime<Utc>,
) -> Result<&'g crate::domain::Unit, Refusal> {
    let directory = &gateway.config.directory;
    open_unit(directory, to, place, now.date_naive()).map_err(|issue| Refusal::Findings(vec![issue]))?;
    let barred = |sv: String, en: String| Refusal::Findings(vec![Issue::error(Code::BusinessRule, place, sv, en)]);
    let (Some(from), Some(unit)) = (directory.find(&from.unit), directory.find(to)) else {
        return Err(barred(
            "Enheten finns inte i enhetskatalogen.".into(),
            "The unit is not in the directory of units.".into(),
        ));
    };
    let asker = exchange.sender().map_or("", |s| s.unit.as_str());
    let tasks = current_here.values().map(|(_, v)| v).filter(|task| is_redirected(task));
    let by: Vec<String> = tasks.filter_map(|task| owner_of(task, current_here)).collect();
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let allowed = gateway.config.redirect.allows(from, unit, asker, &by);
    let (id, level, own) = (&unit.hsa_id, unit.level.code(), from.level.code());
    let Err(why) = allowed else {
        return match exchange.recipients().any(|p| p.unit.eq_ignore_ascii_case(to)) {
            false => Ok(unit),
            true => Err(barred(format!("{id} är redan tillfrågad."), format!("{id} is asked already."))),
        };
    };
    Err(match why {
        Barred::Back => barred(
            "Skicka vidare till en annan enhet; till avsändaren svarar ni (rejected eller on-hold).".into(),
            "Send on to another unit; to the sender you answer (rejected or on-hold).".into(),
        ),
        Barred::Again => barred(
            format!("{id} har redan skickat den vidare; avvisa den till avsändaren i stället."),
            format!("{id} has sent it on already; reject it to its sender instead."),
        ),
        Barred::TooOften => barred(
            format!("Begäran har skickats vidare {} gånger; avvisa den till avsändaren.", by.len()),
            format!("The request has been sent on {} times; reject it to its sender.", by.len()),
        ),
        Barred::Level => barred(
            format!("Från nivån {own} skickas inte vidare till {level} (redirect.levels); avvisa begäran."),
            format!("From level {own} nothing is sent on to {level} (redirect.levels); reject the request."),
        ),
        Barred::Region => barred(
            format!("{id} hör till en annan region (redirect.same_region); avvisa begäran."),
            format!("{id} belongs to another region (redirect.same_region); reject the request."),
        ),
    })
}

fn only_referrals(place: &str) -> Issue {
    Issue::error(
        Code::BusinessRule,
        place,
        "Bara en remiss skickas vidare: en aktiv överlämning är muntlig med er, och samtycket till en SIP namnger deltagarna.",
        "Only a referral is sent on: an active handover was oral with you, and the consent to a SIP names its participants.",
    )
}

/// The Task that goes on.
fn continued(
    ended: &Value,
    stored: Option<&Value>,
    id: &str,
    unit_id: &str,
    unit: &str,
    note: &Value,
    now: DateTime<Utc>,
) -> Value {
    let mut task = ended.clone();
    let Some(object) = task.as_object_mut() else { return task };
    for name in ["statusReason", "businessStatus", "output", "executionPeriod"] {
        object.shift_remove(name);
    }
    object.insert("id".into(), json!(id));
    set_status(object, Status::Requested, None);
    object.insert(
        "owner".into(),
        json!({
            "reference": format!("Organization/{unit_id}"), "type": "Organization",
            "identifier": { "system": HSA_ID, "value": unit },
        }),
    );
    let from = json!({
        "type": { "text": FROM }, "valueReference": { "reference": reference_of(ended), "type": "Task" },
    });
    let mut inputs: Vec<Value> = list(&ended["input"]).iter().filter(|i| i["type"]["text"] != FROM).cloned().collect();
    inputs.push(from);
    object.insert("input".into(), Value::Array(inputs));
    let mut history: Vec<Value> = list(&ended["relevantHistory"]).to_vec();
    history.push(json!({ "reference": reference_of(note) }));
    object.insert("relevantHistory".into(), Value::Array(history));
    if let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut) {
        meta.shift_remove("versionId");
        meta.shift_remove("lastUpdated");
    }
    if let Some(authored) = stored.and_then(|s| s.get("authoredOn")) {
        object.insert("authoredOn".into(), authored.clone());
    }
    touch(object, now);
    task
}

/// Who sent it on, and when.
fn forwarding(exchange: &Exchange, from: &Party, ended: &Value, now: DateTime<Utc>) -> Value {
    json!({
        "resourceType": "Provenance",
        "id": identify::id(&["forwarding", id_of(ended).unwrap_or_default(), &exchange.version.to_string(), &instant(now)]),
        "meta": { "profile": [format!("{BASE}/StructureDefinition/forwarding")] },
        "target": [ended["focus"]],
        "recorded": instant(now),
        "agent": [{ "who": { "type": "Organization", "identifier": { "system": HSA_ID, "value": from.unit } } }],
    })
}

/// The HSA-id of the unit that owns the Task.
pub(super) fn owner_of(task: &Value, resources: &Current) -> Option<String> {
    let owner = &task["owner"];
    if owner["identifier"]["system"] == HSA_ID {
        return owner["identifier"]["value"].as_str().map(str::to_owned);
    }
    let (_, unit) = resources.get(owner["reference"].as_str()?)?;
    identifier(unit, HSA_ID).map(str::to_owned)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
