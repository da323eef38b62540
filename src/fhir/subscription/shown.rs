//! The Subscription resource as its client sees it: without its secrets.

use serde_json::{Value, json};

use super::definition;
use super::resource::FHIR_JSON;
use crate::domain::subscription::{Payload, Status};

/// A subscription to be shown.
#[derive(Debug)]
pub struct Shown<'a> {
    pub id: &'a str,
    pub version: u32,
    pub updated_at: &'a str,
    pub status: Status,
    pub error: Option<&'a str>,
    pub end: Option<String>,
    pub topic: &'a str,
    pub filters: &'a [(String, String, String)],
    pub reason: &'a str,
    pub contact: Option<&'a Value>,
    pub endpoint: &'a str,
    pub payload: Payload,
    pub heartbeat_s: Option<u32>,
    pub timeout_s: u32,
    pub max_count: u32,
}

/// The resource as its client sees it. Headers are secrets, and are not in it.
pub fn write(shown: &Shown<'_>) -> Value {
    let filter = |(kind, name, value): &(String, String, String)| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        json!({ "url": definition("backport-filter-criteria"), "valueString": format!("{kind}?{query}") })
    };
    let mut extensions = vec![
        json!({ "url": definition("backport-timeout"), "valueUnsignedInt": shown.timeout_s }),
        json!({ "url": definition("backport-max-count"), "valuePositiveInt": shown.max_count }),
    ];
    if let Some(period) = shown.heartbeat_s {
        extensions.insert(0, json!({ "url": definition("backport-heartbeat-period"), "valueUnsignedInt": period }));
    }
    let mut resource = json!({
        "resourceType": "Subscription",
        "id": shown.id,
        "meta": {
            "versionId": shown.version.to_string(),
            "lastUpdated": shown.updated_at,
            "profile": [definition("backport-subscription")],
        },
        "status": shown.status.code(),
        "contact": shown.contact,
        "end": shown.end,
        "reason": shown.reason,
        "criteria": shown.topic,
        "_criteria": Value::Null,
        "error": shown.error,
        "channel": {
            "extension": extensions,
            "type": "rest-hook",
            "endpoint": shown.endpoint,
            "payload": FHIR_JSON,
            "_payload": {
                "extension": [{ "url": definition("backport-payload-content"), "valueCode": shown.payload.code() }],
            },
        },
    });
    if !shown.filters.is_empty() {
        resource["_criteria"] = json!({ "extension": shown.filters.iter().map(filter).collect::<Vec<_>>() });
    }
    if let Some(object) = resource.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    resource
}
