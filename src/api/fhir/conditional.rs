//! Conditions of a request: has it changed since it was read, and which resource is meant.

use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HttpDate, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use serde_json::Value;

use super::super::caller::Call;
use super::super::problem::{Problem, told};
use super::query;
use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Right, Stored};

/// Whether the caller has this version already. If-None-Match is asked first, If-Modified-Since only without it (RFC 9110).
pub async fn is_known(call: &Call, request: &HttpRequest, stored: &Stored) -> Result<bool, Problem> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|h| h.to_str().ok());
    if let Some(tags) = text(IF_NONE_MATCH) {
        let own = format!("\"{}\"", stored.version);
        return Ok(tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == own));
    }
    let Some(since) = text(IF_MODIFIED_SINCE).and_then(|t| t.parse::<HttpDate>().ok()) else { return Ok(false) };
    let since = second(since.into());
    let written = second(stored.updated_at.into());
    if written != since || stored.version == 1 {
        return Ok(written < since || (written == since && stored.version == 1));
    }
    // The header has whole seconds: of two versions in one second the caller may have the first.
    let Stored { resource_type, id, version, .. } = stored;
    let before = call.gateway.store.version(&call.caller.filter(), resource_type, id, version - 1).await?;
    Ok(before.is_none_or(|before| second(before.updated_at.into()) < since))
}

fn second(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The one resource that `?identifier=system|value` means.
pub async fn meant(call: &Call, request: &HttpRequest, resource_type: &str) -> Result<Stored, Problem> {
    let wrong = || {
        Problem::bad_request(
            "identifier",
            "Ange vilken som menas: ?identifier=system|värde, och inget mer.",
            "Say which one is meant: ?identifier=system|value, and nothing else.",
        )
    };
    let pairs = query::pairs(request.query_string())?;
    let mut wanted = None;
    for (name, value) in &pairs {
        match name.as_str() {
            "_format" => {}
            "identifier" if wanted.is_none() => wanted = Some(value.split_once('|').ok_or_else(wrong)?),
            "identifier" => return Err(wrong()),
            _ => {
                return Err(Problem::bad_request(
                    told(name),
                    "Här väljs bara med identifier=system|värde.",
                    "Only identifier=system|value chooses here.",
                ));
            }
        }
    }
    let (system, value) = wanted.filter(|(s, v)| !s.is_empty() && !v.is_empty()).ok_or_else(wrong)?;
    let filter = call.caller.filter_to(Right::Update);
    let mut found = call.gateway.store.by_identifier(&filter, resource_type, system, value).await?;
    if system == RESOURCE_ID {
        // Our own identifier is the id, under which partners have our resources.
        let own = call.gateway.store.resource(&filter, resource_type, value).await?;
        found.extend(own.filter(|own| !found.iter().any(|f| f.id == own.id)));
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            Issue::error(
                Code::Conflict,
                "identifier",
                "Flera resurser har identifieraren; använd id:t i adressen.",
                "Several resources have the identifier; use the id in the address.",
            ),
        )),
        (None, _) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            Issue::error(
                Code::NotFound,
                "identifier",
                "Ingen resurs har identifieraren, och PUT skapar ingen (updateCreate är false).",
                "No resource has the identifier, and PUT creates none (updateCreate is false).",
            ),
        )),
    }
}

/// The version that a body says it was read at.
pub fn version_in(body: &Value) -> Option<u32> {
    body["meta"]["versionId"].as_str()?.parse().ok()
}
