//! Applies an answer: a Task moved by the unit that owns it, with what it did and wrote. One way in for every channel.

mod check;
mod compose;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::abort;
use super::charge::{self, Speaks};
use super::part::{self, AreaAnswer};
use super::reassess;
use super::redirect;
use super::refusal::missing;
use super::weigh::{current, touch};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::domain::audit::{Deed, Event};
use crate::domain::task::{self, Role, Status, Verdict};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Answer, Commit, Committed, Expect, Filter, Inbound};
use check::{check_answer, check_business, check_move, check_outputs};
use compose::{commit_of, hand_over, tell};

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
    /// Tasks of the owner's own about single areas, as they stand at its server.
    pub children: Vec<Child>,
    /// The unit that it is sent on to, and where that stands in what was sent.
    pub redirect: Option<(String, String)>,
}

/// A Task that the owner made for one area.
#[derive(Debug, Clone)]
pub struct Child {
    pub area: String,
    /// As it stands there.
    pub task: Value,
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
