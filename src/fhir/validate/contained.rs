//! What holds of the resources contained in another (dom-3 to dom-5).

use std::collections::HashMap;

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
    let pointers = Pointers::of(object, list);
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
        if !pointers.name(id, index) && !points_back(inner) {
            let (sv, en) = (
                "inget i resursen pekar på den inneslutna resursen (dom-3)",
                "nothing points at the contained resource (dom-3)",
            );
            error(out, Code::Invariant, &here, sv, en);
        }
    }
}

/// Who points at which id, collected once: a resource may contain as many others as a body has room for.
struct Pointers<'a>(HashMap<&'a str, Pointer>);

/// The places that point at one id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pointer {
    /// Only the contained resource at this index.
    Contained(usize),
    /// The containing resource, or several of the contained.
    Elsewhere,
}

impl<'a> Pointers<'a> {
    fn of(object: &'a Object, contained: &'a [Value]) -> Self {
        let mut found: HashMap<&str, Pointer> = HashMap::new();
        for (_, value) in object.iter().filter(|(key, _)| *key != "contained") {
            each_fragment(value, &mut |id| {
                found.insert(id, Pointer::Elsewhere);
            });
        }
        for (index, inner) in contained.iter().enumerate() {
            let here = Pointer::Contained(index);
            each_fragment(inner, &mut |id| {
                let known = found.entry(id).or_insert(here);
                if *known != here {
                    *known = Pointer::Elsewhere;
                }
            });
        }
        Self(found)
    }

    /// Whether anything but the contained resource itself points at it.
    fn name(&self, id: &str, index: usize) -> bool {
        self.0.get(id).is_some_and(|pointer| *pointer != Pointer::Contained(index))
    }
}

/// `#`: the containing resource.
fn points_back(inner: &Value) -> bool {
    let mut back = false;
    each_fragment(inner, &mut |id| back |= id.is_empty());
    back
}

/// What stands after the `#` of every text that begins with one.
fn each_fragment<'a>(value: &'a Value, tell: &mut dyn FnMut(&'a str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| each_fragment(v, tell)),
        Value::Object(object) => object.values().for_each(|v| each_fragment(v, tell)),
        Value::String(text) => text.strip_prefix('#').into_iter().for_each(tell),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(resource: &Value) -> Vec<String> {
        let mut out = Vec::new();
        check(resource.as_object().unwrap(), &Path::root("Task"), &mut out);
        out.iter().map(|i| i.expression.clone()).collect()
    }

    #[test]
    fn what_is_contained_is_pointed_at_from_elsewhere_or_points_back() {
        let contained = |inner: Value, more: Value| {
            found(&json!({ "resourceType": "Task", "contained": [inner, more], "focus": { "reference": "#b" } }))
        };
        let b = json!({ "id": "b" });
        assert!(contained(json!({ "id": "a", "subject": { "reference": "#" } }), b.clone()).is_empty());
        assert!(contained(json!({ "id": "a" }), json!({ "id": "b", "partOf": [{ "reference": "#a" }] })).is_empty());
        assert_eq!(contained(json!({ "id": "a" }), b.clone()), ["Task.contained[0]"]);
        let itself = json!({ "id": "a", "subject": { "reference": "#a" } });
        assert_eq!(contained(itself.clone(), b), ["Task.contained[0]"]);
        assert_eq!(contained(itself.clone(), itself), Vec::<String>::new(), "a twin points at it");
    }

    #[test]
    fn a_great_many_contained_resources_are_checked_in_one_pass() {
        let many: Vec<Value> = (0..60_000).map(|n| json!({ "id": format!("c{n}") })).collect();
        let started = std::time::Instant::now();
        assert_eq!(found(&json!({ "contained": many })).len(), 60_000);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
