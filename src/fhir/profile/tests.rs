//! A small package that says everything the validator enforces, and some things it does not.

use serde_json::{Value, json};

use super::*;
use crate::domain::kva::CodeList;
use crate::fhir::validate::{Context, validate, validate_as};

fn url(name: &str) -> String {
    format!("{BASE}/StructureDefinition/{name}")
}

/// A definition with its generated snapshot.
fn definition(id: &str, kind: &str, elements: Value) -> Value {
    let elements = if elements == json!([]) { json!([ { "id": kind, "path": kind } ]) } else { elements };
    let mut definition = json!({ "resourceType": "StructureDefinition", "id": id, "url": url(id), "type": kind,
        "derivation": "constraint", "baseDefinition": format!("http://hl7.org/fhir/StructureDefinition/{kind}"),
        "differential": { "element": elements } });
    definition["snapshot"] = json!({ "element": snapshot(&definition) });
    definition
}

fn load(parts: &[Value]) -> (Profiles, Vec<Issue>) {
    let named = parts.iter().enumerate().map(|(i, p)| (format!("part-{i}.json"), p.to_string()));
    Profiles::load(&named.collect())
}

/// Loads one profile of Task and holds a Task against it.
#[track_caller]
fn finds(elements: Value, more: &[Value], task: Value, expected: &[&str]) {
    let mut parts = vec![definition("p", "Task", elements)];
    parts.extend_from_slice(more);
    let (profiles, issues) = load(&parts);
    assert!(issues.is_empty(), "{}", issues.iter().map(Issue::line).collect::<Vec<_>>().join("\n"));
    let mut base =
        json!({ "resourceType": "Task", "status": "requested", "intent": "order", "meta": { "profile": [url("p")] } });
    for (key, value) in task.as_object().unwrap() {
        base[key] = value.clone();
    }
    let found = validate(&base, &Context { profiles: &profiles, codes: &CodeList::default() });
    let found: Vec<String> =
        found.iter().map(|i| format!("{} {} {}", i.severity.code(), i.code.code(), i.expression)).collect();
    assert_eq!(found, expected);
}

#[test]
fn cardinality_is_held_where_it_is_narrower() {
    let elements = json!([
        { "id": "Task.code", "path": "Task.code", "min": 1 },
        { "id": "Task.note", "path": "Task.note", "max": "0" },
        { "id": "Task.input", "path": "Task.input", "min": 2, "max": "3" },
        { "id": "Task.restriction.repetitions", "path": "Task.restriction.repetitions", "min": 1 } ]);
    let input = json!({ "type": { "text": "a" }, "valueString": "b" });
    finds(elements.clone(), &[], json!({ "code": { "text": "a" }, "input": [input, input] }), &[]);
    finds(
        elements,
        &[],
        json!({ "note": [ { "text": "a" } ], "input": [input], "restriction": { "period": { "start": "2026" } } }),
        &[
            "error required Task.code",
            "error structure Task.note",
            "error required Task.input",
            "error required Task.restriction.repetitions",
        ],
    );
}

#[test]
fn constants_types_targets_and_lengths_are_held() {
    let elements = json!([
        { "id": "Task.intent", "path": "Task.intent", "fixedCode": "order" },
        { "id": "Task.code", "path": "Task.code", "patternCodeableConcept": { "coding": [ { "system": "s", "code": "a" } ] } },
        { "id": "Task.description", "path": "Task.description", "maxLength": 3 },
        { "id": "Task.focus", "path": "Task.focus", "type": [ { "code": "Reference", "targetProfile": ["http://hl7.org/fhir/StructureDefinition/CarePlan", url("q")] } ] },
        { "id": "Task.input", "path": "Task.input" },
        { "id": "Task.input.value[x]", "path": "Task.input.value[x]", "type": [ { "code": "string" }, { "code": "Reference" } ] } ]);
    let q = definition("q", "ServiceRequest", json!([]));
    let good = json!({ "code": { "coding": [ { "system": "x", "code": "y" }, { "system": "s", "code": "a", "display": "A" } ] }, "description": "åäö",
        "focus": { "reference": "ServiceRequest/1" }, "input": [ { "type": { "text": "a" }, "valueString": "b" } ] });
    finds(elements.clone(), std::slice::from_ref(&q), good, &[]);
    let bad = json!({ "intent": "plan", "code": { "coding": [ { "system": "s", "code": "b" } ] }, "description": "åäöå",
        "focus": { "reference": "Condition/1" }, "input": [ { "type": { "text": "a" }, "valueCode": "b" } ] });
    finds(
        elements,
        &[q],
        bad,
        &[
            "error value Task.intent",
            "error value Task.code",
            "error too-long Task.description",
            "error value Task.focus",
            "error structure Task.input[0].value",
        ],
    );
}

#[test]
fn bindings_refuse_when_required_and_warn_when_extensible() {
    let system = json!({ "resourceType": "CodeSystem", "url": "s:area", "content": "complete", "concept": [ { "code": "fatigue" } ] });
    let set =
        json!({ "resourceType": "ValueSet", "url": "v:area", "compose": { "include": [ { "system": "s:area" } ] } });
    let bound = |strength: &str| json!([ { "id": "Task.code", "path": "Task.code", "binding": { "strength": strength, "valueSet": "v:area" } } ]);
    let coded = |system: &str, code: &str| json!({ "code": { "coding": [ { "system": "other", "code": "x" }, { "system": system, "code": code } ] } });
    finds(bound("required"), &[system.clone(), set.clone()], coded("s:area", "fatigue"), &[]);
    finds(
        bound("required"),
        &[system.clone(), set.clone()],
        coded("s:area", "fatige"),
        &["error code-invalid Task.code"],
    );
    finds(
        bound("required"),
        &[system.clone(), set.clone()],
        json!({ "code": { "text": "a" } }),
        &["error code-invalid Task.code"],
    );
    finds(
        bound("extensible"),
        &[system.clone(), set.clone()],
        coded("s:x", "fatigue"),
        &["warning code-invalid Task.code"],
    );
    finds(bound("extensible"), &[system.clone(), set.clone()], json!({ "code": { "text": "a" } }), &[]);
    finds(bound("preferred"), &[system, set], coded("s:x", "fatigue"), &[]);
}

#[test]
fn slices_are_told_apart_by_value_and_held_to_their_own_rules() {
    let slices = |rules: &str| {
        json!([
        { "id": "Task.input", "path": "Task.input", "slicing": { "discriminator": [ { "type": "pattern", "path": "type" } ], "rules": rules } },
        { "id": "Task.input:version", "path": "Task.input", "sliceName": "version", "min": 1, "max": "1" },
        { "id": "Task.input:version.type", "path": "Task.input.type", "patternCodeableConcept": { "text": "version" } },
        { "id": "Task.input:version.value[x]", "path": "Task.input.value[x]", "type": [ { "code": "positiveInt" } ] },
        { "id": "Task.input:sbar", "path": "Task.input", "sliceName": "sbar", "max": "1" },
        { "id": "Task.input:sbar.type", "path": "Task.input.type", "patternCodeableConcept": { "text": "sbar" } },
        { "id": "Task.input:sbar.value[x]", "path": "Task.input.value[x]", "type": [ { "code": "Reference" } ] },
        { "id": "Task.input:sbar.value[x].reference", "path": "Task.input.value[x].reference", "min": 1 } ])
    };
    let version = json!({ "type": { "text": "version" }, "valuePositiveInt": 1 });
    let other = json!({ "type": { "text": "other" }, "valueString": "a" });
    finds(slices("open"), &[], json!({ "input": [version, other] }), &[]);
    finds(slices("closed"), &[], json!({ "input": [version, other] }), &["error structure Task.input[1]"]);
    finds(slices("open"), &[], json!({ "input": [other] }), &["error required Task.input"]);
    finds(slices("open"), &[], json!({}), &["error required Task.input"]);
    let wrong = json!([ version, { "type": { "text": "version" }, "valueString": "1" }, { "type": { "text": "sbar" }, "valueReference": { "display": "a" } } ]);
    finds(
        slices("open"),
        &[],
        json!({ "input": wrong }),
        &[
            "error structure Task.input[1].value",
            "error required Task.input[2].value.reference",
            "error structure Task.input",
        ],
    );
}

#[test]
fn codings_are_sliced_by_system() {
    let elements = json!([
        { "id": "Task.code.coding", "path": "Task.code.coding", "slicing": { "discriminator": [ { "type": "value", "path": "system" } ], "rules": "open" } },
        { "id": "Task.code.coding:kind", "path": "Task.code.coding", "sliceName": "kind", "min": 1, "max": "1" },
        { "id": "Task.code.coding:kind.system", "path": "Task.code.coding.system", "min": 1, "fixedUri": "s:kind" },
        { "id": "Task.code.coding:kind.code", "path": "Task.code.coding.code", "min": 1 } ]);
    finds(elements.clone(), &[], json!({ "code": { "coding": [ { "system": "s:kind", "code": "a" } ] } }), &[]);
    finds(
        elements.clone(),
        &[],
        json!({ "code": { "coding": [ { "system": "s:kind" } ] } }),
        &["error required Task.code.coding[0].code"],
    );
    finds(
        elements,
        &[],
        json!({ "code": { "coding": [ { "system": "s:other", "code": "a" } ] } }),
        &["error required Task.code.coding"],
    );
}

#[test]
fn extensions_are_held_to_their_definition_and_place() {
    let mut extension = definition(
        "level",
        "Extension",
        json!([
        { "id": "Extension.url", "path": "Extension.url", "fixedUri": url("level") },
        { "id": "Extension.value[x]", "path": "Extension.value[x]", "min": 1, "type": [ { "code": "code" } ],
          "binding": { "strength": "required", "valueSet": "v" } } ]),
    );
    extension["context"] = json!([ { "type": "element", "expression": "Task" } ]);
    let set = json!({ "resourceType": "ValueSet", "url": "v", "compose": { "include": [ { "system": "s", "concept": [ { "code": "primary" } ] } ] } });
    let elements = json!([ { "id": "Task.extension:level", "path": "Task.extension", "sliceName": "level", "min": 1, "max": "1", "type": [ { "code": "Extension", "profile": [url("level")] } ] } ]);
    let with = |value: Value| json!({ "extension": [value] });
    let more = [extension, set];
    finds(elements.clone(), &more, with(json!({ "url": url("level"), "valueCode": "primary" })), &[]);
    finds(
        elements.clone(),
        &more,
        with(json!({ "url": url("level"), "valueCode": "secondary" })),
        &["error code-invalid Task.extension[0].value"],
    );
    finds(
        elements.clone(),
        &more,
        with(json!({ "url": url("level"), "valueString": "primary" })),
        &["error structure Task.extension[0].value"],
    );
    finds(
        elements.clone(),
        &more,
        with(json!({ "url": url("levle"), "valueCode": "primary" })),
        &["error not-found Task.extension[0].url", "error required Task.extension"],
    );
    finds(
        json!([]),
        &more,
        json!({ "for": { "display": "a", "extension": [ { "url": url("level"), "valueCode": "primary" } ] } }),
        &["error structure Task.for.extension[0]"],
    );
    finds(
        json!([]),
        &more,
        json!({ "modifierExtension": [ { "url": "http://other", "valueCode": "a" } ] }),
        &["error not-supported Task.modifierExtension[0]"],
    );
}

#[test]
fn invariants_speak_swedish_and_warn_where_they_only_warn() {
    let elements = json!([
        { "id": "Task", "path": "Task", "constraint": [ { "key": "t-1", "severity": "error", "human": "a rejected task says why", "expression": "status = 'rejected' implies statusReason.exists()",
            "_human": { "extension": [ { "url": "http://hl7.org/fhir/StructureDefinition/translation", "extension": [ { "url": "lang", "valueCode": "sv" }, { "url": "content", "valueString": "ett nej kräver skäl" } ] } ] } } ] },
        { "id": "Task.input", "path": "Task.input", "constraint": [ { "key": "t-2", "severity": "warning", "human": "h", "expression": "value.exists() and %resource.status != 'draft'" } ] } ]);
    let input = json!([ { "type": { "text": "a" }, "valueString": "b" } ]);
    finds(elements.clone(), &[], json!({ "input": input }), &[]);
    finds(elements.clone(), &[], json!({ "status": "rejected" }), &["error invariant Task"]);
    finds(elements.clone(), &[], json!({ "status": "draft", "input": input }), &["warning invariant Task.input[0]"]);
    let (profiles, _) = load(&[definition("p", "Task", elements)]);
    let task = json!({ "resourceType": "Task", "status": "rejected", "intent": "order" });
    let issues = validate_as(&task, &[&url("p")], &Context { profiles: &profiles, codes: &CodeList::default() });
    assert_eq!(issues[0].sv, "ett nej kräver skäl [t-1] (profil p)");
}

#[test]
fn what_cannot_be_enforced_is_a_warning_with_profile_element_and_key() {
    let elements = json!([
        { "id": "Task", "path": "Task", "constraint": [ { "key": "t-9", "severity": "error", "human": "h", "expression": "code.memberOf('x')" } ] },
        { "id": "Task.authoredOn", "path": "Task.authoredOn", "minValueDateTime": "2020" },
        { "id": "Task.code", "path": "Task.code", "binding": { "strength": "required", "valueSet": "http://elsewhere" } },
        { "id": "Task.statusReason", "path": "Task.statusReason", "binding": { "strength": "required", "valueSet": "v:open" } },
        { "id": "Task.for", "path": "Task.for", "type": [ { "code": "Reference", "targetProfile": ["http://elsewhere/Patient"], "aggregation": ["contained"] } ] },
        { "id": "Task.input", "path": "Task.input", "slicing": { "discriminator": [ { "type": "exists", "path": "value" } ], "rules": "open" } },
        { "id": "Task.input:a", "path": "Task.input", "sliceName": "a" },
        { "id": "Task.output.value[x].text", "path": "Task.output.value[x].text", "min": 1 } ]);
    let mut part = definition("p", "Task", elements);
    part["baseDefinition"] = json!("http://hl7.se/fhir/ig/base/StructureDefinition/SEBaseTask");
    let open = json!({ "resourceType": "ValueSet", "url": "v:open", "compose": { "include": [ { "system": "http://snomed.info/sct" } ] } });
    let (profiles, issues) = load(&[part, open]);
    assert_eq!(profiles.urls().count(), 1, "the rest is in force");
    let found: Vec<String> = issues
        .iter()
        .map(|i| format!("{} {} {}", i.severity.code(), i.expression, i.en.split(", which").next().unwrap_or_default()))
        .collect();
    assert_eq!(
        found,
        [
            "warning Task.authoredOn the profile p says minValueDateTime",
            "warning Task the profile p says baseDefinition",
            "warning Task the profile p says t-9",
            "warning Task.code the profile p says binding",
            "warning Task.statusReason the profile p says binding",
            "warning Task.for the profile p says type.targetProfile",
            "warning Task.for the profile p says type.aggregation",
            "warning Task.input the profile p says slicing.discriminator",
            "warning Task.input:a the profile p says slicing",
            "warning Task.output.value[x] the profile p says children",
        ]
    );
    assert!(issues.iter().all(|i| i.origin.as_deref() == Some("part-0.json")));
}

#[test]
fn a_wrong_profile_is_left_out_and_its_error_named() {
    let wrong = |elements: Value| {
        let (profiles, issues) = load(&[definition("p", "Task", elements)]);
        assert_eq!(profiles.urls().count(), usize::from(!any_error(&issues)));
        issues.first().map(|i| format!("{} {}", i.expression, i.en)).unwrap_or_default()
    };
    assert_eq!(
        wrong(json!([ { "id": "Task.stauts", "path": "Task.stauts", "min": 1 } ])),
        "Task.stauts is not an element of Task; did you mean status?"
    );
    assert!(wrong(json!([ { "id": "Task.status", "path": "Task.status", "min": 0 } ])).contains("within R4's 1..1"));
    assert!(wrong(json!([ { "id": "Task.code", "path": "Task.code", "max": "*" } ])).contains("within R4's 0..1"));
    assert!(
        wrong(json!([ { "id": "Task.for", "path": "Task.for", "type": [ { "code": "refrence" } ] } ]))
            .contains("not in R4's choice")
    );
    assert!(wrong(json!([ { "id": "Task.owner", "path": "Task.owner", "type": [ { "code": "Reference", "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Condition"] } ] } ])).contains("does not let"));
    assert!(wrong(json!([ { "id": "Task.code", "path": "Task.for", "min": 1 } ])).contains("do not say the same"));
    let (profiles, issues) = Profiles::load(&BTreeMap::from([
        ("a.json".to_owned(), "{".to_owned()),
        ("examples/b.json".to_owned(), "{".to_owned()),
    ]));
    assert_eq!((profiles.urls().count(), issues.len()), (0, 1));
    assert_eq!(issues[0].origin.as_deref(), Some("a.json:1:2"));
}

#[test]
fn a_claim_that_cannot_be_tried_is_said() {
    let (profiles, _) = load(&[definition("p", "Task", json!([])), definition("c", "Condition", json!([]))]);
    let task = json!({ "resourceType": "Task", "status": "draft", "intent": "order", "meta": { "profile": [url("p"), url("q"), "http://other|1", url("c")] } });
    let found: Vec<String> = validate(&task, &Context { profiles: &profiles, codes: &CodeList::default() })
        .iter()
        .map(|i| format!("{} {}", i.severity.code(), i.expression))
        .collect();
    assert_eq!(found, ["warning Task.meta.profile[1]", "information Task.meta.profile[2]", "error Task.meta.profile"]);
}

#[test]
fn a_profile_of_ours_may_build_on_another() {
    let mut narrow = definition("narrow", "Task", json!([ { "id": "Task.code", "path": "Task.code", "min": 1 } ]));
    narrow["baseDefinition"] = json!(url("wide"));
    let wide = definition("wide", "Task", json!([ { "id": "Task.focus", "path": "Task.focus", "min": 1 } ]));
    let (profiles, issues) = load(&[narrow, wide]);
    assert!(issues.is_empty());
    let task = json!({ "resourceType": "Task", "status": "draft", "intent": "order" });
    let issues = validate_as(&task, &[&url("narrow")], &Context { profiles: &profiles, codes: &CodeList::default() });
    assert_eq!(issues.iter().map(|i| i.expression.as_str()).collect::<Vec<_>>(), ["Task.code", "Task.focus"]);
}

#[test]
fn a_snapshot_is_what_follows_and_a_stale_one_is_said() {
    let elements = json!([
        { "id": "Task.code.coding", "path": "Task.code.coding", "slicing": { "discriminator": [ { "type": "value", "path": "system" } ], "rules": "open" } },
        { "id": "Task.code.coding:kind", "path": "Task.code.coding", "sliceName": "kind", "min": 1 },
        { "id": "Task.code.coding:kind.system", "path": "Task.code.coding.system", "min": 1, "fixedUri": "s" } ]);
    let mut part = definition("p", "Task", elements);
    let ids: Vec<&str> = part["snapshot"]["element"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["id"].as_str())
        .filter(|id| id.starts_with("Task.code"))
        .collect();
    assert_eq!(
        ids,
        [
            "Task.code",
            "Task.code.id",
            "Task.code.extension",
            "Task.code.coding",
            "Task.code.coding:kind",
            "Task.code.coding:kind.id",
            "Task.code.coding:kind.extension",
            "Task.code.coding:kind.system",
            "Task.code.coding:kind.version",
            "Task.code.coding:kind.code",
            "Task.code.coding:kind.display",
            "Task.code.coding:kind.userSelected",
            "Task.code.text",
        ]
    );
    let element =
        |id: &str| part["snapshot"]["element"].as_array().unwrap().iter().find(|e| e["id"] == id).cloned().unwrap();
    assert_eq!(element("Task.code.coding:kind.system")["fixedUri"], "s");
    assert_eq!(
        element("Task.code.coding:kind.system")["base"],
        json!({ "path": "Coding.system", "min": 0, "max": "1" })
    );
    assert_eq!(element("Task.status")["min"], 1);
    part["differential"]["element"][1]["min"] = json!(0);
    let (_, issues) = load(&[part]);
    assert_eq!(issues.iter().map(|i| i.expression.as_str()).collect::<Vec<_>>(), ["StructureDefinition.snapshot"]);
}
