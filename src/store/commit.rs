//! The one write verb: what is expected, what is written, and how it can fail.

use super::audit::{Checkpoint, Prune};
use super::block::{Block, Listed};
use super::charge::Moved;
use super::counterpart::{Counterpart, OwnedChange};
use super::dropped::Dropped;
use super::export::ExportChange;
use super::link::{Link, Word};
use super::programme::Programme;
use super::reassessment::Look;
use super::record::{Answer, Assertion, Audit, Delivery, DeliveryChange, Document, Exchange, Inbound, Move, Put};
use super::rights::Deed;
use super::subscription::SubscriptionChange;
use super::wait::{PauseChange, Raised};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Everything that happens or does not happen together.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub expect: Vec<Expect>,
    pub put: Vec<Put>,
    pub share: Vec<Share>,
    /// After `put` and `share`: these units see these resources no more.
    pub hide: Vec<Share>,
    pub exchanges: Vec<Exchange>,
    /// After `share`: what they are made of is there.
    pub programmes: Vec<Programme>,
    /// When plans are looked at again, and what asks for a new assessment.
    pub looks: Vec<Look>,
    pub documents: Vec<Document>,
    pub deliveries: Vec<Delivery>,
    /// Attempts that are about to begin; before `delivery_changes`.
    pub begun: Vec<Begun>,
    pub delivery_changes: Vec<DeliveryChange>,
    /// Registered, or lifted where they are there already. What follows from them is settled in the same commit.
    pub blocks: Vec<Block>,
    /// Made, or undone where they are there already. What follows from them is settled in the same commit.
    pub links: Vec<Link>,
    /// What named persons say of patients.
    pub words: Vec<Word>,
    /// Of which held deliveries the worklist has heard.
    pub listed: Vec<Listed>,
    /// Who has charge of what: steps that follow, in order.
    pub charges: Vec<Moved>,
    /// Patients whose responsibility has been derived from what was answered before it was kept.
    pub derived: Vec<String>,
    /// What a person does to clocks.
    pub pauses: Vec<PauseChange>,
    /// Which waits are told to be overdue.
    pub raised: Vec<Raised>,
    pub inbound: Vec<Inbound>,
    /// What partners have of ours now, and what they said of what is theirs to say.
    pub counterparts: Vec<Counterpart>,
    pub owned: Vec<OwnedChange>,
    /// Moves of Tasks that are among `put`.
    pub moves: Vec<Move>,
    /// What patients wish, what registries got, what is held and removed; after everything else and before the audit rows.
    pub deeds: Vec<Deed>,
    /// Exchanges that came by a folder of files.
    pub dropped: Vec<Dropped>,
    pub answer: Option<Answer>,
    pub exports: Vec<ExportChange>,
    pub subscriptions: Vec<SubscriptionChange>,
    pub assertion: Option<Assertion>,
    pub audit: Vec<Audit>,
    /// After `audit`: what is signed stands in the log.
    pub checkpoint: Option<Checkpoint>,
    /// Last of all: the oldest rows of the audit log that leave.
    pub prune: Option<Prune>,
}

/// An attempt that is about to begin: on record before anything is sent, and taken back by the attempt's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    pub delivery: Uuid,
    /// [`Attempt::at`](super::Attempt) of its record.
    pub at: DateTime<Utc>,
}

/// Resources and the units that see them, or no longer see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// `Type/id` of each.
    pub resources: Vec<String>,
    pub units: Vec<String>,
}

/// What must still be true when the commit is made. If it is not, nothing is written and the caller reads again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The Patient with this identifier has this id; `None`: there is none yet.
    Patient { system: String, value: String, id: Option<String> },
    /// The resource stands at this version; `None`: it does not exist.
    Version { resource_type: String, id: String, version: Option<u32> },
    /// No resource of this type that may be seen has the identifier (If-None-Exist): of what is hidden nothing is told.
    NoIdentifier { resource_type: String, system: String, value: String, filter: super::Filter },
    /// The exchange of this document has this revision; `None`: there is no such exchange.
    Exchange { organisation: String, kind: crate::domain::Kind, document: String, revision: Option<u32> },
    /// The programme has this revision; 0: there is none yet.
    Programme { programme: Uuid, revision: u32 },
    /// No hold keeps the programme. A [`Purge`](super::Purge) expects it of its own accord.
    Unheld { programme: Uuid },
    /// The exchange has this revision.
    Revision { exchange: Uuid, revision: u32 },
    /// Nothing happened to the patient's exchanges since: [`Store::changes_of_patient`](super::Store::changes_of_patient)
    /// says the same.
    Unchanged { patient: String, changes: i64 },
    /// Nothing happened to the patient's blocks since: [`Store::block_marks`](super::Store::block_marks) says the same.
    Blocks { patient: String, marks: i64 },
    /// Neither number has a part in a link that keeps them from being one person. A link expects it of its own accord.
    Unlinked { old: String, new: String },
    /// The link stands. Undoing it expects it of its own accord.
    Linked { id: Uuid },
    /// Nothing moved for the patient since: [`Store::charge_moves`](super::Store::charge_moves) says the same `last`.
    Charges { patient: String, last: i64 },
    /// The caller has not used this Idempotency-Key.
    FreshKey { caller: String, key: String },
    /// The client has not used this assertion.
    Unused { client: String, jti: [u8; 32] },
    /// The client has used fewer than `most` that have not expired at `at`.
    FewAssertions { client: String, most: u32, at: DateTime<Utc> },
    /// The partner has not said this before.
    Unheard { partner: String, key: String },
    /// What the partner has of the resource is known as it was read; `None`: nothing was.
    Counterpart { partner: String, resource_type: String, id: String, mark: Option<i64> },
    /// The last delivery to this partner about the patient of this exchange has this `seq`.
    LaneEnd { exchange: Uuid, partner: String, seq: i64 },
    /// The delivery is in this state. Every [`DeliveryChange`] expects this of its own accord.
    Delivery { delivery: Uuid, state: crate::domain::delivery::State },
    /// The unit has registered no objection of this person to this registry that is in force.
    NoOptOut { system: String, value: String, registry: String, unit: String },
    /// The objection is in force.
    OptOut { id: Uuid },
    /// The exchange is there.
    Standing { exchange: Uuid },
    /// Nothing stops the removal: no hold, and nothing more is expected. A [`Removal`](super::Removal) expects it of its own accord.
    Removable { exchange: Uuid },
    /// Nothing of the delivery was sent since: so many attempts are on record, and none has begun whose outcome is not.
    Untried { delivery: Uuid, attempts: u32 },
    /// The wait stands as it was read. Every [`Raised`] expects this of its own accord.
    Waiting { exchange: Uuid, unit: String, step: crate::domain::clock::Step },
    /// The export is not over. Every [`ExportChange`] expects this of its own accord.
    ExportOpen { export: Uuid },
    /// The client has fewer open exports than this, and fewer with files.
    ExportRoom { owner: super::Owner, open: u32, kept: u32 },
    /// The subscription stands as it was read. Every [`SubscriptionChange`] of one expects this of its own accord.
    Subscription { subscription: Uuid },
    /// The client has fewer subscriptions than this.
    SubscriptionRoom { client: String, most: u32 },
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
    /// The rows of this commit contradict what the database holds or allows; others of its group were written.
    #[error("the database refuses the rows")]
    Refused(#[source] rusqlite::Error),
    #[error("the store could not read")]
    Read(#[source] rusqlite::Error),
    /// A parameter whose values are still being made anew: 503, it passes.
    #[error("a search parameter is being indexed anew")]
    Indexing,
    /// The page that a search should go on behind is not there for the one who asks.
    #[error("the page to go on behind is gone")]
    LostPage,
    #[error("the store has stopped")]
    Stopped,
    #[error("a row of the store cannot be understood: {0}")]
    Corrupt(&'static str),
    #[error("the database could not be opened")]
    Open(#[source] rusqlite::Error),
    #[error("a file of the store could not be read or written")]
    File(#[source] std::io::Error),
    #[error("the lock file of the database could not be taken")]
    Lock(#[source] std::io::Error),
    #[error("a thread of the store could not be started")]
    Thread(#[source] std::io::Error),
    #[error("another process has the database open")]
    Locked,
    #[error("the file is cut off: it has {bytes} bytes and says that it has {said}")]
    CutOff { bytes: u64, said: u64 },
    #[error("the file is a database of another program")]
    Foreign,
    #[error("the database is of version {found}, this program knows versions up to {known}")]
    TooNew { found: i64, known: i64 },
}
