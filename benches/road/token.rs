//! Partners' keys and the tokens that callers show: every request of the benchmark is let in as it is in production.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use uuid::Uuid;

/// The gateway's HSA-id, which tokens are meant for.
const AUDIENCE: &str = "SE2321000131-E000000000900";

/// One key for all partners of the benchmark.
pub struct Key {
    signs: EncodingKey,
    verifies: DecodingKey,
}

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
        let verifies = DecodingKey::from_ec_components(&URL_SAFE_NO_PAD.encode(x), &URL_SAFE_NO_PAD.encode(y));
        Self { signs: EncodingKey::from_ec_der(pkcs8.as_ref()), verifies: verifies.expect("a key") }
    }

    /// The header with a fresh token of the partner: it lives for four minutes.
    pub fn bearer(&self, partner: &str) -> String {
        self.bearer_with(partner, None)
    }

    /// The same with scopes, as SMART writes them.
    pub fn bearer_with(&self, partner: &str, scope: Option<&str>) -> String {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({ "iss": partner, "aud": AUDIENCE, "iat": now, "exp": now + 240 });
        if let Some(scope) = scope {
            claims["scope"] = json!(scope);
        }
        format!("Authorization: Bearer {}\r\n", self.sign(&claims))
    }

    /// A token that was never shown before.
    pub fn bearer_once(&self, partner: &str) -> String {
        let now = chrono::Utc::now().timestamp();
        let jti = Uuid::new_v4().to_string();
        let claims = json!({ "iss": partner, "aud": AUDIENCE, "iat": now, "exp": now + 240, "jti": jti });
        format!("Authorization: Bearer {}\r\n", self.sign(&claims))
    }

    /// What a client shows to get a token: good once.
    pub fn assertion(&self, client: &str, audience: &str) -> String {
        let exp = chrono::Utc::now().timestamp() + 240;
        self.sign(
            &json!({ "iss": client, "sub": client, "aud": audience, "exp": exp, "jti": Uuid::new_v4().to_string() }),
        )
    }

    /// Whether the signature is this key's, whatever the token is meant for.
    pub fn verifies(&self, token: &str) -> bool {
        let mut validation = Validation::new(Algorithm::ES384);
        validation.validate_aud = false;
        decode::<Value>(token, &self.verifies, &validation).is_ok()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some("bench".into()), ..Header::new(Algorithm::ES384) };
        encode(&header, claims, &self.signs).expect("a token")
    }
}
