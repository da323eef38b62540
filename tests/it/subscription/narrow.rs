//! A subscription that was made with a narrow token, over HTTP: what is told and what `$events` shows is never more than that token
//! covered, whatever token asks later, nor more than is agreed with its client today.

use serde_json::{Value, json};

use super::{Ear, Heard, focuses, numbers, wish};
use crate::oauth::{Door, Key, ORGANISATION};
use crate::world::{SOUTH, referral_to};

const WIDE: &str = "\"system/*.cruds\"";

/// Oncology's system, and two of the unit that is asked: `journal` with these scopes, and `second` with all.
fn settings(ear: &Ear, scopes: &str) -> String {
    let client = |id: &str, partner: &str, scopes: &str| {
        format!(
            "[[client]]\nid = \"{id}\"\nname = \"{id}\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"care\"\npartner = \"{partner}\"\n\
             jwks_file = \"keys.json\"\nscopes = [{scopes}]\n"
        )
    };
    format!(
        "[delivery]\nretry_s = [1]\nprobe_s = [1]\n[subscriptions]\nheartbeat_min_s = 1\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
         [[partner]]\nname = \"reader\"\nchannel = \"poll\"\nhooks = [\"{}\"]\n{}{}{}",
        ear.url,
        client("clinic", "platform", WIDE),
        client("journal", "reader", scopes),
        client("second", "reader", WIDE)
    )
}

async fn post(door: &Door, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let kind = if path.starts_with("/fhir") { "application/fhir+json" } else { "application/json" };
    let key = uuid::Uuid::new_v4().to_string();
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind), ("Idempotency-Key", key.as_str())];
    let reply = door.post(path, &headers, body.to_string()).await;
    (reply.status, serde_json::from_str(&reply.text).unwrap_or_default())
}

/// Sends a referral; its exchange, and the name of the unit's Task.
async fn refer(door: &Door, key: &Key, number: u32) -> (String, String) {
    let token = door.token("clinic", key, "").await;
    let (status, receipt) = post(door, &token, "/v1/referrals", &referral_to(number, SOUTH)).await;
    assert_eq!(status, 202, "{receipt:#}");
    let exchange = format!("/v1/exchanges/{}", receipt["exchange"].as_str().unwrap());
    let shown = door.get(&exchange, &token, &[]).await.json();
    let party = shown["parties"].as_array().unwrap().iter().find(|p| p["unit"] == SOUTH).unwrap().clone();
    (exchange, party["task"].as_str().unwrap().to_owned())
}

async fn accept(door: &Door, key: &Key, exchange: &str) {
    let token = door.token("second", key, "").await;
    let (status, said) = post(door, &token, &format!("{exchange}/answers"), &json!({ "status": "accepted" })).await;
    assert_eq!(status, 200, "{said:#}");
}

async fn subscribe(door: &Door, ear: &Ear, token: &str, path: &str) -> String {
    let (status, made) =
        post(door, token, "/fhir/Subscription", &wish(ear, path, "task-changed", "full-resource")).await;
    assert_eq!(status, 201, "{made:#}");
    ear.until("asked", |heard| heard.iter().any(|h| h.path == format!("/hook{path}"))).await;
    made["id"].as_str().unwrap().to_owned()
}

/// The numbers and Tasks of `$events`, and all that it says.
async fn events(door: &Door, id: &str, token: &str) -> (Vec<i64>, Vec<String>, String) {
    let reply = door.get(&format!("/fhir/Subscription/{id}/$events?content=full-resource"), token, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let status = reply.json()["entry"][0]["resource"].clone();
    (numbers(&status), focuses(&status), reply.text)
}

fn said(heard: &[Heard]) -> String {
    heard.iter().map(|h| h.text.as_str()).collect()
}

#[actix_web::test]
async fn a_narrow_subscriber_is_told_what_its_token_covered_and_nothing_once_its_client_has_lost_that() {
    let (ear, key) = (Ear::open(200), Key::es384("k"));
    let mut door = Door::open(&[("keys.json", &key)], &settings(&ear, WIDE)).await;
    let narrow = door.token("journal", &key, "system/Subscription.cruds system/Task.rs?status=accepted").await;
    let id = subscribe(&door, &ear, &narrow, "/narrow").await;
    let wide = door.token("second", &key, "").await;
    subscribe(&door, &ear, &wide, "/wide").await;
    let (_, untouched) = refer(&door, &key, 1).await;
    let (exchange, accepted) = refer(&door, &key, 2).await;
    accept(&door, &key, &exchange).await;
    let told = ear.until_number("/hook/narrow", 1).await;
    ear.until_number("/hook/wide", 3).await;
    assert!(said(&told).contains(&accepted) && !said(&ear.taken("/hook/narrow")).contains(&untouched), "{told:#?}");
    // Whatever token of its client asks: not more than it subscribed with, and not more than it shows.
    for scope in ["system/Subscription.r system/Task.rs?status=accepted", "system/*.cruds", ""] {
        let token = door.token("journal", &key, scope).await;
        let (numbers, focuses, text) = events(&door, &id, &token).await;
        assert_eq!(numbers, [1], "{scope:?}");
        assert!(focuses[0].ends_with(&accepted) && !text.contains(&untouched), "{scope:?}: {text}");
    }
    let token = door.token("journal", &key, "system/Subscription.r system/Task.rs?status=completed").await;
    let (numbers, _, text) = events(&door, &id, &token).await;
    assert!(numbers.is_empty() && !text.contains(&accepted), "{text}");
    assert_eq!(door.get(&format!("/fhir/Subscription/{id}/$events"), &wide, &[]).await.status, 404, "another's");

    // Its client loses Task: nothing more is told, and what was told is not shown again.
    let less = "\"system/Subscription.cruds\", \"system/ServiceRequest.rs\"";
    door.restart(&settings(&ear, less)).await;
    let (exchange, third) = refer(&door, &key, 3).await;
    accept(&door, &key, &exchange).await;
    ear.until("told the one who may know", |heard| {
        heard.iter().any(|h| h.path == "/hook/wide" && h.text.contains(&third) && h.text.contains("accepted"))
    })
    .await;
    assert!(!said(&ear.taken("/hook/narrow")).contains(&third));
    let token = door.token("journal", &key, "").await;
    let reply = door.get(&format!("/fhir/Subscription/{id}/$events?content=full-resource"), &token, &[]).await;
    assert!(!reply.text.contains(&third) && !reply.text.contains(&accepted), "{}: {}", reply.status, reply.text);
    // It gets its scopes back: what happened meanwhile is told, and still no more than it subscribed with.
    door.restart(&settings(&ear, WIDE)).await;
    let token = door.token("journal", &key, "").await;
    let (_, _, text) = events(&door, &id, &token).await;
    assert!(text.contains(&accepted) && !text.contains(&untouched), "{text}");
    door.close().await;
}
