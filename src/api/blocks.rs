//! Spärr at the API: registered, read, looked for and lifted by the care provider whose data it is. The patient's number stands
//! in a body and never in an address.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::domain::block::{Period, Scope};
use crate::domain::{Directory, HsaId, PersonId};
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::moment;
use crate::sync::block::{Registered, Wish, find, lift, read as read_one, register as take_in, shown};
use crate::sync::{refusal, witness};

/// `POST /v1/blocks { "patient", "kind", "unit" | "provider", "period", "by" }`: 201, or 200 where the same block stands already.
pub async fn register(call: Call, body: Body) -> Answer {
    let mut form = Form::read(&body, &["patient", "kind", "unit", "provider", "period", "by"])?;
    let wish = form.wish(&call.gateway.config.directory);
    let wish = form.end(wish)?;
    let (status, block) = match take_in(&call.gateway, &call.caller, &wish, call.now).await? {
        Registered::New(block) => (StatusCode::CREATED, block),
        Registered::There(block) => (StatusCode::OK, block),
    };
    let place = format!("/v1/blocks/{}", block.id);
    Ok(HttpResponse::build(status).insert_header((LOCATION, place)).json(shown(&block)))
}

/// `GET /v1/blocks/{id}`
pub async fn read(call: Call, id: web::Path<String>) -> Answer {
    let block = read_one(&call.gateway, &call.caller, block_id(&id)?).await?;
    witness::record(&call.gateway, &call.caller, "read", &format!("block/{}", block.id), &Value::Null, call.now)
        .await?;
    Ok(HttpResponse::Ok().json(shown(&block)))
}

/// `POST /v1/blocks/search { "patient", "standing" }`
pub async fn search(call: Call, body: Body) -> Answer {
    let mut form = Form::read(&body, &["patient", "standing"])?;
    let (patient, standing) = (form.patient(), form.standing());
    let patient = form.end(patient)?;
    let found = find(&call.gateway, &call.caller, &patient, standing).await?;
    let seen: Vec<String> = found.iter().map(|block| block.id.to_string()).collect();
    witness::record(&call.gateway, &call.caller, "search", "block", &json!({ "found": seen }), call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "blocks": found.iter().map(shown).collect::<Vec<_>>() })))
}

/// `POST /v1/blocks/{id}/lift { "by" }`
pub async fn lifted(call: Call, id: web::Path<String>, body: Body) -> Answer {
    let mut form = Form::read(&body, &["by"])?;
    let by = form.person();
    let by = form.end(by)?;
    let block = lift(&call.gateway, &call.caller, block_id(&id)?, &by, call.now).await?;
    Ok(HttpResponse::Ok().json(shown(&block)))
}

fn block_id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| refusal::missing("block").into())
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
        self.issues.push(Issue::error(
            Code::Value,
            name,
            format!("Fältet {name}: {sv}."),
            format!("The field {name}: {en}."),
        ));
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

    fn wish(&mut self, directory: &Directory) -> Option<Wish> {
        let (patient, scope) = (self.patient(), self.scope(directory));
        let (period, by) = (self.period(), self.person());
        Some(Wish { patient: patient?, scope: scope?, period: period?, by: by? })
    }

    fn patient(&mut self) -> Option<PersonId> {
        let Some(number) = self.text("patient") else {
            self.wrong("patient", "ange person-, samordnings- eller reservnummer", "give the patient's number");
            return None;
        };
        match PersonId::parse(&number) {
            Ok(person) => Some(person),
            Err(error) => {
                self.wrong("patient", &error.sv(), &error.to_string());
                None
            }
        }
    }

    fn standing(&mut self) -> Option<bool> {
        let value = self.fields.get("standing")?.as_bool();
        if value.is_none() {
            self.wrong("standing", "true eller false", "true or false");
        }
        value
    }

    /// Whose documentation: an inner block names a unit, whose provider the directory knows; an outer one names a provider.
    fn scope(&mut self, directory: &Directory) -> Option<Scope> {
        let kind = self.text("kind").unwrap_or_default();
        if !["inner", "outer"].contains(&kind.as_str()) {
            self.wrong(
                "kind",
                "inner (en vårdenhets uppgifter) eller outer (en vårdgivares)",
                "inner (a unit's data) or outer (a care provider's)",
            );
            return None;
        }
        let provider = self.text("provider").map(|provider| provider.to_ascii_uppercase());
        if kind == "inner" {
            let unit = self.text("unit").unwrap_or_default();
            let Some(known) = directory.find(&unit) else {
                self.wrong(
                    "unit",
                    "en inre spärr anger HSA-id för en enhet i enhetskatalogen",
                    "an inner block gives the HSA-id of a unit in the directory of units",
                );
                return None;
            };
            let own = known.care_provider.to_ascii_uppercase();
            if provider.is_some_and(|provider| provider != own) {
                self.wrong(
                    "provider",
                    "är inte enhetens vårdgivare; utelämna fältet",
                    "is not the unit's care provider; leave it out",
                );
                return None;
            }
            return Some(Scope::Inner { unit: known.hsa_id.clone(), provider: own });
        }
        if self.fields.contains_key("unit") {
            self.wrong(
                "unit",
                "en yttre spärr gäller hela vårdgivaren; utelämna fältet",
                "an outer block is of the whole care provider; leave it out",
            );
        }
        let is_known = |provider: &String| directory.iter().any(|u| u.care_provider.eq_ignore_ascii_case(provider));
        match provider {
            Some(provider) if is_known(&provider) => Some(Scope::Outer { provider }),
            _ => {
                self.wrong(
                    "provider",
                    "en yttre spärr anger HSA-id för en vårdgivare i enhetskatalogen",
                    "an outer block gives the HSA-id of a care provider in the directory of units",
                );
                None
            }
        }
    }

    /// `{ "from", "to" }`: a day is the whole day, and either may be left out.
    fn period(&mut self) -> Option<Period> {
        let Some(given) = self.fields.get("period").cloned() else { return Some(Period::default()) };
        let end = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_str().and_then(moment).map(Some).ok_or(()),
        };
        let is_clean = given.as_object().is_some_and(|o| o.keys().all(|name| name == "from" || name == "to"));
        let (Ok(from), Ok(to), true) = (end("from"), end("to"), is_clean) else {
            self.wrong(
                "period",
                "när det spärrade dokumenterades: { from, to } som datum eller tidpunkter, var för sig eller båda",
                "when what is blocked was documented: { from, to } as dates or times, either or both",
            );
            return None;
        };
        let period = Period { from: from.map(|(first, _)| first), to: to.map(|(_, last)| last) };
        if let (Some(from), Some(to)) = (period.from, period.to)
            && from > to
        {
            self.wrong("period", "slutar före sin början", "ends before it begins");
            return None;
        }
        Some(period)
    }

    fn person(&mut self) -> Option<String> {
        let by = self.text("by").filter(|by| HsaId::parse(by).is_ok());
        if by.is_none() {
            self.wrong("by", "HSA-id för den medarbetare som gör det", "the HSA-id of the member of staff who does it");
        }
        by.map(|by| by.to_ascii_uppercase())
    }
}
