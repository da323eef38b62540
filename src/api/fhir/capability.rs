//! What the FHIR face can do, generated from the same tables that do it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::oauth;
use super::super::problem::{Answer, Problem, told};
use super::difference::COMPARED;
use super::everything::WHOLE;
use super::search::{documentation, includes, is_sortable};
use super::timeline::TIMED;
use super::{FHIR_JSON, apply, measure, query};
use crate::Gateway;
use crate::fhir::canonical::BASE;
use crate::fhir::search::{Param, params, types};

/// Where the definitions of Bulk Data Access stand.
const BULK: &str = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition";

/// Types that a partner may create, and update.
pub const CREATED: [&str; 2] = ["Communication", "Procedure"];
pub const UPDATED: [&str; 1] = ["Task"];
/// Types of which a whole new version is put by whoever may.
pub const EDITED: [&str; 1] = ["CodeSystem"];

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
    let mut resources: Vec<Value> = types().iter().map(|name| resource(name)).collect();
    resources.push(super::audit::capability());
    resources.push(group());
    resources.push(super::subscription::capability(&gateway));
    let mut statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-21",
        "kind": "instance",
        "software": { "name": "Vårdkedja", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": gateway.config.name, "url": format!("{}/fhir", gateway.config.base_url) },
        "instantiates": ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"],
        "fhirVersion": "4.0.1",
        "format": ["json", "xml"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [{
            "mode": "server",
            "documentation": "A unit sees the resources of exchanges in which it is sender, recipient or SIP participant. \
                A national identifier, a person's name or birth date is never taken in a URL: search with POST _search. \
                What is not listed is refused; with Prefer: handling=lenient it is left out and named in an \
                OperationOutcome of the answer. Chains and _has follow the reference parameters listed, as far as the \
                caller may see; so do _include and _revinclude, with :iterate and without *. A bare date is a day in \
                Europe/Stockholm. Without _sort the order is that in which the resources were made.",
            "searchParam": controls(),
            "resource": resources,
            "interaction": [{ "code": "history-system" }],
            "operation": [
                { "name": "export", "definition": format!("{BULK}/export") },
                { "name": "verify", "definition": format!("{BASE}/OperationDefinition/verify") },
            ],
        }],
    });
    if let Some(security) = oauth::security(&gateway.config)
        && let Some(rest) = statement.pointer_mut("/rest/0")
    {
        rest["security"] = security;
    }
    Ok(HttpResponse::Ok().content_type(FHIR_JSON).body(statement.to_string()))
}

/// Methods taken at `/fhir/{type}`, and at `/fhir/{type}/{id}`.
pub fn type_methods(resource_type: &str) -> Vec<&'static str> {
    let mut methods = vec!["GET", "HEAD"];
    methods.extend(CREATED.contains(&resource_type).then_some("POST"));
    methods.extend(UPDATED.contains(&resource_type).then_some("PUT"));
    methods.extend(UPDATED.contains(&resource_type).then_some("PATCH"));
    methods
}

pub fn instance_methods(resource_type: &str) -> Vec<&'static str> {
    match resource_type {
        name if UPDATED.contains(&name) => vec!["GET", "HEAD", "PUT", "PATCH"],
        name if EDITED.contains(&name) => vec!["GET", "HEAD", "PUT"],
        _ => vec!["GET", "HEAD"],
    }
}

/// Groups are made of settings and computed when they are asked for: there is nothing to search them by.
fn group() -> Value {
    json!({
        "type": "Group",
        "interaction": [{ "code": "read" }, { "code": "search-type" }],
        "versioning": "no-version",
        "documentation": "Groups of patients by criteria, those of the caller: criteria and quantity, no members.",
        "operation": [
            { "name": "validate", "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate" },
            { "name": "export", "definition": format!("{BULK}/group-export") },
        ],
    })
}

fn operations(resource_type: &str) -> Vec<Value> {
    let mut operations =
        vec![json!({ "name": "validate", "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate" })];
    let whole = WHOLE.iter().filter(|(name, _)| *name == resource_type);
    operations.extend(whole.map(|(_, definition)| json!({ "name": "everything", "definition": definition })));
    if resource_type == "Patient" {
        let definition = "https://vardkedja.example/fhir/OperationDefinition/Patient-access-log";
        operations.push(json!({ "name": "access-log", "definition": definition }));
        operations.push(json!({ "name": "export", "definition": format!("{BULK}/patient-export") }));
    }
    if resource_type == "Composition" {
        let definition = "http://hl7.org/fhir/OperationDefinition/Composition-document";
        operations.push(json!({ "name": "document", "definition": definition }));
    }
    if TIMED.contains(&resource_type) {
        operations.push(json!({ "name": "timeline", "definition": format!("{BASE}/OperationDefinition/timeline") }));
    }
    if resource_type == COMPARED {
        operations.push(json!({ "name": "diff", "definition": format!("{BASE}/OperationDefinition/CarePlan-diff") }));
    }
    if resource_type == "Task" {
        operations
            .push(json!({ "name": "open-loops", "definition": format!("{BASE}/OperationDefinition/Task-open-loops") }));
    }
    if resource_type == "Measure" {
        operations.push(json!({ "name": "evaluate-measure", "definition": measure::DEFINITION }));
    }
    if resource_type == "PlanDefinition" {
        operations.push(json!({ "name": "apply", "definition": apply::DEFINITION }));
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
    if EDITED.contains(&resource_type) {
        interactions.push("update");
    }
    let (forwards, backwards) = includes(resource_type);
    let mut said = json!({
        "type": resource_type,
        "interaction": interactions.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>(),
        "versioning": if UPDATED.contains(&resource_type) || EDITED.contains(&resource_type) { "versioned-update" } else { "versioned" },
        "readHistory": true,
        "updateCreate": false,
        "conditionalCreate": CREATED.contains(&resource_type),
        "conditionalRead": "full-support",
        "conditionalUpdate": UPDATED.contains(&resource_type),
        "conditionalDelete": "not-supported",
        "operation": operations(resource_type),
        "searchParam": own().into_iter().chain(params(resource_type).iter().map(searched)).collect::<Vec<_>>(),
    });
    // FHIR has no empty lists.
    for (name, list) in [("searchInclude", forwards), ("searchRevInclude", backwards)] {
        if !list.is_empty() {
            said[name] = json!(list);
        }
    }
    said
}

/// What every type has of itself.
fn own() -> [Value; 2] {
    let standard = |name: &str| format!("http://hl7.org/fhir/SearchParameter/Resource-{name}");
    [
        json!({ "name": "_id", "definition": standard("id"), "type": "token", "documentation": "Sortable. No modifiers." }),
        json!({
            "name": "_lastUpdated", "definition": standard("lastUpdated"), "type": "date",
            "documentation": "Sortable. Prefixes: eq, ne, gt, ge, lt, le, sa, eb, ap. No modifiers.",
        }),
    ]
}

fn searched(param: &Param) -> Value {
    let mut text = documentation(param.kind);
    if is_sortable(param.kind) {
        text.push_str(" Sortable.");
    }
    if param.is_personal {
        text.push_str(" Only with POST _search.");
    }
    json!({ "name": param.name, "definition": param.definition(), "type": param.kind.code(), "documentation": text })
}

/// How an answer can be asked to look; the same for every type.
fn controls() -> Value {
    let control = |name: &str, kind: &str, text: &str| json!({ "name": name, "type": kind, "documentation": text });
    json!([
        control("_count", "number", "Entries of a page; 0 is _summary=count."),
        control(
            "_sort",
            "special",
            "Parameters of kind token, date or string, _id, _lastUpdated; - before one turns it."
        ),
        control("_total", "token", "none, estimate, accurate; an estimate is exact."),
        control("_summary", "token", "true, text, data, count, false."),
        control("_elements", "special", "Elements of the first level; mandatory ones and modifiers stay."),
        control("_include", "special", "Type:reference[:Target], with :iterate; see searchInclude."),
        control("_revinclude", "special", "Type:reference[:Target], with :iterate; see searchRevInclude."),
        control(
            "_query",
            "special",
            "open-loops, of Task: Tasks that somebody waits for; with overdue=true what is overdue."
        ),
        control(
            "_has",
            "special",
            "_has:Type:reference:parameter; nested and within chains as deep as the gateway allows."
        ),
    ])
}
