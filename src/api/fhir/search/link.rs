//! Links of a page: what was applied, and a place to go on from that fits this search only.

use super::super::super::problem::Problem;
use super::super::cursor;
use super::ask::Pair;

/// The place behind the resource version of that `seq`, for `_page`. It is sealed for the rest of the search: followed with
/// another, it is refused rather than answered with a page of neither.
pub fn page(resource_type: &str, applied: &[Pair], seq: i64) -> Result<String, Problem> {
    cursor::seal(&whole(resource_type, applied), seq)
}

/// The `seq` that a link says.
pub fn behind(resource_type: &str, applied: &[Pair], page: &str) -> Result<i64, Problem> {
    cursor::open(&whole(resource_type, applied), page).ok_or_else(lost)
}

/// A link that does not fit, or of which the resource has gone from sight.
pub fn lost() -> Problem {
    cursor::lost("_page")
}

/// The search in bytes, with lengths, so that no two searches are the same.
fn whole(resource_type: &str, applied: &[Pair]) -> Vec<u8> {
    let pairs = applied.iter().filter(|pair| pair.name != "_page");
    let texts = pairs.flat_map(|pair| [pair.name.as_str(), pair.value.as_str()]);
    let mut bytes = Vec::new();
    for text in std::iter::once(resource_type).chain(texts) {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The address of a search with these parameters.
pub fn with_query<'a>(base: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let query: Vec<String> = pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if query.is_empty() { base.to_owned() } else { format!("{base}?{}", query.join("&")) }
}

/// Percent-encodes everything but what a query may hold as it is.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
