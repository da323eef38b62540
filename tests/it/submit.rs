//! What becomes of a document that is sent: once, twice, late, in error, and by the wrong one.

use std::sync::Arc;

use serde_json::json;

use crate::world::{CLOSED, NORTH, ONCOLOGY, World, activity, plan, referral};

#[actix_web::test]
async fn the_same_document_gets_the_same_receipt_byte_for_byte() {
    let world = World::open().await;
    let first = world.post("/v1/referrals", ONCOLOGY, &referral(1)).await;
    let second = world.post("/v1/referrals", ONCOLOGY, &referral(1)).await;
    assert_eq!((first.status, second.status), (202, 202), "{}", first.text);
    assert_eq!(first.text, second.text);
    assert_eq!(first.location, second.location);
    let exchange = first.location.unwrap();
    world.until(&exchange, "delivered").await;
    assert_eq!(world.journal("POST", "/fhir").await, 1, "it was delivered once");
    world.close().await;
}

#[actix_web::test]
async fn an_idempotency_key_belongs_to_one_request() {
    let world = World::open().await;
    let first = world.post_with_key("/v1/referrals", ONCOLOGY, "k-1", &referral(1)).await;
    let again = world.post_with_key("/v1/referrals", ONCOLOGY, "k-1", &referral(1)).await;
    assert_eq!((first.status, first.text), (again.status, again.text));
    let other = world.post_with_key("/v1/referrals", ONCOLOGY, "k-1", &referral(2)).await;
    assert_eq!(other.status, 422, "{}", other.text);
    assert!(other.findings().contains("Idempotency-Key"), "{}", other.text);
    let bad = world.post_with_key("/v1/referrals", ONCOLOGY, &"k".repeat(300), &referral(3)).await;
    assert_eq!(bad.status, 400);
    world.close().await;
}

#[actix_web::test]
async fn the_same_version_with_other_content_is_a_conflict() {
    let world = World::open().await;
    world.refer(&referral(1)).await;
    let mut changed = referral(1);
    changed["question"] = json!("En annan fråga.");
    let reply = world.post("/v1/referrals", ONCOLOGY, &changed).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    assert!(reply.findings().contains("version 2"), "it says how to mend it: {}", reply.findings());
    world.close().await;
}

#[actix_web::test]
async fn a_newer_version_supersedes_and_an_older_one_that_is_late_changes_nothing() {
    let world = World::open().await;
    let mut newer = referral(1);
    newer["version"] = json!(3);
    newer["reasonForVersion"] = json!("AR");
    newer["question"] = json!("Tredje versionen.");
    let exchange = world.refer(&newer).await;
    let before = world.until(&exchange, "delivered").await;
    let mut late = referral(1);
    late["version"] = json!(2);
    late["question"] = json!("Andra versionen.");
    let reply = world.post("/v1/referrals", ONCOLOGY, &late).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(reply.json()["document"]["inForce"], false);
    assert_eq!(reply.location.as_deref(), Some(exchange.as_str()));
    let after = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(after["document"]["version"], 3);
    assert_eq!(after["versions"].as_array().unwrap().len(), 2, "it is kept as history");
    assert_eq!(before["resources"], after["resources"]);
    assert_eq!(world.journal("POST", "/fhir").await, 1);
    let document = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(document["question"], "Tredje versionen.");
    world.close().await;
}

#[actix_web::test]
async fn a_document_entered_in_error_is_corrected_at_the_recipient() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let mut wrong = referral(1);
    wrong["version"] = json!(2);
    wrong["status"] = json!("entered-in-error");
    wrong["reasonForVersion"] = json!("AR");
    world.refer(&wrong).await;
    world.until(&exchange, "entered-in-error").await;
    assert_eq!(world.at_clinic("ServiceRequest").await[0]["status"], "entered-in-error");
    assert_eq!(world.at_clinic("Task").await[0]["status"], "entered-in-error");
    world.close().await;
}

#[actix_web::test]
async fn a_code_that_a_new_version_leaves_out_is_retracted_and_not_forgotten() {
    let world = World::open().await;
    let mut both = activity(1);
    both["codes"] = json!([{ "code": "DV133" }, { "code": "DV143" }]);
    let reply = world.post("/v1/activities", NORTH, &both).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let mut one = activity(1);
    one["version"] = json!(2);
    world.post("/v1/activities", NORTH, &one).await;
    let bundle = world.get("/fhir/Procedure?_count=10", NORTH).await.json();
    let mut found: Vec<(String, String)> = bundle["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["resource"])
        .map(|r| (r["code"]["coding"][0]["code"].as_str().unwrap().into(), r["status"].as_str().unwrap().into()))
        .collect();
    found.sort();
    assert_eq!(found, [("DV133".into(), "completed".into()), ("DV143".into(), "entered-in-error".into())]);
    world.close().await;
}

#[actix_web::test]
async fn many_who_send_the_same_at_once_make_one_exchange_and_one_patient() {
    let world = Arc::new(World::open().await);
    let mut senders = Vec::new();
    for number in 0..24 {
        let world = Arc::clone(&world);
        senders.push(tokio::spawn(async move { world.post("/v1/referrals", ONCOLOGY, &referral(number % 3)).await }));
    }
    let mut locations = Vec::new();
    for sender in senders {
        let reply = sender.await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.text);
        locations.push(reply.location.unwrap());
    }
    locations.sort();
    locations.dedup();
    assert_eq!(locations.len(), 3);
    let patients = world.get("/fhir/Patient", ONCOLOGY).await.json();
    assert_eq!(patients["entry"].as_array().unwrap().len(), 1);
    for location in &locations {
        world.until(location, "delivered").await;
    }
    assert_eq!(world.at_clinic("Patient").await.len(), 1);
    assert_eq!(world.at_clinic("Task").await.len(), 3);
    Arc::into_inner(world).unwrap().close().await;
}

#[actix_web::test]
async fn every_finding_is_told_at_once_and_nothing_is_written() {
    let world = World::open().await;
    let mut bad = referral(1);
    bad["patient"]["personnummer"] = json!("195009072554");
    bad["recipient"]["unit"] = json!(CLOSED);
    bad["urgency"] = json!("yesterday");
    bad["authoredOn"] = json!("2026-02-30T08:15:00+01:00");
    bad["favouriteColour"] = json!("blå");
    let reply = world.post("/v1/referrals", ONCOLOGY, &bad).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    let findings = reply.findings();
    for what in ["identifier", "Enheten", "priority", "authoredOn", "favouriteColour"] {
        assert!(findings.contains(what), "{what} is not in:\n{findings}");
    }
    assert!(!reply.text.contains("195009072554"), "a finding never quotes a personnummer");
    assert!(world.get("/v1/exchanges", "").await.json()["exchanges"].as_array().unwrap().is_empty());
    world.close().await;
}

#[actix_web::test]
async fn bytes_that_are_no_document_are_refused_as_malformed() {
    let world = World::open().await;
    let send = async |media_type: &str, body: &str| {
        let headers = [("Content-Type", media_type), ("Vardkedja-Unit", ONCOLOGY)];
        world.ask("POST", "/v1/referrals", &headers, Some(body.to_owned())).await
    };
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for (body, what) in [
        ("{\"id\": \"a\"", "truncated"),
        ("{\"id\": 1, \"id\": 2}", "duplicate key"),
        ("", "empty"),
        ("<html>", "not JSON"),
        ("{} {}", "trailing"),
        (deep.as_str(), "too deep"),
    ] {
        let reply = send("application/json", body).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text);
        assert_eq!(reply.json()["resourceType"], "OperationOutcome", "{what}");
    }
    let xml = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>";
    assert_eq!(send("application/xml", xml).await.status, 400, "a DTD is refused");
    assert_eq!(send("text/plain", "hej").await.status, 415);
    let headers = [("Content-Type", "application/json")];
    let huge = world.ask("POST", "/v1/referrals", &headers, Some("x".repeat(5 * 1024 * 1024))).await;
    assert_eq!(huge.status, 413, "{}", huge.text);
    assert!(huge.findings().contains("body_bytes"));
    world.close().await;
}

#[actix_web::test]
async fn nobody_sends_for_another_unit() {
    let world = World::open().await;
    let reply = world.post("/v1/referrals", NORTH, &referral(1)).await;
    assert_eq!(reply.status, 403, "{}", reply.text);
    let unknown = world.post("/v1/referrals", "SE0000000000-X", &referral(1)).await;
    assert_eq!(unknown.status, 403, "{}", unknown.text);
    world.close().await;
}

#[actix_web::test]
async fn a_revised_plan_goes_to_the_unit_that_has_an_open_referral() {
    let world = World::open().await;
    let mut first = plan(1);
    first["recipients"] = json!([crate::world::SOUTH]);
    first["interventions"][0]["responsible"] = json!(ONCOLOGY);
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, &first).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert!(!reply.text.contains(NORTH));
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let mut revised = first.clone();
    revised["version"] = json!(2);
    revised["title"] = json!("Reviderad plan");
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, &revised).await;
    assert!(reply.json()["recipients"].to_string().contains(NORTH), "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn ndjson_has_a_result_for_each_line_in_its_place() {
    let world = World::open().await;
    let mut bad = activity(2);
    bad["codes"] = json!([{ "code": "DV199" }]);
    let body = format!("{}\n{}\n\n{{\"id\": \n{}\n", activity(1), bad, activity(3));
    let headers = [("Content-Type", "application/x-ndjson"), ("Vardkedja-Unit", NORTH)];
    let reply = world.ask("POST", "/v1/activities", &headers, Some(body)).await;
    assert_eq!(reply.status, 200);
    let lines: Vec<serde_json::Value> = reply.text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let statuses: Vec<u64> = lines.iter().map(|l| l["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 422, 400, 202], "{}", reply.text);
    assert!(lines[1].to_string().contains("DV199"), "the finding names the code");
    assert!(lines[1].to_string().contains("DV1"), "and the nearest");
    world.close().await;
}

#[actix_web::test]
async fn an_add_on_waits_for_its_main_activity_and_is_tied_to_it_when_it_comes() {
    let world = World::open().await;
    let send = async |xml: &str| {
        let headers = [("Vardkedja-Unit", NORTH), ("Content-Type", "application/xml")];
        world.ask("POST", "/v1/activities", &headers, Some(xml.to_owned())).await
    };
    let add_on = send(include_str!("../../mappings/examples/activity.riv-add-on.source.xml")).await;
    assert_eq!(add_on.status, 202, "{}", add_on.text);
    assert!(add_on.findings().contains("väntar på sin huvudåtgärd"), "{}", add_on.findings());
    let exchange = add_on.location.unwrap();
    assert_eq!(world.get(&exchange, NORTH).await.json()["stage"], "parked");
    assert!(world.get("/fhir/Procedure", NORTH).await.json().get("entry").is_none(), "it does not count yet");

    let main = send(include_str!("../../mappings/examples/activity.riv-small.source.xml")).await;
    assert_eq!(main.status, 202, "{}", main.text);
    assert!(main.findings().contains("Ineras exempel"), "{}", main.findings());
    assert_eq!(world.get(&exchange, NORTH).await.json()["stage"], "recorded");
    let found = world.get("/fhir/Procedure?code=ZV051", NORTH).await.json();
    let part_of = found["entry"][0]["resource"]["partOf"][0]["reference"].as_str().unwrap().to_owned();
    let main = world.get(&format!("/fhir/{part_of}"), NORTH).await.json();
    assert_eq!(main["code"]["coding"][0]["code"], "DV133");
    world.close().await;
}

#[actix_web::test]
async fn a_withdrawn_consent_stops_what_was_not_sent_and_tells_who_has_it() {
    let world = World::open().await;
    let text = include_str!("../../mappings/examples/handover.sip-small.source.json");
    let sip: serde_json::Value = serde_json::from_str(text).unwrap();
    let withdrawn = |version: u32| {
        let mut sip = sip.clone();
        sip["version"] = json!(version);
        sip["consent"]["decision"] = json!("withdrawn");
        sip["consent"]["withdrawnAt"] = json!("2026-04-01T08:00:00+02:00");
        sip
    };
    let first = world.post("/v1/handovers", ONCOLOGY, &withdrawn(1)).await;
    assert_eq!(first.status, 422, "a SIP does not begin without consent: {}", first.text);

    // A parked referral of the same patient holds the plan back: it has not been sent when the consent goes.
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let parked = world.refer(&referral(1)).await;
    world.until(&parked, "parked").await;
    let reply = world.post("/v1/handovers", ONCOLOGY, &sip).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let reply = world.post("/v1/handovers", ONCOLOGY, &withdrawn(2)).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    world.behave().await;
    let exchange = reply.location.unwrap();
    assert_eq!(world.get(&exchange, NORTH).await.status, 404, "who never got it sees nothing of it");
    assert!(world.get("/fhir/CarePlan", NORTH).await.json().get("entry").is_none());
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    let states: Vec<&str> =
        shown["deliveries"].as_array().unwrap().iter().map(|d| d["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["skipped"], "{shown:#}");

    let id = world.get(&parked, "").await.json()["deliveries"][0]["id"].as_str().unwrap().to_owned();
    world.post(&format!("/v1/deliveries/{id}/retry"), ONCOLOGY, &json!({})).await;
    let mut refused = sip.clone();
    refused["id"] = json!(format!("{ONCOLOGY}#SIP-3"));
    refused["consent"]["decision"] = json!("refused");
    let reply = world.post("/v1/handovers", ONCOLOGY, &refused).await;
    assert_eq!(reply.status, 422, "refusal means no SIP: {}", reply.text);
    let mut second = sip.clone();
    second["id"] = json!(format!("{ONCOLOGY}#SIP-2"));
    let reply = world.post("/v1/handovers", ONCOLOGY, &second).await;
    let exchange = reply.location.unwrap();
    world.until(&exchange, "delivered").await;
    let mut end = withdrawn(2);
    end["id"] = second["id"].clone();
    let reply = world.post("/v1/handovers", ONCOLOGY, &end).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    while !world.at_clinic("Consent").await.iter().any(|c| c["status"] == "inactive") {
        tokio::task::yield_now().await; // whoever has the plan is told
    }
    world.close().await;
}

#[actix_web::test]
async fn a_list_without_end_is_refused_before_it_is_mapped() {
    let world = World::open().await;
    let mut endless = referral(1);
    endless["conditions"] = json!(vec![json!({ "code": "C50.9" }); 60_000]);
    let reply = world.post("/v1/referrals", ONCOLOGY, &endless).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    assert!(
        reply.findings().contains("limits.items") && reply.findings().contains("conditions"),
        "{}",
        reply.findings()
    );
    world.close().await;
}

#[actix_web::test]
async fn a_contact_is_reported_in_one_document() {
    let world = World::open().await;
    assert_eq!(world.post("/v1/activities", NORTH, &activity(1)).await.status, 202);
    let mut other = activity(2);
    other["contactId"] = activity(1)["contactId"].clone();
    let reply = world.post("/v1/activities", NORTH, &other).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    assert!(reply.findings().contains("contactId"), "{}", reply.findings());
    let mut wrong = activity(1);
    wrong["version"] = json!(2);
    wrong["status"] = json!("entered-in-error");
    assert_eq!(world.post("/v1/activities", NORTH, &wrong).await.status, 202);
    assert_eq!(world.post("/v1/activities", NORTH, &other).await.status, 202, "what was wrong is no hindrance");
    world.close().await;
}

#[actix_web::test]
async fn a_large_document_is_taken_as_a_small_one_is() {
    let world = World::open().await;
    let mut large = plan(1);
    let goal = large["goals"][0].clone();
    let goals = (0..300).map(|n| {
        let mut one = goal.clone();
        one["id"] = json!(format!("L{n}"));
        one["text"] = json!("Orka gå i trappor. ".repeat(20));
        one
    });
    large["goals"].as_array_mut().unwrap().extend(goals);
    assert!(large.to_string().len() > 100_000);
    let first = world.post_with_key("/v1/rehab-plans", ONCOLOGY, "large", &large).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = world.post_with_key("/v1/rehab-plans", ONCOLOGY, "large", &large).await;
    assert_eq!((again.status, again.text), (202, first.text));
    world.until(&first.location.unwrap(), "delivered").await;
    large["created"] = json!("2026-02-30");
    let refused = world.post("/v1/rehab-plans", ONCOLOGY, &large).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    world.close().await;
}
