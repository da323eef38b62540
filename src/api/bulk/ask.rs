//! The parameters of `$export`: each is served, refused, or left out at the caller's wish; all that is wrong is told at once.

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::problem::{Problem, told};
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::issue::{Code, Issue, Severity};
use crate::fhir::search::types;
use crate::fhir::subset::has_element;
use crate::registry::criteria::criteria;
use crate::registry::request::Associated;
use crate::registry::{Request, Wish};
use crate::store::ExportLevel;

/// A parameter as it was sent.
#[derive(Debug, Clone)]
pub struct Given {
    pub name: String,
    pub value: String,
    pub in_url: bool,
}

/// What parameters are read by.
pub struct Reading<'a> {
    pub gateway: &'a Gateway,
    pub caller: &'a Caller,
    pub now: DateTime<Utc>,
    /// `Prefer: handling=lenient`: what is not served is left out, and said in the manifest.
    pub is_lenient: bool,
    pub level: ExportLevel,
}

const FORMATS: [&str; 4] = ["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"];
const KNOWN: &str =
    "_outputFormat, _since, _until, _type, _typeFilter, _elements, includeAssociatedData, patient (POST)";
/// Each at most once.
const ONCE: [&str; 4] = ["_outputFormat", "_since", "_until", "_format"];

/// What is wrong with one parameter.
enum Fault {
    /// Not served: a lenient caller may leave it out.
    Unserved(Issue),
    Wrong(Issue),
}

fn wrong(name: &str, sv: impl Into<String>, en: impl Into<String>) -> Fault {
    Fault::Wrong(Issue::error(Code::Value, name, sv, en))
}

fn unserved(name: &str, sv: impl Into<String>, en: impl Into<String>) -> Fault {
    Fault::Unserved(Issue::error(Code::NotSupported, name, sv, en))
}

impl Reading<'_> {
    pub fn read(&self, given: Vec<Given>, cohort: Option<String>, address: String) -> Result<Wish, Problem> {
        let mut wish = Wish {
            level: self.level,
            cohort,
            address,
            since: None,
            until: None,
            types: None,
            request: Request::default(),
            left_out: Vec::new(),
        };
        let limits = &self.gateway.config.limits;
        let patients = given.iter().filter(|one| one.name == "patient").count();
        for (count, most, limit) in [
            (patients, limits.items, "limits.items"),
            (given.len() - patients, limits.search_terms, "limits.search_terms"),
        ] {
            if count > most {
                return Err(Problem::bad_request(
                    "",
                    format!("{count} parametrar; högst {most} tas emot ({limit})."),
                    format!("{count} parameters; at most {most} are taken ({limit})."),
                ));
            }
        }
        let mut faults = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for one in given {
            if ONCE.contains(&one.name.as_str()) && seen.contains(&one.name) {
                faults.push(wrong(told(&one.name), "Anges en gång.", "Is given once."));
            }
            faults.extend(self.one(&one, &mut wish));
            seen.push(one.name);
        }
        self.together(&mut wish, &mut faults);
        let mut issues = Vec::new();
        for fault in faults {
            match fault {
                Fault::Unserved(issue) if self.is_lenient => {
                    wish.left_out.push(Issue { severity: Severity::Warning, ..issue });
                }
                Fault::Unserved(issue) | Fault::Wrong(issue) => issues.push(issue),
            }
        }
        if issues.is_empty() { Ok(wish) } else { Err(Problem::all(StatusCode::BAD_REQUEST, issues)) }
    }

    fn one(&self, given: &Given, wish: &mut Wish) -> Vec<Fault> {
        let value = given.value.as_str();
        let done = |result: Result<(), Fault>| result.err().into_iter().collect::<Vec<_>>();
        match given.name.as_str() {
            "_format" => Vec::new(),
            "_outputFormat" if FORMATS.contains(&value) => Vec::new(),
            "_outputFormat" => {
                let known = "application/fhir+ndjson, application/ndjson, ndjson";
                done(Err(unserved(
                    "_outputFormat",
                    format!("Format som finns: {known}."),
                    format!("Formats served: {known}."),
                )))
            }
            "_since" => done(instant("_since", value).map(|at| wish.since = Some(at))),
            "_until" => done(instant("_until", value).map(|at| wish.until = Some(at))),
            "_type" => self.types(value, wish),
            "_typeFilter" => self.filters(given, wish),
            "_elements" => elements(value, wish),
            "includeAssociatedData" => associated(value, wish),
            "patient" => done(self.patient(given, wish)),
            name => done(Err(unserved(
                told(name),
                format!("Parametern finns inte här; kända: {KNOWN}."),
                format!("There is no such parameter here; known: {KNOWN}."),
            ))),
        }
    }

    fn types(&self, value: &str, wish: &mut Wish) -> Vec<Fault> {
        let list = wish.types.get_or_insert_with(Vec::new);
        let mut faults = Vec::new();
        for kind in value.split(',').map(str::trim) {
            if types().contains(&kind) {
                list.push(kind.to_owned());
            } else {
                let name = told(kind);
                faults.push(unserved(
                    "_type",
                    format!("Resurstypen {name} finns inte här; se /fhir/metadata."),
                    format!("The resource type {name} is not served; see /fhir/metadata."),
                ));
            }
        }
        faults
    }

    fn filters(&self, given: &Given, wish: &mut Wish) -> Vec<Fault> {
        let mut faults = Vec::new();
        for filter in split(&given.value) {
            let Some((kind, query)) = filter.split_once('?').filter(|(kind, _)| types().contains(kind)) else {
                faults.push(wrong(
                    "_typeFilter",
                    "Ett filter är en typ som finns här och en sökning: Procedure?code=DV133.",
                    "A filter is a type that is served and a search: Procedure?code=DV133.",
                ));
                continue;
            };
            match criteria(self.gateway, self.caller, kind, query, self.now, given.in_url) {
                Ok(_) => wish.request.filters.push((kind.to_owned(), query.to_owned())),
                Err(issues) => faults.extend(issues.into_iter().map(|issue| {
                    let expression = format!("_typeFilter.{kind}.{}", issue.expression);
                    let issue = Issue { expression, ..issue };
                    if issue.code == Code::NotSupported { Fault::Unserved(issue) } else { Fault::Wrong(issue) }
                })),
            }
        }
        faults
    }

    fn patient(&self, given: &Given, wish: &mut Wish) -> Result<(), Fault> {
        if given.in_url {
            return Err(wrong(
                "patient",
                "Patienter anges i kroppen: POST med Parameters.",
                "Patients are given in the body: POST with Parameters.",
            ));
        }
        if self.level == ExportLevel::System {
            return Err(wrong(
                "patient",
                "Finns för Patient/$export och Group/{id}/$export.",
                "Is for Patient/$export and Group/{id}/$export.",
            ));
        }
        let reference = serde_json::from_str::<Value>(&given.value).ok();
        let reference = reference.as_ref().and_then(|r| r["reference"].as_str()).unwrap_or(&given.value);
        let own = format!("{}/fhir/", self.gateway.config.base_url);
        let id = reference.strip_prefix(&own).unwrap_or(reference).strip_prefix("Patient/");
        let id = id.filter(|id| !id.is_empty() && id.len() <= 64 && !id.contains('/'));
        let id = id.ok_or_else(|| {
            wrong(
                "patient",
                "En referens till patienten: valueReference.reference = Patient/id.",
                "A reference to the patient: valueReference.reference = Patient/id.",
            )
        })?;
        let patients = wish.request.patients.get_or_insert_with(Vec::new);
        if !patients.iter().any(|known| known == id) {
            patients.push(id.to_owned());
        }
        Ok(())
    }

    /// What only shows when all have been read.
    fn together(&self, wish: &mut Wish, faults: &mut Vec<Fault>) {
        if wish.since.zip(wish.until).is_some_and(|(since, until)| since > until) {
            faults.push(wrong("_until", "Ligger före _since.", "Is before _since."));
        }
        let asked = wish.types.clone();
        let is_asked = |kind: &str| asked.as_ref().is_none_or(|types| types.iter().any(|t| t == kind));
        let mut outside: Vec<&str> =
            wish.request.filters.iter().map(|(kind, _)| kind.as_str()).filter(|kind| !is_asked(kind)).collect();
        outside.dedup();
        for kind in outside {
            faults.push(wrong(
                "_typeFilter",
                format!("{kind} filtreras men finns inte i _type."),
                format!("{kind} is filtered but is not in _type."),
            ));
        }
        for element in &wish.request.elements {
            let is_element = match element.split_once('.') {
                Some((kind, name)) => types().contains(&kind) && has_element(kind, name),
                None => types().iter().filter(|kind| is_asked(kind)).any(|kind| has_element(kind, element)),
            };
            if !is_element {
                let name = element.split('.').map(told).collect::<Vec<_>>().join(".");
                faults.push(wrong(
                    "_elements",
                    format!("{name} är inget element på första nivån i det som begärs."),
                    format!("{name} is no element of the first level of what is asked for."),
                ));
            }
        }
        if wish.types.as_ref().is_some_and(Vec::is_empty) && faults.is_empty() {
            faults.push(wrong("_type", "Är tomt.", "Is empty."));
        }
    }
}

/// A point in time with its zone; a `+` that was not encoded has become a space.
fn instant(name: &str, text: &str) -> Result<DateTime<Utc>, Fault> {
    let at = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    // What the database cannot count is no point in time.
    let at = at.map(|at| at.to_utc()).ok().filter(|at| at.timestamp_millis().abs() < i64::MAX / 4);
    at.ok_or_else(|| {
        wrong(
            name,
            "Värdet ska vara ett klockslag med zon, t.ex. 2026-01-31T10:00:00Z.",
            "The value should be an instant with its zone, like 2026-01-31T10:00:00Z.",
        )
    })
}

/// Several filters in one value: a comma that a type and a question mark follow.
fn split(value: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = value;
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(|tail| tail.find(',')).map(|at| at + from) {
        let tail = rest.get(at + 1..).unwrap_or_default();
        let is_next = tail.split_once('?').is_some_and(|(kind, _)| types().contains(&kind));
        if is_next {
            parts.push(rest.get(..at).unwrap_or_default());
            rest = tail;
            from = 0;
        } else {
            from = at + 1;
        }
    }
    parts.push(rest);
    parts
}

fn elements(value: &str, wish: &mut Wish) -> Vec<Fault> {
    for element in value.split(',').map(str::trim) {
        wish.request.elements.push(element.to_owned());
    }
    Vec::new()
}

fn associated(value: &str, wish: &mut Wish) -> Vec<Fault> {
    let mut faults = Vec::new();
    for name in value.split(',').map(str::trim) {
        match Associated::parse(name) {
            Some(which) => wish.request.provenance = Some(which),
            None => {
                let known = "LatestProvenanceResources, RelevantProvenanceResources";
                let (sv, en) = (format!("Värden som finns: {known}."), format!("Values served: {known}."));
                faults.push(unserved("includeAssociatedData", sv, en));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_filters_and_values_alike() {
        assert_eq!(
            split("Procedure?code=DV133,DV132&date=ge2026,Task?status=requested"),
            ["Procedure?code=DV133,DV132&date=ge2026", "Task?status=requested"]
        );
        assert_eq!(split("Procedure?code=a,b"), ["Procedure?code=a,b"]);
        assert_eq!(split(""), [""]);
    }
}
