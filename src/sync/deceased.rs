//! A named person tells that a patient has died, and that this was wrong. Clocks stand still, each unit with an open exchange has it
//! on its worklist, and messages of a programme stop; nothing else stops by itself: a person decides.
//!
//! No source format has a field for it, so it comes this way. Any unit with an exchange with the patient may tell it, and may
//! take it back: a patient who lives and whom nobody calls is worse than one who is called in vain.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::link::own_unit;
use super::programme::silence;
use super::refusal::missing;
use super::weigh::{Scale, Weighed, current, instant};
use super::{Refusal, TRIES, reassess, witness};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::{Deed, Event};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::store::{Commit, Committed, Filter, Says, StoreError, Word};

const ELEMENTS: [&str; 2] = ["deceasedDateTime", "deceasedBoolean"];

/// What is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// On that day, where it is known.
    Died(Option<NaiveDate>),
    /// The patient lives; why it was told otherwise.
    Lives { reason: String },
}

/// Tells it. Told again, it stays as it is.
pub async fn tell(
    gateway: &Gateway,
    caller: &Caller,
    patient: &str,
    told: &Told,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    let store = &gateway.store;
    for _ in 0..TRIES {
        let seen = store.resource(&caller.within_reach(), "Patient", patient).await?;
        seen.ok_or_else(|| missing("Patient"))?;
        let Some(unit) = own_unit(gateway, caller, &[patient.to_owned()]).await? else {
            return Err(not_ones_patient());
        };
        check(told, now)?;
        let person: Vec<String> = store.kin(patient).await?.into_iter().chain([patient.to_owned()]).collect();
        let names: Vec<String> = person.iter().map(|id| format!("Patient/{id}")).collect();
        let known = current(store.resources(&Filter::ALL, &names).await?);
        let mut weighed = Weighed::default();
        for (_, body) in known.values() {
            let mut body = body.clone();
            set(&mut body, told);
            let issues = gateway.validate(std::slice::from_ref(&body));
            if any_error(&issues) {
                return Err(Refusal::Findings(issues));
            }
            let id = body["id"].as_str().map(str::to_owned);
            Scale { now, patient: id.as_deref(), units: &[], exchange: None }.add(&body, &known, &mut weighed);
        }
        let (what, reason) = match told {
            Told::Died(_) => (Says::Deceased, None),
            Told::Lives { reason } => (Says::Alive, Some(reason.clone())),
        };
        let answer = shown(patient, told, by, &unit, now);
        if weighed.put.is_empty() {
            return Ok(answer);
        }
        let word = |patient: &String, reason: Option<String>| Word {
            id: Uuid::now_v7(),
            patient: patient.clone(),
            what,
            unit: unit.clone(),
            by: by.to_owned(),
            reason,
            at: now,
        };
        // That somebody lives is said of the person; of which number a death was told is known when a link was wrong.
        let of: Vec<String> = match told {
            Told::Died(_) => vec![patient.to_owned()],
            Told::Lives { .. } => person.clone(),
        };
        let mut commit = Commit {
            expect: weighed.expect,
            put: weighed.put,
            words: of.iter().map(|patient| word(patient, reason.clone())).collect(),
            ..Commit::default()
        };
        if what == Says::Deceased {
            silence(gateway, patient, now, &mut commit).await?;
        } else {
            commit.looks = reassess::look_again(gateway, patient, now).await?;
        }
        let who = witness::by(&gateway.config.directory, caller);
        let event = Event::new(now, who, Deed::Deceased, format!("Patient/{patient}"))
            .with("change", what.code())
            .with("unit", unit.as_str())
            .with("decidedBy", by);
        commit.audit.push(witness::wrote(event, &commit));
        if let Committed::Done { .. } = store.commit(commit).await? {
            return Ok(answer);
        }
    }
    Err(Refusal::Busy)
}

fn not_ones_patient() -> Refusal {
    Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "Patient",
        "Bara en enhet som har ett ärende med patienten kan göra detta.",
        "Only a unit that has an exchange with the patient can do this.",
    ))
}

fn check(told: &Told, now: DateTime<Utc>) -> Result<(), Refusal> {
    let today = now.with_timezone(&chrono_tz::Europe::Stockholm).date_naive();
    match told {
        Told::Died(Some(day)) if *day > today => Err(Refusal::Findings(vec![Issue::error(
            Code::Value,
            "date",
            "Dödsdagen kan inte ligga framåt i tiden.",
            "The day of death cannot be in the future.",
        )])),
        _ => Ok(()),
    }
}

fn set(patient: &mut Value, told: &Told) {
    let had_day = patient["deceasedDateTime"].is_string();
    match told {
        // A death without its day does not take away a day that is known.
        Told::Died(None) if had_day => {}
        Told::Died(day) => {
            clear(patient);
            match day {
                Some(day) => patient["deceasedDateTime"] = json!(day.to_string()),
                None => patient["deceasedBoolean"] = json!(true),
            }
        }
        Told::Lives { .. } => clear(patient),
    }
}

/// Says of the one what is said of the other's death.
pub(super) fn carry(from: &Value, to: &mut Value) {
    if ELEMENTS.iter().any(|name| !to[*name].is_null()) {
        return;
    }
    for name in ELEMENTS {
        if !from[name].is_null() {
            to[name] = from[name].clone();
        }
    }
}

/// Whether a death stands in the Patient.
pub(super) fn is_told(patient: &Value) -> bool {
    patient["deceasedBoolean"] == true || patient["deceasedDateTime"].is_string()
}

pub(super) fn clear(patient: &mut Value) {
    if let Some(object) = patient.as_object_mut() {
        object.retain(|name, _| !ELEMENTS.contains(&name.as_str()));
    }
}

/// Whether a death was told of this very number, and not taken back since.
pub(super) async fn was_told(gateway: &Gateway, patient: &str) -> Result<bool, StoreError> {
    let last = async |what| gateway.store.last_said(patient, what).await;
    let (died, lives) = (last(Says::Deceased).await?, last(Says::Alive).await?);
    Ok(died.is_some() && died > lives)
}

fn shown(patient: &str, told: &Told, by: &str, unit: &str, now: DateTime<Utc>) -> Value {
    json!({
        "patient": format!("Patient/{patient}"),
        "deceased": matches!(told, Told::Died(_)),
        "date": match told {
            Told::Died(day) => day.map(|day| day.to_string()),
            Told::Lives { .. } => None,
        },
        "by": by,
        "unit": unit,
        "at": instant(now),
    })
}
