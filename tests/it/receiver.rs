//! The simulated primary care system over real HTTP: what a gateway may rely on when it talks to a FHIR server.

mod faults;
mod fhir;
mod staff;

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vardkedja::demo::receiver::{Options, Staff, serve};

const PNR: &str = "http://electronichealth.se/identifier/personnummer";
const SID: &str = "https://vardkedja.example/fhir/sid/resource";
const FHIR: &str = "application/fhir+json";

/// A running receiver with its own database, removed at the end.
struct Clinic {
    base: String,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<anyhow::Result<()>>,
    folder: PathBuf,
}

/// What came back: status, headers that matter, body.
struct Reply {
    status: StatusCode,
    etag: Option<String>,
    location: Option<String>,
    body: Value,
}

impl Clinic {
    fn open() -> Self {
        Self::open_with(Options { staff: Some(physiotherapist()), ..Options::default() })
    }

    fn open_with(options: Options) -> Self {
        let folder = std::env::temp_dir().join(format!("receiver-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self::open_in(folder, options)
    }

    fn open_in(folder: PathBuf, mut options: Options) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        options.shutdown = Some(Box::pin(async { stopped.await.unwrap_or_default() }));
        let db = folder.join("receiver.sqlite");
        let server = tokio::spawn(async move { serve(listener, &db, options).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base, client, stop: Some(stop), server, folder }
    }

    /// Stops the server and gives its folder, for another to start from.
    async fn close(mut self) -> PathBuf {
        self.stop.take();
        (&mut self.server).await.unwrap().unwrap();
        std::mem::take(&mut self.folder)
    }

    async fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", self.base) };
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        if let Some(body) = body {
            let media_type = if method == "PATCH" { "application/json-patch+json" } else { FHIR };
            request = request.header("Content-Type", media_type).body(body.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (status, etag, location) = (response.status(), header("etag"), header("location"));
        let text = response.text().await.unwrap();
        Reply { status, etag, location, body: serde_json::from_str(&text).unwrap_or_default() }
    }

    async fn get(&self, url: &str) -> Reply {
        self.ask("GET", url, &[], None).await
    }

    async fn post(&self, url: &str, body: Value) -> Reply {
        self.ask("POST", url, &[], Some(&body)).await
    }

    async fn create(&self, resource: Value) -> String {
        let reply = self.post(&format!("/fhir/{}", resource["resourceType"].as_str().unwrap()), resource).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        reply.body["id"].as_str().unwrap().to_owned()
    }

    async fn form(&self, url: &str, pairs: &[(&str, &str)]) -> Value {
        let form: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={}", v.replace('|', "%7C"))).collect();
        let request = self.client.post(format!("{}{url}", self.base)).body(form.join("&"));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// How many live resources there are of a type.
    async fn count(&self, kind: &str) -> u64 {
        self.get(&format!("/fhir/{kind}?_count=0")).await.body["total"].as_u64().unwrap()
    }

    /// The only resource of a type.
    async fn only(&self, kind: &str) -> Value {
        let found = self.get(&format!("/fhir/{kind}")).await.body;
        assert_eq!(found["total"], json!(1), "{kind}");
        found["entry"][0]["resource"].clone()
    }
}

impl Drop for Clinic {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn physiotherapist() -> Staff {
    Staff { hsa_id: "SE2321000131-P000000000201".into(), name: "Fysioterapeut".into() }
}

fn patient() -> Value {
    json!({
        "resourceType": "Patient",
        "identifier": [{ "system": PNR, "value": "195009072553" }],
        "name": [{ "given": ["Test"], "family": "Person" }],
    })
}

fn task(value: &str) -> Value {
    json!({
        "resourceType": "Task", "identifier": [{ "system": SID, "value": value }],
        "status": "requested", "intent": "order",
    })
}

/// A transaction as the gateway sends it: actors and Task are created once, the rest is updated by identifier.
fn referral(question: &str) -> Value {
    let urn = |n: u8| format!("urn:uuid:00000000-0000-4000-8000-00000000000{n}");
    let created = |n: u8, condition: &str, resource: Value| {
        let kind = resource["resourceType"].clone();
        json!({ "fullUrl": urn(n), "resource": resource,
            "request": { "method": "POST", "url": kind, "ifNoneExist": condition } })
    };
    let updated = |n: u8, value: &str, mut resource: Value| {
        resource["identifier"] = json!([{ "system": SID, "value": value }]);
        let url = format!("{}?identifier={SID}|{value}", resource["resourceType"].as_str().unwrap());
        json!({ "fullUrl": urn(n), "resource": resource, "request": { "method": "PUT", "url": url } })
    };
    let mut task = task("task-1");
    task["focus"] = json!({ "reference": urn(3) });
    task["for"] = json!({ "reference": urn(1) });
    task["owner"] = json!({ "reference": urn(2) });
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        created(5, &format!("identifier={SID}|task-1"), task),
        updated(3, "request-1", json!({
            "resourceType": "ServiceRequest", "status": "active", "intent": "order",
            "code": { "text": "Remiss" }, "reasonCode": [{ "text": question }],
            "subject": { "reference": urn(1) }, "supportingInfo": [{ "reference": urn(4) }],
        })),
        updated(4, "plan-1", json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": urn(1) },
        })),
        created(2, "identifier=urn:oid:1.2.752.29.4.19|SE2321000131-E000000000102", json!({
            "resourceType": "Organization", "name": "Rehabenheten",
            "identifier": [{ "system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000131-E000000000102" }],
        })),
        created(1, &format!("identifier={PNR}|195009072553"), patient()),
    ] })
}

fn statuses(reply: &Reply) -> Vec<&str> {
    reply.body["entry"].as_array().unwrap().iter().map(|e| e["response"]["status"].as_str().unwrap()).collect()
}
