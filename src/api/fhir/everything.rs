//! `$everything` of a patient or a plan, and `$document` of a handover: what belongs together, as far as the caller may see.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::caller::Call;
use super::super::problem::{Answer, Problem};
use super::asked::{Asked, asked, asked_in};
use super::media::Sent;
use super::read::{entry, link};
use super::{FHIR_JSON, cursor, known_type};
use crate::access::Operation;
use crate::fhir::guard::{Limits, Strictness};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Right, Stored};
use crate::sync::refusal::{Refusal, missing};
use crate::sync::weigh::instant;
use crate::sync::{gather, identify, particulars, witness};

/// Types that have `$everything`, and its definition.
pub const WHOLE: [(&str, &str); 2] = [
    ("Patient", "http://hl7.org/fhir/OperationDefinition/Patient-everything"),
    ("CarePlan", "https://vardkedja.example/fhir/OperationDefinition/CarePlan-everything"),
];
const SERVED: [&str; 4] = ["_count", "_since", "_type", "_after"];

/// `GET /fhir/{type}/{id}/$everything`
pub async fn everything(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let asked = asked(&request, &SERVED, &call.gateway.config.limits)?;
    whole(&call, &path, asked).await
}

/// `POST /fhir/{type}/{id}/$everything` with `Parameters`, or without a body.
pub async fn everything_post(
    call: Call,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    body: Sent,
) -> Answer {
    let limits = &call.gateway.config.limits;
    asked(&request, &[], limits)?;
    let parameters = if body.is_empty() {
        Value::Null
    } else {
        let limits = Limits { bytes: limits.body_bytes, depth: limits.depth, strictness: Strictness::Resource };
        body.read(&limits).map_err(Refusal::Malformed)?
    };
    if !parameters.is_null() && parameters["resourceType"] != "Parameters" {
        return Err(Problem::bad_request(
            "resourceType",
            "Kroppen ska vara Parameters.",
            "The body should be Parameters.",
        ));
    }
    let asked = asked_in(&parameters, &SERVED, limits)?;
    whole(&call, &path, asked).await
}

async fn whole(call: &Call, path: &(String, String), asked: Asked) -> Answer {
    let (resource_type, id) = path;
    known_type(resource_type)?;
    call.may(Operation::Fhir(Right::Read, resource_type))?;
    let found = match resource_type.as_str() {
        "Patient" => gather::of_patient(&call.gateway, &call.caller, id).await?,
        "CarePlan" => gather::of_plan(&call.gateway, &call.caller, id).await?,
        _ => return Err(not_for("$everything", "Patient, CarePlan")),
    };
    let found = particulars::as_known(&call.gateway, &call.caller, found).await?;
    let wanted = |stored: &&Stored| {
        asked.since.is_none_or(|since| stored.updated_at >= since)
            && (asked.types.is_empty() || asked.types.contains(&stored.resource_type))
    };
    let all: Vec<Stored> = found.iter().filter(wanted).cloned().collect();
    let object = format!("{resource_type}/{id}/$everything");
    let after = match &asked.after {
        Some(place) => Some(cursor::open(object.as_bytes(), place).ok_or_else(|| cursor::lost("_after"))?),
        None => None,
    };
    let rest = all.iter().filter(|stored| after.is_none_or(|seq| stored.seq > seq));
    let page: Vec<Stored> = rest.clone().take(asked.count as usize).cloned().collect();
    let more = rest.count() > page.len();
    witness::shown(&call.gateway, &call.caller, "everything", &object, &page, call.now).await?;
    let base = format!("{}/fhir/{object}", call.gateway.config.base_url);
    let mut links = vec![link("self", &asked.address(&base, asked.after.as_deref().map(|place| ("_after", place))))];
    if let (true, Some(last)) = (more, page.last()) {
        let place = cursor::seal(object.as_bytes(), last.seq)?;
        links.push(link("next", &asked.address(&base, Some(("_after", &place)))));
    }
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "link": links });
    let entries: Vec<Value> = page
        .iter()
        .map(|stored| {
            let mut entry = entry(call, stored);
            entry["search"] = json!({ "mode": "match" });
            entry
        })
        .collect();
    if !entries.is_empty() {
        bundle["entry"] = json!(entries);
    }
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string()))
}

/// `GET /fhir/Composition/{id}/$document`: the handover as one Bundle that can be kept by itself.
pub async fn document(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id) = path.into_inner();
    known_type(&resource_type)?;
    if resource_type != "Composition" {
        return Err(not_for("$document", "Composition"));
    }
    call.may(Operation::Fhir(Right::Read, &resource_type))?;
    asked(&request, &["persist"], &call.gateway.config.limits)?;
    let first = call.gateway.store.resource(&call.caller.filter(), "Composition", &id).await?;
    let first = first.ok_or_else(|| missing("Composition"))?;
    let found = gather::from(&call.gateway, &call.caller, first).await?;
    let found = particulars::as_known(&call.gateway, &call.caller, found).await?;
    let object = format!("Composition/{id}/$document");
    witness::shown(&call.gateway, &call.caller, "document", &object, &found, call.now).await?;
    // The same versions seen by the same caller are the same document.
    let versions: Vec<String> = found.iter().map(|s| format!("{}/{}/{}", s.resource_type, s.id, s.version)).collect();
    let name = identify::id(&["document", &versions.join(" ")]);
    let name = Uuid::parse_str(&name).unwrap_or_default();
    let bundle = json!({
        "resourceType": "Bundle",
        "identifier": { "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{name}") },
        "type": "document",
        "timestamp": instant(call.now),
        "entry": found.iter().map(|stored| entry(&call, stored)).collect::<Vec<_>>(),
    });
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string()))
}

fn not_for(operation: &str, types: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Issue::error(
            Code::NotSupported,
            operation,
            format!("Operationen finns för {types}; se /fhir/metadata."),
            format!("The operation exists for {types}; see /fhir/metadata."),
        ),
    )
}
