//! Who is responsible, asked over HTTP: as JSON and as FHIR, by whom it may be, and nothing of it kept but that it was asked.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, plan};

const RULES: &str = "vgr-cancerrehabilitering";
const APPLY: &str = "/fhir/PlanDefinition/vgr-cancerrehabilitering/$apply";

async fn ask(world: &World, unit: &str, question: &Value) -> Reply {
    world.post("/v1/responsibility", unit, question).await
}

async fn apply(world: &World, unit: &str, body: &Value) -> Reply {
    let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/fhir+json")];
    world.ask("POST", APPLY, &headers, Some(body.to_string())).await
}

/// Sends a plan to Söder, and gives the id of its patient here.
async fn patient(world: &World) -> String {
    let mut plan = plan(1);
    plan["recipients"] = json!([SOUTH]);
    plan["interventions"][0]["responsible"] = json!(SOUTH);
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, &plan).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let found = world.get("/fhir/CarePlan", ONCOLOGY).await.json();
    found["entry"][0]["resource"]["subject"]["reference"].as_str().unwrap().to_owned()
}

/// The rows of the log that say that it was asked: who, of what, and what else.
fn asked(world: &World) -> Vec<(String, String, String)> {
    let db = rusqlite::Connection::open(world.folder.join("gateway.sqlite")).unwrap();
    let mut rows = db.prepare("SELECT actor, object, payload FROM audit WHERE action = 'apply' ORDER BY seq").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn resources(world: &World) -> i64 {
    let db = rusqlite::Connection::open(world.folder.join("gateway.sqlite")).unwrap();
    db.query_row("SELECT count(*) FROM version", [], |row| row.get(0)).unwrap()
}

#[actix_web::test]
async fn a_question_is_answered_with_rules_and_leaves_nothing_but_that_it_was_asked() {
    let world = World::open().await;
    let before = resources(&world);
    let criteria =
        json!({ "skeletalMetastases": true, "needsPhysiotherapySupport": true, "livesFarFromHospital": true });
    let question = json!({ "assessment": { "asOf": "2026-03-02", "needs": { "physical-activity": "special", "fatigue": "none" },
        "criteria": criteria, "cfs": 3 } });
    let reply = ask(&world, ONCOLOGY, &question).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["ruleSet"]["version"], "3.0", "the region is that of the unit");
    assert_eq!(answer["areas"][0]["responsible"], "no-need");
    let activity = &answer["areas"][1];
    assert_eq!(activity["responsible"], "conflict");
    let sides: Vec<&str> = activity["fired"].as_array().unwrap().iter().flat_map(|r| r["pointsTo"].as_str()).collect();
    assert_eq!(sides, ["specialist", "primary"]);
    assert!(activity["because"].as_str().unwrap().starts_with("Motstridigt, en människa får avgöra"));
    assert_eq!(answer["notRead"], json!(["cfs"]));
    assert_eq!(resources(&world), before, "nothing is kept");
    let rows = asked(&world);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].0.as_str(), rows[0].1.as_str()), (ONCOLOGY, &*format!("PlanDefinition/{RULES}/$apply")));
    assert!(rows[0].2.contains("3.0"));
    for word in ["skeletal", "special", "physical", "2026-03-02", "cfs"] {
        assert!(!rows[0].2.contains(word), "the log tells {word}: {}", rows[0].2);
    }
    world.close().await;
}

#[actix_web::test]
async fn what_is_wrong_with_a_question_is_told_at_once_and_its_values_are_not_repeated() {
    let world = World::open().await;
    let wrong =
        json!({ "assessment": { "criteria": { "skeletalMetastasis": true }, "needs": { "fatigue": "195009072553" } } });
    let reply = ask(&world, ONCOLOGY, &wrong).await;
    assert_eq!(reply.status, 422);
    assert!(reply.text.contains("did you mean criteria.skeletalMetastases?"), "{}", reply.text);
    assert!(reply.text.contains("assessment.needs.fatigue") && !reply.text.contains("195009072553"), "{}", reply.text);
    let cases = [
        (json!({ "region": "25", "assessment": {} }), "region"),
        (json!({ "about": ["fatige"], "assessment": {} }), "about"),
        (json!({ "asessment": {} }), "asessment"),
        (json!({ "assessment": [] }), "assessment"),
    ];
    for (question, at) in cases {
        let reply = ask(&world, ONCOLOGY, &question).await;
        assert_eq!(reply.status, 422, "{question}");
        assert!(reply.json()["issue"][0]["expression"][0] == at, "{question}: {}", reply.text);
    }
    assert_eq!(ask(&world, ONCOLOGY, &json!([])).await.status, 400);
    assert!(asked(&world).is_empty(), "what was refused was no question");
    world.close().await;
}

#[actix_web::test]
async fn a_patient_who_is_named_is_on_record_and_one_who_is_none_of_the_callers_is_not_there() {
    let world = World::open().await;
    let name = patient(&world).await;
    let id = name.strip_prefix("Patient/").unwrap();
    let question = json!({ "patient": id, "about": ["fatigue"], "assessment": {} });
    assert_eq!(ask(&world, SOUTH, &question).await.status, 200);
    assert_eq!(ask(&world, NORTH, &question).await.status, 404);
    assert_eq!(ask(&world, SOUTH, &json!({ "patient": "195009072553", "assessment": {} })).await.status, 404);
    let rows = asked(&world);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].2.contains(id), "{}", rows[0].2);
    world.close().await;
}

#[actix_web::test]
async fn rules_are_applied_to_what_a_plan_says_for_those_who_may_see_it() {
    let world = World::open().await;
    let name = patient(&world).await;
    let path = format!("{APPLY}?subject={name}&asOf=2026-03-02");
    let reply = world.get(&path, SOUTH).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let proposal = reply.json();
    assert_eq!(proposal["subject"]["reference"], name.as_str());
    let detail = &proposal["activity"][0]["detail"];
    assert_eq!(detail["reasonCode"][0]["coding"][0]["code"], "physical-activity", "the need that the plan names");
    assert_eq!(detail["extension"][0]["valueCode"], "undetermined", "{detail:#}");
    assert!(detail["description"].as_str().unwrap().contains("Besked saknas: om patienten"), "{detail:#}");
    let about = world.get(&format!("{path}&about=psychosocial"), SOUTH).await.json();
    assert!(
        about.to_string().contains("needs.psychosocial") && !about.to_string().contains("treatment.intent"),
        "{about:#}"
    );
    let headers = [("Content-Type", "application/fhir+json")];
    let valid = world.ask("POST", "/fhir/CarePlan/$validate", &headers, Some(proposal.to_string())).await;
    assert!(!valid.text.contains("\"error\"") && !valid.text.contains("\"warning\""), "{}", valid.text);
    let xml = world.ask("GET", &path, &[("Vardkedja-Unit", SOUTH), ("Accept", "application/fhir+xml")], None).await;
    assert!(xml.text.contains("<CarePlan"), "{}", xml.text);
    assert_eq!(world.get(&path, NORTH).await.status, 404, "what is no affair of a unit's is not there");
    let rows = asked(&world);
    let shown = rows.iter().filter(|row| row.0 == SOUTH && row.2.contains("Observation/")).count();
    assert_eq!(shown, 3, "what was looked at is on record: {rows:?}");
    let log = world.get(&format!("/v1/patients/{}/access-log", name.strip_prefix("Patient/").unwrap()), "").await;
    assert!(log.text.contains("frågade vem som ansvarar"), "{}", log.text);
    world.close().await;
}

#[actix_web::test]
async fn what_is_blocked_says_nothing_to_the_rules_either() {
    let world = World::open().await;
    let name = patient(&world).await;
    let path = format!("{APPLY}?subject={name}&asOf=2026-03-02");
    assert!(world.get(&path, SOUTH).await.text.contains("physical-activity"));
    let block =
        json!({ "patient": "195009072553", "kind": "inner", "unit": ONCOLOGY, "by": "SE2321000131-P000000000011" });
    assert_eq!(world.post("/v1/blocks", REHAB_TEAM, &block).await.status, 201);
    let blocked = world.get(&path, SOUTH).await;
    assert_eq!(blocked.status, 404, "{}", blocked.text);
    assert_eq!(world.get(&path, ONCOLOGY).await.status, 200, "its own it sees");
    world.close().await;
}

#[actix_web::test]
async fn rules_are_applied_to_what_is_sent_and_to_nothing_else() {
    let world = World::open().await;
    let before = resources(&world);
    let observation = |code: &str, value: bool| {
        json!({ "resource": { "resourceType": "Observation", "status": "final", "valueBoolean": value, "code": { "coding": [
            { "system": "https://vardkedja.example/fhir/CodeSystem/assessment-input", "code": code }] } } })
    };
    let needs: Value =
        serde_json::from_str(include_str!("../../profiles/examples/needs-assessment.good.json")).unwrap();
    let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        { "resource": needs },
        observation("criteria.fatigueLimitsDailyLife", true),
        observation("criteria.canBeTransferredToPrimaryCare", true),
    ] });
    let reply = apply(&world, ONCOLOGY, &bundle).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let proposal = reply.json();
    assert_eq!(
        proposal["instantiatesCanonical"][0],
        format!("https://vardkedja.example/fhir/PlanDefinition/{RULES}|3.0")
    );
    assert_eq!(proposal["activity"][0]["detail"]["extension"][1]["valueCode"], "primary");
    assert_eq!(proposal["activity"][1]["detail"]["status"], "cancelled", "no need of nutrition");
    assert!(proposal["note"][0]["text"].as_str().unwrap().contains("TRF-1"), "{proposal:#}");
    assert_eq!(proposal["subject"]["reference"], "Patient/patient");
    let parameters = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "subject", "valueReference": { "reference": "Patient/somebody" } },
        { "name": "about", "valueString": "fatigue" },
        { "name": "data", "resource": bundle } ] });
    let same = apply(&world, ONCOLOGY, &parameters).await.json();
    assert_eq!(same["activity"].as_array().unwrap().len(), 1);
    assert_eq!(same["subject"]["reference"], "Patient/somebody");
    let mut invalid = bundle;
    invalid["entry"][1]["resource"]["status"] = json!("finished");
    assert_eq!(apply(&world, ONCOLOGY, &invalid).await.status, 422);
    assert_eq!(apply(&world, ONCOLOGY, &json!({ "resourceType": "Patient" })).await.status, 400);
    let none = world.get("/fhir/PlanDefinition/none/$apply?subject=Patient/1", ONCOLOGY).await;
    assert_eq!(none.status, 404);
    assert_eq!(world.get(&format!("{APPLY}?subject=195009072553"), ONCOLOGY).await.status, 400);
    assert_eq!(resources(&world), before, "nothing is kept");
    world.close().await;
}

#[actix_web::test]
async fn a_stored_plan_answers_what_is_not_said_for_whoever_may_see_it() {
    let world = World::open().await;
    let patient = patient(&world).await;
    let found = world.get("/fhir/CarePlan", ONCOLOGY).await.json();
    let name = format!("CarePlan/{}", found["entry"][0]["resource"]["id"].as_str().unwrap());
    let question = json!({ "plan": name, "about": ["physical-activity"], "assessment": { "asOf": "2026-03-02" } });
    let reply = ask(&world, SOUTH, &question).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["plan"], format!("{name}/_history/1"));
    let missing = |answer: &Value| -> Vec<String> {
        let all = answer["areas"][0]["missing"].as_array().unwrap();
        all.iter().map(|one| one["field"].as_str().unwrap().to_owned()).collect()
    };
    let bare =
        ask(&world, SOUTH, &json!({ "about": ["physical-activity"], "assessment": { "asOf": "2026-03-02" } })).await;
    let (with, without) = (missing(&answer), missing(&bare.json()));
    for field in ["needs.physical-activity", "treatment.intent"] {
        assert!(!with.contains(&field.to_owned()) && without.contains(&field.to_owned()), "{with:?} {without:?}");
    }
    // What is said stands before what is stored.
    let mut none = question.clone();
    none["assessment"]["needs"] = json!({ "physical-activity": "none" });
    assert_eq!(ask(&world, SOUTH, &none).await.json()["areas"][0]["responsible"], "no-need");
    let rows = asked(&world);
    assert!(rows[0].2.contains(&name), "what was shown is in the log: {}", rows[0].2);

    assert_eq!(ask(&world, NORTH, &question).await.status, 404, "the plan is not for that unit");
    let mut wrong = question.clone();
    wrong["plan"] = json!(patient);
    assert_eq!(ask(&world, SOUTH, &wrong).await.status, 422);
    let by_plan = world.get(&format!("{APPLY}?plan={name}&asOf=2026-03-02&about=physical-activity"), SOUTH).await;
    assert_eq!(by_plan.status, 200, "{}", by_plan.text);
    assert_eq!(by_plan.json()["subject"]["reference"], patient);
    let hidden = world.get(&format!("{APPLY}?plan={name}"), NORTH).await;
    assert_eq!(hidden.status, 404);
    world.close().await;
}

#[actix_web::test]
async fn the_rules_themselves_are_read_and_searched_and_not_written() {
    let world = World::open().await;
    let found = world.get("/fhir/PlanDefinition?jurisdiction=14&status=active&_summary=true", NORTH).await.json();
    assert_eq!(found["entry"][0]["resource"]["id"], RULES, "{found:#}");
    assert!(found["entry"][0]["resource"].get("action").is_none());
    let by_document = world.get("/fhir/PlanDefinition?identifier=HS9766-305841775-381", NORTH).await.json();
    assert_eq!(by_document["entry"][0]["resource"]["version"], "3.0");
    let rules = world.get(&format!("/fhir/PlanDefinition/{RULES}"), NORTH).await;
    assert!(rules.text.contains("har skelettmetastaser"));
    let headers = [("Content-Type", "application/fhir+json"), ("If-Match", "W/\"1\"")];
    let put = world.ask("PUT", &format!("/fhir/PlanDefinition/{RULES}"), &headers, Some(rules.text.clone())).await;
    assert_eq!(put.status, 405, "{}", put.text);
    let valid = world.ask("POST", "/fhir/PlanDefinition/$validate", &headers[..1], Some(rules.text)).await;
    assert!(!valid.text.contains("\"error\"") && !valid.text.contains("\"warning\""), "{}", valid.text);
    let metadata = world.get("/fhir/metadata", "").await.json();
    let served = metadata["rest"][0]["resource"].as_array().unwrap().clone();
    let served = served.iter().find(|r| r["type"] == "PlanDefinition").unwrap();
    assert!(served["operation"].as_array().unwrap().iter().any(|o| o["name"] == "apply"), "{served:#}");
    world.close().await;
}

#[actix_web::test]
async fn a_region_brings_its_own_rules_in_a_folder() {
    let text = include_str!("../../profiles/PlanDefinition-vgr-cancerrehabilitering.json");
    let own = |folder: &std::path::Path| {
        let rules = folder.join("rules");
        std::fs::create_dir_all(&rules).unwrap();
        let mut plan: Value = serde_json::from_str(text).unwrap();
        plan["id"] = json!("kronoberg");
        plan["url"] = json!("https://kronoberg.example/PlanDefinition/kronoberg");
        plan["jurisdiction"][0]["coding"][0]["code"] = json!("07");
        plan["version"] = json!("1.0");
        std::fs::write(rules.join("PlanDefinition-kronoberg.json"), plan.to_string()).unwrap();
        rules
    };
    let world = World::open_as_in(|folder, clinic| {
        let rules = own(folder);
        format!(
            "rules = {rules:?}\n[delivery]\nretry_s = [1]\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\n"
        )
    })
    .await;
    let of = async |region: Value| {
        let mut question = json!({ "about": ["fatigue"], "assessment": {} });
        question["region"] = region;
        ask(&world, ONCOLOGY, &question).await.json()["ruleSet"]["id"].clone()
    };
    assert_eq!(of(json!("07")).await, "kronoberg");
    assert_eq!(of(json!("14")).await, RULES);
    assert_eq!(world.get("/fhir/PlanDefinition/kronoberg", NORTH).await.status, 200);
    assert_eq!(world.get("/fhir/PlanDefinition/kronoberg/$apply?subject=Patient/1", NORTH).await.status, 404);
    world.close().await;
}

#[test]
fn the_fields_of_the_contract_are_those_of_the_code_system() {
    let contract: Value = serde_saphyr::from_str(include_str!("../../openapi.yaml")).expect("the contract is YAML");
    let mut said = BTreeSet::new();
    for (name, field) in contract["components"]["schemas"]["AssessmentInput"]["properties"].as_object().unwrap() {
        match field["properties"].as_object() {
            Some(inner) => said.extend(inner.keys().map(|inner| format!("{name}.{inner}"))),
            None => drop(said.insert(name.clone())),
        }
    }
    let system: Value = serde_json::from_str(include_str!("../../profiles/CodeSystem-assessment-input.json")).unwrap();
    let known: BTreeSet<String> =
        system["concept"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, known);
}
