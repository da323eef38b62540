//! The values a resource is found by, read out of its elements.

use serde_json::Value;

use super::super::canonical::BASE;
use super::super::protection::is_protected;
use super::{Kind, Param, fold, moment, params};

/// One search value of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    Token {
        param: &'static str,
        system: String,
        code: String,
    },
    /// `Type/id` of the target, or `identifier:system|value` of a logical reference.
    Reference {
        param: &'static str,
        target: String,
    },
    /// A span of time in milliseconds, both ends included.
    Date {
        param: &'static str,
        low: i64,
        high: i64,
    },
    /// Words, as they are compared and as they stand.
    Text {
        param: &'static str,
        folded: String,
        exact: String,
    },
}

impl Index {
    /// The parameter it is a value of.
    pub fn param(&self) -> &'static str {
        match self {
            Self::Token { param, .. }
            | Self::Reference { param, .. }
            | Self::Date { param, .. }
            | Self::Text { param, .. } => param,
        }
    }
}

/// Everything the resource can be found by. Each value once.
pub fn index(resource: &Value) -> Vec<Index> {
    let resource_type = resource["resourceType"].as_str().unwrap_or_default();
    let mut out = Vec::new();
    let hides = is_protected(resource);
    for param in params(resource_type).iter().filter(|p| p.kept_as == p.name) {
        // By where a protected person lives nobody finds them.
        if hides && tells_where(param.name) {
            continue;
        }
        let before = out.len();
        for path in &param.paths {
            walk(resource, path, &mut |value| read(param, value, &mut out));
        }
        let mut kept = before;
        for at in before..out.len() {
            let known = out.get(before..kept).zip(out.get(at)).is_some_and(|(known, one)| known.contains(one));
            if !known {
                out.swap(kept, at);
                kept += 1;
            }
        }
        out.truncate(kept);
    }
    out
}

fn tells_where(name: &str) -> bool {
    matches!(name, "telecom" | "phone" | "email") || name.starts_with("address")
}

fn walk<'a>(value: &'a Value, path: &str, found: &mut impl FnMut(&'a Value)) {
    if let Value::Array(items) = value {
        items.iter().for_each(|item| walk(item, path, found));
        return;
    }
    if path.is_empty() {
        found(value);
        return;
    }
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    if let Some(stem) = name.strip_suffix("[x]") {
        let chosen =
            |key: &str| key.strip_prefix(stem).is_some_and(|t| t.starts_with(|c: char| c.is_ascii_uppercase()));
        for (_, child) in value.as_object().into_iter().flatten().filter(|(key, _)| chosen(key)) {
            walk(child, rest, found);
        }
        return;
    }
    if let Some(extension) = name.strip_prefix("extension[").and_then(|n| n.strip_suffix(']')) {
        let is_it = |e: &&Value| {
            let url = e["url"].as_str().and_then(|url| url.strip_prefix(BASE));
            url.and_then(|url| url.strip_prefix("/StructureDefinition/")) == Some(extension)
        };
        for child in value["extension"].as_array().into_iter().flatten().filter(is_it) {
            walk(child, rest, found);
        }
        return;
    }
    if let Some(child) = value.get(name) {
        walk(child, rest, found);
    }
}

fn read(param: &Param, value: &Value, out: &mut Vec<Index>) {
    match param.kind {
        Kind::Token => tokens(param.name, value, out),
        Kind::Uri | Kind::Canonical => canonicals(param, value, out),
        Kind::Reference => references(param.name, value, out),
        Kind::Date => spans(param.name, value, out),
        Kind::String => texts(param.name, value, out),
    }
}

/// A code, boolean, Coding, CodeableConcept or Identifier.
fn tokens(param: &'static str, value: &Value, out: &mut Vec<Index>) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    match value {
        Value::String(code) => out.push(Index::Token { param, system: String::new(), code: code.clone() }),
        Value::Bool(is) => out.push(Index::Token { param, system: String::new(), code: is.to_string() }),
        Value::Object(object) => {
            if let Some(codings) = object.get("coding").and_then(Value::as_array) {
                codings.iter().for_each(|coding| tokens(param, coding, out));
            } else if let Some(code) = object.get("code").or_else(|| object.get("value")) {
                let system = object.get("system").map(text).unwrap_or_default();
                out.push(Index::Token { param, system, code: text(code) });
            }
        }
        _ => {}
    }
}

/// A url, and without its version where it has one: whoever asks for a url means any version.
fn canonicals(param: &Param, value: &Value, out: &mut Vec<Index>) {
    let Some(url) = value.as_str() else { return };
    let bare = url.split_once('|').map(|(bare, _)| bare);
    for url in std::iter::once(url).chain(bare) {
        out.push(match param.kind {
            Kind::Canonical => Index::Reference { param: param.name, target: url.to_owned() },
            _ => Index::Token { param: param.name, system: String::new(), code: url.to_owned() },
        });
    }
}

fn references(param: &'static str, value: &Value, out: &mut Vec<Index>) {
    if let Some(target) = value["reference"].as_str().filter(|target| !target.starts_with('#')) {
        // Whoever points at a version points at the resource.
        let target = target.split("/_history/").next().unwrap_or(target);
        out.push(Index::Reference { param, target: target.to_owned() });
    }
    if let (Some(system), Some(value)) = (value["identifier"]["system"].as_str(), value["identifier"]["value"].as_str())
    {
        out.push(Index::Reference { param, target: logical(system, value) });
    }
}

/// How a logical reference is written in the index.
pub fn logical(system: &str, value: &str) -> String {
    format!("identifier:{system}|{value}")
}

/// A date, dateTime, instant, Period or Timing.
fn spans(param: &'static str, value: &Value, out: &mut Vec<Index>) {
    match value {
        Value::String(text) => out.extend(moment(text).map(|(low, high)| Index::Date { param, low, high })),
        Value::Object(object) if object.contains_key("repeat") || object.contains_key("event") => {
            for event in object.get("event").and_then(Value::as_array).into_iter().flatten() {
                spans(param, event, out);
            }
            if let Some(bounds) = object.get("repeat").and_then(|r| r.get("boundsPeriod")) {
                spans(param, bounds, out);
            }
        }
        Value::Object(period) => {
            let low = period.get("start").and_then(Value::as_str).and_then(moment).map(|(low, _)| low);
            let high = period.get("end").and_then(Value::as_str).and_then(moment).map(|(_, high)| high);
            // A period that ends before it begins is the validator's to refuse; here it must only not be lost.
            let (low, high) = match (low, high) {
                (None, None) => return,
                (Some(low), Some(high)) if low > high => (high, low),
                (low, high) => (low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX)),
            };
            out.push(Index::Date { param, low, high });
        }
        _ => {}
    }
}

/// A string, or any part of a HumanName.
fn texts(param: &'static str, value: &Value, out: &mut Vec<Index>) {
    match value {
        Value::String(text) => {
            out.push(Index::Text { param, folded: fold(text), exact: text.clone() });
        }
        Value::Object(name) => {
            for part in ["text", "family", "given", "prefix", "suffix"] {
                match name.get(part) {
                    Some(Value::Array(items)) => items.iter().for_each(|item| texts(param, item, out)),
                    Some(text @ Value::String(_)) => texts(param, text, out),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_is_found_by_its_identifier_owner_and_status() {
        let task = json!({
            "resourceType": "Task", "status": "requested",
            "identifier": [{ "system": "urn:x", "value": "1" }],
            "owner": { "reference": "Organization/a", "identifier": { "system": "urn:hsa", "value": "SE1" } },
            "code": { "coding": [{ "system": "urn:c", "code": "fulfill" }] },
        });
        let index = index(&task);
        assert!(index.contains(&Index::Token { param: "identifier", system: "urn:x".into(), code: "1".into() }));
        assert!(index.contains(&Index::Token { param: "status", system: String::new(), code: "requested".into() }));
        assert!(index.contains(&Index::Token { param: "code", system: "urn:c".into(), code: "fulfill".into() }));
        assert!(index.contains(&Index::Reference { param: "owner", target: "Organization/a".into() }));
        assert!(index.contains(&Index::Reference { param: "owner", target: "identifier:urn:hsa|SE1".into() }));
    }

    #[test]
    fn an_open_period_reaches_to_the_end_of_time() {
        let plan = json!({ "resourceType": "CarePlan", "period": { "start": "2026-01-01" } });
        assert!(matches!(index(&plan).as_slice(), [Index::Date { high: i64::MAX, .. }]));
    }

    #[test]
    fn choices_extensions_and_timings_are_walked_into_and_a_value_is_given_once() {
        let plan = json!({ "resourceType": "CarePlan", "activity": [
            { "detail": { "scheduledTiming": { "repeat": { "boundsPeriod": { "start": "2026-01-01", "end": "2026-01-31" } } },
              "performer": [{ "reference": "Organization/a/_history/3" }, { "reference": "#b" }],
              "extension": [{ "url": format!("{BASE}/StructureDefinition/intervention-id"), "valueString": "I1" },
                            { "url": "urn:else", "valueString": "X" }] } },
            { "detail": { "scheduledString": "ibland", "performer": [{ "reference": "Organization/a" }] } },
        ] });
        let (low, high) = (moment("2026-01-01").unwrap().0, moment("2026-01-31").unwrap().1);
        assert_eq!(
            index(&plan),
            [
                Index::Date { param: "activity-date", low, high },
                Index::Token { param: "intervention", system: String::new(), code: "I1".into() },
                Index::Reference { param: "performer", target: "Organization/a".into() },
            ]
        );
    }

    #[test]
    fn a_canonical_is_found_with_and_without_its_version() {
        let plan = json!({ "resourceType": "CarePlan", "instantiatesCanonical": ["urn:p|2"] });
        let of = |target: &str| Index::Reference { param: "instantiates-canonical", target: target.into() };
        assert_eq!(index(&plan), [of("urn:p|2"), of("urn:p")]);
    }
}
