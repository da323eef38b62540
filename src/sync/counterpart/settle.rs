//! A person decides what holds where two sides differ. What is decided goes to both, in the commit that ends the Task.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::notice::{News, notices};
use super::super::package::{self, Address, is_pushed, task_move};
use super::super::refusal::missing;
use super::super::weigh::{Scale, Weighed, current, touch};
use super::super::{Refusal, TRIES, witness};
use super::apply::onward;
use super::clash::{is_conflict, is_open, said};
use super::{home, is_closed, reassess};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::Deed;
use crate::fhir::bundle::{Dialect, as_sent};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::{reference_of, type_of};
use crate::fhir::three_way::{Clash, get, put};
use crate::store::{Commit, Committed, Delivery, Exchange, Expect, Filter, Owned, OwnedChange, Right};

/// Whose value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// What stood here, or what the sender wrote.
    Ours,
    /// What the other side says.
    Theirs,
}

impl Choice {
    pub fn parse(code: &str) -> Option<Self> {
        match code {
            "ours" => Some(Self::Ours),
            "theirs" => Some(Self::Theirs),
            _ => None,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

/// What was decided, and by whom (an HSA-id).
#[derive(Debug, Clone)]
pub struct Decision {
    pub elements: BTreeMap<String, Choice>,
    pub by: String,
}

/// Settles the conflict that the Task tells of; what it says then.
pub async fn settle(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    decision: &Decision,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    for _ in 0..TRIES {
        if let Some(settled) = attempt(gateway, caller, id, decision, now).await? {
            return Ok(settled);
        }
    }
    Err(Refusal::Busy)
}

async fn attempt(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    decision: &Decision,
    now: DateTime<Utc>,
) -> Result<Option<Value>, Refusal> {
    let store = &gateway.store;
    let filter = caller.filter_to(Right::Update);
    let stored = store.resource(&filter, "Task", id).await?.ok_or_else(|| missing("conflict"))?;
    let task: Value = serde_json::from_slice(&stored.body).map_err(|_| missing("conflict"))?;
    let owner = task["owner"]["identifier"]["value"].as_str().unwrap_or_default();
    let name = task["focus"]["reference"].as_str().unwrap_or_default().to_owned();
    if !is_conflict(&task) || !caller.may_act_for(owner) {
        return Err(missing("conflict"));
    }
    if !is_open(&task) {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            "Konflikten är redan avgjord; läs uppgiften för att se hur.",
            "The conflict is settled already; read the Task to see how.",
        )));
    }
    let clashes = said(&task);
    check(decision, clashes.iter().map(|clash| clash.path.as_str()))?;
    let exchange = home(gateway, &name).await?.ok_or_else(|| missing("conflict"))?;
    if is_closed(gateway, &exchange).await? {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.focus",
            "Handlingen är makulerad eller samtycket till den återkallat: inget mer delas genom den.",
            "The document is entered in error or the consent to it withdrawn: nothing more is shared through it.",
        )));
    }
    let mut names = exchange.resources.clone();
    names.push(format!("Task/{id}"));
    let found = current(store.resources(&Filter::ALL, &names).await?);
    let (_, standing) = found.get(&name).ok_or_else(|| missing("conflict"))?;
    let (resource_type, resource) = name.split_once('/').unwrap_or_default();
    let owned = store.owned(resource_type, resource).await?;

    let partner = task["requester"]["display"].as_str().unwrap_or_default();
    let sent = || {
        let none = Dialect::default();
        let dialect = gateway.config.partner(partner).map_or(&none, |p| &p.dialect);
        as_sent(standing, &exchange.resources, dialect)
    };
    let has_moved = |clash: &Clash| {
        let stands = |as_it_is: &Value| get(as_it_is, &clash.path) == clash.ours.as_ref();
        !stands(standing) && !stands(&sent())
    };
    let mut settled = standing.clone();
    let mut changes = Vec::new();
    for clash in &clashes {
        let word = owned.iter().find(|o| o.path == clash.path);
        match (decision.elements.get(&clash.path), word) {
            (None, _) | (Some(Choice::Ours), None) => {}
            (Some(Choice::Ours), Some(word)) => {
                // The owner's word is set aside by a person: it holds no more, here and there.
                put(&mut settled, &clash.path, clash.ours.clone());
                let Owned { resource_type, id, path, .. } = word.clone();
                changes.push(OwnedChange::Taken { resource_type, id, path });
            }
            // Something newer stands here than whoever decides has seen.
            (Some(Choice::Theirs), None) if has_moved(clash) => return Err(Refusal::Conflict(moved_on(&clash.path))),
            (Some(Choice::Theirs), word) => {
                put(&mut settled, &clash.path, clash.theirs.clone());
                changes.extend(word.map(|word| OwnedChange::Said(Owned { was: clash.ours.clone(), ..word.clone() })));
            }
        }
    }
    let issues = gateway.validate(std::slice::from_ref(&settled));
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    let ended = ended(&task, decision, clashes.len(), now);
    let mut after = Exchange { revision: exchange.revision + 1, updated_at: now, ..exchange.clone() };
    let units = after.units();
    let mut weighed = Weighed::default();
    let patient = after.patient.as_deref();
    Scale { now, patient, units: &units, exchange: Some(after.id) }.add(&settled, &found, &mut weighed);
    // Whoever saw the Task still does, and nobody else.
    Scale { now, patient, units: &[], exchange: Some(after.id) }.add(&ended, &found, &mut weighed);
    let mut commit = Commit { put: weighed.put, expect: weighed.expect, owned: changes, ..Commit::default() };
    commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision });
    let mut resources: HashMap<String, Value> = found.iter().map(|(name, (_, v))| (name.clone(), v.clone())).collect();
    resources.insert(name.clone(), settled);
    if resource_type == "CarePlan" {
        reassess(gateway, &mut commit, &after, &found, &resources, now).await?;
    }
    match resources.get(&name).filter(|resource| type_of(resource) == "Task") {
        Some(task) => commit.deliveries.extend(asked_again(gateway, &after, task, now)),
        None => onward(gateway, &mut commit, &after, &name, &resources, None, now).await?,
    }
    let others = after.recipients();
    commit.deliveries.extend(notices(gateway, &after, others, News::Change, now));
    let choices: Vec<&str> = decision.elements.values().map(|choice| choice.code()).collect();
    let event = witness::did(gateway, caller, Deed::Settle, format!("Task/{id}"), now)
        .with("exchange", after.id.to_string())
        .with("by", decision.by.as_str())
        .with("of", type_of(standing))
        .with("choices", choices);
    commit.audit.push(witness::wrote(event, &commit));
    after.updated_at = now;
    commit.exchanges.push(after);
    match store.commit(commit).await? {
        Committed::Done { .. } => {
            gateway.wake.notify_one();
            Ok(Some(json!({
                "conflict": reference_of(&ended), "resource": name, "status": ended["status"],
                "left": said(&ended).iter().filter(|c| !is_decided(&ended, &c.path)).map(|c| &c.path).collect::<Vec<_>>(),
            })))
        }
        Committed::Conflict(_) => Ok(None),
    }
}

/// The value that was to give way stands no more.
fn moved_on(path: &str) -> Issue {
    Issue::error(
        Code::BusinessRule,
        "elements",
        format!(
            "{path} har ändrats här sedan skillnaden sågs: ours låter det som står här nu gälla; ska det bli som hos den andra, sänd en ny version av handlingen."
        ),
        format!(
            "{path} was changed here since the difference was seen: ours lets what stands here now hold; for the other side's value send a new version of the document."
        ),
    )
}

/// What is asked in a Task, to the system of its owner.
fn asked_again(gateway: &Gateway, exchange: &Exchange, task: &Value, now: DateTime<Utc>) -> Vec<Delivery> {
    let owner = exchange.recipients().find(|party| party.task.as_deref() == task["id"].as_str());
    let owner = owner.filter(|party| is_pushed(gateway, &party.partner));
    owner.map(|party| task_move(&Address::of(exchange, party, now), task, package::Right::Placer)).into_iter().collect()
}

/// Everything that is wrong with the decision at once.
fn check<'a>(decision: &Decision, paths: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let paths: Vec<&str> = paths.collect();
    let wrong = |sv: String, en: String| Issue::error(Code::Value, "elements", sv, en);
    let mut issues = Vec::new();
    if decision.elements.keys().any(|path| !paths.contains(&path.as_str())) {
        let known = paths.join(", ");
        issues.push(wrong(
            format!("Ett av elementen är inte i konflikt; i konflikt är {known}."),
            format!("One of the elements is not in conflict; in conflict are {known}."),
        ));
    }
    if decision.elements.is_empty() {
        issues.push(wrong(
            "Ange minst ett element med ours eller theirs.".into(),
            "Give at least one element with ours or theirs.".into(),
        ));
    }
    if issues.is_empty() { Ok(()) } else { Err(Refusal::Findings(issues)) }
}

fn is_decided(task: &Value, path: &str) -> bool {
    task["output"].as_array().into_iter().flatten().any(|output| output["type"]["text"] == path)
}

/// The Task with what was decided; over when nothing is left.
fn ended(task: &Value, decision: &Decision, of: usize, now: DateTime<Utc>) -> Value {
    let mut ended = task.clone();
    let Some(object) = ended.as_object_mut() else { return ended };
    let outputs = object.entry("output").or_insert_with(|| json!([]));
    if let Some(outputs) = outputs.as_array_mut() {
        outputs.retain(|o| o["type"]["text"].as_str().is_none_or(|path| !decision.elements.contains_key(path)));
        for (path, choice) in &decision.elements {
            outputs.push(json!({ "type": { "text": path }, "valueCode": choice.code() }));
        }
        if outputs.len() >= of {
            object.insert("status".into(), json!("completed"));
        }
    }
    touch(object, now);
    ended
}
