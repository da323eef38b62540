//! What a named person says of a patient: which numbers are one person's, that the patient has died, that an identity is
//! protected no more. Numbers stand in a body and never in an address.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::{HsaId, PersonId};
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::primitive::is_id;
use crate::sync::deceased::{Told, tell};
use crate::sync::link::{Sent, Wish, link, read as read_one, shown, undo as undo_one};
use crate::sync::protection::lift;
use crate::sync::{refusal, witness};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Reasons, in characters.
const LONGEST: usize = 1000;

/// `POST /v1/patients/links { "old", "new", "by", "reason" }`: 201, or 200 where the same link stands already.
pub async fn make(call: Call, request: HttpRequest, body: Body) -> Answer {
    call.may(Operation::SayOfPatient)?;
    let key = key(&request, call.gateway.config.limits.key_bytes)?;
    let mut form = Form::read(&body, &["old", "new", "by", "reason"])?;
    let (old, new, by, reason) = (form.number("old"), form.number("new"), form.person(), form.reason());
    let all = old.zip(new).zip(by).zip(reason);
    let wish = form.end(all.map(|(((old, new), by), reason)| Wish { old, new, by, reason }))?;
    let sent = Sent { bytes: &body.0, key: key.as_deref() };
    let answered = link(&call.gateway, &call.caller, &wish, sent, call.now).await?;
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    if let Some(place) = answered.location {
        response.insert_header((LOCATION, place));
    }
    Ok(response.content_type("application/json").body(answered.body))
}

/// `GET /v1/patients/links/{id}`
pub async fn read(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::SayOfPatient)?;
    let link = read_one(&call.gateway, &call.caller, link_id(&id)?).await?;
    let event = witness::did(
        &call.gateway,
        &call.caller,
        crate::domain::audit::Deed::Read,
        format!("link/{}", link.id),
        call.now,
    );
    witness::tell(&call.gateway, event.about([link.old.clone(), link.new.clone()])).await?;
    Ok(HttpResponse::Ok().json(shown(&link)))
}

/// `POST /v1/patients/links/{id}/undo { "by", "reason" }`
pub async fn undo(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::SayOfPatient)?;
    let mut form = Form::read(&body, &["by", "reason"])?;
    let (by, reason) = (form.person(), form.reason());
    let (by, reason) = form.end(by.zip(reason))?;
    let link = undo_one(&call.gateway, &call.caller, link_id(&id)?, &by, &reason, call.now).await?;
    Ok(HttpResponse::Ok().json(shown(&link)))
}

/// `POST /v1/patients/{id}/deceased { "by", "date" }`
pub async fn died(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::SayOfPatient)?;
    let mut form = Form::read(&body, &["by", "date"])?;
    let (by, date) = (form.person(), form.date());
    let (by, date) = form.end(by.zip(date))?;
    let answer = tell(&call.gateway, &call.caller, patient_id(&id)?, &Told::Died(date), &by, call.now).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `POST /v1/patients/{id}/deceased/withdraw { "by", "reason" }`
pub async fn lives(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::SayOfPatient)?;
    let mut form = Form::read(&body, &["by", "reason"])?;
    let (by, reason) = (form.person(), form.reason());
    let (by, reason) = form.end(by.zip(reason))?;
    let answer = tell(&call.gateway, &call.caller, patient_id(&id)?, &Told::Lives { reason }, &by, call.now).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `POST /v1/patients/{id}/protection/lift { "by", "reason" }`
pub async fn unprotected(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::SayOfPatient)?;
    let mut form = Form::read(&body, &["by", "reason"])?;
    let (by, reason) = (form.person(), form.reason());
    let (by, reason) = form.end(by.zip(reason))?;
    let answer = lift(&call.gateway, &call.caller, patient_id(&id)?, &by, &reason, call.now).await?;
    Ok(HttpResponse::Ok().json(answer))
}

fn link_id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| refusal::missing("link").into())
}

fn patient_id(text: &str) -> Result<&str, Problem> {
    if is_id(text) { Ok(text) } else { Err(refusal::missing("Patient").into()) }
}

fn key(request: &HttpRequest, most: usize) -> Result<Option<String>, Problem> {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= most => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request(
            "Idempotency-Key",
            format!("Nyckeln ska vara 1–{most} ASCII-tecken (limits.key_bytes)."),
            format!("The key has 1–{most} ASCII characters (limits.key_bytes)."),
        )),
    }
}

/// A body's fields, and everything that is wrong with them.
struct Form {
    fields: Map<String, Value>,
    issues: Vec<Issue>,
}

impl Form {
    fn read(body: &Body, known: &[&str]) -> Result<Self, Problem> {
        let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
        let Value::Object(fields) = value else {
            return Err(Problem::bad_request("", "Kroppen ska vara ett objekt.", "The body should be an object."));
        };
        let mut form = Self { fields, issues: Vec::new() };
        let list = known.join(", ");
        let unknown: Vec<String> = form.fields.keys().filter(|n| !known.contains(&n.as_str())).cloned().collect();
        for name in unknown {
            form.wrong(told(&name), &format!("okänt fält; kända: {list}"), &format!("unknown field; known: {list}"));
        }
        Ok(form)
    }

    fn wrong(&mut self, name: &str, sv: &str, en: &str) {
        let (sv, en) = (format!("Fältet {name}: {sv}."), format!("The field {name}: {en}."));
        self.issues.push(Issue::error(Code::Value, name, sv, en));
    }

    /// What was read, if nothing is wrong.
    fn end<T>(self, read: Option<T>) -> Result<T, Problem> {
        match read {
            Some(read) if self.issues.is_empty() => Ok(read),
            _ => Err(Problem::all(StatusCode::BAD_REQUEST, self.issues)),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.fields.get(name).and_then(Value::as_str).map(|text| text.trim().to_owned())
    }

    fn number(&mut self, name: &str) -> Option<PersonId> {
        let Some(number) = self.text(name) else {
            self.wrong(name, "ange person-, samordnings- eller reservnummer", "give the patient's number");
            return None;
        };
        match PersonId::parse(&number) {
            Ok(person) => Some(person),
            Err(error) => {
                self.wrong(name, &error.sv(), &error.to_string());
                None
            }
        }
    }

    fn person(&mut self) -> Option<String> {
        let by = self.text("by").filter(|by| HsaId::parse(by).is_ok());
        if by.is_none() {
            self.wrong("by", "HSA-id för den medarbetare som gör det", "the HSA-id of the member of staff who does it");
        }
        by.map(|by| by.to_ascii_uppercase())
    }

    fn reason(&mut self) -> Option<String> {
        let reason = self.text("reason").filter(|text| !text.is_empty() && text.chars().count() <= LONGEST);
        if reason.is_none() {
            self.wrong("reason", &format!("varför, 1–{LONGEST} tecken"), &format!("why, 1–{LONGEST} characters"));
        }
        reason
    }

    /// A day, or nothing where it is not known.
    fn date(&mut self) -> Option<Option<NaiveDate>> {
        match self.fields.get("date") {
            None | Some(Value::Null) => Some(None),
            Some(value) => {
                let day = value.as_str().and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok());
                if day.is_none() {
                    self.wrong("date", "dödsdagen, ÅÅÅÅ-MM-DD", "the day of death, YYYY-MM-DD");
                }
                day.map(Some)
            }
        }
    }
}
