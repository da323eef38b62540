//! For whoever runs the gateway: is it alive, can it take anything in, how is it doing, and what waits for a person.

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use chrono::Utc;
use serde_json::json;

use super::caller::Call;
use super::observe::FORWARDED;
use super::problem::{Answer, Problem};
use crate::Gateway;
use crate::access::Operation;
use crate::config::OpenTo;
use crate::fhir::issue::{Code, Issue};
use crate::sync::status;
use crate::telemetry::CONTENT_TYPE;

/// The process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// The store takes commits, and nobody has asked us to stop.
pub async fn ready(gateway: web::Data<Gateway>) -> HttpResponse {
    if gateway.is_draining() {
        HttpResponse::ServiceUnavailable().json(json!({ "status": "stopping" }))
    } else if gateway.store.is_ready() {
        HttpResponse::Ok().json(json!({ "status": "ready" }))
    } else {
        HttpResponse::ServiceUnavailable().json(json!({ "status": "the store cannot commit" }))
    }
}

/// `GET /metrics`, for Prometheus.
pub async fn metrics(gateway: web::Data<Gateway>, request: HttpRequest) -> Answer {
    admit(&gateway, &request).await?;
    let seen = status::seen(&gateway, Utc::now()).await?;
    let text = gateway.figures.write(&seen).map_err(|_| Problem::fault("the figures could not be written"))?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

/// `GET /v1/status`: what `vardkedja status` shows.
pub async fn show(gateway: web::Data<Gateway>, request: HttpRequest) -> Answer {
    admit(&gateway, &request).await?;
    Ok(HttpResponse::Ok().json(status::status(&gateway, Utc::now()).await?))
}

/// A proxy on this machine makes everybody look like this machine, so a request that came through one is from elsewhere; from
/// there it takes a token for operations.
async fn admit(gateway: &Gateway, request: &HttpRequest) -> Result<(), Problem> {
    let is_local = || {
        request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
            && !FORWARDED.iter().any(|header| request.headers().contains_key(*header))
    };
    let may = match gateway.config.telemetry.open_to {
        OpenTo::Any => true,
        OpenTo::Loopback => is_local(),
        OpenTo::Nobody => false,
    };
    if may {
        return Ok(());
    }
    if gateway.config.telemetry.open_to == OpenTo::Loopback
        && gateway.config.is_authenticated()
        && request.headers().contains_key(AUTHORIZATION)
    {
        return Call::extract(request).await?.may(Operation::SeeFigures);
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        Issue::error(
            Code::Forbidden,
            "",
            "Driftuppgifter läses från samma maskin, inte genom en proxy (telemetry.open_to), eller med en biljett för drift.",
            "How the gateway is doing is read from its own machine, not through a proxy (telemetry.open_to), or with a token for operations.",
        ),
    ))
}
