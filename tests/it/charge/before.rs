//! A database of before responsibility was kept: what was answered then is derived as if it had been decided live, once, however
//! often the program is killed meanwhile; and whoever asks or answers first does not wait for it.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{HOME_CARE, PATIENT, episodes, moved, takeover, who};
use crate::consent::{hand_over, sip};
use crate::program::Program;
use crate::world::{NORTH, ONCOLOGY, REHAB_TEAM, SOUTH, World};

const SETTINGS: &str =
    "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n";

/// Takes away what the versions before did not have.
fn age(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA foreign_keys = OFF; BEGIN;
         INSERT INTO removing (at) VALUES (1);
         CREATE TEMP TABLE gone AS SELECT rid FROM resource WHERE type = 'EpisodeOfCare';
         INSERT OR IGNORE INTO charge_underived SELECT DISTINCT patient FROM charge_move;
         DELETE FROM charge_move;
         DELETE FROM version WHERE rid IN gone;
         DELETE FROM concern WHERE rid IN gone;
         DELETE FROM token WHERE rid IN gone;
         DELETE FROM reference WHERE rid IN gone;
         DELETE FROM date WHERE rid IN gone;
         DELETE FROM text WHERE rid IN gone;
         DELETE FROM exchange_resource WHERE rid IN gone;
         DELETE FROM resource WHERE rid IN gone;
         DELETE FROM removing;
         COMMIT;",
    )
    .unwrap();
    assert_eq!(count(&db, "charge_move"), 0);
    assert!(count(&db, "charge_underived") > 0);
}

fn count(db: &Connection, table: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// All that an episode says, but its own id and when it was written. What was believed for a while, and entered in error, is
/// nobody's history here.
fn said(mut episodes: Vec<Value>) -> Vec<String> {
    for episode in &mut episodes {
        let object = episode.as_object_mut().unwrap();
        object.shift_remove("id");
        object.shift_remove("meta");
        let history = object.shift_remove("statusHistory");
        let first = history.as_ref().map_or(&Value::Null, |h| &h[0]["status"]);
        assert!(object["status"] != "finished" || first == "active", "it says what it was before: {object:?}");
    }
    // What was entered in error live has its episodes still, as such; derived there are none.
    let mut all: Vec<String> =
        episodes.iter().filter(|e| e["status"] != "entered-in-error").map(Value::to_string).collect();
    all.sort();
    all
}

/// Documents of every sort, with everything that can become of them.
async fn history(world: &World) {
    let whole = world.refer(&takeover(1, &["fatigue", "tobacco"])).await;
    moved(world, &whole, SOUTH, "accepted").await;
    let mut next = takeover(1, &["tobacco", "nutrition"]);
    (next["version"], next["reasonForVersion"]) = (json!(2), json!("AR"));
    world.refer(&next).await;
    moved(world, &whole, SOUTH, "in-progress").await;
    moved(world, &whole, SOUTH, "on-hold").await;
    let parts = world.refer(&takeover(2, &["physical-activity", "alcohol"])).await;
    let answer = json!({ "status": "accepted", "areas": [
        { "area": "physical-activity", "status": "accepted" },
        { "area": "alcohol", "status": "rejected", "reason": "Nej." },
    ] });
    assert_eq!(world.post(&format!("{parts}/answers"), SOUTH, &answer).await.status, 200);
    let stopped = world.refer(&takeover(3, &["lymphoedema"])).await;
    moved(world, &stopped, SOUTH, "accepted").await;
    moved(world, &stopped, SOUTH, "failed").await;
    let unanswered = world.refer(&takeover(4, &["sexual-reproductive"])).await;
    let sent_on = world.post(&format!("{unanswered}/answers"), SOUTH, &json!({ "redirectTo": HOME_CARE })).await;
    assert_eq!(sent_on.status, 200, "{}", sent_on.text);
    moved(world, &unanswered, HOME_CARE, "accepted").await;
    let mut asks = takeover(5, &["fatigue"]);
    asks["careResponsibilityRemains"] = json!(true);
    let asked = world.refer(&asks).await;
    moved(world, &asked, SOUTH, "accepted").await;
    let wrong = world.refer(&takeover(6, &["fatigue"])).await;
    moved(world, &wrong, SOUTH, "accepted").await;
    let mut retracted = takeover(6, &["fatigue"]);
    (retracted["version"], retracted["status"]) = (json!(2), json!("entered-in-error"));
    world.refer(&retracted).await;
    // Its unit changes between versions.
    let moving = world.refer(&takeover(7, &["insurance-medicine"])).await;
    moved(world, &moving, SOUTH, "accepted").await;
    let mut second = takeover(7, &["insurance-medicine"]);
    second["version"] = json!(2);
    second["recipient"]["unit"] = json!(HOME_CARE);
    world.refer(&second).await;
    moved(world, &moving, HOME_CARE, "accepted").await;
    let mut plan = sip(1, "given");
    let part = |id: &str, area: &str, unit: &str| json!({ "id": id, "area": area, "text": "Stöd", "status": "scheduled", "responsible": unit });
    plan["interventions"] = json!([part("S1", "psychosocial", SOUTH), part("S2", "psychosocial", ONCOLOGY)]);
    let plan = hand_over(world, &plan).await;
    moved(world, &plan, SOUTH, "accepted").await;
    let text = include_str!("../../../mappings/examples/handover.active-small.source.json");
    let handover = hand_over(world, &serde_json::from_str(text).unwrap()).await;
    world.until(&handover, "delivered").await;
    let task = world.task(&handover, NORTH).await;
    let people = world.people();
    people.step(&task, "accepted", &Default::default()).await.unwrap();
    world.until(&handover, "accepted").await;
    let left = vardkedja::demo::Left { answer: Some("Klart."), patient_contact: true, ..Default::default() };
    people.step(&task, "completed", &left).await.unwrap();
    world.until(&handover, "completed").await;
}

async fn everybody(world: &World) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for unit in [ONCOLOGY, SOUTH, NORTH, HOME_CARE, REHAB_TEAM] {
        all.push(said(episodes(world, unit).await));
    }
    all
}

#[actix_web::test]
async fn what_was_accepted_before_is_derived_as_if_it_had_been_decided_live_and_shown_to_the_same_units() {
    let mut world = World::open().await;
    history(&world).await;
    let live = everybody(&world).await;
    assert!(live[0].len() > 12, "{live:#?}");
    let answer = async |world: &World, unit| {
        let reply = world.post("/v1/responsibility/search", unit, &json!({ "patient": PATIENT })).await.json();
        let mut areas = reply["areas"].clone();
        for line in areas.as_array_mut().unwrap() {
            for one in line["responsible"].as_array_mut().unwrap() {
                one["episode"] = Value::Null;
            }
        }
        areas
    };
    let (before_oncology, before_south) = (answer(&world, ONCOLOGY).await, answer(&world, SOUTH).await);
    let folder = world.folder.clone();
    world.restart_with(|| age(&folder.join("gateway.sqlite"))).await;
    // Asked at once, whatever the background has come to.
    assert_eq!(answer(&world, ONCOLOGY).await, before_oncology);
    assert_eq!(answer(&world, SOUTH).await, before_south);
    let derived = everybody(&world).await;
    for (derived, live) in derived.iter().zip(&live) {
        assert_eq!(derived, live);
    }
    let log = world.get("/v1/patients/none/access-log", "").await;
    assert!(log.status == 404 || log.status == 200);
    // It goes on from there: what is answered now moves what was derived.
    let next = world.refer(&takeover(9, &["alcohol"])).await;
    moved(&world, &next, SOUTH, "accepted").await;
    assert_eq!(who(&world, ONCOLOGY, "alcohol", None).await, format!("one {SOUTH}"));
    world.close().await;
}

#[actix_web::test]
async fn killed_while_it_derives_it_goes_on_and_derives_nobody_twice() {
    let world = World::open_clinic_only().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let program = Program::start(&world.folder, SETTINGS, &[]);
    let numbers = ["195009072553", "189002029800", "200302022389", "199002222397", "200001252386", "189602029812"];
    for (n, number) in numbers.iter().enumerate() {
        let mut referral = takeover(n as u32 + 1, &["fatigue", "tobacco"]);
        referral["patient"]["personnummer"] = json!(number);
        let sent =
            http.post(format!("{}/v1/referrals", program.url)).header("Vardkedja-Unit", ONCOLOGY).json(&referral);
        let sent = sent.send().await.unwrap();
        let place = sent.headers()["location"].to_str().unwrap().to_owned();
        let answer = http
            .post(format!("{}{place}/answers", program.url))
            .header("Vardkedja-Unit", SOUTH)
            .header("Idempotency-Key", n.to_string())
            .json(&json!({ "status": "accepted" }));
        assert_eq!(answer.send().await.unwrap().status(), 200);
    }
    program.stop().await;
    let path = world.folder.join("program.sqlite");
    age(&path);
    for after in [0u64, 2, 5, 9, 20] {
        let program = Program::start(&world.folder, SETTINGS, &[]);
        tokio::time::sleep(std::time::Duration::from_millis(after)).await;
        program.signal("-KILL");
    }
    let program = Program::start(&world.folder, SETTINGS, &[]);
    for number in numbers {
        let asked = json!({ "patient": number, "area": "tobacco" });
        let asked =
            http.post(format!("{}/v1/responsibility/search", program.url)).header("Vardkedja-Unit", SOUTH).json(&asked);
        let line: Value = asked.send().await.unwrap().json().await.unwrap();
        assert_eq!(line["areas"][0]["responsible"][0]["unit"], SOUTH, "{line:#}");
    }
    program.stop().await;
    let db = Connection::open(&path).unwrap();
    assert_eq!(count(&db, "charge_underived"), 0);
    assert_eq!(count(&db, "resource WHERE type = 'EpisodeOfCare'"), 24, "two units, two areas, six patients");
    let log = "audit WHERE action = 'responsibility' AND payload LIKE '%\"derived\":true%'";
    assert_eq!(count(&db, log), 6, "each once");
    drop(db);
    world.close().await;
}
