//! The scanner of the guard: JSON's grammar with a stack of its own, and what it finds on the way.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::{FEW_KEYS, Limits, MOST_FINDINGS, Strictness};
use crate::fhir::issue::{Code, Issue, Severity, shown_name};

/// The pass ended: a finding after which nothing can be said, or too many of them.
pub struct Ended;

pub type Step<T = ()> = Result<T, Ended>;

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

pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a Limits,
    frames: Vec<Frame<'a>>,
    keys: Vec<Cow<'a, [u8]>>,
    /// Findings and the byte they begin at.
    found: Vec<(usize, Issue)>,
}

impl<'a> Scanner<'a> {
    /// A scanner that stands at a byte.
    pub fn at(bytes: &'a [u8], at: usize, limits: &'a Limits) -> Self {
        Self { bytes, at, limits, frames: Vec::new(), keys: Vec::new(), found: Vec::new() }
    }

    /// The whole document.
    pub fn document(&mut self) -> Step {
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
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => {
                    return self.stop(
                        "styrtecken i en text; skriv \\n, \\t …",
                        "control character in a text; write \\n, \\t …",
                    );
                }
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

    pub fn note(&mut self, severity: Severity, code: Code, sv: &str, en: &str) {
        self.found.push((self.at, Issue::new(severity, code, self.pointer(), sv, en)));
    }

    /// The JSON pointer of where the scanner stands.
    fn pointer(&self) -> String {
        let mut out = String::new();
        for frame in &self.frames {
            out.push('/');
            if frame.object {
                let raw = self.bytes.get(frame.key.clone()).unwrap_or_default();
                out.push_str(shown_name(std::str::from_utf8(raw).unwrap_or_default()));
            } else {
                out.push_str(&frame.index.to_string());
            }
        }
        out
    }

    /// The findings with line and column.
    pub fn place(self) -> Vec<Issue> {
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

fn unescape(quoted: Option<&[u8]>) -> Vec<u8> {
    quoted.and_then(|q| serde_json::from_slice::<String>(q).ok()).unwrap_or_default().into_bytes()
}
