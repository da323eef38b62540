//! The codes that stand for persons and things in what a registry gets: keyed, so that nobody without the key can make or
//! match them, and the same for the same registry as long as its key is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::config::CodingKey;
use crate::domain::Directory;

/// Characters of a code behind its key's version. Each is one of sixteen letters: 160 bits, and no digit, so that a code is
/// never taken for a personnummer by whoever looks for those.
const LETTERS: usize = 40;

/// Makes the codes of one registry under one version of its key.
#[derive(Clone)]
pub struct Cipher {
    version: String,
    /// Keyed, and copied for each code: the key itself is worked in once.
    keyed: Arc<Hmac<Sha256>>,
    units: Arc<BTreeSet<String>>,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.version)
    }
}

impl Cipher {
    /// `directory` says which HSA-ids are units': they stay as they are. Persons have HSA-ids too, and theirs do not.
    pub fn new(key: &CodingKey, directory: &Directory) -> Self {
        let mut units = BTreeSet::new();
        for unit in directory.iter() {
            units.extend([&unit.hsa_id, &unit.care_provider].map(|id| id.to_ascii_uppercase()));
            // Whoever has a firm of their own has their personnummer for its number.
            units.extend((!is_of_person(&unit.orgnr)).then(|| unit.orgnr.to_ascii_uppercase()));
        }
        units.remove("");
        Self { version: key.version.clone(), keyed: Arc::new(key.keyed()), units: Arc::new(units) }
    }

    /// Which version of the key it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The code of a value within its kind: a type of resource, an identifier system. Fits where FHIR wants an id.
    pub fn code(&self, kind: &str, value: &str) -> String {
        written(|out| self.write(kind, value, out))
    }

    /// The code of a resource's id. A unit is no person and keeps its own, as far as that is one that we make.
    pub fn id(&self, resource_type: &str, id: &str) -> String {
        written(|out| self.write_id(resource_type, id, out))
    }

    /// Writes what [`Self::code`] gives: ASCII letters, and what the key's version is called.
    pub(super) fn write(&self, kind: &str, value: &str, out: &mut Vec<u8>) {
        let mut keyed = Hmac::clone(&self.keyed);
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        let mut figures = itoa::Buffer::new();
        for part in [figures.format(kind.len()), "\u{1f}", kind, "\u{1f}", value] {
            keyed.update(part.as_bytes());
        }
        out.extend_from_slice(self.version.as_bytes());
        out.push(b'-');
        let tag = keyed.finalize().into_bytes();
        out.extend(tag.iter().take(LETTERS / 2).flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]));
    }

    /// Writes what [`Self::id`] gives.
    pub(super) fn write_id(&self, resource_type: &str, id: &str, out: &mut Vec<u8>) {
        if resource_type == "Organization" && Uuid::try_parse(id).is_ok() {
            out.extend_from_slice(id.as_bytes());
        } else {
            self.write(resource_type, id, out);
        }
    }

    /// Whether it is the HSA-id or organisation number of a unit or care provider that the gateway knows.
    pub fn is_unit(&self, id: &str) -> bool {
        let is_upper = !id.bytes().any(|b| b.is_ascii_lowercase());
        let id = if is_upper { Cow::Borrowed(id) } else { Cow::Owned(id.to_ascii_uppercase()) };
        self.units.contains(id.as_ref())
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether an organisation number is a person's: a juridical person's has at least 20 where a person's has the month.
fn is_of_person(orgnr: &str) -> bool {
    let digits: Vec<u8> = orgnr.bytes().filter(u8::is_ascii_digit).collect();
    // Twelve digits begin with the century, which for an organisation is 16.
    let number = if digits.len() == 12 { digits.get(2..) } else { Some(digits.as_slice()) };
    digits.len() == 12 && !digits.starts_with(b"16") || number.and_then(|n| n.get(2)).is_some_and(|month| *month < b'2')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn cipher(version: &str, secret: &[u8]) -> Cipher {
        Cipher::new(&CodingKey::new(version, secret).unwrap(), &Directory::default())
    }

    #[test]
    fn the_same_key_makes_the_same_code_and_another_key_another() {
        let (a, b) = (cipher("k1", &[1; 32]), cipher("k1", &[2; 32]));
        assert_eq!(a.id("Patient", "p"), cipher("k1", &[1; 32]).id("Patient", "p"));
        assert_ne!(a.id("Patient", "p"), b.id("Patient", "p"));
        assert_ne!(a.id("Patient", "p"), a.id("Task", "p"), "the same id of two types is two things");
        assert!(a.id("Patient", "p").starts_with("k1-"));
        assert_eq!(format!("{a:?}"), "Cipher(k1)");
    }

    #[test]
    fn the_number_of_a_firm_that_is_a_persons_is_no_unit_s() {
        for (orgnr, of_person) in [
            ("2321000131", false),
            ("232100-0131", false),
            ("165560360793", false),
            ("5009072553", true),
            ("500907-2553", true),
            ("195009072553", true),
            ("", false),
        ] {
            assert_eq!(is_of_person(orgnr), of_person, "{orgnr}");
        }
    }

    #[test]
    fn a_hundred_thousand_ids_have_as_many_codes() {
        let cipher = cipher("k1", &[7; 32]);
        let codes: HashSet<String> = (0..100_000).map(|n| cipher.id("Patient", &n.to_string())).collect();
        assert_eq!(codes.len(), 100_000);
    }

    proptest! {
        #[test]
        fn a_code_is_a_fhir_id_without_a_digit_of_its_own(kind in "[A-Za-z]{1,12}", value in ".{0,40}") {
            let code = cipher("k", &[3; 32]).code(&kind, &value);
            prop_assert!(code.len() <= 64 && code.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            prop_assert_eq!(code.len(), 2 + LETTERS);
        }
    }
}
