//! The open loop at the API: what is open and whose move it is, the clocks of an exchange, and the way that it came.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::body::Body;
use super::caller::Call;
use super::exchanges::exchange_id;
use super::problem::{Answer, Problem, told};
use crate::access::{Operation, Purpose};
use crate::domain::HsaId;
use crate::domain::clock::{Sort, Step};
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::moment;
use crate::store::{Place, WaitQuery, Waiting};
use crate::sync::clocks::{loops, pause};
use crate::sync::{refusal, timeline, witness};

/// `GET /v1/open-loops?unit=&step=&kind=&overdue=&region=&limit=&after=`
pub async fn list(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::SeeLoops)?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let query = query(&call, pairs.into_inner())?;
    let store = &call.gateway.store;
    let counts = store.count_loops(&WaitQuery { overdue_at: None, after: None, ..query.clone() }, call.now).await?;
    let most = query.limit as usize;
    // One more says whether there is a page after this.
    let mut found = store.open_loops(&WaitQuery { limit: query.limit.saturating_add(1), ..query }).await?;
    let more = found.len() > most;
    found.truncate(most);
    let seen: Vec<String> = found.iter().map(|wait| wait.exchange.to_string()).collect();
    witness::record(&call.gateway, &call.caller, "search", "open-loop", &json!({ "found": seen }), call.now).await?;
    let cares = call.caller.purpose == Purpose::Care;
    let lines: Vec<Value> = found.iter().map(|wait| loops::line(&call.gateway, wait, cares, call.now)).collect();
    let regions = regions(&call, &found);
    Ok(HttpResponse::Ok().json(json!({
        "rules": call.gateway.config.clocks.version,
        "counts": counts.iter().map(loops::count).collect::<Vec<_>>(),
        "regions": regions,
        "loops": lines,
        "next": found.last().filter(|_| more).map(place),
    })))
}

/// The regions of the units on the page that are asked.
fn regions(call: &Call, found: &[Waiting]) -> BTreeMap<String, String> {
    let of = |wait: &Waiting| {
        let unit = call.gateway.config.directory.find(&wait.unit)?;
        Some((unit.hsa_id.clone(), unit.region.clone()))
    };
    found.iter().filter_map(of).collect()
}

fn query(call: &Call, pairs: Vec<(String, String)>) -> Result<WaitQuery, Problem> {
    let limits = &call.gateway.config.limits;
    let mut query = WaitQuery {
        filter: call.caller.of_deliveries(),
        unit: None,
        step: None,
        sort: None,
        among: None,
        overdue_at: None,
        limit: limits.page,
        after: None,
    };
    for (name, value) in pairs {
        let wrong = |known: &str| {
            Problem::bad_request(
                told(&name),
                format!("Värdet är inte något av {known}."),
                format!("The value is none of {known}."),
            )
        };
        match name.as_str() {
            "unit" => query.unit = Some(value),
            "step" => {
                query.step = Some(Step::parse(&value).ok_or_else(|| wrong(&Step::ALL.map(Step::code).join(", ")))?)
            }
            "kind" => {
                query.sort = Some(Sort::parse(&value).ok_or_else(|| wrong(&Sort::ALL.map(Sort::code).join(", ")))?)
            }
            "region" => {
                let units = call.gateway.config.directory.iter().filter(|unit| unit.region == value);
                query.among = Some(units.map(|unit| unit.hsa_id.clone()).collect());
            }
            "overdue" => {
                let is_wanted: bool = value.parse().map_err(|_| wrong("true, false"))?;
                query.overdue_at = is_wanted.then_some(call.now);
            }
            "limit" => {
                let limit: u32 = value.parse().map_err(|_| wrong("1, 2, …"))?;
                query.limit = limit.clamp(1, limits.page_max);
            }
            "after" => query.after = Some(behind(&value).ok_or_else(|| wrong("the cursors we gave"))?),
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Okänd parameter; kända: unit, step, kind, overdue, region, limit, after.",
                    "Unknown parameter; known: unit, step, kind, overdue, region, limit, after.",
                ));
            }
        }
    }
    Ok(query)
}

/// The place of a line that was shown, for the next page.
fn place(wait: &Waiting) -> String {
    format!("{}~{}~{}~{}~{}", wait.due_at, wait.exchange, wait.unit, wait.step.code(), wait.subject)
}

fn behind(text: &str) -> Option<Place> {
    let mut parts = text.split('~');
    let mut next = || parts.next();
    Some(Place {
        due_at: next()?.parse().ok()?,
        exchange: next()?.parse().ok()?,
        unit: next()?.to_owned(),
        step: Step::parse(next()?)?,
        subject: next()?.to_owned(),
    })
}

/// `POST /v1/exchanges/{id}/clocks/pause { "by", "reason", "until", "unit"? }`
pub async fn pause(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::PauseClocks)?;
    let wish = wish(&body)?;
    let id = exchange_id(&id)?;
    Ok(HttpResponse::Ok().json(pause::pause(&call.gateway, &call.caller, id, &wish, call.now).await?))
}

/// `POST /v1/exchanges/{id}/clocks/resume { "by" }`
pub async fn resume(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::PauseClocks)?;
    let mut issues = Vec::new();
    let by = person(&read(&body, &["by"], &mut issues)?, &mut issues);
    let Some(by) = by.filter(|_| issues.is_empty()) else { return Err(Problem::all(StatusCode::BAD_REQUEST, issues)) };
    Ok(HttpResponse::Ok().json(pause::resume(&call.gateway, &call.caller, exchange_id(&id)?, &by, call.now).await?))
}

/// `GET /v1/exchanges/{id}/timeline`
pub async fn timeline(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::SeeExchanges)?;
    let id = exchange_id(&id)?;
    let events = timeline::timeline(&call.gateway, &call.caller, id, call.now).await?;
    let object = format!("exchange/{id}/timeline");
    witness::record(&call.gateway, &call.caller, "read", &object, &Value::Null, call.now).await?;
    let events: Vec<Value> = events.iter().map(timeline::Happened::json).collect();
    Ok(HttpResponse::Ok().json(json!({ "exchange": id.to_string(), "events": events })))
}

fn read(body: &Body, known: &[&str], issues: &mut Vec<Issue>) -> Result<Map<String, Value>, Problem> {
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let Value::Object(fields) = value else {
        return Err(Problem::bad_request("", "Kroppen ska vara ett objekt.", "The body should be an object."));
    };
    let list = known.join(", ");
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        issues.push(wrong(told(name), &format!("okänt fält; kända: {list}"), &format!("unknown field; known: {list}")));
    }
    Ok(fields)
}

fn wrong(name: &str, sv: &str, en: &str) -> Issue {
    Issue::error(Code::Value, name, format!("Fältet {name}: {sv}."), format!("The field {name}: {en}."))
}

fn person(fields: &Map<String, Value>, issues: &mut Vec<Issue>) -> Option<String> {
    let by = fields.get("by").and_then(Value::as_str).map(str::trim).filter(|by| HsaId::parse(by).is_ok());
    if by.is_none() {
        let (sv, en) = ("HSA-id för den medarbetare som gör det", "the HSA-id of the member of staff who does it");
        issues.push(wrong("by", sv, en));
    }
    by.map(str::to_ascii_uppercase)
}

/// A day is that day too: the clocks run on when it has ended.
fn wish(body: &Body) -> Result<pause::Wish, Problem> {
    let mut issues = Vec::new();
    let fields = read(body, &["by", "reason", "until", "unit"], &mut issues)?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let by = person(&fields, &mut issues);
    let reason = text("reason").map(str::to_owned);
    if reason.is_none() {
        issues.push(wrong("reason", "ange varför", "say why"));
    }
    let until = text("until").and_then(moment).and_then(|(low, high)| {
        let at = if low == high { low } else { high.checked_add(1)? };
        DateTime::<Utc>::from_timestamp_millis(at)
    });
    if until.is_none() {
        let (sv, en) =
            ("ange till och med vilken dag, eller till vilken tidpunkt", "say through which day, or until what time");
        issues.push(wrong("until", sv, en));
    }
    let unit = text("unit").map(str::to_owned);
    match (by, reason, until) {
        (Some(by), Some(reason), Some(until)) if issues.is_empty() => Ok(pause::Wish { by, reason, until, unit }),
        _ => Err(Problem::all(StatusCode::BAD_REQUEST, issues)),
    }
}
