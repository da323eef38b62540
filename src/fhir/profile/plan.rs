//! What a profile is compiled to: for each constrained element, only what it adds to R4.

use serde_json::Value;

use super::expression::Expression;
use crate::fhir::issue::Severity;
use crate::fhir::terminology::ValueSet;

/// A compiled profile or extension.
#[derive(Debug)]
pub struct Plan {
    /// `rehab-plan`: how findings name it.
    pub id: String,
    /// The R4 type it is about.
    pub kind: String,
    /// The profile of ours it builds on, by url.
    pub base: Option<String>,
    pub rules: Rules,
    /// Where an extension may stand; empty for a profile.
    pub context: Vec<String>,
    pub modifier: bool,
}

/// What holds of each value of an element.
#[derive(Debug, Default)]
pub struct Rules {
    pub fixed: Option<Value>,
    pub pattern: Option<Value>,
    pub bindings: Vec<Binding>,
    /// What references may lead to; empty: as R4 has it.
    pub targets: Vec<String>,
    pub longest: Option<usize>,
    pub invariants: Vec<Invariant>,
    pub children: Vec<Node>,
}

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.fixed.is_none()
            && self.pattern.is_none()
            && self.bindings.is_empty()
            && self.targets.is_empty()
            && self.longest.is_none()
            && self.invariants.is_empty()
            && self.children.is_empty()
    }
}

/// One element.
#[derive(Debug)]
pub struct Node {
    /// Its names in JSON: several for a choice.
    pub names: Vec<Name>,
    /// Its name in FHIRPath.
    pub shown: &'static str,
    /// How often it must be there, where R4 does not already ask for it.
    pub min: usize,
    /// How often it may be there, where R4 allows more.
    pub max: Option<usize>,
    pub rules: Rules,
    pub slicing: Option<Slicing>,
}

#[derive(Debug)]
pub struct Name {
    pub json: String,
    /// Whether the profile leaves the type in the choice.
    pub allowed: bool,
}

#[derive(Debug)]
pub struct Binding {
    /// The last part of the value set's url.
    pub name: String,
    pub set: ValueSet,
    /// Required refuses, extensible warns.
    pub required: bool,
}

#[derive(Debug)]
pub struct Invariant {
    pub key: String,
    pub expression: Expression,
    pub severity: Severity,
    pub sv: String,
    pub en: String,
}

#[derive(Debug)]
pub struct Slicing {
    pub closed: bool,
    pub slices: Vec<Slice>,
}

#[derive(Debug)]
pub struct Slice {
    pub name: String,
    pub min: usize,
    pub max: Option<usize>,
    /// All must match for an item to be of the slice.
    pub matchers: Vec<Matcher>,
    pub rules: Rules,
}

/// A place inside an item, and what some value there must contain.
#[derive(Debug)]
pub struct Matcher {
    pub path: Vec<String>,
    pub pattern: Value,
}

impl Slice {
    pub fn takes(&self, item: &Value) -> bool {
        self.matchers.iter().all(|m| m.fits(item))
    }
}

impl Matcher {
    fn fits(&self, item: &Value) -> bool {
        reaches(item, &self.path, &self.pattern)
    }
}

fn reaches(value: &Value, path: &[String], pattern: &Value) -> bool {
    if let Value::Array(items) = value {
        return items.iter().any(|item| reaches(item, path, pattern));
    }
    match path.split_first() {
        None => contains(value, pattern),
        Some((first, rest)) => value.get(first).is_some_and(|inner| reaches(inner, rest, pattern)),
    }
}

/// Whether a value has at least what a pattern has: every field, and for every item of a list one that fits it.
pub fn contains(value: &Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(value), Value::Object(pattern)) => {
            pattern.iter().all(|(key, inner)| value.get(key).is_some_and(|v| contains(v, inner)))
        }
        (Value::Array(value), Value::Array(pattern)) => pattern.iter().all(|p| value.iter().any(|v| contains(v, p))),
        (value, pattern) => value == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pattern_asks_for_no_more_than_it_names() {
        let concept = json!({ "coding": [ { "system": "s", "code": "a", "display": "A" }, { "system": "t", "code": "b" } ], "text": "x" });
        assert!(contains(&concept, &json!({ "coding": [ { "system": "t" } ] })));
        assert!(!contains(&concept, &json!({ "coding": [ { "system": "s", "code": "b" } ] })), "one coding, not two");
        assert!(!contains(&concept, &json!({ "text": "y" })));
    }

    #[test]
    fn a_matcher_goes_through_lists() {
        let matcher =
            Matcher { path: vec!["role".to_owned(), "coding".to_owned(), "code".to_owned()], pattern: json!("member") };
        let item = json!({ "role": [ { "text": "x" }, { "coding": [ { "code": "other" }, { "code": "member" } ] } ] });
        assert!(matcher.fits(&item) && !matcher.fits(&json!({ "role": [] })));
    }
}
