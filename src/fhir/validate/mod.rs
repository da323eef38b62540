//! Validates a resource against base R4, Swedish values and our profiles; every finding at once.

mod contained;
mod invariant;
mod narrative;
mod near;
mod path;
mod reference;
mod required;
mod schema;
mod swedish;
mod type_names;
mod walk;

use serde_json::Value;

use crate::domain::kva::CodeList;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::profile::Profiles;

pub(crate) use near::{hint, nearest};
pub(crate) use path::Path;
pub(crate) use reference::{Surroundings, target_type};

/// What a resource is validated against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub profiles: &'a Profiles,
    /// KVÅ in force.
    pub codes: &'a CodeList,
}

/// More findings than this help nobody.
pub(crate) const MOST_FINDINGS: usize = 500;

/// Validates a resource against R4 and the profiles it claims in `meta.profile`.
pub fn validate(resource: &Value, context: &Context<'_>) -> Vec<Issue> {
    validate_as(resource, &[], context)
}

/// The same, and against further profiles whether it claims them or not.
pub fn validate_as(resource: &Value, profiles: &[&str], context: &Context<'_>) -> Vec<Issue> {
    let mut issues = Vec::new();
    walk::document(resource, profiles, context, &mut issues);
    if issues.len() >= MOST_FINDINGS {
        issues.truncate(MOST_FINDINGS);
        issues.push(Issue::error(
            Code::TooCostly,
            "",
            "fler anmärkningar visas inte; rätta dessa först",
            "no more findings are shown; mend these first",
        ));
    }
    issues
}

/// R4's invariants that are not enforced: where, key and why. `vardkedja check` lists them.
pub fn not_enforced() -> &'static [(&'static str, &'static str, &'static str)] {
    invariant::NOT_ENFORCED
}

/// R4's invariants that are enforced by functions of ours: of which class, and key.
pub fn enforced() -> impl Iterator<Item = (&'static str, &'static str)> {
    invariant::RULES.iter().map(|rule| (rule.class, rule.key))
}

#[cfg(test)]
mod tests;
