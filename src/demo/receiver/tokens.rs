//! Tokens, where the system demands them: whoever comes to `/fhir` shows one that the configured issuer gave and that is good
//! now, for the right to do what it asks for.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, ResponseError};
use anyhow::Context;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::Receiver;
use super::refusal::Refusal;
use crate::fhir::issue::{Code, Issue};

/// Who gives the tokens: its address, which is `iss` and `aud` of them, and has its keys.
pub struct Issuer {
    http: reqwest::Client,
    url: String,
}

#[derive(Clone, Deserialize)]
struct Claims {
    scope: String,
}

impl Issuer {
    pub fn at(url: &str) -> reqwest::Result<Self> {
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, url: url.trim_end_matches('/').to_owned() })
    }

    async fn verify(&self, token: &str) -> anyhow::Result<Claims> {
        let header = decode_header(token)?;
        anyhow::ensure!(header.alg == Algorithm::ES384, "not signed with ES384");
        // Fetched each time: this system is for looking at, not for speed.
        let keys = self.http.get(format!("{}/.well-known/jwks.json", self.url)).send().await?.error_for_status()?;
        let keys: JwkSet = serde_json::from_slice(&keys.bytes().await?)?;
        let key = header.kid.and_then(|kid| keys.find(&kid).cloned()).context("an unknown key")?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.url]);
        validation.set_audience(&[&self.url]);
        Ok(decode::<Claims>(token, &DecodingKey::from_jwk(&key)?, &validation)?.claims)
    }
}

/// Middleware: lets in who shows a good token. What the system can do is open to all.
pub async fn demand(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let receiver = request.app_data::<Data<Receiver>>().cloned();
    let is_open = !request.path().starts_with("/fhir") || request.path() == "/fhir/metadata";
    if let Some(issuer) = receiver.as_ref().and_then(|r| r.tokens.as_ref()).filter(|_| !is_open) {
        let header = request.headers().get(AUTHORIZATION).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let claims = issuer.verify(header.strip_prefix("Bearer ").unwrap_or_default()).await;
        let wanted = if request.method().is_safe() { ["system/*.rs", "system/*.cruds"] } else { ["system/*.cruds"; 2] };
        let status = match &claims {
            Err(_) => Some(StatusCode::UNAUTHORIZED),
            Ok(claims) if !claims.scope.split(' ').any(|s| wanted.contains(&s)) => Some(StatusCode::FORBIDDEN),
            Ok(_) => None,
        };
        if let Some(status) = status {
            let (sv, en) = ("Visa en giltig biljett från utfärdaren.", "Show a good token of the issuer's.");
            let refusal = Refusal::new(status, Issue::error(Code::Login, "Authorization", sv, en));
            return Ok(request.into_response(refusal.error_response()));
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}
