//! Before a programme and at its start: whether it may be offered, and by whom it is started (ROL-4).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::state::State;
use super::{Change, audit, definition, next_at, quoted, resources, wrong};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::Deed;
use crate::domain::programme::{Stage, Step};
use crate::domain::{Directory, PersonId};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::rules::programme::{self as rules, Citation, Criterion, Eligible, Verdict};
use crate::store::{Committed, Expect, Programme};
use crate::sync::route::open_unit;
use crate::sync::weigh::{Current, Scale, Weighed};
use crate::sync::{Refusal, TRIES, witness};

/// A start, as it is asked for.
#[derive(Debug, Clone)]
pub struct Start {
    pub definition: String,
    pub patient: PersonId,
    pub unit: String,
    /// The HSA-id and role of who starts it.
    pub by: String,
    pub role: String,
    pub started_at: DateTime<Utc>,
    /// The fields that eligibility is judged by.
    pub answers: Map<String, Value>,
}

/// Whether a programme may be offered. Nothing of the question is kept but that it was asked.
pub async fn ask(
    gateway: &Gateway,
    caller: &Caller,
    programme: &str,
    patient: Option<&PersonId>,
    answers: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    let of = definition(gateway, programme)?;
    let said = answered(gateway, patient, answers, now)?;
    let judged = rules::judge(of, &said);
    let shown = told(of, &judged, gateway);
    let event = witness::did(gateway, caller, Deed::Apply, format!("PlanDefinition/{}", of.id), now).about([]);
    witness::tell(gateway, event.with("verdict", judged.verdict.code())).await?;
    Ok(shown)
}

/// The answers with the age that follows from the number.
pub(super) fn answered(
    gateway: &Gateway,
    patient: Option<&PersonId>,
    answers: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<Map<String, Value>, Refusal> {
    let today = now.with_timezone(&chrono_tz::Europe::Stockholm).date_naive();
    let mut answers = answers.clone();
    if let Some(age) = patient.and_then(PersonId::born).and_then(|born| rules::age_on(born, today)) {
        if answers.get("age").is_some_and(|given| given.as_u64() != Some(age.into())) {
            let (sv, en) = ("Åldern är en annan än numrets.", "The age is not that of the number.");
            return Err(wrong("answers.age", sv, en));
        }
        answers.insert("age".into(), json!(age));
    }
    let inputs = &gateway.conformance.programmes.inputs;
    let within = |mut issue: Issue| {
        issue.expression = format!("answers.{}", issue.expression);
        issue
    };
    let checked = inputs.check(&answers, today);
    let checked = checked.map_err(|issues| Refusal::Findings(issues.into_iter().map(within).collect()))?;
    Ok(checked.said().clone())
}

fn told(of: &rules::Programme, judged: &Eligible<'_>, gateway: &Gateway) -> Value {
    let cite = |cited: &[Citation]| -> Vec<Value> {
        cited.iter().map(|c| json!({ "rule": c.rule, "quote": c.quote, "source": c.source })).collect()
    };
    let reason = |criterion: &&Criterion| json!({ "criterion": criterion.title, "rules": cite(&criterion.cited) });
    let inputs = &gateway.conformance.programmes.inputs;
    let missing: std::collections::BTreeSet<&String> = judged.open.iter().flat_map(|(_, missing)| missing).collect();
    let missing: Vec<Value> = missing
        .into_iter()
        .map(|name| json!({ "input": name, "sv": inputs.get(name).map(|input| &input.sv), "en": inputs.get(name).map(|input| &input.en) }))
        .collect();
    json!({
        "programme": of.id,
        "definition": of.canonical(),
        "verdict": judged.verdict.code(),
        "met": judged.met.iter().map(reason).collect::<Vec<_>>(),
        "unmet": judged.unmet.iter().map(reason).collect::<Vec<_>>(),
        "undetermined": judged.open.iter().map(|(criterion, _)| reason(criterion)).collect::<Vec<_>>(),
        "missing": missing,
    })
}

/// What keeps a programme from being started, as findings with the guide's words.
fn hindrances(judged: &Eligible<'_>, gateway: &Gateway) -> Vec<Issue> {
    let unmet = judged.unmet.iter().map(|criterion| {
        let words = quoted(&criterion.cited);
        Issue::error(
            Code::BusinessRule,
            "answers",
            format!("Programmet är inte för patienten: {words}"),
            format!("The programme is not for the patient: {words}"),
        )
    });
    let inputs = &gateway.conformance.programmes.inputs;
    let open = judged.open.iter().flat_map(|(criterion, missing)| {
        let words = quoted(&criterion.cited);
        missing.iter().map(move |name| {
            let (sv, en) = inputs.get(name).map_or(("", ""), |input| (input.sv.as_str(), input.en.as_str()));
            Issue::error(
                Code::Required,
                format!("answers.{name}"),
                format!("Besked saknas: {sv}. {words}"),
                format!("Not said: {en}. {words}"),
            )
        })
    });
    unmet.chain(open).collect()
}

/// What became of a start.
#[derive(Debug)]
pub enum Started {
    New(Programme),
    /// The unit has started it for the patient already.
    There(Programme),
}

/// Starts a programme. A patient to whom it may not be offered, or of whom too little is said, is a finding with the rule.
pub async fn start(gateway: &Gateway, caller: &Caller, wish: &Start, now: DateTime<Utc>) -> Result<Started, Refusal> {
    let of = definition(gateway, &wish.definition)?;
    let directory: &Directory = &gateway.config.directory;
    if !of.is_active {
        return Err(wrong("definition", "Programmet är inte i bruk.", "The programme is not in use."));
    }
    if !caller.may_act_for(&wish.unit) {
        let (sv, en) = ("Anroparen får inte starta för enheten.", "The caller may not start for the unit.");
        return Err(Refusal::Forbidden(Issue::error(Code::Forbidden, "unit", sv, en)));
    }
    open_unit(directory, &wish.unit, "unit", now.date_naive()).map_err(|issue| Refusal::Findings(vec![issue]))?;
    super::step::check_role(of, Step::Start, &wish.role)?;
    let said = answered(gateway, Some(&wish.patient), &wish.answers, now)?;
    let judged = rules::judge(of, &said);
    if judged.verdict != Verdict::Eligible {
        return Err(Refusal::Findings(hindrances(&judged, gateway)));
    }
    let purge_at = rules::limit(of, wish.started_at).filter(|end| *end > now).ok_or_else(|| {
        let words = quoted(&of.limit_cited);
        wrong("startedAt", format!("Tiden är ute: {words}"), format!("The time is over: {words}"))
    })?;
    let (system, value) = (wish.patient.system(), wish.patient.value());
    for _ in 0..TRIES {
        let known = gateway.store.patient_id(system, value).await?;
        if let Some(id) = &known {
            let own = |one: &Programme| {
                one.definition == of.id && one.closed_at.is_none() && one.unit.eq_ignore_ascii_case(&wish.unit)
            };
            if let Some(there) = gateway.store.programmes_of(id).await?.into_iter().find(own) {
                return Ok(Started::There(there));
            }
        }
        let mut weighed = Weighed {
            expect: vec![Expect::Patient { system: system.into(), value: value.into(), id: known.clone() }],
            ..Weighed::default()
        };
        let is_new = known.is_none();
        let patient = known.unwrap_or_else(|| Uuid::new_v4().to_string());
        if is_new {
            let units = [wish.unit.clone()];
            let scale = Scale { now, patient: Some(&patient), units: &units, exchange: None };
            scale.add(&unknown_patient(&patient, system, value), &Current::new(), &mut weighed);
        }
        let one = Programme {
            id: Uuid::now_v7(),
            revision: 0,
            definition: of.id.clone(),
            version: of.version.clone(),
            stage: Stage::Started,
            patient: Some(patient.clone()),
            unit: wish.unit.to_ascii_uppercase(),
            team: None,
            started_at: wish.started_at,
            moment_at: wish.started_at,
            active_at: None,
            treatment_at: None,
            closed_at: None,
            purged_at: None,
            swept_at: swept_before(wish.started_at, now),
            purge_at,
            next_at: None,
            state: String::new(),
            // It has a part in the programme, and outlives it where something else is about the patient.
            made: vec![(format!("Patient/{patient}"), true)],
        };
        let state = State { started_by: Some(wish.by.clone()), ..State::default() };
        let id = one.id;
        let mut change = Change { gateway, definition: of, one, state, known: Current::new(), weighed, now };
        change.add_plan()?;
        let reminder = resources::document(&change.one, false, now);
        change.add(&reminder, true)?;
        let mut commit = change.commit();
        for one in &mut commit.programmes {
            one.next_at = Some(next_at(Some(of), one, now));
        }
        let event = audit(gateway, caller, id, now)
            .with("step", Step::Start.code())
            .with("programme", of.id.as_str())
            .with("by", wish.by.as_str())
            .with("role", wish.role.as_str());
        commit.audit.push(witness::wrote(event, &commit));
        let made = commit.programmes.first().cloned();
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.programmes.wake.notify_one();
            return made.map(Started::New).ok_or(Refusal::Busy);
        }
    }
    Err(Refusal::Busy)
}

/// A programme that was under way before it was known here has sent its messages from where it was: they are not sent again.
fn swept_before(started_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    if now - started_at < chrono::TimeDelta::hours(24) { started_at - chrono::TimeDelta::milliseconds(1) } else { now }
}

fn unknown_patient(id: &str, system: &str, value: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id,
        "meta": { "profile": [format!("{BASE}/StructureDefinition/patient")] },
        "identifier": [{ "system": system, "value": value }],
    })
}
