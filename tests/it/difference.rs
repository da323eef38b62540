//! What changed between two versions of a plan, asked over HTTP by those who may see it, and told to those who get it.

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, SOUTH, World, plan};

/// A plan that goes to the north, and in its second version over to the south.
fn versions(number: u32) -> [Value; 2] {
    let first = plan(number);
    let mut second = first.clone();
    second["version"] = json!(2);
    second["recipients"] = json!([SOUTH, NORTH]);
    second["interventions"][0]["responsible"] = json!(SOUTH);
    second["interventions"].as_array_mut().unwrap().push(json!({
        "id": "I2", "area": "fatigue", "form": "self-care-advice", "level": "primary", "responsible": NORTH,
        "start": "2026-03-02", "status": "scheduled", "text": "Vila mellan aktiviteterna",
    }));
    second["goals"][0]["status"] = json!("completed");
    second["assessment"]["needs"][0]["need"] = json!("advanced");
    second["followUps"][0]["text"] = json!("Ring patienten");
    second["team"] = json!([{ "name": "Bo Ek", "profession": "physiotherapist", "unit": NORTH }]);
    [first, second]
}

async fn send(world: &World, document: &Value) -> String {
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, document).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.location.unwrap()
}

fn lines(told: &Value) -> Vec<(String, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let all = told["changes"].as_array().unwrap();
    all.iter().map(|line| (text(line, "what"), text(line, "of"), text(line, "key"))).collect()
}

async fn care_plan(world: &World, exchange: &str) -> String {
    let shown = world.get(exchange, ONCOLOGY).await.json();
    let names = shown["resources"].as_array().unwrap();
    names.iter().find_map(|name| name.as_str()?.strip_prefix("CarePlan/")).unwrap().to_owned()
}

#[actix_web::test]
async fn what_was_added_ended_changed_and_moved_to_whom_is_told_in_words_and_in_values() {
    let world = World::open().await;
    let [first, second] = versions(1);
    let exchange = send(&world, &first).await;
    let alone = world.get(&format!("{exchange}/diff"), ONCOLOGY).await.json();
    assert_eq!((&alone["from"], &alone["changes"]), (&json!(1), &json!([])), "one version differs from nothing");
    assert_eq!(send(&world, &second).await, exchange);

    let told = world.get(&format!("{exchange}/diff?from=1&to=2"), NORTH).await.json();
    assert_eq!((&told["from"], &told["to"]), (&json!(1), &json!(2)));
    let expected = [
        ("added", "intervention", "I2"),
        ("moved", "intervention", "I1"),
        ("ended", "goal", "M1"),
        ("changed", "need", "physical-activity"),
        ("changed", "follow-up", "2026-05-29"),
        ("added", "team", SOUTH),
    ];
    let found = lines(&told);
    for (what, of, key) in expected {
        assert!(found.contains(&(what.into(), of.into(), key.into())), "{what} {of} {key}: {told:#}");
    }
    assert_eq!(found.len(), expected.len() + 1, "and somebody new in the team: {told:#}");
    assert_eq!(told["counts"], json!({ "added": 3, "changed": 2, "ended": 1, "moved": 1, "removed": 0 }));
    let moved = told["changes"].as_array().unwrap().iter().find(|line| line["what"] == "moved").unwrap();
    assert_eq!(moved["fields"], json!([{ "name": "responsible", "from": [NORTH], "to": [SOUTH] }]));
    let sv = moved["sv"].as_str().unwrap();
    assert!(
        sv.starts_with("Ansvaret går över: insats, Individuellt, Fysisk aktivitet och träning, från ")
            && !sv.contains(SOUTH),
        "{sv}"
    );
    assert!(told.to_string().contains("”Vila mellan aktiviteterna”"), "{told:#}");

    // The newest against the one before needs no numbers; backwards, and a version against itself, are answered too.
    assert_eq!(world.get(&format!("{exchange}/diff"), ONCOLOGY).await.json()["changes"], told["changes"]);
    let back = world.get(&format!("{exchange}/diff?from=2&to=1"), ONCOLOGY).await.json();
    assert_eq!(back["counts"]["removed"], 3);
    let same = world.get(&format!("{exchange}/diff?from=2&to=2"), ONCOLOGY).await.json();
    assert_eq!(same["changes"], json!([]));

    let id = care_plan(&world, &exchange).await;
    let reply = world.get(&format!("/fhir/CarePlan/{id}/$diff?from=1&to=2"), NORTH).await.json();
    assert_eq!(reply["resourceType"], "Parameters");
    let changes: Vec<&Value> =
        reply["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "change").collect();
    assert_eq!(changes.len(), found.len());
    let part = |change: &Value, name: &str| {
        change["part"].as_array().unwrap().iter().find(|p| p["name"] == name).cloned().unwrap_or_default()
    };
    let moved = changes.iter().find(|c| part(c, "what")["valueCode"] == "moved").unwrap();
    assert_eq!(part(moved, "sv")["valueString"], sv);
    assert_eq!(part(&part(moved, "field"), "to")["valueString"], SOUTH);
    world.close().await;
}

#[actix_web::test]
async fn nobody_learns_by_it_what_it_may_not_read() {
    let world = World::open().await;
    let [first, mut second] = versions(1);
    second["recipients"] = json!([NORTH]);
    second["interventions"][0]["responsible"] = json!(NORTH);
    let exchange = send(&world, &first).await;
    send(&world, &second).await;
    let id = care_plan(&world, &exchange).await;
    for path in [format!("{exchange}/diff?from=1&to=2"), format!("/fhir/CarePlan/{id}/$diff?from=1&to=2")] {
        assert_eq!(world.get(&path, NORTH).await.status, 200);
        assert_eq!(world.get(&path, SOUTH).await.status, 404, "it is no party");
        assert_eq!(world.get(&path.replace("to=2", "to=3"), NORTH).await.status, 404, "there is no third");
        assert_eq!(world.get(&path.replace("to=2", "to=x"), NORTH).await.status, 400);
        assert_eq!(world.get(&format!("{path}&since=1"), NORTH).await.status, 400);
    }
    let referral = world.refer(&crate::world::referral(1)).await;
    assert_eq!(world.get(&format!("{referral}/diff"), ONCOLOGY).await.status, 404, "a referral is no plan");
    assert_eq!(world.get("/fhir/Task/x/$diff", ONCOLOGY).await.status, 404);
    // Whoever read it stands in the patient's access log, with the versions that were compared.
    let log = world.get("/fhir/AuditEvent?_count=500", "").await.text;
    assert!(log.contains("$diff") || log.contains("/diff"), "{log}");
    world.close().await;
}

#[actix_web::test]
async fn the_provenance_of_a_revised_plan_says_what_it_changed_and_repeats_nothing_that_was_written() {
    let world = World::open().await;
    let [first, second] = versions(1);
    let exchange = send(&world, &first).await;
    send(&world, &second).await;
    let id = care_plan(&world, &exchange).await;
    let found = world.get(&format!("/fhir/Provenance?target=CarePlan/{id}"), NORTH).await.json();
    let all: Vec<Value> = found["entry"].as_array().unwrap().iter().map(|e| e["resource"].clone()).collect();
    let (told, silent): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|p| p["extension"].is_array());
    assert_eq!((told.len(), silent.len()), (1, 1), "a first version changes nothing: {found:#}");
    assert_eq!(told[0]["extension"].as_array().unwrap().len(), 7);
    let text = told[0].to_string();
    assert!(text.contains("Ansvaret går över") && text.contains("Responsibility moves"), "{text}");
    assert!(!text.contains("Vila mellan") && !text.contains("Bo Ek") && !text.contains("Orka gå"), "{text}");
    let headers = [("Vardkedja-Unit", NORTH), ("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/Provenance/$validate", &headers, Some(text)).await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    world.close().await;
}
