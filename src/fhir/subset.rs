//! Parts of a resource, as `_summary` and `_elements` ask for them: marked as a part, never without what changes the meaning.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::r4;
use super::resource::type_of;

/// How much of a resource is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Whole,
    /// What R4 marks as summary, by elements of the first level.
    Summary,
    /// The narrative and what is mandatory.
    Text,
    /// Everything but the narrative.
    Data,
    /// These elements of the first level, and what is mandatory.
    Elements(Vec<String>),
}

#[derive(Default)]
struct Marks {
    summary: bool,
    modifier: bool,
}

fn marks(resource_type: &str, element: &str) -> Option<&'static Marks> {
    static TABLE: OnceLock<BTreeMap<&str, BTreeMap<&str, Marks>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let lines = include_str!("summary.tsv").lines().filter(|line| !line.starts_with('#'));
        let mut table: BTreeMap<&str, BTreeMap<&str, Marks>> = BTreeMap::new();
        for line in lines {
            let mut cells = line.split('\t');
            let (of, name, marks) = (cells.next(), cells.next(), cells.next().unwrap_or_default());
            let marks = Marks { summary: marks.contains('s'), modifier: marks.contains('m') };
            table.entry(of.unwrap_or_default()).or_default().insert(name.unwrap_or_default(), marks);
        }
        table
    });
    table.get(resource_type)?.get(element)
}

/// Whether the type has an element of that name; a choice is named by its stem.
pub fn has_element(resource_type: &str, name: &str) -> bool {
    r4::children(resource_type).iter().any(|e| e.stem() == name)
}

/// The part of a resource that the shape asks for. A part carries the tag SUBSETTED: it must never be sent back as the whole.
pub fn subset(mut resource: Value, shape: &Shape) -> Value {
    if *shape == Shape::Whole {
        return resource;
    }
    let resource_type = type_of(&resource).to_owned();
    if let Some(object) = resource.as_object_mut() {
        object.retain(|name, _| stays(&resource_type, name, shape));
    }
    let meta = resource["meta"].as_object_mut();
    if meta.is_none() {
        resource["meta"] = json!({});
    }
    let tag = json!({ "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED" });
    match resource["meta"]["tag"].as_array_mut() {
        Some(tags) => tags.push(tag),
        None => resource["meta"]["tag"] = json!([tag]),
    }
    resource
}

fn stays(resource_type: &str, name: &str, shape: &Shape) -> bool {
    // The extensions of a primitive go with it.
    let name = name.strip_prefix('_').unwrap_or(name);
    if matches!(name, "resourceType" | "id" | "meta" | "implicitRules" | "modifierExtension") {
        return true;
    }
    let Some(element) = r4::find(resource_type, name).map(|found| found.element) else {
        return *shape == Shape::Data;
    };
    let marks = marks(resource_type, element.name);
    let must = element.min > 0 || marks.is_some_and(|m| m.modifier);
    match shape {
        Shape::Whole => true,
        Shape::Summary => must || marks.is_some_and(|m| m.summary),
        Shape::Text => must || element.name == "text",
        Shape::Data => element.name != "text",
        Shape::Elements(names) => must || names.iter().any(|n| n == element.stem()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(shape: &Shape) -> Vec<String> {
        let plan = json!({
            "resourceType": "CarePlan", "id": "1", "text": { "status": "empty" }, "identifier": [{}], "status": "active",
            "intent": "plan", "title": "x", "subject": {}, "note": [{}], "created": "2026",
        });
        let part = subset(plan, shape);
        part.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn a_part_has_what_is_asked_for_and_what_is_mandatory() {
        let whole =
            ["resourceType", "id", "text", "identifier", "status", "intent", "title", "subject", "note", "created"];
        assert_eq!(names(&Shape::Whole), whole);
        assert_eq!(
            names(&Shape::Summary),
            ["resourceType", "id", "identifier", "status", "intent", "title", "subject", "created", "meta"]
        );
        assert_eq!(names(&Shape::Text), ["resourceType", "id", "text", "status", "intent", "subject", "meta"]);
        assert!(!names(&Shape::Data).contains(&"text".to_owned()));
        let some = Shape::Elements(vec!["title".into()]);
        assert_eq!(names(&some), ["resourceType", "id", "status", "intent", "title", "subject", "meta"]);
    }

    #[test]
    fn a_part_says_that_it_is_one_and_keeps_its_other_tags() {
        let procedure =
            json!({ "resourceType": "Procedure", "performedDateTime": "2026", "meta": { "tag": [{ "code": "a" }] } });
        let part = subset(procedure, &Shape::Elements(vec!["performed".into()]));
        assert_eq!(part["performedDateTime"], "2026");
        assert_eq!(part["meta"]["tag"][1]["code"], "SUBSETTED");
        assert!(has_element("Procedure", "performed") && !has_element("Procedure", "performedDateTime"));
    }
}
