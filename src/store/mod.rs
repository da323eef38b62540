//! The only SQL. One write verb (`commit`), reads that always say who is asking.
//!
//! SQLite, with one thread that writes (`writer`) and a few that read (`reader`). A commit waits in a bounded queue, is
//! written together with others, and is answered when all of them are on disk. `write_*` and `read_*` have the SQL of
//! one noun each; `migrations/` says what a legal row is.

mod apply;
mod assertion;
mod audit;
pub mod backup;
pub mod block;
mod charge;
pub mod commit;
mod counterpart;
mod disclosure;
mod dropped;
mod due;
mod exchanges;
mod expect;
mod export;
mod fill;
pub mod grants;
mod hold;
mod known_patient;
pub mod ledger;
mod link;
mod log;
mod look;
pub mod meter;
mod migrate;
mod moves;
mod objection;
mod open;
mod programme;
pub mod query;
mod read_act;
mod read_delivery;
mod read_exchange;
mod read_export;
mod read_queue;
mod read_resource;
mod reader;
mod reassessment;
pub mod record;
mod reindex;
mod removal;
pub mod rights;
mod row;
mod search;
mod sql;
mod state;
mod statement;
pub mod subscription;
#[cfg(test)]
mod tests;
mod versions;
mod visible;
mod wait;
mod write_act;
mod write_delivery;
mod write_exchange;
mod write_export;
mod write_index;
mod write_resource;
mod writer;

use std::sync::Arc;

pub use crate::fhir::search::{Clause, DateOp, Index, Span, TextMatch, TokenMatch};
pub use audit::{
    AuditQuery, ChainHead, Checkpoint, CheckpointKind, Fault, Mark, Prune, Walked, checkpoints_of, rows_in_order,
    walk_file,
};
pub use backup::{
    BackupError, BackupNote, Manifest, Restored, back_up, is_of, last_backup, leave_for_log, left_for_log, manifest_of,
    restore, verify_backup,
};
pub use block::{Block, Lifted, Listed, Outgoing};
pub use charge::{Moved, Moves};
pub use commit::{Begun, Commit, Committed, Expect, Share, StoreError};
pub use counterpart::{Counterpart, Owned, OwnedChange};
pub use dropped::Dropped;
pub use due::{Due as Removable, Tally, look_due};
pub use export::{
    Export, ExportChange, ExportFile, ExportLevel, ExportOrder, ExportState, FileKind, Membership, Owner, Until,
};
pub use grants::{Extent, Grants, Right};
pub use ledger::Ledger;
pub use link::{Link, Says, Undone, Word};
pub use meter::{Meter, Space};
pub use objection::EVERY;
pub use open::Options;
pub use programme::{Programme, Purge};
pub use query::{DeliveryQuery, ExchangePage, ExchangeQuery, Filter, Include, Page, Search, Sort, SortBy, Who, Window};
pub use read_act::{ActQuestion, ActRow, Apart, Reached, Span as ActSpan};
pub use read_delivery::{Due, Room, Rooms, TURN};
pub use read_exchange::OpenTask;
pub use read_queue::{MOST_COUNTED, Parked, PartnerQueue, Queue, Unanswered, Worklist, look};
pub use reassessment::{Look, Reassessment};
pub use record::{
    Action, Answer, Assertion, Attempt, Audit, Delivery, DeliveryChange, Document, Exchange, Inbound, Move, Party, Put,
    Stored,
};
pub use rights::{Copies, Deed, Disclosed, DisclosedTo, Erasure, Given, Hold, Informed, OptOut, Removal, Stub};
pub use search::{Criteria, Found, HowFar, List, Passed, Targets, Walk};
pub use subscription::{
    Eyes, Happened, Happening, Hook, NewEvent, Numbered, Spoken, Subscription, SubscriptionChange, SubscriptionOrder,
};
pub use versions::Versions;
pub use wait::{
    DECEASED, Escalated, HeldBy, OpenCount, PauseChange, PauseRow, Place, Raised, StepCount, WaitQuery, Waiting,
};

/// The database, as everyone else sees it: cheap to clone, closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<open::Shared>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
