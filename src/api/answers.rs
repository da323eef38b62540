//! A unit answers what it is asked with one JSON object, without a FHIR server: everything that is wrong with it in one answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, IF_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::fhir::version_of;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::HsaId;
use crate::domain::business_status::BusinessStatus;
use crate::domain::task::Status;
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::moment;
use crate::sync::answer::{Act, Contact, Said, Sent, answer};
use crate::sync::part::AreaAnswer;
use crate::sync::refusal;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Texts that go to the other side, in characters.
const LONGEST_TEXT: usize = 20_000;
const FIELDS: [&str; 11] = [
    "unit",
    "status",
    "businessStatus",
    "areas",
    "text",
    "by",
    "confirmedContact",
    "activities",
    "redirectTo",
    "cancellation",
    "version",
];

/// `POST /v1/exchanges/{id}/answers`
pub async fn post(call: Call, id: web::Path<String>, request: HttpRequest, body: Body) -> Answer {
    call.may(Operation::Answer)?;
    let id: Uuid = id.parse().map_err(|_| refusal::missing("exchange"))?;
    let key = key(&request, call.gateway.config.limits.key_bytes)?;
    let said = read(&body.0, &request)?;
    let sent = Sent { said: &said, bytes: &body.0, key: key.as_deref() };
    let answered = answer(&call.gateway, &call.caller, id, sent, call.now).await?;
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
    Ok(HttpResponse::build(status).content_type("application/json").body(answered.body))
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

fn read(body: &[u8], request: &HttpRequest) -> Result<Said, Problem> {
    let value = guard::parse(body, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let Value::Object(object) = value else {
        return Err(Problem::bad_request("", "Svaret ska vara ett objekt.", "The answer should be an object."));
    };
    let mut issues = Vec::new();
    let mut fields = Fields { object: &object, at: String::new(), issues: &mut issues };
    fields.known(&FIELDS);
    let said = Said {
        unit: fields.hsa_id("unit"),
        status: fields.word("status", Status::parse, &Status::ALL.map(Status::code)),
        business_status: fields.word(
            "businessStatus",
            BusinessStatus::parse,
            &BusinessStatus::ALL.map(BusinessStatus::code),
        ),
        text: fields.text("text"),
        by: fields.hsa_id("by"),
        redirect_to: fields.hsa_id("redirectTo"),
        stops: fields.word("cancellation", |word| Some(word == "agreed").filter(|_| STOPS.contains(&word)), &STOPS),
        version: version(&mut fields, request),
        areas: fields.each("areas", area),
        confirmed_contact: contact(&mut fields),
        activities: fields.each("activities", act),
    };
    if issues.is_empty() { Ok(said) } else { Err(Problem::all(StatusCode::UNPROCESSABLE_ENTITY, issues)) }
}

/// What is answered to a request to stop.
const STOPS: [&str; 2] = ["agreed", "refused"];

/// The version of the Task, in the body or in If-Match; not two different ones.
fn version(fields: &mut Fields<'_>, request: &HttpRequest) -> Option<u32> {
    let header = request.headers().get(IF_MATCH);
    let tagged = header.map(|tag| tag.to_str().ok().and_then(version_of));
    let said = fields.object.get("version").map(|v| v.as_u64().and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0));
    match (said, tagged) {
        (Some(None), _) => fields.wrong("version", "ett heltal från 1", "a whole number from 1"),
        (_, Some(None)) => {
            fields.wrong("If-Match", "versionen du läste, som W/\"3\"", "the version you read, as W/\"3\"")
        }
        (Some(Some(said)), Some(Some(tagged))) if said != tagged => {
            fields.wrong("version", "samma som i If-Match", "the same as in If-Match");
        }
        (said, tagged) => return said.flatten().or(tagged.flatten()),
    }
    None
}

fn area(fields: &mut Fields<'_>) -> Option<AreaAnswer> {
    fields.known(&["area", "status", "businessStatus", "reason"]);
    let area = fields.needed("area", "områdets kod", "the area's code");
    let status = fields.word("status", Status::parse, &Status::ALL.map(Status::code));
    if !fields.object.contains_key("status") {
        fields.wrong("status", "accepted eller rejected", "accepted or rejected");
    }
    let codes = BusinessStatus::ALL.map(BusinessStatus::code);
    let business_status = fields.word("businessStatus", BusinessStatus::parse, &codes);
    let reason = fields.text("reason");
    let place = fields.at.trim_end_matches('.').to_owned();
    Some(AreaAnswer { area: area?, status: status?, reason, business_status, place })
}

fn act(fields: &mut Fields<'_>) -> Option<Act> {
    fields.known(&["kva", "at"]);
    let kva = fields.needed("kva", "en KVÅ-kod", "a KVÅ code");
    let at = fields.time("at");
    Some(Act { kva: kva?, at: at? })
}

fn contact(fields: &mut Fields<'_>) -> Option<Contact> {
    let value = fields.object.get("confirmedContact")?;
    let Some(object) = value.as_object() else {
        fields.wrong(
            "confirmedContact",
            "ett objekt med at, medium, text och by",
            "an object with at, medium, text and by",
        );
        return None;
    };
    let mut inner = Fields { object, at: "confirmedContact.".into(), issues: fields.issues };
    inner.known(&["at", "medium", "text", "by"]);
    let (at, medium) = (inner.time("at"), inner.needed("medium", "hur, som phone", "how, as phone"));
    let (text, by) = (inner.text("text"), inner.hsa_id("by"));
    Some(Contact { at: at?, medium, text, by })
}

/// An object being read, where it stands, and what is wrong so far.
struct Fields<'f> {
    object: &'f Map<String, Value>,
    at: String,
    issues: &'f mut Vec<Issue>,
}

impl<'f> Fields<'f> {
    fn wrong(&mut self, name: &str, sv: &str, en: &str) {
        let code = if self.object.contains_key(name) { Code::Value } else { Code::Required };
        let place = format!("{}{name}", self.at);
        self.issues.push(Issue::error(code, place, format!("Ange {sv}."), format!("Give {en}.")));
    }

    fn known(&mut self, known: &[&str]) {
        let list = known.join(", ");
        for name in self.object.keys().filter(|name| !known.contains(&name.as_str())) {
            let place = format!("{}{}", self.at, told(name));
            let (sv, en) = (format!("Okänt fält; kända: {list}."), format!("Unknown field; known: {list}."));
            self.issues.push(Issue::error(Code::Structure, place, sv, en));
        }
    }

    /// A text, if the field is there.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.object.get(name)?;
        let text = value.as_str().map(str::trim).filter(|t| !t.is_empty() && t.chars().count() <= LONGEST_TEXT);
        if text.is_none() {
            let most = LONGEST_TEXT;
            self.wrong(
                name,
                &format!("en text på högst {most} tecken"),
                &format!("a text of at most {most} characters"),
            );
        }
        text.map(str::to_owned)
    }

    fn needed(&mut self, name: &str, sv: &str, en: &str) -> Option<String> {
        let text = self.object.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(name, sv, en);
        }
        text.map(str::to_owned)
    }

    fn hsa_id(&mut self, name: &str) -> Option<String> {
        let value = self.object.get(name)?;
        let id = value.as_str().and_then(|id| HsaId::parse(id).ok()).map(|id| id.as_str().to_ascii_uppercase());
        if id.is_none() {
            self.wrong(name, "ett HSA-id", "an HSA-id");
        }
        id
    }

    /// A word of a list, if the field is there.
    fn word<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>, known: &[&str]) -> Option<T> {
        let value = self.object.get(name)?;
        let word = value.as_str().and_then(parse);
        if word.is_none() {
            let list = known.join(", ");
            self.wrong(name, &format!("något av {list}"), &format!("one of {list}"));
        }
        word
    }

    /// A day, or a time with its zone.
    fn time(&mut self, name: &str) -> Option<String> {
        let text = self.object.get(name).and_then(Value::as_str);
        let at = text.filter(|text| moment(text).is_some());
        if at.is_none() {
            self.wrong(
                name,
                "en dag, eller en tid med zon som 2026-03-01T10:00:00+01:00",
                "a day, or a time with its zone as 2026-03-01T10:00:00+01:00",
            );
        }
        at.map(str::to_owned)
    }

    fn each<T>(&mut self, name: &str, read: fn(&mut Fields<'_>) -> Option<T>) -> Vec<T> {
        let Some(value) = self.object.get(name) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.wrong(name, "en lista", "a list");
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{name}[{index}]");
            match item.as_object() {
                Some(object) => {
                    let mut inner = Fields { object, at: format!("{}{place}.", self.at), issues: self.issues };
                    all.extend(read(&mut inner));
                }
                None => self.wrong(&place, "ett objekt", "an object"),
            }
        }
        all
    }
}
