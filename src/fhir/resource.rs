//! Small questions every resource can answer, and the walks over its references.

use serde_json::{Map, Value};

/// The resource's type, empty where it has none.
pub fn type_of(resource: &Value) -> &str {
    resource["resourceType"].as_str().unwrap_or_default()
}

/// The resource's logical id.
pub fn id_of(resource: &Value) -> Option<&str> {
    resource["id"].as_str()
}

/// `Type/id`.
pub fn reference_of(resource: &Value) -> Option<String> {
    Some(format!("{}/{}", type_of(resource), id_of(resource)?))
}

/// The value of the first identifier of that system.
pub fn identifier<'a>(resource: &'a Value, system: &str) -> Option<&'a str> {
    let list = match &resource["identifier"] {
        Value::Array(list) => list.as_slice(),
        one @ Value::Object(_) => std::slice::from_ref(one),
        _ => &[],
    };
    list.iter().find(|i| i["system"] == system)?["value"].as_str()
}

/// Whether the concept has this coding.
pub fn has_coding(concept: &Value, system: &str, code: &str) -> bool {
    let codings = concept["coding"].as_array().map_or(&[][..], Vec::as_slice);
    codings.iter().any(|c| c["system"] == system && c["code"] == code)
}

/// Calls `change` for every Reference (an object with `reference`) in the resource.
pub fn visit_references(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit_references(item, change)),
        Value::Object(object) => {
            if object.get("reference").is_some_and(Value::is_string) {
                change(object);
            }
            object.values_mut().for_each(|child| visit_references(child, change));
        }
        _ => {}
    }
}

/// Every `Type/id` the resource points at.
pub fn references(value: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get("reference") {
                found.push(target);
            }
            object.values().for_each(|child| collect(child, found));
        }
        _ => {}
    }
}

/// The resource without what a server writes: to see whether two versions say the same.
pub fn content(resource: &Value) -> Value {
    let mut copy = resource.clone();
    if let Some(meta) = copy.get_mut("meta").and_then(Value::as_object_mut) {
        meta.shift_remove("versionId");
        meta.shift_remove("lastUpdated");
        if meta.is_empty()
            && let Some(object) = copy.as_object_mut()
        {
            object.shift_remove("meta");
        }
    }
    copy
}
