//! Spärr: what a patient has blocked is nowhere for whom it is blocked, from the answer on, and comes back when it is lifted.

mod deliveries;
mod exports;
mod killed;
mod rights;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, plan, referral_to};

const PATIENT: &str = "195009072553";
const OTHER: &str = "189002029800";
const REGION: &str = "SE2321000131-E000000000001";
const MUNICIPALITY: &str = "SE2120001355-E000000000501";
const NURSE: &str = "SE2321000131-P000000000011";

fn inner(unit: &str) -> Value {
    json!({ "patient": PATIENT, "kind": "inner", "unit": unit, "by": NURSE })
}

fn outer(provider: &str) -> Value {
    json!({ "patient": PATIENT, "kind": "outer", "provider": provider, "by": NURSE })
}

/// Registers a block as one of the provider's units, and gives its address.
async fn block(world: &World, wish: &Value) -> String {
    let reply = world.post("/v1/blocks", REHAB_TEAM, wish).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.location.unwrap()
}

async fn lift(world: &World, block: &str) {
    let reply = world.post(&format!("{block}/lift"), REHAB_TEAM, &json!({ "by": NURSE })).await;
    assert_eq!((reply.status, &reply.json()["standing"]), (200, &json!(false)), "{}", reply.text);
}

/// A plan and a referral of the oncology unit's to another unit, about one patient.
async fn send_both(world: &World, number: u32, patient: &str, unit: &str) -> [String; 2] {
    let mut first = plan(number);
    first["patient"] = json!({ "personnummer": patient });
    first["recipients"] = json!([unit]);
    first["interventions"][0]["responsible"] = json!(unit);
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, &first).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let mut second = referral_to(number, unit);
    second["patient"] = json!({ "personnummer": patient });
    second["planId"] = first["id"].clone();
    [reply.location.unwrap(), world.refer(&second).await]
}

/// Whatever shows many things at once.
const LISTS: [&str; 16] = [
    "/v1/exchanges",
    "/v1/exchanges?open=true",
    "/v1/exchanges?attention=true",
    "/v1/exchanges?partner=platform",
    "/v1/exchanges?unit=SE2321000131-E000000000101",
    "/v1/deliveries",
    "/v1/answers/held",
    "/fhir/_history?_count=500",
    "/fhir/Task/_history?_count=500",
    "/fhir/ServiceRequest?_total=accurate",
    "/fhir/CarePlan?_summary=count",
    "/fhir/Task?_include=Task:focus&_include=Task:patient&_total=accurate",
    "/fhir/Patient?_total=accurate&_has:CarePlan:subject:status=active",
    "/fhir/Task?focus:ServiceRequest.status=active&_total=accurate",
    "/fhir/CarePlan?_revinclude=ServiceRequest:based-on&_revinclude=Provenance:target",
    "/fhir/Goal?_sort=-_lastUpdated&_total=accurate",
];

/// What a unit is answered on every list; when it was asked is left out.
async fn lists(world: &World, unit: &str) -> Vec<String> {
    let mut all = Vec::new();
    for path in LISTS {
        let reply = world.get(path, unit).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        all.push(format!("{path}\n{}", reply.text));
    }
    for (path, wish) in [
        ("/v1/exchanges/search", json!({ "patient": PATIENT })),
        (
            "/v1/deliveries/resend",
            json!({ "partner": "reader", "from": "2020-01-01T00:00:00Z", "states": ["delivered", "parked"] }),
        ),
    ] {
        all.push(format!("{path}\n{}", world.post(path, unit, &wish).await.text));
    }
    let form = [("Vardkedja-Unit", unit), ("Content-Type", "application/x-www-form-urlencoded")];
    let person = format!("identifier=http://electronichealth.se/identifier/personnummer|{PATIENT}&_total=accurate");
    let found = world.ask("POST", "/fhir/Patient/_search", &form, Some(person)).await;
    all.push(found.text);
    let partners = world.get("/v1/partners", unit).await;
    all.push(partners.text);
    all
}

/// Every address of something in the exchange.
async fn addresses(world: &World, exchanges: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for exchange in exchanges {
        let shown = world.get(exchange, "").await.json();
        all.extend([exchange.clone(), format!("{exchange}/document")]);
        for name in shown["resources"].as_array().unwrap().iter().filter_map(Value::as_str) {
            if !["Organization", "Practitioner", "PractitionerRole", "Location"].iter().any(|a| name.starts_with(a)) {
                all.extend([
                    format!("/fhir/{name}"),
                    format!("/fhir/{name}/_history"),
                    format!("/fhir/{name}/_history/1"),
                ]);
            }
            if name.starts_with("Patient/") || name.starts_with("CarePlan/") {
                all.push(format!("/fhir/{name}/$everything"));
            }
        }
    }
    all
}

/// The same address with an id that nothing has.
fn nowhere(address: &str) -> String {
    let id = "00000000-0000-4000-8000-000000000000";
    let parts: Vec<&str> = address.split('/').collect();
    parts.iter().map(|p| if uuid::Uuid::try_parse(p).is_ok() { id } else { p }).collect::<Vec<_>>().join("/")
}

async fn statuses(world: &World, addresses: &[String], unit: &str) -> Vec<(String, u16)> {
    let mut all = Vec::new();
    for address in addresses {
        all.push((address.clone(), world.get(address, unit).await.status));
    }
    all
}

fn same(one: &Reply, other: &Reply) -> bool {
    (one.status, &one.text) == (other.status, &other.text)
}

#[actix_web::test]
async fn what_is_blocked_is_nowhere_and_nothing_tells_that_it_exists() {
    let world = World::open().await;
    send_both(&world, 90, OTHER, SOUTH).await;
    // Read once, so that looking moves nothing any more.
    lists(&world, SOUTH).await;
    let before = lists(&world, SOUTH).await;
    let exchanges = send_both(&world, 1, PATIENT, SOUTH).await;
    let places = addresses(&world, &exchanges).await;
    lists(&world, SOUTH).await;
    let between = lists(&world, SOUTH).await;
    let seen = between.iter().zip(&before).filter(|(between, before)| between != before).count();
    assert!(seen >= 11, "only {seen} of the lists show anything of it");
    assert!(statuses(&world, &places, SOUTH).await.iter().all(|(_, status)| *status == 200));
    let etag = [("Vardkedja-Unit", SOUTH), ("If-None-Match", "W/\"1\"")];
    let plan_at = places.iter().find(|p| p.contains("/CarePlan/")).unwrap().clone();
    assert_eq!(world.ask("GET", &plan_at, &etag, None).await.status, 304);

    let standing = block(&world, &inner(ONCOLOGY)).await;
    for (before, after) in before.iter().zip(&lists(&world, SOUTH).await) {
        assert_eq!(before, after);
    }
    for place in &places {
        let (there, nowhere) = (world.get(place, SOUTH).await, world.get(&nowhere(place), SOUTH).await);
        assert!(there.status == 404 && same(&there, &nowhere), "{place}: {}", there.text);
    }
    assert_eq!(world.ask("GET", &plan_at, &etag, None).await.status, 404);
    // Nor by what is written: the Task cannot be moved, nothing be added, nothing be sent again.
    let task = world.task(&exchanges[1], SOUTH).await;
    let patch = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    let body = r#"[{"op":"replace","path":"/status","value":"accepted"}]"#;
    let moved = world.ask("PATCH", &format!("/fhir/Task/{task}"), &patch, Some(body.into())).await;
    assert_eq!(moved.status, 404, "{}", moved.text);
    let retried = world.post(&format!("{}/retry", exchanges[1]), SOUTH, &json!({})).await;
    assert_eq!(retried.status, 404);

    // The unit itself sees its own, the rest of the house does not.
    assert!(statuses(&world, &places, ONCOLOGY).await.iter().all(|(_, status)| *status == 200));
    for unit in [REHAB_TEAM, NORTH] {
        assert!(statuses(&world, &places, unit).await.iter().all(|(_, status)| *status == 404), "{unit}");
    }
    lift(&world, &standing).await;
    assert!(statuses(&world, &places, SOUTH).await.iter().all(|(_, status)| *status == 200));
    for (between, after) in between.iter().zip(&lists(&world, SOUTH).await) {
        assert_eq!(between, after);
    }
    world.close().await;
}

#[actix_web::test]
async fn an_outer_block_closes_a_provider_to_others_and_not_to_its_own() {
    let world = World::open_with("[[partner]]\nname = \"municipality\"\nchannel = \"poll\"\n").await;
    let theirs = send_both(&world, 1, PATIENT, MUNICIPALITY).await;
    let own = send_both(&world, 2, PATIENT, SOUTH).await;
    let (theirs, own) = (addresses(&world, &theirs).await, addresses(&world, &own).await);
    let standing = block(&world, &outer(REGION)).await;
    // The patient is in both: for the municipality there is nobody.
    assert!(statuses(&world, &theirs, MUNICIPALITY).await.iter().all(|(_, status)| *status == 404));
    assert!(statuses(&world, &own, SOUTH).await.iter().all(|(_, status)| *status == 200));
    lift(&world, &standing).await;
    let municipality = outer("SE2120001355-E000000000001");
    assert_eq!(world.post("/v1/blocks", MUNICIPALITY, &municipality).await.status, 201);
    assert!(statuses(&world, &theirs, MUNICIPALITY).await.iter().all(|(_, status)| *status == 200));
    world.close().await;
}

#[actix_web::test]
async fn a_block_of_a_period_closes_what_was_written_in_it() {
    let world = World::open().await;
    let [plan, referral] = send_both(&world, 1, PATIENT, SOUTH).await;
    for (period, plan_status, referral_status) in [
        // The plan was made on 10 February 2026, the referral on 2 March.
        (json!({ "from": "2026-02-10", "to": "2026-02-10" }), 404, 200),
        (json!({ "from": "2026-03-01" }), 200, 404),
        (json!({ "to": "2026-02-09" }), 200, 200),
        (json!({ "to": "2026-03" }), 404, 404),
    ] {
        let mut wish = inner(ONCOLOGY);
        wish["period"] = period.clone();
        let standing = block(&world, &wish).await;
        assert_eq!(world.get(&plan, SOUTH).await.status, plan_status, "{period}");
        assert_eq!(world.get(&referral, SOUTH).await.status, referral_status, "{period}");
        lift(&world, &standing).await;
    }
    world.close().await;
}

#[actix_web::test]
async fn what_a_unit_answered_is_closed_to_who_asked_and_the_question_is_not() {
    let world = World::open().await;
    let [_, referral] = send_both(&world, 1, PATIENT, SOUTH).await;
    let task = world.task(&referral, SOUTH).await;
    let reply = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json();
    let patient = reply["for"]["reference"].clone();
    let done = json!({
        "resourceType": "Procedure", "status": "completed", "subject": { "reference": patient },
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "performedDateTime": "2026-03-20T10:00:00+01:00", "basedOn": [{ "reference": reply["focus"]["reference"] }],
    });
    let post = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/fhir+json")];
    let made = world.ask("POST", "/fhir/Procedure", &post, Some(done.to_string())).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = format!("/fhir/Procedure/{}", made.json()["id"].as_str().unwrap());
    let version = world.get(&format!("/fhir/Task/{task}"), SOUTH).await.json()["meta"]["versionId"].clone();
    let if_match = format!("W/\"{}\"", version.as_str().unwrap());
    let patch = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/json-patch+json"), ("If-Match", &if_match)];
    let body = json!([{ "op": "replace", "path": "/status", "value": "rejected" },
        { "op": "add", "path": "/statusReason", "value": { "text": "Vi har inte plats." } }]);
    let moved = world.ask("PATCH", &format!("/fhir/Task/{task}"), &patch, Some(body.to_string())).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    let shown = world.get(&referral, ONCOLOGY).await.json();
    assert!(shown["resources"].to_string().contains("Procedure/") && shown["answers"] != json!([]));

    block(&world, &inner(SOUTH)).await;
    for hidden in [made.clone(), format!("/fhir/Task/{task}"), format!("/fhir/Task/{task}/_history/1")] {
        assert_eq!(world.get(&hidden, ONCOLOGY).await.status, 404, "{hidden}");
        assert_eq!(world.get(&hidden, SOUTH).await.status, 200, "its own: {hidden}");
    }
    let shown = world.get(&referral, ONCOLOGY).await.json();
    assert!(!shown["resources"].to_string().contains("Procedure/"), "{shown}");
    assert_eq!(shown["answers"], json!([]));
    let document = world.get(&format!("{referral}/document"), ONCOLOGY).await;
    assert_eq!(document.status, 200, "its own document is whole: {}", document.text);
    // A new version of the question does not tell of it either, and does not lose it.
    let mut again = referral_to(1, SOUTH);
    again["patient"] = json!({ "personnummer": PATIENT });
    again["version"] = json!(2);
    let receipt = world.post("/v1/referrals", ONCOLOGY, &again).await;
    assert_eq!(receipt.status, 202, "{}", receipt.text);
    assert!(!receipt.text.contains("Procedure/"), "{}", receipt.text);
    assert_eq!(world.get(&made, SOUTH).await.status, 200);
    assert!(world.get(&referral, "").await.text.contains("Procedure/"));
    world.close().await;
}

#[actix_web::test]
async fn a_patient_of_whom_nothing_has_come_can_block_what_will_come() {
    let world = World::open().await;
    let standing = block(&world, &inner(ONCOLOGY)).await;
    let before = lists(&world, SOUTH).await;
    let exchanges = send_both(&world, 1, PATIENT, SOUTH).await;
    assert_eq!(before, lists(&world, SOUTH).await);
    let receipt = world.post("/v1/referrals", ONCOLOGY, &referral_to(2, SOUTH)).await;
    assert!(receipt.findings().contains(SOUTH), "the sender is told: {}", receipt.text);
    lift(&world, &standing).await;
    let places = addresses(&world, &exchanges).await;
    assert!(statuses(&world, &places, SOUTH).await.iter().all(|(_, status)| *status == 200));
    world.close().await;
}
