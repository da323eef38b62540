//! The rows the store keeps, as plain values: what a commit puts in and what reads give back.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::audit::Event;
use crate::domain::{Format, Kind, PartyRole, Stage, delivery, task};
use crate::fhir::search::Index;

/// A resource as it stands now, or as it stood in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub resource_type: String,
    pub id: String,
    pub version: u32,
    /// The commit order over everything: ties of `updated_at`, paging, `_since`.
    pub seq: i64,
    pub updated_at: DateTime<Utc>,
    /// The bytes as they were committed, `meta` included.
    pub body: Vec<u8>,
    /// The id of the Patient it is about.
    pub patient: Option<String>,
}

/// A resource version to commit. `version` is one more than the version it is expected to replace.
#[derive(Debug, Clone)]
pub struct Put {
    pub resource_type: String,
    pub id: String,
    pub version: u32,
    pub body: Vec<u8>,
    /// The id of the Patient it is about.
    pub patient: Option<String>,
    /// HSA-ids of the units that may see it, added to those that could before.
    pub units: Vec<String>,
    pub index: Vec<Index>,
    /// The exchange it belongs to.
    pub exchange: Option<Uuid>,
}

/// An exchange with its parties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub id: Uuid,
    /// Counts its changes; a commit expects the one it read.
    pub revision: u32,
    pub kind: Kind,
    pub format: Format,
    /// The organisation that owns the document id: the sending unit's care provider.
    pub organisation: String,
    pub document: String,
    /// The version in force.
    pub version: u32,
    pub entered_in_error: bool,
    /// The id of the Patient.
    pub patient: Option<String>,
    pub stage: Stage,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub parties: Vec<Party>,
    /// `Type/id` of the resources the version in force is made of, in the table's order.
    pub resources: Vec<String>,
}

impl Exchange {
    /// The unit that sent the document.
    pub fn sender(&self) -> Option<&Party> {
        self.parties.iter().find(|p| p.role == PartyRole::Sender)
    }

    /// Everyone the document goes to.
    pub fn recipients(&self) -> impl Iterator<Item = &Party> {
        self.parties.iter().filter(|p| p.role != PartyRole::Sender)
    }

    /// HSA-ids of every unit that takes part.
    pub fn units(&self) -> Vec<String> {
        self.parties.iter().map(|p| p.unit.clone()).collect()
    }
}

/// A unit's part in an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    pub unit: String,
    pub partner: String,
    pub role: PartyRole,
    /// The id of the Task that this unit owns in the exchange.
    pub task: Option<String>,
    pub status: Option<task::Status>,
    pub stage: Stage,
}

/// A document version as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub exchange: Uuid,
    pub version: u32,
    pub format: Format,
    pub source: Vec<u8>,
    /// SHA-256 of the source, hex.
    pub hash: String,
    /// Name and content hash of the table that mapped it.
    pub table: String,
    pub table_version: String,
    pub received_at: DateTime<Utc>,
    /// False for an older version that arrived late and changed nothing.
    pub in_force: bool,
    /// The answer the sender got: receipt bytes.
    pub receipt: Vec<u8>,
}

/// What a delivery does at the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Post the stored transaction Bundle.
    Transaction,
    /// Bring the partner's copy of a Task to the stored state: read it, change it, put it with If-Match.
    MoveTask,
    /// Post the stored notice, signed.
    Notice,
}

impl Action {
    pub const ALL: [Self; 3] = [Self::Transaction, Self::MoveTask, Self::Notice];

    pub fn code(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::MoveTask => "move-task",
            Self::Notice => "notice",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.code() == code)
    }
}

/// A delivery to make, or made. Its bytes never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: Uuid,
    pub exchange: Uuid,
    pub document_version: u32,
    pub partner: String,
    /// The recipient unit.
    pub unit: String,
    /// The id of the Patient; with the partner it names the lane in which order is kept.
    pub patient: String,
    pub action: Action,
    pub body: Vec<u8>,
    pub state: delivery::State,
    pub attempts: u32,
    /// Position in its lane, given by the store.
    pub seq: i64,
    pub created_at: DateTime<Utc>,
    pub first_attempt_at: Option<DateTime<Utc>>,
    pub due_at: DateTime<Utc>,
    /// When an attempt began whose outcome is not on record: it may have arrived. Only for what rests on a consent.
    pub begun_at: Option<DateTime<Utc>>,
    /// Why it is parked or was skipped, and by whom.
    pub note: Option<String>,
    /// Whether it overtakes other patients': it is urgent, or something urgent stands behind it in its lane.
    pub urgent: bool,
    /// The delivered one whose bytes these are, sent again because somebody asked for it.
    pub resend_of: Option<Uuid>,
    /// A block keeps it from its recipient: parked, in nobody's way, and sent by itself when the block is lifted.
    pub held: bool,
}

/// A change of a delivery's state, with the attempt that led to it.
#[derive(Debug, Clone)]
pub struct DeliveryChange {
    pub id: Uuid,
    /// The state it is expected to be in.
    pub from: delivery::State,
    pub to: delivery::State,
    pub due_at: DateTime<Utc>,
    pub note: Option<String>,
    pub attempt: Option<Attempt>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    /// `delivery::Outcome::class`.
    pub class: String,
    pub status: Option<u16>,
    pub reason: Option<String>,
    pub duration_ms: u32,
}

/// A move of a Task, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub exchange: Uuid,
    /// The Task's id.
    pub task: String,
    pub at: DateTime<Utc>,
    /// The unit or partner that made it.
    pub actor: String,
    /// The HSA-id of the person, where it was told.
    pub by: Option<String>,
    /// The version of the document that was in force.
    pub version: u32,
    pub status: task::Status,
    pub business_status: Option<String>,
}

/// Something a partner said, kept whole whether it could be used or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    pub partner: String,
    /// What makes it the same if it comes again: `Task/id/versionId`, or a content hash.
    pub key: String,
    pub exchange: Option<Uuid>,
    pub at: DateTime<Utc>,
    pub body: Vec<u8>,
    /// Why it could not be applied; empty when it was.
    pub finding: Option<String>,
}

/// An answer kept for an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who chose the key: the partner's name, or the unit.
    pub caller: String,
    pub key: String,
    /// SHA-256 of method, path and body, hex.
    pub request_hash: String,
    pub exchange: Option<Uuid>,
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// An assertion that a client has shown for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    pub client: String,
    /// SHA-256 of what the client calls it.
    pub jti: [u8; 32],
    pub at: DateTime<Utc>,
    /// Until when it could be shown again.
    pub expires_at: DateTime<Utc>,
}

/// A row of the audit log, as an [`Event`] makes it. The payload is hashed with a salt, so that it can be erased and the
/// chain still holds; what is in it besides is [`Event::payload`], and by that rows are found: its `patients`, or else those
/// that `shown`, `exchange` and the object belong to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    pub at: DateTime<Utc>,
    /// Who: a unit's HSA-id, a partner's name, or `gateway`.
    pub actor: String,
    /// The word of a [`Deed`](crate::domain::audit::Deed).
    pub action: String,
    /// `exchange/…`, `Task/…`, `delivery/…`.
    pub object: String,
    pub payload: String,
}

impl From<Event> for Audit {
    fn from(event: Event) -> Self {
        let payload = event.payload().to_string();
        Self { at: event.at, actor: event.by.name, action: event.deed.code().into(), object: event.object, payload }
    }
}
