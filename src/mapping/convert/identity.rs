//! Who and which system: person numbers, and OIDs with their URIs.

use serde_json::{Value, json};

use super::{Made, Text, field, text};
use crate::domain::issuer::Issuer;
use crate::domain::person_id::{PersonId, PersonIdError};

/// OIDs that have another URI than `urn:oid:` in FHIR; those of persons are the domain's to know. Where an OID or URI stands on several lines,
/// the first is written.
const SYSTEMS: &[(&str, &str)] = &[
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

pub(super) fn system_of(oid: &str) -> String {
    let urn = format!("urn:oid:{oid}");
    let person = Issuer::of_system(&urn).map(Issuer::system);
    let known = person.or_else(|| SYSTEMS.iter().find(|(known, _)| *known == oid).map(|(_, uri)| *uri));
    known.map_or(urn, str::to_owned)
}

pub(super) fn oid_of(uri: &str) -> Result<String, Text> {
    if let Some(issuer) = Issuer::of_system(uri) {
        return Ok(issuer.oid().to_owned());
    }
    if let Some((oid, _)) = SYSTEMS.iter().find(|(_, known)| *known == uri) {
        return Ok((*oid).to_owned());
    }
    uri.strip_prefix("urn:oid:")
        .map(str::to_owned)
        .ok_or_else(|| Text::new("Systemet har ingen känd OID.", "The system has no known OID."))
}

fn refused(error: PersonIdError) -> Text {
    Text { sv: format!("Personnumret {}.", error.sv()), en: format!("The person number {error}.") }
}

pub(super) fn personnummer_out(value: &Value) -> Result<Made, Text> {
    let id = PersonId::parse(text(value)?).map_err(refused)?;
    Ok(json!({ "system": id.system(), "value": id.value() }).into())
}

pub(super) fn personnummer_back(value: &Value) -> Result<Made, Text> {
    Ok(json!(field(value, "value")?).into())
}

pub(super) fn person_id_out(value: &Value) -> Result<Made, Text> {
    let (root, extension) = (field(value, "root")?, field(value, "extension")?);
    let system = system_of(root);
    let value = match PersonId::parse_in(&system, extension) {
        Some(Ok(id)) => id.value().to_owned(),
        Some(Err(error @ PersonIdError::OtherIssuer { .. })) => {
            // Said of the resource by the validator, which knows where it is only worth a warning.
            PersonId::parse(extension).map_err(|_| refused(error))?.value().to_owned()
        }
        Some(Err(error)) => return Err(refused(error)),
        None => extension.to_owned(),
    };
    Ok(json!({ "system": system, "value": value }).into())
}

pub(super) fn person_id_back(value: &Value) -> Result<Made, Text> {
    Ok(json!({ "root": oid_of(field(value, "system")?)?, "extension": field(value, "value")? }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_number_gets_the_system_of_its_issuer() {
        for (number, issuer) in [
            ("195009072553", Issuer::Population),
            ("19500907-2553", Issuer::Population),
            ("196109732393", Issuer::Coordination),
            ("98240301AA06", Issuer::National),
            ("98240301aa06", Issuer::National),
            ("20210325K069", Issuer::VgrLocal),
            ("991234567890", Issuer::Stockholm),
            ("991201011234", Issuer::Stockholm),
        ] {
            let made = personnummer_out(&json!(number)).unwrap();
            let value = number.replace('-', "").to_uppercase();
            assert_eq!(made.value, json!({ "system": issuer.system(), "value": value }));
        }
        for wrong in ["1950-0907 2553", "19500907255", "195013072553", "195009072554", "abc", "åäö109073239"] {
            assert!(personnummer_out(&json!(wrong)).is_err(), "{wrong}");
        }
        assert!(personnummer_out(&json!("19500907T553")).unwrap_err().en.contains("TF number"));
    }

    #[test]
    fn a_person_of_a_riv_message_keeps_its_root_there_and_back() {
        for (root, extension) in [
            ("1.2.752.129.2.1.3.1", "195009072553"),
            ("1.2.752.129.2.1.3.3", "196109732393"),
            ("1.2.752.74.9.1", "98240301AA06"),
            ("1.2.752.113.11.0.2.1.1.1", "20210325K069"),
            ("1.2.752.97.3.1.3", "991234567890"),
            ("1.2.3", "anything"),
        ] {
            let id = json!({ "root": root, "extension": extension });
            let made = person_id_out(&id).unwrap();
            assert_eq!(person_id_back(&made.value).unwrap().value, id);
        }
        let stockholm = person_id_out(&json!({ "root": "1.2.752.97.3.1.3", "extension": "991234567890" })).unwrap();
        assert_eq!(stockholm.value["system"], Issuer::Stockholm.system());
        for wrong in ["195009072554", "19500907T553", "1950-0907 2553"] {
            assert!(person_id_out(&json!({ "root": "1.2.752.129.2.1.3.1", "extension": wrong })).is_err(), "{wrong}");
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
