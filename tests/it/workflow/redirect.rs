//! A referral that is sent on: the new unit goes on, the old one sees no more than its own part, and the sender follows it.

use serde_json::{Value, json};

use super::{answer, areas, document, standing, taken};
use crate::world::{CLOSED, NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, referral, referral_to};

const MUNICIPALITY: &str = "SE2120001355-E000000000501";

#[actix_web::test]
async fn a_referral_that_is_sent_on_goes_on_with_the_new_unit_and_comes_back_to_the_sender() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let on = json!({ "redirectTo": NORTH, "text": "Patienten är listad i norr.", "by": super::PERSON });
    assert_eq!(taken(&world, &exchange, SOUTH, on).await["status"], "rejected");
    // NORTH has a server of its own and gets it whole; there it is answered.
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), 1);
    let left = vardkedja::demo::Left { answer: Some("Klart."), ..Default::default() };
    world.people().step(&task, "accepted", &vardkedja::demo::Left::default()).await.unwrap();
    world.until(&exchange, "accepted").await;
    world.people().step(&task, "completed", &left).await.unwrap();
    world.until(&exchange, "completed").await;

    let old = standing(&world, &exchange, SOUTH).await;
    assert_eq!((&old["status"], &old["businessStatus"]), (&json!("rejected"), &json!("redirected")));
    assert_eq!((&old["redirectedTo"], &old["role"]), (&json!(NORTH), &json!("redirected")));
    assert_eq!(old["reason"], "Patienten är listad i norr.");
    let new = standing(&world, &exchange, NORTH).await;
    assert_eq!((&new["status"], &new["redirectedFrom"]), (&json!("completed"), &json!(SOUTH)));
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(shown["recipient"]["unit"], SOUTH, "the document is as it was sent");
    assert_eq!(shown["state"]["redirectedTo"], NORTH, "{shown:#}");
    assert_eq!((&shown["state"]["status"], &shown["state"]["answer"]["text"]), (&json!("completed"), &json!("Klart.")));
    world.close().await;
}

#[actix_web::test]
async fn whoever_has_sent_it_on_sees_its_own_part_and_nothing_of_what_comes_after() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let old = world.task(&exchange, NORTH).await;
    taken(&world, &exchange, NORTH, json!({ "redirectTo": SOUTH })).await;
    assert_eq!(world.get(&exchange, NORTH).await.status, 404);
    assert_eq!(world.get(&format!("{exchange}/document"), NORTH).await.status, 404);
    assert_eq!(answer(&world, &exchange, NORTH, json!({ "status": "accepted" })).await.status, 404);
    let own = world.get("/fhir/Task", NORTH).await.json();
    assert_eq!(own["entry"].as_array().unwrap().len(), 1, "{own:#}");
    assert_eq!(own["entry"][0]["resource"]["id"], old);
    assert_eq!(world.get("/fhir/ServiceRequest?_total=accurate", NORTH).await.json()["total"], 0);
    // Its own server is told that the Task has ended.
    for _ in 0..400 {
        if world.people().task(&old).await.unwrap()["status"] == "rejected" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(world.people().task(&old).await.unwrap()["status"], "rejected");
    // SOUTH has all of it, and answers.
    let read = document(&world, &exchange, SOUTH).await;
    assert_eq!(read["state"]["redirectedTo"], SOUTH, "{read:#}");
    let body = json!({ "status": "accepted", "text": "Vi tar över.", "areas": [{ "area": "physical-activity", "status": "accepted" }] });
    taken(&world, &exchange, SOUTH, body).await;
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(areas(&line), ["physical-activity accepted"]);
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(shown["state"]["areas"][0]["area"], "physical-activity", "{shown:#}");
    assert_eq!(world.get("/fhir/Task?_total=accurate", NORTH).await.json()["total"], 1);
    assert_eq!(world.get("/fhir/Communication?sent=gt2026-03-02&_total=accurate", NORTH).await.json()["total"], 0);
    world.close().await;
}

#[actix_web::test]
async fn it_is_sent_on_only_where_the_rules_let_it_and_before_it_is_accepted() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    for (to, status) in [(SOUTH, 422), (ONCOLOGY, 422), (REHAB_TEAM, 422), (CLOSED, 422), ("SE2321000131-E999", 422)] {
        let reply = answer(&world, &exchange, SOUTH, json!({ "redirectTo": to })).await;
        assert_eq!(reply.status, status, "{to}: {}", reply.text);
        assert!(reply.findings().contains("redirectTo"), "{}", reply.findings());
    }
    let more = json!({ "redirectTo": NORTH, "areas": [{ "area": "physical-activity", "status": "accepted" }] });
    assert_eq!(answer(&world, &exchange, SOUTH, more).await.status, 422);
    let word =
        answer(&world, &exchange, SOUTH, json!({ "status": "rejected", "text": "x", "businessStatus": "redirected" }))
            .await;
    assert!(word.status == 422 && word.findings().contains("redirectTo"), "{}", word.text);
    taken(&world, &exchange, SOUTH, json!({ "redirectTo": MUNICIPALITY })).await;
    let back = answer(&world, &exchange, MUNICIPALITY, json!({ "redirectTo": SOUTH })).await;
    assert_eq!(back.status, 422, "not in a ring: {}", back.text);
    taken(&world, &exchange, MUNICIPALITY, json!({ "status": "accepted" })).await;
    let late = answer(&world, &exchange, MUNICIPALITY, json!({ "redirectTo": NORTH })).await;
    assert_eq!(late.status, 409, "{}", late.text);
    world.close().await;
}

#[actix_web::test]
async fn a_newer_version_goes_to_whoever_has_the_request_now() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    taken(&world, &exchange, SOUTH, json!({ "redirectTo": MUNICIPALITY })).await;
    taken(&world, &exchange, MUNICIPALITY, json!({ "status": "on-hold", "text": "Vilka mediciner?" })).await;
    let mut second = referral_to(1, SOUTH);
    second["version"] = json!(2);
    second["question"] = json!("Kompletterad.");
    let reply = world.post("/v1/referrals", ONCOLOGY, &second).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert!(reply.text.contains(MUNICIPALITY), "the receipt says so: {}", reply.text);
    let line = standing(&world, &exchange, MUNICIPALITY).await;
    assert_eq!(line["status"], "requested", "{line:#}");
    assert_eq!(standing(&world, &exchange, SOUTH).await["status"], "rejected");
    assert_eq!(world.get(&exchange, SOUTH).await.status, 404, "who sent it on gets no new version");
    assert_eq!(document(&world, &exchange, MUNICIPALITY).await["question"], "Kompletterad.");
    taken(&world, &exchange, MUNICIPALITY, json!({ "status": "rejected", "text": "Vi kan inte." })).await;
    // Nobody has it now: the unit that the sender names is asked.
    let mut third = second.clone();
    third["version"] = json!(3);
    world.refer(&third).await;
    let shown = world.get(&exchange, SOUTH).await.json();
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!((&line["status"], &line["role"]), (&json!("requested"), &json!("recipient")), "{shown:#}");
    assert_eq!(world.get(&exchange, MUNICIPALITY).await.status, 404);
    taken(&world, &exchange, SOUTH, json!({ "status": "accepted" })).await;
    let document: Value = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(document["state"]["status"], "accepted", "{document:#}");
    assert!(document["state"].get("redirectedTo").is_none(), "{document:#}");
    world.close().await;
}

#[actix_web::test]
async fn a_sender_takes_back_what_was_sent_on() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    taken(&world, &exchange, SOUTH, json!({ "redirectTo": MUNICIPALITY })).await;
    let reply = world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Flyttat." })).await;
    assert_eq!(reply.json()["cancelled"], json!([MUNICIPALITY]), "{}", reply.text);
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "cancelled");
    let requests = world.get("/fhir/ServiceRequest", ONCOLOGY).await.json();
    assert_eq!(requests["entry"][0]["resource"]["status"], "revoked");
    world.close().await;
}

#[actix_web::test]
async fn a_riv_referral_that_was_sent_on_names_its_new_recipient_and_who_sent_it_on() {
    let world = World::open().await;
    let riv = include_str!("../../../mappings/examples/referral.riv-small.source.xml").replace(NORTH, SOUTH);
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/xml")];
    let sent = world.ask("POST", "/v1/referrals", &headers, Some(riv)).await;
    let exchange = sent.location.unwrap();
    // It waits for the consultations, which the format has no field for.
    let released = world.post(&format!("{exchange}/consultations"), ONCOLOGY, &crate::transfer::consultations()).await;
    assert_eq!(released.status, 200, "{}", released.text);
    taken(&world, &exchange, SOUTH, json!({ "redirectTo": MUNICIPALITY })).await;
    let shown = world.get(&format!("{exchange}/document"), ONCOLOGY).await.text;
    let recipient = &shown[shown.find("recipient>").unwrap()..];
    assert!(recipient.contains(MUNICIPALITY), "{shown}");
    let forwarded = shown.find("intermediaryParticipant").map(|at| &shown[at..]);
    assert!(forwarded.is_some_and(|f| f.contains(SOUTH)), "{shown}");
    world.close().await;
}

#[actix_web::test]
async fn a_unit_sends_on_at_its_own_server() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let mut theirs = world.people().task(&task).await.unwrap();
    theirs["status"] = json!("rejected");
    theirs["statusReason"] = json!({ "text": "Listad i söder." });
    theirs["output"] = json!([{ "type": { "text": "redirected-to" }, "valueReference": {
        "type": "Organization", "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": SOUTH },
    } }]);
    let url = format!("{}/fhir/Task/{}", world.clinic, theirs["id"].as_str().unwrap());
    let headers = [("Content-Type", "application/fhir+json")];
    let put = world.ask("PUT", &url, &headers, Some(theirs.to_string())).await;
    assert_eq!(put.status, 200, "{}", put.text);
    world.until(&exchange, "waiting").await;
    assert_eq!(standing(&world, &exchange, NORTH).await["redirectedTo"], SOUTH);
    taken(&world, &exchange, SOUTH, json!({ "status": "accepted" })).await;
    assert_eq!(document(&world, &exchange, ONCOLOGY).await["state"]["status"], "accepted");
    world.close().await;
}

#[actix_web::test]
async fn the_timeline_says_who_answered_each_area_and_who_sent_it_on() {
    let world = World::open().await;
    let mut referral = referral_to(1, SOUTH);
    referral["areas"] = json!(["physical-activity", "tobacco"]);
    let exchange = world.refer(&referral).await;
    taken(&world, &exchange, SOUTH, json!({ "redirectTo": MUNICIPALITY })).await;
    let body = json!({ "status": "accepted", "areas": [
        { "area": "physical-activity", "status": "accepted" },
        { "area": "tobacco", "status": "rejected", "reason": "Ingen tid." },
    ] });
    taken(&world, &exchange, MUNICIPALITY, body).await;
    let told = world.get(&format!("{exchange}/timeline"), ONCOLOGY).await.json();
    let moves = told["events"].as_array().unwrap().iter().filter(|e| e["what"] == "task");
    let moves: Vec<String> = moves
        .map(|e| {
            let unit = |name: &str| e[name].as_str().unwrap_or("nobody").to_owned();
            format!("{} {} {}", unit("unit"), e["status"].as_str().unwrap(), unit("by"))
        })
        .collect();
    let mut expected = vec![
        format!("{SOUTH} requested {ONCOLOGY}"),
        format!("{SOUTH} rejected {SOUTH}"),
        format!("{MUNICIPALITY} requested {SOUTH}"),
        format!("{MUNICIPALITY} accepted {MUNICIPALITY}"),
        format!("{MUNICIPALITY} accepted {MUNICIPALITY}"),
        format!("{MUNICIPALITY} rejected {MUNICIPALITY}"),
    ];
    let mut moves = moves;
    moves.sort();
    expected.sort();
    assert_eq!(moves, expected, "{told:#}");
    world.close().await;
}
