//! `[audit]`: how the log of who saw what is sealed and how long it is kept, and the bounds of that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, check_waits, value};

/// How the audit log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The key that checkpoints are signed with.
    pub key: PathBuf,
    /// What is appended with every checkpoint.
    pub checkpoints: PathBuf,
    /// Rows after which a checkpoint is made, and the longest time without one where there are new rows.
    pub checkpoint_rows: i64,
    pub checkpoint_every: Duration,
    pub keep_years: u32,
    /// Refusals of one known caller that are told one by one in a minute.
    pub refusals_per_minute: u32,
    /// Rows that one page of a search looks at.
    pub looked_at: u32,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) reads: bool,
    key: PathBuf,
    checkpoints: PathBuf,
    checkpoint_rows: u32,
    checkpoint_s: u64,
    keep_years: u32,
    refusals_per_minute: u32,
    looked_at: u32,
}

/// The law's five years (HSLF-FS 2016:40, 4 kap. 9 §).
const FEWEST_YEARS: u32 = 5;

pub(super) fn check(raw: RawAudit, db: &Path, base: &Path) -> Result<AuditSettings, ConfigError> {
    check_waits("audit.checkpoint_s", &[raw.checkpoint_s])?;
    if !(FEWEST_YEARS..=100).contains(&raw.keep_years) {
        return Err(value("audit.keep_years", "is from 5 (HSLF-FS 2016:40, 4 kap. 9 §) to 100"));
    }
    for (name, count) in [
        ("checkpoint_rows", raw.checkpoint_rows),
        ("refusals_per_minute", raw.refusals_per_minute),
        ("looked_at", raw.looked_at),
    ] {
        if count == 0 || count > 1_000_000 {
            return Err(value(&format!("audit.{name}"), "is from 1 to 1000000"));
        }
    }
    if raw.checkpoint_s == 0 {
        return Err(value("audit.checkpoint_s", "must be at least 1"));
    }
    let or = |path: PathBuf, default: PathBuf| if path.as_os_str().is_empty() { default } else { base.join(path) };
    let mut beside = db.as_os_str().to_owned();
    beside.push(".checkpoints");
    Ok(AuditSettings {
        key: or(raw.key, db.with_file_name("audit.key")),
        checkpoints: or(raw.checkpoints, PathBuf::from(beside)),
        checkpoint_rows: i64::from(raw.checkpoint_rows),
        checkpoint_every: Duration::from_secs(raw.checkpoint_s),
        keep_years: raw.keep_years,
        refusals_per_minute: raw.refusals_per_minute,
        looked_at: raw.looked_at,
    })
}
