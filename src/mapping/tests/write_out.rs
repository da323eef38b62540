//! The way out, a resource at a time: rows, constants, and what is told of a document that does not fit.

use super::*;

#[test]
fn rows_links_constants_and_converters_make_resources_in_the_order_of_r4() {
    let mappings = load(&format!(
        r#"
[[resource]]
name = "contact"
type = "Encounter"
profile = "rehab-encounter"
row = [
  {{ source = "start", fhir = "period.start" }},
  {{ source = "id",    fhir = "identifier[doc-id]", need = true }},
  {{                   fhir = "subject", link = "patient" }},
  {{ source = "unit",  fhir = "serviceProvider[hsa]" }},
]
fixed = [ {{ fhir = "status", const = "finished" }}, {{ fhir = "class.code", const = "AMB" }} ]
{PATIENT}"#
    ));
    let document =
        json!({ "start": "2026-03-01", "id": "K-1", "unit": "SE1", "patient": { "personnummer": "195009072553" } });
    let resources = both(&mappings, &document);
    let expected = json!([
        { "resourceType": "Encounter", "id": "contact.",
          "meta": { "profile": ["https://vardkedja.example/fhir/StructureDefinition/rehab-encounter"] },
          "identifier": [{ "system": "https://vardkedja.example/fhir/sid/doc", "value": "K-1" }],
          "status": "finished", "class": { "code": "AMB" },
          "subject": { "reference": "Patient/195009072553" },
          "period": { "start": "2026-03-01" },
          "serviceProvider": { "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": "SE1" } } },
        { "resourceType": "Patient", "id": "195009072553",
          "identifier": [{ "system": "http://electronichealth.se/identifier/personnummer", "value": "195009072553" }] },
    ]);
    assert_eq!(Value::Array(resources).to_string(), expected.to_string());
}

#[test]
fn every_element_is_traced_to_its_row() {
    let mappings = load(
        r#"
[[resource]]
name = "condition"
type = "Condition"
row = [
  { source = "id",         fhir = "identifier[doc-id]" },
  { source = "person",     fhir = "subject.display" },
  { source = "notes[].at", fhir = "note[].time", via = "riv-time" },
  { source = "notes[].text", fhir = "note[].text" },
]
fixed = [ { fhir = "code[kind]", const = "x" } ]
"#,
    );
    let document =
        json!({ "id": "1", "person": "A", "notes": [{ "text": "a" }, { "text": "b", "at": "20260301120000" }] });
    let trace = table(&mappings).explain(&document, &Plain).trace;
    let told: Vec<String> = trace
        .iter()
        .map(|t| format!("{} {} {} {}", t.expression, t.source, t.origin, t.via.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(trace[0].resource, "Condition/condition.");
    assert_eq!(
        told,
        [
            "Condition.identifier[0].system id t.json.toml [condition] row 1 -",
            "Condition.identifier[0].value id t.json.toml [condition] row 1 -",
            "Condition.code.coding[0].system  t.json.toml [condition] fixed 1 -",
            "Condition.code.coding[0].code  t.json.toml [condition] fixed 1 -",
            "Condition.subject.display person t.json.toml [condition] row 2 -",
            "Condition.note[0].text notes[0].text t.json.toml [condition] row 4 -",
            "Condition.note[1].time notes[1].at t.json.toml [condition] row 3 riv-time",
            "Condition.note[1].text notes[1].text t.json.toml [condition] row 4 -",
        ]
    );
}

const PLAN: &str = r#"
[[resource]]
name = "plan"
type = "CarePlan"
need = true
row = [
  { source = "id",  fhir = "identifier[doc-id]", need = true },
  {                 fhir = "subject", link = "patient", need = true },
]
fixed = [ { fhir = "status", const = "active", only = "out" }, { fhir = "intent", const = "plan" } ]

[[resource.part]]
each = "interventions[]"
in   = "activity[].detail"
row  = [
  { source = "text", fhir = "description", need = true },
  { source = "kva",  fhir = "code[kva]" },
]
fixed = [ { fhir = "status", const = "scheduled" } ]
"#;

#[test]
fn what_is_needed_and_missing_is_told_where_it_is_missing() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let (_, said) = out(&mappings, &json!({ "interventions": [{ "text": "a" }, { "kva": "DV133" }, {}] }));
    assert_eq!(
        said,
        "id: The field is required.\ninterventions[1].text: The field is required.\nCarePlan.subject: There is no [patient] to point at."
    );
    let (resources, said) = out(&mappings, &json!({ "other": true }));
    assert!(resources.is_empty());
    assert_eq!(said, "id: [plan] is required; it is made of id.\nother: no row reads this field");
}

#[test]
fn a_constant_beside_a_row_is_written_only_where_the_row_made_something() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let person = json!({ "personnummer": "195009072553" });
    let (resources, _) = out(&mappings, &json!({ "id": "1", "patient": person }));
    assert!(resources[0].get("activity").is_none());
    let with = json!({ "id": "1", "interventions": [{ "text": "a" }, { "text": "b" }], "patient": person });
    let resources = both(&mappings, &with);
    assert_eq!(resources[0]["activity"][1]["detail"], json!({ "status": "scheduled", "description": "b" }));
}

#[test]
fn fields_that_no_row_reads_are_told_with_their_place() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let document = json!({
        "id": "1", "patient": { "personnummer": "195009072553", "shoe": 44 }, "nothing": null,
        "interventions": [{ "text": "a", "local": [{ "deep": true }] }],
    });
    let (_, said) = out(&mappings, &document);
    assert_eq!(said, "patient.shoe: no row reads this field\ninterventions[0].local[0].deep: no row reads this field");
}

#[test]
fn a_list_without_brackets_is_an_error_and_what_is_not_read_is_told() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let (resources, said) = out(&mappings, &json!({ "id": ["1", "2"], "patient": { "personnummer": "195009072553" } }));
    assert_eq!(resources[0]["identifier"][0]["value"], "1");
    assert_eq!(said, "id: The field must be one value, not a list; remove [ ].\nid[1]: no row reads this field");
}

#[test]
fn an_element_that_becomes_nothing_moves_the_others_up_and_is_told() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let document = json!({
        "id": "1", "patient": { "personnummer": "195009072553" }, "interventions": [{ "text": "a" }, { "local": 1 }, { "text": "c" }],
    });
    let (resources, said) = out(&mappings, &document);
    assert_eq!(resources[0]["activity"].as_array().unwrap().len(), 2);
    assert!(said.contains("interventions[1].text: The field is required."), "{said}");
    assert!(said.contains("CarePlan.activity: An element of the source's list becomes nothing"), "{said}");
}

#[test]
fn values_must_be_of_the_elements_type() {
    let mappings = load(
        r#"
[[resource]]
name = "a"
type = "Patient"
key  = "id"
row = [
  { source = "id",     fhir = "identifier[doc-id]" },
  { source = "active", fhir = "active" },
  { source = "births", fhir = "multipleBirthInteger" },
  { source = "name",   fhir = "name.text" },
]
"#,
    );
    let (resources, said) = out(&mappings, &json!({ "id": "1", "active": "true", "births": 1.5, "name": { "a": 1 } }));
    assert_eq!(
        said,
        "active: The value should be true or false.\nbirths: The value should be a whole number.\nname: The value should be a text."
    );
    assert_eq!(resources[0].as_object().unwrap().len(), 3);
    both(&mappings, &json!({ "id": "1", "active": false, "births": 2, "name": "x" }));
}

#[test]
fn a_code_that_is_not_in_the_map_is_told_with_the_nearest() {
    let map = codes("x", &[("planned", "active"), ("done", "completed"), ("ended", "completed wider")]);
    let mappings = load_with(
        r#"
[[resource]]
name = "a"
type = "CareTeam"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "status", fhir = "status", via = "codes/x" } ]
"#,
        &[("codes/x.json", &map.replace("completed", "inactive"))],
    );
    let (_, said) = out(&mappings, &json!({ "id": "1", "status": "plannd" }));
    assert_eq!(said, "status: The code is not in codes/x; nearest: planned, done, ended.");
    let (_, said) = out(&mappings, &json!({ "id": "1", "status": "ended" }));
    assert_eq!(said, "status: Comes back as done.");
    both(&mappings, &json!({ "id": "1", "status": "planned" }));
}

#[test]
fn what_comes_back_otherwise_is_told_without_showing_a_person() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let (_, said) = out(&mappings, &json!({ "id": "1", "patient": { "personnummer": "19500907-2553" } }));
    assert_eq!(said, "patient.personnummer: Comes back as something else.");
    let (_, said) = out(&mappings, &json!({ "id": "1", "patient": { "personnummer": "1950" } }));
    assert!(said.starts_with("patient.personnummer: The person number must be twelve"), "{said}");
    assert!(!said.contains("1950"));
}

#[test]
fn the_envelope_tells_what_the_gateway_must_know() {
    let (mappings, issues) = Mappings::load(&files(
        r#"
document = "activity"
[envelope]
id = "id"
version = "version"
status = "status"
unit = "unit.id"
patient = "patient.personnummer"
recipients = ["to[]", "units[].id"]
[[resource]]
name = "a"
type = "CareTeam"
row = [ { source = "id", fhir = "name" } ]
"#,
        &[],
    ));
    assert_eq!(lines(&issues), "");
    let document = json!({
        "id": "D", "version": 2, "status": "entered-in-error", "unit": { "id": "SE1" }, "patient": { "personnummer": "195009072553" },
        "to": ["SE2", "SE3"], "units": [{ "id": "SE3" }, { "id": "SE4" }],
    });
    let envelope = table(&mappings).envelope(&document);
    assert_eq!(
        envelope,
        Envelope {
            id: "D".into(),
            version: Some(2),
            entered_in_error: true,
            unit: Some("SE1".into()),
            patient: Some("195009072553".into()),
            recipients: vec!["SE2".into(), "SE3".into(), "SE4".into()],
        }
    );
    assert_eq!(table(&mappings).envelope(&json!({})), Envelope::default());
}

#[test]
fn a_guarded_constant_of_a_part_is_written_for_its_own_items() {
    let mappings = load(
        r#"
[[resource]]
name = "plan"
type = "CarePlan"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "who", fhir = "subject.display" } ]
fixed = [ { fhir = "status", const = "active" }, { fhir = "intent", const = "plan" } ]
[[resource.part]]
each = "steps[]"
in   = "activity[].detail"
row  = [ { source = "text", fhir = "description" } ]
fixed = [
  { fhir = "status", const = "scheduled" },
  { when = { far = true },  fhir = "doNotPerform", const = true },
  { when = { far = false }, fhir = "doNotPerform", const = false },
]
"#,
    );
    let document = json!({ "id": "1", "who": "X", "steps": [
        { "text": "a", "far": true }, { "text": "b" }, { "text": "c", "far": false }] });
    let resources = both(&mappings, &document);
    let far: Vec<&Value> = (0..3).map(|n| &resources[0]["activity"][n]["detail"]["doNotPerform"]).collect();
    assert_eq!(far, [&json!(true), &Value::Null, &json!(false)]);
}

#[test]
fn a_list_where_one_value_belongs_and_the_other_way_about_are_errors() {
    let mappings = load(
        r#"
[[resource]]
name = "condition"
type = "Condition"
row = [
  { source = "id",           fhir = "identifier[doc-id]" },
  { source = "person.name",  fhir = "subject.display" },
  { source = "notes[].text", fhir = "note[].text" },
]
"#,
    );
    both(&mappings, &json!({ "id": "1", "person": { "name": "A" }, "notes": [{ "text": "a" }] }));
    let wrong = [
        (json!({ "id": ["1"] }), "id: The field must be one value, not a list; remove [ ]."),
        (
            json!({ "id": "1", "person": [{ "name": "A" }] }),
            "person: The field must be one value, not a list; remove [ ].",
        ),
        (json!({ "id": "1", "notes": { "text": "a" } }), "notes: The field must be a list; put [ ] around it."),
        (
            json!({ "id": "1", "notes": [{ "text": "a" }, { "text": ["b"] }] }),
            "notes[1].text: The field must be one value, not a list; remove [ ].",
        ),
    ];
    for (document, finding) in wrong {
        let issues = table(&mappings).out(&document, &Plain).issues;
        assert_eq!(lines(&issues.into_iter().filter(Issue::is_error).collect::<Vec<_>>()), finding);
    }
}

#[test]
fn an_empty_text_is_told_of_whether_its_field_is_known_or_not() {
    let mappings = load(&format!("{PLAN}{PATIENT}"));
    let document = json!({ "id": "1", "patient": { "personnummer": "195009072553", "name": "" }, "status": "" });
    let (_, said) = out(&mappings, &document);
    let text = "the text is empty and read as if the field were not there; leave it out";
    assert_eq!(said, format!("patient.name: {text}\nstatus: {text}"));
}
