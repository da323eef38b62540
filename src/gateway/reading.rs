//! Makes a tree of a document's bytes, within the bounds that are set for it.

use serde_json::Value;

use super::Gateway;
use crate::domain::{Format, Kind};
use crate::fhir::document::beside_the_schema;
use crate::fhir::guard::{self, Limits, Strictness};
use crate::fhir::issue::{Code, Issue, shown_name};

/// A document read into a tree, with what was noticed on the way.
#[derive(Debug)]
pub struct Tree {
    pub value: Value,
    pub issues: Vec<Issue>,
}

impl Gateway {
    /// Reads a document's bytes into a tree; what makes it unreadable is returned whole.
    pub fn read(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Tree, Vec<Issue>> {
        let tree = self.tree(kind, format, bytes)?;
        let mut found = Vec::new();
        let all = count(&tree.value, "", self.config.limits.items, &mut found);
        if found.is_empty() && all > self.config.limits.items.saturating_mul(10) {
            found.push(too_long("", all, self.config.limits.items.saturating_mul(10)));
        }
        if found.is_empty() { Ok(tree) } else { Err(found) }
    }

    fn tree(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Tree, Vec<Issue>> {
        match format {
            Format::Json => {
                let limits = Limits {
                    bytes: self.config.limits.body_bytes,
                    depth: self.config.limits.depth,
                    strictness: Strictness::Document,
                };
                match guard::read(bytes, &limits) {
                    (Some(value), issues) if !issues.iter().any(Issue::is_error) => Ok(Tree { value, issues }),
                    (_, issues) => Err(issues),
                }
            }
            Format::Riv => {
                let mut source = self.mappings.parse(kind, format, bytes)?;
                source.issues.extend(beside_the_schema(&source.tree));
                Ok(Tree { value: source.tree, issues: source.issues })
            }
        }
    }
}

/// Counts the elements of all lists, and tells of each list that is longer than `most`.
fn count(value: &Value, path: &str, most: usize, found: &mut Vec<Issue>) -> usize {
    match value {
        Value::Array(items) => {
            if items.len() > most {
                found.push(too_long(path, items.len(), most));
            }
            items.len() + items.iter().map(|item| count(item, path, most, found)).sum::<usize>()
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| {
                let name = shown_name(name);
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                count(field, &path, most, found)
            })
            .sum(),
        _ => 0,
    }
}

fn too_long(path: &str, count: usize, most: usize) -> Issue {
    Issue::error(
        Code::TooLong,
        path,
        format!("{count} poster; högst {most} tas emot (limits.items). Dela upp dokumentet."),
        format!("{count} elements; at most {most} are taken (limits.items). Split the document."),
    )
}
