//! Code systems and value sets of a package, composed to what a binding asks: is this code in the set?

use std::collections::BTreeMap;

use serde_json::Value;

use super::issue::{Code, Issue};
use super::validate::{hint, nearest};
use crate::domain::kva;

/// The code systems and value sets of a package.
#[derive(Default)]
pub struct Terminology {
    systems: BTreeMap<String, System>,
    sets: BTreeMap<String, Draft>,
}

struct System {
    complete: bool,
    /// Sorted.
    codes: Vec<String>,
    words: BTreeMap<String, Words>,
}

/// What a code is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    pub sv: String,
    pub en: String,
}

/// A value set as it is written.
struct Draft {
    file: String,
    compose: Value,
}

/// A value set composed: for each system its codes, or all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ValueSet {
    systems: BTreeMap<String, Codes>,
}

/// Codes of one system.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Codes {
    /// Whatever the system has: it is not ours to list, or the list is only a part.
    Any,
    /// Sorted.
    These(Vec<String>),
}

impl Terminology {
    /// Takes in a CodeSystem.
    pub fn add_system(&mut self, file: &str, resource: &Value, issues: &mut Vec<Issue>) {
        let Some(url) = url(file, resource, issues) else { return };
        let mut codes = Vec::new();
        concepts(resource.get("concept"), &mut codes);
        codes.sort_unstable();
        let before = codes.len();
        codes.dedup();
        if codes.len() < before {
            let (sv, en) = ("en kod förekommer två gånger", "a code occurs twice");
            issues.push(Issue::error(Code::Duplicate, "CodeSystem.concept", sv, en).from(file));
        }
        let complete = resource.get("content").is_some_and(|c| c == "complete");
        let mut words = BTreeMap::new();
        named(resource.get("concept"), &mut words);
        if self.systems.insert(url, System { complete, codes, words }).is_some() {
            issues.push(twice("CodeSystem.url").from(file));
        }
    }

    /// The codes of a system, sorted, where the package has it.
    pub fn codes(&self, system: &str) -> Option<&[String]> {
        self.systems.get(system).map(|system| system.codes.as_slice())
    }

    /// What a code of a system is called, where the package says.
    pub fn words(&self, system: &str, code: &str) -> Option<&Words> {
        self.systems.get(system)?.words.get(code)
    }

    /// Takes in a ValueSet.
    pub fn add_set(&mut self, file: &str, resource: &Value, issues: &mut Vec<Issue>) {
        let Some(url) = url(file, resource, issues) else { return };
        let compose = resource.get("compose").cloned().unwrap_or_default();
        if self.sets.insert(url, Draft { file: file.to_owned(), compose }).is_some() {
            issues.push(twice("ValueSet.url").from(file));
        }
    }

    /// Composes a value set; `None` when the package does not have it. What cannot be composed is said.
    pub fn compose(&self, canonical: &str, issues: &mut Vec<Issue>) -> Option<ValueSet> {
        self.compose_within(canonical, &mut Vec::new(), issues)
    }

    /// Composes every set of the package, for what there is to say about them.
    pub fn check(&self, issues: &mut Vec<Issue>) {
        for url in self.sets.keys() {
            self.compose(url, issues);
        }
    }

    fn compose_within<'a>(
        &'a self,
        canonical: &'a str,
        outer: &mut Vec<&'a str>,
        issues: &mut Vec<Issue>,
    ) -> Option<ValueSet> {
        let url = canonical.split('|').next().unwrap_or_default();
        let draft = self.sets.get(url)?;
        let mut warn = |expression: &str, sv: &str, en: &str| {
            issues.push(Issue::warning(Code::NotSupported, expression, sv, en).from(draft.file.as_str()));
        };
        if outer.contains(&url) {
            warn("ValueSet.compose", "urvalet innehåller sig självt", "the value set includes itself");
            return None;
        }
        if draft.compose.get("exclude").is_some() {
            warn("ValueSet.compose.exclude", "exclude tillämpas inte", "exclude is not enforced");
        }
        let mut out = ValueSet::default();
        let mut others = Vec::new();
        for include in draft.compose.get("include").and_then(Value::as_array).into_iter().flatten() {
            if let Some(system) = include.get("system").and_then(Value::as_str) {
                if include.get("filter").is_some() {
                    let (sv, en) = (
                        "filter tillämpas inte: alla koder i systemet godtas",
                        "filter is not enforced: every code of the system is accepted",
                    );
                    warn("ValueSet.compose.include.filter", sv, en);
                }
                out.add(system, self.included(system, include));
            }
            others.extend(
                include.get("valueSet").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str),
            );
        }
        outer.push(url);
        for other in others {
            match self.compose_within(other, outer, issues) {
                Some(set) => set.systems.into_iter().for_each(|(system, codes)| out.add(&system, codes)),
                None => issues.push(
                    Issue::warning(
                        Code::NotFound,
                        "ValueSet.compose.include.valueSet",
                        format!("urvalet {other} finns inte i paketet och tillämpas inte"),
                        format!("the value set {other} is not in the package and is not enforced"),
                    )
                    .from(draft.file.as_str()),
                ),
            }
        }
        outer.pop();
        Some(out)
    }

    fn included(&self, system: &str, include: &Value) -> Codes {
        if let Some(listed) = include.get("concept").and_then(Value::as_array) {
            let mut codes: Vec<String> =
                listed.iter().filter_map(|c| c.get("code")?.as_str().map(str::to_owned)).collect();
            codes.sort_unstable();
            return Codes::These(codes);
        }
        // Which codes of KVÅ there are changes while the program runs, and is judged by the list in force.
        if kva::is_system(system) {
            return Codes::Any;
        }
        match self.systems.get(system) {
            Some(known) if known.complete && include.get("filter").is_none() => Codes::These(known.codes.clone()),
            _ => Codes::Any,
        }
    }
}

impl ValueSet {
    fn add(&mut self, system: &str, codes: Codes) {
        match (self.systems.get_mut(system), codes) {
            (None, codes) => {
                self.systems.insert(system.to_owned(), codes);
            }
            (Some(Codes::These(known)), Codes::These(more)) => {
                known.extend(more);
                known.sort_unstable();
                known.dedup();
            }
            (Some(known), _) => *known = Codes::Any,
        }
    }

    /// Whether a code of a system is in the set.
    pub fn has(&self, system: &str, code: &str) -> bool {
        self.systems.get(system).is_some_and(|codes| codes.has(code))
    }

    /// Whether a bare code is in the set, whatever its system: an element of type code has none.
    pub fn has_code(&self, code: &str) -> bool {
        self.systems.values().any(|codes| codes.has(code))
    }

    /// Each system with its codes; none where every code of the system is in the set.
    pub fn listed(&self) -> impl Iterator<Item = (&str, Option<&[String]>)> {
        self.systems.iter().map(|(system, codes)| match codes {
            Codes::These(codes) => (system.as_str(), Some(codes.as_slice())),
            Codes::Any => (system.as_str(), None),
        })
    }

    /// The systems of which every code is accepted, because nobody here can list them.
    pub fn open_systems(&self) -> impl Iterator<Item = &str> {
        self.systems.iter().filter(|(_, codes)| **codes == Codes::Any).map(|(system, _)| system.as_str())
    }

    /// What the set allows, for people: its codes if they are few, otherwise its systems; and the nearest code.
    pub fn help(&self, code: Option<&str>) -> (String, String) {
        let listed = || {
            self.systems.values().flat_map(|codes| match codes {
                Codes::These(codes) => codes.as_slice(),
                Codes::Any => &[],
            })
        };
        let any = self.systems.values().any(|c| *c == Codes::Any);
        let (sv, en) = hint(code.and_then(|code| nearest(code, listed().map(String::as_str))));
        let list = if any || listed().count() > 15 {
            self.systems.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        } else {
            let codes: Vec<String> = self
                .systems
                .iter()
                .map(|(system, codes)| match codes {
                    Codes::These(codes) => format!("{system} ({})", codes.join(", ")),
                    Codes::Any => system.clone(),
                })
                .collect();
            codes.join("; ")
        };
        (format!("{list}{sv}"), format!("{list}{en}"))
    }
}

impl Codes {
    fn has(&self, code: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(codes) => codes.binary_search_by(|c| c.as_str().cmp(code)).is_ok(),
        }
    }
}

fn twice(expression: &str) -> Issue {
    Issue::error(Code::Duplicate, expression, "adressen används av två filer", "two files have this url")
}

fn url(file: &str, resource: &Value, issues: &mut Vec<Issue>) -> Option<String> {
    let url = resource.get("url").and_then(Value::as_str);
    if url.is_none() {
        issues.push(Issue::error(Code::Required, "url", "url saknas", "url is missing").from(file));
    }
    url.map(str::to_owned)
}

fn concepts(list: Option<&Value>, codes: &mut Vec<String>) {
    for concept in list.and_then(Value::as_array).into_iter().flatten() {
        codes.extend(concept.get("code").and_then(Value::as_str).map(str::to_owned));
        concepts(concept.get("concept"), codes);
    }
}

/// What codes are called: in Swedish where there is a designation, in English as it is displayed.
fn named(list: Option<&Value>, words: &mut BTreeMap<String, Words>) {
    for concept in list.and_then(Value::as_array).into_iter().flatten() {
        if let (Some(code), Some(en)) = (concept["code"].as_str(), concept["display"].as_str()) {
            let designations = concept["designation"].as_array().map_or(&[][..], Vec::as_slice);
            let sv = designations.iter().find(|d| d["language"] == "sv").and_then(|d| d["value"].as_str());
            words.insert(code.to_owned(), Words { sv: sv.unwrap_or(en).to_owned(), en: en.to_owned() });
        }
        named(concept.get("concept"), words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn terminology() -> Terminology {
        let mut terminology = Terminology::default();
        let mut issues = Vec::new();
        let area = json!({ "url": "s:area", "content": "complete", "concept": [ { "code": "fatigue", "concept": [ { "code": "sleep" } ] }, { "code": "nutrition" } ] });
        terminology.add_system("area.json", &area, &mut issues);
        terminology.add_system(
            "kva.json",
            &json!({ "url": "s:kva", "content": "fragment", "concept": [ { "code": "DV143" } ] }),
            &mut issues,
        );
        let set = |include: Value| json!({ "url": "v", "compose": { "include": include } });
        terminology.add_set("a", &set(json!([{ "system": "s:area" }, { "system": "s:kva" }, { "system": "s:x", "concept": [ { "code": "b" }, { "code": "a" } ] }])), &mut issues);
        assert!(issues.is_empty());
        terminology
    }

    #[test]
    fn a_set_has_the_codes_of_what_it_includes() {
        let set = terminology().compose("v|1.0", &mut Vec::new()).unwrap();
        assert!(set.has("s:area", "sleep") && !set.has("s:area", "DV143") && set.has_code("sleep"));
        assert!(set.has("s:kva", "AB123"), "a part of a system cannot deny a code");
        assert_eq!(set.open_systems().collect::<Vec<_>>(), ["s:kva"]);
        assert!(set.has("s:x", "a") && !set.has("s:x", "c") && !set.has("s:y", "a"));
        assert!(set.help(Some("fatige")).1.contains("did you mean fatigue?"));
    }

    #[test]
    fn what_cannot_be_enforced_is_said() {
        let mut terminology = terminology();
        let mut issues = Vec::new();
        let set = json!({ "url": "w", "compose": { "exclude": [], "include": [ { "system": "s:area", "filter": [] }, { "valueSet": ["v", "unknown", "w"] } ] } });
        terminology.add_set("w.json", &set, &mut issues);
        let set = terminology.compose("w", &mut issues).unwrap();
        assert!(set.has("s:area", "anything") && set.has("s:x", "a"));
        let places: Vec<&str> = issues.iter().map(|i| i.expression.rsplit('.').next().unwrap()).collect();
        assert_eq!(places, ["exclude", "filter", "valueSet", "compose", "valueSet"]);
        assert!(terminology.compose("unknown", &mut issues).is_none());
    }
}
