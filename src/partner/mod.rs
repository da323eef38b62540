//! The only outgoing HTTP: a partner's FHIR server as deliveries, Tasks and answers, every address judged and every failure
//! classified in one place.

mod bearer;
mod client;
mod guard;
mod hook;
mod notice;
mod outcome;

pub use bearer::Bearer;
pub use client::{Client, MOST_TRIES, Reply, Small, call, fetch_small};
pub use guard::Guard;
pub use hook::Hooks;
pub use notice::Notifier;
pub use outcome::{Asked, classify, had_no_effect, unreadable};
