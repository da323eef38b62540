//! The tables of `mappings/` as they are shipped: they load without a finding that refuses them, every example runs both
//! ways, and what an example becomes is valid against the R4 schema.
//!
//! `UPDATE_EXAMPLES=1 cargo test --test it mappings` writes the `.fhir.json` beside each source; read the difference
//! before you keep it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use vardkedja::domain::kind::{Format, Kind};
use vardkedja::fhir::issue::Issue;
use vardkedja::fhir::r4;
use vardkedja::mapping::{ExampleIds, Files, Mappings};

fn files() -> Files {
    let mut files = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings"), "", &mut files);
    files
}

fn read(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn lines(issues: &[Issue]) -> String {
    issues.iter().map(|i| format!("{:?} {}\n", i.severity, i.line())).collect()
}

/// Kind and format of an example from its name: `referral.small.source.json`.
fn example(name: &str) -> Option<(Kind, Format, String)> {
    let case = name.strip_prefix("examples/")?;
    let (stem, format) = match case.strip_suffix(".source.json") {
        Some(stem) => (stem, Format::Json),
        None => (case.strip_suffix(".source.xml")?, Format::Riv),
    };
    let kind = stem.split('.').next()?.parse().unwrap();
    Some((kind, format, stem.to_owned()))
}

fn becomes(mappings: &Mappings, kind: Kind, format: Format, text: &str) -> (Vec<Value>, Vec<Issue>) {
    let tree = mappings.read(kind, format, text.as_bytes()).unwrap();
    let table = mappings.choose(kind, format, &tree).unwrap();
    let out = table.out(&tree, &ExampleIds);
    (out.resources.into_iter().map(|m| m.value).collect(), out.issues)
}

#[test]
fn the_tables_load_and_their_examples_run_both_ways() {
    let files = files();
    let (mappings, issues) = Mappings::load(&files);
    assert!(issues.is_empty(), "{}", lines(&issues));
    assert_eq!(mappings.tables().count(), files.keys().filter(|f| f.ends_with(".toml") && !f.contains('/')).count());
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        write_examples(&mappings, &files);
    }
    let findings = mappings.check(&self::files());
    assert!(findings.iter().all(|i| !i.is_error()), "{}", lines(&findings));
}

fn write_examples(mappings: &Mappings, files: &Files) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    for (name, text) in files {
        let Some((kind, format, stem)) = example(name) else { continue };
        let (resources, issues) = becomes(mappings, kind, format, text);
        print!("{name}\n{}", lines(&issues));
        let pretty = serde_json::to_string_pretty(&resources).unwrap();
        std::fs::write(folder.join(format!("{stem}.fhir.json")), pretty + "\n").unwrap();
    }
}

#[test]
fn what_an_example_becomes_has_only_what_r4_knows_and_all_it_requires() {
    let mut findings = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| name.ends_with(".fhir.json")) {
        let resources: Vec<Value> = serde_json::from_str(text).unwrap();
        for resource in &resources {
            let kind = resource["resourceType"].as_str().unwrap();
            structure(kind, resource, &format!("{name} {kind}"), &mut findings);
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// What is wrong with an object of that type, as far as the schema's table tells.
fn structure(content: &str, node: &Value, place: &str, findings: &mut Vec<String>) {
    let Some(fields) = node.as_object() else {
        findings.push(format!("{place} is not an object"));
        return;
    };
    for element in r4::children(content).into_iter().filter(|e| e.min > 0) {
        let present = |name: &String| r4::find(content, name).is_some_and(|f| f.element.path == element.path);
        if !fields.keys().any(|name| present(name)) {
            findings.push(format!("{place}.{} is missing", element.name));
        }
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != "resourceType") {
        let place = format!("{place}.{name}");
        let Some(found) = r4::find(content, name) else {
            findings.push(format!("{place} is unknown"));
            continue;
        };
        if found.element.is_list() != value.is_array() {
            findings.push(format!("{place} is a list where one is meant, or one where a list is"));
        }
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let codes: Vec<&str> = found.element.codes.iter().flat_map(|c| c.codes.iter().copied()).collect();
            match value {
                Value::Object(_) if !r4::is_primitive(found.type_code) => {
                    structure(found.content, value, &place, findings)
                }
                Value::String(code)
                    if found.type_code == "code" && !codes.is_empty() && !codes.contains(&code.as_str()) =>
                {
                    findings.push(format!("{place}: {code} is none of {}", codes.join(", ")));
                }
                _ if r4::is_primitive(found.type_code) => {}
                _ => findings.push(format!("{place} is not a {}", found.type_code)),
            }
        }
    }
}
