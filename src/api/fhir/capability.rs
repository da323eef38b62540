//! What the FHIR face can do, generated from the same tables that do it.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::FHIR_JSON;
use crate::Gateway;
use crate::fhir::search::{self, PARAMS};

/// Types that a partner may create, and update.
pub const CREATED: [&str; 2] = ["Communication", "Procedure"];
pub const UPDATED: [&str; 1] = ["Task"];

/// `GET /fhir/metadata`: open to all, it says nothing of anybody.
pub async fn metadata(gateway: web::Data<Gateway>) -> HttpResponse {
    let mut types: Vec<&str> = PARAMS.iter().map(|p| p.resource_type).collect();
    types.dedup();
    let resources: Vec<Value> = types.into_iter().map(resource).collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-21",
        "kind": "instance",
        "software": { "name": "Vårdkedja", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": gateway.config.name, "url": format!("{}/fhir", gateway.config.base_url) },
        "fhirVersion": "4.0.1",
        "format": ["json", "xml"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [{
            "mode": "server",
            "documentation": "A unit sees the resources of exchanges in which it is sender, recipient or SIP participant. \
                A national identifier is never taken in a URL: search with POST _search.",
            "resource": resources,
        }],
    });
    HttpResponse::Ok().content_type(FHIR_JSON).body(statement.to_string())
}

fn resource(resource_type: &str) -> Value {
    let mut interactions = vec!["read", "vread", "history-instance", "search-type"];
    if CREATED.contains(&resource_type) {
        interactions.push("create");
    }
    if UPDATED.contains(&resource_type) {
        interactions.extend(["update", "patch"]);
    }
    let mut params = vec![json!({ "name": "_id", "type": "token" }), json!({ "name": "_lastUpdated", "type": "date" })];
    for param in search::params(resource_type) {
        params.push(json!({ "name": param.name, "type": param.kind.code() }));
    }
    json!({
        "type": resource_type,
        "interaction": interactions.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>(),
        "versioning": if UPDATED.contains(&resource_type) { "versioned-update" } else { "versioned" },
        "readHistory": true,
        "updateCreate": false,
        "conditionalCreate": CREATED.contains(&resource_type),
        "operation": [{
            "name": "validate",
            "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate",
        }],
        "searchParam": params,
    })
}
