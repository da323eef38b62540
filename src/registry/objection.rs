//! What a patient may ask of registries: to be left out, to be taken in again, and to have been informed (PDL 7 kap. 2–3 §§).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::config::{ALL_REGISTRIES, Registry};
use crate::domain::{PersonId, audit};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Audit, Commit, Committed, Deed, EVERY, Informed, OptOut};
use crate::sync::refusal::missing;
use crate::sync::{Refusal, witness};

/// A patient's word to a unit.
#[derive(Debug, Clone)]
pub struct Word {
    pub person: PersonId,
    /// The unit that received it.
    pub unit: String,
    /// When the patient said it, or was informed.
    pub at: DateTime<Utc>,
}

/// A registration, and whether it is new.
#[derive(Debug, Clone)]
pub struct Registered {
    pub opt_out: OptOut,
    pub is_new: bool,
}

/// The registry as rows name it: that of the settings, or every one.
fn column<'n>(gateway: &Gateway, name: &'n str) -> Result<&'n str, Refusal> {
    match name {
        ALL_REGISTRIES => Ok(EVERY),
        _ => gateway.config.registry(name).map(|_| name).ok_or_else(|| missing("registry")),
    }
}

/// The registry of the settings by that name.
pub fn known(gateway: &Gateway, name: &str) -> Result<Arc<Registry>, Refusal> {
    gateway.config.registry(name).ok_or_else(|| missing("registry"))
}

fn check_unit(gateway: &Gateway, caller: &Caller, unit: &str) -> Result<(), Refusal> {
    if gateway.config.directory.find(unit).is_none() {
        return Err(Refusal::Findings(vec![Issue::error(
            Code::NotFound,
            "unit",
            "Enheten finns inte i enhetskatalogen; ange HSA-id för den enhet som tog emot patientens besked.",
            "The unit is not in the directory; give the HSA-id of the unit that the patient told.",
        )]));
    }
    if caller.may_act_for(unit) {
        return Ok(());
    }
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "unit",
        "Anroparen får inte tala för enheten.",
        "The caller may not speak for the unit.",
    )))
}

fn row(
    gateway: &Gateway,
    caller: &Caller,
    deed: audit::Deed,
    registry: &str,
    payload: &serde_json::Value,
    now: DateTime<Utc>,
) -> Audit {
    witness::did(gateway, caller, deed, format!("registry/{registry}"), now).with_all(payload).into()
}

/// Registers an objection. From its commit nothing of the patient goes out to the registry. The same unit's word again is the
/// one that is in force.
pub async fn opt_out(
    gateway: &Gateway,
    caller: &Caller,
    registry: &str,
    word: Word,
    now: DateTime<Utc>,
) -> Result<Registered, Refusal> {
    let named = column(gateway, registry)?;
    check_unit(gateway, caller, &word.unit)?;
    let wish = OptOut {
        id: Uuid::now_v7(),
        registry: named.to_owned(),
        patient: None,
        system: word.person.system().to_owned(),
        value: word.person.value().to_owned(),
        unit: word.unit.to_ascii_uppercase(),
        objected_at: word.at,
        registered_at: now,
        registered_by: caller.name.clone(),
        lifted_at: None,
        lifted_by: None,
    };
    let payload = json!({ "optOut": wish.id.to_string(), "unit": wish.unit });
    let commit = Commit {
        expect: vec![wish.unheard()],
        deeds: vec![Deed::OptOut(wish.clone())],
        audit: vec![row(gateway, caller, audit::Deed::Object, registry, &payload, now)],
        ..Commit::default()
    };
    if let Committed::Done { .. } = gateway.store.commit(commit).await? {
        // As it is kept: its time is the commit's.
        let opt_out = gateway.store.opt_out(wish.id).await?.unwrap_or(wish);
        return Ok(Registered { opt_out, is_new: true });
    }
    let known = gateway.store.opt_outs(&wish.system, &wish.value).await?;
    let same = |o: &OptOut| o.registry == wish.registry && o.unit == wish.unit && o.lifted_at.is_none();
    let opt_out = known.into_iter().find(same).ok_or(Refusal::Busy)?;
    Ok(Registered { opt_out, is_new: false })
}

/// One that the caller registered; the operator sees all.
pub async fn read(gateway: &Gateway, caller: &Caller, registry: &str, id: Uuid) -> Result<OptOut, Refusal> {
    let named = column(gateway, registry)?;
    let found = gateway.store.opt_out(id).await?.filter(|o| o.registry == named && caller.may_act_for(&o.unit));
    found.ok_or_else(|| missing("opt-out"))
}

/// Those of a person that the caller registered, that hold for the registry; lifted ones too.
pub async fn search(
    gateway: &Gateway,
    caller: &Caller,
    registry: &str,
    person: &PersonId,
    now: DateTime<Utc>,
) -> Result<Vec<OptOut>, Refusal> {
    let named = column(gateway, registry)?;
    let mut all = gateway.store.opt_outs(person.system(), person.value()).await?;
    all.retain(|o| (o.registry == named || o.registry == EVERY) && caller.may_act_for(&o.unit));
    let found: Vec<String> = all.iter().map(|o| o.id.to_string()).collect();
    let row = row(gateway, caller, audit::Deed::Search, registry, &json!({ "optOuts": found }), now);
    gateway.store.commit(Commit { audit: vec![row], ..Commit::default() }).await?;
    Ok(all)
}

/// The patient takes it back: what is known goes out again.
pub async fn lift(
    gateway: &Gateway,
    caller: &Caller,
    registry: &str,
    id: Uuid,
    wished_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<OptOut, Refusal> {
    let before = read(gateway, caller, registry, id).await?;
    if wished_at < before.objected_at {
        return Err(Refusal::Findings(vec![Issue::error(
            Code::BusinessRule,
            "wishedAt",
            "Patienten kan inte ha tagit tillbaka det innan det sades.",
            "The patient cannot have taken it back before it was said.",
        )]));
    }
    let payload = json!({ "optOut": id.to_string(), "unit": before.unit, "wishedAt": wished_at.to_rfc3339() });
    let commit = Commit {
        deeds: vec![Deed::Lift { id, at: now, by: caller.name.clone() }],
        audit: vec![row(gateway, caller, audit::Deed::Reconsider, registry, &payload, now)],
        ..Commit::default()
    };
    match gateway.store.commit(commit).await? {
        Committed::Done { .. } => read(gateway, caller, registry, id).await,
        Committed::Conflict(_) => Err(Refusal::Conflict(Issue::error(
            Code::Conflict,
            "opt-out",
            "Invändningen är redan lyft.",
            "The objection has been lifted already.",
        ))),
    }
}

/// Records when a patient was informed; the same again is the same.
pub async fn inform(
    gateway: &Gateway,
    caller: &Caller,
    registry: &str,
    word: Word,
    now: DateTime<Utc>,
) -> Result<Informed, Refusal> {
    let named = column(gateway, registry)?;
    check_unit(gateway, caller, &word.unit)?;
    let informed = Informed {
        registry: named.to_owned(),
        patient: None,
        system: word.person.system().to_owned(),
        value: word.person.value().to_owned(),
        unit: word.unit.to_ascii_uppercase(),
        informed_at: word.at,
        recorded_at: now,
    };
    let payload = json!({ "unit": informed.unit, "informedAt": word.at.to_rfc3339() });
    let commit = Commit {
        deeds: vec![Deed::Informed(informed.clone())],
        audit: vec![row(gateway, caller, audit::Deed::Inform, registry, &payload, now)],
        ..Commit::default()
    };
    gateway.store.commit(commit).await?;
    Ok(informed)
}

/// Whether the caller is that registry, or the operator.
pub fn check_own(caller: &Caller, registry: &Registry) -> Result<(), Refusal> {
    let is_own = match &caller.reach {
        Reach::Everything => true,
        Reach::Registry(name) => *name == registry.name,
        Reach::Units(_) => false,
    };
    if is_own {
        return Ok(());
    }
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "registry",
        "Bara registret självt och den som driver tjänsten ser detta.",
        "Only the registry itself and whoever runs the service see this.",
    )))
}
