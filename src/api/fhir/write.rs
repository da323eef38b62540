//! What a partner writes: the Tasks it owns (PUT, PATCH), and what it did and answers (POST Procedure, Communication); and the
//! process team its code list (PUT CodeSystem).

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, IF_MATCH};
use actix_web::{HttpRequest, web};
use serde_json::Value;

use super::super::body::{Body, media_type};
use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::asked::asked;
use super::capability::{CREATED, EDITED, UPDATED, instance_methods, type_methods};
use super::conditional::{meant, version_in};
use super::media::Sent;
use super::prefer::{Return, answer, wish};
use super::{known_type, operations, query};
use crate::access::Operation;
use crate::fhir::guard::{Limits, Strictness};
use crate::fhir::issue::{Code, Issue};
use crate::registry::code_list;
use crate::store::Right;
use crate::sync::contribute::{self, Created};
use crate::sync::refusal::Refusal;
use crate::sync::take;

const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");

/// `PUT /fhir/Task/{id}` with If-Match: the owner moves its Task. `PUT /fhir/CodeSystem/kva`: a new version of the KVÅ list.
pub async fn update(call: Call, path: web::Path<(String, String)>, request: HttpRequest, body: Sent) -> Answer {
    let (resource_type, id) = path.into_inner();
    allowed(&resource_type, &[UPDATED, EDITED].concat(), "PUT")?;
    call.may(Operation::Fhir(Right::Update, &resource_type))?;
    asked(&request, &[], &call.gateway.config.limits)?;
    let (version, wish) = (if_match(&request)?, wish(&request)?);
    let value = resource(&call, &body, &resource_type)?;
    if EDITED.contains(&resource_type.as_str()) {
        let (stored, issues) = code_list::put(&call.gateway, &call.caller, &id, &value, version, call.now).await?;
        return Ok(answer(StatusCode::OK, &stored, wish, &issues, None));
    }
    moved(&call, &id, value, version, wish).await
}

/// `PUT /fhir/Task?identifier=system|value`: the same for the one that has the identifier. The version that was read stands in
/// If-Match or in the body.
pub async fn update_meant(call: Call, resource_type: web::Path<String>, request: HttpRequest, body: Sent) -> Answer {
    allowed(&resource_type, &UPDATED, "PUT")?;
    call.may(Operation::Fhir(Right::Update, &resource_type))?;
    let wish = wish(&request)?;
    let mut value = resource(&call, &body, &resource_type)?;
    let version = match (request.headers().contains_key(IF_MATCH), version_in(&value)) {
        (false, Some(version)) => version,
        _ => if_match(&request)?,
    };
    let stored = meant(&call, &request, &resource_type).await?;
    if value.get("id").is_some_and(|id| *id != *stored.id) {
        return Err(Problem::bad_request(
            "Task.id",
            "Kroppens id är inte den resurs som identifieraren hör till.",
            "The id of the body is not that of the resource with the identifier.",
        ));
    }
    value["id"] = Value::from(stored.id.clone());
    moved(&call, &stored.id, value, version, wish).await
}

/// `PATCH /fhir/Task/{id}` with If-Match: JSON Patch (RFC 6902), looked at only when it comes from the owner.
pub async fn patch(call: Call, path: web::Path<(String, String)>, request: HttpRequest, body: Body) -> Answer {
    let (resource_type, id) = path.into_inner();
    allowed(&resource_type, &UPDATED, "PATCH")?;
    call.may(Operation::Fhir(Right::Update, &resource_type))?;
    asked(&request, &[], &call.gateway.config.limits)?;
    patched(&call, &id, &request, &body).await
}

/// `PATCH /fhir/Task?identifier=system|value` with If-Match.
pub async fn patch_meant(call: Call, resource_type: web::Path<String>, request: HttpRequest, body: Body) -> Answer {
    allowed(&resource_type, &UPDATED, "PATCH")?;
    call.may(Operation::Fhir(Right::Update, &resource_type))?;
    let stored = meant(&call, &request, &resource_type).await?;
    patched(&call, &stored.id, &request, &body).await
}

async fn patched(call: &Call, id: &str, request: &HttpRequest, body: &Body) -> Answer {
    if media_type(request) != "application/json-patch+json" {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Issue::error(
                Code::NotSupported,
                "Content-Type",
                "PATCH tas emot som application/json-patch+json.",
                "PATCH is taken as application/json-patch+json.",
            ),
        ));
    }
    let (version, wish) = (if_match(request)?, wish(request)?);
    let mut value = take::open(&call.gateway, &call.caller, id, version).await?;
    let most = call.gateway.config.limits.patch_operations;
    operations::apply(&mut value, &operations::parse(&body.0, limits(call), most)?)?;
    moved(call, id, value, version, wish).await
}

async fn moved(call: &Call, id: &str, value: Value, version: u32, wish: Return) -> Answer {
    take::take(&call.gateway, &call.caller, id, &value, version, call.now).await?;
    let (store, caller) = (&call.gateway.store, &call.caller);
    if let Some(stored) = store.resource(&caller.filter(), "Task", id).await? {
        return Ok(answer(StatusCode::OK, &stored, wish, &[], None));
    }
    // Who may change it and not read it, or not as it has become, is told no more than that it is done.
    let stored = store.resource(&caller.within_reach(), "Task", id).await?;
    let stored = stored.ok_or_else(|| crate::sync::refusal::missing("Task"))?;
    Ok(answer(StatusCode::OK, &stored, Return::Minimal, &[], None))
}

/// `POST /fhir/{type}`, with If-None-Exist created once however often it is sent.
pub async fn create(call: Call, resource_type: web::Path<String>, request: HttpRequest, body: Sent) -> Answer {
    let resource_type = resource_type.into_inner();
    allowed(&resource_type, &CREATED, "POST")?;
    call.may(Operation::Fhir(Right::Create, &resource_type))?;
    asked(&request, &[], &call.gateway.config.limits)?;
    let (identifier, wish) = (if_none_exist(&request)?, wish(&request)?);
    if identifier.is_some() {
        // It is a search, and its answer may be somebody else's resource.
        call.may(Operation::Fhir(Right::Search, &resource_type))?;
    }
    let value = resource(&call, &body, &resource_type)?;
    let made = contribute::create(&call.gateway, &call.caller, value, identifier, call.now).await?;
    let (status, stored) = match &made {
        Created::New(stored) => (StatusCode::CREATED, stored),
        Created::There(stored) => (StatusCode::OK, stored),
    };
    let location =
        format!("{}/fhir/{resource_type}/{}/_history/{}", call.gateway.config.base_url, stored.id, stored.version);
    Ok(answer(status, stored, wish, &[], Some(location)))
}

pub(super) fn limits(call: &Call) -> Limits {
    let limits = &call.gateway.config.limits;
    Limits { bytes: limits.body_bytes, depth: limits.depth, strictness: Strictness::Resource }
}

fn resource(call: &Call, body: &Sent, resource_type: &str) -> Result<Value, Refusal> {
    of_type(body.read(&limits(call)).map_err(Refusal::Malformed)?, resource_type)
}

/// The same resource, if it is one of that type.
pub(super) fn of_type(value: Value, resource_type: &str) -> Result<Value, Refusal> {
    if value["resourceType"] != *resource_type {
        return Err(Refusal::Malformed(vec![Issue::error(
            Code::Structure,
            "resourceType",
            format!("Kroppen är ingen {}.", told(resource_type)),
            format!("The body is no {}.", told(resource_type)),
        )]));
    }
    Ok(value)
}

fn allowed(resource_type: &str, types: &[&str], method: &str) -> Result<(), Problem> {
    known_type(resource_type)?;
    if types.contains(&resource_type) {
        return Ok(());
    }
    let types = types.join(", ");
    let allow = match method {
        "POST" => type_methods(resource_type),
        _ => instance_methods(resource_type),
    };
    Err(Problem::not_allowed(
        &allow,
        Issue::error(
            Code::NotSupported,
            resource_type,
            format!("{method} tas emot för {types}."),
            format!("{method} is taken for {types}."),
        ),
    ))
}

/// The version in If-Match: `W/"3"`, `"3"` or `3`, once.
fn if_match(request: &HttpRequest) -> Result<u32, Problem> {
    let mut headers = request.headers().get_all(IF_MATCH);
    let header = headers.next().and_then(|h| h.to_str().ok()).filter(|_| headers.next().is_none());
    header.and_then(version_of).ok_or_else(|| {
        Problem::bad_request(
            "If-Match",
            "Ange versionen du läste: If-Match: W/\"3\".",
            "Give the version you read: If-Match: W/\"3\".",
        )
    })
}

pub fn version_of(tag: &str) -> Option<u32> {
    let tag = tag.trim();
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let digits = match quoted.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => tag,
    };
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn if_none_exist(request: &HttpRequest) -> Result<Option<(String, String)>, Problem> {
    let Some(header) = request.headers().get(IF_NONE_EXIST) else { return Ok(None) };
    let wrong = || {
        Problem::bad_request(
            "If-None-Exist",
            "Tas emot som identifier=system|värde.",
            "Taken as identifier=system|value.",
        )
    };
    let text = header.to_str().map_err(|_| wrong())?;
    let pairs = query::pairs(text.trim_start_matches('?'))?;
    match pairs.as_slice() {
        [(name, value)] if name == "identifier" => {
            let (system, value) = value.split_once('|').ok_or_else(wrong)?;
            Ok(Some((system.to_owned(), value.to_owned())))
        }
        _ => Err(wrong()),
    }
}
