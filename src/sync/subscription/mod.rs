//! Being told instead of asking: subscriptions of care systems, matched against the commit log and told at their endpoints.
//!
//! `register` takes a subscription in. `matching` finds whose events a commit makes, by an index and not by trying all. `tell` makes one
//! attempt: events in order, at least once, the same when they are told again. `ask` answers `$status` and `$events`. At every step
//! the store decides anew what the subscriber may see as it stands.

mod ask;
mod matching;
mod register;
mod rights;
mod tell;
#[cfg(test)]
mod tests;
mod trouble;
mod worker;

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use uuid::Uuid;

pub use ask::{Events, EventsAsked, events, status, statuses};
pub use matching::Index;
pub use register::{create, list, own, remove, revise, shown};
pub use worker::run;

use super::weigh::instant;

/// What the worker hears from the API.
#[derive(Debug, Default)]
pub struct Desk {
    /// Rung when a subscription was made, changed or ended.
    wake: Notify,
    ended: Mutex<Vec<Uuid>>,
}

impl Desk {
    fn changed(&self) {
        self.wake.notify_one();
    }

    fn ended(&self, id: Uuid) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.wake.notify_one();
    }

    fn take_ended(&self) -> Vec<Uuid> {
        std::mem::take(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A FHIR instant.
fn said(at: DateTime<Utc>) -> String {
    instant(at)
}

/// Type, parameter and value of each filter, why it was asked for, and who can be asked.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Kept {
    filters: Vec<(String, String, String)>,
    reason: String,
    contact: Option<serde_json::Value>,
}

impl Kept {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}
