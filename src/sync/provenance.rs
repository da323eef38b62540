//! The Provenance of a document version: who sent it, who holds the data, who mapped it, and by which table.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::identify;
use super::read::Read;
use super::weigh::{Weighed, instant};
use crate::Gateway;
use crate::fhir::canonical::{DOCUMENT_ID, HSA_ID};
use crate::store::Exchange;

/// Who sent the version, who holds the data, who mapped it, and by which table.
pub(super) fn provenance(
    gateway: &Gateway,
    read: &Read<'_>,
    exchange: &Exchange,
    version: u32,
    now: DateTime<Utc>,
    weighed: &Weighed,
) -> Value {
    let agent = |kind: &str, hsa_id: &str| {
        json!({
            "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": kind }] },
            "who": { "identifier": { "system": HSA_ID, "value": hsa_id } },
        })
    };
    let targets: Vec<Value> =
        weighed.put.iter().map(|p| json!({ "reference": format!("{}/{}", p.resource_type, p.id) })).collect();
    let targets = if targets.is_empty() {
        exchange.resources.iter().map(|r| json!({ "reference": r })).collect()
    } else {
        targets
    };
    let document = format!("{}/{}/{version}", exchange.kind, exchange.document);
    json!({
        "resourceType": "Provenance",
        "id": identify::id(&[&exchange.organisation, exchange.kind.name(), &exchange.document, "provenance", &version.to_string()]),
        "target": targets,
        "recorded": instant(now),
        "agent": [
            agent("author", &read.unit),
            agent("custodian", &read.organisation),
            agent("assembler", &gateway.config.hsa_id),
        ],
        "entity": [{
            "role": "source",
            "what": {
                "identifier": { "system": DOCUMENT_ID, "value": document },
                "display": format!("{} {} (sha-256 {})", read.table.name(), read.table.version(), read.hash),
            },
        }],
    })
}
