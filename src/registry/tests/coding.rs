//! Coded resources: nothing of a person survives, what is counted does, and two registries cannot be joined.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Cipher;
use crate::config::{CodingKey, Config};
use crate::fhir::resource::references;

const YEAR: i32 = 2026;

fn cipher(version: &str, byte: u8) -> Cipher {
    let directory = Config::parse("").unwrap().directory;
    Cipher::new(&CodingKey::new(version, &[byte; 32]).unwrap(), &directory)
}

fn coded(resource: &Value, cipher: &Cipher, year: i32) -> Option<Value> {
    let out = super::super::coded(resource["resourceType"].as_str()?, resource.to_string().as_bytes(), cipher, year)?;
    Some(serde_json::from_slice(&out).unwrap())
}

/// Every resource of every example of every table.
fn examples() -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    let mut all = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.to_string_lossy().ends_with(".fhir.json")) {
        let value: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let list = value
            .as_array()
            .cloned()
            .or_else(|| Some(value["entry"].as_array()?.iter().map(|entry| entry["resource"].clone()).collect()));
        all.extend(list.unwrap_or_else(|| vec![value]));
    }
    all
}

/// A Patient with everything that one can have.
fn patient() -> Value {
    json!({
        "resourceType": "Patient", "id": "9c66053f-7578-4f1d-b4c1-aaec3d80c5c2",
        "meta": { "versionId": "3", "lastUpdated": "2026-03-01T10:00:00.000Z", "source": "urn:oid:1.2.752.129.2.1.4.1#SE2321000131-E000000000101",
            "security": [{ "system": "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel", "code": "sekretessmarkering", "display": "Test Testsson" }] },
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Test Testsson 19500907-2553</div>" },
        "identifier": [{ "system": "http://electronichealth.se/identifier/personnummer", "value": "195009072553" }],
        "name": [{ "text": "Test Testsson", "family": "Testsson", "given": ["Test"] }],
        "telecom": [{ "system": "phone", "value": "070-000 00 00" }], "address": [{ "text": "Testgatan 1", "city": "Hemligstad" }],
        "gender": "male", "birthDate": "1950-09-07", "deceasedDateTime": "2026-02-03T04:05:06+01:00",
        "photo": [{ "contentType": "image/png", "data": "VGVzdHNzb24=" }],
        "contact": [{ "name": { "text": "Anhörig Testsson" }, "gender": "female" }],
        "generalPractitioner": [{ "reference": "Practitioner/abc", "display": "Doktor Testsson" }],
        "extension": [{ "url": "https://elsewhere.example/name", "valueString": "Testsson" }],
    })
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(object) => {
            for (name, child) in object {
                found.push(name.clone());
                strings(child, found);
            }
        }
        Value::String(text) => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        _ => {}
    }
}

fn all_strings(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    strings(value, &mut found);
    found
}

/// What no string may hold in any form: figures as people write them, words in any case.
fn tells(text: &str, needle: &str) -> bool {
    let squeeze =
        |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    squeeze(text).contains(&squeeze(needle))
}

#[test]
fn of_a_patient_only_what_is_counted_stays() {
    let out = coded(&patient(), &cipher("k1", 1), YEAR).unwrap();
    assert_eq!(out["gender"], "male");
    assert_eq!(out["birthDate"], "1950");
    assert_eq!(out["deceasedDateTime"], "2026");
    assert_eq!(out["meta"]["source"], "urn:oid:1.2.752.129.2.1.4.1#SE2321000131-E000000000101");
    assert_eq!(out["meta"]["security"][0]["code"], "sekretessmarkering", "the label goes along");
    for text in all_strings(&out) {
        for needle in
            ["195009072553", "5009072553", "Testsson", "Testgatan", "Hemligstad", "070000", "9c66053f", "VGVzdHNzb24"]
        {
            assert!(!tells(&text, needle), "{text} tells {needle}");
        }
    }
    for gone in ["name", "telecom", "address", "photo", "contact", "text", "extension"] {
        assert!(out.get(gone).is_none(), "{gone}");
    }
}

#[test]
fn a_birthday_stands_in_no_place_that_is_not_the_patients_own() {
    let born = json!([{ "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime", "valueDateTime": "1950-09-07T04:30:00+01:00" }]);
    let mut own = patient();
    (own["extension"], own["multipleBirthInteger"]) = (born.clone(), json!(3));
    let relative = json!({
        "resourceType": "RelatedPerson", "id": "r", "patient": { "reference": "Patient/p" }, "gender": "female",
        "birthDate": "1952-03-04", "extension": born,
    });
    let nurse = json!({ "resourceType": "Practitioner", "id": "n", "birthDate": "1980-05-06", "gender": "female" });
    for resource in [own, relative, nurse] {
        let out = coded(&resource, &cipher("k1", 1), YEAR).unwrap();
        let texts = all_strings(&out).join(" ");
        for day in ["1950-09", "1952", "1980", "multipleBirth"] {
            assert!(!texts.contains(day), "{texts}");
        }
        assert!(out.get("gender").is_some());
    }
}

#[test]
fn what_is_coded_is_still_fhir() {
    let files = crate::profile_files(None).unwrap();
    let (conformance, _) = crate::Conformance::load(&files);
    let cipher = cipher("k1", 1);
    let mut wrong = Vec::new();
    for resource in examples().iter().chain([&patient()]) {
        let Some(out) = coded(resource, &cipher, YEAR) else { continue };
        assert!(out["meta"].get("profile").is_none(), "it claims a profile that wants the number");
        for issue in conformance.validate(std::slice::from_ref(&out)).iter().filter(|issue| issue.is_error()) {
            wrong.push(format!("{}: {}", issue.line(), out));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} of them: {}", wrong.len(), wrong[..wrong.len().min(6)].join("\n"));
}

#[test]
fn times_go_to_the_minute_and_when_we_wrote_something_to_the_day() {
    let task = json!({
        "resourceType": "Task", "id": "t", "meta": { "lastUpdated": "2026-03-01T10:11:12.345Z" },
        "authoredOn": "2026-03-01T10:11:12.345+01:00", "lastModified": "2026-03-01T10:11:12Z",
        "executionPeriod": { "start": "2026-03", "end": "2026-03-04" },
    });
    let out = coded(&task, &cipher("k1", 1), YEAR).unwrap();
    assert_eq!(out["meta"]["lastUpdated"], "2026-03-01T00:00:00Z");
    assert_eq!(out["authoredOn"], "2026-03-01T10:11:00+01:00");
    assert_eq!(out["lastModified"], "2026-03-01T10:11:00Z");
    assert_eq!(out["executionPeriod"], task["executionPeriod"]);
}

#[test]
fn the_very_old_stand_under_one_year() {
    for (born, shown) in [("1890-01-01", "1936"), ("1936-12-31", "1936"), ("1937-01-01", "1937"), ("1912", "1936")] {
        let out = coded(&json!({ "resourceType": "Patient", "id": "p", "birthDate": born }), &cipher("k1", 1), YEAR);
        assert_eq!(out.unwrap()["birthDate"], shown);
    }
}

#[test]
fn nothing_that_anybody_wrote_in_any_example_survives() {
    let cipher = cipher("k1", 1);
    let all = examples();
    assert!(all.len() > 100, "{}", all.len());
    for resource in &all {
        let Some(out) = coded(resource, &cipher, YEAR) else { continue };
        let kept: BTreeSet<String> = all_strings(&out).into_iter().collect();
        for text in all_strings(resource) {
            let is_written = text.contains(' ') || text.chars().any(|c| "åäöÅÄÖ".contains(c));
            assert!(!is_written || !kept.contains(&text), "{text:?} of {resource}");
            let figures = text.chars().filter(char::is_ascii_digit).count();
            let is_a_number =
                (10..=12).contains(&figures) && figures == text.chars().filter(|c| c.is_alphanumeric()).count();
            assert!(!is_a_number || text.contains('-') && text.len() == 10 || !kept.contains(&text), "{text:?}");
        }
    }
}

#[test]
fn codes_dates_and_units_of_every_example_survive() {
    let cipher = cipher("k1", 1);
    let (mut kva, mut performed, mut units) = (0, 0, 0);
    for resource in examples().iter().filter(|r| r["resourceType"] == "Procedure") {
        let out = coded(resource, &cipher, YEAR).unwrap();
        for coding in resource["code"]["coding"].as_array().into_iter().flatten() {
            if coding["system"] == "urn:oid:1.2.752.116.1.3.2.1.4" {
                assert!(out["code"]["coding"].as_array().unwrap().iter().any(|c| c["code"] == coding["code"]), "{out}");
                kva += 1;
            }
        }
        for name in ["performedDateTime", "performedPeriod"] {
            assert_eq!(out.get(name), resource.get(name));
            performed += usize::from(resource.get(name).is_some());
        }
        assert!(out["status"].is_string());
    }
    for resource in examples().iter().filter(|r| r["resourceType"] == "Organization") {
        let out = coded(resource, &cipher, YEAR).unwrap();
        assert_eq!(out["id"], resource["id"], "a unit is no person");
        let hsa = |r: &Value| r["identifier"][0]["value"].clone();
        if cipher.is_unit(hsa(resource).as_str().unwrap_or_default()) {
            assert_eq!(hsa(&out), hsa(resource));
            units += 1;
        }
    }
    assert!(kva > 3 && performed > 3 && units > 3, "{kva} {performed} {units}");
}

#[test]
fn references_lead_to_the_coded_ids_of_what_they_led_to() {
    let cipher = cipher("k1", 1);
    let name = |r: &Value| format!("{}/{}", r["resourceType"].as_str().unwrap(), r["id"].as_str().unwrap());
    let (mut names, mut followed) = (BTreeMap::new(), 0);
    let all: Vec<(Value, Value)> =
        examples().into_iter().filter_map(|r| coded(&r, &cipher, YEAR).map(|out| (r, out))).collect();
    for (resource, out) in &all {
        names.insert(name(resource), name(out));
    }
    let distinct: BTreeSet<&String> = names.values().collect();
    assert_eq!(distinct.len(), names.len(), "no two have one code");
    for (resource, out) in &all {
        let out: BTreeSet<&str> = references(out).into_iter().collect();
        for target in references(resource).into_iter().filter_map(|target| names.get(target)) {
            followed += usize::from(out.contains(target.as_str()));
        }
        for target in out {
            let known = names.values().any(|known| known == target) || target.starts_with('#');
            assert!(known || target.starts_with("Organization/") || target.contains("/k1-"), "{target}");
        }
    }
    assert!(followed > 100, "{followed}");
}

#[test]
fn two_registries_share_nothing_but_units_codes_and_moments() {
    let (ours, theirs) = (cipher("k1", 1), cipher("k1", 2));
    for resource in examples().iter().chain([&patient()]) {
        let (Some(a), Some(b)) = (coded(resource, &ours, YEAR), coded(resource, &theirs, YEAR)) else { continue };
        let theirs: BTreeSet<String> = all_strings(&b).into_iter().collect();
        for text in all_strings(&a) {
            if text.contains("k1-") {
                assert!(!theirs.contains(&text), "{text} stands at both");
            }
            // What is no code of ours is a name of the standard, a code, a moment, a count or a unit.
            let is_uuid = uuid::Uuid::parse_str(&text).is_ok();
            assert!(!is_uuid || a["resourceType"] == "Organization", "{text} of {a}");
        }
    }
}

#[test]
fn under_a_new_key_everything_has_another_code_and_the_old_key_still_makes_the_old() {
    let (old, new) = (cipher("k1", 1), cipher("k2", 9));
    let before = coded(&patient(), &old, YEAR).unwrap();
    let after = coded(&patient(), &new, YEAR).unwrap();
    assert_ne!(before["id"], after["id"]);
    assert_eq!(before["id"], old.id("Patient", patient()["id"].as_str().unwrap()));
    assert!(after["id"].as_str().unwrap().starts_with("k2-"));
}

/// Puts a text into the places of a resource that people write in: any string but those that say what the resource is.
fn poison(value: &mut Value, needle: &str, nth: &mut usize) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, needle, nth)),
        Value::Object(object) => {
            for (name, child) in object.iter_mut() {
                if matches!(name.as_str(), "resourceType" | "reference" | "url" | "system" | "profile" | "type")
                    && child.is_string()
                {
                    continue;
                }
                poison(child, needle, nth);
            }
        }
        Value::String(text) => {
            *nth += 1;
            *text = match *nth % 3 {
                0 => needle.to_owned(),
                1 => format!("{text} {needle}"),
                _ => format!("{needle}{text}"),
            };
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_number_or_name_anywhere_in_any_resource_never_gets_through(
        form in 0_usize..6,
        start in 0_usize..3,
        offset in 0_usize..7,
    ) {
        let needle = ["195009072553", "19500907-2553", "500907-2553", "5009072553", "Test Testsson-Åberg", "1950 09 07 2553"][form];
        let cipher = cipher("k1", 5);
        for resource in examples().into_iter().chain([patient()]).skip(offset).step_by(7) {
            let mut poisoned = resource;
            poison(&mut poisoned, needle, &mut { start });
            let Some(out) = coded(&poisoned, &cipher, YEAR) else { continue };
            for text in all_strings(&out) {
                prop_assert!(!tells(&text, needle) && !tells(&text, "5009072553"), "{} of {}", text, out);
            }
        }
    }
}
