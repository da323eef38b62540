//! The gateway's own keys: they sign its access tokens, and what it shows at a partner's token endpoint. In a file that only
//! its user can read; the newest key signs, older ones are still good for what they have signed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Keys that are kept beside the newest: what they signed has long expired.
const KEPT: usize = 4;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the key file {path} cannot be read or written")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the key file {0} can be read by others than its user: chmod 600")]
    Open(String),
    #[error(
        "the key file {0} has no keys that can be understood; put it back from a copy, or remove it and a new one is made"
    )]
    Form(String),
    #[error("a key could not be made or used")]
    Key,
    #[error("there is no key to sign with")]
    NoKey,
}

/// Signs with the newest key of a file.
#[derive(Debug)]
pub struct Signer {
    path: Option<PathBuf>,
    /// Oldest first.
    keys: RwLock<Arc<[Key]>>,
}

/// One key and its public half.
struct Key {
    kid: String,
    private: EncodingKey,
    public: Jwk,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kid)
    }
}

/// The file: the private keys as PKCS #8 in base64, oldest first.
#[derive(Serialize, Deserialize)]
struct Kept {
    keys: Vec<KeptKey>,
}

#[derive(Serialize, Deserialize)]
struct KeptKey {
    /// Seconds since 1970.
    made_at: i64,
    pkcs8: String,
}

impl Signer {
    /// Without keys: nothing is signed, and there is nothing to publish.
    pub fn none() -> Self {
        Self { path: None, keys: RwLock::new(Arc::new([])) }
    }

    /// Reads the file, and makes it where there is none.
    pub fn open(path: &Path, now: i64) -> Result<Self, SigningError> {
        if !path.exists() {
            add_key(path, &mut Kept { keys: Vec::new() }, now)?;
        }
        let keys = RwLock::new(load(path)?);
        Ok(Self { path: Some(path.to_owned()), keys })
    }

    /// Reads the file again. Whether the keys are others now; on an error the old ones stay.
    pub fn reload(&self) -> Result<bool, SigningError> {
        let Some(path) = &self.path else { return Ok(false) };
        let new = load(path)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let changed = !keys.iter().map(|k| &k.kid).eq(new.iter().map(|k| &k.kid));
        *keys = new;
        Ok(changed)
    }

    /// A JWT of that type with these claims, by the newest key.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SigningError> {
        let keys = self.all();
        let key = keys.last().ok_or(SigningError::NoKey)?;
        let header = Header { typ: Some(typ.to_owned()), kid: Some(key.kid.clone()), ..Header::new(Algorithm::ES384) };
        encode(&header, claims, &key.private).map_err(|_| SigningError::Key)
    }

    /// The public half of the key with that `kid`.
    pub fn find(&self, kid: &str) -> Option<Jwk> {
        self.all().iter().find(|key| key.kid == kid).map(|key| key.public.clone())
    }

    /// All public halves, for others to verify with.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.all().iter().map(|key| key.public.clone()).collect() }
    }

    fn all(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds a key to the file, which signs from when the gateway has read it; with `only`, what was signed before is void from
/// then on. How many keys there are.
pub fn rotate(path: &Path, only: bool, now: i64) -> Result<usize, SigningError> {
    let mut kept = if path.exists() { read(path)? } else { Kept { keys: Vec::new() } };
    if only {
        kept.keys.clear();
    }
    let surplus = kept.keys.len().saturating_sub(KEPT);
    kept.keys.drain(..surplus);
    add_key(path, &mut kept, now)?;
    Ok(kept.keys.len())
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> SigningError {
    |source| SigningError::File { path: path.display().to_string(), source }
}

fn read(path: &Path) -> Result<Kept, SigningError> {
    let mode = fs::metadata(path).map_err(failed(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SigningError::Open(path.display().to_string()));
    }
    let bytes = fs::read(path).map_err(failed(path))?;
    serde_json::from_slice(&bytes).map_err(|_| SigningError::Form(path.display().to_string()))
}

fn load(path: &Path) -> Result<Arc<[Key]>, SigningError> {
    let form = || SigningError::Form(path.display().to_string());
    let keys: Vec<Key> =
        read(path)?.keys.iter().map(|kept| key(&kept.pkcs8)).collect::<Option<_>>().ok_or_else(form)?;
    if keys.is_empty() { Err(form()) } else { Ok(keys.into()) }
}

fn key(pkcs8: &str) -> Option<Key> {
    let der = STANDARD.decode(pkcs8).ok()?;
    // What is no key for ES384 would fail at the first signature.
    EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der).ok()?;
    let private = EncodingKey::from_ec_der(&der);
    let mut public = Jwk::from_encoding_key(&private, Algorithm::ES384).ok()?;
    let kid = public.thumbprint(ThumbprintHash::SHA256).ok()?;
    public.common.key_id = Some(kid.clone());
    public.common.key_algorithm = Some(KeyAlgorithm::ES384);
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Some(Key { kid, private, public })
}

/// The file as it was, and one key more; whole or not at all, and never for others to read.
fn add_key(path: &Path, kept: &mut Kept, now: i64) -> Result<(), SigningError> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| SigningError::Key)?;
    kept.keys.push(KeptKey { made_at: now, pkcs8: STANDARD.encode(pkcs8.as_ref()) });
    let bytes = serde_json::to_vec_pretty(&kept).map_err(|_| SigningError::Key)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", Uuid::new_v4()));
    let beside = PathBuf::from(beside);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| {
        // What was begun is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&beside);
        failed(path)(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("signing-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn the_key_file_is_made_once_for_its_user_only_and_read_again() {
        let folder = folder();
        let path = folder.join("keys.json");
        let first = Signer::open(&path, 1).unwrap().jwks();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Signer::open(&path, 2).unwrap().jwks(), first);
        let published = serde_json::to_value(&first).unwrap();
        let fields: Vec<&String> = published["keys"][0].as_object().unwrap().keys().collect();
        assert!(!fields.iter().any(|f| *f == "d"), "{fields:?}");
        assert_eq!(published["keys"][0]["crv"], "P-384");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Signer::open(&path, 3), Err(SigningError::Open(_))));
        fs::write(&path, "{\"keys\":[]}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Signer::open(&path, 4), Err(SigningError::Form(_))));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_newest_key_signs_and_what_older_ones_signed_is_good_until_they_are_dropped() {
        let folder = folder();
        let path = folder.join("keys.json");
        let signer = Signer::open(&path, 1).unwrap();
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let first = kid(&signer.sign("at+jwt", &json!({})).unwrap());
        assert_eq!(rotate(&path, false, 2).unwrap(), 2);
        assert!(signer.reload().unwrap());
        let second = kid(&signer.sign("at+jwt", &json!({})).unwrap());
        assert_ne!(first, second);
        assert!(signer.find(&first).is_some());
        fs::write(&path, "broken").unwrap();
        assert!(signer.reload().is_err() && signer.find(&second).is_some(), "a broken file changes nothing");
        fs::remove_file(&path).unwrap();
        assert_eq!(rotate(&path, true, 3).unwrap(), 1);
        assert!(signer.reload().unwrap() && signer.find(&second).is_none());
        for n in 4..20 {
            assert!(rotate(&path, false, n).unwrap() <= KEPT + 1);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(folder).unwrap();
    }
}
