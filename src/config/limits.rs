//! `[limits]`: what one request, caller or connection may cost, and the bounds of the bounds.

use serde::Deserialize;

use super::{ConfigError, value};

/// Bounds on what one request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: usize,
    pub depth: usize,
    pub items: usize,
    pub findings: usize,
    pub lines: usize,
    pub line_bytes: usize,
    pub patch_operations: usize,
    pub url_bytes: usize,
    pub query_parameters: usize,
    pub header_bytes: usize,
    pub key_bytes: usize,
    pub page: u32,
    pub page_max: u32,
    pub search_terms: usize,
    pub search_hops: usize,
    pub search_includes: usize,
    pub blocks: usize,
    pub queue: usize,
    pub header_s: u64,
    pub body_s: u64,
    pub keep_alive_s: u64,
    pub connections: usize,
    pub workers: usize,
    pub in_flight: usize,
    pub rate_per_s: usize,
}

/// The most entries of a page, lines of a request, findings of an answer and commits in the queue.
const MOST: usize = 1_000_000;
/// Addresses longer than this are refused before any limit of ours is asked.
const LONGEST_URL: usize = 65_000;
const MOST_WORKERS: usize = 256;
/// An hour: longer than anybody waits for a request, in seconds.
const LONGEST_REQUEST_S: usize = 3600;

/// What a patient has is looked at as often as the patient has blocks, by the writer that all wait for.
const MOST_BLOCKS: usize = 1000;

/// Each hop is a statement within a statement.
const MOST_HOPS: usize = 10;

/// The longest that anything is waited for, in seconds: seven days, less than the shortest patience with a partner.
pub(super) const LONGEST_WAIT_S: u64 = 7 * 24 * 3600;

pub(super) fn check_waits(key: &str, seconds: &[u64]) -> Result<(), ConfigError> {
    if seconds.iter().any(|s| *s > LONGEST_WAIT_S) {
        return Err(value(key, "holds a time of more than seven days (604800 seconds)"));
    }
    Ok(())
}

fn seconds(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A limit of nought would let nothing through; one without bound bounds nothing.
pub(super) fn check(limits: &Limits) -> Result<(), ConfigError> {
    let counts = [
        ("body_bytes", limits.body_bytes, usize::MAX),
        ("depth", limits.depth, usize::MAX),
        ("items", limits.items, MOST),
        ("findings", limits.findings, MOST),
        ("lines", limits.lines, MOST),
        ("line_bytes", limits.line_bytes, usize::MAX),
        ("patch_operations", limits.patch_operations, MOST),
        ("url_bytes", limits.url_bytes, LONGEST_URL),
        ("query_parameters", limits.query_parameters, MOST),
        ("header_bytes", limits.header_bytes, MOST),
        ("key_bytes", limits.key_bytes, MOST),
        ("connections", limits.connections, MOST),
        ("workers", limits.workers, MOST_WORKERS),
        ("in_flight", limits.in_flight, MOST),
        ("rate_per_s", limits.rate_per_s, MOST),
        ("header_s", seconds(limits.header_s), LONGEST_REQUEST_S),
        ("body_s", seconds(limits.body_s), LONGEST_REQUEST_S),
        ("keep_alive_s", seconds(limits.keep_alive_s), LONGEST_REQUEST_S),
        ("page", limits.page as usize, MOST),
        ("page_max", limits.page_max as usize, MOST),
        ("search_terms", limits.search_terms, MOST),
        ("search_hops", limits.search_hops, MOST_HOPS),
        ("search_includes", limits.search_includes, MOST),
        ("blocks", limits.blocks, MOST_BLOCKS),
        ("queue", limits.queue, MOST),
    ];
    for (name, count, most) in counts {
        if count == 0 {
            return Err(value(&format!("limits.{name}"), "must be at least 1"));
        }
        if count > most {
            return Err(value(&format!("limits.{name}"), &format!("must be at most {most}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_limit_that_lets_nothing_through_is_refused() {
        for key in [
            "body_bytes",
            "depth",
            "items",
            "findings",
            "lines",
            "line_bytes",
            "patch_operations",
            "url_bytes",
            "query_parameters",
            "header_bytes",
            "key_bytes",
            "page",
            "page_max",
            "search_terms",
            "search_hops",
            "search_includes",
            "blocks",
            "queue",
            "header_s",
            "body_s",
            "keep_alive_s",
            "connections",
            "workers",
            "in_flight",
            "rate_per_s",
        ] {
            let error = Config::parse(&format!("[limits]\n{key} = 0")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("limits.{key}:")), "{error}");
        }
        for key in ["page_max", "search_hops", "queue", "workers", "body_s", "url_bytes"] {
            assert!(Config::parse(&format!("[limits]\n{key} = 4294967295")).is_err(), "{key}");
        }
    }
}
