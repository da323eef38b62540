//! JSON Patch (RFC 6902) as far as the owner of a Task may use it: bounded, and only on what is the owner's.
//!
//! `copy` and `move` are left out because a few of them can double a document until no memory is left, and a Task needs
//! neither. Findings point at operations by number: a path is whatever the caller wrote, and is not repeated.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::fhir::guard::{self, Limits, Strictness};
use crate::fhir::issue::{Code, Issue};
use crate::sync::refusal::Refusal;
use crate::sync::take::OWNERS;

/// Reads the operations of a body, at most `most` of them, all of which may be tried on a Task.
pub fn parse(bytes: &[u8], limits: Limits, most: usize) -> Result<Patch, Refusal> {
    let limits = Limits { strictness: Strictness::Document, ..limits };
    let operations = guard::parse(bytes, &limits).map_err(Refusal::Malformed)?;
    let count = operations.as_array().map_or(0, Vec::len);
    if count > most {
        return Err(Refusal::Findings(vec![Issue::error(
            Code::TooCostly,
            "",
            format!("Ändringen har {count} steg; högst {most} tas emot (limits.patch_operations)."),
            format!("The patch has {count} operations; at most {most} are taken (limits.patch_operations)."),
        )]));
    }
    let patch: Patch = serde_json::from_value(operations).map_err(|_| {
        Refusal::Malformed(vec![Issue::error(
            Code::Value,
            "",
            "Ändringen är ingen JSON Patch: en lista av { op, path, value } med op add, remove, replace eller test.",
            "This is no JSON Patch: a list of { op, path, value } with op add, remove, replace or test.",
        )])
    })?;
    let found: Vec<Issue> = patch.iter().enumerate().filter_map(|(index, op)| refused(index, op)).collect();
    if found.is_empty() { Ok(patch) } else { Err(Refusal::Findings(found)) }
}

fn refused(index: usize, operation: &PatchOperation) -> Option<Issue> {
    match operation {
        PatchOperation::Copy(_) | PatchOperation::Move(_) => Some(Issue::error(
            Code::NotSupported,
            format!("[{index}].op"),
            "copy och move tas inte emot; skriv värdet med add eller replace.",
            "copy and move are not taken; write the value with add or replace.",
        )),
        PatchOperation::Test(_) => None,
        _ => {
            let element = operation.path().first().map(|token| token.decoded().into_owned());
            if element.is_some_and(|e| OWNERS.contains(&e.as_str())) {
                return None;
            }
            let known = OWNERS.join(", ");
            Some(Issue::error(
                Code::BusinessRule,
                format!("[{index}].path"),
                format!("Elementet tillhör den som bad om uppgiften; den som äger den ändrar {known}."),
                format!("The element belongs to the one who asked; the owner changes {known}."),
            ))
        }
    }
}

/// Changes the Task, wholly or not at all.
pub fn apply(task: &mut Value, patch: &Patch) -> Result<(), Refusal> {
    json_patch::patch(task, patch).map_err(|error| {
        Refusal::Findings(vec![Issue::error(
            Code::Processing,
            format!("[{}]", error.operation),
            "Ändringen går inte att göra på uppgiften som den är.",
            format!("The patch does not apply: {}.", error.kind),
        )])
    })
}
