//! The folder of mappings: tables with what they share, loaded as a whole, with every finding of every file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::codes::CodeMap;
use super::compile::{self, Library};
use super::message::{self, Source};
use super::path;
use super::plan::{Table, holds};
use super::shape::Shape;
use super::table::{self, Parts, TableText};
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue, Severity};

/// The files of the folder: path below it → text.
pub type Files = BTreeMap<String, String>;

/// All tables that have no error.
#[derive(Debug)]
pub struct Mappings {
    tables: Vec<Table>,
    codes: BTreeMap<String, Arc<CodeMap>>,
}

/// What the gateway must know of a document before it is mapped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    pub id: String,
    pub version: Option<u32>,
    pub entered_in_error: bool,
    /// The sending unit's HSA-id.
    pub unit: Option<String>,
    /// The person number as the document writes it.
    pub patient: Option<String>,
    pub recipients: Vec<String>,
}

impl Mappings {
    /// Loads a folder; tables with an error are left out, and every finding is told.
    pub fn load(files: &Files) -> (Self, Vec<Issue>) {
        let mut issues = Vec::new();
        let mut parts = Parts::new();
        let mut library = Library::default();
        for (file, text) in files {
            if file.starts_with("parts/") && file.ends_with(".toml") {
                if let Some(mut part) = table::parse(file, text, &mut issues) {
                    table::aliases(file, &mut part.clone(), &mut issues);
                    part.retain(|key, _| {
                        matches!(key, "alias" | "include" | "row" | "fixed" | "part") || {
                            let sv = format!("Nyckeln {key} är inte känd i en delad fil.");
                            let en = format!("The key {key} is not known in a shared file.");
                            issues.push(Issue::error(Code::NotFound, key, sv, en).from(file.clone()));
                            false
                        }
                    });
                    parts.insert(file.clone(), part);
                }
            } else if file.starts_with("codes/") && file.ends_with(".json") {
                if let Some(map) = CodeMap::load(file, text, &mut issues) {
                    library.codes.insert(map.name.clone(), Arc::new(map));
                }
            } else if file.starts_with("shapes/")
                && file.ends_with(".shape")
                && let Some(shape) = Shape::load(file, text, &mut issues)
            {
                library.shapes.insert(shape.name.clone(), Arc::new(shape));
            }
        }
        let mut tables = Vec::new();
        for (file, text) in files.iter().filter(|(file, _)| !file.contains('/') && file.ends_with(".toml")) {
            let mut found = Vec::new();
            let read = table::parse(file, text, &mut found).and_then(|t| table::read(file, t, &parts, &mut found));
            let sound = !found.iter().any(Issue::is_error);
            if let Some(read) = read {
                let version = version(files, &read);
                let compiled = compile::compile(&read, &library, version, &mut found);
                tables.extend(compiled.filter(|_| sound));
            }
            issues.extend(found);
        }
        (Self { tables, codes: library.codes.into_iter().collect() }, issues)
    }

    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// What a code becomes in FHIR by a map, as tables name it (`codes/medium`); else the codes that are nearest to it.
    pub fn coded(&self, map: &str, code: &str) -> Result<Value, String> {
        let code = Value::from(code);
        let Some(map) = self.codes.get(map) else { return Err(String::new()) };
        map.out(&code).cloned().ok_or_else(|| map.nearest(&code, true))
    }

    /// Reads a source document as the tree that tables read.
    pub fn read(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Value, Vec<Issue>> {
        self.parse(kind, format, bytes).map(|source| source.tree)
    }

    /// Reads a source document with what is to be said about it that does not stop it.
    pub fn parse(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Source, Vec<Issue>> {
        match format {
            Format::Json => match serde_json::from_slice(bytes) {
                Ok(tree) => Ok(Source { tree, issues: Vec::new(), logical_address: None }),
                Err(error) => {
                    let (line, column) = (error.line(), error.column());
                    Err(vec![Issue::new(
                        Severity::Fatal,
                        Code::Structure,
                        "",
                        format!("JSON går inte att läsa, rad {line}, tecken {column}."),
                        format!("The JSON cannot be read, line {line}, column {column}."),
                    )])
                }
            },
            Format::Riv => {
                let tables = self.tables.iter().filter(|t| t.kind == kind && t.format == format);
                let mut shapes: Vec<&Shape> = tables.filter_map(|t| t.shape.as_deref()).collect();
                shapes.dedup_by_key(|s| s.name.clone());
                message::read(bytes, &shapes)
            }
        }
    }

    /// Writes a document in its table's format.
    pub fn write(&self, table: &Table, document: &Value) -> Vec<u8> {
        match &table.shape {
            Some(shape) => message::write(shape, document),
            None => document.to_string().into_bytes(),
        }
    }

    /// A table for the same documents in another format.
    pub fn like(&self, table: &Table, format: Format) -> Option<&Table> {
        self.tables.iter().find(|t| t.kind == table.kind && t.format == format && t.guard.len() == table.guard.len())
    }

    /// The table for a document, by its kind and format and by the tables' own guards.
    pub fn choose(&self, kind: Kind, format: Format, document: &Value) -> Result<&Table, Issue> {
        let candidates: Vec<&Table> = self.tables.iter().filter(|t| t.kind == kind && t.format == format).collect();
        let fits = |table: &&&Table| holds(&table.guard, document, document) && table.knows_top(document);
        // A table that says when it holds goes before one that holds always.
        if let Some(table) = candidates.iter().filter(fits).max_by_key(|t| t.guard.len()) {
            return Ok(table);
        }
        let names: Vec<String> = candidates
            .iter()
            .map(|table| {
                let guards: Vec<String> =
                    table.guard.iter().map(|g| format!("{} = {}", g.path.text, g.value)).collect();
                if guards.is_empty() { table.name.clone() } else { format!("{} ({})", table.name, guards.join(", ")) }
            })
            .collect();
        let first = candidates.iter().flat_map(|t| &t.guard).map(|g| g.path.text.clone()).next();
        let expression = first.unwrap_or_default();
        Err(if names.is_empty() {
            Issue::error(
                Code::NotSupported,
                expression,
                format!("Det finns ingen tabell för {kind} i formatet {format}."),
                format!("There is no table for {kind} in the format {format}."),
            )
        } else {
            let names = names.join("; ");
            Issue::error(
                Code::NotSupported,
                expression,
                format!("Ingen tabell för {kind} passar dokumentet. Det finns: {names}."),
                format!("No table for {kind} fits the document. There are: {names}."),
            )
        })
    }
}

impl Table {
    /// The file without `.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of the table and all files it uses, in hexadecimal.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// What the gateway must know of a document; a missing id is an empty text, which the caller refuses.
    pub fn envelope(&self, document: &Value) -> Envelope {
        let paths = &self.envelope;
        let one = |steps: &Option<Vec<path::Step>>| steps.as_ref().and_then(|s| text_at(document, s));
        let mut recipients = Vec::new();
        for steps in &paths.recipients {
            path::walk(document, steps, &mut Vec::new(), None, &mut |_, value| {
                recipients.extend(as_text(value).filter(|r| !recipients.contains(r)));
                true
            });
        }
        Envelope {
            id: text_at(document, &paths.id).unwrap_or_default(),
            version: one(&paths.version).and_then(|v| v.parse().ok()),
            entered_in_error: one(&paths.status).as_deref() == Some("entered-in-error"),
            unit: one(&paths.unit),
            patient: one(&paths.patient),
            recipients,
        }
    }

    /// Whether the fields at the top are the shape's, so that a message of another contract is not taken for this.
    fn knows_top(&self, document: &Value) -> bool {
        let (Some(shape), Some(fields)) = (&self.shape, document.as_object()) else { return true };
        fields.is_empty() || fields.keys().any(|name| shape.root.fields().any(|f| f == name))
    }
}

fn text_at(document: &Value, steps: &[path::Step]) -> Option<String> {
    path::first(document, steps).and_then(as_text)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What a table is made of, as one number: its file, and the parts, code maps and shape it names.
fn version(files: &Files, table: &TableText) -> String {
    let mut names: Vec<String> = vec![table.file.clone()];
    names.extend(table.parts.iter().cloned());
    names.extend(table.shape.iter().map(|s| format!("shapes/{s}.shape")));
    names.extend(table.maps().into_iter().map(|m| format!("{m}.json")));
    names.sort();
    names.dedup();
    let mut hash = Sha256::new();
    for (name, text) in names.iter().filter_map(|n| files.get(n).map(|t| (n, t))) {
        for piece in [name, text] {
            hash.update((piece.len() as u64).to_be_bytes());
            hash.update(piece.as_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
