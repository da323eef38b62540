//! Patients and registries: objections, information, what was disclosed, and what a registry must erase.

pub mod fields;
pub mod keeping;

use std::collections::BTreeSet;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::config::Identity;
use crate::registry::disclosure::{self, Recoded, ToErase, shown_name};
use crate::registry::objection::{self, Word, check_own, known};
use crate::store::{DisclosedTo, Informed, OptOut};
use crate::sync::refusal::missing;
use crate::sync::weigh::instant;
use fields::Fields;

/// `GET /v1/registries`
pub async fn list(call: Call) -> Answer {
    call.may(Operation::SeeRegistries)?;
    let line = |registry: &crate::config::Registry| {
        let identity = match &registry.identity {
            Identity::Coded { .. } => "coded",
            Identity::Personnummer { .. } => "personnummer",
        };
        json!({
            "name": registry.name, "hsaId": registry.hsa_id, "identity": identity,
            "needsInformation": registry.needs_information,
        })
    };
    let agreed = call.gateway.config.agreements.now();
    let all: Vec<Value> = agreed.registries.iter().map(|registry| line(registry)).collect();
    Ok(HttpResponse::Ok().json(json!({ "registries": all })))
}

fn shown(opt_out: &OptOut) -> Value {
    json!({
        "id": opt_out.id.to_string(),
        "registry": shown_name(&opt_out.registry),
        "unit": opt_out.unit,
        "objectedAt": instant(opt_out.objected_at),
        "registeredAt": instant(opt_out.registered_at),
        "inForce": opt_out.lifted_at.is_none(),
        "liftedAt": opt_out.lifted_at.map(instant),
    })
}

/// The patient, the unit that was told, and when.
fn word(call: &Call, body: &Body, time: &str) -> Result<Word, Problem> {
    let mut fields = Fields::read(&body.0, &["patient", "unit", time], call.now)?;
    let (person, unit, at) = (fields.person("patient"), fields.unit("unit"), fields.past(time));
    let all = person.zip(unit).zip(at).map(|((person, unit), at)| Word { person, unit, at });
    Ok(fields.done(all)?)
}

fn id_of(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| missing("opt-out").into())
}

/// `POST /v1/registries/{name}/opt-outs { "patient", "unit", "objectedAt" }`
pub async fn opt_out(call: Call, name: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::HearPatient)?;
    let word = word(&call, &body, "objectedAt")?;
    let registered = objection::opt_out(&call.gateway, &call.caller, &name, word, call.now).await?;
    let location = format!("/v1/registries/{name}/opt-outs/{}", registered.opt_out.id);
    let mut response = if registered.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.insert_header((LOCATION, location)).json(shown(&registered.opt_out)))
}

/// `GET /v1/registries/{name}/opt-outs/{id}`
pub async fn read(call: Call, path: web::Path<(String, String)>) -> Answer {
    call.may(Operation::HearPatient)?;
    let (name, id) = path.into_inner();
    let found = objection::read(&call.gateway, &call.caller, &name, id_of(&id)?).await?;
    Ok(HttpResponse::Ok().json(shown(&found)))
}

/// `POST /v1/registries/{name}/opt-outs/search { "patient" }`: the number is never in a URL.
pub async fn search(call: Call, name: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::HearPatient)?;
    let person = person(&call, &body)?;
    let found = objection::search(&call.gateway, &call.caller, &name, &person, call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "optOuts": found.iter().map(shown).collect::<Vec<_>>() })))
}

fn person(call: &Call, body: &Body) -> Result<crate::domain::PersonId, Problem> {
    let mut fields = Fields::read(&body.0, &["patient"], call.now)?;
    let person = fields.person("patient");
    Ok(fields.done(person)?)
}

/// `POST /v1/registries/{name}/opt-outs/{id}/lift { "wishedAt" }`: only the patient's own wish lifts it.
pub async fn lift(call: Call, path: web::Path<(String, String)>, body: Body) -> Answer {
    call.may(Operation::HearPatient)?;
    let (name, id) = path.into_inner();
    let mut fields = Fields::read(&body.0, &["wishedAt"], call.now)?;
    let wished_at = fields.past("wishedAt");
    let wished_at = fields.done(wished_at)?;
    let lifted = objection::lift(&call.gateway, &call.caller, &name, id_of(&id)?, wished_at, call.now).await?;
    Ok(HttpResponse::Ok().json(shown(&lifted)))
}

fn told_of(informed: &Informed) -> Value {
    json!({
        "registry": shown_name(&informed.registry), "unit": informed.unit,
        "informedAt": instant(informed.informed_at), "recordedAt": instant(informed.recorded_at),
    })
}

/// `POST /v1/registries/{name}/information { "patient", "unit", "informedAt" }`
pub async fn inform(call: Call, name: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::HearPatient)?;
    let word = word(&call, &body, "informedAt")?;
    let informed = objection::inform(&call.gateway, &call.caller, &name, word, call.now).await?;
    Ok(HttpResponse::Ok().json(told_of(&informed)))
}

/// `POST /v1/disclosures/search { "patient" }`
pub async fn disclosures(call: Call, body: Body) -> Answer {
    call.may(Operation::SeeDisclosures)?;
    let person = person(&call, &body)?;
    let found = disclosure::of_patient(&call.gateway, &call.caller, &person, call.now).await?;
    let line = |of: &DisclosedTo| {
        let hsa_id = call.gateway.config.registry(&of.registry).map(|registry| registry.hsa_id.clone());
        json!({
            "registry": of.registry, "hsaId": hsa_id, "type": of.resource_type, "resources": of.resources,
            "firstAt": instant(of.first_at), "lastAt": instant(of.last_at),
        })
    };
    Ok(HttpResponse::Ok().json(json!({
        "disclosures": found.disclosed.iter().map(line).collect::<Vec<_>>(),
        "toErase": found.to_erase.iter().map(line).collect::<Vec<_>>(),
        "information": found.informed.iter().map(told_of).collect::<Vec<_>>(),
    })))
}

/// Query parameters of a list: where it goes on, how many, and the version of a key.
struct Asked {
    after: i64,
    limit: u32,
    from: Option<String>,
}

fn asked(call: &Call, request: &HttpRequest, known: &[&str]) -> Result<Asked, Problem> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let limits = &call.gateway.config.limits;
    let mut asked = Asked { after: 0, limit: limits.page, from: None };
    for (name, value) in pairs.into_inner() {
        let wrong = || Problem::bad_request(told(&name), "Värdet kan inte läsas.", "The value cannot be read.");
        match name.as_str() {
            _ if !known.contains(&name.as_str()) => {
                let list = known.join(", ");
                let (sv, en) =
                    (format!("Okänd parameter; kända: {list}."), format!("Unknown parameter; known: {list}."));
                return Err(Problem::bad_request(told(&name), sv, en));
            }
            "after" => asked.after = value.parse().ok().filter(|after| *after >= 0).ok_or_else(wrong)?,
            "limit" => asked.limit = value.parse::<u32>().map_err(|_| wrong())?.clamp(1, limits.page_max),
            _ => asked.from = Some(value),
        }
    }
    Ok(asked)
}

/// `GET /v1/registries/{name}/erasures?after=&limit=`
pub async fn erasures(call: Call, name: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::Erase)?;
    let registry = known(&call.gateway, &name)?;
    check_own(&call.caller, &registry)?;
    let asked = asked(&call, &request, &["after", "limit"])?;
    let list = disclosure::to_erase(&call.gateway, &registry, asked.after, asked.limit).await?;
    let line = |one: &ToErase| json!({ "seq": one.seq, "type": one.resource_type, "id": one.id, "reason": one.reason, "at": instant(one.at) });
    // One that may be there under several codes is one of the page.
    let places: BTreeSet<i64> = list.iter().map(|one| one.seq).collect();
    let next = places.last().filter(|_| places.len() == asked.limit as usize);
    Ok(HttpResponse::Ok().json(json!({ "erasures": list.iter().map(line).collect::<Vec<_>>(), "next": next })))
}

/// `POST /v1/registries/{name}/erasures/confirm { "through" }`
pub async fn confirm(call: Call, name: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::Erase)?;
    let mut fields = Fields::read(&body.0, &["through"], call.now)?;
    let through = fields.count("through");
    let through = fields.done(through)?;
    disclosure::confirm(&call.gateway, &call.caller, &name, through, call.now).await?;
    Ok(HttpResponse::Ok().json(json!({ "through": through })))
}

/// `GET /v1/registries/{name}/codes?from=&after=&limit=`: old codes and new ones, after its key was changed.
pub async fn codes(call: Call, name: web::Path<String>, request: HttpRequest) -> Answer {
    call.may(Operation::Erase)?;
    let registry = known(&call.gateway, &name)?;
    check_own(&call.caller, &registry)?;
    let asked = asked(&call, &request, &["from", "after", "limit"])?;
    let list = match &asked.from {
        Some(from) => disclosure::recoded(&call.gateway, &registry, from, asked.after, asked.limit).await?,
        None => Vec::new(),
    };
    let line = |one: &Recoded| json!({ "type": one.resource_type, "old": one.old, "new": one.new });
    let next = list.last().map(|last| last.place).filter(|_| list.len() == asked.limit as usize);
    let keys: Vec<&str> = match &registry.identity {
        Identity::Coded { keys } => keys.iter().map(|key| key.version.as_str()).collect(),
        Identity::Personnummer { .. } => Vec::new(),
    };
    Ok(HttpResponse::Ok()
        .json(json!({ "keys": keys, "codes": list.iter().map(line).collect::<Vec<_>>(), "next": next })))
}
