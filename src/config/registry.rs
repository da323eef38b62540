//! `[[registry]]`: a quality registry, what it may know a patient by, and the keys of its codes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

use super::{ConfigError, value};
use crate::domain::HsaId;

/// A quality registry that gets what was done.
#[derive(Debug, Clone)]
pub struct Registry {
    pub name: String,
    pub hsa_id: String,
    pub identity: Identity,
    /// Whether only patients go out of whom it is recorded when they were informed.
    pub needs_information: bool,
}

/// What a registry knows a patient by.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Codes under the registry's own key; the last is the one in use, those before it explain older exports.
    Coded { keys: Vec<CodingKey> },
    /// The personnummer, because the agreement says why codes do not suffice (PDL 7 kap. 8 §).
    Personnummer { agreement: String },
}

/// One version of a registry's key. It is never shown.
#[derive(Clone)]
pub struct CodingKey {
    pub version: String,
    keyed: Hmac<Sha256>,
}

/// Characters of a version: it stands at the head of every code.
const LONGEST_VERSION: usize = 8;
/// As many bytes as the hash has.
const SHORTEST_SECRET: usize = 32;

impl CodingKey {
    /// `None`: the version is no short word of small letters and figures, or the secret is too short.
    pub fn new(version: &str, secret: &[u8]) -> Option<Self> {
        let is_word = (1..=LONGEST_VERSION).contains(&version.len())
            && version.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !is_word || secret.len() < SHORTEST_SECRET {
            return None;
        }
        Some(Self { version: version.to_owned(), keyed: Hmac::new_from_slice(secret).ok()? })
    }

    /// Whether both make the same codes.
    fn is_same(&self, other: &Self) -> bool {
        self.keyed().finalize() == other.keyed().finalize()
    }

    /// A hash that the key has been worked into, to be copied for each code.
    pub fn keyed(&self) -> Hmac<Sha256> {
        self.keyed.clone()
    }
}

impl fmt::Debug for CodingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodingKey({})", self.version)
    }
}

impl Registry {
    /// Whether it gets codes instead of numbers and names.
    pub fn is_coded(&self) -> bool {
        matches!(self.identity, Identity::Coded { .. })
    }

    /// The key in use, or that of a version.
    pub fn key(&self, version: Option<&str>) -> Option<&CodingKey> {
        let Identity::Coded { keys } = &self.identity else { return None };
        match version {
            Some(version) => keys.iter().find(|key| key.version == version),
            None => keys.last(),
        }
    }

    /// The keys under which it may have what was last sent to it under that one: that and those before it, which were in use
    /// before. All of them where that key is gone.
    pub fn keys_until(&self, version: Option<&str>) -> &[CodingKey] {
        let Identity::Coded { keys } = &self.identity else { return &[] };
        let last = version.and_then(|version| keys.iter().position(|key| key.version == version));
        last.and_then(|last| keys.get(..=last)).unwrap_or(keys)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegistry {
    pub(super) name: String,
    hsa_id: String,
    #[serde(default)]
    identity: RawIdentity,
    agreement: Option<String>,
    key_file: Option<PathBuf>,
    #[serde(default)]
    needs_information: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawIdentity {
    #[default]
    Coded,
    Personnummer,
}

/// The name that means every registry in an opt-out.
pub const ALL_REGISTRIES: &str = "all";

/// `key` names the section in errors.
pub(super) fn check(key: &str, raw: RawRegistry, base: &Path) -> Result<Registry, ConfigError> {
    let is_name = |name: &str| {
        (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && name != ALL_REGISTRIES
    };
    if !is_name(&raw.name) {
        return Err(value(key, "has a name that is not 1-40 small letters, figures and hyphens, or that is \"all\""));
    }
    if HsaId::parse(&raw.hsa_id).is_err() {
        return Err(value(key, "hsa_id is no HSA-id"));
    }
    let agreement = raw.agreement.filter(|text| !text.trim().is_empty());
    let identity = match (raw.identity, raw.key_file, agreement) {
        (RawIdentity::Coded, Some(file), _) => Identity::Coded { keys: keys(key, &base.join(file))? },
        (RawIdentity::Coded, None, _) => {
            return Err(value(key, "needs key_file, the keys of its codes (identity = \"coded\" is the default)"));
        }
        (RawIdentity::Personnummer, None, Some(agreement)) => Identity::Personnummer { agreement },
        (RawIdentity::Personnummer, Some(_), _) => {
            return Err(value(key, "has a key_file and identity = \"personnummer\": choose one"));
        }
        (RawIdentity::Personnummer, None, None) => {
            let what = "identity = \"personnummer\" needs agreement, the text that says why codes do not suffice (PDL 7 kap. 8 §)";
            return Err(value(key, what));
        }
    };
    Ok(Registry {
        name: raw.name,
        hsa_id: raw.hsa_id.to_ascii_uppercase(),
        identity,
        needs_information: raw.needs_information,
    })
}

/// A line a key, `version:base64`; lines that are empty or begin with # are passed over.
fn keys(key: &str, path: &Path) -> Result<Vec<CodingKey>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.into(), source })?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut keys: Vec<CodingKey> = Vec::new();
    for (index, line) in lines {
        let read = line
            .split_once(':')
            .and_then(|(version, secret)| CodingKey::new(version.trim(), &STANDARD.decode(secret.trim()).ok()?));
        let wrong = |what: &str| value(key, &format!("key_file row {}: {what}", index + 1));
        let read = read.ok_or_else(|| {
            wrong("is not version:base64 with a version of 1-8 small letters and figures and at least 32 bytes")
        })?;
        if keys.iter().any(|known| known.version == read.version || known.is_same(&read)) {
            return Err(wrong("has a version or a secret that stood there before"));
        }
        keys.push(read);
    }
    if keys.is_empty() { Err(value(key, "key_file has no key")) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    /// A folder with a key file, and the settings of one registry.
    fn with_keys(lines: &str, more: &str) -> Result<Config, String> {
        let folder = std::env::temp_dir().join(format!("registry-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("r.keys"), lines).unwrap();
        let settings = folder.join("gateway.toml");
        let text = format!("[[registry]]\nname = \"rehab\"\nhsa_id = \"SE2321000131-E000000000777\"\n{more}");
        std::fs::write(&settings, text).unwrap();
        let config = Config::load(Some(&settings)).map_err(|error| error.to_string());
        let _ = std::fs::remove_dir_all(folder);
        config
    }

    const FIRST: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const SECOND: &str = "k2:IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn codes_are_the_default_and_the_last_key_is_in_use() {
        let config = with_keys(&format!("# 2026\n{FIRST}\n\n{SECOND}\n"), "key_file = \"r.keys\"").unwrap();
        let registry = &config.agreements.now().registries[0];
        assert!(registry.is_coded() && !registry.needs_information);
        assert_eq!(registry.key(None).unwrap().version, "k2");
        assert_eq!(registry.key(Some("k1")).unwrap().version, "k1");
        assert!(!format!("{config:?}").contains("AAEC"), "a secret is never shown");
        let until = |version| registry.keys_until(version).iter().map(|key| key.version.as_str()).collect::<Vec<_>>();
        assert_eq!((until(Some("k1")), until(Some("k2"))), (vec!["k1"], vec!["k1", "k2"]));
        assert_eq!((until(None), until(Some("k0"))), (vec!["k1", "k2"], vec!["k1", "k2"]), "of one that is gone");
    }

    #[test]
    fn a_registry_without_a_key_or_an_agreement_is_refused() {
        for (lines, more, what) in [
            ("", "", "key_file"),
            ("", "key_file = \"r.keys\"", "no key"),
            ("k1:AAEC", "key_file = \"r.keys\"", "row 1"),
            (&format!("{FIRST}\n{FIRST}"), "key_file = \"r.keys\"", "row 2"),
            ("", "identity = \"personnummer\"", "agreement"),
            ("", "identity = \"personnummer\"\nagreement = \" \"", "agreement"),
        ] {
            let error = with_keys(lines, more).unwrap_err();
            assert!(error.contains(what) && !error.contains("AAEC"), "{more}: {error}");
        }
        let named = "identity = \"personnummer\"\nagreement = \"Avtal 2026-14, punkt 3\"";
        assert!(!with_keys("", named).unwrap().agreements.now().registries[0].is_coded());
    }
}
