//! The parser of our part of FHIRPath: precedence climbing, every path resolved against R4 as it is read.

use super::super::json_name;
use super::condition::Fields;
use super::{Node, Order, Refusal, Span, TextTest};
use crate::fhir::r4;

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
            // A name that no identifier can be: the mark says that it is one.
            '`' => {
                let mut name = String::from("`");
                loop {
                    match chars.next() {
                        Some((_, '`')) => break,
                        Some((_, c)) => name.push(c),
                        None => return Err(Refusal::End),
                    }
                }
                out.push(name);
            }
            '@' => out.push(take_while(&mut chars, |c| c.is_ascii_digit() || c == '-')),
            '!' | '<' | '>' => out.push(take_while(&mut chars, |c| c == '=')),
            '.' | '(' | ')' | '=' | '+' | '-' => out.push(c.to_string()),
            other => return Err(Refusal::Unexpected(other.to_string())),
        }
    }
    Ok(out)
}

/// The parser over an expression's tokens.
struct Parser<'f> {
    /// Names are those of declared fields, and not R4's.
    fields: Option<&'f Fields>,
    tokens: Vec<String>,
    at: usize,
    resource: &'static str,
    depth: usize,
}

type Parsed = Result<(Node, Scope), Refusal>;

/// Parses an expression that is asked of objects of a class.
pub fn parse(text: &str, content: &'static str, resource: &'static str) -> Result<Node, Refusal> {
    let parser = Parser { fields: None, tokens: tokens(text)?, at: 0, resource, depth: 0 };
    parser.whole(&Scope(vec![content]))
}

/// Parses an expression whose names are declared fields.
pub fn parse_over(text: &str, fields: &Fields) -> Result<Node, Refusal> {
    let parser = Parser { fields: Some(fields), tokens: tokens(text)?, at: 0, resource: "", depth: 0 };
    parser.whole(&Scope(Vec::new()))
}

/// What booleans have for children: nothing.
fn value(node: Node) -> (Node, Scope) {
    (node, Scope(Vec::new()))
}

impl Parser<'_> {
    fn whole(mut self, scope: &Scope) -> Result<Node, Refusal> {
        let (node, _) = self.implies(scope)?;
        match self.tokens.get(self.at) {
            None => Ok(node),
            Some(token) => Err(Refusal::Unexpected(token.clone())),
        }
    }

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
        let left = self.sum(scope)?;
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
        let (a, b) = (Box::new(left.0), Box::new(self.sum(scope)?.0));
        match order {
            None => Ok(value(Node::Equal(a, b, operator == "="))),
            // Dates and decimals compare by rules of their own: only counts are compared here.
            Some(order) if self.fields.is_some() || is_count(&a) || is_count(&b) => Ok(value(Node::Order(order, a, b))),
            Some(_) => Err(Refusal::Function(operator)),
        }
    }

    /// A path, and calendar time that is added to it: `treatment.end + 1 year`.
    fn sum(&mut self, scope: &Scope) -> Parsed {
        let mut left = self.path(scope)?;
        while self.fields.is_some() && matches!(self.peek(), Some("+" | "-")) {
            let sign = if self.take("-") { -1 } else { 1 };
            self.take("+");
            let mut next = || {
                self.at += 1;
                self.tokens.get(self.at - 1).cloned().ok_or(Refusal::End)
            };
            let (count, unit) = (next()?, next()?);
            let count: i32 = count.parse().ok().filter(|n| *n < 1_000).ok_or(Refusal::Unexpected(count))?;
            let span = match unit.trim_end_matches('s') {
                "year" => Span { months: sign * count * 12, days: 0 },
                "month" => Span { months: sign * count, days: 0 },
                "week" => Span { months: 0, days: i64::from(sign * count * 7) },
                "day" => Span { months: 0, days: i64::from(sign * count) },
                _ => return Err(Refusal::Unexpected(unit)),
            };
            left = value(Node::Later(Box::new(left.0), span));
        }
        Ok(left)
    }

    /// A declared field by its whole path; what is followed by a bracket is a function of it.
    fn field(&mut self, fields: &Fields) -> Parsed {
        let mut path: Vec<String> = Vec::new();
        loop {
            let name = self.peek().ok_or(Refusal::End)?;
            let name = name.strip_prefix('`').unwrap_or(name).to_owned();
            self.at += 1;
            path.push(name);
            let is_more = self.peek() == Some(".") && self.tokens.get(self.at + 2).is_none_or(|after| after != "(");
            if !is_more {
                break;
            }
            self.at += 1;
        }
        let name = path.join(".");
        if fields.get(&name).is_none() {
            return Err(Refusal::Element(name));
        }
        Ok(value(Node::Field(path)))
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
        if let Some(fields) = self.fields
            && is_name(&token)
            && !matches!(token.as_str(), "true" | "false")
        {
            return self.field(fields);
        }
        let node = match token.as_str() {
            "true" => value(Node::Boolean(true)),
            "false" => value(Node::Boolean(false)),
            t if t.starts_with('@') => {
                let day = t.get(1..).and_then(|day| day.parse().ok());
                value(Node::Day(day.ok_or_else(|| Refusal::Unexpected(t.to_owned()))?))
            }
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

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '`' || c == '_')
}

fn is_count(node: &Node) -> bool {
    matches!(node, Node::Count(_))
}

/// The JSON names of a step, and the classes it leads to.
fn children(scope: &Scope, name: &str) -> (Vec<String>, Scope) {
    let mut names = Vec::new();
    let mut next = Vec::new();
    for content in &scope.0 {
        for element in r4::children(content).iter().filter(|e| e.stem() == name) {
            let written: Vec<String> = if element.is_choice() {
                element.types.iter().map(|t| json_name(element.stem(), t.code)).collect()
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
