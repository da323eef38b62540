//! Links of a page: what was applied, and a place to go on from that fits this search only.

use sha2::{Digest, Sha256};

use super::super::super::problem::Problem;
use super::ask::Pair;

/// The place behind the resource version of that `seq`, for `_page`. The rest of the search is part of its check: followed with
/// another, it is refused rather than answered with a page of neither.
pub fn page(resource_type: &str, applied: &[Pair], seq: i64) -> String {
    format!("{seq}-{}", check(resource_type, applied, seq))
}

/// The `seq` that a link says.
pub fn behind(resource_type: &str, applied: &[Pair], page: &str) -> Result<i64, Problem> {
    let seq = page.split_once('-').and_then(|(seq, _)| seq.parse().ok());
    match seq {
        Some(seq) if self::page(resource_type, applied, seq) == page => Ok(seq),
        _ => Err(lost()),
    }
}

/// A link that does not fit, or of which the resource has gone from sight.
pub fn lost() -> Problem {
    Problem::bad_request(
        "_page",
        "Länken passar inte den här sökningen; följ next oförändrad, eller sök på nytt.",
        "The link does not fit this search; follow next unchanged, or search anew.",
    )
}

fn check(resource_type: &str, applied: &[Pair], seq: i64) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    add(resource_type);
    add(&seq.to_string());
    for pair in applied.iter().filter(|pair| pair.name != "_page") {
        add(&pair.name);
        add(&pair.value);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
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
