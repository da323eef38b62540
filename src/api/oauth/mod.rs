//! The doors of OAuth: where it says what it can do, gives tokens, and tells what a token is good for. SMART Backend Services
//! over RFC 6749; none of them is FHIR, so their answers are plain JSON.

mod discover;
mod form;
mod introspect;
mod refusal;
mod source;
mod token;

pub use discover::{jwks, security, smart_configuration};
pub use introspect::introspect;
pub use token::token;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, PRAGMA};
use serde::Serialize;

/// JSON that nobody on the way may keep.
fn private(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((PRAGMA, "no-cache"))
        .json(body)
}
