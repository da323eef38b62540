//! Placer and filler act at random, one after the other and at once, with repetitions, stale versions and versions out of order,
//! against a naive model: no illegal move is stored, no update is lost, and the exchange stands where the Task does.
//!
//! The seed is told when it fails; `WORKFLOW_WORLDS` asks for more of them than the suite runs.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use super::{about_three, answer, areas, standing};
use crate::world::{ONCOLOGY, SOUTH, World};

const AREAS: [&str; 3] = ["physical-activity", "nutrition", "fatigue"];
const STATUSES: [&str; 9] =
    ["requested", "received", "on-hold", "accepted", "in-progress", "completed", "rejected", "failed", "cancelled"];
const ENDED: [&str; 4] = ["completed", "rejected", "failed", "cancelled"];

/// What the owner may do, in words.
fn owner_may(from: &str, to: &str) -> bool {
    let open = match from {
        "requested" => "received on-hold accepted in-progress completed rejected",
        "received" => "on-hold accepted in-progress completed rejected",
        "on-hold" => "received accepted in-progress completed rejected failed cancelled",
        "accepted" => "on-hold in-progress completed failed cancelled",
        "in-progress" => "on-hold completed failed cancelled",
        _ => "",
    };
    from == to || open.split(' ').any(|one| one == to)
}

/// What the one who asked may do.
fn placer_may(from: &str, to: &str) -> bool {
    match to {
        "cancelled" => ["requested", "received"].contains(&from),
        "requested" => ["on-hold", "rejected", "failed", "cancelled"].contains(&from),
        _ => false,
    }
}

/// The request as a child would keep it in mind.
#[derive(Debug, Clone)]
struct Model {
    status: String,
    parts: BTreeMap<String, String>,
    has_answer: bool,
    document: u32,
}

impl Model {
    /// What becomes of it by an answer; `None` where that is refused.
    fn answered(&self, status: &str, text: bool, said: &BTreeMap<String, String>) -> Option<Self> {
        let needs = ["completed", "rejected", "failed"].contains(&status);
        if needs && !text && !(status == "completed" && self.has_answer) {
            return None;
        }
        if !owner_may(&self.status, status) {
            return None;
        }
        if ENDED.contains(&self.status.as_str()) && (text || !said.is_empty()) {
            return None;
        }
        let mut next = self.clone();
        for (area, to) in said {
            if !owner_may(self.parts.get(area).map_or("requested", String::as_str), to) {
                return None;
            }
            next.parts.insert(area.clone(), to.clone());
        }
        if !next.parts.is_empty() && next.parts.len() < AREAS.len() {
            return None;
        }
        if ["failed", "cancelled"].contains(&status) {
            for (_, part) in next.parts.iter_mut().filter(|(area, _)| !said.contains_key(*area)) {
                if !ENDED.contains(&part.as_str()) {
                    *part = status.to_owned();
                }
            }
        }
        let taken = next.parts.values().any(|part| part != "rejected");
        let open = next.parts.values().any(|part| !ENDED.contains(&part.as_str()));
        let stands = next.parts.is_empty()
            || match status {
                "accepted" | "in-progress" | "on-hold" => taken,
                "completed" => taken && !open,
                "rejected" => !taken,
                "requested" | "received" => false,
                _ => true,
            };
        if !stands {
            return None;
        }
        next.has_answer |= text && ["received", "requested", "accepted", "in-progress", "completed"].contains(&status);
        next.status = status.to_owned();
        Some(next)
    }

    /// A newer version of the request.
    fn asked_anew(&self) -> Option<Self> {
        if self.status == "completed" {
            return None;
        }
        let mut next = Self { document: self.document + 1, ..self.clone() };
        if placer_may(&self.status, "requested") {
            next.status = "requested".into();
        }
        if next.status == "requested" {
            next.parts.clear();
        }
        Some(next)
    }
}

/// One request and those who act on it.
struct Play<'w> {
    world: &'w World,
    number: u32,
    exchange: String,
    task: String,
    model: Model,
    /// Answers that were taken: the version that each was told, and the status it asked for.
    taken: Vec<(u64, String)>,
}

impl Play<'_> {
    async fn task(&self) -> Value {
        self.world.get(&format!("/fhir/Task/{}", self.task), ONCOLOGY).await.json()
    }

    fn document(&self, version: u32) -> Value {
        let mut document = about_three(self.number, SOUTH);
        document["version"] = json!(version);
        document["question"] = json!(format!("Fråga {version}"));
        document
    }

    fn body(status: &str, text: Option<u32>, said: &BTreeMap<String, String>, version: Option<u64>) -> Value {
        let mut body = json!({ "status": status });
        if let Some(text) = text {
            body["text"] = json!(format!("Svar {text}"));
        }
        if !said.is_empty() {
            let list = said.iter().map(|(area, to)| json!({ "area": area, "status": to, "reason": "Skäl." }));
            body["areas"] = list.collect();
        }
        if let Some(version) = version {
            body["version"] = json!(version);
        }
        body
    }

    fn said(&self, random: &mut Rng) -> BTreeMap<String, String> {
        if random.u8(..3) > 0 {
            return BTreeMap::new();
        }
        let all = random.bool();
        let some = AREAS.iter().filter(|_| all || random.bool()).copied().collect::<Vec<_>>();
        let words = ["accepted", "rejected", "in-progress", "completed", "accepted"];
        some.into_iter().map(|area| (area.to_owned(), words[random.usize(..words.len())].to_owned())).collect()
    }

    /// One answer, after which nothing else happens before it is judged.
    async fn answer_alone(&mut self, random: &mut Rng) {
        let before = self.task().await;
        let version: u64 = before["meta"]["versionId"].as_str().unwrap().parse().unwrap();
        let status = STATUSES[random.usize(1..STATUSES.len())];
        let (text, said) = (random.u8(..5).gt(&0).then(|| random.u32(..)), self.said(random));
        let stale = version > 1 && random.u8(..8) == 0;
        let seen = if stale { Some(version - 1) } else { random.bool().then_some(version) };
        let body = Self::body(status, text, &said, seen);
        let reply = answer(self.world, &self.exchange, SOUTH, body.clone()).await;
        let expected = self.model.answered(status, text.is_some(), &said).filter(|_| !stale);
        assert_eq!(reply.status == 200, expected.is_some(), "{:?} then {body}: {}", self.model, reply.text);
        match expected {
            Some(next) => {
                self.taken.push((reply.json()["version"].as_u64().unwrap(), status.to_owned()));
                self.model = next;
                // The same again changes nothing.
                if random.bool() && seen.is_none() {
                    let again = answer(self.world, &self.exchange, SOUTH, body).await;
                    assert!(again.status == 200 || again.status == 409, "{}", again.text);
                    let told = again.json()["version"].clone();
                    assert!(again.status == 409 || told == reply.json()["version"], "{}", again.text);
                }
            }
            None => assert_eq!(self.task().await, before, "{body}: what is refused leaves no trace"),
        }
    }

    async fn version(&mut self, random: &mut Rng) {
        let late = random.u8(..3) == 0;
        let version = if late { random.u32(2..=self.model.document) } else { self.model.document + 1 };
        let reply = self.world.post("/v1/referrals", ONCOLOGY, &self.document(version)).await;
        if late {
            assert_eq!(reply.status, 202, "{}", reply.text);
            return;
        }
        let expected = self.model.asked_anew();
        assert_eq!(reply.status == 202, expected.is_some(), "{:?}: {}", self.model, reply.text);
        self.model = expected.unwrap_or_else(|| self.model.clone());
    }

    async fn cancel(&mut self) {
        let path = format!("{}/cancel", self.exchange);
        let reply = self.world.post(&path, ONCOLOGY, &json!({ "reason": "Ångrat." })).await;
        let ended = ENDED.contains(&self.model.status.as_str());
        assert_eq!(reply.status == 200, !ended, "{:?}: {}", self.model, reply.text);
        if placer_may(&self.model.status, "cancelled") {
            self.model.status = "cancelled".into();
        }
    }

    /// Several at once who have all read the same version, with a new version of the request among them: one of them is taken.
    async fn race(&mut self, random: &mut Rng) {
        let version: u64 = self.task().await["meta"]["versionId"].as_str().unwrap().parse().unwrap();
        let statuses: Vec<&str> = (0..3).map(|_| STATUSES[random.usize(1..STATUSES.len())]).collect();
        let mut body = |n: usize| Self::body(statuses[n], Some(random.u32(..)), &BTreeMap::new(), Some(version));
        let bodies = [body(0), body(1), body(2)];
        let one = |n: usize| answer(self.world, &self.exchange, SOUTH, bodies[n].clone());
        let replies = if random.bool() {
            let document = self.document(self.model.document + 1);
            let sent = self.world.post("/v1/referrals", ONCOLOGY, &document);
            let (first, sent, second, third) = tokio::join!(one(0), sent, one(1), one(2));
            assert!([202, 409].contains(&sent.status), "{}", sent.text);
            self.model.document += u32::from(sent.status == 202);
            [first, second, third]
        } else {
            tokio::join!(one(0), one(1), one(2)).into()
        };
        let mut moved = 0;
        for (reply, status) in replies.iter().zip(&statuses) {
            assert!([200, 409, 412, 422].contains(&reply.status), "{}", reply.text);
            if reply.status == 200 {
                let told = reply.json()["version"].as_u64().unwrap();
                moved += u32::from(told > version);
                self.taken.push((told, (*status).to_owned()));
            }
        }
        assert!(moved <= 1, "two have moved what both had read: {statuses:?}");
        self.look().await;
    }

    /// Takes what is there for true; that it came about rightly is seen in the history at the end.
    async fn look(&mut self) {
        let line = standing(self.world, &self.exchange, SOUTH).await;
        let pairs =
            areas(&line).into_iter().filter_map(|a| a.split_once(' ').map(|(a, s)| (a.to_owned(), s.to_owned())));
        self.model.parts = pairs.collect();
        self.model.status = line["status"].as_str().unwrap().to_owned();
        let task = self.task().await;
        let outputs = task["output"].as_array().cloned().unwrap_or_default();
        self.model.has_answer = outputs.iter().any(|o| o["type"]["text"] == "answer");
    }

    /// What is stored is what the model says.
    async fn agree(&self) {
        let line = standing(self.world, &self.exchange, SOUTH).await;
        assert_eq!(line["status"], self.model.status, "{:?}: {line:#}", self.model);
        let parts: Vec<String> = self.model.parts.iter().map(|(area, status)| format!("{area} {status}")).collect();
        assert_eq!(areas(&line), parts, "{:?}", self.model);
        let shown = self.world.get(&self.exchange, "").await.json();
        let stage = shown["stage"].as_str().unwrap();
        let stands = stage == self.model.status
            || (self.model.status == "requested" && ["waiting", "delivered"].contains(&stage))
            || stage == "waiting";
        assert!(stands, "{stage}: {:?}", self.model);
        assert_eq!(shown["document"]["version"], self.model.document);
    }

    /// No step in its history is one that nobody may take, and every answer that was taken stands in it.
    async fn history(&self) {
        let path = format!("/fhir/Task/{}/_history?_count=500", self.task);
        let found = self.world.get(&path, ONCOLOGY).await.json();
        let mut versions: Vec<(u64, String)> = found["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| &e["resource"])
            .map(|r| {
                (r["meta"]["versionId"].as_str().unwrap().parse().unwrap(), r["status"].as_str().unwrap().to_owned())
            })
            .collect();
        versions.sort();
        for pair in versions.windows(2) {
            let (from, to) = (&pair[0].1, &pair[1].1);
            assert!(owner_may(from, to) || placer_may(from, to), "{from} to {to}: {versions:?}");
        }
        for (version, status) in &self.taken {
            let (_, stands) = versions.iter().find(|(v, _)| v == version).unwrap();
            assert_eq!(stands, status, "version {version} was told to be {status}: {versions:?}");
        }
    }
}

async fn play(world: &World, number: u32, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let exchange = super::three_areas(world, number, SOUTH).await;
    let task = world.task(&exchange, SOUTH).await;
    let model = Model { status: "requested".into(), parts: BTreeMap::new(), has_answer: false, document: 1 };
    let mut play = Play { world, number, exchange, task, model, taken: Vec::new() };
    // The first version as `document` writes it.
    play.model.document = 2;
    world.refer(&play.document(2)).await;
    for _ in 0..25 {
        match random.u8(..10) {
            0 => play.cancel().await,
            1 | 2 => play.version(&mut random).await,
            3 => play.race(&mut random).await,
            _ => play.answer_alone(&mut random).await,
        }
        play.agree().await;
    }
    play.history().await;
}

#[actix_web::test]
async fn whatever_placer_and_filler_do_in_whatever_order_the_request_stands_where_it_may() {
    let worlds = std::env::var("WORKFLOW_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let world = World::open().await;
    for seed in 0..worlds {
        let number = u32::try_from(seed).unwrap() + 1;
        eprintln!("seed {seed}");
        play(&world, number, seed).await;
    }
    world.close().await;
}
