//! What a transfer must carry: refused, held or warned of by policy, with the rule in its own words.

use serde_json::{Value, json};

use crate::world::{HOME, NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, referral_to};

const RULE: &str = "ska efter samråd med både patient och primärvård";

fn without(mut referral: Value) -> Value {
    referral.as_object_mut().unwrap().shift_remove("consultation");
    referral
}

fn riv(version: u32, to: &str) -> String {
    let text = include_str!("../../mappings/examples/referral.riv-small.source.xml");
    let reason = if version > 1 { "code=\"AR\"" } else { "code=\"NR\"" };
    text.replace("<c:versionNumber>1<", &format!("<c:versionNumber>{version}<"))
        .replace("code=\"NR\"", reason)
        .replace(NORTH, to)
}

async fn send_riv(world: &World, text: String) -> Reply {
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/xml")];
    world.ask("POST", "/v1/referrals", &headers, Some(text)).await
}

pub fn consultations() -> Value {
    json!({
        "patient": { "at": "2026-03-01T09:00:00+01:00", "medium": "face-to-face", "text": "Vill träna nära hemmet." },
        "primaryCare": {
            "at": "2026-03-01T13:00:00+01:00", "medium": "phone", "profession": "physiotherapist", "unit": SOUTH,
            "hsaId": "SE2321000131-P000000000021", "name": "Bo Ek",
        },
    })
}

#[actix_web::test]
async fn a_takeover_without_samrad_is_refused_with_the_rule_and_what_to_add_and_only_from_specialist_to_primary_care() {
    let world = World::open().await;
    let refused = world.post("/v1/referrals", ONCOLOGY, &without(referral_to(1, SOUTH))).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let found = refused.findings();
    assert_eq!(found.matches(RULE).count(), 2, "both are told in the guideline's words: {found}");
    for part in
        ["consultation.patient", "consultation.primaryCare", "TRF-1", "HS9766-305841775-381 version 3.0", "rad 309–317"]
    {
        assert!(found.contains(part), "{part}: {found}");
    }
    // From primary care to specialist care, and within specialist care, nobody is asked.
    let mut back = without(referral_to(2, ONCOLOGY));
    (back["id"], back["requester"]["unit"]) = (json!(format!("{SOUTH}#R-2")), json!(SOUTH));
    let taken = world.post("/v1/referrals", SOUTH, &back).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let within = world.post("/v1/referrals", ONCOLOGY, &without(referral_to(3, REHAB_TEAM))).await;
    assert_eq!(within.status, 202, "{}", within.text);
    // An area for which the guideline names another way is taken with a warning.
    let mut fatigue = referral_to(4, SOUTH);
    fatigue["areas"] = json!(["fatigue", "nutrition"]);
    let taken = world.post("/v1/referrals", ONCOLOGY, &fatigue).await;
    let found = taken.findings();
    assert!(taken.status == 202 && found.contains("FAT-S3") && !found.contains("NUT-3"), "{found}");
    world.close().await;
}

#[actix_web::test]
async fn policy_is_the_regions_another_file_warns_or_asks_nothing_and_a_wrong_one_does_not_let_it_start() {
    let text =
        include_str!("../../src/config/transfer.toml").replace("json = \"refuse\", riv = \"hold\"", "json = \"warn\"");
    let world = World::open_as_in(|folder, clinic| {
        std::fs::write(folder.join("rules.toml"), &text).unwrap();
        format!(
            "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\n[transfer]\nrules = \"rules.toml\"\n"
        )
    })
    .await;
    let taken = world.post("/v1/referrals", ONCOLOGY, &without(referral_to(1, SOUTH))).await;
    assert!(taken.status == 202 && taken.findings().contains(RULE), "{}", taken.text);
    let riv = send_riv(&world, riv(1, SOUTH)).await;
    assert!(riv.status == 202 && !riv.findings().contains(RULE), "a format without a word is not asked: {}", riv.text);
    world.close().await;
}

#[actix_web::test]
async fn a_riv_referral_waits_unseen_until_its_sender_records_the_consultations_and_leaves_with_them() {
    let world = World::open().await;
    let sent = send_riv(&world, riv(1, SOUTH)).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    assert!(!sent.text.contains("kvalitetsregistren"), "it waits, and is not kept for others: {}", sent.text);
    assert!(sent.findings().contains(RULE) && sent.findings().contains("consultations"), "{}", sent.findings());
    let exchange = sent.location.unwrap();
    assert_eq!(send_riv(&world, riv(1, SOUTH)).await.text, sent.text, "the same receipt again");
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(
        (&shown["stage"], &shown["attention"][0]["what"]),
        (&json!("parked"), &json!("consultation-missing")),
        "{shown:#}"
    );
    let listed = world.get("/v1/exchanges?attention=true", ONCOLOGY).await.json();
    assert_eq!(listed["exchanges"].as_array().unwrap().len(), 1);
    let tasks = async |unit| {
        let found = world.get("/fhir/Task?code=consultation-missing", unit).await.json();
        found["entry"]
            .as_array()
            .map_or(Vec::new(), |l| l.iter().map(|e| e["resource"].clone()).collect::<Vec<Value>>())
    };
    let [task] = &tasks(ONCOLOGY).await[..] else { panic!("one Task") };
    assert_eq!((&task["status"], &task["owner"]["identifier"]["value"]), (&json!("requested"), &json!(ONCOLOGY)));
    assert_eq!(task["identifier"][0]["value"].as_str().unwrap().rsplit(':').next(), exchange.rsplit('/').next());
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/Task/$validate", &headers, Some(task.to_string())).await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    for other in [SOUTH, REHAB_TEAM, HOME] {
        assert_eq!(world.get(&exchange, other).await.status, 404);
        assert!(tasks(other).await.is_empty());
        assert!(world.get("/fhir/ServiceRequest", other).await.json().get("entry").is_none());
    }
    let path = format!("{exchange}/consultations");
    assert_eq!(world.post(&path, SOUTH, &consultations()).await.status, 404, "a stranger does not even see it");
    let wrong = json!({ "patient": { "at": "soon", "medium": "smoke" }, "primaryCare": { "at": "2026-03-01", "medium": "phone", "profession": "x" } });
    let refused = world.post(&path, ONCOLOGY, &wrong).await;
    assert_eq!(refused.status, 422);
    for place in ["patient.at", "patient.medium", "primaryCare.unit", "primaryCare.profession"] {
        assert!(refused.findings().contains(place), "{place}: {}", refused.findings());
    }
    let patch =
        [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    let done = json!([{ "op": "replace", "path": "/status", "value": "completed" }]).to_string();
    let moved = world.ask("PATCH", &format!("/fhir/Task/{}", task["id"].as_str().unwrap()), &patch, Some(done)).await;
    assert!(moved.status == 409 || moved.status == 403, "{}", moved.text);

    let released = world.post(&path, ONCOLOGY, &consultations()).await;
    assert_eq!((released.status, &released.json()["released"]), (200, &json!(true)), "{}", released.text);
    let again = world.post(&path, ONCOLOGY, &consultations()).await;
    assert_eq!((again.status, &again.json()["released"]), (200, &json!(false)));
    let mut other = consultations();
    other["patient"]["medium"] = json!("letter");
    assert_eq!(world.post(&path, ONCOLOGY, &other).await.status, 409);
    assert_eq!(tasks(ONCOLOGY).await[0]["status"], "completed");
    let request = world.get("/fhir/ServiceRequest", SOUTH).await.json()["entry"][0]["resource"].clone();
    let info = request["supportingInfo"].as_array().unwrap().clone();
    assert_eq!(info.len(), 2, "{request:#}");
    for name in &info {
        let told = world.get(&format!("/fhir/{}", name["reference"].as_str().unwrap()), SOUTH).await.json();
        assert_eq!(told["resourceType"], "Communication", "{told:#}");
        let checked = world.ask("POST", "/fhir/Communication/$validate", &headers, Some(told.to_string())).await;
        assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    }
    assert!(world.get(&exchange, ONCOLOGY).await.json()["attention"].as_array().unwrap().is_empty());
    // A later version has them still, and waits for nothing.
    let next = send_riv(&world, riv(2, SOUTH)).await;
    assert!(next.status == 202 && next.location.as_ref() == Some(&exchange), "{}", next.text);
    let request = world.get("/fhir/ServiceRequest", SOUTH).await.json()["entry"][0]["resource"].clone();
    assert_eq!(request["supportingInfo"].as_array().unwrap().len(), 2, "{request:#}");
    assert_eq!(world.get(&exchange, ONCOLOGY).await.json()["document"]["version"], 2);
    world.close().await;
}

#[actix_web::test]
async fn what_waits_is_delivered_with_the_consultations_to_a_server_and_can_be_taken_back_instead() {
    let world = World::open().await;
    let sent = send_riv(&world, riv(1, NORTH)).await;
    let exchange = sent.location.unwrap();
    assert!(world.at_clinic("ServiceRequest").await.is_empty());
    let back = world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Fel" })).await;
    assert_eq!(back.status, 200, "{}", back.text);
    assert_eq!(world.get(&exchange, ONCOLOGY).await.json()["stage"], "cancelled");
    let late = world.post(&format!("{exchange}/consultations"), ONCOLOGY, &consultations()).await;
    assert_eq!(late.status, 409, "{}", late.text);
    // A newer version begins anew.
    assert_eq!(send_riv(&world, riv(2, NORTH)).await.location.unwrap(), exchange);
    assert_eq!(world.get(&exchange, ONCOLOGY).await.json()["stage"], "parked");
    assert_eq!(world.post(&format!("{exchange}/consultations"), ONCOLOGY, &consultations()).await.status, 200);
    world.until(&exchange, "delivered").await;
    let request = &world.at_clinic("ServiceRequest").await[0];
    assert_eq!(request["supportingInfo"].as_array().unwrap().len(), 2);
    assert_eq!(world.at_clinic("Communication").await.len(), 2);
    world.close().await;
}

#[actix_web::test]
async fn what_never_left_is_taken_back_unseen_and_leaves_the_worklist_whatever_becomes_of_it() {
    let world = World::open().await;
    let task = async || {
        let found = world.get("/fhir/Task?code=consultation-missing", ONCOLOGY).await.json();
        found["entry"].as_array().map(|l| l[0]["resource"]["status"].clone())
    };
    // Entered in error while it waits, and once more after that.
    let exchange = send_riv(&world, riv(1, SOUTH)).await.location.unwrap();
    let mut wrong = referral_to(1, SOUTH);
    wrong["id"] = json!(format!("{ONCOLOGY}#R-2026-002"));
    (wrong["status"], wrong["version"]) = (json!("entered-in-error"), json!(2));
    let reply = world.post("/v1/referrals", ONCOLOGY, &wrong).await;
    assert!(reply.status == 202 && reply.location.as_ref() == Some(&exchange), "{}", reply.text);
    assert_eq!(task().await, Some(json!("cancelled")));
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!((&shown["stage"], &shown["enteredInError"]), (&json!("cancelled"), &json!(true)), "{shown:#}");
    assert!(shown["attention"].as_array().unwrap().is_empty(), "{shown:#}");
    wrong["version"] = json!(3);
    assert_eq!(world.post("/v1/referrals", ONCOLOGY, &wrong).await.status, 202);
    for unseen in [exchange.as_str(), "/fhir/ServiceRequest", "/fhir/Task", "/fhir/Patient", "/fhir/Communication"] {
        let reply = world.get(unseen, SOUTH).await;
        assert!(reply.status == 404 || reply.json().get("entry").is_none(), "{unseen}: {}", reply.text);
    }
    assert_eq!(world.post(&format!("{exchange}/consultations"), ONCOLOGY, &consultations()).await.status, 409);
    let again = send_riv(&world, riv(4, SOUTH)).await;
    assert_eq!(again.status, 409, "what was taken back as wrong stays so: {}", again.text);
    world.close().await;
}

#[actix_web::test]
async fn a_newer_version_that_waits_for_nothing_goes_out_and_leaves_no_task_that_nobody_can_end() {
    let world = World::open().await;
    let exchange = send_riv(&world, riv(1, SOUTH)).await.location.unwrap();
    let next = send_riv(&world, riv(2, HOME)).await;
    assert!(next.status == 202 && next.location.as_ref() == Some(&exchange), "{}", next.text);
    assert_eq!(world.get(&exchange, HOME).await.status, 200);
    assert_eq!(world.get(&exchange, SOUTH).await.status, 404);
    let found = world.get("/fhir/Task?code=consultation-missing", ONCOLOGY).await.json();
    assert_eq!(found["entry"][0]["resource"]["status"], "cancelled", "{found:#}");
    world.close().await;
}

#[actix_web::test]
async fn a_sip_without_consent_is_refused_by_the_law_and_not_by_the_guideline_whatever_the_regions_rules_say() {
    let rules = "version = \"none\"\n";
    let world = World::open_as_in(|folder, clinic| {
        std::fs::write(folder.join("rules.toml"), rules).unwrap();
        format!(
            "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\n[transfer]\nrules = \"rules.toml\"\n"
        )
    })
    .await;
    for (basis, law) in [("statutory", "SoL 2025:400 10 kap. 8 §"), ("within-principal", "jfr HSL 2017:30 16 kap. 4 §")]
    {
        let mut sip = crate::consent::sip(1, "given");
        sip.as_object_mut().unwrap().shift_remove("consent");
        sip["basis"] = json!(basis);
        sip["participants"].as_array_mut().unwrap().push(json!({ "unit": HOME, "principal": "2120001355" }));
        let refused = world.post("/v1/handovers", ONCOLOGY, &sip).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        let found = refused.findings();
        assert!(found.contains("HSL 2017:30 16 kap. 4 §") && found.contains(law), "{basis}: {found}");
        assert!(!found.contains("TRF-1"), "{found}");
    }
    world.close().await;
}
