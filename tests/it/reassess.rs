//! What a plan holds beside its interventions, over HTTP: Hälsoskattning, frailty, what a guideline has a level of care offer; and
//! who is asked for a new assessment when an intervention has ended.

mod killed;

use serde_json::{Value, json};

use crate::subscription::{self, Ear, Heard, subscribe, wish};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, plan};

const ASKED: &str = "/fhir/Task?code=https://vardkedja.example/fhir/CodeSystem/worklist|reassessment";

/// A plan with group training in specialist care that ended long ago.
pub fn trained(number: u32, unit: &str) -> Value {
    let mut plan = plan(number);
    plan["interventions"].as_array_mut().unwrap().push(json!({
        "id": "G", "area": "physical-activity", "form": "group", "kva": "DV133", "level": "specialist", "responsible": unit,
        "start": "2026-03-09", "end": "2026-05-31", "status": "in-progress", "frequency": { "times": 2, "every": 1, "unit": "week" },
    }));
    plan
}

async fn send(world: &World, document: &Value) -> Value {
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, document).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.json()
}

async fn tasks(world: &World, unit: &str) -> Vec<Value> {
    let found = world.get(ASKED, unit).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let entries = found.json()["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|entry| entry["resource"].clone()).collect()
}

#[actix_web::test]
async fn the_unit_is_asked_sees_no_more_for_it_and_a_newer_assessment_ends_it() {
    let world = World::open().await;
    let receipt = send(&world, &trained(1, REHAB_TEAM)).await;
    assert!(receipt["outcome"].to_string().contains("PA-S8: ”Vid avslutad intervention"), "{receipt:#}");
    let [task] = &tasks(&world, REHAB_TEAM).await[..] else { panic!("one Task") };
    assert_eq!((&task["status"], &task["owner"]["identifier"]["value"]), (&json!("requested"), &json!(REHAB_TEAM)));
    let headers = [("Vardkedja-Unit", REHAB_TEAM), ("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/Task/$validate", &headers, Some(task.to_string())).await;
    assert!(!checked.text.contains("\"error\"") && !checked.text.contains("\"warning\""), "{}", checked.text);
    assert_eq!(tasks(&world, ONCOLOGY).await.len(), 1, "the sender knows who is asked");
    assert!(tasks(&world, NORTH).await.is_empty() && tasks(&world, SOUTH).await.is_empty());
    // It was read, and the plan was not.
    let exchange = format!("/v1/exchanges/{}", receipt["exchange"].as_str().unwrap());
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    let party = shown["parties"].as_array().unwrap().iter().find(|p| p["unit"] == REHAB_TEAM).unwrap().clone();
    assert_eq!(party["stage"], "waiting", "{shown:#}");
    assert!(world.at_clinic("Task").await.is_empty(), "it stays here");

    let path = format!("/fhir/Task/{}", task["id"].as_str().unwrap());
    let patch =
        [("Vardkedja-Unit", REHAB_TEAM), ("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    let done = json!([{ "op": "replace", "path": "/status", "value": "completed" }]).to_string();
    let refused = world.ask("PATCH", &path, &patch, Some(done)).await;
    assert_eq!(refused.status, 409, "{}", refused.text);

    let mut second = trained(1, REHAB_TEAM);
    second["version"] = json!(2);
    second["assessment"]["date"] = json!("2026-06-08");
    let receipt = send(&world, &second).await;
    assert!(receipt["outcome"].to_string().contains("PA-S9: ”Den bör inkludera screening av fatigue.”"), "{receipt:#}");
    let [task] = &tasks(&world, REHAB_TEAM).await[..] else { panic!("one Task") };
    assert_eq!((&task["status"], &task["meta"]["versionId"]), (&json!("completed"), &json!("2")), "{task:#}");
    world.close().await;
}

#[actix_web::test]
async fn a_subscriber_of_tasks_is_told_of_it_as_of_others() {
    let ear = Ear::open(200);
    let world = subscription::open(&ear).await;
    subscribe(&world, REHAB_TEAM, &wish(&ear, "/team", "task-changed", "id-only")).await;
    send(&world, &trained(1, REHAB_TEAM)).await;
    let [task] = &tasks(&world, REHAB_TEAM).await[..] else { panic!("one Task") };
    let name = format!("Task/{}", task["id"].as_str().unwrap());
    let told = |h: &Heard| h.kind() == "event-notification" && h.focuses().iter().any(|focus| focus.ends_with(&name));
    ear.until("was told", |heard| heard.iter().any(told)).await;
    world.close().await;
}

#[actix_web::test]
async fn what_a_level_of_care_does_not_offer_is_a_warning_with_the_rule_and_its_words() {
    let world = World::open().await;
    let warned = async |number: u32, change: &dyn Fn(&mut Value)| {
        let mut plan = trained(number, ONCOLOGY);
        change(&mut plan["interventions"][1]);
        send(&world, &plan).await["outcome"].to_string()
    };
    let twelve = warned(1, &|_| {}).await;
    assert!(!twelve.contains("PA-S7") && !twelve.contains("PA-P5"), "{twelve}");
    let ten = warned(2, &|group| group["end"] = json!("2026-05-15")).await;
    assert!(ten.contains("PA-S7: ”Rekommenderad gruppträningsperiod är 12 veckor.”"), "{ten}");
    assert!(ten.contains("HS9766-305841775-381 version 3.0, rad 127–129") && ten.contains("\"warning\""), "{ten}");
    let endless = warned(3, &|group| drop(group.as_object_mut().unwrap().shift_remove("end"))).await;
    assert!(endless.contains("PA-S7"), "{endless}");
    let primary = warned(4, &|group| {
        group["level"] = json!("primary");
        group["responsible"] = json!(NORTH);
    })
    .await;
    assert!(primary.contains("PA-P5: ”*Primärvården kan utifrån patientens behov erbjuda egenvårdsråd"), "{primary}");
    assert!(!primary.contains("PA-S7") && !primary.contains("PA-S8"), "{primary}");
    let prescription = warned(5, &|group| {
        group["form"] = json!("far");
        group["kva"] = json!("DV200");
        group["level"] = json!("primary");
        group["responsible"] = json!(NORTH);
        group["status"] = json!("scheduled");
    })
    .await;
    assert!(!prescription.contains("PA-P5"), "{prescription}");
    world.close().await;
}

#[actix_web::test]
async fn halsoskattning_and_frailty_are_stored_searched_delivered_and_come_back() {
    let world = World::open().await;
    let mut plan = plan(1);
    plan["frailty"] = json!({ "cfs": 4, "date": "2026-02-09", "by": "SE2321000131-P000000000011" });
    let receipt = send(&world, &plan).await;
    let exchange = format!("/v1/exchanges/{}", receipt["exchange"].as_str().unwrap());
    world.until(&exchange, "delivered").await;

    let found = world.get("/fhir/QuestionnaireResponse", NORTH).await.json();
    let answered = &found["entry"][0]["resource"];
    assert_eq!((&answered["authored"], &answered["status"]), (&json!("2026-02-09"), &json!("completed")), "{found:#}");
    let items = answered["item"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["linkId"]), (1, &json!("physical-activity")));
    assert_eq!(items[0]["answer"][0]["valueCoding"]["code"], "special");
    assert!(items[0].get("text").is_none(), "no words of the instrument");
    let rated = world.get("/fhir/Observation?code=frailty", NORTH).await.json();
    let rated = &rated["entry"][0]["resource"];
    assert_eq!((&rated["valueInteger"], &rated["effectiveDateTime"]), (&json!(4), &json!("2026-02-09")), "{rated:#}");
    assert_eq!(rated["performer"][0]["identifier"]["value"], "SE2321000131-P000000000011");
    assert_eq!(world.at_clinic("QuestionnaireResponse").await.len(), 1);

    let back = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!((&back["frailty"], &back["assessment"]), (&plan["frailty"], &plan["assessment"]));
    // An interview is no Hälsoskattning, and frailty that is gone is gone; both are told as changes.
    plan["version"] = json!(2);
    plan["assessment"]["instrument"] = json!("interview");
    plan["frailty"]["cfs"] = json!(6);
    send(&world, &plan).await;
    let told = world.get(&format!("{exchange}/diff"), NORTH).await.json().to_string();
    assert!(told.contains("skörheten (CFS) ändras från 4 till 6") && told.contains("instrumentet ändras"), "{told}");
    let left = world.get("/fhir/QuestionnaireResponse?status=completed", NORTH).await.json();
    assert!(left.get("entry").is_none(), "{left:#}");
    plan["version"] = json!(3);
    plan["frailty"]["cfs"] = json!(10);
    let refused = world.post("/v1/rehab-plans", ONCOLOGY, &plan).await;
    assert_eq!(refused.status, 422);
    assert!(refused.findings().contains("frailty"), "{}", refused.findings());
    world.close().await;
}
