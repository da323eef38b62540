//! Running it: figures, the log, threads through systems, and a stop that waits for what it can and no longer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program::{PATIENCE, Program, Wire, run};
use crate::world::{ONCOLOGY, World, referral};

/// Settings for a gateway that pushes to `clinic`; `gateway` is more of its first section.
pub fn settings(gateway: &str, clinic: &str, timeout_s: u32) -> String {
    format!(
        "{gateway}\n[delivery]\nretry_s = [1]\npoll_s = 1\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = {timeout_s}\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
    )
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn send(url: &str, number: u32) -> String {
    let request = client().post(format!("{url}/v1/referrals")).header("Vardkedja-Unit", ONCOLOGY);
    let response = request.json(&referral(number)).send().await.unwrap();
    assert_eq!(response.status(), 202);
    format!("{url}{}", response.headers()["location"].to_str().unwrap())
}

async fn text(url: &str) -> String {
    client().get(url).send().await.unwrap().text().await.unwrap()
}

/// Looks again and again until it is so.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn the_figures_tell_what_was_taken_sent_and_answered() {
    let world = World::open_clinic_only().await;
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    world.until(&send(&program.url, 1).await, "delivered").await;
    let refused = client().post(format!("{}/v1/referrals", program.url)).body("{}").send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let response = client().get(format!("{}/metrics", program.url)).send().await.unwrap();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"), "{media_type}");
    let figures = response.text().await.unwrap();
    for start in [
        r#"vardkedja_documents_total{kind="referral",outcome="accepted"} 1"#,
        r#"vardkedja_documents_total{kind="referral",outcome="refused"} 1"#,
        r#"vardkedja_findings_total{code="required",severity="error"}"#,
        r#"vardkedja_delivery_attempts_total{partner="primary-care",class="delivered"} 1"#,
        r#"vardkedja_http_request_duration_seconds_count{method="POST",route="/v1/referrals",status="2xx"} 1"#,
        r#"vardkedja_http_request_duration_seconds_count{method="GET",route="/v1/exchanges/{id}",status="2xx"}"#,
        r#"vardkedja_deliveries_waiting{partner="primary-care"} 0"#,
        "vardkedja_commit_group_size_count ",
        "vardkedja_commit_duration_seconds_count ",
        "vardkedja_oldest_undelivered_seconds 0",
        "vardkedja_disk_free_bytes ",
        "vardkedja_ready 1",
    ] {
        assert!(figures.lines().any(|l| l.starts_with(start)), "{start} is missing in\n{figures}");
    }
    program.stop().await;
    world.close().await;
}

#[actix_web::test]
async fn figures_and_status_are_not_for_those_who_come_through_a_proxy() {
    let world = World::open_clinic_only().await;
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    for path in ["/metrics", "/v1/status"] {
        let direct = client().get(format!("{}{path}", program.url)).send().await.unwrap();
        assert_eq!(direct.status(), 200, "{path}");
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
            let request = client().get(format!("{}{path}", program.url)).header(header, "192.0.2.7");
            assert_eq!(request.send().await.unwrap().status(), 403, "{path} {header}");
        }
    }
    program.stop().await;
    let closed = format!("{}[telemetry]\nopen_to = \"nobody\"\n", settings("", &world.clinic, 2));
    let program = Program::start(&world.folder, &closed, &[]);
    assert_eq!(client().get(format!("{}/metrics", program.url)).send().await.unwrap().status(), 403);
    program.stop().await;
    world.close().await;
}

#[actix_web::test]
async fn a_request_has_one_number_from_its_sender_to_the_partner() {
    let world = World::open_clinic_only().await;
    let wire = Wire::to(&world.clinic).await;
    let program = Program::start(&world.folder, &settings("", &wire.url, 2), &[]);
    let number = uuid::Uuid::new_v4().to_string();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let misplaced = client().post(format!("{}/v1/referrals?patient=195009072553", program.url));
    assert_eq!(misplaced.json(&referral(1)).send().await.unwrap().status(), 400, "and no line has the number");
    let response = client()
        .post(format!("{}/v1/referrals", program.url))
        .header("Vardkedja-Unit", ONCOLOGY)
        .header("X-Request-Id", &number)
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&referral(1))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-request-id"].to_str().unwrap(), number);
    let place = format!("{}{}", program.url, response.headers()["location"].to_str().unwrap());
    world.until(&place, "delivered").await;
    assert!(wire.there().contains(&format!("traceparent: 00-{trace}-")), "the partner is handed the thread");
    let other = client().get(&place).header("X-Request-Id", "19500907-2553").send().await.unwrap();
    let made = other.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(uuid::Uuid::parse_str(&made).is_ok(), "{made}");
    let log = program.stop().await;
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let line = lines.iter().find(|l| l["span"]["id"] == number.as_str()).unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&line["route"], &line["status"], &line["method"]),
        (&json!("/v1/referrals"), &json!(202), &json!("POST"))
    );
    assert!(lines.iter().any(|l| l["span"]["id"] == made.as_str() && l["route"] == "/v1/exchanges/{id}"), "{log}");
    assert!(!log.contains('?') && !log.contains("07-2553") && !log.contains("9500907"), "{log}");
    world.close().await;
}

#[actix_web::test]
async fn a_request_under_way_is_answered_before_the_program_ends() {
    let world = World::open_clinic_only().await;
    let mut program = Program::start(&world.folder, &settings("drain_notice_s = 1", &world.clinic, 2), &[]);
    let body = referral(1).to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut slow = TcpStream::connect(program.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/referrals HTTP/1.1\r\nHost: localhost\r\nVardkedja-Unit: {ONCOLOGY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{first}",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // It is under way when a request after it has been answered.
    assert!(text(&format!("{}/health/ready", program.url)).await.contains("ready"));
    program.signal("-TERM");
    until("the notice", async || {
        let ready = client().get(format!("{}/health/ready", program.url)).send().await.ok()?;
        (ready.status() == 503 && ready.text().await.ok()?.contains("stopping")).then_some(())
    })
    .await;
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(program.ended().await.success());
    assert!(program.log().contains("\"message\":\"stopped\""), "{}", program.log());
    world.close().await;
}

/// A gateway with an attempt under way that its partner does not answer.
async fn hanging(world: &World, gateway: &str) -> Program {
    world.misbehave(json!({ "kind": "hang", "probability": 1.0, "milliseconds": 120_000, "method": "POST" })).await;
    let program = Program::start(&world.folder, &settings(gateway, &world.clinic, 100), &[]);
    send(&program.url, 1).await;
    let flying = "vardkedja_deliveries_in_flight{partner=\"primary-care\"} 1";
    until("the attempt", async || text(&format!("{}/metrics", program.url)).await.contains(flying).then_some(())).await;
    program
}

#[actix_web::test]
async fn a_partner_that_hangs_does_not_hold_the_end_beyond_its_bound_and_nothing_is_lost() {
    let world = World::open_clinic_only().await;
    let mut program = hanging(&world, "drain_s = 1").await;
    program.signal("-TERM");
    assert!(program.ended().await.success());
    let log = program.log();
    assert!(log.contains("stopped at the bound") && log.contains("\"in_flight\":1"), "{log}");
    // The clinic is stopped with its hanging request; another one takes its place.
    let fresh = World::open_clinic_only().await;
    let program = Program::start(&world.folder, &settings("", &fresh.clinic, 2), &[]);
    let listed = client().get(format!("{}/v1/exchanges", program.url)).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    let id = listed["exchanges"][0]["id"].as_str().unwrap().to_owned();
    fresh.until(&format!("{}/v1/exchanges/{id}", program.url), "delivered").await;
    program.stop().await;
    fresh.close().await;
    world.abandon();
}

#[actix_web::test]
async fn a_second_signal_ends_it_at_once() {
    let world = World::open_clinic_only().await;
    let mut program = hanging(&world, "drain_s = 3600").await;
    program.signal("-TERM");
    until("the first signal", async || program.log().contains("stopping").then_some(())).await;
    program.signal("-TERM");
    assert_eq!(program.ended().await.code(), Some(143));
    world.abandon();
}

#[actix_web::test]
async fn status_says_on_one_screen_what_waits_and_what_to_do() {
    let world = World::open_clinic_only().await;
    let mut program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    world.until(&send(&program.url, 1).await, "delivered").await;
    let (code, screen) = run(&["status", "--url", &program.url]);
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("up and ready") && screen.contains("Nothing needs a person."), "{screen}");
    assert!(screen.contains("LONGEST UNANSWERED"), "{screen}");
    world.misbehave(json!({ "kind": "outcome", "probability": 1.0, "method": "POST" })).await;
    world.until(&send(&program.url, 2).await, "parked").await;
    let (code, screen) = run(&["status", "--url", &program.url]);
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.lines().count() < 50, "{screen}");
    for said in ["PARKED, by cause", "(permanent)", "NEEDS A PERSON", "$ vardkedja retry ", "primary-care"] {
        assert!(screen.contains(said), "{said} is missing in\n{screen}");
    }
    let (code, json) = run(&["status", "--url", &program.url, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["parked"][0]["count"]), (Some(1), &json!(1)));
    program.signal("-KILL");
    program.ended().await;
    let (code, screen) = run(&["status", "--url", &program.url]);
    assert!(code == Some(1) && screen.contains("vardkedja status --db"), "{screen}");
    let (code, screen) = run(&["status", "--db", program.db.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("read from the database") && screen.contains("$ vardkedja retry "), "{screen}");
    world.close().await;
}
