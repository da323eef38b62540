//! `[telemetry]`: the log, and who may see how an installation is doing.

use serde::Deserialize;

/// What is told of the gateway's running, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A level, or directives as in `RUST_LOG`.
    pub log: String,
    /// Whether each request is a line at `info`; otherwise at `debug`.
    pub requests: bool,
    pub open_to: OpenTo,
}

/// Who may read `/metrics` and `/v1/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenTo {
    /// Programs on this machine that call us directly, not through a proxy.
    Loopback,
    Any,
    Nobody,
}
