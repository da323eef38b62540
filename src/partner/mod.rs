//! The only outgoing HTTP: a partner's FHIR server as deliveries, Tasks and answers, every failure classified in one place.

mod client;
mod outcome;

pub use client::{Client, Reply, call, fetch_small};
pub use outcome::{Asked, NO_CONNECTION, classify, unreadable};
