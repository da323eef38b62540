//! Who sees a programme: the units that have a part in it, on every path, and nobody else; a block closes it.

use serde_json::json;

use super::{YOUNG, done, start, step};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World};

/// Every path on which something of a programme could be shown, as the unit is answered.
async fn shown_to(world: &World, place: &str, unit: &str) -> Vec<(String, bool)> {
    let id = place.rsplit('/').next().unwrap();
    let mut all = Vec::new();
    let paths = [
        place.to_owned(),
        "/v1/programmes".to_owned(),
        format!("/fhir/CarePlan/{id}"),
        format!("/fhir/CarePlan/{id}/_history"),
        format!("/fhir/CarePlan/{id}/_history/1"),
        format!("/fhir/CarePlan?identifier=https://vardkedja.example/fhir/sid/programme|{id}"),
        "/fhir/CareTeam?_count=50".to_owned(),
        "/fhir/CommunicationRequest?_count=50".to_owned(),
        "/fhir/Communication?_count=50".to_owned(),
        "/fhir/Task?_count=50".to_owned(),
        "/fhir/CommunicationRequest?_include=CommunicationRequest:based-on&_count=50".to_owned(),
        "/fhir/_history?_count=100".to_owned(),
    ];
    for path in paths {
        let reply = world.get(&path, unit).await;
        assert!(reply.status == 200 || reply.status == 404, "{path}: {}", reply.text);
        all.push((path, tells(&reply, id)));
    }
    all
}

/// Whether the answer has something of the programme: its id is in everything that is of it.
fn tells(reply: &Reply, id: &str) -> bool {
    let body = reply.json();
    let inside = ["entry", "programmes"].iter().any(|list| body[*list].to_string().contains(id));
    reply.status == 200 && (inside || body["id"] == id)
}

#[actix_web::test]
async fn only_the_units_of_a_programme_see_it_and_a_block_closes_it_to_the_other_one() {
    let world = World::open().await;
    let place = start(&world, YOUNG).await;
    super::until(&world, "/fhir/CommunicationRequest", 1).await;
    let said = json!({ "id": "m-1", "from": "staff", "text": "Välkommen till programmet" });
    done(&world, &place, ONCOLOGY, "message", "contact-nurse", said).await;
    let none = |all: Vec<(String, bool)>| {
        all.into_iter().filter(|(_, tells)| *tells).map(|(path, _)| path).collect::<Vec<_>>()
    };
    let silent = |all: Vec<(String, bool)>| {
        all.into_iter().filter(|(_, tells)| !*tells).map(|(path, _)| path).collect::<Vec<_>>()
    };
    assert!(silent(shown_to(&world, &place, ONCOLOGY).await).is_empty());
    for unit in [REHAB_TEAM, NORTH, SOUTH] {
        assert_eq!(none(shown_to(&world, &place, unit).await), Vec::<String>::new(), "{unit}");
        assert_eq!(step(&world, &place, unit, "begin", "therapist", json!({})).await.status, 404, "{unit}");
    }
    done(&world, &place, ONCOLOGY, "hand-over", "contact-nurse", json!({ "team": SOUTH })).await;
    assert!(
        silent(shown_to(&world, &place, SOUTH).await).is_empty(),
        "{:?}",
        silent(shown_to(&world, &place, SOUTH).await)
    );
    assert_eq!(none(shown_to(&world, &place, NORTH).await), Vec::<String>::new());

    let block = json!({ "patient": YOUNG, "kind": "inner", "unit": ONCOLOGY, "by": "SE2321000131-P000000000011" });
    let made = world.post("/v1/blocks", ONCOLOGY, &block).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(none(shown_to(&world, &place, SOUTH).await), Vec::<String>::new(), "a block stands");
    assert_eq!(step(&world, &place, SOUTH, "accept", "authorisation-administrator", json!({})).await.status, 404);
    assert!(silent(shown_to(&world, &place, ONCOLOGY).await).is_empty());
    let lift = format!("/v1/blocks/{}/lift", made.json()["id"].as_str().unwrap());
    let lifted = world.post(&lift, ONCOLOGY, &json!({ "by": "SE2321000131-P000000000011" })).await;
    assert_eq!(lifted.status, 200, "{}", lifted.text);
    assert!(silent(shown_to(&world, &place, SOUTH).await).is_empty(), "lifted");
    done(&world, &place, SOUTH, "decline", "authorisation-administrator", json!({})).await;
    assert_eq!(none(shown_to(&world, &place, SOUTH).await), Vec::<String>::new(), "declined");
    world.close().await;
}

#[actix_web::test]
async fn a_patient_that_it_is_not_for_is_refused_with_the_words_of_the_guide() {
    let world = World::open().await;
    let mut wish = super::start_of("195009072553");
    let refused = world.post("/v1/programmes", ONCOLOGY, &wish).await;
    assert!(refused.status == 422 && refused.findings().contains("ELG-7"), "{}", refused.text);
    wish["answers"]["cfs"] = json!(6);
    let refused = world.post("/v1/programmes", ONCOLOGY, &wish).await;
    assert!(
        refused.status == 422 && refused.findings().contains("Ej patienter med skörhetsgrad 6–9"),
        "{}",
        refused.text
    );
    wish["answers"]["cfs"] = json!(5);
    wish["role"] = json!("therapist");
    let refused = world.post("/v1/programmes", ONCOLOGY, &wish).await;
    assert!(refused.status == 403 && refused.findings().contains("ROL-4"), "{}", refused.text);
    wish["role"] = json!("contact-nurse");
    assert_eq!(world.post("/v1/programmes", SOUTH, &wish).await.status, 403, "for another unit");
    let first = world.post("/v1/programmes", ONCOLOGY, &wish).await;
    let again = world.post("/v1/programmes", ONCOLOGY, &wish).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    world.close().await;
}
