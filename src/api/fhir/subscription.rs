//! Subscriptions at the API: made, read, searched, changed and ended by the care system whose they are, with `$status` and `$events`.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_MATCH, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::media::Sent;
use super::write::{limits, of_type, version_of};
use super::{FHIR_JSON, known_type, no_operation, query};
use crate::Gateway;
use crate::access::Operation;
use crate::domain::subscription::{Payload, Status};
use crate::fhir::issue::{Code, Issue, outcome};
use crate::fhir::subscription::{GUIDE, definition, searchset};
use crate::store::{Right, Subscription};
use crate::sync::refusal::{Refusal, missing};
use crate::sync::subscription::{self, Events, EventsAsked};
use crate::sync::witness;

pub(super) const TYPE: &str = "Subscription";

/// `POST /fhir/Subscription`
pub async fn create(call: Call, request: HttpRequest, body: Sent) -> Answer {
    call.may(Operation::Fhir(Right::Create, TYPE))?;
    only(&request, &[])?;
    if request.headers().contains_key("if-none-exist") {
        return Err(Problem::bad_request(
            "If-None-Exist",
            "Prenumerationer skapas inte villkorligt; sök efter den först.",
            "Subscriptions are not created conditionally; search for it first.",
        ));
    }
    let value = resource(&call, &body)?;
    let made = subscription::create(&call.gateway, &call.caller, &value, call.now).await?;
    let place = format!("{}/fhir/Subscription/{}", call.gateway.config.base_url, made.id);
    let mut answer = show(StatusCode::CREATED, &made);
    if let Ok(place) = place.parse() {
        answer.headers_mut().insert(LOCATION, place);
    }
    Ok(answer)
}

/// `GET /fhir/Subscription/{id}`
pub async fn read(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::Fhir(Right::Read, TYPE))?;
    only(&request, &[])?;
    let found = subscription::own(&call.gateway, &call.caller, named(&id)?).await?;
    witness::record(&call.gateway, &call.caller, "read", &format!("subscription/{}", found.id), &Value::Null, call.now)
        .await?;
    Ok(show(StatusCode::OK, &found))
}

/// `GET /fhir/Subscription?_id=&status=&criteria=&url=`
pub async fn search(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::Fhir(Right::Search, TYPE))?;
    let pairs = only(&request, &["_id", "status", "criteria", "url", "_count", "_after"])?;
    let bounds = &call.gateway.config.limits;
    let (mut limit, mut after) = (bounds.page, None);
    for (name, value) in &pairs {
        match name.as_str() {
            "_count" => limit = value.parse().map_err(|_| wrong(name))?,
            "_after" => after = Some(named(value)?),
            _ => {}
        }
    }
    let limit = limit.clamp(1, bounds.page_max);
    let page = subscription::list(&call.gateway, &call.caller, after, limit).await?;
    let next = page.last().filter(|_| page.len() == limit as usize).map(|last| last.id);
    let found: Vec<&Subscription> = page.iter().filter(|one| pairs.iter().all(|pair| matches(one, pair))).collect();
    let ids: Vec<String> = found.iter().map(|one| one.id.to_string()).collect();
    witness::record(&call.gateway, &call.caller, "search", "subscription", &json!({ "found": ids }), call.now).await?;
    Ok(HttpResponse::Ok()
        .content_type(FHIR_JSON)
        .body(found_as(&call.gateway, &pairs, &found, limit, next).to_string()))
}

/// `PUT /fhir/Subscription/{id}`
pub async fn update(call: Call, id: web::Path<String>, request: HttpRequest, body: Sent) -> Answer {
    call.may(Operation::Fhir(Right::Update, TYPE))?;
    only(&request, &[])?;
    let header = request.headers().get(IF_MATCH).map(|header| header.to_str().ok().and_then(version_of));
    let version = match header {
        None => None,
        Some(Some(version)) => Some(version),
        Some(None) => return Err(wrong("If-Match")),
    };
    let value = resource(&call, &body)?;
    let changed = subscription::revise(&call.gateway, &call.caller, named(&id)?, &value, version, call.now).await?;
    Ok(show(StatusCode::OK, &changed))
}

/// `DELETE /fhir/Subscription/{id}`
pub async fn remove(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::Fhir(Right::Delete, TYPE))?;
    only(&request, &[])?;
    subscription::remove(&call.gateway, &call.caller, named(&id)?, call.now).await?;
    let said = Issue::information("", "Prenumerationen är borttagen.", "The subscription is deleted.");
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(outcome(&[said]).to_string()))
}

/// `GET /fhir/Subscription/{id}/$status`
pub async fn status(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::Fhir(Right::Read, TYPE))?;
    only(&request, &[])?;
    let id = named(&id)?;
    let found = subscription::status(&call.gateway, &call.caller, id, call.now).await?;
    Ok(statuses(&call, &format!("/Subscription/{id}/$status"), vec![found]))
}

/// `GET /fhir/Subscription/$status?id=&status=`
pub async fn status_of_all(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::Fhir(Right::Search, TYPE))?;
    let (mut ids, mut states) = (Vec::new(), Vec::new());
    for (name, value) in only(&request, &["id", "status"])? {
        for value in value.split(',') {
            match name.as_str() {
                "id" => ids.push(named(value.strip_prefix("Subscription/").unwrap_or(value))?),
                "status" => states.push(Status::parse(value).ok_or_else(|| wrong(&name))?),
                _ => {}
            }
        }
    }
    let most = call.gateway.config.limits.page_max;
    if ids.len() > most as usize {
        return Err(wrong("id"));
    }
    let found = subscription::statuses(&call.gateway, &call.caller, &ids, &states, most, call.now).await?;
    Ok(statuses(&call, "/Subscription/$status", found))
}

/// `GET /fhir/Subscription/{id}/$events?eventsSinceNumber=&eventsUntilNumber=&content=`
pub async fn events(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::Fhir(Right::Read, TYPE))?;
    let mut asked = EventsAsked { limit: call.gateway.config.limits.page_max, ..EventsAsked::default() };
    for (name, value) in only(&request, &["eventsSinceNumber", "eventsUntilNumber", "content"])? {
        let number = || value.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(|| wrong(&name));
        match name.as_str() {
            "eventsSinceNumber" => asked.since = Some(number()?),
            "eventsUntilNumber" => asked.until = Some(number()?),
            "content" => asked.content = Some(Payload::parse(&value).ok_or_else(|| wrong(&name))?),
            _ => {}
        }
    }
    match subscription::events(&call.gateway, &call.caller, named(&id)?, asked, call.now).await? {
        Events::Found(bundle) => Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string())),
        Events::TooOld { first } => Err(Problem::new(
            StatusCode::GONE,
            Issue::error(
                Code::NotFound,
                "eventsSinceNumber",
                format!(
                    "Händelserna före nummer {first} sparas inte längre (subscriptions.keep_d, kept): sök fram hur det är \
                     nu, och fråga från {first}."
                ),
                format!(
                    "Events before number {first} are kept no more (subscriptions.keep_d, kept): search for how things \
                     are now, and ask from {first}."
                ),
            ),
        )),
    }
}

/// What metadata says of it.
pub fn capability(gateway: &Gateway) -> Value {
    let topic = |url: &str| json!({ "url": definition("capabilitystatement-subscriptiontopic-canonical"), "valueCanonical": url });
    let topics: Vec<Value> = gateway.conformance.topics.iter().map(|t| topic(&t.url)).collect();
    let interactions = ["create", "read", "update", "delete", "search-type"];
    let mut said = json!({
        "extension": topics,
        "type": TYPE,
        "supportedProfile": [definition("backport-subscription")],
        "documentation": "For care systems; rest-hook with application/fhir+json, at addresses that were agreed.",
        "interaction": interactions.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>(),
        "versioning": "no-version",
        "updateCreate": false,
        "conditionalCreate": false,
        "conditionalUpdate": false,
        "searchParam": [
            { "name": "_id", "definition": "http://hl7.org/fhir/SearchParameter/Resource-id", "type": "token" },
            { "name": "status", "definition": "http://hl7.org/fhir/SearchParameter/Subscription-status", "type": "token" },
            { "name": "criteria", "definition": "http://hl7.org/fhir/SearchParameter/Subscription-criteria", "type": "string" },
            { "name": "url", "definition": "http://hl7.org/fhir/SearchParameter/Subscription-url", "type": "uri" },
        ],
        "operation": [
            { "name": "status", "definition": format!("{GUIDE}/OperationDefinition/backport-subscription-status") },
            { "name": "events", "definition": format!("{GUIDE}/OperationDefinition/backport-subscription-events") },
        ],
    });
    if topics.is_empty()
        && let Some(object) = said.as_object_mut()
    {
        // FHIR has no empty lists.
        object.shift_remove("extension");
    }
    said
}

fn show(status: StatusCode, of: &Subscription) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((ETAG, format!("W/\"{}\"", of.version)))
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .content_type(FHIR_JSON)
        .body(subscription::shown(of).to_string())
}

fn statuses(call: &Call, place: &str, found: Vec<Value>) -> HttpResponse {
    let base = format!("{}/fhir", call.gateway.config.base_url);
    HttpResponse::Ok().content_type(FHIR_JSON).body(searchset(&base, place, found).to_string())
}

fn found_as(
    gateway: &Gateway,
    pairs: &[(String, String)],
    found: &[&Subscription],
    limit: u32,
    next: Option<Uuid>,
) -> Value {
    let base = format!("{}/fhir/Subscription", gateway.config.base_url);
    let address = |after: Option<Uuid>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "_count" | "_after")));
        query.append_pair("_count", &limit.to_string());
        if let Some(id) = after {
            query.append_pair("_after", &id.to_string());
        }
        format!("{base}?{}", query.finish())
    };
    let entry = |one: &&Subscription| json!({ "fullUrl": format!("{base}/{}", one.id), "resource": subscription::shown(one), "search": { "mode": "match" } });
    let mut links = vec![json!({ "relation": "self", "url": address(None) })];
    links.extend(next.map(|next| json!({ "relation": "next", "url": address(Some(next)) })));
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "link": links });
    if !found.is_empty() {
        bundle["entry"] = found.iter().map(entry).collect();
    }
    bundle
}

/// Whether it is what one parameter asks for.
fn matches(of: &Subscription, (name, value): &(String, String)) -> bool {
    let mut values = value.split(',');
    match name.as_str() {
        "_id" => values.any(|id| id == of.id.to_string()),
        "status" => values.any(|code| code == of.status.code()),
        "criteria" => values.any(|text| of.topic.starts_with(text)),
        "url" => values.any(|url| url == of.channel.endpoint),
        _ => true,
    }
}

fn resource(call: &Call, body: &Sent) -> Result<Value, Problem> {
    let value = body.read(&limits(call)).map_err(Refusal::Malformed)?;
    Ok(of_type(value, TYPE)?)
}

fn named(text: &str) -> Result<Uuid, Problem> {
    if text.starts_with('$') {
        return Err(no_operation());
    }
    if text == "_history" {
        known_type(TYPE)?;
    }
    text.parse().map_err(|_| missing(TYPE).into())
}

/// The parameters of the address: each is served, or refused.
fn only(request: &HttpRequest, served: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = query::pairs(request.query_string())?;
    pairs.retain(|(name, _)| name != "_format");
    match pairs.iter().find(|(name, _)| !served.contains(&name.as_str())) {
        None => Ok(pairs),
        Some((name, _)) => {
            let known = if served.is_empty() { "_format".to_owned() } else { served.join(", ") };
            Err(Problem::bad_request(
                told(name),
                format!("Parametern finns inte här; kända: {known}."),
                format!("There is no such parameter here; known: {known}."),
            ))
        }
    }
}

fn wrong(name: &str) -> Problem {
    Problem::bad_request(told(name), "Värdet kan inte läsas.", "The value cannot be read.")
}
