//! `$apply` of a programme: whether it may be offered, and what it would be, over what is sent or what the gateway has of a
//! patient. Nothing of it is kept but that it was asked.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value, json};

use super::definition;
use super::start::answered;
use crate::Gateway;
use crate::access::Caller;
use crate::domain::PersonId;
use crate::domain::audit::Deed;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::type_of;
use crate::rules::{self, programme};
use crate::store::Stored;
use crate::sync::responsibility::Application;
use crate::sync::{Refusal, gather, witness};

/// Whether a PlanDefinition of that id is a programme.
pub fn has(gateway: &Gateway, id: &str) -> bool {
    gateway.conformance.programmes.get(id).is_some()
}

/// The proposal.
pub async fn apply(
    gateway: &Gateway,
    caller: &Caller,
    wish: Application,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    let of = definition(gateway, &wish.plan)?;
    if !of.is_active {
        let (sv, en) = ("Programmet är inte i bruk.", "The programme is not in use.");
        return Err(Refusal::Findings(vec![Issue::error(Code::BusinessRule, "PlanDefinition.status", sv, en)]));
    }
    if !wish.about.is_empty() {
        let (sv, en) = ("Ett program har inga områden.", "A programme has no areas.");
        return Err(Refusal::Findings(vec![Issue::error(Code::Value, "about", sv, en)]));
    }
    let inputs = &gateway.conformance.programmes.inputs;
    let (resources, stored) = known(gateway, caller, &wish).await?;
    let mut said = rules::of_resources(&resources, inputs).map_err(Refusal::Findings)?;
    let today = now.with_timezone(&chrono_tz::Europe::Stockholm).date_naive();
    let start = match &wish.as_of {
        Some(day) => day.parse::<NaiveDate>().map_err(|_| {
            let (sv, en) = ("Ange en dag (ÅÅÅÅ-MM-DD).", "Give a day (YYYY-MM-DD).");
            Refusal::Findings(vec![Issue::error(Code::Value, "asOf", sv, en)])
        })?,
        None => today,
    };
    age(&resources, start, &mut said);
    let said = answered(gateway, None, &said, now)?;
    let judged = programme::judge(of, &said);
    let subject = wish.subject.clone().unwrap_or_else(|| json!({ "display": "Ej namngiven patient" }));
    let plan = programme::care_plan(of, &judged, inputs, start, subject);
    let object = format!("PlanDefinition/{}/$apply", of.id);
    match stored {
        Some(stored) => witness::shown(gateway, caller, Deed::Apply.code(), &object, &stored, now).await?,
        None => {
            let event = witness::did(gateway, caller, Deed::Apply, object, now).about([]);
            witness::tell(gateway, event.with("verdict", judged.verdict.code())).await?;
        }
    }
    Ok(plan)
}

/// What was sent; or the Patient and the Observations that the gateway has, as far as the caller may see them.
async fn known(
    gateway: &Gateway,
    caller: &Caller,
    wish: &Application,
) -> Result<(Vec<Value>, Option<Vec<Stored>>), Refusal> {
    if let Some(resources) = &wish.resources {
        let issues = gateway.validate(resources);
        if issues.iter().any(Issue::is_error) {
            return Err(Refusal::Findings(issues));
        }
        return Ok((resources.clone(), None));
    }
    let id = wish.subject.as_ref().and_then(|s| s["reference"].as_str()?.strip_prefix("Patient/"));
    let Some(id) = id else {
        let sv = "Ange subject (Patient/id) för det som finns här, eller sänd uppgifterna i data.";
        let en = "Give subject (Patient/id) for what is here, or send the resources in data.";
        return Err(Refusal::Findings(vec![Issue::error(Code::Required, "subject", sv, en)]));
    };
    let mut stored = gather::of_patient(gateway, caller, id).await?;
    let is_meant = |s: &Stored| s.resource_type == "Observation" || (s.resource_type == "Patient" && s.id == id);
    stored.retain(is_meant);
    let bodies = stored.iter().filter_map(|s| serde_json::from_slice(&s.body).ok()).collect();
    Ok((bodies, Some(stored)))
}

/// The age follows from the Patient, where nobody has said it.
fn age(resources: &[Value], on: NaiveDate, said: &mut Map<String, Value>) {
    if said.contains_key("age") {
        return;
    }
    let patient = resources.iter().find(|r| type_of(r) == "Patient");
    let numbers = patient.into_iter().flat_map(|p| p["identifier"].as_array().into_iter().flatten());
    let by_number = numbers.filter_map(|i| PersonId::parse(i["value"].as_str()?).ok()?.born()).next();
    let by_day = patient.and_then(|p| p["birthDate"].as_str()?.parse::<NaiveDate>().ok());
    if let Some(age) = by_number.or(by_day).and_then(|born| programme::age_on(born, on)) {
        said.insert("age".into(), json!(age));
    }
}
