//! `$verify`: a registry says what it holds, as digests, and is told what differs from what it would get now.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::caller::Call;
use super::super::fhir::{Sent, asked};
use super::super::problem::{Answer, Problem};
use crate::domain::audit::Deed;
use crate::fhir::guard::{Limits, Strictness};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::types;
use crate::registry::criteria::criteria;
use crate::registry::standing;
use crate::registry::verify::{Compared, MOST_DIGITS, Question, Range, verify as compare};
use crate::store::Commit;
use crate::sync::{Refusal, witness};

/// A file as the registry has it.
struct HeldFile {
    export: Uuid,
    name: String,
    sha256: String,
}

#[derive(Default)]
struct Asked {
    question: Question,
    files: Vec<HeldFile>,
}

/// `POST /fhir/$verify`
pub async fn verify(call: Call, request: HttpRequest, body: Sent) -> Answer {
    let limits = &call.gateway.config.limits;
    asked(&request, &[], limits)?;
    let limits = Limits { bytes: limits.body_bytes, depth: limits.depth, strictness: Strictness::Resource };
    let value = body.read(&limits).map_err(Refusal::Malformed)?;
    let asked = read(&call, &value)?;
    let mut parameters = Vec::new();
    let mut is_same = true;
    for held in &asked.files {
        let found = standing::file(&call.gateway, &call.caller, held.export, &held.name, call.now).await;
        let ours = match found {
            Ok(found) => found.file.sha256,
            Err(Refusal::Missing(_)) => None,
            Err(other) => return Err(other.into()),
        };
        let result = match &ours {
            Some(ours) if ours.eq_ignore_ascii_case(&held.sha256) => "same",
            Some(_) => "different",
            None => "unknown",
        };
        is_same &= result == "same";
        parameters.push(json!({ "name": "file", "part": [
            { "name": "name", "valueString": held.name }, { "name": "result", "valueCode": result },
        ] }));
    }
    let compared = match asked.question.request.types.is_empty() {
        true => Compared::default(),
        false => match compare(&call.gateway, &call.caller, &asked.question, call.now).await {
            Err(Refusal::Busy) => return Err(Problem::too_many("$verify", 5)),
            compared => compared?,
        },
    };
    is_same &= compared.differences.is_empty();
    let differs = compared.differences.len();
    for difference in &compared.differences {
        let mut parts = vec![
            json!({ "name": "type", "valueCode": difference.range.resource_type }),
            json!({ "name": "prefix", "valueString": format!("{}*", difference.range.prefix) }),
            json!({ "name": "count", "valueInteger": difference.ours.count }),
            json!({ "name": "digest", "valueString": difference.ours.hex() }),
        ];
        for (id, digest) in difference.resources.iter().flatten() {
            parts.push(json!({ "name": "resource", "part": [
                { "name": "id", "valueId": id }, { "name": "digest", "valueString": digest },
            ] }));
        }
        parameters.push(json!({ "name": "differs", "part": parts }));
    }
    // Only where it was found to be the caller's: anything could stand there.
    let group = asked.question.cohort.as_ref().filter(|_| !asked.question.request.types.is_empty());
    let payload = json!({
        "recipient": call.caller.name, "group": group, "files": asked.files.len(), "types": asked.question.request.types,
        "resources": compared.resources, "differs": differs,
    });
    let event = witness::did(&call.gateway, &call.caller, Deed::Export, "verify", call.now);
    let audit = event.with("step", "verify").with_all(&payload).about([]).into();
    call.gateway.store.commit(Commit { audit: vec![audit], ..Commit::default() }).await?;
    parameters.insert(0, json!({ "name": "resources", "valueInteger": compared.resources }));
    parameters.insert(0, json!({ "name": "same", "valueBoolean": is_same }));
    let answer = json!({ "resourceType": "Parameters", "parameter": parameters });
    Ok(HttpResponse::Ok().content_type("application/fhir+json").body(answer.to_string()))
}

fn wrong(at: &str, sv: impl Into<String>, en: impl Into<String>) -> Issue {
    Issue::error(Code::Value, at, sv, en)
}

fn read(call: &Call, value: &Value) -> Result<Asked, Problem> {
    let mut asked = Asked::default();
    let mut issues = Vec::new();
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    let mut digits: Option<usize> = None;
    if value["resourceType"] != "Parameters" {
        issues.push(wrong("resourceType", "Kroppen ska vara Parameters.", "The body should be Parameters."));
    }
    for (n, parameter) in value["parameter"].as_array().map_or(&[][..], Vec::as_slice).iter().enumerate() {
        let at = format!("Parameters.parameter[{n}]");
        match parameter["name"].as_str().unwrap_or_default() {
            "group" => asked.question.cohort = text(parameter).map(str::to_owned),
            "list" => asked.question.list = parameter["valueBoolean"] == true,
            "digits" => digits = parameter["valueInteger"].as_u64().and_then(|n| usize::try_from(n).ok()).or(Some(usize::MAX)),
            "type" => kinds.extend(text(parameter).map(str::to_owned)),
            "_elements" => asked
                .question
                .request
                .elements
                .extend(text(parameter).into_iter().flat_map(|t| t.split(',')).map(|t| t.trim().to_owned())),
            "_typeFilter" => match text(parameter).and_then(|filter| filter.split_once('?')) {
                Some((kind, query)) => match criteria(&call.gateway, &call.caller, kind, query, call.now, false) {
                    Ok(_) => asked.question.request.filters.push((kind.to_owned(), query.to_owned())),
                    Err(found) => issues.extend(found),
                },
                None => issues.push(wrong(&at, "Ett filter är Typ?sökning.", "A filter is Type?search.")),
            },
            "within" => match range(parameter) {
                Some(range) => {
                    kinds.insert(range.resource_type.clone());
                    asked.question.within.insert(range);
                }
                None => issues.push(not_a_range(&at)),
            },
            "range" => match range(parameter).zip(sum(parameter)) {
                Some((range, sum)) => {
                    kinds.insert(range.resource_type.clone());
                    digits = digits.or(Some(range.prefix.len()));
                    if digits != Some(range.prefix.len()) {
                        issues.push(wrong(
                            &at,
                            "Alla delar som jämförs har lika många siffror.",
                            "All ranges that are compared have the same number of digits.",
                        ));
                    }
                    if asked.question.held.insert(range, sum).is_some() {
                        issues.push(wrong(&at, "Delen står två gånger.", "The range stands twice."));
                    }
                }
                None => issues.push(not_a_range(&at)),
            },
            "file" => match held_file(parameter) {
                Some(file) => asked.files.push(file),
                None => issues.push(wrong(
                    &at,
                    "En fil har delarna export (jobbets id), name och sha-256.",
                    "A file has the parts export (the job's id), name and sha-256.",
                )),
            },
            _ => issues.push(Issue::error(
                Code::NotSupported,
                at,
                "Parametern finns inte här; kända: file, type, range, digits, within, list, group, _typeFilter, _elements.",
                "There is no such parameter here; known: file, type, range, digits, within, list, group, _typeFilter, _elements.",
            )),
        }
    }
    let most = call.gateway.config.export.verify_ranges;
    if asked.question.held.len() > most || asked.files.len() > most {
        issues.push(Issue::error(
            Code::TooLong,
            "Parameters.parameter",
            format!("Högst {most} delar jämförs åt gången (export.verify_ranges)."),
            format!("At most {most} ranges are compared at a time (export.verify_ranges)."),
        ));
    }
    asked.question.digits = digits.unwrap_or(0);
    if asked.question.digits > MOST_DIGITS {
        issues.push(wrong("digits", format!("Högst {MOST_DIGITS} siffror."), format!("At most {MOST_DIGITS} digits.")));
    }
    if let Some(kind) = kinds.iter().find(|kind| !types().contains(&kind.as_str())) {
        let kind = super::super::problem::told(kind);
        issues.push(wrong(
            "type",
            format!("Resurstypen {kind} finns inte här."),
            format!("The resource type {kind} is not served."),
        ));
    }
    if kinds.is_empty() && asked.files.is_empty() {
        issues.push(wrong(
            "type",
            "Ange vad som jämförs: type, range eller file.",
            "Say what is compared: type, range or file.",
        ));
    }
    asked.question.request.types = kinds.into_iter().collect();
    if issues.is_empty() { Ok(asked) } else { Err(Problem::all(StatusCode::BAD_REQUEST, issues)) }
}

fn not_a_range(at: &str) -> Issue {
    wrong(
        at,
        "En del har type, prefix (högst fyra små hexsiffror; tomt eller * för alla), och för range count och digest (64 hexsiffror).",
        "A range has type, prefix (at most four small hex digits; empty or * for all), and for range count and digest (64 hex digits).",
    )
}

/// The value, whatever kind of text it is.
fn text(parameter: &Value) -> Option<&str> {
    parameter.as_object()?.iter().find(|(name, _)| name.starts_with("value")).and_then(|(_, value)| value.as_str())
}

fn part<'a>(parameter: &'a Value, name: &str) -> Option<&'a Value> {
    parameter["part"].as_array()?.iter().find(|part| part["name"] == name)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// FHIR has no empty strings: a prefix may end in `*`.
fn range(parameter: &Value) -> Option<Range> {
    let prefix = match part(parameter, "prefix") {
        Some(part) => text(part)?.trim_end_matches('*'),
        None => "",
    };
    let is_prefix = prefix.len() <= MOST_DIGITS && is_hex(prefix);
    let resource_type = text(part(parameter, "type")?)?.to_owned();
    is_prefix.then(|| Range { resource_type, prefix: prefix.to_owned() })
}

fn sum(parameter: &Value) -> Option<(u64, String)> {
    let count = part(parameter, "count")?;
    let count =
        ["valueInteger", "valueUnsignedInt", "valuePositiveInt"].iter().find_map(|name| count[*name].as_u64())?;
    let digest = text(part(parameter, "digest")?)?.to_ascii_lowercase();
    (digest.len() == 64 && is_hex(&digest)).then_some((count, digest))
}

fn held_file(parameter: &Value) -> Option<HeldFile> {
    let export = text(part(parameter, "export")?)?;
    let export = Uuid::parse_str(export.rsplit('/').next()?).ok()?;
    let name = text(part(parameter, "name")?)?.rsplit('/').next()?.to_owned();
    Some(HeldFile { export, name, sha256: text(part(parameter, "sha-256")?)?.to_owned() })
}
