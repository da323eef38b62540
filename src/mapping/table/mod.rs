//! A table as its TOML file says it, before anything is looked up: the keys a table may have and nothing else.
//!
//! The file is read key by key instead of with serde, because one reading must report every unknown key, each with its
//! row and "did you mean".

mod fields;
mod group;

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Value as Toml;

use self::fields::{Fields, texts, wrong};
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue};

#[derive(Debug)]
pub(super) struct TableText {
    pub file: String,
    pub kind: Kind,
    pub format: Format,
    pub shape: Option<String>,
    pub anchor: Option<String>,
    pub when: Vec<(String, Value)>,
    pub envelope: EnvelopeText,
    pub aliases: BTreeMap<String, AliasText>,
    pub blocks: Vec<BlockText>,
    /// The files of `parts/` this table takes rows or names from.
    pub parts: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct EnvelopeText {
    pub id: Option<String>,
    pub version: Option<String>,
    pub status: Option<String>,
    pub unit: Option<String>,
    pub patient: Option<String>,
    pub recipients: Vec<String>,
}

/// What a name in brackets stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AliasText {
    /// Systems or urls: the first is written, all are read.
    Systems(Vec<String>),
    /// One of the values at a path inside the element.
    At { at: String, is: Vec<Value> },
}

#[derive(Debug)]
pub(super) struct BlockText {
    pub name: String,
    pub resource_type: String,
    pub key: Vec<String>,
    pub need: bool,
    pub profile: Option<String>,
    pub each: Option<String>,
    pub when: Vec<(String, Value)>,
    pub group: GroupText,
    pub origin: String,
}

/// Rows that share a prefix on both sides: a block's own, and each of its parts.
#[derive(Debug, Default)]
pub(super) struct GroupText {
    pub each: Option<String>,
    pub into: Option<String>,
    pub need: bool,
    pub when: Vec<(String, Value)>,
    pub rows: Vec<RowText>,
    pub fixed: Vec<FixedText>,
    pub parts: Vec<GroupText>,
    pub origin: String,
}

/// Which directions a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    Both,
    Out,
    Back,
}

#[derive(Debug)]
pub(super) struct RowText {
    pub source: Option<String>,
    pub fhir: String,
    pub link: Option<String>,
    pub via: Option<String>,
    pub within: Option<String>,
    pub need: bool,
    pub only: Only,
    pub when: Vec<(String, Value)>,
    pub origin: String,
}

#[derive(Debug)]
pub(super) struct FixedText {
    pub source: Option<String>,
    pub fhir: Option<String>,
    pub constant: Value,
    pub only: Only,
    pub when: Vec<(String, Value)>,
    pub origin: String,
}

/// The files of `parts/`, parsed.
pub(super) type Parts = BTreeMap<String, toml::Table>;

/// Reads TOML, or says where it is not.
pub(super) fn parse(file: &str, text: &str, issues: &mut Vec<Issue>) -> Option<toml::Table> {
    match text.parse::<toml::Table>() {
        Ok(table) => Some(table),
        Err(error) => {
            let line = error.span().map_or(0, |s| text.get(..s.start).map_or(0, |t| t.matches('\n').count()) + 1);
            let why = error.message();
            issues.push(
                Issue::error(
                    Code::Structure,
                    file,
                    format!("Filen går inte att läsa som TOML, rad {line}: {why}"),
                    format!("The file cannot be read as TOML, line {line}: {why}"),
                )
                .from(format!("{file} line {line}")),
            );
            None
        }
    }
}

/// Reads the aliases of a table or part.
pub(super) fn aliases(origin: &str, table: &mut toml::Table, issues: &mut Vec<Issue>) -> BTreeMap<String, AliasText> {
    let mut found = BTreeMap::new();
    let Some(value) = table.remove("alias") else { return found };
    let Toml::Table(entries) = value else {
        issues.push(wrong(origin, "alias", "a table", "en tabell"));
        return found;
    };
    for (name, value) in entries {
        let place = format!("{origin} alias {name}");
        let alias = match value {
            Toml::String(system) => AliasText::Systems(vec![system]),
            Toml::Array(list) => AliasText::Systems(texts(&place, &name, Toml::Array(list), issues)),
            Toml::Table(table) => {
                let mut fields = Fields::new(table, &place, issues);
                let at = fields.text("at");
                let is = match fields.take("is") {
                    Some(Toml::Array(list)) => list.into_iter().filter_map(|v| fields.scalar("is", v)).collect(),
                    Some(value) => fields.scalar("is", value).into_iter().collect(),
                    None => Vec::new(),
                };
                fields.finish();
                let (Some(at), false) = (at, is.is_empty()) else {
                    issues.push(wrong(&place, &name, "{ at = path, is = value }", "{ at = väg, is = värde }"));
                    continue;
                };
                AliasText::At { at, is }
            }
            _ => {
                issues.push(wrong(
                    &place,
                    &name,
                    "a system, a list or { at, is }",
                    "ett system, en lista eller { at, is }",
                ));
                continue;
            }
        };
        found.insert(name, alias);
    }
    found
}

/// Reads a whole table; `None` when its header does not even say what it is.
pub(super) fn read(file: &str, table: toml::Table, parts: &Parts, issues: &mut Vec<Issue>) -> Option<TableText> {
    let mut used = Vec::new();
    let mut table = table;
    let own = aliases(file, &mut table, issues);
    let mut fields = Fields::new(table, file, issues);
    let document = fields.text("document");
    let format = fields.text("format");
    let (shape, anchor) = (fields.text("shape"), fields.text("anchor"));
    let when = fields.when();
    let envelope = fields.take("envelope");
    let blocks = fields.tables("resource");
    fields.finish();
    let kind = word(file, "document", document.as_deref(), None, &Kind::ALL.map(|k| (k.name(), k)), issues);
    let format =
        word(file, "format", format.as_deref(), Some(Format::Json), &Format::ALL.map(|f| (f.name(), f)), issues);
    let envelope = envelope_text(file, envelope, issues);
    let blocks = blocks.into_iter().map(|b| block(file, b, parts, &mut used, issues)).collect();
    let mut aliases = BTreeMap::new();
    for (part, table) in parts {
        if part == SYSTEMS || used.contains(part) {
            aliases.extend(self::aliases(part, &mut table.clone(), &mut Vec::new()));
        }
    }
    for (name, alias) in own {
        if aliases.get(&name).is_some_and(|shared| *shared != alias) {
            issues.push(
                Issue::warning(
                    Code::Duplicate,
                    name.clone(),
                    "Namnet finns redan bland de gemensamma med ett annat värde; tabellens eget gäller.",
                    "The name is already shared with another value; the table's own is used.",
                )
                .from(format!("{file} alias {name}")),
            );
        }
        aliases.insert(name, alias);
    }
    used.push(SYSTEMS.to_owned());
    let (kind, format) = (kind?, format?);
    Some(TableText { file: file.to_owned(), kind, format, shape, anchor, when, envelope, aliases, blocks, parts: used })
}

/// The one file whose names all tables share.
pub(super) const SYSTEMS: &str = "parts/systems.toml";

fn word<T: Copy>(
    file: &str,
    key: &str,
    found: Option<&str>,
    default: Option<T>,
    known: &[(&str, T)],
    issues: &mut Vec<Issue>,
) -> Option<T> {
    let Some(found) = found else {
        if default.is_none() {
            issues.push(wrong(file, key, "present in the header", "angivet överst i filen"));
        }
        return default;
    };
    let value = known.iter().find(|(name, _)| *name == found).map(|(_, value)| *value);
    if value.is_none() {
        let all = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        issues.push(wrong(file, key, &format!("one of {all}"), &format!("ett av {all}")));
    }
    value
}

fn envelope_text(file: &str, value: Option<Toml>, issues: &mut Vec<Issue>) -> EnvelopeText {
    let origin = format!("{file} [envelope]");
    let Some(Toml::Table(table)) = value else {
        issues.push(wrong(&origin, "envelope", "a table with at least id", "en tabell med åtminstone id"));
        return EnvelopeText::default();
    };
    let mut fields = Fields::new(table, &origin, issues);
    let envelope = EnvelopeText {
        id: fields.text("id"),
        version: fields.text("version"),
        status: fields.text("status"),
        unit: fields.text("unit"),
        patient: fields.text("patient"),
        recipients: fields.texts("recipients"),
    };
    fields.finish();
    if envelope.id.is_none() {
        issues.push(wrong(
            &origin,
            "id",
            "present: the path of the document's id",
            "angivet: vägen till dokumentets id",
        ));
    }
    envelope
}

fn block(file: &str, table: toml::Table, parts: &Parts, used: &mut Vec<String>, issues: &mut Vec<Issue>) -> BlockText {
    let name = table.get("name").and_then(Toml::as_str).unwrap_or_default().to_owned();
    let origin = format!("{file} [{name}]");
    let mut fields = Fields::new(table, &origin, issues);
    fields.text("name");
    let resource_type = fields.text("type").unwrap_or_default();
    let key = fields.texts("key");
    let each = fields.text("each");
    let need = fields.flag("need");
    let profile = fields.text("profile");
    let when = fields.when();
    let group = group::group(fields, parts, used);
    if name.is_empty() {
        issues.push(wrong(&origin, "name", "present", "angivet"));
    }
    BlockText { name, resource_type, key, need, profile, each, when, group, origin }
}

impl TableText {
    /// The code maps that rows name.
    pub fn maps(&self) -> Vec<&str> {
        fn collect<'a>(group: &'a GroupText, maps: &mut Vec<&'a str>) {
            maps.extend(group.rows.iter().filter_map(|r| r.via.as_deref()).filter(|v| v.starts_with("codes/")));
            group.parts.iter().for_each(|part| collect(part, maps));
        }
        let mut maps = Vec::new();
        self.blocks.iter().for_each(|block| collect(&block.group, &mut maps));
        maps
    }
}
