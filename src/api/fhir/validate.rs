//! `$validate`: what would be found in a resource. What cannot be looked at is refused, so that "no findings" means that
//! everything asked for was looked at.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::FHIR_JSON;
use super::asked::parameters;
use super::media::Sent;
use super::query;
use super::write::limits;
use crate::access::Operation;
use crate::fhir::issue::{Code, Issue, outcome};
use crate::fhir::validate::{Context, validate_as};
use crate::sync::refusal::Refusal;

/// Base definitions, which are held against every resource.
const BASE: &str = "http://hl7.org/fhir/StructureDefinition/";

/// `POST /fhir/{type}/$validate?profile=` with the resource, or with `Parameters` (resource, profile): the findings, 200
/// whatever they are.
pub async fn validate(call: Call, resource_type: web::Path<String>, request: HttpRequest, body: Sent) -> Answer {
    call.may(Operation::Validate)?;
    if resource_type.as_str() == super::subscription::TYPE {
        // It is checked whole when it is made.
        return Err(super::no_operation());
    }
    let mut profiles = Vec::new();
    for (name, value) in query::pairs(request.query_string())? {
        option(&name, value, &mut profiles)?;
    }
    let issues = match body.read(&limits(&call)) {
        Err(found) => found,
        Ok(value) => {
            let wrapped = value["resourceType"] == "Parameters" && resource_type.as_str() != "Parameters";
            let value = if wrapped { inner(&value, &mut profiles)? } else { value };
            match super::write::of_type(value, &resource_type) {
                Ok(value) => findings(&call, &value, &profiles),
                Err(Refusal::Malformed(found) | Refusal::Findings(found)) => found,
                Err(other) => return Err(other.into()),
            }
        }
    };
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(outcome(&issues).to_string()))
}

/// One parameter beside the resource.
fn option(name: &str, value: String, profiles: &mut Vec<String>) -> Result<(), Problem> {
    match name {
        "_format" => {}
        "profile" => profiles.push(value),
        "mode" => {
            return Err(Problem::bad_request(
                "mode",
                "Bara innehållet valideras här, inte vad som kan göras med resursen; utelämna mode.",
                "Only the content is validated here, not what can be done with the resource; leave mode out.",
            ));
        }
        _ => {
            return Err(Problem::bad_request(
                told(name),
                "Parametern finns inte här; kända: profile, och i Parameters resource.",
                "There is no such parameter here; known: profile, and in Parameters resource.",
            ));
        }
    }
    Ok(())
}

/// The resource inside `Parameters`, whose other parameters are those of the address.
fn inner(body: &Value, profiles: &mut Vec<String>) -> Result<Value, Problem> {
    let mut found = None;
    for parameter in parameters(body)? {
        match (parameter.name.as_str(), parameter.resource) {
            ("resource", Some(resource)) if found.is_none() => found = Some(resource.clone()),
            ("resource", _) => return Err(one_resource()),
            (name, None) => option(name, parameter.text, profiles)?,
            (name, Some(_)) => {
                return Err(Problem::bad_request(
                    told(name),
                    "Parametern är ingen resurs.",
                    "The parameter is no resource.",
                ));
            }
        }
    }
    found.ok_or_else(one_resource)
}

fn one_resource() -> Problem {
    Problem::bad_request(
        "resource",
        "Parameters ska ha en resurs som ska valideras: { \"name\": \"resource\", \"resource\": … }.",
        "Parameters should have one resource to validate: { \"name\": \"resource\", \"resource\": … }.",
    )
}

fn findings(call: &Call, value: &Value, profiles: &[String]) -> Vec<Issue> {
    let conformance = &call.gateway.conformance;
    let codes = conformance.codes().list;
    let context = Context { profiles: &conformance.profiles, codes: &codes };
    let mut held = Vec::new();
    let mut unknown = 0;
    for profile in profiles {
        let url = profile.split('|').next().unwrap_or_default();
        if conformance.profiles.urls().any(|known| known == url) {
            held.push(url);
        } else if url.strip_prefix(BASE).is_none_or(|kind| value["resourceType"] != *kind) {
            unknown += 1;
        }
    }
    let mut issues = validate_as(value, &held, &context);
    issues.extend((0..unknown).map(|_| {
        Issue::error(
            Code::NotSupported,
            "profile",
            "Profilen finns inte här, så resursen är inte prövad mot den; se /fhir/metadata.",
            "The profile is not known here, so the resource was not held against it; see /fhir/metadata.",
        )
    }));
    issues
}
