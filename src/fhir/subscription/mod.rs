//! Topic-based subscriptions in R4, as HL7's Subscriptions R5 Backport (1.1.0) has them: topics as data, the Subscription resource
//! read and written, and the Bundles that tell of events.

mod notification;
mod resource;
mod shown;
mod topic;

pub use notification::{Kind, Notification, Told, bundle, searchset, status};
pub use resource::{Asked, Channel, read};
pub use shown::{Shown, write};
pub use topic::{Topic, Topics, Trigger};

/// Where the extensions, profiles and operations of the guide are.
pub const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport";

/// The url of one of the guide's extensions or profiles.
pub fn definition(name: &str) -> String {
    format!("{GUIDE}/StructureDefinition/{name}")
}
