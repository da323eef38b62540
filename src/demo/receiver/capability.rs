//! The CapabilityStatement: what the server does, said from the same tables that make it do so.

use serde_json::{Value, json};

use super::Receiver;
use super::interaction::is_served;
use super::search::INCLUDES;
use super::terms::served;
use crate::fhir::r4;

const INTERACTIONS: &[&str] =
    &["read", "vread", "update", "patch", "delete", "history-instance", "create", "search-type"];

pub fn statement(receiver: &Receiver, base: &str) -> Value {
    let kinds = r4::resources().iter().filter(|kind| is_served(kind));
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "software": { "name": "Vårdkedja: simulated primary care", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "A primary care system for demonstration and tests", "url": base },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [{
            "mode": "server",
            "documentation": "A personnummer in a URL is refused; search with POST _search.",
            "resource": kinds.map(|kind| resource(receiver, kind)).collect::<Vec<_>>(),
            "interaction": [{ "code": "transaction" }],
        }],
    })
}

fn resource(receiver: &Receiver, kind: &str) -> Value {
    let mut parameters = vec![
        json!({ "name": "_id", "type": "token" }),
        json!({ "name": "_lastUpdated", "type": "date", "documentation": "ge, gt, le, lt or a whole day" }),
    ];
    parameters.extend(served(kind).map(|(p, _)| json!({ "name": p.name, "type": p.form })));
    let mut resource = json!({
        "type": kind,
        "interaction": INTERACTIONS.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>(),
        "versioning": "versioned",
        "readHistory": true,
        "updateCreate": receiver.creates_by_id(kind),
        "conditionalCreate": true,
        "conditionalUpdate": true,
        "conditionalDelete": "not-supported",
        "referencePolicy": ["literal", "logical", "local", "enforced"],
        "searchParam": parameters,
    });
    if kind == "Task" {
        resource["searchInclude"] = INCLUDES.iter().map(|(name, _)| json!(name)).collect();
    }
    resource
}
