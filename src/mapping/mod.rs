//! Tables read both ways: a source document to FHIR resources and back. Pure: no clock, no socket, no file after load.
//!
//! A folder of files is loaded once (`folder`): TOML as it is written (`table`), code maps (`codes`), XML shapes
//! (`shape`), and every table compiled against the R4 schema with all findings (`compile` → `plan`). At run time nothing
//! is parsed but the document:
//!
//! * `message`, `xml`: a RIV-TA message to the tree that tables read, and back;
//! * `out`: items, keys and ids; then source rows, links, constants and needs;
//! * `back`: one anchor, what links connect (`claim`), which item each resource is (`place`), then the rows;
//! * `form`: lists where one value belongs, and the other way about;
//! * `ledger`: on both ways, what no row read;
//! * `check`: the folder's examples, both ways;
//! * `demand`: what profiles require and no row can write.
//!
//! `path` finds values in trees, `trail` says where, `draft` builds them, `convert` holds the named converters, `within` composes ids. What rows may say is
//! told by `plan`, and shown a feature at a time in `tests`.

mod back;
mod check;
mod codes;
mod compile;
mod convert;
mod demand;
mod draft;
mod folder;
mod form;
mod ledger;
mod message;
mod near;
mod out;
mod path;
mod plan;
mod shape;
mod table;
mod trace;
mod trail;
mod within;
mod xml;

use serde_json::Value;
use uuid::Uuid;

pub use back::Back;
pub use demand::unwritten;
pub use folder::{Envelope, Files, Mappings};
pub use message::Source;
pub use plan::Table;
pub use trace::traced;

use crate::fhir::issue::Issue;

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
    /// `referral.json.toml [request]`
    pub block: String,
    /// The item that the resource was made of, as `interventions[1]`; empty for a block that makes one resource.
    pub item: String,
    /// The field's path in the document; empty for links and constants.
    pub source: String,
    pub via: Option<String>,
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
        let name = ["vardkedja example|", ask.resource_type, "|", block, "|", ask.key].concat();
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests;
