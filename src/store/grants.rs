//! What a caller's scopes allow, read into values that can be compared: for each type, which rights, and under which criteria.
//!
//! `r` is for what is named (reads, versions, histories of one resource, `$everything`, `$document`, the exchange that a
//! resource belongs to), `s` for what is found (searches with all that they bring along, follow and count, histories of a type
//! or of everything), as SMART App Launch 2 divides them. A criterion holds of the resource as it stands, and of a version as
//! that version stood: a resource that is hidden now is hidden with all its versions.

use std::collections::{BTreeMap, BTreeSet};

use crate::fhir::search::{Clause, TokenMatch};

/// One of SMART's letters, `cruds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Create,
    Read,
    Update,
    Delete,
    Search,
}

impl Right {
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// As it stands in a scope.
    pub fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }
}

/// All that scopes allow. What no scope speaks of is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    by_type: BTreeMap<String, BTreeMap<Right, Allowed>>,
    /// Rights to every resource of every type.
    everywhere: BTreeSet<Right>,
    /// Types that nothing allows.
    never: &'static [&'static str],
}

/// What of a type is allowed with a right: every resource, or those that satisfy one of these lists of clauses wholly.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    All,
    AnyOf(Vec<Vec<Clause>>),
}

/// How much of a type a right extends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    Nothing,
    All,
    /// What satisfies all clauses of one of the lists.
    AnyOf(&'a [Vec<Clause>]),
}

impl Grants {
    /// Adds what one scope says of a type.
    pub fn allow(&mut self, resource_type: &str, right: Right, criteria: Vec<Clause>) {
        let rights = self.by_type.entry(resource_type.to_owned()).or_default();
        match rights.get_mut(&right) {
            _ if criteria.is_empty() => {
                rights.insert(right, Allowed::All);
            }
            Some(Allowed::All) => {}
            Some(Allowed::AnyOf(lists)) => add(lists, criteria),
            None => {
                rights.insert(right, Allowed::AnyOf(vec![criteria]));
            }
        }
    }

    /// Adds a right to everything.
    pub fn allow_everywhere(&mut self, right: Right) {
        self.everywhere.insert(right);
    }

    /// Takes these types out, whatever else says of them.
    pub fn bar(&mut self, types: &'static [&'static str]) {
        self.never = types;
    }

    /// The same as far as it is about these types.
    #[must_use]
    pub fn only(&self, types: &[&str]) -> Self {
        let mut narrow = Self { never: self.never, ..Self::default() };
        for (resource_type, right) in types.iter().flat_map(|name| Right::ALL.map(|right| (*name, right))) {
            match self.extent(resource_type, right) {
                Extent::Nothing => {}
                Extent::All => narrow.allow(resource_type, right, Vec::new()),
                Extent::AnyOf(lists) => {
                    lists.iter().for_each(|list| narrow.allow(resource_type, right, list.clone()));
                }
            }
        }
        narrow
    }

    /// How much of the type the right extends to.
    pub fn extent(&self, resource_type: &str, right: Right) -> Extent<'_> {
        if self.never.contains(&resource_type) {
            return Extent::Nothing;
        }
        if self.everywhere.contains(&right) {
            return Extent::All;
        }
        match self.by_type.get(resource_type).and_then(|rights| rights.get(&right)) {
            None => Extent::Nothing,
            Some(Allowed::All) => Extent::All,
            Some(Allowed::AnyOf(lists)) => Extent::AnyOf(lists),
        }
    }
}

/// Scopes that differ only in a code are one question: any of the codes.
fn add(lists: &mut Vec<Vec<Clause>>, criteria: Vec<Clause>) {
    if lists.contains(&criteria) {
        return;
    }
    if let [Clause::Token { param, any_of }] = criteria.as_slice() {
        let same = lists.iter_mut().find_map(|list| match list.as_mut_slice() {
            [Clause::Token { param: known, any_of }] if known == param => Some(any_of),
            _ => None,
        });
        if let Some(known) = same {
            let new: Vec<TokenMatch> = any_of.iter().filter(|token| !known.contains(token)).cloned().collect();
            known.extend(new);
            return;
        }
    }
    lists.push(criteria);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: &str) -> Clause {
        Clause::Token { param: "code".into(), any_of: vec![TokenMatch { system: None, code: Some(code.into()) }] }
    }

    #[test]
    fn scopes_add_up_and_one_without_criteria_covers_all() {
        let mut grants = Grants::default();
        assert_eq!(grants.extent("Procedure", Right::Read), Extent::Nothing);
        grants.allow("Procedure", Right::Read, vec![code("A")]);
        grants.allow("Procedure", Right::Read, vec![code("B")]);
        grants.allow("Procedure", Right::Read, vec![code("C"), Clause::Id(vec!["x".into()])]);
        let Extent::AnyOf(lists) = grants.extent("Procedure", Right::Read) else { panic!("criteria") };
        assert_eq!(lists.len(), 2, "codes are one question: {lists:?}");
        assert_eq!(grants.extent("Procedure", Right::Search), Extent::Nothing, "a right is not another");
        grants.allow("Procedure", Right::Read, Vec::new());
        grants.allow("Procedure", Right::Read, vec![code("D")]);
        assert_eq!(grants.extent("Procedure", Right::Read), Extent::All);
        grants.allow_everywhere(Right::Search);
        assert_eq!(grants.extent("Task", Right::Search), Extent::All);
        assert_eq!(grants.extent("Task", Right::Read), Extent::Nothing);
    }

    #[test]
    fn what_is_barred_is_allowed_by_nothing_and_what_is_left_of_some_types_is_no_more_than_before() {
        let mut grants = Grants::default();
        grants.allow_everywhere(Right::Search);
        grants.allow("Task", Right::Read, vec![code("A")]);
        grants.allow("Composition", Right::Read, Vec::new());
        grants.bar(&["Composition"]);
        for right in Right::ALL {
            assert_eq!(grants.extent("Composition", right), Extent::Nothing);
        }
        let only = grants.only(&["Task", "Composition"]);
        assert_eq!(only.extent("Task", Right::Search), Extent::All);
        assert!(matches!(only.extent("Task", Right::Read), Extent::AnyOf([_])));
        assert_eq!(only.extent("Task", Right::Update), Extent::Nothing);
        assert_eq!(only.extent("Composition", Right::Search), Extent::Nothing);
        assert_eq!(only.extent("Goal", Right::Search), Extent::Nothing, "a right to everything is none to the rest");
    }
}
