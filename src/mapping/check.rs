//! The examples of a folder, run both ways: what the tables promise, shown on documents that people can read.
//!
//! `examples/<kind>.<case>.source.json` or `.xml` stands beside `<kind>.<case>.fhir.json`, an array of the resources it
//! becomes with the ids of `ExampleIds`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::folder::{Files, Mappings};
use super::path::is_absent;
use super::plan::Table;
use super::table::Only;
use super::{ExampleIds, Out};
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue, any_error};

impl Mappings {
    /// Runs every example out and back; what differs is a finding.
    pub fn check(&self, files: &Files) -> Vec<Issue> {
        let mut issues = Vec::new();
        let mut used = BTreeSet::new();
        for (file, text) in files {
            let Some(name) = file.strip_prefix("examples/") else { continue };
            let (case, format) = if let Some(case) = name.strip_suffix(".source.json") {
                (case, Format::Json)
            } else if let Some(case) = name.strip_suffix(".source.xml") {
                (case, Format::Riv)
            } else {
                if let Some(case) = name.strip_suffix(".fhir.json")
                    && !["json", "xml"].iter().any(|f| files.contains_key(&format!("examples/{case}.source.{f}")))
                {
                    issues.push(differs(
                        file,
                        "",
                        "Exemplet har inget källdokument.",
                        "The example has no source document.",
                    ));
                }
                continue;
            };
            let Some(kind) = case.split('.').next().and_then(|k| k.parse::<Kind>().ok()) else {
                issues.push(differs(
                    file,
                    "",
                    "Filnamnet ska börja med dokumentets slag: rehab-plan, referral, handover eller activity.",
                    "The file name should begin with the kind of document: rehab-plan, referral, handover or activity.",
                ));
                continue;
            };
            let resources = files.get(&format!("examples/{case}.fhir.json"));
            let run =
                Run { mappings: self, file, kind, format, source: text, resources: resources.map(String::as_str) };
            used.extend(run.run(&mut issues).map(Table::name));
        }
        for table in self.tables().filter(|t| !used.contains(t.name())) {
            issues.push(
                Issue::warning(
                    Code::NotFound,
                    table.name(),
                    "Inget exempel använder tabellen.",
                    "No example uses the table.",
                )
                .from(format!("{}.toml", table.name())),
            );
        }
        issues
    }
}

struct Run<'a> {
    mappings: &'a Mappings,
    file: &'a str,
    kind: Kind,
    format: Format,
    source: &'a str,
    resources: Option<&'a str>,
}

impl<'a> Run<'a> {
    /// Runs one example; returns the table it used.
    fn run(&self, issues: &mut Vec<Issue>) -> Option<&'a Table> {
        let source = match self.mappings.parse(self.kind, self.format, self.source.as_bytes()) {
            Ok(source) => source,
            Err(found) => {
                self.told(found, issues);
                return None;
            }
        };
        self.told(source.issues, issues);
        let table = match self.mappings.choose(self.kind, self.format, &source.tree) {
            Ok(table) => table,
            Err(issue) => {
                self.told(vec![issue], issues);
                return None;
            }
        };
        let Out { resources, issues: found, .. } = table.out(&source.tree, &ExampleIds);
        let mut foretold: Vec<String> = found.iter().map(|i| i.expression.clone()).collect();
        let refused = any_error(&found);
        self.told(found, issues);
        let made: Vec<Value> = resources.into_iter().map(|r| r.value).collect();
        let Some(expected) = self.expected(issues) else { return Some(table) };
        let mut differences = Vec::new();
        compare(&Value::Array(expected.clone()), &Value::Array(made), &mut String::new(), &mut differences);
        for path in differences {
            issues.push(differs(
                self.file,
                &path,
                "Resurserna blir inte exemplets.",
                "The resources are not the example's.",
            ));
        }
        if refused {
            return Some(table);
        }
        let back = table.back(&expected);
        foretold.extend(back.issues.iter().map(|i| i.expression.replace("[]", "")));
        self.told(back.issues, issues);
        self.same(&pruned(&source.tree), &pruned(&back.tree), &foretold, &only_back(table), issues);
        if self.format == Format::Riv {
            let xml = self.mappings.write(table, &back.tree);
            let again = self.mappings.read(self.kind, self.format, &xml).unwrap_or_default();
            self.same(&pruned(&back.tree), &again, &[], &[], issues);
        }
        Some(table)
    }

    fn expected(&self, issues: &mut Vec<Issue>) -> Option<Vec<Value>> {
        let resources = self.resources.and_then(|text| serde_json::from_str(text).ok());
        if resources.is_none() {
            issues.push(differs(
                self.file,
                "",
                "Exemplet saknar .fhir.json, eller den är inte en lista av resurser.",
                "The example has no .fhir.json, or it is not an array of resources.",
            ));
        }
        resources
    }

    /// Differences on the way back are errors, unless a finding told of them or only the way back has the field.
    fn same(&self, source: &Value, back: &Value, foretold: &[String], only_back: &[&str], issues: &mut Vec<Issue>) {
        let mut differences = Vec::new();
        compare(source, back, &mut String::new(), &mut differences);
        for path in differences {
            if only_back.contains(&unnumbered(&path).as_str()) {
                continue;
            }
            let (sv, en) = ("Fältet kommer inte tillbaka som det var.", "The field does not come back as it was.");
            if foretold.iter().any(|told| below(&path, told) || below(told, &path)) {
                issues.push(Issue::information(path, sv, en).from(self.file));
            } else {
                issues.push(differs(self.file, &path, sv, en));
            }
        }
    }

    fn told(&self, found: Vec<Issue>, issues: &mut Vec<Issue>) {
        issues.extend(found.into_iter().map(|issue| {
            let origin = match &issue.origin {
                Some(origin) => format!("{}: {origin}", self.file),
                None => self.file.to_owned(),
            };
            issue.from(origin)
        }));
    }
}

/// The fields that only the way back writes.
fn only_back(table: &Table) -> Vec<&str> {
    let rows = table.blocks.iter().flat_map(|b| b.rows());
    rows.filter(|(_, r)| r.only == Only::Back).filter_map(|(_, r)| Some(r.source.as_ref()?.text.as_str())).collect()
}

/// A path with `[]` for every number.
fn unnumbered(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for piece in path.split_inclusive('[') {
        text.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

fn differs(file: &str, path: &str, sv: &str, en: &str) -> Issue {
    Issue::error(Code::Conflict, path, sv, en).from(file)
}

/// Whether a path is another or inside it.
fn below(path: &str, other: &str) -> bool {
    !other.is_empty() && path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A tree without what counts as nothing.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, field)| (name.clone(), pruned(field)));
            Value::Object(kept.filter(|(_, field)| !is_absent(field)).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(pruned).filter(|v| !is_absent(v)).collect()),
        other => other.clone(),
    }
}

/// The paths at which two trees differ; lists of other lengths differ as a whole.
fn compare(a: &Value, b: &Value, path: &mut String, differences: &mut Vec<String>) {
    let length = path.len();
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for name in names {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                compare(x.get(name).unwrap_or(&Value::Null), y.get(name).unwrap_or(&Value::Null), path, differences);
                path.truncate(length);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (number, (left, right)) in x.iter().zip(y).enumerate() {
                path.push_str(&format!("[{number}]"));
                compare(left, right, path, differences);
                path.truncate(length);
            }
        }
        // What only one side has is told field by field.
        (Value::Object(_), Value::Null) => compare(a, &Value::Object(Map::new()), path, differences),
        (Value::Null, Value::Object(_)) => compare(&Value::Object(Map::new()), b, path, differences),
        _ if a == b => {}
        _ => differences.push(path.clone()),
    }
}
