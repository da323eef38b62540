//! The program is killed again and again while it tells what is overdue: every level of every wait is told, once.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::{Value, json};

use super::rules;
use crate::program::Program;
use crate::world::{ONCOLOGY, SOUTH, World, referral_to};

const MANY: u32 = 25;

async fn ask(http: &Client, program: &Program, path: &str, unit: &str) -> Option<Value> {
    let request = http.get(format!("{}{path}", program.url)).header("Vardkedja-Unit", unit);
    let reply = request.send().await.unwrap();
    let text = reply.text().await.unwrap();
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[actix_web::test]
async fn however_often_it_is_killed_every_level_is_told_once() {
    let world = World::open_clinic_only().await;
    let http = Client::builder().no_proxy().build().unwrap();
    std::fs::write(world.folder.join("rules.toml"), rules("[\"1s\", \"2s\", \"3s\"]")).unwrap();
    let settings = "[clocks]\nrules = \"rules.toml\"\nevery_s = 1\nat_once = 7\n\
                    [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n";
    let program = Program::start(&world.folder, settings, &[]);
    for number in 1..=MANY {
        let request = http.post(format!("{}/v1/referrals", program.url)).header("Vardkedja-Unit", ONCOLOGY);
        let body = referral_to(number, SOUTH).to_string();
        let reply = request.header("Content-Type", "application/json").body(body).send().await.unwrap();
        assert_eq!(reply.status().as_u16(), 202);
    }
    let mut program = Some(program);
    for round in 0..8_u64 {
        if let Some(running) = program.take() {
            running.signal("-KILL");
            drop(running);
        }
        let started = Program::start(&world.folder, settings, &[]);
        // Somewhere in a round: at once, or after some of it.
        tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(..300) + round * 40)).await;
        program = Some(started);
    }
    let program = program.unwrap();
    let path = "/v1/open-loops?limit=100";
    for _ in 0..600 {
        let list = ask(&http, &program, path, SOUTH).await.unwrap();
        let loops = list["loops"].as_array().unwrap();
        if loops.len() == MANY as usize && loops.iter().all(|l| l["level"] == 3) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let list = ask(&http, &program, path, SOUTH).await.unwrap();
    assert_eq!(list["loops"].as_array().unwrap().len(), MANY as usize);
    let mut told = 0;
    for line in list["loops"].as_array().unwrap() {
        assert_eq!(line["level"], 3, "{line}");
        let timeline = format!("/v1/exchanges/{}/timeline", line["exchange"].as_str().unwrap());
        let events = ask(&http, &program, &timeline, ONCOLOGY).await.unwrap()["events"].clone();
        let mut levels: BTreeMap<i64, usize> = BTreeMap::new();
        for event in events.as_array().unwrap().iter().filter(|e| e["what"] == "overdue") {
            *levels.entry(event["level"].as_i64().unwrap()).or_default() += 1;
        }
        assert!(levels.contains_key(&3) && levels.values().all(|many| *many == 1), "{levels:?}");
        told += levels.len();
    }
    for unit in [SOUTH, ONCOLOGY] {
        let path = "/fhir/Task?code=overdue&status=requested&_count=200";
        let found = ask(&http, &program, path, unit).await.unwrap();
        let tasks = found["entry"].as_array().unwrap();
        assert_eq!(tasks.len(), MANY as usize, "one each for {unit}");
        let versions: i64 =
            tasks.iter().map(|t| t["resource"]["meta"]["versionId"].as_str().unwrap().parse::<i64>().unwrap()).sum();
        // A reminder and an escalation differ; a second escalation says what the first said.
        assert!(versions <= i64::try_from(told).unwrap(), "{versions} versions for {told}");
    }
    let verified = program.stop().await;
    let (_, said) =
        crate::program::run(&["audit", "verify", "--db", world.folder.join("program.sqlite").to_str().unwrap()]);
    assert!(json!(said).is_string() && !said.contains("broken"), "{said} {verified}");
    world.close().await;
}
