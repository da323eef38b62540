//! The public keys of partners, clients and issuers, read from files or fetched from their addresses, and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use serde_json::Value;

use super::attempts::Attempts;
use super::jwt;
use super::refusals::Refusals;
use super::verified::Verified;
use crate::Gateway;
use crate::config::{Config, Keys};
use crate::domain::audit::{By, Deed, Event, Outcome};
use crate::partner::{self, Guard, Small};
use crate::store::Commit;

/// Seconds before the keys are read again for one that they did not have, or that could not be read.
const ASK_AGAIN_S: i64 = 60;
/// Seconds that keys are good for without being read again: a key that its owner removed ends after that.
const FRESH_S: i64 = 300;
/// Seconds that they are good for where they cannot be read: a partner's bad hour shall not shut it out.
const STALE_S: i64 = 3600;
/// Keys of one set that are looked at.
const MOST_KEYS: usize = 64;

/// Keys by where they are. A key that is not known is looked for once more, so that their owners can rotate.
#[derive(Debug, Default)]
pub struct Keyring {
    sets: Mutex<HashMap<Keys, Kept>>,
    /// Held while keys are read, so that they are read once however many wait for them.
    reading: Mutex<HashMap<Keys, Arc<tokio::sync::Mutex<()>>>>,
    /// Tokens that were verified with keys that need not be read again yet.
    pub(super) verified: Verified,
    pub(super) refusals: Refusals,
    /// Of clients to get a token.
    pub attempts: Attempts,
}

/// What came of looking for a key.
#[derive(Debug, Default)]
pub struct Looked {
    pub found: Option<Found>,
    /// That somebody else was asked for it just now.
    pub fetched: Option<Fetched>,
}

/// Keys were fetched from an address: how many they are, or why there are none.
#[derive(Debug)]
pub struct Fetched {
    pub address: String,
    pub result: Result<usize, String>,
}

/// The key with that `kid` for that algorithm. That it was fetched is in the audit log before it is used.
pub(super) async fn key(
    gateway: &Gateway,
    keys: &Keys,
    kid: Option<&str>,
    algorithm: Algorithm,
    now: i64,
) -> Option<Found> {
    let looked = gateway.keyring.find(&gateway.config, keys, kid, algorithm, now).await;
    if let Some(fetched) = looked.fetched {
        record(gateway, &fetched, now).await;
    }
    looked.found
}

async fn record(gateway: &Gateway, fetched: &Fetched, now: i64) {
    let result = if fetched.result.is_ok() { "fetched" } else { "failed" };
    gateway.figures.keys_fetched(&fetched.address, result);
    let at = DateTime::from_timestamp(now, 0).unwrap_or_default();
    let event =
        Event::new(at, By::gateway(), Deed::FetchKeys, "keys").about([]).with("address", fetched.address.as_str());
    let event = match &fetched.result {
        Ok(count) => event.with("keys", *count),
        Err(reason) => event.ended(Outcome::Minor).with("reason", reason.as_str()),
    };
    let commit = Commit { audit: vec![event.into()], ..Commit::default() };
    // It is about no patient: a full queue is no reason to let nobody in.
    if let Err(error) = gateway.store.commit(commit).await {
        tracing::error!(error = %error, "that public keys were fetched could not be recorded");
    }
}

/// A key, and the last second in which it is good without being looked for again.
#[derive(Debug)]
pub struct Found {
    pub key: Jwk,
    pub until: i64,
}

/// What is known of the keys at one place.
#[derive(Debug, Clone)]
struct Kept {
    set: Arc<JwkSet>,
    read_at: Option<i64>,
    asked_at: i64,
}

/// What is kept does not say whether there is such a key: they have to be read.
struct ToBeRead;

impl Keyring {
    /// The key with that `kid` for that algorithm; the only one that fits where the JWT names none.
    pub async fn find(
        &self,
        config: &Config,
        keys: &Keys,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: i64,
    ) -> Looked {
        if let Ok(found) = self.look(keys, kid, algorithm, now) {
            return Looked { found, fetched: None };
        }
        let turn =
            Arc::clone(self.reading.lock().unwrap_or_else(PoisonError::into_inner).entry(keys.clone()).or_default());
        let _turn = turn.lock().await;
        // Whoever was before us may have read them.
        if let Ok(found) = self.look(keys, kid, algorithm, now) {
            return Looked { found, fetched: None };
        }
        let read = read(config, keys).await;
        let fetched = match keys {
            Keys::Url(url) => {
                let result = read.as_ref().map(|set| set.keys.len()).map_err(Clone::clone);
                Some(Fetched { address: url.clone(), result })
            }
            Keys::Inline(_) | Keys::File(_) => None,
        };
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sets.get(keys).cloned();
        let kept = match (read, known) {
            (Ok(set), _) => Kept { set: Arc::new(set), read_at: Some(now), asked_at: now },
            (Err(_), Some(kept)) => Kept { asked_at: now, ..kept },
            (Err(_), None) => Kept { set: Arc::new(JwkSet { keys: Vec::new() }), read_at: None, asked_at: now },
        };
        let found = choose(&kept.set, kid, algorithm).filter(|_| kept.is_usable(now)).map(|key| kept.found(key));
        sets.insert(keys.clone(), kept);
        Looked { found, fetched }
    }

    /// Forgets which tokens were verified: the keys that they were verified with may be void.
    pub fn forget(&self) {
        self.verified.forget();
    }

    fn look(&self, keys: &Keys, kid: Option<&str>, algorithm: Algorithm, now: i64) -> Result<Option<Found>, ToBeRead> {
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = sets.get(keys) else { return Err(ToBeRead) };
        let key = choose(&kept.set, kid, algorithm);
        let is_fresh = kept.read_at.is_some_and(|at| now - at < FRESH_S);
        if is_fresh && let Some(key) = key {
            return Ok(Some(kept.found(key)));
        }
        if now - kept.asked_at < ASK_AGAIN_S {
            return Ok(key.filter(|_| kept.is_usable(now)).map(|key| kept.found(key)));
        }
        Err(ToBeRead)
    }
}

impl Kept {
    fn is_usable(&self, now: i64) -> bool {
        self.read_at.is_some_and(|at| now - at < STALE_S)
    }

    /// What was read is good while it is fresh; what could not be read again, until that is tried again.
    fn found(&self, key: Jwk) -> Found {
        let read_at = self.read_at.unwrap_or(0);
        let until = (read_at + FRESH_S).max(self.asked_at + ASK_AGAIN_S).min(read_at + STALE_S);
        Found { key, until: until - 1 }
    }
}

fn choose(set: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<Jwk> {
    let mut fitting = set.keys.iter().filter(|key| jwt::fits(key, algorithm));
    match kid {
        Some(kid) => fitting.find(|key| key.common.key_id.as_deref() == Some(kid)).cloned(),
        None => fitting.next().filter(|_| fitting.next().is_none()).cloned(),
    }
}

/// The keys that are there, or why they cannot be read.
async fn read(config: &Config, keys: &Keys) -> Result<JwkSet, String> {
    let most = config.oauth.jwks_bytes;
    let bytes = match keys {
        Keys::Inline(text) => text.clone().into_bytes(),
        Keys::File(path) => std::fs::read(path)
            .inspect_err(|e| tracing::warn!(?path, error = %e, "a file of public keys cannot be read"))
            .map_err(|error| error.to_string())?,
        Keys::Url(url) => {
            let guard = Guard::new(Arc::new(config.outgoing.clone()));
            partner::fetch_small(url, &Small { timeout: config.oauth.jwks_timeout, most_bytes: most }, &guard)
                .await
                .inspect_err(|o| tracing::warn!(url, reason = o.reason(), "public keys cannot be fetched"))
                .map_err(|outcome| outcome.reason().unwrap_or_default().to_owned())?
        }
    };
    let set = parse(&bytes).filter(|_| bytes.len() <= most);
    if set.is_none() {
        tracing::warn!(at = keys.place(), "public keys are no JWK set, or one that is too large (oauth.jwks_bytes)");
    }
    set.ok_or_else(|| "no JWK set, or one that is too large".to_owned())
}

/// The keys of a set that are understood; others are no reason to refuse these (RFC 7517, 5).
fn parse(bytes: &[u8]) -> Option<JwkSet> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let keys = serde_json::from_slice::<Set>(bytes).ok()?.keys;
    let keys = keys.into_iter().take(MOST_KEYS).filter_map(|key| serde_json::from_value(key).ok()).collect();
    Some(JwkSet { keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{ "kty": "EC", "crv": "P-384", "kid": "k1", "x": "AA", "y": "AA" }"#;

    #[tokio::test]
    async fn a_key_that_its_partner_removed_ends_within_five_minutes() {
        let folder = std::env::temp_dir().join(format!("keys-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("north.json");
        let config = Config::load(None).unwrap();
        let keys = Keys::File(file.clone());
        let keyring = Keyring::default();
        let find =
            async |now: i64| keyring.find(&config, &keys, Some("k1"), Algorithm::ES384, now).await.found.is_some();
        std::fs::write(&file, format!("{{ \"keys\": [{KEY}] }}")).unwrap();
        assert!(find(0).await);
        std::fs::write(&file, r#"{ "keys": [] }"#).unwrap();
        assert!(find(299).await, "what was read is kept for a while");
        assert!(!find(301).await);
        std::fs::write(&file, format!("{{ \"keys\": [{KEY}] }}")).unwrap();
        assert!(!find(330).await, "a stranger's tokens do not make us read it each time");
        assert!(find(400).await);
        std::fs::remove_file(&file).unwrap();
        assert!(find(3900).await, "a partner whose keys cannot be read for a while is not shut out");
        assert!(!find(4100).await, "but an hour is enough");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn a_key_is_chosen_by_its_name_and_by_what_it_is_for() {
        let key = |text: &str| -> Jwk { serde_json::from_str(text).unwrap() };
        let rsa = r#"{ "kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB" }"#;
        let secret = r#"{ "kty": "oct", "kid": "k2", "k": "AA" }"#;
        let sealing = r#"{ "kty": "EC", "crv": "P-384", "use": "enc", "kid": "k3", "x": "AA", "y": "AA" }"#;
        let set = JwkSet { keys: [rsa, KEY, secret, sealing].map(key).to_vec() };
        let kty =
            |kid, algorithm| choose(&set, kid, algorithm).map(|k| serde_json::to_value(k).unwrap()["kty"].clone());
        assert_eq!(kty(Some("k1"), Algorithm::ES384).unwrap(), "EC");
        assert_eq!(kty(Some("k1"), Algorithm::RS384).unwrap(), "RSA");
        assert_eq!(kty(None, Algorithm::ES384).unwrap(), "EC", "the only one that fits");
        for (kid, algorithm) in [("k2", Algorithm::HS256), ("k3", Algorithm::ES384), ("k1", Algorithm::ES256)] {
            assert_eq!(kty(Some(kid), algorithm), None, "{kid}");
        }
    }

    #[test]
    fn a_set_with_a_key_that_is_not_understood_is_good_for_the_others() {
        let text = format!(r#"{{ "keys": [{{ "kty": "ML-DSA" }}, 7, {KEY}] }}"#);
        let set = parse(text.as_bytes()).unwrap();
        assert!(choose(&set, Some("k1"), Algorithm::ES384).is_some());
        assert!(parse(b"[]").is_none() && parse(b"{}").is_none());
        let many = format!(r#"{{ "keys": [{}] }}"#, vec![KEY; 1000].join(","));
        assert_eq!(parse(many.as_bytes()).unwrap().keys.len(), MOST_KEYS);
    }
}
