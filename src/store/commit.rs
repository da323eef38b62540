//! The one write verb: what is expected, what is written, and how it can fail.

use super::record::{Answer, Audit, Delivery, DeliveryChange, Document, Exchange, Inbound, Put};
use uuid::Uuid;

/// Everything that happens or does not happen together.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub expect: Vec<Expect>,
    pub put: Vec<Put>,
    pub exchanges: Vec<Exchange>,
    pub documents: Vec<Document>,
    pub deliveries: Vec<Delivery>,
    pub delivery_changes: Vec<DeliveryChange>,
    pub inbound: Vec<Inbound>,
    pub answer: Option<Answer>,
    pub audit: Vec<Audit>,
}

/// What must still be true when the commit is made. If it is not, nothing is written and the caller reads again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The Patient with this identifier has this id; `None`: there is none yet.
    Patient { system: String, value: String, id: Option<String> },
    /// The resource stands at this version; `None`: it does not exist.
    Version { resource_type: String, id: String, version: Option<u32> },
    /// No resource of this type has the identifier (If-None-Exist).
    NoIdentifier { resource_type: String, system: String, value: String },
    /// The exchange of this document has this revision; `None`: there is no such exchange.
    Exchange { organisation: String, kind: crate::domain::Kind, document: String, revision: Option<u32> },
    /// The exchange has this revision.
    Revision { exchange: Uuid, revision: u32 },
    /// The caller has not used this Idempotency-Key.
    FreshKey { caller: String, key: String },
    /// The partner has not said this before.
    Unheard { partner: String, key: String },
}

/// How a commit ended when the disk did its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// On disk, fsynced.
    Done { seq: i64 },
    /// An expectation did not hold; nothing was written.
    Conflict(Expect),
}

/// Why the store could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue of the writer is full: 429, before acceptance.
    #[error("the store's queue is full")]
    Busy,
    /// COMMIT failed or the disk refused: nothing of the group was written, and the store is not ready.
    #[error("the store could not commit")]
    Commit(#[source] rusqlite::Error),
    #[error("the store could not read")]
    Read(#[source] rusqlite::Error),
    #[error("the store has stopped")]
    Stopped,
    #[error("a row of the store cannot be understood: {0}")]
    Corrupt(&'static str),
    #[error("the database could not be opened")]
    Open(#[source] rusqlite::Error),
    #[error("another process has the database open")]
    Locked,
    #[error("the database is of version {found}, this program knows versions up to {known}")]
    TooNew { found: i64, known: i64 },
}
