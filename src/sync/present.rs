//! Shows an exchange: where it stands and how it came there, and the document as its sender would write it now.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::abort;
use super::consultation;
use super::gate::Closed;
use super::refusal::missing;
use super::weigh::{current, instant};
use super::{Refusal, part, particulars, redirected, standing, worklist};
use crate::Gateway;
use crate::access::Caller;
use crate::config::Channel;
use crate::domain::Format;
use crate::domain::breaker::Standing;
use crate::domain::delivery::{State, partner_of};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::protection::conceal_protected;
use crate::store::{Action, Delivery, DeliveryQuery, Exchange, Inbound, PartnerQueue};

/// One line of a list of exchanges. Which Tasks there are and how they stand is told to who may read every Task.
pub fn summary(exchange: &Exchange, caller: &Caller) -> Value {
    let reads_tasks = caller.may_read_every("Task");
    let parties: Vec<Value> = exchange
        .parties
        .iter()
        .map(|p| {
            json!({
                "unit": p.unit, "partner": p.partner, "role": p.role.code(),
                "task": p.task.as_ref().filter(|_| reads_tasks).map(|t| format!("Task/{t}")),
                "status": p.status.filter(|_| reads_tasks).map(|s| s.code()), "stage": p.stage.code(),
            })
        })
        .collect();
    json!({
        "id": exchange.id.to_string(),
        "kind": exchange.kind.name(),
        "format": exchange.format.name(),
        "document": { "id": exchange.document, "version": exchange.version },
        "enteredInError": exchange.entered_in_error,
        "stage": exchange.stage.code(),
        "patient": exchange.patient.as_ref().map(|p| format!("Patient/{p}")),
        "createdAt": instant(exchange.created_at),
        "updatedAt": instant(exchange.updated_at),
        "parties": parties,
    })
}

/// A delivery as people see it; never its bytes.
pub fn delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id.to_string(),
        "exchange": delivery.exchange.to_string(),
        "documentVersion": delivery.document_version,
        "partner": partner_of(&delivery.partner).0,
        "unit": delivery.unit,
        "action": delivery.action.code(),
        "urgent": delivery.urgent,
        "resendOf": delivery.resend_of.map(|id| id.to_string()),
        "state": delivery.state.code(),
        "attempts": delivery.attempts,
        "createdAt": instant(delivery.created_at),
        "dueAt": instant(delivery.due_at),
        "note": delivery.note,
        "held": delivery.held,
    })
}

/// An exchange whole: versions, deliveries with their attempts, answers, and what waits for a person.
pub async fn exchange(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<Value, Refusal> {
    let store = &gateway.store;
    let exchange = store.exchange(&caller.filter(), id).await?.ok_or_else(|| missing("exchange"))?;
    let mut shown = summary(&exchange, caller);
    let visible = store.resources(&caller.filter(), &exchange.resources).await?;
    shown["resources"] = json!(visible.iter().map(|r| format!("{}/{}", r.resource_type, r.id)).collect::<Vec<_>>());
    let mut versions = Vec::new();
    for document in store.documents(id).await? {
        versions.push(json!({
            "version": document.version, "receivedAt": instant(document.received_at), "inForce": document.in_force,
            "table": document.table, "tableVersion": document.table_version, "hash": document.hash,
        }));
    }
    shown["versions"] = json!(versions);
    let query = DeliveryQuery { exchange: Some(id), filter: caller.filter(), ..DeliveryQuery::default() };
    let (mut deliveries, mut attention) = (Vec::new(), Vec::new());
    attention.extend(consultation::attention(&exchange));
    for made in store.deliveries(&query).await? {
        let mut line = delivery(&made);
        let tries = store.attempts(made.id).await?;
        if made.state == State::Parked && made.action != Action::Notice {
            attention.push(worklist::attention(&made, tries.last()));
        }
        line["waits"] = waits(gateway, &made, now).await?;
        let attempts: Vec<Value> = tries
            .iter()
            .map(|a| json!({ "at": instant(a.at), "class": a.class, "status": a.status, "reason": a.reason, "durationMs": a.duration_ms }))
            .collect();
        line["attempts"] = json!(attempts);
        deliveries.push(line);
    }
    shown["deliveries"] = json!(deliveries);
    let mut said = store.inbound_of(id).await?;
    if !store.withheld(&caller.filter(), id).await?.is_empty() {
        // Of whose answers a block keeps anything, not even that they came is told.
        said.retain(|i| caller.partner.as_ref() == Some(&i.partner));
    }
    attention.extend(said.iter().filter_map(held));
    shown["attention"] = json!(attention);
    let answers: Vec<Value> = said
        .iter()
        .map(|i| json!({ "at": instant(i.at), "partner": i.partner, "key": i.key, "held": i.finding.is_some(), "finding": i.finding }))
        .collect();
    shown["answers"] = json!(answers);
    shown["cancellations"] = json!(cancellations(gateway, caller, &exchange).await?);
    let visible = current(visible);
    shown["recipients"] = json!(standing::recipients(gateway, caller, &exchange, &visible).await?);
    Ok(shown)
}

/// An answer that could not be applied, as something that a person has to see to.
fn held(said: &Inbound) -> Option<Value> {
    let finding = said.finding.as_ref()?;
    Some(json!({
        "what": "answer-held", "partner": said.partner, "delivery": null, "since": instant(said.at), "reason": finding,
        "remedy": "Rätta uppgiften i mottagarens system; den läses igen. | Mend the Task in the recipient's system; it is read again.",
    }))
}

/// Why a delivery that waits is not sent at this moment, and until when as far as the clock can tell; `null` for one that
/// does not wait.
async fn waits(gateway: &Gateway, delivery: &Delivery, now: DateTime<Utc>) -> Result<Value, Refusal> {
    if delivery.state != State::Waiting {
        return Ok(Value::Null);
    }
    let why =
        |why: &str, until: Option<DateTime<Utc>>| json!({ "for": why, "until": until.map(instant), "behind": null });
    let head = gateway.store.head_of(&delivery.partner, &delivery.patient).await?;
    if let Some(head) = head.filter(|head| head.id != delivery.id) {
        let mut behind = why(if head.state == State::Parked { "parked" } else { "turn" }, None);
        behind["behind"] = json!(head.id.to_string());
        return Ok(behind);
    }
    if delivery.due_at > now {
        return Ok(why("retry", Some(delivery.due_at)));
    }
    Ok(match gateway.gates.closed(&delivery.partner, now) {
        Some(Closed::Trouble { probe_at }) => why("partner", probe_at),
        Some(Closed::Window { until }) => why("window", Some(until)),
        Some(Closed::Rate { until }) => why("rate", Some(until)),
        Some(Closed::Full) | None => why("turn", None),
    })
}

/// How each partner stands, with what waits for it. `whole`: whether its queue may be shown.
pub async fn partners(
    gateway: &Gateway,
    whole: impl Fn(&str) -> bool,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, Refusal> {
    let queues = gateway.store.queue().await?.partners;
    let mut shown = Vec::new();
    for seen in gateway.gates.look(now) {
        let (name, is_notices) = partner_of(&seen.lane);
        let probe_at = match seen.breaker {
            Standing::Open { probe_at } => Some(probe_at),
            Standing::Closed | Standing::Probing => None,
        };
        let channel = match gateway.config.partner(name).map(|p| &p.channel) {
            _ if is_notices => "notices",
            Some(Channel::Push { .. }) => "push",
            Some(Channel::Poll) | None => "poll",
        };
        let queue = queues.iter().find(|q| q.partner == seen.lane);
        let many = |count: fn(&PartnerQueue) -> u32| whole(name).then(|| queue.map_or(0, count));
        shown.push(json!({
            "partner": name,
            "channel": channel,
            "breaker": seen.breaker.code(),
            "opened": seen.opened,
            "nextProbeAt": probe_at.map(instant),
            "windowUntil": seen.window_until.map(instant),
            "inFlight": seen.in_flight,
            "waiting": many(|q| q.waiting),
            "parked": many(|q| q.parked),
            "oldestAt": queue.and_then(oldest_at).filter(|_| whole(name)).map(instant),
        }));
    }
    Ok(shown)
}

fn oldest_at(queue: &PartnerQueue) -> Option<DateTime<Utc>> {
    queue.waiting_oldest_at.into_iter().chain(queue.parked_oldest_at).min()
}

/// The requests to stop that the sender has made, the oldest first, and what their owners said.
async fn cancellations(gateway: &Gateway, caller: &Caller, exchange: &Exchange) -> Result<Vec<Value>, Refusal> {
    let tasks: Vec<String> = exchange.resources.iter().filter(|r| r.starts_with("Task/")).cloned().collect();
    let current = current(gateway.store.resources(&caller.filter(), &tasks).await?);
    let mut aborts: Vec<(&String, &Value)> =
        current.iter().map(|(name, (_, task))| (name, task)).filter(|(_, task)| abort::is_abort(task)).collect();
    aborts.sort_by_key(|(name, task)| (task["authoredOn"].as_str().unwrap_or_default().to_owned(), (*name).clone()));
    let line = |(name, task): (&String, &Value)| {
        let of = abort::target(task);
        let owner = exchange.parties.iter().find(|p| p.task.as_deref() == of.strip_prefix("Task/"));
        json!({
            "task": name, "of": of, "unit": owner.map(|p| &p.unit), "status": task["status"],
            "askedAt": task["authoredOn"], "reason": task["reasonCode"]["text"],
            "answeredAt": if abort::is_open(task) { &Value::Null } else { &task["lastModified"] },
            "answer": task["statusReason"]["text"],
        })
    };
    Ok(aborts.into_iter().map(line).collect())
}

/// The document as its sender would write it now: the current state mapped back to the sender's own format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub format: Format,
    pub body: Vec<u8>,
}

/// Maps the exchange's resources back through the table that made them; whoever did not send it reads it as JSON, unless it asks
/// for another format that there is a table for.
pub async fn document(gateway: &Gateway, caller: &Caller, id: Uuid, wished: Option<Format>) -> Result<Shown, Refusal> {
    let store = &gateway.store;
    let exchange = store.exchange(&caller.filter(), id).await?.ok_or_else(|| missing("exchange"))?;
    let document = store.document(id, None).await?.ok_or_else(|| missing("document"))?;
    let table = gateway.mappings.tables().find(|t| t.name() == document.table).ok_or_else(|| {
        Refusal::Conflict(Issue::error(
            Code::NotFound,
            "document",
            format!("Tabellen {} som dokumentet mappades med finns inte längre.", document.table),
            format!("Table {}, which mapped the document, is not here any more.", document.table),
        ))
    })?;
    let withheld = store.withheld(&caller.filter(), id).await?;
    let names: Vec<String> = exchange.resources.iter().filter(|name| !withheld.contains(name)).cloned().collect();
    let current = current(store.resources(&caller.filter(), &names).await?);
    if current.len() < names.len() {
        return Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "document",
            "En del av dokumentet visas inte för anroparen: samtycket är återkallat, eller behörigheten (scope) täcker inte allt i det.",
            "A part of the document is not shown to the caller: the consent is withdrawn, or the scopes do not cover all of it.",
        )));
    }
    let mut resources: Vec<Value> =
        exchange.resources.iter().filter_map(|name| current.get(name)).map(|(_, value)| value.clone()).collect();
    particulars::as_written(gateway, &exchange, &document, &mut resources);
    // Where a protected person lives its sender reads, and nobody whom it was sent to.
    if exchange.sender().is_none_or(|sender| !caller.may_act_for(&sender.unit)) {
        conceal_protected(&mut resources);
    }
    let is_own = exchange.sender().is_some_and(|sender| caller.may_act_for(&sender.unit));
    let format = wished.unwrap_or(if is_own { table.format() } else { Format::Json });
    // A format without a table for such documents is not to be had: then it comes as it was sent.
    let table = if format == table.format() { table } else { gateway.mappings.like(table, format).unwrap_or(table) };
    resources.retain(|r| !(part::is_part(r) && r["status"] == "entered-in-error"));
    let back = table.back(&redirected::as_asked(resources, table.format()));
    let body = match table.format() {
        Format::Json => serde_json::to_vec_pretty(&back.tree).unwrap_or_default(),
        Format::Riv => gateway.mappings.write(table, &back.tree),
    };
    Ok(Shown { format: table.format(), body })
}
