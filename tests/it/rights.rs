//! The patient's say in registries over HTTP, and what of a protected person goes no further.

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World, activity, plan, referral, referral_to};

const NUMBER: &str = "195009072553";
const REGISTRIES: &str = "[[registry]]\nname = \"named\"\nhsa_id = \"SE2321000131-E000000000777\"\n\
                          identity = \"personnummer\"\nagreement = \"Avtal 1\"\n";

fn objection(unit: &str) -> Value {
    json!({ "patient": NUMBER, "unit": unit, "objectedAt": "2026-03-02T09:30:00+01:00" })
}

#[actix_web::test]
async fn an_objection_is_registered_by_the_unit_that_heard_it_and_lifted_at_the_patients_wish() {
    let world = World::open_with(REGISTRIES).await;
    let path = "/v1/registries/named/opt-outs";
    let made = world.post(path, ONCOLOGY, &objection(ONCOLOGY)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let place = made.location.clone().unwrap();
    assert_eq!(world.get(&place, ONCOLOGY).await.json()["inForce"], true);
    assert_eq!(world.get(&place, "").await.status, 200, "the operator sees it");
    assert_eq!(world.get(&place, NORTH).await.status, 404, "another unit does not");
    let again = world.post(path, ONCOLOGY, &objection(ONCOLOGY)).await;
    assert_eq!((again.status, again.location), (200, made.location.clone()), "the same word again");
    assert_eq!(world.post(path, ONCOLOGY, &objection(NORTH)).await.status, 403, "nobody speaks for another unit");
    assert_eq!(world.post("/v1/registries/none/opt-outs", ONCOLOGY, &objection(ONCOLOGY)).await.status, 404);
    let search = |unit: &'static str| {
        let world = &world;
        async move {
            let found = world.post(&format!("{path}/search"), unit, &json!({ "patient": NUMBER })).await;
            found.json()["optOuts"].as_array().unwrap().len()
        }
    };
    assert_eq!((search(ONCOLOGY).await, search(NORTH).await), (1, 0));
    let wish = json!({ "wishedAt": "2026-04-01T10:00:00+02:00" });
    assert_eq!(world.post(&format!("{place}/lift"), NORTH, &wish).await.status, 404);
    let lifted = world.post(&format!("{place}/lift"), ONCOLOGY, &wish).await;
    assert_eq!(lifted.json()["inForce"], false, "{}", lifted.text);
    assert_eq!(world.post(&format!("{place}/lift"), ONCOLOGY, &wish).await.status, 409);
    assert_eq!(world.post(path, ONCOLOGY, &objection(ONCOLOGY)).await.status, 201, "and objected to again");
    for reply in [made, lifted] {
        assert!(!reply.text.contains(NUMBER));
    }
    world.close().await;
}

#[actix_web::test]
async fn all_that_is_wrong_with_a_registration_is_said_at_once() {
    let world = World::open_with(REGISTRIES).await;
    let body =
        json!({ "patient": "195009072554", "unit": "VC Norr", "objectedAt": "2126-01-01T00:00:00Z", "why": "x" });
    let reply = world.post("/v1/registries/all/opt-outs", ONCOLOGY, &body).await;
    assert_eq!(reply.status, 422);
    let findings = reply.findings();
    for place in ["patient", "unit", "objectedAt", "why"] {
        assert!(findings.contains(&format!("\"{place}\"")), "{place}: {findings}");
    }
    assert!(!reply.text.contains("195009072554") && !reply.text.contains("VC Norr"));
    world.close().await;
}

#[actix_web::test]
async fn when_a_patient_was_informed_is_told_to_units_that_the_patient_concerns_and_to_no_other() {
    let world = World::open_with(REGISTRIES).await;
    world.refer(&referral_to(1, SOUTH)).await;
    let told = json!({ "patient": NUMBER, "unit": ONCOLOGY, "informedAt": "2026-03-02T09:30:00+01:00" });
    assert_eq!(world.post("/v1/registries/all/information", ONCOLOGY, &told).await.status, 200);
    let ask = json!({ "patient": NUMBER });
    let found = world.post("/v1/disclosures/search", ONCOLOGY, &ask).await.json();
    assert_eq!(found["information"][0]["registry"], "all", "{found}");
    assert_eq!(found["disclosures"], json!([]));
    assert_eq!(world.post("/v1/disclosures/search", REHAB_TEAM, &ask).await.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn a_hold_is_of_whom_it_concerns_and_lifted_by_who_placed_it() {
    let world = World::open_with(REGISTRIES).await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let id = exchange.rsplit('/').next().unwrap();
    let hold = json!({ "exchange": id, "reason": "Tillsyn" });
    assert_eq!(world.post("/v1/holds", REHAB_TEAM, &hold).await.status, 404);
    let made = world.post("/v1/holds", ONCOLOGY, &hold).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let lift = format!("/v1/holds/{}/lift", made.json()["id"].as_str().unwrap());
    assert_eq!(world.get("/v1/holds", SOUTH).await.json()["holds"], json!([]));
    assert_eq!(world.post(&lift, SOUTH, &json!({})).await.status, 404);
    let patient = world.post("/v1/holds", SOUTH, &json!({ "patient": NUMBER, "reason": "Tvist" })).await;
    assert_eq!(patient.status, 201, "{}", patient.text);
    assert_eq!(world.get("/v1/holds", "").await.json()["holds"].as_array().unwrap().len(), 2);
    assert_eq!(world.post(&lift, ONCOLOGY, &json!({})).await.status, 200);
    assert_eq!(world.post(&lift, ONCOLOGY, &json!({})).await.status, 409);
    assert_eq!(world.get("/v1/removals", ONCOLOGY).await.status, 403);
    assert_eq!(world.get("/v1/removals", "").await.json()["removals"], json!([]));
    world.close().await;
}

#[actix_web::test]
async fn what_only_a_registry_may_ask_no_unit_may() {
    let world = World::open_with(REGISTRIES).await;
    for path in ["/v1/registries/named/erasures", "/v1/registries/named/codes"] {
        assert_eq!(world.get(path, ONCOLOGY).await.status, 403, "{path}");
        assert_eq!(world.get(path, "").await.status, 200, "{path}");
    }
    let done = json!({ "through": 1 });
    assert_eq!(world.post("/v1/registries/named/erasures/confirm", ONCOLOGY, &done).await.status, 403);
    assert_eq!(world.get("/v1/registries/named/codes?from=k1", "").await.status, 422);
    let listed = world.get("/v1/registries", ONCOLOGY).await.json();
    assert_eq!(listed["registries"][0]["identity"], "personnummer");
    world.close().await;
}

const TELEPHONE: &str = "0704711471";

fn protected(mut document: Value, label: &str) -> Value {
    document["patient"]["phone"] = json!(TELEPHONE);
    document["patient"]["protection"] = json!(label);
    document
}

/// Every kind of document that goes to the clinic.
fn documents(label: &str) -> Vec<(&'static str, Value)> {
    let text = include_str!("../../mappings/examples/handover.active-small.source.json");
    let handover: Value = serde_json::from_str(text).unwrap();
    let sip: Value =
        serde_json::from_str(include_str!("../../mappings/examples/handover.sip-small.source.json")).unwrap();
    vec![
        ("/v1/rehab-plans", protected(plan(1), label)),
        ("/v1/referrals", protected(referral(1), label)),
        ("/v1/handovers", protected(handover, label)),
        ("/v1/handovers", protected(sip, label)),
    ]
}

#[actix_web::test]
async fn where_a_protected_person_is_reaches_no_partner_by_any_document_and_the_label_does() {
    for label in ["sekretessmarkering", "skyddadFolkbokforing"] {
        for (path, document) in documents(label) {
            let world = World::open().await;
            let sent = world.post(path, ONCOLOGY, &document).await;
            assert_eq!(sent.status, 202, "{path}: {}", sent.text);
            assert!(sent.text.contains("skyddade personuppgifter"), "the receipt says so: {}", sent.text);
            world.until(&sent.location.unwrap(), "delivered").await;
            let there = world.at_clinic("Patient").await;
            assert_eq!(there.len(), 1);
            assert_eq!(there[0]["meta"]["security"][0]["code"], label, "{path}");
            for kind in ["Patient", "RelatedPerson", "CarePlan", "ServiceRequest", "Task"] {
                assert!(!json!(world.at_clinic(kind).await).to_string().contains(TELEPHONE), "{path}: {kind}");
            }
            world.close().await;
        }
    }
}

#[actix_web::test]
async fn units_read_of_a_protected_person_everything_but_where_they_are() {
    let world = World::open().await;
    let document = protected(referral_to(1, SOUTH), "sekretessmarkering");
    let exchange = world.refer(&document).await;
    let found = world.get("/fhir/Patient", SOUTH).await.json();
    let patient = found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    for unit in [SOUTH, ONCOLOGY] {
        for path in [
            format!("/fhir/Patient/{patient}"),
            format!("/fhir/Patient/{patient}/_history/1"),
            format!("/fhir/Patient/{patient}/_history"),
            "/fhir/Patient/_history".to_owned(),
            "/fhir/_history".to_owned(),
            format!("/fhir/Patient/{patient}/$everything"),
            format!("/fhir/Patient?_id={patient}"),
            "/fhir/Task?_include=Task:patient".to_owned(),
        ] {
            let reply = world.get(&path, unit).await;
            assert_eq!(reply.status, 200, "{path}");
            assert!(!reply.text.contains(TELEPHONE), "{path} tells {unit}");
            assert!(reply.text.contains("sekretessmarkering"), "{path}");
        }
        let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/x-www-form-urlencoded")];
        for name in ["phone", "telecom"] {
            let form = Some(format!("{name}={TELEPHONE}"));
            let by = world.ask("POST", "/fhir/Patient/_search", &headers, form).await.json();
            assert!(by["entry"].is_null(), "found by {name}: {by}");
        }
    }
    let document = |unit: &'static str| {
        let (world, exchange) = (&world, &exchange);
        async move { world.get(&format!("{exchange}/document"), unit).await.text }
    };
    assert!(document(ONCOLOGY).await.contains(TELEPHONE), "the sender reads its own words");
    assert!(!document(SOUTH).await.contains(TELEPHONE));
    world.close().await;
}

#[actix_web::test]
async fn a_later_document_without_the_label_does_not_open_what_was_protected() {
    let world = World::open().await;
    let mut first = protected(plan(1), "sekretessmarkering");
    first["patient"].as_object_mut().unwrap().remove("phone");
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &first).await.status, 202);
    let mut second = referral(2);
    second["patient"]["phone"] = json!(TELEPHONE);
    let exchange = world.refer(&second).await;
    world.until(&exchange, "delivered").await;
    assert!(!json!(world.at_clinic("Patient").await).to_string().contains(TELEPHONE));
    assert!(!world.get("/fhir/Patient", ONCOLOGY).await.text.contains(TELEPHONE));
    let mut other = activity(1);
    other["patient"] = json!({ "personnummer": "196101182803", "phone": TELEPHONE });
    assert_eq!(world.post("/v1/activities", NORTH, &other).await.status, 202);
    assert!(world.get("/fhir/Patient", NORTH).await.text.contains(TELEPHONE), "others are not protected by it");
    world.close().await;
}
