//! The program is killed again and again while it looks at plans whose interventions have ended: everybody is asked, once.

use reqwest::Client;
use serde_json::Value;
use vardkedja::Gateway;
use vardkedja::access::Caller;
use vardkedja::config::Config;
use vardkedja::domain::{Format, Kind};
use vardkedja::sync::{Submission, submit};

use super::trained;
use crate::program::Program;
use crate::world::{ONCOLOGY, REHAB_TEAM, World};

const MANY: u32 = 60;

/// Sends plans on a day in March, and closes the database.
async fn plans_of_march(folder: &std::path::Path) {
    let config = Config { db: folder.join("program.sqlite"), ..Config::load(None).unwrap() };
    let gateway = Gateway::open(config).unwrap();
    let caller = Caller::operator();
    for number in 1..=MANY {
        let bytes = trained(number, REHAB_TEAM).to_string();
        let sent = Submission {
            caller: &caller,
            kind: Kind::RehabPlan,
            format: Format::Json,
            bytes: bytes.as_bytes(),
            key: None,
            now: "2026-03-10T09:00:00Z".parse().unwrap(),
        };
        submit(&gateway, &sent).await.unwrap();
    }
    gateway.store.clone().close();
}

#[actix_web::test]
async fn however_often_it_is_killed_everybody_is_asked_once() {
    let world = World::open_clinic_only().await;
    let http = Client::builder().no_proxy().build().unwrap();
    plans_of_march(&world.folder).await;
    let settings = "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n";
    for round in 0..6_u64 {
        let running = Program::start(&world.folder, settings, &[]);
        // Somewhere among the plans: at once, or after some of them.
        tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(..60) + round * 10)).await;
        running.signal("-KILL");
    }
    let program = Program::start(&world.folder, settings, &[]);
    let ask = async |path: &str, unit: &str| -> Value {
        let request = http.get(format!("{}{path}", program.url)).header("Vardkedja-Unit", unit);
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    };
    let path = "/fhir/Task?code=reassessment&_count=500";
    let mut found = Vec::new();
    for _ in 0..1200 {
        found = ask(path, REHAB_TEAM).await["entry"].as_array().cloned().unwrap_or_default();
        if found.len() == MANY as usize {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(found.len(), MANY as usize);
    assert!(found.iter().all(|entry| entry["resource"]["meta"]["versionId"] == "1"), "made once");
    assert_eq!(ask(path, ONCOLOGY).await["entry"].as_array().unwrap().len(), MANY as usize);
    program.stop().await;
    let (_, said) =
        crate::program::run(&["audit", "verify", "--db", world.folder.join("program.sqlite").to_str().unwrap()]);
    assert!(!said.contains("broken"), "{said}");
    world.close().await;
}
