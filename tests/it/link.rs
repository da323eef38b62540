//! One person, several numbers: what belongs together is found together from the answer on, nobody is shown what it could not see,
//! and a link that was wrong is undone without a trace.

mod follows;
mod races;
mod registries;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, referral_to};

/// A samordningsnummer, the personnummer that the person got, another's, and a reserve number.
pub const OLD: &str = "196109732393";
pub const NEW: &str = "195009072553";
pub const OTHER: &str = "189002029800";
pub const RESERVE: &str = "20210325K069";
pub const NURSE: &str = "SE2321000131-P000000000011";

/// A referral between two units about somebody who is described.
pub fn about(number: u32, from: &str, to: &str, patient: &str) -> Value {
    let mut referral = referral_to(number, to);
    referral["id"] = json!(format!("{from}#R-{number}"));
    referral["requester"]["unit"] = json!(from);
    referral["patient"] = json!({
        "personnummer": patient, "name": format!("Test {number} Testsson"), "phone": format!("070-000 00 0{number}"),
    });
    referral
}

pub async fn send(world: &World, from: &str, document: &Value) -> String {
    let reply = world.post("/v1/referrals", from, document).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.location.unwrap()
}

pub fn wish(old: &str, new: &str) -> Value {
    json!({ "old": old, "new": new, "by": NURSE, "reason": "Personnummer tilldelat" })
}

/// Links the two numbers; the link.
pub async fn link(world: &World, unit: &str, old: &str, new: &str) -> Value {
    let reply = world.post("/v1/patients/links", unit, &wish(old, new)).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()
}

pub async fn undo(world: &World, unit: &str, link: &Value) -> Reply {
    let place = format!("/v1/patients/links/{}/undo", link["id"].as_str().unwrap());
    world.post(&place, unit, &json!({ "by": NURSE, "reason": "Fel person" })).await
}

pub fn id_of(link: &Value, which: &str) -> String {
    link[which].as_str().unwrap().trim_start_matches("Patient/").to_owned()
}

/// The id of the Patient with that number, as a search by POST finds it.
pub async fn by_number(world: &World, unit: &str, number: &str) -> Vec<String> {
    let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/x-www-form-urlencoded")];
    let found = world.ask("POST", "/fhir/Patient/_search", &headers, Some(format!("identifier={number}"))).await;
    ids(&found)
}

pub fn ids(found: &Reply) -> Vec<String> {
    assert_eq!(found.status, 200, "{}", found.text);
    let entries = found.json()["entry"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = entries.iter().map(|e| e["resource"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn exchanges(world: &World, unit: &str, number: &str) -> Vec<String> {
    let reply = world.post("/v1/exchanges/search", unit, &json!({ "patient": number })).await;
    let all = reply.json()["exchanges"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<String> = all.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

#[actix_web::test]
async fn a_number_that_is_replaced_leads_to_the_other_and_back_and_undone_to_neither() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    send(&world, ONCOLOGY, &about(2, ONCOLOGY, SOUTH, NEW)).await;
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    let (old, new) = (id_of(&linked, "old"), id_of(&linked, "new"));
    let replaced = world.get(&format!("/fhir/Patient/{old}"), SOUTH).await.json();
    assert_eq!((&replaced["active"], &replaced["link"][0]["type"]), (&json!(false), &json!("replaced-by")));
    assert_eq!(replaced["link"][0]["other"]["reference"], linked["new"]);
    let kept = world.get(&format!("/fhir/Patient/{new}"), SOUTH).await.json();
    assert_eq!(
        (&kept["link"][0]["type"], &kept["link"][0]["other"]["reference"]),
        (&json!("replaces"), &linked["old"])
    );
    assert!(kept.get("active").is_none_or(|active| *active == true), "{kept:#}");
    let headers = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/fhir+json")];
    for patient in [&replaced, &kept] {
        let checked = world.ask("POST", "/fhir/Patient/$validate", &headers, Some(patient.to_string())).await;
        assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    }

    let both = ids(&world.get("/fhir/Task", SOUTH).await);
    assert_eq!(both.len(), 2);
    for unit in [ONCOLOGY, SOUTH] {
        for patient in [&old, &new] {
            for search in [
                format!("/fhir/Task?patient={patient}"),
                format!("/fhir/Task?patient=Patient/{patient}&status=requested"),
                format!("/fhir/Task?patient:Patient._id={patient},{old},{new}"),
            ] {
                assert_eq!(ids(&world.get(&search, unit).await), both, "{search} as {unit}");
            }
            let all = world.get(&format!("/fhir/Patient/{patient}/$everything"), unit).await;
            assert!(both.iter().all(|task| all.text.contains(task)), "{}", all.text);
            assert!(all.text.contains(&format!("\"{old}\"")) && all.text.contains(&format!("\"{new}\"")));
        }
        for number in [OLD, NEW] {
            let mut patients = vec![old.clone(), new.clone()];
            patients.sort();
            assert_eq!(by_number(&world, unit, number).await, patients, "{number} as {unit}");
            assert_eq!(exchanges(&world, unit, number).await.len(), 2);
            let form = [("Vardkedja-Unit", unit), ("Content-Type", "application/x-www-form-urlencoded")];
            let chained = format!("patient.identifier={number}");
            let found = world.ask("POST", "/fhir/Task/_search", &form, Some(chained)).await;
            assert_eq!(ids(&found), both, "{number} as {unit}");
        }
        let task = &both[0];
        let included = world.get(&format!("/fhir/Task?_id={task}&_include=Task:patient"), unit).await;
        assert_eq!(ids(&included).len(), 3, "both Patients come along: {}", included.text);
        let pointing = world.get(&format!("/fhir/Patient?_id={new}&_revinclude=Task:patient"), unit).await;
        assert_eq!(ids(&pointing).len(), 3, "both Tasks come along: {}", pointing.text);
    }
    // The same link again is the same; what is sent under either number is the same person's.
    let again = world.post("/v1/patients/links", SOUTH, &wish(OLD, NEW)).await;
    assert_eq!((again.status, again.json()), (200, linked.clone()));
    send(&world, ONCOLOGY, &about(3, ONCOLOGY, SOUTH, OLD)).await;
    assert_eq!(ids(&world.get(&format!("/fhir/Task?patient={new}"), SOUTH).await).len(), 3);
    // A document may go on under the new number.
    let mut newer = about(3, ONCOLOGY, SOUTH, NEW);
    newer["version"] = json!(2);
    newer["question"] = json!("Samma person, nytt nummer.");
    let exchange = send(&world, ONCOLOGY, &newer).await;
    let shown = world.get(&format!("{exchange}/document"), SOUTH).await.json();
    assert_eq!(shown["patient"]["personnummer"], NEW);

    let undone = undo(&world, SOUTH, &linked).await;
    assert_eq!((undone.status, &undone.json()["standing"]), (200, &json!(false)), "{}", undone.text);
    assert_eq!(undo(&world, SOUTH, &linked).await.json(), undone.json(), "undone is undone");
    for (patient, number, tasks) in [(&old, OLD, 1), (&new, NEW, 2)] {
        let body = world.get(&format!("/fhir/Patient/{patient}"), SOUTH).await.json();
        assert!(body.get("link").is_none() && body.get("active").is_none(), "{body:#}");
        assert_eq!(ids(&world.get(&format!("/fhir/Task?patient={patient}"), SOUTH).await).len(), tasks, "{number}");
        assert_eq!(by_number(&world, SOUTH, number).await, std::slice::from_ref(patient));
        assert_eq!(exchanges(&world, SOUTH, number).await.len(), tasks);
    }
    let mut third = about(3, ONCOLOGY, SOUTH, OLD);
    third["version"] = json!(3);
    let refused = world.post("/v1/referrals", ONCOLOGY, &third).await;
    assert_eq!(refused.status, 409, "it is another patient's again");
    world.close().await;
}

#[actix_web::test]
async fn whoever_does_not_know_the_old_number_is_told_nothing_and_whoever_does_gets_no_words_of_others() {
    let world = World::open().await;
    // SOUTH knows the old number only, NORTH and REHAB_TEAM the new one; each pair knows nothing of the other.
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let to_north = send(&world, REHAB_TEAM, &about(2, REHAB_TEAM, NORTH, NEW)).await;
    world.until(&to_north, "delivered").await;
    let new_id = by_number(&world, NORTH, NEW).await[0].clone();
    let look = async |unit: &str| {
        let mut all = Vec::new();
        for path in [
            format!("/fhir/Patient/{new_id}"),
            format!("/fhir/Patient/{new_id}/_history"),
            format!("/fhir/Patient/{new_id}/$everything"),
            "/fhir/Patient".into(),
            "/fhir/Task?_include=Task:patient".into(),
            "/fhir/_history".into(),
            format!("/v1/patients/{new_id}/responsibility?at=2026-12-01"),
            "/v1/exchanges".into(),
        ] {
            all.push(format!("{path}\n{}", world.get(&path, unit).await.text));
        }
        for number in [OLD, NEW] {
            all.push(world.post("/v1/exchanges/search", unit, &json!({ "patient": number })).await.text);
            all.push(by_number(&world, unit, number).await.join(" "));
        }
        all
    };
    let before = (look(NORTH).await, look(REHAB_TEAM).await);
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    let old = id_of(&linked, "old");
    assert_eq!(id_of(&linked, "new"), new_id, "nothing in the answer says whether it was here");
    let after = (look(NORTH).await, look(REHAB_TEAM).await);
    for (before, after) in before.0.iter().zip(&after.0).chain(before.1.iter().zip(&after.1)) {
        assert_eq!(before, after);
    }
    for unit in [NORTH, REHAB_TEAM] {
        assert_eq!(world.get(&format!("/fhir/Patient/{old}"), unit).await.status, 404);
        let place = format!("/v1/patients/links/{}", linked["id"].as_str().unwrap());
        assert_eq!(world.get(&place, unit).await.status, 404);
        assert_eq!(undo(&world, unit, &linked).await.status, 404);
    }

    // Those who know the old number learn the new one, and nothing that others said under it.
    for unit in [ONCOLOGY, SOUTH] {
        let told = world.get(&format!("/fhir/Patient/{new_id}"), unit).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert_eq!(told.json()["identifier"][0]["value"], NEW);
        for path in [
            format!("/fhir/Patient/{new_id}"),
            format!("/fhir/Patient/{new_id}/_history"),
            format!("/fhir/Patient/{new_id}/_history/1"),
            format!("/fhir/Patient/{old}/$everything"),
            format!("/fhir/Patient?_id={new_id},{old}"),
            "/fhir/_history".into(),
            format!("/fhir/Task?patient={new_id}&_include=Task:patient"),
        ] {
            let shown = world.get(&path, unit).await.text;
            assert!(
                !shown.contains("Test 2 Testsson") && !shown.contains("070-000 00 02"),
                "{path} as {unit}: {shown}"
            );
        }
        let tasks = ids(&world.get(&format!("/fhir/Task?patient={new_id}"), unit).await);
        assert_eq!(tasks, ids(&world.get("/fhir/Task", unit).await), "its own and no other");
        assert_eq!(exchanges(&world, unit, NEW).await.len(), 1);
    }
    // Undone, the new number is nothing to them.
    assert_eq!(undo(&world, SOUTH, &linked).await.status, 200);
    for unit in [ONCOLOGY, SOUTH] {
        assert_eq!(world.get(&format!("/fhir/Patient/{new_id}"), unit).await.status, 404);
        assert_eq!(world.get(&format!("/fhir/Patient/{old}"), unit).await.status, 200);
    }
    let last = (look(NORTH).await, look(REHAB_TEAM).await);
    for (before, last) in before.0.iter().zip(&last.0).chain(before.1.iter().zip(&last.1)) {
        assert_eq!(before, last);
    }
    world.close().await;
}

#[actix_web::test]
async fn only_a_unit_that_has_the_patient_says_who_it_is_and_all_that_is_wrong_is_said_at_once() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    for (unit, old, new) in [(NORTH, OLD, NEW), (REHAB_TEAM, OLD, NEW), (ONCOLOGY, RESERVE, OTHER), ("", OLD, NEW)] {
        let headers: Vec<(&str, &str)> = [("Content-Type", "application/json"), ("Vardkedja-Unit", unit)]
            .into_iter()
            .filter(|(_, v)| !v.is_empty())
            .collect();
        let reply = world.ask("POST", "/v1/patients/links", &headers, Some(wish(old, new).to_string())).await;
        assert_eq!(reply.status, 403, "{unit}: {}", reply.text);
        assert!(!reply.text.contains(old) && !reply.text.contains(new), "{}", reply.text);
    }
    for (old, new, status, place) in [
        (OLD, OLD, 422, "new"),
        (NEW, OTHER, 422, "old"),
        (OLD, RESERVE, 422, "new"),
        (OLD, "197010632391", 422, "new"),
        ("195009072554", NEW, 400, "old"),
    ] {
        let reply = world.post("/v1/patients/links", ONCOLOGY, &wish(old, new)).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert!(reply.findings().contains(&format!("\"{place}\"")), "{}", reply.findings());
    }
    let reply = world.post("/v1/patients/links", ONCOLOGY, &json!({ "old": "x", "by": "Eva", "why": 1 })).await;
    for place in ["old", "new", "by", "reason", "why"] {
        assert!(reply.status == 400 && reply.findings().contains(&format!("\"{place}\"")), "{}", reply.findings());
    }
    // No chain, whichever end it begins at, and no circle.
    link(&world, ONCOLOGY, OLD, NEW).await;
    let chain = world.post("/v1/patients/links", ONCOLOGY, &wish(OLD, OTHER)).await;
    assert_eq!(chain.status, 409, "{}", chain.text);
    link(&world, ONCOLOGY, RESERVE, NEW).await;
    let chain = world.post("/v1/patients/links", ONCOLOGY, &wish(RESERVE, OLD)).await;
    assert!(chain.status == 409 && chain.findings().contains("\"old\""), "{}", chain.text);
    send(&world, ONCOLOGY, &about(3, ONCOLOGY, SOUTH, "98240301AA06")).await;
    let chain = world.post("/v1/patients/links", ONCOLOGY, &wish("98240301AA06", OLD)).await;
    assert!(chain.status == 409 && chain.findings().contains("\"new\""), "{}", chain.text);
    world.close().await;
}

#[actix_web::test]
async fn who_knows_only_the_new_number_may_say_it_and_undo_it_and_sees_no_words_of_others_by_it() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    send(&world, REHAB_TEAM, &about(2, REHAB_TEAM, NORTH, NEW)).await;
    let linked = link(&world, NORTH, OLD, NEW).await;
    let old = format!("/fhir/Patient/{}", id_of(&linked, "old"));
    let shown = world.get(&old, NORTH).await;
    assert_eq!((shown.status, &shown.json()["identifier"][0]["value"]), (200, &json!(OLD)), "{}", shown.text);
    for path in [old.clone(), format!("{old}/_history"), format!("{old}/$everything"), "/fhir/_history".into()] {
        let text = world.get(&path, NORTH).await.text;
        assert!(!text.contains("Test 1 Testsson") && !text.contains("070-000 00 01"), "{path}: {text}");
    }
    assert_eq!(world.get(&old, REHAB_TEAM).await.status, 404, "it has not said it");
    assert_eq!(ids(&world.get("/fhir/Task", NORTH).await).len(), 1);
    assert_eq!(undo(&world, NORTH, &linked).await.status, 200);
    assert_eq!(world.get(&old, NORTH).await.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn the_same_key_is_the_same_link_and_another_body_is_refused() {
    let world = World::open().await;
    send(&world, ONCOLOGY, &about(1, ONCOLOGY, SOUTH, OLD)).await;
    let first = world.post_with_key("/v1/patients/links", ONCOLOGY, "k-1", &wish(OLD, NEW)).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = world.post_with_key("/v1/patients/links", ONCOLOGY, "k-1", &wish(OLD, NEW)).await;
    assert_eq!((again.status, again.location.clone(), &again.text), (201, first.location.clone(), &first.text));
    let other = world.post_with_key("/v1/patients/links", ONCOLOGY, "k-1", &wish(OLD, OTHER)).await;
    assert_eq!(other.status, 422, "{}", other.text);
    let late = world.post_with_key("/v1/patients/links", ONCOLOGY, "k-2", &wish(OLD, NEW)).await;
    assert_eq!((late.status, late.json()["id"].clone()), (200, first.json()["id"].clone()));
    let place = first.location.clone().unwrap();
    assert_eq!(world.get(&place, ONCOLOGY).await.json(), first.json());
    let log = world.get("/fhir/AuditEvent?_count=200", "").await;
    assert!(log.text.contains("\"link\"") && !log.text.contains("Personnummer tilldelat"), "{}", log.text);
    world.close().await;
}
