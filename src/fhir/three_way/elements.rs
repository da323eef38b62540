//! A resource taken apart into the elements that are compared, and one of them put back.
//!
//! The items of a plan's `activity` are told apart by the intervention they name (others by what they say), and what has
//! another owner in them is an element of its own. References are not compared: each server has its own ids.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::domain::ownership::apart;
use crate::fhir::canonical::BASE;
use crate::fhir::resource::type_of;

/// What an element says, by its path: `status`, `activity[I1].detail.status`.
pub type Elements = BTreeMap<String, Value>;

/// What every server writes itself, or writes in its own way.
const OWN_WAYS: [&str; 9] =
    ["resourceType", "id", "meta", "text", "contained", "identifier", "implicitRules", "language", "lastModified"];

/// Lists whose items are compared one by one.
const LISTS: [(&str, &str); 1] = [("CarePlan", "activity")];

/// The elements of a resource, as they are compared.
pub fn elements(resource: &Value) -> Elements {
    let mut found = Elements::new();
    let Some(object) = resource.as_object() else { return found };
    for (name, value) in object.iter().filter(|(name, _)| !OWN_WAYS.contains(&name.as_str())) {
        if !is_list(type_of(resource), name) {
            found.extend(plain(value).map(|value| (name.clone(), value)));
            continue;
        }
        for item in value.as_array().into_iter().flatten() {
            let place = format!("{name}[{}]", key_of(type_of(resource), name, item));
            let mut rest = item.clone();
            for part in apart(type_of(resource), name) {
                let taken = take(&mut rest, part);
                found.extend(taken.as_ref().and_then(plain).map(|value| (format!("{place}.{part}"), value)));
            }
            found.insert(place, plain(&rest).unwrap_or(Value::Null));
        }
    }
    found
}

/// What the element says, references and all.
pub fn get<'a>(resource: &'a Value, path: &str) -> Option<&'a Value> {
    let Some((list, key, part)) = split(path) else { return resource.get(path) };
    let item = item_of(resource, list, key)?;
    if part.is_empty() { Some(item) } else { part.split('.').try_fold(item, |at, name| at.get(name)) }
}

/// Puts the element as `from` has it into the resource; where `from` has none it goes. What stands in an item that is not there
/// is nowhere.
pub fn set(resource: &mut Value, path: &str, from: &Value) {
    let value = get(from, path).cloned();
    put(resource, path, value);
}

/// The same with the value at hand.
pub fn put(resource: &mut Value, path: &str, value: Option<Value>) {
    let resource_type = type_of(resource).to_owned();
    let Some((list, key, part)) = split(path) else {
        let Some(object) = resource.as_object_mut() else { return };
        write(object, path, value);
        return;
    };
    let at = resource[list]
        .as_array()
        .and_then(|items| items.iter().position(|item| key_of(&resource_type, list, item) == key));
    if part.is_empty() {
        put_item(resource, (&resource_type, list), at, value);
        return;
    }
    let Some(item) = at.and_then(|at| resource.get_mut(list)?.get_mut(at)) else { return };
    let (parents, name) = part.rsplit_once('.').unwrap_or(("", part));
    let mut parent = item;
    for step in parents.split('.').filter(|step| !step.is_empty()) {
        let Some(object) = parent.as_object_mut() else { return };
        parent = object.entry(step).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(object) = parent.as_object_mut() {
        write(object, name, value);
    }
}

/// An item in place of the one that is there, which keeps what is not of this element; at the end where none is.
fn put_item(resource: &mut Value, (resource_type, list): (&str, &str), at: Option<usize>, value: Option<Value>) {
    let Some(object) = resource.as_object_mut() else { return };
    let items = object.entry(list).or_insert_with(|| Value::Array(Vec::new()));
    let Some(items) = items.as_array_mut() else { return };
    match (at.filter(|at| *at < items.len()), value) {
        (Some(at), None) => {
            items.remove(at);
        }
        (None, Some(new)) => items.push(new),
        (Some(at), Some(mut new)) => {
            let Some(old) = items.get_mut(at) else { return };
            for part in apart(resource_type, list) {
                take(&mut new, part);
                if let Some(kept) = part.split('.').try_fold(&*old, |at, name| at.get(name)).cloned() {
                    let (parents, name) = part.rsplit_once('.').unwrap_or(("", part));
                    let parent = parents.split('.').filter(|p| !p.is_empty()).try_fold(&mut new, |at, p| at.get_mut(p));
                    if let Some(parent) = parent.and_then(Value::as_object_mut) {
                        parent.insert(name.to_owned(), kept);
                    }
                }
            }
            *old = new;
        }
        (None, None) => {}
    }
    if items.is_empty() {
        object.shift_remove(list);
    }
}

fn write(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            object.insert(name.to_owned(), value);
        }
        None => {
            object.shift_remove(name);
        }
    }
}

fn is_list(resource_type: &str, name: &str) -> bool {
    LISTS.contains(&(resource_type, name))
}

/// `activity[I1].detail.status` → `activity`, `I1`, `detail.status`.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (list, rest) = path.split_once('[')?;
    let (key, part) = rest.split_once(']')?;
    Some((list, key, part.trim_start_matches('.')))
}

fn item_of<'a>(resource: &'a Value, list: &str, key: &str) -> Option<&'a Value> {
    resource[list].as_array()?.iter().find(|item| key_of(type_of(resource), list, item) == key)
}

/// The intervention that an activity is, or what it says where it does not name one.
fn key_of(resource_type: &str, list: &str, item: &Value) -> String {
    let url = format!("{BASE}/StructureDefinition/intervention-id");
    let named = item["detail"]["extension"].as_array().into_iter().flatten().find(|e| e["url"] == *url);
    if let Some(id) = named.and_then(|e| e["valueString"].as_str()) {
        return id.replace(['[', ']'], "_");
    }
    let mut rest = item.clone();
    for part in apart(resource_type, list) {
        take(&mut rest, part);
    }
    let mut plain = plain(&rest).unwrap_or(Value::Null);
    plain.sort_all_objects();
    let digest: String =
        Sha256::digest(plain.to_string().as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("#{digest}")
}

fn take(item: &mut Value, part: &str) -> Option<Value> {
    let (parents, name) = part.rsplit_once('.').unwrap_or(("", part));
    let parent = parents.split('.').filter(|p| !p.is_empty()).try_fold(item, |at, p| at.get_mut(p))?;
    parent.as_object_mut()?.shift_remove(name)
}

/// What a Reference may have; only what it names without pointing at it is compared.
const OF_REFERENCE: [&str; 4] = ["reference", "type", "identifier", "display"];

fn is_reference(object: &Map<String, Value>) -> bool {
    let names = ["reference", "type", "identifier"];
    names.iter().any(|name| object.contains_key(*name)) && object.keys().all(|k| OF_REFERENCE.contains(&k.as_str()))
}

/// The value without references, and without what is empty then. A unit that is named by its identifier stays named.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Object(object) if is_reference(object) => {
            let named = object.get("identifier").filter(|_| !object.contains_key("reference"));
            named.and_then(plain).map(|named| json!({ "identifier": named }))
        }
        Value::Object(object) => {
            let kept: Map<String, Value> = object.iter().filter_map(|(n, v)| Some((n.clone(), plain(v)?))).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let kept: Vec<Value> = items.iter().filter_map(plain).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Null => None,
        other => Some(other.clone()),
    }
}
