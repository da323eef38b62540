//! A step of a programme: allowed by the table of steps, by the role of who takes it and by the unit that it is of; then one
//! commit of all that follows.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::reported::{documented, documented_after, sent};
use super::state::State;
use super::{Change, audit, definition, next_at, not_now, purge, quoted, resources, responsible, seen, wrong};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::programme::{Side, Step, after, open_steps};
use crate::fhir::issue::{Code, Issue};
use crate::rules::programme as rules;
use crate::store::{Commit, Committed, Filter, Programme, Right, Share};
use crate::sync::route::open_unit;
use crate::sync::weigh::current;
use crate::sync::{Refusal, TRIES, witness};

/// A step, as it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Event {
    pub step: Option<Step>,
    /// The HSA-id and role of who takes it.
    pub by: String,
    pub role: String,
    /// When it was; none: now.
    pub at: Option<DateTime<Utc>>,
    /// `hand-over`: the unit.
    pub team: Option<String>,
    /// `appoint`: the HSA-id of the behandlare.
    pub therapist: Option<String>,
    /// `module`.
    pub module: Option<String>,
    pub completed: bool,
    /// `message`, `note`: what the caller calls it, so that it is taken once.
    pub id: Option<String>,
    pub text: Option<String>,
    /// `sent`: the code of a message of the calendar.
    pub message: Option<String>,
    pub by_patient: bool,
    /// `documented`, `note`: `start` or `end`.
    pub what: Option<String>,
    /// `close`.
    pub with_patient: Option<bool>,
    pub reason: Option<String>,
    pub note: Option<super::note::Note>,
}

/// Whether the role may take the step.
pub(super) fn check_role(of: &rules::Programme, step: Step, role: &str) -> Result<(), Refusal> {
    let Some(rule) = of.step(step) else { return Ok(()) };
    if rule.roles.iter().any(|known| known == role) {
        return Ok(());
    }
    let (may, words) = (rule.roles.join(", "), quoted(&rule.cited));
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "role",
        format!("Steget {} tas av {may}. {words}", step.code()),
        format!("The step {} is taken by {may}. {words}", step.code()),
    )))
}

/// Takes a step. A repeated one that has been taken is answered as it stands.
pub async fn take(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<Programme, Refusal> {
    let step = event.step.unwrap_or(Step::Documented);
    for _ in 0..TRIES {
        let one = seen(gateway, &caller.filter_to(Right::Update), caller, id).await?;
        let of = definition(gateway, &one.definition)?;
        let Some((next, side)) = after(one.stage, step) else {
            if is_repeated(&one, event, step) {
                return Ok(one);
            }
            return Err(out_of_turn(&one, step));
        };
        check_side(caller, &one, step, side)?;
        check_role(of, step, &event.role)?;
        if step == Step::Purge && one.purged_at.is_some() {
            return Ok(one);
        }
        if step == Step::Documented && one.purged_at.is_some() {
            if documented_after(gateway, caller, &one, event, now).await? {
                return Ok(one);
            }
            continue;
        }
        if step == Step::Note {
            super::note::journal(gateway, caller, &one, event, now).await?;
        }
        let mut one = one;
        one.made.clear();
        let state = State::read(&one.state);
        let names = gateway.store.programme_resources(id).await?;
        let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
        let mut change = Change { gateway, definition: of, one, state, known, weighed: Default::default(), now };
        // What is purged is closed until the purge itself says otherwise, after everything else of the commit.
        change.one.stage = if step == Step::Purge { change.one.stage } else { next };
        let team = change.one.team.clone();
        let of_programme: Vec<String> =
            change.known.keys().filter(|name| !name.starts_with("Patient/")).cloned().collect();
        let shared = follow(&mut change, event, step)?;
        if change.one.purged_at.is_none() {
            change.add_plan()?;
        }
        let mut made = commit(gateway, caller, change, event, (step, shared), now).await?;
        if step == Step::Decline {
            // Who would not have it sees no more of it.
            made.hide.push(Share { resources: of_programme, units: team.into_iter().collect() });
        }
        if let Committed::Done { .. } = gateway.store.commit(made).await? {
            gateway.programmes.wake.notify_one();
            return gateway.store.programme(id).await?.ok_or(Refusal::Busy);
        }
    }
    Err(Refusal::Busy)
}

/// The step's commit, with its row of the log; closing and purging take everything along that may go.
async fn commit(
    gateway: &Gateway,
    caller: &Caller,
    change: Change<'_>,
    event: &Event,
    (step, shared): (Step, Vec<String>),
    now: DateTime<Utc>,
) -> Result<Commit, Refusal> {
    let (id, patient) = (change.one.id, change.one.patient.clone());
    let units = super::parties(&change.one);
    let mut commit = change.commit();
    if !shared.is_empty() {
        commit.share.push(Share { resources: shared, units });
    }
    let did = audit(gateway, caller, id, now)
        .with("step", step.code())
        .with("by", event.by.as_str())
        .with("role", event.role.as_str())
        .about(patient.clone());
    let mut did = did;
    for (name, value) in [("team", &event.team), ("therapist", &event.therapist), ("module", &event.module)] {
        if let Some(value) = value {
            did = did.with(name, value.as_str());
        }
    }
    if let Some(with) = event.with_patient {
        did = did.with("withPatient", json!(with));
    }
    commit.audit.push(witness::wrote(did, &commit));
    if matches!(step, Step::Close | Step::Purge) {
        let held = match &patient {
            Some(patient) => gateway.store.programme_hold(patient).await?,
            None => None,
        };
        match (held, step) {
            (None, _) => {
                if let Some(one) = commit.programmes.first().cloned() {
                    purge::add(gateway, &mut commit, &one, "PUR-1", &caller.name, now).await?;
                }
            }
            (Some(_), Step::Purge) => {
                return Err(not_now(
                    "step",
                    "Ett bevarandebeslut (hold) gäller patienten: programmet gallras när det hävs.",
                    "A legal hold is on the patient: the programme is purged when it is lifted.",
                ));
            }
            (Some(_), _) => {}
        }
    }
    Ok(commit)
}

/// Whether exactly this has been done already.
fn is_repeated(one: &Programme, event: &Event, step: Step) -> bool {
    let same_team = || event.team.as_deref().is_some_and(|t| one.team.as_deref() == Some(&t.to_ascii_uppercase()));
    match step {
        Step::HandOver => same_team(),
        Step::Close => one.closed_at.is_some(),
        Step::Accept | Step::Begin | Step::Evaluate => {
            let state = State::read(&one.state);
            let done = match step {
                Step::Accept => one.team.is_some() && one.stage > crate::domain::programme::Stage::HandedOver,
                Step::Begin => one.active_at.is_some(),
                _ => one.stage == crate::domain::programme::Stage::Evaluated,
            };
            done && state.started_by.is_some()
        }
        _ => false,
    }
}

fn out_of_turn(one: &Programme, step: Step) -> Refusal {
    let open: Vec<&str> = open_steps(one.stage).map(Step::code).collect();
    let (stage, open) = (one.stage.code(), open.join(", "));
    not_now(
        "step",
        format!("Steget {} kan inte tas när programmet är {stage}; nu kan tas: {open}.", step.code()),
        format!("The step {} cannot be taken while the programme is {stage}; now there are: {open}.", step.code()),
    )
}

fn check_side(caller: &Caller, one: &Programme, step: Step, side: Side) -> Result<(), Refusal> {
    let team = one.team.as_deref();
    let may = |unit: &str| caller.may_act_for(unit);
    let is_its = match side {
        Side::Starter => may(&one.unit),
        Side::Receiver => team.is_some_and(may),
        // The stage before the step says who is responsible.
        Side::Responsible => may(responsible(one)),
        Side::Either => may(&one.unit) || team.is_some_and(may),
    };
    if is_its {
        return Ok(());
    }
    let (sv, en) = match side {
        Side::Starter => ("den enhet som startade programmet", "the unit that started the programme"),
        Side::Receiver => ("den enhet som det lämnas över till", "the unit that it is handed over to"),
        Side::Responsible | Side::Either => ("den enhet som är ansvarig nu", "the unit that is responsible now"),
    };
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "step",
        format!("Steget {} tas av {sv}.", step.code()),
        format!("The step {} is taken by {en}.", step.code()),
    )))
}

/// What follows from the step. Resources that other units are to see from now on are given back.
fn follow(change: &mut Change<'_>, event: &Event, step: Step) -> Result<Vec<String>, Refusal> {
    let now = change.now;
    match step {
        Step::HandOver => {
            let team = event.team.clone().ok_or_else(|| wrong("team", "Ange enheten.", "Give the unit."))?;
            let directory = &change.gateway.config.directory;
            open_unit(directory, &team, "team", now.date_naive()).map_err(|issue| Refusal::Findings(vec![issue]))?;
            if team.eq_ignore_ascii_case(&change.one.unit) {
                return Err(wrong("team", "Enheten är den som startade.", "The unit is the one that started."));
            }
            change.one.team = Some(team.to_ascii_uppercase());
            // All that is there already: the team takes over the whole programme.
            return Ok(change.known.keys().filter(|name| !name.starts_with("Patient/")).cloned().collect());
        }
        Step::Decline => {
            let team = change.one.team.take();
            change.state.therapist = None;
            drop(team);
        }
        Step::Appoint => {
            let missing = || wrong("therapist", "Ange behandlarens HSA-id.", "Give the behandlare's HSA-id.");
            change.state.therapist = Some(event.therapist.clone().ok_or_else(missing)?);
        }
        Step::Begin => {
            change.one.active_at = Some(now);
            if change.state.therapist.is_none() {
                change.state.therapist = Some(event.by.clone());
            }
        }
        Step::Module => module(change, event)?,
        Step::Message => {
            let (id, text) = (event.id.as_deref().unwrap_or_default(), event.text.as_deref().unwrap_or_default());
            let at = event.at.unwrap_or(now);
            let name = format!("Communication/{}", resources::id_of(change.one.id, &format!("conversation/{id}")));
            // Said before: once is enough, and what was written stays as it was.
            if !change.known.contains_key(&name) {
                let resource = resources::conversation(&change.one, id, event.by_patient, &event.by, text, at);
                change.add(&resource, false)?;
            }
        }
        Step::Sent => sent(change, event)?,
        Step::CheckIn => {
            let open = change.state.check_in.take().map(|id| format!("Task/{id}"));
            let task = open.and_then(|name| change.known.get(&name)).map(|(_, task)| task.clone());
            let Some(done) = task.and_then(|task| resources::ended(&task, "completed", None, now)) else {
                return Err(not_now("step", "Ingen avstämning väntar.", "No check-in is waiting."));
            };
            change.add(&done, false)?;
        }
        Step::Note => {
            if let Some(what) = event.what.as_deref() {
                documented(change, what)?;
            }
        }
        Step::Documented => documented(change, event.what.as_deref().unwrap_or_default())?,
        Step::TreatmentStarted => {
            let at = event.at.unwrap_or(now).max(change.one.started_at);
            change.one.treatment_at = Some(change.one.treatment_at.map_or(at, |known| known.min(at)));
            // What lies behind the last sweep is made by the next one all the same.
            change.one.swept_at = change.one.swept_at.min(at - chrono::TimeDelta::milliseconds(1));
            take_back(change, resources::TREATED)?;
        }
        Step::Close => close(change, event)?,
        Step::Start | Step::Accept | Step::Evaluate | Step::Purge => {}
    }
    Ok(Vec::new())
}

fn module(change: &mut Change<'_>, event: &Event) -> Result<(), Refusal> {
    let code = event.module.as_deref().unwrap_or_default();
    if change.definition.module(code).is_none() {
        let known: Vec<&str> = change.definition.modules.iter().map(|module| module.code.as_str()).collect();
        let known = known.join(", ");
        return Err(wrong("module", format!("Ange någon av {known}."), format!("Give one of {known}.")));
    }
    let at = event.at.unwrap_or(change.now);
    let progress = change.state.modules.entry(code.to_owned()).or_default();
    if event.completed {
        progress.completed_at.get_or_insert(at);
    }
    let started = *progress.started_at.get_or_insert(at);
    // A moment that began before the programme was known here is a moment all the same (PUR-2).
    if started < change.one.moment_at {
        change.one.moment_at = started;
        let limit = rules::limit(change.definition, started);
        change.one.purge_at = limit.map_or(change.one.purge_at, |limit| limit.min(change.one.purge_at));
    }
    Ok(())
}

/// LIF-8: with the patient, or with the reason why not. What is open is over; what the journal must say is asked for.
fn close(change: &mut Change<'_>, event: &Event) -> Result<(), Refusal> {
    let rule = change.definition.step(Step::Close);
    let words = rule.map(|rule| quoted(&rule.cited)).unwrap_or_default();
    match (event.with_patient, &event.reason) {
        (Some(true), _) | (Some(false), Some(_)) => {}
        _ => {
            return Err(wrong(
                "withPatient",
                format!("Ange om det gjordes i samråd med patienten, och annars varför inte (reason). {words}"),
                format!("Say whether it was done with the patient, and otherwise why not (reason). {words}"),
            ));
        }
    }
    let now = change.now;
    change.one.closed_at = Some(now);
    change.one.treatment_at = change.one.treatment_at.filter(|at| *at <= now);
    change.state.with_patient = event.with_patient;
    let open: Vec<_> =
        change.known.iter().filter(|(name, _)| name.starts_with("Task/")).map(|(_, (_, t))| t.clone()).collect();
    for task in open {
        let code = task["code"]["coding"][0]["code"].as_str().unwrap_or_default();
        let status = match code {
            "document-start" | "document-end" => continue,
            "close" => "completed",
            _ => "cancelled",
        };
        if let Some(over) = resources::ended(&task, status, None, now) {
            change.add(&over, false)?;
        }
    }
    // A hold may keep the programme from being purged, and nothing of it goes out all the same.
    take_back(change, resources::CLOSED)?;
    if !change.state.documented.contains("end") {
        let reminder = resources::document(&change.one, true, now);
        change.add(&reminder, true)?;
    }
    change.one.next_at = Some(next_at(Some(change.definition), &change.one, now));
    Ok(())
}

/// Messages that are ordered and not reported sent are not to go out any more.
fn take_back(change: &mut Change<'_>, why: &str) -> Result<(), Refusal> {
    let messages = change.known.iter().filter(|(name, _)| name.starts_with("CommunicationRequest/"));
    let messages = messages.map(|(_, (_, message))| message).filter(|message| message["status"] == "active");
    let ordered: Vec<Value> = messages.cloned().collect();
    for mut message in ordered {
        resources::unsend(&mut message, why);
        change.add(&message, false)?;
    }
    Ok(())
}
