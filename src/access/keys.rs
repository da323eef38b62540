//! The public keys of partners, read from files or fetched from their addresses, and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::{Jwk, JwkSet};

use super::verified::Verified;
use crate::config::{Config, Keys};
use crate::partner::{self, Guard};

/// Seconds before the keys are read again for one that they did not have, or that could not be read.
const ASK_AGAIN_S: i64 = 60;
/// Seconds that keys are good for without being read again: a key that its partner removed ends after that.
const FRESH_S: i64 = 300;
/// Seconds that they are good for where they cannot be read: a partner's bad hour shall not shut it out.
const STALE_S: i64 = 3600;

/// Keys by partner. A key that is not known is looked for once more, so that partners can rotate.
#[derive(Debug, Default)]
pub struct Keyring {
    sets: Mutex<HashMap<String, Kept>>,
    /// Tokens that were verified with keys that need not be read again yet.
    pub(super) verified: Verified,
}

/// A key, and the last second in which it is good without being looked for again.
#[derive(Debug)]
pub struct Found {
    pub key: Jwk,
    pub until: i64,
}

/// What is known of one partner's keys.
#[derive(Debug, Clone)]
struct Kept {
    set: JwkSet,
    read_at: Option<i64>,
    asked_at: i64,
}

impl Keyring {
    /// The partner's key with that `kid`; the only key where the token names none.
    pub async fn find(&self, config: &Config, partner: &str, kid: Option<&str>, now: i64) -> Option<Found> {
        let known = self.known(partner);
        if let Some(kept) = &known {
            let key = choose(&kept.set, kid);
            let is_fresh = kept.read_at.is_some_and(|at| now - at < FRESH_S);
            if is_fresh && let Some(key) = key {
                return Some(kept.found(key));
            }
            if now - kept.asked_at < ASK_AGAIN_S {
                return key.filter(|_| kept.is_usable(now)).map(|key| kept.found(key));
            }
        }
        let kept = match (read(config, partner).await, known) {
            (Some(set), _) => Kept { set, read_at: Some(now), asked_at: now },
            (None, Some(kept)) => Kept { asked_at: now, ..kept },
            (None, None) => Kept { set: JwkSet { keys: Vec::new() }, read_at: None, asked_at: now },
        };
        let found = choose(&kept.set, kid).filter(|_| kept.is_usable(now)).map(|key| kept.found(key));
        if let Ok(mut sets) = self.sets.lock() {
            sets.insert(partner.to_owned(), kept);
        }
        found
    }

    fn known(&self, partner: &str) -> Option<Kept> {
        self.sets.lock().ok()?.get(partner).cloned()
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

fn choose(set: &JwkSet, kid: Option<&str>) -> Option<Jwk> {
    match (kid, set.keys.as_slice()) {
        (Some(kid), _) => set.find(kid).cloned(),
        (None, [only]) => Some(only.clone()),
        _ => None,
    }
}

async fn read(config: &Config, partner: &str) -> Option<JwkSet> {
    let settings = config.partner(partner)?;
    let bytes = match settings.keys.as_ref()? {
        Keys::File(path) => std::fs::read(path)
            .inspect_err(|e| tracing::warn!(partner, error = %e, "cannot read the partner's key file"))
            .ok()?,
        Keys::Url(url) => partner::fetch_small(url, settings.timeout, &Guard::new(Arc::new(config.outgoing.clone())))
            .await
            .inspect_err(|o| tracing::warn!(partner, reason = o.reason(), "cannot fetch the partner's keys"))
            .ok()?,
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|e| tracing::warn!(partner, error = %e, "the partner's keys are not a JWK set"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{ "kty": "oct", "kid": "k1", "k": "AA" }"#;

    #[tokio::test]
    async fn a_key_that_its_partner_removed_ends_within_five_minutes() {
        let folder = std::env::temp_dir().join(format!("keys-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let (settings, file) = (folder.join("gateway.toml"), folder.join("north.json"));
        let partner = "[[partner]]\nname = \"north\"\nchannel = \"poll\"\njwks_file = \"north.json\"\n";
        std::fs::write(&settings, partner).unwrap();
        let config = Config::load(Some(&settings)).unwrap();
        let keyring = Keyring::default();
        let find = async |now: i64| keyring.find(&config, "north", Some("k1"), now).await.is_some();
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
}
