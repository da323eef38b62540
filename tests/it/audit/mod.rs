//! The audit log as those see it who answer for it: as AuditEvents and as the patient's list; the chain is in
//! `chain`.

mod chain;

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use vardkedja::Conformance;

use crate::gateway::TestGateway;
use crate::world::{NORTH, ONCOLOGY, SOUTH, World, plan, referral, referral_to};

/// Of the log: place, actor, action, object, payload.
type Row = (i64, String, String, String, String);

fn rows(folder: &Path) -> Vec<Row> {
    let db = Connection::open(folder.join("gateway.sqlite")).unwrap();
    let mut statement =
        db.prepare("SELECT seq, actor, action, object, ifnull(payload, '') FROM audit ORDER BY seq").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn resources(bundle: &Value) -> Vec<Value> {
    bundle["entry"].as_array().into_iter().flatten().map(|entry| entry["resource"].clone()).collect()
}

/// The gateway's own id of the only patient.
async fn patient(world: &World) -> String {
    let bundle = world.get("/fhir/Patient", "").await.json();
    resources(&bundle)[0]["id"].as_str().unwrap().to_owned()
}

fn next(bundle: &Value) -> Option<String> {
    let links = bundle["link"].as_array()?;
    links.iter().find(|link| link["relation"] == "next").map(|link| link["url"].as_str().unwrap().to_owned())
}

/// A plan, a referral that is delivered and answered, a referral that its unit reads here, reads, searches and refusals.
async fn lived(world: &World) -> String {
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &plan(1)).await.status, 202);
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let left = vardkedja::demo::Left { answer: Some("Klart."), ..Default::default() };
    world.people().step(&task, "completed", &left).await.unwrap();
    world.until(&exchange, "completed").await;
    let other = world.refer(&referral_to(2, SOUTH)).await;
    let task = world.task(&other, SOUTH).await;
    for path in [
        format!("/fhir/Task/{task}"),
        format!("/fhir/Task/{task}/_history"),
        "/fhir/Task?status=requested&_count=5".to_owned(),
        "/v1/exchanges".to_owned(),
        format!("{other}/document"),
    ] {
        assert_eq!(world.get(&path, SOUTH).await.status, 200, "{path}");
    }
    let form = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/x-www-form-urlencoded")];
    let asked = "identifier=http://electronichealth.se/identifier/personnummer|195009072553";
    assert_eq!(world.ask("POST", "/fhir/Patient/_search", &form, Some(asked.into())).await.status, 200);
    assert_eq!(world.get(&format!("/fhir/Task/{task}"), NORTH).await.status, 404, "none of its business");
    assert_eq!(world.get("/fhir/AuditEvent", SOUTH).await.status, 403, "a unit does not read the log");
    assert_eq!(world.get("/fhir/Task/1", "SE2321000131-E000000000999").await.status, 403, "a stranger");
    let mut changed = referral(1);
    changed["question"] = json!("En annan fråga.");
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &changed).await.status, 409);
    task
}

#[actix_web::test]
async fn every_row_reads_as_an_audit_event_that_our_own_validator_passes() {
    let world = World::open().await;
    lived(&world).await;
    let (conformance, _) = Conformance::load(&vardkedja::profile_files(None).unwrap());
    let mut page = "/fhir/AuditEvent?_count=7".to_owned();
    let (mut seen, mut deeds, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    loop {
        let reply = world.get(&page, "").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let bundle = reply.json();
        for event in resources(&bundle) {
            assert!(seen.insert(event["id"].as_str().unwrap().to_owned()), "{} stands on two pages", event["id"]);
            deeds.insert(event["subtype"].as_array().unwrap().last().unwrap()["code"].as_str().unwrap().to_owned());
            wrong.extend(
                conformance.validate(std::slice::from_ref(&event)).iter().map(|i| format!("{}: {event:#}", i.line())),
            );
        }
        let Some(link) = next(&bundle) else { break };
        page = link.strip_prefix(&world.gateway).unwrap().to_owned();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let known: BTreeSet<String> =
        ["submit", "deliver", "answer", "read", "history", "search", "fetch", "refuse"].map(str::to_owned).into();
    assert!(deeds.is_superset(&known), "{deeds:?}");
    let one = world.get("/fhir/AuditEvent/1", "").await.json();
    assert_eq!((&one["resourceType"], &one["id"]), (&json!("AuditEvent"), &json!("1")));
    let xml = world.ask("GET", "/fhir/AuditEvent/1", &[("Accept", "application/fhir+xml")], None).await;
    assert!(xml.status == 200 && xml.text.contains("<AuditEvent"), "{}", xml.text);
    for id in ["0", "01", "-1", "999999", "x"] {
        assert_eq!(world.get(&format!("/fhir/AuditEvent/{id}"), "").await.status, 404, "{id}");
    }
    world.close().await;
}

#[actix_web::test]
async fn a_row_says_who_from_where_for_what_and_whose_and_never_what_was_searched_for() {
    let world = World::open().await;
    let task = lived(&world).await;
    let patient = patient(&world).await;
    let all = rows(&world.folder);
    let text: String = all.iter().map(|row| format!("{row:?}\n")).collect();
    for secret in ["195009072553", "requested&", "Tolvan", "En annan fråga"] {
        assert!(!text.contains(secret), "{secret} stands in the log:\n{text}");
    }
    let read = all.iter().find(|row| row.2 == "read" && row.3 == format!("Task/{task}")).unwrap();
    let payload: Value = serde_json::from_str(&read.4).unwrap();
    assert_eq!((read.1.as_str(), &payload["by"]["purpose"]), (SOUTH, &json!("care")));
    assert_eq!(payload["by"]["organisation"].as_str().map(|o| o.starts_with("SE")), Some(true), "{payload}");
    assert_eq!((&payload["by"]["from"], &payload["by"]["client"]), (&json!("loopback"), &json!("reader")));
    assert!(payload["by"]["request"].is_string() && payload["shown"][0] == format!("Task/{task}/1"), "{payload}");
    assert_eq!(payload["patients"], json!([patient]));
    let searches: Vec<&str> = all.iter().filter(|row| row.2 == "search").map(|row| row.3.as_str()).collect();
    assert!(searches.contains(&"Task?status&_count") && searches.contains(&"Patient?identifier"), "{searches:?}");
    let submit = all.iter().find(|row| row.2 == "submit").unwrap();
    let payload: Value = serde_json::from_str(&submit.4).unwrap();
    assert!(
        payload["shown"].as_array().unwrap().iter().any(|n| n.as_str().unwrap().starts_with("CarePlan/")),
        "{payload}"
    );
    let refused: Vec<(&str, &str)> =
        all.iter().filter(|row| row.2 == "refuse").map(|row| (row.1.as_str(), row.3.as_str())).collect();
    let hidden = format!("Task/{task}");
    for expected in [
        (NORTH, hidden.as_str()),
        (SOUTH, "GET /fhir/AuditEvent"),
        ("unknown", "GET /fhir/{type}/{id}"),
        (ONCOLOGY, "POST /v1/referrals"),
    ] {
        assert!(refused.contains(&expected), "{expected:?} in {refused:?}");
    }
    world.close().await;
}

#[actix_web::test]
async fn the_log_is_searched_by_what_audit_events_are_searched_by() {
    let world = World::open().await;
    let task = lived(&world).await;
    let patient = patient(&world).await;
    let find = async |query: &str| {
        let reply = world.get(&format!("/fhir/AuditEvent?_count=500&{query}"), "").await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        resources(&reply.json())
    };
    let all = rows(&world.folder);
    let ids =
        |events: &[Value]| events.iter().map(|e| e["id"].as_str().unwrap().parse::<i64>().unwrap()).collect::<Vec<_>>();
    let of =
        |wanted: &dyn Fn(&Row) -> bool| all.iter().rev().filter(|row| wanted(row)).map(|row| row.0).collect::<Vec<_>>();
    let last = all.last().unwrap().0;
    // What was recorded while we looked stands before what was there.
    let before = |found: Vec<i64>| found.into_iter().filter(|seq| *seq <= last).collect::<Vec<_>>();
    assert_eq!(before(ids(&find("").await)), of(&|_| true));
    assert_eq!(before(ids(&find(&format!("agent={SOUTH}")).await)), of(&|row| row.1 == SOUTH || row.4.contains(SOUTH)));
    let identifier = format!("agent:identifier=urn:oid:1.2.752.29.4.19|{SOUTH}&action=R");
    assert!(find(&identifier).await.iter().all(|event| event["action"] == "R"));
    let entity = find(&format!("entity=Task/{task}")).await;
    let expected = of(&|row| row.3.contains(&task) || row.4.contains(&format!("Task/{task}/")));
    assert_eq!(before(ids(&entity)), expected);
    assert!(!find(&format!("patient=Patient/{patient}")).await.is_empty());
    assert!(find("patient=nobody").await.is_empty());
    let failed = find("outcome=4,8,12").await;
    assert!(!failed.is_empty() && failed.iter().all(|event| event["outcome"] != "0"), "{failed:#?}");
    let deliveries = find("type=http://dicom.nema.org/resources/ontology/DCM|110106&subtype=deliver").await;
    assert!(!deliveries.is_empty());
    let to = |event: &Value| event["agent"].to_string().contains(NORTH);
    assert!(deliveries.iter().any(to), "{deliveries:#?}");
    assert!(find("date=lt2000").await.is_empty() && !find("date=ge2000&date=lt2100").await.is_empty());
    for query in
        ["patient=19500907-2553%20x", "date=soon", "action=X", "outcome=1", "entity=Task", "address=1", "_page=1"]
    {
        assert_eq!(world.get(&format!("/fhir/AuditEvent?{query}"), "").await.status, 400, "{query}");
    }
    // Looking is in the log, with the patient that was looked for.
    let looked = rows(&world.folder);
    let looked = looked.iter().rev().find(|row| row.3 == "AuditEvent?_count&patient" && row.4.contains(&patient));
    assert!(looked.is_some_and(|row| row.2 == "search" && row.1 == "operator"), "{looked:?}");
    let capability = world.get("/fhir/metadata", "").await.json();
    let said =
        capability["rest"][0]["resource"].as_array().unwrap().iter().find(|r| r["type"] == "AuditEvent").unwrap();
    assert_eq!(said["searchParam"].as_array().unwrap().len(), 8);
    world.close().await;
}

#[actix_web::test]
async fn a_patient_reads_who_saw_and_got_what_page_after_page_and_as_a_table() {
    let world = World::open().await;
    lived(&world).await;
    let patient = patient(&world).await;
    let path = format!("/v1/patients/{patient}/access-log");
    let whole = world.get(&format!("{path}?limit=500"), "").await.json();
    let sentences: Vec<String> =
        whole["entries"].as_array().unwrap().iter().map(|e| e["sentence"].as_str().unwrap().to_owned()).collect();
    let told = sentences.join("\n");
    let north =
        whole["entries"].as_array().unwrap().iter().find(|e| e["hsaId"] == NORTH && e["did"] == "fick").unwrap();
    assert!(north["careProvider"].is_string() && north["who"] != NORTH, "{north}");
    for part in ["skickade in", "fick remiss, plan eller svar", "läste", "sökte fram", "hämtade", "svarade på"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert!(!told.contains("nekades") && !told.contains("195009072553"), "{told}");
    let mut paged = Vec::new();
    let mut page = Some(format!("{path}?limit=3"));
    while let Some(path) = page {
        let shown = world.get(&path, "").await.json();
        paged.extend(shown["entries"].as_array().unwrap().iter().map(|e| e["record"].as_i64().unwrap()));
        page = shown["next"].as_str().map(|next| next.strip_prefix(&world.gateway).unwrap().to_owned());
    }
    let all: Vec<i64> = whole["entries"].as_array().unwrap().iter().map(|e| e["record"].as_i64().unwrap()).collect();
    assert!(paged.ends_with(&all), "{paged:?} {all:?}");
    let table = world.get(&format!("{path}?format=csv&limit=500"), "").await.text;
    assert!(table.starts_with('\u{feff}') && table.lines().count() > all.len(), "{table}");
    let events = world.get(&format!("/fhir/Patient/{patient}/$access-log?_count=500"), "").await.json();
    let texts: Vec<Value> = resources(&events).iter().map(|event| event["text"]["div"].clone()).collect();
    assert!(texts.iter().all(|text| text.as_str().unwrap().contains("lang=\"sv\"")) && texts.len() > all.len());
    let (conformance, _) = Conformance::load(&vardkedja::profile_files(None).unwrap());
    assert!(conformance.validate(&resources(&events)).is_empty(), "{:#?}", conformance.validate(&resources(&events)));
    assert_eq!(world.get(&path, ONCOLOGY).await.status, 403);
    for nobody in ["195009072553", "0f1c62c3-8f70-4d63-9f3b-3a1a54b1d4a5"] {
        assert_eq!(world.get(&format!("/v1/patients/{nobody}/access-log"), "").await.status, 404);
    }
    world.close().await;
}

#[actix_web::test]
async fn a_stranger_that_is_refused_without_end_leaves_a_handful_of_rows_and_their_number() {
    let gateway = TestGateway::start("[limits]\nrate_per_s = 100000\n[audit]\nrefusals_per_minute = 10\n").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |unit: &str, path: &str| {
        let sent = client.get(format!("{}{path}", gateway.url)).header("Vardkedja-Unit", unit).send().await;
        sent.unwrap().status().as_u16()
    };
    for n in 0..300 {
        assert_eq!(ask(&format!("SE2321000131-E{n}"), "/fhir/Task").await, 403);
        assert_eq!(ask(SOUTH, &format!("/fhir/Task/{n}")).await, 404);
    }
    let folder = gateway.config.db.parent().unwrap().to_owned();
    let count = |actor: &str| rows(&folder).iter().filter(|row| row.2 == "refuse" && row.1 == actor).count();
    assert!(count("unknown") <= 2, "{}", count("unknown"));
    assert!((10..=21).contains(&count(SOUTH)), "{}", count(SOUTH));
    let kept = folder.clone();
    let copy = std::env::temp_dir().join(format!("refused-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&copy).unwrap();
    gateway
        .stop_and(|| std::fs::copy(kept.join("gateway.sqlite"), copy.join("gateway.sqlite")).map(|_| ()).unwrap())
        .await;
    let told: i64 = rows(&copy)
        .iter()
        .filter(|row| row.2 == "refuse" && row.1 == "unknown")
        .map(|row| {
            let payload: Value = serde_json::from_str(&row.4).unwrap();
            payload["count"].as_i64().unwrap_or(1 + payload["alsoBefore"].as_i64().unwrap_or(0))
        })
        .sum();
    assert_eq!(told, 300, "none is lost: the rest is told as a number when the gateway stops");
    let _ = std::fs::remove_dir_all(copy);
}

#[actix_web::test]
async fn rounds_over_a_partners_tasks_that_end_alike_are_told_once_an_hour() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    while world.journal("GET", "/fhir/Task").await < 4 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let polls: Vec<_> = rows(&world.folder).into_iter().filter(|row| row.2 == "poll").collect();
    assert_eq!(polls.len(), 1, "{polls:?}");
    assert!(polls.iter().all(|row| row.3 == "partner/primary-care" && row.4.contains("\"patients\":[]")), "{polls:?}");
    world.close().await;
}
