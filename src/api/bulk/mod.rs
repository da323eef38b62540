//! The bulk face: an export is asked for, asked after, fetched file by file, and deleted; groups are shown, and what a registry
//! holds is compared. The journey itself is in `registry`.

mod ask;
mod file;
mod group;
mod job;
mod start;
mod verify;

pub use file::file;
pub use group::{group, groups};
pub use job::{remove, standing};
pub use start::{of_group, of_group_post, of_patients, of_patients_post, of_system, of_system_post};
pub use verify::verify;

use uuid::Uuid;

use super::problem::Problem;
use crate::sync::refusal::missing;

/// The id of an export in an address; one that cannot be one is none.
fn export_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| missing("export").into())
}
