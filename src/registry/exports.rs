//! What all who work on exports share: who is rung, who asked how often, and who is having something compared.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::bucket::Bucket;
use crate::store::Owner;

/// Questions of how an export is doing that may come at once.
const POLLS: u32 = 10;
/// Exports whose questions are counted.
const COUNTED: usize = 10_000;

/// What all who work on exports share.
#[derive(Default)]
pub struct Exports {
    /// Rung when there is an export to work on, or one to stop working on.
    pub wake: Notify,
    polls: Mutex<HashMap<Uuid, Bucket>>,
    /// Clients that are having something compared.
    comparing: Mutex<Vec<Owner>>,
}

impl std::fmt::Debug for Exports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exports")
    }
}

impl Exports {
    /// Whether the export may be asked after again already.
    pub fn may_poll(&self, export: Uuid, every_s: u64, now: DateTime<Utc>) -> bool {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.len() >= COUNTED {
            polls.clear();
        }
        #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
        let rate = 1.0 / (every_s.max(1) as f64);
        let new = || Bucket::new(rate, POLLS, now);
        if let std::collections::hash_map::Entry::Vacant(entry) = polls.entry(export)
            && let Some(bucket) = new()
        {
            entry.insert(bucket);
        }
        polls.get_mut(&export).is_none_or(|bucket| bucket.take(now))
    }

    /// One comparison of a client at a time: it reads as much as an export.
    pub fn compare(&self, owner: Owner) -> Option<Comparing<'_>> {
        let mut comparing = self.comparing.lock().unwrap_or_else(PoisonError::into_inner);
        if comparing.contains(&owner) {
            return None;
        }
        comparing.push(owner.clone());
        Some(Comparing { of: self, owner })
    }
}

/// A comparison under way; another may begin when this is dropped.
#[derive(Debug)]
pub struct Comparing<'a> {
    of: &'a Exports,
    owner: Owner,
}

impl Drop for Comparing<'_> {
    fn drop(&mut self) {
        self.of.comparing.lock().unwrap_or_else(PoisonError::into_inner).retain(|owner| *owner != self.owner);
    }
}
