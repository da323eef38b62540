//! The tables' language, a feature at a time: small tables, run both ways.

use serde_json::{Value, json};

use super::*;
use crate::domain::{Format, Kind};
use crate::fhir::issue::Severity;

const SYSTEMS: &str = r#"
[alias]
person = ["http://electronichealth.se/identifier/personnummer", "http://electronichealth.se/identifier/samordningsnummer"]
hsa    = ["urn:oid:1.2.752.29.4.19", "urn:oid:1.2.752.129.2.1.4.1"]
kva    = ["urn:oid:1.2.752.116.1.3.2.1.4", "https://www.socialstyrelsen.se/kva/"]
doc-id = "https://vardkedja.example/fhir/sid/doc"
kind   = "https://vardkedja.example/fhir/CodeSystem/kind"
text-ext = "https://vardkedja.example/fhir/StructureDefinition/text"
phone  = { at = "system", is = "phone" }
email  = { at = "system", is = "email" }
"#;

const HEADER: &str = "document = \"activity\"\nformat = \"json\"\n[envelope]\nid = \"id\"\n";

/// The folder of one table, called `t.json.toml`, with the shared names and further files.
fn files(table: &str, more: &[(&str, &str)]) -> Files {
    let table = if table.contains("document =") { table.to_owned() } else { format!("{HEADER}{table}") };
    let mut files =
        Files::from([("t.json.toml".to_owned(), table), ("parts/systems.toml".to_owned(), SYSTEMS.to_owned())]);
    files.extend(more.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    files
}

fn load(table: &str) -> Mappings {
    load_with(table, &[])
}

fn load_with(table: &str, more: &[(&str, &str)]) -> Mappings {
    let (mappings, issues) = Mappings::load(&files(table, more));
    assert!(issues.is_empty(), "{}", lines(&issues));
    mappings
}

fn lines(issues: &[Issue]) -> String {
    issues.iter().map(Issue::line).collect::<Vec<_>>().join("\n")
}

/// The English texts of all findings when a table is loaded.
fn refused(table: &str) -> String {
    let (mappings, issues) = Mappings::load(&files(table, &[]));
    assert_eq!(mappings.tables().count(), 0, "the table was accepted");
    lines(&issues)
}

fn table(mappings: &Mappings) -> &Table {
    mappings.tables().next().expect("a table")
}

/// Ids that people can read in a test: `Type/block.key`, or `Type/key` for an actor.
struct Plain;

impl Ids for Plain {
    fn id(&self, ask: &IdAsk<'_>) -> String {
        if ask.actor { ask.key.to_owned() } else { format!("{}.{}", ask.block, ask.key) }
    }
}

fn out(mappings: &Mappings, document: &Value) -> (Value, Vec<Issue>) {
    let out = table(mappings).out(document, &Plain);
    (out.resources.into_iter().map(|r| r.value).collect(), out.issues)
}

#[test]
fn rows_links_constants_and_converters_make_resources_in_the_order_of_r4() {
    let mappings = load(
        r#"
[[resource]]
name = "contact"
type = "Encounter"
row = [
  { source = "start", fhir = "period.start" },
  { source = "id",    fhir = "identifier[doc-id]", need = true },
  {                   fhir = "subject", link = "patient" },
  { source = "unit",  fhir = "serviceProvider[hsa]" },
]
fixed = [ { fhir = "status", const = "finished" }, { fhir = "class.code", const = "AMB" } ]

[[resource]]
name = "patient"
type = "Patient"
each = "patient"
key  = "personnummer"
row  = [ { source = "personnummer", fhir = "identifier[person]", via = "personnummer", need = true } ]
"#,
    );
    let document =
        json!({ "id": "K-1", "start": "2026-03-01", "unit": "SE1", "patient": { "personnummer": "195009072553" } });
    let (resources, issues) = out(&mappings, &document);
    assert!(issues.is_empty(), "{}", lines(&issues));
    let expected = json!([
        { "resourceType": "Encounter", "id": "contact.",
          "identifier": [{ "system": "https://vardkedja.example/fhir/sid/doc", "value": "K-1" }],
          "status": "finished", "class": { "code": "AMB" },
          "subject": { "reference": "Patient/195009072553" },
          "period": { "start": "2026-03-01" },
          "serviceProvider": { "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": "SE1" } } },
        { "resourceType": "Patient", "id": "195009072553",
          "identifier": [{ "system": "http://electronichealth.se/identifier/personnummer", "value": "195009072553" }] },
    ]);
    assert_eq!(resources.to_string(), expected.to_string());
}
