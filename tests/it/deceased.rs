//! A patient who has died: told by a person, clocks and messages stop, every unit that has to do with it is told, and it is taken
//! back when it was wrong.

use serde_json::{Value, json};

use crate::clocks::rules;
use crate::programme::{YOUNG, start, until};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, plan, referral, referral_to};

const NURSE: &str = "SE2321000131-P000000000011";
const ITEMS: &str = "/fhir/Task?code=https://vardkedja.example/fhir/CodeSystem/worklist|patient-deceased";

async fn open() -> World {
    World::open_as_in(move |folder, clinic| {
        std::fs::write(folder.join("rules.toml"), rules("[\"1d\", \"400d\"]")).unwrap();
        format!(
            "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n[clocks]\nrules = \"rules.toml\"\nevery_s = 1\n\
             [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
        )
    })
    .await
}

async fn items(world: &World, unit: &str, status: &str, many: usize) -> Vec<Value> {
    let search = format!("{ITEMS}&status={status}");
    for _ in 0..600 {
        let found = world.get(&search, unit).await.json();
        let entries = found["entry"].as_array().cloned().unwrap_or_default();
        if entries.len() == many {
            return entries.into_iter().map(|e| e["resource"].clone()).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{unit} never had {many} {status}: {}", world.get(&search, unit).await.text);
}

#[actix_web::test]
async fn every_unit_with_an_open_exchange_is_told_and_clocks_stand_still_until_it_is_taken_back() {
    let world = open().await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let patient =
        world.get("/fhir/Patient", SOUTH).await.json()["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let place = format!("/v1/patients/{patient}/deceased");
    let body = json!({ "by": NURSE, "date": "2026-03-01" });
    for unit in [NORTH, REHAB_TEAM] {
        assert_eq!(world.post(&place, unit, &body).await.status, 404, "to {unit} there is no such patient");
    }
    let operator = [("Content-Type", "application/json")];
    let refused = world.ask("POST", &place, &operator, Some(body.to_string())).await;
    assert_eq!(refused.status, 403, "whoever runs the gateway tells nothing of patients: {}", refused.text);
    let future = world.post(&place, SOUTH, &json!({ "by": NURSE, "date": "2999-01-01" })).await;
    assert!(future.status == 422 && future.findings().contains("\"date\""), "{}", future.text);

    let told = world.post(&place, SOUTH, &body).await;
    assert_eq!((told.status, &told.json()["deceased"]), (200, &json!(true)), "{}", told.text);
    for unit in [SOUTH, ONCOLOGY] {
        let [item] = &items(&world, unit, "requested", 1).await[..] else { panic!("one Task") };
        assert_eq!(item["owner"]["identifier"]["value"], unit);
        let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/fhir+json")];
        let checked = world.ask("POST", "/fhir/Task/$validate", &headers, Some(item.to_string())).await;
        assert!(!checked.text.contains("\"error\""), "{}", checked.text);
        // Also in the own words of a unit that has only sent.
        let shown = world.get(&format!("/fhir/Patient/{patient}"), unit).await.json();
        assert_eq!(shown["deceasedDateTime"], "2026-03-01", "{unit}: {shown:#}");
    }
    assert!(items(&world, NORTH, "requested", 0).await.is_empty());
    let line = async || world.get("/v1/open-loops", ONCOLOGY).await.json()["loops"][0].clone();
    assert_eq!(line().await["paused"]["by"], "deceased");
    assert_ne!(world.get(&exchange, ONCOLOGY).await.json()["stage"], "cancelled", "nothing else stops by itself");
    // Told again, nothing more happens.
    let version = world.get(&format!("/fhir/Patient/{patient}"), SOUTH).await.json()["meta"]["versionId"].clone();
    assert_eq!(world.post(&place, ONCOLOGY, &body).await.status, 200);
    assert_eq!(world.get(&format!("/fhir/Patient/{patient}"), SOUTH).await.json()["meta"]["versionId"], version);

    let withdrawn =
        world.post(&format!("{place}/withdraw"), ONCOLOGY, &json!({ "by": NURSE, "reason": "Förväxling" })).await;
    assert_eq!((withdrawn.status, &withdrawn.json()["deceased"]), (200, &json!(false)), "{}", withdrawn.text);
    for unit in [SOUTH, ONCOLOGY] {
        items(&world, unit, "completed", 1).await;
        let shown = world.get(&format!("/fhir/Patient/{patient}"), unit).await;
        assert!(!shown.text.contains("deceased"), "{}", shown.text);
    }
    assert!(line().await["paused"].is_null(), "{}", line().await);
    let log = world.get("/fhir/AuditEvent?_count=200", "").await.text;
    assert!(log.contains("\"deceased\"") && !log.contains("Förväxling"), "{log}");
    world.close().await;
}

#[actix_web::test]
async fn a_partner_is_sent_the_patient_as_dead_and_a_later_document_does_not_bring_them_back_to_life() {
    let world = open().await;
    let mut planned = plan(1);
    planned["recipients"] = json!([SOUTH]);
    planned["interventions"][0]["responsible"] = json!(SOUTH);
    let first = world.post("/v1/rehab-plans", ONCOLOGY, &planned).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let patient =
        world.get("/fhir/Patient", SOUTH).await.json()["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let told = world.post(&format!("/v1/patients/{patient}/deceased"), ONCOLOGY, &json!({ "by": NURSE })).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let exchange = world.refer(&referral(1)).await;
    world.until(&exchange, "delivered").await;
    let there = world.at_clinic("Patient").await;
    assert_eq!((there.len(), &there[0]["deceasedBoolean"]), (1, &json!(true)), "{there:#?}");
    assert_eq!(world.get(&format!("/fhir/Patient/{patient}"), SOUTH).await.json()["deceasedBoolean"], true);
    world.close().await;
}

#[actix_web::test]
async fn no_message_of_a_programme_is_for_one_who_has_died() {
    let world = open().await;
    start(&world, YOUNG).await;
    until(&world, "/fhir/CommunicationRequest?status=active", 1).await;
    let mut document = referral_to(1, SOUTH);
    document["patient"] = json!({ "personnummer": YOUNG });
    world.refer(&document).await;
    let patient =
        world.get("/fhir/Patient", SOUTH).await.json()["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let told = world.post(&format!("/v1/patients/{patient}/deceased"), SOUTH, &json!({ "by": NURSE })).await;
    assert_eq!(told.status, 200, "{}", told.text);
    until(&world, "/fhir/CommunicationRequest?status=active", 0).await;
    let stopped = until(&world, "/fhir/CommunicationRequest?status=revoked", 1).await;
    assert_eq!(stopped[0]["statusReason"]["text"], "Patienten är avliden.");
    world.close().await;
}
