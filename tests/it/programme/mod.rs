//! The programme "Inför din cancerbehandling" by the running gateway: started, worked with, closed, and gone.

mod applied;
mod purged;
mod seen;
mod sent;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World};

pub const NURSE: &str = "SE2321000131-P000000000011";
pub const PHYSIO: &str = "SE2321000131-P000000000021";
pub const PROGRAMME: &str = "infor-din-cancerbehandling";
/// Under 65.
pub const YOUNG: &str = "200001252386";

pub fn answers() -> Value {
    json!({
        "aboutToStartTreatment": true, "treatmentAffectsWellbeing": true, "goodSwedish": true, "eIdentification": true,
        "deviceWithInternet": true, "cognitiveImpairmentAffectsLearning": false,
    })
}

pub fn start_of(patient: &str) -> Value {
    json!({
        "definition": PROGRAMME, "patient": patient, "unit": ONCOLOGY, "by": NURSE, "role": "contact-nurse", "answers": answers(),
    })
}

/// Starts one; its place.
pub async fn start(world: &World, patient: &str) -> String {
    let reply = world.post("/v1/programmes", ONCOLOGY, &start_of(patient)).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.location.unwrap()
}

pub async fn step(world: &World, place: &str, unit: &str, step: &str, role: &str, more: Value) -> Reply {
    let mut body = json!({ "step": step, "by": if role == "contact-nurse" { NURSE } else { PHYSIO }, "role": role });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post(&format!("{place}/events"), unit, &body).await
}

pub async fn done(world: &World, place: &str, unit: &str, name: &str, role: &str, more: Value) -> Value {
    let reply = step(world, place, unit, name, role, more).await;
    assert_eq!(reply.status, 200, "{name}: {}", reply.text);
    reply.json()
}

/// Waits until a search finds so many.
pub async fn until(world: &World, search: &str, many: usize) -> Vec<Value> {
    for _ in 0..400 {
        let found = world.get(search, "").await.json();
        let entries = found["entry"].as_array().cloned().unwrap_or_default();
        if entries.len() == many {
            return entries.into_iter().map(|e| e["resource"].clone()).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{search} never gave {many}: {}", world.get(search, "").await.text);
}

#[actix_web::test]
async fn from_the_start_to_the_proof_that_it_is_gone() {
    let world = World::open().await;
    let place = start(&world, YOUNG).await;
    let id = place.rsplit('/').next().unwrap().to_owned();
    let messages = until(&world, "/fhir/CommunicationRequest", 1).await;
    assert!(
        messages[0]["payload"][0]["contentString"].as_str().unwrap().starts_with("Du har fått ett nytt meddelande")
    );
    let plan = world.get(&format!("/fhir/CarePlan/{id}"), ONCOLOGY).await.json();
    assert_eq!(plan["activity"].as_array().unwrap().len(), 8);
    assert_eq!(world.get(&place, SOUTH).await.status, 404, "none of its business");

    done(&world, &place, ONCOLOGY, "hand-over", "contact-nurse", json!({ "team": REHAB_TEAM })).await;
    let shown = world.get(&place, REHAB_TEAM).await.json();
    assert_eq!((&shown["stage"], &shown["responsible"]), (&json!("handed-over"), &json!(ONCOLOGY)));
    let refused = step(&world, &place, ONCOLOGY, "accept", "authorisation-administrator", json!({})).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let refused = step(&world, &place, REHAB_TEAM, "accept", "therapist", json!({})).await;
    assert!(refused.status == 403 && refused.findings().contains("ROL-6"), "{}", refused.text);
    let shown = done(&world, &place, REHAB_TEAM, "accept", "authorisation-administrator", json!({})).await;
    assert_eq!(shown["responsible"], REHAB_TEAM);
    let shown =
        done(&world, &place, REHAB_TEAM, "appoint", "authorisation-administrator", json!({ "therapist": PHYSIO }))
            .await;
    assert_eq!(shown["therapist"], PHYSIO);
    done(&world, &place, REHAB_TEAM, "begin", "therapist", json!({})).await;
    done(&world, &place, REHAB_TEAM, "module", "therapist", json!({ "module": "eating", "status": "started" })).await;
    let text = "Jag har svårt att få i mig maten på kvällarna och undrar hur jag ska göra";
    let message = json!({ "id": "m-1", "from": "patient", "text": text });
    done(&world, &place, REHAB_TEAM, "message", "therapist", message.clone()).await;
    done(&world, &place, REHAB_TEAM, "message", "therapist", message).await;
    assert_eq!(until(&world, "/fhir/Communication", 1).await[0]["payload"][0]["contentString"], text);
    done(&world, &place, REHAB_TEAM, "evaluate", "therapist", json!({})).await;
    let refused = step(&world, &place, REHAB_TEAM, "close", "therapist", json!({ "withPatient": false })).await;
    assert!(refused.status == 422 && refused.findings().contains("LIF-8"), "{}", refused.text);
    let shown = done(&world, &place, REHAB_TEAM, "close", "therapist", json!({ "withPatient": true })).await;
    assert_eq!((&shown["stage"], &shown["patient"]), (&json!("purged"), &Value::Null));
    for gone in [format!("/fhir/CarePlan/{id}"), format!("/fhir/CarePlan/{id}/_history/1")] {
        assert_eq!(world.get(&gone, "").await.status, 404, "{gone}");
    }
    until(&world, "/fhir/CommunicationRequest", 0).await;
    until(&world, "/fhir/Communication", 0).await;
    let proofs = world.get(&format!("/v1/removals?exchange={id}"), "").await.json();
    let proof = &proofs["removals"][0];
    assert_eq!((&proof["what"], &proof["rule"]), (&json!("programme"), &json!("PUR-1")), "{proofs}");
    // The journal must still say that it started and that it ended.
    let tasks = until(&world, "/fhir/Task?status=requested", 2).await;
    assert!(
        tasks.iter().all(|t| t["code"]["coding"][0]["code"].as_str().unwrap().starts_with("document-")),
        "{tasks:?}"
    );
    assert_eq!(world.get(&place, REHAB_TEAM).await.status, 200, "who had a part in it learns that it is gone");
    assert_eq!(world.get(&place, NORTH).await.status, 404);
    world.close().await;
}
