//! HSA-id: the name of a unit, a care provider or a person in the Swedish health-care directory.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The identifier system we write, and those we read (organisation, unit, and RIV-TA's).
pub const SYSTEM: &str = "urn:oid:1.2.752.29.4.19";
const ALIASES: [&str; 3] = [
    "urn:oid:1.2.752.129.2.1.4.1",
    "http://terminology.hl7.se/sid/se-hsaid-organization",
    "http://terminology.hl7.se/sid/se-hsaid-careunit",
];

/// RIV-TA's schemas allow 64 characters, which is more than any id in use.
const LONGEST: usize = 64;

/// Whether values under the system are HSA-ids.
pub fn is_system(system: &str) -> bool {
    system == SYSTEM || ALIASES.contains(&system)
}

/// A checked HSA-id. Keeps what was written; case makes no difference when two are compared.
#[derive(Clone)]
pub struct HsaId(String);

/// Why a text is no HSA-id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HsaIdError {
    #[error("must begin with SE, ten digits (the organisation number) and a hyphen, as SE2321000131-E000000000101")]
    Organisation,
    #[error("must have at least one letter A–Z or digit after the hyphen, and nothing else")]
    Suffix,
    #[error("must not be longer than 64 characters")]
    Length,
}

impl HsaIdError {
    /// The same in Swedish.
    pub fn sv(self) -> &'static str {
        match self {
            Self::Organisation => {
                "ska börja med SE, tio siffror (organisationsnumret) och bindestreck, t.ex. SE2321000131-E000000000101"
            }
            Self::Suffix => "ska ha minst en bokstav A–Z eller siffra efter bindestrecket, och inget annat",
            Self::Length => "får inte vara längre än 64 tecken",
        }
    }
}

impl HsaId {
    pub fn parse(text: &str) -> Result<Self, HsaIdError> {
        let bytes = text.as_bytes();
        let (Some(country), Some(organisation), Some(b'-')) = (bytes.get(..2), bytes.get(2..12), bytes.get(12)) else {
            return Err(HsaIdError::Organisation);
        };
        if !country.eq_ignore_ascii_case(b"SE") || !organisation.iter().all(u8::is_ascii_digit) {
            return Err(HsaIdError::Organisation);
        }
        let suffix = bytes.get(13..).unwrap_or_default();
        if suffix.is_empty() || !suffix.iter().all(u8::is_ascii_alphanumeric) {
            return Err(HsaIdError::Suffix);
        }
        if bytes.len() > LONGEST {
            return Err(HsaIdError::Length);
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ten digits of the organisation that issued it.
    pub fn organisation_number(&self) -> &str {
        self.0.get(2..12).unwrap_or_default()
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_uppercase())
    }
}

impl PartialEq for HsaId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for HsaId {}

impl Hash for HsaId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|b| b.hash(state));
    }
}

impl Ord for HsaId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for HsaId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for HsaId {
    type Err = HsaIdError;
    fn from_str(text: &str) -> Result<Self, HsaIdError> {
        Self::parse(text)
    }
}

impl fmt::Display for HsaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HsaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HsaId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn case_makes_no_difference_but_is_kept() {
        let upper = HsaId::parse("SE2321000131-E000000000101").unwrap();
        let lower = HsaId::parse("se2321000131-e000000000101").unwrap();
        assert_eq!(upper, lower);
        assert_eq!(HashSet::from([upper.clone(), lower.clone()]).len(), 1);
        assert_eq!(upper.cmp(&lower), Ordering::Equal);
        assert_eq!(lower.as_str(), "se2321000131-e000000000101");
        assert_eq!(upper.organisation_number(), "2321000131");
    }

    #[test]
    fn what_no_directory_would_issue_is_refused() {
        assert_eq!(HsaId::parse("SE232100013-E101"), Err(HsaIdError::Organisation));
        assert_eq!(HsaId::parse("NO2321000131-E101"), Err(HsaIdError::Organisation));
        assert_eq!(HsaId::parse("SE2321000131-"), Err(HsaIdError::Suffix));
        assert_eq!(HsaId::parse("SE2321000131-Å1"), Err(HsaIdError::Suffix));
        assert_eq!(HsaId::parse("SE2321000131-A B"), Err(HsaIdError::Suffix));
        assert_eq!(HsaId::parse(&format!("SE2321000131-{}", "A".repeat(52))), Err(HsaIdError::Length));
        assert!(HsaId::parse(&format!("SE2321000131-{}", "A".repeat(51))).is_ok());
    }
}
