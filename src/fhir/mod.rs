//! FHIR R4 facts: the schema, findings, and what is built on them. Pure: no clock, no socket, no file.

pub mod canonical;
pub mod issue;
pub mod r4;
