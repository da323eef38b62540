//! What two sides say of the same element, as a Task for a person: what both knew, what stands here, what the other side says.
//! One Task for each partner and resource, opened again when there is something new. Nothing of it is in a log.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::weigh::{Scale, Weighed, current, instant, touch};
use super::super::{Refusal, identify};
use crate::Gateway;
use crate::domain::PartyRole;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::resource::has_coding;
use crate::fhir::three_way::Clash;
use crate::store::{Commit, Exchange, Filter};

/// The code of such a Task in our CodeSystem `worklist`.
pub(in crate::sync) const CONFLICT: &str = "sync-conflict";

/// What clashes in one resource (`Type/id`).
#[derive(Debug, Clone)]
pub(in crate::sync) struct Clashes {
    pub(in crate::sync) name: String,
    pub(in crate::sync) found: Vec<Clash>,
}

/// Adds to the commit the Task about them, for the unit that sent the document.
pub(in crate::sync) async fn open(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    partner: &str,
    clashes: &Clashes,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let id = identify::id(&["conflict", partner, &clashes.name]);
    let name = format!("Task/{id}");
    let known = current(gateway.store.resources(&Filter::ALL, std::slice::from_ref(&name)).await?);
    let stored = known.get(&name).map(|(_, task)| task);
    let mut standing = stored.filter(|task| is_open(task)).map(said).unwrap_or_default();
    // What a person has decided is asked again only where something new is said of it.
    let known_before = standing.clone();
    let is_news = |clash: &Clash| {
        !known_before.iter().any(|c| c.path == clash.path && c.ours == clash.ours && c.theirs == clash.theirs)
    };
    let asked: Vec<&str> = clashes.found.iter().filter(|c| is_news(c)).map(|c| c.path.as_str()).collect();
    let decided = stored.filter(|task| is_open(task)).map(|task| decided(task, &asked)).unwrap_or_default();
    for clash in &clashes.found {
        // What both knew when it began stays what both knew.
        let base = standing.iter().find(|c| c.path == clash.path).map_or(clash.base.clone(), |c| c.base.clone());
        standing.retain(|c| c.path != clash.path);
        standing.push(Clash { base, ..clash.clone() });
    }
    standing.sort_by(|a, b| a.path.cmp(&b.path));
    let mut task = task(gateway, exchange, &id, partner, &clashes.name, &standing, stored, now);
    if let Some(object) = task.as_object_mut().filter(|_| !decided.is_empty()) {
        object.insert("output".into(), json!(decided));
    }
    if stored.is_some_and(|before| before["status"] == task["status"] && before["input"] == task["input"]) {
        return Ok(());
    }
    let units: Vec<String> =
        exchange.parties.iter().filter(|p| p.role == PartyRole::Sender).map(|p| p.unit.clone()).collect();
    let scale = Scale { now, patient: exchange.patient.as_deref(), units: &units, exchange: Some(exchange.id) };
    let mut weighed = Weighed::default();
    scale.add(&task, &known, &mut weighed);
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    Ok(())
}

/// The decisions in the Task, but for those about elements that are asked about anew.
fn decided(task: &Value, asked: &[&str]) -> Vec<Value> {
    let outputs = task["output"].as_array().into_iter().flatten();
    outputs.filter(|o| o["type"]["text"].as_str().is_some_and(|path| !asked.contains(&path))).cloned().collect()
}

pub(super) fn is_conflict(task: &Value) -> bool {
    has_coding(&task["code"], &format!("{BASE}/CodeSystem/worklist"), CONFLICT)
}

pub(super) fn is_open(task: &Value) -> bool {
    task["status"] == "requested"
}

fn sides() -> String {
    format!("{BASE}/CodeSystem/conflict-side")
}

/// What the Task tells: each element with its three values.
pub(super) fn said(task: &Value) -> Vec<Clash> {
    let mut found: Vec<Clash> = Vec::new();
    for input in task["input"].as_array().into_iter().flatten() {
        let Some(path) = input["type"]["text"].as_str() else { continue };
        if !found.iter().any(|clash| clash.path == path) {
            found.push(Clash { path: path.to_owned(), base: None, ours: None, theirs: None });
        }
        let Some(clash) = found.iter_mut().find(|clash| clash.path == path) else { continue };
        let value = input["valueString"].as_str().and_then(|text| serde_json::from_str(text).ok());
        let value = value.filter(|value: &Value| !value.is_null());
        match input["type"]["coding"][0]["code"].as_str() {
            Some("base") => clash.base = value,
            Some("ours") => clash.ours = value,
            Some("theirs") => clash.theirs = value,
            _ => {}
        }
    }
    found
}

fn inputs(clashes: &[Clash]) -> Vec<Value> {
    let one = |clash: &Clash, side: &str, value: &Option<Value>| {
        json!({
            "type": { "coding": [{ "system": sides(), "code": side }], "text": clash.path },
            "valueString": value.as_ref().unwrap_or(&Value::Null).to_string(),
        })
    };
    let all = |c: &Clash| [one(c, "base", &c.base), one(c, "ours", &c.ours), one(c, "theirs", &c.theirs)];
    clashes.iter().flat_map(all).collect()
}

#[expect(clippy::too_many_arguments, reason = "a Task has that many parts")]
fn task(
    gateway: &Gateway,
    exchange: &Exchange,
    id: &str,
    partner: &str,
    name: &str,
    clashes: &[Clash],
    stored: Option<&Value>,
    now: DateTime<Utc>,
) -> Value {
    let owner = exchange.sender().map_or(&gateway.config.hsa_id, |sender| &sender.unit);
    let mut task = json!({
        "resourceType": "Task",
        "id": id,
        "meta": { "profile": [format!("{BASE}/StructureDefinition/sync-conflict-task")] },
        "status": "requested",
        "intent": "order",
        "priority": "routine",
        "code": { "coding": [{ "system": format!("{BASE}/CodeSystem/worklist"), "code": CONFLICT }] },
        "description": "Båda sidor har ändrat samma uppgift, eller en sida något som inte är dess eget. Det som gäller står kvar; bestäm för varje element: POST /v1/conflicts/{id}/settle med ours eller theirs. | Both sides have changed the same element, or one side what is not its own. What holds still stands; decide for each element: POST /v1/conflicts/{id}/settle with ours or theirs.",
        "focus": { "reference": name },
        "for": exchange.patient.as_ref().map(|id| json!({ "reference": format!("Patient/{id}") })),
        "authoredOn": stored.map_or_else(|| json!(instant(now)), |task| task["authoredOn"].clone()),
        "requester": { "type": "Organization", "display": partner },
        "owner": { "type": "Organization", "identifier": { "system": HSA_ID, "value": owner } },
        "input": inputs(clashes),
    });
    if let Some(object) = task.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        touch(object, now);
    }
    task
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_tells_what_clashes_and_gives_it_back_as_it_was() {
        let clashes = vec![
            Clash {
                path: "title".into(),
                base: Some(json!("a")),
                ours: None,
                theirs: Some(json!({ "x": [1.50, "å"] })),
            },
            Clash { path: "activity[I1].detail.status".into(), base: None, ours: Some(json!("b")), theirs: None },
        ];
        assert_eq!(said(&json!({ "input": inputs(&clashes) })), clashes);
    }
}
