//! What a client may do, as SMART says it: `system/Procedure.rs?code=…` (SMART App Launch 2, "Scopes for requesting FHIR
//! Resources") and the older `system/Procedure.read`.
//!
//! A scope that is not understood or not served is left out of what is granted; it is no reason to refuse the rest.

use std::fmt;

use crate::store::Right;

/// Scopes read from one string; more than this are not looked at.
pub const MOST_SCOPES: usize = 200;
/// Letters of one string of scopes that are looked at.
pub const MOST_LETTERS: usize = 16_384;

/// What may be done with resources of a type: SMART's letters `cruds`, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights {
    pub create: bool,
    pub read: bool,
    pub update: bool,
    pub delete: bool,
    pub search: bool,
}

impl Rights {
    pub const ALL: Self = Self { create: true, read: true, update: true, delete: true, search: true };
    pub const READ: Self = Self { create: false, read: true, update: false, delete: false, search: true };
    pub const WRITE: Self = Self { create: true, read: false, update: true, delete: true, search: false };

    /// `rs`, or the older words. The letters come in their order and once each.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => return Some(Self::ALL),
            "read" => return Some(Self::READ),
            "write" => return Some(Self::WRITE),
            _ => {}
        }
        let mut rights = Self::default();
        let mut rest = text;
        for (letter, right) in [
            ("c", &mut rights.create),
            ("r", &mut rights.read),
            ("u", &mut rights.update),
            ("d", &mut rights.delete),
            ("s", &mut rights.search),
        ] {
            if let Some(after) = rest.strip_prefix(letter) {
                (*right, rest) = (true, after);
            }
        }
        (rest.is_empty() && !text.is_empty()).then_some(rights)
    }

    /// What both allow.
    pub fn and(self, other: Self) -> Self {
        Self {
            create: self.create && other.create,
            read: self.read && other.read,
            update: self.update && other.update,
            delete: self.delete && other.delete,
            search: self.search && other.search,
        }
    }

    /// Which of them there are, in the order of their letters.
    pub fn each(self) -> impl Iterator<Item = Right> {
        let has = [self.create, self.read, self.update, self.delete, self.search];
        Right::ALL.into_iter().zip(has).filter(|(_, has)| *has).map(|(right, _)| right)
    }

    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.each().try_for_each(|right| write!(f, "{}", right.letter()))
    }
}

/// One scope at system level.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `None` for `*`.
    pub resource_type: Option<String>,
    pub rights: Rights,
    /// Search criteria that a resource must satisfy to be covered, decoded.
    pub criteria: Vec<(String, String)>,
}

impl Scope {
    /// Reads one scope. `None` where it is of another form or another level than `system`.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, query) = text.split_once('?').map_or((text, None), |(head, query)| (head, Some(query)));
        let (resource_type, rights) = head.strip_prefix("system/")?.split_once('.')?;
        let is_type = resource_type.starts_with(|c: char| c.is_ascii_uppercase())
            && resource_type.chars().all(|c| c.is_ascii_alphanumeric());
        if !is_type && resource_type != "*" {
            return None;
        }
        let criteria: Vec<(String, String)> = match query {
            Some(query) => form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            None => Vec::new(),
        };
        // `?` with nothing behind it was meant to narrow something.
        if query.is_some() && (criteria.is_empty() || criteria.iter().any(|(n, v)| n.is_empty() || v.is_empty())) {
            return None;
        }
        Some(Self {
            resource_type: is_type.then(|| resource_type.to_owned()),
            rights: Rights::parse(rights)?,
            criteria,
        })
    }

    /// Whether it says something of resources of that type.
    pub fn is_about(&self, resource_type: &str) -> bool {
        self.resource_type.as_deref().is_none_or(|t| t == resource_type)
    }

    /// Whether it allows no more than the other.
    pub fn is_within(&self, other: &Self) -> bool {
        self.and(other).as_ref() == Some(self)
    }

    /// What both allow: the narrower type, the rights of both, the criteria of both. `None` where that is nothing.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let resource_type = match (&self.resource_type, &other.resource_type) {
            (Some(a), Some(b)) if a != b => return None,
            (Some(a), _) => Some(a.clone()),
            (None, b) => b.clone(),
        };
        let rights = self.rights.and(other.rights);
        let mut criteria = self.criteria.clone();
        criteria.extend(other.criteria.iter().filter(|c| !self.criteria.contains(c)).cloned());
        (!rights.is_none()).then_some(Self { resource_type, rights, criteria })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system/{}.{}", self.resource_type.as_deref().unwrap_or("*"), self.rights)?;
        if !self.criteria.is_empty() {
            let mut query = form_urlencoded::Serializer::new(String::new());
            write!(f, "?{}", query.extend_pairs(&self.criteria).finish())?;
        }
        Ok(())
    }
}

/// The scopes in a string, those that are understood; each once.
pub fn read(text: &str) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    // What is cut off in its middle could say more than it did whole.
    let within = match text.len() > MOST_LETTERS {
        true => text
            .get(..MOST_LETTERS)
            .and_then(|begin| begin.rsplit_once([' ', '\t', '\n', '\r']))
            .map_or("", |(whole, _)| whole),
        false => text,
    };
    for scope in within.split_ascii_whitespace().take(MOST_SCOPES).filter_map(Scope::parse) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

/// The scopes as one string, as a token and an answer have them.
pub fn write(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ")
}

/// What is granted: what was asked for, as far as it was agreed. Nothing asked for means all that was agreed.
pub fn grant(agreed: &[Scope], asked: Option<&str>) -> Vec<Scope> {
    let Some(asked) = asked else { return agreed.to_vec() };
    let mut granted: Vec<Scope> = Vec::new();
    for scope in read(asked) {
        for both in agreed.iter().filter_map(|agreed| scope.and(agreed)) {
            if !granted.contains(&both) {
                granted.push(both);
            }
        }
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        read(text).iter().map(Scope::to_string).collect()
    }

    #[test]
    fn both_forms_of_scopes_are_read_and_others_are_left_out() {
        let text = "system/Procedure.rs?code=DV133 system/*.read system/Task.cu openid fhirUser launch/patient \
                    patient/Task.rs user/Task.rs system/Task.sr system/Task. system/task.r system/Procedure.rs? Task.r";
        assert_eq!(all(text), ["system/Procedure.rs?code=DV133", "system/*.rs", "system/Task.cu"]);
    }

    #[test]
    fn a_grant_is_never_wider_than_the_agreement() {
        let agreed = read("system/Procedure.rs?code=DV133 system/Task.crus");
        let granted = |asked| grant(&agreed, Some(asked)).iter().map(Scope::to_string).collect::<Vec<_>>();
        assert_eq!(granted("system/*.rs"), ["system/Procedure.rs?code=DV133", "system/Task.rs"]);
        assert_eq!(granted("system/Procedure.cruds"), ["system/Procedure.rs?code=DV133"]);
        assert_eq!(
            granted("system/Procedure.r?date=ge2026"),
            ["system/Procedure.r?date=ge2026&code=DV133"],
            "both criteria hold"
        );
        assert!(granted("system/Patient.rs system/Procedure.c").is_empty());
        for scope in grant(&agreed, Some("system/*.rs system/Task.c system/Procedure.r?date=ge2026")) {
            assert!(agreed.iter().any(|one| scope.is_within(one)), "{scope}");
        }
        for wider in read("system/Procedure.rs system/Task.cruds system/Procedure.r?date=ge2026 system/Patient.r") {
            assert!(!agreed.iter().any(|one| wider.is_within(one)), "{wider}");
        }
        assert_eq!(grant(&agreed, None), agreed);
    }

    #[test]
    fn a_scope_that_is_written_is_read_back_the_same() {
        for text in ["system/Procedure.rs?code=urn%3Aoid%3A1.2%7CDV133&date=ge2026", "system/*.cruds"] {
            assert_eq!(all(text), [text]);
        }
    }

    #[test]
    fn a_scope_that_is_cut_off_says_nothing_rather_than_more() {
        // The bound falls between the scope and its criterion, and into a letter of two bytes.
        for (before, scope) in [(19, "system/Procedure.rs?code=DV133"), (20, "system/Procedure.rsé")] {
            let text = format!("{}{scope}", " ".repeat(MOST_LETTERS - before));
            assert!(read(&text).is_empty(), "{scope}: {:?}", read(&text));
        }
        let just = format!("{}system/Task.cruds", " ".repeat(MOST_LETTERS - 17));
        assert_eq!(read(&just).len(), 1, "up to the bound all is read");
        let at_the_end = format!("{}system/Task.r x", " ".repeat(MOST_LETTERS - 14));
        assert_eq!(read(&at_the_end).len(), 1, "what is whole counts");
    }

    #[test]
    fn a_megabyte_of_scopes_costs_no_more_than_the_bound() {
        let text = "system/Task.r ".repeat(100_000);
        assert_eq!(read(&text).len(), 1);
        let other: String = (0..10_000).map(|n| format!("system/Task.r?_id={n} ")).collect();
        assert!(read(&other).len() <= MOST_SCOPES);
    }
}
