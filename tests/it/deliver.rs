//! Deliveries to a partner that misbehaves: nothing lost, nothing twice, nobody else held up.

use serde_json::json;

use crate::world::{NORTH, ONCOLOGY, World, referral};

#[actix_web::test]
async fn whatever_a_partner_answers_the_referral_arrives_once() {
    let world = World::open().await;
    let kinds = ["error", "busy", "lost-answer", "html", "empty", "truncated"];
    for (number, kind) in kinds.iter().enumerate() {
        world.misbehave(json!({ "kind": kind, "next": 1, "method": "POST", "retryAfterSeconds": 1 })).await;
        let exchange = world.refer(&referral(u32::try_from(number).unwrap())).await;
        let shown = world.until(&exchange, "delivered").await;
        let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
        assert!(attempts.len() >= 2, "{kind}: {shown:#}");
        assert_eq!(attempts[0]["class"], "transient", "{kind}");
        world.behave().await;
    }
    assert_eq!(world.at_clinic("Task").await.len(), kinds.len());
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), kinds.len());
    assert_eq!(world.at_clinic("Patient").await.len(), 1);
    for request in world.at_clinic("ServiceRequest").await {
        assert_eq!(request["meta"]["versionId"], "1", "a resend changes no content a second time");
    }
    world.close().await;
}

#[actix_web::test]
async fn a_parked_delivery_holds_its_patients_successors_until_a_person_decides() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let first = world.refer(&referral(1)).await;
    let parked = world.until(&first, "parked").await;
    assert!(parked["deliveries"][0]["note"].as_str().unwrap().contains("OperationOutcome"), "{parked:#}");
    world.behave().await;
    let second = world.refer(&referral(2)).await;
    let mut other = referral(3);
    other["patient"]["personnummer"] = json!("196101182803");
    let third = world.refer(&other).await;
    world.until(&third, "delivered").await;
    assert_eq!(world.get(&second, "").await.json()["stage"], "waiting", "in order for one patient");

    let listed = world.get("/v1/deliveries?state=parked", ONCOLOGY).await.json();
    let id = listed["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let retry = world.post(&format!("/v1/deliveries/{id}/retry"), ONCOLOGY, &json!({})).await;
    assert_eq!(retry.status, 200, "{}", retry.text);
    world.until(&first, "delivered").await;
    world.until(&second, "delivered").await;
    world.close().await;
}

#[actix_web::test]
async fn a_skipped_delivery_names_who_decided_and_lets_the_next_pass() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let first = world.refer(&referral(1)).await;
    world.until(&first, "parked").await;
    world.behave().await;
    let second = world.refer(&referral(2)).await;
    let id = world.get(&first, "").await.json()["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/deliveries/{id}/skip");
    assert_eq!(world.post(&path, ONCOLOGY, &json!({ "by": "" })).await.status, 400);
    assert_eq!(
        world.post(&path, ONCOLOGY, &json!({ "by": "Eva Ek", "reason": "x" })).await.status,
        200,
        "its sender may decide"
    );
    world.until(&second, "delivered").await;
    let shown = world.get(&first, "").await.json();
    assert_eq!(shown["deliveries"][0]["state"], "skipped");
    assert!(shown["deliveries"][0]["note"].as_str().unwrap().starts_with("Eva Ek: "), "{shown:#}");
    world.close().await;
}

#[actix_web::test]
async fn what_was_taken_in_is_delivered_after_a_restart() {
    let mut world = World::open_with("").await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "POST" })).await;
    let exchange = world.refer(&referral(1)).await;
    world.restart_gateway("").await;
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "waiting");
    world.behave().await;
    world.until(&exchange, "delivered").await;
    world.close().await;
}

#[actix_web::test]
async fn only_the_sender_or_the_operator_decides_that_nothing_is_sent() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "outcome", "probability": 1.0, "method": "POST" })).await;
    for (number, decider) in [(1, ONCOLOGY), (2, "")] {
        let mut document = referral(number);
        if number == 2 {
            document["patient"]["personnummer"] = json!("196101182803");
        }
        let exchange = world.refer(&document).await;
        let parked = world.until(&exchange, "parked").await;
        let path = format!("/v1/deliveries/{}", parked["deliveries"][0]["id"].as_str().unwrap());
        let decision = json!({ "by": "Eva Ek", "reason": "Meddelat per telefon." });
        let reply = world.post(&format!("{path}/skip"), NORTH, &decision).await;
        assert_eq!(reply.status, 403, "the one it is meant for cannot make it vanish: {}", reply.text);
        let reply = world.post(&format!("{path}/retry"), NORTH, &json!({})).await;
        assert_eq!(reply.status, 200, "any party may have it tried again: {}", reply.text);
        let headers = [("Vardkedja-Unit", decider), ("Content-Type", "application/json")];
        let headers = if decider.is_empty() { &headers[1..] } else { &headers[..] };
        let reply = world.ask("POST", &format!("{path}/skip"), headers, Some(decision.to_string())).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    world.close().await;
}
