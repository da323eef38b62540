//! What became of a document: lists, one exchange whole, the document as its sender would write it now, cancel, retry.

use std::str::FromStr;

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::{Format, Kind, PersonId, Stage};
use crate::fhir::guard;
use crate::store::ExchangeQuery;
use crate::sync::{cancel as journey_cancel, present, refusal, release, witness};

/// `GET /v1/exchanges?stage=&partner=&unit=&kind=&open=&attention=&limit=&before=`
pub async fn list(call: Call, request: HttpRequest) -> Answer {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let query = query(&call, pairs.into_inner())?;
    page(&call, &query).await
}

/// `POST /v1/exchanges/search`: the same, with the patient's number in the body and never in a URL.
pub async fn search(call: Call, body: Body) -> Answer {
    call.may(Operation::SeeExchanges)?;
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let Value::Object(fields) = value else {
        return Err(Problem::bad_request("", "Frågan ska vara ett objekt.", "The question should be an object."));
    };
    let mut pairs = Vec::new();
    let mut patient = None;
    for (name, value) in fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if name == "patient" {
            patient = Some(text);
        } else {
            pairs.push((name, text));
        }
    }
    let mut query = query(&call, pairs)?;
    if let Some(number) = patient {
        let person = PersonId::parse(&number).map_err(|e| Problem::bad_request("patient", e.sv(), e.to_string()))?;
        let Some(id) = call.gateway.store.patient_id(person.system(), person.value()).await? else {
            return Ok(HttpResponse::Ok().json(json!({ "exchanges": [] })));
        };
        query.patient = Some(id);
    }
    page(&call, &query).await
}

fn query(call: &Call, pairs: Vec<(String, String)>) -> Result<ExchangeQuery, Problem> {
    let limits = &call.gateway.config.limits;
    let mut query = ExchangeQuery { limit: limits.page, ..ExchangeQuery::default() };
    let wrong = |name: &str, known: &str| {
        Problem::bad_request(
            name,
            format!("Värdet är inte något av {known}."),
            format!("The value is none of {known}."),
        )
    };
    for (name, value) in pairs {
        match name.as_str() {
            "stage" => {
                let known: Vec<&str> = Stage::ALL.iter().map(|s| s.code()).collect();
                query.stage = Some(Stage::parse(&value).ok_or_else(|| wrong("stage", &known.join(", ")))?);
            }
            "kind" => query.kind = Some(Kind::from_str(&value).map_err(|e| wrong("kind", &e.known))?),
            "partner" => query.partner = Some(value),
            "unit" => query.unit = Some(value),
            "attention" => query.attention = value.parse().map_err(|_| wrong("attention", "true, false"))?,
            "open" => query.open = value.parse().map_err(|_| wrong("open", "true, false"))?,
            "limit" => {
                let limit: u32 = value.parse().map_err(|_| wrong("limit", "1, 2, …"))?;
                query.limit = limit.clamp(1, limits.page_max);
            }
            "before" => query.before = Some(cursor(&value).ok_or_else(|| wrong("before", "the cursors we gave"))?),
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Okänd parameter; kända: stage, kind, partner, unit, open, attention, limit, before.",
                    "Unknown parameter; known: stage, kind, partner, unit, open, attention, limit, before.",
                ));
            }
        }
    }
    Ok(query)
}

/// `milliseconds_id`, opaque to callers.
fn cursor(text: &str) -> Option<(chrono::DateTime<chrono::Utc>, Uuid)> {
    let (at, id) = text.split_once('_')?;
    Some((chrono::DateTime::from_timestamp_millis(at.parse().ok()?)?, id.parse().ok()?))
}

async fn page(call: &Call, query: &ExchangeQuery) -> Answer {
    call.may(Operation::SeeExchanges)?;
    let page = call.gateway.store.exchanges(&call.caller.filter(), query).await?;
    let mut shown =
        json!({ "exchanges": page.matches.iter().map(|e| present::summary(e, &call.caller)).collect::<Vec<Value>>() });
    if page.more
        && let Some(last) = page.matches.last()
    {
        shown["before"] = json!(format!("{}_{}", last.updated_at.timestamp_millis(), last.id));
    }
    let seen: Vec<String> = page.matches.iter().map(|e| e.id.to_string()).collect();
    witness::record(&call.gateway, &call.caller, "search", "exchange", &json!({ "found": seen }), call.now).await?;
    Ok(HttpResponse::Ok().json(shown))
}

/// `GET /v1/exchanges/{id}`
pub async fn read(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::SeeExchanges)?;
    let id = exchange_id(&id)?;
    let shown = present::exchange(&call.gateway, &call.caller, id, call.now).await?;
    witness::record(&call.gateway, &call.caller, "read", &format!("exchange/{id}"), &Value::Null, call.now).await?;
    Ok(HttpResponse::Ok().json(shown))
}

/// `GET /v1/exchanges/{id}/document`, in the format that `Accept` asks for: JSON or RIV-TA XML.
pub async fn document(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::SeeExchanges)?;
    let id = exchange_id(&id)?;
    let shown = present::document(&call.gateway, &call.caller, id, wished(&request)).await?;
    witness::record(&call.gateway, &call.caller, "read", &format!("exchange/{id}/document"), &Value::Null, call.now)
        .await?;
    let media_type = if shown.format == Format::Riv { "application/xml" } else { "application/json" };
    Ok(HttpResponse::Ok().content_type(media_type).body(shown.body))
}

/// The one format that `Accept` names, if it names one of them.
fn wished(request: &HttpRequest) -> Option<Format> {
    let accepts =
        request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    match (accepts.contains("json"), accepts.contains("xml")) {
        (true, false) => Some(Format::Json),
        (false, true) => Some(Format::Riv),
        _ => None,
    }
}

/// `POST /v1/exchanges/{id}/cancel { "reason": "…" }`
pub async fn cancel(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::Cancel)?;
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let Some(reason) = value["reason"].as_str().filter(|r| !r.trim().is_empty()) else {
        return Err(Problem::bad_request(
            "reason",
            "Ange varför: { \"reason\": \"…\" }.",
            "Say why: { \"reason\": \"…\" }.",
        ));
    };
    let done = journey_cancel::cancel(&call.gateway, &call.caller, exchange_id(&id)?, reason, call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "cancelled": done.cancelled, "asked": done.asked })))
}

/// `POST /v1/exchanges/{id}/retry`
pub async fn retry(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::SendAgain)?;
    let id = exchange_id(&id)?;
    let found = call.gateway.store.exchange(&call.caller.of_deliveries(), id).await?;
    found.ok_or_else(|| refusal::missing("exchange"))?;
    let retried = release::retry_exchange(&call.gateway, id, &call.caller.name, call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "retried": retried })))
}

pub(super) fn exchange_id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| refusal::missing("exchange").into())
}
