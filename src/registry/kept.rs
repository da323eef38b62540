//! What may stay as it is in a coded resource: codes of known systems in their known shapes, our own and HL7's addresses,
//! moments, small numbers. Everything else is left out, because only what is known cannot hold a person.

use crate::fhir::canonical::BASE;

/// Where code systems, profiles and extensions live that nobody types freely.
const KNOWN: [&str; 6] = [
    "http://hl7.org/fhir/",
    "http://terminology.hl7.org/",
    "http://hl7.se/fhir/",
    "http://electronichealth.se/",
    "https://fhir.inera.se/",
    "http://unitsofmeasure.org",
];
const SNOMED: &str = "http://snomed.info/sct";
const LOINC: &str = "http://loinc.org";
/// KVÅ and ICD-10-SE: a letter or two, then figures.
const CLASSIFIED: [&str; 5] = [
    "urn:oid:1.2.752.116.1.3.2.1.4",
    "https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/",
    "urn:oid:1.2.752.116.1.1.1.1.3",
    "https://www.icd10.se/",
    "http://terminology.hl7.se/CodeSystem/icd-10-se",
];
/// Inera's and Swedish agencies' small code lists.
const LISTED: &str = "urn:oid:1.2.752.";

/// Longer codes than this are sentences.
const LONGEST_CODE: usize = 40;
/// Longer figures than this could be somebody's number.
const MOST_DIGITS: usize = 8;

/// An address that is part of a standard or ours.
pub(super) fn is_known_address(address: &str) -> bool {
    let plain = address.bytes().all(|b| b.is_ascii_graphic());
    let is_ours = address.strip_prefix(BASE).is_some_and(|rest| rest.starts_with('/'));
    let known = is_ours || KNOWN.iter().any(|known| address.starts_with(known)) || [SNOMED, LOINC].contains(&address);
    plain && (known || CLASSIFIED.contains(&address) || is_listed(address)) && digits(address) <= MOST_DIGITS
}

/// An OID under the Swedish arc: the figures of one are no person's.
fn is_listed(address: &str) -> bool {
    let arcs = address.strip_prefix(LISTED);
    arcs.is_some_and(|arcs| {
        !arcs.is_empty()
            && arcs.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && arcs.split('.').all(|a| a.len() <= 6)
    })
}

/// A code that the system can have: of a system that is not known, none.
pub(super) fn is_known_code(system: &str, code: &str) -> bool {
    if system == SNOMED {
        return is_concept(code);
    }
    if system == LOINC {
        return code.split_once('-').is_some_and(|(number, check)| {
            number.len() <= 6 && is_number(number) && is_number(check) && check.len() == 1
        });
    }
    if CLASSIFIED.contains(&system) {
        let letters = code.bytes().take_while(u8::is_ascii_uppercase).count();
        let rest = code.get(letters..).unwrap_or_default();
        let is_rest = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase() || matches!(b, b'.' | b'-');
        return (1..=3).contains(&letters) && rest.len() <= 7 && rest.bytes().all(is_rest) && has_digit(rest);
    }
    is_known_address(system) && is_word(code)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A SNOMED CT identifier of a concept: its check digit (Verhoeff's) and the digits that say what it is, so that no person's
/// number passes for one.
fn is_concept(code: &str) -> bool {
    let partition = code.len().checked_sub(3).and_then(|at| code.get(at..at + 2));
    let is_core = partition == Some("00") && code.len() <= 11;
    let is_extension = partition == Some("10") && code.len() > 12;
    (6..=18).contains(&code.len()) && is_number(code) && (is_core || is_extension) && verhoeff(code)
}

/// The group of Verhoeff's check digit, and how a digit is turned by its place
/// (<https://confluence.ihtsdotools.org/display/DOCRELFMT/6+SNOMED+CT+Identifiers>).
fn verhoeff(code: &str) -> bool {
    // The dihedral group of ten: 0-4 turn, 5-9 turn and mirror.
    let times = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    const TURN: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let turned = |digit: u8, place: usize| {
        (0..place % 8).fold(digit, |digit, _| TURN.get(usize::from(digit)).copied().unwrap_or(0))
    };
    let digits = code.bytes().rev().map(|b| b.wrapping_sub(b'0'));
    digits.enumerate().fold(0, |sum, (place, digit)| times(sum, turned(digit, place))) == 0
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

/// A code as R4's and our own lists have them: one word, few figures.
pub(super) fn is_word(code: &str) -> bool {
    let plain =
        code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/' | b'%' | b'{' | b'}'));
    !code.is_empty() && code.len() <= LONGEST_CODE && plain && digits(code) <= MOST_DIGITS
}

/// A number that is no person's.
pub(super) fn is_small(number: &str) -> bool {
    digits(number) <= MOST_DIGITS
}

/// A FHIR date, dateTime, instant or time.
pub(super) fn is_moment(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b'+' | b'T' | b'Z'));
    let starts = text.as_bytes().get(4).is_none_or(|b| *b == b'-') || text.as_bytes().get(2) == Some(&b':');
    plain && text.len() <= 35 && starts
}

/// The most figures in a row, across what people write between the parts of a number.
fn digits(text: &str) -> usize {
    let (mut most, mut now) = (0, 0);
    for c in text.chars() {
        match c {
            '0'..='9' => now += 1,
            '-' | '+' | ' ' => {}
            _ => now = 0,
        }
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_could_be_known_by_is_no_code_address_or_number() {
        for (system, code) in [
            ("http://snomed.info/sct", "Testsson"),
            ("http://snomed.info/sct", "195009072553"),
            ("http://snomed.info/sct", "5009072553"),
            ("http://snomed.info/sct", "229070003"),
            ("http://loinc.org", "500907-2553"),
            ("urn:oid:1.2.752.116.1.3.2.1.4", "195009072553"),
            ("https://vc-norr.example.se/journal", "DV133"),
            ("", "DV133"),
            ("http://hl7.org/fhir/x", "500907-2553"),
            ("http://hl7.org/fhir/x", "Test Testsson"),
        ] {
            assert!(!is_known_code(system, code), "{system} {code}");
        }
        assert!(!is_known_address("http://hl7.org/fhir/195009072553"));
        assert!(!is_known_address("urn:oid:1.2.752.195009072553"));
        assert!(!is_small("195009072553"));
        assert!(!is_moment("195009072553"));
    }

    #[test]
    fn what_registries_count_by_stays() {
        for (system, code) in [
            ("urn:oid:1.2.752.116.1.3.2.1.4", "DV133"),
            ("urn:oid:1.2.752.116.1.3.2.1.4", "ZV051"),
            ("urn:oid:1.2.752.116.1.1.1.1.3", "C50.9"),
            ("http://snomed.info/sct", "229070002"),
            ("http://snomed.info/sct", "80146002"),
            ("http://snomed.info/sct", "45201000052106"),
            ("http://loinc.org", "59408-5"),
            ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "VR"),
            ("http://unitsofmeasure.org", "wk"),
        ] {
            assert!(is_known_code(system, code), "{system} {code}");
        }
        for moment in
            ["2026", "2026-03", "2026-03-01", "2026-03-01T10:00:00+01:00", "2026-03-01T10:00:00.123Z", "10:00:00"]
        {
            assert!(is_moment(moment), "{moment}");
        }
        assert!(is_known_address("urn:oid:1.2.752.129.2.2.2.24") && is_known_address("urn:oid:1.2.752.116.1.3.2.1.4"));
    }
}
