//! The transaction Bundle a partner gets: what is created only once, what is brought up to date, and how it is recognised.
//!
//! Sent twice it leaves one of each: actors and Tasks are created only where none is (`ifNoneExist`) and never updated by a
//! Bundle; everything else is a conditional update on our own identifier. Personal identifiers stand in the body only.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::canonical::RESOURCE_ID;
use super::resource::{id_of, reference_of, type_of, visit_references};

/// How a partner's server differs from R4 as we write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Its own names for identifier systems: ours → theirs.
    pub systems: HashMap<String, String>,
    /// Types that it does not hold: they travel inside the resources that point at them.
    pub contained: Vec<String>,
}

/// Who has the say over a Task in the Bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskMode {
    /// The recipient moves it from here on: created once, never updated by a Bundle.
    CreateOnce,
    /// A report to the one who asked: our copy is the authority and replaces theirs.
    Replace,
}

/// Builds the Bundle. References between its resources become `urn:uuid:`, references out of it become logical ones.
pub fn transaction(resources: &[Value], tasks: TaskMode, dialect: &Dialect) -> Value {
    let (within, alone): (Vec<&Value>, Vec<&Value>) =
        resources.iter().partition(|r| dialect.contained.iter().any(|c| c == type_of(r)));
    let inside: Vec<String> = alone.iter().filter_map(|r| reference_of(r)).collect();
    let entries: Vec<Value> =
        alone.into_iter().filter_map(|resource| entry(&contain(resource, &within), &inside, tasks, dialect)).collect();
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

/// The resource's words as they stand in a Bundle that has these entries (`Type/id`).
pub fn as_sent(resource: &Value, inside: &[String], dialect: &Dialect) -> Value {
    let mut copy = resource.clone();
    translate(&mut copy, dialect);
    visit_references(&mut copy, &mut |reference| point(reference, inside));
    copy
}

/// The resource with what it points at inside it, where the partner has no place of its own for that.
fn contain(resource: &Value, within: &[&Value]) -> Value {
    let mut whole = resource.clone();
    let mut taken: Vec<Value> = Vec::new();
    let mut wanted = enclose(&mut whole, within);
    while let Some(name) = wanted.pop() {
        let Some(found) = within.iter().find(|r| reference_of(r).as_deref() == Some(&name)) else { continue };
        if taken.iter().any(|t| reference_of(t).as_deref() == Some(&name)) {
            continue;
        }
        let mut copy = (*found).clone();
        wanted.extend(enclose(&mut copy, within));
        if let Some(object) = copy.as_object_mut() {
            object.shift_remove("meta"); // dom-4 and dom-5: a contained resource has no version and no label
        }
        taken.push(copy);
    }
    if !taken.is_empty()
        && let Some(object) = whole.as_object_mut()
    {
        object.insert("contained".into(), Value::Array(taken));
    }
    whole
}

/// Turns references to resources of `within` into fragments, and names them.
fn enclose(value: &mut Value, within: &[&Value]) -> Vec<String> {
    let mut wanted = Vec::new();
    visit_references(value, &mut |reference| {
        let Some(target) = reference.get("reference").and_then(Value::as_str) else { return };
        if within.iter().any(|r| reference_of(r).as_deref() == Some(target))
            && let Some((_, id)) = target.split_once('/')
        {
            let fragment = json!(format!("#{id}"));
            wanted.push(target.to_owned());
            reference.insert("reference".into(), fragment);
        }
    });
    wanted
}

fn entry(resource: &Value, inside: &[String], tasks: TaskMode, dialect: &Dialect) -> Option<Value> {
    let (resource_type, id) = (type_of(resource), id_of(resource)?);
    let mut copy = resource.clone();
    let object = copy.as_object_mut()?;
    strip_meta(object);
    if resource_type != "Provenance" {
        object.shift_remove("id");
        identify(object, resource_type, id);
    }
    translate(&mut copy, dialect);
    visit_references(&mut copy, &mut |reference| point(reference, inside));
    let by_id = format!("identifier={RESOURCE_ID}|{id}");
    let request = match resource_type {
        "Patient" | "Organization" | "Practitioner" | "PractitionerRole" | "RelatedPerson" => {
            json!({ "method": "POST", "url": resource_type, "ifNoneExist": natural_key(&copy).unwrap_or(by_id) })
        }
        // Provenance has no identifier: only a server that takes our id (updateCreate) can tell it from its copy.
        "Provenance" => json!({ "method": "PUT", "url": format!("Provenance/{id}") }),
        "Task" if tasks == TaskMode::CreateOnce => json!({ "method": "POST", "url": "Task", "ifNoneExist": by_id }),
        _ => json!({ "method": "PUT", "url": format!("{resource_type}?{by_id}") }),
    };
    Some(json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": copy, "request": request }))
}

/// `meta` without what every server writes itself.
fn strip_meta(object: &mut Map<String, Value>) {
    if let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut) {
        meta.shift_remove("versionId");
        meta.shift_remove("lastUpdated");
        if meta.is_empty() {
            object.shift_remove("meta");
        }
    }
}

/// Adds our own identifier. `Composition` and `QuestionnaireResponse` have room for one only, and then it is ours.
fn identify(object: &mut Map<String, Value>, resource_type: &str, id: &str) {
    let ours = json!({ "system": RESOURCE_ID, "value": id });
    if matches!(resource_type, "Composition" | "QuestionnaireResponse") {
        object.insert("identifier".into(), ours);
        return;
    }
    match object.get_mut("identifier").and_then(Value::as_array_mut) {
        Some(list) => list.push(ours),
        None => {
            object.insert("identifier".into(), json!([ours]));
        }
    }
}

/// What the rest of the world knows an actor by: its first identifier that is not ours.
fn natural_key(resource: &Value) -> Option<String> {
    let identifiers = resource["identifier"].as_array()?;
    let known = identifiers.iter().find(|i| i["system"] != RESOURCE_ID)?;
    let (system, value) = (known["system"].as_str()?, known["value"].as_str()?);
    Some(format!("identifier={}|{}", encode(system), encode(value)))
}

/// Percent-encodes what would end a query value; `|` and `,` have a meaning in a token search and are escaped as R4 says.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("%26"),
            '#' => out.push_str("%23"),
            '+' => out.push_str("%2B"),
            '%' => out.push_str("%25"),
            ' ' => out.push_str("%20"),
            ',' | '|' | '$' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn point(reference: &mut Map<String, Value>, inside: &[String]) {
    let Some(target) = reference.get("reference").and_then(Value::as_str) else { return };
    let Some((resource_type, id)) = target.split_once('/') else { return };
    if inside.iter().any(|r| r == target) {
        reference.insert("reference".into(), json!(format!("urn:uuid:{id}")));
        return;
    }
    let (resource_type, id) = (resource_type.to_owned(), id.to_owned());
    reference.shift_remove("reference");
    reference.entry("type").or_insert(json!(resource_type));
    reference.entry("identifier").or_insert(json!({ "system": RESOURCE_ID, "value": id }));
}

/// Writes identifier systems as the partner knows them, wherever an Identifier stands.
fn translate(value: &mut Value, dialect: &Dialect) {
    if dialect.systems.is_empty() {
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| translate(item, dialect)),
        Value::Object(object) => {
            for (name, child) in object.iter_mut() {
                match child.as_str().filter(|_| name == "system").and_then(|system| dialect.systems.get(system)) {
                    Some(theirs) => *child = json!(theirs),
                    None => translate(child, dialect),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Vec<Value> {
        vec![
            json!({ "resourceType": "Patient", "id": "p", "meta": { "versionId": "3" },
                "identifier": [{ "system": "http://electronichealth.se/identifier/personnummer", "value": "195009072553" }] }),
            json!({ "resourceType": "ServiceRequest", "id": "s", "subject": { "reference": "Patient/p" },
                "basedOn": [{ "reference": "CarePlan/elsewhere" }] }),
            json!({ "resourceType": "Task", "id": "t", "focus": { "reference": "ServiceRequest/s" } }),
        ]
    }

    #[test]
    fn actors_and_tasks_are_created_once_and_the_rest_brought_up_to_date() {
        let bundle = transaction(&resources(), TaskMode::CreateOnce, &Dialect::default());
        let request = |i: usize| &bundle["entry"][i]["request"];
        assert_eq!(request(0)["method"], "POST");
        assert_eq!(
            request(0)["ifNoneExist"],
            "identifier=http://electronichealth.se/identifier/personnummer|195009072553"
        );
        assert_eq!(request(1)["url"], format!("ServiceRequest?identifier={RESOURCE_ID}|s"));
        assert_eq!(request(2)["ifNoneExist"], format!("identifier={RESOURCE_ID}|t"));
        assert_eq!(bundle["entry"][0]["resource"].get("id"), None);
        assert_eq!(bundle["entry"][0]["resource"].get("meta"), None);
    }

    #[test]
    fn references_stay_inside_the_bundle_or_become_logical() {
        let bundle = transaction(&resources(), TaskMode::CreateOnce, &Dialect::default());
        let request = &bundle["entry"][1]["resource"];
        assert_eq!(request["subject"]["reference"], "urn:uuid:p");
        assert_eq!(request["basedOn"][0]["identifier"]["value"], "elsewhere");
        assert_eq!(request["basedOn"][0].get("reference"), None);
    }

    #[test]
    fn a_partner_reads_identifiers_in_its_own_dialect() {
        let theirs = "urn:oid:1.2.752.129.2.1.3.1";
        let systems = HashMap::from([("http://electronichealth.se/identifier/personnummer".into(), theirs.into())]);
        let dialect = Dialect { systems, ..Dialect::default() };
        let bundle = transaction(&resources(), TaskMode::Replace, &dialect);
        assert_eq!(bundle["entry"][0]["resource"]["identifier"][0]["system"], theirs);
        assert_eq!(bundle["entry"][0]["request"]["ifNoneExist"], format!("identifier={theirs}|195009072553"));
        assert_eq!(bundle["entry"][2]["request"]["method"], "PUT");
    }

    #[test]
    fn what_a_partner_has_no_place_for_travels_inside_what_points_at_it() {
        let resources = [
            json!({ "resourceType": "Patient", "id": "p" }),
            json!({ "resourceType": "CarePlan", "id": "c", "goal": [{ "reference": "Goal/g" }], "careTeam": [{ "reference": "CareTeam/t" }] }),
            json!({ "resourceType": "Goal", "id": "g", "meta": { "security": [] }, "subject": { "reference": "Patient/p" } }),
            json!({ "resourceType": "CareTeam", "id": "t", "subject": { "reference": "Patient/p" } }),
        ];
        let dialect = Dialect { contained: vec!["Goal".into(), "CareTeam".into()], ..Dialect::default() };
        let bundle = transaction(&resources, TaskMode::CreateOnce, &dialect);
        assert_eq!(bundle["entry"].as_array().unwrap().len(), 2);
        let plan = &bundle["entry"][1]["resource"];
        assert_eq!(plan["goal"][0]["reference"], "#g");
        assert_eq!(plan["contained"].as_array().unwrap().len(), 2);
        let goal = plan["contained"].as_array().unwrap().iter().find(|r| r["id"] == "g").unwrap();
        assert_eq!(goal["subject"]["reference"], "urn:uuid:p");
        assert_eq!(goal.get("meta"), None);
    }
}
