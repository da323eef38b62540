//! Tokens: who gets one, what it is good for, and everything that somebody might try instead.

mod attempts;
mod codes;
mod doors;
mod hostile;
mod issuer;
mod keys;
mod outgoing;
mod python;
mod reload;
mod replay;
mod rotation;
mod systems;
mod tls;
mod token;

use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::gateway::TestGateway;

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
pub const ORGANISATION: &str = "SE2321000131-E000000000001";

/// A client's key: the private half here, the public half in its JWK set.
pub struct Key {
    pub algorithm: Algorithm,
    pub kid: String,
    pub private: EncodingKey,
}

impl Key {
    pub fn es384(kid: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let private = EncodingKey::from_ec_der(pkcs8.as_ref());
        Self { algorithm: Algorithm::ES384, kid: kid.into(), private }
    }

    pub fn rs384(kid: &str) -> Self {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        Self { algorithm: Algorithm::RS384, kid: kid.into(), private }
    }

    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub fn jwks(&self) -> String {
        json!({ "keys": [self.public()] }).to_string()
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(|_| {}, claims)
    }

    /// With a header of one's own.
    pub fn sign_as(&self, change: impl FnOnce(&mut Header), claims: &Value) -> String {
        let mut header = Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) };
        change(&mut header);
        encode(&header, claims, &self.private).unwrap()
    }
}

pub fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub fn description(&self) -> String {
        self.json()["error_description"].as_str().unwrap_or_default().to_owned()
    }
}

/// A gateway with clients, and a folder of its own that outlives it.
pub struct Door {
    pub url: String,
    pub folder: PathBuf,
    pub http: reqwest::Client,
    running: Option<TestGateway>,
}

/// The client `registry`, whose keys are in `registry.json`, of a registry that gets numbers.
pub fn registry(scopes: &str) -> String {
    format!(
        "[[registry]]\nname = \"rehab\"\nhsa_id = \"{ORGANISATION}\"\nidentity = \"personnummer\"\nagreement = \"Avtal 1\"\n\
         [[client]]\nid = \"registry\"\nname = \"Registret\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"registry\"\n\
         registry = \"rehab\"\njwks_file = \"registry.json\"\nscopes = {}\n",
        json!(scopes.split(' ').collect::<Vec<_>>())
    )
}

/// The client `journal`, for the units of the partner `primary-care`.
pub fn journal(more: &str) -> String {
    format!(
        "[[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\n[[client]]\nid = \"journal\"\nname = \"Journalen\"\n\
         hsa_id = \"{ORGANISATION}\"\npurpose = \"care\"\npartner = \"primary-care\"\njwks_file = \"journal.json\"\n\
         scopes = [\"system/*.cruds\"]\n{more}\n"
    )
}

impl Door {
    /// `keys` are written to files of their names first.
    pub async fn open(keys: &[(&str, &Key)], settings: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("oauth-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        for (file, key) in keys {
            std::fs::write(folder.join(file), key.jwks()).unwrap();
        }
        Self::open_in(folder, settings).await
    }

    pub async fn open_in(folder: PathBuf, settings: &str) -> Self {
        let running = TestGateway::start_in(&folder, settings).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url: running.url.clone(), folder, http, running: Some(running) }
    }

    /// Stops it, and starts another on the same database.
    pub async fn restart(&mut self, settings: &str) {
        self.running.take().unwrap().stop().await;
        let running = TestGateway::start_in(&self.folder, settings).await;
        self.url.clone_from(&running.url);
        self.running = Some(running);
    }

    pub async fn close(mut self) {
        self.running.take().unwrap().stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.url)
    }

    /// The claims of a good assertion.
    pub fn claims(&self, client: &str) -> Value {
        json!({
            "iss": client, "sub": client, "aud": self.token_url(), "iat": now(), "exp": now() + 240,
            "jti": uuid::Uuid::new_v4().to_string(),
        })
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str, token: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    /// Posts a form to the token endpoint.
    pub async fn ask(&self, fields: &[(&str, &str)]) -> Reply {
        self.post("/oauth/token", &[FORM], form(fields)).await
    }

    /// Shows an assertion, and asks for a scope (for none where it is empty).
    pub async fn show(&self, assertion: &str, scope: &str) -> Reply {
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        if !scope.is_empty() {
            fields.push(("scope", scope));
        }
        self.ask(&fields).await
    }

    /// A token for a client, as it would get it.
    pub async fn token(&self, client: &str, key: &Key, scope: &str) -> String {
        let reply = self.show(&key.sign(&self.claims(client)), scope).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub fn db(&self) -> PathBuf {
        self.folder.join("gateway.sqlite")
    }

    /// Rows of the audit log with that action: actor and payload.
    pub fn audited(&self, action: &str) -> Vec<(String, Value)> {
        let db = rusqlite::Connection::open_with_flags(self.db(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut rows = db.prepare("SELECT actor, payload FROM audit WHERE action = ?1 ORDER BY seq").unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let rows = rows.query_map([action], read).unwrap().map(Result::unwrap);
        rows.map(|(actor, payload): (String, String)| (actor, serde_json::from_str(&payload).unwrap())).collect()
    }
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://form").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}
