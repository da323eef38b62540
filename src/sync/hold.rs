//! Legal holds: a patient or an exchange of which nothing is removed, whatever the rules say, until the hold is lifted.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::refusal::missing;
use super::{Refusal, witness};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::{PersonId, audit};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Audit, Commit, Committed, Deed, Expect, Hold};

/// What is to be held.
#[derive(Debug, Clone)]
pub enum Held {
    Patient(PersonId),
    Exchange(Uuid),
}

/// Places a hold. A unit may hold what concerns it.
pub async fn place(
    gateway: &Gateway,
    caller: &Caller,
    held: Held,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Hold, Refusal> {
    let (store, filter) = (&gateway.store, caller.filter());
    let (patient, exchange) = match held {
        Held::Patient(person) => {
            let id = store.patient_id(person.system(), person.value()).await?.ok_or_else(|| missing("Patient"))?;
            store.resource(&filter, "Patient", &id).await?.ok_or_else(|| missing("Patient"))?;
            (Some(id), None)
        }
        Held::Exchange(id) => {
            store.exchange(&filter, id).await?.ok_or_else(|| missing("exchange"))?;
            (None, Some(id))
        }
    };
    if matches!(caller.reach, Reach::Registry(_)) {
        return Err(missing("Patient"));
    }
    let hold = Hold {
        id: Uuid::now_v7(),
        exchange,
        reason: reason.to_owned(),
        placed_at: now,
        placed_by: caller.name.clone(),
        lifted_at: None,
        lifted_by: None,
        patient,
    };
    // What is removed in this moment is there no more to be held.
    let expect = exchange.map(|id| Expect::Standing { exchange: id });
    let commit = Commit {
        expect: expect.into_iter().collect(),
        deeds: vec![Deed::Hold(hold.clone())],
        audit: vec![row(gateway, caller, audit::Deed::LegalHold, &hold, now)],
        ..Commit::default()
    };
    match store.commit(commit).await? {
        Committed::Done { .. } => Ok(hold),
        Committed::Conflict(_) => Err(missing("exchange")),
    }
}

fn row(gateway: &Gateway, caller: &Caller, deed: audit::Deed, hold: &Hold, now: DateTime<Utc>) -> Audit {
    let event = witness::did(gateway, caller, deed, format!("hold/{}", hold.id), now);
    let event = match hold.exchange {
        Some(id) => event.with("exchange", id.to_string()),
        None => event,
    };
    event.about(hold.patient.clone()).into()
}

/// Those in force that the caller placed; the operator sees all.
pub async fn list(gateway: &Gateway, caller: &Caller) -> Result<Vec<Hold>, Refusal> {
    let mut all = gateway.store.holds(gateway.config.limits.page_max).await?;
    all.retain(|hold| caller.reach == Reach::Everything || hold.placed_by == caller.name);
    Ok(all)
}

/// Lifts a hold: who placed it, or the operator.
pub async fn lift(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<Hold, Refusal> {
    let own = |hold: &Hold| caller.reach == Reach::Everything || hold.placed_by == caller.name;
    let hold = gateway.store.hold(id).await?.filter(own).ok_or_else(|| missing("hold"))?;
    let commit = Commit {
        deeds: vec![Deed::LiftHold { id, at: now, by: caller.name.clone() }],
        audit: vec![row(gateway, caller, audit::Deed::LiftHold, &hold, now)],
        ..Commit::default()
    };
    match gateway.store.commit(commit).await? {
        Committed::Done { .. } => Ok(Hold { lifted_at: Some(now), lifted_by: Some(caller.name.clone()), ..hold }),
        Committed::Conflict(_) => Err(Refusal::Conflict(Issue::error(
            Code::Conflict,
            "hold",
            "Gallringsstoppet är redan lyft.",
            "The hold has been lifted already.",
        ))),
    }
}
