//! The patient's list: who saw or got what about one patient, when, by which unit. It is handed out by whoever runs the
//! gateway, as JSON or as a table; who asked for it is in the log too.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::DateTime;
use serde_json::{Value, json};

use super::caller::Call;
use super::fhir::{cursor, looked, permit, with_query};
use super::problem::{Answer, Problem, told};
use crate::domain::audit::Deed;
use crate::fhir::primitive::is_id;
use crate::fhir::search::moment;
use crate::store::{AuditQuery, Filter};
use crate::sync::access_log::{Line, csv, line};
use crate::sync::log::{Found, Wanted, find};
use crate::sync::refusal::missing;

/// What the list can be asked for.
struct Asked {
    query: AuditQuery,
    is_table: bool,
    /// What a `next` link repeats.
    repeated: Vec<(String, String)>,
}

/// `GET /v1/patients/{id}/access-log?from=&to=&limit=&after=&format=`
pub async fn list(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    let path = format!("/v1/patients/{id}/access-log");
    answer(&call, &id, &path, &request).await
}

/// `GET /fhir/Patient/{id}/$access-log`: the same.
pub async fn operation(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    let path = format!("/fhir/Patient/{id}/$access-log");
    answer(&call, &id, &path, &request).await
}

async fn answer(call: &Call, id: &str, path: &str, request: &HttpRequest) -> Answer {
    permit(call)?;
    if !is_id(id) {
        return Err(missing("Patient").into());
    }
    let asked = asked(call, id, request)?;
    let wanted =
        Wanted { query: asked.query.clone(), patients: vec![id.to_owned()], told_only: true, ..Wanted::default() };
    let Found { records, next } = find(&call.gateway, &wanted).await?;
    if records.is_empty() {
        // A patient of whom nothing is kept any more still has a list; whoever never was here has none.
        let any = AuditQuery { patient: Some(id.to_owned()), limit: 1, ..AuditQuery::default() };
        let is_known = !call.gateway.store.audit_rows(&Filter::ALL, &any).await?.is_empty()
            || call.gateway.store.resource(&Filter::ALL, "Patient", id).await?.is_some();
        if !is_known {
            return Err(missing("Patient").into());
        }
    }
    let directory = &call.gateway.config.directory;
    let lines: Vec<Line> = records.iter().filter_map(|record| line(record, directory)).collect();
    looked(call, Deed::AccessLog, &format!("Patient/{id}"), vec![id.to_owned()], lines.len()).await?;
    let next = match next {
        Some((at, seq)) => {
            let kind = kind(id);
            let mut pairs = asked.repeated;
            pairs.push(("after".into(), format!("{}~{}", cursor::seal(&kind, at)?, cursor::seal(&kind, seq)?)));
            Some(with_query(&format!("{}{path}", call.gateway.config.base_url), &pairs))
        }
        None => None,
    };
    if asked.is_table {
        let table = csv(&lines).ok_or_else(|| Problem::fault("a table could not be written"))?;
        let mut response = HttpResponse::Ok();
        response.content_type("text/csv; charset=utf-8");
        response.insert_header((CONTENT_DISPOSITION, "attachment; filename=\"access-log.csv\""));
        if let Some(next) = next {
            response.insert_header(("Link", format!("<{next}>; rel=\"next\"")));
        }
        return Ok(response.body(table));
    }
    Ok(HttpResponse::Ok().json(json!({
        "patient": format!("Patient/{id}"),
        "entries": lines.iter().map(Line::json).collect::<Vec<Value>>(),
        "next": next,
    })))
}

/// A place fits the list of its own patient only.
fn kind(id: &str) -> Vec<u8> {
    format!("access-log {id}").into_bytes()
}

fn asked(call: &Call, id: &str, request: &HttpRequest) -> Result<Asked, Problem> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let limits = &call.gateway.config.limits;
    let accept = request.headers().get(ACCEPT).and_then(|header| header.to_str().ok());
    let mut asked = Asked {
        query: AuditQuery { limit: limits.page, ..AuditQuery::default() },
        is_table: accept.is_some_and(|accept| accept.starts_with("text/csv")),
        repeated: Vec::new(),
    };
    for (name, value) in pairs.into_inner() {
        let wrong = || Problem::bad_request(told(&name), "Värdet kan inte läsas.", "The value cannot be read.");
        // A + that was not encoded has become a space.
        let span = || moment(&value.replace(' ', "+"));
        match name.as_str() {
            "from" => {
                let (low, _) = span().ok_or_else(wrong)?;
                asked.query.from = Some(DateTime::from_timestamp_millis(low).ok_or_else(wrong)?);
            }
            "to" => {
                let after = span().and_then(|(_, high)| high.checked_add(1)).ok_or_else(wrong)?;
                asked.query.until = Some(DateTime::from_timestamp_millis(after).ok_or_else(wrong)?);
            }
            "limit" => asked.query.limit = value.parse::<u32>().map_err(|_| wrong())?.clamp(1, limits.page_max),
            "format" => match value.as_str() {
                "csv" => asked.is_table = true,
                "json" => asked.is_table = false,
                _ => return Err(wrong()),
            },
            "after" => {
                let kind = kind(id);
                let place = value
                    .split_once('~')
                    .and_then(|(at, seq)| Some((cursor::open(&kind, at)?, cursor::open(&kind, seq)?)));
                asked.query.before = Some(place.ok_or_else(|| cursor::lost("after"))?);
                continue;
            }
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Okänd parameter; kända: from, to, limit, after, format.",
                    "Unknown parameter; known: from, to, limit, after, format.",
                ));
            }
        }
        asked.repeated.push((name, value));
    }
    Ok(asked)
}
