//! National identifiers in search values: where a value is written down for others to read, none may stand in it.

use uuid::Uuid;

use super::value::split;
use crate::domain::PersonId;

/// Whether a search value names a person by number.
pub fn names_person(value: &str) -> bool {
    split(value).iter().any(|v| holds_person(v))
}

/// Whether a number stands anywhere in the text, with what people and programs put before its last four.
fn holds_person(text: &str) -> bool {
    // Ids of ours are UUIDs; some of them begin or end with digits that could be a number.
    if text.rsplit(['/', '|']).next().is_some_and(|id| Uuid::try_parse(id).is_ok()) {
        return false;
    }
    let after_digit = |at: usize| text.get(..at).is_some_and(|t| t.ends_with(|c: char| c.is_ascii_digit()));
    let starts = text.char_indices().filter(|(at, c)| c.is_ascii_digit() && !after_digit(*at));
    starts.filter_map(|(at, _)| number_at(text.get(at..)?)).any(|number| PersonId::parse(&number).is_ok())
}

/// Eight digits and four more characters, of which no more follow: `19500907 2553`, `19500907-2553`, `19500907%2D2553`.
fn number_at(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(8)?;
    let between = |c: char| !c.is_alphanumeric() && !matches!(c, '%' | '|');
    let mut rest = rest.trim_start_matches(between);
    while let Some(escaped) = rest.strip_prefix('%') {
        rest = escaped.get(2..)?.trim_start_matches(between);
    }
    let (last, more) = rest.split_at_checked(4)?;
    (!more.starts_with(|c: char| c.is_ascii_digit())).then(|| format!("{date}{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_national_identifier_is_seen_however_it_is_written() {
        for value in [
            "http://electronichealth.se/identifier/personnummer|195009072553",
            "19500907-2553",
            "urn:x|1,196109732393",
            "19500907 2553",
            "19500907%202553",
            "18900202+9800",
            "19500907--2553",
            "Patient/195009072553",
            "no.195009072553.",
            "p195009072553p",
            "urn:x|195009072553|2",
            "98240301aa06",
        ] {
            assert!(names_person(value), "{value}");
        }
        for value in [
            "urn:x|123456789012",
            "urn:x|1195009072553",
            "1950-09-07",
            "99123456-7890-4c93-b40d-acc512272e12",
            "SE2321000131-E000000000202",
            "ge2026-01-31T10:00:00+01:00",
        ] {
            assert!(!names_person(value), "{value}");
        }
    }
}
