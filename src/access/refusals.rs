//! How many refusals are written to the audit log: anybody can name a known client and be refused, and must not fill the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::domain::bucket::Bucket;

/// Refusals of one client that are written at once, and then one a minute: some 1500 a day.
const BURST: u32 = 20;
const PER_S: f64 = 1.0 / 60.0;

/// By client: only those of the settings come here, so their number is bounded.
#[derive(Debug, Default)]
pub struct Refusals {
    clients: Mutex<HashMap<String, Counted>>,
}

#[derive(Debug)]
struct Counted {
    bucket: Bucket,
    unwritten: u64,
}

impl Refusals {
    /// Whether this one is to be written; with it, how many were not since the last that was.
    pub fn take(&self, client: &str, now: DateTime<Utc>) -> Option<u64> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if !clients.contains_key(client) {
            let bucket = Bucket::new(PER_S, BURST, now)?;
            clients.insert(client.to_owned(), Counted { bucket, unwritten: 0 });
        }
        let counted = clients.get_mut(client)?;
        if counted.bucket.take(now) {
            return Some(std::mem::take(&mut counted.unwritten));
        }
        counted.unwritten = counted.unwritten.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_few_of_it_are_written() {
        let refusals = Refusals::default();
        let at = |s: i64| DateTime::from_timestamp(1_790_000_000 + s, 0).unwrap();
        let written = (0..1000).filter_map(|_| refusals.take("c", at(0))).count();
        assert_eq!(written, 20);
        assert!(refusals.take("c", at(30)).is_none());
        assert_eq!(refusals.take("c", at(61)), Some(981), "the next that is written tells of those that were not");
        assert_eq!(refusals.take("d", at(0)), Some(0), "others have their own");
    }
}
