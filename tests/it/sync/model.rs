//! A model that is played with the real programs: two systems act at random, each on its own server, while answers are lost,
//! come twice, late or not at all, and the gateway and the servers are killed. In the end both say the same, nobody's word is
//! gone, and nothing was written for nothing.
//!
//! `cargo test` plays some worlds. A long run: `SYNC_WORLDS=100 cargo test --test it sync::model`; `SYNC_SEED` repeats one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::crash::programs::{Gateway, Receiver, Site};
use crate::world::{NORTH, ONCOLOGY};

/// How long the two may take to agree when nobody acts and nothing fails any more.
const PATIENCE: Duration = Duration::from_secs(60);
const STEPS: usize = 24;
const STATUSES: [&str; 4] = ["not-started", "scheduled", "in-progress", "on-hold"];
/// What goes wrong: kind, how often, milliseconds. Nothing that parks: then a person would have to act.
const FAULTS: [(&str, f64, u64); 9] = [
    ("error", 0.05, 0),
    ("lost-answer", 0.08, 0),
    ("hang", 0.05, 80),
    ("late", 0.04, 80),
    ("late", 0.01, 1_300),
    ("truncated", 0.04, 0),
    ("reset", 0.04, 0),
    ("garbage", 0.02, 0),
    ("repeated", 0.05, 0),
];

struct Play {
    rng: fastrand::Rng,
    site: Site,
    /// The specialist's own server is at this site's clinic.
    other: Site,
    primary: Option<Receiver>,
    specialist: Option<Receiver>,
    gateway: Option<Gateway>,
    http: reqwest::Client,
    /// What was sent last of the plan and of the referral.
    plan: u32,
    referral: u32,
    /// What primary care wrote last of its intervention, and the versions of its copy of the plan that it wrote.
    status: Option<&'static str>,
    own_plans: BTreeSet<String>,
    /// Words for the goal that primary care wrote, by the version of its copy.
    goals: Vec<(String, String)>,
    task: &'static str,
    procedures: usize,
    settled: usize,
    done: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_systems_that_act_at_random_agree_in_the_end_and_no_word_is_lost() {
    let worlds = number("SYNC_WORLDS").unwrap_or(3);
    let first = number("SYNC_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let mut left: Vec<u64> = (first..first + worlds).rev().collect();
    while !left.is_empty() {
        let at_once: Vec<u64> = (0..3).filter_map(|_| left.pop()).collect();
        let played: Vec<_> = at_once.into_iter().map(|seed| tokio::spawn(play(seed))).collect();
        for world in played {
            world.await.unwrap();
        }
    }
}

async fn play(seed: u64) {
    println!("world SYNC_SEED={seed}");
    let mut play = Play::open(seed).await;
    play.send_plan().await;
    play.send_referral().await;
    play.wait("the first documents are at primary care", async |play| {
        play.at_primary("CarePlan").await.len() == 1 && play.at_primary("Task").await.len() == 1
    })
    .await;
    play.misbehave().await;
    for _ in 0..STEPS {
        play.step().await;
        let pause = play.rng.u64(..250);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    play.behave().await;
    play.end().await;
}

impl Play {
    async fn open(seed: u64) -> Self {
        let (site, other) = (Site::open(), Site::open());
        let partner = |name: &str, base: &str| {
            format!("[[partner]]\nname = \"{name}\"\nchannel = \"push\"\nfhir_base = \"{base}/fhir\"\ntimeout_s = 1\n")
        };
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.sqlite\"\nbase_url = \"http://gateway.example\"\n\
             [delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n{}{}\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n",
            partner("platform", &other.clinic),
            partner("primary-care", &site.clinic)
        );
        std::fs::write(site.folder.join("gateway.toml"), text).unwrap();
        let primary = Some(Receiver::start(&site));
        let specialist = Some(Receiver::start(&other));
        let mut gateway = Gateway::spawn(&site);
        gateway.listening_again(&site).await;
        Self {
            rng: fastrand::Rng::with_seed(seed),
            site,
            other,
            primary,
            specialist,
            gateway: Some(gateway),
            http: crate::crash::programs::http(),
            plan: 0,
            referral: 0,
            status: None,
            own_plans: BTreeSet::new(),
            goals: Vec::new(),
            task: "requested",
            procedures: 0,
            settled: 0,
            done: vec![format!("SYNC_SEED={seed}")],
        }
    }

    async fn misbehave(&mut self) {
        for receiver in [&self.primary, &self.specialist].into_iter().flatten() {
            for (kind, probability, milliseconds) in FAULTS {
                let seed = self.rng.u64(..1_000_000);
                let fault =
                    json!({ "kind": kind, "probability": probability, "seed": seed, "milliseconds": milliseconds });
                receiver.tell(Method::POST, fault.to_string()).await;
            }
        }
    }

    async fn behave(&self) {
        for receiver in [&self.primary, &self.specialist].into_iter().flatten() {
            receiver.behave().await;
        }
    }

    /// One act of somebody, or an accident.
    async fn step(&mut self) {
        let act = self.rng.u8(..20);
        self.done.push(format!("act {act}"));
        match act {
            0..4 => self.send_plan().await,
            4 => self.send_plans_out_of_order().await,
            5 | 6 => self.send_referral().await,
            7..11 => self.change_status().await,
            11 | 12 => self.change_goal().await,
            13 => self.move_task().await,
            14 | 15 => self.add_procedure().await,
            16 => self.settle().await,
            17 | 18 => {
                self.gateway.take().unwrap().kill();
                let mut gateway = Gateway::spawn(&self.site);
                gateway.listening_again(&self.site).await;
                self.gateway = Some(gateway);
            }
            _ => {
                self.primary.take().unwrap().kill();
                self.primary = Some(Receiver::start(&self.site));
                self.misbehave().await;
            }
        }
    }

    /// Asks until there is an answer: whoever sends does.
    async fn ask(&self, method: &Method, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> (u16, Value) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let mut request = self.http.request(method.clone(), url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = body {
                request = request.body(body.to_string());
            }
            if let Ok(response) = request.send().await {
                let status = response.status().as_u16();
                if let Ok(text) = response.text().await
                    && ![429, 503].contains(&status)
                {
                    return (status, serde_json::from_str(&text).unwrap_or_default());
                }
            }
            assert!(Instant::now() < until, "{method} {url}: no answer; {:?}", self.done);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn send(&self, path: &str, document: &Value) {
        let url = format!("{}{path}", self.site.gateway());
        let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json")];
        // Now and then the same twice: the second changes nothing.
        for _ in 0..=u8::from(document["version"].as_u64().is_some_and(|version| version % 3 == 0)) {
            let (status, said) = self.ask(&Method::POST, &url, &headers, Some(document)).await;
            assert!(status == 202 || status == 200, "{path}: {status} {said}; {:?}", self.done);
        }
    }

    fn plan(version: u32) -> Value {
        let mut plan = crate::world::plan(1);
        plan["version"] = json!(version);
        plan["title"] = json!(format!("Plan {version}"));
        plan
    }

    async fn send_plan(&mut self) {
        self.plan += 1;
        self.send("/v1/rehab-plans", &Self::plan(self.plan)).await;
    }

    async fn send_plans_out_of_order(&mut self) {
        self.plan += 2;
        self.send("/v1/rehab-plans", &Self::plan(self.plan)).await;
        self.send("/v1/rehab-plans", &Self::plan(self.plan - 1)).await;
    }

    async fn send_referral(&mut self) {
        self.referral += 1;
        let mut referral = crate::world::referral(1);
        referral["planId"] = Self::plan(1)["id"].clone();
        referral["version"] = json!(self.referral);
        referral["question"] = json!(format!("Fråga {}", self.referral));
        if self.referral > 1 {
            referral["reasonForVersion"] = json!("VR");
        }
        self.send("/v1/referrals", &referral).await;
    }

    /// Primary care's people change what stands at their own server; they are not let down by it.
    async fn change(&mut self, kind: &str, change: impl Fn(&mut Value)) -> Option<String> {
        self.behave().await;
        let base = format!("{}/fhir", self.site.clinic);
        let mut written = None;
        for _ in 0..20 {
            let Some(mut there) = self.at_primary(kind).await.into_iter().next() else { break };
            change(&mut there);
            let tag = format!("W/\"{}\"", there["meta"]["versionId"].as_str().unwrap());
            let url = format!("{base}/{kind}/{}", there["id"].as_str().unwrap());
            let headers = [("Content-Type", "application/fhir+json"), ("If-Match", tag.as_str())];
            let (status, said) = self.ask(&Method::PUT, &url, &headers, Some(&there)).await;
            if status < 300 {
                written = said["meta"]["versionId"].as_str().map(str::to_owned);
                break;
            }
            assert_eq!(status, 412, "{said}");
        }
        self.misbehave().await;
        written
    }

    async fn change_status(&mut self) {
        let status = STATUSES[self.rng.usize(..STATUSES.len())];
        let version = self.change("CarePlan", |plan| plan["activity"][0]["detail"]["status"] = json!(status)).await;
        self.own_plans.extend(version);
        self.status = Some(status);
    }

    async fn change_goal(&mut self) {
        let word = format!("Mål {}", self.rng.u32(..));
        if let Some(version) = self.change("Goal", |goal| goal["description"]["text"] = json!(word)).await {
            self.goals.push((version, word.clone()));
        }
    }

    async fn move_task(&mut self) {
        self.task = if self.task == "requested" { "accepted" } else { "in-progress" };
        let status = self.task;
        self.change("Task", |task| task["status"] = json!(status)).await;
    }

    async fn add_procedure(&mut self) {
        let Some(request) = self.at_primary("ServiceRequest").await.into_iter().next() else { return };
        self.behave().await;
        self.procedures += 1;
        let procedure = json!({
            "resourceType": "Procedure", "status": "completed", "subject": request["subject"],
            "basedOn": [{ "reference": format!("ServiceRequest/{}", request["id"].as_str().unwrap()) }],
            "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
            "performedDateTime": format!("2026-03-18T13:00:{:02}+01:00", self.procedures),
        });
        let url = format!("{}/fhir/Procedure", self.site.clinic);
        let headers = [("Content-Type", "application/fhir+json")];
        assert_eq!(self.ask(&Method::POST, &url, &headers, Some(&procedure)).await.0, 201);
        self.misbehave().await;
    }

    /// The specialist decides about what is open.
    async fn settle(&mut self) {
        for task in self.conflicts().await {
            let paths: BTreeSet<&str> =
                task["input"].as_array().unwrap().iter().map(|i| i["type"]["text"].as_str().unwrap()).collect();
            let elements: serde_json::Map<String, Value> = paths
                .into_iter()
                .map(|path| (path.to_owned(), json!(if self.rng.bool() { "ours" } else { "theirs" })))
                .collect();
            let url = format!("{}/v1/conflicts/{}/settle", self.site.gateway(), task["id"].as_str().unwrap());
            let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json")];
            let body = json!({ "by": super::SPECIALIST, "elements": elements });
            let (status, said) = self.ask(&Method::POST, &url, &headers, Some(&body)).await;
            assert!([200, 409, 422].contains(&status), "{status} {said}");
            self.settled += 1;
        }
    }

    async fn conflicts(&self) -> Vec<Value> {
        let code = "https://vardkedja.example/fhir/CodeSystem/worklist%7Csync-conflict";
        self.here(&format!("/fhir/Task?status=requested&code={code}")).await
    }

    async fn here(&self, path: &str) -> Vec<Value> {
        let url = format!("{}{path}", self.site.gateway());
        let (_, bundle) = self.ask(&Method::GET, &url, &[("Vardkedja-Unit", ONCOLOGY)], None).await;
        bundle["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect()
    }

    async fn at(&self, base: &str, path: &str) -> Vec<Value> {
        let url = format!("{base}/fhir/{path}");
        for _ in 0..200 {
            let (status, bundle) = self.ask(&Method::GET, &url, &[], None).await;
            if status == 200 && bundle["resourceType"] == "Bundle" {
                let mut found: Vec<Value> =
                    bundle["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect();
                found.dedup_by(|a, b| a["id"] == b["id"] && a["meta"]["versionId"] == b["meta"]["versionId"]);
                return found;
            }
        }
        panic!("{url} does not answer; {:?}", self.done);
    }

    async fn at_primary(&self, path: &str) -> Vec<Value> {
        self.at(&self.site.clinic, path).await
    }

    async fn wait(&mut self, what: &str, is_so: impl AsyncFn(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self).await {
            assert!(Instant::now() < until, "never: {what}; {:?} {}", self.done, self.site.folder.display());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nobody acts any more: what is open is decided, and then all is held against what was done.
    async fn end(mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let differ = self.differences().await;
            if differ.is_empty() {
                break;
            }
            self.settle().await;
            let log = self.site.folder.display();
            assert!(Instant::now() < until, "they never agreed: {differ:#?}\n{:?}\n{log}", self.done);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Whatever is read again, nothing moves.
        let before = (self.versions("CarePlan").await.len(), self.versions("Goal").await.len());
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        assert_eq!(
            (self.versions("CarePlan").await.len(), self.versions("Goal").await.len()),
            before,
            "{:?}",
            self.done
        );
        self.check().await;
        self.gateway.take().unwrap().kill();
        for folder in [&self.site.folder, &self.other.folder] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// What the two sides say differently.
    async fn differences(&self) -> Vec<String> {
        let mut differ = Vec::new();
        let mut same = |what: &str, a: Value, b: Value| {
            if a != b {
                differ.push(format!("{what}: {a} {b}"));
            }
        };
        let first = |list: Vec<Value>| list.into_iter().next().unwrap_or_default();
        let (here, there) = (first(self.here("/fhir/CarePlan").await), first(self.at_primary("CarePlan").await));
        same("title", here["title"].clone(), json!(format!("Plan {}", self.plan)));
        same("title there", there["title"].clone(), here["title"].clone());
        let status = |plan: &Value| plan["activity"][0]["detail"]["status"].clone();
        same("status", status(&here), json!(self.status.unwrap_or("scheduled")));
        same("status there", status(&there), status(&here));
        if self.status.is_some_and(|status| status != "scheduled") {
            let told = first(self.at(&self.other.clinic, "CarePlan").await);
            same("status at the specialist's", status(&told), status(&here));
        }
        let (here, there) =
            (first(self.here("/fhir/ServiceRequest").await), first(self.at_primary("ServiceRequest").await));
        let question = json!(format!("Fråga {}", self.referral));
        same("question", here["reasonCode"][0]["text"].clone(), question.clone());
        same("question there", there["reasonCode"][0]["text"].clone(), question);
        let (here, there) = (first(self.here("/fhir/Goal").await), first(self.at_primary("Goal").await));
        same("goal", here["description"]["text"].clone(), there["description"]["text"].clone());
        let task = first(self.at_primary("Task").await);
        let ours = self.here(&format!("/fhir/Task?owner:identifier={NORTH}")).await;
        let ours = ours.into_iter().find(|t| t["focus"]["reference"].as_str().is_some_and(|f| f.starts_with("Serv")));
        let ours = match ours {
            Some(ours) => ours,
            None => first(
                self.here("/fhir/Task")
                    .await
                    .into_iter()
                    .filter(|t| t["focus"]["reference"].as_str().is_some_and(|f| f.starts_with("Serv")))
                    .collect(),
            ),
        };
        same("task", ours["status"].clone(), json!(self.task));
        same("task there", task["status"].clone(), json!(self.task));
        same("version there", task["input"][0]["valuePositiveInt"].clone(), json!(self.referral));
        same("procedures", json!(self.here("/fhir/Procedure").await.len()), json!(self.procedures));
        let told = self.at(&self.other.clinic, "Procedure").await.len();
        same("procedures at the specialist's", json!(told), json!(self.procedures));
        same("open conflicts", json!(self.conflicts().await.len()), json!(0));
        differ
    }

    /// Every version of the only resource of a type at primary care, oldest first.
    async fn versions(&self, kind: &str) -> Vec<Value> {
        let id = self.at_primary(kind).await[0]["id"].as_str().unwrap().to_owned();
        let mut all = self.at_primary(&format!("{kind}/{id}/_history")).await;
        all.sort_by_key(|v| v["meta"]["versionId"].as_str().and_then(|text| text.parse::<u64>().ok()));
        all
    }

    async fn check(&self) {
        let version = |of: &Value| of["meta"]["versionId"].as_str().unwrap().to_owned();
        let plans = self.versions("CarePlan").await;
        let status = |plan: &Value| plan["activity"][0]["detail"]["status"].clone();
        for (before, after) in plans.iter().zip(plans.iter().skip(1)) {
            let is_ours = !self.own_plans.contains(&version(after));
            assert!(
                !is_ours || status(before) == status(after),
                "the performer's word was written over; {:?}",
                self.done
            );
        }
        let ours = plans.iter().filter(|plan| !self.own_plans.contains(&version(plan))).count();
        assert!(ours <= self.plan as usize, "{ours} writes for {} versions; {:?}", self.plan, self.done);

        // A word for the goal that something else was written over is one that a person could read.
        let goals = self.versions("Goal").await;
        let mut told = String::new();
        for task in self.here("/fhir/Task?code=sync-conflict").await {
            let url = format!("{}/fhir/Task/{}/_history?_count=500", self.site.gateway(), task["id"].as_str().unwrap());
            told.push_str(&self.ask(&Method::GET, &url, &[("Vardkedja-Unit", ONCOLOGY)], None).await.1.to_string());
        }
        for (index, (number, word)) in self.goals.iter().enumerate() {
            let next = goals.iter().position(|g| version(g) == *number).and_then(|at| goals.get(at + 1));
            let own = self.goals.iter().skip(index + 1).any(|(n, _)| next.is_some_and(|next| version(next) == *n));
            assert!(own || told.contains(word.as_str()), "{word} is lost; {:?}", self.done);
        }
        let written = goals.len() - self.goals.len();
        assert!(written <= 1 + self.plan as usize + self.settled + self.goals.len(), "{written} writes of the goal");
    }
}
