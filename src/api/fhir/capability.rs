//! What the FHIR face can do, generated from the same tables that do it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::problem::{Answer, Problem, told};
use super::everything::WHOLE;
use super::{FHIR_JSON, query};
use crate::Gateway;
use crate::fhir::search::{self, PARAMS};

/// Types that a partner may create, and update.
pub const CREATED: [&str; 2] = ["Communication", "Procedure"];
pub const UPDATED: [&str; 1] = ["Task"];

/// `GET /fhir/metadata`: open to all, it says nothing of anybody.
pub async fn metadata(gateway: web::Data<Gateway>, request: HttpRequest) -> Answer {
    for (name, value) in query::pairs(request.query_string())? {
        match (name.as_str(), value.as_str()) {
            ("_format", _) | ("mode", "full") => {}
            ("mode", _) => {
                return Err(Problem::bad_request(
                    "mode",
                    "Bara mode=full finns; det är också det som gäller utan.",
                    "There is only mode=full, which is also what holds without.",
                ));
            }
            _ => {
                return Err(Problem::bad_request(
                    told(&name),
                    "Parametern finns inte här; kända: mode, _format.",
                    "There is no such parameter here; known: mode, _format.",
                ));
            }
        }
    }
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
            "interaction": [{ "code": "history-system" }],
        }],
    });
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(statement.to_string()))
}

/// Methods taken at `/fhir/{type}`, and at `/fhir/{type}/{id}`.
pub fn type_methods(resource_type: &str) -> Vec<&'static str> {
    let mut methods = vec!["GET"];
    methods.extend(CREATED.contains(&resource_type).then_some("POST"));
    methods.extend(UPDATED.contains(&resource_type).then_some("PUT"));
    methods.extend(UPDATED.contains(&resource_type).then_some("PATCH"));
    methods
}

pub fn instance_methods(resource_type: &str) -> Vec<&'static str> {
    if UPDATED.contains(&resource_type) { vec!["GET", "PUT", "PATCH"] } else { vec!["GET"] }
}

fn operations(resource_type: &str) -> Vec<Value> {
    let mut operations =
        vec![json!({ "name": "validate", "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate" })];
    let whole = WHOLE.iter().filter(|(name, _)| *name == resource_type);
    operations.extend(whole.map(|(_, definition)| json!({ "name": "everything", "definition": definition })));
    if resource_type == "Composition" {
        let definition = "http://hl7.org/fhir/OperationDefinition/Composition-document";
        operations.push(json!({ "name": "document", "definition": definition }));
    }
    operations
}

fn resource(resource_type: &str) -> Value {
    let mut interactions = vec!["read", "vread", "history-instance", "history-type", "search-type"];
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
        "conditionalRead": "full-support",
        "conditionalUpdate": UPDATED.contains(&resource_type),
        "conditionalDelete": "not-supported",
        "operation": operations(resource_type),
        "searchParam": params,
    })
}
