//! No way of asking tells anything of what the caller may not see.

use serde_json::{Value, json};

use super::{Library, names};
use crate::world::{NORTH, SOUTH};

/// A Task that SOUTH may see, about a patient, a referral and a procedure of which it may see nothing.
fn resources() -> Vec<(Value, &'static [&'static str])> {
    let hidden: &[&str] = &[NORTH];
    let shared: &[&str] = &[NORTH, SOUTH];
    vec![
        (
            json!({ "resourceType": "Patient", "id": "p", "gender": "female", "name": [{ "family": "Testsson" }],
                "identifier": [{ "system": "http://electronichealth.se/identifier/personnummer", "value": "195009072553" }] }),
            hidden,
        ),
        (
            json!({ "resourceType": "ServiceRequest", "id": "s", "status": "active", "subject": { "reference": "Patient/p" } }),
            hidden,
        ),
        (
            json!({ "resourceType": "Task", "id": "t", "status": "requested", "for": { "reference": "Patient/p" },
                "focus": { "reference": "ServiceRequest/s" }, "owner": { "reference": "Organization/o" } }),
            shared,
        ),
        (
            json!({ "resourceType": "Procedure", "id": "r", "status": "completed", "subject": { "reference": "Patient/q" },
                "code": { "coding": [{ "code": "DV143" }] } }),
            hidden,
        ),
        (json!({ "resourceType": "Patient", "id": "q", "gender": "male" }), shared),
        (json!({ "resourceType": "Organization", "id": "o", "name": "Vårdcentralen Norr" }), &[]),
    ]
}

#[tokio::test]
async fn a_chain_an_include_a_total_and_a_missing_value_tell_nothing_of_what_is_hidden() {
    let library = Library::open(&resources(), "").await;
    let pnr = "http://electronichealth.se/identifier/personnummer|195009072553";
    // Each finds something for the one who may see it all, and nothing for the other.
    for (path, form) in [
        ("Task", "patient.gender=female".to_owned()),
        ("Task", format!("patient.identifier={pnr}")),
        ("Task", "patient.family=test".to_owned()),
        ("Task", "patient.name:missing=false".to_owned()),
        ("Task", "patient.birthdate:missing=true".to_owned()),
        ("Task", "patient._id=p".to_owned()),
        ("Task", "patient._lastUpdated=ge2000".to_owned()),
        ("Task", "focus:ServiceRequest.status=active".to_owned()),
        ("Task", "focus:ServiceRequest.patient.gender=female".to_owned()),
        ("Task", "focus:ServiceRequest.patient.gender:not=male".to_owned()),
        ("Patient", "_has:Procedure:patient:code=DV143".to_owned()),
        ("Patient", "_has:Procedure:patient:code:not=DV999".to_owned()),
        ("Patient", "_has:Procedure:patient:date:missing=true".to_owned()),
    ] {
        for (unit, finds) in [(NORTH, 1), (SOUTH, 0)] {
            let reply = library.post(&format!("{path}/_search"), unit, &format!("{form}&_total=accurate")).await;
            assert_eq!(names(&reply, "match").len(), finds, "{unit}: {path}?{form}");
            assert_eq!(reply.json()["total"], finds, "{unit}: {path}?{form}");
        }
    }
    for (path, all) in [
        ("Task?_include=Task:patient&_include=Task:focus", 2),
        ("Task?_include=Task:focus&_include:iterate=ServiceRequest:patient", 2),
        ("Patient?_id=q&_revinclude=Procedure:patient", 1),
    ] {
        assert_eq!(names(&library.get(path, NORTH).await, "include").len(), all, "{path}");
        assert_eq!(names(&library.get(path, SOUTH).await, "include"), [""; 0], "{path}");
    }
    // Who exists in care is no secret.
    let reply = library.get("Task?owner:Organization.name=v%C3%A5rd&_include=Task:owner", SOUTH).await;
    assert_eq!((names(&reply, "match").len(), names(&reply, "include")), (1, vec!["Organization/o".to_owned()]));
    let count = library.get("Patient?_summary=count", SOUTH).await.json();
    assert_eq!((count["total"].clone(), count["entry"].is_null()), (json!(1), true));
    library.close().await;
}

#[tokio::test]
async fn a_link_behind_a_resource_that_the_caller_may_not_see_is_refused() {
    let library = Library::open(&resources(), "").await;
    // The place of a hidden Patient, as the one who sees it is given it.
    let reply = library.get("Patient?_count=1&_sort=gender", NORTH).await;
    let next = super::link(&reply, "next").unwrap();
    assert_eq!(names(&reply, "match"), ["Patient/p"]);
    assert_eq!(library.get(&next, NORTH).await.status, 200);
    assert_eq!(library.get(&next, SOUTH).await.status, 400);
    library.close().await;
}

#[tokio::test]
async fn numbers_and_names_of_people_are_taken_in_a_body_only_and_stand_in_no_link() {
    let library = Library::open(&resources(), "").await;
    for query in [
        "Patient?identifier=195009072553",
        "Task?patient.identifier=195009072553",
        "Task?patient:identifier=urn:x|19500907-2553",
        "Patient?_has:Task:patient:identifier=195009072553",
        "Patient?family=Testsson",
        "Patient?name:exact=Testsson",
        "Patient?birthdate=1950-09-07",
        "Task?patient.family=Testsson",
        "Task?focus:ServiceRequest.patient.given=x",
    ] {
        let reply = library.get(query, NORTH).await;
        assert_eq!(reply.status, 400, "{query}");
        assert!(
            reply.text.contains("POST") && !reply.text.contains("2553") && !reply.text.contains("Testsson"),
            "{}",
            reply.text
        );
        let lenient = library.ask(query, NORTH, &[("Prefer", "handling=lenient")], None).await;
        assert_eq!(lenient.status, 400, "{query}");
        let (path, question) = query.split_once('?').unwrap();
        let reply = library.post(&format!("{path}/_search?{question}"), NORTH, "").await;
        assert_eq!(reply.status, 400, "in the address of a POST: {query}");
    }
    let reply = library.post("Patient/_search?_count=1", NORTH, "family=test&_sort=family&_total=accurate").await;
    assert_eq!(names(&reply, "match"), ["Patient/p"]);
    let own = super::link(&reply, "self").unwrap();
    assert!(own.contains("_sort=family") && !own.contains("test"), "{own}");
    library.close().await;
}
