//! JWTs from outside: bounded before they are read, read before they are believed, and believed only by a key that was found
//! in our settings. What a header says of keys elsewhere (`jku`, `x5u`, `jwk`, `x5c`) is never looked at.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::token::Denied;

/// The largest JWT that is looked at, in bytes.
pub const MOST_BYTES: usize = 8192;
/// Seconds by which clocks may differ.
pub const LEEWAY_S: i64 = 30;

/// SMART Backend Services' algorithms: partners and clients sign with these.
pub const SMART: &[Algorithm] = &[Algorithm::RS384, Algorithm::ES384];
/// What outside issuers may sign with: every asymmetric one of ours.
pub const OUTSIDE: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// What a JWT says of itself, unverified: enough to find who should have signed it.
#[derive(Debug)]
pub struct Opened {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    pub typ: Option<String>,
    pub iss: String,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// Reads what a JWT says of itself.
pub fn open(token: &str) -> Result<Opened, Denied> {
    if token.len() > MOST_BYTES {
        return Err(Denied::TooLarge);
    }
    let header = decode_header(token).map_err(|_| Denied::Malformed)?;
    // RFC 7515, 4.1.11: what must be understood and is not makes the JWT invalid.
    if header.crit.is_some() {
        return Err(Denied::Malformed);
    }
    let iss = jsonwebtoken::dangerous::insecure_decode::<Issuer>(token).map_err(|_| Denied::Malformed)?.claims.iss;
    Ok(Opened { algorithm: header.alg, kid: header.kid, typ: header.typ, iss })
}

/// When a JWT is good, as far as it says.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Times {
    #[serde(deserialize_with = "seconds")]
    pub exp: i64,
    #[serde(default, deserialize_with = "seconds_if_any")]
    pub iat: Option<i64>,
    #[serde(default, deserialize_with = "seconds_if_any")]
    nbf: Option<i64>,
}

/// Who a JWT has to be meant for, and by which clock: the time in seconds since 1970, and by how much it may be wrong.
#[derive(Debug, Clone, Copy)]
pub struct Meant<'a> {
    pub audience: &'a [&'a str],
    pub now: i64,
    pub leeway_s: i64,
}

/// The claims of a JWT that this key signed, whose `iss` is this, and which is meant for one of these and good now.
pub fn verify<C: DeserializeOwned>(
    token: &str,
    opened: &Opened,
    key: &Jwk,
    meant: Meant<'_>,
) -> Result<(C, Times), Denied> {
    if !fits(key, opened.algorithm) {
        return Err(Denied::UnknownKey);
    }
    let key = DecodingKey::from_jwk(key).map_err(|_| Denied::UnknownKey)?;
    let mut validation = Validation::new(opened.algorithm);
    validation.set_issuer(&[&opened.iss]);
    validation.set_audience(meant.audience);
    validation.set_required_spec_claims(&["iss", "aud"]);
    // Times are looked at below: by the clock that we are given, and with fractions, which this library does not read.
    validation.validate_exp = false;
    let claims = decode::<Map<String, Value>>(token, &key, &validation).map_err(|_| Denied::NotVerified)?.claims;
    let claims = Value::Object(claims);
    let times = Times::deserialize(&claims).map_err(|_| Denied::NotVerified)?;
    let is_over = times.exp.saturating_add(meant.leeway_s) <= meant.now;
    let is_early = times.nbf.is_some_and(|nbf| nbf > meant.now.saturating_add(meant.leeway_s));
    if is_over || is_early {
        return Err(Denied::NotVerified);
    }
    Ok((serde_json::from_value(claims).map_err(|_| Denied::NotVerified)?, times))
}

/// Whether the key is one for that algorithm: a public key is never taken for a shared secret, nor one kind for another.
pub fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, PS256, PS384, PS512, RS256, RS384, RS512};
    let is_for_signing = key.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
    let is_its_own = key.common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    let is_kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), RS256 | RS384 | RS512 | PS256 | PS384 | PS512) => true,
        (AlgorithmParameters::EllipticCurve(key), ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::EllipticCurve(key), ES256) => key.curve == EllipticCurve::P256,
        _ => false,
    };
    is_for_signing && is_its_own && is_kind
}

/// A NumericDate (RFC 7519, 2), which may have a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    whole(&serde_json::Number::deserialize(deserializer)?)
        .ok_or_else(|| serde::de::Error::custom("no number of seconds"))
}

/// The same where it may be missing.
fn seconds_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    number.map(|n| whole(&n).ok_or_else(|| serde::de::Error::custom("no number of seconds"))).transpose()
}

/// Beyond what a clock can count is the end of time.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().filter(|n| n.is_finite()).map(|n| n.floor() as i64))
}

/// How long it lives, counted from now whatever it says of its issue: a date ahead would stretch its life.
pub fn bounded(times: Times, lifetime_s: i64, now: i64) -> Result<(), Denied> {
    let (exp, issued) = (times.exp, times.iat.unwrap_or(now));
    let most = lifetime_s + LEEWAY_S;
    if exp.saturating_sub(now) > most || exp.saturating_sub(issued) > most {
        return Err(Denied::TooLong);
    }
    if issued > now + LEEWAY_S {
        return Err(Denied::NotVerified);
    }
    Ok(())
}
