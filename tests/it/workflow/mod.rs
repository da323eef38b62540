//! What units say to each other about a request, by GET and POST alone: partly taken, sent on, stopped, answered.

mod areas;
mod light;
mod model;
mod owners;
mod redirect;

use serde_json::{Value, json};

use crate::world::{ONCOLOGY, Reply, World, referral_to};

pub const PERSON: &str = "SE2321000131-P000000000021";

/// A referral about three areas to a unit that reads here; the path of its exchange.
pub async fn three_areas(world: &World, number: u32, unit: &str) -> String {
    world.refer(&about_three(number, unit)).await
}

pub fn about_three(number: u32, unit: &str) -> Value {
    let mut referral = referral_to(number, unit);
    referral["areas"] = json!(["physical-activity", "nutrition", "fatigue"]);
    referral
}

pub async fn answer(world: &World, exchange: &str, unit: &str, body: Value) -> Reply {
    world.post(&format!("{exchange}/answers"), unit, &body).await
}

/// The same, and it is taken.
pub async fn taken(world: &World, exchange: &str, unit: &str, body: Value) -> Value {
    let reply = answer(world, exchange, unit, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// What the sender sees of the unit's part.
pub async fn standing(world: &World, exchange: &str, unit: &str) -> Value {
    let shown = world.get(exchange, ONCOLOGY).await.json();
    let lines = shown["recipients"].as_array().unwrap_or_else(|| panic!("{shown:#}")).clone();
    lines.into_iter().find(|line| line["unit"] == unit).unwrap_or_else(|| panic!("{unit}: {shown:#}"))
}

/// `area status` of each area, in order.
pub fn areas(line: &Value) -> Vec<String> {
    let list = line["areas"].as_array().unwrap();
    list.iter().map(|a| format!("{} {}", a["area"].as_str().unwrap(), a["status"].as_str().unwrap())).collect()
}

pub async fn document(world: &World, exchange: &str, unit: &str) -> Value {
    let reply = world.get(&format!("{exchange}/document"), unit).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}
