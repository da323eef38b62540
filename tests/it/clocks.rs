//! When nobody answers, over real HTTP: what is open, what is told, what ends it, and what is seen of it by whom.

mod killed;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, SOUTH, World, referral, referral_to};

const NURSE: &str = "SE2321000131-P000000000011";
const ITEMS: &str = "/fhir/Task?code=https://vardkedja.example/fhir/CodeSystem/worklist|overdue";

/// The rules that come with the program, with a second and two in the place of each level.
pub fn rules(levels: &str) -> String {
    let steps = ["not-delivered", "no-receipt", "no-decision", "no-completion", "no-outcome", "no-abort-answer"];
    let rule = |step: &&str| {
        format!("[[clock]]\nstep = \"{step}\"\nsorts = [\"referral\"]\nafter = {{ routine = {levels} }}\n")
    };
    format!(
        "version = \"test\"\non_hold_pauses = true\ndeceased_pauses = true\n{}",
        steps.iter().map(rule).collect::<String>()
    )
}

async fn open(levels: &str) -> World {
    let levels = levels.to_owned();
    World::open_as_in(move |folder, clinic| {
        std::fs::write(folder.join("rules.toml"), rules(&levels)).unwrap();
        format!(
            "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n[clocks]\nrules = \"rules.toml\"\nevery_s = 1\n\
             [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
        )
    })
    .await
}

async fn items(world: &World, unit: &str) -> Vec<Value> {
    let found = world.get(ITEMS, unit).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let entries = found.json()["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|e| e["resource"].clone()).collect()
}

/// Waits until the unit has so many open Tasks about something overdue.
async fn until_told(world: &World, unit: &str, many: usize) -> Vec<Value> {
    for _ in 0..600 {
        let found = items(world, unit).await;
        if found.iter().filter(|t| t["status"] == "requested").count() == many {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{unit} never had {many}: {:#?}", items(world, unit).await);
}

async fn loops(world: &World, unit: &str, query: &str) -> Value {
    let reply = world.get(&format!("/v1/open-loops{query}"), unit).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn patch(world: &World, task: &str, unit: &str, operations: &Value) -> u16 {
    let version = world.get(&format!("/fhir/Task/{task}"), unit).await.json()["meta"]["versionId"].clone();
    let if_match = format!("W/\"{}\"", version.as_str().unwrap());
    let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/json-patch+json"), ("If-Match", &if_match)];
    world.ask("PATCH", &format!("/fhir/Task/{task}"), &headers, Some(operations.to_string())).await.status
}

#[actix_web::test]
async fn what_is_overdue_comes_on_both_worklists_and_leaves_with_the_move() {
    let world = open("[\"1s\", \"400d\"]").await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let [item] = &until_told(&world, SOUTH, 1).await[..] else { panic!("one Task") };
    assert_eq!(item["reasonCode"]["coding"][0]["code"], "not-delivered");
    assert_eq!(item["owner"]["identifier"]["value"], SOUTH);
    let own = until_told(&world, ONCOLOGY, 1).await;
    assert_ne!(own[0]["id"], item["id"], "each has its own");
    assert!(items(&world, NORTH).await.is_empty());
    let headers = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/Task/$validate", &headers, Some(item.to_string())).await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    let id = item["id"].as_str().unwrap();
    let done = json!([{ "op": "replace", "path": "/status", "value": "completed" }]);
    assert_eq!(patch(&world, id, SOUTH, &done).await, 409, "it ends by itself");
    assert_eq!(
        world.get(&exchange, "").await.json()["stage"],
        "waiting",
        "reading the reminder is not reading the document"
    );

    let list = loops(&world, SOUTH, "?overdue=true").await;
    let [line] = &list["loops"].as_array().unwrap()[..] else { panic!("{list:#}") };
    assert_eq!(
        (&line["step"], &line["move"]["by"], &line["level"]),
        (&json!("not-delivered"), &json!("recipient"), &json!(1))
    );
    assert_eq!(list["counts"], json!([{ "step": "not-delivered", "open": 1, "overdue": 1 }]));
    assert!(!list.to_string().contains("195009072553") && !list.to_string().contains("träning"), "{list}");
    assert_eq!(loops(&world, NORTH, "").await["loops"], json!([]));
    assert_eq!(loops(&world, "", "?region=14").await["counts"][0]["open"], 1);
    assert_eq!(loops(&world, "", "?region=99").await["loops"], json!([]));

    // Read, accepted: what was told is over, and the next wait begins.
    let task = world.task(&exchange, SOUTH).await;
    let accepted = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]);
    assert_eq!(patch(&world, &task, SOUTH, &accepted).await, 200);
    until_told(&world, SOUTH, 1).await;
    let mut steps: Vec<(Value, Value)> = items(&world, SOUTH)
        .await
        .iter()
        .map(|t| (t["reasonCode"]["coding"][0]["code"].clone(), t["status"].clone()))
        .collect();
    steps.sort_by_key(|(step, _)| step.to_string());
    assert_eq!(steps[0], (json!("no-outcome"), json!("requested")));
    assert!(steps.contains(&(json!("not-delivered"), json!("completed"))));
    world.close().await;
}

#[actix_web::test]
async fn tasks_that_somebody_waits_for_are_a_named_query() {
    let world = open("[\"1s\", \"400d\"]").await;
    let first = world.refer(&referral_to(1, SOUTH)).await;
    let second = world.refer(&referral_to(2, SOUTH)).await;
    until_told(&world, SOUTH, 2).await;
    let ids = |reply: &Value| -> Vec<String> {
        let entries = reply["entry"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<String> = entries.iter().map(|e| e["resource"]["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut both = vec![world.task(&first, SOUTH).await, world.task(&second, SOUTH).await];
    both.sort();
    for (unit, query) in
        [(ONCOLOGY, "&overdue=true"), (ONCOLOGY, ""), (SOUTH, ""), (SOUTH, "&status=requested,received")]
    {
        let found = world.get(&format!("/fhir/Task?_query=open-loops{query}&_total=accurate"), unit).await;
        assert_eq!(found.status, 200, "{}", found.text);
        assert_eq!((ids(&found.json()), &found.json()["total"]), (both.clone(), &json!(2)), "{unit} {query}");
    }
    assert_eq!(ids(&world.get("/fhir/Task?_query=open-loops", NORTH).await.json()), Vec::<String>::new());
    let one = world.get("/fhir/Task?_query=open-loops&_count=1", SOUTH).await.json();
    let next = one["link"].as_array().unwrap().iter().find(|l| l["relation"] == "next").unwrap();
    let rest = world.get(next["url"].as_str().unwrap(), SOUTH).await.json();
    let mut all = ids(&one);
    all.extend(ids(&rest));
    all.sort();
    assert_eq!(all, both);
    for wrong in ["/fhir/Task?_query=other", "/fhir/Patient?_query=open-loops", "/fhir/Task?overdue=true"] {
        assert_eq!(world.get(wrong, SOUTH).await.status, 400, "{wrong}");
    }
    let gone = world.get(&first, ONCOLOGY).await.json();
    let reply = world.post(&format!("{first}/cancel"), ONCOLOGY, &json!({ "reason": "Ångrad." })).await;
    assert_eq!(reply.status, 200, "{} {gone}", reply.text);
    let left = world.get("/fhir/Task?_query=open-loops", ONCOLOGY).await.json();
    assert_eq!(ids(&left), [world.task(&second, SOUTH).await]);
    world.close().await;
}

#[actix_web::test]
async fn the_way_of_a_referral_is_told_hop_by_hop_to_each_as_far_as_it_may_see() {
    let world = open("[\"1s\", \"400d\"]").await;
    world.misbehave(json!({ "kind": "error", "next": 1, "method": "POST" })).await;
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    until_told(&world, ONCOLOGY, 1).await;
    world.people().step(&task, "received", &vardkedja::demo::Left::default()).await.unwrap();
    world.until(&exchange, "received").await;
    let pause = json!({ "by": NURSE, "reason": "Semester på mottagningen.", "until": in_days(3) });
    let paused = world.post(&format!("{exchange}/clocks/pause"), ONCOLOGY, &pause).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    assert_eq!(paused.json()["clocks"][0]["paused"]["by"], "person");
    let told = world.get(&format!("{exchange}/timeline"), ONCOLOGY).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let events = told.json()["events"].as_array().unwrap().clone();
    let whats: Vec<String> = events
        .iter()
        .map(|e| {
            let more = ["class", "status", "step", "kind"].iter().find_map(|n| e[*n].as_str()).unwrap_or_default();
            format!("{} {more}", e["what"].as_str().unwrap()).trim().to_owned()
        })
        .collect();
    for expected in [
        "document",
        "delivery",
        "attempt transient",
        "attempt delivered",
        "task requested",
        "overdue no-receipt",
        "overdue-ended no-receipt",
        "task received",
        "answer",
        "paused",
    ] {
        assert!(whats.iter().any(|w| w == expected), "{expected} is missing in {whats:?}");
    }
    assert!(whats.iter().filter(|w| w.starts_with("communication")).count() >= 2, "both consultations: {whats:?}");
    let times: Vec<&str> = events.iter().map(|e| e["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let received = events.iter().find(|e| e["what"] == "task" && e["status"] == "received").unwrap();
    assert_eq!((&received["by"], &received["unit"]), (&json!(NORTH), &json!(NORTH)));
    // Why the sender waits is its own affair; to a stranger there is nothing.
    let theirs = world.get(&format!("{exchange}/timeline"), NORTH).await;
    assert!(
        theirs.status == 200 && theirs.text.contains("\"paused\"") && !theirs.text.contains("Semester"),
        "{}",
        theirs.text
    );
    assert_eq!(world.get(&format!("{exchange}/timeline"), SOUTH).await.status, 404);

    let request = world.get("/fhir/ServiceRequest", ONCOLOGY).await.json()["entry"][0]["resource"]["id"].clone();
    let address = format!("/fhir/ServiceRequest/{}/$timeline", request.as_str().unwrap());
    let parameters = world.get(&address, ONCOLOGY).await;
    assert_eq!(parameters.status, 200, "{}", parameters.text);
    let parts = parameters.json()["parameter"][0]["part"].as_array().unwrap().len();
    assert_eq!(parts, events.len() + 1, "the same, and the id");
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/fhir+json")];
    let xml = world.ask("GET", &format!("{address}?_format=xml"), &headers, None).await;
    assert!(xml.status == 200 && xml.text.contains("<Parameters"), "{}", xml.text);
    assert_eq!(world.get(&format!("/fhir/Task/{task}/$timeline"), NORTH).await.status, 200);
    assert_eq!(world.get(&address, SOUTH).await.status, 404);
    assert_eq!(world.get("/fhir/Patient/1/$timeline", ONCOLOGY).await.status, 404);
    world.close().await;
}

fn in_days(days: i64) -> String {
    (chrono::Utc::now() + chrono::TimeDelta::days(days)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[actix_web::test]
async fn the_sender_pauses_and_resumes_and_nobody_else() {
    let world = open("[\"1s\", \"400d\"]").await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    until_told(&world, SOUTH, 1).await;
    let wish = json!({ "by": NURSE, "reason": "Patienten reser.", "until": in_days(10) });
    let (pause, resume) = (format!("{exchange}/clocks/pause"), format!("{exchange}/clocks/resume"));
    assert_eq!(world.post(&pause, SOUTH, &wish).await.status, 403);
    assert_eq!(world.post(&pause, NORTH, &wish).await.status, 404);
    let wrong = world.post(&pause, ONCOLOGY, &json!({ "by": "Anna", "until": "soon", "why": 1 })).await;
    assert_eq!(wrong.status, 400);
    for place in ["by", "reason", "until", "why"] {
        assert!(wrong.findings().contains(&format!("\"{place}\"")), "{place}: {}", wrong.findings());
    }
    assert!(!wrong.text.contains("Anna"));
    let far = json!({ "by": NURSE, "reason": "x", "until": in_days(91), "unit": NORTH });
    let far = world.post(&pause, ONCOLOGY, &far).await;
    assert!(far.status == 422 && far.findings().lines().count() == 2, "{}", far.text);
    assert_eq!(world.post(&resume, ONCOLOGY, &json!({ "by": NURSE })).await.status, 409);
    let made = world.post(&pause, ONCOLOGY, &wish).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert!(items(&world, SOUTH).await.iter().all(|t| t["status"] == "on-hold"));
    let list = loops(&world, ONCOLOGY, "").await;
    assert_eq!((&list["loops"][0]["paused"]["by"], &list["loops"][0]["overdue"]), (&json!("person"), &json!(false)));
    let resumed = world.post(&resume, ONCOLOGY, &json!({ "by": NURSE })).await;
    assert_eq!((resumed.status, &resumed.json()["paused"]), (200, &json!([])), "{}", resumed.text);
    until_told(&world, SOUTH, 1).await;
    world.close().await;
}

#[actix_web::test]
async fn whoever_runs_the_gateway_sees_how_much_is_open_and_overdue() {
    let world = open("[\"1s\", \"2s\"]").await;
    world.refer(&referral_to(1, SOUTH)).await;
    let mut told = Value::Null;
    for _ in 0..600 {
        told = world.get("/v1/status", "").await.json();
        if told["loops"][0]["escalated"] == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(told["loops"][0]["step"], "not-delivered", "{told:#}");
    assert!(told["concerns"].to_string().contains("although somebody was reminded"), "{told:#}");
    let metrics = world.get("/metrics", "").await.text;
    for line in [
        r#"vardkedja_open_loops{step="not-delivered"} 1"#,
        r#"vardkedja_overdue_loops{step="not-delivered",level="2"} 1"#,
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is missing in\n{metrics}");
    }
    assert!(metrics.contains("vardkedja_oldest_open_loop_seconds "), "{metrics}");
    let (_, said) = crate::program::run(&["status", "--db", world.folder.join("gateway.sqlite").to_str().unwrap()]);
    assert!(said.contains("OPEN LOOPS") && said.contains("not-delivered"), "{said}");
    world.close().await;
}

#[actix_web::test]
async fn a_referral_that_waits_for_samrad_is_seen_by_who_watches_with_its_own_urgency_and_without_a_person() {
    let rules = include_str!("../../src/config/transfer.toml").replace("json = \"refuse\"", "json = \"hold\"");
    let world = World::open_as_in(|folder, clinic| {
        // Only a referral can wait.
        let (referrals, rest) = rules.split_once("mode = \"active\"").unwrap();
        let rest = rest.replace("json = \"hold\"", "json = \"refuse\"");
        std::fs::write(folder.join("transfer.toml"), format!("{referrals}mode = \"active\"{rest}")).unwrap();
        format!(
            "[transfer]\nrules = \"transfer.toml\"\n[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\n\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
        )
    })
    .await;
    let mut urgent = referral_to(1, SOUTH);
    urgent.as_object_mut().unwrap().shift_remove("consultation");
    urgent["urgency"] = json!("stat");
    let sent = world.post("/v1/referrals", ONCOLOGY, &urgent).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let exchange = sent.location.unwrap();
    let own = loops(&world, ONCOLOGY, "").await;
    let [line] = &own["loops"].as_array().unwrap()[..] else { panic!("{own:#}") };
    assert_eq!((&line["step"], &line["move"]["by"]), (&json!("no-consultation"), &json!("sender")), "{line:#}");
    let item = world.get("/fhir/Task?code=consultation-missing", ONCOLOGY).await.json()["entry"][0]["resource"].clone();
    assert_eq!((&item["priority"], &line["priority"]), (&json!("stat"), &json!("stat")), "not waited for like others");
    assert_eq!(loops(&world, SOUTH, "").await["loops"], json!([]), "who is asked does not know yet");
    let all = loops(&world, "", "?step=no-consultation").await;
    assert_eq!(all["counts"], json!([{ "step": "no-consultation", "open": 1, "overdue": 0 }]));
    let status = world.get("/v1/status", "").await;
    let held = status.json()["loops"].as_array().unwrap().iter().find(|l| l["step"] == "no-consultation").cloned();
    assert_eq!(held.map(|l| l["open"].clone()), Some(json!(1)), "{}", status.text);
    let figures = world.get("/metrics", "").await.text;
    let figure = figures.lines().find(|l| l.starts_with("vardkedja_open_loops{") && l.contains("no-consultation"));
    assert!(figure.is_some_and(|l| l.ends_with(" 1")), "{figure:?}");
    for told in [all.to_string(), status.text.clone(), figures] {
        assert!(!told.contains("19500907") && !told.contains("500907-2553"), "{told}");
    }
    let consultations = crate::transfer::consultations();
    assert_eq!(world.post(&format!("{exchange}/consultations"), ONCOLOGY, &consultations).await.status, 200);
    assert_eq!(loops(&world, "", "?step=no-consultation").await["loops"], json!([]));
    world.close().await;
}

#[actix_web::test]
async fn each_area_is_an_open_loop_of_its_own_by_name_for_care_and_without_for_operations() {
    let world = World::open().await;
    let mut referral = referral_to(1, SOUTH);
    referral["areas"] = json!(["nutrition", "tobacco"]);
    let exchange = world.refer(&referral).await;
    let answer = json!({ "status": "accepted", "areas": [
        { "area": "nutrition", "status": "accepted" },
        { "area": "tobacco", "status": "rejected", "reason": "Vi har ingen tobaksavvänjare." },
    ] });
    let reply = world.post(&format!("{exchange}/answers"), SOUTH, &answer).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let said = |list: &Value| {
        let line = |l: &Value| format!("{} {} {}", l["step"].as_str().unwrap(), l["area"], l["move"]["by"]);
        let mut all: Vec<String> = list["loops"].as_array().unwrap().iter().map(line).collect();
        all.sort();
        all
    };
    let expected = ["no-outcome \"nutrition\" \"recipient\"", "no-taker \"tobacco\" \"sender\""];
    assert_eq!(said(&loops(&world, ONCOLOGY, "").await), expected);
    assert_eq!(said(&loops(&world, SOUTH, "").await), expected);
    let watched = loops(&world, "", "").await;
    assert_eq!(said(&watched), ["no-outcome null \"recipient\"", "no-taker null \"sender\""]);
    assert!(!watched.to_string().contains("tobacco"), "{watched:#}");
    world.close().await;
}
