//! What base R4 and Swedish values refuse, and that R4's own shapes pass.

use serde_json::{Value, json};

use super::*;

fn list() -> CodeList {
    CodeList::parse(
        r#"{ "url": "urn:oid:1.2.752.116.1.3.2.1.4", "content": "fragment", "concept": [
        { "code": "DV143", "display": "Kvalificerat rådgivande samtal om matvanor",
          "property": [ { "code": "valid-to", "valueDateTime": "2030-12-31" } ] },
        { "code": "ZV051", "display": "Telemedicin", "property": [ { "code": "add-on", "valueBoolean": true } ] } ] }"#,
    )
    .unwrap()
}

fn issues(resource: &Value) -> Vec<Issue> {
    validate(resource, &Context { profiles: &Profiles::default(), codes: &list() })
}

/// `expression code` of each finding.
#[track_caller]
fn finds(resource: &Value, expected: &[&str]) {
    let found: Vec<String> =
        issues(resource).iter().map(|i| format!("{} {} {}", i.severity.code(), i.code.code(), i.expression)).collect();
    assert_eq!(found, expected);
}

fn task() -> Value {
    json!({ "resourceType": "Task", "id": "t1", "status": "requested", "intent": "order", "for": { "reference": "Patient/p1" },
            "input": [ { "type": { "text": "version" }, "valuePositiveInt": 1 } ] })
}

fn with(mut value: Value, name: &str, inner: Value) -> Value {
    value[name] = inner;
    value
}

#[test]
fn a_sound_resource_has_no_findings() {
    finds(&task(), &[]);
    finds(
        &json!({ "resourceType": "Patient", "name": [ { "given": ["Anna", null], "_given": [null, { "extension": [ { "url": "http://x", "valueCode": "a" } ] } ] } ],
                 "_birthDate": { "extension": [ { "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown" } ] } }),
        &[],
    );
}

#[test]
fn an_unknown_element_is_answered_with_the_nearest() {
    let issues = issues(&with(task(), "inputs", json!([])));
    assert_eq!(issues[0].expression, "Task.inputs");
    assert!(issues[0].sv.contains("menade du input?") && issues[0].en.contains("did you mean input?"));
    finds(&with(task(), "195009072553", json!(1)), &["error structure Task.(unknown name)"]);
}

#[test]
fn single_and_list_are_told_apart_and_required_elements_asked_for() {
    finds(
        &json!({ "resourceType": "Task", "intent": ["order"], "input": { "type": { "text": "a" }, "valueString": "b" } }),
        &["error structure Task.intent", "error structure Task.input", "error required Task.status"],
    );
    finds(&with(task(), "input", json!([{ "type": { "text": "a" } }])), &["error required Task.input[0].value"]);
    finds(&with(task(), "note", json!([])), &["error structure Task.note"]);
    finds(
        &with(task(), "note", json!([{}, null, "a"])),
        &["error structure Task.note[0]", "error structure Task.note[1]", "error structure Task.note[2]"],
    );
}

#[test]
fn a_choice_is_given_once() {
    finds(
        &with(
            task(),
            "input",
            json!([{ "type": { "text": "a" }, "valueString": "b", "valueCode": "c", "valueUri": "d" }]),
        ),
        &["error structure Task.input[0].value"],
    );
    finds(
        &with(task(), "input", json!([{ "type": { "text": "a" }, "valueString": "b", "_valueString": { "id": "c" } }])),
        &[],
    );
    finds(
        &with(task(), "input", json!([{ "type": { "text": "a" }, "valueMeter": 1 }])),
        &["error structure Task.input[0].valueMeter", "error required Task.input[0].value"],
    );
}

#[test]
fn formats_and_required_codes_are_checked_where_they_stand() {
    let mut task = task();
    task["authoredOn"] = json!("2026-02-30");
    task["status"] = json!("inprogress");
    task["id"] = json!("å");
    let issues = issues(&task);
    assert_eq!(issues.len(), 3);
    assert!(issues.iter().any(|i| i.expression == "Task.status" && i.en.contains("did you mean in-progress?")));
    finds(
        &json!({ "resourceType": "Condition", "subject": { "reference": "Patient/p" }, "clinicalStatus": { "text": "aktiv" } }),
        &["error code-invalid Condition.clinicalStatus"],
    );
}

#[test]
fn companions_of_lists_hold_their_places() {
    finds(
        &json!({ "resourceType": "Patient", "name": [ { "given": ["A", null], "_given": [ { "id": "a" } ] } ] }),
        &["error structure Patient.name[0].given[1]", "error structure Patient.name[0].given"],
    );
    finds(
        &json!({ "resourceType": "Patient", "_name": [ { "id": "a" } ], "_gender": [ null ] }),
        &["error structure Patient._name", "error structure Patient.gender"],
    );
}

#[test]
fn references_lead_where_they_may() {
    finds(&with(task(), "for", json!({ "reference": "Patient" })), &["error value Task.for.reference"]);
    finds(&with(task(), "for", json!({ "reference": "Pateint/1" })), &["error value Task.for.reference"]);
    finds(
        &with(task(), "owner", json!({ "reference": "Patient/1", "type": "Practitioner" })),
        &["error value Task.owner.type"],
    );
    finds(
        &with(task(), "owner", json!({ "reference": "https://example.org/fhir/Condition/1/_history/2" })),
        &["error value Task.owner.reference"],
    );
    finds(&with(task(), "owner", json!({ "reference": "https://example.org/somewhere" })), &[]);
    finds(&with(task(), "owner", json!({ "reference": "#x" })), &["error not-found Task.owner.reference"]);
    finds(
        &with(task(), "owner", json!({ "reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0" })),
        &["error not-found Task.owner.reference"],
    );
    finds(
        &with(
            task(),
            "owner",
            json!({ "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000131-E1" } }),
        ),
        &[],
    );
}

#[test]
fn contained_resources_are_whole_named_and_pointed_at() {
    let mut task = with(task(), "owner", json!({ "reference": "#o" }));
    task["contained"] = json!([{ "resourceType": "Organization", "id": "o", "name": "a" }]);
    finds(&task, &[]);
    task["contained"] = json!([
        { "resourceType": "Organization", "id": "o", "meta": { "versionId": "1" }, "contained": [ { "resourceType": "Patient", "id": "p" } ], "name": "a" },
        { "resourceType": "Organization", "id": "unused", "name": "a" } ]);
    let found: Vec<String> = issues(&task).into_iter().map(|i| i.expression).collect();
    assert!(found.contains(&"Task.contained[0].contained[0]".to_owned()), "dom-2 {found:?}");
    assert!(found.contains(&"Task.contained[0].meta".to_owned()), "dom-4");
    assert!(found.contains(&"Task.contained[1]".to_owned()), "dom-3");
    assert_eq!(found.iter().filter(|f| *f == "Task.contained[1]").count(), 1);
}

#[test]
fn a_bundle_is_walked_and_its_references_followed() {
    let urn = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0";
    let request = json!({ "method": "POST", "url": "x" });
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "fullUrl": urn, "resource": { "resourceType": "Patient", "birthDate": "x" }, "request": request },
        { "resource": with(with(task(), "for", json!({ "reference": urn })), "owner", json!({ "reference": urn })), "request": request },
        { "resource": { "resourceType": "Medication" }, "request": request },
        { "resource": { "resourceType": "Taks" }, "request": request } ] });
    finds(
        &bundle,
        &[
            "error value Bundle.entry[0].resource.birthDate",
            "warning not-supported Bundle.entry[2].resource",
            "error value Bundle.entry[3].resource.resourceType",
        ],
    );
}

#[test]
fn swedish_identifiers_are_what_they_claim() {
    let patient = |system: &str, value: &str| json!({ "resourceType": "Patient", "identifier": [ { "system": system, "value": value } ] });
    let personnummer = "http://electronichealth.se/identifier/personnummer";
    finds(&patient(personnummer, "195009072553"), &[]);
    for wrong in ["195009072554", "19500907-2553", "196109732393", "195002302553"] {
        finds(&patient(personnummer, wrong), &["error value Patient.identifier[0].value"]);
        let issue = issues(&patient(personnummer, wrong)).remove(0);
        assert!(!issue.line().contains(wrong.get(8..).unwrap()), "{}", issue.line());
    }
    finds(&patient("http://electronichealth.se/identifier/nationelltReservnummer", "98240301AA06"), &[]);
    finds(
        &patient("http://electronichealth.se/identifier/nationelltReservnummer", "20210325K069"),
        &["warning value Patient.identifier[0].value"],
    );
    finds(&patient("urn:oid:1.2.752.29.4.19", "SE232100-1"), &["error value Patient.identifier[0].value"]);
    finds(&patient("urn:oid:2.5.4.97", "232100-0131"), &["error value Patient.identifier[0].value"]);
}

fn procedure(codes: &[&str], day: &str) -> Value {
    let codings: Vec<Value> =
        codes.iter().map(|c| json!({ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": c })).collect();
    json!({ "resourceType": "Procedure", "status": "completed", "subject": { "reference": "Patient/p" },
            "performedDateTime": day, "code": { "coding": codings } })
}

#[test]
fn kva_codes_are_checked_by_list_and_by_the_day_of_the_act() {
    finds(&procedure(&["DV143"], "2026-01-01"), &[]);
    finds(&procedure(&["DV143"], "2031-01-01"), &["error code-invalid Procedure.code.coding[0].code"]);
    for over in ["2031", "2031-01", "2030-12-31T23:30:00Z"] {
        finds(&procedure(&["DV143"], over), &["error code-invalid Procedure.code.coding[0].code"]);
    }
    for still in ["2030", "2030-12", "2031-01-01T00:30:00+03:00"] {
        finds(&procedure(&["DV143"], still), &[]);
    }
    finds(&procedure(&["DV14"], "2026-01-01"), &["error code-invalid Procedure.code.coding[0].code"]);
    let issue = issues(&procedure(&["DV134"], "2026-01-01")).remove(0);
    assert!(issue.en.contains("Did you mean DV143"), "{}", issue.line());
    let request = json!({ "resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": { "reference": "Patient/p" },
        "code": { "text": "a" }, "orderDetail": [ { "coding": [ { "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "AB123" } ] } ] });
    finds(&request, &["warning code-invalid ServiceRequest.orderDetail[0].coding[0].code"]);
}

#[test]
fn zv051_never_stands_alone() {
    finds(&procedure(&["ZV051"], "2026-01-01"), &["error business-rule Procedure.code.coding[0]"]);
    finds(&procedure(&["DV143", "ZV051"], "2026-01-01"), &["error business-rule Procedure.code.coding[1]"]);
    finds(&with(procedure(&["ZV051"], "2026-01-01"), "partOf", json!([{ "reference": "Procedure/1" }])), &[]);
    let own = json!({ "system": "https://example.org/acts", "value": "1" });
    let part = |part: &Value| {
        let act = with(procedure(&["ZV051"], "2026-01-01"), "id", json!("z1"));
        with(with(act, "identifier", json!([own])), "partOf", json!([part]))
    };
    let other = json!({ "system": "https://example.org/acts", "value": "2" });
    for leads in [
        json!({ "reference": "Procedure/1" }),
        json!({ "reference": "https://example.org/fhir/Procedure/1" }),
        json!({ "identifier": other }),
    ] {
        finds(&part(&leads), &[]);
    }
    for nowhere in [
        json!({ "display": "x" }),
        json!({ "type": "Procedure" }),
        json!({ "reference": "Procedure/z1" }),
        json!({ "reference": "Procedure/z1/_history/2" }),
        json!({ "reference": "https://example.org/fhir/Procedure/z1" }),
        json!({ "reference": "#" }),
        json!({ "identifier": own }),
        json!({ "identifier": { "system": "https://example.org/acts" } }),
    ] {
        let found = issues(&part(&nowhere));
        assert!(found.iter().any(|i| i.code == Code::BusinessRule), "{nowhere}: {found:?}");
    }
    let plan = |codes: &[&str]| {
        let list: Vec<Value> = codes.iter().map(|c| json!({ "detail": { "status": "scheduled", "code": { "coding": [ { "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": c } ] } } })).collect();
        json!({ "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": "Patient/p" }, "activity": list })
    };
    finds(&plan(&["ZV051"]), &["error business-rule CarePlan.activity[0].detail.code.coding[0]"]);
    finds(&plan(&["DV143", "ZV051"]), &[]);
}

#[test]
fn icd_codes_have_their_form() {
    let condition = |code: &str| json!({ "resourceType": "Condition", "subject": { "reference": "Patient/p" }, "code": { "coding": [ { "system": "urn:oid:1.2.752.116.1.1.1.1.3", "code": code } ] } });
    finds(&condition("C50.9"), &[]);
    finds(&condition("c50.9"), &["error code-invalid Condition.code.coding[0].code"]);
}

#[test]
fn narratives_extensions_and_invariants_are_checked_in_place() {
    finds(
        &with(task(), "text", json!({ "status": "generated", "div": "<div>a</div>" })),
        &["error invariant Task.text.div"],
    );
    finds(
        &with(
            task(),
            "extension",
            json!([{ "url": "http://x" }, { "url": "http://x", "valueString": "a", "extension": [ { "url": "b", "valueString": "c" } ] }]),
        ),
        &["error invariant Task.extension[0]", "error invariant Task.extension[1]"],
    );
    finds(
        &with(task(), "executionPeriod", json!({ "start": "2026-01-02", "end": "2026-01-01" })),
        &["error invariant Task.executionPeriod"],
    );
}

#[test]
fn no_document_makes_it_panic_or_go_on_for_ever() {
    for value in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "resourceType": 1 }),
        json!({ "resourceType": "Task", "input": [[]] }),
    ] {
        assert!(!issues(&value).is_empty());
    }
    let many: Vec<Value> = (0..2000).map(|_| json!({})).collect();
    assert_eq!(issues(&with(task(), "note", json!(many))).len(), MOST_FINDINGS + 1);
}

#[test]
#[ignore = "reads the folder of R4 resources that R4_EXAMPLES names"]
fn the_published_examples_pass() {
    let folder = std::env::var("R4_EXAMPLES").expect("R4_EXAMPLES names a folder of JSON resources");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
    {
        let text = std::fs::read_to_string(entry.path()).expect("a file");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let name = entry.file_name().to_string_lossy().into_owned();
        let errors = issues(&value).into_iter().filter(|i| i.is_error() && i.code != Code::NotSupported);
        wrong.extend(errors.map(|i| format!("{name}: {} {}", i.severity.code(), i.line())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
