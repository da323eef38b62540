//! A request that was accepted is taken back: its owner is asked to stop, and answers, here or at its own server.

use serde_json::{Value, json};
use vardkedja::demo::{Clinic, Left};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, referral, referral_to};

async fn ask_to_stop(world: &World, exchange: &str) -> Reply {
    world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Patienten har flyttat." })).await
}

/// A referral that the unit which reads here has accepted, and the Task that asks it to stop.
async fn accepted_and_asked(world: &World, number: u32) -> (String, String, String) {
    let exchange = world.refer(&referral_to(number, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let accept = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]);
    assert_eq!(patch(world, SOUTH, &task, &accept).await.status, 200);
    let reply = ask_to_stop(world, &exchange).await;
    assert_eq!(reply.json()["asked"], json!([SOUTH]), "{}", reply.text);
    let abort = cancellations(world, &exchange).await[0]["task"].as_str().unwrap().replace("Task/", "");
    (exchange, task, abort)
}

async fn cancellations(world: &World, exchange: &str) -> Vec<Value> {
    world.get(exchange, ONCOLOGY).await.json()["cancellations"].as_array().unwrap().clone()
}

/// A patch of the Task as it stands.
async fn patch(world: &World, unit: &str, task: &str, operations: &Value) -> Reply {
    let read = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json();
    let version = format!("W/\"{}\"", read["meta"]["versionId"].as_str().unwrap());
    let headers = [("Vardkedja-Unit", unit), ("If-Match", &version), ("Content-Type", "application/json-patch+json")];
    world.ask("PATCH", &format!("/fhir/Task/{task}"), &headers, Some(operations.to_string())).await
}

async fn status(world: &World, task: &str) -> Value {
    world.get(&format!("/fhir/Task/{task}"), ONCOLOGY).await.json()["status"].clone()
}

fn to(status: &str) -> Value {
    json!([{ "op": "replace", "path": "/status", "value": status }])
}

fn no(reason: &str) -> Value {
    json!([
        { "op": "replace", "path": "/status", "value": "rejected" },
        { "op": "add", "path": "/statusReason", "value": { "text": reason } },
    ])
}

#[actix_web::test]
async fn an_owner_that_reads_here_agrees_to_stop_and_the_request_is_cancelled() {
    let world = World::open().await;
    let (exchange, task, abort) = accepted_and_asked(&world, 1).await;
    assert_eq!(
        patch(&world, ONCOLOGY, &abort, &to("completed")).await.status,
        403,
        "the sender does not answer itself"
    );
    assert_eq!(patch(&world, NORTH, &abort, &to("completed")).await.status, 404, "nor does a stranger");
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "accepted");
    let agreed = patch(&world, SOUTH, &abort, &to("completed")).await;
    assert_eq!(agreed.status, 200, "{}", agreed.text);
    world.until(&exchange, "cancelled").await;
    let stopped = world.get(&format!("/fhir/Task/{task}"), ONCOLOGY).await.json();
    assert_eq!(
        (&stopped["status"], &stopped["statusReason"]["text"]),
        (&json!("cancelled"), &json!("Patienten har flyttat."))
    );
    let requests = world.get("/fhir/ServiceRequest", ONCOLOGY).await.json();
    assert_eq!(requests["entry"][0]["resource"]["status"], "revoked");
    let shown = cancellations(&world, &exchange).await;
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["status"], &shown[0]["unit"]), (&json!("completed"), &json!(SOUTH)));
    assert!(shown[0]["answeredAt"].is_string());
    let again = patch(&world, SOUTH, &abort, &to("completed")).await;
    assert_eq!(again.status, 200, "said again it changes nothing: {}", again.text);
    assert_eq!(ask_to_stop(&world, &exchange).await.status, 409);
    let document = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(document["state"]["status"], "cancelled", "{document:#}");
    world.close().await;
}

#[actix_web::test]
async fn an_owner_that_refuses_to_stop_says_why_and_goes_on_and_may_be_asked_again() {
    let world = World::open().await;
    let (exchange, task, abort) = accepted_and_asked(&world, 1).await;
    assert_eq!(patch(&world, SOUTH, &abort, &to("rejected")).await.status, 422, "a refusal says why");
    assert_eq!(patch(&world, SOUTH, &abort, &no("Första besöket är gjort.")).await.status, 200);
    assert_eq!(status(&world, &task).await, "accepted", "the referral goes on");
    let shown = cancellations(&world, &exchange).await;
    assert_eq!((&shown[0]["status"], &shown[0]["answer"]), (&json!("rejected"), &json!("Första besöket är gjort.")));
    assert_eq!(patch(&world, SOUTH, &abort, &to("completed")).await.status, 409, "an answer stays");

    assert_eq!(ask_to_stop(&world, &exchange).await.json()["asked"], json!([SOUTH]));
    let shown = cancellations(&world, &exchange).await;
    assert_eq!(shown.len(), 2, "a new request with an answer of its own");
    let second = shown.iter().find(|c| c["status"] == "requested").unwrap()["task"].as_str().unwrap();
    assert_eq!(patch(&world, SOUTH, &second.replace("Task/", ""), &to("completed")).await.status, 200);
    world.until(&exchange, "cancelled").await;
    world.close().await;
}

#[actix_web::test]
async fn a_request_to_stop_is_answered_by_what_its_owner_does_with_the_task() {
    let world = World::open().await;
    let (exchange, task, abort) = accepted_and_asked(&world, 1).await;
    assert_eq!(patch(&world, SOUTH, &task, &to("cancelled")).await.status, 200);
    world.until(&exchange, "cancelled").await;
    assert_eq!(status(&world, &abort).await, "completed", "who cancels has agreed");

    let (exchange, task, abort) = accepted_and_asked(&world, 2).await;
    let failed = json!([
        { "op": "replace", "path": "/status", "value": "failed" },
        { "op": "add", "path": "/statusReason", "value": { "text": "Patienten kom inte." } },
    ]);
    assert_eq!(patch(&world, SOUTH, &task, &failed).await.status, 200);
    world.until(&exchange, "failed").await;
    assert_eq!(status(&world, &abort).await, "rejected", "what has ended cannot be stopped");
    assert!(cancellations(&world, &exchange).await[0]["answer"].as_str().unwrap().contains("failed"));

    let (_, task, abort) = accepted_and_asked(&world, 3).await;
    let mut wrong = referral_to(3, SOUTH);
    wrong["version"] = json!(2);
    wrong["status"] = json!("entered-in-error");
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &wrong).await.status, 202);
    assert_eq!(status(&world, &task).await, "entered-in-error");
    assert_eq!(status(&world, &abort).await, "cancelled", "there is nothing left to stop");
    world.close().await;
}

/// The clinic's copy of a referral's Task, accepted, and of the request to stop it.
async fn at_the_clinic(world: &World, number: u32) -> (String, String, String) {
    let exchange = world.refer(&referral(number)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    move_to(&world.people(), &task, "accepted").await;
    world.until(&exchange, "accepted").await;
    assert_eq!(ask_to_stop(world, &exchange).await.json()["asked"], json!([NORTH]));
    let abort = cancellations(world, &exchange).await[0]["task"].as_str().unwrap().replace("Task/", "");
    while world.people().task(&abort).await.is_err() {
        tokio::task::yield_now().await;
    }
    (exchange, task, abort)
}

async fn move_to(people: &Clinic, task: &str, status: &str) {
    people.step(task, status, &Left::default()).await.unwrap();
}

#[actix_web::test]
async fn an_owner_agrees_to_stop_at_its_own_server_and_its_task_is_cancelled_there_too() {
    let world = World::open().await;
    let (exchange, task, abort) = at_the_clinic(&world, 1).await;
    move_to(&world.people(), &abort, "accepted").await;
    move_to(&world.people(), &abort, "completed").await;
    world.until(&exchange, "cancelled").await;
    assert_eq!(world.people().task(&task).await.unwrap()["status"], "cancelled", "its own copy of the Task");
    assert_eq!(cancellations(&world, &exchange).await[0]["status"], "completed");
    let held = world.get("/v1/answers/held", "").await.json();
    assert_eq!(held["answers"], json!([]));
    world.close().await;
}

#[actix_web::test]
async fn an_owner_refuses_to_stop_at_its_own_server_and_the_sender_reads_why() {
    let world = World::open().await;
    let (exchange, task, abort) = at_the_clinic(&world, 1).await;
    let mut theirs = world.people().task(&abort).await.unwrap();
    theirs["status"] = json!("rejected");
    theirs["statusReason"] = json!({ "text": "Patienten är redan här." });
    let url = format!("{}/fhir/Task/{}", world.clinic, theirs["id"].as_str().unwrap());
    let headers = [("Content-Type", "application/fhir+json")];
    assert!(world.ask("PUT", &url, &headers, Some(theirs.to_string())).await.status < 300);
    while cancellations(&world, &exchange).await[0]["status"] != "rejected" {
        tokio::task::yield_now().await;
    }
    assert_eq!(cancellations(&world, &exchange).await[0]["answer"], "Patienten är redan här.");
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "accepted");
    move_to(&world.people(), &task, "in-progress").await;
    world.until(&exchange, "in-progress").await;
    world.close().await;
}

#[actix_web::test]
async fn who_is_no_party_sees_nothing_of_a_request_to_stop() {
    let world = World::open().await;
    let (exchange, _, abort) = accepted_and_asked(&world, 1).await;
    assert_eq!(world.get(&format!("/fhir/Task/{abort}"), REHAB_TEAM).await.status, 404);
    assert_eq!(world.get(&exchange, REHAB_TEAM).await.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn a_request_that_was_refused_and_never_arrived_is_taken_back_at_once() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "parked").await;
    let reply = ask_to_stop(&world, &exchange).await;
    assert_eq!(reply.json()["cancelled"], json!([NORTH]), "{}", reply.text);
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(shown["stage"], "cancelled", "{shown:#}");
    let [delivery] = &shown["deliveries"].as_array().unwrap()[..] else { panic!("no move is made: {shown:#}") };
    assert_eq!(delivery["state"], "skipped");
    let tasks = world.get("/fhir/Task?code=delivery-parked", ONCOLOGY).await.json();
    assert_eq!(tasks["entry"][0]["resource"]["status"], "cancelled", "there is nothing left to mend: {tasks:#}");
    assert!(world.at_clinic("Task").await.is_empty());
    world.close().await;
}

#[actix_web::test]
async fn a_request_that_arrived_once_is_taken_back_there_though_its_newer_version_is_parked() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let mut newer = referral(1);
    newer["version"] = json!(2);
    assert_eq!(world.refer(&newer).await, exchange);
    world.until(&exchange, "parked").await;
    assert_eq!(ask_to_stop(&world, &exchange).await.status, 200);
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    // Two versions, that the Task is about the newer one, and that it is taken back.
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 4, "{shown:#}");
    world.close().await;
}

#[actix_web::test]
async fn a_document_that_was_taken_back_still_says_what_was_asked() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let sent = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(sent["status"], "active");
    let reply = ask_to_stop(&world, &exchange).await;
    assert_eq!(reply.json()["cancelled"], json!([SOUTH]), "{}", reply.text);
    let shown = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!((&shown["status"], &shown["state"]["status"]), (&json!("active"), &json!("cancelled")), "{shown:#}");
    world.close().await;
}
