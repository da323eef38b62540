//! Subscribers over real HTTP: what they are told, when they are away, when they are hostile, and what they must never learn.

mod hostile;
mod killed;
mod life;
mod narrow;
mod told;
mod unseen;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Reply, World};

pub const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
pub const TOPIC: &str = "https://vardkedja.example/fhir/SubscriptionTopic";

/// One notification as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub path: String,
    pub headers: std::collections::HashMap<String, String>,
    pub text: String,
    pub answered: u16,
}

impl Heard {
    pub fn bundle(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn status(&self) -> Value {
        self.bundle()["entry"][0]["resource"].clone()
    }

    /// `handshake`, `heartbeat`, `event-notification`.
    pub fn kind(&self) -> String {
        parameter(&self.status(), "type")["valueCode"].as_str().unwrap().to_owned()
    }

    pub fn numbers(&self) -> Vec<i64> {
        numbers(&self.status())
    }

    /// References of what it is about.
    pub fn focuses(&self) -> Vec<String> {
        focuses(&self.status())
    }
}

pub fn parameter(status: &Value, name: &str) -> Value {
    let all = status["parameter"].as_array().unwrap();
    all.iter().find(|p| p["name"] == name).cloned().unwrap_or_default()
}

fn parts<'v>(status: &'v Value, name: &'v str) -> impl Iterator<Item = &'v Value> {
    let events = status["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "notification-event");
    events.flat_map(move |event| event["part"].as_array().unwrap().iter().filter(move |part| part["name"] == name))
}

pub fn numbers(status: &Value) -> Vec<i64> {
    parts(status, "event-number").map(|part| part["valueString"].as_str().unwrap().parse().unwrap()).collect()
}

pub fn focuses(status: &Value) -> Vec<String> {
    parts(status, "focus").map(|part| part["valueReference"]["reference"].as_str().unwrap().to_owned()).collect()
}

/// An endpoint: keeps what it is told, and answers with whatever status it is set to.
pub struct Ear {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    status: Arc<Mutex<u16>>,
}

impl Ear {
    pub fn open(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let ear = Self { url, heard: Arc::default(), status: Arc::new(Mutex::new(status)) };
        let (heard, status) = (Arc::clone(&ear.heard), Arc::clone(&ear.status));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (heard, status) = (Arc::clone(&heard), Arc::clone(&status));
                std::thread::spawn(move || listen(stream, &heard, &status));
            }
        });
        ear
    }

    pub fn answer(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    pub fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What it was told and took, of one path.
    pub fn taken(&self, path: &str) -> Vec<Heard> {
        self.all().into_iter().filter(|heard| heard.path == path && heard.answered < 300).collect()
    }

    /// Waits until what it heard is enough.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        for _ in 0..1200 {
            let heard = self.all();
            if enough(&heard) {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never {what}: {:#?}", self.all());
    }

    /// Waits until that path has taken events up to that number.
    pub async fn until_number(&self, path: &str, number: i64) -> Vec<Heard> {
        let reached = |heard: &[Heard]| {
            let of_path = heard.iter().filter(|h| h.path == path && h.answered < 300);
            of_path.flat_map(Heard::numbers).any(|n| n >= number)
        };
        self.until(&format!("{path} number {number}"), reached).await;
        self.taken(path)
    }
}

fn listen(mut stream: std::net::TcpStream, heard: &Mutex<Vec<Heard>>, status: &Mutex<u16>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = std::collections::HashMap::new();
    line.clear();
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        if let Some((name, value)) = line.trim().split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        line.clear();
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let answered = *status.lock().unwrap();
    heard.lock().unwrap().push(Heard { path, headers, text: String::from_utf8(body).unwrap(), answered });
    let _ = stream
        .write_all(format!("HTTP/1.1 {answered} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
}

/// Both partners that read from the gateway may be told at the ear.
pub fn settings(hook: &str, clinic: &str, more: &str) -> String {
    let hooks = format!("hooks = [\"{hook}\"]");
    format!(
        "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\nbreaker_failures = 1000\nbreaker_percent = 100\n\
         [subscriptions]\nheartbeat_min_s = 1\ntimeout_s = 2\n{more}\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n{hooks}\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
         [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n{hooks}\n"
    )
}

pub async fn open(ear: &Ear) -> World {
    World::open_as(|clinic| settings(&ear.url, clinic, "")).await
}

/// A subscription to a topic, told at `path` below the ear.
pub fn wish(ear: &Ear, path: &str, topic: &str, payload: &str) -> Value {
    json!({
        "resourceType": "Subscription", "status": "requested", "reason": "Nya ärenden",
        "criteria": format!("{TOPIC}/{topic}"),
        "channel": {
            "type": "rest-hook", "endpoint": format!("{}{path}", ear.url), "payload": "application/fhir+json",
            "header": ["Authorization: Bearer s3cret"],
            "_payload": { "extension": [{ "url": format!("{GUIDE}/backport-payload-content"), "valueCode": payload }] },
        },
    })
}

pub async fn post(world: &World, unit: &str, wish: &Value) -> Reply {
    let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/fhir+json")];
    world.ask("POST", "/fhir/Subscription", &headers, Some(wish.to_string())).await
}

pub async fn put(world: &World, unit: &str, wish: &Value) -> Reply {
    let headers = [("Vardkedja-Unit", unit), ("Content-Type", "application/fhir+json")];
    let path = format!("/fhir/Subscription/{}", wish["id"].as_str().unwrap());
    world.ask("PUT", &path, &headers, Some(wish.to_string())).await
}

/// Subscribes, and waits until the endpoint has answered the handshake.
pub async fn subscribe(world: &World, unit: &str, wish: &Value) -> Value {
    let reply = post(world, unit, wish).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    stands(world, unit, reply.json()["id"].as_str().unwrap(), "active").await
}

/// Waits until it stands so.
pub async fn stands(world: &World, unit: &str, id: &str, status: &str) -> Value {
    let path = format!("/fhir/Subscription/{id}");
    for _ in 0..1200 {
        let shown = world.get(&path, unit).await.json();
        if shown["status"] == status {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {status}: {:#}", world.get(&path, unit).await.json());
}

pub async fn patch_task(world: &World, unit: &str, task: &str, version: u32, status: &str) {
    let tag = format!("W/\"{version}\"");
    let headers =
        [("Vardkedja-Unit", unit), ("Content-Type", "application/json-patch+json"), ("If-Match", tag.as_str())];
    let patch = json!([{ "op": "replace", "path": "/status", "value": status }]).to_string();
    let moved = world.ask("PATCH", &format!("/fhir/Task/{task}"), &headers, Some(patch)).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
}
