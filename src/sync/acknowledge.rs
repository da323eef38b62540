//! Applies an answer: a Task moved by the unit that owns it, with what it did and wrote. One way in for every channel.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::abort;
use super::charge::{self, Speaks};
use super::moved::{Mover, business_status, moves};
use super::notice::{News, notices};
use super::package::{self, Address, Right, is_pushed};
use super::part::{self, AreaAnswer};
use super::reassess;
use super::redirect::{self, SentOn};
use super::refusal::missing;
use super::weigh::{Current, Scale, Weighed, current, touch};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::domain::audit::{Deed, Event};
use crate::domain::business_status::BusinessStatus;
use crate::domain::task::{self, Role, Status, Verdict};
use crate::domain::{PartyRole, Stage};
use crate::fhir::bundle::TaskMode;
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Answer, Commit, Committed, Delivery, Exchange, Expect, Filter, Inbound, Put};

/// What the owner of a Task made of it, in our ids.
#[derive(Debug, Clone)]
pub struct Change {
    pub status: Status,
    /// `Task.statusReason`, `Task.businessStatus` as told; `Null` where there is none.
    pub reason: Value,
    pub business_status: Value,
    /// `Task.note`.
    pub note: Value,
    /// `Task.output`, as it is to stand.
    pub output: Vec<Value>,
    /// Communications and Procedures that come with it.
    pub resources: Vec<Value>,
    /// What is said of single areas of the request.
    pub areas: Vec<AreaAnswer>,
    /// The unit that it is sent on to, and where that stands in what was sent.
    pub redirect: Option<(String, String)>,
}

/// Who told it, and how it is recognised when it is told again.
#[derive(Debug, Clone)]
pub struct Heard<'a> {
    pub partner: &'a str,
    pub actor: &'a str,
    pub key: &'a str,
    pub body: &'a [u8],
    /// The version of our Task that the owner saw (If-Match), or that its copy was read beside.
    pub expected_version: Option<u32>,
    /// The HSA-id of the person who answers, where it was told.
    pub by: Option<&'a str>,
    /// Whether it was told here: a system of the owner's own that we send to does not know it then.
    pub here: bool,
    /// An Idempotency-Key that the answer is kept for.
    pub kept: Option<Kept<'a>>,
}

/// What an answer to a caller is kept by.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    pub caller: &'a str,
    pub key: &'a str,
    pub request_hash: &'a str,
}

/// What whoever moved a Task here is told.
pub fn receipt(exchange: uuid::Uuid, task: &str, version: u32, status: Status) -> Value {
    json!({ "exchange": exchange.to_string(), "task": format!("Task/{task}"), "version": version, "status": status.code() })
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Moved {
        version: u32,
    },
    /// Told before, or nothing new in it.
    Same {
        version: u32,
    },
}

/// Applies a change to our Task, which is the authority.
pub async fn acknowledge(
    gateway: &Gateway,
    task_id: &str,
    change: &Change,
    heard: &Heard<'_>,
    now: DateTime<Utc>,
) -> Result<Applied, Refusal> {
    for _ in 0..TRIES {
        if let Some(applied) = attempt(gateway, task_id, change, heard, now).await? {
            return Ok(applied);
        }
    }
    Err(Refusal::Busy)
}

async fn attempt(
    gateway: &Gateway,
    task_id: &str,
    change: &Change,
    heard: &Heard<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Applied>, Refusal> {
    let store = &gateway.store;
    let ids = store.exchange_of_resource("Task", task_id).await?;
    let exchange = match ids.first() {
        Some(id) => store.exchange(&Filter::ALL, *id).await?,
        None => None,
    };
    let exchange = exchange.ok_or_else(|| missing("Task"))?;
    let mut names = exchange.resources.clone();
    names.extend(change.resources.iter().filter_map(reference_of));
    let current = current(store.resources(&Filter::ALL, &names).await?);
    let Some((version, task)) = current.get(&format!("Task/{task_id}")) else { return Err(missing("Task")) };
    if let Some(expected) = heard.expected_version.filter(|e| e != version) {
        return Err(Refusal::Stale(Issue::error(
            Code::Conflict,
            "Task.meta.versionId",
            format!("Uppgiften har version {version}, inte {expected}; läs den igen och gör ändringen på nytt."),
            format!("The Task is at version {version}, not {expected}; read it again and repeat the change."),
        )));
    }
    let from = task["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
    check_move(from, change)?;
    let mut moved = moved(task, change, now);
    let decided = part::decide(&exchange, &moved, change, &current, now)?;
    part::mark(&mut moved, &decided);
    let is_same = decided.tasks.is_empty() && change.redirect.is_none();
    if is_same && task::verdict(from, change.status, Role::Filler) == Verdict::Same && same_life(task, &moved) {
        return Ok(Some(Applied::Same { version: *version }));
    }
    if from.is_final() {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            format!("Uppgiften är avslutad ({from}) och ändras inte mer; rätta genom ett nytt svar till avsändaren."),
            format!("The Task has ended ({from}) and changes no more; correct it in a new message to the sender."),
        )));
    }
    check_outputs(change, &current)?;
    check_answer(&moved, change, &current)?;
    let sent_on = match &change.redirect {
        Some((to, place)) => {
            let from = exchange.parties.iter().find(|p| p.task.as_deref() == Some(task_id)).map_or("", |p| &p.unit);
            redirect::end(&mut moved, from, to, place);
            Some(redirect::send_on(gateway, &exchange, &moved, to, place, &current, now).await?)
        }
        None => None,
    };
    check_business(&moved, &decided.standing)?;
    let mut tasks = abort::follow(&moved, &current, now)?;
    tasks.extend(part::along(&tasks, &current, now));
    tasks.extend(decided.tasks);
    tasks.push(moved);
    let written: Vec<Value> = change.resources.iter().chain(&tasks).cloned().collect();
    let made = sent_on.iter().flat_map(|s| &s.resources);
    let issues = gateway.validate(&written.iter().chain(made).cloned().collect::<Vec<_>>());
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    let mut commit = commit_of(gateway, &exchange, &tasks, change, heard, &current, now);
    let mut news = tasks;
    if let Some(sent_on) = sent_on {
        news.extend(sent_on.resources.iter().filter(|r| type_of(r) == "Task").cloned());
        hand_over(&mut commit, sent_on, heard, now);
    }
    tell(gateway, &mut commit, task_id, &news, change, heard, (&current, now));
    // What was held of the same partner in this exchange is mended by an answer that can be used.
    let held = store.inbound_of(exchange.id).await?;
    let mended = held.into_iter().filter(|i| i.finding.is_some() && i.partner == heard.partner);
    commit.inbound.extend(mended.map(|i| Inbound { finding: None, ..i }));
    if let Some(exchange) = commit.exchanges.last().cloned() {
        let by = witness::named(gateway, heard.actor);
        charge::follow(gateway, &mut commit, &exchange, Speaks::Owner, by, now).await?;
        reassess::answered(gateway, &mut commit, (&exchange, &current), task_id, now).await?;
    }
    let next = commit.put.iter().find(|p| p.id == task_id).map_or(*version, |p| p.version);
    if let Some(kept) = heard.kept {
        commit.expect.push(Expect::FreshKey { caller: kept.caller.to_owned(), key: kept.key.to_owned() });
        commit.answer = Some(Answer {
            caller: kept.caller.to_owned(),
            key: kept.key.to_owned(),
            request_hash: kept.request_hash.to_owned(),
            exchange: Some(exchange.id),
            status: 200,
            location: None,
            body: serde_json::to_vec(&receipt(exchange.id, task_id, next, change.status)).unwrap_or_default(),
        });
    }
    match store.commit(commit).await? {
        Committed::Done { .. } => {
            gateway.wake.notify_one();
            Ok(Some(Applied::Moved { version: next }))
        }
        Committed::Conflict(Expect::Unheard { .. }) => Ok(Some(Applied::Same { version: *version })),
        Committed::Conflict(_) => Ok(None),
    }
}

fn check_move(from: Status, change: &Change) -> Result<(), Refusal> {
    if matches!(task::verdict(from, change.status, Role::Filler), Verdict::Allowed | Verdict::Same) {
        return Ok(());
    }
    let to = change.status;
    let open: Vec<&str> = task::moves(from, Role::Filler).into_iter().map(Status::code).collect();
    let (sv, en) = if open.is_empty() { ("ingen".into(), "none".into()) } else { (open.join(", "), open.join(", ")) };
    Err(Refusal::Conflict(Issue::error(
        Code::BusinessRule,
        "Task.status",
        format!("Från {from} kan den utförande enheten inte gå till {to}; möjliga steg: {sv}."),
        format!("From {from} the filler cannot go to {to}; possible: {en}."),
    )))
}

/// The stored Task with what the owner may change, and nothing else.
fn moved(task: &Value, change: &Change, now: DateTime<Utc>) -> Value {
    let mut moved = task.clone();
    let Some(object) = moved.as_object_mut() else { return moved };
    let fields = [
        ("status", json!(change.status.code())),
        ("statusReason", change.reason.clone()),
        ("businessStatus", change.business_status.clone()),
        ("note", change.note.clone()),
        ("output", if change.output.is_empty() { Value::Null } else { json!(change.output) }),
    ];
    for (name, value) in fields {
        if value.is_null() {
            object.shift_remove(name);
        } else {
            object.insert(name.into(), value);
        }
    }
    touch(object, now);
    moved
}

fn same_life(a: &Value, b: &Value) -> bool {
    ["status", "statusReason", "businessStatus", "note", "output"].iter().all(|name| a.get(name) == b.get(name))
}

/// A word of ours beside the status stands where it can, and one that follows from a decision only with that decision.
fn check_business(moved: &Value, parts: &[Status]) -> Result<(), Refusal> {
    let Some(business) = business_status(moved).and_then(BusinessStatus::parse) else { return Ok(()) };
    let status = moved["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
    let decided = match business {
        BusinessStatus::Redirected => redirect::named(moved).is_some(),
        BusinessStatus::PartlyAccepted => parts.contains(&Status::Rejected),
        _ => true,
    };
    if decided && business.beside().contains(&status) {
        return Ok(());
    }
    let beside = business.beside().iter().map(|s| s.code()).collect::<Vec<_>>().join(", ");
    let (sv, en) = match business {
        BusinessStatus::Redirected => (
            "Vidareskickad sägs genom att nämna enheten: redirectTo, eller redirected-to i Task.output.".to_owned(),
            "That it is sent on is said by naming the unit: redirectTo, or redirected-to in Task.output.".to_owned(),
        ),
        BusinessStatus::PartlyAccepted if !decided => (
            "Delvis accepterad sägs genom att svara på områdena: areas, eller area-accepted och area-rejected i Task.output."
                .to_owned(),
            "That it is taken in part is said by answering the areas: areas, or area-accepted and area-rejected in Task.output."
                .to_owned(),
        ),
        _ => (
            format!("{business} sägs bredvid {beside}, inte bredvid {status}."),
            format!("{business} is said beside {beside}, not beside {status}."),
        ),
    };
    Err(Refusal::Findings(vec![Issue::error(Code::BusinessRule, "Task.businessStatus", sv, en)]))
}

/// What the output points at is here and belongs to the exchange's patient, or came along.
fn check_outputs(change: &Change, current: &Current) -> Result<(), Refusal> {
    // `current` has what belongs to the exchange: nothing else can be made an answer of it.
    let known = |name: &str| {
        current.contains_key(name) || change.resources.iter().any(|r| reference_of(r).as_deref() == Some(name))
    };
    let issues: Vec<Issue> = change
        .output
        .iter()
        .enumerate()
        .filter_map(|(index, o)| Some((index, o["valueReference"]["reference"].as_str()?)))
        .filter(|(_, name)| !known(name))
        .map(|(index, _)| {
            Issue::error(
                Code::NotFound,
                format!("Task.output[{index}].valueReference"),
                "Resursen finns inte här; skapa den först (POST) och peka sedan på den.",
                "The resource is not here; create it first (POST) and then point at it.",
            )
        })
        .collect();
    if issues.is_empty() { Ok(()) } else { Err(Refusal::Findings(issues)) }
}

/// Completion and rejection tell the sender what came of it; an active handover ends with a confirmed contact.
fn check_answer(moved: &Value, change: &Change, current: &Current) -> Result<(), Refusal> {
    let mut issues = Vec::new();
    // Agreeing to stop says all there is to say; and what came of an area the answer to the whole says.
    let agrees = (abort::is_abort(moved) || part::is_part(moved)) && change.status == Status::Completed;
    if change.status.needs_answer() && !agrees && change.redirect.is_none() && !has_answer(change, current) {
        issues.push(Issue::error(
            Code::Required,
            "Task.output",
            "Ett svar saknas: sänd en Communication med text i Task.output, eller statusReason.text vid avvisning.",
            "An answer is missing: send a Communication with text in Task.output, or statusReason.text when rejecting.",
        ));
    }
    let handover = format!("{BASE}/StructureDefinition/active-handover-task");
    let is_handover = moved["meta"]["profile"].as_array().is_some_and(|p| p.iter().any(|p| *p == handover));
    if is_handover && change.status == Status::Completed && !has_output(change, "patient-contact") {
        issues.push(Issue::error(
            Code::Required,
            "Task.output",
            "En aktiv överlämning avslutas med bekräftad kontakt med patienten: lägg till den i Task.output (typ patient-contact).",
            "An active handover ends with a confirmed contact with the patient: add it to Task.output (type patient-contact).",
        ));
    }
    if issues.is_empty() { Ok(()) } else { Err(Refusal::Findings(issues)) }
}

/// `Type/id` of what the output points at.
fn outputs(change: &Change) -> impl Iterator<Item = &str> {
    change.output.iter().filter_map(|o| o["valueReference"]["reference"].as_str())
}

fn has_output(change: &Change, kind: &str) -> bool {
    change.output.iter().any(|o| o["type"]["text"] == kind)
}

fn has_answer(change: &Change, current: &Current) -> bool {
    let text = |v: &Value| v.as_str().is_some_and(|t| !t.trim().is_empty());
    let in_reason = change.status != Status::Completed && text(&change.reason["text"]);
    let in_output = change.output.iter().any(|o| {
        text(&o["valueString"])
            || o["valueReference"]["reference"].as_str().is_some_and(|target| {
                let sent = change.resources.iter().find(|r| reference_of(r).as_deref() == Some(target));
                sent.or_else(|| current.get(target).map(|(_, r)| r))
                    .is_some_and(|r| type_of(r) == "Communication" && text(&r["payload"][0]["contentString"]))
            })
    });
    in_reason || in_output
}

/// `tasks`: what follows from the owner's move, and last the Task that it moved.
fn commit_of(
    gateway: &Gateway,
    before: &Exchange,
    tasks: &[Value],
    change: &Change,
    heard: &Heard<'_>,
    current: &Current,
    now: DateTime<Utc>,
) -> Commit {
    let mut exchange = before.clone();
    exchange.revision += 1;
    exchange.updated_at = now;
    let mut deliveries = Vec::new();
    let others = tasks.split_last().map_or(&[][..], |(_, others)| others);
    for party in &mut exchange.parties {
        let own = |t: &&Value| party.task.is_some() && party.task.as_deref() == t["id"].as_str();
        let Some(standing) = tasks.iter().find(own) else { continue };
        let Some(status) = standing["status"].as_str().and_then(Status::parse) else { continue };
        party.status = Some(status);
        if party.role == PartyRole::Sender {
            continue;
        }
        party.stage = Stage::of_task(status);
        // What the owner moved in its own system that has; what it moved here, and what follows, it has to be told.
        if (heard.here || others.iter().any(|t| own(&t))) && is_pushed(gateway, &party.partner) {
            let address = Address::of(before, party, now);
            deliveries.push(package::task_move(&address, standing, Right::Both));
            party.stage = Stage::Waiting;
        }
    }
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
    for name in outputs(change).map(str::to_owned).chain(tasks.iter().filter_map(reference_of)) {
        if !exchange.resources.contains(&name) {
            exchange.resources.push(name);
        }
    }
    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    for resource in change.resources.iter().chain(tasks) {
        scale.add(resource, current, &mut weighed);
    }
    let moves = moves(&exchange, tasks, current, Mover { actor: heard.actor, by: heard.by }, now);
    let mut commit = Commit {
        moves,
        put: weighed.put,
        expect: weighed.expect,
        deliveries,
        inbound: vec![Inbound {
            partner: heard.partner.to_owned(),
            key: heard.key.to_owned(),
            exchange: Some(exchange.id),
            at: now,
            body: heard.body.to_vec(),
            finding: None,
        }],
        ..Commit::default()
    };
    commit.expect.push(Expect::Revision { exchange: before.id, revision: before.revision });
    commit.expect.push(Expect::Unheard { partner: heard.partner.to_owned(), key: heard.key.to_owned() });
    commit.exchanges.push(exchange);
    commit
}

/// Puts into the commit that it was answered, and what the sender is told of it.
fn tell(
    gateway: &Gateway,
    commit: &mut Commit,
    task_id: &str,
    tasks: &[Value],
    change: &Change,
    heard: &Heard<'_>,
    (current, now): (&Current, DateTime<Utc>),
) {
    let Some(exchange) = commit.exchanges.first().cloned() else { return };
    let also = tasks.iter().filter(|t| t["id"] != *task_id).filter_map(reference_of).collect::<Vec<_>>();
    let event = Event::new(now, witness::named(gateway, heard.actor), Deed::Answer, format!("Task/{task_id}"))
        .with("exchange", exchange.id.to_string())
        .with("partner", heard.partner)
        .with("status", change.status.code())
        .with("also", also);
    let event = match heard.by {
        Some(by) => event.with("by", by),
        None => event,
    };
    commit.audit.push(witness::wrote(event, commit));
    commit.deliveries.extend(notices(gateway, &exchange, exchange.sender().into_iter(), News::Answer, now));
    commit.deliveries.extend(reports(gateway, &exchange, tasks, change, current, now));
}

/// The exchange goes on with the unit that it was sent on to.
fn hand_over(commit: &mut Commit, sent_on: SentOn, heard: &Heard<'_>, now: DateTime<Utc>) {
    let Some(exchange) = commit.exchanges.first_mut() else { return };
    exchange.parties.retain(|p| p.unit != sent_on.from || p.role == PartyRole::Sender);
    exchange.parties.push(sent_on.party);
    exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
    for name in sent_on.resources.iter().filter_map(reference_of) {
        if !exchange.resources.contains(&name) {
            exchange.resources.push(name);
        }
    }
    let units = exchange.units();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    for resource in &sent_on.resources {
        scale.add(resource, &sent_on.known, &mut weighed);
    }
    let mover = Mover { actor: heard.actor, by: heard.by };
    commit.moves.extend(moves(exchange, &sent_on.resources, &sent_on.known, mover, now));
    let is_actor = |put: &Put| put.resource_type == "Organization";
    for put in commit.put.iter_mut().filter(|put| !is_actor(put)) {
        put.units.retain(|unit| *unit != sent_on.from);
        put.units.extend(units.iter().filter(|unit| !put.units.contains(unit)).cloned().collect::<Vec<_>>());
    }
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    commit.expect.extend(sent_on.expect);
    commit.deliveries.extend(sent_on.deliveries);
    commit.share.push(sent_on.share);
    commit.hide.push(sent_on.hide);
}

/// What the sender's own FHIR server gets, where it has one: the Task as it stands, and what came with it.
fn reports(
    gateway: &Gateway,
    exchange: &Exchange,
    tasks: &[Value],
    change: &Change,
    current: &Current,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let Some(sender) = exchange.sender().filter(|s| is_pushed(gateway, &s.partner)) else { return Vec::new() };
    let carried = ["Patient", "Organization", "Practitioner", "PractitionerRole", "ServiceRequest"];
    let mut resources: Vec<Value> = exchange
        .resources
        .iter()
        .filter(|name| carried.iter().any(|c| name.starts_with(&format!("{c}/"))))
        .filter_map(|name| current.get(name))
        .map(|(_, value)| value)
        .filter(|value| !tasks.iter().any(|t| reference_of(t) == reference_of(value)))
        .cloned()
        .collect();
    // A part that moves by itself says what it is a part of.
    let wholes = tasks.iter().filter(|t| part::is_part(t)).filter_map(part::whole_of);
    let mut wholes: Vec<String> = wholes.map(|id| format!("Task/{id}")).collect();
    wholes.dedup();
    wholes.retain(|name| !tasks.iter().any(|t| reference_of(t).as_ref() == Some(name)));
    resources.extend(wholes.iter().filter_map(|name| current.get(name)).map(|(_, value)| value.clone()));
    let told = outputs(change).filter_map(|name| current.get(name)).map(|(_, value)| value.clone());
    resources.extend(told);
    resources.extend(change.resources.iter().cloned());
    resources.extend(tasks.iter().cloned());
    let address = Address::of(exchange, sender, now);
    vec![package::bundle(gateway, &address, &resources, TaskMode::Replace, None)]
}

/// Keeps what a partner said that could not be applied, where a person sees it.
pub async fn hold(
    gateway: &Gateway,
    heard: &Heard<'_>,
    exchange: Option<uuid::Uuid>,
    finding: String,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let object = exchange.map_or_else(|| "inbound".to_owned(), |id| format!("exchange/{id}"));
    let commit = Commit {
        expect: vec![Expect::Unheard { partner: heard.partner.to_owned(), key: heard.key.to_owned() }],
        inbound: vec![Inbound {
            partner: heard.partner.to_owned(),
            key: heard.key.to_owned(),
            exchange,
            at: now,
            body: heard.body.to_vec(),
            finding: Some(finding),
        }],
        audit: vec![
            Event::new(now, witness::named(gateway, heard.actor), Deed::Hold, object)
                .with("partner", heard.partner)
                .with("key", heard.key)
                .into(),
        ],
        ..Commit::default()
    };
    gateway.store.commit(commit).await?;
    Ok(())
}
