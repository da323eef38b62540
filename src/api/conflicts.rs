//! What holds where two sides differ: a person at the unit that sent the document decides.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde_json::Value;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem};
use crate::access::Operation;
use crate::domain::HsaId;
use crate::fhir::guard;
use crate::sync::counterpart::settle::{Choice, Decision, settle as decide};
use crate::sync::refusal;

/// `POST /v1/conflicts/{id}/settle { "by": "…", "elements": { "title": "ours" } }`
pub async fn settle(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::Settle)?;
    let decision = read(&body)?;
    let settled = decide(&call.gateway, &call.caller, &id, &decision, call.now).await?;
    Ok(HttpResponse::Ok().json(settled))
}

fn read(body: &Body) -> Result<Decision, Problem> {
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let by = value["by"].as_str().map(str::trim).filter(|by| HsaId::parse(by).is_ok());
    let Some(by) = by else {
        return Err(Problem::bad_request(
            "by",
            "Ange HSA-id för den medarbetare som avgör.",
            "Give the HSA-id of the member of staff who decides.",
        ));
    };
    let chosen = |(path, choice): (&String, &Value)| Some((path.clone(), Choice::parse(choice.as_str()?)?));
    let elements = value["elements"].as_object();
    let elements = elements.and_then(|e| e.iter().map(chosen).collect::<Option<BTreeMap<_, _>>>());
    let Some(elements) = elements else {
        return Err(Problem::bad_request(
            "elements",
            "Ange för varje element vad som gäller: { \"elements\": { \"title\": \"ours\" } }, ours eller theirs.",
            "Say of each element what holds: { \"elements\": { \"title\": \"ours\" } }, ours or theirs.",
        ));
    };
    Ok(Decision { elements, by: by.to_ascii_uppercase() })
}
