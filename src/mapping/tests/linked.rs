//! The way out, between resources: which there are, what their keys are and how they point at each other.

use super::*;

const TEAM: &str = r#"
[[resource]]
name = "team"
type = "CareTeam"
row = [
  { source = "id",   fhir = "identifier[doc-id]" },
  { source = "lead", fhir = "managingOrganization", link = "unit" },
  {                  fhir = "participant[].member", link = "unit" },
]

[[resource]]
name = "unit"
type = "Organization"
each = "units[]"
key  = "unit"
row = [ { source = "unit", fhir = "identifier[hsa]", need = true }, { source = "name", fhir = "name" } ]
"#;

#[test]
fn a_link_with_a_source_goes_to_the_resource_of_that_key() {
    let mappings = load(TEAM);
    let document = json!({ "id": "1", "lead": "SE2", "units": [{ "unit": "SE9", "name": "N" }, { "unit": "SE2" }] });
    let resources = both(&mappings, &document);
    assert_eq!(resources[0]["managingOrganization"], json!([{ "reference": "Organization/SE2" }]));
    assert_eq!(resources[0]["participant"][0]["member"]["reference"], "Organization/SE9");
    let (_, said) = out(&mappings, &json!({ "id": "1", "lead": "SE3", "units": [{ "unit": "SE9" }] }));
    assert_eq!(said, "lead: No [unit] in the document has that value.");
}

#[test]
fn equal_keys_are_one_resource_and_other_values_are_an_error() {
    let mappings = load(TEAM);
    let units = json!([{ "unit": "SE1", "name": "A" }, { "unit": "SE1", "name": "A" }]);
    let (resources, said) = out(&mappings, &json!({ "id": "1", "units": units }));
    assert_eq!((resources.len(), said.as_str()), (2, ""));
    assert_eq!(resources[0]["participant"].as_array().unwrap().len(), 1);
    let units = json!([{ "unit": "SE1", "name": "A" }, { "unit": "SE1", "name": "B" }]);
    let (_, said) = out(&mappings, &json!({ "id": "1", "units": units }));
    assert_eq!(said, "units[1].name: Another value already stands in the same element, from t.json.toml [unit] row 2.");
    let (_, said) = out(&mappings, &json!({ "id": "1", "units": [{ "name": "B" }] }));
    assert!(said.starts_with("units[0]: The key is missing: units[].unit."), "{said}");
}

#[test]
fn a_block_exists_by_its_key_or_a_row_that_counts() {
    let mappings = load(
        r#"
[[resource]]
name = "plan"
type = "CareTeam"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "name", fhir = "name" } ]

[[resource]]
name = "note"
type = "Communication"
row = [
  { source = "/id",  fhir = "identifier[doc-id]", only = "out" },
  { source = "note", fhir = "payload.contentString" },
  { source = "name", fhir = "note.text", only = "out" },
]
fixed = [ { fhir = "status", const = "completed" } ]

[[resource]]
name = "answer"
type = "Communication"
row = [ { source = "state.text", fhir = "payload.contentString", only = "back" } ]
fixed = [ { fhir = "status", const = "in-progress" } ]
"#,
    );
    let (resources, said) = out(&mappings, &json!({ "id": "1", "name": "N", "state": { "text": "x" } }));
    assert_eq!(resources.len(), 1);
    assert_eq!(said, "state.text: no row reads this field");
    let (resources, _) = out(&mappings, &json!({ "id": "1", "name": "N", "note": "x" }));
    assert_eq!(resources[1]["note"][0]["text"], "N");
}

#[test]
fn rows_that_link_into_one_list_append_in_row_order() {
    let mappings = load(
        r#"
[[resource]]
name = "request"
type = "Task"
row = [
  { source = "id", fhir = "identifier[doc-id]" },
  { fhir = "relevantHistory[]", link = "late" },
  { fhir = "relevantHistory[]", link = "early" },
]
fixed = [ { fhir = "status", const = "requested", only = "out" }, { fhir = "intent", const = "order" } ]

[[resource]]
name = "early"
type = "Provenance"
each = "early[]"
key  = "."
row  = [ { source = ".", fhir = "recorded" }, { fhir = "target[]", link = "request" } ]
fixed = [ { fhir = "activity[kind]", const = "early" } ]
[[resource.part]]
in = "agent"
row = [ { source = "/by", fhir = "who.display", only = "out" } ]

[[resource]]
name = "late"
type = "Provenance"
each = "late[]"
key  = "."
row  = [ { source = ".", fhir = "recorded" }, { fhir = "target[]", link = "request" }, { source = "/by", fhir = "agent.who.display" } ]
fixed = [ { fhir = "activity[kind]", const = "late" } ]
"#,
    );
    let document = json!({ "id": "1", "late": ["2026-03-03", "2026-03-01"], "early": ["2026-02-01"], "by": "X" });
    let resources = both(&mappings, &document);
    let references: Vec<&str> =
        resources[0]["relevantHistory"].as_array().unwrap().iter().filter_map(|r| r["reference"].as_str()).collect();
    assert_eq!(references, ["Provenance/late.2026-03-03", "Provenance/late.2026-03-01", "Provenance/early.2026-02-01"]);
}

#[test]
fn nested_items_have_the_keys_of_those_around_them_in_their_ids() {
    let mappings = load(
        r#"
[[resource]]
name = "plan"
type = "CarePlan"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { fhir = "goal[]", link = "goal" }, { source = "who", fhir = "subject.display" } ]
fixed = [ { fhir = "status", const = "active" }, { fhir = "intent", const = "plan" } ]

[[resource]]
name = "goal"
type = "Goal"
each = "goals[]"
key  = "id"
row = [
  { source = "id",   fhir = "identifier[doc-id]" },
  { source = "/who", fhir = "subject.display", only = "out" },
  { source = "text", fhir = "description.text" },
  { fhir = "outcomeReference[]", link = "outcome" },
]
fixed = [ { fhir = "lifecycleStatus", const = "active" } ]

[[resource]]
name = "outcome"
type = "Observation"
each = "goals[].outcomes[]"
key  = "at"
row = [ { source = "at", fhir = "effectiveDateTime" }, { source = "text", fhir = "valueString" }, { fhir = "focus[]", link = "goal" } ]
fixed = [ { fhir = "status", const = "final" }, { fhir = "code[kind]", const = "outcome" } ]
"#,
    );
    let document = json!({
        "id": "1", "who": "X",
        "goals": [
            { "id": "g2", "text": "walk", "outcomes": [{ "at": "2026-03-02", "text": "b" }, { "at": "2026-03-01", "text": "a" }] },
            { "id": "g1", "text": "run", "outcomes": [{ "at": "2026-03-01", "text": "c" }] },
        ],
    });
    let resources = both(&mappings, &document);
    let ids: Vec<&str> = resources.iter().filter_map(|r| r["id"].as_str()).collect();
    assert_eq!(
        ids,
        ["plan.", "goal.g2", "goal.g1", "outcome.g2|2026-03-02", "outcome.g2|2026-03-01", "outcome.g1|2026-03-01"]
    );
}
