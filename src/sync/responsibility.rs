//! Asking who is responsible: the rule set of the region and day is judged over what is said of a patient. Nothing of it is kept
//! but that it was asked, by whom, and of which rules.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Europe::Stockholm;
use serde_json::{Map, Value, json};

use super::refusal::missing;
use super::{Refusal, gather, witness};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::audit::Deed;
use crate::fhir::issue::{Code, Issue};
use crate::rules::{self, RuleSet, RuleSets};
use crate::store::Stored;

/// A question, as JSON asks it.
#[derive(Debug, Default)]
pub struct Wish {
    /// The county code; none: that of the caller's units.
    pub region: Option<String>,
    /// Our id of the patient; nobody need be named.
    pub patient: Option<String>,
    /// A plan here, `CarePlan/id`, whose assessment answers what is not said.
    pub care_plan: Option<String>,
    /// Areas and topics; none: what was said something of.
    pub about: Vec<String>,
    pub assessment: Map<String, Value>,
}

/// A question, as FHIR asks it of one rule set.
#[derive(Debug, Default)]
pub struct Application {
    pub plan: String,
    /// A Reference, as it is to stand in the answer.
    pub subject: Option<Value>,
    /// A plan here, `CarePlan/id`: what it rests on is what is known.
    pub care_plan: Option<String>,
    /// What is known; none: what the gateway has of the subject, as far as the caller may see it.
    pub resources: Option<Vec<Value>>,
    pub about: Vec<String>,
    pub as_of: Option<String>,
}

/// Who is responsible for what.
pub async fn ask(gateway: &Gateway, caller: &Caller, wish: &Wish, now: DateTime<Utc>) -> Result<Value, Refusal> {
    let sets = &gateway.conformance.rules;
    let planned = match &wish.care_plan {
        Some(name) => Some(Planned::read(gateway, caller, name).await?),
        None => None,
    };
    let mut said = planned.as_ref().map(|planned| planned.said.clone()).unwrap_or_default();
    lay_over(&mut said, &wish.assessment);
    let assessment = sets.inputs.check(&said, today(now)).map_err(|issues| {
        let within = |mut issue: Issue| {
            issue.expression = format!("assessment.{}", issue.expression);
            issue
        };
        Refusal::Findings(issues.into_iter().map(within).collect())
    })?;
    let own = region_of(gateway, caller);
    let chosen = sets.choose(wish.region.as_deref().or(own.as_deref()), assessment.as_of);
    let set = chosen.map_err(|none| Refusal::Findings(vec![none.issue()]))?;
    let about = known(set, &wish.about)?;
    if let Some(patient) = &wish.patient {
        let found = gateway.store.resource(&caller.filter(), "Patient", patient).await?;
        found.ok_or_else(|| missing("Patient"))?;
        if planned.as_ref().is_some_and(|planned| planned.patient.as_ref() != Some(patient)) {
            return Err(Refusal::Findings(vec![another_patient()]));
        }
    }
    let judged = rules::judge(set, &assessment, &about);
    let mut shown = rules::shown(&judged, &sets.inputs, &assessment);
    match planned {
        // What the plan rests on has been shown, in what was made of it.
        Some(planned) => {
            shown["plan"] = json!(planned.name);
            witness::shown(gateway, caller, Deed::Apply.code(), &object(set), &planned.stored, now).await?;
        }
        None => record(gateway, caller, set, wish.patient.clone(), now).await?,
    }
    Ok(shown)
}

/// What a plan here rests on, as far as the caller may see it.
struct Planned {
    /// The version that was read: `CarePlan/id/_history/n`.
    name: String,
    patient: Option<String>,
    said: Map<String, Value>,
    stored: Vec<Stored>,
}

impl Planned {
    async fn read(gateway: &Gateway, caller: &Caller, name: &str) -> Result<Self, Refusal> {
        let id = name.strip_prefix("CarePlan/").ok_or_else(no_plan)?;
        let store = &gateway.store;
        let plan = store.resource(&caller.filter(), "CarePlan", id).await?.ok_or_else(|| missing("CarePlan"))?;
        let body: Value = serde_json::from_slice(&plan.body).map_err(|_| missing("CarePlan"))?;
        let support = body["supportingInfo"].as_array().into_iter().flatten();
        let names: Vec<String> =
            support.filter_map(|one| one["reference"].as_str()).filter(|name| says(name)).map(str::to_owned).collect();
        let mut stored = store.resources(&caller.filter(), &names).await?;
        let bodies: Vec<Value> = stored.iter().filter_map(|s| serde_json::from_slice(&s.body).ok()).collect();
        let said = assessed(&bodies, &gateway.conformance.rules)?;
        let name = format!("CarePlan/{}/_history/{}", plan.id, plan.version);
        let patient = plan.patient.clone();
        stored.push(plan);
        Ok(Self { name, patient, said, stored })
    }
}

/// Whether a resource of that name can say something of an assessment.
fn says(name: &str) -> bool {
    name.split_once('/').is_some_and(|(kind, _)| rules::ASSESSMENT_TYPES.contains(&kind))
}

/// What is said in so many words stands before what is stored.
fn lay_over(said: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        match (said.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => lay_over(inner, more),
            _ => drop(said.insert(name.clone(), value.clone())),
        }
    }
}

fn no_plan() -> Refusal {
    Refusal::Findings(vec![Issue::error(
        Code::Value,
        "plan",
        "Ange planen som CarePlan/ och dess id här.",
        "Give the plan as CarePlan/ and its id here.",
    )])
}

fn another_patient() -> Issue {
    Issue::error(
        Code::BusinessRule,
        "patient",
        "Planen gäller en annan patient; ange en av dem.",
        "The plan is about another patient; give one of the two.",
    )
}

/// The same as a CarePlan, by the rules that are named.
pub async fn apply(
    gateway: &Gateway,
    caller: &Caller,
    mut wish: Application,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    let sets = &gateway.conformance.rules;
    let set = sets.by_id(&wish.plan).ok_or_else(|| missing("PlanDefinition"))?;
    if !set.is_active {
        return Err(Refusal::Findings(vec![not_in_force()]));
    }
    let about = known(set, &wish.about)?;
    let patient =
        wish.subject.as_ref().and_then(|s| s["reference"].as_str()?.strip_prefix("Patient/")).map(str::to_owned);
    let (mut said, stored) = match &wish.resources {
        Some(resources) => {
            let issues = gateway.validate(resources);
            if issues.iter().any(Issue::is_error) {
                return Err(Refusal::Findings(issues));
            }
            (assessed(resources, sets)?, None)
        }
        None if wish.care_plan.is_some() => {
            let planned = Planned::read(gateway, caller, wish.care_plan.as_deref().unwrap_or_default()).await?;
            if patient.is_some() && patient != planned.patient {
                return Err(Refusal::Findings(vec![another_patient()]));
            }
            let subject = || planned.patient.as_ref().map(|id| json!({ "reference": format!("Patient/{id}") }));
            wish.subject = wish.subject.take().or_else(subject);
            (planned.said, Some(planned.stored))
        }
        None => {
            let patient = patient.as_deref().ok_or_else(nobody)?;
            let all = gather::of_patient(gateway, caller, patient).await?;
            let is_meant = |s: &Stored| rules::ASSESSMENT_TYPES.contains(&s.resource_type.as_str());
            let stored: Vec<Stored> = all.into_iter().filter(is_meant).collect();
            let bodies: Vec<Value> = stored.iter().filter_map(|s| serde_json::from_slice(&s.body).ok()).collect();
            (assessed(&bodies, sets)?, Some(stored))
        }
    };
    if let Some(day) = &wish.as_of {
        said.insert("asOf".to_owned(), json!(day));
    }
    let assessment = sets.inputs.check(&said, today(now)).map_err(Refusal::Findings)?;
    if !set.holds_on(assessment.as_of) {
        return Err(Refusal::Findings(vec![rules::NoSet::Day.issue()]));
    }
    let judged = rules::judge(set, &assessment, &about);
    let unnamed = || json!({ "display": "Ej namngiven patient" });
    let plan = rules::care_plan(&judged, &sets.inputs, &assessment, wish.subject.unwrap_or_else(unnamed));
    match stored {
        // What the gateway has of the patient has been shown, in what was made of it.
        Some(stored) => witness::shown(gateway, caller, Deed::Apply.code(), &object(set), &stored, now).await?,
        None => {
            // A reference of the caller's own is nobody here.
            let known = match &patient {
                Some(id) => gateway.store.resource(&caller.filter(), "Patient", id).await?.is_some(),
                None => false,
            };
            record(gateway, caller, set, patient.filter(|_| known), now).await?;
        }
    }
    Ok(plan)
}

fn assessed(resources: &[Value], sets: &RuleSets) -> Result<Map<String, Value>, Refusal> {
    rules::of_resources(resources, &sets.inputs).map_err(Refusal::Findings)
}

/// What is asked about, where the set has it.
fn known<'w>(set: &RuleSet, about: &'w [String]) -> Result<Vec<&'w str>, Refusal> {
    if about.iter().all(|code| set.group(code).is_some()) {
        return Ok(about.iter().map(String::as_str).collect());
    }
    let known: Vec<&str> = set.groups.iter().map(|group| group.about.code()).collect();
    let known = known.join(", ");
    Err(Refusal::Findings(vec![Issue::error(
        Code::CodeInvalid,
        "about",
        format!("Reglerna har inte det området; de har {known}."),
        format!("The rules have no such area or topic; they have {known}."),
    )]))
}

/// The region of the caller's units, where it is one.
fn region_of(gateway: &Gateway, caller: &Caller) -> Option<String> {
    let Reach::Units(units) = &caller.reach else { return None };
    let mut regions = units.iter().filter_map(|unit| gateway.config.directory.find(unit)).map(|unit| &unit.region);
    let first = regions.next()?;
    regions.all(|region| region == first).then(|| first.clone())
}

fn object(set: &RuleSet) -> String {
    format!("PlanDefinition/{}/$apply", set.id)
}

/// That it was asked is on disk before the answer leaves; of what was said of the patient nothing is.
async fn record(
    gateway: &Gateway,
    caller: &Caller,
    set: &RuleSet,
    patient: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if !gateway.config.audit_reads {
        return Ok(());
    }
    let event = witness::did(gateway, caller, Deed::Apply, object(set), now).with("version", set.version.clone());
    witness::tell(gateway, event.about(patient)).await
}

pub(super) fn today(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&Stockholm).date_naive()
}

fn not_in_force() -> Issue {
    Issue::error(
        Code::BusinessRule,
        "PlanDefinition.status",
        "Reglerna är inte i kraft: deras status är inte active.",
        "The rules are not in force: their status is not active.",
    )
}

fn nobody() -> Refusal {
    Refusal::Findings(vec![Issue::error(
        Code::Required,
        "subject",
        "Ange subject (Patient/id) för det som finns här, eller sänd uppgifterna i data.",
        "Give subject (Patient/id) for what is here, or send the resources in data.",
    )])
}
