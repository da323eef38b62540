//! What happened at the receiver, as its own database says: every version of every resource, in the order they came.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::programs::Site;

const OURS: &str = "https://vardkedja.example/fhir/sid/resource";

const ORGANISATION_NUMBER: &str = "urn:oid:2.5.4.97";

/// One version of a resource at the receiver.
#[derive(Debug, Clone)]
pub struct Version {
    pub kind: String,
    pub id: String,
    pub at: i64,
    /// The content without what the server put in, references reduced to what they point at.
    pub content: String,
    pub identifiers: Vec<(String, String)>,
}

/// A Task of ours as the receiver's people left it.
#[derive(Debug, Clone)]
pub struct Task {
    pub ours: String,
    pub status: String,
}

#[derive(Default)]
pub struct Effects {
    /// In the order in which they took effect.
    pub versions: Vec<Version>,
    /// When a mark was seen first.
    pub marks: HashMap<String, i64>,
    pub tasks: Vec<Task>,
    /// `kind system|value` that more than one live resource bears.
    pub doubles: Vec<String>,
}

pub fn open(path: &std::path::Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

impl Effects {
    pub fn read(site: &Site) -> Self {
        let db = open(&site.receiver_db());
        let mut effects = Self::default();
        let mut statement = db
            .prepare(
                "SELECT kind, id, updated_ms, body, EXISTS (SELECT 1 FROM live l WHERE l.kind = v.kind AND l.id = v.id \
                 AND l.number = v.number) FROM version v WHERE body IS NOT NULL ORDER BY updated_ms",
            )
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut bearers: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        while let Some(row) = rows.next().unwrap() {
            let (kind, id, at): (String, String, i64) = (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
            let (body, live): (String, bool) = (row.get(3).unwrap(), row.get(4).unwrap());
            let resource: Value = serde_json::from_str(&body).unwrap();
            for mark in marks(&body) {
                effects.marks.entry(mark).or_insert(at);
            }
            let identifiers = identifiers(&resource);
            if live {
                // Units of one legal body share its organisation number.
                for (system, value) in identifiers.iter().filter(|(system, _)| system != ORGANISATION_NUMBER) {
                    bearers.entry((kind.clone(), system.clone(), value.clone())).or_default().push(id.clone());
                }
                if kind == "Task"
                    && let Some((_, ours)) = identifiers.iter().find(|(system, _)| system == OURS)
                {
                    let status = resource["status"].as_str().unwrap_or_default().to_owned();
                    effects.tasks.push(Task { ours: ours.clone(), status });
                }
            }
            effects.versions.push(Version { kind, id, at, content: content(resource), identifiers });
        }
        effects.doubles = bearers
            .into_iter()
            .filter(|(_, ids)| ids.len() > 1)
            .map(|((kind, system, value), ids)| format!("{kind} {system}|{value} stands {} times", ids.len()))
            .collect();
        effects
    }
}

/// Every `[client.number.version]` in a text.
pub fn marks(text: &str) -> Vec<String> {
    let is_mark = |m: &str| m.split('.').count() == 3 && m.chars().all(|c| c.is_ascii_digit() || c == '.');
    let ends = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    ends.map(|(mark, _)| mark).filter(|m| is_mark(m)).map(|m| format!("[{m}]")).collect()
}

pub fn identifiers(resource: &Value) -> Vec<(String, String)> {
    let all = match &resource["identifier"] {
        Value::Array(list) => list.clone(),
        Value::Object(one) => vec![Value::Object(one.clone())],
        _ => Vec::new(),
    };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    all.iter().map(|i| (text(&i["system"]), text(&i["value"]))).collect()
}

/// What the sender decided about a resource, in a form that is the same on both sides.
pub fn content(mut resource: Value) -> String {
    if let Some(object) = resource.as_object_mut() {
        object.remove("id");
        if let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        if object.get("meta").is_some_and(|m| m.as_object().is_some_and(|m| m.is_empty())) {
            object.remove("meta");
        }
    }
    strip(&mut resource);
    sorted(&resource)
}

/// References are `urn:uuid:…` in the Bundle and `Type/id` at the receiver.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("reference");
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, String> = fields.iter().map(|(k, v)| (k, sorted(v))).collect();
            format!("{fields:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(sorted).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}
