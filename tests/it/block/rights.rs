//! Who may register, read and lift a block, and what a wrong one is answered.

use serde_json::json;

use super::{MUNICIPALITY, NURSE, PATIENT, REGION, block, inner, outer};
use crate::world::{NORTH, ONCOLOGY, SOUTH, World};

#[actix_web::test]
async fn a_block_is_the_business_of_the_provider_whose_data_it_is() {
    let world = World::open_with("[[partner]]\nname = \"municipality\"\nchannel = \"poll\"\n").await;
    let foreign = world.post("/v1/blocks", MUNICIPALITY, &inner(ONCOLOGY)).await;
    assert_eq!(foreign.status, 403, "{}", foreign.text);
    let place = block(&world, &inner(ONCOLOGY)).await;
    let id = place.rsplit('/').next().unwrap();
    let search = json!({ "patient": PATIENT });
    for (unit, status, many) in [(ONCOLOGY, 200, 1), (SOUTH, 200, 1), ("", 200, 1), (MUNICIPALITY, 404, 0)] {
        assert_eq!(world.get(&place, unit).await.status, status, "{unit}");
        if !unit.is_empty() {
            let found = world.post("/v1/blocks/search", unit, &search).await.json();
            assert_eq!(found["blocks"].as_array().unwrap().len(), many, "{unit}");
            // Unasked it is in sight only of the unit whose data it closes.
            let consent = world.get(&format!("/fhir/Consent/{id}"), unit).await.status;
            assert_eq!(consent == 200, unit == ONCOLOGY, "{unit}");
        }
    }
    let lifted = world.post(&format!("{place}/lift"), MUNICIPALITY, &json!({ "by": NURSE })).await;
    assert_eq!(lifted.status, 404);
    let shown = world.get(&place, ONCOLOGY).await.json();
    assert_eq!((&shown["standing"], &shown["registeredBy"]), (&json!(true), &json!(NURSE)));
    world.close().await;
}

#[actix_web::test]
async fn a_block_is_a_consent_that_denies_until_it_is_lifted_once() {
    let world = World::open().await;
    let mut wish = inner(ONCOLOGY);
    wish["period"] = json!({ "from": "2025-01-01", "to": "2025-12-31" });
    let place = block(&world, &wish).await;
    let again = world.post("/v1/blocks", NORTH, &wish).await;
    assert_eq!((again.status, again.location.as_deref()), (200, Some(place.as_str())), "the same stands already");
    let id = place.rsplit('/').next().unwrap();
    let consent = world.get(&format!("/fhir/Consent/{id}"), ONCOLOGY).await.json();
    assert_eq!((&consent["status"], &consent["provision"]["type"]), (&json!("active"), &json!("deny")));
    assert_eq!(consent["provision"]["dataPeriod"]["start"], "2024-12-31T23:00:00.000Z", "a Swedish day");
    assert_eq!(consent["provision"]["actor"][0]["reference"]["identifier"]["value"], ONCOLOGY);
    let lift = async |by: &str| world.post(&format!("{place}/lift"), NORTH, &json!({ "by": by })).await;
    let first = lift(NURSE).await.json();
    let second = lift("SE2321000131-P000000000099").await;
    assert_eq!((second.status, second.json()), (200, first.clone()), "lifted once");
    assert_eq!((&first["standing"], &first["liftedBy"]), (&json!(false), &json!(NURSE)));
    let consent = world.get(&format!("/fhir/Consent/{id}"), ONCOLOGY).await.json();
    assert_eq!(consent["status"], "inactive");
    assert!(consent["provision"]["period"]["end"].is_string());
    let found = |standing: bool| json!({ "patient": PATIENT, "standing": standing });
    for (standing, many) in [(true, 0), (false, 1)] {
        let found = world.post("/v1/blocks/search", NORTH, &found(standing)).await.json();
        assert_eq!(found["blocks"].as_array().unwrap().len(), many);
    }
    world.close().await;
}

#[actix_web::test]
async fn so_many_blocks_of_a_patient_stand_and_no_more() {
    let world = World::open_with("[limits]\nblocks = 2\n").await;
    let first = block(&world, &inner(ONCOLOGY)).await;
    block(&world, &inner(NORTH)).await;
    let third = world.post("/v1/blocks", ONCOLOGY, &inner(SOUTH)).await;
    assert_eq!(third.status, 409, "{}", third.text);
    let mut other = inner(SOUTH);
    other["patient"] = json!(super::OTHER);
    block(&world, &other).await;
    super::lift(&world, &first).await;
    block(&world, &inner(SOUTH)).await;
    world.close().await;
}

#[actix_web::test]
async fn everything_that_is_wrong_with_a_block_is_told_at_once_and_in_both_languages() {
    let world = World::open().await;
    let wish = json!({ "patient": "195009072554", "kind": "outer", "unit": ONCOLOGY, "provider": "SE2321000131-E9",
        "period": { "from": "2026-02-01", "to": "2026-01-01" }, "by": "Anna", "break-glass": true });
    let reply = world.post("/v1/blocks", ONCOLOGY, &wish).await;
    assert_eq!(reply.status, 400);
    let found = reply.findings();
    for place in ["patient", "unit", "provider", "period", "by", "break-glass"] {
        assert!(found.contains(&format!("\"{place}\"")), "{place}: {found}");
    }
    assert!(!reply.text.contains("195009072554") && !reply.text.contains("Anna"), "{}", reply.text);
    assert!(reply.text.contains("slutar före sin början") && reply.text.contains("ends before it begins"));
    for wish in [
        json!({ "patient": PATIENT, "kind": "inner", "unit": REGION, "by": NURSE }),
        json!({ "patient": PATIENT, "kind": "inner", "unit": ONCOLOGY, "provider": MUNICIPALITY, "by": NURSE }),
        json!({ "patient": PATIENT, "kind": "consent", "by": NURSE }),
        json!([]),
    ] {
        assert_eq!(world.post("/v1/blocks", ONCOLOGY, &wish).await.status, 400, "{wish}");
    }
    assert_eq!(world.post("/v1/blocks", ONCOLOGY, &outer("SE2120001355-E000000000001")).await.status, 403);
    assert_eq!(world.get("/v1/blocks/no-id", ONCOLOGY).await.status, 404);
    world.close().await;
}
