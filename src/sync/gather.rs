//! Gathers what belongs together, as far as a caller may see: all that is about a patient or a plan, and whatever a resource
//! points at, in turn. Every resource once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Refusal;
use super::refusal::missing;
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::resource::references;
use crate::store::{ExchangeQuery, Filter, Stored};

/// Exchanges of one patient that are looked at.
const MOST: u32 = 100_000;

/// All that is about the patient, and the people and units that it names, in the order of their last change.
pub async fn of_patient(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Vec<Stored>, Refusal> {
    let store = &gateway.store;
    store.resource(&caller.filter(), "Patient", id).await?.ok_or_else(|| missing("Patient"))?;
    let query = ExchangeQuery { patient: Some(id.to_owned()), limit: MOST, ..ExchangeQuery::default() };
    let mut names = BTreeSet::from([format!("Patient/{id}")]);
    // Not only the caller's own exchanges: a plan may have been shared by another. What may be seen is asked of each resource.
    for exchange in store.exchanges(&Filter::ALL, &query).await?.matches {
        names.extend(store.resources_of(exchange.id).await?);
    }
    let person = store.kin_seen(&caller.filter(), id).await?;
    names.extend(person.iter().map(|id| format!("Patient/{id}")));
    let is_one_of = |other: &str| other == id || person.iter().any(|kin| kin == other);
    let wanted = |name: &str| name.strip_prefix("Patient/").is_none_or(is_one_of);
    let names: Vec<String> = names.into_iter().filter(|name| !is_actor(name)).filter(|name| wanted(name)).collect();
    let found = store.resources(&caller.filter(), &names).await?;
    Ok(in_order(closure(gateway, caller, found, wanted).await?))
}

/// The plan, what points at it, and what these point at.
pub async fn of_plan(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Vec<Stored>, Refusal> {
    let store = &gateway.store;
    let name = format!("CarePlan/{id}");
    let plan = store.resource(&caller.filter(), "CarePlan", id).await?.ok_or_else(|| missing("CarePlan"))?;
    let patient = body(&plan)["subject"]["reference"].as_str().unwrap_or_default().to_owned();
    let all = match patient.strip_prefix("Patient/") {
        Some(patient) => of_patient(gateway, caller, patient).await?,
        None => Vec::new(),
    };
    let about = all.into_iter().filter(|stored| references(&body(stored)).contains(&name.as_str()));
    let found: Vec<Stored> = std::iter::once(plan).chain(about).collect();
    Ok(in_order(closure(gateway, caller, found, |_| true).await?))
}

/// The resource first, then what it points at, and so on.
pub async fn from(gateway: &Gateway, caller: &Caller, first: Stored) -> Result<Vec<Stored>, Refusal> {
    closure(gateway, caller, vec![first], |_| true).await
}

async fn closure(
    gateway: &Gateway,
    caller: &Caller,
    mut found: Vec<Stored>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Stored>, Refusal> {
    let mut known: BTreeSet<String> = found.iter().map(name_of).collect();
    found = distinct(found);
    let mut looked = 0;
    loop {
        let mut next = Vec::new();
        for stored in found.get(looked..).unwrap_or_default() {
            for target in references(&body(stored)) {
                if wanted(target) && known.insert(target.to_owned()) {
                    next.push(target.to_owned());
                }
            }
        }
        looked = found.len();
        let more = gateway.store.resources(&caller.filter(), &next).await?;
        if more.is_empty() {
            return Ok(found);
        }
        found.extend(more);
    }
}

fn distinct(found: Vec<Stored>) -> Vec<Stored> {
    let mut seen = BTreeSet::new();
    found.into_iter().filter(|stored| seen.insert(name_of(stored))).collect()
}

fn in_order(mut found: Vec<Stored>) -> Vec<Stored> {
    found.sort_by_key(|stored| stored.seq);
    found
}

fn is_actor(name: &str) -> bool {
    ["Organization/", "Practitioner/", "PractitionerRole/", "Location/"].iter().any(|a| name.starts_with(a))
}

fn name_of(stored: &Stored) -> String {
    format!("{}/{}", stored.resource_type, stored.id)
}

fn body(stored: &Stored) -> Value {
    serde_json::from_slice(&stored.body).unwrap_or_default()
}
