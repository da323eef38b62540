//! Ties a finding about a mapped element to the row and the source field that made it.

use serde_json::Value;

use super::Trace;
use crate::fhir::issue::Issue;
use crate::fhir::resource::reference_of;

/// A finding about a mapped element, with the row and the source field that made it.
pub fn traced(issue: Issue, resource: &Value, trace: &[Trace]) -> Issue {
    if issue.origin.is_some() {
        return issue;
    }
    let name = reference_of(resource).unwrap_or_default();
    // The row of the element itself, or of the nearest element around or inside it.
    let near = |t: &&Trace| {
        let (short, long) = if t.expression.len() < issue.expression.len() {
            (&t.expression, &issue.expression)
        } else {
            (&issue.expression, &t.expression)
        };
        long.strip_prefix(short.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let nearest = trace
        .iter()
        .filter(|t| t.resource == name)
        .filter(near)
        .min_by_key(|t| (t.source.is_empty(), t.expression.len().abs_diff(issue.expression.len())));
    match nearest {
        Some(row) if row.source.is_empty() => issue.from(row.origin.clone()),
        Some(row) => issue.from(format!("{}, source {}", row.origin, row.source)),
        None => issue,
    }
}
