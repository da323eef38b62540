//! Partners side by side: one that is dead, slow or closed for the night costs the others nothing, and loses nothing itself.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, SOUTH, World, referral, referral_to};

const PATIENTS: [&str; 3] = ["195009072553", "196101182803", "189002029800"];

/// A server that takes a connection and never says a word.
fn deaf() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (format!("http://{}/fhir", listener.local_addr().unwrap()), listener)
}

/// The clinic in the north is sent to as `north` says; the one in the south has a system of its own at `south`.
fn settings(clinic: &str, delivery: &str, north: &str, south: &str) -> String {
    format!(
        "[delivery]\npoll_s = 1\n{delivery}\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n{north}\n\
         [[partner]]\nname = \"reader\"\n{south}\n"
    )
}

const SOON: &str = "retry_s = [1]\nprobe_s = [1]";
const READS: &str = "channel = \"poll\"";

fn about(mut document: Value, patient: &str) -> Value {
    document["patient"]["personnummer"] = json!(patient);
    document
}

async fn partner(world: &World, name: &str) -> Value {
    let shown = world.get("/v1/partners", "").await.json();
    let partners = shown["partners"].as_array().unwrap();
    partners.iter().find(|p| p["partner"] == name).unwrap().clone()
}

/// Looks again and again until the partner is as it should be.
async fn until(world: &World, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let shown = partner(world, name).await;
        if is(&shown) {
            return shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{name} never became so: {:#}", partner(world, name).await);
}

#[actix_web::test]
async fn a_partner_that_hangs_costs_the_others_nothing() {
    let (south, _listener) = deaf();
    let world = World::open_as(|clinic| {
        let south = format!("channel = \"push\"\nfhir_base = \"{south}\"\ntimeout_s = 600\nmax_in_flight = 100");
        settings(clinic, "max_in_flight = 2\nretry_s = [1]", "", &south)
    })
    .await;
    let mut stuck = Vec::new();
    for (number, patient) in (1..).zip(PATIENTS) {
        stuck.push(world.refer(&about(referral_to(number, SOUTH), patient)).await);
    }
    // One place of its own, and half of the two that are shared.
    until(&world, "reader", |p| p["inFlight"] == 2).await;
    for number in 10..20 {
        let exchange = world.refer(&referral(number)).await;
        world.until(&exchange, "delivered").await;
    }
    let slow = partner(&world, "reader").await;
    assert_eq!((&slow["inFlight"], &slow["waiting"]), (&json!(2), &json!(3)), "{slow:#}");
    for exchange in stuck {
        assert_eq!(world.get(&exchange, "").await.json()["stage"], "waiting");
    }
    world.abandon();
}

#[actix_web::test]
async fn a_dead_partner_is_probed_and_everything_that_waited_is_delivered_when_it_is_back() {
    let world =
        World::open_as(|clinic| settings(clinic, "breaker_failures = 2\nretry_s = [1]\nprobe_s = [2]", "", READS))
            .await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "POST" })).await;
    let mut exchanges = Vec::new();
    for (number, patient) in (1..).zip(PATIENTS) {
        exchanges.push(world.refer(&about(referral(number), patient)).await);
        exchanges.push(world.refer(&about(referral(number + 10), patient)).await);
    }
    let open = until(&world, "primary-care", |p| p["breaker"] != "closed").await;
    assert!(open["opened"].as_u64() >= Some(1) && open["waiting"] == 6 && open["parked"] == 0, "{open:#}");
    assert!(open["oldestAt"].is_string(), "{open:#}");
    let late = world.refer(&about(referral(30), PATIENTS[0])).await;
    let shown = world.get(&late, "").await.json();
    assert_eq!(shown["deliveries"][0]["waits"]["for"], "turn", "another of the same patient's goes first: {shown:#}");
    assert!(shown["deliveries"][0]["waits"]["behind"].is_string());
    let sees = world.get("/v1/partners", NORTH).await.json();
    assert!(sees["partners"].as_array().unwrap().iter().any(|p| p["partner"] == "primary-care" && p["waiting"] == 7));
    let sees = world.get("/v1/partners", SOUTH).await.json();
    assert!(
        sees["partners"].as_array().unwrap().iter().any(|p| p["partner"] == "primary-care" && p["waiting"].is_null())
    );

    world.behave().await;
    until(&world, "primary-care", |p| p["breaker"] == "closed").await;
    for exchange in &exchanges {
        world.until(exchange, "delivered").await;
    }
    world.until(&late, "delivered").await;
    let arrived = world.at_clinic("ServiceRequest").await;
    let at = |number: u32| {
        let id = format!("{ONCOLOGY}#R-{number}");
        let found = arrived.iter().find(|r| r["identifier"][0]["value"] == id).unwrap();
        found["meta"]["lastUpdated"].as_str().unwrap()
    };
    assert_eq!(arrived.len(), 7);
    assert!(at(1) < at(11) && at(11) < at(30) && at(2) < at(12) && at(3) < at(13), "in order for each patient");
    world.close().await;
}

#[actix_web::test]
async fn an_exchange_says_why_it_waits_for_a_partner_in_trouble() {
    let world =
        World::open_as(|clinic| settings(clinic, "breaker_failures = 1\nretry_s = [1]\nprobe_s = [300]", "", READS))
            .await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "POST" })).await;
    world.refer(&about(referral(1), PATIENTS[0])).await;
    until(&world, "primary-care", |p| p["breaker"] == "open").await;
    let waits = world.refer(&about(referral(2), PATIENTS[1])).await;
    let shown = world.get(&waits, "").await.json();
    let line = &shown["deliveries"][0];
    assert_eq!((&line["waits"]["for"], &line["attempts"]), (&json!("partner"), &json!([])), "{shown:#}");
    assert_eq!(line["waits"]["until"], partner(&world, "primary-care").await["nextProbeAt"]);
    world.close().await;
}

#[actix_web::test]
async fn nothing_is_sent_in_a_maintenance_window_and_no_attempt_is_counted() {
    let night = "windows = [\"daily 00:00-24:00\"]";
    let mut world = World::open_as(|clinic| settings(clinic, SOON, night, READS)).await;
    let exchange = world.refer(&referral(1)).await;
    let shown = world.get(&exchange, "").await.json();
    assert_eq!(shown["deliveries"][0]["waits"]["for"], "window", "{shown:#}");
    assert!(partner(&world, "primary-care").await["windowUntil"].is_string());
    world.restart_as(|clinic| settings(clinic, SOON, night, READS)).await;
    let shown = world.get(&exchange, "").await.json();
    assert_eq!((&shown["stage"], &shown["deliveries"][0]["attempts"]), (&json!("waiting"), &json!([])));
    let asked = world.ask("GET", &format!("{}/journal", world.clinic), &[], None).await.json();
    assert_eq!(asked, json!([]), "it was not even asked for answers");
    world.restart_as(|clinic| settings(clinic, SOON, "", READS)).await;
    world.until(&exchange, "delivered").await;
    world.close().await;
}

#[actix_web::test]
async fn what_is_urgent_goes_before_other_patients_and_never_before_its_own() {
    let night = "windows = [\"daily 00:00-24:00\"]";
    let mut world = World::open_as(|clinic| settings(clinic, SOON, night, READS)).await;
    let mut exchanges = Vec::new();
    for (number, patient, urgency) in [
        (1, PATIENTS[0], "routine"),
        (2, PATIENTS[1], "routine"),
        (3, PATIENTS[2], "routine"),
        (4, PATIENTS[2], "stat"),
    ] {
        let mut document = about(referral(number), patient);
        document["urgency"] = json!(urgency);
        exchanges.push(world.refer(&document).await);
    }
    world.restart_as(|clinic| settings(clinic, SOON, "max_in_flight = 1", READS)).await;
    for exchange in &exchanges {
        world.until(exchange, "delivered").await;
    }
    let mut arrived = world.at_clinic("ServiceRequest").await;
    arrived.sort_by_key(|r| r["meta"]["lastUpdated"].as_str().unwrap().to_owned());
    let order: Vec<&str> = arrived.iter().map(|r| r["identifier"][0]["value"].as_str().unwrap()).collect();
    let expected = ["R-3", "R-4", "R-1", "R-2"].map(|id| format!("{ONCOLOGY}#{id}"));
    assert_eq!(order, expected, "the urgent one takes what stands before it along");
    world.close().await;
}

#[actix_web::test]
async fn a_partner_that_is_back_is_sent_what_waits_long_before_the_next_time_that_was_set_for_it() {
    let world =
        World::open_as(|clinic| settings(clinic, "breaker_failures = 3\nretry_s = [3600]\nprobe_s = [1]", "", READS))
            .await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0, "method": "POST" })).await;
    let mut exchanges = Vec::new();
    for (number, patient) in (1..).zip(PATIENTS) {
        exchanges.push(world.refer(&about(referral(number), patient)).await);
    }
    until(&world, "primary-care", |p| p["breaker"] != "closed").await;
    world.behave().await;
    for exchange in &exchanges {
        world.until(exchange, "delivered").await;
    }
    world.close().await;
}
