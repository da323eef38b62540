//! Consultations (samråd) that a referral waits for, recorded by its sender: then it goes out.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::{HsaId, Kind};
use crate::fhir::canonical::BASE;
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::moment;
use crate::sync::consultation::{Consultation, Consultations, Consulted, MEDIA, Recorded, record as recorded};
use crate::sync::refusal;

/// `POST /v1/exchanges/{id}/consultations { "patient": { at, medium, text }, "primaryCare": { …, profession, unit, hsaId, name } }`
pub async fn record(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::Submit(Kind::Referral))?;
    let professions = format!("{BASE}/CodeSystem/profession");
    let professions = call.gateway.conformance.profiles.terminology().codes(&professions).unwrap_or_default();
    let had = read(&body, professions)?;
    let id = id.parse().map_err(|_| refusal::missing("exchange"))?;
    let done = recorded(&call.gateway, &call.caller, id, &had, call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "exchange": id.to_string(), "released": done == Recorded::Released })))
}

/// The fields of the body, or everything that is wrong with them.
fn read(body: &Body, professions: &[String]) -> Result<Consultations, Problem> {
    let value = guard::parse(&body.0, &guard::Limits::DOCUMENT).map_err(refusal::Refusal::Malformed)?;
    let Value::Object(fields) = value else {
        return Err(Problem::bad_request("", "Kroppen ska vara ett objekt.", "The body should be an object."));
    };
    let mut form = Form { issues: Vec::new() };
    form.known("", &fields, &["patient", "primaryCare"]);
    let patient = form.part(&fields, "patient", &["at", "medium", "text"]);
    let primary = form.part(&fields, "primaryCare", &["at", "medium", "text", "hsaId", "name", "profession", "unit"]);
    let had = patient.and_then(|p| form.consultation("patient", &p));
    let both = primary.map(|p| (form.consultation("primaryCare", &p), form.consulted(&p, professions)));
    match (had, both) {
        (Some(patient), Some((Some(primary_care), Some(consulted)))) if form.issues.is_empty() => {
            Ok(Consultations { patient, primary_care, consulted })
        }
        _ => Err(Problem::all(StatusCode::UNPROCESSABLE_ENTITY, form.issues)),
    }
}

struct Form {
    issues: Vec<Issue>,
}

impl Form {
    fn wrong(&mut self, at: &str, sv: &str, en: &str) {
        self.issues.push(Issue::error(Code::Value, at, format!("{at}: {sv}."), format!("{at}: {en}.")));
    }

    fn known(&mut self, at: &str, fields: &Map<String, Value>, known: &[&str]) {
        let list = known.join(", ");
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let place = if at.is_empty() { told(name).to_owned() } else { format!("{at}.{}", told(name)) };
            self.wrong(&place, &format!("okänt fält; kända: {list}"), &format!("unknown field; known: {list}"));
        }
    }

    fn part(&mut self, fields: &Map<String, Value>, name: &str, known: &[&str]) -> Option<Map<String, Value>> {
        let Some(part) = fields.get(name).and_then(Value::as_object) else {
            self.wrong(
                name,
                "samrådet saknas: ange när (at) och hur (medium)",
                "the consultation is missing: say when (at) and how (medium)",
            );
            return None;
        };
        self.known(name, part, known);
        Some(part.clone())
    }

    fn text(&mut self, at: &str, part: &Map<String, Value>, name: &str) -> Option<String> {
        match part.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Some(_) => {
                self.wrong(&format!("{at}.{name}"), "ska vara en text", "should be a text");
                None
            }
        }
    }

    fn consultation(&mut self, at: &str, part: &Map<String, Value>) -> Option<Consultation> {
        let when = self.text(at, part, "at").filter(|text| moment(text).is_some() && text.len() >= 10);
        if when.is_none() {
            self.wrong(&format!("{at}.at"), "när, som 2026-03-02T09:00:00+01:00", "when, as 2026-03-02T09:00:00+01:00");
        }
        let medium = part.get("medium").and_then(Value::as_str);
        let medium = MEDIA.iter().find(|(name, _)| Some(*name) == medium).map(|(_, code)| *code);
        if medium.is_none() {
            let known = MEDIA.map(|(name, _)| name).join(", ");
            self.wrong(&format!("{at}.medium"), &format!("hur: {known}"), &format!("how: {known}"));
        }
        Some(Consultation { at: when?, medium: medium?, text: self.text(at, part, "text") })
    }

    fn consulted(&mut self, part: &Map<String, Value>, professions: &[String]) -> Option<Consulted> {
        let at = "primaryCare";
        let is_hsa = |text: &String| HsaId::parse(text).is_ok();
        let unit = self.text(at, part, "unit").filter(is_hsa).map(|unit| unit.to_ascii_uppercase());
        if unit.is_none() {
            self.wrong(
                "primaryCare.unit",
                "HSA-id för enheten som tillfrågades",
                "the HSA-id of the unit that was asked",
            );
        }
        let person = self.text(at, part, "hsaId");
        if person.as_ref().is_some_and(|person| !is_hsa(person)) {
            self.wrong("primaryCare.hsaId", "är inget HSA-id", "is no HSA-id");
        }
        let profession = self.text(at, part, "profession").filter(|profession| professions.contains(profession));
        if profession.is_none() {
            let known = professions.join(", ");
            self.wrong("primaryCare.profession", &format!("vem: {known}"), &format!("who: {known}"));
        }
        let name = self.text(at, part, "name");
        Some(Consulted { person, name, profession: profession?, unit: unit? })
    }
}
