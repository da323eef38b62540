//! Who has the patient now: asked at every moment, moved by answers and by nothing else, and kept from whom it does not concern.

mod before;
mod unclear;

use serde_json::{Value, json};

use crate::consent::{hand_over, sip};
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, Reply, SOUTH, World, referral_to};

const PATIENT: &str = "195009072553";
const HOME_CARE: &str = "SE2120001355-E000000000501";

/// The line of an area: its answer and the units.
async fn who(world: &World, unit: &str, area: &str, at: Option<&str>) -> String {
    let mut asked = json!({ "patient": PATIENT, "area": area });
    if let Some(at) = at {
        asked["at"] = json!(at);
    }
    let reply = world.post("/v1/responsibility/search", unit, &asked).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let line = reply.json()["areas"][0].clone();
    assert_eq!(line["area"], area);
    let mut units: Vec<String> =
        line["responsible"].as_array().unwrap().iter().map(|r| r["unit"].as_str().unwrap().to_owned()).collect();
    units.sort();
    format!("{} {}", line["answer"].as_str().unwrap(), units.join(" ")).trim().to_owned()
}

/// Moves the unit's Task in the exchange, here.
async fn step(world: &World, exchange: &str, unit: &str, change: Value) -> Reply {
    let path = format!("/fhir/Task/{}", world.task(exchange, unit).await);
    let mut task = world.get(&path, unit).await.json();
    let version = format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap());
    for (name, value) in change.as_object().unwrap() {
        task[name] = value.clone();
    }
    world.ask("PUT", &path, &[("Vardkedja-Unit", unit), ("If-Match", &version)], Some(task.to_string())).await
}

async fn moved(world: &World, exchange: &str, unit: &str, status: &str) {
    let reply = step(world, exchange, unit, json!({ "status": status, "statusReason": { "text": "Skäl." } })).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

async fn episodes(world: &World, unit: &str) -> Vec<Value> {
    let found = world.get("/fhir/EpisodeOfCare?_count=100", unit).await.json();
    found["entry"].as_array().map_or(Vec::new(), |l| l.iter().map(|e| e["resource"].clone()).collect())
}

fn takeover(number: u32, areas: &[&str]) -> Value {
    let mut referral = referral_to(number, SOUTH);
    referral["areas"] = json!(areas);
    referral
}

#[actix_web::test]
async fn a_referral_moves_responsibility_when_it_is_accepted_and_every_moment_is_remembered() {
    let world = World::open().await;
    assert_eq!(who(&world, ONCOLOGY, "fatigue", None).await, "unknown");
    let exchange = world.refer(&takeover(1, &["fatigue", "tobacco"])).await;
    assert_eq!(who(&world, ONCOLOGY, "fatigue", None).await, format!("one {ONCOLOGY}"), "until somebody says yes");
    moved(&world, &exchange, SOUTH, "accepted").await;
    let after = format!("one {SOUTH}");
    for unit in [ONCOLOGY, SOUTH] {
        assert_eq!(who(&world, unit, "fatigue", None).await, after, "{unit}");
    }
    assert_eq!(who(&world, ONCOLOGY, "nutrition", None).await, "unknown");
    let asked = world.post("/v1/responsibility/search", SOUTH, &json!({ "patient": PATIENT })).await.json();
    assert_eq!(asked["areas"].as_array().unwrap().len(), 10, "areas of which nobody spoke are listed as unknown");
    let line = asked["areas"].as_array().unwrap().iter().find(|a| a["area"] == "tobacco").unwrap();
    let line = &line["responsible"][0];
    assert!(exchange.ends_with(line["exchange"].as_str().unwrap()), "{line}");
    let since = line["since"].as_str().unwrap().to_owned();

    // A moment before, the sender had it; and both episodes are there, with what they were.
    let before =
        (since.parse::<chrono::DateTime<chrono::Utc>>().unwrap() - chrono::TimeDelta::milliseconds(1)).to_rfc3339();
    assert_eq!(who(&world, ONCOLOGY, "fatigue", Some(&before)).await, format!("one {ONCOLOGY}"));
    assert_eq!(who(&world, ONCOLOGY, "fatigue", Some("2020-01-01")).await, "unknown");
    let patient = asked["patient"].as_str().unwrap();
    let id = patient.trim_start_matches("Patient/");
    let query = format!("patient={id}&status=active&type=fatigue&date=ge2020-01-01");
    let found = world.get(&format!("/fhir/EpisodeOfCare?{query}"), SOUTH).await.json();
    let [entry] = &found["entry"].as_array().unwrap()[..] else { panic!("{found:#}") };
    let episode = &entry["resource"];
    assert_eq!(episode["managingOrganization"]["identifier"]["value"], SOUTH);
    assert!(episode["referralRequest"][0]["reference"].as_str().unwrap().starts_with("ServiceRequest/"));
    let organization = episode["managingOrganization"]["reference"].as_str().unwrap();
    let by_unit = world.get(&format!("/fhir/EpisodeOfCare?organization={organization}"), SOUTH).await.json();
    assert_eq!(by_unit["entry"].as_array().unwrap().len(), 2, "{by_unit:#}");
    let ended: Vec<Value> =
        episodes(&world, ONCOLOGY).await.into_iter().filter(|e| e["status"] == "finished").collect();
    assert_eq!(ended.len(), 2);
    assert_eq!(ended[0]["statusHistory"][0]["status"], "active", "{:#}", ended[0]);
    assert_eq!(ended[0]["period"]["end"], json!(since));

    // By our id, and of a past moment, the same.
    let path = format!("/v1/patients/{id}/responsibility?area=fatigue&at={}", before.replace('+', "%2B"));
    let shown = world.get(&path, SOUTH).await.json();
    assert_eq!(shown["areas"][0]["responsible"][0]["unit"], ONCOLOGY, "{shown:#}");

    // Who takes no part sees nothing, and is not told that there is something.
    for stranger in [NORTH, REHAB_TEAM, HOME_CARE] {
        assert_eq!(who(&world, stranger, "fatigue", None).await, "unknown", "{stranger}");
        let asked = world.post("/v1/responsibility/search", stranger, &json!({ "patient": PATIENT })).await.json();
        assert_eq!(asked["patient"], Value::Null);
        assert_eq!(world.get(&format!("/v1/patients/{id}/responsibility"), stranger).await.status, 404);
        assert!(episodes(&world, stranger).await.is_empty());
    }
    // A retraction undoes it, for the past too; the versions tell what was believed.
    let mut wrong = takeover(1, &["fatigue", "tobacco"]);
    (wrong["version"], wrong["status"]) = (json!(2), json!("entered-in-error"));
    assert_eq!(world.refer(&wrong).await, exchange);
    assert_eq!(who(&world, ONCOLOGY, "fatigue", None).await, "unknown");
    assert_eq!(who(&world, ONCOLOGY, "fatigue", Some(&since)).await, "unknown");
    let all = episodes(&world, ONCOLOGY).await;
    assert!(all.iter().all(|e| e["status"] == "entered-in-error"), "{all:#?}");
    let name = format!("EpisodeOfCare/{}/_history", all[0]["id"].as_str().unwrap());
    assert!(world.get(&format!("/fhir/{name}"), ONCOLOGY).await.json()["entry"].as_array().unwrap().len() >= 2);
    world.close().await;
}

#[actix_web::test]
async fn whoever_comes_to_a_referral_sees_who_has_it_and_whoever_has_left_it_no_more_than_its_own() {
    let world = World::open().await;
    let sent_on = world.refer(&takeover(1, &["physical-activity"])).await;
    assert_eq!(who(&world, SOUTH, "physical-activity", None).await, format!("one {ONCOLOGY}"));
    let answered = world.post(&format!("{sent_on}/answers"), SOUTH, &json!({ "redirectTo": HOME_CARE })).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert_eq!(who(&world, HOME_CARE, "physical-activity", None).await, format!("one {ONCOLOGY}"));
    assert_eq!(who(&world, SOUTH, "physical-activity", None).await, "unknown");
    moved(&world, &sent_on, HOME_CARE, "accepted").await;
    assert_eq!(who(&world, ONCOLOGY, "physical-activity", None).await, format!("one {HOME_CARE}"));
    assert!(episodes(&world, SOUTH).await.is_empty(), "{:#?}", episodes(&world, SOUTH).await);
    let history = world.get("/fhir/EpisodeOfCare/_history", SOUTH).await.json();
    assert!(history.get("entry").is_none(), "{history:#}");

    // A newer version names another unit: the one before keeps what says that it had it, and nothing of the others'.
    let renamed = world.refer(&takeover(2, &["tobacco"])).await;
    moved(&world, &renamed, SOUTH, "accepted").await;
    let mut second = takeover(2, &["tobacco"]);
    second["version"] = json!(2);
    second["recipient"]["unit"] = json!(HOME_CARE);
    world.refer(&second).await;
    assert_eq!(who(&world, HOME_CARE, "tobacco", None).await, format!("one {ONCOLOGY}"));
    moved(&world, &renamed, HOME_CARE, "accepted").await;
    let left = episodes(&world, SOUTH).await;
    let units: Vec<&Value> = left.iter().map(|e| &e["managingOrganization"]["identifier"]["value"]).collect();
    assert_eq!(units, [&json!(SOUTH)], "{left:#?}");
    assert_eq!(left[0]["status"], "finished");
    assert_eq!(who(&world, SOUTH, "tobacco", None).await, "unknown");
    world.close().await;
}

#[actix_web::test]
async fn a_consultation_moves_nothing_and_a_new_version_takes_back_but_never_gives() {
    let world = World::open().await;
    let mut asks = takeover(1, &["fatigue"]);
    asks["careResponsibilityRemains"] = json!(true);
    asks.as_object_mut().unwrap().shift_remove("consultation");
    let reply = world.post("/v1/referrals", ONCOLOGY, &asks).await;
    assert_eq!(reply.status, 202, "responsibility remains, so no samråd is asked for: {}", reply.text);
    let exchange = reply.location.unwrap();
    moved(&world, &exchange, SOUTH, "accepted").await;
    assert_eq!(who(&world, SOUTH, "fatigue", None).await, format!("one {ONCOLOGY}"));

    let exchange = world.refer(&takeover(2, &["tobacco", "alcohol"])).await;
    moved(&world, &exchange, SOUTH, "accepted").await;
    let mut next = takeover(2, &["tobacco", "nutrition"]);
    (next["version"], next["reasonForVersion"]) = (json!(2), json!("AR"));
    world.refer(&next).await;
    let of = async |area| who(&world, SOUTH, area, None).await;
    assert_eq!(of("tobacco").await, format!("one {SOUTH}"));
    assert_eq!(of("alcohol").await, format!("one {ONCOLOGY}"), "no more asked for: back at its sender");
    assert_eq!(of("nutrition").await, format!("one {ONCOLOGY}"), "asked for since, and nobody has said yes");
    moved(&world, &exchange, SOUTH, "in-progress").await;
    assert_eq!(of("nutrition").await, format!("one {SOUTH}"));
    // The owner agrees to stop: it goes back.
    let cancel = world.post(&format!("{exchange}/cancel"), ONCOLOGY, &json!({ "reason": "Flyttat" })).await;
    assert_eq!(cancel.json()["asked"], json!([SOUTH]), "{}", cancel.text);
    assert_eq!(of("tobacco").await, format!("one {SOUTH}"), "asking moves nothing");
    moved(&world, &exchange, SOUTH, "cancelled").await;
    assert_eq!(of("tobacco").await, format!("one {ONCOLOGY}"));
    // What moved is in the patient's own list.
    let id = world.post("/v1/responsibility/search", SOUTH, &json!({ "patient": PATIENT })).await.json();
    let id = id["patient"].as_str().unwrap().trim_start_matches("Patient/").to_owned();
    let list = world.get(&format!("/v1/patients/{id}/access-log?limit=200"), "").await;
    assert!(list.text.contains("flyttade vårdansvar"), "{}", list.text);
    world.close().await;
}

#[actix_web::test]
async fn an_active_handover_moves_responsibility_only_when_contact_with_the_patient_is_confirmed() {
    let world = World::open().await;
    let text = include_str!("../../mappings/examples/handover.active-small.source.json");
    let handover: Value = serde_json::from_str(text).unwrap();
    let reply = world.post("/v1/handovers", ONCOLOGY, &handover).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert!(reply.findings().contains("TRF-1"), "samråd with the patient is missing: {}", reply.findings());
    let exchange = reply.location.clone().unwrap();
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    let people = world.people();
    people.step(&task, "accepted", &Default::default()).await.unwrap();
    world.until(&exchange, "accepted").await;
    assert_eq!(who(&world, NORTH, "fatigue", None).await, format!("one {ONCOLOGY}"), "accepting is not taking over");
    let left = vardkedja::demo::Left { answer: Some("Klart."), patient_contact: true, ..Default::default() };
    people.step(&task, "completed", &left).await.unwrap();
    world.until(&exchange, "completed").await;
    assert_eq!(who(&world, ONCOLOGY, "fatigue", None).await, format!("one {NORTH}"));
    let mut carries = handover.clone();
    carries["id"] = json!(format!("{ONCOLOGY}#AO-2"));
    carries["consultation"] = json!({ "patient": { "at": "2026-03-01T10:00:00+01:00", "medium": "phone" } });
    let reply = world.post("/v1/handovers", ONCOLOGY, &carries).await;
    assert!(reply.status == 202 && !reply.findings().contains("TRF-1"), "{}", reply.text);
    let document = world.get(&format!("{}/document", reply.location.unwrap()), ONCOLOGY).await.json();
    assert_eq!(document["consultation"], carries["consultation"]);
    world.close().await;
}

#[actix_web::test]
async fn a_sip_moves_each_intervention_when_its_unit_accepts_and_a_withdrawn_consent_takes_it_back_and_hides_it() {
    let world = World::open().await;
    let parts = |version: u32, decision: &str| {
        let mut sip = sip(version, decision);
        let part = |id: &str, area: &str, unit: &str| json!({ "id": id, "area": area, "text": "Stöd", "status": "scheduled", "responsible": unit });
        sip["interventions"] = json!([
            part("S1", "psychosocial", NORTH),
            part("S2", "psychosocial", SOUTH),
            part("S3", "nutrition", ONCOLOGY),
            part("S4", "tobacco", SOUTH),
        ]);
        sip
    };
    let exchange = hand_over(&world, &parts(1, "given")).await;
    let of = async |unit, area| who(&world, unit, area, None).await;
    assert_eq!(of(SOUTH, "nutrition").await, format!("one {ONCOLOGY}"), "its maker has agreed to its own part");
    assert_eq!(of(SOUTH, "psychosocial").await, "unknown");
    moved(&world, &exchange, SOUTH, "accepted").await;
    assert_eq!(of(ONCOLOGY, "psychosocial").await, format!("one {SOUTH}"));
    assert_eq!(of(ONCOLOGY, "tobacco").await, format!("one {SOUTH}"));
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, NORTH).await;
    world.people().step(&task, "accepted", &Default::default()).await.unwrap();
    world.until(&exchange, "accepted").await;
    assert_eq!(of(ONCOLOGY, "psychosocial").await, format!("shared {NORTH} {SOUTH}"));
    assert!(!episodes(&world, SOUTH).await.is_empty());
    hand_over(&world, &parts(2, "withdrawn")).await;
    assert_eq!(of(ONCOLOGY, "psychosocial").await, format!("one {ONCOLOGY}"));
    // Who only agreed to the plan never had the areas of others, and does not get them with its end.
    assert_eq!(of(ONCOLOGY, "nutrition").await, format!("one {ONCOLOGY}"));
    assert_eq!(of(ONCOLOGY, "tobacco").await, format!("one {ONCOLOGY}"));
    assert_eq!(of(SOUTH, "psychosocial").await, "unknown", "what rested on the consent is hidden");
    assert!(episodes(&world, SOUTH).await.is_empty(), "{:#?}", episodes(&world, SOUTH).await);
    world.close().await;
}

#[actix_web::test]
async fn a_statutory_sip_needs_region_and_municipality_and_a_meeting_that_was_held_has_been() {
    let world = World::open().await;
    let mut statutory = sip(1, "given");
    statutory["basis"] = json!("statutory");
    let refused = world.post("/v1/handovers", ONCOLOGY, &statutory).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(
        refused.findings().contains("HSL 2017:30 16 kap. 4 §") && refused.findings().contains("kommunen"),
        "{}",
        refused.findings()
    );
    let home = json!({ "unit": HOME_CARE, "principal": "2120001355" });
    statutory["participants"].as_array_mut().unwrap().push(home);
    let mut early = statutory.clone();
    early["meeting"]["start"] = json!("2099-03-09T10:00:00+01:00");
    early["meeting"]["end"] = json!("2099-03-09T11:00:00+01:00");
    let refused = world.post("/v1/handovers", ONCOLOGY, &early).await;
    assert!(refused.status == 422 && refused.findings().contains("meeting.status"), "{}", refused.text);
    early["meeting"]["status"] = json!("called");
    let exchange = hand_over(&world, &early).await;
    let found = world.get("/fhir/Appointment?status=booked", ONCOLOGY).await.json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 1, "{found:#}");
    statutory["version"] = json!(2);
    hand_over(&world, &statutory).await;
    let found = world.get("/fhir/Appointment?status=fulfilled", ONCOLOGY).await.json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 1, "the meeting was held: {found:#}");
    let document = world.get(&format!("{exchange}/document"), ONCOLOGY).await.json();
    assert_eq!(document["meeting"]["status"], "held");
    world.close().await;
}

#[actix_web::test]
async fn a_block_keeps_from_others_who_has_what_and_an_end_of_it_shows_it_again() {
    let world = World::open().await;
    let exchange = world.refer(&takeover(1, &["fatigue"])).await;
    moved(&world, &exchange, SOUTH, "accepted").await;
    let wish =
        |unit: &str| json!({ "patient": PATIENT, "kind": "inner", "unit": unit, "by": "SE2321000131-P000000000011" });
    let block = world.post("/v1/blocks", REHAB_TEAM, &wish(SOUTH)).await;
    assert_eq!(block.status, 201, "{}", block.text);
    assert_eq!(who(&world, ONCOLOGY, "fatigue", None).await, "unknown", "that Söder has it is Söder's own word");
    assert_eq!(who(&world, SOUTH, "fatigue", None).await, format!("one {SOUTH}"));
    let lifted = format!("{}/lift", block.location.unwrap());
    world.post(&lifted, REHAB_TEAM, &json!({ "by": "SE2321000131-P000000000011" })).await;
    assert_eq!(who(&world, ONCOLOGY, "fatigue", None).await, format!("one {SOUTH}"));
    let block = world.post("/v1/blocks", REHAB_TEAM, &wish(ONCOLOGY)).await;
    assert_eq!(block.status, 201, "{}", block.text);
    assert_eq!(who(&world, SOUTH, "fatigue", None).await, "unknown", "by whose document it came is closed");
    world.close().await;
}

#[actix_web::test]
async fn a_plan_says_what_its_author_does_itself_as_far_as_nobody_else_has_it() {
    let world = World::open().await;
    let mut plan = crate::world::plan(1);
    let mut own = plan["interventions"][0].clone();
    (own["id"], own["area"], own["responsible"], own["level"]) =
        (json!("I9"), json!("lymphoedema"), json!(ONCOLOGY), json!("specialist"));
    plan["interventions"].as_array_mut().unwrap().push(own);
    let reply = world.post("/v1/rehab-plans", ONCOLOGY, &plan).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(who(&world, ONCOLOGY, "lymphoedema", None).await, format!("one {ONCOLOGY}"));
    let others = plan["interventions"][0]["area"].as_str().unwrap();
    assert_eq!(who(&world, ONCOLOGY, others, None).await, "unknown", "whom the plan names has not said yes");
    plan["version"] = json!(2);
    plan["interventions"].as_array_mut().unwrap().pop();
    assert_eq!(world.post("/v1/rehab-plans", ONCOLOGY, &plan).await.status, 202);
    assert_eq!(who(&world, ONCOLOGY, "lymphoedema", None).await, "unknown");
    world.close().await;
}

#[actix_web::test]
async fn a_question_that_cannot_be_read_is_told_all_that_is_wrong_with_it() {
    let world = World::open().await;
    let ask = async |body: Value| world.post("/v1/responsibility/search", ONCOLOGY, &body).await;
    let reply = ask(json!({ "patient": "195009072554", "area": "tiredness", "at": "yesterday", "who": "x" })).await;
    assert_eq!(reply.status, 400);
    let found = reply.findings();
    for place in ["patient", "area", "at", "who"] {
        assert!(found.contains(&format!("\"{place}\"")), "{found}");
    }
    assert!(!found.contains("195009072554"));
    assert_eq!(ask(json!({})).await.status, 400);
    assert_eq!(ask(json!([])).await.status, 400);
    world.close().await;
}

#[actix_web::test]
async fn the_acceptance_and_what_it_moves_are_one_commit_whenever_the_program_is_killed() {
    use crate::program::Program;
    let world = World::open_clinic_only().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let settings =
        "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n";
    let mut program = Program::start(&world.folder, settings, &[]);
    let mut moved = 0;
    for round in 1..=6 {
        let referral = takeover(round, &["fatigue", "tobacco"]);
        let post =
            http.post(format!("{}/v1/referrals", program.url)).header("Vardkedja-Unit", ONCOLOGY).json(&referral);
        assert_eq!(post.send().await.unwrap().status(), 202);
        let tasks: Value = http
            .get(format!("{}/fhir/Task?status=requested", program.url))
            .header("Vardkedja-Unit", SOUTH)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let task = tasks["entry"].as_array().unwrap().iter().map(|e| &e["resource"]).next_back().unwrap();
        let id = task["id"].as_str().unwrap().to_owned();
        let request = http
            .patch(format!("{}/fhir/Task/{id}", program.url))
            .header("Vardkedja-Unit", SOUTH)
            .header("If-Match", format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap()))
            .header("Content-Type", "application/json-patch+json")
            .body(json!([{ "op": "replace", "path": "/status", "value": "accepted" }]).to_string());
        // Sent, and killed before, while or after it is done.
        let sent = tokio::spawn(async move { request.send().await.is_ok() });
        tokio::time::sleep(std::time::Duration::from_micros(u64::from(round) * 700)).await;
        program.signal("-KILL");
        drop(program);
        let _ = sent.await;
        program = Program::start(&world.folder, settings, &[]);
        let get = async |path: String| -> Value {
            let reply = http.get(format!("{}{path}", program.url)).send().await.unwrap();
            reply.json().await.unwrap()
        };
        let accepted = get(format!("/fhir/Task/{id}")).await["status"] == "accepted";
        let focus = task["focus"]["reference"].as_str().unwrap();
        let made = get(format!("/fhir/EpisodeOfCare?incoming-referral={focus}&_count=50")).await;
        let made: Vec<Value> =
            made["entry"].as_array().map_or(Vec::new(), |l| l.iter().map(|e| e["resource"].clone()).collect());
        let taken = made.iter().filter(|e| e["managingOrganization"]["identifier"]["value"] == SOUTH).count();
        assert_eq!(taken, if accepted { 2 } else { 0 }, "round {round}: {made:#?}");
        moved += usize::from(accepted);
    }
    println!("{moved} of 6 acceptances were on disk when the program was killed");
    drop(program);
    world.close().await;
}
