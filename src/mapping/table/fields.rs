//! One TOML table, read key by key; what is left at the end is unknown and told, with "did you mean".

use serde_json::Value;
use toml::Value as Toml;

use super::Only;
use crate::fhir::issue::{Code, Issue};
use crate::mapping::near;

pub(super) fn texts(origin: &str, key: &str, value: Toml, issues: &mut Vec<Issue>) -> Vec<String> {
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

pub(super) fn wrong(origin: &str, key: &str, en: &str, sv: &str) -> Issue {
    Issue::error(Code::Structure, key, format!("{key} ska vara {sv}."), format!("{key} should be {en}.")).from(origin)
}

/// One TOML table, read key by key; what is left at the end is unknown.
pub(super) struct Fields<'a> {
    table: toml::Table,
    pub origin: String,
    known: Vec<&'static str>,
    pub issues: &'a mut Vec<Issue>,
}

impl<'a> Fields<'a> {
    pub fn new(table: toml::Table, origin: &str, issues: &'a mut Vec<Issue>) -> Self {
        Self { table, origin: origin.to_owned(), known: Vec::new(), issues }
    }

    pub fn take(&mut self, key: &'static str) -> Option<Toml> {
        self.known.push(key);
        self.table.remove(key)
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Toml::String(text) => Some(text),
            _ => {
                self.issues.push(wrong(&self.origin, key, "a text", "en text"));
                None
            }
        }
    }

    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.take(key).map_or(Vec::new(), |value| texts(&self.origin, key, value, self.issues))
    }

    pub fn flag(&mut self, key: &'static str) -> bool {
        match self.take(key) {
            None => false,
            Some(Toml::Boolean(flag)) => flag,
            Some(_) => {
                self.issues.push(wrong(&self.origin, key, "true or false", "true eller false"));
                false
            }
        }
    }

    pub fn only(&mut self) -> Only {
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
    pub fn scalar(&mut self, key: &str, value: Toml) -> Option<Value> {
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
    pub fn when(&mut self) -> Vec<(String, Value)> {
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

    pub fn tables(&mut self, key: &'static str) -> Vec<toml::Table> {
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

    pub fn finish(self) {
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
