//! `PlanDefinition/{id}/$apply`: who is responsible for what as a CarePlan, by the rules of one guideline; or what a programme would
//! be for a patient. Nothing is kept.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::asked::parameters;
use super::media::Sent;
use super::{FHIR_JSON, query};
use crate::access::Operation;
use crate::fhir::guard::{Limits, Strictness};
use crate::fhir::resource::type_of;
use crate::sync::programme::apply as of_programme;
use crate::sync::refusal::Refusal;
use crate::sync::responsibility::{self, Application};

/// The definition of the operation.
pub const DEFINITION: &str = "http://hl7.org/fhir/OperationDefinition/PlanDefinition-apply";

/// `GET /fhir/PlanDefinition/{id}/$apply?subject=Patient/…&plan=CarePlan/…&asOf=&about=`: of what the gateway has of the patient, or of what that
/// plan rests on.
pub async fn apply(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    let mut wish = Application { plan: id.into_inner(), ..Application::default() };
    for (name, value) in query::pairs(request.query_string())? {
        parameter(&mut wish, &name, &value)?;
    }
    applied(&call, wish).await
}

/// `POST /fhir/PlanDefinition/{id}/$apply` with `Parameters` (subject, plan, data, asOf, about), or with a Bundle of what is known.
pub async fn apply_post(call: Call, id: web::Path<String>, request: HttpRequest, body: Sent) -> Answer {
    let mut wish = Application { plan: id.into_inner(), ..Application::default() };
    for (name, value) in query::pairs(request.query_string())? {
        if name != "_format" {
            return Err(unknown(&name));
        }
        parameter(&mut wish, &name, &value)?;
    }
    let limits = &call.gateway.config.limits;
    let limits = Limits { bytes: limits.body_bytes, depth: limits.depth, strictness: Strictness::Resource };
    let body = body.read(&limits).map_err(Refusal::Malformed)?;
    match type_of(&body) {
        "Bundle" => wish.resources = Some(entries(&body)),
        "Parameters" => {
            for given in parameters(&body)? {
                match (given.name.as_str(), given.resource) {
                    ("data", Some(resource)) => {
                        let more =
                            if type_of(resource) == "Bundle" { entries(resource) } else { vec![resource.clone()] };
                        wish.resources.get_or_insert_default().extend(more);
                    }
                    (name, None) => parameter(&mut wish, name, &given.text)?,
                    (name, Some(_)) => return Err(unknown(name)),
                }
            }
        }
        _ => {
            return Err(Problem::bad_request(
                "resourceType",
                "Kroppen ska vara Parameters eller en Bundle.",
                "The body should be Parameters or a Bundle.",
            ));
        }
    }
    applied(&call, wish).await
}

async fn applied(call: &Call, mut wish: Application) -> Answer {
    call.may(Operation::AskRules)?;
    if wish.subject.is_none() {
        wish.subject = wish.resources.as_deref().and_then(subject_of);
    }
    let (gateway, caller) = (&call.gateway, &call.caller);
    let plan = match of_programme::has(gateway, &wish.plan) {
        true => of_programme::apply(gateway, caller, wish, call.now).await?,
        false => responsibility::apply(gateway, caller, wish, call.now).await?,
    };
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(plan.to_string()))
}

fn parameter(wish: &mut Application, name: &str, value: &str) -> Result<(), Problem> {
    match name {
        "_format" => {}
        "subject" => {
            // A Reference stands in a body as an object.
            let reference = serde_json::from_str::<Value>(value).ok();
            let reference = reference.as_ref().map_or(Some(value), |object| object["reference"].as_str());
            let known = reference.filter(|reference| reference.starts_with("Patient/") && reference.len() <= 72);
            wish.subject = Some(json!({ "reference": known.ok_or_else(|| {
                Problem::bad_request("subject", "Ange Patient/ och patientens id.", "Give Patient/ and the patient's id.")
            })? }));
        }
        "plan" => {
            let reference = serde_json::from_str::<Value>(value).ok();
            let name = reference.as_ref().and_then(|object| object["reference"].as_str()).unwrap_or(value);
            wish.care_plan = Some(name.to_owned());
        }
        "asOf" => wish.as_of = Some(value.to_owned()),
        "about" => wish.about.extend(value.split(',').map(|code| code.trim().to_owned())),
        _ => return Err(unknown(name)),
    }
    Ok(())
}

fn entries(bundle: &Value) -> Vec<Value> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry.get("resource").cloned()).collect()
}

/// Whom the resources are about, where it is one.
fn subject_of(resources: &[Value]) -> Option<Value> {
    let mut subjects = resources.iter().filter_map(|resource| resource["subject"]["reference"].as_str());
    let first = subjects.next()?;
    subjects.all(|other| other == first).then(|| json!({ "reference": first }))
}

fn unknown(name: &str) -> Problem {
    Problem::bad_request(
        told(name),
        "Okänd parameter; kända: subject, plan, asOf, about, och i Parameters data (en resurs eller Bundle).",
        "Unknown parameter; known: subject, plan, asOf, about, and in Parameters data (a resource or a Bundle).",
    )
}
