//! Misbehaviour on demand: each fault does what it says, as often as it says, and then stops.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Clinic, FHIR, patient};
use vardkedja::demo::receiver::{Fault, Faults, Misbehaviour, Options};

/// What a sender gets: status, `Retry-After` and text, or nothing.
async fn send(clinic: &Clinic) -> Option<(u16, Option<String>, String)> {
    let request = clinic.client.post(format!("{}/fhir/Patient", clinic.base));
    let response = request.header("Content-Type", FHIR).body(patient().to_string()).send().await.ok()?;
    let status = response.status().as_u16();
    let after = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    Some((status, after, response.text().await.ok()?))
}

#[tokio::test]
async fn each_fault_strikes_as_often_as_it_says() {
    let clinic = Clinic::open();
    for (kind, effect) in [
        ("error", 0),
        ("busy", 0),
        ("html", 0),
        ("outcome", 0),
        ("empty", 0),
        ("reset", 0),
        ("garbage", 0),
        ("lost-answer", 1),
        ("truncated", 1),
    ] {
        let before = clinic.count("Patient").await;
        clinic.post("/faults", json!({ "kind": kind, "next": 2, "method": "POST", "retryAfterSeconds": 7 })).await;
        for _ in 0..2 {
            let got = send(&clinic).await;
            let body = got.as_ref().map(|(_, _, text)| serde_json::from_str::<Value>(text));
            match (kind, got) {
                ("error", Some((500, _, _))) => {}
                ("busy", Some((429, Some(after), _))) => assert_eq!(after, "7"),
                ("html", Some((200, _, text))) => assert!(text.starts_with("<html>")),
                ("outcome", Some((200, _, _))) => {
                    let outcome = body.unwrap().unwrap();
                    assert_eq!(outcome["issue"][0]["severity"], json!("error"));
                }
                ("empty", Some((200, _, text))) => assert_eq!(text, ""),
                ("truncated", Some((201, _, text))) => assert!(text.starts_with('{') && body.unwrap().is_err()),
                ("garbage", None) => {} // not even text
                ("garbage", Some((200, _, text))) => assert!(serde_json::from_str::<Value>(&text).is_err()),
                ("lost-answer" | "reset", None) => {}
                (kind, got) => panic!("{kind}: {got:?}"),
            }
        }
        assert_eq!(clinic.count("Patient").await - before, 2 * effect, "{kind}");
        assert_eq!(send(&clinic).await.map(|(status, ..)| status), Some(201), "{kind} is over");
    }
    let journal = clinic.get("/journal").await.body;
    let lost: Vec<&Value> = journal.as_array().unwrap().iter().filter(|l| l["fault"] == "lost-answer").collect();
    assert_eq!(lost.len(), 2, "a lost answer was sent once each time: {lost:?}");
    assert_eq!(lost[0]["status"], json!(201));
}

#[tokio::test]
async fn a_repeated_answer_says_everything_twice_and_was_done_once() {
    let clinic = Clinic::open();
    assert_eq!(send(&clinic).await.map(|(status, ..)| status), Some(201));
    clinic.post("/faults", json!({ "kind": "repeated" })).await;
    let found = clinic.get("/fhir/Patient").await.body;
    assert_eq!(found["entry"].as_array().unwrap().len(), 2);
    assert_eq!(found["entry"][0], found["entry"][1]);
    assert_eq!(clinic.count("Patient").await, 1);
}

#[tokio::test]
async fn a_hanging_request_is_done_late() {
    let clinic = Clinic::open();
    clinic.post("/faults", json!({ "kind": "hang", "milliseconds": 300 })).await;
    let began = Instant::now();
    assert_eq!(send(&clinic).await.map(|(status, ..)| status), Some(201));
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_request_that_hangs_is_not_done_when_its_sender_has_gone_and_a_late_answer_is_to_something_done() {
    let clinic = Clinic::open();
    let impatient = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(150)).build().unwrap();
    for (kind, effect) in [("hang", 0), ("late", 1)] {
        let before = clinic.count("Patient").await;
        clinic.post("/faults", json!({ "kind": kind, "milliseconds": 400 })).await;
        let request = impatient.post(format!("{}/fhir/Patient", clinic.base)).header("Content-Type", FHIR);
        assert!(request.body(patient().to_string()).send().await.unwrap_err().is_timeout(), "{kind}");
        let until = Instant::now() + Duration::from_millis(700);
        while Instant::now() < until {
            assert!(clinic.count("Patient").await - before <= effect, "{kind}");
        }
        assert_eq!(clinic.count("Patient").await - before, effect, "{kind}");
    }
}

#[tokio::test]
async fn a_fault_with_a_seed_strikes_the_same_requests_each_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let clinic = Clinic::open();
        clinic.post("/faults", json!({ "kind": "error", "probability": 0.5, "seed": 7 })).await;
        let mut run = Vec::new();
        for _ in 0..20 {
            run.push(send(&clinic).await.map(|(status, ..)| status));
        }
        assert!(run.contains(&Some(500)) && run.contains(&Some(201)));
        clinic.ask("DELETE", "/faults", &[], None).await;
        assert_eq!(clinic.get("/faults").await.body, json!([]));
        for _ in 0..5 {
            assert_eq!(send(&clinic).await.map(|(status, ..)| status), Some(201), "cleared");
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_receiver_may_begin_its_day_badly() {
    let faults = Faults::default();
    faults.add(Fault::next(Misbehaviour::Error, 1));
    let clinic = Clinic::open_with(Options { faults, ..Options::default() });
    assert_eq!(send(&clinic).await.map(|(status, ..)| status), Some(500));
    assert_eq!(send(&clinic).await.map(|(status, ..)| status), Some(201));
    assert_eq!(clinic.post("/faults", json!({ "kind": "sulk" })).await.status.as_u16(), 400);
}
