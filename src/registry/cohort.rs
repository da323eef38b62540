//! Groups of patients by criteria: whose they are, who is in them, and what is shown of them: criteria and number, no patients.

use serde_json::{Value, json};

use crate::Gateway;
use crate::access::Caller;
use crate::config::Cohort;
use crate::domain::icd10;
use crate::fhir::canonical::BASE;
use crate::store::{Criteria, StoreError};

/// The groups that are the caller's.
pub fn all_of_caller<'g>(gateway: &'g Gateway, caller: &Caller) -> Vec<&'g Cohort> {
    gateway.config.cohorts.iter().filter(|cohort| cohort.clients.contains(&caller.name)).collect()
}

/// The caller's group of that id; another's does not exist.
pub fn of_caller<'g>(gateway: &'g Gateway, caller: &Caller, id: &str) -> Option<&'g Cohort> {
    all_of_caller(gateway, caller).into_iter().find(|cohort| cohort.id == id)
}

/// The criteria as the store asks them.
pub(super) fn criteria(cohort: &Cohort) -> Criteria {
    Criteria {
        diagnoses: cohort.diagnoses.clone(),
        systems: icd10::systems().map(str::to_owned).collect(),
        plans: cohort.plans.clone(),
        units: cohort.units.clone(),
        period: cohort.period_ms(),
    }
}

/// How many are in it now, as far as the caller may see.
pub async fn count(gateway: &Gateway, caller: &Caller, cohort: &Cohort) -> Result<u64, StoreError> {
    let (filter, criteria) = (caller.filter(), criteria(cohort));
    let (mut count, mut after) = (0, 0);
    loop {
        let (found, walked) = gateway.store.members(&filter, &criteria, None, after).await?;
        count += found.len() as u64;
        if walked.is_end {
            return Ok(count);
        }
        after = walked.position;
    }
}

/// The group as a resource.
pub fn resource(cohort: &Cohort, count: u64) -> Value {
    let mut characteristics = Vec::new();
    let mut add = |code: &str, text: String| characteristics.push(characteristic(code, &text, cohort));
    if !cohort.diagnoses.is_empty() {
        let range = |(first, last): &(String, String)| match first == last {
            true => first.clone(),
            false => format!("{first}–{last}"),
        };
        add("diagnosis", cohort.diagnoses.iter().map(range).collect::<Vec<_>>().join(", "));
    }
    if !cohort.plans.is_empty() {
        add("plan", cohort.plans.join(", "));
    }
    if !cohort.care_providers.is_empty() {
        add("care-provider", cohort.care_providers.join(", "));
    }
    if !cohort.units.is_empty() {
        add("unit", cohort.units.join(", "));
    }
    json!({
        "resourceType": "Group",
        "id": cohort.id,
        "active": true,
        "type": "person",
        "actual": true,
        "name": cohort.name,
        "quantity": count,
        "characteristic": characteristics,
    })
}

fn characteristic(code: &str, text: &str, cohort: &Cohort) -> Value {
    let mut said = json!({
        "code": { "coding": [{ "system": format!("{BASE}/CodeSystem/cohort-criterion"), "code": code }] },
        "valueCodeableConcept": { "text": text },
        "exclude": false,
    });
    if code == "plan" && (cohort.from.is_some() || cohort.to.is_some()) {
        let mut period = json!({});
        for (name, date) in [("start", cohort.from), ("end", cohort.to)] {
            if let Some(date) = date {
                period[name] = json!(date.to_string());
            }
        }
        said["period"] = period;
    }
    said
}
