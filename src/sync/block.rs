//! Spärr: a patient's data are blocked, and the block is lifted. What follows from either, the writer settles in the same
//! commit; here it is decided who may, and the block is written as what it is in FHIR: a Consent that denies.
//!
//! Only a unit of the care provider whose data it is registers, reads and lifts a block: to everybody else it is not there.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::missing;
use super::weigh::{Current, Scale, Weighed, current, instant};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::audit::{Deed, Event};
use crate::domain::block::{Period, Scope};
use crate::domain::{PersonId, Unit};
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::store::{Audit, Block, Commit, Committed, Expect, Filter, Lifted};

/// What is to be blocked.
#[derive(Debug, Clone)]
pub struct Wish {
    pub patient: PersonId,
    pub scope: Scope,
    pub period: Period,
    /// The HSA-id of the person who registers it.
    pub by: String,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    New(Block),
    /// The same block stands already.
    There(Block),
}

/// Registers a block. When it is answered, nothing that it closes is shown or sent any more.
pub async fn register(
    gateway: &Gateway,
    caller: &Caller,
    wish: &Wish,
    now: DateTime<Utc>,
) -> Result<Registered, Refusal> {
    if !speaks_for(gateway, caller, wish.scope.provider()) {
        return Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "provider",
            "Bara en enhet hos den vårdgivare vars uppgifter det gäller kan registrera en spärr.",
            "Only a unit of the care provider whose data it is can register a block.",
        )));
    }
    let (system, value) = (wish.patient.system(), wish.patient.value());
    for _ in 0..TRIES {
        let known = gateway.store.patient_id(system, value).await?;
        let mut weighed = Weighed::default();
        let mut expect =
            vec![Expect::Patient { system: system.to_owned(), value: value.to_owned(), id: known.clone() }];
        let patient = match known {
            Some(id) => {
                let marks = gateway.store.block_marks(&id).await?;
                expect.push(Expect::Blocks { patient: id.clone(), marks });
                let standing = gateway.store.blocks_of(&id).await?;
                let same = |b: &Block| b.lifted.is_none() && b.scope == wish.scope && b.period == wish.period;
                if let Some(there) = standing.iter().find(|b| same(b)) {
                    return Ok(Registered::There(there.clone()));
                }
                let most = gateway.config.limits.blocks;
                if standing.iter().filter(|b| b.lifted.is_none()).count() >= most {
                    return Err(Refusal::Conflict(too_many(most)));
                }
                id
            }
            // Nothing has come about the patient yet: what comes is blocked from the first.
            None => {
                let id = Uuid::new_v4().to_string();
                let scale = Scale { now, patient: Some(&id), units: &[], exchange: None };
                scale.add(&unknown_patient(&id, system, value), &Current::new(), &mut weighed);
                id
            }
        };
        let block = Block {
            id: Uuid::now_v7(),
            patient,
            scope: wish.scope.clone(),
            period: wish.period,
            registered_at: now,
            registered_by: wish.by.clone(),
            lifted: None,
        };
        write(gateway, &block, &Current::new(), now, &mut weighed)?;
        expect.extend(weighed.expect);
        let commit = Commit {
            expect,
            put: weighed.put,
            blocks: vec![block.clone()],
            audit: vec![audit(gateway, caller, "register", &block, &wish.by, now)],
            ..Commit::default()
        };
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.wake.notify_one();
            return Ok(Registered::New(block));
        }
    }
    Err(Refusal::Busy)
}

fn too_many(most: usize) -> Issue {
    Issue::error(
        Code::TooCostly,
        "patient",
        format!("Patienten har {most} gällande spärrar (limits.blocks); häv en, eller registrera en som omfattar mer."),
        format!(
            "The patient has {most} blocks that stand (limits.blocks); lift one, or register one that closes more."
        ),
    )
}

/// Lifts a block: what it held is released in the same commit, and leaves in order. Lifted again, it stays as it was.
pub async fn lift(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Block, Refusal> {
    for _ in 0..TRIES {
        let block = read(gateway, caller, id).await?;
        if block.lifted.is_some() {
            return Ok(block);
        }
        let marks = gateway.store.block_marks(&block.patient).await?;
        let name = format!("Consent/{id}");
        let known = current(gateway.store.resources(&Filter::ALL, &[name]).await?);
        let at = now.max(block.registered_at); // a clock that was set back
        let lifted = Block { lifted: Some(Lifted { at, by: by.to_owned() }), ..block };
        let mut weighed = Weighed::default();
        write(gateway, &lifted, &known, now, &mut weighed)?;
        let mut expect = weighed.expect;
        expect.push(Expect::Blocks { patient: lifted.patient.clone(), marks });
        let commit = Commit {
            expect,
            put: weighed.put,
            blocks: vec![lifted.clone()],
            audit: vec![audit(gateway, caller, "lift", &lifted, by, now)],
            ..Commit::default()
        };
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.wake.notify_one();
            return Ok(lifted);
        }
    }
    Err(Refusal::Busy)
}

/// One block, for those whose it is.
pub async fn read(gateway: &Gateway, caller: &Caller, id: Uuid) -> Result<Block, Refusal> {
    let block = gateway.store.block(id).await?;
    block.filter(|b| speaks_for(gateway, caller, b.scope.provider())).ok_or_else(|| missing("block"))
}

/// The blocks of a patient that are the caller's provider's, the first registered first. `standing`: only those that stand, or
/// only those that were lifted.
pub async fn find(
    gateway: &Gateway,
    caller: &Caller,
    patient: &PersonId,
    standing: Option<bool>,
) -> Result<Vec<Block>, Refusal> {
    let Some(id) = gateway.store.patient_id(patient.system(), patient.value()).await? else { return Ok(Vec::new()) };
    let mut found = gateway.store.blocks_of(&id).await?;
    found.retain(|b| speaks_for(gateway, caller, b.scope.provider()));
    found.retain(|b| standing.is_none_or(|standing| b.lifted.is_none() == standing));
    Ok(found)
}

/// Whether the caller is, or speaks for a unit of, the care provider.
fn speaks_for(gateway: &Gateway, caller: &Caller, provider: &str) -> bool {
    let is_of = |unit: &String| {
        gateway.config.directory.find(unit).is_some_and(|known| known.care_provider.eq_ignore_ascii_case(provider))
    };
    match &caller.reach {
        Reach::Everything => true,
        Reach::Units(units) => units.iter().any(is_of),
        Reach::Registry(_) => false,
    }
}

/// A block as the API shows it.
pub fn shown(block: &Block) -> Value {
    let end = |at: Option<i64>| at.and_then(DateTime::from_timestamp_millis).map(instant);
    json!({
        "id": block.id.to_string(),
        "kind": block.scope.kind(),
        "patient": format!("Patient/{}", block.patient),
        "unit": block.scope.unit(),
        "provider": block.scope.provider(),
        "period": { "from": end(block.period.from), "to": end(block.period.to) },
        "standing": block.lifted.is_none(),
        "registeredAt": instant(block.registered_at),
        "registeredBy": block.registered_by,
        "liftedAt": block.lifted.as_ref().map(|lifted| instant(lifted.at)),
        "liftedBy": block.lifted.as_ref().map(|lifted| &lifted.by),
        "consent": format!("Consent/{}", block.id),
    })
}

fn unknown_patient(id: &str, system: &str, value: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id,
        "meta": { "profile": [format!("{BASE}/StructureDefinition/patient")] },
        "identifier": [{ "system": system, "value": value }],
    })
}

/// Adds the block's Consent as it is to stand. It comes into the sight of those only whom the block keeps from nothing: to
/// others of the provider it would tell, unasked, that there is something.
fn write(
    gateway: &Gateway,
    block: &Block,
    known: &Current,
    now: DateTime<Utc>,
    weighed: &mut Weighed,
) -> Result<(), Refusal> {
    let consent = consent(block);
    let issues = gateway.validate(std::slice::from_ref(&consent));
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    let is_spared = |unit: &&Unit| match &block.scope {
        Scope::Inner { unit: blocked, .. } => unit.hsa_id.eq_ignore_ascii_case(blocked),
        Scope::Outer { provider } => unit.care_provider.eq_ignore_ascii_case(provider),
    };
    let units: Vec<String> =
        gateway.config.directory.iter().filter(is_spared).map(|unit| unit.hsa_id.clone()).collect();
    let scale = Scale { now, patient: Some(&block.patient), units: &units, exchange: None };
    scale.add(&consent, known, weighed);
    Ok(())
}

/// The block in FHIR: it denies whatever the actor has written, in the period given, to everybody else.
fn consent(block: &Block) -> Value {
    // Inera's convention (inera.ehds.tk): the custodian is what an outer block is about, the author what an inner one is.
    let (role, actor, law) = match &block.scope {
        Scope::Inner { unit, .. } => ("AUT", unit, "PDL (2008:355) 4 kap. 4 §"),
        Scope::Outer { provider } => ("CST", provider, "LSVOD (2022:913) 2 kap. 3 §"),
    };
    let organisation =
        |hsa_id: &str| json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": hsa_id } });
    let end =
        |at: Option<i64>| at.and_then(DateTime::from_timestamp_millis).map_or(Value::Null, |at| json!(instant(at)));
    let mut provision = json!({
        "type": "deny",
        "period": { "start": instant(block.registered_at) },
        "actor": [{
            "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": role }] },
            "reference": organisation(actor),
        }],
    });
    if let Some(lifted) = &block.lifted {
        provision["period"]["end"] = json!(instant(lifted.at));
    }
    if block.period != Period::default() {
        let mut period = json!({ "start": end(block.period.from), "end": end(block.period.to) });
        if let Some(object) = period.as_object_mut() {
            object.retain(|_, value| !value.is_null());
        }
        provision["dataPeriod"] = period;
    }
    json!({
        "resourceType": "Consent",
        "id": block.id.to_string(),
        "meta": { "profile": [format!("{BASE}/StructureDefinition/block")] },
        "status": if block.lifted.is_some() { "inactive" } else { "active" },
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": format!("{BASE}/CodeSystem/block-kind"), "code": block.scope.kind() }] }],
        "patient": { "reference": format!("Patient/{}", block.patient) },
        "dateTime": instant(block.registered_at),
        "organization": [organisation(block.scope.provider())],
        "policyRule": {
            "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT" }],
            "text": law,
        },
        "provision": provision,
    })
}

fn audit(gateway: &Gateway, caller: &Caller, change: &str, block: &Block, by: &str, now: DateTime<Utc>) -> Audit {
    let who = witness::by(&gateway.config.directory, caller);
    Event::new(now, who, Deed::Block, format!("block/{}", block.id))
        .about([block.patient.clone()])
        .with("change", change)
        .with("kind", block.scope.kind())
        .with("provider", block.scope.provider())
        .with("blocked", block.scope.unit())
        .with("decidedBy", by)
        .into()
}
