//! `[oauth]` and `[tls]`: how long our tokens live, where the gateway's own keys and certificates are, and what lets it
//! listen beyond this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Config, ConfigError, value};
use crate::access::attempts::Bounds;

/// Our own tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth {
    /// How long an access token lives.
    pub token: Duration,
    /// The gateway's own private keys.
    pub key_file: PathBuf,
    /// Assertions of one client that are remembered at once: as many as it may use before the first has expired.
    pub assertions: u32,
    /// Attempts to get a token that fail, or of which it is not known yet who makes them.
    pub attempts: Bounds,
    /// How often changed keys and certificates are looked for.
    pub reload: Duration,
    /// How long a JWK set may take to come, and how many bytes it may have.
    pub jwks_timeout: Duration,
    pub jwks_bytes: usize,
    /// The largest form at the doors of OAuth.
    pub form_bytes: usize,
}

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whoever signs the certificates of callers.
    pub client_ca: Option<PathBuf>,
    pub require_client_certificate: bool,
}

impl Config {
    /// Where tokens are asked for: what an assertion has to be meant for.
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.base_url)
    }

    /// Whether the gateway signs anything: tokens for its callers, or assertions for a partner.
    pub fn signs(&self) -> bool {
        self.is_authenticated() || self.partners.iter().any(|p| p.token.is_some())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOauth {
    token_s: u64,
    key_file: PathBuf,
    assertions: u32,
    attempts: u32,
    attempts_all: u32,
    reload_s: u64,
    jwks_s: u64,
    jwks_bytes: usize,
    form_bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    require_client_certificate: bool,
}

/// An hour: longer than that, and a token is a password.
const LONGEST_TOKEN_S: u64 = 3600;
const MOST_ASSERTIONS: u32 = 1_000_000;
const MOST_BYTES: usize = 1024 * 1024;

pub(super) fn oauth(raw: RawOauth, base: &Path, db: &Path) -> Result<Oauth, ConfigError> {
    for (key, found, most) in [
        ("token_s", raw.token_s, LONGEST_TOKEN_S),
        ("assertions", u64::from(raw.assertions), u64::from(MOST_ASSERTIONS)),
        ("attempts", u64::from(raw.attempts), u64::from(MOST_ASSERTIONS)),
        ("attempts_all", u64::from(raw.attempts_all), u64::from(MOST_ASSERTIONS)),
        ("reload_s", raw.reload_s, LONGEST_TOKEN_S),
        ("jwks_s", raw.jwks_s, 60),
        ("jwks_bytes", raw.jwks_bytes as u64, MOST_BYTES as u64),
        ("form_bytes", raw.form_bytes as u64, MOST_BYTES as u64),
    ] {
        if found == 0 || found > most {
            return Err(value(&format!("oauth.{key}"), &format!("is from 1 to {most}")));
        }
    }
    let beside_db = || {
        let mut name = db.as_os_str().to_owned();
        name.push(".keys.json");
        PathBuf::from(name)
    };
    let key_file = if raw.key_file.as_os_str().is_empty() { beside_db() } else { base.join(raw.key_file) };
    Ok(Oauth {
        token: Duration::from_secs(raw.token_s),
        key_file,
        assertions: raw.assertions,
        attempts: Bounds { of_source: raw.attempts, of_all: raw.attempts_all },
        reload: Duration::from_secs(raw.reload_s),
        jwks_timeout: Duration::from_secs(raw.jwks_s),
        jwks_bytes: raw.jwks_bytes,
        form_bytes: raw.form_bytes,
    })
}

/// `None` where the section is left empty.
pub(super) fn tls(raw: RawTls, base: &Path) -> Result<Option<Tls>, ConfigError> {
    let given = |path: &PathBuf| !path.as_os_str().is_empty();
    match (given(&raw.certificate), given(&raw.key)) {
        (false, false) if !given(&raw.client_ca) && !raw.require_client_certificate => return Ok(None),
        (true, true) => {}
        _ => return Err(value("tls", "needs both certificate and key")),
    }
    if raw.require_client_certificate && !given(&raw.client_ca) {
        return Err(value(
            "tls.require_client_certificate",
            "needs tls.client_ca: who signs the certificates of callers",
        ));
    }
    Ok(Some(Tls {
        certificate: base.join(raw.certificate),
        key: base.join(raw.key),
        client_ca: given(&raw.client_ca).then(|| base.join(raw.client_ca)),
        require_client_certificate: raw.require_client_certificate,
    }))
}

/// Beyond loopback only where callers are told apart and nobody on the way can read what they say.
pub(super) fn listen(
    listen: SocketAddr,
    is_authenticated: bool,
    tls: Option<&Tls>,
    is_behind_proxy: bool,
) -> Result<(), ConfigError> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if !is_authenticated {
        return Err(value(
            "gateway.listen",
            "is beyond loopback, and there is no [[client]] and no partner with jwks_file or jwks_url to tell callers apart",
        ));
    }
    if tls.is_none() && !is_behind_proxy {
        return Err(value(
            "gateway.listen",
            "is beyond loopback without TLS: give [tls] certificate and key, or say gateway.behind_proxy = true where a \
             proxy of yours does it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn load(text: &str) -> Result<Config, String> {
        Config::parse(text).map_err(|e| e.to_string())
    }

    const PARTNER: &str = "[[partner]]\nname = \"north\"\nchannel = \"poll\"\njwks_file = \"north.json\"\n";

    #[test]
    fn beyond_loopback_needs_keys_and_tls_or_a_proxy() {
        let out = "[gateway]\nlisten = \"0.0.0.0:8080\"\n";
        let tls = "[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
        assert!(load(out).unwrap_err().contains("[[client]]"));
        assert!(load(&format!("{out}{tls}")).unwrap_err().contains("[[client]]"));
        assert!(load(&format!("{out}{PARTNER}")).unwrap_err().contains("without TLS"));
        assert_eq!(load(&format!("{out}{tls}{PARTNER}")).unwrap().base_url, "https://0.0.0.0:8080");
        let behind =
            load(&format!("{out}behind_proxy = true\nbase_url = \"https://a.example.se\"\n{PARTNER}")).unwrap();
        assert!(behind.tls.is_none());
        assert!(load("[gateway]\nbehind_proxy = true").is_ok());
    }

    #[test]
    fn half_a_certificate_is_none() {
        for (text, what) in [
            ("[tls]\ncertificate = \"a.pem\"", "both"),
            ("[tls]\nclient_ca = \"a.pem\"", "both"),
            ("[tls]\ncertificate = \"a\"\nkey = \"b\"\nrequire_client_certificate = true", "client_ca"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.starts_with("tls") && error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn our_tokens_are_short_and_what_is_remembered_is_bounded() {
        for key in
            ["token_s", "assertions", "attempts", "attempts_all", "reload_s", "jwks_s", "jwks_bytes", "form_bytes"]
        {
            for count in ["0", "4294967295"] {
                let error = load(&format!("[oauth]\n{key} = {count}")).unwrap_err();
                assert!(error.starts_with(&format!("oauth.{key}")), "{error}");
            }
        }
        let config = load("[gateway]\ndb = \"data/gateway.db\"").unwrap();
        assert_eq!(config.oauth.key_file, std::path::Path::new("data/gateway.db.keys.json"));
    }
}
