//! What one request, one caller and one connection may cost: everything of `[limits]` that is decided before a handler
//! runs stands here, so that no handler has to think of it.
//!
//! - `check`: address, parameters and headers, for every request
//! - `turnstile`: how many requests a caller may make at once and in a second
//! - `watch`: connections that take their time
//!
//! The body is bounded where it is read (`api::body`), and what is in it where it is parsed.

pub mod turnstile;
pub mod watch;

use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::problem::Problem;
use crate::Gateway;
use crate::config::Limits;
use crate::fhir::issue::{Code, Issue};

pub use turnstile::{Pass, Turnstile};
pub use watch::{Connection, Watch};

/// Middleware around everything: refuses what is too long, and tells the connection's watch that a request has come.
pub async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    if let Some(connection) = &connection {
        connection.begin();
    }
    let limits = request.app_data::<web::Data<Gateway>>().map(|g| g.config.limits);
    let refused = limits.and_then(|limits| refuse(&request, &limits));
    let answered = match refused {
        Some(problem) => Ok(request.into_response(problem.error_response())),
        None => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
    };
    if let Some(connection) = &connection {
        connection.end();
    }
    answered
}

fn refuse(request: &ServiceRequest, limits: &Limits) -> Option<Problem> {
    let most = limits.url_bytes;
    if request.uri().path_and_query().is_some_and(|p| p.as_str().len() > most) {
        let (sv, en) = (
            format!("Adressen är längre än {most} byte (limits.url_bytes); sök med POST _search."),
            format!("The address is longer than {most} bytes (limits.url_bytes); search with POST _search."),
        );
        return Some(Problem::new(StatusCode::URI_TOO_LONG, Issue::error(Code::TooLong, "", sv, en)));
    }
    let most = limits.header_bytes;
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers > most {
        let (sv, en) = (
            format!("Rubrikerna är tillsammans större än {most} byte (limits.header_bytes)."),
            format!("The headers are larger than {most} bytes together (limits.header_bytes)."),
        );
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Some(Problem::new(status, Issue::error(Code::TooLong, "", sv, en)));
    }
    too_many_parameters(request.query_string().as_bytes(), limits.query_parameters)
}

/// A query or form with more parameters than `most`.
pub fn too_many_parameters(query: &[u8], most: usize) -> Option<Problem> {
    if query.iter().filter(|byte| **byte == b'&').count() < most {
        return None;
    }
    Some(Problem::new(
        StatusCode::BAD_REQUEST,
        Issue::error(
            Code::TooCostly,
            "",
            format!("Frågan har fler än {most} parametrar (limits.query_parameters)."),
            format!("The query has more than {most} parameters (limits.query_parameters)."),
        ),
    ))
}
