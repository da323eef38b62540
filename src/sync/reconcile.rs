//! Reads the partners' copies of our open Tasks and applies what changed there: how answers come back from a pushed partner.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Refusal;
use super::abort;
use super::acknowledge::{Change, Heard, acknowledge, hold};
use super::counterpart;
use super::identify;
use super::refused;
use super::seen::Seen;
use super::weigh::instant;
use super::{part, redirect};
use crate::Gateway;
use crate::domain::audit::{self, By, Deed, Event};
use crate::domain::delivery::Outcome;
use crate::domain::task::Status;
use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::issue::Issue;
use crate::fhir::resource::{identifier, reference_of, type_of, visit_references};
use crate::partner::Client;
use crate::store::{Clause, Filter, OpenTask, Search, StoreError, TokenMatch};

/// Tasks asked for at once: as many as a partner is asked for in one search, so that what was read is applied.
const AT_ONCE: u32 = 20;
/// Requests to stop [`AT_ONCE`] Tasks, answered ones included.
const MOST_ABORTS: u32 = 1000;

/// What one round brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub read: usize,
    pub applied: usize,
    pub held: usize,
    /// What could not be read whole this time, or changed here meanwhile; it is read again in the next round.
    pub left: usize,
    /// Whether the partner could not be read; it is asked again in the next round.
    pub unreachable: bool,
}

/// One round over a partner's open Tasks.
pub async fn reconcile(gateway: &Gateway, partner: &str, now: DateTime<Utc>) -> Result<Round, Refusal> {
    let mut round = Round::default();
    let Some(client) = gateway.clients.get(partner) else { return Ok(round) };
    let mut seen = gateway.seen.lock().ok().and_then(|mut all| all.remove(partner)).unwrap_or_default();
    let settings = &gateway.config.delivery;
    seen.begin(now, settings.poll_overlap, settings.poll_full_every);
    let mut asked = 0;
    let mut done = read(gateway, client, partner, now, &mut seen, &mut round, &mut asked).await;
    if done.is_ok() && !round.unreachable {
        done = counterpart::read(gateway, client, partner, now, &mut round).await;
    }
    if let Ok(mut all) = gateway.seen.lock() {
        all.insert(partner.to_owned(), seen);
    }
    if asked > 0 {
        let event = event(partner, &round, done.is_ok(), now).with("asked", asked);
        refused::polled(gateway, partner, event, now).await?;
    }
    done.map(|()| round)
}

/// The round in the audit log. What it brought about a patient is recorded with the answer itself.
fn event(partner: &str, round: &Round, is_done: bool, now: DateTime<Utc>) -> Event {
    let outcome = match (is_done, round.unreachable) {
        (true, false) => audit::Outcome::Success,
        (true, true) => audit::Outcome::Minor,
        (false, _) => audit::Outcome::Major,
    };
    Event::new(now, By::gateway(), Deed::Poll, format!("partner/{partner}"))
        .ended(outcome)
        .about([])
        .with("partner", partner)
        .with("read", round.read)
        .with("applied", round.applied)
        .with("held", round.held)
}

async fn read(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    now: DateTime<Utc>,
    seen: &mut Seen,
    round: &mut Round,
    asked: &mut usize,
) -> Result<(), Refusal> {
    let mut after: Option<String> = None;
    loop {
        let open = gateway.store.open_tasks(partner, AT_ONCE, after.take()).await?;
        let Some(last) = open.last() else {
            seen.end();
            return Ok(());
        };
        let next = last.task.clone();
        let full = open.len() == AT_ONCE as usize;
        let open = with_aborts(gateway, open).await?;
        *asked += open.len();
        let tasks = match ask(client, &open, seen).await {
            Ok(tasks) => tasks,
            Err(outcome) => {
                tracing::warn!(partner, reason = outcome.reason(), "cannot read the partner's Tasks");
                round.unreachable = true;
                return Ok(());
            }
        };
        let moved = counterpart::changed_wholes(gateway, client, partner, &open, seen).await?;
        for open in &open {
            seen.asked(&open.task);
        }
        for task in &tasks {
            let Some(ours) = identifier(task, RESOURCE_ID) else { continue };
            let Some(open) = open.iter().find(|o| o.task == ours) else { continue };
            round.read += 1;
            let left = round.left;
            let applied = apply(gateway, client, partner, open, task, false, now, round).await;
            if applied.is_err() || round.left > left {
                seen.left(&open.task);
            }
            applied?;
        }
        // Where only a part has moved the whole is read with it.
        for (ours, whole) in moved {
            let Some(open) = open.iter().find(|o| o.task == ours) else { continue };
            let left = round.left;
            apply(gateway, client, partner, open, &whole, true, now, round).await?;
            if round.left > left {
                seen.left(&open.task);
            }
        }
        if !full {
            seen.end();
            return Ok(());
        }
        after = Some(next);
    }
}

/// The partner's copies: of what was asked for before only those that have changed since, of the others as they stand.
async fn ask(client: &Client, open: &[OpenTask], seen: &mut Seen) -> Result<Vec<Value>, Outcome> {
    let named = |task: &String| format!("{RESOURCE_ID}|{task}");
    let since = seen.since().map(instant);
    let (known, new): (Vec<&String>, Vec<&String>) =
        open.iter().map(|open| &open.task).partition(|task| since.is_some() && seen.knows(task));
    let mut tasks = client.tasks(&new.into_iter().map(named).collect::<Vec<_>>()).await?;
    let known: Vec<String> = known.into_iter().map(named).collect();
    match client.tasks_since(&known, since.as_deref()).await {
        Ok(changed) => tasks.extend(changed),
        Err(Outcome::Permanent { reason }) if since.is_some() => {
            // Some servers refuse `_lastUpdated`: they are asked without from now on.
            tasks.extend(client.tasks(&known).await?);
            tracing::info!(reason, "the partner's server does not search by _lastUpdated");
            seen.ask_without();
        }
        Err(outcome) => return Err(outcome),
    }
    for task in &tasks {
        seen.read(task["meta"]["lastUpdated"].as_str());
    }
    Ok(tasks)
}

/// The Tasks, and the requests to stop them that their owner has not answered.
async fn with_aborts(gateway: &Gateway, mut open: Vec<OpenTask>) -> Result<Vec<OpenTask>, StoreError> {
    let targets: Vec<String> = open.iter().map(|o| format!("Task/{}", o.task)).collect();
    let asked = TokenMatch { system: None, code: Some("abort".into()) };
    let search = Search {
        clauses: vec![
            Clause::Reference { param: "focus".into(), any_of: targets },
            Clause::Token { param: "code".into(), any_of: vec![asked] },
        ],
        limit: MOST_ABORTS,
        ..Search::of("Task")
    };
    for stored in gateway.store.search(&Filter::ALL, &search).await?.matches {
        let abort: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
        let of = open.iter().find(|o| abort::target(&abort) == format!("Task/{}", o.task)).map(|o| o.exchange);
        if let Some(exchange) = of.filter(|_| abort::is_abort(&abort) && abort::is_open(&abort)) {
            open.push(OpenTask { exchange, task: stored.id, version: Some(stored.version) });
        }
    }
    Ok(open)
}

#[expect(clippy::too_many_arguments, reason = "one round, one Task")]
async fn apply(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    open: &OpenTask,
    task: &Value,
    has_parts: bool,
    now: DateTime<Utc>,
    round: &mut Round,
) -> Result<(), Refusal> {
    let (exchange, ours) = (open.exchange, open.task.as_str());
    let body = serde_json::to_vec(task).unwrap_or_default();
    let mut key = key_of("Task", task, &body);
    if !has_parts && gateway.store.is_heard(partner, &key).await? {
        return Ok(());
    }
    counterpart::check_asked(gateway, partner, open, task, now).await?;
    let Some(parts) = counterpart::parts_at(gateway, client, partner, ours, task).await? else {
        round.left += 1;
        return Ok(());
    };
    if !parts.key.is_empty() {
        key = format!("{key}{}", parts.key);
        if gateway.store.is_heard(partner, &key).await? {
            return Ok(());
        }
    }
    // The partner's copy was read after ours: a version that came in between is not what it answers.
    let heard = Heard {
        partner,
        actor: partner,
        key: &key,
        body: &body,
        expected_version: open.version,
        by: None,
        here: false,
        kept: None,
    };
    let change = match translate(gateway, client, partner, ours, task).await {
        Ok(Some(change)) => parts.join(change),
        Ok(None) => return Ok(()),
        Err(Unread::Store(error)) => return Err(error.into()),
        Err(Unread::NotNow(outcome)) => {
            tracing::warn!(partner, task = ours, reason = outcome.reason(), "cannot read what a Task points at");
            round.left += 1;
            return Ok(());
        }
        Err(Unread::Never(finding)) => {
            round.held += 1;
            return hold(gateway, &heard, Some(exchange), finding, now).await;
        }
    };
    match acknowledge(gateway, ours, &change, &heard, now).await {
        Ok(_) => round.applied += 1,
        Err(Refusal::Stale(_)) => round.left += 1,
        Err(refusal) => {
            let finding = finding_of(refusal)?;
            round.held += 1;
            hold(gateway, &heard, Some(exchange), finding, now).await?;
        }
    }
    Ok(())
}

/// What a person reads of a Task that is held. One Task that cannot be applied must not keep the others from being read:
/// only a store that fails ends the round, and then nothing is held.
fn finding_of(refusal: Refusal) -> Result<String, Refusal> {
    match refusal {
        Refusal::Busy => Err(refusal),
        // The store works and refuses these rows: it will do so again.
        Refusal::Store(StoreError::Refused(_)) => Ok("Task — kan inte sparas | cannot be stored".to_owned()),
        Refusal::Store(_) => Err(refusal),
        Refusal::Malformed(issues) | Refusal::Findings(issues) => {
            Ok(issues.iter().filter(|i| i.is_error()).map(Issue::line).collect::<Vec<_>>().join("\n"))
        }
        Refusal::Forbidden(issue) | Refusal::Missing(issue) | Refusal::Conflict(issue) | Refusal::Stale(issue) => {
            Ok(issue.line())
        }
        Refusal::KeyReused => Ok(refusal.to_string()),
    }
}

/// What makes a partner's resource the same if it is read again.
pub(super) fn key_of(resource_type: &str, resource: &Value, body: &[u8]) -> String {
    let id = resource["id"].as_str().unwrap_or_default();
    match resource["meta"]["versionId"].as_str() {
        Some(version) => format!("{resource_type}/{id}/{version}"),
        None => format!("{resource_type}/{id}/{:x}", Sha256::digest(body)),
    }
}

/// Why a partner's Task could not be read with all it points at.
enum Unread {
    /// The partner has a bad minute, or does not let us in: nothing is wrong with the Task, and it is read again.
    NotNow(Outcome),
    /// It will be the same until the partner changes it: a person has to see it.
    Never(String),
    Store(StoreError),
}

/// The partner's Task in our ids, with what its output points at. `None` where its status is not one we follow (`draft`, `ready`).
async fn translate(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    ours: &str,
    task: &Value,
) -> Result<Option<Change>, Unread> {
    let Some(status) = task["status"].as_str().and_then(Status::parse) else { return Ok(None) };
    let stored = gateway.store.resource(&Filter::ALL, "Task", ours).await.map_err(Unread::Store)?;
    let stored: Value = stored.and_then(|s| serde_json::from_slice(&s.body).ok()).unwrap_or_default();
    // What the partner calls the things that we have under our own names.
    let mut names: HashMap<String, String> = HashMap::new();
    for element in ["for", "focus"] {
        if let (Some(theirs), Some(own)) = (task[element]["reference"].as_str(), stored[element]["reference"].as_str())
        {
            names.insert(theirs.to_owned(), own.to_owned());
        }
    }
    let patient = task["for"]["reference"].as_str().unwrap_or_default().to_owned();
    if !task["output"].is_null() && !task["output"].is_array() {
        return Err(Unread::Never("Task.output — är ingen lista | is no list".to_owned()));
    }
    let outputs = task["output"].as_array().map_or(&[][..], Vec::as_slice);
    let mut resources = Vec::new();
    for reference in outputs.iter().filter_map(|o| o["valueReference"]["reference"].as_str()) {
        let resource = match client.read(reference).await {
            Ok(resource) => resource,
            Err(outcome @ (Outcome::Transient { .. } | Outcome::Unauthorized { .. })) => {
                return Err(Unread::NotNow(outcome));
            }
            Err(outcome) => {
                return Err(Unread::Never(format!(
                    "Task.output — {reference} kan inte läsas hos parten | {reference} cannot be read at the partner ({})",
                    outcome.class()
                )));
            }
        };
        let kind = type_of(&resource);
        if !matches!(kind, "Communication" | "Procedure" | "DocumentReference" | "Observation") {
            let finding = format!("Task.output — {kind} tas inte emot som svar | {kind} is not taken as an answer");
            return Err(Unread::Never(finding));
        }
        if resource["subject"]["reference"] != *patient {
            return Err(Unread::Never(format!(
                "Task.output — {reference} rör en annan patient än uppgiften | {reference} is about another patient than the Task"
            )));
        }
        names.insert(reference.to_owned(), format!("{kind}/{}", identify::id(&["partner", partner, reference])));
        resources.push((reference.to_owned(), resource));
    }
    let resources = resources.into_iter().map(|(reference, resource)| adopt(resource, &reference, &names)).collect();
    let mut output = task["output"].clone();
    rename(&mut output, &names);
    let areas = part::said_in(&stored, &json!({ "output": output }));
    let redirect = redirect::said_in(&stored, &json!({ "output": output })).map(|to| (to, "Task.output".to_owned()));
    let mut note = task["note"].clone();
    rename(&mut note, &names);
    Ok(Some(Change {
        status,
        reason: task["statusReason"].clone(),
        business_status: task["businessStatus"].clone(),
        note,
        output: output.as_array().cloned().unwrap_or_default(),
        resources,
        areas,
        children: Vec::new(),
        redirect,
    }))
}

/// A partner's resource as ours: our id, our references, and where it came from.
pub(super) fn adopt(mut resource: Value, reference: &str, names: &HashMap<String, String>) -> Value {
    rename(&mut resource, names);
    if let Some(object) = resource.as_object_mut() {
        let id = names.get(reference).and_then(|n| n.split_once('/')).map_or("", |(_, id)| id);
        object.insert("id".into(), json!(id));
        let mut meta = json!({ "source": format!("urn:vardkedja:partner:{reference}") });
        if let Some(profile) = object.get("meta").and_then(|m| m.get("profile")) {
            meta["profile"] = profile.clone();
        }
        object.insert("meta".into(), meta);
        object.shift_remove("text");
    }
    debug_assert!(reference_of(&resource).is_some());
    resource
}

/// Puts our names where the partner's stand; what we do not have becomes a reference that says so.
pub(super) fn rename(value: &mut Value, names: &HashMap<String, String>) {
    visit_references(value, &mut |reference| {
        let Some(theirs) = reference.get("reference").and_then(Value::as_str) else { return };
        match names.get(theirs) {
            Some(own) => {
                let own = json!(own);
                reference.insert("reference".into(), own);
            }
            None => {
                let kind = theirs.split('/').next().unwrap_or_default().to_owned();
                reference.shift_remove("reference");
                reference.entry("type").or_insert(json!(kind));
                if !reference.contains_key("identifier") {
                    reference.entry("display").or_insert(json!("hos mottagaren | at the recipient"));
                }
            }
        }
    });
}
