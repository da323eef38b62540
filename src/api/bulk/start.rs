//! `$export` of everything, of patients, of a group: by GET with parameters in the address, by POST with `Parameters`.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::super::caller::Call;
use super::super::fhir::{Sent, is_lenient, pairs, parameters, preferences};
use super::super::problem::{Answer, Problem};
use super::ask::{Given, Reading};
use crate::fhir::guard::{Limits, Strictness};
use crate::fhir::issue::{Code, Issue, outcome};
use crate::registry::begin::begin;
use crate::store::ExportLevel;
use crate::sync::Refusal;

/// `GET /fhir/$export`
pub async fn of_system(call: Call, request: HttpRequest) -> Answer {
    by_address(&call, &request, ExportLevel::System, None).await
}

/// `POST /fhir/$export`
pub async fn of_system_post(call: Call, request: HttpRequest, body: Sent) -> Answer {
    by_parameters(&call, &request, &body, ExportLevel::System, None).await
}

/// `GET /fhir/Patient/$export`
pub async fn of_patients(call: Call, request: HttpRequest) -> Answer {
    by_address(&call, &request, ExportLevel::Patient, None).await
}

/// `POST /fhir/Patient/$export`
pub async fn of_patients_post(call: Call, request: HttpRequest, body: Sent) -> Answer {
    by_parameters(&call, &request, &body, ExportLevel::Patient, None).await
}

/// `GET /fhir/Group/{id}/$export`
pub async fn of_group(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    by_address(&call, &request, ExportLevel::Group, Some(id.into_inner())).await
}

/// `POST /fhir/Group/{id}/$export`
pub async fn of_group_post(call: Call, id: web::Path<String>, request: HttpRequest, body: Sent) -> Answer {
    by_parameters(&call, &request, &body, ExportLevel::Group, Some(id.into_inner())).await
}

async fn by_address(call: &Call, request: &HttpRequest, level: ExportLevel, cohort: Option<String>) -> Answer {
    let given = pairs(request.query_string())?.into_iter().map(|(name, value)| Given { name, value, in_url: true });
    start(call, request, given.collect(), level, cohort).await
}

async fn by_parameters(
    call: &Call,
    request: &HttpRequest,
    body: &Sent,
    level: ExportLevel,
    cohort: Option<String>,
) -> Answer {
    let in_address = pairs(request.query_string())?;
    if let Some((name, _)) = in_address.iter().find(|(name, _)| name != "_format") {
        return Err(Problem::bad_request(
            super::super::problem::told(name),
            "Med POST står parametrarna i kroppen (Parameters), inte i adressen.",
            "With POST the parameters stand in the body (Parameters), not in the address.",
        ));
    }
    let limits = &call.gateway.config.limits;
    let value = if body.is_empty() {
        Value::Null
    } else {
        let limits = Limits { bytes: limits.body_bytes, depth: limits.depth, strictness: Strictness::Resource };
        body.read(&limits).map_err(Refusal::Malformed)?
    };
    if !value.is_null() && value["resourceType"] != "Parameters" {
        return Err(Problem::bad_request(
            "resourceType",
            "Kroppen ska vara Parameters.",
            "The body should be Parameters.",
        ));
    }
    let given = parameters(&value)?.into_iter().map(|p| Given { name: p.name, value: p.text, in_url: false });
    start(call, request, given.collect(), level, cohort).await
}

async fn start(
    call: &Call,
    request: &HttpRequest,
    given: Vec<Given>,
    level: ExportLevel,
    cohort: Option<String>,
) -> Answer {
    let is_async = preferences(request).any(|wish| wish.eq_ignore_ascii_case("respond-async"));
    if !is_async {
        return Err(Problem::bad_request(
            "Prefer",
            "En export tar tid: begär den med Prefer: respond-async, och följ Content-Location i svaret.",
            "An export takes time: ask for it with Prefer: respond-async, and follow the answer's Content-Location.",
        ));
    }
    let base = &call.gateway.config.base_url;
    let in_url = given.iter().any(|g| g.in_url);
    let path = if in_url { request.uri().path_and_query().map_or("", |p| p.as_str()) } else { request.path() };
    let (gateway, caller, now) = (&call.gateway, &call.caller, call.now);
    let reading = Reading { gateway, caller, now, is_lenient: is_lenient(request), level };
    let wish = reading.read(given, cohort, format!("{base}{path}"))?;
    let begun = begin(&call.gateway, &call.caller, wish, call.now).await?;
    let id = begun.ok_or_else(|| no_room(call))?;
    let said = Issue::information(
        "",
        "Exporten är mottagen; fråga efter den på Content-Location.",
        "The export is accepted; ask after it at Content-Location.",
    );
    Ok(HttpResponse::build(StatusCode::ACCEPTED)
        .insert_header((CONTENT_LOCATION, format!("{base}/bulk/jobs/{id}")))
        .content_type("application/fhir+json")
        .body(outcome(&[said]).to_string()))
}

fn no_room(call: &Call) -> Problem {
    let bounds = &call.gateway.config.export;
    let (open, kept) = (bounds.open_per_client, bounds.kept_per_client);
    Problem::all(
        StatusCode::TOO_MANY_REQUESTS,
        [Issue::error(
            Code::Throttled,
            "",
            format!(
                "Högst {open} exporter åt gången (export.open_per_client) och {kept} med sina filer kvar \
                 (export.kept_per_client); vänta, eller ta bort en med DELETE."
            ),
            format!(
                "At most {open} exports at a time (export.open_per_client) and {kept} with their files kept \
                 (export.kept_per_client); wait, or delete one with DELETE."
            ),
        )],
    )
    .after(u32::try_from(bounds.poll.as_secs()).unwrap_or(u32::MAX))
}
