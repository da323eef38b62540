//! The snapshot of a profile: R4's elements with the differential laid over them, generated so that they cannot differ.
//!
//! The texts of R4 are not repeated: an element says by its base where it comes from.

use serde_json::{Map, Value, json};

use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4::{self, Element};

const R4_BASE: &str = "http://hl7.org/fhir/StructureDefinition/";

/// One element of the snapshot on its way.
struct Entry {
    id: String,
    path: String,
    says: Map<String, Value>,
    /// Where its children are.
    content: Option<&'static str>,
}

/// The snapshot's elements for a StructureDefinition, by its type and differential.
pub fn snapshot(definition: &Value) -> Vec<Value> {
    let kind = definition.get("type").and_then(Value::as_str).unwrap_or_default();
    let differential = definition.get("differential").and_then(|d| d.get("element")).and_then(Value::as_array);
    let Some(content) = r4::children(kind).first().and_then(|e| e.path.split('.').next()) else { return Vec::new() };
    let mut entries = vec![root(content)];
    below(&mut entries, content, content, content);
    for element in differential.into_iter().flatten() {
        let Some(id) = element.get("id").and_then(Value::as_str) else { continue };
        let at = find_or_make(&mut entries, id);
        if let (Some(entry), Some(says)) = (at.and_then(|at| entries.get_mut(at)), element.as_object()) {
            lay_over(&mut entry.says, says);
            entry.content = narrowed(entry);
        }
    }
    entries.into_iter().map(|e| Value::Object(e.says)).collect()
}

/// Says when a file's snapshot is not the generated one.
pub fn check(file: &str, definition: &Value, issues: &mut Vec<Issue>) {
    let written = definition.get("snapshot").and_then(|s| s.get("element")).and_then(Value::as_array);
    if written.is_none_or(|w| *w != snapshot(definition)) {
        issues.push(
            Issue::warning(
                Code::Conflict,
                "StructureDefinition.snapshot",
                "är inte den som följer av R4 och differential; skriv om den",
                "is not what follows from R4 and the differential; write it anew",
            )
            .from(file),
        );
    }
}

fn root(content: &str) -> Entry {
    let says = object(json!({
        "id": content, "path": content, "short": content, "definition": format!("As R4 defines {content}."),
        "min": 0, "max": "*", "base": { "path": content, "min": 0, "max": "*" },
    }));
    Entry { id: content.to_owned(), path: content.to_owned(), says, content: None }
}

/// R4's elements of a class under an element, backbone elements with their own.
fn below(entries: &mut Vec<Entry>, id: &str, path: &str, content: &'static str) {
    for element in r4::children(content) {
        let (id, path) = (format!("{id}.{}", element.name), format!("{path}.{}", element.name));
        let inner = class_of(element);
        let own = inner == Some(element.path);
        entries.push(Entry { says: base(element, &id, &path), id: id.clone(), path: path.clone(), content: inner });
        if own {
            below(entries, &id, &path, element.path);
        }
    }
}

/// The class of an element's children, where there is one.
fn class_of(element: &'static Element) -> Option<&'static str> {
    let content = element.path.rsplit_once('.').map(|(parent, _)| parent)?;
    if element.is_choice() { None } else { r4::find(content, element.name).map(|f| f.content) }
}

fn base(element: &Element, id: &str, path: &str) -> Map<String, Value> {
    let max = element.max.map_or_else(|| "*".to_owned(), |m| m.to_string());
    let mut says = object(json!({
        "id": id, "path": path, "short": element.stem(), "definition": format!("As R4 defines {}.", element.path),
        "min": element.min, "max": max, "base": { "path": element.path, "min": element.min, "max": max },
    }));
    if let Some(other) = element.content_of {
        says.insert("contentReference".to_owned(), json!(other));
    } else {
        let types: Vec<Value> = element
            .types
            .iter()
            .map(|t| {
                let targets: Vec<String> = t.targets.iter().map(|name| format!("{R4_BASE}{name}")).collect();
                if targets.is_empty() {
                    json!({ "code": t.code })
                } else {
                    json!({ "code": t.code, "targetProfile": targets })
                }
            })
            .collect();
        says.insert("type".to_owned(), Value::Array(types));
    }
    says
}

/// The place of an element by id; slices and what is inside a datatype are made when a differential names them.
fn find_or_make(entries: &mut Vec<Entry>, id: &str) -> Option<usize> {
    if let Some(at) = entries.iter().position(|e| e.id == id) {
        return Some(at);
    }
    let (parent_id, last) = id.rsplit_once('.')?;
    let parent = find_or_make(entries, parent_id)?;
    let (name, slice) = last.split_once(':').map_or((last, None), |(name, slice)| (name, Some(slice)));
    let bare = format!("{parent_id}.{name}");
    if !entries.iter().any(|e| e.id == bare) {
        let Entry { id, path, content, .. } = entries.get(parent)?;
        let (id, path, content) = (id.clone(), path.clone(), (*content)?);
        let mut made = Vec::new();
        below(&mut made, &id, &path, content);
        let after = end_of(entries, parent);
        entries.splice(after..after, made);
    }
    let at = entries.iter().position(|e| e.id == bare)?;
    if slice.is_none() {
        return Some(at);
    }
    let model = entries.get(at)?;
    let mut says = model.says.clone();
    says.insert("id".to_owned(), json!(id));
    // A slice does not inherit that the list is needed.
    says.insert("min".to_owned(), json!(0));
    says.shift_remove("slicing");
    let made = Entry { id: id.to_owned(), path: model.path.clone(), says, content: model.content };
    // After the list's other slices and all that is below them.
    let is_slice = |e: &Entry| e.id.strip_prefix(bare.as_str()).is_some_and(|rest| rest.starts_with(':'));
    let mut after = end_of(entries, at);
    while entries.get(after).is_some_and(is_slice) {
        after = end_of(entries, after);
    }
    entries.insert(after, made);
    Some(after)
}

/// The place after an element and all that is below it.
fn end_of(entries: &[Entry], at: usize) -> usize {
    let Some(id) = entries.get(at).map(|e| format!("{}.", e.id)) else { return entries.len() };
    entries.iter().enumerate().skip(at + 1).find(|(_, e)| !e.id.starts_with(&id)).map_or(entries.len(), |(i, _)| i)
}

fn lay_over(says: &mut Map<String, Value>, differential: &Map<String, Value>) {
    for (key, value) in differential {
        says.insert(key.clone(), value.clone());
    }
}

/// A choice that was narrowed to one type has that type's children.
fn narrowed(entry: &Entry) -> Option<&'static str> {
    if entry.content.is_some() {
        return entry.content;
    }
    let types = entry.says.get("type").and_then(Value::as_array)?;
    let [only] = types.as_slice() else { return None };
    let code = only.get("code").and_then(Value::as_str)?;
    r4::children(code).first().and_then(|e| e.path.split('.').next())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
