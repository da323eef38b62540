//! References: of a form that can be followed, to a type the element allows, and inside the resource or Bundle to
//! something that is there.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::path::Path;
use super::{near, type_names};
use crate::fhir::issue::{Code, Issue, shown_name};
use crate::fhir::primitive;

/// What a Bundle's entries are called, and of which type each is.
pub type Entries<'a> = HashMap<&'a str, &'a str>;

/// The entries of a Bundle by fullUrl.
pub fn entries(bundle: &Map<String, Value>) -> Entries<'_> {
    let entries = bundle.get("entry").and_then(Value::as_array).into_iter().flatten();
    entries
        .filter_map(|e| Some((e.get("fullUrl")?.as_str()?, e.get("resource")?.get("resourceType")?.as_str()?)))
        .collect()
}

/// Where a reference may lead.
pub struct Surroundings<'a> {
    pub container: &'a Map<String, Value>,
    pub entries: Option<&'a Entries<'a>>,
}

/// How the text of a reference leads to its target.
enum Target<'a> {
    /// The type is known.
    Type(&'a str),
    /// It may be anything: a URL that is no FHIR server's, a urn.
    Unknown,
    Missing,
    Malformed,
}

/// Checks one Reference against the types its element allows (none: any).
pub fn check(
    reference: &Map<String, Value>,
    targets: &[&str],
    around: &Surroundings<'_>,
    path: &Path<'_>,
    out: &mut Vec<Issue>,
) {
    let typed = reference.get("type").and_then(Value::as_str);
    if let Some(name) = typed {
        let name = name.strip_prefix("http://hl7.org/fhir/StructureDefinition/").unwrap_or(name);
        allow(name, targets, &path.field("type"), out);
    }
    let Some(text) = reference.get("reference").and_then(Value::as_str) else { return };
    let at = path.field("reference");
    match target(text, around) {
        Target::Type(name) => {
            allow(name, targets, &at, out);
            if typed.is_some_and(|t| t.rsplit('/').next() != Some(name)) {
                out.push(Issue::error(
                    Code::Value,
                    &path.field("type"),
                    format!("säger något annat än referensen, som leder till {}", shown_name(name)),
                    format!("says something else than the reference, which leads to {}", shown_name(name)),
                ));
            }
        }
        Target::Unknown => {}
        Target::Missing => out.push(Issue::error(
            Code::NotFound,
            &at,
            "leder till något som inte finns i resursen eller dess Bundle",
            "leads to something that is not in the resource or its Bundle",
        )),
        Target::Malformed => out.push(Issue::error(
            Code::Value,
            &at,
            "ska vara Typ/id, en hel URL, urn:uuid:… eller #id; annars identifier",
            "must be Type/id, a whole URL, urn:uuid:… or #id; otherwise use identifier",
        )),
    }
}

/// The type of resource that a Reference leads to, where that can be known.
pub fn target_type<'a>(reference: &'a Map<String, Value>, around: &Surroundings<'a>) -> Option<&'a str> {
    let text = |name: &str| reference.get(name).and_then(Value::as_str);
    match text("reference").map(|r| target(r, around)) {
        Some(Target::Type(name)) => Some(name),
        _ => text("type").and_then(|t| t.rsplit('/').next()),
    }
}

fn allow(name: &str, targets: &[&str], path: &Path<'_>, out: &mut Vec<Issue>) {
    if targets.is_empty() {
        if !type_names::exists(name) {
            let (sv, en) = near::hint(near::nearest(name, type_names::all()));
            out.push(Issue::error(
                Code::Value,
                path,
                format!("leder till en typ som inte finns i R4{sv}"),
                format!("leads to a type that is not in R4{en}"),
            ));
        }
    } else if !targets.contains(&name) {
        let list = targets.join(", ");
        out.push(Issue::error(
            Code::Value,
            path,
            format!("leder till fel typ; elementet får peka på: {list}"),
            format!("leads to the wrong type; the element may point at: {list}"),
        ));
    }
}

fn target<'a>(text: &'a str, around: &Surroundings<'a>) -> Target<'a> {
    if let Some(id) = text.strip_prefix('#') {
        return contained(id, around.container);
    }
    if let Some(name) = around.entries.and_then(|e| e.get(text)) {
        return Target::Type(name);
    }
    if text.starts_with("urn:uuid:") || text.starts_with("urn:oid:") {
        // In a Bundle a urn leads to an entry; elsewhere nobody can follow it.
        return Target::Missing;
    }
    let absolute = text.starts_with("http://") || text.starts_with("https://");
    let local = text.split_once("/_history/").map_or(text, |(before, _)| before);
    if let Some((name, query)) = local.split_once('?') {
        // A conditional reference, allowed in transactions.
        return if !absolute && !name.contains('/') && !query.is_empty() {
            Target::Type(name)
        } else {
            Target::Malformed
        };
    }
    let mut parts = local.rsplit('/');
    let (Some(id), Some(name)) = (parts.next(), parts.next()) else { return Target::Malformed };
    let named = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphabetic());
    match (absolute, named && primitive::is_id(id)) {
        (true, true) if type_names::exists(name) => Target::Type(name),
        (true, _) => Target::Unknown,
        (false, true) if parts.next().is_none() => Target::Type(name),
        (false, _) => Target::Malformed,
    }
}

fn contained<'a>(id: &str, container: &'a Map<String, Value>) -> Target<'a> {
    let of = |resource: &'a Value| resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    if id.is_empty() {
        return container.get("resourceType").and_then(Value::as_str).map_or(Target::Unknown, Target::Type);
    }
    let list = container.get("contained").and_then(Value::as_array).into_iter().flatten();
    list.into_iter()
        .find(|r| r.get("id").is_some_and(|i| i == id))
        .map_or(Target::Missing, |resource| Target::Type(of(resource)))
}
