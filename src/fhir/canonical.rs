//! The one base of every canonical URL and identifier system that is ours, and the systems that code looks for by name.
//!
//! `.example` is reserved (RFC 2606), so nobody can come to own it; an installation that publishes its profiles
//! replaces the base here and in the files of `profiles/` and `mappings/`, and a test holds them together.

/// Where our profiles, extensions, code systems and identifier systems live.
pub const BASE: &str = "https://vardkedja.example/fhir";

/// Our identifier of a resource: what partners match on. The value is the resource's id at the gateway.
pub const RESOURCE_ID: &str = "https://vardkedja.example/fhir/sid/resource";

/// The identifier of a referral, `HSA-id#local` (RIV-TA requestId).
pub const REQUEST_ID: &str = "https://vardkedja.example/fhir/sid/request";

/// The identifier of a rehab plan.
pub const PLAN_ID: &str = "https://vardkedja.example/fhir/sid/plan";

/// The identifier of an activity.
pub const ACTIVITY_ID: &str = "https://vardkedja.example/fhir/sid/activity";

/// The identifier of a care contact.
pub const CONTACT_ID: &str = "https://vardkedja.example/fhir/sid/contact";

/// The identifier of a document version in Provenance.
pub const DOCUMENT_ID: &str = "https://vardkedja.example/fhir/sid/document";

/// HSA-id, as HL7 Sweden's base profiles write it.
pub const HSA_ID: &str = "urn:oid:1.2.752.29.4.19";
