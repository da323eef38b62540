//! Every request under one number: it is in the answer (`X-Request-Id`), on every log line of the request, in the trace that
//! partners are handed, and what a fault is reported by. A line and a figure for each; the path and the query never.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::Gateway;
use crate::domain::audit::Origin;
use crate::telemetry::{Asked, Served, TraceContext, begin, join, origin};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static NUMBER: Uuid;
}

/// The number of the request that is being answered.
pub fn number() -> Option<Uuid> {
    NUMBER.try_with(|number| *number).ok()
}

/// Middleware: watches one request from its headers to its answer.
pub async fn watch(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let gateway = request.app_data::<web::Data<Gateway>>().cloned();
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // Only a UUID is taken as a number: anything else could be a person's.
    let given = header(REQUEST_ID).filter(|id| id.len() == 36).and_then(|id| Uuid::parse_str(id).ok());
    let before = header(TRACEPARENT).and_then(TraceContext::parse);
    let span = tracing::info_span!("request", id = tracing::field::Empty);
    let context = before.map_or_else(|| begin(&span, given), |before| join(&span, before));
    let number = given.unwrap_or(Uuid::from_u128(context.trace_id));
    span.record("id", tracing::field::display(number));
    let asked = Asked { origin: from(&request), number };
    let work = asked.scope(next.call(request).instrument(span.clone()));
    let answered = NUMBER.scope(number, context.scope(work)).await;
    let mut response = answered?;
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = known(response.request().method());
    let status = response.status().as_u16();
    let took = started.elapsed();
    if let Ok(value) = HeaderValue::from_str(&number.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some(gateway) = gateway {
        gateway.figures.served(Served { method, route: &route, status, took });
        let duration_ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
        let _entered = span.enter();
        // Whoever asks every few seconds how we are is not worth a line each time, unless we are not well.
        let is_routine = status < 400 && (route.starts_with("/health/") || route == "/metrics");
        if gateway.config.telemetry.requests && !is_routine {
            tracing::info!(method, route, status, duration_ms, "answered");
        } else {
            tracing::debug!(method, route, status, duration_ms, "answered");
        }
    }
    Ok(response)
}

/// Where it came from. What came through a proxy looks like the proxy.
fn from(request: &ServiceRequest) -> Origin {
    let is_forwarded = FORWARDED.iter().any(|header| request.headers().contains_key(*header));
    origin(request.peer_addr().map(|peer| peer.ip()), is_forwarded)
}

/// Headers of proxies.
pub const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// A method's name, where it is one that we know: a label has few values.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
