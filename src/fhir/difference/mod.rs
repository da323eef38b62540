//! What differs between two versions of a plan, said about care and not about JSON: what was added, ended, moved to whom.
//!
//! A plan and what it refers to are read into an [`Outline`] of named items with named values; two outlines are compared, and
//! what was found can be applied to the first to get the second. The order in which a plan lists things says nothing.

mod outline;
mod say;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use outline::{Fields, Outline, Part, outline};
pub use say::{Said, Speaker};

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Added,
    /// It stands in the plan no more.
    Removed,
    /// It stands in the plan and is over.
    Ended,
    /// Another unit or level answers for it.
    Moved,
    Changed,
}

impl What {
    pub const ALL: [Self; 5] = [Self::Added, Self::Removed, Self::Ended, Self::Moved, Self::Changed];

    pub fn code(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Ended => "ended",
            Self::Moved => "moved",
            Self::Changed => "changed",
        }
    }
}

/// A value that differs. None is an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub from: Vec<String>,
    pub to: Vec<String>,
}

/// What happened to one item; of an item that was moved and changed there are two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub what: What,
    pub part: Part,
    pub key: String,
    pub fields: Vec<Field>,
    /// The item as it was, and as it is.
    pub before: Fields,
    pub after: Fields,
}

impl Change {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A value of the item as it is, or as it was where it is gone.
    pub fn of(&self, name: &str) -> Option<&str> {
        let fields = if self.what == What::Removed { &self.before } else { &self.after };
        fields.get(name)?.first().map(String::as_str)
    }
}

/// Which statuses say that an item of the part is over.
fn ends(part: Part) -> &'static [&'static str] {
    match part {
        Part::Plan => &["completed", "revoked", "entered-in-error"],
        Part::Intervention | Part::FollowUp => &["completed", "cancelled", "stopped", "entered-in-error"],
        Part::Goal => &["completed", "cancelled", "rejected", "entered-in-error"],
        Part::Need | Part::Team => &[],
    }
}

fn is_over(part: Part, fields: &Fields) -> bool {
    let status = fields.get("status").and_then(|values| values.first());
    status.is_some_and(|status| ends(part).contains(&status.as_str()))
}

/// What leads from `from` to `to`: nothing where they say the same.
pub fn difference(from: &Outline, to: &Outline) -> Vec<Change> {
    let keys: BTreeSet<_> = from.items.keys().chain(to.items.keys()).collect();
    let mut changes = Vec::new();
    for (part, key) in keys {
        let at = (*part, key.clone());
        let (before, after) = (from.items.get(&at), to.items.get(&at));
        let none = Fields::new();
        let fields = differing(before.unwrap_or(&none), after.unwrap_or(&none));
        let of = |what, fields| Change {
            what,
            part: *part,
            key: key.clone(),
            fields,
            before: before.cloned().unwrap_or_default(),
            after: after.cloned().unwrap_or_default(),
        };
        match (before, after) {
            (None, _) => changes.push(of(What::Added, fields)),
            (_, None) => changes.push(of(What::Removed, fields)),
            (Some(before), Some(after)) => {
                let has_ended = is_over(*part, after) && !is_over(*part, before);
                let kind = |field: &Field| match field.name.as_str() {
                    "status" | "end" if has_ended => What::Ended,
                    "responsible" | "level" => What::Moved,
                    _ => What::Changed,
                };
                for what in [What::Ended, What::Moved, What::Changed] {
                    let those: Vec<Field> = fields.iter().filter(|f| kind(f) == what).cloned().collect();
                    if !those.is_empty() {
                        changes.push(of(what, those));
                    }
                }
            }
        }
    }
    changes
}

fn differing(before: &Fields, after: &Fields) -> Vec<Field> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |fields: &Fields, name: &String| fields.get(name).cloned().unwrap_or_default();
    let fields =
        names.into_iter().map(|name| Field { name: name.clone(), from: of(before, name), to: of(after, name) });
    fields.filter(|field| field.from != field.to).collect()
}

/// The outline after the changes.
pub fn apply(outline: &Outline, changes: &[Change]) -> Outline {
    let mut result = outline.clone();
    for change in changes {
        let at = (change.part, change.key.clone());
        if change.what == What::Removed {
            result.items.remove(&at);
            continue;
        }
        let item = result.items.entry(at).or_default();
        for field in &change.fields {
            if field.to.is_empty() {
                item.remove(&field.name);
            } else {
                item.insert(field.name.clone(), field.to.clone());
            }
        }
    }
    result
}

/// How many of each there are.
pub fn counts(changes: &[Change]) -> BTreeMap<&'static str, usize> {
    What::ALL.iter().map(|what| (what.code(), changes.iter().filter(|change| change.what == *what).count())).collect()
}
