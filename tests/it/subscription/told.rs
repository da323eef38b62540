//! What a subscriber is told: the handshake, three payloads, several events of one commit, filters, heartbeats, `$status`, `$events`.

use serde_json::{Value, json};

use super::{
    Ear, GUIDE, Heard, focuses, numbers, open, parameter, patch_task, post, settings, stands, subscribe, wish,
};
use crate::clocks::rules;
use crate::world::{ONCOLOGY, SOUTH, World, plan, referral_to};

#[actix_web::test]
async fn an_endpoint_is_asked_first_and_then_told_as_much_as_its_payload_says() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    for payload in ["empty", "id-only", "full-resource"] {
        let shown = subscribe(&world, SOUTH, &wish(&ear, &format!("/{payload}"), "task-changed", payload)).await;
        assert!(!shown.to_string().contains("s3cret"), "secrets are not shown: {shown:#}");
        assert_eq!(shown["channel"]["_payload"]["extension"][0]["valueCode"], payload);
        let handshake = &ear.taken(&format!("/hook/{payload}"))[0];
        assert_eq!(handshake.kind(), "handshake");
        assert_eq!(parameter(&handshake.status(), "status")["valueCode"], "requested");
        assert_eq!(handshake.headers["authorization"], "Bearer s3cret");
        assert_eq!(handshake.headers["content-type"], "application/fhir+json");
    }
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let focus = format!("{}/fhir/Task/{task}", world.gateway);
    for payload in ["empty", "id-only", "full-resource"] {
        let path = format!("/hook/{payload}");
        let told = ear.until_number(&path, 1).await;
        let bundle = told[1].bundle();
        assert_eq!((told[1].kind().as_str(), bundle["type"].as_str()), ("event-notification", Some("history")));
        assert_eq!(parameter(&told[1].status(), "events-since-subscription-start")["valueString"], "1");
        assert_eq!(told[1].numbers(), [1]);
        let entries = bundle["entry"].as_array().unwrap();
        match payload {
            "empty" => assert!(entries.len() == 1 && !told[1].text.contains("Task/"), "{bundle:#}"),
            "id-only" => {
                assert_eq!(told[1].focuses(), [focus.as_str()]);
                assert_eq!((&entries[1]["fullUrl"], &entries[1]["request"]["method"]), (&json!(focus), &json!("POST")));
                assert!(entries[1]["resource"].is_null());
            }
            _ => {
                assert_eq!(
                    (&entries[1]["resource"]["id"], &entries[1]["resource"]["status"]),
                    (&json!(task), &json!("requested"))
                );
                let read = world.get(&format!("/fhir/Task/{task}/_history/1"), SOUTH).await.json();
                assert_eq!(entries[1]["resource"], read, "as it is read");
            }
        }
    }
    patch_task(&world, SOUTH, &task, 1, "accepted").await;
    let told = ear.until_number("/hook/full-resource", 2).await;
    let last = told.last().unwrap().bundle();
    assert_eq!(
        (&last["entry"][1]["request"]["method"], &last["entry"][1]["resource"]["status"]),
        (&json!("PUT"), &json!("accepted"))
    );
    let log = world.get("/fhir/AuditEvent?_count=200", "").await.text;
    assert!(log.contains("\"notify\"") && log.contains("\"subscribe\""), "it is in the log that it was told");
    let metadata = world.get("/fhir/metadata", "").await.json();
    let resources = metadata["rest"][0]["resource"].as_array().unwrap();
    let of = resources.iter().find(|r| r["type"] == "Subscription").unwrap();
    let topics: Vec<&str> =
        of["extension"].as_array().unwrap().iter().filter_map(|e| e["valueCanonical"].as_str()).collect();
    for topic in ["task-changed", "request-changed", "plan-changed", "responsibility-changed", "overdue"] {
        assert!(topics.iter().any(|t| t.ends_with(topic)), "{topic}: {topics:?}");
    }
    world.close().await;
}

#[actix_web::test]
async fn what_one_commit_makes_is_told_in_its_order_and_a_filter_keeps_out_what_it_does_not_ask_for() {
    let ear = Ear::open(204);
    let world = open(&ear).await;
    subscribe(&world, ONCOLOGY, &wish(&ear, "/all", "task-changed", "id-only")).await;
    let mut few = wish(&ear, "/few", "task-changed", "id-only");
    few["_criteria"] = json!({ "extension": [{ "url": format!("{GUIDE}/backport-filter-criteria"), "valueString": "Task?status=completed,rejected" }] });
    subscribe(&world, ONCOLOGY, &few).await;
    subscribe(&world, ONCOLOGY, &wish(&ear, "/plans", "plan-changed", "full-resource")).await;
    let text = include_str!("../../../mappings/examples/handover.sip-small.source.json");
    let sip: Value = serde_json::from_str(text).unwrap();
    let exchange = world.post("/v1/handovers", ONCOLOGY, &sip).await;
    assert_eq!(exchange.status, 202, "{}", exchange.text);
    let shown = world.get(&exchange.location.unwrap(), ONCOLOGY).await.json();
    let tasks =
        shown["resources"].as_array().unwrap().iter().filter(|r| r.as_str().unwrap().starts_with("Task/")).count();
    assert!(tasks > 1, "several in one commit: {shown:#}");
    let told = ear.until_number("/hook/all", tasks as i64).await;
    let all: Vec<i64> = told.iter().flat_map(Heard::numbers).collect();
    assert_eq!(all, (1..=all.len() as i64).collect::<Vec<_>>(), "in order, none twice, none missing");
    let named: std::collections::BTreeSet<String> = told.iter().flat_map(Heard::focuses).collect();
    assert!(named.len() >= tasks);
    let plans = ear.until_number("/hook/plans", 1).await;
    assert_eq!(plans[1].bundle()["entry"][1]["resource"]["resourceType"], "CarePlan");
    world.post("/v1/rehab-plans", ONCOLOGY, &plan(1)).await;
    ear.until_number("/hook/plans", 2).await;
    assert!(ear.taken("/hook/few").iter().all(|h| h.kind() == "handshake"), "nothing was completed or rejected");
    world.close().await;
}

#[actix_web::test]
async fn where_nothing_happens_that_is_told_in_the_rhythm_that_was_asked_for() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let mut quiet = wish(&ear, "/quiet", "task-changed", "id-only");
    quiet["channel"]["extension"] =
        json!([{ "url": format!("{GUIDE}/backport-heartbeat-period"), "valueUnsignedInt": 1 }]);
    subscribe(&world, SOUTH, &quiet).await;
    subscribe(&world, SOUTH, &wish(&ear, "/silent", "task-changed", "id-only")).await;
    let beats =
        |heard: &[Heard]| heard.iter().filter(|h| h.path == "/hook/quiet" && h.kind() == "heartbeat").count() >= 2;
    let heard = ear.until("two heartbeats", beats).await;
    for beat in heard.iter().filter(|h| h.kind() == "heartbeat") {
        assert!(beat.numbers().is_empty() && beat.path == "/hook/quiet");
        assert_eq!(parameter(&beat.status(), "events-since-subscription-start")["valueString"], "0");
    }
    world.close().await;
}

#[actix_web::test]
async fn a_subscriber_can_ask_how_it_stands_and_what_it_missed_and_nobody_else_can() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let id =
        subscribe(&world, SOUTH, &wish(&ear, "", "task-changed", "id-only")).await["id"].as_str().unwrap().to_owned();
    ear.answer(503);
    for number in 1..=5 {
        world.refer(&referral_to(number, SOUTH)).await;
    }
    let path = format!("/fhir/Subscription/{id}");
    let mut count = Value::Null;
    for _ in 0..1200 {
        let bundle = world.get(&format!("{path}/$status"), SOUTH).await.json();
        count = parameter(&bundle["entry"][0]["resource"], "events-since-subscription-start")["valueString"].clone();
        if count == "5" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(count, "5", "also what it was not told yet");
    let ask = async |query: &str| world.get(&format!("{path}/$events{query}"), SOUTH).await;
    let all = ask("").await.json();
    assert_eq!((all["type"].as_str(), numbers(&all["entry"][0]["resource"])), (Some("history"), vec![1, 2, 3, 4, 5]));
    assert_eq!(parameter(&all["entry"][0]["resource"], "type")["valueCode"], "query-event");
    let some = ask("?eventsSinceNumber=2&eventsUntilNumber=3&content=full-resource").await.json();
    assert_eq!(numbers(&some["entry"][0]["resource"]), [2, 3]);
    assert_eq!(some["entry"][1]["resource"]["resourceType"], "Task");
    let none = ask("?eventsSinceNumber=3&content=empty").await.json();
    assert!(focuses(&none["entry"][0]["resource"]).is_empty() && none["entry"].as_array().unwrap().len() == 1);
    assert_eq!(ask("?eventsSinceNumber=6").await.json()["entry"].as_array().unwrap().len(), 1, "nothing yet");
    for wrong in ["?eventsSinceNumber=x", "?content=some", "?colour=red", "?eventsUntilNumber=-1"] {
        assert_eq!(ask(wrong).await.status, 400, "{wrong}");
    }
    for (path, status) in [
        ("/fhir/Subscription?colour=red", 400),
        ("/fhir/Subscription?_id=x", 200),
        ("/fhir/Subscription?_count=x", 400),
        ("/fhir/Subscription/$status?status=paused", 400),
        ("/fhir/Subscription/$other", 404),
    ] {
        assert_eq!(world.get(path, SOUTH).await.status, status, "{path}");
    }
    let both = world.get(&format!("/fhir/Subscription/$status?id={id}&status=active"), SOUTH).await.json();
    assert_eq!((&both["type"], &both["total"]), (&json!("searchset"), &json!(1)));
    assert_eq!(world.get("/fhir/Subscription/$status?status=off", SOUTH).await.json()["total"], 0);
    let found = world.get("/fhir/Subscription?status=active", SOUTH).await.json();
    assert_eq!(found["entry"][0]["resource"]["id"], json!(id));
    for other in [
        path.clone(),
        format!("{path}/$status"),
        format!("{path}/$events"),
        format!("/fhir/Subscription/$status?id={id}"),
    ] {
        assert_eq!(world.get(&other, ONCOLOGY).await.status, 404, "{other}");
    }
    assert!(world.get("/fhir/Subscription", ONCOLOGY).await.json()["entry"].is_null());
    let xml = world.get(&format!("{path}?_format=xml"), SOUTH).await;
    assert!(xml.status == 200 && xml.text.contains("backport-payload-content"), "{}", xml.text);
    let headers = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/fhir+xml")];
    let changed = world.ask("PUT", &path, &headers, Some(xml.text)).await;
    assert_eq!(changed.status, 200, "in XML as it was read: {}", changed.text);
    assert_eq!(world.get("/fhir/Subscription", "").await.status, 403, "the operator has the worklist");
    world.close().await;
}

#[actix_web::test]
async fn a_subscription_that_is_wrong_is_refused_with_everything_that_is_wrong() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    let mut bad = wish(&ear, "", "nothing", "id-only");
    bad["channel"]["type"] = json!("email");
    bad["channel"]["extension"] = json!([{ "url": format!("{GUIDE}/backport-max-count"), "valuePositiveInt": "x" }]);
    let reply = post(&world, SOUTH, &bad).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    let findings = reply.findings();
    for place in ["Subscription.criteria", "Subscription.channel.type", "Subscription.channel.extension[0]"] {
        assert!(findings.contains(place), "{place}: {findings}");
    }
    let mut elsewhere = wish(&ear, "", "task-changed", "id-only");
    for endpoint in ["http://127.0.0.1:9/hook", "https://169.254.169.254/latest", "http://elsewhere.example/hook"] {
        elsewhere["channel"]["endpoint"] = json!(endpoint);
        let reply = post(&world, SOUTH, &elsewhere).await;
        assert!(reply.status == 422 && reply.findings().contains("was not agreed"), "{endpoint}: {}", reply.text);
    }
    let refused = Ear::open(403);
    assert_eq!(refused.all().len(), 0);
    ear.answer(403);
    let reply = post(&world, SOUTH, &wish(&ear, "", "task-changed", "id-only")).await;
    let shown = stands(&world, SOUTH, reply.json()["id"].as_str().unwrap(), "error").await;
    assert_eq!(shown["error"], "HTTP 403");
    world.close().await;
}

#[actix_web::test]
async fn who_is_responsible_and_what_becomes_of_a_referral_are_told_on_topics_of_their_own() {
    let ear = Ear::open(200);
    let world = open(&ear).await;
    subscribe(&world, SOUTH, &wish(&ear, "/requests", "request-changed", "full-resource")).await;
    subscribe(&world, SOUTH, &wish(&ear, "/charge", "responsibility-changed", "full-resource")).await;
    let mut referral = referral_to(1, SOUTH);
    referral["areas"] = json!(["fatigue"]);
    let exchange = world.refer(&referral).await;
    let told = ear.until_number("/hook/requests", 1).await;
    assert_eq!(told[1].bundle()["entry"][1]["resource"]["resourceType"], "ServiceRequest");
    let task = world.task(&exchange, SOUTH).await;
    patch_task(&world, SOUTH, &task, 1, "accepted").await;
    let told = ear.until_number("/hook/charge", 1).await;
    let episode = told.last().unwrap().bundle()["entry"][1]["resource"].clone();
    assert_eq!((&episode["resourceType"], &episode["status"]), (&json!("EpisodeOfCare"), &json!("active")));
    world.close().await;
}

#[actix_web::test]
async fn what_is_overdue_is_told_to_whoever_has_to_act() {
    let ear = Ear::open(200);
    let clocks = "[clocks]\nrules = \"rules.toml\"\nevery_s = 1\n";
    let world = World::open_as_in(|folder, clinic| {
        std::fs::write(folder.join("rules.toml"), rules("[\"1s\", \"400d\"]")).unwrap();
        settings(&ear.url, clinic, clocks)
    })
    .await;
    subscribe(&world, SOUTH, &wish(&ear, "/overdue", "overdue", "full-resource")).await;
    world.refer(&referral_to(1, SOUTH)).await;
    let told = ear.until_number("/hook/overdue", 1).await;
    let item = told[1].bundle()["entry"][1]["resource"].clone();
    assert_eq!(item["code"]["coding"][0]["code"], "overdue", "{item:#}");
    assert_eq!(item["owner"]["identifier"]["value"], SOUTH);
    world.close().await;
}
