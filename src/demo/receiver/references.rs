//! What resources point at: finding references, resolving those of a transaction, refusing those that lead nowhere.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::records::Desk;
use super::refusal::Refusal;
use super::search;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::r4;

/// `Patient/1` or `Patient/1/_history/2` as type and id.
pub fn local(reference: &str) -> Option<(&str, &str)> {
    let mut parts = reference.split('/');
    let (kind, id) = (parts.next()?, parts.next()?);
    let versioned = parts.next().is_none_or(|p| p == "_history");
    (versioned && r4::is_resource(kind) && is_id(id)).then_some((kind, id))
}

/// Whether the text may be a resource's id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// Calls `visit` with every reference in `value` and its expression.
fn each(
    value: &mut Value,
    at: &str,
    visit: &mut impl FnMut(&mut Value, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                each(item, &format!("{at}[{i}]"), visit)?;
            }
        }
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let here = format!("{at}.{name}");
                if name == "reference" && value.is_string() {
                    visit(value, &here)?;
                } else {
                    each(value, &here, visit)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Puts local references in the place of `fullUrl`s of the same transaction and of conditional references.
pub fn resolve(desk: &Desk<'_>, body: &mut Value, at: &str, links: &HashMap<String, String>) -> Result<(), Refusal> {
    each(body, at, &mut |value, here| {
        let text = value.as_str().unwrap_or_default();
        if let Some(link) = links.get(text) {
            *value = json!(link);
        } else if text.starts_with("urn:") {
            let (sv, en) = (
                "Ingen post i transaktionen har den fullUrl som referensen anger.",
                "No entry of the transaction has the fullUrl that the reference names.",
            );
            return Err(Refusal::malformed(here, sv, en));
        } else if let Some((kind, query)) = text.split_once('?').filter(|(kind, _)| r4::is_resource(kind)) {
            let Some(id) = the_only_match(desk, kind, query, here)? else {
                let (sv, en) =
                    ("Villkorsreferensen träffar ingen resurs.", "The conditional reference matches nothing.");
                return Err(Refusal::precondition(here, Code::NotFound, sv, en));
            };
            *value = json!(format!("{kind}/{id}"));
        }
        Ok(())
    })
}

/// Refuses local references to what is not here, all at once.
pub fn refuse_dangling(desk: &Desk<'_>, body: &mut Value, at: &str) -> Result<(), Refusal> {
    let mut issues = Vec::new();
    each(body, at, &mut |value, here| {
        let Some((kind, id)) = value.as_str().and_then(local) else { return Ok(()) };
        if !desk.is_live(kind, id)? {
            let (sv, en) =
                ("Referensen leder till en resurs som inte finns här.", "The referenced resource is not here.");
            issues.push(Issue::error(Code::NotFound, here, sv, en));
        }
        Ok(())
    })?;
    if issues.is_empty() { Ok(()) } else { Err(Refusal::unprocessable(issues)) }
}

/// The id that a condition (`identifier=system|value`) matches; several matches are refused.
pub fn the_only_match(desk: &Desk<'_>, kind: &str, condition: &str, at: &str) -> Result<Option<String>, Refusal> {
    let pairs = pairs(condition, at)?;
    // A condition on nothing would match whatever is stored, and a result parameter restricts nothing.
    let restricts = |name: &str| matches!(name, "_id" | "_lastUpdated") || !name.starts_with('_');
    if pairs.is_empty() || !pairs.iter().all(|(name, value)| restricts(name) && !value.is_empty()) {
        let (sv, en) = ("Villkoret anger ingen sökning.", "The condition is not a search.");
        return Err(Refusal::malformed(at, sv, en));
    }
    let query = search::parse(kind, &pairs).map_err(Refusal::query)?;
    let found = search::find(desk, kind, &query)?;
    if found.total > 1 {
        let (sv, en) = ("Villkoret träffar flera resurser; inget ändrades.", "Several matches; nothing was changed.");
        return Err(Refusal::precondition(at, Code::Duplicate, sv, en));
    }
    Ok(found.matches.into_iter().next().map(|v| v.id))
}

/// A query string as names and values.
pub fn pairs(query: &str, at: &str) -> Result<Vec<(String, String)>, Refusal> {
    match actix_web::web::Query::<Vec<(String, String)>>::from_query(query) {
        Ok(pairs) => Ok(pairs.into_inner()),
        Err(_) => Err(Refusal::malformed(at, "Söksträngen kan inte läsas.", "The query string cannot be read.")),
    }
}
