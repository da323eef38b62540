//! The FHIR face: what a partner that speaks FHIR reads here, and the Tasks and Procedures it writes.

mod apply;
mod asked;
mod audit;
mod capability;
mod conditional;
pub mod cursor;
mod difference;
mod everything;
mod history;
mod measure;
mod media;
mod operations;
mod prefer;
mod query;
mod read;
mod search;
pub mod subscription;
mod timeline;
mod validate;
mod write;

pub use apply::{apply, apply_post};
pub use asked::{asked, parameters};
pub use audit::{looked, observer, permit, read_audit, search_audit, search_audit_post, with_query};
pub use capability::{instance_methods, metadata, type_methods};
pub use difference::{diff, diff_of_exchange};
pub use everything::{document, everything, everything_post};
pub use history::{history, history_of_all, history_of_type};
pub use measure::{evaluate, evaluate_post};
pub use media::{Sent, negotiate};
pub use prefer::preferences;
pub use query::pairs;
pub use read::{bundle, link, read, vread};
pub use search::{is_lenient, search_get, search_post};
pub use timeline::timeline;
pub use validate::validate;
pub use write::{create, patch, patch_meant, update, update_meant, version_of};

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HttpDate, LAST_MODIFIED};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::problem::{Problem, told};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::search::types;
use crate::store::Stored;

pub const FHIR_JSON: &str = "application/fhir+json";

/// The resource as it is stored, with its version and time.
fn show(status: StatusCode, stored: &Stored) -> HttpResponse {
    let mut response: HttpResponseBuilder = HttpResponse::build(status);
    response.insert_header((ETAG, format!("W/\"{}\"", stored.version)));
    // Without this a cache may guess from the date how long it holds (RFC 9111, 4.2.2).
    response.insert_header((CACHE_CONTROL, "private, no-cache"));
    response.insert_header((LAST_MODIFIED, HttpDate::from(std::time::SystemTime::from(stored.updated_at)).to_string()));
    response.content_type(FHIR_JSON).body(stored.body.clone())
}

/// The caller has it already.
fn unchanged(stored: &Stored) -> HttpResponse {
    let mut response = show(StatusCode::NOT_MODIFIED, stored);
    response.headers_mut().remove(CONTENT_TYPE);
    response.set_body("").map_into_boxed_body()
}

/// An operation by a name that is not served.
pub fn no_operation() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Issue::error(
            Code::NotSupported,
            "",
            "Operationen finns inte; se /fhir/metadata.",
            "There is no such operation; see /fhir/metadata.",
        ),
    )
}

/// Refuses types that are not served.
pub(super) fn known_type(resource_type: &str) -> Result<(), Problem> {
    if types().contains(&resource_type) {
        return Ok(());
    }
    if resource_type == "Group" {
        let issue = Issue::error(
            Code::NotSupported,
            "Group",
            "Grupper kommer ur inställningarna: de läses och exporteras, och har inga versioner.",
            "Groups come from the settings: they are read and exported, and have no versions.",
        );
        return Err(Problem::not_allowed(&["GET", "HEAD"], issue));
    }
    if resource_type == subscription::TYPE {
        let issue = Issue::error(
            Code::NotSupported,
            subscription::TYPE,
            "Prenumerationer skapas, läses, söks, ändras och tas bort; de har inga versioner.",
            "Subscriptions are made, read, searched, changed and deleted; they have no versions.",
        );
        return Err(Problem::not_allowed(&["GET", "HEAD", "POST", "PUT", "DELETE"], issue));
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        Issue::error(
            Code::NotSupported,
            told(resource_type),
            "Resurstypen finns inte här; se /fhir/metadata.",
            "The resource type is not served; see /fhir/metadata.",
        ),
    ))
}
