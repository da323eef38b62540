//! What holds of the resources contained in another (dom-3 to dom-5).

use serde_json::{Map, Value};

use super::path::Path;
use crate::fhir::issue::{Code, Issue};

type Object = Map<String, Value>;

fn error(out: &mut Vec<Issue>, code: Code, path: &Path<'_>, sv: impl Into<String>, en: impl Into<String>) {
    out.push(Issue::error(code, path, sv, en));
}

/// dom-3 to dom-5: what holds of the contained resources of a resource.
pub fn check(object: &Object, path: &Path<'_>, out: &mut Vec<Issue>) {
    let Some(list) = object.get("contained").and_then(Value::as_array) else { return };
    for (index, inner) in list.iter().enumerate() {
        let here = path.field("contained").item(index);
        let meta = inner.get("meta");
        if meta.is_some_and(|m| {
            m.get("versionId").or_else(|| m.get("lastUpdated")).or_else(|| m.get("security")).is_some()
        }) {
            let (sv, en) = (
                "en innesluten resurs har ingen version, tid eller säkerhetsetikett (dom-4, dom-5)",
                "a contained resource has no version, time or security label (dom-4, dom-5)",
            );
            error(out, Code::Invariant, &here.field("meta"), sv, en);
        }
        let Some(id) = inner.get("id").and_then(Value::as_str) else {
            error(
                out,
                Code::Required,
                &here.field("id"),
                "saknas: en innesluten resurs pekas ut med #id",
                "is missing: a contained resource is pointed at by #id",
            );
            continue;
        };
        let refers = |value: &Value| value.as_str().and_then(|v| v.strip_prefix('#')) == Some(id);
        let named = object.iter().any(|(key, value)| {
            if key == "contained" {
                list.iter().enumerate().any(|(i, other)| i != index && any(other, &refers))
            } else {
                any(value, &refers)
            }
        });
        let back = any(inner, &|value: &Value| value == "#");
        if !named && !back {
            let (sv, en) = (
                "inget i resursen pekar på den inneslutna resursen (dom-3)",
                "nothing points at the contained resource (dom-3)",
            );
            error(out, Code::Invariant, &here, sv, en);
        }
    }
}

/// Whether any value inside fits.
fn any(value: &Value, fits: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|v| any(v, fits)),
        Value::Object(object) => object.values().any(|v| any(v, fits)),
        _ => fits(value),
    }
}
