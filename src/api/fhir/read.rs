//! Reads and versions. Each leaves a row in the audit log before it is answered.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::problem::Answer;
use super::asked::asked;
use super::conditional::is_known;
use super::{FHIR_JSON, known_type, no_operation, show, unchanged};
use crate::access::{Operation, Reach};
use crate::fhir::protection::{conceal, is_protected};
use crate::store::{Right, Stored};
use crate::sync::refusal::missing;
use crate::sync::{particulars, witness};

/// `GET /fhir/{type}/{id}`
pub async fn read(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id) = path.into_inner();
    known_type(&resource_type)?;
    if id.starts_with('$') {
        return Err(no_operation());
    }
    call.may(Operation::Fhir(Right::Read, &resource_type))?;
    asked(&request, &[], &call.gateway.config.limits)?;
    let found = call.gateway.store.resource(&call.caller.filter(), &resource_type, &id).await?;
    let found = particulars::as_known(&call.gateway, &call.caller, found.into_iter().collect()).await?.pop();
    one(&call, &request, found, "read", &resource_type, &id).await
}

/// `GET /fhir/{type}/{id}/_history/{version}`
pub async fn vread(call: Call, path: web::Path<(String, String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id, version) = path.into_inner();
    known_type(&resource_type)?;
    call.may(Operation::Fhir(Right::Read, &resource_type))?;
    asked(&request, &[], &call.gateway.config.limits)?;
    let Ok(version) = version.parse() else { return Err(missing("version").into()) };
    let found = match resource_type.as_str() {
        "Patient" => particulars::version(&call.gateway, &call.caller, &id, version).await?,
        _ => call.gateway.store.version(&call.caller.filter(), &resource_type, &id, version).await?,
    };
    one(&call, &request, found, "vread", &resource_type, &format!("{id}/_history/{version}")).await
}

/// What is not there is known by its type only: its id is whatever the caller wrote.
async fn one(
    call: &Call,
    request: &HttpRequest,
    found: Option<Stored>,
    action: &str,
    resource_type: &str,
    id: &str,
) -> Answer {
    let stored = found.ok_or_else(|| missing(resource_type))?;
    let object = format!("{resource_type}/{id}");
    witness::shown(&call.gateway, &call.caller, action, &object, std::slice::from_ref(&stored), call.now).await?;
    if is_known(call, request, &stored).await? {
        return Ok(unchanged(&stored));
    }
    Ok(show(StatusCode::OK, &concealed(call, stored)))
}

/// Whether where this person lives is kept from the caller. A registry never needs it.
fn is_hidden_from(call: &Call, person: &Value) -> bool {
    match call.caller.reach {
        _ if call.caller.is_operator() => false,
        Reach::Units(_) | Reach::Everything => is_protected(person),
        Reach::Registry(_) => true,
    }
}

/// A protected person as the caller may see them: where they live stays with the operator, and with the sender, who reads it in
/// its own document.
fn concealed(call: &Call, stored: Stored) -> Stored {
    if !matches!(stored.resource_type.as_str(), "Patient" | "RelatedPerson") {
        return stored;
    }
    let Ok(mut person) = serde_json::from_slice::<Value>(&stored.body) else { return stored };
    if !is_hidden_from(call, &person) || !conceal(&mut person) {
        return stored;
    }
    Stored { body: person.to_string().into_bytes(), ..stored }
}

pub fn link(relation: &str, url: &str) -> Value {
    json!({ "relation": relation, "url": url })
}

pub(super) fn entry(call: &Call, stored: &Stored) -> Value {
    let mut resource = serde_json::from_slice::<Value>(&stored.body).unwrap_or_default();
    if matches!(stored.resource_type.as_str(), "Patient" | "RelatedPerson") && is_hidden_from(call, &resource) {
        conceal(&mut resource);
    }
    json!({
        "fullUrl": format!("{}/fhir/{}/{}", call.gateway.config.base_url, stored.resource_type, stored.id),
        "resource": resource,
    })
}

pub fn bundle(kind: &str, total: Option<u64>, links: Vec<Value>, entries: Vec<Value>) -> HttpResponse {
    let mut bundle = json!({ "resourceType": "Bundle", "type": kind, "link": links });
    if let Some(total) = total {
        bundle["total"] = json!(total);
    }
    if !entries.is_empty() {
        bundle["entry"] = json!(entries);
    }
    HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string())
}
