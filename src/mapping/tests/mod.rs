//! The tables' language, a feature at a time: small tables, run both ways.

mod delivered;
mod linked;
mod load;
mod placing;
mod read_back;
mod riv;
mod round_trip;
mod within;
mod write_out;

use serde_json::{Value, json};

use super::*;

const SYSTEMS: &str = r#"
[alias]
person   = ["http://electronichealth.se/identifier/personnummer", "http://electronichealth.se/identifier/samordningsnummer"]
hsa      = ["urn:oid:1.2.752.29.4.19", "urn:oid:1.2.752.129.2.1.4.1"]
kva      = ["urn:oid:1.2.752.116.1.3.2.1.4", "https://www.socialstyrelsen.se/kva/"]
doc-id   = "https://vardkedja.example/fhir/sid/doc"
kind     = "https://vardkedja.example/fhir/CodeSystem/kind"
text-ext = "https://vardkedja.example/fhir/StructureDefinition/text"
phone    = { at = "system", is = "phone" }
email    = { at = "system", is = "email" }
answer   = { at = "type.text", is = "answer" }
"#;

const HEADER: &str = "document = \"activity\"\n[envelope]\nid = \"id\"\n";

/// A patient, as most tables need one.
const PATIENT: &str = r#"
[[resource]]
name = "patient"
type = "Patient"
each = "patient"
key  = "personnummer"
row  = [ { source = "personnummer", fhir = "identifier[person]", via = "personnummer", need = true } ]
"#;

/// The folder of one table, called `t.json.toml`, with the shared names and further files.
fn files(table: &str, more: &[(&str, &str)]) -> Files {
    let table = if table.contains("document =") { table.to_owned() } else { format!("{HEADER}{table}") };
    let shared = ("parts/systems.toml".to_owned(), SYSTEMS.to_owned());
    let mut files = Files::from([("t.json.toml".to_owned(), table), shared]);
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

/// A ConceptMap of pairs, with what is written after a code as its relation: `("a", "b wider")`.
fn codes(source: &str, pairs: &[(&str, &str)]) -> String {
    let elements: Vec<Value> = pairs
        .iter()
        .map(|(from, to)| {
            let (code, relation) = to.split_once(' ').unwrap_or((to, "equivalent"));
            json!({ "code": from, "target": [{ "code": code, "equivalence": relation }] })
        })
        .collect();
    json!({ "resourceType": "ConceptMap", "group": [{ "source": source, "element": elements }] }).to_string()
}

/// `expression: text` in English, a line a finding.
fn lines(issues: &[Issue]) -> String {
    issues.iter().map(|i| format!("{}: {}", i.expression, i.en)).collect::<Vec<_>>().join("\n")
}

fn table(mappings: &Mappings) -> &Table {
    mappings.tables().next().expect("a table")
}

/// Ids that people can read in a test: `block.key`, or the key of an actor.
struct Plain;

impl Ids for Plain {
    fn id(&self, ask: &IdAsk<'_>) -> String {
        if ask.actor { ask.key.to_owned() } else { format!("{}.{}", ask.block, ask.key) }
    }
}

fn out(mappings: &Mappings, document: &Value) -> (Vec<Value>, String) {
    let out = table(mappings).out(document, &Plain);
    (out.resources.into_iter().map(|r| r.value).collect(), lines(&out.issues))
}

fn back(mappings: &Mappings, resources: &[Value]) -> (Value, String) {
    let back = table(mappings).back(resources);
    (back.tree, lines(&back.issues))
}

/// Runs a document out and back without a word being said, the resources in another order; returns them.
fn both(mappings: &Mappings, document: &Value) -> Vec<Value> {
    let (resources, said) = out(mappings, document);
    assert_eq!(said, "", "on the way out");
    let reversed: Vec<Value> = resources.iter().rev().cloned().collect();
    let (tree, said) = back(mappings, &reversed);
    assert_eq!(said, "", "on the way back");
    assert_eq!(tree, *document);
    resources
}

fn find<'a>(resources: &'a mut [Value], kind: &str) -> &'a mut Value {
    resources.iter_mut().find(|r| r["resourceType"] == kind).expect("a resource of the kind")
}
