//! What the people at the unit see: the open Tasks in plain words.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::records::Desk;
use super::references::local;
use super::refusal::Refusal;
use super::terms::{list, text};

const CLOSED: &[&str] = &["draft", "rejected", "cancelled", "failed", "completed", "entered-in-error"];

/// The open Tasks, the oldest first.
pub fn open(desk: &Desk<'_>, unit_names: &BTreeMap<String, String>) -> Result<Value, Refusal> {
    let mut lines = Vec::new();
    for version in desk.all("Task")? {
        let Some(task) = version.resource else { continue };
        let status = text(&task, "status").unwrap_or_default();
        if CLOSED.contains(&status) {
            continue;
        }
        let patient = behind(desk, task.get("for"))?;
        lines.push(json!({
            "id": version.id,
            "identifier": task.pointer("/identifier/0/value"),
            "status": status,
            "businessStatus": task.get("businessStatus").map(words),
            "priority": task.get("priority"),
            "patient": patient.as_ref().map(name),
            "asked": asked(&task, behind(desk, task.get("focus"))?.as_ref()),
            "from": unit(desk, task.get("requester"), unit_names)?,
            "to": unit(desk, task.get("owner"), unit_names)?,
        }));
    }
    Ok(Value::Array(lines))
}

/// The resource that a reference leads to, if it is here.
fn behind(desk: &Desk<'_>, reference: Option<&Value>) -> Result<Option<Value>, Refusal> {
    let Some((kind, id)) = reference.and_then(|r| text(r, "reference")).and_then(local) else { return Ok(None) };
    Ok(desk.newest(kind, id)?.and_then(|v| v.resource))
}

/// What is asked: what the Task says itself, then the kind, question and wishes of what it is about.
fn asked(task: &Value, focus: Option<&Value>) -> String {
    let mut said: Vec<String> = Vec::new();
    for (resource, elements) in [
        (Some(task), &["code", "description", "reasonCode"][..]),
        (focus, &["title", "code", "reasonCode", "orderDetail", "description"][..]),
    ] {
        let found = elements.iter().filter_map(|e| resource?.get(e)).flat_map(list).map(words);
        said.extend(found.filter(|w| !w.is_empty()));
    }
    let mut seen = std::collections::HashSet::new();
    said.retain(|w| seen.insert(w.clone()));
    said.join(". ")
}

/// A string, or a concept as people read it: its text, else a display, else the code.
fn words(value: &Value) -> String {
    let coding = value.pointer("/coding/0");
    let best = value.as_str().or_else(|| text(value, "text"));
    let best = best.or_else(|| text(coding?, "display")).or_else(|| text(coding?, "code"));
    best.unwrap_or_default().to_owned()
}

fn name(patient: &Value) -> String {
    let Some(name) = patient.pointer("/name/0") else { return String::new() };
    let given = name.get("given").map(list).unwrap_or_default().iter().filter_map(Value::as_str);
    let whole: Vec<&str> = given.chain(text(name, "family")).collect();
    text(name, "text").map_or_else(|| whole.join(" "), str::to_owned)
}

/// A unit's name: from the resource (for a role, of its organization), the list of units, or the reference itself.
fn unit(
    desk: &Desk<'_>,
    reference: Option<&Value>,
    names: &BTreeMap<String, String>,
) -> Result<Option<String>, Refusal> {
    let Some(reference) = reference else { return Ok(None) };
    let mut resource = behind(desk, Some(reference))?;
    if let Some(role) = resource.as_ref().filter(|r| r.get("organization").is_some()) {
        resource = behind(desk, role.get("organization"))?;
    }
    let named = resource.as_ref().and_then(|r| text(r, "name"));
    let listed = reference.pointer("/identifier/value").and_then(Value::as_str).and_then(|id| names.get(id));
    let shown = named.or(listed.map(String::as_str)).or_else(|| text(reference, "display"));
    Ok(shown.map(str::to_owned))
}
