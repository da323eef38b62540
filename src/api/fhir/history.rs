//! Histories: of a resource, of a type, of everything. The newest version first, as far as the caller may see.
//!
//! A unit that became a party later reads the earlier versions too: whom it concerns is decided by resource, not by version. What
//! is hidden (a consent that is withdrawn, a scope that does not cover it) is hidden with all its versions; of what is not, a
//! version that a scope does not cover is left out.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::problem::Answer;
use super::asked::asked;
use super::read::{entry, link};
use super::{FHIR_JSON, cursor, known_type};
use crate::access::Operation;
use crate::store::{Right, Stored, Versions};
use crate::sync::refusal::missing;
use crate::sync::weigh::instant;
use crate::sync::{particulars, witness};

const SERVED: [&str; 3] = ["_count", "_since", "_before"];

/// `GET /fhir/{type}/{id}/_history`
pub async fn history(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id) = path.into_inner();
    known_type(&resource_type)?;
    call.may(Operation::Fhir(Right::Read, &resource_type))?;
    let of = Versions { resource_type: Some(resource_type.clone()), id: Some(id.clone()), ..Versions::default() };
    page(&call, &request, of, &format!("{resource_type}/{id}/_history")).await
}

/// `GET /fhir/{type}/_history`
pub async fn history_of_type(call: Call, resource_type: web::Path<String>, request: HttpRequest) -> Answer {
    known_type(&resource_type)?;
    call.may(Operation::Fhir(Right::Search, &resource_type))?;
    let of = Versions { resource_type: Some(resource_type.clone()), ..Versions::default() };
    page(&call, &request, of, &format!("{resource_type}/_history")).await
}

/// `GET /fhir/_history`
pub async fn history_of_all(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::SeeHistory)?;
    page(&call, &request, Versions::default(), "_history").await
}

async fn page(call: &Call, request: &HttpRequest, of: Versions, object: &str) -> Answer {
    let limits = &call.gateway.config.limits;
    let mut asked = asked(request, &SERVED, limits)?;
    if !request.query_string().contains("_count=") {
        asked.count = limits.page;
    }
    let filter = call.caller.filter();
    let limit = asked.count.saturating_add(1);
    let before = match &asked.before {
        Some(place) => Some(cursor::open(object.as_bytes(), place).ok_or_else(|| cursor::lost("_before"))?),
        None => None,
    };
    let of = Versions { since: asked.since, before, limit, ..of };
    let mut versions = call.gateway.store.versions(&filter, &of).await?;
    if let (true, Some(kind), Some(id)) = (versions.is_empty(), &of.resource_type, &of.id) {
        // Nothing since then is an empty history; nothing at all is no resource.
        call.gateway.store.resource(&filter, kind, id).await?.ok_or_else(|| missing(kind))?;
    }
    let more = versions.len() > asked.count as usize;
    versions.truncate(asked.count as usize);
    let last = versions.last().map(|last| last.seq).filter(|_| more);
    let versions = particulars::as_known_ever(&call.gateway, &call.caller, versions).await?;
    witness::shown(&call.gateway, &call.caller, "history", object, &versions, call.now).await?;
    let base = format!("{}/fhir/{object}", call.gateway.config.base_url);
    let mut links = vec![link("self", &asked.address(&base, asked.before.as_deref().map(|place| ("_before", place))))];
    if let Some(last) = last {
        let place = cursor::seal(object.as_bytes(), last)?;
        links.push(link("next", &asked.address(&base, Some(("_before", &place)))));
    }
    let mut bundle = json!({ "resourceType": "Bundle", "type": "history", "link": links });
    let entries: Vec<Value> = versions.iter().map(|version| told(call, version)).collect();
    if !entries.is_empty() {
        bundle["entry"] = json!(entries);
    }
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string()))
}

/// A version, as the request that would have made it and the answer to that.
fn told(call: &Call, version: &Stored) -> Value {
    let mut entry = entry(call, version);
    let first = version.version == 1;
    let kind = &version.resource_type;
    let url = if first { kind.clone() } else { format!("{kind}/{}", version.id) };
    entry["request"] = json!({ "method": if first { "POST" } else { "PUT" }, "url": url });
    entry["response"] = json!({
        "status": if first { "201" } else { "200" },
        "etag": format!("W/\"{}\"", version.version),
        "lastModified": instant(version.updated_at),
    });
    entry
}
