//! The audit log as AuditEvents, for those who may look: read, search, and page after page. Looking is itself in the log.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::DateTime;
use serde_json::{Value, json};

use super::super::body::Body;
use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::asked::asked;
use super::read::link;
use super::{FHIR_JSON, cursor, query};
use crate::access::Operation;
use crate::domain::audit::{Deed, Event, Outcome, Record};
use crate::fhir::audit_event::{Observer, audit_event};
use crate::fhir::primitive::is_id;
use crate::fhir::search::moment;
use crate::store::Filter;
use crate::sync::log::{Found, Wanted, find};
use crate::sync::refusal::missing;
use crate::sync::witness;

/// What AuditEvents are searched by: name, type, and what it takes.
pub const PARAMS: [(&str, &str, &str); 8] = [
    ("date", "date", "When it was recorded. Prefixes: eq, gt, ge, lt, le, sa, eb."),
    ("patient", "reference", "Patient/id, or the id alone: ours, never a national identifier."),
    (
        "agent",
        "reference",
        "HSA-id or name of somebody who did it or had a part in it; :identifier takes system|value.",
    ),
    ("entity", "reference", "Type/id of what was shown or changed."),
    ("action", "token", "C, R, U, D, E."),
    ("outcome", "token", "0, 4, 8, 12."),
    ("type", "token", "rest, 110100, 110106, 110114; with or without their system."),
    ("subtype", "token", "A code of restful-interaction or audit-deed; with or without its system."),
];

const KIND: &[u8] = b"AuditEvent";

/// Only whoever runs the gateway reads the log, with a scope that says so.
pub fn permit(call: &Call) -> Result<(), Problem> {
    call.may(Operation::SeeLog)
}

/// `GET /fhir/AuditEvent/{id}`
pub async fn read_audit(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    permit(&call)?;
    asked(&request, &[], &call.gateway.config.limits)?;
    // Of one writing only: an address is one thing.
    let seq = id.parse::<i64>().ok().filter(|seq| *seq > 0 && seq.to_string() == *id);
    let found = match seq {
        Some(seq) => call.gateway.store.audit_row(&Filter::ALL, seq).await?,
        None => None,
    };
    let record = found.ok_or_else(|| missing("AuditEvent"))?;
    looked(&call, Deed::Read, &format!("AuditEvent/{}", record.seq), record.patients.clone(), 1).await?;
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(audit_event(&record, &observer(&call)).to_string()))
}

/// `GET /fhir/AuditEvent?…`
pub async fn search_audit(call: Call, request: HttpRequest) -> Answer {
    let pairs = query::pairs(request.query_string())?;
    search(&call, pairs).await
}

/// `POST /fhir/AuditEvent/_search`
pub async fn search_audit_post(call: Call, request: HttpRequest, body: Body) -> Answer {
    let form = std::str::from_utf8(&body.0)
        .map_err(|_| Problem::bad_request("", "Formuläret är inte UTF-8.", "The form is not UTF-8."))?;
    let mut pairs = query::pairs(request.query_string())?;
    pairs.extend(query::pairs(form)?);
    search(&call, pairs).await
}

async fn search(call: &Call, pairs: Vec<(String, String)>) -> Answer {
    permit(call)?;
    let (wanted, applied) = wanted(call, pairs)?;
    let Found { records, next } = find(&call.gateway, &wanted).await?;
    let names: Vec<&str> = applied.iter().map(|(name, _)| name.as_str()).collect();
    let object = format!("AuditEvent?{}", names.join("&"));
    looked(call, Deed::Search, &object, wanted.patients.clone(), records.len()).await?;
    let base = format!("{}/fhir/AuditEvent", call.gateway.config.base_url);
    let mut links = vec![link("self", &with_query(&base, &applied))];
    if let Some((at, seq)) = next {
        let mut onwards: Vec<(String, String)> = applied.into_iter().filter(|(name, _)| name != "_page").collect();
        onwards.push(("_page".into(), format!("{}~{}", cursor::seal(KIND, at)?, cursor::seal(KIND, seq)?)));
        links.push(link("next", &with_query(&base, &onwards)));
    }
    let observer = observer(call);
    let entry = |record: &Record| {
        json!({
            "fullUrl": format!("{base}/{}", record.seq),
            "resource": audit_event(record, &observer),
            "search": { "mode": "match" },
        })
    };
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "link": links });
    if !records.is_empty() {
        bundle["entry"] = records.iter().map(entry).collect();
    }
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(bundle.to_string()))
}

/// Who keeps the log.
pub fn observer(call: &Call) -> Observer<'_> {
    let config = &call.gateway.config;
    Observer { hsa_id: &config.hsa_id, name: &config.name, directory: &config.directory }
}

/// That the log was looked at is in the log.
pub async fn looked(call: &Call, deed: Deed, object: &str, patients: Vec<String>, rows: usize) -> Result<(), Problem> {
    let by = witness::by(&call.gateway.config.directory, &call.caller);
    let event = Event::new(call.now, by, deed, object).about(patients).with("rows", rows);
    Ok(witness::tell(&call.gateway, event).await?)
}

pub fn with_query(base: &str, pairs: &[(String, String)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
}

/// Reads a search whole: every parameter is served or refused.
fn wanted(call: &Call, pairs: Vec<(String, String)>) -> Result<(Wanted, Vec<(String, String)>), Problem> {
    let limits = &call.gateway.config.limits;
    let mut wanted = Wanted::default();
    wanted.query.limit = limits.page.min(limits.page_max);
    let mut applied = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            "_format" => continue,
            "_count" => {
                let count: u32 = value.parse().map_err(|_| wrong(&name, "ett heltal", "a whole number"))?;
                wanted.query.limit = count.clamp(1, limits.page_max);
            }
            "_page" => {
                let place = value
                    .split_once('~')
                    .and_then(|(at, seq)| Some((cursor::open(KIND, at)?, cursor::open(KIND, seq)?)));
                wanted.query.before = Some(place.ok_or_else(|| cursor::lost("_page"))?);
            }
            "date" => date(&mut wanted, &value).ok_or_else(|| {
                wrong(&name, "ett datum, som ge2026-01-31", "a date with one of eq, gt, ge, lt, le, sa, eb")
            })?,
            "patient" => {
                let id = value.strip_prefix("Patient/").unwrap_or(&value);
                let id = Some(id).filter(|id| is_id(id)).ok_or_else(|| wrong(&name, "Patient/id", "Patient/id"))?;
                wanted.patients.push(id.to_owned());
            }
            "agent" => wanted.agents.push(value.clone()),
            "agent:identifier" => {
                let who = value.split_once('|').map_or(value.as_str(), |(_, who)| who);
                wanted.agents.push(who.to_owned());
            }
            "entity" => {
                let names: Vec<String> = value.split(',').map(str::to_owned).collect();
                let is_name =
                    |name: &String| name.split_once('/').is_some_and(|(kind, id)| !kind.is_empty() && is_id(id));
                if !names.iter().all(is_name) {
                    return Err(wrong(&name, "Typ/id", "Type/id"));
                }
                wanted.entities.push(names);
            }
            "action" => {
                let letters: Vec<String> = value.split(',').map(|one| code_of(one).1).collect();
                if !letters.iter().all(|letter| matches!(letter.as_str(), "C" | "R" | "U" | "D" | "E")) {
                    return Err(wrong(&name, "C, R, U, D eller E", "C, R, U, D or E"));
                }
                wanted.actions.push(letters);
            }
            "outcome" => {
                let read = |one: &str| code_of(one).1.parse().ok().and_then(Outcome::of);
                let list: Option<Vec<Outcome>> = value.split(',').map(read).collect();
                wanted.outcomes.push(list.ok_or_else(|| wrong(&name, "0, 4, 8 eller 12", "0, 4, 8 or 12"))?);
            }
            "type" => wanted.types.push(value.split(',').map(code_of).collect()),
            "subtype" => wanted.subtypes.push(value.split(',').map(code_of).collect()),
            _ => {
                let known = PARAMS.map(|(name, ..)| name).join(", ");
                return Err(Problem::bad_request(
                    told(&name),
                    format!("Sökparametern finns inte för AuditEvent; kända: {known}, _count."),
                    format!("AuditEvent has no such search parameter; known: {known}, _count."),
                ));
            }
        }
        applied.push((name, value));
    }
    Ok((wanted, applied))
}

/// `system|code`, or the code alone.
fn code_of(text: &str) -> (Option<String>, String) {
    match text.split_once('|') {
        Some((system, code)) => (Some(system.to_owned()), code.to_owned()),
        None => (None, text.to_owned()),
    }
}

/// Narrows the span of time.
fn date(wanted: &mut Wanted, text: &str) -> Option<()> {
    let (prefix, rest) = match text.split_at_checked(2) {
        Some((prefix @ ("eq" | "gt" | "ge" | "lt" | "le" | "sa" | "eb"), rest)) => (prefix, rest),
        _ => ("eq", text),
    };
    // A + that was not encoded has become a space.
    let (low, high) = moment(&rest.replace(' ', "+"))?;
    let (low, after) = (DateTime::from_timestamp_millis(low)?, DateTime::from_timestamp_millis(high.checked_add(1)?)?);
    let query = &mut wanted.query;
    let (from, until) = match prefix {
        "gt" | "sa" => (Some(after), None),
        "ge" => (Some(low), None),
        "lt" | "eb" => (None, Some(low)),
        "le" => (None, Some(after)),
        _ => (Some(low), Some(after)),
    };
    query.from = [query.from, from].into_iter().flatten().max();
    query.until = [query.until, until].into_iter().flatten().min();
    Some(())
}

fn wrong(name: &str, sv: &str, en: &str) -> Problem {
    Problem::bad_request(name, format!("Värdet ska vara {sv}."), format!("The value should be {en}."))
}

/// What the CapabilityStatement says of it.
pub fn capability() -> Value {
    let standard = |name: &str| format!("http://hl7.org/fhir/SearchParameter/AuditEvent-{name}");
    let params = PARAMS.iter().map(
        |(name, kind, text)| json!({ "name": name, "definition": standard(name), "type": kind, "documentation": text }),
    );
    json!({
        "type": "AuditEvent",
        "profile": format!("{}/StructureDefinition/access-event", crate::fhir::canonical::BASE),
        "documentation": "The audit log, for purpose operations with scope system/AuditEvent.rs only; newest first. Looking is \
            itself recorded. A page may have fewer entries than were asked for, or none, and a next link all the same.",
        "interaction": [{ "code": "read" }, { "code": "search-type" }],
        "versioning": "no-version",
        "readHistory": false,
        "updateCreate": false,
        "conditionalCreate": false,
        "conditionalUpdate": false,
        "searchParam": params.collect::<Vec<_>>(),
    })
}
