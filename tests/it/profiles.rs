//! The package of profiles that is shipped: loads without a finding, is proven by its examples, and its snapshots are
//! what follows from R4 and the differentials.
//!
//! To write the snapshots anew: `cargo test --test it profiles -- --ignored`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vardkedja::fhir::canonical::BASE;
use vardkedja::fhir::issue::Issue;
use vardkedja::fhir::profile::{Files, Profiles, check, snapshot};
use vardkedja::fhir::validate::{Context, validate};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles")
}

fn files() -> Files {
    let mut files = Files::new();
    for (folder, prefix) in [(folder(), ""), (folder().join("examples"), "examples/")] {
        for entry in std::fs::read_dir(folder).expect("a folder of the package").flatten() {
            if entry.path().is_file() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                files.insert(name, std::fs::read_to_string(entry.path()).expect("a file of the package"));
            }
        }
    }
    files
}

fn lines(issues: &[Issue]) -> String {
    issues.iter().map(|i| format!("{} {}\n", i.severity.code(), i.line())).collect()
}

#[test]
fn the_package_loads_and_its_examples_prove_it() {
    let issues = check(&files());
    assert!(issues.is_empty(), "{}", lines(&issues));
}

#[test]
fn every_differential_and_r4_make_the_snapshot_that_is_written() {
    let mut seen = 0;
    for (name, text) in files().iter().filter(|(name, _)| name.starts_with("StructureDefinition-")) {
        let definition: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(definition["snapshot"]["element"], json!(snapshot(&definition)), "{name}");
        seen += 1;
    }
    assert!(seen > 30);
}

#[test]
fn a_broken_example_would_be_noticed() {
    let mut files = files();
    let text = files["examples/referral-request.good.json"].replace("\"takeover\"", "\"takover\"");
    files.insert("examples/referral-request.good.json".to_owned(), text);
    files.remove("examples/patient.bad.json");
    let found: Vec<String> = check(&files).into_iter().filter_map(|i| i.origin).collect();
    assert_eq!(found, ["examples/patient.bad.json", "examples/referral-request.good.json"]);
}

#[test]
fn the_five_codes_of_the_mission_are_in_the_list_with_their_areas() {
    let (profiles, _) = Profiles::load(&files());
    let area = |code: &str| profiles.codes().get(code).expect(code).area.clone().unwrap_or_default();
    assert_eq!(area("DV143"), "nutrition");
    assert_eq!(area("DV133"), "physical-activity");
    assert_eq!(area("DV113"), "tobacco");
    assert_eq!(area("DV123"), "alcohol");
    assert!(profiles.codes().get("ZV051").expect("ZV051").add_on);
    // An area that a code counts for is one of ours.
    let areas: Value = serde_json::from_str(&files()["CodeSystem-rehab-area.json"]).expect("JSON");
    let known: BTreeSet<&str> =
        areas["concept"].as_array().expect("codes").iter().filter_map(|c| c["code"].as_str()).collect();
    for code in profiles.codes().codes().filter_map(|c| c.area.as_deref()) {
        assert!(known.contains(code), "{code}");
    }
}

#[test]
fn everything_that_is_ours_lives_under_one_base_and_is_named_as_its_file() {
    let files = files();
    let mut urls = BTreeSet::new();
    for (name, text) in
        files.iter().filter(|(name, _)| name.ends_with(".json") && !name.contains('/') && *name != "package.json")
    {
        let resource: Value = serde_json::from_str(text).expect("JSON");
        let (kind, id) = (resource["resourceType"].as_str().expect("a type"), resource["id"].as_str().expect("an id"));
        assert_eq!(*name, format!("{kind}-{id}.json"));
        if let Some(url) = resource["url"].as_str().filter(|u| !u.starts_with("urn:oid:")) {
            assert_eq!(url, format!("{BASE}/{kind}/{id}"));
            assert!(urls.insert(url.to_owned()));
        }
    }
    // Whatever a file points at under the base is there.
    let systems: BTreeSet<String> = files
        .iter()
        .filter(|(name, _)| name.starts_with("NamingSystem-"))
        .flat_map(|(_, text)| addresses(text))
        .collect();
    for (name, text) in &files {
        for address in addresses(text).into_iter().filter(|a| *a != BASE) {
            assert!(urls.contains(&address) || systems.contains(&address), "{name}: {address}");
        }
    }
}

#[test]
fn what_the_tables_make_follows_the_profiles() {
    let folder = std::env::var("MAPPED").map_or_else(|_| folder().join("../mappings/examples"), PathBuf::from);
    let (profiles, _) = Profiles::load(&files());
    let context = Context { profiles: &profiles, codes: profiles.codes() };
    let mut wrong = String::new();
    // The tables are another folder's, and may be replaced.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".fhir.json") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("an example");
        let resources: Vec<Value> = serde_json::from_str(&text).expect("a list of resources");
        for resource in resources {
            let errors: Vec<Issue> = validate(&resource, &context).into_iter().filter(Issue::is_error).collect();
            wrong.extend(errors.iter().map(|i| format!("{name}: {}\n", i.line())));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_treatment_that_is_over_says_when_it_ended() {
    let files = files();
    let (profiles, _) = Profiles::load(&files);
    let context = Context { profiles: &profiles, codes: profiles.codes() };
    let mut over: Value = serde_json::from_str(&files["examples/treatment-intent.good.json"]).expect("JSON");
    over["component"].as_array_mut().expect("components").truncate(1);
    let found = validate(&over, &context);
    assert!(found.iter().any(|i| i.is_error() && i.line().contains("day it ended")), "{}", lines(&found));
    over["component"][0]["valueCodeableConcept"]["coding"][0]["code"] = json!("ongoing");
    assert!(validate(&over, &context).is_empty());
}

/// A personnummer that no good example has.
const SECRET: &str = "195009072553";

/// Replaces the nth value inside, or renames its first field.
fn mutate(value: &mut Value, nth: &mut usize, with: &Value) {
    if *nth == 0 {
        *nth = usize::MAX;
        match value.as_object_mut() {
            Some(object) if with.is_null() => {
                if let Some((_, first)) = object.shift_remove_entry(&object.keys().next().cloned().unwrap_or_default())
                {
                    object.insert(SECRET.to_owned(), first);
                }
            }
            _ => *value = with.clone(),
        }
        return;
    }
    *nth = nth.saturating_sub(1);
    match value {
        Value::Object(object) => object.values_mut().for_each(|v| mutate(v, nth, with)),
        Value::Array(items) => items.iter_mut().for_each(|v| mutate(v, nth, with)),
        _ => {}
    }
}

#[test]
fn whatever_is_put_in_an_example_nothing_panics_and_no_finding_repeats_it() {
    let files = files();
    let (profiles, _) = Profiles::load(&files);
    let context = Context { profiles: &profiles, codes: profiles.codes() };
    let strange = [
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!(SECRET),
        json!(-1.5),
        json!([null]),
        json!([SECRET]),
        json!({ SECRET: SECRET, "system": [], "url": 1, "coding": {} }),
    ];
    let mut seen = 0;
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".good.json")) {
        let good: Value = serde_json::from_str(text).expect("JSON");
        for with in &strange {
            for place in 0.. {
                let mut bad = good.clone();
                let mut nth = place;
                mutate(&mut bad, &mut nth, with);
                if nth < usize::MAX / 2 {
                    break;
                }
                seen += 1;
                for issue in validate(&bad, &context) {
                    assert!(!issue.line().contains(SECRET), "{name} {place}: {}", issue.line());
                }
            }
        }
    }
    assert!(seen > 5_000, "{seen}");
}

/// Every address under the base in a text.
fn addresses(text: &str) -> Vec<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | ':' | '_'));
    text.match_indices(BASE).filter_map(|(at, _)| text[at..].split(ends).next().map(str::to_owned)).collect()
}

#[test]
#[ignore = "writes the snapshots and the layout of profiles/*.json"]
fn write_the_snapshots() {
    for (name, text) in files().iter().filter(|(name, _)| name.ends_with(".json")) {
        let mut resource: Value = serde_json::from_str(text).expect("JSON");
        if resource["resourceType"] == "StructureDefinition" {
            resource["snapshot"] = json!({ "element": snapshot(&resource) });
        }
        let mut out = String::new();
        lay_out(&resource, 0, &mut out);
        out.push('\n');
        std::fs::write(folder().join(name), out).expect("a file of the package");
    }
}

/// JSON with what fits a line on one line: a differential can then be read.
fn lay_out(value: &Value, indent: usize, out: &mut String) {
    let line = one_line(value);
    if indent > 0 && indent + line.chars().count() <= 140 {
        out.push_str(&line);
        return;
    }
    let inner = " ".repeat(indent + 2);
    match value {
        Value::Object(object) => {
            out.push('{');
            for (i, (key, value)) in object.iter().enumerate() {
                out.push_str(if i == 0 { "\n" } else { ",\n" });
                out.push_str(&format!("{inner}{}: ", json!(key)));
                lay_out(value, indent + 2, out);
            }
            out.push_str(&format!("\n{}}}", " ".repeat(indent)));
        }
        Value::Array(items) => {
            out.push('[');
            for (i, value) in items.iter().enumerate() {
                out.push_str(if i == 0 { "\n" } else { ",\n" });
                out.push_str(&inner);
                lay_out(value, indent + 2, out);
            }
            out.push_str(&format!("\n{}]", " ".repeat(indent)));
        }
        _ => out.push_str(&line),
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let fields: Vec<String> = object.iter().map(|(k, v)| format!("{}: {}", json!(k), one_line(v))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        _ => value.to_string(),
    }
}
