//! What is to be sent to whom a block keeps it from is held, in nobody's way, and leaves in order when the block is lifted.

use serde_json::{Value, json};

use super::{PATIENT, block, inner, lift, send_both};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, plan, referral};

async fn deliveries(world: &World, exchange: &str, unit: &str) -> Vec<Value> {
    let id = exchange.rsplit('/').next().unwrap();
    let listed = world.get(&format!("/v1/deliveries?exchange={id}"), unit).await.json();
    listed["deliveries"].as_array().unwrap().clone()
}

async fn parked(world: &World, unit: &str) -> Vec<Value> {
    let bundle = world.get("/fhir/Task?code=delivery-parked", unit).await.json();
    bundle["entry"].as_array().map_or(Vec::new(), |l| l.iter().map(|e| e["resource"].clone()).collect())
}

/// Looks again and again until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

fn next(number: u32, version: u32) -> Value {
    let mut document = referral(number);
    document["version"] = json!(version);
    document["question"] = json!(format!("Version {version}."));
    document
}

#[actix_web::test]
async fn a_blocked_delivery_is_held_and_leaves_when_the_block_is_lifted() {
    let world = World::open().await;
    let standing = block(&world, &inner(ONCOLOGY)).await;
    let receipt = world.post("/v1/referrals", ONCOLOGY, &referral(1)).await;
    assert_eq!(receipt.status, 202);
    assert!(receipt.findings().contains(NORTH), "{}", receipt.text);
    let held = receipt.location.unwrap();
    // Another unit's document to the same partner about the same patient is not held up.
    let mut free = plan(7);
    free["id"] = json!(format!("{REHAB_TEAM}#RP-7"));
    free["author"]["unit"] = json!(REHAB_TEAM);
    let sent = world.post("/v1/rehab-plans", REHAB_TEAM, &free).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    assert!(!sent.text.contains("spärr"), "{}", sent.text);
    world.until(&sent.location.unwrap(), "delivered").await;
    assert!(world.at_clinic("ServiceRequest").await.is_empty());

    let [one] = deliveries(&world, &held, ONCOLOGY).await.try_into().unwrap();
    assert_eq!((&one["state"], &one["held"], &one["attempts"]), (&json!("parked"), &json!(true), &json!(0)));
    assert!(one["note"].as_str().unwrap().contains("spärr"));
    until("the worklist tells the sender", async || parked(&world, ONCOLOGY).await.len() == 1).await;
    let task = parked(&world, ONCOLOGY).await.remove(0);
    assert_eq!(task["statusReason"]["coding"][0]["code"], "blocked");
    let shown = world.get(&held, ONCOLOGY).await.json();
    assert_eq!((&shown["stage"], &shown["attention"][0]["delivery"]), (&json!("waiting"), &one["id"]));
    for unit in [NORTH, SOUTH, REHAB_TEAM] {
        assert!(deliveries(&world, &held, unit).await.is_empty() && parked(&world, unit).await.is_empty(), "{unit}");
    }
    let north = world.get("/v1/partners", NORTH).await.json();
    let north = north["partners"].as_array().unwrap().iter().find(|p| p["partner"] == "primary-care").unwrap();
    assert_eq!((&north["parked"], &north["waiting"]), (&json!(0), &json!(0)), "its queue does not tell either");

    // No way to send it while the block stands.
    let id = one["id"].as_str().unwrap();
    let retried = world.post(&format!("/v1/deliveries/{id}/retry"), ONCOLOGY, &json!({})).await;
    assert_eq!(retried.status, 409, "{}", retried.text);
    assert_eq!(world.post(&format!("/v1/deliveries/{id}/retry"), NORTH, &json!({})).await.status, 404);
    assert_eq!(world.post(&format!("{held}/retry"), ONCOLOGY, &json!({})).await.json()["retried"], 0);
    let exchange = held.rsplit('/').next().unwrap();
    let wish = json!({ "exchange": exchange, "states": ["parked", "waiting", "delivered"], "preview": false });
    let resent = world.post("/v1/deliveries/resend", ONCOLOGY, &wish).await.json();
    assert_eq!(resent["count"], 0, "{resent}");
    assert!(resent["leftOut"][0]["why"].as_str().unwrap().contains("spärr"), "{resent}");
    assert!(world.at_clinic("ServiceRequest").await.is_empty());

    lift(&world, &standing).await;
    world.until(&held, "delivered").await;
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), 1);
    until("the worklist is done with it", async || {
        parked(&world, ONCOLOGY).await.iter().all(|task| task["status"] == "completed")
    })
    .await;
    let [one] = deliveries(&world, &held, ONCOLOGY).await.try_into().unwrap();
    assert_eq!((&one["state"], &one["held"], &one["attempts"]), (&json!("delivered"), &json!(false), &json!(1)));
    world.close().await;
}

#[actix_web::test]
async fn what_was_held_leaves_in_the_order_in_which_it_was_made() {
    let world = World::open().await;
    let [plan_at, referral_at] = send_both(&world, 1, PATIENT, NORTH).await;
    for exchange in [&plan_at, &referral_at] {
        world.until(exchange, "delivered").await;
    }
    let standing = block(&world, &inner(ONCOLOGY)).await;
    for version in 2..=4 {
        let mut again = plan(1);
        again["patient"] = json!({ "personnummer": PATIENT });
        again["recipients"] = json!([NORTH]);
        again["version"] = json!(version);
        again["goals"][0]["text"] = json!(format!("Mål {version}."));
        assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &again).await.status, 202);
    }
    let others = [world.refer(&next(8, 1)).await, world.refer(&next(9, 1)).await];
    // A newer version takes the place of the older one that is held.
    let made = deliveries(&world, &plan_at, ONCOLOGY).await;
    let states: Vec<(&str, bool)> =
        made.iter().map(|d| (d["state"].as_str().unwrap(), d["held"].as_bool().unwrap())).collect();
    assert_eq!(states, [("delivered", false), ("skipped", false), ("skipped", false), ("parked", true)]);
    let before = world.journal("POST", "/fhir").await;
    lift(&world, &standing).await;
    for exchange in [&plan_at, &others[0], &others[1]] {
        world.until(exchange, "delivered").await;
    }
    assert_eq!(world.journal("POST", "/fhir").await, before + 3);
    let mut attempts: Vec<(String, String)> = Vec::new();
    for exchange in [&plan_at, &others[0], &others[1]] {
        let shown = world.get(exchange, ONCOLOGY).await.json();
        let last = shown["deliveries"].as_array().unwrap().last().unwrap().clone();
        attempts.push((last["attempts"][0]["at"].as_str().unwrap().to_owned(), exchange.clone()));
    }
    let made: Vec<String> = attempts.iter().map(|(_, exchange)| exchange.clone()).collect();
    attempts.sort();
    assert_eq!(attempts.into_iter().map(|(_, exchange)| exchange).collect::<Vec<_>>(), made);
    let goals = world.at_clinic("Goal").await;
    assert!(goals.iter().any(|g| g["description"]["text"] == "Mål 4."), "{goals:?}");
    world.close().await;
}

#[actix_web::test]
async fn a_block_stops_what_waits_to_be_tried_again_and_what_is_parked() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "POST" })).await;
    let exchange = world.refer(&referral(1)).await;
    until("it was tried", async || deliveries(&world, &exchange, ONCOLOGY).await[0]["attempts"] != json!(0)).await;
    let standing = block(&world, &inner(ONCOLOGY)).await;
    world.behave().await;
    let held = deliveries(&world, &exchange, ONCOLOGY).await;
    assert_eq!((&held[0]["state"], &held[0]["held"]), (&json!("parked"), &json!(true)));
    // Another patient's delivery goes the same road meanwhile: the partner answers, and still nothing of this one arrives.
    let mut other = referral(2);
    other["patient"] = json!({ "personnummer": super::OTHER });
    let other = world.refer(&other).await;
    world.until(&other, "delivered").await;
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), 1);
    lift(&world, &standing).await;
    world.until(&exchange, "delivered").await;
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), 2);
    world.close().await;
}

#[actix_web::test]
async fn a_held_delivery_can_be_given_up_by_the_sender_and_taken_back() {
    let world = World::open().await;
    let standing = block(&world, &inner(ONCOLOGY)).await;
    let (first, second) = (world.refer(&referral(1)).await, world.refer(&referral(2)).await);
    let id = deliveries(&world, &first, ONCOLOGY).await[0]["id"].as_str().unwrap().to_owned();
    let skip = json!({ "by": "Anna Andersson", "reason": "Patienten vill inte." });
    let skipped = world.post(&format!("/v1/deliveries/{id}/skip"), ONCOLOGY, &skip).await.json();
    assert_eq!((&skipped["state"], &skipped["held"]), (&json!("skipped"), &json!(false)));
    let cancelled = world.post(&format!("{second}/cancel"), ONCOLOGY, &json!({ "reason": "Behövs inte." })).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    lift(&world, &standing).await;
    world.until(&second, "cancelled").await;
    let mut third = referral(3);
    third["patient"] = json!({ "personnummer": PATIENT });
    let third = world.refer(&third).await;
    world.until(&third, "delivered").await;
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), 1, "only what was not given up");
    world.close().await;
}

#[actix_web::test]
async fn a_referral_whose_plan_is_blocked_for_the_recipient_is_held_with_it() {
    let world = World::open().await;
    let mut plan = plan(1);
    plan["recipients"] = json!([SOUTH]);
    plan["interventions"][0]["responsible"] = json!(SOUTH);
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &plan).await.status, 202);
    let mut wish = inner(ONCOLOGY);
    // The day of the plan; the referral was written weeks later.
    wish["period"] = json!({ "from": "2026-02-10", "to": "2026-02-10" });
    let standing = block(&world, &wish).await;
    let free = world.refer(&referral(2)).await;
    let mut with_plan = referral(3);
    with_plan["planId"] = plan["id"].clone();
    let receipt = world.post("/v1/referrals", ONCOLOGY, &with_plan).await;
    assert!(receipt.findings().contains(NORTH), "{}", receipt.text);
    let held = receipt.location.unwrap();
    world.until(&free, "delivered").await;
    assert!(world.at_clinic("CarePlan").await.is_empty());
    assert_eq!(deliveries(&world, &held, ONCOLOGY).await[0]["held"], true);
    lift(&world, &standing).await;
    world.until(&held, "delivered").await;
    assert_eq!(world.at_clinic("CarePlan").await.len(), 1);
    world.close().await;
}

#[actix_web::test]
async fn an_answer_that_is_blocked_for_who_asked_is_held_and_only_the_operator_knows() {
    // The sender has a server of its own, so that answers are brought to it.
    let world = World::open_as(|clinic| {
        let push = |name: &str| {
            format!(
                "[[partner]]\nname = \"{name}\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n"
            )
        };
        let reader = "[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n";
        format!("[delivery]\nretry_s = [1]\npoll_s = 1\n{}{}{reader}", push("platform"), push("primary-care"))
    })
    .await;
    let asked = world.refer(&crate::world::referral_to(1, SOUTH)).await;
    let standing = block(&world, &inner(SOUTH)).await;
    let task = world.task(&asked, SOUTH).await;
    let patch = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    let body = json!([{ "op": "replace", "path": "/status", "value": "rejected" },
        { "op": "add", "path": "/statusReason", "value": { "text": "Vi har inte plats." } }]);
    let moved = world.ask("PATCH", &format!("/fhir/Task/{task}"), &patch, Some(body.to_string())).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    assert!(deliveries(&world, &asked, ONCOLOGY).await.is_empty());
    let [report] = deliveries(&world, &asked, "").await.try_into().unwrap();
    assert_eq!((&report["unit"], &report["held"]), (&json!(ONCOLOGY), &json!(true)));
    until("the operator has a Task", async || !parked(&world, "").await.is_empty()).await;
    let told = parked(&world, "").await.remove(0);
    assert!(told.get("for").is_none() && told.get("focus").is_none(), "{told}");
    assert!(parked(&world, ONCOLOGY).await.is_empty() && parked(&world, SOUTH).await.is_empty());
    assert!(world.at_clinic("Task").await.is_empty());
    lift(&world, &standing).await;
    until("the answer arrives", async || world.at_clinic("Task").await.iter().any(|task| task["status"] == "rejected"))
        .await;
    world.close().await;
}
