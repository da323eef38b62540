//! Swedish and process facts: identifiers, code lists, exchanges, deliveries, the Task transition table. Pure.

pub mod audit;
pub mod block;
pub mod breaker;
pub mod bucket;
pub mod business_status;
pub mod charge;
pub mod clock;
pub mod delivery;
pub mod disclosure;
pub mod exchange;
pub mod hsa_id;
pub mod icd10;
pub mod issuer;
pub mod kind;
pub mod kva;
pub mod outgoing;
pub mod ownership;
pub mod part;
pub mod person_id;
pub mod programme;
pub mod redirect;
pub mod retention;
pub mod statistic;
pub mod subscription;
pub mod tally;
pub mod task;
pub mod transfer;
pub mod unit;
pub mod window;

pub use exchange::{PartyRole, Stage};
pub use hsa_id::HsaId;
pub use issuer::PersonIdKind;
pub use kind::{Format, Kind};
pub use person_id::PersonId;
pub use unit::{Directory, Level, Unit};
