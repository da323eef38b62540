//! What is kept and what is gone: holds, and the stubs of what was removed.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::body::Body;
use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::fields::Fields;
use crate::access::Operation;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Hold, Stub};
use crate::sync::hold::{self, Held};
use crate::sync::refusal::missing;
use crate::sync::weigh::instant;

fn shown(hold: &Hold) -> Value {
    json!({
        "id": hold.id.to_string(),
        "patient": hold.patient.as_ref().map(|id| format!("Patient/{id}")),
        "exchange": hold.exchange.map(|id| id.to_string()),
        "reason": hold.reason,
        "placedAt": instant(hold.placed_at),
        "placedBy": hold.placed_by,
        "liftedAt": hold.lifted_at.map(instant),
    })
}

/// `POST /v1/holds { "patient" | "exchange", "reason" }`
pub async fn place(call: Call, body: Body) -> Answer {
    call.may(Operation::Hold)?;
    let mut fields = Fields::read(&body.0, &["patient", "exchange", "reason"], call.now)?;
    let held = match (fields.has("patient"), fields.has("exchange")) {
        (true, false) => fields.person("patient").map(Held::Patient),
        (false, true) => fields.id("exchange").map(Held::Exchange),
        _ => {
            fields.add(Issue::error(
                Code::Required,
                "patient",
                "Ange antingen patient eller exchange.",
                "Give either patient or exchange.",
            ));
            None
        }
    };
    let reason = fields.text("reason");
    let (held, reason) = fields.done(held.zip(reason))?;
    let placed = hold::place(&call.gateway, &call.caller, held, &reason, call.now).await?;
    Ok(HttpResponse::Created().json(shown(&placed)))
}

/// `GET /v1/holds`
pub async fn list(call: Call) -> Answer {
    call.may(Operation::Hold)?;
    let all = hold::list(&call.gateway, &call.caller).await?;
    Ok(HttpResponse::Ok().json(json!({ "holds": all.iter().map(shown).collect::<Vec<_>>() })))
}

/// `POST /v1/holds/{id}/lift`
pub async fn lift(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::Hold)?;
    let id = id.parse().map_err(|_| missing("hold"))?;
    let lifted = hold::lift(&call.gateway, &call.caller, id, call.now).await?;
    Ok(HttpResponse::Ok().json(shown(&lifted)))
}

fn proof(stub: &Stub) -> Value {
    json!({
        "id": stub.id.to_string(),
        "what": stub.what,
        "kind": stub.kind,
        "rule": stub.rule,
        "ruleVersion": stub.rule_version,
        "at": instant(stub.at),
        "by": stub.by,
        "counts": serde_json::from_str::<Value>(&stub.counts).unwrap_or_default(),
    })
}

/// `GET /v1/removals?exchange=&before=&limit=`: for the operator. Whoever has the id of an exchange learns that it was here.
pub async fn removals(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::SeeRemovals)?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let limits = &call.gateway.config.limits;
    // A row of this millisecond is shown too.
    let (mut before, mut limit, mut exchange) = (call.now + chrono::TimeDelta::milliseconds(1), limits.page, None);
    for (name, value) in pairs.into_inner() {
        let wrong = || Problem::bad_request(told(&name), "Värdet kan inte läsas.", "The value cannot be read.");
        match name.as_str() {
            "exchange" => exchange = Some(value.parse().map_err(|_| wrong())?),
            "before" => {
                let at = DateTime::parse_from_rfc3339(&value).map_err(|_| wrong())?;
                before = at.with_timezone(&Utc);
            }
            "limit" => limit = value.parse::<u32>().map_err(|_| wrong())?.clamp(1, limits.page_max),
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Okänd parameter; kända: exchange, before, limit.",
                    "Unknown parameter; known: exchange, before, limit.",
                ));
            }
        }
    }
    let all = match exchange {
        Some(id) => call.gateway.store.stub_of(id).await?.into_iter().collect(),
        None => call.gateway.store.stubs(before, limit).await?,
    };
    Ok(HttpResponse::Ok().json(json!({ "removals": all.iter().map(proof).collect::<Vec<_>>() })))
}
