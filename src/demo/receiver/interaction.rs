//! One interaction as it is asked for: what to do, where, under which conditions, with what.

use serde_json::Value;

use super::references;
use super::refusal::Refusal;
use super::terms::{list, text};
use crate::fhir::r4;

/// What is asked for. The order is the order in which a transaction is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Delete,
    Post,
    Put,
    Patch,
    Get,
}

impl Verb {
    pub fn parse(method: &str) -> Option<Self> {
        Some(match method {
            "DELETE" => Self::Delete,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "GET" => Self::Get,
            _ => return None,
        })
    }
}

/// Where an interaction points, relative to the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `Task` or `Task?identifier=…`
    Kind(Option<String>),
    Instance(String),
    History(String),
    Version(String, i64),
}

/// One interaction.
#[derive(Debug)]
pub struct Entry {
    /// The expression of its body: `Bundle.entry[3].resource`, or `Task` when it comes alone.
    pub at: String,
    pub full_url: Option<String>,
    pub verb: Verb,
    pub kind: String,
    pub target: Target,
    pub if_match: Option<i64>,
    pub if_none_exist: Option<String>,
    /// The resource, or the operations of a patch.
    pub body: Value,
}

/// `Task/1` as a type and a target; `None` is no address of ours.
pub fn target(url: &str) -> Option<(String, Target)> {
    let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q.to_owned())));
    let parts: Vec<&str> = path.split('/').collect();
    let (kind, target) = match *parts.as_slice() {
        [kind] => (kind, Target::Kind(query)),
        [kind, id] if references::is_id(id) => (kind, Target::Instance(id.to_owned())),
        [kind, id, "_history"] => (kind, Target::History(id.to_owned())),
        [kind, id, "_history", number] => (kind, Target::Version(id.to_owned(), number.parse().ok()?)),
        _ => return None,
    };
    is_served(kind).then(|| (kind.to_owned(), target))
}

/// Whether resources of the type are kept here; the rest are envelopes.
pub fn is_served(kind: &str) -> bool {
    r4::is_resource(kind) && !matches!(kind, "Bundle" | "OperationOutcome" | "Parameters")
}

/// `W/"3"` as 3.
pub fn version_of(etag: &str, at: &str) -> Result<i64, Refusal> {
    let number = etag.trim().trim_start_matches("W/").trim_matches('"').parse();
    number.map_err(|_| Refusal::malformed(at, "If-Match ska se ut som W/\"3\".", "If-Match should look like W/\"3\"."))
}

/// A transaction Bundle as entries. The Bundle's structure has been checked.
pub fn entries(bundle: &Value) -> Result<Vec<Entry>, Refusal> {
    if text(bundle, "type") != Some("transaction") {
        let (sv, en) = ("Bara Bundle av typen transaction tas emot.", "Only a Bundle of type transaction is received.");
        return Err(Refusal::malformed("Bundle.type", sv, en));
    }
    let list = bundle.get("entry").map(list).unwrap_or_default();
    list.iter().enumerate().map(|(i, entry)| self::entry(i, entry)).collect()
}

fn entry(i: usize, entry: &Value) -> Result<Entry, Refusal> {
    let at = format!("Bundle.entry[{i}]");
    let request = entry.get("request").unwrap_or(&Value::Null);
    let ask = |name: &str| text(request, name).map(str::to_owned);
    let url = ask("url").unwrap_or_default();
    let (Some(verb), Some((kind, target))) = (ask("method").and_then(|m| Verb::parse(&m)), target(&url)) else {
        let (sv, en) =
            ("request anger ingen åtgärd som finns här.", "request names no interaction that is served here.");
        return Err(Refusal::malformed(&format!("{at}.request"), sv, en));
    };
    let resource = entry.get("resource").cloned().unwrap_or_default();
    let body = if verb == Verb::Patch { operations(&resource, &at)? } else { resource };
    Ok(Entry {
        full_url: text(entry, "fullUrl").map(str::to_owned),
        verb,
        kind,
        target,
        if_match: ask("ifMatch").map(|e| version_of(&e, &format!("{at}.request.ifMatch"))).transpose()?,
        if_none_exist: ask("ifNoneExist"),
        body,
        at: format!("{at}.resource"),
    })
}

/// The JSON Patch that a Binary carries.
fn operations(binary: &Value, at: &str) -> Result<Value, Refusal> {
    let bytes = text(binary, "data").and_then(base64);
    bytes.and_then(|b| serde_json::from_slice(&b).ok()).ok_or_else(|| {
        let (sv, en) = ("En PATCH bär sin JSON Patch i Binary.data.", "A PATCH carries its JSON Patch in Binary.data.");
        Refusal::malformed(&format!("{at}.resource.data"), sv, en)
    })
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes().filter(|b| !b.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xFF).ok()?);
        }
    }
    Some(bytes)
}
