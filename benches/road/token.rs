//! Partners' keys and the tokens that callers show: every request of the benchmark is let in as it is in production.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// The gateway's HSA-id, which tokens are meant for.
const AUDIENCE: &str = "SE2321000131-E000000000900";

/// One key for all partners of the benchmark.
pub struct Key(EncodingKey);

impl Key {
    /// Makes a key and writes its public half to `jwks.json` in the folder.
    pub fn new(folder: &Path) -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref()).expect("a key");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
        let jwks = json!({ "keys": [{
            "kty": "EC", "crv": "P-384", "alg": "ES384", "kid": "bench", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] });
        std::fs::write(folder.join("jwks.json"), jwks.to_string()).expect("the public key is written");
        Self(EncodingKey::from_ec_der(pkcs8.as_ref()))
    }

    /// The header with a fresh token of the partner: it lives for four minutes.
    pub fn bearer(&self, partner: &str) -> String {
        self.bearer_with(partner, None)
    }

    /// The same with scopes, as SMART writes them.
    pub fn bearer_with(&self, partner: &str, scope: Option<&str>) -> String {
        let now = chrono::Utc::now().timestamp();
        let header = Header { kid: Some("bench".into()), ..Header::new(Algorithm::ES384) };
        let mut claims = json!({ "iss": partner, "aud": AUDIENCE, "iat": now, "exp": now + 240 });
        if let Some(scope) = scope {
            claims["scope"] = json!(scope);
        }
        format!("Authorization: Bearer {}\r\n", encode(&header, &claims, &self.0).expect("a token"))
    }
}
