//! `Prefer: return=…`: what a write answers with.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse};

use super::super::problem::Problem;
use super::show;
use crate::fhir::issue::{Issue, outcome};
use crate::store::Stored;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What the caller wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    Representation,
    Minimal,
    Outcome,
}

/// Everything that the caller prefers, each wish as it was written.
pub fn preferences(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(PREFER).filter_map(|h| h.to_str().ok());
    lines.flat_map(|line| line.split([',', ';'])).map(str::trim)
}

/// Read before anything is written, so that a wish that cannot be met changes nothing.
pub fn wish(request: &HttpRequest) -> Result<Return, Problem> {
    let mut wish = Return::Representation;
    for part in preferences(request) {
        // Names and values are the same in any letters (RFC 7240).
        let wanted = part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("return"));
        let Some((_, value)) = wanted else { continue };
        wish = match value.trim().trim_matches('"').to_ascii_lowercase().as_str() {
            "representation" => Return::Representation,
            "minimal" => Return::Minimal,
            "operationoutcome" => Return::Outcome,
            _ => {
                return Err(Problem::bad_request(
                    "Prefer",
                    "return är minimal, representation eller OperationOutcome.",
                    "return is minimal, representation or OperationOutcome.",
                ));
            }
        };
    }
    Ok(wish)
}

/// The answer to a write; the headers are the same whatever the body is. `found` is what was found and did not refuse it.
pub fn answer(
    status: StatusCode,
    stored: &Stored,
    wish: Return,
    found: &[Issue],
    location: Option<String>,
) -> HttpResponse {
    let mut response = show(status, stored);
    if let Some(Ok(place)) = location.map(|l| l.parse()) {
        response.headers_mut().insert(LOCATION, place);
    }
    match wish {
        Return::Representation => response,
        Return::Minimal => {
            response.headers_mut().remove(actix_web::http::header::CONTENT_TYPE);
            response.set_body("").map_into_boxed_body()
        }
        Return::Outcome => {
            let mut told = found.to_vec();
            told.push(Issue::information("", "Gjort.", "Done."));
            response.set_body(outcome(&told).to_string()).map_into_boxed_body()
        }
    }
}
