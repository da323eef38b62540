//! Our profiles: a FHIR package, loaded, checked and compiled to plans that resources are held against.

use serde_json::{Map, Value};

use super::issue::Issue;
use super::validate::{Context, Path};

/// The profiles, extensions and value sets in force.
#[derive(Default)]
pub struct Profiles {}

impl Profiles {
    pub(crate) fn apply(
        &self,
        _object: &Map<String, Value>,
        _kind: &str,
        _profiles: &[&str],
        _path: &Path<'_>,
        _context: &Context<'_>,
        _out: &mut Vec<Issue>,
    ) {
    }

    pub(crate) fn extension(
        &self,
        _extension: &Map<String, Value>,
        _places: [&str; 2],
        _modifier: bool,
        _path: &Path<'_>,
        _context: &Context<'_>,
        _out: &mut Vec<Issue>,
    ) {
    }
}
