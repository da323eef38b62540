//! Weighs mapped resources against what is stored: what is new, what changed, what fell away, and what stays as it was.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::part::is_decision;
use crate::domain::task::{self, Role, Status, Verdict};
use crate::fhir::resource::{content, id_of, reference_of, type_of};
use crate::fhir::search;
use crate::store::{Expect, Put, Stored};

/// The stored resources that matter, by `Type/id`.
pub type Current = HashMap<String, (u32, Value)>;

/// Parses what the store gave.
pub fn current(stored: Vec<Stored>) -> Current {
    stored
        .into_iter()
        .filter_map(|s| {
            let value = serde_json::from_slice(&s.body).ok()?;
            Some((format!("{}/{}", s.resource_type, s.id), (s.version, value)))
        })
        .collect()
}

/// Joins an incoming resource with the stored one: actors keep what the document does not speak of,
/// a Task keeps its life, everything else is what the document says.
pub fn join(incoming: Value, stored: Option<&Value>) -> Value {
    let Some(stored) = stored else { return incoming };
    match type_of(&incoming) {
        "Patient" | "Organization" | "Practitioner" | "PractitionerRole" | "RelatedPerson" | "Location" => {
            join_actor(incoming, stored)
        }
        "Task" => join_task(incoming, stored),
        _ => incoming,
    }
}

fn join_actor(incoming: Value, stored: &Value) -> Value {
    let mut joined = content(stored);
    let (Some(target), Value::Object(source)) = (joined.as_object_mut(), incoming) else { return joined };
    for (name, value) in source {
        match (name.as_str(), target.get_mut(&name)) {
            ("meta", Some(Value::Object(known))) => join_meta(known, value),
            ("identifier", Some(Value::Array(known))) => {
                let new = value.as_array().cloned().unwrap_or_default();
                let missing: Vec<Value> =
                    new.into_iter().filter(|i| !known.iter().any(|k| same_identifier(k, i))).collect();
                known.extend(missing);
            }
            _ => {
                target.insert(name, value);
            }
        }
    }
    // The same unit stands in everybody's documents: that another system speaks of it is no new version of it, and who has
    // spoken of a patient is nobody else's to know.
    if let Some(meta) = joined.get_mut("meta").and_then(Value::as_object_mut) {
        meta.shift_remove("source");
    }
    joined
}

/// A protection label stays until somebody takes it away: a document that is silent about it does not.
fn join_meta(known: &mut Map<String, Value>, incoming: Value) {
    let Value::Object(incoming) = incoming else { return };
    for (name, value) in incoming {
        match (name.as_str(), known.get_mut(&name), &value) {
            ("security", Some(Value::Array(labels)), Value::Array(new)) => {
                let same = |a: &Value, b: &Value| a["system"] == b["system"] && a["code"] == b["code"];
                let missing: Vec<Value> = new.iter().filter(|n| !labels.iter().any(|l| same(l, n))).cloned().collect();
                labels.extend(missing);
            }
            _ => {
                known.insert(name, value);
            }
        }
    }
}

fn same_identifier(a: &Value, b: &Value) -> bool {
    a["system"] == b["system"] && a["value"] == b["value"]
}

/// What a Task's life has made of it; a newer version of the request does not undo it.
const LIFE: [&str; 7] =
    ["status", "statusReason", "businessStatus", "output", "lastModified", "executionPeriod", "note"];

fn join_task(mut incoming: Value, stored: &Value) -> Value {
    // One that was sent on to another unit stays as it ended.
    let asks = incoming["status"] == "requested";
    let Some(object) = incoming.as_object_mut() else { return incoming };
    for name in LIFE {
        match stored.get(name) {
            Some(value) => {
                object.insert(name.to_owned(), value.clone());
            }
            None if name != "status" && name != "lastModified" => {
                object.shift_remove(name);
            }
            None => {}
        }
    }
    let status = stored["status"].as_str().and_then(Status::parse).unwrap_or(Status::Requested);
    // A newer version of the request is the placer's way back: on-hold, rejected and cancelled begin anew.
    if asks && task::verdict(status, Status::Requested, Role::Placer) == Verdict::Allowed {
        set_status(object, Status::Requested, None);
        object.shift_remove("businessStatus");
        if let Some(outputs) = object.get_mut("output").and_then(Value::as_array_mut) {
            outputs.retain(|output| !is_decision(output));
            if outputs.is_empty() {
                object.shift_remove("output");
            }
        }
    }
    incoming
}

/// Writes a Task's status and why.
pub fn set_status(task: &mut Map<String, Value>, status: Status, reason: Option<&str>) {
    task.insert("status".into(), json!(status.code()));
    match reason {
        Some(text) => {
            task.insert("statusReason".into(), json!({ "text": text }));
        }
        None => {
            task.shift_remove("statusReason");
        }
    }
}

/// Says when a Task was last changed: now, and never before it was authored (inv-1). A sender's clock may be ahead of ours,
/// and a round of reading may have begun before what it finds.
pub fn touch(task: &mut Map<String, Value>, now: DateTime<Utc>) {
    let authored = task.get("authoredOn").and_then(Value::as_str);
    let later = authored.filter(|text| search::moment(text).is_some_and(|(low, _)| low > now.timestamp_millis()));
    let at = later.map_or_else(|| instant(now), str::to_owned);
    task.insert("lastModified".into(), json!(at));
}

/// What a commit has to put, and what must still be true for it.
#[derive(Debug, Default)]
pub struct Weighed {
    pub put: Vec<Put>,
    pub expect: Vec<Expect>,
}

/// The scale: everything that decides how a resource is written.
#[derive(Debug)]
pub struct Scale<'a> {
    pub now: DateTime<Utc>,
    pub patient: Option<&'a str>,
    pub units: &'a [String],
    pub exchange: Option<Uuid>,
}

impl Scale<'_> {
    /// Adds the resource to what is put, unless it says what the stored one says.
    pub fn add(&self, resource: &Value, current: &Current, weighed: &mut Weighed) {
        let (Some(reference), Some(id)) = (reference_of(resource), id_of(resource)) else { return };
        let stored = current.get(&reference);
        if stored.is_some_and(|(_, value)| content(value) == content(resource)) {
            return;
        }
        let before = stored.map(|(version, _)| *version);
        let version = before.unwrap_or(0) + 1;
        weighed.expect.push(Expect::Version {
            resource_type: type_of(resource).to_owned(),
            id: id.to_owned(),
            version: before,
        });
        weighed.put.push(Put {
            resource_type: type_of(resource).to_owned(),
            id: id.to_owned(),
            version,
            body: stamped(resource, version, self.now),
            patient: self.patient.map(str::to_owned),
            units: self.units.to_vec(),
            index: search::index(resource),
            exchange: self.exchange,
        });
    }
}

/// The bytes of a version: the resource with `meta.versionId` and `meta.lastUpdated`.
fn stamped(resource: &Value, version: u32, now: DateTime<Utc>) -> Vec<u8> {
    let mut copy = resource.clone();
    if let Some(object) = copy.as_object_mut() {
        let mut meta = Map::new();
        meta.insert("versionId".into(), json!(version.to_string()));
        meta.insert("lastUpdated".into(), json!(instant(now)));
        if let Some(Value::Object(old)) = object.get("meta") {
            for (name, value) in old {
                meta.entry(name.clone()).or_insert(value.clone());
            }
        }
        // `meta` stands after `id` in R4.
        let rest: Vec<(String, Value)> =
            object.iter().filter(|(k, _)| *k != "meta").map(|(k, v)| (k.clone(), v.clone())).collect();
        object.clear();
        let mut meta = Some(meta);
        for (name, value) in rest {
            if !matches!(name.as_str(), "resourceType" | "id")
                && let Some(meta) = meta.take()
            {
                object.insert("meta".into(), Value::Object(meta));
            }
            object.insert(name, value);
        }
        if let Some(meta) = meta {
            object.insert("meta".into(), Value::Object(meta));
        }
    }
    serde_json::to_vec(&copy).unwrap_or_default()
}

/// A FHIR instant in UTC, to the millisecond.
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_of_a_request_does_not_undo_an_acceptance() {
        let stored = json!({ "resourceType": "Task", "id": "t", "status": "accepted", "businessStatus": { "text": "tid bokad" } });
        let incoming = json!({ "resourceType": "Task", "id": "t", "status": "requested", "description": "ny" });
        let joined = join(incoming, Some(&stored));
        assert_eq!(joined["status"], "accepted");
        assert_eq!(joined["businessStatus"]["text"], "tid bokad");
        assert_eq!(joined["description"], "ny");
    }

    #[test]
    fn a_completed_request_after_a_question_is_asked_anew() {
        let stored = json!({ "resourceType": "Task", "id": "t", "status": "on-hold", "statusReason": { "text": "Komplettera" } });
        let joined = join(json!({ "resourceType": "Task", "id": "t", "status": "requested" }), Some(&stored));
        assert_eq!(joined["status"], "requested");
        assert!(joined.get("statusReason").is_none());
    }

    #[test]
    fn a_document_that_only_has_the_number_does_not_erase_the_name() {
        let stored = json!({ "resourceType": "Patient", "id": "p", "meta": { "versionId": "1" },
            "identifier": [{ "system": "a", "value": "1" }], "name": [{ "text": "Test Testsson" }] });
        let incoming = json!({ "resourceType": "Patient", "id": "p", "identifier": [{ "system": "a", "value": "1" }] });
        let joined = join(incoming, Some(&stored));
        assert_eq!(joined, content(&stored));
    }

    #[test]
    fn a_protection_label_does_not_vanish_because_a_document_is_silent() {
        let label = json!({ "system": "s", "code": "sekretessmarkering" });
        let stored = json!({ "resourceType": "Patient", "id": "p", "meta": { "versionId": "1", "security": [label] } });
        let incoming = json!({ "resourceType": "Patient", "id": "p", "meta": { "source": "urn:x" } });
        assert_eq!(join(incoming, Some(&stored))["meta"]["security"], json!([label]));
    }

    #[test]
    fn a_unit_that_another_system_speaks_of_in_the_same_words_is_as_it_was() {
        let profile = json!(["urn:p"]);
        let stored = json!({ "resourceType": "Organization", "id": "o", "meta": { "versionId": "1", "profile": profile },
            "name": "Vårdcentralen Norr" });
        let mut incoming = content(&stored);
        incoming["meta"]["source"] = json!("urn:x#2");
        assert_eq!(join(incoming, Some(&stored)), content(&stored));
    }

    #[test]
    fn a_task_is_never_changed_before_it_was_authored_whosever_clock_is_wrong() {
        let now: DateTime<Utc> = "2026-03-02T08:00:00Z".parse().unwrap();
        for (authored, expected) in [
            ("2026-03-02T08:59:59+01:00", "2026-03-02T08:00:00.000Z"),
            ("2026-03-02T08:00:00.001Z", "2026-03-02T08:00:00.001Z"),
            ("2026-03-03", "2026-03-03"),
        ] {
            let mut task = json!({ "authoredOn": authored });
            touch(task.as_object_mut().unwrap(), now);
            assert_eq!(task["lastModified"], expected, "{authored}");
        }
    }

    #[test]
    fn what_says_the_same_is_not_written_again() {
        let now = DateTime::UNIX_EPOCH;
        let scale = Scale { now, patient: None, units: &[], exchange: None };
        let resource = json!({ "resourceType": "Goal", "id": "g", "lifecycleStatus": "active" });
        let mut weighed = Weighed::default();
        scale.add(&resource, &Current::new(), &mut weighed);
        let body: Value = serde_json::from_slice(&weighed.put[0].body).unwrap();
        assert_eq!(body["meta"]["versionId"], "1");
        let current = Current::from([("Goal/g".to_owned(), (1, body))]);
        let mut again = Weighed::default();
        scale.add(&resource, &current, &mut again);
        assert!(again.put.is_empty());
    }
}
