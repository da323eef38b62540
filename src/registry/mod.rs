//! The registries' journeys: what a quality registry gets of whom and in what form, what it must erase, and what a patient may
//! ask of it; the KVÅ list in force, and what was done, counted by it.
//!
//! `definitions` keeps the package's code list and measures in the store, `code_list` puts a new list in force, `statistics`
//! counts acts by it, `indicators` counts people, and `tables` and `report` write the answers.
//!
//! What a registry fetches: `begin` takes an order for an export and is done when it is on disk. `worker` sees to open exports;
//! `writing` writes the files of one, piece by piece, and goes on after a crash where it is on record to have been. `standing`
//! answers for an export that is there: how it stands, its manifest, its files, its end. `verify` compares what a registry holds
//! with what it would get now. Each resource that goes out passes `outgoing`, and what an agreement makes of it is in `terms`.

pub mod begin;
mod cipher;
pub mod code_list;
mod coded;
pub mod cohort;
pub mod criteria;
pub mod definitions;
pub mod disclosure;
pub mod exports;
mod form;
pub mod indicators;
mod kept;
pub mod manifest;
pub mod objection;
pub mod outgoing;
mod piece;
pub mod report;
pub mod request;
mod spool;
pub mod standing;
pub mod statistics;
pub mod tables;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod worker;
mod writing;

pub use cipher::Cipher;
pub use coded::{CODED, coded};
pub use exports::{Comparing, Exports};
pub use form::Form;
pub use request::{Request, Wish};
