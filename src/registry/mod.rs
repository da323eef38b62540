//! What quality registries and the regional process team need: the KVÅ list in force, and what was done, counted by it.
//!
//! `definitions` keeps the package's code list and measures in the store, `code_list` puts a new list in force, `statistics`
//! counts acts by it, `indicators` counts people, and `tables` and `report` write the answers.

pub mod code_list;
pub mod definitions;
pub mod indicators;
pub mod report;
pub mod statistics;
pub mod tables;
#[cfg(test)]
mod tests;
