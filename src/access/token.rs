//! Verifies a caller's token: one that the gateway gave, one that a partner or an outside issuer signed for us.

use std::sync::Arc;

use chrono::DateTime;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::grant::units_of_codes;
use super::jwt;
use super::jwt::Meant;
use super::keys::{Found, key};
use super::scope::{self, Scope};
use super::verified::Shown;
use crate::Gateway;
use crate::config::{Client, Issuer};

/// Seconds that a partner's own token may live: SMART Backend Services' five minutes.
pub const LIFETIME_S: i64 = 300;
/// What our own tokens say that they are (RFC 9068), so that nothing else that we sign is taken for one.
pub const ACCESS_TOKEN: &str = "at+jwt";

/// Why a caller is not let in. Texts say what to mend and nothing of what was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("a token is needed: Authorization: Bearer …")]
    NoToken,
    #[error("the JWT is larger than 8192 bytes")]
    TooLarge,
    #[error("the JWT cannot be read: it is no signed JWT, or demands what is not understood (crit)")]
    Malformed,
    #[error("the JWT is signed with an algorithm other than RS384 or ES384")]
    Algorithm,
    #[error("the issuer of the JWT is no client, partner or issuer with keys here")]
    UnknownIssuer,
    #[error("the JWT is signed with a key that its issuer has not published, or that does not fit its algorithm")]
    UnknownKey,
    #[error("the JWT does not verify: signature, audience or time is wrong")]
    NotVerified,
    #[error("the JWT lives longer than it may (five minutes where nothing else was agreed)")]
    TooLong,
    #[error("the JWT is for a client that is not known here")]
    UnknownClient,
    #[error("the JWT has no jti, or one of more than 256 characters")]
    NoJti,
    #[error("the assertion was used before: make a new one, with a jti of its own, for each request")]
    Used,
    #[error("the token grants nothing that was agreed")]
    NoScope,
    #[error("the client has to show its certificate in the TLS connection")]
    Certificate,
    #[error("the unit is not one that this caller may speak for")]
    UnknownUnit,
}

/// What one of our own tokens says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Access {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub client_id: String,
    pub scope: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: String,
}

/// What a partner's own token says.
#[derive(Deserialize)]
struct Own {
    /// HSA-id of the unit the system speaks for; without it, all units of the partner.
    unit: Option<String>,
    /// A partner may let a token of its own cover less than it may itself.
    scope: Option<String>,
}

/// Verifies the token against the keys of whoever it says it comes from. One that was verified already is good until it or
/// the keys have to be looked at again.
pub async fn verify(gateway: &Gateway, token: &str, now: i64) -> Result<Shown, Denied> {
    if token.len() > jwt::MOST_BYTES {
        return Err(Denied::TooLarge);
    }
    let verified = &gateway.keyring.verified;
    if let Some(shown) = verified.recall(token, now) {
        return Ok(shown);
    }
    let generation = verified.generation();
    let (shown, until) = examine(gateway, token, now).await?;
    verified.remember(token, &shown, until, now, generation);
    Ok(shown)
}

/// What the token says, and the last second in which it may say so.
async fn examine(gateway: &Gateway, token: &str, now: i64) -> Result<(Shown, i64), Denied> {
    let config = &gateway.config;
    let opened = jwt::open(token)?;
    if opened.iss == config.base_url {
        let access = ours(gateway, token, &opened, now)?;
        // What is no longer agreed is not granted by a token of before.
        let client = config.client(&access.client_id).ok_or(Denied::UnknownClient)?;
        let granted = scope::read(&access.scope).into_iter();
        let scopes = Some(granted.filter(|scope| client.scopes.iter().any(|agreed| scope.is_within(agreed))).collect());
        return Ok((Shown { client: access.client_id, unit: None, scopes }, access.exp - 1));
    }
    if let Some(issuer) = config.issuer(&opened.iss) {
        return outside(gateway, &issuer, token, &opened, now).await;
    }
    if !jwt::SMART.contains(&opened.algorithm) {
        return Err(Denied::Algorithm);
    }
    let partner = config.partner(&opened.iss).ok_or(Denied::UnknownIssuer)?;
    let keys = partner.keys.as_ref().ok_or(Denied::UnknownIssuer)?;
    let Found { key, until } =
        key(gateway, keys, opened.kid.as_deref(), opened.algorithm, now).await.ok_or(Denied::UnknownKey)?;
    let audience = [config.base_url.as_str(), config.hsa_id.as_str()];
    let meant = Meant { audience: &audience, now, leeway_s: jwt::LEEWAY_S };
    let (claims, times): (Own, _) = jwt::verify(token, &opened, &key, meant)?;
    jwt::bounded(times, LIFETIME_S, now)?;
    let until = until.min(last_second(times));
    let scopes = claims.scope.as_deref().map(|text| scope::read(text).into());
    Ok((Shown { client: opened.iss, unit: claims.unit, scopes }, until))
}

/// The last second in which it is good, by a clock that may be wrong.
fn last_second(times: jwt::Times) -> i64 {
    times.exp.saturating_add(jwt::LEEWAY_S - 1)
}

/// A token of our own: by one of our keys, of its type, for ourselves. By our own clock, so without leeway.
pub fn ours(gateway: &Gateway, token: &str, opened: &jwt::Opened, now: i64) -> Result<Access, Denied> {
    let base_url = gateway.config.base_url.as_str();
    if opened.algorithm != Algorithm::ES384 || opened.typ.as_deref() != Some(ACCESS_TOKEN) || opened.iss != base_url {
        return Err(Denied::NotVerified);
    }
    let key = opened.kid.as_deref().and_then(|kid| gateway.signer.find(kid)).ok_or(Denied::UnknownKey)?;
    let meant = Meant { audience: &[base_url], now, leeway_s: 0 };
    let (access, _): (Access, _) = jwt::verify(token, opened, &key, meant)?;
    let is_client = gateway.config.client(&access.client_id).is_some() && access.sub == access.client_id;
    if is_client { Ok(access) } else { Err(Denied::UnknownClient) }
}

/// A token of somebody else's, for one of our clients: never more than was agreed with that client.
async fn outside(
    gateway: &Gateway,
    issuer: &Issuer,
    token: &str,
    opened: &jwt::Opened,
    now: i64,
) -> Result<(Shown, i64), Denied> {
    if !jwt::OUTSIDE.contains(&opened.algorithm) {
        return Err(Denied::Algorithm);
    }
    let Found { key, until } =
        key(gateway, &issuer.keys, opened.kid.as_deref(), opened.algorithm, now).await.ok_or(Denied::UnknownKey)?;
    let audience: Vec<&str> = issuer.audience.iter().map(String::as_str).collect();
    let meant = Meant { audience: &audience, now, leeway_s: jwt::LEEWAY_S };
    let (claims, times): (Map<String, Value>, _) = jwt::verify(token, opened, &key, meant)?;
    jwt::bounded(times, issuer.lifetime_s, now)?;
    let named = claims.get(&issuer.client_claim).and_then(Value::as_str).unwrap_or_default();
    let client = issuer.clients.get(named).and_then(|id| gateway.config.client(id)).ok_or(Denied::UnknownClient)?;
    let scopes = outside_scopes(gateway, &client, claims.get(&issuer.scope_claim), now)?;
    let until = until.min(last_second(times));
    Ok((Shown { client: client.id.clone(), unit: None, scopes: Some(scopes) }, until))
}

/// What an outside token grants. Without any scope it grants nothing: all that was agreed is a thing to be asked for.
fn outside_scopes(gateway: &Gateway, client: &Client, claim: Option<&Value>, now: i64) -> Result<Arc<[Scope]>, Denied> {
    let asked = match claim {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return Err(Denied::NoScope),
    };
    let now = DateTime::from_timestamp(now, 0).ok_or(Denied::NotVerified)?;
    let granted = super::granted(client, Some(&asked), &gateway.reader(now), units_of_codes(gateway, client));
    if granted.is_empty() { Err(Denied::NoScope) } else { Ok(granted.into()) }
}
