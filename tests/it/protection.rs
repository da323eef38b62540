//! Protected identity on every path: neither address nor telephone of a protected person leaves by any of them; who lifts the
//! label, and what was made before it was set.

use serde_json::{Value, json};

use crate::link::{NEW, NURSE, OLD, about, id_of, link, send, undo};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, activity, plan, referral, referral_to};

const TELEPHONE: &str = "0704711471";

fn protected(mut document: Value) -> Value {
    document["patient"]["phone"] = json!(TELEPHONE);
    document["patient"]["protection"] = json!("sekretessmarkering");
    document
}

async fn patient(world: &World, unit: &str) -> String {
    world.get("/fhir/Patient", unit).await.json()["entry"][0]["resource"]["id"].as_str().unwrap().to_owned()
}

/// All that is wrong to find.
fn tells(text: &str) -> bool {
    [TELEPHONE, "0704711472", "Hemliga gatan"].iter().any(|secret| text.contains(secret))
}

#[actix_web::test]
async fn no_path_tells_another_unit_where_a_protected_person_is() {
    let world = World::open().await;
    let mut first = protected(plan(1));
    first["recipients"] = json!([SOUTH, NORTH]);
    first["interventions"][0]["responsible"] = json!(SOUTH);
    let planned = world.post("/v1/rehab-plans", ONCOLOGY, &first).await;
    assert_eq!(planned.status, 202, "{}", planned.text);
    let mut asked = protected(referral_to(1, SOUTH));
    asked["planId"] = first["id"].clone();
    let exchange = world.refer(&asked).await;
    let text = include_str!("../../mappings/examples/handover.sip-small.source.json");
    let mut sip: Value = serde_json::from_str(text).unwrap();
    sip = protected(sip);
    let held = world.post("/v1/handovers", ONCOLOGY, &sip).await;
    assert_eq!(held.status, 202, "{}", held.text);
    let answered = json!({ "status": "accepted", "by": NURSE, "unit": SOUTH });
    assert!(world.post(&format!("{exchange}/answers"), SOUTH, &answered).await.status < 300);
    let id = patient(&world, SOUTH).await;
    let plan_id =
        world.get("/fhir/CarePlan", SOUTH).await.json()["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let mut paths: Vec<String> = [
        "/fhir/Patient",
        "/fhir/RelatedPerson",
        "/fhir/Patient/_history",
        "/fhir/_history?_count=500",
        "/fhir/Task?_include=*",
        "/fhir/Task?_include=Task:patient&_format=xml",
        "/fhir/CarePlan?_include=CarePlan:subject&_revinclude=Provenance:target",
        "/v1/exchanges",
        "/v1/open-loops",
        "/v1/deliveries",
        "/v1/answers/held",
        "/v1/programmes",
    ]
    .map(str::to_owned)
    .to_vec();
    for part in ["", "/_history", "/_history/1", "/_history/2", "/$everything"] {
        paths.push(format!("/fhir/Patient/{id}{part}"));
    }
    paths.push(format!("/v1/patients/{id}/responsibility"));
    for part in ["", "/$everything", "/$diff", "/_history"] {
        paths.push(format!("/fhir/CarePlan/{plan_id}{part}"));
    }
    for place in [&exchange, planned.location.as_ref().unwrap(), held.location.as_ref().unwrap()] {
        for part in ["", "/document", "/timeline", "/diff"] {
            paths.push(format!("{place}{part}"));
        }
    }
    let mut seen = 0;
    for path in &paths {
        for unit in [SOUTH, NORTH] {
            let reply = world.get(path, unit).await;
            assert!(!tells(&reply.text), "{path} tells {unit}: {}", reply.text);
            seen += usize::from(reply.status == 200);
        }
    }
    assert!(seen > paths.len(), "only {seen} answers of {} had anything in them", paths.len() * 2);
    for path in [format!("/v1/patients/{id}/access-log?format=csv"), format!("/fhir/Patient/{id}/$access-log")] {
        assert!(!tells(&world.get(&path, "").await.text), "{path}");
    }
    let own = world.get(&format!("{exchange}/document"), ONCOLOGY).await;
    assert!(tells(&own.text), "its sender reads its own words");
    // What partners were sent.
    world.until(planned.location.as_ref().unwrap(), "delivered").await;
    for kind in ["Patient", "RelatedPerson", "CarePlan", "Task", "CareTeam", "Consent"] {
        assert!(!tells(&json!(world.at_clinic(kind).await).to_string()), "{kind}");
    }
    world.close().await;
}

#[actix_web::test]
async fn a_referral_in_xml_keeps_the_address_of_the_protected_to_itself() {
    let world = World::open().await;
    let referral = protected(referral_to(1, SOUTH));
    world.refer(&referral).await;
    // Another document about the same person, in RIV-TA, has an address, and knows nothing of the label.
    let text = include_str!("../../mappings/examples/referral.riv-full.source.xml").replace("196101182803", NEW);
    assert!(text.contains(NEW) && text.contains("Storgatan 1"));
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/xml")];
    let sent = world.ask("POST", "/v1/referrals", &headers, Some(text)).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let place = sent.location.unwrap();
    // The format has no field for samråd: the referral waits for it.
    let had = json!({ "at": "2026-02-27T10:00:00+01:00", "medium": "phone" });
    let mut both = had.clone();
    both["profession"] = json!("physiotherapist");
    both["unit"] = json!(NORTH);
    let consulted = json!({ "patient": had, "primaryCare": both });
    let released = world.post(&format!("{place}/consultations"), ONCOLOGY, &consulted).await;
    assert_eq!(released.status, 200, "{}", released.text);
    let whole = world.get("/fhir/Patient", "").await.text;
    assert!(whole.contains("Storgatan 1"), "it is kept: {whole}");
    let document = format!("{place}/document");
    for path in [
        "/fhir/Patient",
        "/fhir/_history?_count=500",
        "/fhir/RelatedPerson",
        "/fhir/Task?_include=Task:patient",
        &document,
    ] {
        for unit in [NORTH, SOUTH, REHAB_TEAM] {
            let shown = world.get(path, unit).await.text;
            assert!(!shown.contains("Storgatan"), "{path} tells {unit}: {shown}");
        }
    }
    assert!(!json!(world.at_clinic("Patient").await).to_string().contains("Storgatan"));
    world.close().await;
}

#[actix_web::test]
async fn only_a_unit_that_set_the_label_lifts_it_and_it_falls_with_the_last_word() {
    let world = World::open().await;
    world.refer(&protected(referral_to(1, SOUTH))).await;
    let mut other = protected(about(2, REHAB_TEAM, SOUTH, NEW));
    other["patient"]["personnummer"] = json!("195009072553");
    send(&world, REHAB_TEAM, &other).await;
    let mut silent = referral_to(3, SOUTH);
    silent["patient"]["phone"] = json!("0704711472");
    world.refer(&silent).await;
    let id = patient(&world, SOUTH).await;
    let place = format!("/v1/patients/{id}/protection/lift");
    let wish = json!({ "by": NURSE, "reason": "Skyddet har upphört" });
    let is_labelled =
        async || world.get(&format!("/fhir/Patient/{id}"), SOUTH).await.text.contains("sekretessmarkering");
    assert!(is_labelled().await, "a document that is silent lifts nothing");
    assert_eq!(world.post(&place, SOUTH, &wish).await.status, 403, "a recipient never said it");
    assert_eq!(world.post(&place, NORTH, &wish).await.status, 404);
    assert_eq!(world.post(&place, ONCOLOGY, &json!({ "by": NURSE })).await.status, 400);
    let first = world.post(&place, ONCOLOGY, &wish).await;
    assert_eq!((first.status, &first.json()["protected"]), (200, &json!(true)), "{}", first.text);
    assert!(is_labelled().await, "another unit's word stands");
    let last = world.post(&place, REHAB_TEAM, &wish).await;
    assert_eq!((last.status, &last.json()["protected"]), (200, &json!(false)), "{}", last.text);
    assert!(!is_labelled().await);
    assert!(tells(&world.get(&format!("/fhir/Patient/{id}"), SOUTH).await.text), "and is where anybody may read it");
    let mut again = protected(referral_to(1, SOUTH));
    again["version"] = json!(2);
    again["question"] = json!("Åter skyddad.");
    world.refer(&again).await;
    assert!(is_labelled().await, "said again, it stands again");
    assert!(!tells(&world.get(&format!("/fhir/Patient/{id}"), SOUTH).await.text));
    world.close().await;
}

#[actix_web::test]
async fn what_was_made_before_the_label_does_not_leave_after_it() {
    let world = World::open().await;
    world.misbehave(json!({ "kind": "error", "probability": 1.0 })).await;
    let mut first = referral(1);
    first["patient"]["phone"] = json!(TELEPHONE);
    let exchange = world.refer(&first).await;
    let reply = world.post("/v1/referrals", ONCOLOGY, &protected(referral_to(2, SOUTH))).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    world.behave().await;
    world.until(&exchange, "parked").await;
    assert!(!tells(&json!(world.at_clinic("Patient").await).to_string()));
    let mut second = first.clone();
    second["version"] = json!(2);
    second["question"] = json!("Ny version.");
    world.refer(&second).await;
    world.until(&exchange, "delivered").await;
    let there = json!(world.at_clinic("Patient").await).to_string();
    assert!(there.contains("sekretessmarkering") && !tells(&there), "{there}");
    world.close().await;
}

#[actix_web::test]
async fn who_is_protected_under_one_number_is_under_the_other_until_the_link_was_wrong() {
    let world = World::open().await;
    let mut first = about(1, ONCOLOGY, SOUTH, OLD);
    first["patient"]["phone"] = json!(TELEPHONE);
    send(&world, ONCOLOGY, &first).await;
    let mut second = about(2, ONCOLOGY, SOUTH, NEW);
    second["patient"]["protection"] = json!("skyddadFolkbokforing");
    send(&world, ONCOLOGY, &second).await;
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    let old = format!("/fhir/Patient/{}", id_of(&linked, "old"));
    let shown = world.get(&old, SOUTH).await.text;
    assert!(shown.contains("skyddadFolkbokforing") && !tells(&shown), "{shown}");
    assert_eq!(undo(&world, ONCOLOGY, &linked).await.status, 200);
    let shown = world.get(&old, SOUTH).await.text;
    assert!(!shown.contains("skyddadFolkbokforing") && tells(&shown), "{shown}");
    // Set later under the one, it holds for the other at once.
    let third = world.post("/v1/patients/links", ONCOLOGY, &crate::link::wish(OLD, NEW)).await;
    assert_eq!(third.status, 201, "{}", third.text);
    let shown = world.get(&old, SOUTH).await.text;
    assert!(shown.contains("skyddadFolkbokforing") && !tells(&shown), "{shown}");
    world.close().await;
    let world = World::open().await;
    send(&world, ONCOLOGY, &first).await;
    let linked = link(&world, ONCOLOGY, OLD, NEW).await;
    send(&world, ONCOLOGY, &second).await;
    let shown = world.get(&format!("/fhir/Patient/{}", id_of(&linked, "old")), SOUTH).await.text;
    assert!(shown.contains("skyddadFolkbokforing") && !tells(&shown), "{shown}");
    assert_eq!(world.post("/v1/activities", NORTH, &activity(1)).await.status, 202);
    world.close().await;
}
