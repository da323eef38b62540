//! `[[client]]`: who may get a token here, for what, and where its keys are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::{Config, ConfigError, Partner, Tls, addresses, value};
use crate::access::certificate::{AlternativeName, Binding, DistinguishedName};
use crate::access::grants::suits;
use crate::access::{Purpose, Scope, scope};
use crate::domain::outgoing::Outgoing;
use crate::domain::{Directory, HsaId};

/// Where public keys are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Keys {
    /// A JWK set in the settings themselves.
    Inline(String),
    File(PathBuf),
    Url(String),
}

impl Keys {
    /// Where they are, to be said in the log.
    pub fn place(&self) -> String {
        match self {
            Self::Inline(_) => "the settings".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => url.clone(),
        }
    }
}

/// Somebody who may get a token: a system, bound to an organisation and a purpose.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: String,
    pub name: String,
    /// The organisation it is bound to; a partner with keys is bound to its units.
    pub hsa_id: Option<String>,
    pub purpose: Purpose,
    /// For care: the partner for whose units it speaks.
    pub partner: Option<String>,
    /// For care: these of the partner's units only, in upper case.
    pub units: Option<Vec<String>>,
    /// For a registry: the name that its agreement has.
    pub registry: Option<String>,
    /// What was agreed; never empty.
    pub scopes: Vec<Scope>,
    /// None where only outside issuers speak for it.
    pub keys: Option<Keys>,
    /// What the certificate has to be, or to say, that it shows beside its tokens: one of these; empty: none is asked for.
    pub certificates: Vec<Binding>,
}

impl Config {
    /// The client of that id; a partner with keys is one by its name.
    pub fn client(&self, id: &str) -> Option<Arc<Client>> {
        self.agreements.now().clients.iter().find(|c| c.id == id).cloned()
    }

    /// Whether the registry of that name gets codes: one that is not known gets nothing else either.
    pub fn gets_codes(&self, registry: &str) -> bool {
        self.registry(registry).is_none_or(|registry| registry.is_coded())
    }

    /// Whether callers must show a token. That never changes while the gateway runs.
    pub fn is_authenticated(&self) -> bool {
        !self.agreements.now().clients.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClient {
    id: String,
    name: String,
    hsa_id: String,
    purpose: String,
    partner: Option<String>,
    units: Option<Vec<String>>,
    registry: Option<String>,
    scopes: Vec<String>,
    jwks: Option<String>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    #[serde(default)]
    client_certificate: Vec<String>,
    tls_client_auth_subject_dn: Option<String>,
    tls_client_auth_san_dns: Option<String>,
    tls_client_auth_san_uri: Option<String>,
    tls_client_auth_san_ip: Option<String>,
    tls_client_auth_san_email: Option<String>,
}

/// Granted scopes together are no longer than this, so that a token stays small enough for a header.
pub const MOST_AGREED: usize = 4096;
/// The longest name of a client, as it stands in every row of the audit log.
const LONGEST_ID: usize = 128;

/// Where the keys of a section are, which has at most one way to say so.
pub(super) fn keys(
    key: &str,
    base: &Path,
    inline: Option<String>,
    file: Option<PathBuf>,
    url: Option<String>,
) -> Result<Option<Keys>, ConfigError> {
    match (inline, file, url) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => match serde_json::from_str::<jsonwebtoken::jwk::JwkSet>(&text) {
            Ok(set) if !set.keys.is_empty() => Ok(Some(Keys::Inline(text))),
            _ => Err(value(key, "jwks is no JWK set in JSON with a key in it")),
        },
        (None, Some(path), None) => Ok(Some(Keys::File(base.join(path)))),
        (None, None, Some(url)) => Ok(Some(Keys::Url(url))),
        _ => Err(value(key, "has several of jwks, jwks_file and jwks_url: choose one")),
    }
}

/// The clients of the settings, and the partners with keys, who are clients too.
pub(super) fn check(
    raw: Vec<RawClient>,
    base: &Path,
    partners: &[Partner],
    directory: &Directory,
    outgoing: &Outgoing,
    warnings: &mut Vec<String>,
) -> Result<Vec<Client>, ConfigError> {
    let mut clients: Vec<Client> = partners.iter().filter_map(of_partner).collect();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("client[{index}] ({})", raw.id);
        let is_named = !raw.id.is_empty() && raw.id.len() <= LONGEST_ID && raw.id.bytes().all(|b| b.is_ascii_graphic());
        if !is_named || raw.id == "operator" || raw.id == "gateway" {
            return Err(value(&key, "id is 1 to 128 visible ASCII characters, and not operator or gateway"));
        }
        if clients.iter().any(|c| c.id == raw.id) {
            return Err(value(&key, "is named twice; a partner with keys is a client by its own name"));
        }
        if directory.find(&raw.id).is_some() {
            return Err(value(&key, "has the HSA-id of a unit for an id: it would be taken for the unit in the log"));
        }
        if let Some(url) = &raw.jwks_url {
            warnings.extend(addresses::check(&format!("{key}: jwks_url"), url, outgoing)?);
        }
        let keys = keys(&key, base, raw.jwks.clone(), raw.jwks_file.clone(), raw.jwks_url.clone())?;
        let client = client(&key, raw, keys, partners, directory)?;
        let is_vain = |scope: &&Scope| !suits(client.purpose, scope);
        warnings.extend(client.scopes.iter().filter(is_vain).map(|scope| {
            format!(
                "{key}: scope {scope} gives nothing: that type is never for this purpose (README, Who may see what)"
            )
        }));
        clients.push(client);
    }
    Ok(clients)
}

/// A partner with keys: for its own units, with all that there is in them.
fn of_partner(partner: &Partner) -> Option<Client> {
    partner.keys.as_ref().map(|keys| Client {
        id: partner.name.clone(),
        name: partner.name.clone(),
        hsa_id: None,
        purpose: Purpose::Care,
        partner: Some(partner.name.clone()),
        units: None,
        registry: None,
        scopes: scope::read("system/*.cruds"),
        keys: Some(keys.clone()),
        certificates: Vec::new(),
    })
}

fn client(
    key: &str,
    raw: RawClient,
    keys: Option<Keys>,
    partners: &[Partner],
    directory: &Directory,
) -> Result<Client, ConfigError> {
    let certificates = bindings(key, &raw)?;
    HsaId::parse(&raw.hsa_id).map_err(|e| value(key, &format!("hsa_id {e}")))?;
    let purpose = match raw.purpose.as_str() {
        "care" => Purpose::Care,
        "registry" => Purpose::Registry,
        "operations" => Purpose::Operations,
        _ => return Err(value(key, "purpose is \"care\", \"registry\" or \"operations\"")),
    };
    if (purpose == Purpose::Care) != raw.partner.is_some() {
        return Err(value(key, "needs partner for care, whose units it speaks for, and has none otherwise"));
    }
    if (purpose == Purpose::Registry) != raw.registry.is_some() {
        return Err(value(
            key,
            "needs registry for purpose registry, the name in its agreement, and has none otherwise",
        ));
    }
    if let Some(partner) = raw.partner.as_deref().filter(|name| !partners.iter().any(|p| p.name == *name)) {
        return Err(value(key, &format!("partner {partner:?} is no [[partner]]")));
    }
    let units = raw.units.map(|units| units.iter().map(|u| u.to_ascii_uppercase()).collect::<Vec<_>>());
    let is_foreign = |unit: &&String| directory.find(unit).is_none_or(|u| Some(&u.partner) != raw.partner.as_ref());
    if let Some(unit) = units.iter().flatten().find(is_foreign) {
        return Err(value(key, &format!("unit {unit} is none of its partner's")));
    }
    Ok(Client {
        scopes: agreed(key, purpose, &raw.scopes)?,
        certificates,
        id: raw.id,
        name: raw.name,
        hsa_id: Some(raw.hsa_id.to_ascii_uppercase()),
        purpose,
        partner: raw.partner,
        units,
        registry: raw.registry,
        keys,
    })
}

/// What was agreed. Here a scope that is not understood is an error: nobody reads the settings twice.
fn agreed(key: &str, purpose: Purpose, texts: &[String]) -> Result<Vec<Scope>, ConfigError> {
    let mut scopes = Vec::new();
    for text in texts {
        let scope = Scope::parse(text)
            .ok_or_else(|| value(key, &format!("scope {text:?} is none: as system/Procedure.rs?code=DV133")))?;
        let writes = scope.rights.create || scope.rights.update || scope.rights.delete;
        if purpose == Purpose::Registry && writes {
            return Err(value(key, &format!("scope {text:?}: a registry reads and searches only (.rs)")));
        }
        scopes.push(scope);
    }
    if scopes.is_empty() || scope::write(&scopes).len() > MOST_AGREED {
        return Err(value(key, "scopes has at least one scope, and 4096 letters together at most"));
    }
    Ok(scopes)
}

/// What the client's certificate has to be, or to say: of the names RFC 8705, 2.1.2, has, one.
fn bindings(key: &str, raw: &RawClient) -> Result<Vec<Binding>, ConfigError> {
    let hashes = raw.client_certificate.iter().map(|text| fingerprint(key, text).map(Binding::Sha256));
    let mut all: Vec<Binding> = hashes.collect::<Result<_, _>>()?;
    let hashes = all.len();
    if let Some(text) = &raw.tls_client_auth_subject_dn {
        let wrong = |why| value(key, &format!("tls_client_auth_subject_dn {why}; as CN=journal,O=Region Exempel,C=SE"));
        all.push(Binding::Subject(DistinguishedName::parse(text).map_err(wrong)?));
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    all.extend(given(&raw.tls_client_auth_san_dns).map(|name| Binding::Name(AlternativeName::dns(&name))));
    all.extend(given(&raw.tls_client_auth_san_uri).map(|uri| Binding::Name(AlternativeName::Uri(uri))));
    if let Some(text) = &raw.tls_client_auth_san_ip {
        let address = text.parse().map_err(|_| value(key, "tls_client_auth_san_ip is no address"))?;
        all.push(Binding::Name(AlternativeName::Ip(address)));
    }
    all.extend(given(&raw.tls_client_auth_san_email).map(|address| Binding::Name(AlternativeName::email(&address))));
    if all.len() > hashes + 1 {
        return Err(value(key, "has several of tls_client_auth_…: choose one"));
    }
    Ok(all)
}

/// A name is worth what its authority is worth: there must be one, and it alone says whose name it is.
pub(super) fn check_names(clients: &[Client], tls: Option<&Tls>) -> Result<(), ConfigError> {
    let is_name = |binding: &&Binding| !matches!(binding, Binding::Sha256(_));
    let named = clients.iter().find(|client| client.certificates.iter().any(|binding| is_name(&binding)));
    match named {
        Some(client) if tls.is_none_or(|tls| tls.client_ca.is_none()) => {
            let what = "tls_client_auth_… needs tls.client_ca: who signs the certificates with that name";
            Err(value(&format!("client ({})", client.id), what))
        }
        _ => Ok(()),
    }
}

/// `sha256:` and 64 hexadecimal digits, with or without colons between.
fn fingerprint(key: &str, text: &str) -> Result<[u8; 32], ConfigError> {
    let wrong =
        || value(key, "client_certificate has lines of sha256: and 64 hexadecimal digits, one certificate each");
    let digits: String = text.strip_prefix("sha256:").ok_or_else(wrong)?.chars().filter(|c| *c != ':').collect();
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(wrong());
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = digits.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::Binding;

    const PARTNER: &str = "[[partner]]\nname = \"primary-care\"\nchannel = \"poll\"\n";

    fn client(more: &str) -> Result<Config, String> {
        let lines = "id = \"c\"\nname = \"C\"\nhsa_id = \"SE2321000131-E000000000001\"\njwks_file = \"c.json\"\n";
        Config::parse(&format!("{PARTNER}[[client]]\n{lines}{more}")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_client_is_bound_to_an_organisation_a_purpose_and_what_was_agreed() {
        let registry = "purpose = \"registry\"\nregistry = \"rehab\"\nscopes = [\"system/Procedure.rs?code=DV133\"]\n";
        let config = client(registry).unwrap();
        assert!(config.is_authenticated());
        assert_eq!(config.client("c").unwrap().registry.as_deref(), Some("rehab"));
        for (more, what) in [
            ("purpose = \"registry\"\nscopes = [\"system/*.rs\"]", "needs registry"),
            ("purpose = \"registry\"\nregistry = \"r\"\nscopes = [\"system/*.cruds\"]", "reads and searches only"),
            ("purpose = \"registry\"\nregistry = \"r\"\nscopes = []", "at least one"),
            ("purpose = \"registry\"\nregistry = \"r\"\nscopes = [\"patient/*.rs\"]", "patient/*.rs"),
            ("purpose = \"care\"\nscopes = [\"system/*.rs\"]", "needs partner"),
            ("purpose = \"care\"\npartner = \"nobody\"\nscopes = [\"system/*.rs\"]", "nobody"),
            ("purpose = \"play\"\nscopes = [\"system/*.rs\"]", "purpose is"),
            (
                "purpose = \"care\"\npartner = \"primary-care\"\nunits = [\"SE2321000131-E000000000101\"]\n\
                 scopes = [\"system/*.rs\"]",
                "none of its partner's",
            ),
            (&format!("{registry}jwks = \"{{}}\""), "choose one"),
            (&format!("{registry}jwks_url = \"https://a.example/jwks\""), "choose one"),
            (&format!("{registry}client_certificate = [\"sha256:12\"]"), "64 hexadecimal"),
        ] {
            let error = client(more).unwrap_err();
            assert!(error.starts_with("client[0] (c)") && error.contains(what), "{more}: {error}");
        }
        let inline = |jwks: &str| {
            let lines = "id = \"c\"\nname = \"C\"\nhsa_id = \"SE2321000131-E000000000001\"\n";
            Config::parse(&format!("[[client]]\n{lines}{registry}jwks = '{jwks}'")).map_err(|e| e.to_string())
        };
        assert!(inline("{}").unwrap_err().contains("no JWK set"));
        assert!(inline(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#).is_ok());
        let bound = format!("{registry}client_certificate = [\"sha256:{}\"]", "0f:".repeat(31) + "0F");
        assert_eq!(client(&bound).unwrap().client("c").unwrap().certificates, [Binding::Sha256([15; 32])]);
        let ca = "[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\nclient_ca = \"ca.pem\"\n";
        let named = |more: &str| {
            let lines = "id = \"c\"\nname = \"C\"\nhsa_id = \"SE2321000131-E000000000001\"\njwks_file = \"c.json\"\n";
            Config::parse(&format!("{ca}[[client]]\n{lines}{registry}{more}")).map_err(|e| e.to_string())
        };
        for more in [
            "tls_client_auth_subject_dn = \"CN=journal,O=Region Exempel,C=SE\"",
            "tls_client_auth_san_dns = \"journal.example.se\"",
            "tls_client_auth_san_uri = \"urn:x\"",
            "tls_client_auth_san_ip = \"2001:db8::7\"",
            "tls_client_auth_san_email = \"drift@example.se\"",
        ] {
            assert_eq!(named(more).unwrap().client("c").unwrap().certificates.len(), 1, "{more}");
            assert!(client(&format!("{registry}{more}")).unwrap_err().contains("tls.client_ca"), "{more}");
        }
        for (more, what) in [
            ("tls_client_auth_subject_dn = \"journal\"", "without ="),
            ("tls_client_auth_san_ip = \"journal\"", "no address"),
            ("tls_client_auth_san_uri = \"urn:x\"\ntls_client_auth_san_dns = \"x\"", "choose one"),
        ] {
            let error = named(more).unwrap_err();
            assert!(error.contains(what), "{more}: {error}");
        }
    }
}
