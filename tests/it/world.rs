//! A gateway and a primary care system on loopback, both for real, each with its own database in a folder of its own.

use std::net::TcpListener;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vardkedja::demo::Clinic;
use vardkedja::demo::receiver;

use crate::gateway::TestGateway;

pub const ONCOLOGY: &str = "SE2321000131-E000000000101";
pub const REHAB_TEAM: &str = "SE2321000131-E000000000102";
pub const NORTH: &str = "SE2321000131-E000000000202";
pub const SOUTH: &str = "SE2321000131-E000000000203";
pub const HOME: &str = "SE2120001355-E000000000501";
pub const CLOSED: &str = "SE2321000131-E000000000299";

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// All findings in one line.
    pub fn findings(&self) -> String {
        let body = self.json();
        let outcome = if body["issue"].is_array() { &body } else { &body["outcome"] };
        let line = |i: &Value| format!("{} {} {}", i["severity"], i["expression"][0], i["details"]["text"]);
        outcome["issue"].as_array().map_or(String::new(), |l| l.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// Both systems.
pub struct World {
    pub gateway: String,
    pub clinic: String,
    pub folder: PathBuf,
    http: reqwest::Client,
    running_gateway: Option<TestGateway>,
    running_clinic: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl World {
    /// Short waits, so that tests end when something has happened and not when a clock says so.
    pub async fn open() -> Self {
        Self::open_with("").await
    }

    /// `more` is added to the settings.
    pub async fn open_with(more: &str) -> Self {
        let mut world = Self::empty();
        world.open_clinic();
        let settings = settings(&world.clinic, more);
        world.open_gateway(&settings).await;
        world
    }

    /// The primary care system alone, for a gateway that is a process of its own.
    pub async fn open_clinic_only() -> Self {
        let mut world = Self::empty();
        world.open_clinic();
        world
    }

    /// `make` writes the settings, given the clinic's address.
    pub async fn open_as(make: impl FnOnce(&str) -> String) -> Self {
        Self::open_as_in(|_, clinic| make(clinic)).await
    }

    /// `make` also has the folder of the settings, for the files that they name.
    pub async fn open_as_in(make: impl FnOnce(&std::path::Path, &str) -> String) -> Self {
        let mut world = Self::empty();
        world.open_clinic();
        let settings = make(&world.folder, &world.clinic);
        world.open_gateway(&settings).await;
        world
    }

    /// The usual settings, and more that is made in the folder that they are in.
    pub async fn open_in(more: impl FnOnce(&std::path::Path) -> String) -> Self {
        Self::open_as_in(|folder, clinic| settings(clinic, &more(folder))).await
    }

    fn empty() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-it-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self {
            gateway: String::new(),
            clinic: String::new(),
            folder,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            running_gateway: None,
            running_clinic: None,
        }
    }

    /// A gateway where callers must show tokens, and one partner has keys.
    pub async fn open_with_keys(partner: &str, jwks: &std::path::Path) -> Self {
        let mut world = Self::empty();
        world.open_clinic();
        let keys = format!("name = \"{partner}\"\njwks_file = {jwks:?}\n");
        let settings = settings(&world.clinic, "").replace(&format!("name = \"{partner}\"\n"), &keys);
        world.open_gateway(&settings).await;
        world
    }

    /// A gateway that sends to a server which is already there.
    pub async fn open_against(clinic: &str, contained: &str) -> Self {
        let mut world = Self::empty();
        world.clinic = clinic.to_owned();
        let settings = settings(&world.clinic, "").replace("timeout_s = 2", &format!("contained = {contained}"));
        world.open_gateway(&settings).await;
        world
    }

    fn open_clinic(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.clinic = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let db = self.folder.join("clinic.db");
        let options = receiver::Options {
            shutdown: Some(Box::pin(async { stopped.await.unwrap_or_default() })),
            ..receiver::Options::default()
        };
        let running = tokio::spawn(async move { receiver::serve(listener, &db, options).await.unwrap() });
        self.running_clinic = Some((stop, running));
    }

    async fn open_gateway(&mut self, settings: &str) {
        let gateway = TestGateway::start_in(&self.folder, settings).await;
        self.gateway.clone_from(&gateway.url);
        self.running_gateway = Some(gateway);
    }

    /// Stops the gateway, and starts it again on the same database.
    pub async fn restart_gateway(&mut self, more: &str) {
        self.running_gateway.take().unwrap().stop().await;
        let settings = settings(&self.clinic, more);
        self.open_gateway(&settings).await;
    }

    /// The same, with something done to its files in between.
    pub async fn restart_with(&mut self, work: impl FnOnce()) {
        self.running_gateway.take().unwrap().stop().await;
        work();
        let settings = settings(&self.clinic, "");
        self.open_gateway(&settings).await;
    }

    /// The same, with settings of one's own.
    pub async fn restart_as(&mut self, make: impl FnOnce(&str) -> String) {
        self.running_gateway.take().unwrap().stop().await;
        let settings = make(&self.clinic);
        self.open_gateway(&settings).await;
    }

    /// Leaves what would wait for a request that is never answered: it ends with the test's own runtime.
    pub fn abandon(mut self) {
        drop(self.running_gateway.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    pub async fn close(mut self) {
        if let Some(gateway) = self.running_gateway.take() {
            gateway.stop().await;
        }
        if let Some((stop, running)) = self.running_clinic.take() {
            drop(stop);
            running.await.unwrap();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Reply {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.gateway) };
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let location = header("location");
        Reply { status: response.status().as_u16(), location, text: response.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str, unit: &str) -> Reply {
        let headers: &[(&str, &str)] = if unit.is_empty() { &[] } else { &[("Vardkedja-Unit", unit)] };
        self.ask("GET", path, headers, None).await
    }

    pub async fn post(&self, path: &str, unit: &str, document: &Value) -> Reply {
        let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/json")];
        self.ask("POST", path, &headers, Some(document.to_string())).await
    }

    pub async fn post_with_key(&self, path: &str, unit: &str, key: &str, document: &Value) -> Reply {
        let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
        self.ask("POST", path, &headers, Some(document.to_string())).await
    }

    /// Sends a referral and gives the path of its exchange.
    pub async fn refer(&self, document: &Value) -> String {
        let reply = self.post("/v1/referrals", ONCOLOGY, document).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        reply.location.unwrap()
    }

    /// Waits until the exchange stands at a stage, looking again and again; a stage that never comes fails the test.
    pub async fn until(&self, exchange: &str, stage: &str) -> Value {
        for _ in 0..600 {
            let shown = self.get(exchange, "").await.json();
            if shown["stage"] == stage {
                return shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{exchange} never became {stage}: {:#}", self.get(exchange, "").await.json());
    }

    /// The id of the Task a unit owns in the exchange.
    pub async fn task(&self, exchange: &str, unit: &str) -> String {
        let shown = self.get(exchange, "").await.json();
        let parties = shown["parties"].as_array().unwrap().clone();
        let party = parties.iter().find(|p| p["unit"] == unit).unwrap();
        party["task"].as_str().unwrap().trim_start_matches("Task/").to_owned()
    }

    pub fn people(&self) -> Clinic {
        Clinic::new(self.http.clone(), &format!("{}/fhir", self.clinic), NORTH)
    }

    /// What the clinic has of a type.
    pub async fn at_clinic(&self, resource_type: &str) -> Vec<Value> {
        let url = format!("{}/fhir/{resource_type}?_count=500", self.clinic);
        let bundle = self.ask("GET", &url, &[], None).await.json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries.into_iter().map(|e| e["resource"].clone()).collect()
    }

    /// How many requests of that method and path the clinic has had.
    pub async fn journal(&self, method: &str, path: &str) -> usize {
        let lines = self.ask("GET", &format!("{}/journal", self.clinic), &[], None).await.json();
        lines.as_array().unwrap().iter().filter(|l| l["method"] == method && l["path"] == path).count()
    }

    /// Makes the clinic's server misbehave.
    pub async fn misbehave(&self, fault: Value) {
        let url = format!("{}/faults", self.clinic);
        let reply = self.ask("POST", &url, &[("Content-Type", "application/json")], Some(fault.to_string())).await;
        assert!(reply.status < 300, "{}", reply.text);
    }

    pub async fn behave(&self) {
        self.ask("DELETE", &format!("{}/faults", self.clinic), &[], None).await;
    }
}

fn settings(clinic: &str, more: &str) -> String {
    format!(
        "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
         [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n{more}\n"
    )
}

/// A referral that is right, as the shipped example has it.
pub fn referral(number: u32) -> Value {
    let text = include_str!("../../mappings/examples/referral.small.source.json");
    let mut referral: Value = serde_json::from_str(text).unwrap();
    referral["id"] = json!(format!("{ONCOLOGY}#R-{number}"));
    referral
}

/// The same for a unit that reads from the gateway.
pub fn referral_to(number: u32, unit: &str) -> Value {
    let mut referral = referral(number);
    referral["recipient"]["unit"] = json!(unit);
    referral
}

/// A rehab plan that is right.
pub fn plan(number: u32) -> Value {
    let text = include_str!("../../mappings/examples/rehab-plan.small.source.json");
    let mut plan: Value = serde_json::from_str(text).unwrap();
    plan["id"] = json!(format!("{ONCOLOGY}#RP-{number}"));
    plan
}

/// An activity that is right.
pub fn activity(number: u32) -> Value {
    let text = include_str!("../../mappings/examples/activity.small.source.json");
    let mut activity: Value = serde_json::from_str(text).unwrap();
    activity["id"] = json!(format!("{NORTH}#A-{number}"));
    activity["contactId"] = json!(format!("{NORTH}#K-{number}"));
    activity
}
