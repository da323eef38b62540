//! The way back: which item, branch and block a resource is read into, and in what order.

use super::*;

#[test]
fn the_order_of_items_that_nothing_in_fhir_carries_follows_the_keys_and_is_told() {
    let mappings = load(
        r#"
[[resource]]
name = "contact"
type = "Encounter"
row = [ { source = "id", fhir = "identifier[doc-id]" } ]
fixed = [ { fhir = "status", const = "finished" }, { fhir = "class.code", const = "AMB" } ]
[[resource]]
name = "procedure"
type = "Procedure"
each = "codes[]"
key  = "code"
row  = [
  { source = "code",  fhir = "code[kva]" },
  { source = "/who",  fhir = "subject.display" },
  { fhir = "encounter", link = "contact" },
]
fixed = [ { fhir = "status", const = "completed" } ]
"#,
    );
    let document = json!({ "id": "1", "codes": [{ "code": "DV143" }, { "code": "DV113" }], "who": "X" });
    let (resources, _) = out(&mappings, &document);
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree["codes"], json!([{ "code": "DV113" }, { "code": "DV143" }]));
    assert_eq!(said, "codes[]: No list in FHIR tells the order; it follows the keys.");

    let mut disagreeing = resources;
    disagreeing[2]["subject"]["display"] = json!("Y");
    let (_, said) = back(&mappings, &disagreeing);
    assert!(
        said.contains("who: The resources do not agree: t.json.toml [procedure] row 2 gave another value."),
        "{said}"
    );
}

#[test]
fn one_actor_may_be_several_items() {
    let mappings = load(
        r#"
[[resource]]
name = "plan"
type = "CarePlan"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "who", fhir = "subject.display" } ]
fixed = [ { fhir = "status", const = "active" }, { fhir = "intent", const = "plan" } ]
[[resource.part]]
each = "interventions[]"
in   = "activity[].detail"
row  = [ { source = "text", fhir = "description" }, { fhir = "performer[]", link = "unit" } ]
fixed = [ { fhir = "status", const = "scheduled" } ]

[[resource]]
name = "unit"
type = "Organization"
each = "interventions[].responsible"
key  = "unit"
row  = [ { source = "unit", fhir = "identifier[hsa]" }, { source = "name", fhir = "name" } ]
"#,
    );
    let unit = json!({ "unit": "SE1", "name": "N" });
    let document = json!({ "id": "1", "who": "X", "interventions": [
        { "text": "a", "responsible": unit }, { "text": "b" }, { "text": "c", "responsible": unit }, { "text": "d", "responsible": { "unit": "SE2" } }] });
    assert_eq!(both(&mappings, &document).len(), 3);
}

const BRANCHES: &str = r#"
[[resource]]
name = "consent"
type = "Consent"
row = [
  { source = "id", fhir = "identifier[doc-id]" },
  { fhir = "patient", link = "patient" },
  { when = { by = "patient" },        fhir = "performer", link = "patient" },
  { when = { by = "representative" }, source = "representative", fhir = "performer.display", need = true },
]
fixed = [
  { fhir = "status", const = "active" },
  { fhir = "scope[kind]", const = "s" },
  { fhir = "category[kind]", const = "c" },
  { when = { open = true },  fhir = "policyRule[kind]", const = "IN" },
  { when = { open = false }, fhir = "policyRule[kind]", const = "OUT" },
]
"#;

#[test]
fn a_branch_that_is_read_writes_its_guard() {
    let mappings = load(&format!("{BRANCHES}{PATIENT}"));
    let patient = json!({ "personnummer": "195009072553" });
    let by_patient = json!({ "id": "1", "by": "patient", "open": true, "patient": patient });
    let mut resources = both(&mappings, &by_patient);
    both(
        &mappings,
        &json!({ "id": "1", "by": "representative", "representative": "R", "open": false, "patient": patient }),
    );

    find(&mut resources, "Consent")["performer"][0]["display"] = json!("a name that the partner added");
    assert_eq!(back(&mappings, &resources), (by_patient, String::new()));
    find(&mut resources, "Consent").as_object_mut().unwrap().shift_remove("performer");
    let (tree, said) = back(&mappings, &resources);
    assert_eq!((tree.get("by"), said.as_str()), (None, ""));
}

#[test]
fn a_branch_that_is_meant_needs_what_it_needs() {
    let mappings = load(&format!("{BRANCHES}{PATIENT}"));
    let document = json!({ "id": "1", "by": "representative", "patient": { "personnummer": "195009072553" } });
    let (_, said) = out(&mappings, &document);
    assert_eq!(said, "representative: The field is required.");
}

#[test]
fn a_part_that_is_needed_has_at_least_one_both_ways() {
    let mappings = load(
        r#"
[[resource]]
name = "plan"
type = "CarePlan"
row = [ { source = "id", fhir = "identifier[doc-id]", need = true }, { source = "who", fhir = "subject.display" } ]
fixed = [ { fhir = "status", const = "active", only = "out" }, { fhir = "intent", const = "plan" } ]
[[resource.part]]
each = "steps[]"
in   = "activity[].detail"
need = true
row = [ { source = "text", fhir = "description", need = true } ]
fixed = [ { fhir = "status", const = "scheduled", only = "out" } ]
"#,
    );
    let (_, said) = out(&mappings, &json!({ "id": "D" }));
    assert_eq!(said, "steps[]: At least one is required.");
    let mut made = out(&mappings, &json!({ "id": "D", "steps": [{ "text": "walk" }] })).0;
    find(&mut made, "CarePlan").as_object_mut().unwrap().shift_remove("activity");
    assert_eq!(back(&mappings, &made).1, "CarePlan.activity.detail: At least one is required.");
}

const CONTACT: &str = r#"
[[resource]]
name = "contact"
type = "Encounter"
row = [
  { source = "id", fhir = "identifier.value" },
  { fhir = "subject", link = "patient" },
  { fhir = "reasonReference[]", link = "reason", only = "back" },
]
fixed = [ { fhir = "status", const = "finished" }, { fhir = "class.code", const = "AMB" } ]
[[resource]]
name = "procedure"
type = "Procedure"
each = "codes[]"
key  = "code"
row  = [
  { source = "code",    fhir = "code[kva]" },
  { source = "/tags[]", fhir = "note[].text" },
  { fhir = "subject",   link = "patient" },
  { fhir = "encounter", link = "contact" },
  { fhir = "partOf[]",  link = "first", only = "back" },
]
fixed = [ { fhir = "status", const = "completed" } ]
[[resource]]
name = "first"
type = "Procedure"
each = "first"
row  = [ { source = "code", fhir = "code[kva]", only = "back" } ]
[[resource]]
name = "reason"
type = "Procedure"
each = "reason"
row  = [ { source = "code", fhir = "code[kva]", only = "back" } ]
"#;

fn contact() -> (Mappings, Vec<Value>) {
    let mappings = load(&format!("{CONTACT}{PATIENT}"));
    let document = json!({ "id": "1", "codes": [{ "code": "DV113" }, { "code": "DV143" }], "tags": ["a", "b"],
        "patient": { "personnummer": "195009072553" } });
    let (resources, said) = out(&mappings, &document);
    assert_eq!(said, "");
    let (tree, _) = back(&mappings, &resources);
    assert_eq!(tree, document);
    (mappings, resources)
}

#[test]
fn the_gateways_own_identifier_is_never_the_only_one() {
    let (mappings, mut resources) = contact();
    let ours = json!({ "system": "https://vardkedja.example/fhir/sid/resource", "value": "x" });
    find(&mut resources, "Encounter")["identifier"].as_array_mut().unwrap().insert(0, ours);
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree["id"], "1");
    assert!(!said.contains("identifier"), "{said}");
}

#[test]
fn to_be_of_the_same_patient_is_not_to_belong_to_the_document() {
    let (mappings, mut resources) = contact();
    let mut other = find(&mut resources, "Procedure").clone();
    other["id"] = json!("other");
    other["code"]["coding"][0]["code"] = json!("XX111");
    other.as_object_mut().unwrap().shift_remove("encounter");
    resources.push(other);
    let (tree, said) = back(&mappings, &resources);
    assert_eq!(tree["codes"].as_array().unwrap().len(), 2);
    assert!(said.contains("Procedure: no block of the table takes this resource"), "{said}");
}

#[test]
fn a_resource_belongs_to_one_block() {
    let (mappings, mut resources) = contact();
    find(&mut resources, "Procedure")["partOf"] = json!([{ "reference": "Procedure/procedure.DV143" }]);
    let (tree, _) = back(&mappings, &resources);
    // What a claimed resource points at is surer than what points at one.
    assert_eq!((&tree["codes"], &tree["first"]), (&json!([{ "code": "DV113" }]), &json!({ "code": "DV143" })));
    find(&mut resources, "Encounter")["reasonReference"] = json!([{ "reference": "Procedure/procedure.DV143" }]);
    let (tree, _) = back(&mappings, &resources);
    assert_eq!((tree.get("first"), &tree["reason"]), (None, &json!({ "code": "DV143" })));
    // The same resource twice is one.
    let twice: Vec<Value> = resources.iter().chain(&resources).cloned().collect();
    assert_eq!(back(&mappings, &twice).0, tree);
}

#[test]
fn a_list_from_the_root_must_be_the_same_in_every_resource() {
    let (mappings, mut resources) = contact();
    find(&mut resources, "Procedure")["note"][1]["text"] = json!("c");
    let (_, said) = back(&mappings, &resources);
    assert!(said.contains("tags[1]: The resources do not agree"), "{said}");
}
