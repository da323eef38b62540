//! The closed part of FHIRPath that our invariants are written in, compiled when a profile is loaded.
//!
//! Paths, literals, `exists()`, `empty()`, `not()`, `count()`, `where(…)`, `all(…)`, `startsWith('…')`,
//! `endsWith('…')`, `contains('…')`, `=`, `!=`, comparison of counts, `and`, `or`, `xor`, `implies`. Every path is
//! resolved against R4 at load, so that a misspelt one is found then. Anything else is refused: the profile's loader
//! says which invariant is not enforced. [`Condition`] is the same over declared fields, with days and codes.

mod condition;
mod parser;

use chrono::{Days, Months, NaiveDate};
use serde_json::{Map, Value};

pub use condition::{Condition, FieldType, Fields};

/// A compiled expression.
#[derive(Debug)]
pub struct Expression(Node);

#[derive(Debug)]
enum Node {
    Text(String),
    Number(i64),
    Boolean(bool),
    This,
    Resource,
    /// The names a step has in JSON: several for a choice.
    Child(Box<Node>, Vec<String>),
    Exists(Box<Node>),
    Empty(Box<Node>),
    Not(Box<Node>),
    Count(Box<Node>),
    Where(Box<Node>, Box<Node>),
    All(Box<Node>, Box<Node>),
    Text1(TextTest, Box<Node>, String),
    Equal(Box<Node>, Box<Node>, bool),
    Order(Order, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Xor(Box<Node>, Box<Node>),
    Implies(Box<Node>, Box<Node>),
    /// A declared field, from the root.
    Field(Vec<String>),
    Day(NaiveDate),
    /// A day so much later.
    Later(Box<Node>, Span),
}

/// Calendar time: a year later is the same day of the year, and the last day of the month where there is no such day.
#[derive(Debug, Clone, Copy)]
struct Span {
    months: i32,
    days: i64,
}

impl Span {
    fn after(self, day: NaiveDate) -> Option<NaiveDate> {
        let months = Months::new(self.months.unsigned_abs());
        let moved = if self.months < 0 { day.checked_sub_months(months) } else { day.checked_add_months(months) }?;
        let days = Days::new(self.days.unsigned_abs());
        if self.days < 0 { moved.checked_sub_days(days) } else { moved.checked_add_days(days) }
    }
}

#[derive(Debug, Clone, Copy)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why an expression is not enforced, in English: it is read by who writes profiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("unexpected {0:?}")]
    Unexpected(String),
    #[error("ends too early")]
    End,
    #[error("{0}() is outside the part of FHIRPath that is enforced")]
    Function(String),
    #[error("{0} is no element here")]
    Element(String),
    #[error("nested too deeply")]
    Depth,
    #[error("{0} is compared with, or taken for, what it cannot be")]
    Type(String),
    #[error("{0} takes what is not said for something that is not so")]
    Absence(String),
}

/// One value on the way.
#[derive(Clone, Copy)]
enum Item<'a> {
    Value(&'a Value),
    Object(&'a Map<String, Value>),
    Text(&'a str),
    Number(i64),
    Boolean(bool),
    Day(NaiveDate),
}

impl Expression {
    /// Compiles an expression that is asked of objects of a class (`CarePlan`, `CarePlan.activity.detail`).
    pub fn compile(text: &str, content: &'static str, resource: &'static str) -> Result<Self, Refusal> {
        parser::parse(text, content, resource).map(Self)
    }

    /// Whether it holds: only a true result does.
    pub fn holds(&self, focus: &Value, resource: &Map<String, Value>) -> bool {
        truth(&self.0.eval(Item::Value(focus), resource)) == Some(true)
    }

    /// The same for the resource itself.
    pub fn holds_of(&self, resource: &Map<String, Value>) -> bool {
        truth(&self.0.eval(Item::Object(resource), resource)) == Some(true)
    }
}

impl Node {
    fn eval<'a>(&'a self, focus: Item<'a>, root: &'a Map<String, Value>) -> Vec<Item<'a>> {
        let truth_of = |node: &'a Node| truth(&node.eval(focus, root));
        let one = |value: Option<bool>| value.map(Item::Boolean).into_iter().collect();
        match self {
            Self::Text(text) => vec![Item::Text(text)],
            Self::Number(n) => vec![Item::Number(*n)],
            Self::Boolean(b) => vec![Item::Boolean(*b)],
            Self::This => vec![focus],
            Self::Resource => vec![Item::Object(root)],
            Self::Child(of, names) => {
                let mut out = Vec::new();
                for item in of.eval(focus, root) {
                    let Some(object) = item.object() else { continue };
                    for name in names {
                        match object.get(name) {
                            Some(Value::Array(list)) => {
                                out.extend(list.iter().filter(|v| !v.is_null()).map(Item::Value))
                            }
                            Some(value) => out.push(Item::Value(value)),
                            None => {}
                        }
                    }
                }
                out
            }
            Self::Exists(of) => vec![Item::Boolean(!of.eval(focus, root).is_empty())],
            Self::Empty(of) => vec![Item::Boolean(of.eval(focus, root).is_empty())],
            Self::Not(of) => one(truth_of(of).map(|b| !b)),
            Self::Count(of) => vec![Item::Number(i64::try_from(of.eval(focus, root).len()).unwrap_or(i64::MAX))],
            Self::Where(of, test) => {
                let mut list = of.eval(focus, root);
                list.retain(|item| truth(&test.eval(*item, root)) == Some(true));
                list
            }
            Self::All(of, test) => {
                let all = of.eval(focus, root).into_iter().all(|item| truth(&test.eval(item, root)) == Some(true));
                vec![Item::Boolean(all)]
            }
            Self::Text1(test, of, literal) => match of.eval(focus, root)[..] {
                [item] => one(item.text().map(|text| match test {
                    TextTest::StartsWith => text.starts_with(literal),
                    TextTest::EndsWith => text.ends_with(literal),
                    TextTest::Contains => text.contains(literal),
                })),
                _ => Vec::new(),
            },
            Self::Equal(a, b, wanted) => {
                let (a, b) = (a.eval(focus, root), b.eval(focus, root));
                if a.is_empty() || b.is_empty() {
                    return Vec::new();
                }
                let equal = a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.equals(*b));
                vec![Item::Boolean(equal == *wanted)]
            }
            Self::Order(order, a, b) => match (&a.eval(focus, root)[..], &b.eval(focus, root)[..]) {
                ([a], [b]) => {
                    let numbers = a.number().zip(b.number()).map(|(a, b)| a.cmp(&b));
                    let ordered = numbers.or_else(|| a.day().zip(b.day()).map(|(a, b)| a.cmp(&b)));
                    one(ordered.map(|ordered| match order {
                        Order::Less => ordered.is_lt(),
                        Order::LessOrEqual => ordered.is_le(),
                        Order::Greater => ordered.is_gt(),
                        Order::GreaterOrEqual => ordered.is_ge(),
                    }))
                }
                _ => Vec::new(),
            },
            Self::And(a, b) => one(match (truth_of(a), truth_of(b)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }),
            Self::Or(a, b) => one(or(truth_of(a), truth_of(b))),
            Self::Xor(a, b) => one(truth_of(a).zip(truth_of(b)).map(|(a, b)| a != b)),
            Self::Implies(a, b) => one(or(truth_of(a).map(|a| !a), truth_of(b))),
            Self::Field(path) => condition::field(root, path).map(Item::Value).into_iter().collect(),
            Self::Day(day) => vec![Item::Day(*day)],
            Self::Later(of, span) => match of.eval(focus, root)[..] {
                [item] => item.day().and_then(|day| span.after(day)).map(Item::Day).into_iter().collect(),
                _ => Vec::new(),
            },
        }
    }
}

fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// A collection as a truth: one value that is no boolean counts as true.
fn truth(items: &[Item<'_>]) -> Option<bool> {
    match items {
        [Item::Boolean(b) | Item::Value(Value::Bool(b))] => Some(*b),
        [_] => Some(true),
        _ => None,
    }
}

impl<'a> Item<'a> {
    fn object(self) -> Option<&'a Map<String, Value>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Value(value) => value.as_object(),
            _ => None,
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Value(value) => value.as_str(),
            _ => None,
        }
    }

    fn number(self) -> Option<i64> {
        match self {
            Self::Number(n) => Some(n),
            Self::Value(Value::Number(n)) => n.as_i64(),
            _ => None,
        }
    }

    fn boolean(self) -> Option<bool> {
        match self {
            Self::Boolean(b) => Some(b),
            Self::Value(value) => value.as_bool(),
            _ => None,
        }
    }

    fn day(self) -> Option<NaiveDate> {
        match self {
            Self::Day(day) => Some(day),
            _ => self.text()?.parse().ok(),
        }
    }

    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Day(_), _) | (_, Self::Day(_)) => self.day().is_some() && self.day() == other.day(),
            (Self::Value(a), Self::Value(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ if self.text().is_some() => self.text() == other.text(),
            _ if self.number().is_some() => self.number() == other.number(),
            _ => self.boolean().is_some() && self.boolean() == other.boolean(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn holds(text: &str) -> bool {
        let plan = json!({ "resourceType": "CarePlan", "status": "active", "title": "Rehabplan",
            "category": [ { "coding": [ { "system": "s", "code": "SIP" }, { "system": "t", "code": "x" } ] } ],
            "addresses": [ { "reference": "Condition/1" } ],
            "activity": [ { "detail": { "status": "scheduled", "doNotPerform": false, "scheduledPeriod": { "start": "2026" } } },
                          { "detail": { "status": "completed" } } ] });
        let expression = Expression::compile(text, "CarePlan", "CarePlan").unwrap_or_else(|e| panic!("{text}: {e}"));
        expression.holds_of(plan.as_object().unwrap())
    }

    #[test]
    fn the_closed_part_says_what_fhirpath_says() {
        for yes in [
            "status = 'active'",
            "CarePlan.status != 'draft'",
            "status.exists() and note.empty()",
            "category.coding.where(system = 's').code = 'SIP'",
            "category.coding.exists(system = 's' and code = 'SIP')",
            "status = 'draft' implies note.exists()",
            "activity.count() = 2 and activity.count() >= 2 and 3 > activity.count()",
            "activity.detail.scheduled.exists()",
            "activity.all(detail.exists())",
            "activity.detail.where(scheduled.exists()).count() = 1",
            "title.startsWith('Rehab') and title.endsWith('plan') and title.contains('ab')",
            "(note.exists() or status.exists()) and note.exists().not()",
            "note.exists() xor status.exists()",
            "activity.detail.where(doNotPerform = false).count() = 1",
            "activity.detail.all(%resource.status = 'active' and $this.status.exists())",
            "status",
            "false or true and true",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "status = 'draft'",
            "note.text = 'a'",
            "note.text != 'a'",
            "status = 'active' implies note.exists()",
            "activity.detail.all(status = 'scheduled')",
            "activity.count() < 2",
            "note.exists() implies false and false",
            "note",
            "title.startsWith('rehab')",
        ] {
            // The last but two is true by precedence: implies binds weakest.
            assert_eq!(holds(no), no.starts_with("note.exists() implies"), "{no}");
        }
    }

    #[test]
    fn what_is_outside_is_refused_at_load() {
        let refusal = |text: &str| Expression::compile(text, "CarePlan", "CarePlan").unwrap_err();
        assert_eq!(refusal("statsu.exists()"), Refusal::Element("statsu".to_owned()));
        assert_eq!(refusal("activity.detail.stauts.exists()"), Refusal::Element("stauts".to_owned()));
        assert_eq!(refusal("title.matches('a+')"), Refusal::Function("matches".to_owned()));
        assert_eq!(refusal("created <= created"), Refusal::Function("<=".to_owned()));
        assert_eq!(refusal("subject.resolve().exists()"), Refusal::Function("resolve".to_owned()));
        assert_eq!(refusal("status ="), Refusal::End);
        assert_eq!(refusal("status | note"), Refusal::Unexpected("|".to_owned()));
        assert_eq!(refusal("status.exists("), Refusal::End);
        assert_eq!(refusal("status exists"), Refusal::Unexpected("exists".to_owned()));
        assert_eq!(refusal(&"(".repeat(100)), Refusal::Depth);
        assert_eq!(refusal("'a"), Refusal::End);
    }
}
