//! `POST /v1/responsibility`: who is responsible for what, and why. A question about a patient whom nobody need name.

use actix_web::HttpResponse;
use serde_json::Value;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::sync::refusal::Refusal;
use crate::sync::responsibility::{self, Wish};

/// The fields of a question.
const KNOWN: [&str; 5] = ["assessment", "region", "patient", "plan", "about"];

/// `POST /v1/responsibility { "assessment", "region", "patient", "plan", "about" }`
pub async fn ask(call: Call, body: Body) -> Answer {
    call.may(Operation::AskRules)?;
    let wish = wish(&body)?;
    let answer = responsibility::ask(&call.gateway, &call.caller, &wish, call.now).await?;
    Ok(HttpResponse::Ok().json(answer))
}

fn wish(body: &Body) -> Result<Wish, Problem> {
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(Refusal::Malformed)?;
    let Value::Object(fields) = value else {
        return Err(Problem::bad_request("", "Kroppen ska vara ett objekt.", "The body should be an object."));
    };
    let mut issues = Vec::new();
    let mut wrong = |name: &str, sv: &str, en: &str| {
        issues.push(Issue::error(
            Code::Value,
            name,
            format!("Fältet ska vara {sv}."),
            format!("The field should be {en}."),
        ));
    };
    let mut wish = Wish::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("assessment", Value::Object(said)) => wish.assessment = said,
            ("assessment", _) => wrong("assessment", "ett objekt", "an object"),
            ("region", Value::String(region)) => wish.region = Some(region),
            ("region", _) => wrong("region", "en länskod, som \"14\"", "a county code, as \"14\""),
            ("patient", Value::String(id)) => wish.patient = Some(id),
            ("patient", _) => wrong("patient", "vårt id på en Patient", "our id of a Patient"),
            ("plan", Value::String(name)) => wish.care_plan = Some(name),
            ("plan", _) => wrong("plan", "CarePlan/ och planens id", "CarePlan/ and the plan's id"),
            ("about", Value::Array(list)) if list.iter().all(Value::is_string) => {
                wish.about = list.iter().filter_map(|code| code.as_str().map(str::to_owned)).collect();
            }
            ("about", _) => wrong("about", "en lista av områden", "a list of areas and topics"),
            (other, _) => {
                let known = KNOWN.join(", ");
                wrong(told(other), &format!("något av {known}"), &format!("one of {known}"));
            }
        }
    }
    if issues.is_empty() { Ok(wish) } else { Err(Refusal::Findings(issues).into()) }
}
