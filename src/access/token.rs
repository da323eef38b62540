//! Verifies a caller's token: RS384 or ES384, signed by the partner named in `iss`, meant for us, short-lived.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::keys::Keyring;
use crate::config::Config;

/// Seconds a token may live: SMART Backend Services' five minutes.
const LIFETIME_S: i64 = 300;
/// Seconds by which clocks may differ.
const LEEWAY_S: i64 = 30;

/// Why a caller is not let in. Texts say what to mend and nothing of what was shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("a token is needed: Authorization: Bearer …")]
    NoToken,
    #[error("the token cannot be read: it is no signed JWT")]
    Malformed,
    #[error("the token is signed with an algorithm other than RS384 or ES384")]
    Algorithm,
    #[error("the issuer of the token is no partner with keys here")]
    UnknownIssuer,
    #[error("the token is signed with a key that its issuer has not published")]
    UnknownKey,
    #[error("the token does not verify: signature, audience or time is wrong")]
    NotVerified,
    #[error("the token lives longer than five minutes")]
    TooLong,
    #[error("the unit is not one that this caller may speak for")]
    UnknownUnit,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub partner: String,
    pub unit: Option<String>,
    /// What the token covers, as SMART writes it; without it, all that the partner may.
    pub scope: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    iat: Option<i64>,
    /// HSA-id of the unit the system speaks for; without it, all units of the partner.
    unit: Option<String>,
    /// A partner may let a token of its own cover less than it may itself.
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// Verifies the token against the keys of the partner it says it comes from. One that was verified already is good until it
/// or the keys have to be looked at again.
pub async fn verify(config: &Config, keyring: &Keyring, token: &str, now: i64) -> Result<Shown, Denied> {
    if let Some(shown) = keyring.verified.recall(token, now) {
        return Ok(shown);
    }
    let (shown, until) = examine(config, keyring, token, now).await?;
    keyring.verified.remember(token, &shown, until, now);
    Ok(shown)
}

/// What the token says, and the last second in which it may say so.
async fn examine(config: &Config, keyring: &Keyring, token: &str, now: i64) -> Result<(Shown, i64), Denied> {
    let header = decode_header(token).map_err(|_| Denied::Malformed)?;
    if !matches!(header.alg, Algorithm::RS384 | Algorithm::ES384) {
        return Err(Denied::Algorithm);
    }
    let partner = jsonwebtoken::dangerous::insecure_decode::<Issuer>(token).map_err(|_| Denied::Malformed)?.claims.iss;
    config.partner(&partner).filter(|p| p.keys.is_some()).ok_or(Denied::UnknownIssuer)?;
    let found = keyring.find(config, &partner, header.kid.as_deref(), now).await.ok_or(Denied::UnknownKey)?;
    let key = DecodingKey::from_jwk(&found.key).map_err(|_| Denied::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    validation.leeway = LEEWAY_S.unsigned_abs();
    validation.validate_nbf = true;
    validation.set_issuer(&[&partner]);
    validation.set_audience(&[&config.base_url, &config.hsa_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let claims = decode::<Claims>(token, &key, &validation).map_err(|_| Denied::NotVerified)?.claims;
    // Counted from now, whatever the token says of its issue: a date ahead would stretch its life.
    let issued = claims.iat.unwrap_or(now);
    let most = LIFETIME_S + LEEWAY_S;
    if claims.exp.saturating_sub(now) > most || claims.exp.saturating_sub(issued) > most {
        return Err(Denied::TooLong);
    }
    if issued > now + LEEWAY_S {
        return Err(Denied::NotVerified);
    }
    let until = found.until.min(claims.exp.saturating_add(LEEWAY_S));
    Ok((Shown { partner, unit: claims.unit, scope: claims.scope }, until))
}
