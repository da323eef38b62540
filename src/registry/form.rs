//! In what form a registry gets a resource: coded, or as it is without what it does not need.

use serde_json::Value;

use super::cipher::Cipher;
use super::coded::coded;
use crate::Gateway;
use crate::config::Registry;
use crate::fhir::about::is_definition;
use crate::fhir::protection::conceal;

/// What becomes of each resource that goes out to a registry.
#[derive(Debug, Clone)]
pub enum Form {
    Coded(Cipher),
    /// Its agreement says why it gets the number and the name; where a patient lives it never needs (PDL 7 kap. 8 §).
    Named,
}

impl Form {
    /// The form of a registry's agreement, under its key in use or that of a version. `None`: it has no such key.
    pub fn of(gateway: &Gateway, registry: &Registry, version: Option<&str>) -> Option<Self> {
        if !registry.is_coded() {
            return Some(Self::Named);
        }
        registry.key(version).map(|key| Self::Coded(Cipher::new(key, &gateway.config.directory)))
    }

    /// The forms in which it may have what was last sent to it under that key, the newest last: one for each key that was in use
    /// until then, and is still among the settings.
    pub fn ever(gateway: &Gateway, registry: &Registry, version: Option<&str>) -> Vec<Self> {
        if !registry.is_coded() {
            return vec![Self::Named];
        }
        let directory = &gateway.config.directory;
        registry.keys_until(version).iter().map(|key| Self::Coded(Cipher::new(key, directory))).collect()
    }

    /// Whether a resource of that type goes out as other bytes than those that are stored.
    pub fn changes(&self, resource_type: &str) -> bool {
        match self {
            // A code list is about nobody, and is worth something word by word.
            Self::Coded(_) => !is_definition(resource_type),
            Self::Named => matches!(resource_type, "Patient" | "RelatedPerson"),
        }
    }

    /// The resource as it goes out; `year` is this year's number. `None`: it does not.
    pub fn write(&self, resource_type: &str, body: &[u8], year: i32) -> Option<Vec<u8>> {
        match self {
            Self::Coded(cipher) => coded(resource_type, body, cipher, year),
            Self::Named => {
                let mut named: Value = serde_json::from_slice(body).ok()?;
                conceal(&mut named);
                Some(named.to_string().into_bytes())
            }
        }
    }

    /// The id that a resource has there.
    pub fn id(&self, resource_type: &str, id: &str) -> String {
        match self {
            Self::Coded(cipher) if !is_definition(resource_type) => cipher.id(resource_type, id),
            Self::Coded(_) | Self::Named => id.to_owned(),
        }
    }

    /// The version of the key, to be recorded with what was disclosed.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Coded(cipher) => Some(cipher.version()),
            Self::Named => None,
        }
    }
}
