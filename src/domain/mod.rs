//! Swedish and process facts: identifiers, code lists, exchanges, deliveries, the Task transition table. Pure.

pub mod delivery;
pub mod exchange;
pub mod kind;
pub mod task;
pub mod unit;

pub use exchange::{PartyRole, Stage};
pub use kind::{Format, Kind};
pub use unit::{Directory, Level, Unit};
