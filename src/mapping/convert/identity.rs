//! Who and which system: person numbers, and OIDs with their URIs.

use serde_json::{Value, json};

use super::{Made, Text, field, text};

/// OIDs that have another URI than `urn:oid:` in FHIR, the one place. Where an OID or URI stands on several lines,
/// the first is written.
const SYSTEMS: &[(&str, &str)] = &[
    ("1.2.752.129.2.1.3.1", PERSONNUMMER),
    ("1.2.752.129.2.1.3.3", SAMORDNINGSNUMMER),
    ("1.2.752.74.9.1", RESERVNUMMER),
    ("1.2.752.129.2.1.4.1", "urn:oid:1.2.752.29.4.19"),
    ("1.2.752.116.2.1.1", "http://snomed.info/sct"),
    ("2.16.840.1.113883.6.96", "http://snomed.info/sct"),
    ("2.16.840.1.113883.6.3", "http://hl7.org/fhir/sid/icd-10"),
    ("1.2.752.116.1.1.1.1.3", "urn:oid:1.2.752.116.1.1.1.1.3"),
    ("1.2.752.116.1.1.1.1.3", "https://www.icd10.se/"),
    ("1.2.752.116.1.1.1.1.3", "http://terminology.hl7.se/CodeSystem/icd-10-se"),
    ("1.2.752.116.1.3.2.1.4", "urn:oid:1.2.752.116.1.3.2.1.4"),
    ("1.2.752.116.1.3.2.1.4", "https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/"),
];

const PERSONNUMMER: &str = "http://electronichealth.se/identifier/personnummer";
const SAMORDNINGSNUMMER: &str = "http://electronichealth.se/identifier/samordningsnummer";
const RESERVNUMMER: &str = "http://electronichealth.se/identifier/nationelltReservnummer";

pub(super) fn system_of(oid: &str) -> String {
    match SYSTEMS.iter().find(|(known, _)| *known == oid) {
        Some((_, uri)) => (*uri).to_owned(),
        None => format!("urn:oid:{oid}"),
    }
}

pub(super) fn oid_of(uri: &str) -> Result<String, Text> {
    if let Some((oid, _)) = SYSTEMS.iter().find(|(_, known)| *known == uri) {
        return Ok((*oid).to_owned());
    }
    uri.strip_prefix("urn:oid:")
        .map(str::to_owned)
        .ok_or_else(|| Text::new("Systemet har ingen känd OID.", "The system has no known OID."))
}

/// The system of a person number by its form, without its check digit. The one place to ask for it.
fn person_system(number: &str) -> Option<&'static str> {
    let (date, last) = number.split_at_checked(8)?;
    if !date.bytes().all(|b| b.is_ascii_digit()) || last.len() != 4 {
        return None;
    }
    if !last.bytes().all(|b| b.is_ascii_digit()) {
        let letters = last.bytes().take_while(|b| b.is_ascii_uppercase() && !b"IOQVW".contains(b)).count();
        let digits = last.bytes().skip(letters).all(|b| b.is_ascii_digit());
        return (matches!(letters, 2 | 3) && digits).then_some(RESERVNUMMER);
    }
    let month: u32 = date.get(4..6)?.parse().ok()?;
    let day: u32 = date.get(6..8)?.parse().ok()?;
    match (month, day) {
        (1..=12, 1..=31) => Some(PERSONNUMMER),
        (1..=12, 60..=91) => Some(SAMORDNINGSNUMMER),
        _ => None,
    }
}

fn not_a_person_number() -> Text {
    Text::new(
        "Värdet är inte ett personnummer, samordningsnummer eller nationellt reservnummer med 12 tecken.",
        "The value is not a personnummer, samordningsnummer or national reserve number of 12 characters.",
    )
}

pub(super) fn personnummer_out(value: &Value) -> Result<Made, Text> {
    let number: String = text(value)?.chars().filter(|c| !matches!(c, '-' | '+' | ' ')).collect();
    let system = person_system(&number).ok_or_else(not_a_person_number)?;
    Ok(json!({ "system": system, "value": number }).into())
}

pub(super) fn personnummer_back(value: &Value) -> Result<Made, Text> {
    Ok(json!(field(value, "value")?).into())
}

pub(super) fn person_id_out(value: &Value) -> Result<Made, Text> {
    let (root, extension) = (field(value, "root")?, field(value, "extension")?);
    let system = system_of(root);
    if system.starts_with("http://electronichealth.se/") && person_system(extension).is_none() {
        return Err(not_a_person_number());
    }
    Ok(json!({ "system": system, "value": extension }).into())
}

pub(super) fn person_id_back(value: &Value) -> Result<Made, Text> {
    Ok(json!({ "root": oid_of(field(value, "system")?)?, "extension": field(value, "value")? }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_number_gets_the_system_of_its_form() {
        for (number, system) in [
            ("195009072553", PERSONNUMMER),
            ("196109732393", SAMORDNINGSNUMMER),
            ("19610973ABC1", RESERVNUMMER),
            ("19610973AB12", RESERVNUMMER),
        ] {
            let made = personnummer_out(&json!(number)).unwrap();
            assert_eq!(made.value, json!({ "system": system, "value": number }));
        }
        for wrong in ["19500907255", "195013072553", "195009402553", "abc", "19610973IOQ1", "åäö109073239"] {
            assert!(personnummer_out(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_oid_is_carried_as_a_urn() {
        assert_eq!(system_of("1.2.3"), "urn:oid:1.2.3");
        assert_eq!(oid_of("urn:oid:1.2.3").unwrap(), "1.2.3");
        assert_eq!(oid_of("https://www.icd10.se/").unwrap(), "1.2.752.116.1.1.1.1.3");
        assert!(oid_of("https://example.org").is_err());
    }
}
