//! A table as its TOML file says it, before anything is looked up: the keys a table may have and nothing else.
//!
//! The file is read key by key instead of with serde, because one reading must report every unknown key, each with its
//! row and "did you mean".

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Value as Toml;

use super::near;
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
    let group = group(fields, parts, used);
    if name.is_empty() {
        issues.push(wrong(&origin, "name", "present", "angivet"));
    }
    BlockText { name, resource_type, key, need, profile, each, when, group, origin }
}

/// Reads `include`, `row`, `fixed` and `part`, which blocks, parts and the files of `parts/` have in common.
fn group(mut fields: Fields<'_>, parts: &Parts, used: &mut Vec<String>) -> GroupText {
    let mut group = GroupText { origin: fields.origin.clone(), ..GroupText::default() };
    for name in fields.texts("include") {
        let file = format!("{name}.toml");
        let Some(part) = parts.get(&file) else {
            let known = parts.keys().map(|k| k.trim_end_matches(".toml"));
            let (sv, en) = near::hint(&name, known);
            fields.issues.push(
                Issue::error(
                    Code::NotFound,
                    name.clone(),
                    format!("Det finns ingen fil {file}.{sv}"),
                    format!("There is no file {file}.{en}"),
                )
                .from(fields.origin.clone()),
            );
            continue;
        };
        if used.contains(&file) && fields.origin.starts_with("parts/") {
            continue;
        }
        used.push(file.clone());
        let mut table = part.clone();
        table.remove("alias");
        let origin = format!("{file} in {}", fields.origin);
        let shared = self::group(Fields::new(table, &origin, fields.issues), parts, used);
        group.rows.extend(shared.rows);
        group.fixed.extend(shared.fixed);
        group.parts.extend(shared.parts);
    }
    for (n, table) in fields.tables("row").into_iter().enumerate() {
        let origin = format!("{} row {}", fields.origin, n + 1);
        let mut row = Fields::new(table, &origin, fields.issues);
        let (source, fhir) = (row.text("source"), row.text("fhir"));
        let (link, via, need, only, when) =
            (row.text("link"), row.text("via"), row.flag("need"), row.only(), row.when());
        let constant = row.take("const").is_some();
        row.finish();
        if constant {
            fields.issues.push(wrong(
                &origin,
                "const",
                "in `fixed`, apart from the data",
                "i `fixed`, skilt från data",
            ));
            continue;
        }
        match fhir {
            Some(fhir) if source.is_some() || link.is_some() => {
                group.rows.push(RowText { source, fhir, link, via, need, only, when, origin });
            }
            _ => fields.issues.push(wrong(
                &origin,
                "row",
                "`fhir` with `source` or `link`",
                "`fhir` med `source` eller `link`",
            )),
        }
    }
    for (n, table) in fields.tables("fixed").into_iter().enumerate() {
        let origin = format!("{} fixed {}", fields.origin, n + 1);
        let mut row = Fields::new(table, &origin, fields.issues);
        let (source, fhir, only, when) = (row.text("source"), row.text("fhir"), row.only(), row.when());
        let constant = row.take("const").and_then(|v| row.scalar("const", v));
        row.finish();
        match constant {
            Some(constant) if source.is_some() || fhir.is_some() => {
                group.fixed.push(FixedText { source, fhir, constant, only, when, origin });
            }
            _ => fields.issues.push(wrong(
                &origin,
                "fixed",
                "`const` with `fhir` or `source`",
                "`const` med `fhir` eller `source`",
            )),
        }
    }
    for (n, table) in fields.tables("part").into_iter().enumerate() {
        let origin = format!("{} part {}", fields.origin, n + 1);
        let mut part = Fields::new(table, &origin, fields.issues);
        let (each, into, need, when) = (part.text("each"), part.text("in"), part.flag("need"), part.when());
        let inner = self::group(part, parts, used);
        if each.is_none() && into.is_none() {
            fields.issues.push(wrong(&origin, "part", "`each` and `in`", "`each` och `in`"));
        }
        group.parts.push(GroupText { each, into, need, when, ..inner });
    }
    fields.finish();
    group
}

fn texts(origin: &str, key: &str, value: Toml, issues: &mut Vec<Issue>) -> Vec<String> {
    let list = match value {
        Toml::Array(list) => list,
        single => vec![single],
    };
    let count = list.len();
    let texts: Vec<String> = list.into_iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
    if texts.len() != count {
        issues.push(wrong(origin, key, "a text or a list of texts", "en text eller en lista av texter"));
    }
    texts
}

fn wrong(origin: &str, key: &str, en: &str, sv: &str) -> Issue {
    Issue::error(Code::Structure, key, format!("{key} ska vara {sv}."), format!("{key} should be {en}.")).from(origin)
}

/// One TOML table, read key by key; what is left at the end is unknown.
struct Fields<'a> {
    table: toml::Table,
    origin: String,
    known: Vec<&'static str>,
    issues: &'a mut Vec<Issue>,
}

impl<'a> Fields<'a> {
    fn new(table: toml::Table, origin: &str, issues: &'a mut Vec<Issue>) -> Self {
        Self { table, origin: origin.to_owned(), known: Vec::new(), issues }
    }

    fn take(&mut self, key: &'static str) -> Option<Toml> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Toml::String(text) => Some(text),
            _ => {
                self.issues.push(wrong(&self.origin, key, "a text", "en text"));
                None
            }
        }
    }

    fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.take(key).map_or(Vec::new(), |value| texts(&self.origin, key, value, self.issues))
    }

    fn flag(&mut self, key: &'static str) -> bool {
        match self.take(key) {
            None => false,
            Some(Toml::Boolean(flag)) => flag,
            Some(_) => {
                self.issues.push(wrong(&self.origin, key, "true or false", "true eller false"));
                false
            }
        }
    }

    fn only(&mut self) -> Only {
        match self.text("only").as_deref() {
            None => Only::Both,
            Some("out") => Only::Out,
            Some("back") => Only::Back,
            Some(_) => {
                self.issues.push(wrong(&self.origin, "only", "\"out\" or \"back\"", "\"out\" eller \"back\""));
                Only::Both
            }
        }
    }

    /// A TOML value as JSON; only those that a document can be compared with.
    fn scalar(&mut self, key: &str, value: Toml) -> Option<Value> {
        match value {
            Toml::String(text) => Some(Value::String(text)),
            Toml::Integer(number) => Some(Value::from(number)),
            Toml::Boolean(flag) => Some(Value::Bool(flag)),
            _ => {
                self.issues.push(wrong(
                    &self.origin,
                    key,
                    "a text, a whole number or true/false",
                    "en text, ett heltal eller true/false",
                ));
                None
            }
        }
    }

    /// Guards; a dotted key without quotes is the same path as one with them.
    fn when(&mut self) -> Vec<(String, Value)> {
        let mut guards = Vec::new();
        match self.take("when") {
            None => {}
            Some(Toml::Table(table)) => self.flatten(String::new(), table, &mut guards),
            Some(_) => self.issues.push(wrong(&self.origin, "when", "{ path = value }", "{ väg = värde }")),
        }
        guards
    }

    fn flatten(&mut self, prefix: String, table: toml::Table, guards: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value {
                Toml::Table(inner) => self.flatten(path, inner, guards),
                value => guards.extend(self.scalar("when", value).map(|v| (path, v))),
            }
        }
    }

    fn tables(&mut self, key: &'static str) -> Vec<toml::Table> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let mut tables = Vec::new();
        let list = match value {
            Toml::Array(list) => list,
            other => vec![other],
        };
        for value in list {
            match value {
                Toml::Table(table) => tables.push(table),
                _ => self.issues.push(wrong(&self.origin, key, "a list of tables", "en lista av tabeller")),
            }
        }
        tables
    }

    fn finish(self) {
        for key in self.table.keys() {
            let (sv, en) = near::hint(key, self.known.iter().copied());
            self.issues.push(
                Issue::error(
                    Code::NotFound,
                    key.clone(),
                    format!("Nyckeln {key} är inte känd här.{sv}"),
                    format!("The key {key} is not known here.{en}"),
                )
                .from(self.origin.clone()),
            );
        }
    }
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
