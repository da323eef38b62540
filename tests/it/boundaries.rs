//! What must never cross: from one patient to another, from one unit to another, from one request to the next.

use serde_json::{Value, json};

use crate::world::{CLOSED, NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, activity, plan, referral, referral_to};

const OTHER_PATIENT: &str = "196101182803";

fn version(mut document: Value, version: u32) -> Value {
    document["version"] = json!(version);
    if document.get("reasonForVersion").is_some() {
        document["reasonForVersion"] = json!("AR");
    }
    document
}

#[actix_web::test]
async fn a_new_version_is_about_the_same_patient_and_from_the_same_unit() {
    let world = World::open().await;
    world.refer(&referral(1)).await;
    let mut other = version(referral(1), 2);
    other["patient"]["personnummer"] = json!(OTHER_PATIENT);
    let reply = world.post("/v1/referrals", ONCOLOGY, &other).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    let mut taken = version(referral(1), 2);
    taken["requester"]["unit"] = json!(REHAB_TEAM);
    taken["status"] = json!("entered-in-error");
    let reply = world.post("/v1/referrals", REHAB_TEAM, &taken).await;
    assert_eq!(reply.status, 422, "an id that begins with another unit: {}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn nobody_puts_an_older_version_or_another_patient_under_the_id_of_others() {
    let world = World::open().await;
    // Both units are of the care provider whose HSA-id it begins with.
    let mine = |version: u32| {
        let mut document = self::version(referral(1), version);
        document["id"] = json!("SE2321000131-E000000000001#R-1");
        document
    };
    let exchange = world.refer(&mine(3)).await;
    for number in [1, 3, 4] {
        let mut theirs = mine(number);
        theirs["requester"]["unit"] = json!(REHAB_TEAM);
        let reply = world.post("/v1/referrals", REHAB_TEAM, &theirs).await;
        assert_eq!(reply.status, 409, "version {number}: {}", reply.text);
        assert!(reply.text.contains("sent by another unit") && !reply.text.contains("version 4"), "{}", reply.text);
        let mut other = mine(number);
        other["patient"]["personnummer"] = json!(OTHER_PATIENT);
        assert_eq!(world.post("/v1/referrals", ONCOLOGY, &other).await.status, 409, "version {number}");
    }
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 1, "{shown:#}");
    let late = world.post("/v1/referrals", ONCOLOGY, &mine(1)).await;
    assert_eq!(late.status, 202, "the sender's own may come late: {}", late.text);
    world.close().await;
}

#[actix_web::test]
async fn a_retraction_that_retracts_nothing_says_so() {
    let world = World::open().await;
    let retracted = |number: u32, version: u32| {
        let mut document = self::version(referral(number), version);
        document["status"] = json!("entered-in-error");
        document
    };
    let unknown = world.post("/v1/referrals", ONCOLOGY, &retracted(1, 1)).await;
    assert_eq!(unknown.status, 202, "{}", unknown.text);
    assert!(unknown.findings().contains("nothing was retracted"), "{}", unknown.findings());
    world.refer(&version(referral(2), 3)).await;
    let older = world.post("/v1/referrals", ONCOLOGY, &retracted(2, 2)).await;
    assert_eq!(older.status, 409, "{}", older.text);
    assert!(older.text.contains("version 4"), "{}", older.text);
    let mut small = referral(3);
    small["id"] = json!(format!("{}#R-3", ONCOLOGY.to_lowercase()));
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &small).await.status, 422, "another writing is another document");
    world.close().await;
}

#[actix_web::test]
async fn another_patients_plan_does_not_travel_along_and_another_patients_request_gets_no_activity() {
    let world = World::open().await;
    let mut theirs = plan(1);
    theirs["patient"]["personnummer"] = json!(OTHER_PATIENT);
    theirs["recipients"] = json!([NORTH]);
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &theirs).await.status, 202);
    let mut mine = referral_to(1, SOUTH);
    mine["planId"] = theirs["id"].clone();
    let reply = world.post("/v1/referrals", ONCOLOGY, &mine).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    assert!(reply.findings().contains("annan patient"), "{}", reply.findings());
    assert!(world.get("/fhir/CarePlan", SOUTH).await.json().get("entry").is_none());

    world.refer(&referral(2)).await;
    let mut done = activity(1);
    done["requestId"] = json!(format!("{ONCOLOGY}#R-2"));
    done["patient"]["personnummer"] = json!(OTHER_PATIENT);
    let reply = world.post("/v1/activities", NORTH, &done).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn a_referral_that_goes_to_another_unit_begins_anew_there_and_ends_at_the_first() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let first = world.task(&exchange, NORTH).await;
    let people = world.people();
    people.step(&first, "accepted", &vardkedja::demo::Left::default()).await.unwrap();
    world.until(&exchange, "accepted").await;

    let reply = world.post("/v1/referrals", ONCOLOGY, &version(referral_to(1, SOUTH), 2)).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let second = world.task(&exchange, SOUTH).await;
    assert_ne!(first, second);
    let task = world.get(&format!("/fhir/Task/{second}"), SOUTH).await.json();
    assert_eq!(task["status"], "requested", "nobody at the new unit has accepted it");
    while people.task(&first).await.unwrap()["status"] != "entered-in-error" {
        tokio::task::yield_now().await; // the first unit is told that it is over
    }
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert!(!shown["parties"].to_string().contains(NORTH), "{shown:#}");
    assert_eq!(world.get(&exchange, NORTH).await.status, 404);

    let reply = world.post("/v1/referrals", ONCOLOGY, &version(referral(1), 3)).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    while people.task(&first).await.unwrap()["status"] != "requested" {
        tokio::task::yield_now().await; // the first unit is asked again
    }
    world.until(&exchange, "delivered").await;
    let task = world.get(&format!("/fhir/Task/{first}"), NORTH).await.json();
    assert_eq!(task["status"], "requested", "{task:#}");
    people.step(&first, "accepted", &vardkedja::demo::Left::default()).await.unwrap();
    world.until(&exchange, "accepted").await;
    world.close().await;
}

#[actix_web::test]
async fn a_participant_that_a_sip_leaves_out_does_not_stop_the_answers_of_others() {
    let world = World::open().await;
    let text = include_str!("../../mappings/examples/handover.sip-small.source.json");
    let sip: Value = serde_json::from_str(text).unwrap();
    let exchange = world.post("/v1/handovers", ONCOLOGY, &sip).await.location.unwrap();
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let mut without = version(sip, 2);
    without["participants"][1]["unit"] = json!(SOUTH);
    without["interventions"][0]["responsible"] = json!(SOUTH);
    without["overallResponsibility"] = json!(SOUTH);
    without["followUp"]["responsible"] = json!(SOUTH);
    let reply = world.post("/v1/handovers", ONCOLOGY, &without).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    while world.people().task(&task).await.unwrap()["status"] != "entered-in-error" {
        tokio::task::yield_now().await;
    }
    let other = world.refer(&referral(7)).await;
    world.until(&other, "delivered").await;
    let task = world.task(&other, NORTH).await;
    world.people().step(&task, "accepted", &vardkedja::demo::Left::default()).await.unwrap();
    world.until(&other, "accepted").await;
    world.close().await;
}

#[actix_web::test]
async fn what_has_ended_is_not_asked_again_under_the_same_name() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let left = vardkedja::demo::Left { answer: Some("Klart."), ..Default::default() };
    world.people().step(&task, "completed", &left).await.unwrap();
    world.until(&exchange, "completed").await;
    let mut again = version(referral(1), 2);
    again["question"] = json!("En ny fråga.");
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &again).await.status, 409);

    world.refer(&referral(2)).await;
    let mut wrong = version(referral(2), 2);
    wrong["status"] = json!("entered-in-error");
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &wrong).await.status, 202);
    let reply = world.post("/v1/referrals", ONCOLOGY, &version(referral(2), 3)).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    let mut own = referral_to(3, ONCOLOGY);
    own["recipient"]["unit"] = json!(ONCOLOGY);
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &own).await.status, 422, "to oneself");
    world.close().await;
}

#[actix_web::test]
async fn what_was_wrong_can_be_retracted_although_the_unit_has_closed() {
    let world = World::open().await;
    let mut wrong = referral_to(1, CLOSED);
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &wrong).await.status, 422);
    wrong["status"] = json!("entered-in-error");
    let reply = world.post("/v1/referrals", ONCOLOGY, &wrong).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn nobody_makes_anothers_text_an_answer_to_read_it() {
    let world = World::open().await;
    let theirs = world
        .refer(&{
            let mut referral = referral(1);
            referral["patient"]["personnummer"] = json!(OTHER_PATIENT);
            referral
        })
        .await;
    let shown = world.get(&theirs, "").await.json();
    let names: Vec<String> =
        shown["resources"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect();
    let secret = names.iter().find(|n| n.starts_with("Communication/")).unwrap();
    world.refer(&referral_to(2, SOUTH)).await;
    let mut task = world.get("/fhir/Task", SOUTH).await.json()["entry"][0]["resource"].clone();
    task["status"] = json!("completed");
    task["output"] = json!([{ "type": { "text": "answer" }, "valueReference": { "reference": secret } }]);
    let path = format!("/fhir/Task/{}", task["id"].as_str().unwrap());
    let version = format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap());
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", version.as_str())];
    let reply = world.ask("PUT", &path, &headers, Some(task.to_string())).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn a_correction_is_not_held_up_by_what_it_corrects() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "parked").await;
    world.behave().await;
    world.refer(&version(referral(1), 2)).await;
    let shown = world.until(&exchange, "delivered").await;
    assert_eq!(shown["deliveries"][0]["state"], "skipped");
    assert!(shown["deliveries"][0]["note"].as_str().unwrap().contains("version 2"), "{shown:#}");
    world.close().await;
}

/// Rows of the audit log with that action, read from the file by another connection.
fn recorded(world: &World, action: &str) -> i64 {
    let db = rusqlite::Connection::open(world.folder.join("gateway.sqlite")).unwrap();
    db.query_row("SELECT count(*) FROM audit WHERE action = ?1", [action], |row| row.get(0)).unwrap()
}

#[actix_web::test]
async fn whoever_reads_is_on_record_before_the_answer_leaves() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    for (path, action) in [
        (format!("/fhir/Task/{task}"), "read"),
        (format!("/fhir/Task/{task}/_history"), "history"),
        (format!("/fhir/Task/{task}/_history/1"), "vread"),
        ("/fhir/Task?status=requested".to_owned(), "search"),
        (exchange.clone(), "read"),
        (format!("{exchange}/document"), "read"),
        ("/v1/exchanges".to_owned(), "search"),
    ] {
        let before = recorded(&world, action);
        assert_eq!(world.get(&path, SOUTH).await.status, 200, "{path}");
        assert_eq!(recorded(&world, action), before + 1, "{path}");
    }
    world.close().await;
}
