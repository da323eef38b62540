//! The way back: resources as partners return them, which is never quite as they were sent.

use super::*;

const SIP: &str = r#"
[[resource]]
name = "plan"
type = "CarePlan"
profile = "sip-plan"
need = true
row = [
  { source = "id", fhir = "identifier[doc-id]", need = true },
  {                fhir = "subject", link = "patient" },
  {                fhir = "careTeam[]", link = "team" },
]
fixed = [
  { fhir = "status", const = "active", only = "out" },
  { fhir = "intent", const = "plan" },
  { fhir = "category[kind]", const = "SIP" },
]
[[resource.part]]
each = "interventions[]"
in   = "activity[].detail"
row  = [
  { source = "text", fhir = "description", need = true },
  { source = "kva",  fhir = "code[kva]" },
  { source = "unit", fhir = "performer", link = "unit" },
]
fixed = [ { fhir = "kind", const = "ServiceRequest" }, { fhir = "status", const = "scheduled", only = "out" } ]

[[resource]]
name = "patient"
type = "Patient"
each = "patient"
key  = "personnummer"
need = true
row  = [
  { source = "personnummer", fhir = "identifier[person]", via = "personnummer", need = true },
  { source = "phone",        fhir = "telecom[phone].value" },
  { source = "mail",         fhir = "telecom[email].value" },
]

[[resource]]
name = "team"
type = "CareTeam"
row = [
  { source = "lead", fhir = "managingOrganization", link = "unit", need = true },
  {                  fhir = "participant[].member", link = "unit" },
]
fixed = [ { fhir = "status", const = "active" } ]

[[resource]]
name = "unit"
type = "Organization"
each = "units[]"
key  = "unit"
need = true
row  = [ { source = "unit", fhir = "identifier[hsa]", need = true }, { source = "name", fhir = "name" } ]

[[resource]]
name = "task"
type = "Task"
each = "units[]"
key  = "unit"
row  = [
  { source = "role", fhir = "performerType.text" },
  { source = "state", fhir = "status", only = "back" },
  { source = "/id",  fhir = "groupIdentifier[doc-id]", only = "out" },
  {                  fhir = "focus", link = "plan" },
  {                  fhir = "for",   link = "patient" },
  {                  fhir = "owner", link = "unit" },
  {                  fhir = "output[answer].valueReference", link = "answer", only = "back" },
]
fixed = [ { fhir = "status", const = "requested", only = "out" }, { fhir = "intent", const = "plan" } ]

[[resource]]
name = "answer"
type = "Communication"
each = "units[].answer"
row  = [ { source = "text", fhir = "payload.contentString", only = "back" } ]
"#;

fn document() -> Value {
    json!({
        "id": "SIP-1",
        "patient": { "personnummer": "195009072553", "phone": "1", "mail": "a@b" },
        "lead": "SE2",
        "interventions": [{ "text": "a", "kva": "DV133", "unit": "SE2" }, { "text": "b", "unit": "SE9" }],
        "units": [{ "unit": "SE9", "name": "N", "role": "r" }, { "unit": "SE2" }, { "unit": "SE5", "name": "M" }],
    })
}

/// The document with the state that every Task has.
fn with_state(state: &str) -> Value {
    let mut document = document();
    for unit in document["units"].as_array_mut().unwrap() {
        unit["state"] = json!(state);
    }
    document
}

fn sent(mappings: &Mappings) -> Vec<Value> {
    let (resources, said) = out(mappings, &document());
    assert_eq!(said, "");
    resources
}

#[test]
fn order_among_the_resources_means_nothing() {
    let mappings = load(SIP);
    let resources = sent(&mappings);
    for turn in 0..resources.len() {
        let mut turned = resources.clone();
        turned.rotate_left(turn);
        let (tree, said) = back(&mappings, &turned);
        assert_eq!((tree, said.as_str()), (with_state("requested"), ""));
        turned.reverse();
        assert_eq!(back(&mappings, &turned).0, with_state("requested"));
    }
}

#[test]
fn what_a_partner_adds_is_told_and_changes_nothing() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    let patient = find(&mut resources, "Patient");
    let local = json!({ "system": "urn:oid:1.2.752.113.11.0.2.1.1.1", "value": "20210325K069" });
    let ours = json!({ "system": "https://vardkedja.example/fhir/sid/resource", "value": "x" });
    let identifiers = patient["identifier"].as_array_mut().unwrap();
    identifiers.insert(0, local);
    identifiers.insert(0, ours);
    patient["meta"] =
        json!({ "versionId": "3", "lastUpdated": "2026-03-01T00:00:00Z", "source": "#1", "tag": [{ "code": "t" }] });
    let plan = find(&mut resources, "CarePlan");
    plan["category"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "coding": [{ "system": "http://snomed.info/sct", "code": "1" }] }));
    plan["activity"][0]["detail"]["code"]["coding"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "system": "http://snomed.info/sct", "code": "1" }));
    find(&mut resources, "Task")["note"] = json!([{ "text": "ok" }]);
    resources.push(json!({ "resourceType": "Observation", "id": "o", "status": "final", "code": {} }));
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree, with_state("requested"));
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "Observation: no block of the table takes this resource",
            "CarePlan.category[0].coding[0].system: no row reads this element",
            "CarePlan.category[0].coding[0].code: no row reads this element",
            "CarePlan.activity[0].detail.code.coding[0].system: no row reads this element",
            "CarePlan.activity[0].detail.code.coding[0].code: no row reads this element",
            "Patient.identifier[1].system: no row reads this element",
            "Patient.identifier[1].value: no row reads this element",
            "Patient.meta.tag[0].code: no row reads this element",
            "Task.note[0].text: no row reads this element",
        ]
    );
}

#[test]
fn a_task_that_has_moved_on_is_still_the_task_and_its_answer_is_read() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    let task = resources.iter_mut().find(|r| r["id"] == "task.SE2").unwrap();
    task["status"] = json!("completed");
    task["output"] = json!([{ "type": { "text": "answer" }, "valueReference": { "reference": "Communication/c" } }]);
    resources.push(
        json!({ "resourceType": "Communication", "id": "c", "status": "completed", "payload": [{ "contentString": "done" }] }),
    );
    let (tree, said) = back(&mappings, &resources);
    let mut expected = with_state("requested");
    expected["units"][1]["state"] = json!("completed");
    expected["units"][1]["answer"] = json!({ "text": "done" });
    assert_eq!(tree, expected);
    assert_eq!(said, "Communication.status: no row reads this element");
}

#[test]
fn references_may_be_absolute_versioned_or_logical() {
    let mappings = load(SIP);
    let text = Value::Array(sent(&mappings)).to_string();
    let text = text
        .replace("\"reference\":\"Patient/", "\"reference\":\"https://partner.example/r4/Patient/")
        .replace("\"reference\":\"CarePlan/plan.\"", "\"reference\":\"CarePlan/plan./_history/7\"")
        .replace(
            "\"reference\":\"Organization/SE2\"",
            "\"identifier\":{\"system\":\"urn:oid:1.2.752.29.4.19\",\"value\":\"SE2\"}",
        );
    let resources: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(back(&mappings, &resources), (with_state("requested"), String::new()));
}

#[test]
fn a_logical_reference_to_a_resource_that_is_not_there_still_has_its_key() {
    let mappings = load(
        r#"
[[resource]]
name = "a"
type = "CareTeam"
row = [ { source = "id", fhir = "name" }, { source = "lead", fhir = "managingOrganization", link = "unit" } ]
[[resource]]
name = "unit"
type = "Organization"
each = "units[]"
key  = "unit"
row  = [ { source = "unit", fhir = "identifier[hsa]" } ]
"#,
    );
    let team = json!({ "resourceType": "CareTeam", "id": "1", "name": "n",
        "managingOrganization": [{ "identifier": { "system": "urn:oid:1.2.752.129.2.1.4.1", "value": "SE7" } }] });
    assert_eq!(back(&mappings, &[team]), (json!({ "id": "n", "lead": "SE7" }), String::new()));
}

#[test]
fn every_system_of_a_name_is_read() {
    let mappings = load(SIP);
    let text = Value::Array(sent(&mappings)).to_string();
    let text = text.replace("urn:oid:1.2.752.29.4.19", "urn:oid:1.2.752.129.2.1.4.1");
    let text = text.replace("urn:oid:1.2.752.116.1.3.2.1.4", "https://www.socialstyrelsen.se/kva/");
    let resources: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(back(&mappings, &resources), (with_state("requested"), String::new()));
}

#[test]
fn what_is_needed_is_needed_on_the_way_back_too() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    find(&mut resources, "CarePlan").as_object_mut().unwrap().shift_remove("identifier");
    find(&mut resources, "CarePlan")["activity"][1]["detail"].as_object_mut().unwrap().shift_remove("description");
    resources.retain(|r| r["resourceType"] != "Patient");
    let (_, said) = back(&mappings, &resources);
    assert!(said.contains("CarePlan.identifier.value: The element is required."), "{said}");
    assert!(said.contains("CarePlan.activity.detail.description: The element is required."), "{said}");
    assert!(said.contains("Patient: [patient] is required, but no resource is it."), "{said}");
    assert!(said.contains("CarePlan.subject.reference: no row reads this element"), "{said}");
}

#[test]
fn a_resource_of_another_constant_is_not_the_blocks() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    let mut other = find(&mut resources, "CarePlan").clone();
    other["id"] = json!("other");
    other["category"][0]["coding"][0]["code"] = json!("RP");
    resources.insert(0, other);
    let (tree, said) = back(&mappings, &resources);
    assert_eq!((tree, said.as_str()), (with_state("requested"), "CarePlan: no block of the table takes this resource"));
}

#[test]
fn two_resources_where_reading_starts_are_an_error() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    let mut other = find(&mut resources, "CarePlan").clone();
    other["id"] = json!("other");
    resources.push(other);
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree, with_state("requested"));
    assert!(said.starts_with("CarePlan: 2 resources fit [plan], where reading starts; the first is read."), "{said}");
    let (tree, said) = back(&mappings, &[]);
    assert_eq!(tree, json!({}));
    assert!(said.starts_with("CarePlan: No resource fits [plan], where reading starts."), "{said}");
}

#[test]
fn a_second_patient_is_an_error() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    find(&mut resources, "Task")["for"]["reference"] = json!("Patient/p2");
    resources.push(json!({ "resourceType": "Patient", "id": "p2", "identifier": [
        { "system": "http://electronichealth.se/identifier/personnummer", "value": "189002029800" }] }));
    let (_, said) = back(&mappings, &resources);
    assert!(said.contains("Patient: More than one resource fits [patient]; the first is read."), "{said}");
}

#[test]
fn a_copy_that_disagrees_with_its_original_is_told() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    find(&mut resources, "Task")["groupIdentifier"]["value"] = json!("SIP-2");
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree, with_state("requested"));
    assert_eq!(
        said,
        "Task.groupIdentifier.value: The element is a copy of id and says something else; the original is used."
    );
}

#[test]
fn an_element_with_another_constant_is_not_the_rows() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    let plan = find(&mut resources, "CarePlan");
    let strange = json!({ "detail": { "kind": "Appointment", "status": "scheduled", "description": "theirs" } });
    plan["activity"].as_array_mut().unwrap().insert(0, strange);
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree, with_state("requested"));
    assert!(said.contains("CarePlan.activity[0].detail.description: no row reads this element"), "{said}");
}

#[test]
fn resources_that_cannot_be_placed_are_an_error() {
    let mappings = load(SIP);
    let mut resources = sent(&mappings);
    let task = resources.iter_mut().find(|r| r["id"] == "task.SE2").unwrap();
    task.as_object_mut().unwrap().shift_remove("owner");
    let (_, said) = back(&mappings, &resources);
    assert!(said.contains("Task: Nothing tells which units[] the resource belongs to."), "{said}");
}

#[test]
fn the_field_order_is_the_tables() {
    let mappings = load(SIP);
    let (tree, _) = back(&mappings, &sent(&mappings));
    let names: Vec<&String> = tree.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "interventions", "patient", "lead", "units"]);
}

#[test]
fn odd_resources_do_not_make_it_fall_over() {
    let mappings = load(SIP);
    for odd in [
        json!(null),
        json!("x"),
        json!([]),
        json!({ "resourceType": 1, "id": 2 }),
        json!({ "resourceType": "CarePlan", "id": "x", "intent": "plan", "category": "SIP", "activity": { "detail": [1, null] }, "identifier": {} }),
        json!({ "resourceType": "Patient", "identifier": [null, { "system": 1 }], "meta": [] }),
    ] {
        let mut resources = sent(&mappings);
        resources.push(odd.clone());
        assert_eq!(back(&mappings, &resources).0["id"], "SIP-1", "{odd}");
        back(&mappings, &[odd]);
    }
}
