//! Bulk exports over HTTP: what is asked for, what comes, what does not, and what is there after a crash.

mod cohorts;
mod dance;
mod doors;
mod resume;
mod since;
mod snapshot;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vardkedja::Gateway;
use vardkedja::config::Config;
use vardkedja::fhir::search;
use vardkedja::store::{Commit, Committed, Put};

pub const UNIT: &str = "SE2321000131-E000000000101";
pub const OTHER: &str = "SE2321000131-E000000000202";

/// A gateway in this process whose store can be written to directly.
pub struct Bulk {
    pub gateway: Arc<Gateway>,
    pub url: String,
    pub folder: PathBuf,
    pub http: reqwest::Client,
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
    server: JoinHandle<std::io::Result<()>>,
    handle: actix_web::dev::ServerHandle,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Everything that an export gave: lines by type, and what is to be erased.
#[derive(Debug, Default)]
pub struct Got {
    pub manifest: Value,
    pub lines: BTreeMap<String, Vec<String>>,
    pub deleted: Vec<String>,
}

impl Got {
    /// `Type/id` of all lines.
    pub fn names(&self) -> Vec<String> {
        let name = |line: &String| {
            let resource: Value = serde_json::from_str(line).unwrap();
            format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
        };
        let mut names: Vec<String> = self.lines.values().flatten().map(name).collect();
        names.sort();
        names
    }

    pub fn since(&self) -> String {
        self.manifest["transactionTime"].as_str().unwrap().to_owned()
    }
}

impl Bulk {
    pub async fn open(settings: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bulk-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("gateway.toml");
        let text = format!("[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"gateway.sqlite\"\n{settings}");
        std::fs::write(&file, text).unwrap();
        let mut config = Config::load(Some(&file)).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        config.base_url.clone_from(&url);
        let gateway = Arc::new(Gateway::open(config).unwrap());
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn(vardkedja::registry::worker::run(Arc::clone(&gateway), stopped));
        let server = vardkedja::api::serve(Arc::clone(&gateway), listener, None).unwrap();
        let handle = server.handle();
        let server = tokio::spawn(server);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { gateway, url, folder, http, stop, worker, server, handle }
    }

    pub async fn close(self) {
        let _ = self.stop.send(true);
        self.worker.await.unwrap();
        self.handle.stop(true).await;
        self.server.await.unwrap().unwrap();
        drop(self.gateway);
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        let mut request = self.http.request(reqwest::Method::from_bytes(method.as_bytes()).unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/fhir+json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], None).await
    }

    /// Asks for an export; where to ask after it.
    pub async fn start(&self, path: &str, unit: Option<&str>) -> String {
        let mut headers = vec![("Prefer", "respond-async")];
        headers.extend(unit.map(|unit| ("Vardkedja-Unit", unit)));
        let reply = self.ask("GET", path, &headers, None).await;
        assert_eq!(reply.status, 202, "{path}: {}", reply.text());
        reply.header("content-location").to_owned()
    }

    /// The manifest, when it is there.
    pub async fn wait(&self, job: &str, unit: Option<&str>) -> Value {
        let headers: Vec<(&str, &str)> = unit.map(|unit| ("Vardkedja-Unit", unit)).into_iter().collect();
        let started = Instant::now();
        loop {
            let reply = self.ask("GET", job, &headers, None).await;
            match reply.status {
                200 => return reply.json(),
                202 | 429 => {
                    assert!(!reply.header("retry-after").is_empty());
                    assert!(started.elapsed() < Duration::from_secs(60), "it does not end");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => panic!("{other}: {}", reply.text()),
            }
        }
    }

    /// All lines of an export, held against what the manifest says of them.
    pub async fn fetch(&self, manifest: Value, unit: Option<&str>) -> Got {
        let headers: Vec<(&str, &str)> = unit.map(|unit| ("Vardkedja-Unit", unit)).into_iter().collect();
        let mut got = Got::default();
        for kind in ["output", "deleted", "error"] {
            for file in manifest[kind].as_array().unwrap() {
                let reply = self.ask("GET", file["url"].as_str().unwrap(), &headers, None).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                let hash: String = Sha256::digest(&reply.bytes).iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(file["extension"]["sha-256"], json!(hash));
                assert_eq!(file["extension"]["bytes"], json!(reply.bytes.len()));
                let lines: Vec<String> = reply.text().lines().map(str::to_owned).collect();
                assert_eq!(file["count"], json!(lines.len()));
                assert!(!lines.is_empty(), "no file is empty");
                match kind {
                    "output" => {
                        got.lines.entry(file["type"].as_str().unwrap().to_owned()).or_default().extend(lines);
                    }
                    "deleted" => {
                        assert_eq!(file["type"], "Bundle");
                        let url = |line: &String| {
                            let bundle: Value = serde_json::from_str(line).unwrap();
                            assert_eq!(bundle["entry"][0]["request"]["method"], "DELETE");
                            bundle["entry"][0]["request"]["url"].as_str().unwrap().to_owned()
                        };
                        got.deleted.extend(lines.iter().map(url));
                    }
                    _ => assert_eq!(file["type"], "OperationOutcome"),
                }
            }
        }
        got.manifest = manifest;
        got
    }

    /// The whole of it.
    pub async fn export(&self, path: &str, unit: Option<&str>) -> Got {
        let job = self.start(path, unit).await;
        let manifest = self.wait(&job, unit).await;
        self.fetch(manifest, unit).await
    }

    pub async fn commit(&self, commit: Commit) {
        match self.gateway.store.commit(commit).await.unwrap() {
            Committed::Done { .. } => {}
            Committed::Conflict(unmet) => panic!("unmet: {unmet:?}"),
        }
    }

    pub async fn put(&self, puts: impl IntoIterator<Item = Put>) {
        self.commit(Commit { put: puts.into_iter().collect(), ..Commit::default() }).await;
    }

    /// Rows of the audit log of that step of an export: actor and payload.
    pub fn recorded(&self, step: &str) -> Vec<(String, Value)> {
        let db = rusqlite::Connection::open(self.folder.join("gateway.sqlite")).unwrap();
        let mut rows = db
            .prepare(
                "SELECT actor, payload FROM audit WHERE action = 'export' AND payload ->> 'step' = ?1 ORDER BY seq",
            )
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let rows: Vec<(String, String)> = rows.query_map([step], row).unwrap().map(Result::unwrap).collect();
        rows.into_iter().map(|(actor, payload)| (actor, serde_json::from_str(&payload).unwrap())).collect()
    }
}

/// A resource about a patient, as it is stored.
pub fn resource(mut resource: Value, version: u32, patient: &str, units: &[&str]) -> Put {
    resource["meta"] = json!({ "versionId": version.to_string(), "lastUpdated": "2026-01-01T00:00:00Z" });
    Put {
        resource_type: resource["resourceType"].as_str().unwrap().into(),
        id: resource["id"].as_str().unwrap().into(),
        version,
        index: search::index(&resource),
        body: resource.to_string().into_bytes(),
        patient: Some(patient.into()),
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        exchange: None,
    }
}

pub fn patient(id: &str) -> Put {
    resource(json!({ "resourceType": "Patient", "id": id, "gender": "female" }), 1, id, &[UNIT])
}

pub fn procedure(id: &str, version: u32, patient: &str, status: &str) -> Put {
    let body = json!({
        "resourceType": "Procedure", "id": id, "status": status, "subject": { "reference": format!("Patient/{patient}") },
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "note": [{ "text": format!("version {version}") }],
    });
    resource(body, version, patient, &[UNIT])
}
