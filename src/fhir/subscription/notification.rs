//! The Bundles that tell of events, and of how a subscription stands. The same events are the same bytes, whenever they are told.

use serde_json::{Value, json};
use uuid::Uuid;

use super::definition;
use crate::domain::subscription::{Payload, Status};

/// Why something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Handshake,
    Heartbeat,
    Event,
    /// Answers to a question: how it stands, and which events there were.
    Status,
    Query,
}

impl Kind {
    fn code(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Heartbeat => "heartbeat",
            Self::Event => "event-notification",
            Self::Status => "query-status",
            Self::Query => "query-event",
        }
    }
}

/// One event as it is told.
#[derive(Debug, Clone)]
pub struct Told {
    pub number: i64,
    /// A FHIR instant.
    pub at: String,
    pub resource_type: String,
    pub id: String,
    pub is_new: bool,
    /// The version, where it is told whole.
    pub body: Option<Value>,
}

/// What is told, and of which subscription.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The gateway's FHIR address, without a slash at the end.
    pub base: &'a str,
    pub id: Uuid,
    pub topic: &'a str,
    pub kind: Kind,
    pub status: Status,
    pub payload: Payload,
    /// The last number there is.
    pub count: i64,
    /// A FHIR instant.
    pub at: &'a str,
    pub error: Option<&'a str>,
    pub events: &'a [Told],
}

/// R4's SubscriptionStatus: a Parameters resource.
pub fn status(of: &Notification<'_>) -> Value {
    let mut parameters = vec![
        json!({ "name": "subscription", "valueReference": { "reference": format!("{}/Subscription/{}", of.base, of.id) } }),
        json!({ "name": "topic", "valueCanonical": of.topic }),
        json!({ "name": "status", "valueCode": of.status.code() }),
        json!({ "name": "type", "valueCode": of.kind.code() }),
        json!({ "name": "events-since-subscription-start", "valueString": of.count.to_string() }),
    ];
    for event in of.events {
        let mut part = vec![
            json!({ "name": "event-number", "valueString": event.number.to_string() }),
            json!({ "name": "timestamp", "valueInstant": event.at }),
        ];
        if of.payload != Payload::Empty {
            let focus = format!("{}/{}/{}", of.base, event.resource_type, event.id);
            part.push(json!({ "name": "focus", "valueReference": { "reference": focus } }));
        }
        parameters.push(json!({ "name": "notification-event", "part": part }));
    }
    if let Some(error) = of.error {
        parameters.push(json!({ "name": "error", "valueCodeableConcept": { "text": error } }));
    }
    json!({
        "resourceType": "Parameters",
        "id": Uuid::new_v5(&of.id, b"status").to_string(),
        "meta": { "profile": [definition("backport-subscription-status-r4")] },
        "parameter": parameters,
    })
}

/// The notification as a Bundle: the status first, then what changed, as much of it as the payload says.
pub fn bundle(of: &Notification<'_>) -> Value {
    let status = status(of);
    let name = status["id"].as_str().unwrap_or_default().to_owned();
    let mut entries = vec![json!({
        "fullUrl": format!("urn:uuid:{name}"),
        "resource": status,
        "request": { "method": "GET", "url": format!("{}/Subscription/{}/$status", of.base, of.id) },
        "response": { "status": "200" },
    })];
    if of.payload != Payload::Empty {
        entries.extend(of.events.iter().map(|event| entry(of.base, event)));
    }
    let first = of.events.first().map_or(0, |event| event.number);
    // What was asked of us is answered anew each time; what we tell is the same when it is told again.
    let key = format!("{}/{first}/{}/{}", of.kind.code(), of.count, if of.events.is_empty() { of.at } else { "" });
    json!({
        "resourceType": "Bundle",
        "id": Uuid::new_v5(&of.id, key.as_bytes()).to_string(),
        "meta": { "profile": [definition("backport-subscription-notification-r4")] },
        "type": "history",
        "timestamp": of.events.last().map_or(of.at, |event| event.at.as_str()),
        "entry": entries,
    })
}

fn entry(base: &str, event: &Told) -> Value {
    let Told { resource_type, id, .. } = event;
    let (method, url, status) = match event.is_new {
        true => ("POST", resource_type.clone(), "201"),
        false => ("PUT", format!("{resource_type}/{id}"), "200"),
    };
    let mut entry = json!({ "fullUrl": format!("{base}/{resource_type}/{id}") });
    if let Some(body) = &event.body {
        entry["resource"] = body.clone();
    }
    entry["request"] = json!({ "method": method, "url": url });
    entry["response"] = json!({ "status": status });
    entry
}

/// Statuses that were asked for together.
pub fn searchset(base: &str, self_url: &str, statuses: Vec<Value>) -> Value {
    let entry = |status: Value| {
        let name = status["id"].as_str().unwrap_or_default().to_owned();
        json!({ "fullUrl": format!("urn:uuid:{name}"), "resource": status, "search": { "mode": "match" } })
    };
    let mut bundle = json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "total": statuses.len(),
        "link": [{ "relation": "self", "url": format!("{base}{self_url}") }],
    });
    if !statuses.is_empty() {
        bundle["entry"] = statuses.into_iter().map(entry).collect();
    }
    bundle
}
