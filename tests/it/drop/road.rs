//! The road of a file: taken, delivered, answered, and the answer written back.

use serde_json::{Value, json};

use super::Drop;
use crate::world::{NORTH, ONCOLOGY, World, activity, referral};

async fn open(kind: &str, format: &str, more: &str) -> (World, Drop) {
    let mut place = None;
    let settings = format!("{}{more}", Drop::settings("export", kind, format, ""));
    let world = World::open_in(|folder| {
        place = Some(Drop::make(folder, "export"));
        settings
    })
    .await;
    (world, place.unwrap())
}

async fn exchanges(world: &World) -> Vec<Value> {
    world.get("/v1/exchanges?limit=500", "").await.json()["exchanges"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn a_file_is_taken_delivered_and_its_answer_is_written_back() {
    let (world, place) = open("referral", "json", "").await;
    place.put("remiss 1.json", referral(1).to_string());
    place.until("done/remiss 1.json").await;
    let receipt = place.json("answers/remiss 1.json.receipt.json");
    let id = receipt["exchange"].as_str().unwrap().to_owned();
    let exchange = format!("/v1/exchanges/{id}");
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let people = world.people();
    people.step(&task, "accepted", &vardkedja::demo::Left::default()).await.unwrap();
    let left = vardkedja::demo::Left { answer: Some("Klart."), kva: &["DV133"], ..Default::default() };
    people.step(&task, "completed", &left).await.unwrap();
    world.until(&exchange, "completed").await;
    let status = format!("answers/{id}.status.json");
    place.until_so("completed", || place.path(&status).exists() && place.json(&status)["stage"] == "completed").await;
    let document = place.json(&format!("answers/{id}.document.json"));
    assert_eq!(document, world.get(&format!("{exchange}/document"), ONCOLOGY).await.json());
    assert!(document.to_string().contains("Klart."), "{document:#}");
    // Who sent it, and that the answer was handed out, is in the log.
    for action in ["submit", "read"] {
        let log = world.get(&format!("/fhir/AuditEvent?subtype={action}&_count=100"), "").await.text;
        assert!(log.contains(&id) && log.contains("platform"), "{action}: {log}");
    }
    world.close().await;
}

#[actix_web::test]
async fn the_same_document_is_taken_once_under_whatever_name_and_other_content_is_refused() {
    let (world, place) = open("referral", "json", "").await;
    let same = referral(1).to_string();
    place.put("a.json", &same);
    place.until("done/a.json").await;
    let receipt = std::fs::read(place.path("answers/a.json.receipt.json")).unwrap();
    for name in ["b.json", "a.json"] {
        std::fs::remove_file(place.path("answers/a.json.receipt.json")).unwrap_or_default();
        place.put(name, &same);
        let answer = format!("answers/{name}.receipt.json");
        place.until(&answer).await;
        place.until_so("taken", || !place.path(name).exists() && place.names(".taken").is_empty()).await;
        assert_eq!(std::fs::read(place.path(&answer)).unwrap(), receipt, "the same receipt");
    }
    assert_eq!(place.names("done"), ["a.json", "b.json"]);
    let mut other = referral(1);
    other["question"] = json!("En annan fråga.");
    place.put("a.json", other.to_string());
    place.until("refused/a.json").await;
    let findings = place.json("refused/a.json.findings.json");
    assert!(findings.to_string().contains("send the change as version 2"), "{findings:#}");
    other["version"] = json!(2);
    place.put("a.json", other.to_string());
    place.until("done/a-2.json").await;
    assert_eq!(exchanges(&world).await.len(), 1);
    world.close().await;
}

#[actix_web::test]
async fn what_is_not_finished_is_left_alone_until_it_has_its_name() {
    let (world, place) = open("referral", "json", "").await;
    let (half, whole) = (&referral(1).to_string()[..200], referral(1).to_string());
    std::fs::write(place.path("a.json.part"), half).unwrap();
    std::fs::write(place.path(".b.json"), half).unwrap();
    place.put("later.json", referral(2).to_string());
    place.until("done/later.json").await;
    assert_eq!(place.names("refused"), [""; 0]);
    assert!(place.path("a.json.part").exists() && place.path(".b.json").exists());
    std::fs::write(place.path("a.json.part"), whole).unwrap();
    std::fs::rename(place.path("a.json.part"), place.path("a.json")).unwrap();
    place.until("done/a.json").await;
    assert_eq!(exchanges(&world).await.len(), 2);
    world.close().await;
}

#[actix_web::test]
async fn each_line_of_activities_has_its_answer_and_a_bad_one_holds_up_none() {
    let (world, place) = open("activity", "ndjson", "").await;
    let mut activities = [activity(1), activity(2), activity(3)];
    for activity in &mut activities {
        activity["unit"] = json!(ONCOLOGY);
        activity["id"] = json!(activity["id"].as_str().unwrap().replace(NORTH, ONCOLOGY));
        activity["contactId"] = json!(activity["contactId"].as_str().unwrap().replace(NORTH, ONCOLOGY));
    }
    activities[1]["codes"] = json!([{ "code": "DV999" }]);
    let lines = |activities: &[Value]| activities.iter().map(|a| format!("{a}\n")).collect::<String>();
    place.put("week-12.ndjson", lines(&activities));
    place.until("refused/week-12.ndjson").await;
    let findings = place.json("refused/week-12.ndjson.findings.json");
    assert!(
        findings["issue"].as_array().unwrap().iter().all(|i| i["diagnostics"].as_str().unwrap().starts_with("line 2"))
    );
    let receipts = std::fs::read_to_string(place.path("answers/week-12.ndjson.receipt.ndjson")).unwrap();
    let receipts: Vec<Value> = receipts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((receipts.len(), &receipts[0]["status"], &receipts[2]["status"]), (3, &json!(202), &json!(202)));
    assert!(receipts[1]["outcome"]["issue"].is_array());
    assert_eq!(exchanges(&world).await.len(), 2);
    activities[1]["codes"] = json!([{ "code": "DV123" }]);
    place.put("week-12.ndjson", lines(&activities));
    place.until("done/week-12.ndjson").await;
    assert_eq!(exchanges(&world).await.len(), 3, "what was taken already is taken once");
    world.close().await;
}

#[actix_web::test]
async fn a_drop_speaks_for_its_units_only() {
    let (world, place) = open("activity", "json", "").await;
    place.put("theirs.json", activity(1).to_string());
    place.until("refused/theirs.json").await;
    assert_eq!(place.json("refused/theirs.json.findings.json")["issue"][0]["code"], "forbidden");
    assert_eq!(exchanges(&world).await.len(), 0);
    let refused = world.get("/fhir/AuditEvent?subtype=refuse", "").await.text;
    assert!(refused.contains("drop/export") && !refused.contains("theirs"), "{refused}");
    world.close().await;
}
