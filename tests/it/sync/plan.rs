//! A plan that lives at two systems: the performer's word comes to the sender, the sender's new version to the performer.

use serde_json::json;

use super::{
    conflicts, delivered, document, intervention, is_quiet, only, plan, rounds, says, send_plan, until, write, writes,
};
use crate::world::{NORTH, ONCOLOGY, SOUTH, World};

#[actix_web::test]
async fn how_an_intervention_goes_is_read_at_the_performers_server_and_stands_in_the_senders_document() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    says(&world, "in-progress").await;
    until("the word came", async || (intervention(&world, &exchange).await == "in-progress").then_some(())).await;
    assert_eq!(document(&world, &exchange).await["title"], "Rehabiliteringsplan 1");
    let log = world.ask("GET", "/fhir/AuditEvent?_count=200", &[], None).await.text;
    assert!(log.contains("\"sync\""), "{log}");
    assert!(conflicts(&world, ONCOLOGY).await.is_empty());
    is_quiet(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn a_new_version_reaches_the_performer_and_leaves_its_word_standing() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    says(&world, "in-progress").await;
    until("the word came", async || (intervention(&world, &exchange).await == "in-progress").then_some(())).await;
    let (again, receipt) = send_plan(&world, &plan(2)).await;
    assert_eq!(again, exchange);
    assert!(!receipt.to_string().contains("conflict"), "{receipt:#}");
    let there = until("the version came", async || {
        let there = only(&world, "CarePlan").await;
        (there["title"] == "Rehabiliteringsplan 2").then_some(there)
    })
    .await;
    assert_eq!(there["activity"][0]["detail"]["status"], "in-progress");
    assert_eq!(intervention(&world, &exchange).await, "in-progress");
    is_quiet(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn what_its_people_wrote_a_moment_before_is_not_written_over() {
    // Nothing is read by itself: what the gateway knows of the clinic's copy is what it wrote.
    let world = World::open().await;
    let exchange = delivered(&world).await;
    let seen = only(&world, "CarePlan").await["meta"]["versionId"].clone();
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "GET" })).await;
    let mut there = only_through(&world).await;
    assert_eq!(there["meta"]["versionId"], seen);
    there["activity"][0]["detail"]["status"] = json!("in-progress");
    there["note"] = json!([{ "text": "Egen anteckning på vårdcentralen." }]);
    write(&world, &there).await;
    send_plan(&world, &plan(2)).await;
    let stale = async || {
        let lines = world.ask("GET", &format!("{}/journal", world.clinic), &[], None).await.json();
        let is_stale = |l: &&serde_json::Value| l["method"] == "POST" && l["path"] == "/fhir" && l["status"] == 412;
        lines.as_array().unwrap().iter().filter(is_stale).count()
    };
    until("the stale write was refused", async || (stale().await > 0).then_some(())).await;
    world.behave().await;
    let there = until("the version came", async || {
        let there = only(&world, "CarePlan").await;
        (there["title"] == "Rehabiliteringsplan 2").then_some(there)
    })
    .await;
    assert_eq!(there["activity"][0]["detail"]["status"], "in-progress", "the performer's word");
    assert_eq!(there["note"][0]["text"], "Egen anteckning på vårdcentralen.", "and what it wrote for itself");
    until("the word came", async || (intervention(&world, &exchange).await == "in-progress").then_some(())).await;
    // What they wrote beside the plan is shown to the sender rather than taken over.
    let tasks =
        until("the note is shown", async || Some(conflicts(&world, ONCOLOGY).await).filter(|found| !found.is_empty()))
            .await;
    assert!(tasks[0].to_string().contains("Egen anteckning"), "{tasks:#?}");
    assert!(conflicts(&world, NORTH).await.is_empty() && conflicts(&world, SOUTH).await.is_empty());
    is_quiet(&world).await;
    world.close().await;
}

/// The clinic's plan while its server answers nobody who reads: by the version that it has.
async fn only_through(world: &World) -> serde_json::Value {
    world.behave().await;
    let there = only(world, "CarePlan").await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "GET" })).await;
    there
}

#[actix_web::test]
async fn a_write_whose_answer_was_lost_is_our_own_when_it_is_seen() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    world.misbehave(json!({ "kind": "lost-answer", "next": 1, "method": "POST" })).await;
    send_plan(&world, &plan(2)).await;
    world.until(&exchange, "delivered").await;
    rounds(&world, 2).await;
    assert!(conflicts(&world, ONCOLOGY).await.is_empty());
    assert_eq!(intervention(&world, &exchange).await, "scheduled");
    assert_eq!(only(&world, "CarePlan").await["title"], "Rehabiliteringsplan 2");
    is_quiet(&world).await;
    assert!(writes(&world).await <= 6);
    world.close().await;
}

#[actix_web::test]
async fn a_plan_that_is_changed_by_turns_agrees_after_every_turn() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    for (version, status) in [(2, "in-progress"), (3, "on-hold"), (4, "completed")] {
        says(&world, status).await;
        send_plan(&world, &plan(version)).await;
        until("both agree", async || {
            let there = only(&world, "CarePlan").await;
            let title = format!("Rehabiliteringsplan {version}");
            let here = document(&world, &exchange).await;
            let agrees = there["title"] == *title
                && here["title"] == *title
                && there["activity"][0]["detail"]["status"] == status
                && here["interventions"][0]["status"] == status;
            agrees.then_some(())
        })
        .await;
    }
    assert!(conflicts(&world, ONCOLOGY).await.is_empty());
    is_quiet(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn an_intervention_that_its_performer_ends_at_its_own_server_asks_for_a_new_assessment() {
    let world = World::open().await;
    let mut trained = crate::reassess::trained(1, NORTH);
    trained["interventions"][1]["end"] = json!("2099-05-31");
    let (exchange, _) = send_plan(&world, &trained).await;
    world.until(&exchange, "delivered").await;
    let referral = world.refer(&crate::world::referral(1)).await;
    world.until(&referral, "delivered").await;
    let asked = async || {
        let code = "https://vardkedja.example/fhir/CodeSystem/worklist|reassessment";
        let found = world.get(&format!("/fhir/Task?code={code}"), ONCOLOGY).await.json();
        found["entry"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(asked().await, 0, "it goes on");
    let mut there = only(&world, "CarePlan").await;
    there["activity"][1]["detail"]["status"] = json!("completed");
    write(&world, &there).await;
    until("somebody is asked", async || (asked().await == 1).then_some(())).await;
    world.close().await;
}
