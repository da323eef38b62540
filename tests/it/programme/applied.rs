//! `$apply` of the programme: what it would be for a patient, or why it is not for them; nothing of it is kept.

use serde_json::{Value, json};

use super::{PROGRAMME, YOUNG, answers, start};
use crate::world::{ONCOLOGY, Reply, SOUTH, World};

const INPUT: &str = "https://vardkedja.example/fhir/CodeSystem/programme-input";

/// An Observation of each answer.
fn observations(answers: &Value) -> Vec<Value> {
    let observation = |(name, value): (&String, &Value)| {
        let mut one = json!({
            "resourceType": "Observation", "status": "final", "effectiveDateTime": "2026-03-01",
            "code": { "coding": [{ "system": INPUT, "code": name }] },
        });
        one[if value.is_boolean() { "valueBoolean" } else { "valueInteger" }] = value.clone();
        json!({ "name": "data", "resource": one })
    };
    answers.as_object().unwrap().iter().map(observation).collect()
}

async fn apply(world: &World, answers: &Value, as_of: &str) -> Reply {
    let mut parameters = observations(answers);
    parameters.push(json!({ "name": "asOf", "valueDate": as_of }));
    let body = json!({ "resourceType": "Parameters", "parameter": parameters });
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/fhir+json")];
    let path = format!("/fhir/PlanDefinition/{PROGRAMME}/$apply");
    world.ask("POST", &path, &headers, Some(body.to_string())).await
}

fn notes(plan: &Value) -> String {
    plan["note"].as_array().unwrap().iter().map(|n| n["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[actix_web::test]
async fn to_whom_it_may_be_offered_it_is_a_plan_of_modules_messages_and_days_and_nothing_is_kept() {
    let world = World::open().await;
    let mut said = answers();
    said["age"] = json!(40);
    let reply = apply(&world, &said, "2026-03-01").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let plan = reply.json();
    assert_eq!(
        (&plan["resourceType"], &plan["intent"], &plan["status"]),
        (&json!("CarePlan"), &json!("proposal"), &json!("draft"))
    );
    assert!(notes(&plan).starts_with("eligible") && notes(&plan).contains("ELG-1"), "{plan:#}");
    let activities = plan["activity"].as_array().unwrap();
    let named = |text: &str| {
        let of = |a: &&Value| a["detail"]["instantiatesUri"][0].as_str().unwrap().contains(text);
        activities.iter().filter(of).collect::<Vec<_>>()
    };
    assert_eq!((named("#module-").len(), named("#message-").len(), named("#check-in").len()), (8, 5, 1));
    let day48 = &named("#message-day-48")[0]["detail"]["scheduledPeriod"]["start"];
    assert_eq!(*day48, json!("2026-04-18"), "48 days after the first of March");
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/CarePlan/$validate", &headers, Some(plan.to_string())).await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    assert!(world.get("/fhir/CarePlan", "").await.json().get("entry").is_none(), "nothing is kept");
    world.close().await;
}

#[actix_web::test]
async fn to_whom_it_may_not_it_has_no_activity_and_says_why_or_what_is_missing() {
    let world = World::open().await;
    let mut said = answers();
    (said["age"], said["cfs"]) = (json!(40), json!(7));
    let plan = apply(&world, &said, "2026-03-01").await.json();
    assert!(
        notes(&plan).starts_with("not-eligible") && notes(&plan).contains("Ej patienter med skörhetsgrad 6–9"),
        "{plan:#}"
    );
    assert!(plan.get("activity").is_none(), "{plan:#}");
    said["age"] = json!(70);
    said.as_object_mut().unwrap().shift_remove("cfs");
    let plan = apply(&world, &said, "2026-03-01").await.json();
    assert!(notes(&plan).starts_with("undetermined") && notes(&plan).contains("(cfs)"), "{plan:#}");
    assert!(notes(&plan).contains("ELG-7") && plan.get("activity").is_none());
    said["age"] = json!(65);
    assert!(notes(&apply(&world, &said, "2026-03-01").await.json()).starts_with("eligible"), "over 65 is strict");

    // Of what is here: the Patient gives the age, and only to whom the Patient is there.
    let place = start(&world, YOUNG).await;
    let patient = world.get(&place, ONCOLOGY).await.json()["patient"].as_str().unwrap().to_owned();
    let path = format!("/fhir/PlanDefinition/{PROGRAMME}/$apply?subject={patient}");
    let plan = world.get(&path, ONCOLOGY).await;
    assert_eq!(plan.status, 200, "{}", plan.text);
    assert!(notes(&plan.json()).starts_with("undetermined") && !notes(&plan.json()).contains("(cfs)"), "{}", plan.text);
    assert_eq!(plan.json()["subject"]["reference"], json!(patient));
    assert_eq!(world.get(&path, SOUTH).await.status, 404);
    assert_eq!(world.get(&format!("/fhir/PlanDefinition/{PROGRAMME}/$apply"), ONCOLOGY).await.status, 422);
    world.close().await;
}
