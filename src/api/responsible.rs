//! Who has the patient now? Asked by the number in a body, or by our id; of this moment or of one that was.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::PersonId;
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::primitive::is_id;
use crate::fhir::search::moment;
use crate::sync::responsible::{Question, answer, areas, of_patient as of_one};
use crate::sync::{refusal, witness};

/// `POST /v1/responsibility/search { "patient", "area", "at" }`
pub async fn search(call: Call, body: Body) -> Answer {
    call.may(Operation::SeeResponsibility)?;
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let Value::Object(fields) = value else {
        return Err(Problem::bad_request("", "Frågan ska vara ett objekt.", "The question should be an object."));
    };
    let mut asked = Asked::now(&call);
    let mut person = None;
    for (name, value) in fields {
        match value.as_str() {
            Some(number) if name == "patient" => match PersonId::parse(number) {
                Ok(found) => person = Some(found),
                Err(error) => asked.wrong("patient", &error.sv(), &error.to_string()),
            },
            Some(text) => asked.take(&call, &name, text, "patient, area, at"),
            None => asked.wrong(told(&name), "ska vara en text", "should be a text"),
        }
    }
    if person.is_none() && asked.issues.is_empty() {
        asked.wrong("patient", "ange person-, samordnings- eller reservnummer", "give the patient's number");
    }
    let (area, at) = asked.end()?;
    let id = match &person {
        Some(person) => call.gateway.store.patient_id(person.system(), person.value()).await?,
        None => None,
    };
    let question = Question { patient: id.as_deref(), area: area.as_deref(), at };
    let answered = answer(&call.gateway, &call.caller, &question, call.now).await?;
    witness::shown(&call.gateway, &call.caller, "search", "EpisodeOfCare?patient", &answered.shown, call.now).await?;
    Ok(HttpResponse::Ok().json(answered.body))
}

/// `GET /v1/patients/{id}/responsibility?area=&at=`
pub async fn of_patient(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::SeeResponsibility)?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let mut asked = Asked::now(&call);
    for (name, text) in pairs.into_inner() {
        // A + that was not encoded has become a space.
        asked.take(&call, &name, &text.replace(' ', "+"), "area, at");
    }
    let (area, at) = asked.end()?;
    if !is_id(&id) {
        return Err(refusal::missing("Patient").into());
    }
    let question = Question { patient: Some(id.as_str()), area: area.as_deref(), at };
    let answered = of_one(&call.gateway, &call.caller, &question, call.now).await?;
    let object = format!("Patient/{id}/responsibility");
    witness::shown(&call.gateway, &call.caller, "read", &object, &answered.shown, call.now).await?;
    Ok(HttpResponse::Ok().json(answered.body))
}

/// What is asked beside whom it is about, and what is wrong with it.
struct Asked {
    area: Option<String>,
    at: DateTime<Utc>,
    issues: Vec<Issue>,
}

impl Asked {
    fn now(call: &Call) -> Self {
        Self { area: None, at: call.now, issues: Vec::new() }
    }

    fn wrong(&mut self, at: &str, sv: &str, en: &str) {
        self.issues.push(Issue::error(Code::Value, at, format!("{at}: {sv}."), format!("{at}: {en}.")));
    }

    fn take(&mut self, call: &Call, name: &str, text: &str, known: &str) {
        match name {
            "area" => {
                let codes = areas(&call.gateway);
                if codes.iter().any(|code| code == text) {
                    self.area = Some(text.to_owned());
                } else {
                    let list = codes.join(", ");
                    self.wrong("area", &format!("kända: {list}"), &format!("known: {list}"));
                }
            }
            // Of a whole day its end: who had it when the day was over.
            "at" => match moment(text).and_then(|(_, last)| DateTime::from_timestamp_millis(last)) {
                Some(at) => self.at = at,
                None => self.wrong("at", "en dag eller tidpunkt", "a day or a time"),
            },
            _ => self.wrong(told(name), &format!("okänt; kända: {known}"), &format!("unknown; known: {known}")),
        }
    }

    fn end(self) -> Result<(Option<String>, DateTime<Utc>), Problem> {
        if self.issues.is_empty() {
            return Ok((self.area, self.at));
        }
        Err(Problem::all(StatusCode::BAD_REQUEST, self.issues))
    }
}
