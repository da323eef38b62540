//! Why there is no configuration: which key, file or row it is, and what is wrong with it.

use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Raw(#[source] Box<figment::Error>),
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} row {row}: {what}")]
    Units { path: String, row: usize, what: String },
    #[error("{key}: {what}")]
    Value { key: String, what: String },
}
