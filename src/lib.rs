//! Vårdkedja: a FHIR R4 gateway for cancer rehabilitation between specialist and primary care in Sweden.
//!
//! Rehab plans, referrals, handovers and KVÅ activities come in as what Swedish systems have, become FHIR, reach the
//! other side and come back answered.
//!
//! # Promises
//!
//! 1. **Nothing is acknowledged before it is committed to disk.**
//! 2. **Nothing leaves except from a stored delivery; a resend is byte-identical and changes no content a second time.** An update
//!    of what a partner has is written over the version that is known, and keeps the partner's own word. What subscribers are told
//!    follows from the commit log, and is told again as the same events.
//! 3. **Same patient, same partner: in order; a parked delivery holds its successors until it is retried, superseded or
//!    skipped by a named person. A stuck patient or partner never holds up another. What a patient has blocked is in nobody's
//!    way, and leaves in order when the block is lifted.**
//! 4. **No document is ever dropped: it is delivered, refused with findings, or parked where a person sees it.**
//! 5. **Every mapped element can be traced to the row that made it; every source field that no row read is reported.**
//! 6. **What an action did and the record that it was done are one commit; for reads, the record is on disk before the
//!    answer leaves.**
//! 7. **No personnummer, name or free text in any log, metric, URL that we make, or error text.**
//! 8. **`domain`, `fhir`, `mapping` and `rules` are pure: no clock, no socket, no file after load.**
//! 9. **From the commit of a block (spärr) on, no path shows or sends what it closes, nor tells that it is there.** Who had got
//!    it by an export is told to erase it, as if it had been removed. One exception is not mended yet: what a performer has written
//!    into a plan at its own server is closed with the plan, by a block of the plan's sender, and not by one of the performer's.
//! 10. **What holds for a person holds under each of the person's numbers, and a link between two numbers shows nobody what they
//!     could not see without it.** A link that was wrong is undone without a trace in anything but the log.
//!
//! # The house
//!
//! | folder | what it is |
//! |---|---|
//! | [`domain`] | Swedish and process facts: identifiers, code lists, the Task transition table, deliveries |
//! | [`fhir`] | R4 facts: the schema, findings, Bundles, search parameters, the validator |
//! | [`mapping`] | tables ↔ FHIR, both ways |
//! | [`rules`] | who is responsible, and why: guidelines as data, judged over an assessment; programmes as data, and what is due when |
//! | [`store`] | the only SQL |
//! | [`partner`] | the only outgoing HTTP |
//! | [`drop`](mod@drop) | folders that partners' files land in: the shell's way to `sync` for who cannot call us |
//! | [`sync`] | the journeys: submit, deliver, acknowledge, reconcile, cancel, send again, tell subscribers; the clocks of what nobody answers; what an intervention that ends asks for |
//! | [`registry`] | what registries get of whom and what they must erase: exports, comparison; the KVÅ list in force, statistics |
//! | [`access`] | who is calling, for which units, and what its scopes and purpose cover |
//! | [`api`] | the only incoming HTTP: one flat list of routes |
//! | [`signing`] | the gateway's own keys, for its tokens and for partners who demand tokens |
//! | [`telemetry`] | figures, the log, traces: what is seen of all of it from outside |
//! | [`operations`] | backup, restore and status, for whoever runs it |
//! | [`demo`] | the journey that `vardkedja demo` plays, and the primary care system it plays it against |
//!
//! Imports run one way: `api → {registry, sync, access} → {mapping, rules, store, partner} → fhir → domain`.
//!
//! # The walk of one referral
//!
//! `POST /v1/referrals` → [`sync::submit()`]: the Idempotency-Key is recalled, the body read and mapped by its table, every
//! resource gets its id and is validated, and one commit writes resources, index rows, exchange, document, deliveries,
//! audit row and answer. Only then 202. [`sync::worker::run`] sends what is due: the stored Bundle, in order for each
//! patient and partner. The primary care unit moves its Task; [`sync::reconcile`] reads it there, or the unit writes it
//! here, and [`sync::acknowledge`] applies it through the one transition table. `GET /v1/exchanges/{id}/document` shows the
//! referral with its answer in the format it was sent in. A unit without a FHIR server answers by [`sync::answer`], on the same road;
//! [`sync::counterpart`] reads what partners change in their copies and writes ours over nobody's word;
//! [`sync::part`] makes a Task of each area that is answered by itself, and [`sync::redirect`] sends a referral on to another unit.

#![forbid(unsafe_code)]
// A request must never end the program: nothing outside tests may panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod access;
pub mod api;
mod assets;
pub mod config;
pub mod demo;
pub mod domain;
pub mod drop;
pub mod fhir;
mod gateway;
pub mod mapping;
pub mod operations;
pub mod partner;
pub mod registry;
mod renew;
pub mod rules;
pub mod signing;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tools;

pub use assets::{mapping_files, profile_files};
pub use gateway::{Conformance, Gateway, InForce, StartError, run};
