//! Reads the fields of a small JSON body: everything that is wrong with them in one answer.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::problem::told;
use crate::domain::{HsaId, PersonId};
use crate::fhir::guard;
use crate::fhir::issue::{Code, Issue};
use crate::sync::Refusal;

/// An object being read, and what is wrong with it so far.
pub struct Fields {
    object: Map<String, Value>,
    now: DateTime<Utc>,
    issues: Vec<Issue>,
}

/// Texts that people write here are a sentence or two.
const LONGEST_TEXT: usize = 1000;

impl Fields {
    pub fn read(body: &[u8], known: &[&str], now: DateTime<Utc>) -> Result<Self, Refusal> {
        let value = guard::parse(body, &guard::Limits::DOCUMENT).map_err(Refusal::Malformed)?;
        let Value::Object(object) = value else {
            return Err(Refusal::Malformed(vec![Issue::error(
                Code::Structure,
                "",
                "Kroppen ska vara ett objekt.",
                "The body should be an object.",
            )]));
        };
        let unknown = object.keys().filter(|name| !known.contains(&name.as_str()));
        let list = known.join(", ");
        let issues = unknown.map(|name| {
            Issue::error(
                Code::Structure,
                told(name),
                format!("Okänt fält; kända: {list}."),
                format!("Unknown field; known: {list}."),
            )
        });
        let issues = issues.collect();
        Ok(Self { object, now, issues })
    }

    pub fn value(&self, name: &str) -> Option<&Value> {
        self.object.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    fn wrong(&mut self, name: &str, sv: impl Into<String>, en: impl Into<String>) {
        let code = if self.object.contains_key(name) { Code::Value } else { Code::Required };
        self.issues.push(Issue::error(code, name, sv, en));
    }

    /// A personnummer, samordningsnummer or reservnummer.
    pub fn person(&mut self, name: &str) -> Option<PersonId> {
        match self.object.get(name).and_then(Value::as_str).map(PersonId::parse) {
            Some(Ok(person)) => return Some(person),
            Some(Err(error)) => self.wrong(name, error.sv(), error.to_string()),
            None => self.wrong(
                name,
                "Ange patientens personnummer, tolv tecken (ÅÅÅÅMMDDNNNN).",
                "Give the patient's personnummer, twelve characters (YYYYMMDDNNNN).",
            ),
        }
        None
    }

    pub fn unit(&mut self, name: &str) -> Option<String> {
        let unit = self.object.get(name).and_then(Value::as_str).filter(|unit| HsaId::parse(unit).is_ok());
        let unit = unit.map(str::to_ascii_uppercase);
        if unit.is_none() {
            self.wrong(name, "Ange enhetens HSA-id.", "Give the unit's HSA-id.");
        }
        unit
    }

    /// A time with its zone, not later than now.
    pub fn past(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.object.get(name).and_then(Value::as_str);
        let at = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|at| at.with_timezone(&Utc));
        match at {
            Some(at) if at <= self.now => Some(at),
            Some(_) => {
                self.wrong(name, "Tiden har inte varit än.", "The time has not been yet.");
                None
            }
            None => {
                self.wrong(
                    name,
                    "Ange en tid med zon, som 2026-03-01T10:00:00+01:00.",
                    "Give a time with its zone, as 2026-03-01T10:00:00+01:00.",
                );
                None
            }
        }
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        let text = self.object.get(name).and_then(Value::as_str).map(str::trim);
        let text = text.filter(|text| !text.is_empty() && text.len() <= LONGEST_TEXT).map(str::to_owned);
        if text.is_none() {
            let (sv, en) = (
                format!("Ange en text, högst {LONGEST_TEXT} byte."),
                format!("Give a text of at most {LONGEST_TEXT} bytes."),
            );
            self.wrong(name, sv, en);
        }
        text
    }

    pub fn id(&mut self, name: &str) -> Option<uuid::Uuid> {
        let id = self.object.get(name).and_then(Value::as_str).and_then(|id| id.parse().ok());
        if id.is_none() {
            self.wrong(name, "Ange ett id (UUID).", "Give an id (UUID).");
        }
        id
    }

    pub fn count(&mut self, name: &str) -> Option<i64> {
        let count = self.object.get(name).and_then(Value::as_i64).filter(|count| *count >= 0);
        if count.is_none() {
            self.wrong(name, "Ange ett heltal från 0.", "Give a whole number from 0.");
        }
        count
    }

    /// A finding of the one who asks.
    pub fn add(&mut self, issue: Issue) {
        self.issues.push(issue);
    }

    /// What was read, unless something was wrong. `all` is there exactly when nothing was.
    pub fn done<T>(self, all: Option<T>) -> Result<T, Refusal> {
        match all {
            Some(all) if self.issues.is_empty() => Ok(all),
            _ => Err(Refusal::Findings(self.issues)),
        }
    }
}
