//! Reads, versions and searches. Each leaves a row in the audit log before it is answered.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::body::Body;
use super::super::caller::Call;
use super::super::problem::{Answer, Problem};
use super::asked::asked;
use super::conditional::is_known;
use super::{FHIR_JSON, known_type, media, no_operation, query, show, unchanged};
use crate::store::Stored;
use crate::sync::refusal::missing;
use crate::sync::witness;

/// `GET /fhir/{type}/{id}`
pub async fn read(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id) = path.into_inner();
    known_type(&resource_type)?;
    if id.starts_with('$') {
        return Err(no_operation());
    }
    asked(&request, &[], &call.gateway.config.limits)?;
    let found = call.gateway.store.resource(&call.caller.filter(), &resource_type, &id).await?;
    one(&call, &request, found, "read", &resource_type, &id).await
}

/// `GET /fhir/{type}/{id}/_history/{version}`
pub async fn vread(call: Call, path: web::Path<(String, String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id, version) = path.into_inner();
    known_type(&resource_type)?;
    asked(&request, &[], &call.gateway.config.limits)?;
    let Ok(version) = version.parse() else { return Err(missing("version").into()) };
    let found = call.gateway.store.version(&call.caller.filter(), &resource_type, &id, version).await?;
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
    Ok(show(StatusCode::OK, &stored))
}

/// `GET /fhir/{type}?…`
pub async fn search_get(call: Call, resource_type: web::Path<String>, request: HttpRequest) -> Answer {
    let pairs = query::pairs(request.query_string())?;
    search(call, &resource_type, pairs, true).await
}

/// `POST /fhir/{type}/_search`: the form may hold a national identifier.
pub async fn search_post(call: Call, resource_type: web::Path<String>, request: HttpRequest, body: Body) -> Answer {
    known_type(&resource_type)?;
    let mut pairs = query::pairs(request.query_string())?;
    for (name, value) in &pairs {
        query::parse(&resource_type, vec![(name.clone(), value.clone())], 1, 1, true)?;
    }
    let form = std::str::from_utf8(&body.0)
        .map_err(|_| Problem::bad_request("", "Formuläret är inte UTF-8.", "The form is not UTF-8."))?;
    let form = query::pairs(form)?;
    media::asked_in_form(&request, &form)?;
    pairs.extend(form);
    search(call, &resource_type, pairs, false).await
}

async fn search(call: Call, resource_type: &str, pairs: Vec<(String, String)>, in_url: bool) -> Answer {
    known_type(resource_type)?;
    let limits = call.gateway.config.limits;
    let asked = query::parse(resource_type, pairs, limits.page, limits.page_max, in_url)?;
    let page = call.gateway.store.search(&call.caller.filter(), &asked.search).await?;
    witness::shown(&call.gateway, &call.caller, "search", resource_type, &page.matches, call.now).await?;
    let base = format!("{}/fhir/{resource_type}", call.gateway.config.base_url);
    let mut links = vec![link("self", &base)];
    // A search that was sent in a body has no link that could repeat it: the number must not end up in a URL.
    if in_url {
        let own: Vec<&(String, String)> = asked.pairs.iter().filter(|(name, _)| name != "_after").collect();
        links = vec![link("self", &with_query(&base, &own, None))];
        if let (true, Some(last)) = (page.more, page.matches.last()) {
            links.push(link("next", &with_query(&base, &own, Some(last.seq))));
        }
    } else if let (true, Some(last)) = (page.more, page.matches.last()) {
        links.push(link("next", &format!("{base}/_search?_after={}", last.seq)));
    }
    let entries = page
        .matches
        .iter()
        .map(|stored| {
            let mut entry = entry(&call, stored);
            entry["search"] = json!({ "mode": "match" });
            entry
        })
        .collect();
    Ok(bundle("searchset", links, entries))
}

fn with_query(base: &str, pairs: &[&(String, String)], after: Option<i64>) -> String {
    let mut query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    query.extend(after.map(|seq| format!("_after={seq}")));
    if query.is_empty() { base.to_owned() } else { format!("{base}?{}", query.join("&")) }
}

/// Percent-encodes everything but what a query value may hold as it is.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub(super) fn link(relation: &str, url: &str) -> Value {
    json!({ "relation": relation, "url": url })
}

pub(super) fn entry(call: &Call, stored: &Stored) -> Value {
    json!({
        "fullUrl": format!("{}/fhir/{}/{}", call.gateway.config.base_url, stored.resource_type, stored.id),
        "resource": serde_json::from_slice::<Value>(&stored.body).unwrap_or_default(),
    })
}

fn bundle(kind: &str, links: Vec<Value>, entries: Vec<Value>) -> HttpResponse {
    let mut bundle = json!({ "resourceType": "Bundle", "type": kind, "link": links });
    if !entries.is_empty() {
        bundle["entry"] = json!(entries);
    }
    HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string())
}
