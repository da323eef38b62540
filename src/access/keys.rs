//! The public keys of partners, read from files or fetched from their addresses, and kept.

use std::collections::HashMap;
use std::sync::Mutex;

use jsonwebtoken::jwk::{Jwk, JwkSet};

use crate::config::{Config, Keys};
use crate::partner;

/// Seconds before an address is asked again for a key it did not have.
const ASK_AGAIN_S: i64 = 60;

/// Keys by partner. A key that is not known is looked for once more, so that partners can rotate.
#[derive(Debug, Default)]
pub struct Keyring {
    sets: Mutex<HashMap<String, (JwkSet, i64)>>,
}

impl Keyring {
    /// The partner's key with that `kid`; the only key where the token names none.
    pub async fn find(&self, config: &Config, partner: &str, kid: Option<&str>, now: i64) -> Option<Jwk> {
        if let Some((set, fetched_at)) = self.known(partner) {
            let key = choose(&set, kid);
            if key.is_some() || now - fetched_at < ASK_AGAIN_S {
                return key;
            }
        }
        let set = read(config, partner).await?;
        let key = choose(&set, kid);
        if let Ok(mut sets) = self.sets.lock() {
            sets.insert(partner.to_owned(), (set, now));
        }
        key
    }

    fn known(&self, partner: &str) -> Option<(JwkSet, i64)> {
        self.sets.lock().ok()?.get(partner).cloned()
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
        Keys::Url(url) => partner::fetch_small(url, settings.timeout)
            .await
            .inspect_err(|e| tracing::warn!(partner, error = %e, "cannot fetch the partner's keys"))
            .ok()?,
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|e| tracing::warn!(partner, error = %e, "the partner's keys are not a JWK set"))
        .ok()
}
