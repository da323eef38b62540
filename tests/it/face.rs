//! The FHIR face beside search: conditions, histories, what belongs together, and that what is not claimed is refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, plan, referral, referral_to};

const TYPES: &str = "CapabilityStatement.rest[0].resource";

/// What came back, with its headers.
async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> reqwest::Response {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = http.request(method, format!("{}{path}", world.gateway)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header(reply: &reqwest::Response, name: &str) -> String {
    reply.headers().get(name).map_or(String::new(), |v| v.to_str().unwrap().to_owned())
}

async fn task_of(world: &World, number: u32) -> (String, String) {
    let exchange = world.refer(&referral_to(number, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    (exchange, task)
}

#[actix_web::test]
async fn a_version_that_the_caller_has_is_not_sent_again() {
    let world = World::open().await;
    let (_, task) = task_of(&world, 1).await;
    let path = format!("/fhir/Task/{task}");
    let unit = ("Vardkedja-Unit", SOUTH);
    let first = ask(&world, "GET", &path, &[unit], "").await;
    let (etag, modified) = (header(&first, "etag"), header(&first, "last-modified"));
    for (name, value, expected) in [
        ("If-None-Match", etag.as_str(), 304),
        ("If-None-Match", "W/\"7\", W/\"1\"", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "W/\"2\"", 200),
        ("If-Modified-Since", modified.as_str(), 304),
        ("If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
    ] {
        for path in [path.clone(), format!("{path}/_history/1")] {
            let reply = ask(&world, "GET", &path, &[unit, (name, value)], "").await;
            assert_eq!(reply.status(), expected, "{name}: {value}");
            assert_eq!((header(&reply, "etag"), header(&reply, "last-modified")), (etag.clone(), modified.clone()));
            assert_eq!(reply.text().await.unwrap().is_empty(), expected == 304);
        }
    }
    let both = [unit, ("If-None-Match", "W/\"2\""), ("If-Modified-Since", modified.as_str())];
    assert_eq!(ask(&world, "GET", &path, &both, "").await.status(), 200, "the version is asked first");
    let accept = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]).to_string();
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\""), ("Content-Type", "application/json-patch+json")];
    assert_eq!(world.ask("PATCH", &path, &headers, Some(accept)).await.status, 200);
    let again = ask(&world, "GET", &path, &[unit, ("If-Modified-Since", modified.as_str())], "").await;
    assert_eq!(again.status(), 200, "a change within the same second is not missed");
    let stranger = [("Vardkedja-Unit", NORTH), ("If-None-Match", etag.as_str())];
    assert_eq!(ask(&world, "GET", &path, &stranger, "").await.status(), 404);
    world.close().await;
}

#[actix_web::test]
async fn a_write_answers_with_what_the_caller_prefers() {
    let world = World::open().await;
    let (_, task) = task_of(&world, 1).await;
    let path = format!("/fhir/Task/{task}");
    for (version, prefer, holds) in [
        (1, "return=minimal", ""),
        (2, "return=OperationOutcome", "OperationOutcome"),
        (3, "handling=strict, return=representation", "\"Task\""),
    ] {
        let etag = format!("W/\"{version}\"");
        let note = json!([{ "op": "add", "path": "/note", "value": [{ "text": prefer }] }]).to_string();
        let headers = [
            ("Vardkedja-Unit", SOUTH),
            ("If-Match", etag.as_str()),
            ("Prefer", prefer),
            ("Content-Type", "application/json-patch+json"),
        ];
        let reply = ask(&world, "PATCH", &path, &headers, &note).await;
        assert_eq!((reply.status().as_u16(), header(&reply, "etag")), (200, format!("W/\"{}\"", version + 1)));
        let text = reply.text().await.unwrap();
        assert!(text.contains(holds) && text.is_empty() == holds.is_empty(), "{prefer}: {text}");
    }
    let read = world.get(&path, SOUTH).await.json();
    let procedure = json!({
        "resourceType": "Procedure", "status": "completed", "subject": read["for"], "basedOn": [read["focus"]],
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "identifier": [{ "system": "urn:test", "value": "P-1" }], "performedDateTime": "2026-03-18",
    });
    for status in [201, 200] {
        let headers =
            [("Vardkedja-Unit", SOUTH), ("Prefer", "return=minimal"), ("If-None-Exist", "identifier=urn:test|P-1")];
        let reply = ask(&world, "POST", "/fhir/Procedure", &headers, &procedure.to_string()).await;
        assert_eq!(reply.status(), status);
        let (place, modified) = (header(&reply, "location"), header(&reply, "last-modified"));
        assert!(
            place.contains("/fhir/Procedure/") && place.ends_with("/_history/1") && !modified.is_empty(),
            "{place}"
        );
        assert_eq!(header(&reply, "etag"), "W/\"1\"");
        assert_eq!(reply.text().await.unwrap(), "");
    }
    let headers = [("Vardkedja-Unit", SOUTH), ("Prefer", "return=everything"), ("If-Match", "W/\"4\"")];
    let reply = ask(&world, "PUT", &path, &headers, &read.to_string()).await;
    assert_eq!(reply.status(), 400, "a wish that cannot be met changes nothing");
    world.close().await;
}

#[actix_web::test]
async fn the_task_with_an_identifier_is_moved_and_none_is_made() {
    let world = World::open().await;
    let (exchange, task) = task_of(&world, 1).await;
    let ours = format!("/fhir/Task?identifier=https://vardkedja.example/fhir/sid/resource|{task}");
    let mut read = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json();
    read["status"] = json!("received");
    let put = async |path: &str, unit: &str, headers: &[(&str, &str)], body: &Value| {
        let mut all = vec![("Vardkedja-Unit", unit)];
        all.extend(headers);
        world.ask("PUT", path, &all, Some(body.to_string())).await
    };
    assert_eq!(put(&ours, NORTH, &[], &read).await.status, 404, "a stranger sees none");
    assert_eq!(put(&ours, ONCOLOGY, &[], &read).await.status, 403, "the sender does not own it");
    let mut unread = read.clone();
    unread["meta"].as_object_mut().unwrap().shift_remove("versionId");
    assert_eq!(put(&ours, SOUTH, &[], &unread).await.status, 400, "which version was read has to be said");
    let reply = put(&ours, SOUTH, &[], &read).await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("received")), "{}", reply.text);
    read["status"] = json!("accepted");
    assert_eq!(put(&ours, SOUTH, &[], &read).await.status, 412, "that version is gone");
    assert_eq!(put(&ours, SOUTH, &[("If-Match", "W/\"2\"")], &read).await.status, 200);
    world.until(&exchange, "accepted").await;
    let other = put("/fhir/Task?identifier=urn:test|none", SOUTH, &[("If-Match", "W/\"1\"")], &read).await;
    assert_eq!(other.status, 404);
    assert!(other.findings().contains("updateCreate"), "{}", other.text);
    for path in ["/fhir/Task", "/fhir/Task?status=accepted", "/fhir/Task?identifier=none"] {
        assert_eq!(put(path, SOUTH, &[("If-Match", "W/\"3\"")], &read).await.status, 400, "{path}");
    }
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"3\""), ("Content-Type", "application/json-patch+json")];
    let begin = json!([{ "op": "replace", "path": "/status", "value": "in-progress" }]).to_string();
    assert_eq!(world.ask("PATCH", &ours, &headers, Some(begin)).await.status, 200);
    world.until(&exchange, "in-progress").await;
    world.close().await;
}

fn entries(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["entry"].as_array().cloned().unwrap_or_default()
}

fn names(entries: &[Value]) -> Vec<String> {
    let name = |r: &Value| {
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        format!("{}/{}/{}", text(&r["resourceType"]), text(&r["id"]), text(&r["meta"]["versionId"]))
    };
    entries.iter().map(|e| name(&e["resource"])).collect()
}

fn next(reply: &Reply) -> Option<String> {
    let links = reply.json()["link"].as_array().cloned().unwrap_or_default();
    links.iter().find(|l| l["relation"] == "next").map(|l| l["url"].as_str().unwrap().to_owned())
}

/// Every page from there on.
async fn pages(world: &World, path: &str, unit: &str) -> Vec<Value> {
    let mut reply = world.get(path, unit).await;
    let mut all = entries(&reply);
    while let Some(url) = next(&reply) {
        reply = world.get(&url, unit).await;
        all.extend(entries(&reply));
    }
    all
}

#[actix_web::test]
async fn histories_show_what_concerns_the_unit_the_newest_first_and_page_whole_while_others_write() {
    let world = World::open().await;
    let (_, task) = task_of(&world, 1).await;
    let accept = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]).to_string();
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\""), ("Content-Type", "application/json-patch+json")];
    assert_eq!(world.ask("PATCH", &format!("/fhir/Task/{task}"), &headers, Some(accept)).await.status, 200);
    let of_type = pages(&world, "/fhir/Task/_history", SOUTH).await;
    assert_eq!(names(&of_type), [format!("Task/{task}/2"), format!("Task/{task}/1")]);
    assert_eq!(of_type[0]["request"], json!({ "method": "PUT", "url": format!("Task/{task}") }));
    assert_eq!(of_type[1]["request"], json!({ "method": "POST", "url": "Task" }));
    assert_eq!(
        (&of_type[1]["response"]["status"], &of_type[1]["response"]["etag"]),
        (&json!("201"), &json!("W/\"1\""))
    );
    assert_eq!(names(&pages(&world, &format!("/fhir/Task/{task}/_history"), SOUTH).await), names(&of_type));

    let whole = pages(&world, "/fhir/_history", SOUTH).await;
    // The responsibility moved in the same commit, after the Task.
    let newest = names(&whole).into_iter().find(|name| !name.starts_with("EpisodeOfCare/"));
    assert_eq!(newest, Some(format!("Task/{task}/2")));
    let mut reply = world.get("/fhir/_history?_count=3", SOUTH).await;
    let mut paged = entries(&reply);
    for number in 2.. {
        let Some(url) = next(&reply) else { break };
        task_of(&world, number).await; // what comes meanwhile stands before the first page
        reply = world.get(&url, SOUTH).await;
        paged.extend(entries(&reply));
    }
    assert_eq!(names(&paged), names(&whole));

    let since = whole[0]["resource"]["meta"]["lastUpdated"].as_str().unwrap();
    let newest = pages(&world, &format!("/fhir/_history?_since={since}"), SOUTH).await;
    assert!(newest.len() > 1 && newest.iter().all(|e| e["resource"]["meta"]["lastUpdated"].as_str().unwrap() >= since));
    let none = world.get(&format!("/fhir/Task/{task}/_history?_since=2199-01-01T00:00:00Z"), SOUTH).await;
    assert!(entries(&none).is_empty());

    world.refer(&referral(9)).await;
    for path in ["/fhir/_history", "/fhir/Task/_history", "/fhir/Patient/_history"] {
        assert!(pages(&world, path, REHAB_TEAM).await.is_empty(), "{path} is nobody else's");
    }
    let seen = names(&pages(&world, "/fhir/Task/_history", NORTH).await);
    assert_eq!(seen.len(), 1, "{seen:?}");
    world.close().await;
}

#[actix_web::test]
async fn everything_of_a_patient_is_what_the_unit_may_see_each_once_and_whole() {
    let world = World::open().await;
    world.post("/v1/rehab-plans", ONCOLOGY, &plan(1)).await;
    let mut with_plan = referral_to(1, SOUTH);
    with_plan["planId"] = plan(1)["id"].clone();
    let exchange = world.refer(&with_plan).await;
    world.refer(&referral_to(2, NORTH)).await;
    let patient = world.get(&exchange, "").await.json()["patient"].as_str().unwrap().to_owned();
    let path = format!("/fhir/{patient}/$everything");
    let all = pages(&world, &path, SOUTH).await;
    let found = names(&all);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "each once");
    for kind in
        ["Patient/", "CarePlan/", "Goal/", "ServiceRequest/", "Task/", "Condition/", "Organization/", "Provenance/"]
    {
        assert!(found.iter().any(|n| n.starts_with(kind)), "{kind} {found:?}");
    }
    let urls: BTreeSet<String> = all.iter().map(|e| e["fullUrl"].as_str().unwrap().to_owned()).collect();
    for entry in &all {
        let resource = &entry["resource"];
        for target in vardkedja::fhir::resource::references(resource) {
            let shown = urls.contains(&format!("{}/fhir/{target}", world.gateway));
            let hidden = world.get(&format!("/fhir/{target}"), SOUTH).await.status == 404;
            assert!(shown || hidden, "{target} of {}", resource["resourceType"]);
        }
        let name = format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        assert_eq!(world.get(&format!("/fhir/{name}"), SOUTH).await.status, 200, "{name}");
    }
    assert_eq!(found.iter().filter(|n| n.starts_with("Task/")).count(), 1, "nothing of the other referral");
    assert_eq!(names(&pages(&world, &format!("{path}?_count=3"), SOUTH).await), found, "in pages too");
    let two = pages(&world, &format!("{path}?_type=Task,CarePlan"), SOUTH).await;
    assert_eq!(two.len(), 2);
    let parameters =
        json!({ "resourceType": "Parameters", "parameter": [{ "name": "_type", "valueString": "Task,CarePlan" }] });
    let posted = world.ask("POST", &path, &[("Vardkedja-Unit", SOUTH)], Some(parameters.to_string())).await;
    assert_eq!(names(&entries(&posted)), names(&two));
    assert!(pages(&world, &format!("{path}?_since=2199-01-01T00:00:00Z"), SOUTH).await.is_empty());
    for path in [format!("{path}?start=2026-01-01"), format!("{path}?_type=Account"), format!("{path}?_since=now")] {
        assert_eq!(world.get(&path, SOUTH).await.status, 400, "{path}");
    }
    assert_eq!(world.get(&path, REHAB_TEAM).await.status, 404, "a unit that has nothing to do with the patient");

    let care_plan = found.iter().find(|n| n.starts_with("CarePlan/")).unwrap();
    let care_plan = care_plan.rsplit_once('/').unwrap().0;
    let of_plan = names(&pages(&world, &format!("/fhir/{care_plan}/$everything"), SOUTH).await);
    assert!(of_plan.iter().any(|n| n.starts_with("Goal/")), "{of_plan:?}");
    assert!(of_plan.iter().all(|n| found.contains(n)));
    assert_eq!(world.get(&format!("/fhir/{care_plan}/$everything"), REHAB_TEAM).await.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn a_handover_is_one_document_that_stands_by_itself() {
    let world = World::open().await;
    let text = include_str!("../../mappings/examples/handover.active-small.source.json");
    let handover: Value = serde_json::from_str(text).unwrap();
    let sender = handover["author"]["unit"].as_str().unwrap_or(ONCOLOGY).to_owned();
    let reply = world.post("/v1/handovers", &sender, &handover).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let shown = world.get(&reply.location.unwrap(), "").await.json();
    let resources = shown["resources"].as_array().unwrap();
    let composition = resources.iter().map(|r| r.as_str().unwrap()).find(|r| r.starts_with("Composition/")).unwrap();
    let path = format!("/fhir/{composition}/$document");
    let document = world.get(&path, &sender).await.json();
    assert_eq!(
        (&document["type"], &document["entry"][0]["resource"]["resourceType"]),
        (&json!("document"), &json!("Composition"))
    );
    let kinds: Vec<&Value> =
        document["entry"].as_array().unwrap().iter().map(|e| &e["resource"]["resourceType"]).collect();
    assert!(kinds.contains(&&json!("Patient")), "{kinds:?}");
    let again = world.get(&format!("{path}?persist=false"), &sender).await.json();
    assert_eq!(again["identifier"], document["identifier"], "the same versions are the same document");
    let files = vardkedja::profile_files(None).unwrap();
    let (conformance, _) = vardkedja::Conformance::load(&files);
    let found: Vec<String> =
        conformance.validate(&[document]).iter().filter(|i| i.is_error()).map(|i| i.line()).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(world.get(&format!("{path}?persist=true"), &sender).await.status, 400);
    assert_eq!(world.get(&path, REHAB_TEAM).await.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn what_metadata_claims_is_served_and_what_it_does_not_claim_is_refused() {
    let world = World::open().await;
    let (_, task) = task_of(&world, 1).await;
    let statement = world.get("/fhir/metadata", "").await.json();
    let types = statement["rest"][0]["resource"].as_array().unwrap();
    let asks = |kind: &str| {
        let one = format!("/fhir/{kind}/{task}");
        [
            ("read", "GET", one.clone()),
            ("vread", "GET", format!("{one}/_history/1")),
            ("history-instance", "GET", format!("{one}/_history")),
            ("history-type", "GET", format!("/fhir/{kind}/_history")),
            ("search-type", "GET", format!("/fhir/{kind}")),
            ("create", "POST", format!("/fhir/{kind}")),
            ("update", "PUT", one.clone()),
            ("patch", "PATCH", one.clone()),
            ("delete", "DELETE", one),
        ]
    };
    let mut asked = 0;
    // The audit log has a face of its own, for its operators: tests/it/audit.
    for of_type in types.iter().filter(|of_type| of_type["type"] != "AuditEvent") {
        let kind = of_type["type"].as_str().unwrap();
        let claims: Vec<&str> =
            of_type["interaction"].as_array().unwrap().iter().map(|i| i["code"].as_str().unwrap()).collect();
        for (code, method, path) in asks(kind) {
            let reply = ask(&world, method, &path, &[("Vardkedja-Unit", SOUTH)], "").await;
            let refused = reply.status() == 405;
            assert_eq!(refused, !claims.contains(&code), "{TYPES} {kind} {code}: {}", reply.status());
            assert!(!refused || !header(&reply, "allow").is_empty(), "{kind} {code}");
            asked += 1;
        }
        let whole = |flag: &str| of_type[flag] == true;
        assert_eq!(whole("conditionalCreate"), claims.contains(&"create") && kind != "Subscription");
        let meant = ask(&world, "PUT", &format!("/fhir/{kind}?identifier=a|b"), &[("Vardkedja-Unit", SOUTH)], "").await;
        assert_eq!(meant.status() != 405, whole("conditionalUpdate"), "{kind}");
        let operations: Vec<&str> =
            of_type["operation"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
        for (name, method, path) in [
            ("validate", "POST", format!("/fhir/{kind}/$validate")),
            ("everything", "GET", format!("/fhir/{kind}/1/$everything")),
            ("everything", "POST", format!("/fhir/{kind}/1/$everything")),
            ("document", "GET", format!("/fhir/{kind}/1/$document")),
            ("meta", "GET", format!("/fhir/{kind}/1/$meta")),
            ("lastn", "GET", format!("/fhir/{kind}/$lastn")),
        ] {
            let reply = world.ask(method, &path, &[("Vardkedja-Unit", SOUTH)], Some(String::new())).await;
            let unknown = reply.text.contains("not-supported") || reply.text.contains("openapi.yaml");
            assert_eq!(!unknown, operations.contains(&name), "{path}: {}", reply.text);
        }
    }
    assert!(asked > 150, "{asked}");
    assert_eq!(statement["rest"][0]["interaction"], json!([{ "code": "history-system" }]));
    assert_eq!(world.get("/fhir/_history", SOUTH).await.status, 200);
    for (method, path, status) in [
        ("POST", "/fhir", 405),
        ("POST", "/fhir/", 405),
        ("GET", "/fhir?_type=Task", 405),
        ("OPTIONS", "/fhir/metadata", 405),
        ("HEAD", "/fhir/metadata", 200),
        ("GET", "/fhir/Account", 404),
        ("GET", "/fhir/metadata?mode=full", 200),
        ("GET", "/fhir/metadata?mode=terminology", 400),
        ("GET", "/fhir/metadata?colour=red", 400),
    ] {
        let reply = ask(&world, method, path, &[("Vardkedja-Unit", SOUTH)], "").await;
        assert_eq!(reply.status(), status, "{method} {path}");
    }
    for path in [
        format!("/fhir/Task/{task}?colour=red"),
        format!("/fhir/Task/{task}?_summary=true"),
        format!("/fhir/Task/{task}/_history/1?colour=red"),
        format!("/fhir/Task/{task}/_history?_at=2026"),
        "/fhir/Task/_history?_sort=_lastUpdated".to_owned(),
        "/fhir/_history?_count=many".to_owned(),
    ] {
        assert_eq!(world.get(&path, SOUTH).await.status, 400, "{path}");
    }
    world.close().await;
}
