//! The key that checkpoints are signed with, and the public keys they are checked by. A key of its own: whoever may make
//! tokens shall not be able to vouch for the log.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Stand;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path} cannot be read or written")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is no key of the form that this program makes (PKCS #8, P-384, PEM)")]
    Form(PathBuf),
    #[error("{0} is neither a JWK set, nor a JWK, nor a public key in PEM")]
    Public(PathBuf),
    #[error("no key could be made")]
    Make,
}

/// Signs checkpoints.
pub struct Signer {
    key: EncodingKey,
    kid: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.kid)
    }
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

impl Signer {
    /// Reads the key, or makes it where there is none, and sees to it that its public half stands beside it.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let at = |source| KeyError::File { path: path.to_owned(), source };
        let form = || KeyError::Form(path.to_owned());
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path)?,
            Err(error) => return Err(at(error)),
        };
        let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or_else(form)?;
        let packed: String = inner.split_whitespace().collect();
        let der = STANDARD.decode(packed).map_err(|_| form())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der).map_err(|_| form())?;
        let jwk = jwk(pair.public_key().as_ref()).ok_or_else(form)?;
        let kid = jwk["kid"].as_str().unwrap_or_default().to_owned();
        publish(&public_path(path), &jwk)?;
        Ok(Self { key: EncodingKey::from_ec_der(&der), kid })
    }

    /// The JWS of where the chain stood.
    pub fn sign(&self, stand: &Stand) -> Option<String> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES384) };
        encode(&header, stand, &self.key).ok()
    }
}

/// Where the public half of a key stands.
pub fn public_path(key: &Path) -> PathBuf {
    key.with_extension("jwks.json")
}

/// For its owner only, whole or not at all.
fn make(path: &Path) -> Result<String, KeyError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new());
    let der = made.map_err(|_| KeyError::Make)?;
    let packed = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = packed.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let text = format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"));
    let unfinished = path.with_extension("key.part");
    let at = |source| KeyError::File { path: path.to_owned(), source };
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(at)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at)?;
    fs::rename(&unfinished, path).map_err(at)?;
    Ok(text)
}

/// A public point as a JWK, named by its thumbprint (RFC 7638).
fn jwk(point: &[u8]) -> Option<Value> {
    let (x, y) = point.strip_prefix(&[4])?.split_at_checked(48)?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let thumb = Sha256::digest(format!("{{\"crv\":\"P-384\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}"));
    let kid = URL_SAFE_NO_PAD.encode(thumb);
    Some(json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y, "use": "sig", "alg": "ES384", "kid": kid }))
}

/// Adds a public key to those that stand there: checkpoints of an older key are still to be checked.
fn publish(path: &Path, jwk: &Value) -> Result<(), KeyError> {
    let at = |source| KeyError::File { path: path.to_owned(), source };
    let mut set: Value = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| KeyError::Public(path.to_owned()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({ "keys": [] }),
        Err(error) => return Err(at(error)),
    };
    let keys = set.get_mut("keys").and_then(Value::as_array_mut).ok_or_else(|| KeyError::Public(path.to_owned()))?;
    if keys.iter().any(|known| known["kid"] == jwk["kid"]) {
        return Ok(());
    }
    keys.push(jwk.clone());
    fs::write(path, format!("{set:#}\n")).map_err(at)
}

/// Public keys to check checkpoints by.
#[derive(Debug)]
pub struct Checker {
    keys: Vec<(Option<String>, DecodingKey)>,
}

impl Checker {
    /// Reads a JWK set, one JWK, or a public key in PEM.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        let keys = if text.contains("-----BEGIN PUBLIC KEY-----") {
            DecodingKey::from_ec_pem(text.as_bytes()).ok().map(|key| vec![(None, key)])
        } else {
            let set = serde_json::from_str::<JwkSet>(&text).map(|set| set.keys);
            let keys = set.or_else(|_| serde_json::from_str::<Jwk>(&text).map(|key| vec![key]));
            let read = |jwk: &Jwk| Some((jwk.common.key_id.clone(), DecodingKey::from_jwk(jwk).ok()?));
            keys.ok().map(|keys| keys.iter().filter_map(read).collect())
        };
        let keys: Vec<(Option<String>, DecodingKey)> = keys.unwrap_or_default();
        if keys.is_empty() { Err(KeyError::Public(path.to_owned())) } else { Ok(Self { keys }) }
    }

    /// What a checkpoint says, if one of the keys signed it.
    pub fn check(&self, token: &str) -> Option<Stand> {
        let header = decode_header(token).ok().filter(|header| header.alg == Algorithm::ES384)?;
        let mut validation = Validation::new(Algorithm::ES384);
        // It is signed for ever: a checkpoint of years ago is the one that matters.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let meant = |kid: &Option<String>| kid.is_none() || header.kid.is_none() || *kid == header.kid;
        let mut keys = self.keys.iter().filter(|(kid, _)| meant(kid));
        keys.find_map(|(_, key)| decode::<Stand>(token, key, &validation).ok()).map(|data| data.claims)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::CheckpointKind;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("seal-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn stand() -> Stand {
        Stand::new("SE1-E1", 7, CheckpointKind::Regular, 12, &[9; 32], chrono::DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_its_signatures_are_known_by_its_public_half() {
        let folder = folder();
        let path = folder.join("audit.key");
        let token = Signer::open(&path).unwrap().sign(&stand()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Signer::open(&path).unwrap();
        let checker = Checker::open(&public_path(&path)).unwrap();
        assert_eq!(checker.check(&token), Some(stand()));
        assert_eq!(checker.check(&again.sign(&stand()).unwrap()), Some(stand()));
        let forged = token.replacen('A', "B", 1);
        assert_eq!(checker.check(&forged), None);
        fs::remove_file(&path).unwrap();
        let other = Signer::open(&folder.join("other.key")).unwrap().sign(&stand()).unwrap();
        assert_eq!(checker.check(&other), None, "another key");
        Signer::open(&path).unwrap();
        let both = Checker::open(&public_path(&path)).unwrap();
        assert_eq!(both.check(&token), Some(stand()), "a key that was changed does not make the older ones unknown");
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let folder = folder();
        let path = folder.join("audit.key");
        fs::write(&path, "").unwrap();
        assert!(matches!(Signer::open(&path), Err(KeyError::Form(_))));
        assert!(matches!(Checker::open(&path), Err(KeyError::Public(_))));
        assert!(matches!(Checker::open(&folder.join("none")), Err(KeyError::File { .. })));
        let _ = fs::remove_dir_all(folder);
    }
}
