//! What follows a person through a link: blocks, clocks and deaths, programmes, the log, statistics, and what partners are sent.

use serde_json::{Value, json};

use super::{NEW, NURSE, OLD, about, id_of, ids, link, send, undo};
use crate::programme::{YOUNG, start, until};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, activity, referral};

#[actix_web::test]
async fn a_block_under_either_number_closes_what_came_under_both_and_no_more_when_it_was_wrong() {
    let world = World::open().await;
    let first = send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let second = send(&world, ONCOLOGY, &about(2, ONCOLOGY, SOUTH, NEW)).await;
    let block = json!({ "patient": OLD, "kind": "inner", "unit": ONCOLOGY, "by": NURSE });
    assert_eq!(world.post("/v1/blocks", REHAB_TEAM, &block).await.status, 201);
    let statuses = async || {
        let status = async |place: &str| world.get(place, SOUTH).await.status;
        (status(&first).await, status(&second).await)
    };
    assert_eq!(statuses().await, (404, 200));
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    assert_eq!(statuses().await, (404, 404), "from the answer on");
    let third = send(&world, ONCOLOGY, &about(3, ONCOLOGY, SOUTH, NEW)).await;
    assert_eq!(world.get(&third, SOUTH).await.status, 404, "and what comes later");
    let found = world.post("/v1/blocks/search", ONCOLOGY, &json!({ "patient": NEW })).await.json();
    assert_eq!(found["blocks"].as_array().unwrap().len(), 1, "found under the other number: {found}");
    assert_eq!(undo(&world, ONCOLOGY, &linked).await.status, 200);
    assert_eq!(statuses().await, (404, 200));
    assert_eq!(world.get(&third, SOUTH).await.status, 200);
    world.close().await;
}

#[actix_web::test]
async fn a_unit_from_whom_all_is_blocked_knows_of_neither_number() {
    let world = World::open().await;
    let first = send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    let places = [id_of(&linked, "old"), id_of(&linked, "new")].map(|id| format!("/fhir/Patient/{id}"));
    let statuses = async || {
        let mut all = vec![world.get(&first, SOUTH).await.status];
        for place in &places {
            all.push(world.get(place, SOUTH).await.status);
        }
        all
    };
    assert_eq!(statuses().await, [200, 200, 200]);
    let block = json!({ "patient": NEW, "kind": "inner", "unit": ONCOLOGY, "by": NURSE });
    let standing = world.post("/v1/blocks", REHAB_TEAM, &block).await;
    assert_eq!(standing.status, 201, "{}", standing.text);
    assert_eq!(statuses().await, [404, 404, 404]);
    let lift = format!("{}/lift", standing.location.unwrap());
    assert_eq!(world.post(&lift, REHAB_TEAM, &json!({ "by": NURSE })).await.status, 200);
    assert_eq!(statuses().await, [200, 200, 200]);
    world.close().await;
}

#[actix_web::test]
async fn clocks_stand_still_for_whoever_has_died_under_either_number() {
    let world = World::open().await;
    let first = send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let second = send(&world, ONCOLOGY, &about(2, ONCOLOGY, SOUTH, NEW)).await;
    let held = async || {
        let loops = world.get("/v1/open-loops", ONCOLOGY).await.json();
        let of = |place: &str| {
            let id = place.rsplit('/').next().unwrap();
            let line = loops["loops"].as_array().unwrap().iter().find(|l| l["exchange"] == id).unwrap().clone();
            line["paused"]["by"] == "deceased"
        };
        (of(&first), of(&second))
    };
    let old = super::by_number(&world, SOUTH, OLD).await[0].clone();
    let told =
        world.post(&format!("/v1/patients/{old}/deceased"), SOUTH, &json!({ "by": NURSE, "date": "2026-03-01" })).await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(held().await, (true, false));
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    assert_eq!(held().await, (true, true));
    let new = world.get(&format!("/fhir/Patient/{}", id_of(&linked, "new")), SOUTH).await.json();
    assert_eq!(new["deceasedDateTime"], "2026-03-01");
    assert_eq!(undo(&world, ONCOLOGY, &linked).await.status, 200);
    assert_eq!(held().await, (true, false), "each as dead as was said of itself");
    world.close().await;
}

#[actix_web::test]
async fn the_log_of_a_person_is_one_and_so_is_the_person_in_figures() {
    let world = World::open().await;
    let act = |number: u32, patient: &str| {
        let mut act = activity(number);
        act["patient"]["personnummer"] = json!(patient);
        act["codes"] = json!([{ "code": "DV143" }]);
        act["start"] = json!(format!("2026-03-{:02}T10:00:00+01:00", number + 1));
        let object = act.as_object_mut().unwrap();
        object.shift_remove("end");
        object.shift_remove("requestId");
        act
    };
    for (number, patient) in [
        (1, OLD),
        (2, OLD),
        (3, NEW),
        (4, "191212121212"),
        (5, "196101182803"),
        (6, "189002029800"),
        (7, "197010632391"),
        (8, "199002222397"),
    ] {
        let reply = world.post("/v1/activities", NORTH, &act(number, patient)).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    let people = async || {
        let figures = world.get("/v1/statistics/kva?from=2026&to=2026&people=true", "").await;
        assert_eq!(figures.status, 200, "{}", figures.text);
        figures.json()["total"].clone()
    };
    let before = people().await;
    let linked = link(&world, NORTH, OLD, NEW).await;
    let after = people().await;
    assert_ne!(before, after, "{before} {after}");
    for which in ["old", "new"] {
        let log = world.get(&format!("/v1/patients/{}/access-log?limit=200", id_of(&linked, which)), "").await;
        assert_eq!(log.status, 200, "{}", log.text);
        let lines = log.json()["entries"].as_array().unwrap().iter().filter(|l| l["did"] == "skickade in").count();
        assert_eq!(lines, 3, "{which}: {}", log.text);
    }
    assert_eq!(undo(&world, NORTH, &linked).await.status, 200);
    assert_eq!(people().await, before);
    world.close().await;
}

#[actix_web::test]
async fn a_partner_gets_the_new_number_with_what_is_sent_to_it_next() {
    let world = World::open().await;
    let mut first = referral(1);
    first["patient"] = json!({ "personnummer": OLD, "name": "Test Testsson" });
    let exchange = world.refer(&first).await;
    world.until(&exchange, "delivered").await;
    let numbers = async || {
        let mut all: Vec<String> = Vec::new();
        for patient in world.at_clinic("Patient").await {
            all.extend(
                patient["identifier"].as_array().unwrap().iter().map(|i| i["value"].as_str().unwrap().to_owned()),
            );
        }
        all
    };
    assert!(numbers().await.iter().any(|n| n == OLD) && !numbers().await.iter().any(|n| n == NEW));
    link(&world, ONCOLOGY, OLD, NEW).await;
    let mut second = referral(2);
    second["patient"] = first["patient"].clone();
    let exchange = world.refer(&second).await;
    world.until(&exchange, "delivered").await;
    let patients = world.at_clinic("Patient").await;
    let of = |number: &str| {
        let has = |p: &&Value| p["identifier"].as_array().unwrap().iter().any(|i| i["value"] == number);
        let found: Vec<&Value> = patients.iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{number}: {patients:#?}");
        found[0].clone()
    };
    let (old, new) = (of(OLD), of(NEW));
    assert_eq!(new["link"][0]["type"], "replaces", "{new:#}");
    assert_eq!(new["link"][0]["other"]["reference"], format!("Patient/{}", old["id"].as_str().unwrap()));
    assert!(old.get("link").is_none(), "what the partner has itself is the partner's to change: {old:#}");
    // Under the new number it comes to the Patient that is there.
    let mut third = referral(3);
    third["patient"] = json!({ "personnummer": NEW });
    let exchange = world.refer(&third).await;
    world.until(&exchange, "delivered").await;
    assert_eq!(world.at_clinic("Patient").await.len(), patients.len());
    world.close().await;
}

#[actix_web::test]
async fn who_is_responsible_and_what_is_open_is_answered_by_either_number() {
    let world = World::open().await;
    let first = send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let task = world.task(&first, SOUTH).await;
    let answer = json!({ "status": "accepted", "by": NURSE, "unit": SOUTH });
    let reply = world.post(&format!("{first}/answers"), SOUTH, &answer).await;
    assert!(reply.status < 300, "{task}: {}", reply.text);
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    for which in ["old", "new"] {
        let path = format!("/v1/patients/{}/responsibility?area=physical-activity", id_of(&linked, which));
        let said = world.get(&path, SOUTH).await;
        assert_eq!(said.status, 200, "{}", said.text);
        assert_eq!(said.json()["areas"][0]["responsible"][0]["unit"], SOUTH, "{which}: {}", said.text);
    }
    for number in [OLD, NEW] {
        let asked = json!({ "patient": number, "area": "physical-activity" });
        let said = world.post("/v1/responsibility/search", SOUTH, &asked).await.json();
        assert_eq!(said["areas"][0]["responsible"][0]["unit"], SOUTH, "{number}: {said}");
    }
    let found = world.get(&format!("/fhir/EpisodeOfCare?patient={}", id_of(&linked, "new")), SOUTH).await;
    assert!(!ids(&found).is_empty());
    world.close().await;
}

#[actix_web::test]
async fn messages_under_one_number_stop_for_whoever_has_died_under_the_other() {
    let world = World::open().await;
    start(&world, YOUNG).await;
    until(&world, "/fhir/CommunicationRequest?status=active", 1).await;
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    send(&world, ONCOLOGY, &about(2, ONCOLOGY, SOUTH, YOUNG)).await;
    let old = super::by_number(&world, SOUTH, OLD).await[0].clone();
    let told = world.post(&format!("/v1/patients/{old}/deceased"), SOUTH, &json!({ "by": NURSE })).await;
    assert_eq!(told.status, 200, "{}", told.text);
    until(&world, "/fhir/CommunicationRequest?status=active", 1).await;
    link(&world, ONCOLOGY, OLD, YOUNG).await;
    until(&world, "/fhir/CommunicationRequest?status=active", 0).await;
    let stopped = until(&world, "/fhir/CommunicationRequest?status=revoked", 1).await;
    assert_eq!(stopped[0]["statusReason"]["text"], "Patienten är avliden.");
    world.close().await;
}
