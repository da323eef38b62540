//! Search parameters as data: what a resource can be found by, and the index values it has.
//!
//! Definitions follow <http://hl7.org/fhir/R4/searchparameter-registry.html>; only those of `params.tsv` are served. A
//! parameter that looks at the same elements as another is kept once, and both read the same values ([`Param::kept_as`]).

mod clause;
mod criterion;
mod fault;
mod holds;
mod index;
mod linking;
mod moment;
mod person;
mod table;
mod text;
mod value;

pub use clause::{Clause, DateOp, Span, TextMatch, TokenMatch};
pub use criterion::{Reader, modifiers};
pub use fault::Fault;
pub use holds::{Beyond, holds};
pub use index::{Index, index, logical};
pub use linking::links;
pub use moment::moment;
pub use person::names_person;
pub use table::{all, fingerprint, param, params, types};
pub use text::fold;
pub use value::{allowed, split};

use super::canonical::BASE;

/// How a parameter's values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Token,
    Reference,
    /// A reference by canonical url: the target is the url, with and without its version.
    Canonical,
    Date,
    String,
    Uri,
}

impl Kind {
    /// R4's word for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Reference | Self::Canonical => "reference",
            Self::Date => "date",
            Self::String => "string",
            Self::Uri => "uri",
        }
    }
}

/// Where the values of a parameter are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A row for each value.
    Rows,
    /// Together with the other coded values of the resource: few combinations exist, and a resource names its one.
    Facet,
}

/// A search parameter of one resource type.
#[derive(Debug, PartialEq, Eq)]
pub struct Param {
    pub resource_type: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    pub place: Place,
    /// The elements, by names alone: lists are walked through. `performed[x]` is any of its types.
    pub paths: Vec<&'static str>,
    /// The name whose values these are: its own, or that of another parameter of the same elements.
    pub kept_as: &'static str,
    /// The only type of target that counts: `patient` is `subject` where that is a Patient.
    pub only: Option<&'static str>,
    /// Types of target that are served.
    pub targets: Vec<&'static str>,
    definition: &'static str,
    /// Names and birth dates of people: never taken in a URL.
    pub is_personal: bool,
}

impl Param {
    /// The url of its SearchParameter: HL7's own, or one of ours.
    pub fn definition(&self) -> String {
        match self.definition.split_once(':') {
            Some(("hl7", name)) => format!("http://hl7.org/fhir/SearchParameter/{name}"),
            Some((_, name)) => format!("{BASE}/SearchParameter/{name}"),
            None => String::new(),
        }
    }

    /// Whether R4 lacks it and its definition is in `profiles/`.
    pub fn is_ours(&self) -> bool {
        self.definition.starts_with("own:")
    }
}
