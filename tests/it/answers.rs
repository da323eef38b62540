//! How answers come back: from a partner's own server, and from one that writes here.

use std::sync::Arc;

use serde_json::{Value, json};
use vardkedja::demo::Clinic;

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, referral, referral_to};

const KVA: &str = "urn:oid:1.2.752.116.1.3.2.1.4";

async fn step(people: &Clinic, task: &str, status: &str, answer: Option<&str>) {
    people.step(task, status, &vardkedja::demo::Left { answer, ..Default::default() }).await.unwrap();
}

#[actix_web::test]
async fn an_answer_from_a_partners_own_server_comes_back_in_the_senders_format() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let people = world.people();
    step(&people, &task, "accepted", None).await;
    world.until(&exchange, "accepted").await;
    let left = vardkedja::demo::Left { answer: Some("Klart."), kva: &["DV133"], ..Default::default() };
    people.step(&task, "completed", &left).await.unwrap();
    world.until(&exchange, "completed").await;
    let document = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(document["state"]["status"], "completed", "{document:#}");
    assert_eq!(document["state"]["answer"]["text"], "Klart.");
    assert_eq!(document["state"]["activities"][0]["kva"], "DV133");
    let mut sent = referral(1);
    let mut read = document.clone();
    read.as_object_mut().unwrap().shift_remove("state");
    sent.sort_all_objects();
    read.sort_all_objects();
    assert_eq!(read, sent, "the rest reads as it was sent");
    world.close().await;
}

#[actix_web::test]
async fn a_completion_without_an_answer_is_held_where_a_person_sees_it() {
    let world = World::open().await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    step(&world.people(), &task, "completed", None).await;
    let held = loop {
        let held = world.get("/v1/answers/held", "").await.json();
        if held["answers"].as_array().is_some_and(|a| !a.is_empty()) {
            break held;
        }
        tokio::task::yield_now().await;
    };
    assert!(held.to_string().contains("Task.output"), "{held}");
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "delivered", "the sender is told nothing untrue");

    let people = world.people();
    step(&people, &task, "in-progress", None).await;
    world.until(&exchange, "in-progress").await;
    let held = world.get("/v1/answers/held", "").await.json();
    assert_eq!(held["answers"], json!([]), "an answer that can be used mends it");
    world.close().await;
}

#[actix_web::test]
async fn a_partner_that_reads_here_moves_its_task_here() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "waiting", "nobody has read it yet");
    let found = world.get("/fhir/Task?status=requested", SOUTH).await.json();
    let task = found["entry"][0]["resource"].clone();
    assert_eq!(world.get(&exchange, "").await.json()["stage"], "delivered", "its owner has read it");
    let id = task["id"].as_str().unwrap();
    let path = format!("/fhir/Task/{id}");

    let request = task["focus"]["reference"].as_str().unwrap();
    let procedure = json!({
        "resourceType": "Procedure", "status": "completed",
        "identifier": [{ "system": "urn:test", "value": "P-1" }],
        "code": { "coding": [{ "system": KVA, "code": "DV133" }] },
        "subject": task["for"], "basedOn": [{ "reference": request }],
        "performedDateTime": "2026-03-18T13:00:00+01:00",
    });
    let headers = [("Vardkedja-Unit", SOUTH), ("If-None-Exist", "identifier=urn:test|P-1")];
    let made = world.ask("POST", "/fhir/Procedure", &headers, Some(procedure.to_string())).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let again = world.ask("POST", "/fhir/Procedure", &headers, Some(procedure.to_string())).await;
    assert_eq!((again.status, again.json()["id"].clone()), (200, made.json()["id"].clone()));
    let procedure_id = made.json()["id"].as_str().unwrap().to_owned();
    let answer = json!({
        "resourceType": "Communication", "status": "completed", "subject": task["for"],
        "basedOn": [{ "reference": request }], "sent": "2026-03-18T14:00:00+01:00",
        "payload": [{ "contentString": "Klart." }],
    });
    let answer = world.ask("POST", "/fhir/Communication", &[("Vardkedja-Unit", SOUTH)], Some(answer.to_string())).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let answer_id = answer.json()["id"].as_str().unwrap().to_owned();

    let patch = json!([
        { "op": "replace", "path": "/status", "value": "completed" },
        { "op": "add", "path": "/output", "value": [
            { "type": { "text": "answer" }, "valueReference": { "reference": format!("Communication/{answer_id}") } },
            { "type": { "text": "activity" }, "valueReference": { "reference": format!("Procedure/{procedure_id}") } },
        ] },
    ]);
    let version = format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap());
    let headers =
        [("Vardkedja-Unit", SOUTH), ("If-Match", version.as_str()), ("Content-Type", "application/json-patch+json")];
    let moved = world.ask("PATCH", &path, &headers, Some(patch.to_string())).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    let stale = world.ask("PATCH", &path, &headers, Some(patch.to_string())).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    world.until(&exchange, "completed").await;
    let document = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(document["state"]["answer"]["text"], "Klart.", "{document:#}");
    world.close().await;
}

#[actix_web::test]
async fn only_the_owner_moves_a_task_and_only_along_the_table() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let id = world.task(&exchange, SOUTH).await;
    let path = format!("/fhir/Task/{id}");
    let put = async |unit: &str, change: &dyn Fn(&mut Value)| {
        let mut task = world.get(&path, SOUTH).await.json();
        let version = format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap());
        change(&mut task);
        world.ask("PUT", &path, &[("Vardkedja-Unit", unit), ("If-Match", &version)], Some(task.to_string())).await
    };
    let to = |status: &'static str| move |task: &mut Value| task["status"] = json!(status);
    assert_eq!(put(ONCOLOGY, &to("accepted")).await.status, 403, "the sender does not own it");
    assert_eq!(put(NORTH, &to("accepted")).await.status, 404, "a stranger does not even see it");
    assert_eq!(put(SOUTH, &to("cancelled")).await.status, 409, "cancelling is the sender's before acceptance");
    assert_eq!(put(SOUTH, &to("draft")).await.status, 422);
    assert_eq!(put(SOUTH, &to("rejected")).await.status, 422, "a rejection says why");
    let intent = |task: &mut Value| task["intent"] = json!("plan");
    assert_eq!(put(SOUTH, &intent).await.status, 422, "the rest is the sender's");
    let without_version = world.ask("PUT", &path, &[("Vardkedja-Unit", SOUTH)], Some("{}".into())).await;
    assert_eq!(without_version.status, 400);
    let rejection = |task: &mut Value| {
        task["status"] = json!("rejected");
        task["statusReason"] = json!({ "text": "Ingen fysioterapeut just nu." });
    };
    assert_eq!(put(SOUTH, &rejection).await.status, 200);
    world.until(&exchange, "rejected").await;
    let document = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(document["state"]["reason"], "Ingen fysioterapeut just nu.");
    world.close().await;
}

#[actix_web::test]
async fn a_unit_sees_only_what_it_takes_part_in_on_every_path() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    for stranger in [NORTH, REHAB_TEAM] {
        assert_eq!(world.get(&exchange, stranger).await.status, 404);
        assert_eq!(world.get(&format!("{exchange}/document"), stranger).await.status, 404);
        assert!(world.get("/v1/exchanges", stranger).await.json()["exchanges"].as_array().unwrap().is_empty());
        for name in shown["resources"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            if ["Organization/", "PractitionerRole/", "Practitioner/"].iter().any(|a| name.starts_with(a)) {
                continue;
            }
            assert_eq!(world.get(&format!("/fhir/{name}"), stranger).await.status, 404, "{name}");
            assert_eq!(world.get(&format!("/fhir/{name}/_history"), stranger).await.status, 404, "{name}");
            let kind = name.split('/').next().unwrap();
            let found = world.get(&format!("/fhir/{kind}"), stranger).await.json();
            assert!(found.get("entry").is_none(), "{kind} leaks");
        }
        let form = "identifier=http://electronichealth.se/identifier/personnummer|195009072553";
        let headers = [("Vardkedja-Unit", stranger), ("Content-Type", "application/x-www-form-urlencoded")];
        let found = world.ask("POST", "/fhir/Patient/_search", &headers, Some(form.into())).await;
        assert!(found.json().get("entry").is_none());
    }
    for party in [ONCOLOGY, SOUTH] {
        assert_eq!(world.get(&exchange, party).await.status, 200);
    }
    world.close().await;
}

#[actix_web::test]
async fn a_request_is_taken_back_at_once_or_by_asking_the_one_who_accepted() {
    let world = World::open().await;
    let cancel = async |exchange: &str| {
        let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json")];
        world
            .ask("POST", &format!("{exchange}/cancel"), &headers, Some(json!({ "reason": "Flyttat" }).to_string()))
            .await
    };
    let early = world.refer(&referral(1)).await;
    world.until(&early, "delivered").await;
    let reply = cancel(&early).await;
    assert_eq!(reply.json()["cancelled"], json!([NORTH]), "{}", reply.text);
    world.until(&early, "cancelled").await;
    let people = world.people();
    let task = world.task(&early, NORTH).await;
    assert_eq!(people.task(&task).await.unwrap()["status"], "cancelled", "the partner's copy too");
    assert_eq!(cancel(&early).await.status, 409);

    let late = world.refer(&referral(2)).await;
    world.until(&late, "delivered").await;
    let task = world.task(&late, NORTH).await;
    step(&people, &task, "accepted", None).await;
    world.until(&late, "accepted").await;
    assert_eq!(cancel(&late).await.json()["asked"], json!([NORTH]));
    assert_eq!(cancel(&late).await.json()["asked"], json!([NORTH]), "asked once, however often it is said");
    while !world.at_clinic("Task").await.iter().any(|t| t["code"]["coding"][0]["code"] == "abort") {
        tokio::task::yield_now().await; // the owner gets a Task that asks it to stop
    }
    let asked = world.at_clinic("Task").await.iter().filter(|t| t["code"]["coding"][0]["code"] == "abort").count();
    assert_eq!(asked, 1);
    assert_eq!(
        world.get(&late, "").await.json()["deliveries"].as_array().unwrap().len(),
        2,
        "the Bundle and one request to stop"
    );
    assert_eq!(world.get(&late, "").await.json()["stage"], "accepted", "it is still the owner's to answer");
    step(&people, &task, "cancelled", None).await;
    world.until(&late, "cancelled").await;
    world.close().await;
}

#[actix_web::test]
async fn eight_at_once_create_one_procedure() {
    let world = Arc::new(World::open().await);
    world.refer(&referral_to(1, SOUTH)).await;
    let task = world.get("/fhir/Task", SOUTH).await.json()["entry"][0]["resource"].clone();
    let procedure = json!({
        "resourceType": "Procedure", "status": "completed", "identifier": [{ "system": "urn:test", "value": "P-1" }],
        "code": { "coding": [{ "system": KVA, "code": "DV133" }] }, "subject": task["for"],
        "basedOn": [task["focus"]], "performedDateTime": "2026-03-18",
    });
    let mut senders = Vec::new();
    for _ in 0..8 {
        let (world, body) = (Arc::clone(&world), procedure.to_string());
        senders.push(tokio::spawn(async move {
            let headers = [("Vardkedja-Unit", SOUTH), ("If-None-Exist", "identifier=urn:test|P-1")];
            world.ask("POST", "/fhir/Procedure", &headers, Some(body)).await.status
        }));
    }
    let mut statuses = Vec::new();
    for sender in senders {
        statuses.push(sender.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    Arc::into_inner(world).unwrap().close().await;
}

/// Sends a JSON Patch of the Task, as read at that version.
async fn patch(world: &World, unit: &str, task: &str, version: &str, operations: &Value) -> crate::world::Reply {
    let headers = [("Vardkedja-Unit", unit), ("If-Match", version), ("Content-Type", "application/json-patch+json")];
    world.ask("PATCH", &format!("/fhir/Task/{task}"), &headers, Some(operations.to_string())).await
}

#[actix_web::test]
async fn a_patch_is_looked_at_only_when_it_comes_from_the_owner_of_the_version_it_read() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let never = json!([{ "op": "remove", "path": "/businessStatus" }]);
    assert_eq!(patch(&world, ONCOLOGY, &task, "W/\"1\"", &never).await.status, 403, "the sender does not own it");
    assert_eq!(patch(&world, SOUTH, &task, "W/\"7\"", &never).await.status, 412);
    assert_eq!(patch(&world, SOUTH, &task, "W/\"1\"", &never).await.status, 422);
    world.close().await;
}

#[actix_web::test]
async fn a_patch_can_neither_multiply_the_task_nor_touch_what_is_the_senders() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let doubling: Vec<Value> = (0..8).map(|n| json!({ "op": "copy", "from": "", "path": format!("/x{n}") })).collect();
    let many: Vec<Value> = (0..101).map(|_| json!({ "op": "test", "path": "/status", "value": "requested" })).collect();
    let refused = [
        ("[7].op", json!(doubling)),
        ("[0].op", json!([{ "op": "copy", "from": "/status", "path": "/businessStatus" }])),
        ("[0].op", json!([{ "op": "move", "from": "/for", "path": "/note" }])),
        ("[0].path", json!([{ "op": "add", "path": "/owner/display", "value": "x" }])),
        ("[0].path", json!([{ "op": "replace", "path": "", "value": {} }])),
        ("at most 100", json!(many)),
    ];
    for (finding, operations) in refused {
        let reply = patch(&world, SOUTH, &task, "W/\"1\"", &operations).await;
        assert_eq!(reply.status, 422, "{}", reply.text);
        assert!(reply.findings().contains(finding), "{finding}: {}", reply.text);
    }
    let tested = json!([
        { "op": "test", "path": "/intent", "value": "order" },
        { "op": "replace", "path": "/status", "value": "accepted" },
        { "op": "add", "path": "/note", "value": [{ "text": "Tid skickas." }] },
    ]);
    let reply = patch(&world, SOUTH, &task, "W/\"1\"", &tested).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn a_task_that_has_ended_stays_as_it_ended() {
    let world = World::open().await;
    let rejected = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&rejected, SOUTH).await;
    let no = json!([
        { "op": "replace", "path": "/status", "value": "rejected" },
        { "op": "add", "path": "/statusReason", "value": { "text": "Ingen tid." } },
    ]);
    assert_eq!(patch(&world, SOUTH, &task, "W/\"1\"", &no).await.status, 200);
    let other = json!([{ "op": "replace", "path": "/statusReason", "value": { "text": "Något annat." } }]);
    let reply = patch(&world, SOUTH, &task, "W/\"2\"", &other).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    let document = world.get(&format!("{rejected}/document"), ONCOLOGY).await.json();
    assert_eq!(document["state"]["reason"], "Ingen tid.");
    let mut read = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json();
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"2\"")];
    let same = world.ask("PUT", &format!("/fhir/Task/{task}"), &headers, Some(read.to_string())).await;
    assert_eq!(same.status, 200, "what is sent as it stands changes nothing: {}", same.text);
    read["output"] = json!([{ "type": { "text": "answer" }, "valueString": "x" }]);
    let more = world.ask("PUT", &format!("/fhir/Task/{task}"), &headers, Some(read.to_string())).await;
    assert_eq!(more.status, 409, "{}", more.text);

    let cancelled = world.refer(&referral_to(2, SOUTH)).await;
    let task = world.task(&cancelled, SOUTH).await;
    let reply = world.post(&format!("{cancelled}/cancel"), ONCOLOGY, &json!({ "reason": "Flyttat" })).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let note = json!([{ "op": "add", "path": "/note", "value": [{ "text": "Ändå." }] }]);
    let reply = patch(&world, SOUTH, &task, "W/\"2\"", &note).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn an_identifier_that_stands_in_what_the_caller_does_not_see_is_as_good_as_one_that_nobody_has() {
    let world = World::open().await;
    world.refer(&referral_to(1, SOUTH)).await;
    world.refer(&referral_to(2, NORTH)).await;
    let mut statuses = Vec::new();
    for unit in [SOUTH, NORTH] {
        let task = world.get("/fhir/Task", unit).await.json()["entry"][0]["resource"].clone();
        let procedure = json!({
            "resourceType": "Procedure", "status": "completed", "identifier": [{ "system": "urn:test", "value": "P-1" }],
            "code": { "coding": [{ "system": KVA, "code": "DV133" }] }, "subject": task["for"],
            "basedOn": [task["focus"]], "performedDateTime": "2026-03-18",
        });
        let headers = [("Vardkedja-Unit", unit), ("If-None-Exist", "identifier=urn:test|P-1")];
        let reply = world.ask("POST", "/fhir/Procedure", &headers, Some(procedure.to_string())).await;
        let again = world.ask("POST", "/fhir/Procedure", &headers, Some(procedure.to_string())).await;
        assert_eq!(again.json()["id"], reply.json()["id"], "its own is there once: {}", again.text);
        statuses.extend([reply.status, again.status]);
    }
    assert_eq!(statuses, [201, 200, 201, 200]);
    world.close().await;
}

#[actix_web::test]
async fn what_a_caller_sends_by_mistake_is_never_told_back() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let number = "195009072553";
    let mut told = Vec::new();
    let mut look = |what: &str, status: u16, text: &str| {
        if status < 400 || text.contains(number) {
            told.push(format!("{what}: {status} {text}"));
        }
    };
    for path in [
        "/v1/exchanges?stage=N",
        "/v1/exchanges?kind=N",
        "/v1/exchanges?open=N",
        "/v1/exchanges?limit=N+x",
        "/v1/exchanges?before=N",
        "/v1/exchanges?N=1",
        "/v1/exchanges/N",
        "/v1/deliveries?state=N",
        "/v1/deliveries?N=1",
        "/fhir/N",
        "/fhir/Patient/N",
        "/fhir/Patient/N/_history",
        "/fhir/Patient/N/_history/1",
        "/fhir/Patient/1/_history?N=1",
        "/fhir/Patient?N=1",
        "/fhir/Patient?_count=N",
        "/fhir/Patient?_id=N",
        "/fhir/Patient?identifier=x-N-x",
        "/fhir/Patient?identifier=19500907%202553",
        "/fhir/Patient?identifier=19500907%25202553",
    ] {
        let reply = world.get(&path.replace('N', number), SOUTH).await;
        look(path, reply.status, &reply.text);
    }
    for body in [json!({ number: 1 }), json!({ "stage": number }), json!({ "limit": number })] {
        let reply = world.post("/v1/exchanges/search", SOUTH, &body).await;
        look("search", if body.get("limit").is_some() { 400 } else { reply.status }, &reply.text);
    }
    for path in [format!("/fhir/{number}/_search?{number}=1"), format!("/fhir/Task/_search?{number}=1")] {
        let reply = world.post(&path, SOUTH, &json!({})).await;
        look(&path, reply.status, &reply.text);
    }
    let validated = world.post(&format!("/fhir/{number}/$validate"), SOUTH, &json!({ "resourceType": "Task" })).await;
    look("$validate", 400, &validated.text);
    for operation in [
        json!({ "op": number, "path": "/status" }),
        json!({ "op": "remove", "path": format!("/{number}") }),
        json!({ "op": "remove", "path": format!("/note/{number}") }),
        json!({ "op": "test", "path": format!("/{number}"), "value": 1 }),
    ] {
        let reply = patch(&world, SOUTH, &task, "W/\"1\"", &json!([operation])).await;
        look("PATCH", reply.status, &reply.text);
    }
    let mut more = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json();
    more[number] = json!("x");
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\"")];
    let reply = world.ask("PUT", &format!("/fhir/Task/{task}"), &headers, Some(more.to_string())).await;
    look("PUT", reply.status, &reply.text);
    let reply = world.get("/fhir/Task", number).await;
    look("unit", reply.status, &reply.text);
    assert!(told.is_empty(), "{}", told.join("\n"));
    world.close().await;
}

#[actix_web::test]
async fn an_answer_is_taken_although_the_senders_clock_was_ahead() {
    let world = World::open().await;
    let mut ahead = referral_to(1, SOUTH);
    ahead["authoredOn"] = json!((chrono::Utc::now() + chrono::TimeDelta::minutes(7)).to_rfc3339());
    let exchange = world.refer(&ahead).await;
    let found = world.get("/fhir/Task?status=requested", SOUTH).await.json();
    let path = format!("/fhir/Task/{}", found["entry"][0]["resource"]["id"].as_str().unwrap());
    let patch = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]).to_string();
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\""), ("Content-Type", "application/json-patch+json")];
    let moved = world.ask("PATCH", &path, &headers, Some(patch)).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    world.until(&exchange, "accepted").await;
    world.close().await;
}

#[actix_web::test]
async fn an_answer_that_cannot_be_read_as_a_task_is_refused_whole_and_never_thrown_away() {
    let world = World::open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let task = world.task(&exchange, SOUTH).await;
    let path = format!("/fhir/Task/{task}");
    let read = world.get(&path, SOUTH).await.json();
    let answer = json!({ "type": { "text": "answer" }, "valueString": "Kallad till den 3 mars." });
    for (element, value) in [
        ("output", answer.clone()),
        ("output", json!("Kallad")),
        ("note", json!({ "text": "Kallad" })),
        ("note", json!("Kallad")),
        ("statusReason", json!("Kallad")),
        ("businessStatus", json!([{ "text": "Kallad" }])),
        ("lastModified", json!(1)),
    ] {
        let mut wanted = read.clone();
        wanted["status"] = json!("accepted");
        wanted[element] = value.clone();
        let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\"")];
        let put = world.ask("PUT", &path, &headers, Some(wanted.to_string())).await;
        let operations = json!([
            { "op": "replace", "path": "/status", "value": "accepted" },
            { "op": "add", "path": format!("/{element}"), "value": value },
        ]);
        let patched = patch(&world, SOUTH, &task, "W/\"1\"", &operations).await;
        for reply in [put, patched] {
            assert_eq!(reply.status, 422, "{element} {value}: {}", reply.text);
            assert!(reply.findings().contains(&format!("Task.{element}")), "{}", reply.findings());
            assert!(!reply.text.contains("Kallad"), "{}", reply.text);
        }
    }
    let mut wanted = read.clone();
    wanted["status"] = json!("draft");
    wanted["intent"] = json!("plan");
    wanted["output"] = answer;
    wanted["note"] = json!("Kallad");
    let headers = [("Vardkedja-Unit", SOUTH), ("If-Match", "W/\"1\"")];
    let all = world.ask("PUT", &path, &headers, Some(wanted.to_string())).await;
    for place in ["Task.status", "Task.intent", "Task.output", "Task.note"] {
        assert!(all.findings().contains(place), "{place}: {}", all.findings());
    }
    assert_eq!(world.get(&path, SOUTH).await.json(), read, "nothing of it was applied");
    world.close().await;
}

#[actix_web::test]
async fn what_was_given_up_may_have_arrived_and_its_answer_is_heard() {
    let world = World::open().await;
    // It takes effect, and half of the answer comes; the next attempt is refused, and a person gives it up.
    world.misbehave(json!({ "kind": "truncated", "next": 1, "method": "POST" })).await;
    world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
    let exchange = world.refer(&referral(1)).await;
    let parked = world.until(&exchange, "parked").await;
    let delivery = parked["deliveries"][0]["id"].as_str().unwrap();
    let decision = json!({ "by": "Eva Ek", "reason": "Ringt enheten." });
    let skipped = world.post(&format!("/v1/deliveries/{delivery}/skip"), ONCOLOGY, &decision).await;
    assert_eq!(skipped.status, 200, "{}", skipped.text);
    let task = world.task(&exchange, NORTH).await;
    world.people().step(&task, "accepted", &vardkedja::demo::Left::default()).await.unwrap();
    world.until(&exchange, "accepted").await;
    world.close().await;
}
