//! The code list and statistics over HTTP: documents go in as units send them, the process team edits its list meanwhile, and the
//! figures are asked for as JSON, CSV and MeasureReport.

use serde_json::{Value, json};

use crate::gateway::TestGateway;
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, World, activity, plan};

/// Test persons of Skatteverket's series.
const PEOPLE: [&str; 6] =
    ["191212121212", "195009072553", "196101182803", "189002029800", "196109732393", "197010632391"];

fn act(number: u32, code: &str, start: &str) -> Value {
    let mut act = activity(number);
    act["patient"]["personnummer"] = json!(PEOPLE[number as usize % PEOPLE.len()]);
    act["codes"] = json!([{ "code": code }]);
    act["start"] = json!(start);
    act.as_object_mut().unwrap().shift_remove("end");
    act.as_object_mut().unwrap().shift_remove("requestId");
    act
}

async fn send(world: &World, unit: &str, act: &Value) {
    let reply = world.post("/v1/activities", unit, act).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
}

async fn figures(world: &World, query: &str) -> Value {
    let reply = world.get(&format!("/v1/statistics/kva?{query}"), "").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn list(world: &World) -> (Value, String) {
    let reply = world.get("/fhir/CodeSystem/kva", NORTH).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let list = reply.json();
    let tag = format!("W/\"{}\"", list["meta"]["versionId"].as_str().unwrap());
    (list, tag)
}

async fn edit(world: &World, unit: &str, list: &Value, tag: &str) -> Reply {
    let mut headers =
        vec![("If-Match", tag), ("Content-Type", "application/fhir+json"), ("Prefer", "return=OperationOutcome")];
    if !unit.is_empty() {
        headers.push(("Vardkedja-Unit", unit));
    }
    world.ask("PUT", "/fhir/CodeSystem/kva", &headers, Some(list.to_string())).await
}

fn concept<'a>(list: &'a mut Value, code: &str) -> &'a mut Value {
    list["concept"].as_array_mut().unwrap().iter_mut().find(|c| c["code"] == code).unwrap()
}

#[actix_web::test]
async fn a_code_that_is_retired_mid_year_counts_on_both_sides_of_the_date() {
    let world = World::open().await;
    for n in 0..7 {
        send(&world, NORTH, &act(n, "DV143", "2026-06-30T23:30:00+02:00")).await;
    }
    send(&world, NORTH, &act(7, "DV143", "2026-07-01T00:10:00+02:00")).await;
    let of_nutrition = "from=2026&to=2026&by=month&area=nutrition";
    let before = figures(&world, of_nutrition).await;
    assert_eq!(before["rows"], json!([{ "month": "2026-06", "acts": null }, { "month": "2026-07", "acts": null }]));
    assert_eq!((before["total"]["acts"].clone(), before["codeList"]["version"].clone()), (json!(8), json!(1)));

    // The successor takes over on the first of July.
    let (mut list, tag) = list(&world).await;
    list["version"] = json!("2026.2");
    concept(&mut list, "DV143")["property"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "code": "valid-to", "valueDateTime": "2026-06-30" }));
    list["concept"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "code": "DV149", "display": "Ersätter DV143 (exempel)", "property": [
        { "code": "valid-from", "valueDateTime": "2026-07-01" }, { "code": "area", "valueCode": "nutrition" } ] }));
    let reply = edit(&world, "", &list, &tag).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(reply.findings().contains("DV143 har åtgärder från 2026-06-30 till 2026-07-01"), "{}", reply.findings());

    // Without a restart: documents are judged by it, and nothing that was taken in is judged again.
    let late = world.post("/v1/activities", NORTH, &act(20, "DV143", "2026-07-02T10:00:00+02:00")).await;
    assert_eq!(late.status, 422);
    assert!(late.findings().contains("2026-06-30"), "{}", late.findings());
    for n in 21..27 {
        send(&world, NORTH, &act(n, "DV149", "2026-07-02T10:00:00+02:00")).await;
    }
    send(&world, NORTH, &act(28, "DV143", "2026-06-30T10:00:00+02:00")).await;
    let after = figures(&world, of_nutrition).await;
    assert_eq!(after["rows"], json!([{ "month": "2026-06", "acts": 8 }, { "month": "2026-07", "acts": 6 }]));
    assert_eq!(after["codeList"], json!({ "version": 2, "edition": "2026.2" }));
    assert_eq!(after["outside"], json!(null), "one act is too few to show");
    let mid = figures(&world, "from=2026-06-30&to=2026-07-01&by=code").await;
    assert_eq!(mid["rows"], json!([{ "code": "DV143", "acts": 8 }]));

    // Every version stays to be read, and the gateway begins with the last.
    let mut world = world;
    world.restart_gateway("").await;
    assert_eq!(figures(&world, of_nutrition).await["rows"], after["rows"]);
    let history = world.get("/fhir/CodeSystem/kva/_history", "").await.json();
    assert_eq!(history["entry"].as_array().unwrap().len(), 2);
    assert_eq!(world.get("/fhir/CodeSystem/kva/_history/1", NORTH).await.json()["version"], "1.0.0");
    world.close().await;
}

#[actix_web::test]
async fn an_area_that_the_process_team_gives_a_code_holds_for_what_was_done_before() {
    let world = World::open().await;
    for n in 0..6 {
        send(&world, NORTH, &act(n, "DU007", "2026-02-10T10:00:00+01:00")).await;
    }
    let asked = "from=2026-01&to=2026-12&by=area";
    assert_eq!(figures(&world, asked).await["rows"], json!([{ "area": "none", "acts": 6 }]));
    let (mut list, tag) = list(&world).await;
    list["version"] = json!("1.1.0");
    concept(&mut list, "DU007")["property"] = json!([{ "code": "area", "valueCode": "psychosocial" }]);
    assert_eq!(edit(&world, "", &list, &tag).await.status, 200);
    assert_eq!(figures(&world, asked).await["rows"], json!([{ "area": "psychosocial", "acts": 6 }]));
    world.close().await;
}

#[actix_web::test]
async fn the_code_list_is_edited_by_those_who_may_from_the_version_they_read() {
    let world = World::open().await;
    send(&world, NORTH, &act(1, "DV143", "2026-02-10T10:00:00+01:00")).await;
    let (mut list, tag) = list(&world).await;
    assert_eq!(edit(&world, "", &list, &tag).await.status, 200, "the same list again is no new version");
    list["version"] = json!("2");
    assert_eq!(edit(&world, NORTH, &list, &tag).await.status, 403);
    assert_eq!(edit(&world, "", &list, "W/\"7\"").await.status, 412);
    let missing = world
        .ask("PUT", "/fhir/CodeSystem/kva", &[("Content-Type", "application/fhir+json")], Some(list.to_string()))
        .await;
    assert_eq!(missing.status, 400, "without If-Match");

    let mut wrong = list.clone();
    wrong["concept"].as_array_mut().unwrap().retain(|c| c["code"] != "DV143");
    concept(&mut wrong, "DV133")["code"] = json!("DV13");
    concept(&mut wrong, "DV113")["property"] = json!([{ "code": "area", "valueCode": "tobaco" }]);
    let refused = edit(&world, "", &wrong, &tag).await;
    assert_eq!(refused.status, 422);
    for what in ["DV143 Kvalificerat", "CodeSystem.concept[", "two letters", "tobacco"] {
        assert!(refused.findings().contains(what), "{what}: {}", refused.findings());
    }
    assert_eq!(world.get("/fhir/CodeSystem/kva", "").await.json()["meta"]["versionId"], "1", "nothing was taken");

    // Two who read the same version: one of them has to read again.
    let mut other = list.clone();
    other["title"] = json!("En annan");
    let (one, two) = tokio::join!(edit(&world, "", &list, &tag), edit(&world, "", &other, &tag));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    for (method, status) in [("PATCH", 405), ("POST", 405), ("DELETE", 405)] {
        let path = if method == "POST" { "/fhir/CodeSystem" } else { "/fhir/CodeSystem/kva" };
        assert_eq!(world.ask(method, path, &[], None).await.status, status, "{method}");
    }
    let found = world.get("/fhir/CodeSystem?url=urn:oid:1.2.752.116.1.3.2.1.4", NORTH).await.json();
    assert_eq!(found["total"].as_u64().or(Some(found["entry"].as_array().unwrap().len() as u64)), Some(1));
    world.close().await;
}

#[actix_web::test]
async fn what_is_corrected_moves_and_what_is_retracted_goes_and_a_distance_contact_counts_by_its_acts() {
    let world = World::open().await;
    for n in 0..6 {
        let mut contact = act(n, "DV133", "2026-03-29T01:30:00+01:00");
        contact["codes"] = json!([{ "code": "DV133" }, { "code": "DV143" }]);
        contact["atDistance"] = json!(true);
        contact["addOns"] = json!([{ "code": "ZV051" }]);
        send(&world, NORTH, &contact).await;
    }
    let asked = "from=2026-03-29&to=2026-03-29&by=distance,code&people=true";
    let row =
        |code: &str, distance: bool, n: u32| json!({ "distance": distance, "code": code, "acts": n, "people": n });
    let first = figures(&world, asked).await;
    assert_eq!(
        first["rows"],
        json!([row("DV133", true, 6), row("DV143", true, 6)]),
        "two acts and one ZV051 at each contact"
    );
    assert_eq!(first["total"], json!({ "acts": 12, "people": 6 }));

    let mut retracted = act(0, "DV133", "2026-03-29T01:30:00+01:00");
    retracted["codes"] = json!([{ "code": "DV133" }, { "code": "DV143" }]);
    retracted["atDistance"] = json!(true);
    retracted["addOns"] = json!([{ "code": "ZV051" }]);
    retracted["version"] = json!(2);
    retracted["status"] = json!("entered-in-error");
    send(&world, NORTH, &retracted).await;
    // It was another day, and they met.
    let mut moved = act(1, "DV133", "2026-03-30T00:30:00+02:00");
    moved["version"] = json!(2);
    send(&world, NORTH, &moved).await;
    let second = figures(&world, asked).await;
    assert_eq!(second["total"], json!({ "acts": null, "people": null }), "eight acts, but four people are few");
    let acts_only = figures(&world, "from=2026-03-29&to=2026-03-29&by=distance,code").await;
    assert_eq!(acts_only["total"], json!({ "acts": 8 }));
    let day_after = figures(&world, "from=2026-03-30&to=2026-03-30&by=distance").await;
    assert_eq!(day_after["total"]["acts"], json!(null));
    let all = figures(&world, "from=2026-03&to=2026-03").await;
    assert_eq!(all["total"]["acts"], json!(9));
    world.close().await;
}

#[actix_web::test]
async fn a_unit_counts_what_it_may_read_and_a_small_number_is_not_shown() {
    let world = World::open().await;
    for n in 0..9 {
        let code = if n < 6 { "DV133" } else { "DV143" };
        send(&world, NORTH, &act(n, code, "2026-03-02T10:00:00+01:00")).await;
    }
    let asked = "/v1/statistics/kva?from=2026-03&to=2026-03&by=code,level";
    let of = async |unit: &str| world.get(asked, unit).await.json();
    let hidden = json!([{ "code": "DV133", "level": "primary", "acts": null }, { "code": "DV143", "level": "primary", "acts": null }]);
    assert_eq!(of("").await["rows"], hidden, "the shown one would give the other away");
    assert_eq!(of("").await["total"]["acts"], 9);
    assert_eq!(of(NORTH).await["total"]["acts"], 9);
    assert_eq!(
        (of(REHAB_TEAM).await["total"]["acts"].clone(), of(REHAB_TEAM).await["rows"].clone()),
        (json!(0), json!([]))
    );
    let csv = world.ask("GET", asked, &[("Accept", "text/csv")], None).await;
    assert_eq!(csv.text, "code,level,acts\r\nDV133,primary,\r\nDV143,primary,\r\n");
    let elsewhere = world.get(&format!("{asked}&unit={ONCOLOGY}"), "").await.json();
    assert_eq!(elsewhere["total"]["acts"], 0);
    for (query, place) in [
        ("from=2026-03", "to"),
        ("from=2026-03-32&to=2026", "from"),
        ("from=2026&to=2025", ""),
        ("from=2026&to=2026&by=patient", "by"),
        ("from=2026&to=2026&code=197010632391", "code"),
        ("from=2026&to=2026&unit=x", "unit"),
        ("from=2026&to=2026&patient=1", "patient"),
    ] {
        let refused = world.get(&format!("/v1/statistics/kva?{query}"), "").await;
        assert_eq!(refused.status, 400, "{query}");
        assert_eq!(refused.json()["issue"][0]["expression"][0].as_str().unwrap_or(""), place, "{query}");
        assert!(!refused.text.contains("197010632391"));
    }
    assert_eq!(world.ask("GET", asked, &[("Accept", "image/png")], None).await.status, 406);
    world.close().await;
}

#[actix_web::test]
async fn an_answer_with_too_many_rows_is_refused_and_not_cut_off() {
    let world = World::open_with("[statistics]\ngroups = 1").await;
    send(&world, NORTH, &act(1, "DV133", "2026-03-02T10:00:00+01:00")).await;
    send(&world, NORTH, &act(2, "DV143", "2026-03-02T10:00:00+01:00")).await;
    assert_eq!(figures(&world, "from=2026&to=2026&by=month").await["rows"].as_array().unwrap().len(), 1);
    let refused = world.get("/v1/statistics/kva?from=2026&to=2026&by=code", "").await;
    assert_eq!(refused.status, 422);
    assert!(refused.findings().contains("statistics.groups"), "{}", refused.findings());
    world.close().await;
}

#[actix_web::test]
async fn a_measure_report_says_the_same_and_is_valid() {
    let world = World::open().await;
    for n in 0..6 {
        send(&world, NORTH, &act(n, "DV133", "2026-03-02T10:00:00+01:00")).await;
        let mut plan = plan(n);
        plan["patient"]["personnummer"] = json!(PEOPLE[n as usize]);
        let reply = world.post("/v1/rehab-plans", ONCOLOGY, &plan).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    send(&world, NORTH, &act(7, "DV143", "2026-03-02T10:00:00+01:00")).await;
    let evaluate = async |id: &str| {
        let path =
            format!("/fhir/Measure/{id}/$evaluate-measure?periodStart=2020&periodEnd=2026-12-31&reportType=summary");
        let reply = world.get(&path, "").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    };
    let validate = async |resource: &Value| {
        let path = format!("/fhir/{}/$validate", resource["resourceType"].as_str().unwrap());
        let headers = [("Content-Type", "application/fhir+json")];
        world.ask("POST", &path, &headers, Some(resource.to_string())).await
    };
    let acts = evaluate("kva-acts").await;
    assert_eq!(acts["group"][0]["population"][0]["count"], 7);
    let strata = |report: &Value, name: &str| {
        let all = report["group"][0]["stratifier"].as_array().unwrap().clone();
        all.into_iter().find(|s| s["code"][0]["text"] == name).unwrap()["stratum"].as_array().unwrap().clone()
    };
    let level = strata(&acts, "level");
    assert_eq!((level.len(), level[0]["population"][0]["count"].as_u64()), (1, Some(7)));
    for stratum in strata(&acts, "code") {
        assert_eq!(stratum["population"][0]["_count"]["extension"][0]["valueCode"], "masked", "{stratum}");
    }
    let people = evaluate("kva-people").await;
    assert_eq!(people["group"][0]["population"][0]["count"], 6);
    let assessed = evaluate("halsoskattning").await;
    let count = |code: usize| assessed["group"][0]["population"][code]["count"].as_u64();
    assert_eq!(count(0), Some(6), "six people have a plan");
    for id in ["kva-acts", "kva-people", "halsoskattning", "min-vardplan", "contact-nurse"] {
        let measure = world.get(&format!("/fhir/Measure/{id}"), NORTH).await.json();
        let found = validate(&measure).await;
        assert!(!found.text.contains("\"error\""), "{id}: {}", found.text);
        assert_eq!(evaluate(id).await["measure"], measure["url"]);
    }
    let body = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "periodStart", "valueDate": "2026-03-01" }, { "name": "periodEnd", "valueDate": "2026-03-31" } ] });
    let headers = [("Content-Type", "application/fhir+json"), ("Accept", "application/fhir+xml")];
    let posted = world.ask("POST", "/fhir/Measure/kva-acts/$evaluate-measure", &headers, Some(body.to_string())).await;
    assert!(posted.status == 200 && posted.text.contains("<MeasureReport"), "{}", posted.text);
    assert_eq!(world.get("/fhir/Measure/none/$evaluate-measure?periodStart=2026&periodEnd=2026", "").await.status, 404);
    let one = world
        .get("/fhir/Measure/kva-acts/$evaluate-measure?periodStart=2026&periodEnd=2026&reportType=subject", "")
        .await;
    assert_eq!(one.status, 400);
    let shares = world.get("/v1/statistics/indicators?from=2020&to=2026", "").await.json();
    assert_eq!(shares["indicators"][0]["denominator"], 6, "{shares:#}");
    world.close().await;
}

#[actix_web::test]
async fn every_question_is_on_record_with_who_asked_and_no_patient() {
    let gateway = TestGateway::start("").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| client.get(format!("{}{path}", gateway.url)).send().await.unwrap().status().as_u16();
    assert_eq!(get("/v1/statistics/kva?from=2026-01&to=2026-02&by=area&code=DV133").await, 200);
    assert_eq!(get("/v1/statistics/indicators?from=2026&to=2026").await, 200);
    assert_eq!(get("/fhir/Measure/kva-acts/$evaluate-measure?periodStart=2026&periodEnd=2026").await, 200);
    let db = gateway.config.db.clone();
    let db = rusqlite::Connection::open_with_flags(db, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows =
        db.prepare("SELECT actor, object, payload FROM audit WHERE action = 'statistics' ORDER BY seq").unwrap();
    let rows: Vec<(String, String, String)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect();
    let objects: Vec<&str> = rows.iter().map(|(_, object, _)| object.as_str()).collect();
    assert_eq!(objects, ["statistics/kva", "statistics/indicators", "Measure/kva-acts/$evaluate-measure"]);
    assert!(rows.iter().all(|(actor, _, _)| actor == "operator"));
    let question: Value = serde_json::from_str(&rows[0].2).unwrap();
    assert_eq!((question["from"].as_str(), question["code"][0].as_str()), (Some("2026-01-01"), Some("DV133")));
    gateway.stop().await;
}
