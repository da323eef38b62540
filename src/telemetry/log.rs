//! The log: one JSON object a line on standard error. Ours at the level that is set, other people's crates from `warn`.

use std::str::FromStr;

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("telemetry.log or RUST_LOG is no level (info) and no list of directives (info,vardkedja::partner=debug)")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("the log has been started already")]
    Twice(#[from] TryInitError),
    #[cfg(feature = "otel")]
    #[error("the export of traces cannot be set up")]
    Export(#[from] super::otel::ExportError),
}

/// Held as long as the program runs; letting go of it sends what is still to be exported.
#[derive(Debug)]
pub struct Guard {
    #[cfg(feature = "otel")]
    _export: super::otel::Export,
}

/// Starts the log, and with the feature `otel` the export of traces. `level` is a level for ourselves, or directives as in
/// `RUST_LOG`, which goes before it.
pub fn start(level: &str) -> Result<Guard, LogError> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|l| !l.trim().is_empty());
    let filter = filter(wanted.as_deref().unwrap_or(level)).map_err(LogError::Filter)?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_filter(filter);
    let registry = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otel")]
    {
        let (layer, export) = super::otel::layer()?;
        registry.with(layer).try_init()?;
        Ok(Guard { _export: export })
    }
    #[cfg(not(feature = "otel"))]
    {
        registry.try_init()?;
        Ok(Guard {})
    }
}

/// A bare level is ours: at `debug` other crates would tell whom they connect to, which is not theirs to tell.
fn filter(wanted: &str) -> Result<Targets, tracing_subscriber::filter::ParseError> {
    match Level::from_str(wanted.trim()) {
        Ok(level) => Ok(Targets::new().with_default(Level::WARN.min(level)).with_target("vardkedja", level)),
        Err(_) => wanted.trim().parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_ourselves_and_others_speak_from_warn() {
        let debug = filter("debug").unwrap();
        assert!(debug.would_enable("vardkedja::sync", &Level::DEBUG));
        assert!(!debug.would_enable("hyper_util::client", &Level::INFO));
        assert!(debug.would_enable("actix_server", &Level::WARN));
        let error = filter("error").unwrap();
        assert!(!error.would_enable("actix_server", &Level::WARN));
    }

    #[test]
    fn directives_are_taken_as_they_are() {
        let filter = filter("warn,vardkedja::partner=trace").unwrap();
        assert!(filter.would_enable("vardkedja::partner::client", &Level::TRACE));
        assert!(!filter.would_enable("vardkedja::sync", &Level::INFO));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(filter("vardkedja=loud").is_err());
    }
}
