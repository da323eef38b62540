//! What resources are found by: the search parameters served, and the terms of a resource for each of them.

use serde_json::Value;

use super::references::local;
use crate::fhir::r4::{self, Element};

/// A search parameter over one element; the first of `elements` that the type has.
pub struct Parameter {
    pub name: &'static str,
    pub form: &'static str,
    elements: &'static [&'static str],
}

const fn parameter(name: &'static str, form: &'static str, elements: &'static [&'static str]) -> Parameter {
    Parameter { name, form, elements }
}

/// Beside these: `_id` and `_lastUpdated` for every type.
const PARAMETERS: &[Parameter] = &[
    parameter("identifier", "token", &["identifier"]),
    parameter("status", "token", &["status"]),
    parameter("code", "token", &["code"]),
    parameter("group-identifier", "token", &["groupIdentifier"]),
    parameter("patient", "reference", &["patient", "subject", "for"]),
    parameter("subject", "reference", &["subject", "for"]),
    parameter("owner", "reference", &["owner"]),
    parameter("based-on", "reference", &["basedOn"]),
    parameter("focus", "reference", &["focus"]),
    parameter("part-of", "reference", &["partOf"]),
];

impl Parameter {
    fn element(&self, kind: &str) -> Option<&'static Element> {
        self.elements.iter().find_map(|name| r4::element(&format!("{kind}.{name}")))
    }
}

/// The parameters of a type, in the order of the table.
pub fn served(kind: &str) -> impl Iterator<Item = (&'static Parameter, &'static Element)> {
    PARAMETERS.iter().filter_map(move |p| Some((p, p.element(kind)?)))
}

/// What a resource is found by: a token's system and value, or a reference's type and id.
pub struct Term {
    pub param: &'static str,
    pub system: String,
    pub value: String,
}

pub fn terms(kind: &str, resource: &Value) -> Vec<Term> {
    let mut terms = Vec::new();
    for (parameter, element) in served(kind) {
        let Some(value) = resource.get(element.name) else { continue };
        for item in list(value) {
            let mut add = |system: Option<&str>, value: Option<&str>| {
                if let Some(value) = value {
                    let system = system.unwrap_or_default().to_owned();
                    terms.push(Term { param: parameter.name, system, value: value.to_owned() });
                }
            };
            if let Some(code) = item.as_str() {
                add(None, Some(code));
            } else if let Some((kind, id)) = text(item, "reference").and_then(local) {
                if parameter.name != "patient" || kind == "Patient" {
                    add(Some(kind), Some(id));
                }
            } else if let Some(codings) = item.get("coding") {
                list(codings).iter().for_each(|c| add(text(c, "system"), text(c, "code")));
            } else if parameter.form == "token" {
                add(text(item, "system"), text(item, "value"));
            }
        }
    }
    terms
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
