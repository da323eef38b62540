//! What the writer notices about itself, for whoever watches the gateway: how many commits share a sync, how long it takes,
//! and how the log is doing.

use std::path::{Path, PathBuf};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{Store, StoreError};

/// Seconds a group takes: from a fast disk's sync to one that is about to fail.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Counted by the writing thread; clones share the counts.
#[derive(Debug, Clone)]
pub struct Meter {
    pub group_size: Histogram,
    pub commit_duration: Histogram,
    pub failures: Counter,
    pub checkpoint_duration: Histogram,
    pub checkpoints_busy: Counter,
    pub log_pages: Gauge,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            group_size: Histogram::new(SIZES),
            commit_duration: Histogram::new(SECONDS),
            failures: Counter::default(),
            checkpoint_duration: Histogram::new(SECONDS),
            checkpoints_busy: Counter::default(),
            log_pages: Gauge::default(),
        }
    }
}

/// Room on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    pub database_bytes: u64,
    pub log_bytes: u64,
    /// What this process may still write.
    pub free_bytes: u64,
}

impl Store {
    /// The writer's figures.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// How many commits wait for the writer.
    pub fn waiting_commits(&self) -> usize {
        let jobs = self.shared.jobs.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity())
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Room on the disk.
    pub fn space(&self) -> Result<Space, StoreError> {
        space(&self.shared.path)
    }
}

/// Room on the disk of a database file, whoever has it open.
pub fn space(path: &Path) -> Result<Space, StoreError> {
    let size = |path: &Path| std::fs::metadata(path).map(|m| m.len());
    let disk = rustix::fs::statvfs(path).map_err(|error| StoreError::File(error.into()))?;
    Ok(Space {
        database_bytes: size(path).map_err(StoreError::File)?,
        log_bytes: size(&beside(path, "-wal")).unwrap_or(0),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

/// A file that stands beside another under its name and an ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
