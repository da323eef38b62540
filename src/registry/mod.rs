//! The registries' journeys: what a quality registry gets of whom and in what form, what it must erase, and what a patient may
//! ask of it; the KVÅ list in force, and what was done, counted by it.
//!
//! `definitions` keeps the package's code list and measures in the store, `code_list` puts a new list in force, `statistics`
//! counts acts by it, `indicators` counts people, and `tables` and `report` write the answers.

mod cipher;
pub mod code_list;
mod coded;
pub mod definitions;
pub mod disclosure;
mod form;
pub mod indicators;
mod kept;
pub mod objection;
pub mod report;
pub mod statistics;
pub mod tables;
#[cfg(test)]
mod tests;

pub use cipher::Cipher;
pub use coded::{CODED, coded};
pub use form::Form;
