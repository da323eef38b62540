//! `$diff`: what changed between two versions of a plan, as Parameters; and the same of an exchange at `/v1`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::exchanges::exchange_id;
use super::super::problem::{Answer, Problem, told};
use super::{FHIR_JSON, known_type, query};
use crate::access::Operation;
use crate::fhir::difference::counts;
use crate::fhir::issue::{Code, Issue};
use crate::store::Right;
use crate::sync::difference::{Between, By, line, of_exchange, of_plan};

/// What is compared.
pub const COMPARED: &str = "CarePlan";

/// `GET /fhir/CarePlan/{id}/$diff?from=1&to=2`
pub async fn diff(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (resource_type, id) = path.into_inner();
    known_type(&resource_type)?;
    if resource_type != COMPARED {
        return Err(not_compared());
    }
    call.may(Operation::Fhir(Right::Read, &resource_type))?;
    // What happened to a document is for those who take part in it; a registry gets what was done by `$export`.
    call.may(Operation::SeeExchanges)?;
    let between = between(&request, true)?;
    let object = format!("{resource_type}/{id}/$diff");
    let told = of_plan(&call.gateway, &call.caller, &id, between, By::Version, (&object, call.now)).await?;
    let mut parameters =
        vec![json!({ "name": "from", "valueInteger": told.from }), json!({ "name": "to", "valueInteger": told.to })];
    let lines = told.changes.iter().map(|change| Value::Object(line(&call.gateway, change)));
    parameters.extend(lines.map(|line| parameter(&line)));
    let parameters = json!({ "resourceType": "Parameters", "parameter": parameters });
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(parameters.to_string()))
}

/// `GET /v1/exchanges/{id}/diff?from=1&to=2`
pub async fn diff_of_exchange(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::SeeExchanges)?;
    let id = exchange_id(&id)?;
    let between = between(&request, false)?;
    let told = of_exchange(&call.gateway, &call.caller, id, between, call.now).await?;
    let lines: Vec<_> = told.changes.iter().map(|change| line(&call.gateway, change)).collect();
    Ok(HttpResponse::Ok().json(json!({
        "exchange": id.to_string(),
        "from": told.from,
        "to": told.to,
        "counts": counts(&told.changes),
        "changes": lines,
    })))
}

fn parameter(line: &Value) -> Value {
    let text = |name: &str| {
        let value = line[name].as_str().filter(|value| !value.is_empty())?;
        let kind = if matches!(name, "what" | "of" | "area") { "valueCode" } else { "valueString" };
        Some(json!({ "name": name, kind: value }))
    };
    let mut parts: Vec<Value> = ["what", "of", "key", "area", "sv", "en"].into_iter().filter_map(text).collect();
    for field in line["fields"].as_array().into_iter().flatten() {
        let mut of = vec![json!({ "name": "name", "valueCode": field["name"] })];
        for side in ["from", "to"] {
            let values = field[side].as_array().into_iter().flatten();
            of.extend(values.map(|value| json!({ "name": side, "valueString": value })));
        }
        parts.push(json!({ "name": "field", "part": of }));
    }
    json!({ "name": "change", "part": parts })
}

fn between(request: &HttpRequest, is_fhir: bool) -> Result<Between, Problem> {
    let mut between = Between::default();
    for (name, value) in query::pairs(request.query_string())? {
        let number = || {
            let number = value.parse::<u32>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| {
                Problem::bad_request(
                    told(&name),
                    "Ange versionens nummer: 1, 2, …",
                    "Give the version's number: 1, 2, …",
                )
            })
        };
        match name.as_str() {
            "from" => between.from = Some(number()?),
            "to" => between.to = Some(number()?),
            "_format" if is_fhir => {}
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Okänd parameter; kända: from, to.",
                    "Unknown parameter; known: from, to.",
                ));
            }
        }
    }
    Ok(between)
}

fn not_compared() -> Problem {
    Problem::new(
        actix_web::http::StatusCode::NOT_FOUND,
        Issue::error(
            Code::NotSupported,
            "$diff",
            "Operationen finns för CarePlan; se /fhir/metadata.",
            "The operation exists for CarePlan; see /fhir/metadata.",
        ),
    )
}
