//! The one base of every canonical URL and identifier system that is ours.
//!
//! `.example` is reserved (RFC 2606), so nobody can come to own it; an installation that publishes its profiles
//! replaces the base here and in the files of `profiles/` and `mappings/`, and a test holds them together.

/// Where our profiles, extensions, code systems and identifier systems live.
pub const BASE: &str = "https://vardkedja.example/fhir";

/// Our identifier of a resource: what partners match on. The value is the resource's id at the gateway.
pub const RESOURCE_ID: &str = "https://vardkedja.example/fhir/sid/resource";
