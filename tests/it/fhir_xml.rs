//! FHIR XML: every resource that the project ships goes to XML and back unchanged, and fhirbolt, which others wrote from the
//! same standard, reads the XML as the same resource. The face speaks it by negotiation.
//!
//! HL7's own examples are not carried here. With a folder of them:
//! `FHIR_EXAMPLES=path cargo test --test it fhir_xml -- --ignored --nocapture`

use std::path::{Path, PathBuf};

use fhirbolt::FhirReleases;
use fhirbolt::element::Element;
use serde_json::Value;
use vardkedja::fhir::guard::Limits;
use vardkedja::fhir::xml;

/// Every resource in the JSON files of a folder whose names end so.
fn resources(folder: &Path, ending: &str) -> Vec<(String, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|p| p.to_string_lossy().ends_with(ending)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let list = match serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap() {
            Value::Array(list) => list,
            one => vec![one],
        };
        found.extend(list.into_iter().filter(|r| r["resourceType"].is_string()).map(|r| (name.clone(), r)));
    }
    found
}

type Theirs = Element<{ FhirReleases::R4 }>;

/// XML to JSON as fhirbolt has it.
fn read_by_fhirbolt(text: &[u8]) -> Result<Value, String> {
    let element: Theirs = fhirbolt::xml::from_slice(text, None).map_err(|e| e.to_string())?;
    let json = fhirbolt::json::to_vec(&element, None).map_err(|e| e.to_string())?;
    serde_json::from_slice(&json).map_err(|e| e.to_string())
}

/// JSON to XML as fhirbolt writes it.
fn written_by_fhirbolt(resource: &Value) -> Result<Vec<u8>, String> {
    let element: Theirs = fhirbolt::json::from_str(&resource.to_string(), None).map_err(|e| e.to_string())?;
    fhirbolt::xml::to_vec(&element, None).map_err(|e| e.to_string())
}

/// Without the space in narratives, which fhirbolt drops in part, and with blanks for line breaks, which it writes into
/// attributes as they are, where XML makes blanks of them.
fn without_space(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace(['\n', '\r', '\t'], " "),
            Value::Array(list) => list.iter_mut().for_each(walk),
            Value::Object(object) => {
                for (name, child) in object.iter_mut() {
                    match child {
                        Value::String(text) if name == "div" => text.retain(|c| !c.is_whitespace()),
                        child => walk(child),
                    }
                }
            }
            _ => {}
        }
    }
    walk(&mut value);
    value
}

/// What is lost or made up on the way to XML and back, and where fhirbolt sees another resource.
fn differences(resource: &Value) -> Vec<String> {
    let text = match xml::write(resource) {
        Ok(text) => text,
        Err(issues) => return issues.iter().map(|i| format!("not written: {}", i.line())).collect(),
    };
    let mut found = Vec::new();
    match xml::read(&text, &Limits::RESOURCE) {
        Ok(back) if back == *resource => {}
        Ok(back) => found.push(format!("came back otherwise: {back}")),
        Err(issues) => found.extend(issues.iter().map(|i| format!("not read back: {}", i.line()))),
    }
    match read_by_fhirbolt(&text) {
        Ok(theirs) if without_space(theirs.clone()) == without_space(resource.clone()) => {}
        Ok(theirs) => found.push(format!("fhirbolt sees: {theirs}")),
        Err(error) => found.push(format!("fhirbolt does not read it: {error}")),
    }
    match written_by_fhirbolt(resource).map(|text| xml::read(&text, &Limits::RESOURCE)) {
        Ok(Ok(ours)) if without_space(ours.clone()) == without_space(resource.clone()) => {}
        Ok(Ok(ours)) => found.push(format!("from fhirbolt's XML came: {ours}")),
        Ok(Err(issues)) => found.extend(issues.iter().map(|i| format!("fhirbolt's XML is not read: {}", i.line()))),
        Err(error) => found.push(format!("fhirbolt does not write it: {error}")),
    }
    found
}

#[test]
fn every_resource_that_we_ship_goes_to_xml_and_back_unchanged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = resources(&root.join("profiles"), ".json");
    all.extend(resources(&root.join("mappings/examples"), ".fhir.json"));
    all.extend(resources(&root.join("mappings/codes"), ".json"));
    assert!(all.len() > 100, "{}", all.len());
    let wrong: Vec<String> =
        all.iter().flat_map(|(name, r)| differences(r).into_iter().map(move |d| format!("{name}: {d}"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs a folder of HL7's examples"]
fn the_official_examples_go_to_xml_and_back_unchanged() {
    let folder = std::env::var("FHIR_EXAMPLES").expect("FHIR_EXAMPLES is a folder");
    let all = resources(Path::new(&folder), ".json");
    let mut whole = 0;
    for (name, resource) in &all {
        let found = differences(resource);
        whole += usize::from(found.is_empty());
        for difference in found {
            println!("{name}: {}", difference.chars().take(300).collect::<String>());
        }
    }
    println!("{whole} of {} are the same in XML, for us and for fhirbolt", all.len());
}

/// Every shape that has been seen to make XML readers slow, at a megabyte and more.
#[test]
fn no_document_takes_more_than_its_size_is_worth() {
    let fill = |unit: &str| unit.repeat(1_000_000 / unit.len());
    let patient = |inside: String| format!("<Patient xmlns=\"http://hl7.org/fhir\">{inside}</Patient>");
    let numbered = |make: fn(usize) -> String| (0..100_000).map(make).collect::<String>();
    let shapes = [
        ("attributes", format!("<a {}/>", numbered(|n| format!(" a{n}='x'")))),
        ("namespaces", format!("<a {}/>", numbered(|n| format!(" xmlns:a{n}='urn:{n}'")))),
        ("nested", fill("<a>")),
        ("nested namespaces", numbered(|n| format!("<a xmlns:a{n}='urn:x'>"))),
        ("unknown elements", patient(fill("<x/>"))),
        ("a list", patient(fill("<name id='a'/>"))),
        (
            "companions",
            patient(format!(
                "<name>{}</name>",
                fill("<given><extension url='a'><valueCode value='b'/></extension></given>")
            )),
        ),
        ("texts", patient(fill("a&amp;"))),
        ("comments", patient(fill("<!--a-->"))),
        ("references", patient(format!("<id value='{}'/>", fill("&#65;")))),
        ("a value", patient(format!("<id value='{}'/>", fill("a")))),
        ("lines", patient(fill("<a/>\n"))),
        (
            "a narrative",
            patient(format!("<text><div xmlns='http://www.w3.org/1999/xhtml'>{}</div></text>", fill("<br/>"))),
        ),
        ("an open comment", format!("<a>{}", fill("<!--"))),
        ("an open value", format!("<a b='{}", fill("<a b=\""))),
    ];
    let limits = Limits { bytes: 5_000_000, ..Limits::RESOURCE };
    for (name, text) in shapes {
        let started = std::time::Instant::now();
        let _ = xml::read(text.as_bytes(), &limits);
        let took = started.elapsed();
        assert!(took.as_secs() < 15, "{name}: {took:?}");
    }
}
