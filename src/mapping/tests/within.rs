//! Values that are unique only within a field of the document.

use proptest::prelude::*;

use super::*;

const GOALS: &str = r#"
[alias]
goal-id = "https://vardkedja.example/fhir/sid/goal"
[[resource]]
name = "plan"
type = "CarePlan"
row  = [
  { source = "id",  fhir = "identifier[doc-id]", need = true },
  { source = "who", fhir = "subject.display" },
  { fhir = "goal[]", link = "goal" },
]
fixed = [ { fhir = "status", const = "active" }, { fhir = "intent", const = "plan" } ]
[[resource.part]]
each = "acts[]"
in   = "activity[].detail"
row  = [ { source = "goals[]", fhir = "goal[]", link = "goal" } ]
fixed = [ { fhir = "status", const = "not-started", only = "out" } ]
[[resource]]
name = "goal"
type = "Goal"
each = "goals[]"
key  = "id"
row  = [
  { source = "id",   fhir = "identifier[goal-id]", need = true, within = "/id" },
  { source = "text", fhir = "description.text" },
  { source = "/who", fhir = "subject.display", only = "out" },
]
fixed = [ { fhir = "lifecycleStatus", const = "active", only = "out" } ]
"#;

fn plan(id: &str, goals: [&str; 2]) -> Value {
    json!({
        "id": id, "who": "X",
        "goals": [{ "id": goals[0], "text": "A" }, { "id": goals[1], "text": "B" }],
        "acts": [{ "goals": [goals[1], goals[0]] }],
    })
}

#[test]
fn a_value_is_written_with_what_it_is_unique_within_and_read_back_without_it() {
    let mappings = load(GOALS);
    let resources = both(&mappings, &plan("SE1-A#1", ["M1", "M2"]));
    assert_eq!(resources[1]["identifier"][0]["value"], "SE1-A#1|M1");
    // A bar in the id that goes before is no harm.
    let resources = both(&mappings, &plan("a|b", ["M1", "M2"]));
    assert_eq!(resources[2]["identifier"][0]["value"], "a|b|M2");
    let explained = table(&mappings).explain(&plan("1", ["M1", "M2"]), &Plain).trace;
    let row = explained.iter().find(|t| t.expression == "Goal.identifier[0].value").unwrap();
    assert_eq!((row.source.as_str(), row.via.as_deref()), ("goals[0].id", Some("within /id")));
}

#[test]
fn a_value_with_the_bar_in_it_or_nothing_to_be_within_is_told() {
    let mappings = load(GOALS);
    let (resources, said) = out(&mappings, &plan("1", ["M|1", "M2"]));
    assert_eq!(said, "goals[0].id: The value may not contain |: it is written together with id, with | between.");
    assert!(resources.iter().all(|r| r.to_string().matches("M|1").count() == 0));
    let mut document = plan("1", ["M1", "M2"]);
    document.as_object_mut().unwrap().remove("id");
    let (_, said) = out(&mappings, &document);
    let missing = "The value is unique only within id, which is missing or not a text.";
    assert_eq!(said, format!("id: The field is required.\ngoals[0].id: {missing}\ngoals[1].id: {missing}"));
}

#[test]
fn an_element_of_another_document_is_told_and_so_is_one_that_is_not_written_so() {
    let mappings = load(GOALS);
    let (mut resources, _) = out(&mappings, &plan("1", ["M1", "M2"]));
    resources[1]["identifier"][0]["value"] = json!("2|M1");
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(
        said,
        "Goal.identifier[0].value: What stands before | is not the document's id; the element belongs to another document."
    );
    assert_eq!(tree, plan("1", ["M1", "M2"]));
    for wrong in ["M1", "|M1", "1|"] {
        resources[1]["identifier"][0]["value"] = json!(wrong);
        let (_, said) = back(&mappings, &resources);
        assert!(said.starts_with("Goal: Nothing tells which goals[] the resource belongs to."), "{wrong}: {said}");
    }
}

#[test]
fn a_copy_that_is_written_so_is_held_against_its_original() {
    let mappings = load(
        &GOALS
            .replace(
                r#"{ source = "text", "#,
                r#"{ source = "id", fhir = "note.text", within = "/id", only = "out" }, { source = "text", "#,
            )
            .replace("note.text", "outcomeCode.text"),
    );
    let (mut resources, _) = out(&mappings, &plan("1", ["M1", "M2"]));
    assert_eq!(resources[1]["outcomeCode"][0]["text"], "1|M1");
    assert_eq!(back(&mappings, &resources).1, "");
    resources[1]["outcomeCode"][0]["text"] = json!("2|M1");
    assert!(back(&mappings, &resources).1.contains("the element belongs to another document"));
    resources[1]["outcomeCode"][0]["text"] = json!("1|M3");
    assert!(back(&mappings, &resources).1.contains("is a copy of goals[0].id and says something else"));
}

#[test]
fn a_row_that_cannot_be_within_is_refused_at_load() {
    for (from, to, words) in [
        (r#"within = "/id" }"#, r#"within = "id" }"#, "id should be a field from the document's root, as \"/id\""),
        (r#"within = "/id" }"#, r#"within = "/goals[].id" }"#, "should be a field from the document's root"),
        (r#"within = "/id" }"#, r#"within = "/nr" }"#, "No row reads back the field that within names."),
        (r#"within = "/id" }"#, r#"within = "/id", via = "integer" }"#, "either via or within"),
        ("identifier[goal-id]", "startDate", "within makes string, but this is date."),
        (
            r#"fhir = "goal[]", link = "goal" }"#,
            r#"fhir = "goal[]", link = "goal", within = "/id" }"#,
            "remove via or within",
        ),
    ] {
        let table = GOALS.replace(from, to);
        assert_ne!(table, GOALS);
        let (_, issues) = Mappings::load(&files(&table, &[]));
        assert!(lines(&issues).contains(words), "{to}: {}", lines(&issues));
    }
}

proptest! {
    #[test]
    fn whatever_the_ids_are_they_come_back(id in "\\PC{1,12}", one in "[^|\\pC]{1,8}", two in "[^|\\pC]{1,8}") {
        prop_assume!(one != two);
        let mappings = load(GOALS);
        let document = plan(&id, [&one, &two]);
        let made = table(&mappings).out(&document, &ExampleIds);
        let resources: Vec<Value> = made.resources.into_iter().map(|r| r.value).collect();
        prop_assert_eq!(lines(&made.issues), "");
        prop_assert_eq!(back(&mappings, &resources), (document, String::new()));
    }
}
