//! What must not stand in a URL: it would stand in every log on the way.

use super::super::super::problem::{Problem, told};
use crate::fhir::search::names_person;

/// Refuses a national identifier.
pub fn refuse_person(name: &str, value: &str) -> Result<(), Problem> {
    if names_person(value) {
        return Err(Problem::bad_request(
            told(name),
            "Person- och samordningsnummer tas inte emot i en adress; sök med POST …/_search.",
            "A national identifier is not taken in a URL; search with POST …/_search.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_national_identifier_in_a_url_is_refused_with_the_way_to_search_for_it() {
        let problem = refuse_person("identifier", "19500907-2553").unwrap_err();
        assert!(problem.outcome().to_string().contains("POST"));
        assert!(refuse_person("identifier", "urn:x|123456789012").is_ok());
    }
}
