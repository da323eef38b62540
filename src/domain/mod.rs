//! Swedish and process facts: identifiers, code lists, exchanges, deliveries, the Task transition table. Pure.

pub mod hsa_id;
pub mod icd10;
pub mod kind;
pub mod kva;
pub mod person_id;

pub use hsa_id::HsaId;
pub use kind::{Format, Kind};
pub use person_id::{PersonId, PersonIdKind};
