//! What nobody read: the fields of a tree that no row has marked, so that nothing is lost without a word.

use std::fmt::Write as _;

use serde_json::Value;

use super::message::TEXT;
use super::path::{Marks, is_absent};
use super::trail::Trail;
use crate::fhir::issue::{Issue, shown_name};

/// More findings of this kind than this help nobody.
const MOST: usize = 200;
const MOST_IN_ALL: usize = 1000;

/// One finding for every value of a source document that no row read.
pub(super) fn unread_fields(document: &Value, marks: &Marks, table: &str, issues: &mut Vec<Issue>) {
    let (mut paths, mut empty) = (Vec::new(), Vec::new());
    unread(document, marks, &Trail::Root(""), &mut paths, &mut empty);
    report(paths, table, ("fältet läses inte av någon rad", "no row reads this field"), issues);
    let (sv, en) = (
        "texten är tom och läses som om fältet inte fanns; utelämna det",
        "the text is empty and read as if the field were not there; leave it out",
    );
    report(empty, table, (sv, en), issues);
}

/// One finding for every value of a resource that no row read.
pub(super) fn unread_elements(resource: &Value, marks: &Marks, place: &str, issues: &mut Vec<Issue>) {
    let mut paths = Vec::new();
    ["resourceType", "id"].iter().filter_map(|n| resource.get(n)).for_each(|value| marks.see(value));
    unread(resource, marks, &Trail::Root(name(resource)), &mut paths, &mut Vec::new());
    report(paths, place, ("elementet läses inte av någon rad", "no row reads this element"), issues);
}

/// Findings that somebody will read: the worst first when there are too many, and how many were left out.
pub(super) fn bounded(mut issues: Vec<Issue>) -> Vec<Issue> {
    let rest = issues.len().saturating_sub(MOST_IN_ALL);
    if rest > 0 {
        issues.sort_by_key(|issue| std::cmp::Reverse(issue.severity));
        issues.truncate(MOST_IN_ALL);
        issues.push(Issue::information("", format!("… och {rest} till"), format!("… and {rest} more")));
    }
    issues
}

fn report(paths: Vec<String>, origin: &str, (sv, en): (&str, &str), issues: &mut Vec<Issue>) {
    let rest = paths.len().saturating_sub(MOST);
    issues.extend(paths.into_iter().take(MOST).map(|path| Issue::information(path, sv, en).from(origin)));
    if rest > 0 {
        let (sv, en) = (format!("… och {rest} till"), format!("… and {rest} more"));
        issues.push(Issue::information("", sv, en).from(origin));
    }
}

fn unread(value: &Value, marks: &Marks, place: &Trail<'_>, paths: &mut Vec<String>, empty: &mut Vec<String>) {
    if value.as_str() == Some("") {
        empty.push(place.to_string());
    }
    if is_absent(value) || marks.has(value) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter().filter(|(_, field)| !marks.has(field)) {
                unread(field, marks, &Trail::Field(place, shown(name)), paths, empty);
            }
        }
        Value::Array(list) => {
            for (number, element) in list.iter().enumerate() {
                unread(element, marks, &Trail::Element(place, number), paths, empty);
            }
        }
        _ => paths.push(place.to_string()),
    }
}

/// The FHIRPath of a value inside a resource: found by looking for it, which only findings need.
pub(super) fn locate(resource: &Value, wanted: &Value) -> String {
    fn search(value: &Value, wanted: &Value, path: &mut String) -> bool {
        if std::ptr::eq(value, wanted) {
            return true;
        }
        let length = path.len();
        let mut enter = |step: std::fmt::Arguments<'_>, child: &Value| {
            path.truncate(length);
            let _ = path.write_fmt(step);
            search(child, wanted, path)
        };
        match value {
            Value::Object(fields) => {
                fields.iter().any(|(name, child)| enter(format_args!(".{}", shown_name(name)), child))
            }
            Value::Array(list) => list.iter().enumerate().any(|(n, child)| enter(format_args!("[{n}]"), child)),
            _ => false,
        }
    }
    let mut path = name(resource).to_owned();
    if !search(resource, wanted, &mut path) {
        path.truncate(name(resource).len());
    }
    path
}

fn name(resource: &Value) -> &str {
    resource.get("resourceType").and_then(Value::as_str).map_or("?", shown_name)
}

/// The text of an element with fields has a name that no field has.
fn shown(name: &str) -> &str {
    if name == TEXT { name } else { shown_name(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_of_a_field_is_not_repeated_when_it_could_be_anything() {
        let document = json!({ "195009072553": "x", "note": [{ "Tolvan Tolvansson": 1, "#text": "y" }] });
        let mut issues = Vec::new();
        unread_fields(&document, &Marks::default(), "t", &mut issues);
        let told: Vec<&str> = issues.iter().map(|i| i.expression.as_str()).collect();
        assert_eq!(told, ["(unknown name)", "note[0].(unknown name)", "note[0].#text"]);
        let resource = json!({ "resourceType": "195009072553", "19500907": "x" });
        issues.clear();
        unread_elements(&resource, &Marks::default(), "t", &mut issues);
        assert_eq!(issues[0].expression, "(unknown name).(unknown name)");
    }
}
