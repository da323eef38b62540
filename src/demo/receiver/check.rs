//! Whether what came in is R4 at all: known elements, lists where lists belong, required elements, JSON types, codes.
//!
//! Only what a primary care system's own parser would notice; profiles and rules are the gateway's business.

use serde_json::{Map, Value};

use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4::{self, Found};

/// Every structural finding in a resource; `at` is the expression of the resource itself.
pub fn check(resource: &Value, at: &str) -> Vec<Issue> {
    let mut issues = Vec::new();
    match kind_of(resource) {
        Some(kind) if r4::is_resource(kind) => inside(resource, kind, at, &mut issues),
        Some(_) => issues.push(Issue::error(
            Code::NotSupported,
            at,
            "Resurstypen tas inte emot här; se /fhir/metadata.",
            "This resource type is not received here; see /fhir/metadata.",
        )),
        None => issues.push(Issue::error(
            Code::Structure,
            at,
            "Här ska stå en resurs med resourceType.",
            "A resource with resourceType is expected here.",
        )),
    }
    issues
}

pub fn kind_of(resource: &Value) -> Option<&str> {
    resource.get("resourceType")?.as_str()
}

fn inside(value: &Value, content: &str, at: &str, issues: &mut Vec<Issue>) {
    let Some(map) = value.as_object().filter(|m| !m.is_empty()) else {
        issues.push(Issue::error(
            Code::Structure,
            at,
            "Här ska stå ett JSON-objekt med innehåll.",
            "A JSON object with content is expected here.",
        ));
        return;
    };
    for (name, value) in map {
        if name == "resourceType" && !content.contains('.') && r4::is_resource(content) {
            continue;
        }
        let here = format!("{at}.{name}");
        match r4::find(content, name.strip_prefix('_').unwrap_or(name)) {
            Some(found) if name.starts_with('_') && r4::is_primitive(found.type_code) => {}
            Some(found) if !name.starts_with('_') => element(found, value, &here, issues),
            _ => issues.push(Issue::error(
                Code::Structure,
                here,
                format!("Elementet finns inte i {content}; ta bort det eller rätta namnet."),
                format!("{content} has no such element; remove it or mend the name."),
            )),
        }
    }
    present(map, content, at, issues);
}

/// Required elements, and choices given once.
fn present(map: &Map<String, Value>, content: &str, at: &str, issues: &mut Vec<Issue>) {
    for element in r4::children(content) {
        let given = map
            .keys()
            .map(|k| k.strip_prefix('_').unwrap_or(k))
            .filter(|k| r4::find(content, k).is_some_and(|f| f.element.path == element.path))
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        let here = format!("{at}.{}", element.stem());
        if given == 0 && element.min > 0 {
            issues.push(Issue::error(Code::Required, here, "Elementet krävs.", "The element is required."));
        } else if given > 1 {
            let (sv, en) = ("Bara en av typerna får anges.", "Only one of the types may be given.");
            issues.push(Issue::error(Code::Structure, here, sv, en));
        }
    }
}

fn element(found: Found, value: &Value, at: &str, issues: &mut Vec<Issue>) {
    match value {
        Value::Array(items) if found.element.is_list() && !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                // In a list of primitives null holds the place of an element that has only extensions.
                if !(item.is_null() && r4::is_primitive(found.type_code)) {
                    one(found, item, &format!("{at}[{i}]"), issues);
                }
            }
        }
        Value::Array(_) => issues.push(Issue::error(
            Code::Structure,
            at,
            "Listan är tom, eller elementet är inte en lista.",
            "The list is empty, or the element is not a list.",
        )),
        _ if found.element.is_list() => issues.push(Issue::error(
            Code::Structure,
            at,
            "Elementet är en lista; sätt hakparenteser om värdet.",
            "The element is a list; put the value in brackets.",
        )),
        _ => one(found, value, at, issues),
    }
}

fn one(found: Found, value: &Value, at: &str, issues: &mut Vec<Issue>) {
    match found.type_code {
        // A contained resource may be of a type that is not received by itself.
        "Resource" => match kind_of(value) {
            Some(kind) if !r4::is_resource(kind) && at.contains(".contained[") => {}
            _ => issues.extend(check(value, at)),
        },
        code if r4::is_primitive(code) => primitive(found, value, at, issues),
        _ => inside(value, found.content, at, issues),
    }
}

fn primitive(found: Found, value: &Value, at: &str, issues: &mut Vec<Issue>) {
    let right = match found.type_code {
        "boolean" => value.is_boolean(),
        "integer" | "positiveInt" | "unsignedInt" | "decimal" => value.is_number(),
        _ => value.as_str().is_some_and(|s| !s.is_empty()),
    };
    if !right {
        issues.push(Issue::error(
            Code::Value,
            at,
            format!("Värdet ska vara av typen {}.", found.type_code),
            format!("The value must be of type {}.", found.type_code),
        ));
        return;
    }
    let codes = &found.element.codes;
    let known = |code: &str| codes.is_empty() || codes.iter().any(|c| c.codes.contains(&code));
    if found.type_code == "code" && !value.as_str().is_some_and(known) {
        let all: Vec<&str> = codes.iter().flat_map(|c| c.codes.iter().copied()).collect();
        issues.push(Issue::error(
            Code::CodeInvalid,
            at,
            format!("Koden ska vara en av: {}.", all.join(", ")),
            format!("The code must be one of: {}.", all.join(", ")),
        ));
    }
}
