//! `$timeline`: the way of the exchanges that a resource belongs to, as Parameters.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::problem::{Answer, Problem};
use super::asked::asked;
use super::{FHIR_JSON, known_type};
use crate::access::Operation;
use crate::fhir::issue::{Code, Issue};
use crate::store::Right;
use crate::sync::refusal::{Refusal, missing};
use crate::sync::timeline::{Happened, timeline as happened};
use crate::sync::witness;

/// What an exchange is about: a request, a plan, a handover, or the Task of one of them.
pub const TIMED: [&str; 4] = ["CarePlan", "Composition", "ServiceRequest", "Task"];

/// `GET /fhir/{type}/{id}/$timeline`
pub async fn timeline(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id) = path.into_inner();
    known_type(&resource_type)?;
    if !TIMED.contains(&resource_type.as_str()) {
        return Err(not_timed());
    }
    call.may(Operation::Fhir(Right::Read, &resource_type))?;
    // What happened to a document is for those who take part in it; a registry gets what was done by `$export`.
    call.may(Operation::SeeExchanges)?;
    asked(&request, &[], &call.gateway.config.limits)?;
    let stored = call.gateway.store.resource(&call.caller.filter(), &resource_type, &id).await?;
    stored.ok_or_else(|| missing(&resource_type))?;
    let mut exchanges = Vec::new();
    for exchange in call.gateway.store.exchange_of_resource(&resource_type, &id).await? {
        match happened(&call.gateway, &call.caller, exchange, call.now).await {
            Ok(events) => {
                let mut parts = vec![json!({ "name": "id", "valueString": exchange.to_string() })];
                parts.extend(events.iter().map(event));
                exchanges.push(json!({ "name": "exchange", "part": parts }));
            }
            // It may belong to one that the caller takes no part in.
            Err(Refusal::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if exchanges.is_empty() {
        return Err(missing(&resource_type).into());
    }
    let object = format!("{resource_type}/{id}/$timeline");
    witness::record(&call.gateway, &call.caller, "read", &object, &Value::Null, call.now).await?;
    let parameters = json!({ "resourceType": "Parameters", "parameter": exchanges });
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(parameters.to_string()))
}

fn event(happened: &Happened) -> Value {
    let Value::Object(line) = happened.json() else { return Value::Null };
    let part = |(name, value): (String, Value)| {
        let kind = match (name.as_str(), &value) {
            ("at", _) => "valueInstant",
            ("what", _) => "valueCode",
            (_, Value::Number(_)) => "valueInteger",
            (_, Value::Bool(_)) => "valueBoolean",
            _ => "valueString",
        };
        json!({ "name": name, kind: value })
    };
    json!({ "name": "event", "part": line.into_iter().map(part).collect::<Vec<_>>() })
}

fn not_timed() -> Problem {
    Problem::new(
        actix_web::http::StatusCode::NOT_FOUND,
        Issue::error(
            Code::NotSupported,
            "$timeline",
            format!("Operationen finns för {}; se /fhir/metadata.", TIMED.join(", ")),
            format!("The operation exists for {}; see /fhir/metadata.", TIMED.join(", ")),
        ),
    )
}
