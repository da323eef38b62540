//! `POST /oauth/introspect`: what a token is good for (RFC 7662), told to whoever has a good token itself.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::super::caller::Call;
use super::form::Form;
use super::private;
use super::refusal::Refusal;
use crate::access::grant;

/// Says whether a token is good, and what for.
pub async fn introspect(call: Call, form: Form) -> Result<HttpResponse, Refusal> {
    let token = form.field("token").ok_or_else(|| Refusal::form("token is missing"))?;
    Ok(private(StatusCode::OK, &grant::introspect(&call.gateway, token, call.now.timestamp())))
}
