//! Swedish and process facts: identifiers, code lists, exchanges, deliveries, the Task transition table. Pure.

pub mod kind;

pub use kind::{Format, Kind};
