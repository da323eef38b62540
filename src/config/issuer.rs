//! `[[issuer]]`: who else may say who is calling, for which of our clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::client::{Client, Keys, keys};
use super::{Config, ConfigError, addresses, value};
use crate::domain::outgoing::Outgoing;

/// Somebody else who issues tokens that are good here.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub iss: String,
    pub keys: Keys,
    pub audience: Vec<String>,
    /// The claim that names the client, and which of our clients its values are.
    pub client_claim: String,
    pub clients: BTreeMap<String, String>,
    pub scope_claim: String,
    /// The longest life of its tokens that is taken.
    pub lifetime_s: i64,
}

impl Config {
    /// The outside issuer that calls itself so.
    pub fn issuer(&self, iss: &str) -> Option<Arc<Issuer>> {
        self.agreements.now().issuers.iter().find(|i| i.iss == iss).cloned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIssuer {
    iss: String,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    audience: Vec<String>,
    client_claim: Option<String>,
    clients: BTreeMap<String, String>,
    scope_claim: Option<String>,
    lifetime_s: Option<u32>,
}

/// An hour: what an outside issuer's tokens may live at most where nothing else is said, and a day where it is.
const LIFETIME_S: u32 = 3600;
const MOST_LIFETIME_S: u32 = 86_400;

/// The outside issuers, none of whom may say that it is the gateway or a partner.
pub(super) fn check(
    raw: Vec<RawIssuer>,
    base: &Path,
    own: &str,
    clients: &[Client],
    outgoing: &Outgoing,
    warnings: &mut Vec<String>,
) -> Result<Vec<Issuer>, ConfigError> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("issuer[{index}] ({})", raw.iss);
        let is_taken = raw.iss == own || clients.iter().any(|c| c.id == raw.iss);
        if raw.iss.is_empty() || is_taken || issuers.iter().any(|i| i.iss == raw.iss) {
            return Err(value(&key, "iss is empty, our own address, a client's id or named twice"));
        }
        if let Some(url) = &raw.jwks_url {
            warnings.extend(addresses::check(&format!("{key}: jwks_url"), url, outgoing)?);
        }
        let keys = keys(&key, base, None, raw.jwks_file, raw.jwks_url)?
            .ok_or_else(|| value(&key, "needs jwks_file or jwks_url"))?;
        if raw.audience.is_empty() || raw.audience.iter().any(String::is_empty) {
            return Err(value(&key, "needs audience: what its tokens for us have in aud"));
        }
        if raw.clients.is_empty() {
            return Err(value(&key, "needs clients: which of our clients it may speak for"));
        }
        if let Some(unknown) = raw.clients.values().find(|id| !clients.iter().any(|c| c.id == **id)) {
            return Err(value(&key, &format!("clients: {unknown:?} is no [[client]]")));
        }
        let lifetime_s = raw.lifetime_s.unwrap_or(LIFETIME_S);
        if lifetime_s == 0 || lifetime_s > MOST_LIFETIME_S {
            return Err(value(&key, "lifetime_s is from 1 to 86400"));
        }
        issuers.push(Issuer {
            iss: raw.iss,
            keys,
            audience: raw.audience,
            client_claim: raw.client_claim.unwrap_or_else(|| "client_id".into()),
            clients: raw.clients,
            scope_claim: raw.scope_claim.unwrap_or_else(|| "scope".into()),
            lifetime_s: i64::from(lifetime_s),
        });
    }
    Ok(issuers)
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn an_outside_issuer_says_whom_it_speaks_for_and_is_nobody_else() {
        let known = "id = \"c\"\nname = \"C\"\nhsa_id = \"SE2321000131-E000000000001\"\njwks_file = \"c.json\"\n\
                     purpose = \"operations\"\nscopes = [\"system/*.rs\"]\n";
        let issuer = |more: &str| {
            let settings = format!("[[client]]\n{known}[[issuer]]\njwks_file = \"i.json\"\n{more}");
            Config::parse(&settings).map_err(|e| e.to_string())
        };
        let good = "iss = \"https://idp.example.se\"\naudience = [\"us\"]\nclients = { x = \"c\" }";
        assert_eq!(issuer(good).unwrap().agreements.now().issuers[0].client_claim, "client_id");
        for (more, what) in [
            ("iss = \"c\"\naudience = [\"us\"]\nclients = { x = \"c\" }", "client's id"),
            ("iss = \"http://127.0.0.1:8080\"\naudience = [\"us\"]\nclients = { x = \"c\" }", "our own address"),
            ("iss = \"i\"\naudience = []\nclients = { x = \"c\" }", "audience"),
            ("iss = \"i\"\naudience = [\"us\"]\nclients = {}", "clients"),
            ("iss = \"i\"\naudience = [\"us\"]\nclients = { x = \"d\" }", "\"d\""),
        ] {
            let error = issuer(more).unwrap_err();
            assert!(error.starts_with("issuer[0]") && error.contains(what), "{more}: {error}");
        }
    }
}
