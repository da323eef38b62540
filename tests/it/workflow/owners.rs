//! Only the originator changes the request, and only the owner moves its Task: every wrong unit on every path.

use serde_json::{Value, json};

use super::{answer, taken, three_areas};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World};

const MUNICIPALITY: &str = "SE2120001355-E000000000501";

#[actix_web::test]
async fn no_other_unit_moves_a_task_or_changes_a_request_on_any_path() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    let part = json!({ "status": "accepted", "areas": [
        { "area": "physical-activity", "status": "accepted" }, { "area": "fatigue", "status": "accepted" },
        { "area": "nutrition", "status": "rejected", "reason": "Nej." },
    ] });
    taken(&world, &exchange, SOUTH, part).await;
    world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Flyttat." })).await;
    let found = world.get("/fhir/Task?_count=50", SOUTH).await.json();
    let tasks: Vec<Value> = found["entry"].as_array().unwrap().iter().map(|e| e["resource"].clone()).collect();
    assert_eq!(tasks.len(), 5, "the whole, three parts, and the request to stop");
    let request = world.get("/fhir/ServiceRequest", SOUTH).await.json()["entry"][0]["resource"].clone();
    let before = world.get(&exchange, "").await.json();
    let mut done = Vec::new();
    for unit in [ONCOLOGY, REHAB_TEAM, NORTH, MUNICIPALITY] {
        for task in &tasks {
            let path = format!("/fhir/Task/{}", task["id"].as_str().unwrap());
            let tag = format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap());
            let mut wanted = task.clone();
            wanted["status"] = json!("cancelled");
            let headers = [("Vardkedja-Unit", unit), ("If-Match", tag.as_str())];
            let put = world.ask("PUT", &path, &headers, Some(wanted.to_string())).await;
            let patch = json!([{ "op": "replace", "path": "/status", "value": "cancelled" }]).to_string();
            let headers =
                [("Vardkedja-Unit", unit), ("If-Match", tag.as_str()), ("Content-Type", "application/json-patch+json")];
            let patched = world.ask("PATCH", &path, &headers, Some(patch)).await;
            done.extend([(format!("{unit} PUT {path}"), put.status), (format!("{unit} PATCH {path}"), patched.status)]);
        }
        for body in [
            json!({ "status": "in-progress" }),
            json!({ "status": "in-progress", "unit": SOUTH }),
            json!({ "cancellation": "agreed" }),
            json!({ "redirectTo": NORTH }),
            json!({ "areas": [{ "area": "fatigue", "status": "completed" }] }),
        ] {
            let reply = answer(&world, &exchange, unit, body.clone()).await;
            done.push((format!("{unit} answers {body}"), reply.status));
        }
        // A Task is not made by POST, whoever asks.
        let reply = world.post("/fhir/Task", unit, &tasks[0]).await;
        done.push((format!("{unit} POST Task"), reply.status));
    }
    for unit in [SOUTH, REHAB_TEAM, NORTH, MUNICIPALITY] {
        let cancel = world.post(&format!("{exchange}/cancel"), unit, &json!({ "reason": "x" })).await;
        done.push((format!("{unit} cancels"), cancel.status));
        let mut second = super::about_three(1, SOUTH);
        second["version"] = json!(2);
        second["question"] = json!("Något annat.");
        let version = world.post("/v1/referrals", unit, &second).await;
        done.push((format!("{unit} sends a version in the sender's name"), version.status));
        second["requester"]["unit"] = json!(unit);
        let version = world.post("/v1/referrals", unit, &second).await;
        done.push((format!("{unit} sends a version in its own name"), version.status));
        let headers = [("Vardkedja-Unit", unit), ("If-Match", "W/\"1\"")];
        let path = format!("/fhir/ServiceRequest/{}", request["id"].as_str().unwrap());
        let put = world.ask("PUT", &path, &headers, Some(request.to_string())).await;
        done.push((format!("{unit} PUT ServiceRequest"), put.status));
    }
    let through: Vec<_> = done.iter().filter(|(_, status)| ![403, 404, 405, 409, 422].contains(status)).collect();
    assert!(through.is_empty(), "{through:#?}");
    let mut after = world.get(&exchange, "").await.json();
    after["updatedAt"] = before["updatedAt"].clone();
    assert_eq!(after, before, "nothing of it was applied");
    world.close().await;
}

#[actix_web::test]
async fn a_unit_of_the_same_partner_answers_only_for_the_unit_that_is_asked() {
    let world = World::open().await;
    let exchange = three_areas(&world, 1, SOUTH).await;
    // On loopback without keys nobody is who it is not: whoever runs the gateway names the unit, and only one that is asked.
    let named = answer(&world, &exchange, "", json!({ "unit": NORTH, "status": "accepted" })).await;
    assert!([400, 403].contains(&named.status), "{}", named.text);
    world.close().await;
}
