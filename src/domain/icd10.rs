//! ICD-10-SE by form: a letter, two digits and up to three more characters, with or without the point.
//!
//! The classification itself is revised every year and not carried here; a form check finds the mistyped code.

use std::fmt;

/// The code system we write, and those we read.
pub const SYSTEM: &str = "urn:oid:1.2.752.116.1.1.1.1.3";
const ALIASES: [&str; 2] = ["https://www.icd10.se/", "http://terminology.hl7.se/CodeSystem/icd-10-se"];

/// All names of the code system.
pub fn systems() -> impl Iterator<Item = &'static str> {
    std::iter::once(SYSTEM).chain(ALIASES)
}

/// Whether codes under the system are ICD-10-SE.
pub fn is_system(system: &str) -> bool {
    system == SYSTEM || ALIASES.contains(&system)
}

/// A code of the right form. Two that differ only in the point are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Icd10 {
    /// Without the point.
    code: String,
}

/// The text is no ICD-10-SE code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a capital letter, two digits and at most three more characters, as C50.9 or C509")]
pub struct Icd10Error;

impl Icd10Error {
    /// The same in Swedish.
    pub fn sv(self) -> &'static str {
        "ska vara en stor bokstav, två siffror och högst tre tecken till, t.ex. C50.9 eller C509"
    }
}

impl Icd10 {
    pub fn parse(text: &str) -> Result<Self, Icd10Error> {
        let [letter, ten, one, rest @ ..] = text.as_bytes() else { return Err(Icd10Error) };
        if !letter.is_ascii_uppercase() || !ten.is_ascii_digit() || !one.is_ascii_digit() {
            return Err(Icd10Error);
        }
        let tail = match rest {
            [] => rest,
            [b'.', tail @ ..] if !tail.is_empty() => tail,
            [b'.', ..] => return Err(Icd10Error),
            tail => tail,
        };
        if tail.len() > 3 || !tail.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
            return Err(Icd10Error);
        }
        Ok(Self { code: text.replace('.', "") })
    }

    /// Without the point, as Socialstyrelsen's lists and the registries have it.
    pub fn undotted(&self) -> &str {
        &self.code
    }

    /// Whether the code is more precise than its three-character category, as registries ask.
    pub fn is_precise(&self) -> bool {
        self.code.len() > 3
    }
}

impl fmt::Display for Icd10 {
    /// With the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.split_at_checked(3) {
            Some((category, rest)) if !rest.is_empty() => write!(f, "{category}.{rest}"),
            _ => f.write_str(&self.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_makes_no_difference() {
        assert_eq!(Icd10::parse("C50.9").unwrap(), Icd10::parse("C509").unwrap());
        assert_eq!(Icd10::parse("C509").unwrap().to_string(), "C50.9");
        assert_eq!(Icd10::parse("C61").unwrap().to_string(), "C61");
        assert!(Icd10::parse("Z50.9A").unwrap().is_precise() && !Icd10::parse("C61").unwrap().is_precise());
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        for wrong in ["", "C5", "C5O", "c50.9", "C50.", "C50.9012", "50.9", "C50 9", "C50..9", "CC50", "Ö50"] {
            assert_eq!(Icd10::parse(wrong), Err(Icd10Error), "{wrong}");
        }
    }
}
