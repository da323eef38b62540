//! A patient's name and telephone when several units, who know nothing of each other, send documents about the same person.

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, activity, referral_to};

/// A referral with a patient that is described.
fn described(number: u32, from: &str, to: &str, name: &str, phone: &str) -> Value {
    let mut referral = referral_to(number, to);
    referral["id"] = json!(format!("{from}#R-{number}"));
    referral["requester"]["unit"] = json!(from);
    referral["patient"] = json!({ "personnummer": "195009072553", "name": name, "phone": phone });
    referral
}

async fn send(world: &World, unit: &str, document: &Value) -> String {
    let reply = world.post("/v1/referrals", unit, document).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.location.unwrap()
}

async fn patient(world: &World) -> Value {
    world.get("/fhir/Patient", "").await.json()["entry"][0]["resource"].clone()
}

fn phones(patient: &Value) -> Vec<&str> {
    patient["telecom"].as_array().unwrap().iter().map(|t| t["value"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn nobody_overwrites_what_another_unit_says_of_a_patient_and_no_telephone_number_is_lost() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &described(1, ONCOLOGY, SOUTH, "Tolvan Testsson", "070-000 00 00")).await;
    send(&world, REHAB_TEAM, &described(2, REHAB_TEAM, SOUTH, "Elvan Testsson", "070-000 00 01")).await;
    let known = patient(&world).await;
    assert!(known["name"].to_string().contains("Tolvan"), "{known:#}");
    assert_eq!(phones(&known), ["070-000 00 00", "070-000 00 01"]);

    let mut mended = described(1, ONCOLOGY, SOUTH, "Tolvan Ny Testsson", "070-000 00 02");
    mended["version"] = json!(2);
    send(&world, ONCOLOGY, &mended).await;
    let known = patient(&world).await;
    assert!(known["name"].to_string().contains("Tolvan Ny"), "its own word a unit may change: {known:#}");
    assert_eq!(phones(&known), ["070-000 00 01", "070-000 00 02"]);
    world.close().await;
}

#[actix_web::test]
async fn a_sender_reads_its_own_words_of_the_patient_and_nobody_elses() {
    let world = World::open().await;
    let first = send(&world, ONCOLOGY, &described(1, ONCOLOGY, SOUTH, "Tolvan Testsson", "070-000 00 00")).await;
    let second = send(&world, REHAB_TEAM, &described(2, REHAB_TEAM, SOUTH, "Elvan Testsson", "070-000 00 01")).await;
    let read = async |exchange: &str, unit: &str| world.get(&format!("{exchange}/document"), unit).await.json();
    let own = read(&first, ONCOLOGY).await["patient"].clone();
    assert_eq!((&own["name"], &own["phone"]), (&json!("Tolvan Testsson"), &json!("070-000 00 00")));
    let own = read(&second, REHAB_TEAM).await["patient"].clone();
    assert_eq!((&own["name"], &own["phone"]), (&json!("Elvan Testsson"), &json!("070-000 00 01")));
    let reply = world.post("/v1/activities", NORTH, &activity(1)).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let own = read(reply.location.as_deref().unwrap(), NORTH).await["patient"].clone();
    assert_eq!(own, json!({ "personnummer": "195009072553" }), "it gave a number and nothing else");
    world.close().await;
}

#[actix_web::test]
async fn who_else_has_spoken_of_a_patient_or_a_unit_is_told_to_nobody() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &described(1, ONCOLOGY, SOUTH, "Tolvan Testsson", "070-000 00 00")).await;
    assert_eq!(world.post("/v1/activities", NORTH, &activity(1)).await.status, 202);
    for kind in ["Patient", "Organization", "PractitionerRole"] {
        for path in [format!("/fhir/{kind}"), format!("/fhir/{kind}/_history")] {
            let shown = world.get(&path, NORTH).await;
            assert!(shown.json()["entry"].is_array(), "{path}: {}", shown.text);
            assert!(!shown.text.contains("\"source\""), "{path}: {}", shown.text);
        }
    }
    world.close().await;
}
