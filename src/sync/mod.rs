//! The journeys of a document.
//!
//! `submit` takes it in: recall, map, identify, validate, commit. `worker` delivers what is due. `reconcile` reads
//! partners' Tasks, and `acknowledge` applies an answer, whoever brought it, through the one transition table.
//! Everything here reads, decides, and commits once; a `Conflict` means that somebody was faster, and it is done again.

pub mod abort;
pub mod access_log;
pub mod acknowledge;
pub mod answer;
pub mod block;
pub mod cancel;
pub mod charge;
pub mod clocks;
mod concerns;
mod consent;
pub mod consultation;
pub mod contribute;
pub mod counterpart;
pub mod deceased;
pub mod deliver;
pub mod difference;
pub mod gate;
pub mod gather;
mod held;
pub mod hold;
pub mod identify;
mod kept;
pub mod link;
pub mod log;
mod moved;
mod notice;
mod offered;
pub mod package;
pub mod part;
pub mod particulars;
mod parties;
pub mod planned;
pub mod present;
pub mod programme;
pub mod protection;
mod provenance;
mod read;
pub mod reassess;
pub mod receipt;
pub mod reconcile;
pub mod redirect;
mod redirected;
pub mod refusal;
pub mod refused;
pub mod release;
pub mod remove;
pub mod resend;
pub mod responsibility;
pub mod responsible;
pub mod route;
pub mod seal;
pub mod seen;
mod sender;
mod standing;
pub mod status;
pub mod submit;
pub mod subscription;
mod supersede;
pub mod take;
#[cfg(test)]
mod tests;
mod tie;
pub mod timeline;
mod transfer;
mod veil;
mod waiting;
pub mod weigh;
pub mod witness;
pub mod worker;
pub mod worklist;

pub use refusal::Refusal;
pub use submit::{Answered, Submission, submit};

/// How often a journey is begun again when others commit in between.
const TRIES: usize = 20;
