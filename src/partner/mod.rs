//! The only outgoing HTTP: a partner's FHIR server as deliveries, Tasks and answers, every address judged and every failure
//! classified in one place.

mod client;
mod guard;
mod notice;
mod outcome;

pub use client::{Client, Reply, call, fetch_small};
pub use guard::Guard;
pub use notice::Notifier;
pub use outcome::{Asked, NO_CONNECTION, classify, unreadable};
