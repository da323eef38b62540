//! Vårdkedja: a FHIR R4 gateway for cancer rehabilitation between specialist and primary care.

#![forbid(unsafe_code)]

pub mod access;
pub mod api;
pub mod demo;
pub mod domain;
pub mod fhir;
pub mod mapping;
pub mod partner;
pub mod store;
pub mod sync;
