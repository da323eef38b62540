//! Every example of the file is sent to a running gateway, and the answer held against what the file says of it.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vardkedja::demo::Left;
use vardkedja::demo::receiver::{self, Fault, Misbehaviour};

use super::schema::{Contract, Operation};
use crate::gateway::TestGateway;
use crate::world::{self, World};

/// What is sent.
#[derive(Default)]
pub struct Ask {
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// A gateway of its own for one example, with a rehab plan and a referral in it.
pub struct Scene {
    pub gateway: TestGateway,
    client: reqwest::Client,
    /// A partner's system that refuses whatever is sent to it.
    refusing: Option<(oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>, std::path::PathBuf)>,
    exchange: Value,
    /// The exchange of the plan.
    plan: Value,
    delivery: String,
    opt_out: String,
    hold: String,
    /// An export that is done, and one of its files.
    export: (String, String),
    block: String,
    programme: String,
    subscription: String,
    link: String,
    conflict: String,
}

const REGISTRY: &str = "[[registry]]\nname = \"cancer-rehab\"\nhsa_id = \"SE2321000131-E000000000777\"\n\
                        identity = \"personnummer\"\nagreement = \"Avtal 2026-14\"\n";

/// A group that belongs to whoever calls from this machine.
const COHORT: &str = "[[cohort]]\nid = \"cancer-rehabilitation\"\nname = \"Cancer\"\nclients = [\"operator\"]\ndiagnoses = [\"C00-C97\"]\n";

/// Where the system of one unit may be told.
const HOOKS: &str =
    "[[partner]]\nname = \"reader\"\nchannel = \"poll\"\nhooks = [\"https://north.example.se/fhir/hook\"]\n";

impl Scene {
    /// An empty gateway.
    pub async fn empty(settings: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let gateway = TestGateway::start(settings).await;
        let (delivery, opt_out, hold, block) = (String::new(), String::new(), String::new(), String::new());
        let export = Default::default();
        let subscription = String::new();
        Self {
            gateway,
            client,
            refusing: None,
            exchange: Value::Null,
            plan: Value::Null,
            delivery,
            opt_out,
            hold,
            export,
            block,
            programme: String::new(),
            subscription,
            link: String::new(),
            conflict: String::new(),
        }
    }

    /// With a plan and a referral to a unit whose system reads from us.
    pub async fn with_referral(contract: &Contract) -> Self {
        let mut scene = Self::empty(REGISTRY).await;
        scene.send_documents(contract).await;
        scene.opt_out_and_hold().await;
        scene
    }

    /// Another patient's objection and hold, for what is asked of one.
    async fn opt_out_and_hold(&mut self) {
        let number = "196101182803";
        let body = json!({ "patient": number, "unit": world::ONCOLOGY, "objectedAt": "2026-03-02T09:30:00+01:00" });
        let ask = Ask { body: body.to_string().into_bytes(), ..Ask::default() };
        let reply = self.ask("POST", "/v1/registries/cancer-rehab/opt-outs", &ask).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        self.opt_out = reply.json()["id"].as_str().unwrap().to_owned();
        let body = json!({ "exchange": self.exchange_id(), "reason": "Tillsyn" });
        let reply = self.ask("POST", "/v1/holds", &Ask { body: body.to_string().into_bytes(), ..Ask::default() }).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        self.hold = reply.json()["id"].as_str().unwrap().to_owned();
    }

    /// The same, with an export of it.
    pub async fn with_export(contract: &Contract) -> Self {
        let mut scene = Self::with_referral(contract).await;
        let prefer = Ask { headers: vec![("Prefer".into(), "respond-async".into())], ..Ask::default() };
        let begun = scene.ask("GET", "/fhir/$export?_type=Task", &prefer).await;
        let job = begun.header("content-location").unwrap().rsplit('/').next().unwrap().to_owned();
        for _ in 0..500 {
            let reply = scene.ask("GET", &format!("/bulk/jobs/{job}"), &Ask::default()).await;
            if reply.status == 200 {
                scene.export = (job, "Task.0001.ndjson".to_owned());
                return scene;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the export did not end");
    }

    /// With a plan and a referral to a unit whose system refuses them: the plan's delivery is parked.
    pub async fn with_parked(contract: &Contract) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        let options = receiver::Options::default();
        let fault = Fault { probability: Some(1.0), next: None, ..Fault::next(Misbehaviour::Outcome, 1) };
        options.faults.add(fault);
        let (stop, stopped) = oneshot::channel();
        let options =
            receiver::Options { shutdown: Some(Box::pin(async { stopped.await.unwrap_or_default() })), ..options };
        let folder = std::env::temp_dir().join(format!("refusing-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let db = folder.join("receiver.sqlite");
        let server = tokio::spawn(async move { receiver::serve(listener, &db, options).await });
        let partner = format!("[[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{base}\"\n");
        let mut scene = Self { refusing: Some((stop, server, folder)), ..Self::empty(&partner).await };
        scene.send_documents(contract).await;
        for _ in 0..500 {
            let parked = scene.ask("GET", "/v1/deliveries?state=parked", &Ask::default()).await.json();
            if let Some(id) = parked["deliveries"][0]["id"].as_str() {
                scene.delivery = id.to_owned();
                let exchange = format!("/v1/exchanges/{}", parked["deliveries"][0]["exchange"].as_str().unwrap());
                scene.exchange = scene.ask("GET", &exchange, &Ask::default()).await.json();
                return scene;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nothing was parked");
    }

    /// With a plan whose goal the recipient's people have changed at their own server.
    pub async fn with_conflict(contract: &Contract) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let shutdown: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> =
            Some(Box::pin(async { stopped.await.unwrap_or_default() }));
        let options = receiver::Options { shutdown, ..receiver::Options::default() };
        let folder = std::env::temp_dir().join(format!("differing-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let db = folder.join("receiver.sqlite");
        let server = tokio::spawn(async move { receiver::serve(listener, &db, options).await });
        let settings = format!(
            "[delivery]\npoll_s = 1\n[[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{base}\"\n"
        );
        let mut scene = Self { refusing: Some((stop, server, folder)), ..Self::empty(&settings).await };
        scene.send_documents(contract).await;
        let mut is_changed = false;
        for _ in 0..1000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let found = scene.client.get(format!("{base}/Goal")).send().await.unwrap().text().await.unwrap();
            let mut goal = serde_json::from_str::<Value>(&found).unwrap()["entry"][0]["resource"].clone();
            if goal.is_object() && !is_changed {
                goal["description"]["text"] = json!("Gå runt kvarteret.");
                let url = format!("{base}/Goal/{}", goal["id"].as_str().unwrap());
                let put = scene.client.put(url).header("Content-Type", "application/fhir+json");
                is_changed = put.body(goal.to_string()).send().await.unwrap().status().is_success();
            }
            let found = scene.ask("GET", "/fhir/Task?code=sync-conflict", &Ask::default()).await.json();
            if let Some(id) = found["entry"][0]["resource"]["id"].as_str() {
                scene.conflict = id.to_owned();
                return scene;
            }
        }
        panic!("nobody saw the difference");
    }

    /// With a programme that was started.
    pub async fn with_programme(contract: &Contract) -> Self {
        let mut scene = Self::empty("").await;
        let media = &contract.doc["paths"]["/v1/programmes"]["post"]["requestBody"]["content"]["application/json"];
        let body = media["examples"]["start"]["value"].to_string().into_bytes();
        let reply = scene.ask("POST", "/v1/programmes", &Ask { body, ..Ask::default() }).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        scene.programme = reply.json()["id"].as_str().unwrap().to_owned();
        scene
    }

    /// With a block.
    pub async fn with_block(contract: &Contract) -> Self {
        let mut scene = Self::empty("").await;
        let media = &contract.doc["paths"]["/v1/blocks"]["post"]["requestBody"]["content"]["application/json"];
        let body = media["examples"]["unit"]["value"].to_string().into_bytes();
        let reply = scene.ask("POST", "/v1/blocks", &Ask { body, ..Ask::default() }).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        scene.block = reply.json()["id"].as_str().unwrap().to_owned();
        scene
    }

    /// With two numbers that are one person's.
    pub async fn with_link(contract: &Contract) -> Self {
        let mut scene = Self::with_referral(contract).await;
        let media = &contract.doc["paths"]["/v1/patients/links"]["post"]["requestBody"]["content"]["application/json"];
        let body = media["examples"]["personnummer"]["value"].to_string().into_bytes();
        let reply = scene.ask("POST", "/v1/patients/links", &Ask { body, ..Ask::default() }).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        scene.link = reply.json()["id"].as_str().unwrap().to_owned();
        scene
    }

    /// With a subscription.
    pub async fn with_subscription(contract: &Contract) -> Self {
        let mut scene = Self::empty(HOOKS).await;
        let media =
            &contract.doc["paths"]["/fhir/Subscription"]["post"]["requestBody"]["content"]["application/fhir+json"];
        let body = media["examples"]["tasks"]["value"].to_string().into_bytes();
        let reply = scene.ask("POST", "/fhir/Subscription", &Ask { body, ..Ask::default() }).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        scene.subscription = reply.json()["id"].as_str().unwrap().to_owned();
        scene
    }

    async fn send_documents(&mut self, contract: &Contract) {
        for path in ["/v1/rehab-plans", "/v1/referrals"] {
            let media = &contract.doc["paths"][path]["post"]["requestBody"]["content"]["application/json"];
            let body = media["examples"]["small"]["value"].to_string().into_bytes();
            let reply = self.ask("POST", path, &Ask { body, ..Ask::default() }).await;
            assert_eq!(reply.status, 202, "{path}: {}", reply.text);
            let exchange = reply.json()["exchange"].as_str().unwrap().to_owned();
            self.exchange = self.ask("GET", &format!("/v1/exchanges/{exchange}"), &Ask::default()).await.json();
            if path == "/v1/rehab-plans" {
                self.plan = self.exchange.clone();
            }
        }
    }

    pub async fn ask(&self, method: &str, path: &str, ask: &Ask) -> Reply {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.gateway.url)).unwrap();
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, url).body(ask.body.clone());
        if path.starts_with("/v1/patients/") && !path.contains("access-log") {
            // Nobody says anything of a patient but a unit that has it.
            request = request.header("Vardkedja-Unit", world::ONCOLOGY);
        }
        if path.starts_with("/fhir/Subscription") {
            // Only a unit has any.
            request = request.header("Vardkedja-Unit", world::SOUTH);
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    /// `Type/id` of the only resource of that type in the referral's exchange.
    pub fn name_of(&self, resource_type: &str) -> String {
        let names = self.exchange["resources"].as_array().unwrap_or_else(|| panic!("{}", self.exchange));
        let mut names = names.iter().flat_map(Value::as_str);
        names.find(|n| n.starts_with(&format!("{resource_type}/"))).unwrap().to_owned()
    }

    pub fn exchange_id(&self) -> &str {
        self.exchange["id"].as_str().unwrap()
    }

    /// The path with what stands in braces replaced by what is there.
    fn fill(&self, operation: &Operation<'_>, body: &Value) -> String {
        let mut path = operation.path.clone();
        for parameter in operation.parameters("path") {
            let name = parameter["name"].as_str().unwrap();
            let value = match name {
                "id" if path == "/v1/exchanges/{id}/diff" => self.plan["id"].as_str().unwrap().to_owned(),
                "id" if path.ends_with("$diff") => {
                    let names = self.plan["resources"].as_array().unwrap();
                    names.iter().find_map(|n| n.as_str()?.strip_prefix("CarePlan/")).unwrap().to_owned()
                }
                "id" if path.starts_with("/v1/exchanges") => self.exchange_id().to_owned(),
                "id" if path.starts_with("/v1/deliveries") => self.delivery.clone(),
                "id" if path.starts_with("/v1/registries") => self.opt_out.clone(),
                "id" if path.starts_with("/v1/holds") => self.hold.clone(),
                "id" if path.starts_with("/fhir/Group") => parameter["example"].as_str().unwrap().to_owned(),
                "id" if path.starts_with("/bulk") => self.export.0.clone(),
                "id" if path.starts_with("/fhir/Subscription") => self.subscription.clone(),
                "job" => self.export.0.clone(),
                "file" => self.export.1.clone(),
                "id" if path.starts_with("/v1/blocks") => self.block.clone(),
                "id" if path.starts_with("/v1/conflicts") => self.conflict.clone(),
                "id" if path.ends_with("/eligibility") => "infor-din-cancerbehandling".to_owned(),
                "id" if path.starts_with("/v1/programmes") => self.programme.clone(),
                // A referral has no handover to make a document of: tests/it/face.rs does that.
                "id" if path.ends_with("$document") => "1".to_owned(),
                // The row of the first document.
                "id" if path.starts_with("/fhir/AuditEvent") => "1".to_owned(),
                "id" if path.starts_with("/v1/patients/links") => self.link.clone(),
                "id" if path.ends_with("/responsibility") || path.starts_with("/v1/patients/") => {
                    self.name_of("Patient").split_once('/').unwrap().1.to_owned()
                }
                "id" if path.ends_with("access-log") => self.name_of("Patient").split_once('/').unwrap().1.to_owned(),
                "id" if path.starts_with("/fhir/PlanDefinition/") => "vgr-cancerrehabilitering".to_owned(),
                "id" if path.starts_with("/fhir/Measure/") => "kva-acts".to_owned(),
                "id" if path.ends_with("$everything") => self.name_of("Patient").split_once('/').unwrap().1.to_owned(),
                "id" => self.name_of("Task").split_once('/').unwrap().1.to_owned(),
                "type" if body["resourceType"].is_string() && body["resourceType"] != "Parameters" => {
                    body["resourceType"].as_str().unwrap().to_owned()
                }
                "type" if body.as_str().is_some_and(|b| b.starts_with('<')) => {
                    let name = body.as_str().unwrap().trim_start_matches('<');
                    name.split(|c: char| !c.is_alphabetic()).next().unwrap().to_owned()
                }
                _ => parameter["example"].as_str().map_or_else(|| parameter["example"].to_string(), str::to_owned),
            };
            path = path.replace(&format!("{{{name}}}"), &value);
        }
        path
    }

    /// References of the example become those that are there.
    fn settle(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|i| self.settle(i)),
            Value::Object(object) => {
                if let Some(Value::String(target)) = object.get_mut("reference") {
                    *target = self.name_of(target.split('/').next().unwrap());
                }
                object.values_mut().for_each(|v| self.settle(v));
            }
            _ => {}
        }
    }

    pub async fn close(self) {
        self.gateway.stop().await;
        if let Some((stop, server, folder)) = self.refusing {
            drop(stop);
            server.await.unwrap().unwrap();
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// The scene that an operation needs: examples do not see each other.
async fn scene_for(operation: &Operation<'_>) -> Scene {
    match operation.path.as_str() {
        path if path.contains("/deliveries") || path.ends_with("/retry") || path == "/v1/exchanges/{id}" => {
            Scene::with_parked(operation.contract).await
        }
        path if path.starts_with("/bulk") => Scene::with_export(operation.contract).await,
        path if path.starts_with("/fhir/Group") => Scene::empty(COHORT).await,
        path if path.starts_with("/v1/programmes/{id}") => Scene::with_programme(operation.contract).await,
        path if path.starts_with("/fhir/Subscription") => Scene::with_subscription(operation.contract).await,
        path if path.starts_with("/v1/conflicts") => Scene::with_conflict(operation.contract).await,
        path if path.starts_with("/v1/blocks/{id}") => Scene::with_block(operation.contract).await,
        path if path.starts_with("/v1/patients/links/{id}") => Scene::with_link(operation.contract).await,
        path if path.contains('{') || path.starts_with("/v1/exchanges") || path.starts_with("/v1/patients") => {
            Scene::with_referral(operation.contract).await
        }
        _ => Scene::empty("").await,
    }
}

/// The answer is one that the file has: status, headers, media type and body.
pub fn check_reply(operation: &Operation<'_>, reply: &Reply, expected: u16) -> Result<(), String> {
    if reply.status != expected {
        return Err(format!("{} instead of {expected}: {}", reply.status, reply.text));
    }
    let response = operation.response(expected).ok_or(format!("the file has no {expected}"))?;
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let header = operation.contract.resolve(header);
        let Some(text) = reply.header(name) else { return Err(format!("header {name} is missing")) };
        let value = if header["schema"]["type"] == "integer" { json!(text.parse::<u64>().ok()) } else { json!(text) };
        operation.contract.check(&header["schema"], &value).map_err(|e| format!("header {name}: {e}"))?;
    }
    let media_type = reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let schema = &response["content"].get(media_type).ok_or(format!("the file has no {media_type}"))?["schema"];
    let bodies: Vec<Value> = match media_type {
        "application/xml" | "application/openmetrics-text" => vec![json!(reply.text)],
        "application/x-ndjson" | "application/fhir+ndjson" => {
            reply.text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
        }
        _ => vec![reply.json()],
    };
    for body in bodies {
        operation.contract.check(schema, &body).map_err(|e| format!("{e}\n{body:#}"))?;
    }
    Ok(())
}

/// One example of a request: its media type, name and what the file has of it.
fn examples<'a>(operation: &Operation<'a>) -> Vec<(&'a str, &'a str, &'a Value)> {
    let content = operation.spec["requestBody"]["content"].as_object();
    let media = content.into_iter().flatten();
    media
        .flat_map(|(media_type, media)| {
            let examples = media["examples"].as_object().into_iter().flatten();
            examples.map(move |(name, example)| (media_type.as_str(), name.as_str(), example))
        })
        .collect()
}

async fn send(operation: &Operation<'_>, media_type: &str, example: &Value) -> Result<(), String> {
    let scene = scene_for(operation).await;
    let mut value = example["value"].clone();
    if operation.path.starts_with("/fhir/{") {
        scene.settle(&mut value);
    }
    let path = scene.fill(operation, &value);
    if example["x-rest-as-read"] == true {
        let mut whole = scene.ask("GET", &path, &Ask::default()).await.json();
        whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        value = whole;
    }
    let required = operation.parameters("query").into_iter().filter(|p| p["required"] == true);
    let query = required.map(|p| (p["name"].as_str().unwrap().to_owned(), p["example"].as_str().unwrap().to_owned()));
    let headers = vec![("Content-Type".into(), media_type.into())];
    let mut ask = Ask { headers, query: query.collect(), ..Ask::default() };
    for header in operation.parameters("header").into_iter().filter(|h| h["example"].is_string()) {
        ask.headers.push((header["name"].as_str().unwrap().into(), header["example"].as_str().unwrap().into()));
    }
    ask.body = match (media_type, &value) {
        ("application/x-www-form-urlencoded", Value::Object(form)) => {
            let mut url = reqwest::Url::parse("http://form").unwrap();
            url.query_pairs_mut().extend_pairs(form.iter().map(|(n, v)| (n, v.as_str().unwrap())));
            url.query().unwrap().as_bytes().to_vec()
        }
        (_, Value::String(text)) => text.as_bytes().to_vec(),
        _ => value.to_string().into_bytes(),
    };
    let expected = example["x-status"].as_u64().and_then(|s| u16::try_from(s).ok()).ok_or("it has no x-status")?;
    let valid = operation.contract.check(&operation.spec["requestBody"]["content"][media_type]["schema"], &value);
    if expected < 300 {
        valid.map_err(|e| format!("it is not valid itself: {e}"))?;
    }
    let reply = scene.ask(&operation.method, &path, &ask).await;
    let checked = check_reply(operation, &reply, expected);
    scene.close().await;
    checked
}

#[tokio::test]
async fn every_example_request_is_answered_as_the_file_says() {
    let contract = Contract::read();
    let (mut sent, mut wrong) = (0, Vec::new());
    for operation in contract.operations() {
        let examples = examples(&operation);
        assert_eq!(examples.is_empty(), operation.spec.get("requestBody").is_none(), "{}", operation.path);
        for (media_type, name, example) in examples {
            if let Err(error) = send(&operation, media_type, example).await {
                wrong.push(format!("{} {} {media_type} {name}: {error}", operation.method, operation.path));
            }
            sent += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(sent > 25, "{sent}");
}

#[tokio::test]
async fn every_request_without_a_body_is_answered_as_the_file_says() {
    let contract = Contract::read();
    let mut wrong = Vec::new();
    for operation in contract.operations().filter(|o| o.spec.get("requestBody").is_none()) {
        let scene = scene_for(&operation).await;
        let path = scene.fill(&operation, &Value::Null);
        let statuses = operation.spec["responses"].as_object().unwrap().keys();
        let mut expected = statuses.map(|s| s.parse().unwrap()).min().unwrap();
        if operation.path.ends_with("$document") {
            expected = 404;
        }
        let all = operation.parameters("query").into_iter().filter(|p| p.get("example").is_some());
        let example = |p: &Value| match p["name"].as_str() {
            // Nobody knows beforehand what the patient is called here.
            Some("subject") => scene.name_of("Patient"),
            _ => p["example"].to_string().trim_matches('"').to_owned(),
        };
        let query: Vec<(String, String)> = all.map(|p| (p["name"].as_str().unwrap().to_owned(), example(p))).collect();
        let needed = |part: &str| {
            let required = operation.parameters(part).into_iter().filter(|p| p["required"] == true);
            required.map(|p| (p["name"].as_str().unwrap().to_owned(), p["example"].clone())).collect::<Vec<_>>()
        };
        let headers: Vec<(String, String)> =
            needed("header").into_iter().map(|(name, example)| (name, example.as_str().unwrap().to_owned())).collect();
        let required: Vec<String> = needed("query").into_iter().map(|(name, _)| name).collect();
        let least = query.iter().filter(|(name, _)| required.contains(name)).cloned().collect();
        for query in [least, query] {
            let ask = Ask { query, headers: headers.clone(), ..Ask::default() };
            let reply = scene.ask(&operation.method, &path, &ask).await;
            if let Err(error) = check_reply(&operation, &reply, expected) {
                wrong.push(format!("{} {} {:?}: {error}", operation.method, operation.path, ask.query));
            }
            if operation.method != "GET" {
                break;
            }
        }
        scene.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_documents_in_the_file_are_those_of_mappings() {
    let contract = Contract::read();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    let mut same = Vec::new();
    for operation in contract.operations() {
        let kind = match operation.path.as_str() {
            "/v1/rehab-plans" => "rehab-plan",
            "/v1/referrals" => "referral",
            "/v1/handovers" => "handover",
            "/v1/activities" => "activity",
            _ => continue,
        };
        for (_, name, example) in examples(&operation) {
            let file = |ending: &str| std::fs::read_to_string(folder.join(format!("{kind}.{name}.source.{ending}")));
            if let Ok(text) = file("json") {
                assert_eq!(example["value"], serde_json::from_str::<Value>(&text).unwrap(), "{kind} {name}");
            } else if let Ok(text) = file("xml") {
                assert_eq!(example["value"], json!(text), "{kind} {name}");
            } else {
                continue;
            }
            same.push(format!("{kind}.{name}"));
        }
    }
    let expected = [
        "activity.riv-small",
        "activity.small",
        "handover.active-small",
        "handover.sip-small",
        "referral.riv-small",
        "referral.small",
        "rehab-plan.small",
    ];
    same.sort();
    assert_eq!(same, expected);
}

#[tokio::test]
async fn what_came_back_is_shown_as_the_file_says() {
    let contract = Contract::read();
    let world = World::open().await;
    let exchange = world.refer(&world::referral(1)).await;
    world.until(&exchange, "delivered").await;
    let task = world.task(&exchange, world::NORTH).await;
    world.people().step(&task, "completed", &Left::default()).await.unwrap();
    let held = loop {
        let held = world.get("/v1/answers/held", "").await.json();
        if held["answers"].as_array().is_some_and(|a| !a.is_empty()) {
            break held;
        }
        tokio::task::yield_now().await;
    };
    let schema = |id: &str| {
        let operation = contract.operations().find(|o| o.spec["operationId"] == id).unwrap();
        operation.response(200).unwrap()["content"]["application/json"]["schema"].clone()
    };
    contract.check(&schema("listHeldAnswers"), &held).unwrap();
    world.people().step(&task, "in-progress", &Left::default()).await.unwrap();
    world.until(&exchange, "in-progress").await;
    world
        .people()
        .step(&task, "completed", &Left { answer: Some("Klart."), kva: &["DV133"], ..Left::default() })
        .await
        .unwrap();
    let shown = world.until(&exchange, "completed").await;
    assert!(shown["answers"].as_array().unwrap().len() > 1, "{shown:#}");
    contract.check(&schema("readExchange"), &shown).unwrap();
    let document = world.get(&format!("{exchange}/document"), "").await.json();
    assert_eq!(document["state"]["answer"]["text"], "Klart.");
    contract.check(&schema("readDocument"), &document).unwrap();
    contract.check(contract.schema("Referral"), &document).unwrap();
    world.close().await;
}
