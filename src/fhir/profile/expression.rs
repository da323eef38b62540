//! The closed part of FHIRPath that our invariants are written in, compiled when a profile is loaded.
//!
//! Paths, literals, `exists()`, `empty()`, `not()`, `count()`, `where(…)`, `all(…)`, `startsWith('…')`,
//! `endsWith('…')`, `contains('…')`, `=`, `!=`, comparison of counts, `and`, `or`, `xor`, `implies`. Every path is
//! resolved against R4 at load, so that a misspelt one is found then. Anything else is refused: the profile's loader
//! says which invariant is not enforced.

use serde_json::{Map, Value};

use crate::fhir::r4;

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
}

/// One value on the way.
#[derive(Clone, Copy)]
enum Item<'a> {
    Value(&'a Value),
    Object(&'a Map<String, Value>),
    Text(&'a str),
    Number(i64),
    Boolean(bool),
}

impl Expression {
    /// Compiles an expression that is asked of objects of a class (`CarePlan`, `CarePlan.activity.detail`).
    pub fn compile(text: &str, content: &'static str, resource: &'static str) -> Result<Self, Refusal> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, resource, depth: 0 };
        let (node, _) = parser.implies(&Scope(vec![content]))?;
        match parser.tokens.get(parser.at) {
            None => Ok(Self(node)),
            Some(token) => Err(Refusal::Unexpected(token.clone())),
        }
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
                ([a], [b]) => one(a.number().zip(b.number()).map(|(a, b)| match order {
                    Order::Less => a < b,
                    Order::LessOrEqual => a <= b,
                    Order::Greater => a > b,
                    Order::GreaterOrEqual => a >= b,
                })),
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

    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ if self.text().is_some() => self.text() == other.text(),
            _ if self.number().is_some() => self.number() == other.number(),
            _ => self.boolean().is_some() && self.boolean() == other.boolean(),
        }
    }
}

/// The classes that a path may have reached.
#[derive(Clone)]
struct Scope(Vec<&'static str>);

fn tokens(text: &str) -> Result<Vec<String>, Refusal> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let take_while = |chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, fits: fn(char) -> bool| {
            let mut end = start + c.len_utf8();
            while let Some((at, next)) = chars.peek().copied().filter(|(_, next)| fits(*next)) {
                end = at + next.len_utf8();
                chars.next();
            }
            text.get(start..end).unwrap_or_default().to_owned()
        };
        match c {
            c if c.is_whitespace() => {}
            'a'..='z' | 'A'..='Z' | '_' => out.push(take_while(&mut chars, |c| c.is_ascii_alphanumeric() || c == '_')),
            '%' | '$' => out.push(take_while(&mut chars, |c| c.is_ascii_alphabetic())),
            '0'..='9' => out.push(take_while(&mut chars, |c| c.is_ascii_digit())),
            '\'' => {
                let mut literal = String::from("'");
                loop {
                    match chars.next() {
                        Some((_, '\'')) => break,
                        Some((_, '\\')) => literal.extend(chars.next().map(|(_, c)| c)),
                        Some((_, c)) => literal.push(c),
                        None => return Err(Refusal::End),
                    }
                }
                out.push(literal);
            }
            '!' | '<' | '>' => out.push(take_while(&mut chars, |c| c == '=')),
            '.' | '(' | ')' | '=' => out.push(c.to_string()),
            other => return Err(Refusal::Unexpected(other.to_string())),
        }
    }
    Ok(out)
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
    resource: &'static str,
    depth: usize,
}

type Parsed = Result<(Node, Scope), Refusal>;

/// What booleans have for children: nothing.
fn value(node: Node) -> (Node, Scope) {
    (node, Scope(Vec::new()))
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), Refusal> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.peek().map_or(Refusal::End, |t| Refusal::Unexpected(t.to_owned())))
    }

    fn implies(&mut self, scope: &Scope) -> Parsed {
        self.depth += 1;
        if self.depth > 32 {
            return Err(Refusal::Depth);
        }
        let mut left = self.or(scope)?;
        while self.take("implies") {
            left = value(Node::Implies(Box::new(left.0), Box::new(self.or(scope)?.0)));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn or(&mut self, scope: &Scope) -> Parsed {
        let mut left = self.and(scope)?;
        loop {
            let make = if self.take("or") {
                Node::Or
            } else if self.take("xor") {
                Node::Xor
            } else {
                return Ok(left);
            };
            left = value(make(Box::new(left.0), Box::new(self.and(scope)?.0)));
        }
    }

    fn and(&mut self, scope: &Scope) -> Parsed {
        let mut left = self.compared(scope)?;
        while self.take("and") {
            left = value(Node::And(Box::new(left.0), Box::new(self.compared(scope)?.0)));
        }
        Ok(left)
    }

    fn compared(&mut self, scope: &Scope) -> Parsed {
        let left = self.path(scope)?;
        let Some(operator) = self.peek().map(str::to_owned) else { return Ok(left) };
        let order = match operator.as_str() {
            "=" | "!=" => None,
            "<" => Some(Order::Less),
            "<=" => Some(Order::LessOrEqual),
            ">" => Some(Order::Greater),
            ">=" => Some(Order::GreaterOrEqual),
            _ => return Ok(left),
        };
        self.at += 1;
        let (a, b) = (Box::new(left.0), Box::new(self.path(scope)?.0));
        match order {
            None => Ok(value(Node::Equal(a, b, operator == "="))),
            // Dates and decimals compare by rules of their own: only counts are compared here.
            Some(order) if is_count(&a) || is_count(&b) => Ok(value(Node::Order(order, a, b))),
            Some(_) => Err(Refusal::Function(operator)),
        }
    }

    fn path(&mut self, scope: &Scope) -> Parsed {
        let mut reached = self.first(scope)?;
        while self.take(".") {
            reached = self.step(reached)?;
        }
        Ok(reached)
    }

    fn first(&mut self, scope: &Scope) -> Parsed {
        let token = self.peek().ok_or(Refusal::End)?.to_owned();
        if token == "(" {
            self.at += 1;
            let inner = self.implies(scope)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let node = match token.as_str() {
            "true" => value(Node::Boolean(true)),
            "false" => value(Node::Boolean(false)),
            "$this" => (Node::This, scope.clone()),
            "%resource" => (Node::Resource, Scope(vec![self.resource])),
            t if t.starts_with('\'') => value(Node::Text(t.get(1..).unwrap_or_default().to_owned())),
            t if t.starts_with(|c: char| c.is_ascii_digit()) => {
                value(Node::Number(t.parse().map_err(|_| Refusal::Unexpected(t.to_owned()))?))
            }
            // A path may begin with the type it starts from.
            t if scope.0.contains(&t) => (Node::This, scope.clone()),
            t if t.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                return self.step((Node::This, scope.clone()));
            }
            t => return Err(Refusal::Unexpected(t.to_owned())),
        };
        self.at += 1;
        Ok(node)
    }

    fn step(&mut self, (of, scope): (Node, Scope)) -> Parsed {
        let name = self.peek().ok_or(Refusal::End)?.to_owned();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(Refusal::Unexpected(name));
        }
        self.at += 1;
        let of = Box::new(of);
        if !self.take("(") {
            let (names, next) = children(&scope, &name);
            return if names.is_empty() { Err(Refusal::Element(name)) } else { Ok((Node::Child(of, names), next)) };
        }
        let done = match name.as_str() {
            "exists" if self.peek() == Some(")") => value(Node::Exists(of)),
            "exists" => value(Node::Exists(Box::new(Node::Where(of, Box::new(self.implies(&scope)?.0))))),
            "empty" => value(Node::Empty(of)),
            "not" => value(Node::Not(of)),
            "count" => value(Node::Count(of)),
            "where" => (Node::Where(of, Box::new(self.implies(&scope)?.0)), scope),
            "all" => value(Node::All(of, Box::new(self.implies(&scope)?.0))),
            "startsWith" | "endsWith" | "contains" => {
                let literal = self.peek().and_then(|t| t.strip_prefix('\'')).map(str::to_owned);
                let literal = literal.ok_or_else(|| Refusal::Function(name.clone()))?;
                self.at += 1;
                let test = match name.as_str() {
                    "startsWith" => TextTest::StartsWith,
                    "endsWith" => TextTest::EndsWith,
                    _ => TextTest::Contains,
                };
                value(Node::Text1(test, of, literal))
            }
            _ => return Err(Refusal::Function(name)),
        };
        self.expect(")")?;
        Ok(done)
    }
}

fn is_count(node: &Node) -> bool {
    matches!(node, Node::Count(_))
}

/// The JSON names of a step, and the classes it leads to.
fn children(scope: &Scope, name: &str) -> (Vec<String>, Scope) {
    let mut names = Vec::new();
    let mut next = Vec::new();
    for content in &scope.0 {
        for element in r4::children(content).into_iter().filter(|e| e.stem() == name) {
            let written: Vec<String> = if element.is_choice() {
                element.types.iter().map(|t| super::json_name(element.stem(), t.code)).collect()
            } else {
                vec![element.name.to_owned()]
            };
            for written in written {
                if let Some(found) = r4::find(content, &written) {
                    next.push(found.content);
                }
                if !names.contains(&written) {
                    names.push(written);
                }
            }
        }
    }
    (names, Scope(next))
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
