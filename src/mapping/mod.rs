//! Tables read both ways: a source document to FHIR resources and back. Pure: no clock, no socket, no file after load.

mod back;
mod check;
mod claim;
mod codes;
mod compile;
mod convert;
mod draft;
mod folder;
mod ledger;
mod message;
mod narrative;
mod near;
mod out;
mod path;
mod place;
mod plan;
mod shape;
mod table;
mod time;
mod xml;

use serde_json::Value;
use uuid::Uuid;

pub use back::Back;
pub use folder::{Envelope, Files, Mappings};
pub use message::Source;
pub use plan::Table;

use crate::fhir::issue::Issue;
use crate::fhir::resource::reference_of;

/// The resources of a document, what is to be said about them, and where every element comes from.
#[derive(Debug)]
pub struct Out {
    pub resources: Vec<Mapped>,
    pub issues: Vec<Issue>,
    pub trace: Vec<Trace>,
}

/// A resource and the block of the table that made it. References between resources are `Type/id`.
#[derive(Debug, Clone)]
pub struct Mapped {
    pub block: String,
    pub value: Value,
}

/// Where one element comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `ServiceRequest.reasonCode[0].text`
    pub expression: String,
    /// `Type/id`
    pub resource: String,
    /// `referral.json.toml [request] row 5`
    pub origin: String,
    /// The field's path in the document; empty for links and constants.
    pub source: String,
    pub via: Option<String>,
}

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

/// Who gives resources their ids: the same question must get the same answer.
pub trait Ids {
    fn id(&self, ask: &IdAsk<'_>) -> String;
}

/// What an id is asked for.
#[derive(Debug, Clone, Copy)]
pub struct IdAsk<'a> {
    pub resource_type: &'a str,
    pub block: &'a str,
    /// The block's key in this item, with those of enclosing items; empty for a block without one.
    pub key: &'a str,
    /// Someone outside the document: one however many documents and blocks name it.
    pub actor: bool,
}

/// Ids for examples and tests, the same on every run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExampleIds;

impl Ids for ExampleIds {
    fn id(&self, ask: &IdAsk<'_>) -> String {
        let block = if ask.actor { "" } else { ask.block };
        let name = format!("vardkedja example|{}|{block}|{}", ask.resource_type, ask.key);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests;
