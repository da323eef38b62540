//! What a subscriber must not learn: a block (spärr) holds for events too, also for those that wait, and no number tells of it.

use serde_json::{Value, json};

use super::{Ear, Heard, numbers, open, parameter, subscribe, wish};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, referral_to};

const OTHER_PATIENT: &str = "196101182803";

async fn block(world: &World) -> String {
    let wish =
        json!({ "patient": "195009072553", "kind": "inner", "unit": ONCOLOGY, "by": "SE2321000131-P000000000011" });
    let reply = world.post("/v1/blocks", REHAB_TEAM, &wish).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()["id"].as_str().unwrap().to_owned()
}

async fn events(world: &World, id: &str) -> (Value, Vec<i64>) {
    let status = world.get(&format!("/fhir/Subscription/{id}/$status"), SOUTH).await.json();
    let count = parameter(&status["entry"][0]["resource"], "events-since-subscription-start")["valueString"].clone();
    let all = world.get(&format!("/fhir/Subscription/{id}/$events"), SOUTH).await.json();
    (count, numbers(&all["entry"][0]["resource"]))
}

#[actix_web::test]
async fn what_is_blocked_before_it_was_told_is_not_told_nor_counted_and_comes_when_the_block_is_lifted() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let shown = subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "full-resource")).await;
    let id = shown["id"].as_str().unwrap();
    let block = block(&world).await;
    world.refer(&referral_to(1, SOUTH)).await;
    let mut theirs = referral_to(2, SOUTH);
    theirs["patient"]["personnummer"] = json!(OTHER_PATIENT);
    let exchange = world.refer(&theirs).await;
    let told = ear.until_number("/hook", 1).await;
    let open = world.task(&exchange, SOUTH).await;
    assert!(told.last().unwrap().focuses()[0].ends_with(&open), "the first number is that of the other patient");
    assert_eq!(events(&world, id).await, (json!("1"), vec![1]));
    let lifted = world
        .post(&format!("/v1/blocks/{block}/lift"), REHAB_TEAM, &json!({ "by": "SE2321000131-P000000000011" }))
        .await;
    assert_eq!(lifted.status, 200, "{}", lifted.text);
    let told = ear.until_number("/hook", 2).await;
    assert_eq!(told.iter().flat_map(Heard::numbers).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events(&world, id).await, (json!("2"), vec![1, 2]));
    world.close().await;
}

#[actix_web::test]
async fn what_is_blocked_while_its_subscriber_was_away_is_not_sent_again_and_leaves_no_gap() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let shown = subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "full-resource")).await;
    let id = shown["id"].as_str().unwrap();
    ear.answer(503);
    let hidden = world.refer(&referral_to(1, SOUTH)).await;
    let hidden = world.task(&hidden, SOUTH).await;
    // It may have arrived: the number is the subscriber's, and what it said is not said again.
    ear.until("tried", |heard| heard.iter().any(|h| h.answered == 503)).await;
    block(&world).await;
    let before = ear.all().len();
    assert_eq!(events(&world, id).await, (json!("0"), Vec::new()));
    ear.answer(200);
    let mut theirs = referral_to(2, SOUTH);
    theirs["patient"]["personnummer"] = json!(OTHER_PATIENT);
    let open = world.refer(&theirs).await;
    let open = world.task(&open, SOUTH).await;
    let told = ear.until_number("/hook", 2).await;
    let events_told: Vec<&Heard> = told.iter().filter(|h| h.kind() == "event-notification").collect();
    assert_eq!(events_told.iter().flat_map(|h| h.numbers()).collect::<Vec<_>>(), [1, 2], "no gap tells of it");
    assert!(events_told.iter().flat_map(|h| h.focuses()).all(|focus| focus.ends_with(&open)));
    for heard in ear.all().iter().skip(before.max(3)) {
        assert!(!heard.text.contains(&hidden), "{}", heard.text);
    }
    assert_eq!(events(&world, id).await, (json!("2"), vec![1, 2]));
    world.close().await;
}

#[actix_web::test]
async fn nobody_is_told_of_what_does_not_concern_it() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    subscribe(&world, SOUTH, &wish(&ear, "/south", "task-changed", "full-resource")).await;
    let nowhere = super::post(&world, NORTH, &wish(&ear, "/north", "task-changed", "full-resource")).await;
    assert_eq!(nowhere.status, 422, "its partner has agreed no address: {}", nowhere.text);
    subscribe(&world, REHAB_TEAM, &wish(&ear, "/team", "task-changed", "full-resource")).await;
    for number in 1..=3 {
        world.refer(&referral_to(number, SOUTH)).await;
    }
    ear.until_number("/hook/south", 3).await;
    for path in ["/hook/north", "/hook/team"] {
        assert!(ear.taken(path).iter().all(|h| h.kind() == "handshake"), "{path}");
    }
    world.close().await;
}
