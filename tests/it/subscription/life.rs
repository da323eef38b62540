//! A subscription's life: away and back, given up and begun again, changed, ended, deleted.

use serde_json::{Value, json};

use super::{Ear, GUIDE, Heard, open, put, settings, stands, subscribe, wish};
use crate::world::{ONCOLOGY, SOUTH, World, referral_to};

#[actix_web::test]
async fn who_was_away_gets_everything_in_order_and_the_same_again_until_it_is_taken() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let mut by_two = wish(&ear, "", "task-changed", "id-only");
    by_two["channel"]["extension"] = json!([{ "url": format!("{GUIDE}/backport-max-count"), "valuePositiveInt": 2 }]);
    subscribe(&world, SOUTH, &by_two).await;
    let other = subscribe(&world, ONCOLOGY, &wish(&ear, "/other", "request-changed", "id-only")).await;
    ear.answer(503);
    world.refer(&referral_to(1, SOUTH)).await;
    let failed = |heard: &[Heard]| heard.iter().filter(|h| h.path == "/hook" && h.answered == 503).count() >= 2;
    ear.until("tried twice", failed).await;
    for number in 2..=5 {
        world.refer(&referral_to(number, SOUTH)).await;
    }
    let tries: Vec<Heard> = ear.all().into_iter().filter(|h| h.path == "/hook" && h.answered == 503).collect();
    assert!(tries.iter().all(|h| h.text == tries[0].text), "the same bytes, whatever has happened since");
    assert_eq!(tries[0].numbers(), [1]);
    ear.answer(200);
    let told = ear.until_number("/hook", 5).await;
    let events: Vec<&Heard> = told.iter().filter(|h| h.kind() == "event-notification").collect();
    assert_eq!(events[0].text, tries[0].text);
    assert_eq!(events.iter().flat_map(|h| h.numbers()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(events.iter().all(|h| h.numbers().len() <= 2), "as many at once as was asked for");
    ear.until_number("/hook/other", 5).await;
    stands(&world, ONCOLOGY, other["id"].as_str().unwrap(), "active").await;
    world.close().await;
}

const WORKLIST: &str = "/fhir/Task?code=https://vardkedja.example/fhir/CodeSystem/worklist|subscription-failed";

#[actix_web::test]
async fn who_refuses_is_given_up_with_a_task_for_a_person_and_begins_again_where_it_stopped() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let shown = subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "id-only")).await;
    let id = shown["id"].as_str().unwrap();
    ear.answer(422);
    world.refer(&referral_to(1, SOUTH)).await;
    let failed = stands(&world, SOUTH, id, "error").await;
    assert_eq!(failed["error"], "HTTP 422");
    let task = world.get(WORKLIST, "").await.json()["entry"][0]["resource"].clone();
    assert_eq!(task["status"], "requested", "{task:#}");
    assert!(!task.to_string().contains("Patient"), "{task:#}");
    let checked = world
        .ask("POST", "/fhir/Task/$validate", &[("Content-Type", "application/fhir+json")], Some(task.to_string()))
        .await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    assert!(world.get(WORKLIST, SOUTH).await.json()["entry"].is_null());
    // What happens meanwhile is kept for it.
    world.refer(&referral_to(2, SOUTH)).await;
    ear.answer(200);
    let mut again = failed.clone();
    again["status"] = json!("requested");
    let reply = put(&world, SOUTH, &again).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let told = ear.until_number("/hook", 2).await;
    let numbers: Vec<i64> = told.iter().flat_map(Heard::numbers).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(
        told.last().unwrap().headers["authorization"],
        "Bearer s3cret",
        "what cannot be read need not be given again"
    );
    assert_eq!(world.get(WORKLIST, "").await.json()["entry"][0]["resource"]["status"], "completed");
    world.close().await;
}

#[actix_web::test]
async fn who_ends_it_is_told_no_more_and_may_begin_again_or_delete_it() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let shown = subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "id-only")).await;
    let witness = subscribe(&world, SOUTH, &wish(&ear, "/witness", "task-changed", "id-only")).await;
    let (id, mut off) = (shown["id"].as_str().unwrap(), shown.clone());
    off["status"] = json!("off");
    let reply = put(&world, SOUTH, &off).await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("off")));
    world.refer(&referral_to(1, SOUTH)).await;
    ear.until_number("/hook/witness", 1).await;
    let mut on = reply.json();
    on["status"] = json!("requested");
    put(&world, SOUTH, &on).await;
    stands(&world, SOUTH, id, "active").await;
    world.refer(&referral_to(2, SOUTH)).await;
    let told = ear.until_number("/hook", 1).await;
    let handshakes = told.iter().filter(|h| h.kind() == "handshake").count();
    assert_eq!(
        (handshakes, told.iter().flat_map(Heard::numbers).collect::<Vec<_>>()),
        (2, vec![1]),
        "nothing of meanwhile"
    );

    let mut other = on.clone();
    other["criteria"] = json!(format!("{}/plan-changed", super::TOPIC));
    assert_eq!(put(&world, SOUTH, &other).await.status, 422, "another topic is another subscription");
    let headers = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/fhir+json"), ("If-Match", "W/\"1\"")];
    let stale = world.ask("PUT", &format!("/fhir/Subscription/{id}"), &headers, Some(on.to_string())).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    let of_others =
        world.ask("DELETE", &format!("/fhir/Subscription/{id}"), &[("Vardkedja-Unit", ONCOLOGY)], None).await;
    assert_eq!(of_others.status, 404);
    let gone = world.ask("DELETE", &format!("/fhir/Subscription/{id}"), &[("Vardkedja-Unit", SOUTH)], None).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(world.get(&format!("/fhir/Subscription/{id}"), SOUTH).await.status, 404);
    world.refer(&referral_to(3, SOUTH)).await;
    ear.until_number("/hook/witness", 3).await;
    assert_eq!(ear.taken("/hook").iter().flat_map(Heard::numbers).max(), Some(1));
    stands(&world, SOUTH, witness["id"].as_str().unwrap(), "active").await;
    world.close().await;
}

#[actix_web::test]
async fn its_end_comes_by_itself_and_what_is_not_agreed_any_more_stops() {
    let ear = Ear::open(200);
    let mut world = open(&ear).await;
    let mut short = wish(&ear, "/short", "task-changed", "id-only");
    short["end"] = json!((chrono::Utc::now() + chrono::TimeDelta::seconds(2)).to_rfc3339());
    let reply = super::post(&world, SOUTH, &short).await;
    stands(&world, SOUTH, reply.json()["id"].as_str().unwrap(), "off").await;
    let shown = subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "id-only")).await;
    world.restart_as(|clinic| settings("http://127.0.0.1:9/elsewhere", clinic, "")).await;
    world.refer(&referral_to(1, SOUTH)).await;
    let failed = stands(&world, SOUTH, shown["id"].as_str().unwrap(), "error").await;
    assert_eq!(failed["error"], "the endpoint is not agreed any more");
    assert_eq!(ear.taken("/hook").iter().filter(|h| h.kind() == "event-notification").count(), 0);
    world.close().await;
}

#[actix_web::test]
async fn only_so_many_events_are_kept_and_what_is_gone_says_so() {
    let ear = Ear::open(200);
    let mut world = World::open_as(|clinic| settings(&ear.url, clinic, "kept = 2")).await;
    let shown = subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "id-only")).await;
    for number in 1..=4 {
        world.refer(&referral_to(number, SOUTH)).await;
    }
    ear.until_number("/hook", 4).await;
    // Tidying comes with the start.
    world.restart_as(|clinic| settings(&ear.url, clinic, "kept = 2")).await;
    world.refer(&referral_to(5, SOUTH)).await;
    ear.until_number("/hook", 5).await;
    let path = format!("/fhir/Subscription/{}/$events", shown["id"].as_str().unwrap());
    let all: Value = world.get(&path, SOUTH).await.json();
    assert_eq!(super::numbers(&all["entry"][0]["resource"]), [3, 4, 5]);
    let gone = world.get(&format!("{path}?eventsSinceNumber=1"), SOUTH).await;
    assert_eq!(gone.status, 410, "{}", gone.text);
    assert!(gone.findings().contains("number 3 are kept no more"), "{}", gone.findings());
    world.close().await;
}
