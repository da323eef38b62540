//! Why a search criterion is not taken, in words that say what is.

use super::super::issue::{Code, Issue, told};
use super::params;

/// Why a parameter is not served: not known here, which a lenient caller may leave out, or wrong.
#[derive(Debug)]
pub enum Fault {
    Unknown(Issue),
    Wrong(Issue),
}

impl Fault {
    pub fn wrong(name: &str, sv: &str, en: &str) -> Self {
        let (sv, en) = (format!("Värdet ska vara {sv}."), format!("The value should be {en}."));
        Self::Wrong(Issue::error(Code::Value, told(name), sv, en))
    }

    pub fn unknown(resource_type: &str, name: &str) -> Self {
        let mut known: Vec<&str> = params(resource_type).iter().map(|p| p.name).collect();
        known.extend(["_id", "_lastUpdated"]);
        let known = known.join(", ");
        Self::Unknown(Issue::error(
            Code::NotSupported,
            told(name),
            format!("Sökparametern finns inte för {resource_type}; kända: {known}."),
            format!("{resource_type} has no such search parameter; known: {known}."),
        ))
    }

    /// A modifier that the parameter does not have.
    pub fn modifier(name: &str, modifier: &str) -> Self {
        let modifier = told(modifier);
        Self::Unknown(Issue::error(
            Code::NotSupported,
            told(name),
            format!("Modifieraren {modifier} finns inte för parametern; se searchParam i /fhir/metadata."),
            format!("The parameter does not have the modifier {modifier}; see searchParam in /fhir/metadata."),
        ))
    }

    pub fn too_far(hops: usize) -> Self {
        Self::Wrong(Issue::error(
            Code::TooLong,
            "",
            format!("Kedjan följer fler än {hops} referenser (limits.search_hops)."),
            format!("The chain follows more than {hops} references (limits.search_hops)."),
        ))
    }

    /// Names of people in a URL would stand in every log on the way.
    pub fn personal(name: &str) -> Self {
        Self::Wrong(Issue::error(
            Code::Value,
            told(name),
            "Personers namn och födelsedatum tas inte emot i en adress; sök med POST …/_search.",
            "Names and birth dates of people are not taken in a URL; search with POST …/_search.",
        ))
    }
}
