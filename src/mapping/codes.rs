//! Code maps: FHIR ConceptMaps that translate one value at a time, both ways.
//!
//! The relation decides the direction, because a map is read both ways: `equal` and `equivalent` (and no relation)
//! go both ways, `wider` only out, `narrower` only back; `unmatched` and `disjoint` are documentation.
//! A group whose `source` or `target` ends in `#boolean` or `#integer` has JSON values of that type on that side.

use std::collections::BTreeMap;

use serde_json::Value;

use super::near;
use crate::fhir::issue::{Code, Issue};

/// One file of `codes/`, ready to translate.
#[derive(Debug)]
pub(super) struct CodeMap {
    /// As `via` names it: `codes/urgency`.
    pub name: String,
    out: Pairs,
    back: Pairs,
}

#[derive(Debug, Default)]
struct Pairs {
    texts: BTreeMap<String, Value>,
    others: Vec<(Value, Value)>,
}

impl Pairs {
    fn get(&self, from: &Value) -> Option<&Value> {
        match from {
            Value::String(text) => self.texts.get(text),
            other => self.others.iter().find(|(key, _)| key == other).map(|(_, value)| value),
        }
    }

    /// Adds a pair; false if the value already has a translation.
    fn add(&mut self, from: Value, to: Value) -> bool {
        if self.get(&from).is_some() {
            return false;
        }
        match from {
            Value::String(text) => {
                self.texts.insert(text, to);
            }
            other => self.others.push((other, to)),
        }
        true
    }

    fn known(&self) -> Vec<String> {
        self.texts.keys().cloned().chain(self.others.iter().map(|(key, _)| key.to_string())).collect()
    }
}

/// How a side of a group writes its codes in JSON.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Text,
    Boolean,
    Integer,
}

impl Written {
    fn of(system: Option<&Value>) -> Self {
        match system.and_then(Value::as_str).and_then(|s| s.rsplit_once('#')) {
            Some((_, "boolean")) => Self::Boolean,
            Some((_, "integer")) => Self::Integer,
            _ => Self::Text,
        }
    }

    fn value(self, code: &str) -> Option<Value> {
        match self {
            Self::Text => Some(Value::String(code.to_owned())),
            Self::Boolean => code.parse().ok().map(Value::Bool),
            Self::Integer => code.parse::<i64>().ok().map(Value::from),
        }
    }
}

impl CodeMap {
    /// Reads a ConceptMap with all its findings.
    pub fn load(file: &str, text: &str, issues: &mut Vec<Issue>) -> Option<Self> {
        let name = file.trim_end_matches(".json").to_owned();
        let mut say = |path: String, sv: &str, en: &str| {
            issues.push(Issue::error(Code::Structure, path, sv, en).from(file));
        };
        let map: Value = match serde_json::from_str(text) {
            Ok(map) => map,
            Err(error) => {
                let line = error.line();
                say(
                    "ConceptMap".into(),
                    &format!("Filen går inte att läsa som JSON, rad {line}."),
                    &format!("The file cannot be read as JSON, line {line}."),
                );
                return None;
            }
        };
        if map.get("resourceType").and_then(Value::as_str) != Some("ConceptMap") {
            say("resourceType".into(), "Filen ska vara en ConceptMap.", "The file should be a ConceptMap.");
            return None;
        }
        let (mut out, mut back) = (Pairs::default(), Pairs::default());
        for (g, group) in list(&map, "group").iter().enumerate() {
            let (source, target) = (Written::of(group.get("source")), Written::of(group.get("target")));
            for (e, element) in list(group, "element").iter().enumerate() {
                for (t, row) in list(element, "target").iter().enumerate() {
                    let path = format!("ConceptMap.group[{g}].element[{e}].target[{t}]");
                    let relation = row.get("equivalence").and_then(Value::as_str).unwrap_or("equivalent");
                    let (goes_out, comes_back) = match relation {
                        "equal" | "equivalent" => (true, true),
                        "wider" => (true, false),
                        "narrower" => (false, true),
                        "unmatched" | "disjoint" => continue,
                        _ => {
                            say(
                                format!("{path}.equivalence"),
                                "Relationen ska vara equal, equivalent, wider (bara ut) eller narrower (bara tillbaka).",
                                "The relation should be equal, equivalent, wider (out only) or narrower (back only).",
                            );
                            continue;
                        }
                    };
                    let from = element.get("code").and_then(Value::as_str).and_then(|c| source.value(c));
                    let to = row.get("code").and_then(Value::as_str).and_then(|c| target.value(c));
                    let (Some(from), Some(to)) = (from, to) else {
                        say(
                            path,
                            "Koden saknas eller är inte av gruppens typ.",
                            "The code is missing or not of the group's type.",
                        );
                        continue;
                    };
                    if goes_out && !out.add(from.clone(), to.clone()) {
                        say(
                            path.clone(),
                            "Källans kod har redan en översättning ut; gör den ena till narrower (bara tillbaka).",
                            "The source code already has a translation out; make one of them narrower (back only).",
                        );
                    }
                    if comes_back && !back.add(to, from) {
                        say(
                            path,
                            "FHIR-koden har redan en översättning tillbaka; gör den ena till wider (bara ut).",
                            "The FHIR code already has a translation back; make one of them wider (out only).",
                        );
                    }
                }
            }
        }
        Some(Self { name, out, back })
    }

    pub fn out(&self, value: &Value) -> Option<&Value> {
        self.out.get(value)
    }

    pub fn back(&self, value: &Value) -> Option<&Value> {
        self.back.get(value)
    }

    /// What the map can write into a resource.
    pub fn targets(&self) -> impl Iterator<Item = &Value> {
        self.out.texts.values().chain(self.out.others.iter().map(|(_, to)| to))
    }

    /// The codes that would have been translated, nearest first. The value itself is not repeated: it may be anything.
    pub fn nearest(&self, value: &Value, outwards: bool) -> String {
        let known = if outwards { self.out.known() } else { self.back.known() };
        let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        near::closest(&word, known.iter().map(String::as_str), 3).join(", ")
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(map: &Value) -> (Option<CodeMap>, Vec<Issue>) {
        let mut issues = Vec::new();
        (CodeMap::load("codes/x.json", &map.to_string(), &mut issues), issues)
    }

    #[test]
    fn the_relation_decides_the_direction() {
        let (map, issues) = load(&json!({ "resourceType": "ConceptMap", "group": [{ "element": [
            { "code": "planned", "target": [{ "code": "scheduled", "equivalence": "equivalent" },
                                            { "code": "not-started", "equivalence": "narrower" }] },
            { "code": "maybe", "target": [{ "code": "scheduled", "equivalence": "wider" }] },
        ] }] }));
        assert!(issues.is_empty(), "{issues:?}");
        let map = map.unwrap();
        assert_eq!(map.out(&json!("planned")), Some(&json!("scheduled")));
        assert_eq!(map.out(&json!("maybe")), Some(&json!("scheduled")));
        assert_eq!(map.back(&json!("scheduled")), Some(&json!("planned")));
        assert_eq!(map.back(&json!("not-started")), Some(&json!("planned")));
        assert_eq!(map.nearest(&json!("planed"), true), "planned, maybe");
    }

    #[test]
    fn a_typed_group_has_json_booleans_and_numbers() {
        let (map, _) = load(&json!({ "resourceType": "ConceptMap", "group": [{
            "source": "https://example.org/distance#boolean",
            "element": [{ "code": "true", "target": [{ "code": "VR", "equivalence": "equal" }] }] }] }));
        let map = map.unwrap();
        assert_eq!(map.out(&json!(true)), Some(&json!("VR")));
        assert_eq!(map.out(&json!("true")), None);
        assert_eq!(map.back(&json!("VR")), Some(&json!(true)));
    }

    #[test]
    fn two_translations_in_one_direction_are_an_error() {
        let (_, issues) = load(&json!({ "resourceType": "ConceptMap", "group": [{ "element": [
            { "code": "a", "target": [{ "code": "x" }, { "code": "y" }] }] }] }));
        assert_eq!(issues.len(), 1);
        assert!(issues[0].is_error());
    }
}
