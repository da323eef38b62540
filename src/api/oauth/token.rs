//! `POST /oauth/token`: a token for a system that proves who it is (SMART Backend Services, client_credentials).

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;

use super::super::tls::shown_certificate;
use super::form::Form;
use super::private;
use super::refusal::Refusal;
use super::source::source;
use crate::Gateway;
use crate::access::attempts::Attempt;
use crate::access::grant::{self, Fault, grant};

/// Gives a token, or says why not, to as many as may try.
pub async fn token(
    gateway: web::Data<Gateway>,
    request: HttpRequest,
    form: Result<Form, Refusal>,
) -> Result<HttpResponse, Refusal> {
    let attempt = begin(&gateway, &request, form.as_ref().ok())?;
    let answer = match form {
        Ok(form) => give(&gateway, &request, form).await,
        Err(refusal) => Err(refusal),
    };
    if answer.as_ref().err().is_none_or(Refusal::is_proved) {
        gateway.keyring.attempts.proved(gateway.config.oauth.attempts, &attempt, Utc::now());
    }
    answer
}

/// Whoever it is, it may try; of those who may not it is counted whom they name.
fn begin(gateway: &Gateway, request: &HttpRequest, form: Option<&Form>) -> Result<Attempt, Refusal> {
    let named = form.and_then(|form| grant::named(gateway, form.field("client_assertion")?));
    let named = named.as_deref();
    let source = source(request, gateway.config.behind_proxy);
    gateway.keyring.attempts.begin(gateway.config.oauth.attempts, source, named, Utc::now()).map_err(|too_many| {
        gateway.figures.token(named.unwrap_or("unknown"), "turned_away");
        Refusal::too_many(too_many)
    })
}

async fn give(gateway: &Gateway, request: &HttpRequest, form: Form) -> Result<HttpResponse, Refusal> {
    let has_secret = request.headers().contains_key(AUTHORIZATION) || form.field("client_secret").is_some();
    if has_secret {
        let why = "there are no client secrets here: authenticate with client_assertion (private_key_jwt) alone";
        return Err(Refusal::of(Fault::InvalidClient).with(why));
    }
    let asked = grant::Form {
        grant_type: form.field("grant_type"),
        scope: form.field("scope"),
        client_id: form.field("client_id"),
        assertion_type: form.field("client_assertion_type"),
        assertion: form.field("client_assertion"),
    };
    let granted = grant(gateway, asked, shown_certificate(request), Utc::now()).await?;
    Ok(private(StatusCode::OK, &granted))
}
