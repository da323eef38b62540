//! The way of an exchange, hop by hop: every version, attempt, move, answer, consultation, reminder and pause, in order, as far as
//! the caller may see what each is about.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::abort::is_abort;
use super::part::{is_part, whole_of};
use super::redirect::continues;
use super::refusal::missing;
use super::weigh::instant;
use super::{Refusal, abort};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::delivery::partner_of;
use crate::domain::task::{Role, Status, Verdict, verdict};
use crate::fhir::resource::type_of;
use crate::fhir::search::moment;
use crate::store::{DeliveryQuery, Exchange, HeldBy, Move, Stored, Versions};

/// Versions of one Task that are looked at, and what a timeline tells at most.
const MOST_VERSIONS: u32 = 500;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Happened {
    pub at: DateTime<Utc>,
    /// `document`, `delivery`, `attempt`, `task`, `answer`, `communication`, `overdue`, `overdue-ended`, `paused`, `resumed`.
    pub what: &'static str,
    pub detail: Map<String, Value>,
}

impl Happened {
    fn new(at: DateTime<Utc>, what: &'static str, detail: Value) -> Self {
        let mut detail = match detail {
            Value::Object(detail) => detail,
            _ => Map::new(),
        };
        detail.retain(|_, value| !value.is_null());
        Self { at, what, detail }
    }

    pub fn json(&self) -> Value {
        let mut line = Map::new();
        line.insert("at".into(), json!(instant(self.at)));
        line.insert("what".into(), json!(self.what));
        line.extend(self.detail.clone());
        line.into()
    }
}

/// All that happened in an exchange, the first first.
pub async fn timeline(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<Happened>, Refusal> {
    let store = &gateway.store;
    let exchange = store.exchange(&caller.filter(), id).await?.ok_or_else(|| missing("exchange"))?;
    let withheld = store.withheld(&caller.filter(), id).await?;
    let mut all = Vec::new();
    for document in store.documents(id).await? {
        let told = json!({ "version": document.version, "inForce": document.in_force, "unit": exchange.sender().map(|s| &s.unit) });
        all.push(Happened::new(document.received_at, "document", told));
    }
    deliveries(gateway, caller, id, &mut all).await?;
    tasks(gateway, caller, &exchange, &mut all).await?;
    for said in store.inbound_of(id).await? {
        // Of whose answers a block keeps anything, not even that they came is told.
        if withheld.is_empty() || caller.partner.as_ref() == Some(&said.partner) {
            let told = json!({ "partner": said.partner, "held": said.finding.is_some() });
            all.push(Happened::new(said.at, "answer", told));
        }
    }
    communications(gateway, caller, &exchange, &mut all).await?;
    let is_sender = exchange.sender().is_some_and(|s| caller.may_act_for(&s.unit)) || caller.is_operator();
    let hides = |unit: &str| {
        let party = exchange.recipients().find(|p| p.unit.eq_ignore_ascii_case(unit));
        party.and_then(|p| p.task.as_ref()).is_some_and(|task| withheld.contains(&format!("Task/{task}")))
    };
    let may_know = |unit: &str| (is_sender || caller.may_act_for(unit)) && !hides(unit);
    for told in store.escalations_of(id).await?.iter().filter(|told| may_know(&told.unit)) {
        let detail = json!({ "unit": told.unit, "step": told.step, "level": told.level });
        all.push(Happened::new(told.at, "overdue", detail.clone()));
        all.extend(told.ended_at.map(|at| Happened::new(at, "overdue-ended", detail)));
    }
    for pause in store.pauses_of(id).await? {
        if pause.unit.as_ref().is_some_and(|unit| !may_know(unit)) {
            continue;
        }
        // Why the sender waits is said among the sender's own.
        let said = pause.reason.as_ref().filter(|_| is_sender);
        let by = pause.by.as_ref().filter(|_| is_sender);
        let detail = json!({ "unit": pause.unit, "why": pause.why.code(), "by": by, "reason": said });
        all.push(Happened::new(pause.from, "paused", detail));
        if let Some(until) = pause.until.filter(|until| *until <= now) {
            let by = pause.ended_by.as_ref().filter(|_| is_sender && pause.why == HeldBy::Person);
            all.push(Happened::new(until, "resumed", json!({ "unit": pause.unit, "why": pause.why.code(), "by": by })));
        }
    }
    all.sort_by_key(|happened| happened.at);
    Ok(all)
}

async fn deliveries(gateway: &Gateway, caller: &Caller, id: Uuid, all: &mut Vec<Happened>) -> Result<(), Refusal> {
    let query = DeliveryQuery { exchange: Some(id), filter: caller.filter(), ..DeliveryQuery::default() };
    for made in gateway.store.deliveries(&query).await? {
        let (delivery, partner) = (made.id.to_string(), partner_of(&made.partner).0);
        let told = json!({
            "delivery": delivery, "partner": partner, "unit": made.unit, "action": made.action.code(),
            "version": made.document_version, "state": made.state.code(), "resendOf": made.resend_of.map(|id| id.to_string()),
        });
        all.push(Happened::new(made.created_at, "delivery", told));
        for tried in gateway.store.attempts(made.id).await? {
            let told = json!({
                "delivery": delivery, "partner": partner, "unit": made.unit, "action": made.action.code(),
                "class": tried.class, "status": tried.status,
            });
            all.push(Happened::new(tried.at, "attempt", told));
        }
    }
    Ok(())
}

/// How every Task of the exchange was moved, as far as its versions are seen.
async fn tasks(
    gateway: &Gateway,
    caller: &Caller,
    exchange: &Exchange,
    all: &mut Vec<Happened>,
) -> Result<(), Refusal> {
    let moves = gateway.store.moves(exchange.id).await?;
    // What the sender moved is told as the sender's, also where the owner might have done it.
    let sent = |version: &Stored| {
        let sender = exchange.sender().map_or("", |s| s.unit.as_str());
        let of = |m: &&Move| m.task == version.id && m.at.timestamp_millis() == version.updated_at.timestamp_millis();
        moves.iter().filter(of).any(|m| m.actor.eq_ignore_ascii_case(sender))
    };
    let mut found: BTreeMap<String, Vec<(Stored, Value)>> = BTreeMap::new();
    for name in gateway.store.resources_of(exchange.id).await? {
        let Some(("Task", id)) = name.split_once('/') else { continue };
        let of = Versions {
            resource_type: Some("Task".into()),
            id: Some(id.to_owned()),
            limit: MOST_VERSIONS,
            ..Versions::default()
        };
        let mut versions = gateway.store.versions(&caller.filter(), &of).await?;
        versions.reverse();
        let read = |version: Stored| serde_json::from_slice(&version.body).ok().map(|task| (version, task));
        found.insert(name, versions.into_iter().filter_map(read).collect());
    }
    for versions in found.values() {
        let mut before: Option<&Value> = None;
        for (version, task) in versions {
            let sent_on = continues(task).and_then(|name| found.get(name)?.last());
            let from = sent_on.and_then(|(_, task)| task["owner"]["identifier"]["value"].as_str());
            let from = exchange.sender().map(|s| s.unit.as_str()).filter(|_| sent(version)).or(from);
            // Who was asked first is named when it has sent it on.
            let named = versions.last().and_then(|(_, task)| task["owner"]["identifier"]["value"].as_str());
            all.extend(moved(exchange, version, before, task, (from, named)));
            before = Some(task);
        }
    }
    Ok(())
}

/// A version that moved its Task, and which side did; nothing where it changed something else. `from`: the unit that is known to
/// have moved it, or sent it on. `named`: the owner that its Task names in the end.
fn moved(
    exchange: &Exchange,
    version: &Stored,
    before: Option<&Value>,
    task: &Value,
    (from, named): (Option<&str>, Option<&str>),
) -> Option<Happened> {
    let same = |name: &str| before.is_some_and(|b| b.get(name) == task.get(name));
    if same("status") && same("businessStatus") {
        return None;
    }
    let status = |task: &Value| task["status"].as_str().and_then(Status::parse);
    let (sender, owner) = (exchange.sender().map(|s| s.unit.as_str()), owner_of(exchange, &version.id, task).or(named));
    let by = match (before.and_then(status), status(task)) {
        // Areas are answered by whoever was asked for the whole.
        (None, _) if is_part(task) => owner,
        (None, _) => from.or(sender),
        (Some(_), _) if from.is_some() && from == sender => sender,
        (Some(from), Some(to)) if from != to && verdict(from, to, Role::Filler) != Verdict::Allowed => sender,
        _ => owner,
    };
    let business = &task["businessStatus"];
    let said = business["coding"][0]["code"].as_str().or_else(|| business["text"].as_str());
    let told = json!({
        "task": format!("Task/{}", version.id), "asks": if is_abort(task) { "stop" } else { "act" }, "unit": owner,
        "status": task["status"], "businessStatus": said, "by": by, "version": version.version,
    });
    Some(Happened::new(version.updated_at, "task", told))
}

fn owner_of<'a>(exchange: &'a Exchange, id: &str, task: &'a Value) -> Option<&'a str> {
    let of = if is_abort(task) { abort::target(task).strip_prefix("Task/") } else { whole_of(task).or(Some(id)) };
    let party = exchange.parties.iter().find(|p| p.task.is_some() && p.task.as_deref() == of);
    party.map(|p| p.unit.as_str()).or_else(|| task["owner"]["identifier"]["value"].as_str())
}

/// What was said beside: consultations before, the conversation of a handover, contacts and answers. That it was said, not what.
async fn communications(
    gateway: &Gateway,
    caller: &Caller,
    exchange: &Exchange,
    all: &mut Vec<Happened>,
) -> Result<(), Refusal> {
    let names: Vec<String> = gateway
        .store
        .resources_of(exchange.id)
        .await?
        .into_iter()
        .filter(|n| n.starts_with("Communication/"))
        .collect();
    for stored in gateway.store.resources(&caller.filter(), &names).await? {
        let Ok(said) = serde_json::from_slice::<Value>(&stored.body) else { continue };
        let sent = said["sent"].as_str().and_then(moment).and_then(|(low, _)| DateTime::from_timestamp_millis(low));
        let kind = said["category"][0]["coding"][0]["code"].as_str();
        let told = json!({ "resource": format!("{}/{}", type_of(&said), stored.id), "kind": kind });
        all.push(Happened::new(sent.unwrap_or(stored.updated_at), "communication", told));
    }
    Ok(())
}
