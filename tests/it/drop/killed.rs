//! The real program is killed with SIGKILL while it takes files: every file is taken once, and each has its receipt.

use std::time::Duration;

use super::Drop;
use crate::program::Program;
use crate::world::{World, referral};

const FILES: u32 = 60;
const KILLS: usize = 8;

#[actix_web::test]
async fn files_are_taken_once_however_often_the_program_is_killed() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    println!("seed {seed}");
    let world = World::open_clinic_only().await;
    let place = Drop::make(&world.folder, "export");
    let settings = format!(
        "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{}/fhir\"\n{}",
        world.clinic,
        Drop::settings("export", "referral", "json", "at_once = 7")
    );
    let mut landed = 0;
    for kill in 0..KILLS {
        let program = Program::start(&world.folder, &settings, &[]);
        // Files land while it works and while it is down.
        let until = FILES * (kill as u32 + 1) / KILLS as u32;
        for number in landed..until {
            place.put(&format!("r-{number}.json"), referral(number + 1).to_string());
        }
        landed = until;
        if kill == KILLS / 2 {
            place.put("bad.json", "[]");
        }
        // At a chosen moment: when so many are done that were not, or as soon as one is claimed.
        let done = place.names("done").len() + rng.usize(..4);
        place.until_so("work goes on", || place.names("done").len() >= done || place.names(".taken").len() > 1).await;
        tokio::time::sleep(Duration::from_micros(rng.u64(..4000))).await;
        program.signal("-KILL");
        drop(program);
    }
    let program = Program::start(&world.folder, &settings, &[]);
    place
        .until_so("all are done", || place.names("done").len() == FILES as usize && place.names(".taken").is_empty())
        .await;
    place.until("refused/bad.json").await;
    place.until("refused/bad.json.findings.json").await;
    let mut expected: Vec<String> = (0..FILES).map(|number| format!("r-{number}.json")).collect();
    expected.sort();
    assert_eq!(place.names("done"), expected);
    assert_eq!(place.names("").iter().filter(|name| name.ends_with(".json")).count(), 0);
    let mut exchanges = std::collections::BTreeSet::new();
    for name in &expected {
        let receipt = place.json(&format!("answers/{name}.receipt.json"));
        exchanges.insert(receipt["exchange"].as_str().unwrap().to_owned());
    }
    assert_eq!(exchanges.len(), FILES as usize);
    let url = format!("{}/v1/exchanges?limit=500", program.url);
    let known = world.ask("GET", &url, &[], None).await.json();
    assert_eq!(known["exchanges"].as_array().unwrap().len(), FILES as usize);
    // Each has its effect at the other side, once, and is told so.
    for exchange in &exchanges {
        let status = format!("answers/{exchange}.status.json");
        place.until_so(&status, || place.path(&status).exists() && place.json(&status)["stage"] == "delivered").await;
    }
    assert_eq!(world.at_clinic("ServiceRequest").await.len(), FILES as usize);
    drop(program);
    world.close().await;
}
