//! The demo's journey as a test: once, twice, and against a FHIR server that we did not write.

use serde_json::Value;
use vardkedja::demo::{Journey, Places, Teller};

use crate::world::World;

async fn play(world: &World, twice: bool) {
    let places = Places { gateway: world.gateway.clone(), clinic: format!("{}/fhir", world.clinic) };
    let mut teller = Teller::quiet();
    Journey::new(places, twice, &mut teller).unwrap().play().await.unwrap();
}

/// What the clinic has, without what any server writes and without ids: counts and content.
async fn content(world: &World) -> Vec<String> {
    let types = [
        "Appointment",
        "CarePlan",
        "CareTeam",
        "Communication",
        "Composition",
        "Condition",
        "Consent",
        "Encounter",
        "Goal",
        "Observation",
        "Organization",
        "Patient",
        "PractitionerRole",
        "Procedure",
        "ServiceRequest",
        "Task",
    ];
    let mut all = Vec::new();
    for kind in types {
        for mut resource in world.at_clinic(kind).await {
            scrub(&mut resource);
            resource.sort_all_objects();
            all.push(resource.to_string());
        }
    }
    all.sort();
    all
}

/// Takes away ids, references, versions and times of writing: they differ between two databases.
fn scrub(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for name in ["id", "reference", "lastModified"] {
                object.shift_remove(name);
            }
            if let Some(Value::Object(meta)) = object.get_mut("meta") {
                meta.shift_remove("lastUpdated");
            }
            if object.get("system").is_some_and(|s| s == "https://vardkedja.example/fhir/sid/resource") {
                object.shift_remove("value");
            }
            object.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        _ => {}
    }
}

#[actix_web::test]
async fn every_message_sent_twice_leaves_exactly_the_same_resources() {
    let (once, twice) = (World::open().await, World::open().await);
    play(&once, false).await;
    play(&twice, true).await;
    let (a, b) = (content(&once).await, content(&twice).await);
    assert!(a.len() > 30, "only {} resources", a.len());
    assert_eq!(a, b);
    once.close().await;
    twice.close().await;
}
