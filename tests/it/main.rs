//! One test binary: real files, real sockets on loopback, the real program.

mod access;
mod answers;
mod audit;
mod backup;
mod block;
mod boundaries;
mod cancel;
mod consent;
mod contribute;
mod crash;
mod deliver;
mod disk;
mod door;
mod face;
mod fhir_xml;
mod gateway;
mod house;
mod journey;
mod lanes;
mod limits;
mod mappings;
mod notices;
mod openapi;
mod ops;
#[cfg(feature = "fhirpath-oracle")]
mod oracle;
#[cfg(feature = "otel")]
mod otel;
mod outgoing;
mod particulars;
mod personal_data;
mod policy;
mod profiles;
mod program;
mod r4_search;
mod r4_table;
mod receiver;
mod reconcile;
mod resend;
mod search;
mod submit;
mod unmodified;
mod worklist;
mod world;
