//! Conditions over declared fields, in three values: what is not said is unknown, and never false.
//!
//! FHIRPath as ever, except that the names are those of an assessment and their types are known when a condition is compiled:
//! a misspelt field, a code that the field cannot have, or a day compared with a number is found then. `exists()` and its like
//! are refused, because they would take what nobody said for something that is not so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Item, Node, Refusal, parser, truth};

/// What a declared field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    Boolean,
    /// A whole day.
    Date,
    Integer,
    /// One of these codes.
    Code(Vec<String>),
}

/// The fields that conditions may ask for, by their paths: `treatment.end`.
#[derive(Debug, Clone, Default)]
pub struct Fields(BTreeMap<String, FieldType>);

impl Fields {
    pub fn add(&mut self, path: &str, field: FieldType) {
        self.0.insert(path.to_owned(), field);
    }

    pub fn get(&self, path: &str) -> Option<&FieldType> {
        self.0.get(path)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition(Node);

impl Condition {
    pub fn compile(text: &str, fields: &Fields) -> Result<Self, Refusal> {
        let node = parser::parse_over(text, fields)?;
        match kind(&node, fields)? {
            Kind::Boolean => Ok(Self(node)),
            _ => Err(Refusal::Type(text.to_owned())),
        }
    }

    /// Whether it holds; none where that depends on what was not said.
    pub fn judge(&self, said: &Map<String, Value>) -> Option<bool> {
        self.0.judge(said)
    }

    /// The fields that keep it from being judged; none where it can be.
    pub fn missing(&self, said: &Map<String, Value>) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        self.0.missing(said, &mut missing);
        missing
    }

    /// Every field that it asks for.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        self.0.visit(&mut |path| {
            fields.insert(path.join("."));
        });
        fields
    }
}

/// The value at a path, if it was said.
pub(super) fn field<'a>(said: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let found = rest.iter().try_fold(said.get(first)?, |value, name| value.get(name))?;
    (!found.is_null()).then_some(found)
}

impl Node {
    fn judge(&self, said: &Map<String, Value>) -> Option<bool> {
        truth(&self.eval(Item::Object(said), said))
    }

    fn missing(&self, said: &Map<String, Value>, missing: &mut BTreeSet<String>) {
        if self.judge(said).is_some() {
            return;
        }
        match self {
            Self::Not(of) => of.missing(said, missing),
            Self::And(a, b) | Self::Or(a, b) | Self::Xor(a, b) | Self::Implies(a, b) => {
                a.missing(said, missing);
                b.missing(said, missing);
            }
            _ => self.visit(&mut |path| {
                if field(said, path).is_none() {
                    missing.insert(path.join("."));
                }
            }),
        }
    }

    fn visit(&self, found: &mut dyn FnMut(&[String])) {
        match self {
            Self::Field(path) => found(path),
            Self::Not(of) | Self::Later(of, _) => of.visit(found),
            Self::And(a, b)
            | Self::Or(a, b)
            | Self::Xor(a, b)
            | Self::Implies(a, b)
            | Self::Equal(a, b, _)
            | Self::Order(_, a, b) => {
                a.visit(found);
                b.visit(found);
            }
            _ => {}
        }
    }
}

/// What a part of a condition comes to.
enum Kind<'a> {
    Boolean,
    Date,
    Integer,
    Code(&'a str, &'a [String]),
    Text(&'a str),
}

fn kind<'a>(node: &'a Node, fields: &'a Fields) -> Result<Kind<'a>, Refusal> {
    let booleans = |parts: &[&'a Node]| {
        for part in parts {
            if !matches!(kind(part, fields)?, Kind::Boolean) {
                return Err(Refusal::Type(named(part)));
            }
        }
        Ok(Kind::Boolean)
    };
    match node {
        Node::Boolean(_) => Ok(Kind::Boolean),
        Node::Number(_) => Ok(Kind::Integer),
        Node::Text(text) => Ok(Kind::Text(text)),
        Node::Day(_) => Ok(Kind::Date),
        Node::Later(of, _) if matches!(kind(of, fields)?, Kind::Date) => Ok(Kind::Date),
        Node::Later(of, _) => Err(Refusal::Type(named(of))),
        Node::Field(path) => match (path.last(), fields.get(&path.join("."))) {
            (_, Some(FieldType::Boolean)) => Ok(Kind::Boolean),
            (_, Some(FieldType::Date)) => Ok(Kind::Date),
            (_, Some(FieldType::Integer)) => Ok(Kind::Integer),
            (Some(name), Some(FieldType::Code(codes))) => Ok(Kind::Code(name, codes)),
            _ => Err(Refusal::Element(path.join("."))),
        },
        Node::Not(of) => booleans(&[of]),
        Node::And(a, b) | Node::Or(a, b) | Node::Xor(a, b) | Node::Implies(a, b) => booleans(&[a, b]),
        Node::Equal(a, b, _) => match (kind(a, fields)?, kind(b, fields)?) {
            (Kind::Boolean, Kind::Boolean) | (Kind::Date, Kind::Date) | (Kind::Integer, Kind::Integer) => {
                Ok(Kind::Boolean)
            }
            (Kind::Code(_, codes), Kind::Text(text)) | (Kind::Text(text), Kind::Code(_, codes))
                if codes.iter().any(|code| code == text) =>
            {
                Ok(Kind::Boolean)
            }
            (Kind::Code(name, _), Kind::Text(text)) | (Kind::Text(text), Kind::Code(name, _)) => {
                Err(Refusal::Type(format!("{name} = '{text}'")))
            }
            _ => Err(Refusal::Type(named(a))),
        },
        Node::Order(_, a, b) => match (kind(a, fields)?, kind(b, fields)?) {
            (Kind::Date, Kind::Date) | (Kind::Integer, Kind::Integer) => Ok(Kind::Boolean),
            _ => Err(Refusal::Type(named(a))),
        },
        Node::Exists(of) | Node::Empty(of) | Node::Count(of) | Node::Where(of, _) | Node::All(of, _) => {
            Err(Refusal::Absence(named(of)))
        }
        Node::Text1(..) => Err(Refusal::Function("a test of texts".to_owned())),
        Node::This | Node::Resource | Node::Child(..) => Err(Refusal::Unexpected("$this".to_owned())),
    }
}

/// A part as a finding names it.
fn named(node: &Node) -> String {
    let mut first = None;
    node.visit(&mut |path| {
        first.get_or_insert_with(|| path.join("."));
    });
    first.unwrap_or_else(|| "a literal".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields() -> Fields {
        let mut fields = Fields::default();
        let phases = ["before", "ongoing", "after"].map(str::to_owned).to_vec();
        for (path, field) in [
            ("asOf", FieldType::Date),
            ("treatment.end", FieldType::Date),
            ("treatment.phase", FieldType::Code(phases)),
            ("needs.physical-activity", FieldType::Boolean),
            ("a", FieldType::Boolean),
            ("b", FieldType::Boolean),
            ("cfs", FieldType::Integer),
        ] {
            fields.add(path, field);
        }
        fields
    }

    fn judge(text: &str, said: Value) -> Option<bool> {
        let condition = Condition::compile(text, &fields()).unwrap_or_else(|e| panic!("{text}: {e}"));
        condition.judge(said.as_object().unwrap())
    }

    #[test]
    fn what_is_not_said_is_unknown_unless_the_rest_decides() {
        let only = |b: bool| json!({ "b": b });
        assert_eq!(judge("a or b", only(false)), None);
        assert_eq!(judge("a or b", only(true)), Some(true));
        assert_eq!(judge("a and b", only(true)), None);
        assert_eq!(judge("a and b", only(false)), Some(false));
        assert_eq!(judge("a.not() or b", only(false)), None);
        assert_eq!(judge("a xor b", only(true)), None);
        assert_eq!(judge("b implies a", only(false)), Some(true));
        assert_eq!(judge("b implies a", only(true)), None);
        assert_eq!(judge("a implies b", only(true)), Some(true));
        assert_eq!(judge("needs.`physical-activity`", json!({ "needs": { "physical-activity": true } })), Some(true));
        assert_eq!(judge("cfs >= 6", json!({})), None);
        assert_eq!(judge("cfs >= 6 and b", json!({ "cfs": 6, "b": true })), Some(true));
        assert_eq!(judge("treatment.phase != 'after'", json!({ "treatment": { "phase": "before" } })), Some(true));
    }

    #[test]
    fn only_what_keeps_it_from_being_judged_is_missing() {
        let missing = |text: &str, said: Value| {
            let missing = Condition::compile(text, &fields()).unwrap().missing(said.as_object().unwrap());
            missing.into_iter().collect::<Vec<_>>().join(" ")
        };
        let text = "a and (treatment.phase = 'ongoing' or asOf <= treatment.end + 1 year)";
        assert_eq!(missing(text, json!({})), "a asOf treatment.end treatment.phase");
        assert_eq!(missing(text, json!({ "a": false })), "");
        assert_eq!(missing(text, json!({ "treatment": { "phase": "ongoing" } })), "a");
        assert_eq!(missing(text, json!({ "a": true, "asOf": "2026-01-01" })), "treatment.end treatment.phase");
    }

    #[test]
    fn a_year_after_the_leap_day_is_the_last_of_february() {
        for (end, day, holds) in [
            ("2024-02-29", "2025-02-28", true),
            ("2024-02-29", "2025-03-01", false),
            ("2025-02-28", "2026-02-28", true),
            ("2023-02-28", "2024-02-28", true),
            ("2023-02-28", "2024-02-29", false),
        ] {
            let said = json!({ "asOf": day, "treatment": { "end": end } });
            assert_eq!(judge("asOf = treatment.end + 1 year", said.clone()), Some(holds), "{end} {day}");
            assert_eq!(judge("asOf <= treatment.end + 12 months", said), Some(holds), "{end} {day}");
        }
        assert_eq!(judge("asOf - 2 weeks > @2026-01-01", json!({ "asOf": "2026-01-16" })), Some(true));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_at_load() {
        let refusal = |text: &str| Condition::compile(text, &fields()).unwrap_err();
        assert_eq!(refusal("treatment.edn <= asOf"), Refusal::Element("treatment.edn".to_owned()));
        assert_eq!(refusal("treatment.phase = 'affter'"), Refusal::Type("phase = 'affter'".to_owned()));
        assert_eq!(refusal("a = 1"), Refusal::Type("a".to_owned()));
        assert_eq!(refusal("asOf < 3"), Refusal::Type("asOf".to_owned()));
        assert_eq!(refusal("cfs"), Refusal::Type("cfs".to_owned()));
        assert_eq!(refusal("cfs or a"), Refusal::Type("cfs".to_owned()));
        assert_eq!(refusal("a + 1 year"), Refusal::Type("a".to_owned()));
        assert_eq!(refusal("a.exists()"), Refusal::Absence("a".to_owned()));
        assert_eq!(refusal("a.empty() or b"), Refusal::Absence("a".to_owned()));
        assert_eq!(refusal("asOf = treatment.end + 1 fortnight"), Refusal::Unexpected("fortnight".to_owned()));
        assert_eq!(refusal("asOf > @2026-02-30"), Refusal::Unexpected("@2026-02-30".to_owned()));
        assert_eq!(refusal("$this = 'a'"), Refusal::Unexpected("$this".to_owned()));
        assert_eq!(refusal("`a"), Refusal::End);
    }
}
