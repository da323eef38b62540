//! A message that the platform reports sent; and what the journal still has to say of a programme that is gone.

use serde_json::{Value, json};

use super::{NURSE, YOUNG, done, start, step, until};
use crate::world::{ONCOLOGY, REHAB_TEAM, SOUTH, World};

#[actix_web::test]
async fn the_order_is_carried_out_once_and_the_report_has_none_of_its_words() {
    let world = World::open().await;
    let place = start(&world, YOUNG).await;
    let order = until(&world, "/fhir/CommunicationRequest?status=active", 1).await.remove(0);
    let words = order["payload"][0]["contentString"].as_str().unwrap().to_owned();
    let sent =
        async |unit, code: &str, body: Value| world.post(&format!("{place}/messages/{code}/sent"), unit, &body).await;
    let by = json!({ "by": NURSE, "at": "2026-03-01T08:00:00Z" });
    assert_eq!(sent(SOUTH, "start", by.clone()).await.status, 404, "none of its business");
    assert_eq!(sent(ONCOLOGY, "day-2", by.clone()).await.status, 422);
    let early = sent(ONCOLOGY, "day-3", by.clone()).await;
    assert_eq!(early.status, 409, "it is not due: {}", early.text);
    assert_eq!(sent(ONCOLOGY, "start", json!({})).await.status, 422);
    for _ in 0..2 {
        let reply = sent(ONCOLOGY, "start", by.clone()).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    until(&world, "/fhir/CommunicationRequest?status=active", 0).await;
    let report = until(&world, "/fhir/Communication", 1).await.remove(0);
    assert_eq!(report["sent"], "2026-03-01T08:00:00.000Z");
    assert_eq!(
        report["basedOn"][0]["reference"],
        json!(format!("CommunicationRequest/{}", order["id"].as_str().unwrap()))
    );
    assert!(!report.to_string().contains(&words), "{report:#}");
    let order = until(&world, "/fhir/CommunicationRequest?status=completed", 1).await.remove(0);
    assert_eq!(order["meta"]["versionId"], "2", "twice said is once done");
    let unknown = step(&world, &place, ONCOLOGY, "sent", "contact-nurse", json!({})).await;
    assert_eq!(unknown.status, 422, "no role takes it: {}", unknown.text);
    done(&world, &place, ONCOLOGY, "close", "contact-nurse", json!({ "withPatient": true })).await;
    until(&world, "/fhir/Communication", 0).await;
    world.close().await;
}

#[actix_web::test]
async fn of_a_purged_programme_only_what_the_journal_still_owes_is_left_and_it_can_be_done() {
    let world = World::open().await;
    let place = start(&world, YOUNG).await;
    let id = place.rsplit('/').next().unwrap().to_owned();
    until(&world, "/fhir/CommunicationRequest", 1).await;
    done(&world, &place, ONCOLOGY, "hand-over", "contact-nurse", json!({ "team": REHAB_TEAM })).await;
    done(&world, &place, REHAB_TEAM, "accept", "authorisation-administrator", json!({})).await;
    // The start is in the journal already: that reminder has no more to say.
    done(&world, &place, ONCOLOGY, "documented", "contact-nurse", json!({ "what": "start" })).await;
    let closed = done(&world, &place, REHAB_TEAM, "close", "therapist", json!({ "withPatient": true })).await;
    assert_eq!(closed["stage"], "purged");
    let left = until(&world, "/fhir/Task", 1).await.remove(0);
    assert_eq!(left["code"]["coding"][0]["code"], "document-end", "{left:#}");
    assert!(left["description"].as_str().unwrap().starts_with("JRN-14"));
    // Nothing else of it on any path: by search, in the history of everything, in what is to be delivered.
    let patient = left["for"]["reference"].as_str().unwrap().to_owned();
    let history = world.get("/fhir/_history?_count=100", "").await.json();
    let kinds: Vec<String> = history["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["resource"]["resourceType"].as_str().unwrap_or("-").to_owned())
        .collect();
    let gone = ["CarePlan", "CareTeam", "CommunicationRequest", "Communication"];
    assert!(!kinds.iter().any(|kind| gone.contains(&kind.as_str())), "{kinds:?}");
    assert!(
        history["entry"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["resource"]["resourceType"] == "Task")
            .all(|e| e["resource"]["id"] == left["id"])
    );
    let everything = world.get(&format!("/fhir/{patient}/$everything"), ONCOLOGY).await;
    assert!(
        !everything.text.contains("CommunicationRequest") && !everything.text.contains("CarePlan"),
        "{}",
        everything.text
    );
    let outbox = world.get("/v1/deliveries", "").await;
    assert!(!outbox.text.contains(&id), "{}", outbox.text);
    // And what the journal owes can be done, by the unit that owes it and by nobody else.
    let body = json!({ "what": "end" });
    assert_eq!(step(&world, &place, SOUTH, "documented", "therapist", body.clone()).await.status, 404);
    done(&world, &place, REHAB_TEAM, "documented", "therapist", body.clone()).await;
    done(&world, &place, REHAB_TEAM, "documented", "therapist", body).await;
    let ended = until(&world, "/fhir/Task?status=completed", 1).await.remove(0);
    assert_eq!((&ended["id"], &ended["meta"]["versionId"]), (&left["id"], &json!("2")));
    assert_eq!(ended["for"], left["for"], "it is found with its patient as before");
    let found = world.get(&format!("/fhir/Task?patient={patient}&status=completed"), REHAB_TEAM).await.json();
    assert_eq!(found["entry"].as_array().map(Vec::len), Some(1), "{found:#}");
    world.close().await;
}

#[actix_web::test]
async fn what_was_ordered_before_treatment_does_not_go_out_after_it_has_begun() {
    let world = World::open().await;
    let place = start(&world, YOUNG).await;
    until(&world, "/fhir/CommunicationRequest?status=active", 1).await;
    done(&world, &place, ONCOLOGY, "treatment-started", "contact-nurse", json!({})).await;
    until(&world, "/fhir/CommunicationRequest?status=active", 0).await;
    let order = until(&world, "/fhir/CommunicationRequest?status=revoked", 1).await.remove(0);
    assert_eq!(order["statusReason"]["text"], "Behandlingen har börjat (LIF-8).");
    let sent = world.post(&format!("{place}/messages/start/sent"), ONCOLOGY, &json!({ "by": NURSE })).await;
    assert_eq!(sent.status, 409, "{}", sent.text);
    world.close().await;
}
