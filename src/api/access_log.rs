//! The patient's list: who saw or got what about one patient, when, by which unit. It is handed out by whoever runs the
//! gateway, as JSON, as a table or as AuditEvents with a sentence each; who asked for it is in the log too.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION, LINK};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::DateTime;
use serde_json::{Value, json};

use super::caller::Call;
use super::fhir::{FHIR_JSON, cursor, looked, observer, permit, with_query};
use super::problem::{Answer, Problem, told};
use crate::domain::audit::{Deed, Record};
use crate::fhir::audit_event::{audit_event, narrative};
use crate::fhir::primitive::is_id;
use crate::fhir::search::moment;
use crate::store::{AuditQuery, Filter};
use crate::sync::access_log::{Line, csv, line};
use crate::sync::log::{Found, Wanted, find};
use crate::sync::refusal::missing;

/// What the list can be asked for, and what its parameters are called: by name on the v1 face, by FHIR's names on the other.
struct Face {
    from: &'static str,
    to: &'static str,
    count: &'static str,
    after: &'static str,
    format: &'static str,
}

const V1: Face = Face { from: "from", to: "to", count: "limit", after: "after", format: "format" };
const FHIR: Face = Face { from: "start", to: "end", count: "_count", after: "_after", format: "_format" };

/// What was asked for.
struct Asked {
    query: AuditQuery,
    is_table: bool,
    /// What a `next` link repeats.
    repeated: Vec<(String, String)>,
}

/// `GET /v1/patients/{id}/access-log?from=&to=&limit=&after=&format=`
pub async fn list(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    let asked = asked(&call, &id, &request, &V1)?;
    let base = format!("{}/v1/patients/{id}/access-log", call.gateway.config.base_url);
    let (records, next) = page(&call, &id, &asked, &base, &V1).await?;
    let directory = &call.gateway.config.directory;
    let lines: Vec<Line> = records.iter().filter_map(|record| line(record, directory)).collect();
    if asked.is_table {
        let table = csv(&lines).ok_or_else(|| Problem::fault("a table could not be written"))?;
        let mut response = HttpResponse::Ok();
        response.content_type("text/csv; charset=utf-8");
        response.insert_header((CONTENT_DISPOSITION, "attachment; filename=\"access-log.csv\""));
        if let Some(next) = next {
            response.insert_header((LINK, format!("<{next}>; rel=\"next\"")));
        }
        return Ok(response.body(table));
    }
    Ok(HttpResponse::Ok().json(json!({
        "patient": format!("Patient/{id}"),
        "entries": lines.iter().map(Line::json).collect::<Vec<Value>>(),
        "next": next,
    })))
}

/// `GET /fhir/Patient/{id}/$access-log?start=&end=&_count=`: the same as AuditEvents, whose narratives are the sentences.
pub async fn operation(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    let asked = asked(&call, &id, &request, &FHIR)?;
    let base = format!("{}/fhir/Patient/{id}/$access-log", call.gateway.config.base_url);
    let (records, next) = page(&call, &id, &asked, &base, &FHIR).await?;
    let (observer, directory) = (observer(&call), &call.gateway.config.directory);
    let entry = |record: &Record| {
        let mut event = audit_event(record, &observer);
        if let Some(line) = line(record, directory) {
            event["text"] = narrative(&line.sentence);
        }
        json!({
            "fullUrl": format!("{}/fhir/AuditEvent/{}", call.gateway.config.base_url, record.seq),
            "resource": event,
            "search": { "mode": "match" },
        })
    };
    let mut links = vec![json!({ "relation": "self", "url": with_query(&base, &asked.repeated) })];
    links.extend(next.map(|next| json!({ "relation": "next", "url": next })));
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "link": links });
    if !records.is_empty() {
        bundle["entry"] = records.iter().map(entry).collect();
    }
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string()))
}

/// A page of the list, and where the next one is.
async fn page(
    call: &Call,
    id: &str,
    asked: &Asked,
    base: &str,
    face: &Face,
) -> Result<(Vec<Record>, Option<String>), Problem> {
    let patients = vec![id.to_owned()];
    let wanted = Wanted { query: asked.query.clone(), patients, told_only: true, ..Wanted::default() };
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
    looked(call, Deed::AccessLog, &format!("Patient/{id}"), wanted.patients, records.len()).await?;
    let Some((at, seq)) = next else { return Ok((records, None)) };
    let kind = kind(id);
    let mut pairs = asked.repeated.clone();
    pairs.push((face.after.into(), format!("{}~{}", cursor::seal(&kind, at)?, cursor::seal(&kind, seq)?)));
    Ok((records, Some(with_query(base, &pairs))))
}

/// A place fits the list of its own patient only.
fn kind(id: &str) -> Vec<u8> {
    format!("access-log {id}").into_bytes()
}

fn asked(call: &Call, id: &str, request: &HttpRequest, face: &Face) -> Result<Asked, Problem> {
    permit(call)?;
    if !is_id(id) {
        return Err(missing("Patient").into());
    }
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
        let query = &mut asked.query;
        match name.as_str() {
            name if name == face.from => {
                let (low, _) = span().ok_or_else(wrong)?;
                query.from = Some(DateTime::from_timestamp_millis(low).ok_or_else(wrong)?);
            }
            name if name == face.to => {
                let after = span().and_then(|(_, high)| high.checked_add(1)).ok_or_else(wrong)?;
                query.until = Some(DateTime::from_timestamp_millis(after).ok_or_else(wrong)?);
            }
            name if name == face.count => {
                query.limit = value.parse::<u32>().map_err(|_| wrong())?.clamp(1, limits.page_max);
            }
            // The format of the FHIR face is settled around the handlers.
            "_format" if face.format == "_format" => continue,
            name if name == face.format => match value.as_str() {
                "csv" => asked.is_table = true,
                "json" => asked.is_table = false,
                _ => return Err(wrong()),
            },
            name if name == face.after => {
                let kind = kind(id);
                let open = |(at, seq)| Some((cursor::open(&kind, at)?, cursor::open(&kind, seq)?));
                query.before = Some(value.split_once('~').and_then(open).ok_or_else(|| cursor::lost(face.after))?);
                continue;
            }
            _ => {
                let known = [face.from, face.to, face.count, face.after, face.format].join(", ");
                return Err(Problem::bad_request(
                    told(&name),
                    format!("Okänd parameter; kända: {known}."),
                    format!("Unknown parameter; known: {known}."),
                ));
            }
        }
        asked.repeated.push((name, value));
    }
    Ok(asked)
}
