//! Who asks for a token: the JWT that a client signs itself with a key of its own (`private_key_jwt`: RFC 7523, and SMART
//! Backend Services), meant for our token address, short-lived, and good once.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::jwt::{self, Meant, Opened};
use super::keys::key;
use super::shows;
use super::token::{Denied, LIFETIME_S};
use crate::Gateway;
use crate::config::Client;
use crate::store::Assertion;

/// The longest jti, in bytes: a UUID has 36.
const LONGEST_JTI: usize = 256;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    jti: Option<String>,
}

/// The client that an assertion names, before it has proved to be that.
pub fn named(gateway: &Gateway, assertion: &str) -> Result<(Opened, Arc<Client>), Denied> {
    let opened = jwt::open(assertion)?;
    if !jwt::SMART.contains(&opened.algorithm) {
        return Err(Denied::Algorithm);
    }
    let client = gateway.config.client(&opened.iss).filter(|c| c.keys.is_some()).ok_or(Denied::UnknownIssuer)?;
    Ok((opened, client))
}

/// The proof, still to be used up: the row that says so is part of the same commit as what it is used for.
pub async fn prove(
    gateway: &Gateway,
    client: &Client,
    opened: &Opened,
    assertion: &str,
    certificate: Option<&Certificate>,
    now: DateTime<Utc>,
) -> Result<Assertion, Denied> {
    let keys = client.keys.as_ref().ok_or(Denied::UnknownIssuer)?;
    let found =
        key(gateway, keys, opened.kid.as_deref(), opened.algorithm, now.timestamp()).await.ok_or(Denied::UnknownKey)?;
    let audience = gateway.config.token_url();
    let meant = Meant { audience: &[&audience], now: now.timestamp(), leeway_s: jwt::LEEWAY_S };
    let (claims, times): (Claims, _) = jwt::verify(assertion, opened, &found.key, meant)?;
    if claims.sub != client.id {
        return Err(Denied::NotVerified);
    }
    jwt::bounded(times, LIFETIME_S, now.timestamp())?;
    let jti = claims.jti.filter(|jti| (1..=LONGEST_JTI).contains(&jti.len())).ok_or(Denied::NoJti)?;
    if !shows(client, certificate) {
        return Err(Denied::Certificate);
    }
    // It could be shown until our clock says that it is over, however late that is.
    let expires_at = DateTime::from_timestamp(times.exp, 0).ok_or(Denied::NotVerified)?;
    let expires_at = expires_at + TimeDelta::seconds(2 * jwt::LEEWAY_S);
    Ok(Assertion { client: client.id.clone(), jti: Sha256::digest(jti).into(), at: now, expires_at })
}
