//! Swedish values, wherever they stand: an Identifier or Coding with a Swedish system is checked as what it claims.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::path::Path;
use crate::domain::issuer::{Issuer, PersonIdKind};
use crate::domain::kva::{self, CodeList, Refusal};
use crate::domain::person_id::{PersonId, PersonIdError};
use crate::domain::{hsa_id, icd10};
use crate::fhir::issue::{Code, Issue, Severity};
use crate::fhir::primitive::days_of;

const ORGANISATION_NUMBER: &str = "urn:oid:2.5.4.97";

/// Checks the value of an Identifier whose system is Swedish.
pub fn identifier(object: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<Issue>) {
    let (Some(system), Some(value)) = (text(object, "system"), text(object, "value")) else { return };
    let at = path.field("value");
    if let Some(read) = PersonId::parse_in(system, value) {
        let kind = Issuer::of_system(system).map_or("", Issuer::name);
        match read {
            Ok(id) if id.value() == value => {}
            Ok(_) => out.push(Issue::error(
                Code::Value,
                &at,
                format!("{kind}: skrivs med tolv tecken utan bindestreck och med stora bokstäver"),
                format!("{kind}: is written with twelve characters, no hyphen, capital letters"),
            )),
            Err(error) => out.push(Issue::new(
                severity(system, error),
                Code::Value,
                &at,
                format!("{kind}: {}", error.sv()),
                format!("{kind}: {error}"),
            )),
        }
    } else if hsa_id::is_system(system) {
        if let Err(error) = hsa_id::HsaId::parse(value) {
            out.push(Issue::error(Code::Value, &at, format!("HSA-id {}", error.sv()), format!("the HSA-id {error}")));
        }
    } else if system == ORGANISATION_NUMBER && !(value.len() == 10 && value.bytes().all(|b| b.is_ascii_digit())) {
        out.push(Issue::error(
            Code::Value,
            &at,
            "organisationsnummer skrivs med tio siffror utan bindestreck",
            "an organisation number is written with ten digits, no hyphen",
        ));
    }
}

/// The published examples put regional reserve numbers under the national system, so that is only warned of.
fn severity(system: &str, error: PersonIdError) -> Severity {
    let reserve = Issuer::of_system(system).is_some_and(|i| i.kind() == PersonIdKind::Reservnummer);
    match error {
        PersonIdError::OtherIssuer { found } if reserve && found.kind() == PersonIdKind::Reservnummer => {
            Severity::Warning
        }
        _ => Severity::Error,
    }
}

/// What the KVÅ codings of one resource add up to.
#[derive(Default)]
pub struct Acts {
    main: bool,
    /// Where the first add-on code stands.
    add_on: Option<String>,
}

/// Checks the code of a Coding whose system is Swedish.
pub fn coding(
    object: &Map<String, Value>,
    path: &Path<'_>,
    resource: &Resource<'_>,
    acts: &mut Acts,
    out: &mut Vec<Issue>,
) {
    let (Some(system), Some(code)) = (text(object, "system"), text(object, "code")) else { return };
    if icd10::is_system(system) {
        if let Err(error) = icd10::Icd10::parse(code) {
            let (sv, en) = (format!("ICD-10-SE: {}", error.sv()), format!("ICD-10-SE: {error}"));
            out.push(Issue::error(Code::CodeInvalid, &path.field("code"), sv, en));
        }
    } else if kva::is_system(system) {
        match resource.codes.lookup(code, resource.days()) {
            Ok(known) if known.add_on => {
                acts.add_on.get_or_insert_with(|| path.to_string());
            }
            Ok(_) => acts.main = true,
            Err(refusal) => {
                // A main act with a doubtful code is still no lonely add-on.
                acts.main = true;
                out.push(refused(code, &refusal, resource, &path.field("code")));
            }
        }
    }
}

fn refused(code: &str, refusal: &Refusal<'_>, resource: &Resource<'_>, at: &Path<'_>) -> Issue {
    match refusal {
        Refusal::Form => Issue::error(
            Code::CodeInvalid,
            at,
            "en KVÅ-kod är två bokstäver och tre siffror, eller tre bokstäver och två siffror",
            "a KVÅ code is two letters and three digits, or three letters and two digits",
        ),
        Refusal::Unknown(near) => {
            let near: Vec<String> = near.iter().map(|k| format!("{} {}", k.code, k.display)).collect();
            let (sv, en) = match &near[..] {
                [] => Default::default(),
                _ => (format!(" Menade du {}?", near.join(", ")), format!(" Did you mean {}?", near.join(", "))),
            };
            // A list that is no more than a part cannot say that a code does not exist. An act that was done is
            // counted by the list, so there it must be in it; what is asked for may be anything.
            let severity = match resource.codes.is_complete() || resource.kind == "Procedure" {
                true => Severity::Error,
                false => Severity::Warning,
            };
            Issue::new(
                severity,
                Code::CodeInvalid,
                at,
                format!("KVÅ-koden {code} finns inte i kodlistan.{sv} Rätta koden, eller för in den i listan."),
                format!("the KVÅ code {code} is not in the code list.{en} Correct it, or add it to the list."),
            )
        }
        Refusal::NotYetValid(known) => {
            let from = known.valid_from.map_or_else(String::new, |d| d.to_string());
            Issue::error(
                Code::CodeInvalid,
                at,
                format!("KVÅ-koden {code} gäller först från {from}"),
                format!("the KVÅ code {code} is valid only from {from}"),
            )
        }
        Refusal::NoLongerValid(known) => {
            let to = known.valid_to.map_or_else(String::new, |d| d.to_string());
            Issue::error(
                Code::CodeInvalid,
                at,
                format!("KVÅ-koden {code} gällde till och med {to}; välj en kod som gällde den dagen"),
                format!("the KVÅ code {code} was valid until {to}; choose a code that was valid on the day"),
            )
        }
    }
}

/// The resource a coding stands in.
pub struct Resource<'a> {
    pub kind: &'a str,
    pub object: &'a Map<String, Value>,
    pub codes: &'a CodeList,
}

impl Resource<'_> {
    /// The first and last day of those on which its codes must have been valid.
    fn days(&self) -> Option<(NaiveDate, NaiveDate)> {
        let names: &[&str] = match self.kind {
            "Procedure" => &["performedDateTime", "performedPeriod"],
            "ServiceRequest" => &["authoredOn", "occurrenceDateTime", "occurrencePeriod"],
            "CarePlan" => &["created", "period"],
            "Task" => &["authoredOn"],
            _ => return None,
        };
        names.iter().find_map(|name| {
            let value = self.object.get(*name)?;
            days_of(value.as_str().or_else(|| value.get("start")?.as_str())?)
        })
    }

    /// ZV051 and its like never stand alone: in an act of their own they are part of another, in a list of codes they
    /// stand beside one.
    pub fn judge(&self, acts: &Acts, out: &mut Vec<Issue>) {
        let Some(at) = &acts.add_on else { return };
        let part = self.kind == "Procedure" && self.is_part();
        let (sv, en) = match (self.kind == "Procedure" && acts.main, acts.main || part) {
            (true, _) => (
                "en tilläggskod (t.ex. ZV051) och huvudåtgärden är två åtgärder; gör en egen Procedure med partOf",
                "an add-on code (as ZV051) and the main act are two acts; make a Procedure of its own with partOf",
            ),
            (false, false) => (
                "en tilläggskod (t.ex. ZV051) står aldrig ensam; ange huvudåtgärden (för Procedure: partOf)",
                "an add-on code (as ZV051) never stands alone; give the main act (in a Procedure: partOf)",
            ),
            (false, true) => return,
        };
        out.push(Issue::error(Code::BusinessRule, at.as_str(), sv, en));
    }

    /// Whether `partOf` leads to something that is not the resource itself: a name alone leads nowhere.
    fn is_part(&self) -> bool {
        let id = text(self.object, "id");
        let own = |target: &str| {
            let target = target.split_once("/_history/").map_or(target, |(before, _)| before);
            let last = target.rsplit(['/', ':', '#']).next().unwrap_or_default();
            last.is_empty() || Some(last) == id
        };
        let own_identifier = |identifier: &Value| {
            let mine = self.object.get("identifier").and_then(Value::as_array).into_iter().flatten();
            mine.into_iter().any(|i| ["system", "value"].iter().all(|part| i.get(part) == identifier.get(part)))
        };
        let leads = |part: &Value| match part.get("reference").and_then(Value::as_str) {
            Some(reference) => !own(reference),
            None => part.get("identifier").is_some_and(|i| {
                i.get("value").and_then(Value::as_str).is_some_and(|v| !v.is_empty()) && !own_identifier(i)
            }),
        };
        self.object.get("partOf").and_then(Value::as_array).into_iter().flatten().any(leads)
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}
