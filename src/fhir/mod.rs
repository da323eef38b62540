//! FHIR R4 facts: the schema, findings, and what is built on them. Pure: no clock, no socket, no file.

pub mod about;
pub mod act;
pub mod audit_event;
pub mod bundle;
pub mod canonical;
pub mod code_list;
pub mod cursor;
pub mod difference;
pub mod document;
pub mod guard;
pub mod issue;
pub mod lifecycle;
pub mod origin;
pub mod primitive;
pub mod profile;
pub mod protection;
pub mod r4;
pub mod resource;
pub mod search;
pub mod subscription;
pub mod subset;
pub mod terminology;
pub mod three_way;
pub mod validate;
pub mod xml;
