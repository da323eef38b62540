//! The guard before the JSON reader: one pass over the bytes that finds what no later step should have to survive.
//!
//! JSON readers accept duplicate keys (the last wins, silently), and FHIR libraries have been seen to panic on empty
//! arrays. So depth, size, duplicate keys, empty and null values, trailing data and broken text are refused here, each
//! with its JSON pointer and line. The scanner keeps its own stack: no document can make it recurse.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

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
    let mut scanner = Scanner { bytes, at: 0, limits, frames: Vec::new(), keys: Vec::new(), found: Vec::new() };
    if let Err(error) = std::str::from_utf8(bytes) {
        scanner.at = error.valid_up_to();
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

/// The pass ended: a finding after which nothing can be said, or too many of them.
struct Ended;

type Step<T = ()> = Result<T, Ended>;

struct Frame<'a> {
    object: bool,
    /// The place of the current item.
    index: usize,
    /// The current member's key, as it is written.
    key: Range<usize>,
    /// Where this object's keys begin in the common list.
    first_key: usize,
    many: Option<HashSet<Cow<'a, [u8]>>>,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a Limits,
    frames: Vec<Frame<'a>>,
    keys: Vec<Cow<'a, [u8]>>,
    /// Findings and the byte they begin at.
    found: Vec<(usize, Issue)>,
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> Step {
        self.space();
        loop {
            // A container stays open, anything else is over; then close what can be closed.
            if !self.value()? && self.after()? {
                break;
            }
        }
        self.space();
        if self.at < self.bytes.len() {
            let (sv, en) = ("det står något efter dokumentets slut; ta bort det", "data after the end; remove it");
            return self.stop(sv, en);
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// One value; true when it is a container whose first item comes next.
    fn value(&mut self) -> Step<bool> {
        match self.peek() {
            Some(b'{') => self.open(true),
            Some(b'[') => self.open(false),
            Some(b'"') => self.string().map(|_| false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.word(b"true").map(|()| false),
            Some(b'f') => self.word(b"false").map(|()| false),
            Some(b'n') => {
                // A null in a list may hold the place of an element that has only extensions; the validator knows.
                let item = self.frames.last().is_some_and(|f| !f.object);
                if !(item && self.limits.strictness == Strictness::Resource) {
                    self.soft("värdet är null; utelämna fältet", "the value is null; leave the field out")?;
                }
                self.word(b"null").map(|()| false)
            }
            None => self.stop("dokumentet slutar för tidigt", "the document ends too early"),
            Some(_) => self.stop("här väntades ett JSON-värde", "a JSON value was expected here"),
        }
    }

    fn open(&mut self, object: bool) -> Step<bool> {
        if self.frames.len() >= self.limits.depth {
            let most = self.limits.depth;
            self.note(
                Severity::Fatal,
                Code::TooCostly,
                &format!("fler än {most} nivåer djupt"),
                &format!("more than {most} levels deep"),
            );
            return Err(Ended);
        }
        let start = self.at;
        self.at += 1;
        self.space();
        if self.peek() == Some(if object { b'}' } else { b']' }) {
            let (sv, en) = if object {
                ("objektet är tomt; utelämna det", "the object is empty; leave it out")
            } else {
                ("listan är tom; utelämna den", "the array is empty; leave it out")
            };
            let end = std::mem::replace(&mut self.at, start);
            self.soft(sv, en)?;
            self.at = end + 1;
            return Ok(false);
        }
        self.frames.push(Frame { object, index: 0, key: 0..0, first_key: self.keys.len(), many: None });
        if object {
            self.key()?;
        }
        Ok(true)
    }

    /// What follows a value: the next item, or the ends of containers. True when the document is over.
    fn after(&mut self) -> Step<bool> {
        loop {
            self.space();
            let Some(frame) = self.frames.last_mut() else { return Ok(true) };
            let object = frame.object;
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    frame.index += 1;
                    self.space();
                    if object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(b'}') if object => {
                    let first = frame.first_key;
                    self.keys.truncate(first);
                }
                Some(b']') if !object => {}
                None => return self.stop("dokumentet slutar för tidigt", "the document ends too early"),
                Some(_) if object => return self.stop("här väntades , eller }", "expected , or } here"),
                Some(_) => return self.stop("här väntades , eller ]", "expected , or ] here"),
            }
            self.at += 1;
            self.frames.pop();
        }
    }

    fn key(&mut self) -> Step {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.stop("här väntades ett fältnamn inom citattecken", "a quoted field name was expected here");
        }
        let escaped = self.string()?;
        let bytes: &'a [u8] = self.bytes;
        let raw = bytes.get(start + 1..self.at - 1).unwrap_or_default();
        let key: Cow<'a, [u8]> =
            if escaped { Cow::Owned(unescape(bytes.get(start..self.at))) } else { Cow::Borrowed(raw) };
        if let Some(frame) = self.frames.last_mut() {
            frame.key = start + 1..self.at - 1;
            let twice = if let Some(many) = &mut frame.many {
                !many.insert(key)
            } else {
                let own = self.keys.get(frame.first_key..).unwrap_or_default();
                let twice = own.contains(&key);
                if own.len() >= FEW_KEYS {
                    let mut many: HashSet<_> = own.iter().cloned().collect();
                    many.insert(key);
                    frame.many = Some(many);
                } else {
                    self.keys.push(key);
                }
                twice
            };
            if twice {
                let end = std::mem::replace(&mut self.at, start);
                self.hard(
                    Code::Duplicate,
                    "fältet förekommer två gånger i samma objekt; behåll ett",
                    "the field occurs twice in one object; keep one",
                )?;
                self.at = end;
            }
        }
        self.space();
        if self.peek() != Some(b':') {
            return self.stop("här väntades :", "expected : here");
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Steps over a string; true when it has escapes.
    fn string(&mut self) -> Step<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => {
                    return self.stop(
                        "styrtecken i en text; skriv \\n, \\t …",
                        "control character in a text; write \\n, \\t …",
                    );
                }
                Some(_) => self.at += 1,
                None => return self.stop("en text saknar slutcitattecken", "a text lacks its closing quote"),
            }
        }
    }

    fn escape(&mut self) -> Step {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let high = self.hex()?;
                let pair = match high {
                    0xD800..=0xDBFF => {
                        self.bytes.get(self.at..self.at + 2) == Some(b"\\u") && matches!(self.hex()?, 0xDC00..=0xDFFF)
                    }
                    0xDC00..=0xDFFF => false,
                    _ => true,
                };
                if !pair {
                    return self.stop("halvt surrogatpar i \\u", "half a surrogate pair in \\u");
                }
            }
            _ => return self.stop("okänt omvänt snedstreck i en text", "unknown escape in a text"),
        }
        Ok(())
    }

    fn hex(&mut self) -> Step<u32> {
        let digits = self.bytes.get(self.at + 2..self.at + 6).unwrap_or_default();
        let read = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match read.and_then(|d| u32::from_str_radix(d, 16).ok()).filter(|_| digits.len() == 4) {
            Some(unit) => {
                self.at += 6;
                Ok(unit)
            }
            None => self.stop("\\u ska följas av fyra hexadecimala siffror", "\\u needs four hexadecimal digits"),
        }
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        let leading_zero = whole > 1 && self.bytes.get(self.at - whole) == Some(&b'0');
        let mut sound = whole > 0 && !leading_zero;
        if self.peek() == Some(b'.') {
            self.at += 1;
            sound &= self.digits() > 0;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            sound &= self.digits() > 0;
        }
        if sound { Ok(()) } else { self.stop("ett tal som inte är JSON", "a number that is not JSON") }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &[u8]) -> Step {
        if self.bytes.get(self.at..self.at + word.len()) == Some(word) {
            self.at += word.len();
            return Ok(());
        }
        self.stop("här väntades ett JSON-värde", "a JSON value was expected here")
    }

    fn stop<T>(&mut self, sv: &str, en: &str) -> Step<T> {
        self.note(Severity::Fatal, Code::Structure, sv, en);
        Err(Ended)
    }

    /// An error in a resource, a warning in a source document.
    fn soft(&mut self, sv: &str, en: &str) -> Step {
        let severity = match self.limits.strictness {
            Strictness::Resource => Severity::Error,
            Strictness::Document => Severity::Warning,
        };
        self.note(severity, Code::Structure, sv, en);
        self.enough()
    }

    fn hard(&mut self, code: Code, sv: &str, en: &str) -> Step {
        self.note(Severity::Error, code, sv, en);
        self.enough()
    }

    fn enough(&self) -> Step {
        if self.found.len() < MOST_FINDINGS { Ok(()) } else { Err(Ended) }
    }

    fn note(&mut self, severity: Severity, code: Code, sv: &str, en: &str) {
        self.found.push((self.at, Issue::new(severity, code, self.pointer(), sv, en)));
    }

    /// The JSON pointer of where the scanner stands.
    fn pointer(&self) -> String {
        let mut out = String::new();
        for frame in &self.frames {
            out.push('/');
            if frame.object {
                let raw = self.bytes.get(frame.key.clone()).unwrap_or_default();
                match std::str::from_utf8(raw).ok().filter(|k| is_name(k)) {
                    Some(key) => out.push_str(key),
                    // A key may be anything, even a personnummer.
                    None => out.push('…'),
                }
            } else {
                out.push_str(&frame.index.to_string());
            }
        }
        out
    }

    /// The findings with line and column.
    fn place(self) -> Vec<Issue> {
        let (mut line, mut line_start, mut at) = (1, 0, 0);
        let bytes = self.bytes;
        let placed = self.found.into_iter().map(|(offset, issue)| {
            while at < offset {
                if bytes.get(at) == Some(&b'\n') {
                    line += 1;
                    line_start = at + 1;
                }
                at += 1;
            }
            issue.from(format!("{line}:{}", offset.saturating_sub(line_start) + 1))
        });
        placed.collect()
    }
}

/// Whether a key can be shown: a plain word, not something that may be data.
pub(super) fn is_name(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    !key.is_empty()
        && key.len() <= 64
        && digits < 6
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$' | b'@'))
}

fn unescape(quoted: Option<&[u8]>) -> Vec<u8> {
    quoted.and_then(|q| serde_json::from_slice::<String>(q).ok()).unwrap_or_default().into_bytes()
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
        assert_eq!(lines(r#"{"195009072553": null}"#), ["/… 1:18 error"]);
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
