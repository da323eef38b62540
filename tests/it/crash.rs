//! The real program, killed with SIGKILL in the middle of its work: what it acknowledged is there, delivered once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::world::{ONCOLOGY, World, referral};

/// The gateway as a process of its own, so that it can be killed.
struct Program {
    process: Child,
    url: String,
}

impl Program {
    fn start(folder: &Path, clinic: &str) -> Self {
        let file = folder.join("killed.toml");
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"killed.sqlite\"\n[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_vardkedja"))
            .args(["serve", "--config", file.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the program listens").to_owned();
        Self { process, url }
    }

    /// SIGKILL: nothing of it gets to say goodbye.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Referrals for three patients, so that lanes are shared and not.
fn document(number: u32) -> Value {
    let patients = ["195009072553", "196101182803", "189002029800"];
    let mut document = referral(number);
    document["patient"]["personnummer"] = json!(patients[number as usize % 3]);
    document
}

async fn send(client: &reqwest::Client, url: &str, document: &Value) -> Option<String> {
    let request = client.post(format!("{url}/v1/referrals")).header("Vardkedja-Unit", ONCOLOGY).json(document);
    let response = request.send().await.ok()?;
    (response.status() == 202).then(|| response.headers()["location"].to_str().unwrap().to_owned())
}

#[actix_web::test]
async fn a_referral_survives_a_crash_between_accept_and_delivery() {
    const ROUNDS: usize = 5;
    let world = World::open().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut acknowledged, mut number) = (Vec::new(), 0_u32);
    for round in 0..ROUNDS {
        // In every other round the receiver fails, so that the kill comes between accept and delivery for certain.
        if round % 2 == 0 {
            world.misbehave(json!({ "kind": "error", "probability": 0.5, "seed": round, "method": "POST" })).await;
        }
        let program = Program::start(&world.folder, &world.clinic);
        let answered = Arc::new(AtomicUsize::new(0));
        let mut senders = Vec::new();
        for _ in 0..8 {
            let (client, url, answered) = (client.clone(), program.url.clone(), Arc::clone(&answered));
            let first = number;
            number += 40;
            senders.push(tokio::spawn(async move {
                let mut got = Vec::new();
                for n in first..first + 40 {
                    match send(&client, &url, &document(n)).await {
                        Some(location) => got.push((n, location)),
                        None => break,
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                got
            }));
        }
        while answered.load(Ordering::SeqCst) < 20 {
            tokio::task::yield_now().await;
        }
        program.kill();
        for sender in senders {
            acknowledged.extend(sender.await.unwrap());
        }
        world.behave().await;
    }
    let program = Program::start(&world.folder, &world.clinic);
    assert!(acknowledged.len() >= 20 * ROUNDS);
    for (n, location) in &acknowledged {
        world.until(&format!("{}{location}", program.url), "delivered").await;
        let again = send(&client, &program.url, &document(*n)).await;
        assert_eq!(again.as_ref(), Some(location), "the same document gets the same place");
    }
    let mut arrived: Vec<String> = world
        .at_clinic("ServiceRequest")
        .await
        .iter()
        .map(|r| r["identifier"][0]["value"].as_str().unwrap().to_owned())
        .collect();
    arrived.sort();
    let all = arrived.len();
    arrived.dedup();
    assert_eq!(all, arrived.len(), "nothing arrived twice");
    for (n, _) in &acknowledged {
        assert!(arrived.contains(&format!("{ONCOLOGY}#R-{n}")), "R-{n} was acknowledged and lost");
    }
    assert_eq!(world.at_clinic("Patient").await.len(), 3);
    program.kill();
    world.close().await;
}
