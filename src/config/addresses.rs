//! Addresses in the settings: what may be connected to, what is refused at the start, and the secrets of notices.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::{ConfigError, Notice, value};
use crate::domain::outgoing::{Network, Outgoing};

/// A secret that notices are signed with. It is never shown.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// `whsec_` and 24 to 64 bytes in base64, as Standard Webhooks has it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim().strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// `[outgoing] allow` read: addresses and networks, and origins.
pub(super) fn outgoing(allow: &[String], listen: IpAddr) -> Result<Outgoing, ConfigError> {
    let mut outgoing = Outgoing { loopback: listen.is_loopback(), ..Outgoing::default() };
    for entry in allow {
        if let Some(network) = Network::parse(entry) {
            outgoing.networks.push(network);
            continue;
        }
        let origin = Url::parse(entry).ok().filter(|url| is_web(url) && !has_user(url) && url.path() == "/");
        let Some(origin) = origin else {
            let what =
                format!("{entry:?} is no address (10.0.0.5), network (10.0.0.0/8) or origin (https://host:port)");
            return Err(value("outgoing.allow", &what));
        };
        outgoing.origins.push(origin.origin().ascii_serialization());
    }
    Ok(outgoing)
}

/// Refuses what can never work or must not be; the rest may be worth a warning.
pub(super) fn check(key: &str, text: &str, outgoing: &Outgoing) -> Result<Option<String>, ConfigError> {
    let url = Url::parse(text).ok().filter(is_web).ok_or_else(|| value(key, "is no http or https address"))?;
    if has_user(&url) {
        return Err(value(key, "has a user or password in it: secrets are kept in files, never in an address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(value(key, "has a query or fragment in it"));
    }
    if let Some(address) = literal(&url) {
        outgoing.judge(address).map_err(|barred| value(key, &format!("cannot be connected to: {barred}")))?;
    }
    let is_here = literal(&url).is_some_and(|address| address.is_loopback()) || url.host_str() == Some("localhost");
    let is_open = url.scheme() == "http" && !is_here;
    Ok(is_open.then(|| format!("{key} is http: what is sent there can be read on the way; use https")))
}

/// The address that stands in a URL in place of a name.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Where notices go, with the secrets from their file.
pub(super) fn notice(
    key: &str,
    base: &Path,
    url: Option<String>,
    file: Option<PathBuf>,
) -> Result<Option<Notice>, ConfigError> {
    let (url, file) = match (url, file) {
        (None, None) => return Ok(None),
        (Some(url), Some(file)) => (url, base.join(file)),
        (Some(_), None) => return Err(value(key, "has a notice_url and no notice_secret_file to sign with")),
        (None, Some(_)) => return Err(value(key, "has a notice_secret_file and no notice_url")),
    };
    let text = fs::read_to_string(&file).map_err(|source| ConfigError::File { path: file, source })?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let secrets: Option<Vec<Secret>> = lines.map(Secret::parse).collect();
    match secrets {
        Some(secrets) if !secrets.is_empty() => Ok(Some(Notice { url, secrets })),
        _ => Err(value(key, "notice_secret_file has lines of whsec_ and 24 to 64 bytes in base64, one secret each")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_must_not_be_is_refused_at_the_start() {
        let beyond = outgoing(&[], "0.0.0.0".parse().unwrap()).unwrap();
        for (url, what) in [
            ("https://user:secret@fhir.example.se/r4", "user or password"),
            ("https://user@fhir.example.se/r4", "user or password"),
            ("ftp://fhir.example.se", "no http or https"),
            ("fhir.example.se/r4", "no http or https"),
            ("https://fhir.example.se/r4?key=1", "query"),
            ("http://169.254.169.254/latest", "link-local"),
            ("http://2852039166/", "link-local"),
            ("http://[::ffff:169.254.169.254]/", "link-local"),
            ("http://127.0.0.1:8080/fhir", "[outgoing] allow"),
            ("http://[::1]/fhir", "[outgoing] allow"),
            ("http://0.0.0.0/", "no address of one machine"),
        ] {
            let error = check("fhir_base", url, &beyond).unwrap_err().to_string();
            assert!(error.contains(what) && !error.contains("secret@"), "{url}: {error}");
        }
    }

    #[test]
    fn http_that_leaves_the_machine_is_a_warning() {
        let here = outgoing(&[], "127.0.0.1".parse().unwrap()).unwrap();
        let warned = |url: &str| check("fhir_base", url, &here).unwrap().is_some();
        assert!(warned("http://fhir.example.se/r4") && warned("http://10.0.0.5/r4"));
        assert!(
            !warned("https://fhir.example.se/r4")
                && !warned("http://127.0.0.1:9/fhir")
                && !warned("http://localhost/fhir")
        );
    }

    #[test]
    fn what_is_allowed_is_an_address_a_network_or_an_origin() {
        let allow = ["10.0.0.0/8", "127.0.0.1", "https://pages.example.se:8443"].map(str::to_owned);
        let read = outgoing(&allow, "0.0.0.0".parse().unwrap()).unwrap();
        assert_eq!((read.networks.len(), read.loopback), (2, false));
        assert_eq!(read.origins, ["https://pages.example.se:8443"]);
        for wrong in ["pages.example.se", "https://a.example/path", "10.0.0.0/99", ""] {
            let error = outgoing(&[wrong.to_owned()], "0.0.0.0".parse().unwrap()).unwrap_err().to_string();
            assert!(error.starts_with("outgoing.allow"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!((secret.bytes().len(), format!("{secret:?}")), (24, "Secret".to_owned()));
        for wrong in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_?", "whsec_", ""] {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
    }
}
