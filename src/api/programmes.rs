//! Programmes at the API: whether one may be offered, its start, its steps, and where it stands. A patient's number stands in a
//! body and never in an address.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::Body;
use super::caller::Call;
use super::problem::{Answer, Problem, told};
use super::registries::fields::Fields;
use crate::access::Operation;
use crate::domain::programme::Step;
use crate::fhir::issue::{Code, Issue};
use crate::sync::programme::note::Note;
use crate::sync::programme::{self, Event, Start, Started};
use crate::sync::refusal::missing;
use crate::sync::witness;

/// `POST /v1/programmes/{definition}/eligibility { "patient", "answers" }`: nothing of the question is kept.
pub async fn eligibility(call: Call, definition: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::AskRules)?;
    let mut fields = Fields::read(&body.0, &["patient", "answers"], call.now)?;
    let patient = fields.has("patient").then(|| fields.person("patient")).flatten();
    let answers = fields.object("answers");
    let answers = fields.done(answers)?;
    let of = definition.into_inner();
    let said = programme::ask(&call.gateway, &call.caller, &of, patient.as_ref(), &answers, call.now).await?;
    Ok(HttpResponse::Ok().json(said))
}

/// `POST /v1/programmes { "definition", "patient", "unit", "by", "role", "startedAt", "answers" }`: 201, or 200 where the unit has
/// started it for the patient already.
pub async fn start(call: Call, body: Body) -> Answer {
    call.may(Operation::RunProgramme)?;
    let known = ["definition", "patient", "unit", "by", "role", "startedAt", "answers"];
    let mut fields = Fields::read(&body.0, &known, call.now)?;
    let started_at = if fields.has("startedAt") { fields.past("startedAt") } else { Some(call.now) };
    let (definition, patient) = (fields.text("definition"), fields.person("patient"));
    let (unit, by, role) = (fields.unit("unit"), fields.unit("by"), fields.text("role"));
    let answers = fields.object("answers");
    let wish = (|| {
        Some(Start {
            definition: definition?,
            patient: patient?,
            unit: unit?,
            by: by?,
            role: role?,
            started_at: started_at?,
            answers: answers?,
        })
    })();
    let wish = fields.done(wish)?;
    let (status, one) = match programme::start(&call.gateway, &call.caller, &wish, call.now).await? {
        Started::New(one) => (StatusCode::CREATED, one),
        Started::There(one) => (StatusCode::OK, one),
    };
    let shown = programme::shown(&call.gateway, &one, call.now).await?;
    let place = format!("/v1/programmes/{}", one.id);
    Ok(HttpResponse::build(status).insert_header((LOCATION, place)).json(shown))
}

/// `GET /v1/programmes?before=&limit=`: those that the caller may see, and which are defined.
pub async fn list(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::SeeProgrammes)?;
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
    let limits = &call.gateway.config.limits;
    let (mut before, mut limit) = (call.now + TimeDelta::milliseconds(1), limits.page);
    for (name, value) in pairs.into_inner() {
        let wrong = || Problem::bad_request(told(&name), "Värdet kan inte läsas.", "The value cannot be read.");
        match name.as_str() {
            "before" => {
                before = DateTime::parse_from_rfc3339(&value).map_err(|_| wrong())?.with_timezone(&Utc);
            }
            "limit" => limit = value.parse::<u32>().map_err(|_| wrong())?.clamp(1, limits.page_max),
            _ => {
                let (sv, en) = ("Okänd parameter; kända: before, limit.", "Unknown parameter; known: before, limit.");
                return Err(Problem::bad_request(told(&name), sv, en));
            }
        }
    }
    let found = programme::list(&call.gateway, &call.caller, before, limit).await?;
    let seen: Vec<&Value> = found.iter().map(|one| &one["id"]).collect();
    witness::record(&call.gateway, &call.caller, "search", "programme", &json!({ "found": seen }), call.now).await?;
    let definitions = programme::definitions(&call.gateway);
    Ok(HttpResponse::Ok().json(json!({ "programmes": found, "definitions": definitions })))
}

/// `GET /v1/programmes/{id}`
pub async fn read(call: Call, id: web::Path<String>) -> Answer {
    call.may(Operation::SeeProgrammes)?;
    let id = id_of(&id)?;
    let one = programme::seen(&call.gateway, &call.caller.filter(), &call.caller, id).await?;
    let payload = json!({ "patients": one.patient.iter().collect::<Vec<_>>() });
    witness::record(&call.gateway, &call.caller, "read", &format!("programme/{id}"), &payload, call.now).await?;
    Ok(HttpResponse::Ok().json(programme::shown(&call.gateway, &one, call.now).await?))
}

/// `POST /v1/programmes/{id}/events { "step", "by", "role", … }`
pub async fn event(call: Call, id: web::Path<String>, body: Body) -> Answer {
    call.may(Operation::RunProgramme)?;
    let id = id_of(&id)?;
    let event = read_event(&body, call.now)?;
    let one = programme::take(&call.gateway, &call.caller, id, &event, call.now).await?;
    Ok(HttpResponse::Ok().json(programme::shown(&call.gateway, &one, call.now).await?))
}

/// `POST /v1/programmes/{id}/messages/{code}/sent { "by", "at" }`: by the system that sends to the patient.
pub async fn sent(call: Call, path: web::Path<(String, String)>, body: Body) -> Answer {
    call.may(Operation::RunProgramme)?;
    let (id, code) = path.into_inner();
    let id = id_of(&id)?;
    let mut fields = Fields::read(&body.0, &["by", "at"], call.now)?;
    let by = fields.unit("by");
    let at = if fields.has("at") { fields.past("at") } else { Some(call.now) };
    let event = (|| Some(Event { step: Some(Step::Sent), by: by?, at, message: Some(code), ..Event::default() }))();
    let event = fields.done(event)?;
    let one = programme::take(&call.gateway, &call.caller, id, &event, call.now).await?;
    Ok(HttpResponse::Ok().json(programme::shown(&call.gateway, &one, call.now).await?))
}

fn id_of(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| missing("programme").into())
}

/// The fields of each step beside `step`, `by` and `role`; those with a `?` may be left out.
fn fields_of(step: Step) -> &'static [&'static str] {
    match step {
        Step::HandOver => &["team"],
        Step::Appoint => &["therapist"],
        Step::Module => &["module", "status", "at?"],
        Step::Message => &["id", "text", "from", "at?"],
        Step::Note => {
            &["id", "contactId", "form", "profession", "diagnoses", "codes", "at?", "text?", "unit?", "what?"]
        }
        Step::Documented => &["what"],
        Step::TreatmentStarted => &["at?"],
        Step::Close => &["withPatient", "reason?"],
        _ => &[],
    }
}

/// What the words of some fields may be.
const WORDS: [(&str, &[&str]); 4] = [
    ("status", &["started", "completed"]),
    ("from", &["patient", "staff"]),
    ("form", &["platform", "phone", "video", "visit"]),
    ("what", &["start", "end"]),
];

fn read_event(body: &Body, now: DateTime<Utc>) -> Result<Event, Problem> {
    let any = ["step", "by", "role"];
    let all: Vec<&str> = Step::ALL.iter().flat_map(|step| fields_of(*step)).map(|f| f.trim_end_matches('?')).collect();
    let mut fields = Fields::read(&body.0, &[&any[..], &all].concat(), now)?;
    let (word, by, role) = (fields.text("step"), fields.unit("by"), fields.text("role"));
    let step = word.as_deref().and_then(Step::parse).filter(|step| !matches!(step, Step::Start | Step::Sent));
    let Some(step) = step else {
        let known: Vec<&str> =
            Step::ALL.into_iter().filter(|s| !matches!(s, Step::Start | Step::Sent)).map(Step::code).collect();
        let known = known.join(", ");
        fields.add(Issue::error(
            Code::Value,
            "step",
            format!("Ange något av {known}."),
            format!("Give one of {known}."),
        ));
        return fields.done(None::<Event>).map_err(Problem::from);
    };
    let own: Vec<&str> = fields_of(step).iter().map(|field| field.trim_end_matches('?')).collect();
    for name in all.iter().filter(|name| !own.contains(name)) {
        if fields.has(name) {
            let (sv, en) = ("Fältet hör inte till steget.", "The field is not one of the step's.");
            fields.add(Issue::error(Code::Structure, *name, sv, en));
        }
    }
    let mut event =
        Event { step: Some(step), by: by.unwrap_or_default(), role: role.unwrap_or_default(), ..Event::default() };
    let mut note = Note::default();
    for field in fields_of(step) {
        let name = field.trim_end_matches('?');
        if field.ends_with('?') && !fields.has(name) {
            continue;
        }
        match name {
            "team" => event.team = fields.unit(name),
            "therapist" => event.therapist = fields.unit(name),
            "unit" => note.unit = fields.unit(name),
            "at" => event.at = fields.past(name),
            "withPatient" => event.with_patient = fields.truth(name),
            "diagnoses" => note.diagnoses = fields.texts(name).unwrap_or_default(),
            "codes" => note.codes = fields.texts(name).unwrap_or_default(),
            _ => {
                let Some(text) = fields.text(name) else { continue };
                if let Some((_, words)) = WORDS.iter().find(|(of, _)| *of == name)
                    && !words.contains(&text.as_str())
                {
                    let known = words.join(", ");
                    let (sv, en) = (format!("Ange något av {known}."), format!("Give one of {known}."));
                    fields.add(Issue::error(Code::Value, name, sv, en));
                }
                match name {
                    "module" => event.module = Some(text),
                    "status" => event.completed = text == "completed",
                    "id" => event.id = Some(text),
                    "text" => event.text = Some(text),
                    "from" => event.by_patient = text == "patient",
                    "what" => event.what = Some(text),
                    "reason" => event.reason = Some(text),
                    "contactId" => note.contact = text,
                    "form" => note.form = text,
                    "profession" => note.profession = text,
                    _ => {}
                }
            }
        }
    }
    if step == Step::Note {
        event.note = Some(note);
    }
    if event.id.as_deref().is_some_and(|id| !is_local(id)) {
        fields.add(Issue::error(
            Code::Value,
            "id",
            "Bokstäver, siffror, - och ., högst 64 tecken.",
            "Letters, digits, - and ., at most 64 characters.",
        ));
    }
    fields.done(Some(event)).map_err(Problem::from)
}

/// What stands in an identifier, and is no number of a person's.
fn is_local(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    id.len() <= 64 && id.chars().all(is_plain) && crate::domain::PersonId::parse(id).is_err()
}

impl Fields {
    fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        let found = self.value(name).and_then(Value::as_object).cloned();
        if found.is_none() {
            let (sv, en) = ("Ange ett objekt.", "Give an object.");
            self.add(Issue::error(Code::Required, name, sv, en));
        }
        found
    }

    fn truth(&mut self, name: &str) -> Option<bool> {
        let found = self.value(name).and_then(Value::as_bool);
        if found.is_none() {
            self.add(Issue::error(Code::Required, name, "Ange true eller false.", "Give true or false."));
        }
        found
    }

    fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let list = self.value(name).and_then(Value::as_array).filter(|list| (1..=20).contains(&list.len()));
        let texts = list.and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
        if texts.is_none() {
            let (sv, en) = ("Ange en lista med 1–20 texter.", "Give a list of 1 to 20 texts.");
            self.add(Issue::error(Code::Required, name, sv, en));
        }
        texts
    }
}
