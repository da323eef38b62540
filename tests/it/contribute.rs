//! What a recipient adds of its own: whose it is, how long it stays, and when nothing can be added any more.

use serde_json::{Value, json};

use crate::world::{ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, referral_to};

/// What a unit did, for the Task it reads.
fn procedure(task: &Value) -> Value {
    json!({
        "resourceType": "Procedure", "status": "completed",
        "identifier": [{ "system": "urn:test", "value": "P-1" }],
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "subject": task["for"], "basedOn": [task["focus"]], "performedDateTime": "2026-03-18T13:00:00+01:00",
    })
}

async fn add(world: &World, unit: &str, resource: &Value) -> Reply {
    let path = format!("/fhir/{}", resource["resourceType"].as_str().unwrap());
    let mut headers = vec![("Vardkedja-Unit", unit)];
    if resource["identifier"].is_array() {
        headers.push(("If-None-Exist", "identifier=urn:test|P-1"));
    }
    world.ask("POST", &path, &headers, Some(resource.to_string())).await
}

async fn own_task(world: &World, unit: &str) -> Value {
    world.get("/fhir/Task", unit).await.json()["entry"][0]["resource"].clone()
}

#[actix_web::test]
async fn what_a_unit_adds_is_its_own_whatever_it_says_and_outlives_the_senders_next_version() {
    let world = World::open().await;
    world.refer(&referral_to(1, SOUTH)).await;
    let mut forged = procedure(&own_task(&world, SOUTH).await);
    forged["meta"] = json!({ "source": format!("urn:oid:1.2.752.129.2.1.4.1#{ONCOLOGY}"), "tag": [{ "code": "x" }] });
    let made = add(&world, SOUTH, &forged).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["meta"]["source"], format!("urn:vardkedja:unit:{SOUTH}"));
    assert!(made["meta"].get("tag").is_none(), "{made:#}");
    let mut second = referral_to(1, SOUTH);
    second["version"] = json!(2);
    world.refer(&second).await;
    let path = format!("/fhir/Procedure/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path, ONCOLOGY).await.json()["status"], "completed", "it is not the sender's to retract");
    world.close().await;
}

#[actix_web::test]
async fn a_unit_tells_only_of_its_own_work() {
    let world = World::open().await;
    world.refer(&referral_to(1, SOUTH)).await;
    let task = own_task(&world, SOUTH).await;
    let sent_by = |unit: &str| json!({ "identifier": { "system": "urn:oid:1.2.752.29.4.19", "value": unit } });
    let mut of_others = procedure(&task);
    of_others["performer"] = json!([{ "actor": task["requester"] }, { "actor": sent_by(ONCOLOGY) }]);
    let reply = add(&world, SOUTH, &of_others).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    for place in ["Procedure.performer[0].actor", "Procedure.performer[1].actor"] {
        assert!(reply.findings().contains(place), "{place}: {}", reply.findings());
    }
    let mut own = procedure(&task);
    own["performer"] = json!([
        { "actor": sent_by(SOUTH) }, { "actor": task["owner"] }, { "actor": { "display": "Fysioterapeut" } },
    ]);
    let reply = add(&world, SOUTH, &own).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let letter = json!({
        "resourceType": "Communication", "status": "completed", "subject": task["for"], "basedOn": [task["focus"]],
        "sender": sent_by(ONCOLOGY), "payload": [{ "contentString": "Klart." }],
    });
    let reply = add(&world, SOUTH, &letter).await;
    assert!(reply.status == 422 && reply.findings().contains("Communication.sender"), "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn a_unit_that_is_no_recipient_any_more_still_sees_what_it_told_itself() {
    let world = World::open().await;
    world.refer(&referral_to(1, SOUTH)).await;
    let task = own_task(&world, SOUTH).await;
    let made = add(&world, SOUTH, &procedure(&task)).await.json();
    let mut elsewhere = referral_to(1, REHAB_TEAM);
    elsewhere["version"] = json!(2);
    world.refer(&elsewhere).await;
    let path = format!("/fhir/Procedure/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path, SOUTH).await.status, 200);
    let again = add(&world, SOUTH, &procedure(&task)).await;
    assert_eq!((again.status, again.json()["id"].clone()), (200, made["id"].clone()), "{}", again.text);
    let request = format!("/fhir/{}", task["focus"]["reference"].as_str().unwrap());
    assert_eq!(world.get(&request, SOUTH).await.status, 404, "what others said is theirs");
    world.close().await;
}

#[actix_web::test]
async fn nothing_is_added_to_a_retracted_request_and_no_work_to_one_that_was_cancelled_before() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = own_task(&world, SOUTH).await;
    let cancelled = world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Flyttat" })).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    let mut late = procedure(&task);
    late["performedDateTime"] = json!((chrono::Utc::now() + chrono::TimeDelta::minutes(5)).to_rfc3339());
    let reply = add(&world, SOUTH, &late).await;
    assert!(reply.status == 409 && reply.findings().contains("Procedure.performed"), "{}", reply.text);
    late.as_object_mut().unwrap().shift_remove("performedDateTime");
    assert_eq!(add(&world, SOUTH, &late).await.status, 409, "nobody can tell whether it was before");
    let reply = add(&world, SOUTH, &procedure(&task)).await;
    assert_eq!(reply.status, 201, "what was done before may be told: {}", reply.text);

    let mut wrong = referral_to(1, SOUTH);
    wrong["version"] = json!(2);
    wrong["status"] = json!("entered-in-error");
    world.refer(&wrong).await;
    let mut more = procedure(&task);
    more.as_object_mut().unwrap().shift_remove("identifier");
    let reply = add(&world, SOUTH, &more).await;
    assert!(reply.status == 409 && reply.findings().contains("Procedure.basedOn"), "{}", reply.text);
    world.close().await;
}
