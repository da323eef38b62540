//! Groups by criteria: what makes somebody a member, and how many there are.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::caller::Call;
use super::super::fhir::{asked, bundle, known_type, link, no_operation};
use super::super::problem::Answer;
use crate::registry::cohort;
use crate::sync::refusal::missing;
use crate::sync::witness;

/// `GET /fhir/Group`: those that the caller may export.
pub async fn groups(call: Call, request: HttpRequest) -> Answer {
    asked(&request, &[], &call.gateway.config.limits)?;
    let mut entries: Vec<Value> = Vec::new();
    let base = format!("{}/fhir/Group", call.gateway.config.base_url);
    for group in cohort::all_of_caller(&call.gateway, &call.caller) {
        let count = cohort::count(&call.gateway, &call.caller, group).await?;
        let url = format!("{base}/{}", group.id);
        entries
            .push(json!({ "fullUrl": url, "resource": cohort::resource(group, count), "search": { "mode": "match" } }));
    }
    let shown = json!({ "groups": entries.len() });
    witness::record(&call.gateway, &call.caller, "search", "Group", &shown, call.now).await?;
    Ok(bundle("searchset", Some(entries.len() as u64), vec![link("self", &base)], entries))
}

/// `GET /fhir/Group/{id}`
pub async fn group(call: Call, id: web::Path<String>, request: HttpRequest) -> Answer {
    if id.starts_with('$') {
        return Err(no_operation());
    }
    if id.starts_with('_') {
        known_type("Group")?;
    }
    asked(&request, &[], &call.gateway.config.limits)?;
    let group = cohort::of_caller(&call.gateway, &call.caller, &id).ok_or_else(|| missing("Group"))?;
    let count = cohort::count(&call.gateway, &call.caller, group).await?;
    let shown = json!({ "quantity": count });
    witness::record(&call.gateway, &call.caller, "read", &format!("Group/{}", group.id), &shown, call.now).await?;
    Ok(HttpResponse::Ok().content_type("application/fhir+json").body(cohort::resource(group, count).to_string()))
}
