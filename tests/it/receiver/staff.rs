//! The people at the unit: what they see, what they do, and what that leaves behind in FHIR.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};
use vardkedja::demo::receiver::Options;

use super::{Clinic, physiotherapist, referral, task};

/// A clinic with one referral, and the path of its Task in the worklist.
async fn with_a_referral() -> (Clinic, String) {
    let clinic = Clinic::open();
    clinic.post("/fhir", referral("Bäckenbotten?")).await;
    let path = format!("/worklist/{}", clinic.only("Task").await["id"].as_str().unwrap());
    (clinic, path)
}

#[tokio::test]
async fn the_worklist_says_in_plain_words_what_is_asked() {
    let names = BTreeMap::from([("SE2321000131-E000000000101".to_owned(), "Onkologen".to_owned())]);
    let clinic = Clinic::open_with(Options { staff: Some(physiotherapist()), unit_names: names, ..Options::default() });
    let mut bundle = referral("Bäckenbotten?");
    bundle["entry"][0]["resource"]["requester"] = json!({ "identifier": { "value": "SE2321000131-E000000000101" } });
    clinic.post("/fhir", bundle).await;
    let list = clinic.get("/worklist").await.body;
    assert_eq!(list.as_array().unwrap().len(), 1);
    let line = &list[0];
    for (field, expected) in [
        ("id", clinic.only("Task").await["id"].as_str().unwrap()),
        ("identifier", "task-1"),
        ("status", "requested"),
        ("patient", "Test Person"),
        ("asked", "Remiss. Bäckenbotten?"),
        ("from", "Onkologen"),
        ("to", "Rehabenheten"),
    ] {
        assert_eq!(line[field], json!(expected), "{field}");
    }
}

#[tokio::test]
async fn completing_writes_answer_measures_and_contact_with_the_task() {
    let (clinic, path) = with_a_referral().await;
    for (step, status) in [
        ("receive", "received"),
        ("accept", "accepted"),
        ("start", "in-progress"),
        ("hold", "on-hold"),
        ("start", "in-progress"),
    ] {
        let reply = clinic.post(&format!("{path}/{step}"), json!({ "businessStatus": step })).await;
        assert_eq!(reply.body["task"]["status"], json!(status), "{step}: {}", reply.body);
        assert_eq!(reply.body["task"]["businessStatus"]["text"], json!(step));
    }
    let contact = json!({ "at": "2026-03-09T09:30:00+01:00", "with": "patient", "medium": "telefon" });
    let done = json!({ "text": "Har fått träning.", "kva": ["DV133", "ZV051"], "contact": contact });
    let reply = clinic.post(&format!("{path}/complete"), done).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    let task = clinic.only("Task").await;
    assert_eq!(task, reply.body["task"]);
    assert_eq!(task["status"], json!("completed"));

    let mut outputs = Vec::new();
    for output in task["output"].as_array().unwrap() {
        let url = format!("/fhir/{}", output["valueReference"]["reference"].as_str().unwrap());
        let resource = clinic.get(&url).await.body;
        assert_eq!((&resource["subject"], &resource["status"]), (&task["for"], &json!("completed")));
        assert_eq!(resource["basedOn"], json!([task["focus"]]));
        outputs.push((output["type"]["text"].as_str().unwrap(), resource));
    }
    let roles: Vec<&str> = outputs.iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, ["answer", "activity", "activity", "patient-contact"]);
    assert_eq!(outputs[0].1["payload"][0]["contentString"], json!("Har fått träning."));
    let code = |r: &Value| (r["code"]["coding"][0]["system"].clone(), r["code"]["coding"][0]["code"].clone());
    let kva = json!("urn:oid:1.2.752.116.1.3.2.1.4");
    assert_eq!(code(&outputs[1].1), (kva.clone(), json!("DV133")));
    assert_eq!(code(&outputs[2].1), (kva, json!("ZV051")));
    let main = format!("Procedure/{}", outputs[1].1["id"].as_str().unwrap());
    assert_eq!(outputs[2].1["partOf"], json!([{ "reference": main }]), "an add-on belongs to its measure");
    assert_eq!(outputs[3].1["category"][0]["text"], json!("patient-contact"));
    assert_eq!(outputs[3].1["sent"], json!("2026-03-09T09:30:00+01:00"));
    assert_eq!(clinic.get("/worklist").await.body, json!([]));

    // What the staff wrote is as sound as what comes from outside: the server takes it back unchanged.
    for (_, resource) in [("", task.clone())].into_iter().chain(outputs) {
        let (kind, id) = (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let reply = clinic.ask("PUT", &format!("/fhir/{kind}/{id}"), &[], Some(&resource)).await;
        assert_eq!((reply.status, &reply.body), (StatusCode::OK, &resource));
    }
}

#[tokio::test]
async fn a_refused_step_leaves_the_task_as_it_was() {
    let (clinic, path) = with_a_referral().await;
    for (step, body, status) in [
        ("complete", json!({ "text": "x" }), StatusCode::CONFLICT),
        ("reject", json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        ("reject", json!({ "text": " " }), StatusCode::UNPROCESSABLE_ENTITY),
        ("accept", json!({ "kva": ["DV133"] }), StatusCode::UNPROCESSABLE_ENTITY),
        ("accept", json!({ "txt": "x" }), StatusCode::BAD_REQUEST),
        ("forget", json!({}), StatusCode::NOT_FOUND),
    ] {
        let reply = clinic.post(&format!("{path}/{step}"), body).await;
        assert_eq!(reply.status, status, "{step}: {}", reply.body);
    }
    assert_eq!(clinic.only("Task").await["meta"]["versionId"], json!("1"));
    clinic.post(&format!("{path}/accept"), json!({})).await;
    for body in [json!({}), json!({ "kva": ["DV133"] }), json!({ "text": "x", "kva": ["ZV051"] })] {
        let reply = clinic.post(&format!("{path}/complete"), body).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", reply.body);
    }
    assert_eq!(clinic.count("Procedure").await, 0);
    let nobody = clinic.create(task("without a patient")).await;
    clinic.post(&format!("/worklist/{nobody}/accept"), json!({})).await;
    let reply = clinic.post(&format!("/worklist/{nobody}/complete"), json!({ "text": "x" })).await;
    assert_eq!(reply.body["issue"][0]["expression"][0], json!("Task.for"));
}

#[tokio::test]
async fn a_rejection_carries_its_reason() {
    let (clinic, path) = with_a_referral().await;
    let reply = clinic.post(&format!("{path}/reject"), json!({ "text": "Fel vårdnivå" })).await;
    assert_eq!(reply.body["task"]["status"], json!("rejected"));
    assert_eq!(clinic.only("Task").await["statusReason"]["text"], json!("Fel vårdnivå"));
}
