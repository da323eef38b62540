//! From a table's text to its plan: every path, name, converter, code map and link looked up, all findings at once.

mod block;
mod element;
mod key;
mod row;
mod rules;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use self::element::Elements;
use self::source::{Base, Sources};
use super::codes::CodeMap;
use super::near;
use super::path::{Step, lists};
use super::plan::{Block, EnvelopePaths, Guard, SourcePath, Table};
use super::shape::Shape;
use super::table::{GroupText, TableText};
use crate::fhir::issue::{Code, Issue, any_error};

/// What tables refer to by name.
#[derive(Debug, Default)]
pub(super) struct Library {
    pub codes: BTreeMap<String, Arc<CodeMap>>,
    pub shapes: BTreeMap<String, Arc<Shape>>,
}

/// Resource types that stand for someone outside the document.
const ACTORS: &[&str] = &["Patient", "Organization", "Practitioner", "PractitionerRole", "RelatedPerson", "Location"];

/// Compiles a table; with an error finding there is none.
pub(super) fn compile(text: &TableText, library: &Library, version: String, issues: &mut Vec<Issue>) -> Option<Table> {
    let mut found = Vec::new();
    let shape = text.shape.as_ref().and_then(|name| match library.shapes.get(name) {
        Some(shape) => Some(Arc::clone(shape)),
        None => {
            let (sv, en) = near::hint(name, library.shapes.keys().map(String::as_str));
            found.push(
                Issue::error(
                    Code::NotFound,
                    name.clone(),
                    format!("Det finns ingen form shapes/{name}.shape.{sv}"),
                    format!("There is no shape shapes/{name}.shape.{en}"),
                )
                .from(text.file.clone()),
            );
            None
        }
    });
    if (text.format == crate::domain::Format::Riv) != text.shape.is_some() {
        found.push(error(
            &text.file,
            "shape",
            "Formatet riv har en form (shape), json ingen.",
            "The format riv has a shape, json none.",
        ));
    }
    let table = if any_error(&found) {
        None
    } else {
        let compiler = Compiler {
            text,
            library,
            sources: Sources::new(shape.as_deref()),
            elements: Elements::new(&text.aliases),
            bases: Vec::new(),
            issues: &mut found,
        };
        Some(compiler.table(shape.clone(), version))
    };
    let broken = any_error(&found);
    issues.extend(found);
    table.filter(|_| !broken)
}

struct Compiler<'a> {
    text: &'a TableText,
    library: &'a Library,
    sources: Sources<'a>,
    elements: Elements<'a>,
    /// Where the items of each block are.
    bases: Vec<Base>,
    issues: &'a mut Vec<Issue>,
}

impl Compiler<'_> {
    fn table(mut self, shape: Option<Arc<Shape>>, version: String) -> Table {
        let text = self.text;
        let guard = self.guards(&Base::default(), &text.when, &text.file);
        self.mention();
        for block in &text.blocks {
            let base = match &block.each {
                None => Base::default(),
                Some(each) => self.sources.base(&Base::default(), each).unwrap_or_else(|issue| {
                    self.issues.push(issue.from(format!("{} each", block.origin)));
                    Base::default()
                }),
            };
            self.bases.push(base);
        }
        let mut blocks: Vec<Block> = text.blocks.iter().enumerate().filter_map(|(n, b)| self.block(n, b)).collect();
        if blocks.is_empty() && text.blocks.is_empty() {
            self.issues.push(error(&text.file, "resource", "Tabellen har inga block.", "The table has no blocks."));
        }
        // Links count blocks by their place, so nothing more can be said about a table that lacks one.
        let whole = blocks.len() == text.blocks.len();
        if whole {
            for (n, block) in text.blocks.iter().enumerate() {
                let key = self.key(n, block);
                if let Some(compiled) = blocks.get_mut(n) {
                    compiled.key_reads = key.iter().map(|k| key::key_reads(compiled, k, &self.sources)).collect();
                    compiled.key = key;
                }
            }
            key::borrowed_keys(&mut blocks);
            rules::check(&mut blocks, &self.sources, text, self.issues);
        }
        let anchor = match &text.anchor {
            None => 0,
            Some(name) => blocks.iter().position(|b| b.name == *name).unwrap_or_else(|| {
                let (sv, en) = near::hint(name, text.blocks.iter().map(|b| b.name.as_str()));
                self.issues.push(error(
                    &text.file,
                    "anchor",
                    format!("Det finns inget block {name}.{sv}"),
                    format!("There is no block {name}.{en}"),
                ));
                0
            }),
        };
        let envelope = self.envelope();
        Table {
            name: text.file.trim_end_matches(".toml").to_owned(),
            version,
            kind: text.kind,
            format: text.format,
            shape,
            guard,
            form: self.sources.form(),
            envelope,
            blocks,
            anchor,
        }
    }

    /// Names all source fields in the order of the file, which is the order they come back in. What is wrong with a
    /// path is told when its row is compiled.
    fn mention(&mut self) {
        for block in &self.text.blocks {
            let base = block.each.as_ref().and_then(|each| self.sources.base(&Base::default(), each).ok());
            let base = base.unwrap_or_default();
            for (path, _) in &block.when {
                let _ = self.sources.path(&base, path);
            }
            self.mention_group(&base, &block.group);
        }
    }

    fn mention_group(&mut self, base: &Base, group: &GroupText) {
        for row in &group.rows {
            for path in row.when.iter().map(|(path, _)| path).chain(&row.source) {
                let _ = self.sources.path(base, path);
            }
        }
        for part in &group.parts {
            let inner = part.each.as_ref().and_then(|each| self.sources.base(base, each).ok());
            self.mention_group(inner.as_ref().unwrap_or(base), part);
        }
        for fixed in &group.fixed {
            for path in fixed.when.iter().map(|(path, _)| path).chain(&fixed.source) {
                let _ = self.sources.path(base, path);
            }
        }
    }

    fn guards(&mut self, base: &Base, when: &[(String, Value)], origin: &str) -> Vec<Guard> {
        let mut guards = Vec::new();
        for (text, value) in when {
            let path = self.sources.path(base, text);
            let Some(path) = self.said(path, &format!("{origin} when")) else { continue };
            self.plain(&path, value, &format!("{origin} when"));
            guards.push(Guard { path, value: value.clone() });
        }
        guards
    }

    /// A constant or guard looks at one text, number or flag.
    fn plain(&mut self, path: &SourcePath, value: &Value, origin: &str) {
        if lists(path.tail()) > 0 {
            self.issues.push(error(origin, &path.text, "Vägen får inte ha [].", "The path may not have []."));
        }
        if self.sources.is_xml() && !value.is_string() {
            self.issues.push(error(
                origin,
                &path.text,
                format!("XML har bara texter; skriv \"{value}\"."),
                format!("XML has only texts; write \"{value}\"."),
            ));
        }
    }

    fn envelope(&mut self) -> EnvelopePaths {
        let text = &self.text.envelope;
        let origin = format!("{} [envelope]", self.text.file);
        let root = Base::default();
        // What rows name, before the envelope names more.
        let known = self.sources.siblings(&root, "");
        let mut steps = |path: &String| -> Option<Vec<Step>> {
            if !self.sources.knows(&root, path)
                && let Some(near) = near::nearest(path, known.iter().map(String::as_str))
            {
                self.issues.push(
                    Issue::warning(
                        Code::NotFound,
                        path.clone(),
                        format!("Ingen rad läser {path}. Menade du \u{201d}{near}\u{201d}?"),
                        format!("No row reads {path}. Did you mean \u{201c}{near}\u{201d}?"),
                    )
                    .from(origin.clone()),
                );
            }
            match self.sources.path(&root, path) {
                Ok(path) => Some(path.full),
                Err(issue) => {
                    self.issues.push(issue.from(origin.clone()));
                    None
                }
            }
        };
        EnvelopePaths {
            id: text.id.as_ref().and_then(&mut steps).unwrap_or_default(),
            version: text.version.as_ref().and_then(&mut steps),
            status: text.status.as_ref().and_then(&mut steps),
            unit: text.unit.as_ref().and_then(&mut steps),
            patient: text.patient.as_ref().and_then(&mut steps),
            recipients: text.recipients.iter().filter_map(&mut steps).collect(),
        }
    }

    fn unequal(&mut self, source: &str, fhir: &str, origin: &str) {
        self.issues.push(error(
            origin,
            fhir,
            format!("{source} och {fhir} har inte lika många []."),
            format!("{source} and {fhir} do not have the same number of []."),
        ));
    }

    fn said<T>(&mut self, result: Result<T, Issue>, origin: &str) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(issue) => {
                self.issues.push(issue.from(origin));
                None
            }
        }
    }
}

pub(super) fn error(origin: &str, expression: &str, sv: impl Into<String>, en: impl Into<String>) -> Issue {
    Issue::error(Code::BusinessRule, expression, sv, en).from(origin)
}
