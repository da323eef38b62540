//! Rows of subscriptions as plain values: what was asked for, how far it was told, and what a commit changes of it.

mod happened;
mod read;
mod write;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::grants::Right;
use super::query::Filter;
use super::record::Stored;
use crate::domain::subscription::{Payload, Status};

pub use happened::{Happened, Happening};
pub(super) use write::COUNT_OF;

/// What a client asks for: a new subscription, or its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionOrder {
    pub id: Uuid,
    /// Whose it is; for everyone else it does not exist.
    pub client: String,
    /// The caller, as it is to be made again for every event.
    pub caller: String,
    /// The canonical url.
    pub topic: String,
    /// Its filters and what else stands in it, as JSON.
    pub asked: String,
    pub channel: Hook,
    pub status: Status,
    pub end_at: Option<DateTime<Utc>>,
    pub at: DateTime<Utc>,
}

/// Where it is told, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    pub endpoint: String,
    /// Secrets: `Name: value`.
    pub headers: Vec<String>,
    pub payload: Payload,
    pub heartbeat_s: Option<u32>,
    pub timeout_s: u32,
    pub max_count: u32,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// A subscription as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: Uuid,
    pub client: String,
    pub caller: String,
    pub topic: String,
    pub asked: String,
    pub channel: Hook,
    pub end_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Of the resource.
    pub version: u32,
    /// How often the client has changed it, and 1.
    pub generation: u32,
    /// Where its last change stands among all changes.
    pub changed: i64,
    pub status: Status,
    pub error: Option<String>,
    /// Commits after this are events.
    pub since_seq: i64,
    /// The last number that was taken at the endpoint.
    pub told: i64,
    /// The last number that is kept no more.
    pub dropped: i64,
    pub attempts: u32,
    pub failing_since: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
    pub spoken_at: Option<DateTime<Utc>>,
}

/// What follows from an attempt to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    pub id: Uuid,
    /// The one it was made under: what the client has changed since is not overwritten.
    pub generation: u32,
    pub status: Status,
    pub error: Option<String>,
    /// Taken up to this number.
    pub told: Option<i64>,
    /// Failed attempts in a row.
    pub attempts: u32,
    pub failing_since: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
    pub spoken_at: Option<DateTime<Utc>>,
    pub at: DateTime<Utc>,
}

/// Something that a subscription is to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEvent {
    pub subscription: Uuid,
    pub seq: i64,
    pub rid: i64,
    /// The `seq` of the version.
    pub version: i64,
    pub at: DateTime<Utc>,
}

/// A number, when its event was, and the version, where it may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub number: i64,
    pub at: DateTime<Utc>,
    pub seen: Option<Stored>,
}

/// For whom events are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eyes {
    pub filter: Filter,
    /// All of them are needed.
    pub rights: Vec<Right>,
}

/// What is written of subscriptions, together with the rest of a commit.
#[derive(Debug, Clone)]
pub enum SubscriptionChange {
    Begin(Box<SubscriptionOrder>),
    /// By its client, who has read that version.
    Revise {
        order: Box<SubscriptionOrder>,
        version: u32,
    },
    Remove {
        id: Uuid,
    },
    /// The log was read up to that `seq`.
    Match {
        through: i64,
        events: Vec<NewEvent>,
    },
    /// Numbers what may be seen of what happened, at most so many; what may not be seen is forgotten.
    Number {
        id: Uuid,
        eyes: Box<Eyes>,
        most: u32,
    },
    /// The same, and an attempt is about to tell at most so many.
    Offer {
        id: Uuid,
        eyes: Box<Eyes>,
        most: u32,
    },
    Speak(Box<Spoken>),
    /// What is older than that, or beyond the last so many, is kept no more.
    Forget {
        id: Uuid,
        before: DateTime<Utc>,
        keep: u32,
    },
}
