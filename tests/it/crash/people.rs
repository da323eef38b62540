//! The people: the staff at the receiver, who receive, accept, complete and reject, and the person on call at the gateway,
//! who tries again what is parked and decides about what cannot be sent.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::programs::{Site, http};

#[derive(Clone)]
pub struct People {
    site: Site,
    http: reqwest::Client,
    seed: u64,
    /// Deliveries that were tried again once.
    tried: Arc<Mutex<HashSet<String>>>,
}

/// What the staff writes about a Task, so that it is found again at the sender.
pub fn words(task: &str) -> String {
    format!("Svar om {task}.")
}

impl People {
    pub fn new(site: &Site, seed: u64) -> Self {
        Self { site: site.clone(), http: http(), seed, tried: Arc::default() }
    }

    pub async fn work(self, stop: Arc<AtomicBool>) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        while !stop.load(Ordering::SeqCst) {
            let open = self.get(&format!("{}/worklist", self.site.clinic)).await.unwrap_or_default();
            let mut tasks = open.as_array().cloned().unwrap_or_default();
            rng.shuffle(&mut tasks);
            for task in tasks.iter().take(3) {
                self.step(task, &mut rng).await;
            }
            self.decide().await;
            tokio::time::sleep(Duration::from_millis(rng.u64(20..120))).await;
        }
    }

    async fn step(&self, task: &Value, rng: &mut fastrand::Rng) {
        let (Some(id), Some(identifier)) = (task["id"].as_str(), task["identifier"].as_str()) else { return };
        if task["asked"].as_str().unwrap_or_default().starts_with("abort") {
            return; // read, and answered by moving the Task that it is about
        }
        let contact = json!({ "at": "2026-03-09T09:30:00+01:00", "with": "patient", "medium": "telefon" });
        let answer = words(identifier);
        let (step, note) = match (task["status"].as_str().unwrap_or_default(), rng.u8(..10)) {
            ("requested", 0..3) => ("receive", json!({})),
            ("requested" | "received", 3..8) => ("accept", json!({})),
            ("requested" | "received", 8) => ("reject", json!({ "text": answer })),
            ("accepted", 0..2) => ("start", json!({})),
            ("accepted", 2) => ("hold", json!({ "text": "Väntar på besked." })),
            ("on-hold", 0..5) => ("start", json!({})),
            ("accepted" | "in-progress", 3..8) => {
                ("complete", json!({ "text": answer, "kva": ["DV133"], "contact": contact }))
            }
            _ => return,
        };
        let url = format!("{}/worklist/{id}/{step}", self.site.clinic);
        // The receiver may be killed in the middle: what its people did is what its database says.
        let _ = self.http.post(url).body(note.to_string()).send().await;
    }

    /// Tries again what is parked, once; what parks a second time is given up by a named person.
    pub async fn decide(&self) {
        let url = format!("{}/v1/deliveries?state=parked", self.site.gateway());
        let Some(parked) = self.get(&url).await else { return };
        for delivery in parked["deliveries"].as_array().map_or(&[][..], Vec::as_slice) {
            let id = delivery["id"].as_str().unwrap_or_default();
            let again = self.tried.lock().unwrap().insert(id.to_owned());
            let (verb, body) = match again {
                true => ("retry", json!({})),
                false => ("skip", json!({ "by": "Jour Jourdotter", "reason": "Korsade ett svar." })),
            };
            let url = format!("{}/v1/deliveries/{id}/{verb}", self.site.gateway());
            let _ = self.http.post(url).body(body.to_string()).send().await;
        }
    }

    pub async fn nothing_waits(&self) -> bool {
        for state in ["waiting", "parked"] {
            let url = format!("{}/v1/deliveries?state={state}&limit=1", self.site.gateway());
            let found = self.get(&url).await;
            if found.is_none_or(|f| f["deliveries"].as_array().is_none_or(|d| !d.is_empty())) {
                return false;
            }
        }
        true
    }

    async fn get(&self, url: &str) -> Option<Value> {
        let response = self.http.get(url).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        response.json().await.ok()
    }
}
