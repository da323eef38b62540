//! The guard before the JSON reader: one pass over the bytes that finds what no later step should have to survive.
//!
//! JSON readers accept duplicate keys (the last wins, silently), and FHIR libraries have been seen to panic on empty
//! arrays. So depth, size, duplicate keys, empty and null values, trailing data and broken text are refused here, each
//! with its JSON pointer and line. The scanner keeps its own stack: no document can make it recurse.

mod scanner;

use serde_json::Value;

use self::scanner::Scanner;
use super::issue::{Code, Issue, Severity, any_error};

/// What a document must be to be looked at at all.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub depth: usize,
    pub strictness: Strictness,
}

/// Whether nulls and empty lists are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// A FHIR resource: R4 forbids empty arrays, objects and null members.
    Resource,
    /// A source document of ours: they say nothing, so they are only worth a warning.
    Document,
}

impl Limits {
    pub const RESOURCE: Self = Self { bytes: 10 * 1024 * 1024, depth: 64, strictness: Strictness::Resource };
    pub const DOCUMENT: Self = Self { strictness: Strictness::Document, ..Self::RESOURCE };
}

impl Default for Limits {
    fn default() -> Self {
        Self::RESOURCE
    }
}

/// More findings than this help nobody; the pass ends.
const MOST_FINDINGS: usize = 100;
/// Objects with more keys than this are searched by hash.
const FEW_KEYS: usize = 16;

/// Refuses what has an error; warnings alone pass.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), Vec<Issue>> {
    let issues = scan(bytes, limits);
    if any_error(&issues) { Err(issues) } else { Ok(()) }
}

/// Guards and parses; warnings alone pass and are not returned.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, Vec<Issue>> {
    match read(bytes, limits) {
        (Some(value), _) => Ok(value),
        (None, issues) => Err(issues),
    }
}

/// Guards and parses; the document unless there was an error, and every finding.
pub fn read(bytes: &[u8], limits: &Limits) -> (Option<Value>, Vec<Issue>) {
    let mut issues = scan(bytes, limits);
    if any_error(&issues) {
        return (None, issues);
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => (Some(value), issues),
        Err(error) => {
            let place = format!("{}:{}", error.line(), error.column());
            issues.push(fatal("", "JSON går inte att läsa", "JSON cannot be read").from(place));
            (None, issues)
        }
    }
}

/// Every finding of the pass, in the order of the document.
pub fn scan(bytes: &[u8], limits: &Limits) -> Vec<Issue> {
    if bytes.len() > limits.bytes {
        let (size, most) = (bytes.len(), limits.bytes);
        return vec![Issue::new(
            Severity::Fatal,
            Code::TooLong,
            "",
            format!("dokumentet är {size} byte, högst {most} tas emot; dela upp det"),
            format!("the document is {size} bytes, at most {most} are accepted; split it"),
        )];
    }
    let valid = std::str::from_utf8(bytes);
    let mut scanner = Scanner::at(bytes, valid.map_or_else(|e| e.valid_up_to(), |_| 0), limits);
    if valid.is_err() {
        scanner.note(
            Severity::Fatal,
            Code::Structure,
            "ogiltig UTF-8; spara som UTF-8",
            "invalid UTF-8; save as UTF-8",
        );
    } else if bytes.starts_with(b"\xEF\xBB\xBF") {
        let (sv, en) =
            ("börjar med en byteordningsmarkering (BOM); ta bort den", "begins with a byte order mark; remove it");
        scanner.note(Severity::Fatal, Code::Structure, sv, en);
    } else {
        // The only error is that the pass has said all it can.
        let _ = scanner.document();
    }
    scanner.place()
}

fn fatal(pointer: impl Into<String>, sv: &str, en: &str) -> Issue {
    Issue::new(Severity::Fatal, Code::Structure, pointer, sv, en)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<String> {
        scan(text.as_bytes(), &Limits::RESOURCE)
            .into_iter()
            .map(|i| format!("{} {} {}", i.expression, i.origin.unwrap_or_default(), i.severity.code()))
            .collect()
    }

    #[test]
    fn a_sound_document_has_no_findings() {
        assert!(lines(r#" {"a": [1, -0.50e+3, "å\u00e4\ud83d\ude00", true, {"b": false}], "c": "\"}"} "#).is_empty());
    }

    #[test]
    fn every_soft_finding_is_told_at_once_with_pointer_and_line() {
        let text = "{\"a\": [],\n \"b\": {\"c\": {}, \"d\": null},\n \"a\": [{\"e\": 1, \"e\": 2}]}";
        assert_eq!(
            lines(text),
            ["/a 1:7 error", "/b/c 2:13 error", "/b/d 2:22 error", "/a 3:2 error", "/a/0/e 3:17 error"]
        );
        let warnings = scan(text.as_bytes(), &Limits::DOCUMENT);
        assert_eq!(warnings.iter().filter(|i| i.is_error()).count(), 2, "duplicate keys are always errors");
    }

    #[test]
    fn a_null_in_a_list_is_left_to_the_validator() {
        assert!(lines(r#"{"given": ["A", null], "_given": [null, {"id": "x"}]}"#).is_empty());
    }

    #[test]
    fn a_key_escaped_otherwise_is_the_same_key() {
        assert_eq!(lines(r#"{"id": 1, "\u0069d": 2}"#).len(), 1);
    }

    #[test]
    fn duplicates_are_found_among_very_many_keys() {
        let many: Vec<String> = (0..50_000).map(|i| format!("\"k{i}\":1")).collect();
        let text = format!("{{{},\"k7\":2,\"k49999\":3}}", many.join(","));
        assert_eq!(lines(&text).len(), 2);
    }

    #[test]
    fn depth_size_trailing_data_and_broken_text_end_the_pass() {
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(scan(deep.as_bytes(), &Limits::RESOURCE).len(), 1);
        assert!(check(format!("{}1{}", "[".repeat(64), "]".repeat(64)).as_bytes(), &Limits::RESOURCE).is_ok());
        assert_eq!(scan("[".repeat(9_000_000).as_bytes(), &Limits::RESOURCE).len(), 1);
        assert_eq!(scan(b"[1]", &Limits { bytes: 2, ..Limits::RESOURCE })[0].code, Code::TooLong);
        assert_eq!(lines("{\"a\":1} x"), [" 1:9 fatal"]);
        assert_eq!(scan(b"{\"a\":\"\xFF\"}", &Limits::RESOURCE)[0].severity, Severity::Fatal);
        assert_eq!(lines("\u{feff}{}").len(), 1);
    }

    #[test]
    fn findings_are_bounded_and_keys_that_may_be_data_are_not_shown() {
        let text = format!("[{}1]", "{},".repeat(1000));
        assert_eq!(lines(&text).len(), MOST_FINDINGS);
        assert_eq!(lines(r#"{"195009072553": null}"#), ["/(unknown name) 1:18 error"]);
    }

    proptest! {
        #[test]
        fn what_passes_can_be_parsed_and_what_is_fatal_cannot(text in "[\\[\\]{}:,\"\\\\ua01e.+\\- ntrufalse]{0,24}") {
            let fatal = scan(text.as_bytes(), &Limits::RESOURCE).iter().any(|i| i.severity == Severity::Fatal);
            let parsed = serde_json::from_str::<Value>(&text).is_ok();
            // Half surrogates in keys aside, both readers agree on what JSON is.
            prop_assert_eq!(!fatal, parsed, "{}", text);
        }

        #[test]
        fn what_serde_writes_passes(text in ".{0,40}", number in any::<f64>()) {
            let value = serde_json::json!({ "a": [text.clone(), { "b": text }], "n": if number.is_finite() { number } else { 1.0 } });
            prop_assert!(check(value.to_string().as_bytes(), &Limits::RESOURCE).is_ok());
        }
    }
}
