//! Two systems have the same resource and both have changed it: what stands afterwards, at either, and what a person has to
//! decide. Three versions are compared, element by element: the one that both knew (`base`), ours and theirs. Pure.
//!
//! An element that only its owner has changed is the owner's. One that the other side changed is not taken over and not lost:
//! the owner's word stands, and the other is a [`Clash`]. What a side added to its own copy, where we have never said anything,
//! stays there.

mod elements;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use elements::{Elements, elements, get, put, set};

/// An element on which the sides differ and which the owner did not change alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    pub path: String,
    pub base: Option<Value>,
    pub ours: Option<Value>,
    pub theirs: Option<Value>,
}

/// An element that its owner changed at the partner: what stood here, and what stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub path: String,
    pub was: Option<Value>,
    pub is: Option<Value>,
}

/// What becomes of ours when theirs is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    pub resource: Value,
    pub taken: Vec<Taken>,
    pub clashes: Vec<Clash>,
}

/// What becomes of theirs when ours is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What is to stand there.
    pub resource: Value,
    /// Elements that were changed there by their owner, or added, and that we have not read yet.
    pub unread: Vec<String>,
    pub clashes: Vec<Clash>,
}

/// What a side may add to its copy without anybody having to know.
const ADDITIONS: [&str; 2] = ["extension", "modifierExtension"];

/// Reads theirs into ours. `is_theirs`: whether the element is the partner's own word.
pub fn incoming(base: &Value, ours: &Value, theirs: &Value, is_theirs: impl Fn(&str) -> bool) -> Incoming {
    let (b, o, t) = (elements(base), elements(ours), elements(theirs));
    let mut read = Incoming { resource: ours.clone(), taken: Vec::new(), clashes: Vec::new() };
    for path in paths(&[&b, &o, &t]) {
        let (b, o, t) = (b.get(path), o.get(path), t.get(path));
        if t == b || t == o || (o.is_none() && b.is_none() && ADDITIONS.contains(&path.as_str())) {
            continue;
        }
        if is_within_gone(path, ours, theirs) {
            continue;
        }
        if is_theirs(path) {
            set(&mut read.resource, path, theirs);
            let said = |of: &Value| get(of, path).cloned();
            read.taken.push(Taken { path: path.clone(), was: said(ours), is: said(theirs) });
        } else {
            read.clashes.push(clash(path, base, ours, theirs));
        }
    }
    read
}

/// Writes ours over theirs. `now`: ours as it stands now, which has the last word that was heard of what is theirs; `ours` may be
/// an older version that is only sent now.
pub fn outgoing(base: &Value, ours: &Value, theirs: &Value, now: &Value, is_theirs: impl Fn(&str) -> bool) -> Outgoing {
    let (b, o, t) = (elements(base), elements(ours), elements(theirs));
    let mut written = Outgoing { resource: ours.clone(), unread: Vec::new(), clashes: Vec::new() };
    for path in paths(&[&b, &o, &t]) {
        let (b, o, t) = (b.get(path), o.get(path), t.get(path));
        if is_theirs(path) && (t.is_some() || b.is_some()) && has_item(theirs, path) && has_item(ours, path) {
            if t != b && t != o {
                written.unread.push(path.clone());
                set(&mut written.resource, path, theirs);
            } else if has_item(now, path) {
                set(&mut written.resource, path, now);
            }
        } else if o == t {
        } else if o.is_none() && b.is_none() {
            // Added there: it stays there, and is read.
            set(&mut written.resource, path, theirs);
            written.unread.push(path.clone());
        } else if t != b && !is_within_gone(path, ours, theirs) {
            written.clashes.push(clash(path, base, ours, theirs));
        }
    }
    // Where it stands there.
    if let Some(id) = theirs.get("id")
        && let Some(object) = written.resource.as_object_mut()
    {
        object.insert("id".to_owned(), id.clone());
    }
    keep_identifiers(&mut written.resource, theirs);
    written
}

/// Whether both say the same, as far as it is compared.
pub fn is_same(a: &Value, b: &Value) -> bool {
    elements(a) == elements(b)
}

fn clash(path: &str, base: &Value, ours: &Value, theirs: &Value) -> Clash {
    let said = |of: &Value| get(of, path).cloned();
    Clash { path: path.to_owned(), base: said(base), ours: said(ours), theirs: said(theirs) }
}

fn paths<'a>(of: &[&'a Elements]) -> std::collections::BTreeSet<&'a String> {
    of.iter().flat_map(|elements| elements.keys()).collect()
}

/// Whether the item that the element stands in is there.
fn has_item(resource: &Value, path: &str) -> bool {
    path.split_once(']').is_none_or(|(item, _)| get(resource, &format!("{item}]")).is_some())
}

/// What stands in an item that one side has taken away goes with the item.
fn is_within_gone(path: &str, ours: &Value, theirs: &Value) -> bool {
    !(path.ends_with(']') || has_item(ours, path) && has_item(theirs, path))
}

/// A partner's own identifiers of the resource are its own.
fn keep_identifiers(resource: &mut Value, theirs: &Value) {
    let Some(known) = theirs["identifier"].as_array() else { return };
    let Some(own) = resource.get_mut("identifier").and_then(Value::as_array_mut) else { return };
    let missing = known.iter().filter(|k| !own.iter().any(|o| o["system"] == k["system"] && o["value"] == k["value"]));
    let missing: Vec<Value> = missing.cloned().collect();
    own.extend(missing);
}
