//! The worklist: a parked delivery has a Task for the unit that sent the document, from the parking to the decision.

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, World, referral};

const ASKED: &str = "/fhir/Task?code=https://vardkedja.example/fhir/CodeSystem/worklist|delivery-parked";

async fn tasks(world: &World, unit: &str) -> Vec<Value> {
    let found = world.get(ASKED, unit).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let entries = found.json()["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|e| e["resource"].clone()).collect()
}

/// A referral that the clinic's server refuses.
async fn parked(world: &World, number: u32) -> (String, String) {
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let exchange = world.refer(&referral(number)).await;
    let shown = world.until(&exchange, "parked").await;
    world.behave().await;
    (exchange, shown["deliveries"][0]["id"].as_str().unwrap().to_owned())
}

#[actix_web::test]
async fn a_parked_delivery_has_a_task_that_says_why_and_what_to_do_until_it_is_tried_again() {
    let world = World::open().await;
    let (exchange, delivery) = parked(&world, 1).await;
    let [task] = &tasks(&world, ONCOLOGY).await[..] else { panic!("one Task") };
    assert_eq!(task["status"], "requested");
    assert_eq!(task["statusReason"]["coding"][0]["code"], "permanent");
    assert!(task["description"].as_str().unwrap().contains(" | "), "in Swedish and in English: {task:#}");
    assert_eq!(task["identifier"][0]["value"], format!("urn:uuid:{delivery}"));
    assert!(task["focus"]["reference"].as_str().unwrap().starts_with("ServiceRequest/"));
    assert_eq!(task["owner"]["identifier"]["value"], ONCOLOGY);
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/Task/$validate", &headers, Some(task.to_string())).await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    assert!(tasks(&world, NORTH).await.is_empty(), "it is the sender's");
    let sent = world.at_clinic("Task").await;
    assert!(sent.is_empty(), "{sent:#?}");

    let path = format!("/fhir/Task/{}", task["id"].as_str().unwrap());
    let patch =
        [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    let done = json!([{ "op": "replace", "path": "/status", "value": "completed" }]).to_string();
    let refused = world.ask("PATCH", &path, &patch, Some(done)).await;
    assert_eq!(refused.status, 409, "{}", refused.text);

    let retried = world.post(&format!("/v1/deliveries/{delivery}/retry"), ONCOLOGY, &json!({})).await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    world.until(&exchange, "delivered").await;
    let [task] = &tasks(&world, ONCOLOGY).await[..] else { panic!("one Task") };
    assert_eq!((&task["status"], &task["meta"]["versionId"]), (&json!("completed"), &json!("2")), "{task:#}");
    let sent = world.at_clinic("Task").await;
    assert_eq!(sent.len(), 1, "the worklist stays here: {sent:#?}");
    world.close().await;
}

#[actix_web::test]
async fn one_that_is_parked_again_is_the_same_task_again() {
    let world = World::open().await;
    let (exchange, delivery) = parked(&world, 1).await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let reply = world.post(&format!("/v1/deliveries/{delivery}/retry"), ONCOLOGY, &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    for _ in 0..400 {
        let shown = world.get(&exchange, "").await.json();
        if shown["deliveries"][0]["attempts"].as_array().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let [task] = &tasks(&world, ONCOLOGY).await[..] else { panic!("one Task") };
    assert_eq!((&task["status"], &task["meta"]["versionId"]), (&json!("requested"), &json!("3")), "{task:#}");
    let skip = json!({ "by": "Eva Ek", "reason": "Meddelat per telefon." });
    world.post(&format!("/v1/deliveries/{delivery}/skip"), ONCOLOGY, &skip).await;
    let [task] = &tasks(&world, ONCOLOGY).await[..] else { panic!("one Task") };
    assert_eq!(task["status"], "cancelled");
    assert!(!task.to_string().contains("Eva Ek"), "who decided stands in the delivery and the audit log");
    world.close().await;
}

#[actix_web::test]
async fn a_newer_version_ends_the_task_of_the_older() {
    let world = World::open().await;
    let (exchange, _) = parked(&world, 1).await;
    let mut newer = referral(1);
    newer["version"] = json!(2);
    newer["reasonForVersion"] = json!("AR");
    newer["question"] = json!("Med ändrad fråga.");
    let reply = world.post("/v1/referrals", ONCOLOGY, &newer).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    world.until(&exchange, "delivered").await;
    let statuses: Vec<Value> = tasks(&world, ONCOLOGY).await.iter().map(|t| t["status"].clone()).collect();
    assert_eq!(statuses, ["cancelled"]);
    world.close().await;
}

#[actix_web::test]
async fn an_exchange_lists_what_waits_for_a_person_whatever_its_stage_is() {
    let world = World::open().await;
    let quiet = world.refer(&referral(9)).await;
    world.until(&quiet, "delivered").await;
    let (exchange, delivery) = parked(&world, 1).await;
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    let [wanting] = &shown["attention"].as_array().unwrap()[..] else { panic!("{shown:#}") };
    assert_eq!((&wanting["what"], &wanting["delivery"]), (&json!("delivery-parked"), &json!(delivery)));
    assert!(wanting["remedy"].as_str().unwrap().contains(" | "));
    for unit in [ONCOLOGY, ""] {
        let listed = world.get("/v1/exchanges?attention=true", unit).await.json();
        let found: Vec<&Value> = listed["exchanges"].as_array().unwrap().iter().map(|e| &e["id"]).collect();
        assert_eq!(found, [&shown["id"]], "{unit}");
    }
    let listed = world.get("/v1/exchanges?attention=true&kind=activity", ONCOLOGY).await.json();
    assert_eq!(listed["exchanges"], json!([]));
    world.close().await;
}
