//! Makes a resource fit for a registry that works with codes: everything that could lead to a person is coded or left out,
//! everything that is counted stays.
//!
//! The walk follows R4's own definitions and keeps what it knows, rather than taking away what it knows to be dangerous: an
//! element or type it has no rule for is left out. Ids, references and identifiers become codes; texts of any kind go,
//! narratives and displays too; codings stay where their system is known; a birth date becomes a year, and years of the very
//! old one year. Units keep their HSA-ids, persons who work there do not. Where R4 demands an element that had to go, it says
//! `masked` (<http://hl7.org/fhir/R4/extension-data-absent-reason.html>).
//!
//! Millions of resources pass here in one export: the rule of every element is looked up in a table that is made once
//! ([`rules`]), and what stays is written ([`write`](mod@write)) while the stored bytes are read ([`walk`]), without a tree between.

mod rules;
mod small;
mod walk;
mod write;

use serde::de::DeserializeSeed;

use super::cipher::Cipher;
use walk::Resource;
use write::Coder;

/// The system of a coded identifier.
pub const CODED: &str = "coded";

/// The resource as the registry gets it; `year` is this year's number. `None`: nothing of its type is for registries.
pub fn coded(resource_type: &str, body: &[u8], cipher: &Cipher, year: i32) -> Option<Vec<u8>> {
    let content = rules::of_resource(resource_type)?;
    let text = std::str::from_utf8(body).ok()?;
    let mut coder = Coder { cipher, year, out: Vec::with_capacity(body.len()) };
    let resource = Resource { coder: &mut coder, content, is_contained: false };
    resource.deserialize(&mut serde_json::Deserializer::from_str(text)).ok()?.then_some(coder.out)
}
