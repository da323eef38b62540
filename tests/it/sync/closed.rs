//! What is shared no more: a plan whose consent is withdrawn, or that was entered in error, and a partner that changes its copy.

use serde_json::{Value, json};

use super::{conflicts, is_quiet, only, rounds, until, write, writes};
use crate::consent::{hand_over, sip};
use crate::world::{ONCOLOGY, SOUTH, World, referral};

async fn plans(world: &World, unit: &str) -> Vec<Value> {
    let found = world.get("/fhir/CarePlan", unit).await.json();
    found["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect()
}

/// A SIP that the clinic has, beside a request that keeps its copy watched.
async fn shared(world: &World) -> String {
    let exchange = hand_over(world, &sip(1, "given")).await;
    assert_eq!(plans(world, SOUTH).await.len(), 1);
    until("the clinic has it", async || (!world.at_clinic("CarePlan").await.is_empty()).then_some(())).await;
    world.until(&exchange, "delivered").await;
    let mut request = referral(1);
    request["patient"] = sip(1, "given")["patient"].clone();
    let request = world.refer(&request).await;
    world.until(&request, "delivered").await;
    exchange
}

/// Everything that was to be sent is.
async fn all_sent(world: &World) {
    until("everything is sent", async || {
        let waiting = world.get("/v1/deliveries?state=waiting", "").await.json();
        waiting["deliveries"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
}

/// The clinic changes a word of its own and one that is not; nothing comes of it.
async fn changes_nothing(world: &World) {
    let before = plans(world, ONCOLOGY).await;
    let sent = writes(world).await;
    let mut there = only(world, "CarePlan").await;
    there["activity"][0]["detail"]["status"] = json!("completed");
    there["title"] = json!("Ett annat namn");
    write(world, &there).await;
    rounds(world, 4).await;
    assert_eq!(plans(world, ONCOLOGY).await, before, "it stands as it stood");
    assert!(plans(world, SOUTH).await.is_empty(), "who lost sight does not get it back");
    assert!(conflicts(world, ONCOLOGY).await.is_empty());
    assert_eq!(writes(world).await, sent, "nothing is sent on");
    is_quiet(world).await;
}

#[actix_web::test]
async fn what_the_partner_changes_in_a_plan_whose_consent_is_withdrawn_is_not_taken_and_shown_to_nobody() {
    let world = World::open().await;
    let exchange = shared(&world).await;
    assert_eq!(hand_over(&world, &sip(2, "withdrawn")).await, exchange);
    all_sent(&world).await;
    changes_nothing(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn a_difference_in_a_plan_whose_consent_is_withdrawn_is_not_settled() {
    let world = World::open().await;
    let exchange = shared(&world).await;
    let mut there = only(&world, "CarePlan").await;
    there["title"] = json!("Ett annat namn");
    write(&world, &there).await;
    let task = until("a Task", async || conflicts(&world, ONCOLOGY).await.into_iter().next()).await;
    assert_eq!(hand_over(&world, &sip(2, "withdrawn")).await, exchange);
    all_sent(&world).await;
    let path = format!("/v1/conflicts/{}/settle", task["id"].as_str().unwrap());
    let decision = json!({ "by": super::SPECIALIST, "elements": { "title": "theirs" } });
    let settled = world.post(&path, ONCOLOGY, &decision).await;
    assert_eq!(settled.status, 409, "{}", settled.text);
    assert!(plans(&world, SOUTH).await.is_empty());
    world.close().await;
}
