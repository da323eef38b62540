//! What a withdrawn consent hides, on every path, and what it leaves.

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, plan, referral_to};

/// A SIP with the clinic that has a server of its own and the one that reads here.
pub fn sip(version: u32, decision: &str) -> Value {
    let text = include_str!("../../mappings/examples/handover.sip-small.source.json");
    let mut sip: Value = serde_json::from_str(text).unwrap();
    sip["version"] = json!(version);
    sip["consent"]["decision"] = json!(decision);
    if decision == "withdrawn" {
        sip["consent"]["withdrawnAt"] = json!("2026-04-01T08:00:00+02:00");
    }
    let third = json!({ "unit": SOUTH, "principal": "2321000131" });
    sip["participants"].as_array_mut().unwrap().push(third);
    sip
}

pub async fn hand_over(world: &World, document: &Value) -> String {
    let reply = world.post("/v1/handovers", ONCOLOGY, document).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.location.unwrap()
}

/// Everything of the exchange that the sender sees, with Provenance and earlier versions.
async fn everything(world: &World, exchange: &str) -> Vec<String> {
    let mut names: Vec<String> = world.get(exchange, ONCOLOGY).await.json()["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap().to_owned())
        .collect();
    for found in entries(world, "Provenance", ONCOLOGY).await {
        names.push(format!("Provenance/{}", found["id"].as_str().unwrap()));
    }
    names
}

async fn entries(world: &World, query: &str, unit: &str) -> Vec<Value> {
    let bundle = world.get(&format!("/fhir/{query}"), unit).await.json();
    bundle["entry"].as_array().map_or(Vec::new(), |l| l.iter().map(|e| e["resource"].clone()).collect())
}

/// Whether the unit gets the resource by a way that shows many at once: the histories of a type and of everything, `$everything`.
async fn is_among(world: &World, name: &str, patient: &str, unit: &str) -> bool {
    let (kind, id) = name.split_once('/').unwrap();
    let of_type = format!("{kind}/_history?_count=500");
    for query in [of_type.as_str(), "_history?_count=500", &format!("{patient}/$everything")] {
        if entries(world, query, unit).await.iter().any(|r| r["resourceType"] == kind && r["id"] == id) {
            return true;
        }
    }
    false
}

/// On how many of the paths to a resource the unit gets it: read, version, history, search.
async fn ways(world: &World, name: &str, unit: &str) -> usize {
    let (kind, id) = name.split_once('/').unwrap();
    let mut ways = 0;
    for path in [format!("/fhir/{name}"), format!("/fhir/{name}/_history/1"), format!("/fhir/{name}/_history")] {
        ways += usize::from(world.get(&path, unit).await.status == 200);
    }
    ways += entries(world, &format!("{kind}?_id={id}"), unit).await.len();
    let form = [("Vardkedja-Unit", unit), ("Content-Type", "application/x-www-form-urlencoded")];
    let found = world.ask("POST", &format!("/fhir/{kind}/_search"), &form, Some(format!("_id={id}"))).await;
    ways + found.json()["entry"].as_array().map_or(0, Vec::len)
}

fn kind_of(name: &str) -> &str {
    name.split('/').next().unwrap()
}

#[actix_web::test]
async fn a_withdrawn_consent_hides_the_plan_on_every_path_from_who_had_it_and_a_renewed_one_shows_it_again() {
    let world = World::open().await;
    let exchange = hand_over(&world, &sip(1, "given")).await;
    // Both have it: one has been sent it, the other has read it.
    assert_eq!(entries(&world, "CarePlan", SOUTH).await.len(), 1);
    while world.at_clinic("CarePlan").await.is_empty() {
        tokio::task::yield_now().await;
    }
    world.until(&exchange, "delivered").await;
    let names = everything(&world, &exchange).await;
    for name in &names {
        assert_eq!(ways(&world, name, SOUTH).await, 5, "{name} is seen with consent");
    }
    let task = world.task(&exchange, SOUTH).await;
    let own = format!("Task/{task}");
    let patient = world.get(&exchange, ONCOLOGY).await.json()["patient"].as_str().unwrap().to_owned();

    assert_eq!(hand_over(&world, &sip(2, "withdrawn")).await, exchange);
    for unit in [NORTH, SOUTH] {
        let own = format!("Task/{}", world.task(&exchange, unit).await);
        for name in everything(&world, &exchange).await {
            let tells = ["Patient", "Consent", "Organization", "Practitioner", "PractitionerRole"];
            let expected = if tells.contains(&kind_of(&name)) || name == own { 5 } else { 0 };
            assert_eq!(ways(&world, &name, unit).await, expected, "{unit} {name}");
            assert_eq!(is_among(&world, &name, &patient, unit).await, expected > 0, "{unit} {name}");
        }
        assert_eq!(world.get(&format!("{exchange}/document"), unit).await.status, 403);
        let shown = world.get(&exchange, unit).await;
        assert!(!shown.text.contains("CarePlan") && shown.text.contains("Consent"), "{}", shown.text);
    }
    let told = world.get(&format!("/fhir/{own}"), SOUTH).await.json();
    assert_eq!(told["status"], "cancelled");
    assert!(told["statusReason"]["text"].as_str().unwrap().contains("consent is withdrawn"));
    assert_eq!(entries(&world, "Consent", SOUTH).await[0]["status"], "inactive");
    for name in &names {
        assert!(ways(&world, name, ONCOLOGY).await >= 5, "the sender keeps {name}");
    }
    assert_eq!(world.get(&format!("{exchange}/document"), ONCOLOGY).await.status, 200);
    world.until(&exchange, "cancelled").await;
    let theirs = world.people().task(&world.task(&exchange, NORTH).await).await.unwrap();
    assert_eq!(theirs["status"], "cancelled", "the clinic's own copy says that it is over");
    let versions = world.at_clinic("CarePlan").await;
    assert_eq!(versions[0]["meta"]["versionId"], "1", "and it was sent nothing of the plan again");

    // Nothing more is shared through it.
    let procedure = json!({
        "resourceType": "Procedure", "status": "completed", "subject": told["for"], "basedOn": [{ "reference": own }],
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] }, "performedDateTime": "2026-03-18",
    });
    let reply = world.ask("POST", "/fhir/Procedure", &[("Vardkedja-Unit", SOUTH)], Some(procedure.to_string())).await;
    assert!(reply.status == 409 || reply.status == 422, "{}", reply.text);

    assert_eq!(hand_over(&world, &sip(3, "given")).await, exchange);
    let names = world.get(&exchange, ONCOLOGY).await.json()["resources"].as_array().unwrap().clone();
    for name in names {
        assert_eq!(ways(&world, name.as_str().unwrap(), SOUTH).await, 5, "{name}");
    }
    assert_eq!(world.get(&format!("/fhir/{own}"), SOUTH).await.json()["status"], "requested");
    let sender = world.task(&exchange, ONCOLOGY).await;
    assert_eq!(world.get(&format!("/fhir/Task/{sender}"), ONCOLOGY).await.json()["status"], "accepted");
    world.close().await;
}

#[actix_web::test]
async fn what_was_withdrawn_is_not_shared_again_by_being_entered_in_error() {
    let world = World::open().await;
    let exchange = hand_over(&world, &sip(1, "given")).await;
    assert_eq!(entries(&world, "CarePlan", SOUTH).await.len(), 1);
    hand_over(&world, &sip(2, "withdrawn")).await;
    for (version, decision) in [(3, "withdrawn"), (4, "given")] {
        let mut wrong = sip(version, decision);
        wrong["status"] = json!("entered-in-error");
        hand_over(&world, &wrong).await;
        for name in everything(&world, &exchange).await {
            if ["CarePlan", "CareTeam", "Appointment", "Provenance"].contains(&kind_of(&name)) {
                assert_eq!(ways(&world, &name, SOUTH).await, 0, "{name} after version {version}");
            }
        }
    }
    world.close().await;
}

#[actix_web::test]
async fn a_consent_is_withdrawn_from_a_unit_whose_part_has_ended_too() {
    let world = World::open().await;
    let exchange = hand_over(&world, &sip(1, "given")).await;
    let task = world.task(&exchange, SOUTH).await;
    let read = world.get(&format!("/fhir/Task/{task}"), SOUTH).await;
    let mut done = read.json();
    done["status"] = json!("rejected");
    done["statusReason"] = json!({ "text": "Inte vår." });
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\"")];
    let reply = world.ask("PUT", &format!("/fhir/Task/{task}"), &headers, Some(done.to_string())).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    hand_over(&world, &sip(2, "withdrawn")).await;
    assert!(entries(&world, "CarePlan", SOUTH).await.is_empty());
    world.close().await;
}

/// A plan, and a SIP that follows from it.
async fn with_plan(world: &World) -> (String, Value) {
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, &plan(1)).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let mut follows = sip(1, "given");
    follows["planId"] = plan(1)["id"].clone();
    (reply.location.unwrap(), follows)
}

async fn plan_seen(world: &World, exchange: &str, unit: &str) -> usize {
    let names = world.get(exchange, ONCOLOGY).await.json()["resources"].as_array().unwrap().clone();
    let name = names.iter().map(|n| n.as_str().unwrap()).find(|n| n.starts_with("CarePlan/")).unwrap().to_owned();
    ways(world, &name, unit).await
}

#[actix_web::test]
async fn the_rehab_plan_that_came_along_is_hidden_too_and_is_sent_no_more_when_it_is_revised() {
    let world = World::open().await;
    let (rehab_plan, follows) = with_plan(&world).await;
    hand_over(&world, &follows).await;
    let mut second = plan(1);
    second["version"] = json!(2);
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &second).await.status, 202);
    assert_eq!(plan_seen(&world, &rehab_plan, SOUTH).await, 5, "a unit that takes part gets the plan's new version");
    assert_eq!(world.get(&rehab_plan, SOUTH).await.status, 200);

    let mut withdrawn = sip(2, "withdrawn");
    withdrawn["planId"] = follows["planId"].clone();
    hand_over(&world, &withdrawn).await;
    assert_eq!(plan_seen(&world, &rehab_plan, SOUTH).await, 0);
    assert_eq!(world.get(&rehab_plan, SOUTH).await.status, 404, "it took part by the SIP only");
    let mut third = plan(1);
    third["version"] = json!(3);
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &third).await.status, 202);
    assert_eq!(plan_seen(&world, &rehab_plan, SOUTH).await, 0, "nor is it told of the next version");
    assert_eq!(world.get(&rehab_plan, SOUTH).await.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn a_unit_keeps_what_it_has_by_a_referral_of_its_own() {
    let world = World::open().await;
    let (rehab_plan, follows) = with_plan(&world).await;
    let mut referral = referral_to(1, SOUTH);
    referral["planId"] = follows["planId"].clone();
    let referred = world.refer(&referral).await;
    let exchange = hand_over(&world, &follows).await;
    assert!(entries(&world, "Task", SOUTH).await.len() >= 2);
    let mut withdrawn = sip(2, "withdrawn");
    withdrawn["planId"] = follows["planId"].clone();
    hand_over(&world, &withdrawn).await;
    assert_eq!(plan_seen(&world, &exchange, SOUTH).await, 0, "the SIP is hidden");
    assert_eq!(plan_seen(&world, &rehab_plan, SOUTH).await, 5, "the plan it was referred with is not");
    assert_eq!(plan_seen(&world, &rehab_plan, NORTH).await, 5, "nor from the unit that the plan itself was sent to");
    assert_eq!(plan_seen(&world, &exchange, NORTH).await, 0);
    for name in world.get(&referred, ONCOLOGY).await.json()["resources"].as_array().unwrap() {
        assert!(ways(&world, name.as_str().unwrap(), SOUTH).await >= 5, "{name}");
    }
    assert_eq!(world.get(&referred, REHAB_TEAM).await.status, 404);
    world.close().await;
}

/// Looks again and again until the clinic's own copy of the Task is cancelled.
async fn told_it_is_over(world: &World, exchange: &str) {
    let task = world.task(exchange, NORTH).await;
    for _ in 0..600 {
        if world.people().task(&task).await.is_ok_and(|t| t["status"] == "cancelled") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{:#}", world.get(exchange, ONCOLOGY).await.json());
}

#[actix_web::test]
async fn a_withdrawal_is_told_to_the_unit_that_the_plan_is_on_its_way_to() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "late", "milliseconds": 1500, "next": 1, "method": "POST" })).await;
    let exchange = hand_over(&world, &sip(1, "given")).await;
    while world.at_clinic("CarePlan").await.is_empty() {
        tokio::task::yield_now().await;
    }
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(shown["deliveries"][0]["state"], "waiting", "it has arrived, and nobody here knows: {shown:#}");
    hand_over(&world, &sip(2, "withdrawn")).await;
    told_it_is_over(&world, &exchange).await;
    world.close().await;
}
