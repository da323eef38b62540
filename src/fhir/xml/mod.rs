//! FHIR XML (<https://hl7.org/fhir/R4/xml.html>) as the same tree that JSON gives, and back.
//!
//! Everything in the program works on the JSON tree; XML is another way to write it. What one can say and the other
//! cannot (a control character, an element R4 does not have) is refused with its place, never dropped.

mod entities;
mod narrative;
pub(crate) mod pieces;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub use read::read;
pub use write::write;

/// The namespace of resources.
const FHIR: &str = "http://hl7.org/fhir";
/// The namespace of a narrative's div.
const XHTML: &str = "http://www.w3.org/1999/xhtml";
/// More findings than this help nobody; the reader and the writer stop.
const MOST_FINDINGS: usize = 100;
