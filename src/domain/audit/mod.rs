//! The words of the audit log: what can be done (`deed`), and who did it to what, with what outcome (`event`).

mod deed;
mod event;

pub use deed::{Deed, Interaction};
pub use event::{By, Event, Origin, Outcome, Record};
