//! Any small document comes back as it was, and the examples of a folder show it.

use proptest::prelude::*;

use super::*;
use crate::fhir::issue::Severity;

const TABLE: &str = r#"
document = "handover"
when = { kind = "sip" }
[envelope]
id = "id"
[[resource]]
name = "plan"
type = "CarePlan"
need = true
row = [
  { source = "id",      fhir = "identifier[doc-id]", need = true },
  { source = "version", fhir = "extension[text-ext].valuePositiveInt" },
  { source = "status",  fhir = "status", via = "codes/status", need = true },
  {                     fhir = "subject", link = "patient" },
  {                     fhir = "goal[]",  link = "goal" },
  {                     fhir = "careTeam[]", link = "team" },
  { when = { open = true },  source = "text", fhir = "description" },
  { when = { open = false }, source = "text", fhir = "note.text" },
]
fixed = [ { fhir = "intent", const = "plan" }, { fhir = "category[kind]", const = "SIP" } ]
[[resource.part]]
each = "interventions[]"
in   = "activity[].detail"
row  = [
  { source = "text", fhir = "description", need = true },
  { source = "kva",  fhir = "code[kva]" },
  { source = "unit", fhir = "performer", link = "unit" },
  { source = "tags[]", fhir = "reasonCode[].text" },
]
fixed = [ { fhir = "status", const = "scheduled" } ]

[[resource]]
name = "patient"
type = "Patient"
each = "patient"
key  = "personnummer"
need = true
row  = [
  { source = "personnummer", fhir = "identifier[person]", via = "personnummer", need = true },
  { source = "phones[].number", fhir = "telecom[each phone].value" },
  { source = "mails[]", fhir = "telecom[each email].value" },
]

[[resource]]
name = "goal"
type = "Goal"
each = "goals[]"
key  = "id"
row  = [
  { source = "id",   fhir = "identifier[doc-id]" },
  { source = "text", fhir = "description.text", need = true },
  {                  fhir = "subject", link = "patient" },
]
fixed = [ { fhir = "lifecycleStatus", const = "active" } ]
[[resource.part]]
each = "targets[]"
in   = "target[]"
row  = [ { source = "due", fhir = "dueDate" }, { source = "text", fhir = "detailString" } ]

[[resource]]
name = "team"
type = "CareTeam"
row  = [ { source = "lead", fhir = "managingOrganization", link = "unit" }, { fhir = "participant[].member", link = "unit" } ]

[[resource]]
name = "unit"
type = "Organization"
each = "units[]"
key  = "unit"
need = true
row  = [ { source = "unit", fhir = "identifier[hsa]", need = true }, { source = "name", fhir = "name" } ]
"#;

fn status() -> String {
    codes("x", &[("active", "active"), ("entered-in-error", "entered-in-error")])
}

fn text() -> impl Strategy<Value = String> {
    "[a-zåäö ]{0,8}[a-zåäö]"
}

fn object(fields: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn list(values: Vec<Value>) -> Option<Value> {
    (!values.is_empty()).then_some(Value::Array(values))
}

fn interventions(units: usize) -> impl Strategy<Value = Vec<Value>> {
    let one = (
        text(),
        proptest::option::of("DV1[0-9]{2}"),
        proptest::option::of(0..units),
        proptest::collection::vec(text(), 0..3),
    );
    let one = one.prop_map(|(text, kva, unit, tags)| {
        object(vec![
            ("text", Some(json!(text))),
            ("kva", kva.map(|k| json!(k))),
            ("unit", unit.map(|u| json!(format!("SE{u}")))),
            ("tags", list(tags.into_iter().map(|t| json!(t)).collect())),
        ])
    });
    proptest::collection::vec(one, 0..4)
}

fn goals() -> impl Strategy<Value = Vec<Value>> {
    let target = (proptest::option::of("2026-0[1-9]-1[0-9]"), text())
        .prop_map(|(due, text)| object(vec![("due", due.map(|d| json!(d))), ("text", Some(json!(text)))]));
    let one = (text(), proptest::collection::vec(target, 0..3));
    proptest::collection::vec(one, 0..4).prop_map(|all| {
        let goal = |(n, (text, targets)): (usize, (String, Vec<Value>))| {
            // Keys whose order is not that of the list.
            object(vec![
                ("id", Some(json!(format!("g{}", 9 - n)))),
                ("text", Some(json!(text))),
                ("targets", list(targets)),
            ])
        };
        all.into_iter().enumerate().map(goal).collect()
    })
}

prop_compose! {
    fn document()(units in 1usize..4)(
        version in proptest::option::of(1u32..99), active in any::<bool>(),
        said in proptest::option::of((any::<bool>(), text())),
        interventions in interventions(units), goals in goals(), lead in proptest::option::of(0..units),
        phones in proptest::collection::vec(text(), 0..3), mails in proptest::collection::vec(text(), 0..3),
        names in proptest::collection::vec(proptest::option::of(text()), units),
    ) -> Value {
        let patient = object(vec![
            ("personnummer", Some(json!("196101182803"))),
            ("phones", list(phones.iter().map(|p| json!({ "number": p })).collect())),
            ("mails", list(mails.iter().map(|m| json!(m)).collect())),
        ]);
        // The first unit is named last, so that position and key disagree.
        let unit = |(n, name): (usize, Option<String>)| object(vec![("unit", Some(json!(format!("SE{n}")))), ("name", name.map(|n| json!(n)))]);
        let units: Vec<Value> = names.into_iter().enumerate().map(unit).rev().collect();
        object(vec![
            ("kind", Some(json!("sip"))),
            ("id", Some(json!("D-1"))),
            ("version", version.map(|v| json!(v))),
            ("status", Some(json!(if active { "active" } else { "entered-in-error" }))),
            ("open", said.as_ref().map(|(open, _)| json!(open))),
            ("text", said.map(|(_, text)| json!(text))),
            ("interventions", list(interventions)),
            ("patient", Some(patient)),
            ("goals", list(goals)),
            ("lead", Some(json!(format!("SE{}", lead.unwrap_or(0))))),
            ("units", list(units)),
        ])
    }
}

proptest! {
    #[test]
    fn a_document_comes_back_whatever_the_order_of_its_resources(document in document(), turn in 0usize..9) {
        let mappings = load_with(TABLE, &[("codes/status.json", &status())]);
        let (mut resources, said) = out(&mappings, &document);
        prop_assert_eq!(said, "");
        let turn = turn % resources.len();
        resources.rotate_left(turn);
        let (tree, said) = back(&mappings, &resources);
        prop_assert_eq!(said, "");
        prop_assert_eq!(tree.to_string(), document.to_string());
    }

    #[test]
    fn no_document_makes_it_fall_over(document in anything()) {
        let mappings = load_with(TABLE, &[("codes/status.json", &status())]);
        let mut document = document;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("kind".into(), json!("sip"));
        }
        let (resources, _) = out(&mappings, &document);
        back(&mappings, &resources);
        back(&mappings, &[document]);
    }
}

/// Trees of any form out of the names that the table knows.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop::sample::select(vec![
            "id",
            "version",
            "status",
            "text",
            "open",
            "interventions",
            "unit",
            "units",
            "patient",
            "personnummer",
            "phones",
            "goals",
            "targets",
            "due",
            "lead",
            "tags",
            "resourceType",
            "identifier",
            "activity",
            "detail",
            "subject",
            "reference",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(name, inner, 0..6)
                .prop_map(|fields| fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()),
        ]
    })
}

const SMALL: &str = r#"
[[resource]]
name = "team"
type = "CareTeam"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "size", fhir = "note.text" } ]
"#;

fn example(source: &Value, change: impl Fn(&mut Value)) -> Vec<Issue> {
    let mappings = load(SMALL);
    let resources = table(&mappings).out(source, &ExampleIds).resources;
    let mut resources: Value = resources.into_iter().map(|r| r.value).collect();
    change(&mut resources);
    let all = files(
        SMALL,
        &[
            ("examples/activity.small.source.json", source.to_string().as_str()),
            ("examples/activity.small.fhir.json", resources.to_string().as_str()),
        ],
    );
    mappings.check(&all)
}

#[test]
fn an_example_that_holds_says_nothing() {
    assert_eq!(lines(&example(&json!({ "id": "1", "size": "x" }), |_| ())), "");
}

#[test]
fn an_example_that_does_not_hold_is_an_error_at_its_place() {
    let issues = example(&json!({ "id": "1", "size": "x" }), |r| r[0]["note"][0]["text"] = json!("y"));
    assert_eq!(
        lines(&issues),
        "[0].note[0].text: The resources are not the example's.\nsize: The field does not come back as it was."
    );
    assert!(issues.iter().all(Issue::is_error));
    assert_eq!(issues[0].origin.as_deref(), Some("examples/activity.small.source.json"));
}

#[test]
fn a_loss_that_was_foretold_is_no_error() {
    let issues = example(&json!({ "id": "1", "more": { "x": 1 } }), |_| ());
    assert_eq!(lines(&issues), "more.x: no row reads this field\nmore.x: The field does not come back as it was.");
    assert!(issues.iter().all(|i| i.severity == Severity::Information));
}

#[test]
fn what_an_example_lacks_is_told() {
    let mappings = load(SMALL);
    let said = |more: &[(&str, &str)]| lines(&mappings.check(&files(SMALL, more)));
    assert!(said(&[]).contains("t.json: No example uses the table."));
    assert!(said(&[("examples/activity.a.source.json", "{\"id\":\"1\"}")]).contains("The example has no .fhir.json"));
    assert!(said(&[("examples/activity.a.fhir.json", "[]")]).contains("The example has no source document."));
    assert!(said(&[("examples/x.a.source.json", "{}")]).contains("should begin with the kind of document"));
    assert!(said(&[("examples/activity.a.source.json", "{")]).contains("The JSON cannot be read"));
}

#[test]
fn parts_nest_and_have_guards() {
    let mappings = load(
        r#"
[[resource]]
name = "plan"
type = "CarePlan"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "who", fhir = "subject.display" } ]
fixed = [ { fhir = "status", const = "active" }, { fhir = "intent", const = "plan" } ]
[[resource.part]]
each = "phases[]"
in   = "activity[]"
row  = [ { source = "name", fhir = "detail.description" } ]
fixed = [ { fhir = "detail.status", const = "scheduled" } ]
[[resource.part.part]]
each = "notes[]"
in   = "progress[]"
row  = [ { source = "text", fhir = "text" }, { source = "at", fhir = "time" } ]
[[resource.part.part]]
each = "goal"
in   = "detail"
when = { kind = "text" }
row  = [ { source = "text", fhir = "code.text" }, { source = "/id", fhir = "location.display", only = "out" } ]
"#,
    );
    let document = json!({ "id": "1", "who": "X", "phases": [
        { "name": "a", "notes": [{ "text": "1", "at": "2026-03-01" }, { "text": "2" }], "goal": { "kind": "text", "text": "g" } },
        { "name": "b" }, { "name": "c", "notes": [{ "text": "3" }] }] });
    let resources = both(&mappings, &document);
    assert_eq!(resources[0]["activity"][0]["detail"]["location"]["display"], "1");
    assert_eq!(resources[0]["activity"][0]["progress"][1]["text"], "2");
}

#[test]
fn blocks_with_a_guard_take_their_items_and_leave_the_others() {
    let map =
        codes("https://vardkedja.example/far#boolean", &[("true", "VR"), ("false", "AMB"), ("false", "IMP narrower")]);
    let mappings = load_with(
        r#"
[[resource]]
name = "contact"
type = "Encounter"
row = [ { source = "id", fhir = "identifier[doc-id]" }, { source = "far", fhir = "class.code", via = "codes/far" } ]
fixed = [ { fhir = "status", const = "finished" } ]
[[resource]]
name = "distance"
type = "Procedure"
each = "addOns[]"
key  = "."
when = { "." = "ZV051" }
row  = [
  { source = ".",    fhir = "identifier[doc-id]", within = "/id", only = "out" },
  { source = "/who", fhir = "subject.display", only = "out" },
  { fhir = "encounter", link = "contact" },
  { fhir = "partOf[]", link = "procedure", need = true },
]
fixed = [ { fhir = "status", const = "completed", only = "out" }, { fhir = "code[kva]", const = "ZV051" } ]
[[resource]]
name = "procedure"
type = "Procedure"
each = "codes[]"
key  = "."
row  = [ { source = ".", fhir = "code[kva]" }, { source = "/who", fhir = "subject.display" }, { fhir = "encounter", link = "contact" } ]
fixed = [ { fhir = "status", const = "completed", only = "out" } ]
"#,
        &[("codes/far.json", &map)],
    );
    let document = json!({ "id": "1", "far": true, "addOns": ["ZV051"], "codes": ["DV143", "DV113"], "who": "X" });
    let mut resources = both(&mappings, &document);
    assert_eq!(resources[1]["identifier"][0]["value"], "1|ZV051");
    assert_eq!(resources[1]["partOf"].as_array().unwrap().len(), 2);
    find(&mut resources, "Encounter")["class"]["code"] = json!("IMP");
    assert_eq!(back(&mappings, &resources).0["far"], json!(false));

    let (resources, said) =
        out(&mappings, &json!({ "id": "1", "far": false, "addOns": ["AB123"], "codes": [], "who": "X" }));
    assert_eq!(
        (resources.len(), said.as_str()),
        (1, "addOns[0]: no row reads this field\nwho: no row reads this field")
    );
    let (_, said) = out(&mappings, &json!({ "id": "1", "far": false, "addOns": ["ZV051"], "who": "X" }));
    assert_eq!(said, "Procedure.partOf: There is no [procedure] to point at.");
}
