//! Two systems, one resource: what either side changes reaches the other, once, and nobody's word is lost.

mod closed;
mod conflict;
mod model;
mod parts;
mod plan;
mod returned;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{ONCOLOGY, World};

const PATIENCE: Duration = Duration::from_secs(20);
const SPECIALIST: &str = "SE2321000131-P000000000011";
const TITLE: &str = "Rehabiliteringsplan";

/// Waits until the question is answered; one that never is fails the test.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The plan that is sent, in a version.
fn plan(version: u32) -> Value {
    let mut plan = crate::world::plan(1);
    plan["version"] = json!(version);
    plan["title"] = json!(format!("{TITLE} {version}"));
    plan
}

async fn send_plan(world: &World, plan: &Value) -> (String, Value) {
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, plan).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    (reply.location.clone().unwrap(), reply.json())
}

/// A plan that the clinic has, and a request to it.
async fn delivered(world: &World) -> String {
    let (exchange, _) = send_plan(world, &plan(1)).await;
    world.until(&exchange, "delivered").await;
    let referral = world.refer(&crate::world::referral(1)).await;
    world.until(&referral, "delivered").await;
    exchange
}

/// What the clinic's people write over what stands there, at the version that they read.
async fn write(world: &World, resource: &Value) {
    let (kind, id) = (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let tag = format!("W/\"{}\"", resource["meta"]["versionId"].as_str().unwrap());
    let url = format!("{}/fhir/{kind}/{id}", world.clinic);
    let headers = [("Content-Type", "application/fhir+json"), ("If-Match", tag.as_str())];
    let reply = world.ask("PUT", &url, &headers, Some(resource.to_string())).await;
    assert!(reply.status < 300, "{} {}", reply.status, reply.text);
}

async fn create(world: &World, resource: &Value) -> Value {
    let url = format!("{}/fhir/{}", world.clinic, resource["resourceType"].as_str().unwrap());
    let reply = world.ask("POST", &url, &[("Content-Type", "application/fhir+json")], Some(resource.to_string())).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()
}

/// The only resource of the type that the clinic has.
async fn only(world: &World, kind: &str) -> Value {
    let all = world.at_clinic(kind).await;
    assert_eq!(all.len(), 1, "{kind}: {all:#?}");
    all[0].clone()
}

/// The clinic says how its intervention goes.
async fn says(world: &World, status: &str) {
    let mut plan = only(world, "CarePlan").await;
    plan["activity"][0]["detail"]["status"] = json!(status);
    write(world, &plan).await;
}

/// The plan in the sender's own format, as it stands.
async fn document(world: &World, exchange: &str) -> Value {
    world.get(&format!("{exchange}/document"), ONCOLOGY).await.json()
}

async fn intervention(world: &World, exchange: &str) -> String {
    document(world, exchange).await["interventions"][0]["status"].as_str().unwrap_or_default().to_owned()
}

/// The open Tasks about differences that a unit sees.
async fn conflicts(world: &World, unit: &str) -> Vec<Value> {
    let code = "https://vardkedja.example/fhir/CodeSystem/worklist|sync-conflict";
    let found = world.get(&format!("/fhir/Task?status=requested&code={code}"), unit).await.json();
    found["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect()
}

/// What a Task about a difference says: element, whose value, value.
fn sides(task: &Value) -> Vec<(String, String, Value)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let side = |i: &Value| {
        let value = serde_json::from_str(i["valueString"].as_str().unwrap()).unwrap();
        (text(&i["type"]["text"]), text(&i["type"]["coding"][0]["code"]), value)
    };
    task["input"].as_array().unwrap().iter().map(side).collect()
}

/// Waits until the clinic's server was asked for plans so many times more: what was there to be read has been.
async fn rounds(world: &World, more: usize) {
    let before = world.journal("GET", "/fhir/CarePlan").await;
    until("a round of reading", async || (world.journal("GET", "/fhir/CarePlan").await >= before + more).then_some(()))
        .await;
}

/// How often the gateway has written to the clinic.
async fn writes(world: &World) -> usize {
    world.journal("POST", "/fhir").await
}

/// Neither side changes any more, whatever is read.
async fn is_quiet(world: &World) {
    until("everything is sent", async || {
        let waiting = world.get("/v1/deliveries?state=waiting", "").await.json();
        waiting["deliveries"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
    let (before, at_clinic) = (writes(world).await, world.at_clinic("CarePlan").await);
    rounds(world, 4).await;
    assert_eq!(writes(world).await, before, "an echo was written");
    assert_eq!(world.at_clinic("CarePlan").await, at_clinic);
}
