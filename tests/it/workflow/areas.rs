//! A request that is taken in part: a Task for each area, in one commit, and the whole follows.

use serde_json::{Value, json};

use super::{about_three, answer, areas, document, standing, taken, three_areas};
use crate::world::{NORTH, ONCOLOGY, SOUTH, World};

fn in_part() -> Value {
    json!({ "status": "accepted", "by": super::PERSON, "areas": [
        { "area": "physical-activity", "status": "accepted" },
        { "area": "nutrition", "status": "rejected", "reason": "Vi har ingen dietist." },
        { "area": "fatigue", "status": "accepted" },
    ] })
}

#[actix_web::test]
async fn areas_that_are_taken_and_areas_that_are_not_come_back_to_the_sender_each_with_its_status() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    let told = taken(&world, &exchange, SOUTH, in_part()).await;
    assert_eq!((&told["status"], &told["version"]), (&json!("accepted"), &json!(2)));
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(line["businessStatus"], "partly-accepted");
    assert_eq!(areas(&line), ["fatigue accepted", "nutrition rejected", "physical-activity accepted"]);
    assert_eq!((&line["moved"]["by"], &line["moved"]["actor"]), (&json!(super::PERSON), &json!(SOUTH)));
    assert_eq!(line["moved"]["documentVersion"], 1);
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(shown["state"]["businessStatus"], "partly-accepted", "{shown:#}");
    let nutrition = shown["state"]["areas"].as_array().unwrap().iter().find(|a| a["area"] == "nutrition").unwrap();
    assert_eq!((&nutrition["status"], &nutrition["reason"]), (&json!("rejected"), &json!("Vi har ingen dietist.")));

    // The shape in FHIR: parts of the unit's Task, the area as the reason, each with its own status.
    let whole = told["task"].as_str().unwrap();
    let found = world.get(&format!("/fhir/Task?part-of={whole}&status=accepted"), ONCOLOGY).await.json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 2, "{found:#}");
    let part = &found["entry"][0]["resource"];
    assert_eq!(part["reasonCode"]["coding"][0]["system"], "https://vardkedja.example/fhir/CodeSystem/rehab-area");
    assert_eq!(part["partOf"], json!([{ "reference": whole }]));
    world.close().await;
}

#[actix_web::test]
async fn the_whole_ends_when_its_areas_have_ended() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    taken(&world, &exchange, SOUTH, in_part()).await;
    let early = answer(&world, &exchange, SOUTH, json!({ "status": "completed", "text": "Klart." })).await;
    assert_eq!(early.status, 409, "{}", early.text);
    assert!(early.findings().contains("fatigue, physical-activity"), "{}", early.findings());
    let one = json!({ "status": "in-progress", "areas": [{ "area": "fatigue", "status": "completed" }] });
    taken(&world, &exchange, SOUTH, one).await;
    let back = json!({ "areas": [{ "area": "fatigue", "status": "in-progress" }] });
    assert_eq!(answer(&world, &exchange, SOUTH, back).await.status, 409, "what is done is done");
    // The last area and the whole in one answer.
    let done = json!({
        "status": "completed", "text": "Tolv veckors träning är genomförd.",
        "activities": [{ "kva": "DV133", "at": "2026-03-18T13:00:00+01:00" }],
        "areas": [{ "area": "physical-activity", "status": "completed" }],
    });
    taken(&world, &exchange, SOUTH, done).await;
    world.until(&exchange, "completed").await;
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(shown["state"]["businessStatus"], "partly-fulfilled", "nutrition was not");
    assert_eq!(shown["state"]["answer"]["text"], "Tolv veckors träning är genomförd.");
    assert_eq!(shown["state"]["activities"][0]["kva"], "DV133");
    world.close().await;
}

#[actix_web::test]
async fn everything_that_is_wrong_with_an_answer_about_areas_is_told_at_once() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    let body = json!({ "status": "accepted", "areas": [
        { "area": "nutrition", "status": "rejected" },
        { "area": "nutrition", "status": "accepted" },
        { "area": "tobacco", "status": "accepted" },
        { "area": "fatigue", "status": "received" },
    ] });
    let reply = answer(&world, &exchange, SOUTH, body).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    let findings = reply.findings();
    for place in ["areas[0].reason", "areas[1].area", "areas[2].area", "areas[3].status", "physical-activity"] {
        assert!(findings.contains(place), "{place}: {findings}");
    }
    let none = json!({ "status": "accepted", "areas": [
        { "area": "nutrition", "status": "rejected", "reason": "x" },
        { "area": "physical-activity", "status": "rejected", "reason": "x" },
        { "area": "fatigue", "status": "rejected", "reason": "x" },
    ] });
    assert_eq!(answer(&world, &exchange, SOUTH, none).await.status, 409, "nothing is taken: reject the whole");
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "waiting", "nothing of it was applied");
    let tasks = world.get("/fhir/Task", ONCOLOGY).await.json();
    assert_eq!(tasks["entry"].as_array().unwrap().len(), 1);
    world.close().await;
}

#[actix_web::test]
async fn a_fhir_owner_says_of_areas_in_the_output_of_its_task_and_moves_each_part_afterwards() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    let task = world.task(&exchange, SOUTH).await;
    let path = format!("/fhir/Task/{task}");
    let mut wanted = world.get(&path, SOUTH).await.json();
    let say = |word: &str, area: &str, text: Value| {
        let mut concept = json!({ "coding": [{
            "system": "https://vardkedja.example/fhir/CodeSystem/rehab-area", "code": area,
        }] });
        if text.is_string() {
            concept["text"] = text;
        }
        json!({ "type": { "text": word }, "valueCodeableConcept": concept })
    };
    wanted["status"] = json!("accepted");
    wanted["output"] = json!([
        say("area-accepted", "physical-activity", Value::Null),
        say("area-accepted", "fatigue", Value::Null),
        say("area-rejected", "nutrition", json!("Ingen dietist.")),
    ]);
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\"")];
    let put = world.ask("PUT", &path, &headers, Some(wanted.to_string())).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(line["businessStatus"], "partly-accepted");
    assert_eq!(areas(&line), ["fatigue accepted", "nutrition rejected", "physical-activity accepted"]);

    // The owner moves a part as any Task of its own, and nobody else does.
    let part = line["areas"][0]["task"].as_str().unwrap();
    let patch = json!([{ "op": "replace", "path": "/status", "value": "in-progress" }]).to_string();
    let with =
        |unit| [("Vardkedja-Unit", unit), ("If-Match", "W/\"1\""), ("Content-Type", "application/json-patch+json")];
    let sender = world.ask("PATCH", &format!("/fhir/{part}"), &with(ONCOLOGY), Some(patch.clone())).await;
    assert_eq!(sender.status, 403, "{}", sender.text);
    let stranger = world.ask("PATCH", &format!("/fhir/{part}"), &with(NORTH), Some(patch.clone())).await;
    assert_eq!(stranger.status, 404, "{}", stranger.text);
    let owner = world.ask("PATCH", &format!("/fhir/{part}"), &with(SOUTH), Some(patch)).await;
    assert_eq!(owner.status, 200, "{}", owner.text);
    assert_eq!(areas(&standing(&world, &exchange, SOUTH).await)[0], "fatigue in-progress");
    // What was said before is not said again when the Task is sent as it was read.
    let mut again = world.get(&path, SOUTH).await.json();
    again["status"] = json!("in-progress");
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"2\"")];
    let put = world.ask("PUT", &path, &headers, Some(again.to_string())).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(areas(&standing(&world, &exchange, SOUTH).await)[0], "fatigue in-progress");
    world.close().await;
}

#[actix_web::test]
async fn a_unit_with_a_server_of_its_own_answers_areas_there() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, NORTH).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let mut theirs = world.people().task(&task).await.unwrap();
    let area = |word: &str, area: &str| {
        json!({ "type": { "text": word }, "valueCodeableConcept": {
        "coding": [{ "system": "https://vardkedja.example/fhir/CodeSystem/rehab-area", "code": area }], "text": "Skäl.",
    } })
    };
    theirs["status"] = json!("accepted");
    theirs["output"] = json!([
        area("area-accepted", "fatigue"),
        area("area-rejected", "nutrition"),
        area("area-rejected", "physical-activity"),
    ]);
    let url = format!("{}/fhir/Task/{}", world.clinic, theirs["id"].as_str().unwrap());
    let headers = [("Content-Type", "application/fhir+json")];
    let put = world.ask("PUT", &url, &headers, Some(theirs.to_string())).await;
    assert_eq!(put.status, 200, "{}", put.text);
    world.until(&exchange, "accepted").await;
    let line = standing(&world, &exchange, NORTH).await;
    assert_eq!(areas(&line), ["fatigue accepted", "nutrition rejected", "physical-activity rejected"]);
    world.close().await;
}

#[actix_web::test]
async fn parts_end_with_a_whole_that_is_stopped_and_a_newer_version_takes_decisions_on_what_it_does_not_ask() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    taken(&world, &exchange, SOUTH, in_part()).await;
    let mut second = about_three(1, SOUTH);
    second["version"] = json!(2);
    second["areas"] = json!(["physical-activity", "alcohol"]);
    world.refer(&second).await;
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(areas(&line), ["physical-activity accepted"], "{line:#}");
    assert_eq!(line["moved"]["documentVersion"], 1, "what it has said is of the version before");
    let more = json!({ "areas": [{ "area": "alcohol", "status": "accepted" }] });
    taken(&world, &exchange, SOUTH, more).await;
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(areas(&line), ["alcohol accepted", "physical-activity accepted"]);

    let asked = world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Flyttat." })).await;
    assert_eq!(asked.json()["asked"], json!([SOUTH]));
    taken(&world, &exchange, SOUTH, json!({ "cancellation": "agreed" })).await;
    world.until(&exchange, "cancelled").await;
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(areas(&line), ["alcohol cancelled", "physical-activity cancelled"]);
    world.close().await;
}

#[actix_web::test]
async fn a_request_that_is_asked_anew_is_decided_anew() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    taken(&world, &exchange, SOUTH, in_part()).await;
    taken(&world, &exchange, SOUTH, json!({ "status": "on-hold", "text": "Vilken dietist har patienten träffat?" }))
        .await;
    let mut second = about_three(1, SOUTH);
    second["version"] = json!(2);
    world.refer(&second).await;
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!((&line["status"], areas(&line).len()), (&json!("requested"), 0), "{line:#}");
    taken(&world, &exchange, SOUTH, in_part()).await;
    assert_eq!(areas(&standing(&world, &exchange, SOUTH).await).len(), 3);
    world.close().await;
}
