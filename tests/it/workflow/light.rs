//! A partner without a FHIR server does all with GET and POST.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{answer, areas, document, standing, taken};
use crate::world::{NORTH, ONCOLOGY, SOUTH, World, referral, referral_to};

#[actix_web::test]
async fn a_light_partner_reads_what_it_is_asked_and_answers_with_one_post() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let inbox = world.get("/v1/exchanges?open=true", SOUTH).await.json();
    assert_eq!(format!("/v1/exchanges/{}", inbox["exchanges"][0]["id"].as_str().unwrap()), exchange);
    let read = document(&world, &exchange, SOUTH).await;
    assert_eq!(read["question"], "Önskar fortsatt handledd träning i primärvården.");
    let told = taken(&world, &exchange, SOUTH, json!({
        "status": "accepted", "businessStatus": "booked", "text": "Tid den 3 mars.", "by": super::PERSON, "version": 1,
    }))
    .await;
    assert_eq!(told["status"], "accepted");
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(shown["state"]["businessStatus"], "booked");
    assert_eq!(
        (&shown["state"]["answer"]["text"], &shown["state"]["answer"]["by"]),
        (&json!("Tid den 3 mars."), &json!(super::PERSON))
    );
    let stale = answer(&world, &exchange, SOUTH, json!({ "status": "in-progress", "version": 1 })).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    taken(&world, &exchange, SOUTH, json!({ "status": "completed", "text": "Klart.", "businessStatus": "no-show" }))
        .await;
    world.until(&exchange, "completed").await;
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(
        (&shown["state"]["businessStatus"], &shown["state"]["answer"]["text"]),
        (&json!("no-show"), &json!("Klart."))
    );
    world.close().await;
}

#[actix_web::test]
async fn a_referral_that_came_as_riv_is_read_as_json_by_its_recipient_and_as_riv_by_its_sender() {
    let world = World::open().await;
    let riv = include_str!("../../../mappings/examples/referral.riv-small.source.xml");
    let riv = riv.replace(NORTH, SOUTH);
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/xml")];
    let sent = world.ask("POST", "/v1/referrals", &headers, Some(riv)).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    // It waits for the consultations, which the format has no field for.
    let released = world
        .post(&format!("{}/consultations", sent.location.clone().unwrap()), ONCOLOGY, &crate::transfer::consultations())
        .await;
    assert_eq!(released.status, 200, "{}", released.text);
    let path = format!("{}/document", sent.location.clone().unwrap());
    let own = world.get(&path, ONCOLOGY).await;
    assert!(own.text.starts_with("<?xml") || own.text.starts_with('<'), "{}", own.text);
    let read = world.get(&path, SOUTH).await.json();
    assert_eq!(read["requester"]["unit"], ONCOLOGY, "{read:#}");
    assert!(read["question"].is_string());
    let headers = [("Vardkedja-Unit", SOUTH), ("Accept", "application/xml")];
    assert!(world.ask("GET", &path, &headers, None).await.text.starts_with('<'));
    // No area stands in such a referral: any may be answered. The format has no state, and the sender follows the exchange.
    let exchange = sent.location.unwrap();
    let body = json!({ "status": "accepted", "areas": [
        { "area": "fatigue", "status": "accepted" }, { "area": "nutrition", "status": "rejected", "reason": "Ingen dietist." },
    ] });
    taken(&world, &exchange, SOUTH, body).await;
    assert_eq!(areas(&standing(&world, &exchange, SOUTH).await), ["fatigue accepted", "nutrition rejected"]);
    assert_eq!(world.get(&path, ONCOLOGY).await.status, 200);
    let state = world.get(&path, SOUTH).await.json()["state"].clone();
    assert_eq!(state["areas"].as_array().map(Vec::len), Some(2), "{state:#}");
    world.close().await;
}

#[actix_web::test]
async fn everything_that_is_wrong_is_told_at_once_by_the_fields_of_the_answer() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let form = json!({
        "status": "ready", "businessStatus": "lost", "areas": [{ "area": "", "status": "x", "why": 1 }, 3], "text": "",
        "by": "Bo Ek", "confirmedContact": { "at": "igår" }, "activities": [{ "kva": "DV133" }], "redirectTo": "x",
        "cancellation": "maybe", "version": 0, "unit": 1, "patient": "195009072553",
    });
    let reply = answer(&world, &exchange, SOUTH, form).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    for place in [
        "status",
        "businessStatus",
        "areas[0].area",
        "areas[0].status",
        "areas[0].why",
        "areas[1]",
        "text",
        "by",
        "confirmedContact.at",
        "confirmedContact.medium",
        "activities[0].at",
        "redirectTo",
        "cancellation",
        "version",
        "unit",
        "patient",
    ] {
        assert!(reply.findings().contains(&format!("\"{place}\"")), "{place}: {}", reply.findings());
    }
    assert!(!reply.text.contains("1950") && !reply.text.contains("Bo Ek"), "{}", reply.text);
    let rules = json!({
        "status": "completed", "businessStatus": "booked", "confirmedContact": { "at": "2026-03-01", "medium": "phone" },
        "activities": [{ "kva": "XX999", "at": "2026-03-01" }, { "kva": "DV133", "at": "2026-03-01" }],
    });
    let reply = answer(&world, &exchange, SOUTH, rules).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    for place in ["text", "businessStatus", "confirmedContact", "activities[0].kva"] {
        assert!(reply.findings().contains(&format!("\"{place}\"")), "{place}: {}", reply.findings());
    }
    assert!(!reply.findings().contains("activities[1]"), "{}", reply.findings());
    assert!(answer(&world, &exchange, SOUTH, json!({})).await.findings().contains("\"status\""));
    let early = answer(&world, &exchange, SOUTH, json!({ "status": "failed", "text": "x" })).await;
    assert_eq!(early.status, 409);
    assert!(early.findings().contains("\"status\""), "{}", early.findings());
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "waiting");
    world.close().await;
}

#[actix_web::test]
async fn an_answer_with_a_key_is_applied_once_however_often_it_comes() {
    let world = Arc::new(World::open().await);
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let path = format!("{exchange}/answers");
    let body =
        json!({ "status": "completed", "text": "Klart.", "activities": [{ "kva": "DV133", "at": "2026-03-18" }] });
    let mut senders = Vec::new();
    for _ in 0..8 {
        let (world, path, body) = (Arc::clone(&world), path.clone(), body.clone());
        senders.push(tokio::spawn(async move { world.post_with_key(&path, SOUTH, "A-1", &body).await }));
    }
    for sender in senders {
        let reply = sender.await.unwrap();
        assert_eq!((reply.status, &reply.json()["version"]), (200, &json!(2)), "{}", reply.text);
    }
    let other = world.post_with_key(&path, SOUTH, "A-1", &json!({ "status": "failed", "text": "x" })).await;
    assert_eq!(other.status, 422, "{}", other.text);
    let acts = world.get("/fhir/Procedure", ONCOLOGY).await.json();
    assert_eq!(acts["entry"].as_array().unwrap().len(), 1);
    // Without a key the same answer again says nothing new.
    let exchange = world.refer(&referral_to(2, SOUTH)).await;
    let accept = json!({ "status": "accepted", "text": "Tid skickas." });
    for _ in 0..2 {
        assert_eq!(taken(&world, &exchange, SOUTH, accept.clone()).await["version"], 2);
    }
    Arc::into_inner(world).unwrap().close().await;
}

#[actix_web::test]
async fn a_light_partner_answers_a_request_to_stop() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let never = answer(&world, &exchange, SOUTH, json!({ "cancellation": "agreed" })).await;
    assert_eq!(never.status, 409, "{}", never.text);
    taken(&world, &exchange, SOUTH, json!({ "status": "accepted" })).await;
    let ask = json!({ "reason": "Flyttat." });
    world.post(&format!("{exchange}/cancel"), ONCOLOGY, &ask).await;
    let why = answer(&world, &exchange, SOUTH, json!({ "cancellation": "refused" })).await;
    assert!(why.status == 422 && why.findings().contains("\"text\""), "{}", why.text);
    let both = answer(&world, &exchange, SOUTH, json!({ "cancellation": "agreed", "status": "accepted" })).await;
    assert!(both.status == 422 && both.findings().contains("\"cancellation\""), "{}", both.text);
    taken(&world, &exchange, SOUTH, json!({ "cancellation": "refused", "text": "Första besöket är gjort." })).await;
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(shown["cancellations"][0]["answer"], "Första besöket är gjort.");
    assert_eq!(shown["stage"], "accepted");
    world.post(&format!("{exchange}/cancel"), ONCOLOGY, &ask).await;
    taken(&world, &exchange, SOUTH, json!({ "cancellation": "agreed" })).await;
    world.until(&exchange, "cancelled").await;
    world.close().await;
}

fn handover(kind: &str) -> Value {
    let text = match kind {
        "active" => include_str!("../../../mappings/examples/handover.active-small.source.json"),
        _ => include_str!("../../../mappings/examples/handover.sip-small.source.json"),
    };
    serde_json::from_str(&text.replace(NORTH, SOUTH)).unwrap()
}

#[actix_web::test]
async fn an_active_handover_is_completed_with_the_contact_in_the_same_post() {
    let world = World::open().await;
    let reply = world.post("/v1/handovers", ONCOLOGY, &handover("active")).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let exchange = reply.location.unwrap();
    taken(&world, &exchange, SOUTH, json!({ "status": "accepted" })).await;
    let without = answer(&world, &exchange, SOUTH, json!({ "status": "completed", "text": "Klart." })).await;
    assert!(without.status == 422 && without.findings().contains("confirmedContact"), "{}", without.text);
    let medium = json!({ "status": "completed", "text": "Klart.", "confirmedContact": { "at": "2026-03-03", "medium": "duva" } });
    let reply = answer(&world, &exchange, SOUTH, medium).await;
    assert!(reply.findings().contains("confirmedContact.medium"), "{}", reply.text);
    let contact =
        json!({ "at": "2026-03-03T11:20:00+01:00", "medium": "phone", "text": "Välkommen.", "by": super::PERSON });
    taken(&world, &exchange, SOUTH, json!({ "status": "completed", "text": "Klart.", "confirmedContact": contact }))
        .await;
    let shown = document(&world, &exchange, ONCOLOGY).await;
    assert_eq!(shown["state"]["confirmedContact"], contact, "{shown:#}");
    world.close().await;
}

#[actix_web::test]
async fn a_participant_of_a_sip_answers_for_itself() {
    let world = World::open().await;
    let sip = handover("sip");
    let reply = world.post("/v1/handovers", ONCOLOGY, &sip).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let exchange = reply.location.unwrap();
    let areas = json!({ "status": "accepted", "areas": [{ "area": "fatigue", "status": "accepted" }] });
    assert_eq!(answer(&world, &exchange, SOUTH, areas).await.status, 422, "a SIP is answered as a whole");
    let on = answer(&world, &exchange, SOUTH, json!({ "redirectTo": NORTH })).await;
    assert_eq!(on.status, 422, "the consent names its participants: {}", on.text);
    taken(&world, &exchange, SOUTH, json!({ "status": "accepted", "text": "Vi kommer." })).await;
    let line = standing(&world, &exchange, SOUTH).await;
    assert_eq!(line["status"], "accepted", "{line:#}");
    let shown = document(&world, &exchange, ONCOLOGY).await;
    let mine = shown["participants"].as_array().unwrap().iter().find(|p| p["unit"] == SOUTH).unwrap().clone();
    assert_eq!(mine["state"]["answer"]["text"], "Vi kommer.", "{shown:#}");
    world.close().await;
}

#[actix_web::test]
async fn what_a_unit_with_a_server_of_its_own_answers_here_its_server_is_told() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    taken(&world, &exchange, NORTH, json!({ "status": "accepted" })).await;
    world.until(&exchange, "accepted").await;
    let task = world.task(&exchange, NORTH).await;
    assert_eq!(world.people().task(&task).await.unwrap()["status"], "accepted");
    assert_eq!(
        world.get("/v1/answers/held", "").await.json()["answers"],
        json!([]),
        "its copy is read as it stands now"
    );
    world.close().await;
}
