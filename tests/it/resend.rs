//! Sending again: what was delivered goes out byte by byte, changes nothing a second time, and never undoes what is newer.

use serde_json::{Value, json};

use crate::consent::{hand_over, sip};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, referral};

async fn resend(world: &World, unit: &str, wish: Value) -> Value {
    let reply = world.post("/v1/deliveries/resend", unit, &wish).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// Looks again and again until every delivery of the exchange has been made.
async fn settled(world: &World, exchange: &str, count: usize) -> Value {
    for _ in 0..600 {
        let shown = world.get(exchange, "").await.json();
        let deliveries = shown["deliveries"].as_array().unwrap();
        if deliveries.len() == count && deliveries.iter().all(|d| d["state"] == "delivered") {
            return shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{:#}", world.get(exchange, "").await.json());
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[actix_web::test]
async fn a_delivered_one_is_shown_first_then_sent_again_and_changes_nothing() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    world.people().step(&world.task(&exchange, NORTH).await, "accepted", &Default::default()).await.unwrap();
    world.until(&exchange, "accepted").await;
    let before: Vec<Value> = world.at_clinic("ServiceRequest").await;
    let wish = json!({ "exchange": id(&exchange), "states": ["delivered"] });
    let shown = resend(&world, ONCOLOGY, wish.clone()).await;
    assert_eq!(
        (&shown["preview"], &shown["count"], &shown["sends"][0]["way"]),
        (&json!(true), &json!(1), &json!("again"))
    );
    assert_eq!(
        world.get(&exchange, "").await.json()["deliveries"].as_array().unwrap().len(),
        1,
        "a preview sends nothing"
    );

    let posts = world.journal("POST", "/fhir").await;
    let mut send = wish;
    send["preview"] = json!(false);
    let sent = resend(&world, ONCOLOGY, send).await;
    let first = shown["sends"][0]["id"].as_str().unwrap();
    assert_eq!(sent["sends"][0]["resendOf"], first, "{sent:#}");
    let shown = settled(&world, &exchange, 2).await;
    assert_eq!(shown["stage"], "accepted", "what is sent again does not put the clock back");
    assert_eq!(world.journal("POST", "/fhir").await, posts + 1);
    assert_eq!(world.at_clinic("ServiceRequest").await, before, "no content changes a second time");
    assert_eq!(world.at_clinic("Task").await.len(), 1);
    world.close().await;
}

#[actix_web::test]
async fn what_a_newer_version_has_replaced_is_left_out_and_named() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let mut newer = referral(1);
    newer["version"] = json!(2);
    newer["reasonForVersion"] = json!("AR");
    newer["question"] = json!("Med ändrad fråga.");
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &newer).await.status, 202);
    // The newer version, and that the Task is about it.
    let shown = settled(&world, &exchange, 3).await;
    let ids: Vec<&str> = shown["deliveries"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect();
    let wish =
        json!({ "partner": "primary-care", "from": "2020-01-01T00:00:00Z", "states": ["delivered"], "preview": false });
    let sent = resend(&world, ONCOLOGY, wish).await;
    assert_eq!((&sent["count"], &sent["sends"][0]["resendOf"]), (&json!(2), &json!(ids[1])), "{sent:#}");
    assert_eq!(sent["leftOut"][0]["id"], ids[0]);
    assert!(sent["leftOut"][0]["why"].as_str().unwrap().contains(ids[1]), "{sent:#}");
    settled(&world, &exchange, 5).await;
    let [request] = &world.at_clinic("ServiceRequest").await[..] else { panic!("one request") };
    assert!(request.to_string().contains("Med ändrad fråga."));
    assert_eq!(request["meta"]["versionId"], "2", "the older version never came back, not even for a moment");
    world.close().await;
}

#[actix_web::test]
async fn parked_ones_of_a_partner_are_made_due_and_others_see_nothing_of_them() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "outcome", "next": 2, "method": "POST" })).await;
    let mut exchanges = Vec::new();
    for (number, patient) in [(1, "195009072553"), (2, "196101182803")] {
        let mut document = referral(number);
        document["patient"]["personnummer"] = json!(patient);
        let exchange = world.refer(&document).await;
        world.until(&exchange, "parked").await;
        exchanges.push(exchange);
    }
    world.behave().await;
    let wish = |preview: bool| json!({ "partner": "primary-care", "preview": preview });
    assert_eq!(resend(&world, SOUTH, wish(true)).await["count"], 0);
    assert_eq!(resend(&world, SOUTH, wish(false)).await["count"], 0);
    assert_eq!(resend(&world, ONCOLOGY, wish(true)).await["count"], 2);
    let sent = resend(&world, ONCOLOGY, wish(false)).await;
    assert_eq!((&sent["count"], &sent["sends"][0]["way"]), (&json!(2), &json!("due")));
    for exchange in &exchanges {
        world.until(exchange, "delivered").await;
    }
    let hidden = world.post("/v1/deliveries/resend", SOUTH, &json!({ "exchange": id(&exchanges[0]) })).await;
    assert_eq!(hidden.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn a_wish_that_says_too_little_or_too_much_is_refused() {
    let world = World::open().await;
    for wish in [
        json!({}),
        json!([]),
        json!({ "exchange": "x" }),
        json!({ "partner": "primary-care", "exchange": "01a20035-2aff-72b0-8789-037a5586e44a" }),
        json!({ "partner": "primary-care", "states": ["delivered"] }),
        json!({ "partner": "primary-care", "states": ["skipped"] }),
        json!({ "partner": "primary-care", "states": [] }),
        json!({ "partner": "primary-care", "from": "yesterday" }),
        json!({ "partner": "primary-care", "preview": "no" }),
        json!({ "partner": "primary-care", "since": "2026-11-22T00:00:00Z" }),
    ] {
        let reply = world.post("/v1/deliveries/resend", ONCOLOGY, &wish).await;
        assert_eq!(reply.status, 400, "{wish}: {}", reply.text);
    }
    world.close().await;
}

/// Until the delivery in that place stands so; its id.
async fn until_delivery(world: &World, exchange: &str, place: usize, state: &str) -> String {
    for _ in 0..600 {
        let shown = world.get(exchange, ONCOLOGY).await.json();
        if shown["deliveries"][place]["state"] == state {
            return shown["deliveries"][place]["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{:#}", world.get(exchange, ONCOLOGY).await.json());
}

#[actix_web::test]
async fn a_plan_whose_consent_is_withdrawn_is_never_sent_again() {
    let world = World::open().await;
    let exchange = hand_over(&world, &sip(1, "given")).await;
    let first = until_delivery(&world, &exchange, 0, "delivered").await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    hand_over(&world, &sip(2, "withdrawn")).await;
    let told = until_delivery(&world, &exchange, 1, "parked").await;
    let decision = json!({ "by": "Eva Ek", "reason": "Ringt enheten." });
    let reply = world.post(&format!("/v1/deliveries/{told}/skip"), ONCOLOGY, &decision).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    for wish in [
        json!({ "exchange": id(&exchange), "states": ["delivered"], "preview": false }),
        json!({ "partner": "primary-care", "from": "2020-01-01T00:00:00Z", "states": ["delivered"], "preview": false }),
    ] {
        let sent = resend(&world, ONCOLOGY, wish).await;
        // The move that tells that it is over may have arrived by now, and may be sent again.
        let sends = sent["sends"].as_array().unwrap();
        assert!(sends.iter().all(|d| d["documentVersion"] == 2), "{sent:#}");
        assert_eq!(sent["leftOut"][0]["id"], json!(first), "{sent:#}");
    }
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    let of_the_plan = shown["deliveries"].as_array().unwrap().iter().filter(|d| d["documentVersion"] == 1).count();
    assert_eq!(of_the_plan, 1, "{shown:#}");
    world.close().await;
}

/// A world of pages of two, with three parked referrals to the unit in the north: two of the oncology clinic, then one of
/// `last`.
async fn three_parked(last: &str) -> (World, Vec<String>) {
    let world = World::open_with("[limits]\npage = 2\npage_max = 2\n").await;
    world.misbehave(json!({ "kind": "outcome", "next": 3, "method": "POST" })).await;
    let mut exchanges = Vec::new();
    for (number, patient) in [(1, "195009072553"), (2, "196101182803"), (3, "199002222397")] {
        let mut document = referral(number);
        document["patient"]["personnummer"] = json!(patient);
        let sender = if number == 3 { last } else { ONCOLOGY };
        document["id"] = json!(format!("{sender}#R-{number}"));
        document["requester"]["unit"] = json!(sender);
        let taken = world.post("/v1/referrals", sender, &document).await;
        assert_eq!(taken.status, 202, "{}", taken.text);
        let exchange = taken.location.unwrap();
        world.until(&exchange, "parked").await;
        exchanges.push(exchange);
    }
    world.behave().await;
    (world, exchanges)
}

#[actix_web::test]
async fn more_than_a_page_is_sent_page_after_page_and_copies_are_not_sent_for_ever() {
    let (world, exchanges) = three_parked(ONCOLOGY).await;
    let listed = world.get("/v1/deliveries?state=parked", ONCOLOGY).await.json();
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 2);
    let rest = world.get(&format!("/v1/deliveries?state=parked&after={}", listed["next"]), ONCOLOGY).await.json();
    assert_eq!((rest["deliveries"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null), "{rest:#}");

    let mut wish = json!({ "partner": "primary-care", "preview": false });
    let first = resend(&world, ONCOLOGY, wish.clone()).await;
    assert_eq!((&first["count"], &first["more"]), (&json!(2), &json!(true)), "{first:#}");
    wish["after"] = first["next"].clone();
    let last = resend(&world, ONCOLOGY, wish).await;
    assert_eq!((&last["count"], &last["next"]), (&json!(1), &Value::Null), "{last:#}");
    for exchange in &exchanges {
        world.until(exchange, "delivered").await;
    }
    for round in [2, 3] {
        let mut wish = json!({
            "partner": "primary-care", "from": "2020-01-01T00:00:00Z", "states": ["delivered"], "preview": false,
        });
        let mut sent = 0;
        for _ in 0..4 {
            let page = resend(&world, ONCOLOGY, wish.clone()).await;
            sent += page["count"].as_u64().unwrap();
            wish["after"] = page["next"].clone();
            if page["more"] == false {
                break;
            }
        }
        assert_eq!((sent, &wish["after"]), (3, &Value::Null), "each once, and no copy of a copy");
        for exchange in &exchanges {
            settled(&world, exchange, round).await;
        }
    }
    world.close().await;
}

#[actix_web::test]
async fn what_is_others_does_not_push_a_units_own_out_of_its_page() {
    let (world, exchanges) = three_parked(REHAB_TEAM).await;
    let page = world.get("/v1/deliveries?state=parked", REHAB_TEAM).await.json();
    let [own] = &page["deliveries"].as_array().unwrap()[..] else { panic!("{page:#}") };
    assert_eq!((&own["exchange"], &page["next"]), (&json!(id(&exchanges[2])), &Value::Null));
    assert_eq!(world.get("/v1/deliveries?after=-1", REHAB_TEAM).await.status, 400);
    let sent = resend(&world, REHAB_TEAM, json!({ "partner": "primary-care", "preview": false })).await;
    assert_eq!((&sent["count"], &sent["more"]), (&json!(1), &json!(false)), "{sent:#}");
    world.until(&exchanges[2], "delivered").await;
    world.until(&exchanges[0], "parked").await;
    world.close().await;
}
