//! The only SQL. One write verb (`commit`), reads that always say who is asking.

pub mod commit;
pub mod record;

pub use commit::{Commit, Committed, Expect, StoreError};
pub use record::{
    Action, Answer, Attempt, Audit, Delivery, DeliveryChange, Document, Exchange, Inbound, Index, Party, Put, Stored,
};
