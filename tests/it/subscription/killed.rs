//! The program is killed between a commit and the word of it: what was committed is told after the next start, once numbered, in order.

use reqwest::Client;
use serde_json::{Value, json};

use super::{Ear, Heard, settings, wish};
use crate::program::Program;
use crate::world::{ONCOLOGY, SOUTH, World, referral_to};

async fn send(http: &Client, url: String, unit: &str, body: &Value) -> (u16, Value) {
    let request = http.post(url).header("Vardkedja-Unit", unit).header("Content-Type", "application/json");
    let reply = request.body(body.to_string()).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

fn kill(program: Program) {
    program.signal("-KILL");
    drop(program);
}

#[actix_web::test]
async fn what_was_committed_is_told_although_the_program_was_killed_before_it_told() {
    let (world, http) = (World::open_clinic_only().await, Client::builder().no_proxy().build().unwrap());
    let ear = Ear::open(200);
    let start = || Program::start(&world.folder, &settings(&ear.url, &world.clinic, ""), &[]);
    let program = start();
    let made =
        send(&http, format!("{}/fhir/Subscription", program.url), SOUTH, &wish(&ear, "", "task-changed", "id-only"))
            .await;
    assert_eq!(made.0, 201, "{}", made.1);
    ear.until("a handshake", |heard| !heard.is_empty()).await;
    let mut number = 0;
    let mut program = program;
    for round in 0..4 {
        // Away in every other round, so that some are killed with an attempt behind them and some before any.
        ear.answer(if round % 2 == 0 { 503 } else { 200 });
        for _ in 0..3 {
            number += 1;
            let sent =
                send(&http, format!("{}/v1/referrals", program.url), ONCOLOGY, &referral_to(number, SOUTH)).await;
            assert_eq!(sent.0, 202, "{}", sent.1);
        }
        // In the moment in which the last is answered.
        kill(program);
        program = start();
    }
    ear.answer(200);
    let told = ear.until_number("/hook", i64::from(number)).await;
    let mut by_number = std::collections::BTreeMap::<i64, String>::new();
    let mut last = 0;
    for (one, focus) in told.iter().flat_map(|h: &Heard| h.numbers().into_iter().zip(h.focuses())) {
        let focus = focus.rsplit('/').next().unwrap().to_owned();
        assert!(one <= last + 1, "{one} after {last}: nothing is passed over");
        last = last.max(one);
        // Told twice, a number says the same.
        assert_eq!(by_number.entry(one).or_insert(focus.clone()), &focus);
    }
    assert_eq!(by_number.keys().copied().collect::<Vec<_>>(), (1..=i64::from(number)).collect::<Vec<_>>());
    let tasks: std::collections::BTreeSet<&String> = by_number.values().collect();
    assert_eq!(tasks.len(), number as usize, "each referral's Task, none lost");
    let listed: Value = http
        .get(format!("{}/fhir/Task?_count=100", program.url))
        .header("Vardkedja-Unit", SOUTH)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(listed["entry"].as_array().unwrap().len(), number as usize);
    assert_eq!(json!(listed["type"]), "searchset");
    world.close().await;
}
