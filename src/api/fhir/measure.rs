//! `Measure/{id}/$evaluate-measure`: statistics as FHIR has them, a MeasureReport of a period for everybody together.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::problem::{Answer, Problem, told};
use super::super::statistics::{day, in_order};
use super::asked::parameters;
use super::media::Sent;
use super::{FHIR_JSON, query};
use crate::access::Operation;
use crate::fhir::guard::{Limits, Strictness};
use crate::registry::report;
use crate::sync::refusal::{Refusal, missing};
use crate::sync::witness;

/// The definition of the operation.
pub const DEFINITION: &str = "http://hl7.org/fhir/OperationDefinition/Measure-evaluate-measure";

/// `GET /fhir/Measure/{id}/$evaluate-measure?periodStart=&periodEnd=&reportType=`
pub async fn evaluate(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    let asked = query::pairs(request.query_string())?;
    let asked = asked.iter().filter(|(name, _)| name != "_format").map(|(name, value)| (name.as_str(), value.as_str()));
    evaluated(&call, &id, period(asked)?).await
}

/// `POST /fhir/Measure/{id}/$evaluate-measure` with `Parameters`.
pub async fn evaluate_post(call: Call, id: web::Path<String>, body: Sent) -> Answer {
    let limits = &call.gateway.config.limits;
    let limits = Limits { bytes: limits.body_bytes, depth: limits.depth, strictness: Strictness::Resource };
    let body = body.read(&limits).map_err(Refusal::Malformed)?;
    if body["resourceType"] != "Parameters" {
        return Err(Problem::bad_request(
            "resourceType",
            "Kroppen ska vara Parameters.",
            "The body should be Parameters.",
        ));
    }
    let asked = parameters(&body)?;
    let asked = asked.iter().map(|parameter| (parameter.name.as_str(), parameter.text.as_str()));
    evaluated(&call, &id, period(asked)?).await
}

async fn evaluated(call: &Call, id: &str, period: (NaiveDate, NaiveDate)) -> Answer {
    call.may(Operation::CountActs)?;
    let gateway = &call.gateway;
    let report = report::evaluate(gateway, &call.caller.of_statistics(), id, period, call.now).await?;
    let report: Value = report.ok_or_else(|| missing("Measure"))?;
    let question = json!({ "from": period.0.to_string(), "to": period.1.to_string() });
    let object = format!("Measure/{id}/$evaluate-measure");
    witness::record(gateway, &call.caller, "statistics", &object, &question, call.now).await?;
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(report.to_string()))
}

fn period<'a>(asked: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(NaiveDate, NaiveDate), Problem> {
    let (mut first, mut last) = (None, None);
    for (name, value) in asked {
        let wrong = |sv: &str, en: &str| {
            Problem::bad_request(name, format!("Värdet ska vara {sv}."), format!("The value should be {en}."))
        };
        let days = || day(value).ok_or_else(|| wrong("en dag, månad eller ett år", "a day, a month or a year"));
        match name {
            "periodStart" => first = Some(days()?.0),
            "periodEnd" => last = Some(days()?.1),
            // What R4 calls a summary in the answer it calls a population in the question.
            "reportType" if matches!(value, "summary" | "population") => {}
            "reportType" => {
                return Err(wrong(
                    "summary: rapporter om enskilda ges inte",
                    "summary: reports of single persons are not given",
                ));
            }
            _ => {
                return Err(Problem::bad_request(
                    told(name),
                    "Okänd parameter; kända: periodStart, periodEnd, reportType.",
                    "Unknown parameter; known: periodStart, periodEnd, reportType.",
                ));
            }
        }
    }
    match (first, last) {
        (Some(first), Some(last)) => in_order(first, last),
        _ => Err(Problem::bad_request(
            if first.is_none() { "periodStart" } else { "periodEnd" },
            "Ange periodStart och periodEnd.",
            "Give periodStart and periodEnd.",
        )),
    }
}
