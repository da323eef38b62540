//! Groups of patients by criteria: who is in them, whose they are, and what happens to those who come and go.

use serde_json::{Value, json};
use vardkedja::store::Put;

use super::{Bulk, OTHER, UNIT, patient, procedure, resource};

const COHORT: &str = "[[cohort]]\nid = \"cancer\"\nname = \"Cancer\"\nclients = [\"operator\"]\n\
    diagnoses = [\"C00-C97\", \"D37-D48\"]\nplans = [\"RP\"]\nunits = [\"SE2321000131-E000000000101\"]\n\
    from = \"2026-01-01\"\nto = \"2026-12-31\"\n\
    [[cohort]]\nid = \"theirs\"\nname = \"T\"\nclients = [\"somebody\"]\ndiagnoses = [\"C00-C97\"]\n\
    [[cohort]]\nid = \"empty\"\nname = \"E\"\nclients = [\"operator\"]\ndiagnoses = [\"E10\"]\n";

fn condition(id: &str, version: u32, patient: &str, code: &str) -> Put {
    let body = json!({
        "resourceType": "Condition", "id": id, "subject": { "reference": format!("Patient/{patient}") },
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.1.1.1.3", "code": code }] },
    });
    resource(body, version, patient, &[UNIT])
}

fn plan(id: &str, version: u32, patient: &str, status: &str, start: &str, units: &[&str]) -> Put {
    let body = json!({
        "resourceType": "CarePlan", "id": id, "status": status, "subject": { "reference": format!("Patient/{patient}") },
        "category": [{ "coding": [{ "system": "https://fhir.inera.se/CodeSystem/typeofcareplan-cs", "code": "RP" }] }],
        "activity": [{ "detail": { "scheduledPeriod": { "start": start, "end": start } } }],
    });
    resource(body, version, patient, units)
}

/// A member, and others who each lack one thing.
async fn people(bulk: &Bulk) {
    for (id, code, start, units) in [
        ("in", "C50.9", "2026-02-01", &[UNIT][..]),
        ("in2", "D37", "2026-12-31", &[UNIT]),
        ("benign", "D36", "2026-02-01", &[UNIT]),
        ("early", "C50.9", "2025-12-31", &[UNIT]),
        ("elsewhere", "C50.9", "2026-02-01", &[OTHER]),
    ] {
        bulk.put([patient(id), condition(&format!("d-{id}"), 1, id, code)]).await;
        bulk.put([
            plan(&format!("p-{id}"), 1, id, "active", start, units),
            procedure(&format!("c-{id}"), 1, id, "completed"),
        ])
        .await;
    }
    bulk.put([patient("planless"), condition("d-planless", 1, "planless", "C61")]).await;
}

#[actix_web::test]
async fn a_group_shows_its_criteria_and_its_number_to_those_whose_it_is() {
    let bulk = Bulk::open(COHORT).await;
    people(&bulk).await;
    let all = bulk.get("/fhir/Group").await.json();
    assert_eq!((all["type"].as_str(), &all["total"]), (Some("searchset"), &json!(2)));
    let group = bulk.get("/fhir/Group/cancer").await.json();
    assert_eq!((&group["quantity"], &group["type"]), (&json!(2), &json!("person")));
    assert!(group.get("member").is_none());
    let said = group["characteristic"].to_string();
    for part in ["C00–C97, D37–D48", "RP", UNIT, "2026-12-31"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(bulk.get("/fhir/Group/empty").await.json()["quantity"], 0);
    for path in ["/fhir/Group/theirs", "/fhir/Group/none"] {
        assert_eq!(bulk.get(path).await.status, 404, "{path}");
        let export = bulk.ask("GET", &format!("{path}/$export"), &[("Prefer", "respond-async")], None).await;
        assert_eq!(export.status, 404, "{path}");
    }
    let foreign = bulk.ask("GET", "/fhir/Group/cancer", &[("Vardkedja-Unit", UNIT)], None).await;
    assert_eq!(foreign.status, 404);
    bulk.close().await;
}

#[actix_web::test]
async fn a_group_is_exported_with_its_members_alone_and_an_empty_one_is_nothing() {
    let bulk = Bulk::open(COHORT).await;
    people(&bulk).await;
    let organisation = json!({ "resourceType": "Organization", "id": "o" });
    bulk.put([resource(organisation, 1, "in", &[])]).await;
    let got = bulk.export("/fhir/Group/cancer/$export", None).await;
    let of = |id: &str| ["CarePlan/p", "Condition/d", "Procedure/c"].map(|name| format!("{name}-{id}"));
    let mut expected: Vec<String> = of("in").into_iter().chain(of("in2")).collect();
    expected.extend(["Patient/in".to_owned(), "Patient/in2".to_owned()]);
    expected.sort();
    assert_eq!(got.names(), expected);
    assert_eq!(bulk.export("/fhir/Group/cancer/$export?_type=Organization", None).await.names(), ["Organization/o"]);
    for path in ["/fhir/Group/empty/$export", "/fhir/Group/empty/$export?_type=Organization,Patient"] {
        let nothing = bulk.export(path, None).await;
        assert_eq!((nothing.names().len(), &nothing.manifest["output"]), (0, &json!([])), "{path}");
    }
    let body = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "patient", "valueReference": { "reference": "Patient/in" } },
        { "name": "patient", "valueReference": { "reference": "Patient/benign" } },
        { "name": "_type", "valueString": "Patient" },
    ] });
    let reply = bulk.ask("POST", "/fhir/Group/cancer/$export", &[("Prefer", "respond-async")], Some(&body)).await;
    let manifest = bulk.wait(reply.header("content-location"), None).await;
    assert_eq!(
        bulk.fetch(manifest, None).await.names(),
        ["Patient/in"],
        "who is not in the group is not let in by name"
    );
    bulk.close().await;
}

#[actix_web::test]
async fn who_comes_to_a_group_comes_in_full_and_who_leaves_it_is_to_be_erased() {
    let bulk = Bulk::open(COHORT).await;
    people(&bulk).await;
    let path = "/fhir/Group/cancer/$export";
    let first = bulk.export(path, None).await;
    let job = first.manifest["output"][0]["url"].as_str().unwrap().rsplit('/').nth(1).unwrap().to_owned();
    bulk.ask("DELETE", &format!("/bulk/jobs/{job}"), &[], None).await;

    bulk.put([condition("d-benign", 2, "benign", "C18.9")]).await;
    bulk.put([plan("p-in", 2, "in", "entered-in-error", "2026-02-01", &[UNIT])]).await;
    bulk.put([procedure("c-in2", 2, "in2", "completed")]).await;
    let second = bulk.export(&format!("{path}?_since={}", first.since()), None).await;
    let names = second.names();
    assert!(names.contains(&"Patient/benign".to_owned()), "old, but new here: {names:?}");
    assert!(names.contains(&"Procedure/c-benign".to_owned()) && names.contains(&"Procedure/c-in2".to_owned()));
    assert_eq!(names.len(), 5, "{names:?}");
    let mut deleted = second.deleted.clone();
    deleted.sort();
    assert_eq!(deleted, ["CarePlan/p-in", "Condition/d-in", "Patient/in", "Procedure/c-in"]);
    let third = bulk.export(&format!("{path}?_since={}", second.since()), None).await;
    assert_eq!((third.names().len(), third.deleted.len()), (0, 0));

    let unknown = bulk.export(&format!("{path}?_since=2026-01-01T00:00:00Z"), None).await;
    assert_eq!(unknown.names().len(), 8, "without an earlier list everyone is new");
    let told: Value = unknown.manifest["error"].clone();
    assert_eq!(told[0]["count"], 1, "and it is said that nobody knows who has left");
    bulk.close().await;
}
