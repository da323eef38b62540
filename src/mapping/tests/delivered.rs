//! What the engine owes to the tables that are delivered with it: found in use, held here.

use crate::domain::{Format, Kind};
use crate::{Conformance, mapping_files, profile_files};

use super::*;

/// Every finding about a document and its resources, each with its origin.
fn findings(kind: Kind, format: Format, bytes: &[u8]) -> Vec<Issue> {
    let (mappings, _) = Mappings::load(&mapping_files(None).unwrap());
    let (conformance, _) = Conformance::load(&profile_files(None).unwrap());
    let source = mappings.parse(kind, format, bytes).unwrap();
    let out = mappings.choose(kind, format, &source.tree).unwrap().explain(&source.tree, &ExampleIds);
    let mut issues = source.issues;
    issues.extend(out.issues);
    for resource in out.resources.iter().map(|made| &made.value) {
        let found = conformance.validate(std::slice::from_ref(resource));
        issues.extend(found.into_iter().map(|issue| traced(issue, resource, &out.trace)));
    }
    issues
}

#[test]
fn the_reserve_numbers_of_the_regions_are_taken() {
    let text = include_str!("../../../mappings/examples/handover.active-small.source.json");
    for number in ["20210325K069", "991234567890", "991201011234", "98240301AA06", "98240301aa06"] {
        let mut document: Value = serde_json::from_str(text).unwrap();
        document["patient"]["personnummer"] = json!(number);
        let issues = findings(Kind::Handover, Format::Json, document.to_string().as_bytes());
        assert!(!issues.iter().any(Issue::is_error), "{number}: {}", lines(&issues));
    }
}

#[test]
fn a_finding_about_a_choice_element_names_its_row_and_source_field() {
    let text = include_str!("../../../mappings/examples/activity.riv-full.source.xml");
    let issues = findings(Kind::Activity, Format::Riv, text.as_bytes());
    let whole: Vec<&Issue> = issues.iter().filter(|i| i.expression == "Procedure").collect();
    for about in whole {
        let origin = about.origin.as_deref().unwrap();
        assert!(origin.contains("activity") && !origin.contains("row"), "{origin}");
    }
    let text = include_str!("../../../mappings/examples/activity.small.source.json");
    let mut document: Value = serde_json::from_str(text).unwrap();
    document["start"] = json!("2026-03-01T10:00:00");
    let issues = findings(Kind::Activity, Format::Json, document.to_string().as_bytes());
    let about = issues.iter().find(|i| i.expression.starts_with("Procedure.performed")).unwrap();
    assert!(about.origin.as_deref().is_some_and(|o| o.contains("source start")), "{about:?}");
}
