//! Paths as compiled steps: one way to find values in a tree, be it a source document or a resource.
//!
//! A path is taken apart once, when a table is loaded. At run time a step is a name to look up and, in a list, a rule
//! for which elements are meant, so that both directions walk the same steps.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use serde_json::Value;

/// Which elements of a list a step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// The only element: the first that fits is read, the rest are left to the ledger.
    First,
    /// Every element that fits, numbered.
    Each,
    /// Every element that fits, without numbers: conditions look everywhere.
    Any,
}

/// One name on the way to a value.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub name: Box<str>,
    /// The place among the siblings when the tree is written.
    pub position: u32,
    /// Whether the step is written as an array.
    pub list: bool,
    pub take: Take,
    /// The identity of the container within its table: which list elements rows share, and their order.
    pub slot: u32,
    /// What an element must have to be meant.
    pub conds: Vec<Cond>,
}

/// A condition on an element: one of the values at a path inside it.
#[derive(Debug, Clone)]
pub(super) struct Cond {
    pub steps: Vec<Step>,
    /// The first is written, all are read.
    pub values: Vec<Value>,
    pub test: Test,
}

/// What a condition asks of the values it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// One of them is wanted; it is written on the way out and read on the way back.
    Picks,
    /// None may be another than those wanted.
    Agrees,
    /// None may be one of these.
    Differs,
}

impl Step {
    fn fits(&self, element: &Value) -> bool {
        self.conds.iter().all(|cond| cond.holds(element))
    }
}

impl Cond {
    fn holds(&self, element: &Value) -> bool {
        let (mut seen, mut equal) = (false, false);
        walk(element, &self.steps, &mut Vec::new(), None, &mut |_, value| {
            seen = true;
            equal |= self.values.contains(value);
            equal
        });
        match self.test {
            Test::Picks => equal,
            Test::Agrees => equal || !seen,
            Test::Differs => !equal,
        }
    }

    /// Notes the values by which the element was picked as read.
    fn mark(&self, element: &Value, marks: &Marks) {
        walk(element, &self.steps, &mut Vec::new(), Some(marks), &mut |_, value| {
            let hit = self.values.contains(value);
            if hit {
                marks.see(value);
            }
            hit
        });
    }
}

/// Which values of a tree have been read, by their address: the tree is borrowed all the while.
#[derive(Debug, Default)]
pub(super) struct Marks(RefCell<HashSet<usize, BuildHasherDefault<AddressHasher>>>);

impl Marks {
    pub fn see(&self, value: &Value) {
        self.0.borrow_mut().insert(std::ptr::from_ref(value).addr());
    }

    pub fn has(&self, value: &Value) -> bool {
        self.0.borrow().contains(&std::ptr::from_ref(value).addr())
    }
}

/// Addresses are spread well enough by one multiplication.
#[derive(Debug, Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Calls `visit` with every value the steps lead to and the numbers of the list elements on the way. `visit` says
/// whether it used the value; the conditions that picked a used value are marked as read. Returns whether any was used.
pub(super) fn walk<'v>(
    node: &'v Value,
    steps: &[Step],
    index: &mut Vec<u32>,
    marks: Option<&Marks>,
    visit: &mut dyn FnMut(&[u32], &'v Value) -> bool,
) -> bool {
    let Some((step, rest)) = steps.split_first() else { return visit(index, node) };
    let Some(child) = node.get(&*step.name) else { return false };
    let elements = match child {
        Value::Array(elements) => elements.as_slice(),
        single => std::slice::from_ref(single),
    };
    let (mut used, mut number) = (false, 0);
    for element in elements.iter().filter(|e| step.fits(e)) {
        if step.take == Take::Each {
            index.push(number);
        }
        let hit = walk(element, rest, index, marks, visit);
        if step.take == Take::Each {
            index.pop();
            number += 1;
        }
        if hit {
            used = true;
            if let Some(marks) = marks {
                step.conds.iter().filter(|c| c.test == Test::Picks).for_each(|c| c.mark(element, marks));
            }
        }
        if step.take == Take::First {
            break;
        }
    }
    used
}

/// The first value the steps lead to, if it is one.
pub(super) fn first<'v>(node: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    let mut found = None;
    walk(node, steps, &mut Vec::new(), None, &mut |_, value| {
        if found.is_none() && !is_absent(value) {
            found = Some(value);
        }
        found.is_some()
    });
    found
}

/// The value at the given list numbers.
pub(super) fn at<'v>(node: &'v Value, steps: &[Step], numbers: &[u32]) -> Option<&'v Value> {
    let mut found = None;
    walk(node, steps, &mut Vec::new(), None, &mut |index, value| {
        if index == numbers {
            found = Some(value);
        }
        false
    });
    found
}

/// What counts as nothing: neither direction writes it, so neither reads it.
pub(super) fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// How many numbered lists the steps pass.
pub(super) fn lists(steps: &[Step]) -> usize {
    steps.iter().filter(|s| s.take == Take::Each).count()
}

/// The path as people write it, with the numbers filled in.
pub(super) fn render(steps: &[Step], numbers: &[u32]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(steps.iter().map(|s| s.name.len() + 4).sum());
    let mut numbers = numbers.iter();
    for step in steps {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&step.name);
        if step.take == Take::Each {
            match numbers.next() {
                // Writing to a String cannot fail.
                Some(number) => drop(write!(text, "[{number}]")),
                None => text.push_str("[]"),
            }
        }
    }
    text
}

/// A path as written in a table, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written<'a> {
    /// It begins with `/`: from the document's root.
    pub root: bool,
    pub parts: Vec<Part<'a>>,
}

/// `name`, `name[]`, `name[alias]` or `name[each alias]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub name: &'a str,
    pub each: bool,
    pub alias: Option<&'a str>,
}

impl<'a> Written<'a> {
    /// Takes a path apart; `None` if it is not one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (root, mut rest) = text.strip_prefix('/').map_or((false, text), |r| (true, r));
        let mut parts = Vec::new();
        if rest == "." || (root && rest.is_empty()) {
            return Some(Self { root, parts });
        }
        loop {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end)?;
            if name.is_empty() || name.contains([']', ' ', '/']) {
                return None;
            }
            let mut part = Part { name, each: false, alias: None };
            rest = after;
            if let Some(inside) = rest.strip_prefix('[') {
                let (selector, after) = inside.split_once(']')?;
                match selector.split_once(' ') {
                    Some(("each", alias)) => (part.each, part.alias) = (true, Some(alias)),
                    Some(_) => return None,
                    None if selector.is_empty() => part.each = true,
                    None => part.alias = Some(selector),
                }
                rest = after;
            }
            parts.push(part);
            if rest.is_empty() {
                return Some(Self { root, parts });
            }
            rest = rest.strip_prefix('.')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(name: &str, take: Take) -> Step {
        Step { name: name.into(), position: 0, list: take == Take::Each, take, slot: 0, conds: Vec::new() }
    }

    #[test]
    fn a_path_is_taken_apart() {
        let path = Written::parse("activity[each intervention].detail.extension[intervention-id].valueString").unwrap();
        assert_eq!(path.parts.len(), 4);
        assert_eq!(path.parts[0], Part { name: "activity", each: true, alias: Some("intervention") });
        assert_eq!(path.parts[2], Part { name: "extension", each: false, alias: Some("intervention-id") });
        assert!(Written::parse("/id").unwrap().root);
        assert!(Written::parse(".").unwrap().parts.is_empty());
        for wrong in ["", "a..b", "a[", "a[]b", "a[some b]", "a b", ".a", "a."] {
            assert_eq!(Written::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_list_without_brackets_means_its_only_element() {
        let tree = json!({ "a": [{ "b": 1 }, { "b": 2 }] });
        assert_eq!(first(&tree, &[step("a", Take::First), step("b", Take::First)]), Some(&json!(1)));
        let mut all = Vec::new();
        walk(&tree, &[step("a", Take::Each), step("b", Take::First)], &mut Vec::new(), None, &mut |index, value| {
            all.push((index.to_vec(), value.clone()));
            true
        });
        assert_eq!(all, [(vec![0], json!(1)), (vec![1], json!(2))]);
    }

    #[test]
    fn picked_elements_are_numbered_among_themselves_and_their_conditions_are_read() {
        let tree = json!({ "a": [{ "s": "x", "v": 1 }, { "s": "y", "v": 2 }, { "s": "x", "v": 3 }] });
        let mut picked = step("a", Take::Each);
        picked.conds =
            vec![Cond { steps: vec![step("s", Take::Any)], values: vec![json!("w"), json!("x")], test: Test::Picks }];
        let marks = Marks::default();
        let mut all = Vec::new();
        walk(&tree, &[picked, step("v", Take::First)], &mut Vec::new(), Some(&marks), &mut |index, value| {
            all.push((index.to_vec(), value.clone()));
            true
        });
        assert_eq!(all, [(vec![0], json!(1)), (vec![1], json!(3))]);
        assert!(marks.has(&tree["a"][2]["s"]));
        assert!(!marks.has(&tree["a"][1]["s"]));
    }
}
