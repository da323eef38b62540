//! Responsibility for what was answered before it was kept: every commit of a patient's exchanges is gone through once more, in its
//! order, by the same reading and the same steps as if it were made now. A patient is one commit, so that a kill between two of
//! them derives the rest at the next start; and whoever asks or writes of a patient meanwhile has that patient derived first.
//!
//! Which resources one commit wrote is known by the moment that they bear; who spoke in it by what changed: a version of the
//! document is its sender's word, a move of a Task that only its owner can make is the owner's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::super::Refusal;
use super::super::weigh::{Current, Scale, Weighed};
use super::episode::{derived, in_contact};
use super::own_word;
use super::said::{id_in, read, unit_by};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::charge::{Move, charges, given, steps};
use crate::domain::task::{Role, Status, Verdict, verdict};
use crate::domain::{PartyRole, Stage};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::any_error;
use crate::fhir::resource::{has_coding, reference_of, type_of};
use crate::store::{Commit, Committed, Exchange, Expect, Filter, Moved, Party, Stored};

/// Patients that are looked up at a time.
const AT_ONCE: u32 = 100;

/// Whether there may be somebody left of whom it is to be derived.
#[derive(Debug)]
pub struct Due(AtomicBool);

impl Default for Due {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

/// Derives it of everybody, once; what could not be is tried again at the next start, and said to be unclear until then.
pub async fn run(gateway: Arc<Gateway>, shutdown: watch::Receiver<bool>) {
    let (mut after, mut failed) = (String::new(), 0);
    let mut count = 0;
    while !*shutdown.borrow() {
        let found = match gateway.store.underived(&after, AT_ONCE).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = %error, "responsibility before this version could not be derived");
                return;
            }
        };
        let Some(last) = found.last() else {
            gateway.charges.0.store(failed > 0, Ordering::Release);
            break;
        };
        after.clone_from(last);
        for patient in &found {
            if *shutdown.borrow() {
                return;
            }
            match of_patient(&gateway, patient, Utc::now()).await {
                Ok(()) => count += 1,
                Err(error) => {
                    failed += 1;
                    tracing::error!(error = %error, "responsibility of a patient before this version could not be derived");
                }
            }
        }
    }
    if count > 0 {
        tracing::info!(patients = count, failed, "derived who was responsible before this version");
    }
}

/// Sees to it that the patient's responsibility is derived, where it was not. Nobody waits for one that cannot be.
pub(in crate::sync) async fn settled(gateway: &Gateway, patient: &str, now: DateTime<Utc>) {
    if !gateway.charges.0.load(Ordering::Acquire) {
        return;
    }
    let done = match gateway.store.is_underived(patient).await {
        Ok(false) => return,
        Ok(true) => of_patient(gateway, patient, now).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = done {
        tracing::error!(error = %error, "responsibility of a patient before this version could not be derived");
    }
}

async fn of_patient(gateway: &Gateway, patient: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
    let before = gateway.store.charge_moves(patient).await?;
    let mut commit = Commit {
        derived: vec![patient.to_owned()],
        expect: vec![Expect::Charges { patient: patient.to_owned(), last: before.last }],
        ..Commit::default()
    };
    // Whoever has steps already has them from the first: what was before cannot be put before them any more.
    if !before.steps.iter().any(|step| step.patient == patient) {
        let all = lives(gateway, patient).await?;
        let moves = told(patient, &all);
        write(gateway, &mut commit, patient, &all, &moves, now).await?;
    }
    match gateway.store.commit(commit).await? {
        Committed::Done { .. } => Ok(()),
        // Somebody else did it, or moved something meanwhile.
        Committed::Conflict(_) => Err(Refusal::Busy),
    }
}

/// An exchange with every version of what it has, in the order of commits.
struct Life {
    exchange: Exchange,
    versions: Vec<Stored>,
}

/// What was entered in error never was: such an exchange says nothing.
async fn lives(gateway: &Gateway, patient: &str) -> Result<Vec<Life>, Refusal> {
    let mut all = Vec::new();
    for id in gateway.store.exchanges_of_patient(patient).await? {
        let Some(exchange) = gateway.store.exchange(&Filter::ALL, id).await? else { continue };
        if !exchange.entered_in_error {
            let units = gateway.config.directory.iter().map(|unit| unit.hsa_id.clone());
            let versions = gateway.store.life_of(id).await?;
            all.push(Life { exchange: with_past_owners(exchange, &versions, units), versions });
        }
    }
    Ok(all)
}

/// The exchange with whoever ever owned a Task of it, also those who have left it.
fn with_past_owners(mut exchange: Exchange, versions: &[Stored], units: impl Iterator<Item = String>) -> Exchange {
    let known: Vec<String> = units.collect();
    for stored in versions.iter().filter(|s| s.resource_type == "Task") {
        let Ok(task) = serde_json::from_slice::<Value>(&stored.body) else { continue };
        let is_known = exchange.parties.iter().any(|p| p.task.as_ref() == Some(&stored.id));
        let kind = format!("{BASE}/CodeSystem/task-kind");
        let is_other = task["partOf"].is_array()
            || has_coding(&task["code"], &kind, "area")
            || task["focus"]["reference"].as_str().is_some_and(|f| f.starts_with("Task/"));
        if is_known || is_other {
            continue;
        }
        let owner = unit_by(&task["owner"], known.iter().map(String::as_str));
        let Some(unit) = owner else { continue };
        exchange.parties.push(Party {
            unit,
            partner: String::new(),
            role: PartyRole::Recipient,
            task: Some(stored.id.clone()),
            status: Some(Status::Requested),
            stage: Stage::Recorded,
        });
    }
    exchange
}

/// The steps that all of it comes to, as if each commit had been followed when it was made.
fn told(patient: &str, all: &[Life]) -> Vec<Move> {
    let mut commits: Vec<(i64, DateTime<Utc>, usize, Vec<&Stored>)> = Vec::new();
    for (index, life) in all.iter().enumerate() {
        for stored in &life.versions {
            match commits.last_mut() {
                Some((_, at, of, made)) if *of == index && *at == stored.updated_at => made.push(stored),
                _ => commits.push((stored.seq, stored.updated_at, index, vec![stored])),
            }
        }
    }
    commits.sort_by_key(|(seq, ..)| *seq);
    let mut moves: Vec<Move> = Vec::new();
    let mut standing: BTreeMap<usize, BTreeMap<String, Value>> = BTreeMap::new();
    for (_, at, index, made) in commits {
        let Some(Life { exchange, .. }) = all.get(index) else { continue };
        let stands = standing.entry(index).or_default();
        let spoke = take_in(stands, &made);
        let resources: Vec<Value> = stands.values().cloned().collect();
        let mut said = read(exchange, &resources, own_word(&resources, &spoke));
        said.had = given(&moves, exchange.id);
        let past: Vec<&Move> = moves.iter().filter(|m| m.exchange == Some(exchange.id)).collect();
        let new = steps(&said, &past);
        let at = moves.last().map_or(at, |last| last.at.max(at));
        moves.extend(new.into_iter().map(|(step, area, unit)| Move {
            id: Uuid::now_v7(),
            origin: exchange.id,
            exchange: Some(exchange.id),
            at,
            step,
            patient: patient.to_owned(),
            area,
            unit,
        }));
    }
    moves
}

/// Puts what a commit wrote into what stands; the Tasks that their owners moved in it.
fn take_in(stands: &mut BTreeMap<String, Value>, made: &[&Stored]) -> Vec<String> {
    let is_document = made.iter().any(|s| s.resource_type != "Task");
    let mut spoke = Vec::new();
    for stored in made {
        let Ok(resource) = serde_json::from_slice::<Value>(&stored.body) else { continue };
        let Some(name) = reference_of(&resource) else { continue };
        let before = stands.get(&name);
        if !is_document && type_of(&resource) == "Task" && is_moved_by_owner(before, &resource) {
            spoke.push(id_in(&resource).to_owned());
        }
        stands.insert(name, resource);
    }
    spoke
}

/// A part that is new is its owner's word; of others what can only the owner have changed.
fn is_moved_by_owner(before: Option<&Value>, after: &Value) -> bool {
    let status = |task: &Value| task["status"].as_str().and_then(Status::parse);
    let Some(to) = status(after) else { return false };
    let Some(before) = before else { return after["partOf"].is_array() };
    let is_other =
        ["status", "statusReason", "businessStatus", "note", "output"].iter().any(|n| before.get(*n) != after.get(*n));
    let from = status(before).unwrap_or(Status::Requested);
    is_other && matches!(verdict(from, to, Role::Filler), Verdict::Allowed | Verdict::Same)
}

/// The steps and what they come to as EpisodeOfCare.
async fn write(
    gateway: &Gateway,
    commit: &mut Commit,
    patient: &str,
    all: &[Life],
    moves: &[Move],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if moves.is_empty() {
        return Ok(());
    }
    let mut weighed = Weighed::default();
    let mut episodes = Vec::new();
    for charge in charges(moves) {
        let Some(life) = all.iter().find(|life| Some(life.exchange.id) == charge.exchange) else { continue };
        let mut episode = derived(&life.exchange, &charge);
        let last: Vec<Value> = life.versions.iter().filter_map(|s| serde_json::from_slice(&s.body).ok()).collect();
        let is_recipient = life.exchange.recipients().any(|p| p.unit.eq_ignore_ascii_case(&charge.unit));
        if is_recipient && let Some(contact) = in_contact(gateway, commit, &last).await? {
            episode["careManager"] = contact;
        }
        // Who has left sees its own and nothing of the others'.
        let gone = |p: &&Party| p.partner.is_empty();
        let mut units: Vec<String> =
            life.exchange.parties.iter().filter(|p| !gone(p)).map(|p| p.unit.clone()).collect();
        units.push(charge.unit.clone());
        units.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
        let scale = Scale { now, patient: Some(patient), units: &units, exchange: Some(life.exchange.id) };
        scale.add(&episode, &Current::new(), &mut weighed);
        episodes.push(episode);
    }
    let issues = gateway.validate(&episodes);
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    let names = weighed.put.iter().map(|p| format!("{}/{}/{}", p.resource_type, p.id, p.version)).collect();
    let told: Vec<String> = moves.iter().map(|m| format!("{} {} {}", m.step.code(), m.area, m.unit)).collect();
    let event = Event::new(now, By::gateway(), Deed::Responsibility, format!("Patient/{patient}"));
    commit
        .audit
        .push(event.about([patient.to_owned()]).showing(names).with("steps", told).with("derived", true).into());
    commit.put = weighed.put;
    commit.expect.extend(weighed.expect);
    commit.charges = moves.iter().map(|step| Moved { patient: patient.to_owned(), step: step.clone() }).collect();
    Ok(())
}
