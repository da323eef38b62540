//! Makes a resource fit for a registry that works with codes: everything that could lead to a person is coded or left out,
//! everything that is counted stays.
//!
//! The walk follows R4's own definitions and keeps what it knows, rather than taking away what it knows to be dangerous: an
//! element or type it has no rule for is left out. Ids, references and identifiers become codes; texts of any kind go,
//! narratives and displays too; codings stay where their system is known; a birth date becomes a year, and years of the very
//! old one year. Units keep their HSA-ids, persons who work there do not. Where R4 demands an element that had to go, it says
//! `masked` (<http://hl7.org/fhir/R4/extension-data-absent-reason.html>).

use serde_json::{Map, Value, json};

use super::cipher::Cipher;
use super::kept::{is_known_address, is_known_code, is_moment, is_small, is_word};
use crate::fhir::about::is_words;
use crate::fhir::canonical::BASE;
use crate::fhir::r4::{self, Found};

/// The system of a coded identifier.
pub const CODED: &str = "coded";
const MASKED: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
/// Who is older than this stands under the year of those who are: few people of a registry are, and a year would find them.
const OLDEST_YEARS: i32 = 90;
/// What these types hold is somebody's own words, or leads to the person; nothing of them is counted.
const NEVER: [&str; 16] = [
    "HumanName",
    "Address",
    "ContactPoint",
    "ContactDetail",
    "Attachment",
    "Annotation",
    "Narrative",
    "Signature",
    "Expression",
    "SampledData",
    "RelatedArtifact",
    "string",
    "markdown",
    "base64Binary",
    "xhtml",
    "uuid",
];
/// Resources beside somebody's words that hold nothing which is counted.
const UNCOUNTED: [&str; 2] = ["AuditEvent", "OperationOutcome"];
/// Elements that lead to a person although their type does not say so.
const PERSONAL: [&str; 10] = [
    "Patient.contact",
    "Patient.link",
    "Patient.photo",
    "Patient.communication",
    "Patient.multipleBirth[x]",
    "Practitioner.photo",
    "Practitioner.birthDate",
    "RelatedPerson.photo",
    "RelatedPerson.birthDate",
    "RelatedPerson.communication",
];
/// What somebody else's extension says of time could be a birth to the minute.
const TIMES: [&str; 6] = ["date", "dateTime", "instant", "time", "Period", "Timing"];

/// The resource as the registry gets it; `year` is this year's number. `None`: nothing of its type is for registries.
pub fn coded(resource: &Value, cipher: &Cipher, year: i32) -> Option<Value> {
    let resource_type = resource["resourceType"].as_str().filter(|name| is_counted(name))?;
    let Value::Object(coded) = Walk { cipher, year }.resource(resource_type, resource, false)? else { return None };
    Some(Value::Object(coded))
}

fn is_counted(resource_type: &str) -> bool {
    r4::is_resource(resource_type) && !is_words(resource_type) && !UNCOUNTED.contains(&resource_type)
}

struct Walk<'c> {
    cipher: &'c Cipher,
    year: i32,
}

impl Walk<'_> {
    fn resource(&self, resource_type: &str, resource: &Value, is_contained: bool) -> Option<Value> {
        let source = resource.as_object()?;
        let mut out = Map::new();
        out.insert("resourceType".into(), json!(resource_type));
        if let Some(id) = source.get("id").and_then(Value::as_str) {
            let code = if is_contained { self.cipher.code("#", id) } else { self.cipher.id(resource_type, id) };
            out.insert("id".into(), json!(code));
        }
        let rest = self.object(resource_type, source)?;
        out.extend(rest.into_iter().filter(|(name, _)| !matches!(name.as_str(), "resourceType" | "id")));
        Some(Value::Object(out))
    }

    /// The elements of a type, each by its own. `None`: one that R4 demands had to go, and it is a value.
    fn object(&self, content: &str, source: &Map<String, Value>) -> Option<Map<String, Value>> {
        let mut out = Map::new();
        for (name, value) in source {
            // Beside a primitive: extensions and ids, of which nothing is counted.
            if name.starts_with('_') {
                continue;
            }
            let Some(found) = r4::find(content, name) else { continue };
            if let Some(value) = self.element(&found, value) {
                out.insert(name.clone(), value);
            }
        }
        for element in r4::children(content).iter().filter(|element| element.min > 0) {
            let has = |object: &Map<String, Value>| object.keys().any(|name| is_named(name, element));
            if !has(source) || has(&out) {
                continue;
            }
            let mask = json!({ "extension": [{ "url": MASKED, "valueCode": "masked" }] });
            let is_primitive = element.types.iter().any(|t| r4::is_primitive(t.code));
            match (is_primitive, element.is_list()) {
                (true, false) => {
                    // A choice keeps the name it had.
                    let name = source.keys().find(|name| is_named(name, element))?;
                    out.insert(format!("_{name}"), mask);
                }
                (true, true) => return None,
                (false, true) => {
                    out.insert(element.name.to_owned(), json!([mask]));
                }
                (false, false) => {
                    let name = source.keys().find(|name| is_named(name, element))?;
                    let is_primitive = r4::find(content, name).is_some_and(|f| r4::is_primitive(f.type_code));
                    out.insert(if is_primitive { format!("_{name}") } else { name.clone() }, mask);
                }
            }
        }
        Some(out)
    }

    fn element(&self, found: &Found, value: &Value) -> Option<Value> {
        if PERSONAL.contains(&found.element.path) {
            return None;
        }
        if let Value::Array(items) = value {
            let kept: Vec<Value> = items.iter().filter_map(|item| self.one(found, item)).collect();
            return (!kept.is_empty()).then_some(Value::Array(kept));
        }
        self.one(found, value)
    }

    fn one(&self, found: &Found, value: &Value) -> Option<Value> {
        if NEVER.contains(&found.type_code) {
            return None;
        }
        match (found.element.path, value) {
            ("Patient.birthDate", Value::String(date)) => return self.birth_year(date).map(Value::String),
            ("Patient.deceased[x]", Value::String(moment)) => {
                return moment.get(..4).filter(|year| is_moment(year)).map(|year| json!(year));
            }
            ("Meta.source", Value::String(source)) => return self.source(source),
            _ => {}
        }
        match (found.type_code, value) {
            ("Resource", Value::Object(object)) => {
                let resource_type = object.get("resourceType")?.as_str().filter(|name| is_counted(name))?;
                self.resource(resource_type, value, true)
            }
            ("Reference", Value::Object(object)) => self.reference(object),
            ("Identifier", Value::Object(object)) => self.identifier(object),
            ("Coding", Value::Object(object)) => coding(object),
            ("Quantity" | "Age" | "Duration" | "Count" | "Distance" | "Money", Value::Object(object)) => {
                quantity(object)
            }
            ("Extension", Value::Object(object)) => self.extension(object),
            (_, Value::Object(object)) => {
                let kept = self.object(found.content, object)?;
                // A quantity without its number, a concept without a coding: what is left says nothing.
                (!kept.is_empty()).then_some(Value::Object(kept))
            }
            (type_code, Value::String(text)) => {
                let stays = match type_code {
                    "code" => is_word(text),
                    // It would claim what a coded resource is not: a profile of ours wants the number.
                    "canonical" if found.element.path == "Meta.profile" => false,
                    "uri" | "url" | "canonical" | "oid" => is_known_address(text),
                    "date" | "dateTime" | "instant" | "time" => {
                        return moment(found.type_code, text).map(Value::String);
                    }
                    // `meta.versionId`: a count.
                    "id" => text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit()),
                    _ => false,
                };
                stays.then(|| value.clone())
            }
            (_, Value::Number(number)) => is_small(&number.to_string()).then(|| value.clone()),
            (_, Value::Bool(_)) => Some(value.clone()),
            _ => None,
        }
    }

    /// A year; all who are older than [`OLDEST_YEARS`] in one.
    fn birth_year(&self, date: &str) -> Option<String> {
        let year: i32 = date.get(..4)?.parse().ok()?;
        Some(format!("{:04}", year.max(self.year - OLDEST_YEARS)))
    }

    /// `meta.source` names the unit that sent it, behind a `#` or as the last part of a URN.
    fn source(&self, source: &str) -> Option<Value> {
        let unit = source.rsplit(['#', ':']).next().unwrap_or_default();
        let before = source.strip_suffix(unit)?;
        let is_ours = matches!(before, "urn:oid:1.2.752.129.2.1.4.1#" | "urn:vardkedja:unit:");
        (is_ours && self.cipher.is_unit(unit)).then(|| json!(source))
    }

    fn reference(&self, source: &Map<String, Value>) -> Option<Value> {
        let mut out = Map::new();
        if let Some(target) = source.get("reference").and_then(Value::as_str) {
            if let Some(inside) = target.strip_prefix('#') {
                out.insert("reference".into(), json!(format!("#{}", self.cipher.code("#", inside))));
            } else if let Some((resource_type, id)) = target.split_once('/').filter(|(name, _)| r4::is_resource(name)) {
                // A reference to a version is one to the resource.
                let id = id.split('/').next().unwrap_or_default();
                out.insert("reference".into(), json!(format!("{resource_type}/{}", self.cipher.id(resource_type, id))));
            }
        }
        if let Some(resource_type) = source.get("type").and_then(Value::as_str).filter(|name| r4::is_resource(name)) {
            out.insert("type".into(), json!(resource_type));
        }
        if let Some(Value::Object(identifier)) = source.get("identifier")
            && let Some(identifier) = self.identifier(identifier)
        {
            out.insert("identifier".into(), identifier);
        }
        let leads = out.contains_key("reference") || out.contains_key("identifier");
        leads.then_some(Value::Object(out))
    }

    /// A unit's stays; any other becomes a code, the same wherever the same identifier stands.
    fn identifier(&self, source: &Map<String, Value>) -> Option<Value> {
        let value = source.get("value")?.as_str()?;
        let system = source.get("system").and_then(Value::as_str).unwrap_or_default();
        if self.cipher.is_unit(value) && is_known_address(system) {
            return Some(json!({ "system": system, "value": value }));
        }
        Some(json!({ "system": format!("{BASE}/sid/{CODED}"), "value": self.cipher.code(system, value) }))
    }

    /// Only those of standards and ours, and of them only what is no text. What names a part of a plan becomes a code.
    fn extension(&self, source: &Map<String, Value>) -> Option<Value> {
        let url = source.get("url")?.as_str().filter(|url| is_known_address(url))?;
        let mut out = Map::new();
        out.insert("url".into(), json!(url));
        for (name, value) in source.iter().filter(|(name, _)| *name != "url" && !name.starts_with('_')) {
            let kept = match (name.as_str(), value) {
                ("valueString", Value::String(text)) if url.starts_with(BASE) => {
                    Some(json!(self.cipher.code(url, text)))
                }
                _ => r4::find("Extension", name)
                    .filter(|found| url.starts_with(BASE) || !TIMES.contains(&found.type_code))
                    .and_then(|found| self.element(&found, value)),
            };
            if let Some(kept) = kept {
                out.insert(name.clone(), kept);
            }
        }
        (out.len() > 1).then_some(Value::Object(out))
    }
}

fn coding(source: &Map<String, Value>) -> Option<Value> {
    let system = source.get("system")?.as_str()?;
    let code = source.get("code")?.as_str()?;
    is_known_code(system, code).then(|| json!({ "system": system, "code": code }))
}

/// A moment as a registry needs it. Our own milliseconds would tell two registries which of their rows are one: times go to the
/// minute, and when we wrote something (an instant) to the day.
fn moment(type_code: &str, text: &str) -> Option<String> {
    if !is_moment(text) {
        return None;
    }
    let Some((date, time)) = text.split_once('T').filter(|_| type_code != "date") else { return Some(text.to_owned()) };
    if type_code == "instant" {
        return Some(format!("{date}T00:00:00Z"));
    }
    let zone = time.find(['Z', '+', '-']).and_then(|at| time.get(at..)).unwrap_or_default();
    Some(format!("{date}T{}:00{zone}", time.get(..5)?))
}

/// The number and its coded unit; a unit in words is a text.
fn quantity(source: &Map<String, Value>) -> Option<Value> {
    let mut out = Map::new();
    let number = source.get("value").filter(|value| value.is_number() && is_small(&value.to_string()))?;
    out.insert("value".into(), number.clone());
    let comparator = source.get("comparator").and_then(Value::as_str);
    if let Some(comparator) = comparator.filter(|c| ["<", "<=", ">=", ">"].contains(c)) {
        out.insert("comparator".into(), json!(comparator));
    }
    let unit = source.get("system").and_then(Value::as_str).zip(source.get("code").and_then(Value::as_str));
    if let Some((system, code)) = unit.filter(|(system, code)| is_known_code(system, code)) {
        out.insert("system".into(), json!(system));
        out.insert("code".into(), json!(code));
    }
    Some(Value::Object(out))
}

fn is_named(name: &str, element: &r4::Element) -> bool {
    name == element.name || element.is_choice() && name.starts_with(element.stem())
}
