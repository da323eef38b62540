//! The fields of the four documents: those that the tables read are those that the file describes, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::{Table, Value as Toml};

use super::schema::Contract;

/// Required by guards, by what a block is made of, or by profiles, where no row says `need`.
const ALSO_REQUIRED: [(&str, &str); 4] =
    [("ActiveHandover", "kind"), ("RehabPlan", "approvedForPatient"), ("Sip", "kind"), ("Sip", "consent.by")];

fn mappings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings")
}

/// Paths of fields, without brackets.
#[derive(Debug, Default, PartialEq)]
struct Fields {
    all: BTreeSet<String>,
    required: BTreeSet<String>,
}

impl Fields {
    fn add(&mut self, base: &str, source: &str, need: bool) {
        let (base, source) = match source.strip_prefix('/') {
            Some(rest) => ("", rest),
            None => (base, source),
        };
        let mut path = base.replace("[]", "");
        for step in source.replace("[]", "").split('.').filter(|s| !s.is_empty()) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(step);
            if need {
                self.required.insert(path.clone());
            }
        }
        if !path.is_empty() {
            self.all.insert(path);
        }
    }

    /// Without those that only lead to others.
    fn leaves(mut self) -> Self {
        let all = std::mem::take(&mut self.all);
        self.all = all.iter().filter(|p| !all.iter().any(|o| o.starts_with(&format!("{p}.")))).cloned().collect();
        self
    }
}

fn list<'a>(table: &'a Table, name: &str) -> impl Iterator<Item = &'a Table> {
    table.get(name).and_then(Toml::as_array).into_iter().flatten().filter_map(Toml::as_table)
}

fn text<'a>(table: &'a Table, name: &str) -> &'a str {
    table.get(name).and_then(Toml::as_str).unwrap_or_default()
}

fn needs(table: &Table) -> bool {
    table.get("need").and_then(Toml::as_bool).unwrap_or(false)
}

fn join(base: &str, each: &str) -> String {
    if base.is_empty() || each.is_empty() { format!("{base}{each}") } else { format!("{base}.{each}") }
}

/// What a table reads, and what must be there.
fn of_table(table: &Table) -> Fields {
    let mut fields = Fields::default();
    let mut linked = BTreeMap::new();
    guards(table, "", &mut fields);
    for block in list(table, "resource") {
        let base = text(block, "each");
        linked.insert(text(block, "name"), base);
        fields.add("", base, needs(block));
        rows(block, base, &mut fields);
        for part in list(block, "part") {
            fields.add(base, text(part, "each"), needs(part));
            rows(part, &join(base, text(part, "each")), &mut fields);
        }
    }
    for row in list(table, "resource").flat_map(|block| list(block, "row")) {
        if needs(row) && !row.contains_key("when") && !row.contains_key("source") {
            fields.add("", linked[text(row, "link")], true);
        }
    }
    fields.leaves()
}

fn part(name: &Toml) -> Table {
    std::fs::read_to_string(mappings().join(format!("{}.toml", name.as_str().unwrap()))).unwrap().parse().unwrap()
}

fn rows(group: &Table, base: &str, fields: &mut Fields) {
    for name in group.get("include").and_then(Toml::as_array).into_iter().flatten() {
        rows(&part(name), base, fields);
    }
    for row in list(group, "row").chain(list(group, "fixed")) {
        guards(row, base, fields);
        if row.contains_key("source") && !(row.contains_key("const") && row.contains_key("fhir")) {
            // What is needed only under a guard is an `if` of the schema.
            fields.add(base, text(row, "source"), needs(row) && !row.contains_key("when"));
        }
    }
}

fn guards(table: &Table, base: &str, fields: &mut Fields) {
    for name in table.get("when").and_then(Toml::as_table).into_iter().flat_map(Table::keys) {
        fields.add(base, name, false);
    }
}

/// What a schema describes.
fn of_schema(contract: &Contract, schema: &Value, path: &str, fields: &mut Fields) {
    let schema = contract.resolve(schema);
    for base in schema["allOf"].as_array().into_iter().flatten() {
        of_schema(contract, base, path, fields);
    }
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    fields.required.extend(schema["required"].as_array().into_iter().flatten().flat_map(Value::as_str).map(inside));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        of_schema(contract, field, &inside(name), fields);
    }
    if schema["items"].is_object() {
        of_schema(contract, &schema["items"], path, fields);
    } else if !path.is_empty() {
        fields.all.insert(path.to_owned());
    }
}

fn schema_of(table: &Table) -> &'static str {
    let kind = table.get("when").and_then(|w| w.get("kind")).and_then(Toml::as_str);
    match (text(table, "document"), kind) {
        ("rehab-plan", None) => "RehabPlan",
        ("referral", None) => "Referral",
        ("handover", Some("sip")) => "Sip",
        ("handover", Some("active")) => "ActiveHandover",
        ("activity", None) => "Activity",
        other => panic!("no schema is known for {other:?}"),
    }
}

#[test]
fn the_file_describes_the_fields_that_the_tables_read_and_requires_what_they_need() {
    let contract = Contract::read();
    let (mut seen, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(mappings()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json.toml") {
            continue;
        }
        let table: Table = std::fs::read_to_string(entry.path()).unwrap().parse().unwrap();
        let schema = schema_of(&table);
        let mut read = of_table(&table);
        for (_, path) in ALSO_REQUIRED.iter().filter(|(s, _)| *s == schema) {
            assert!(read.required.insert((*path).to_owned()), "{name} itself needs {path} now: take it from the list");
        }
        let mut described = Fields::default();
        of_schema(&contract, contract.schema(schema), "", &mut described);
        let described = described.leaves();
        let differ = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
        for (field, what) in [
            (differ(&read.all, &described.all), "is read, but not described"),
            (differ(&described.all, &read.all), "is described, but not read"),
            (differ(&read.required, &described.required), "is needed, but not required"),
            (differ(&described.required, &read.required), "is required, but not needed"),
        ] {
            wrong.extend(field.iter().map(|f| format!("{name}, schema {schema}: {f} {what}")));
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_document_is_valid_by_its_schema() {
    let contract = Contract::read();
    let mut seen = 0;
    for entry in std::fs::read_dir(mappings().join("examples")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".source.json") {
            continue;
        }
        let document: Value = serde_json::from_str(&std::fs::read_to_string(entry.path()).unwrap()).unwrap();
        let path = format!("/v1/{}s", name.split('.').next().unwrap().replace("activity", "activitie"));
        let schema = &contract.doc["paths"][&path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        contract.check(schema, &document).unwrap_or_else(|e| panic!("{name}: {e}"));
        seen += 1;
    }
    assert!(seen >= 15);
}
