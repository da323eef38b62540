//! For whoever runs the gateway: is it alive, and can it take anything in.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::Gateway;

/// The process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// The store takes commits.
pub async fn ready(gateway: web::Data<Gateway>) -> HttpResponse {
    if gateway.store.is_ready() {
        HttpResponse::Ok().json(json!({ "status": "ready" }))
    } else {
        HttpResponse::ServiceUnavailable().json(json!({ "status": "the store cannot commit" }))
    }
}
