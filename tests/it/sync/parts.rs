//! What is asked, area by area, and what was done: Tasks and Procedures that a partner keeps at its own server.

use serde_json::{Value, json};

use super::{create, document, only, until, write};
use crate::world::{NORTH, ONCOLOGY, World, referral};

const AREAS: &str = "https://vardkedja.example/fhir/CodeSystem/rehab-area";

fn about(areas: &[&str]) -> Value {
    let mut referral = referral(1);
    referral["areas"] = json!(areas);
    referral["scope"] = json!(if areas.len() > 1 { "part" } else { "whole" });
    referral
}

async fn asked(world: &World, areas: &[&str]) -> (String, Value) {
    let document = about(areas);
    let reply = world.post("/v1/referrals", ONCOLOGY, &document).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let exchange = reply.location.unwrap();
    world.until(&exchange, "delivered").await;
    let task = until("the Task is there", async || world.at_clinic("Task").await.into_iter().next()).await;
    (exchange, task)
}

fn part(whole: &Value, area: &str, status: &str, reason: Option<&str>) -> Value {
    let mut part = json!({
        "resourceType": "Task", "status": status, "intent": "order",
        "partOf": [{ "reference": format!("Task/{}", whole["id"].as_str().unwrap()) }],
        "for": whole["for"], "focus": whole["focus"],
        "reasonCode": { "coding": [{ "system": AREAS, "code": area }] },
    });
    if let Some(reason) = reason {
        part["statusReason"] = json!({ "text": reason });
    }
    part
}

async fn areas(world: &World, exchange: &str) -> Vec<String> {
    let shown = document(world, exchange).await;
    let mut told: Vec<String> = shown["state"]["areas"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|a| format!("{} {}", a["area"].as_str().unwrap(), a["status"].as_str().unwrap()))
        .collect();
    told.sort();
    told
}

#[actix_web::test]
async fn tasks_that_the_clinic_made_for_areas_are_what_the_sender_reads_of_them() {
    let world = World::open().await;
    let (exchange, whole) = asked(&world, &["physical-activity", "nutrition"]).await;
    let taken = create(&world, &part(&whole, "physical-activity", "accepted", None)).await;
    create(&world, &part(&whole, "nutrition", "rejected", Some("Vi har ingen dietist."))).await;
    let mut whole = only_whole(&world).await;
    whole["status"] = json!("accepted");
    write(&world, &whole).await;
    until("both areas", async || {
        (areas(&world, &exchange).await == ["nutrition rejected", "physical-activity accepted"]).then_some(())
    })
    .await;
    assert_eq!(world.at_clinic("Task").await.len(), 3, "what it made itself is not sent to it");
    // Only a part moves: the whole is as it was.
    let mut taken = read(&world, &taken).await;
    taken["status"] = json!("in-progress");
    write(&world, &taken).await;
    until("the area goes on", async || {
        (areas(&world, &exchange).await == ["nutrition rejected", "physical-activity in-progress"]).then_some(())
    })
    .await;
    world.close().await;
}

async fn only_whole(world: &World) -> Value {
    let all = world.at_clinic("Task").await;
    all.into_iter().find(|task| task.get("partOf").is_none()).unwrap()
}

async fn read(world: &World, of: &Value) -> Value {
    let url = format!("{}/fhir/Task/{}", world.clinic, of["id"].as_str().unwrap());
    world.ask("GET", &url, &[], None).await.json()
}

#[actix_web::test]
async fn areas_that_are_answered_here_are_tasks_at_the_units_own_server_and_moved_there() {
    let world = World::open().await;
    let (exchange, _) = asked(&world, &["physical-activity", "nutrition"]).await;
    let answer = json!({ "status": "accepted", "areas": [
        { "area": "physical-activity", "status": "accepted" },
        { "area": "nutrition", "status": "rejected", "reason": "Vi har ingen dietist." },
    ] });
    let reply = world.post(&format!("{exchange}/answers"), NORTH, &answer).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    until("three Tasks", async || (world.at_clinic("Task").await.len() == 3).then_some(())).await;
    let find = async |area: &str| {
        let all = world.at_clinic("Task").await;
        all.into_iter().find(|task| task["reasonCode"]["coding"][0]["code"] == *area).unwrap()
    };
    let whole = only_whole(&world).await;
    let taken = find("physical-activity").await;
    assert_eq!(taken["partOf"][0]["reference"], format!("Task/{}", whole["id"].as_str().unwrap()));
    world.until(&exchange, "accepted").await;

    // Moved there, it comes here; moved here, it goes there.
    let mut moved = taken.clone();
    moved["status"] = json!("in-progress");
    write(&world, &moved).await;
    until("the area goes on", async || {
        areas(&world, &exchange).await.contains(&"physical-activity in-progress".to_owned()).then_some(())
    })
    .await;
    let done = json!({ "areas": [{ "area": "physical-activity", "status": "completed" }] });
    let reply = world.post(&format!("{exchange}/answers"), NORTH, &done).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    until("it is done there", async || (find("physical-activity").await["status"] == "completed").then_some(())).await;
    world.close().await;
}

#[actix_web::test]
async fn the_clinics_task_says_which_version_of_the_request_it_is_about() {
    let world = World::open().await;
    let (exchange, task) = asked(&world, &["physical-activity"]).await;
    let version = |task: &Value| {
        let inputs = task["input"].as_array().unwrap().clone();
        inputs.iter().find_map(|i| i["valuePositiveInt"].as_u64()).unwrap()
    };
    assert_eq!(version(&task), 1);
    let mut accepted = task.clone();
    accepted["status"] = json!("accepted");
    write(&world, &accepted).await;
    world.until(&exchange, "accepted").await;
    let mut revised = about(&["physical-activity"]);
    revised["version"] = json!(2);
    revised["reasonForVersion"] = json!("VR");
    revised["question"] = json!("Ny fråga.");
    let reply = world.post("/v1/referrals", ONCOLOGY, &revised).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    until("the version", async || (version(&only(&world, "Task").await) == 2).then_some(())).await;
    let there = only(&world, "Task").await;
    assert_eq!(there["status"], "accepted", "how it stands is the owner's");
    assert_eq!(there["reasonCode"]["coding"][0]["code"], "VR");
    assert_eq!(only(&world, "ServiceRequest").await["reasonCode"][0]["text"], "Ny fråga.");
    world.close().await;
}

#[actix_web::test]
async fn what_was_done_for_a_request_is_read_where_it_was_written_and_once() {
    let world = World::open().await;
    let (exchange, task) = asked(&world, &["physical-activity"]).await;
    let mut accepted = task.clone();
    accepted["status"] = json!("accepted");
    write(&world, &accepted).await;
    let done = json!({
        "resourceType": "Procedure", "status": "completed", "subject": task["for"], "basedOn": [task["focus"]],
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "performedDateTime": "2026-03-18T13:00:00+01:00",
    });
    let there = create(&world, &done).await;
    let found = until("the Procedure", async || {
        let found = world.get("/fhir/Procedure", ONCOLOGY).await.json();
        found["entry"][0]["resource"].as_object().map(|_| found["entry"].clone())
    })
    .await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    let mine = &found[0]["resource"];
    assert!(mine["basedOn"][0]["reference"].as_str().unwrap().starts_with("ServiceRequest/"), "{mine:#}");
    assert_eq!(mine["code"]["coding"][0]["code"], "DV133");

    // Named in the answer too it is the same.
    let answer = json!({
        "resourceType": "Communication", "status": "completed", "subject": task["for"], "basedOn": [task["focus"]],
        "payload": [{ "contentString": "Klart." }],
    });
    let answer = create(&world, &answer).await;
    let mut completed = read(&world, &task).await;
    completed["status"] = json!("completed");
    completed["output"] = json!([
        { "type": { "text": "activity" }, "valueReference": { "reference": format!("Procedure/{}", there["id"].as_str().unwrap()) } },
        { "type": { "text": "answer" }, "valueReference": { "reference": format!("Communication/{}", answer["id"].as_str().unwrap()) } },
    ]);
    write(&world, &completed).await;
    world.until(&exchange, "completed").await;
    let found = world.get("/fhir/Procedure", ONCOLOGY).await.json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 1, "{found:#}");
    world.close().await;
}
