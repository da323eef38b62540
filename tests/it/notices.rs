//! Notices: a partner is told that there is something to read, signed, at least once, and never with anything of the patient.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{ONCOLOGY, SOUTH, World, referral_to};

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"];

/// One notice as it came.
#[derive(Debug, Clone)]
struct Rung {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

/// A door bell: keeps what it was told, and answers 503 the first `deaf` times.
fn bell(deaf: usize) -> (String, Arc<Mutex<Vec<Rung>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/notices", listener.local_addr().unwrap());
    let rung: Arc<Mutex<Vec<Rung>>> = Arc::default();
    let kept = Arc::clone(&rung);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut headers = std::collections::HashMap::new();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some((name, value)) = line.trim().split_once(": ") {
                    headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                line.clear();
            }
            let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
            let mut rung = kept.lock().unwrap();
            rung.push(Rung {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                body: String::from_utf8(body).unwrap(),
            });
            let status = if rung.len() <= deaf { "503 Service Unavailable" } else { "204 No Content" };
            let _ = stream
                .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
        }
    });
    (url, rung)
}

/// HMAC as RFC 2104 writes it, from the hash alone: nothing of what the gateway signs with.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    STANDARD.encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

async fn heard(rung: &Mutex<Vec<Rung>>, count: usize) -> Vec<Rung> {
    for _ in 0..600 {
        let heard = rung.lock().unwrap().clone();
        if heard.len() >= count {
            return heard;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("heard only {:#?}", rung.lock().unwrap());
}

/// Both partners read from the gateway; the one that has SOUTH is told at `south`, the sender's at `platform`.
async fn open(platform: &str, south: &str) -> World {
    World::open_as_in(|folder, clinic| {
        std::fs::write(folder.join("notices.whsec"), SECRETS.join("\n")).unwrap();
        let told = |url: &str| format!("notice_url = \"{url}\"\nnotice_secret_file = \"notices.whsec\"");
        format!(
            "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n\
             [[partner]]\nname = \"platform\"\nchannel = \"poll\"\n{}\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\ntimeout_s = 2\n{}\n",
            told(platform),
            told(south)
        )
    })
    .await
}

#[actix_web::test]
async fn a_partner_is_told_of_its_task_and_the_sender_of_the_answer_signed_and_without_the_patient() {
    let ((platform, to_platform), (south, to_south)) = (bell(0), bell(1));
    let world = open(&platform, &south).await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let rung = heard(&to_south, 2).await;
    assert_eq!(rung[0].id, rung[1].id, "the same id when it is told again");
    assert_eq!(rung[0].body, rung[1].body);
    for told in &rung {
        let signed = format!("{}.{}.{}", told.id, told.timestamp, told.body);
        let expected = SECRETS.map(|secret| {
            let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
            format!("v1,{}", hmac(&key, signed.as_bytes()))
        });
        assert_eq!(told.signature, expected.join(" "));
        let age = chrono::Utc::now().timestamp() - told.timestamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
    }
    let body: Value = serde_json::from_str(&rung[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["unit"]), (&json!("document.available"), &json!(SOUTH)));
    let task = body["data"]["links"]["task"].as_str().unwrap();
    assert_eq!(world.get(task, SOUTH).await.json()["status"], "requested", "the link leads to the Task");
    let link = body["data"]["links"]["exchange"].as_str().unwrap();
    assert!(link.ends_with(&exchange) && !rung[0].body.contains("19500907") && !rung[0].body.contains("Patient"));

    let path = task.trim_start_matches(&world.gateway).to_owned();
    let headers = [("Vardkedja-Unit", SOUTH), ("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    let patch = json!([{ "op": "replace", "path": "/status", "value": "accepted" }]).to_string();
    let moved = world.ask("PATCH", &path, &headers, Some(patch)).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    let answered: Value = serde_json::from_str(&heard(&to_platform, 1).await[0].body).unwrap();
    assert_eq!((&answered["type"], &answered["data"]["unit"]), (&json!("answer.available"), &json!(ONCOLOGY)));
    world.close().await;
}

#[actix_web::test]
async fn the_notice_of_a_revised_plan_says_how_much_has_changed_in_numbers_only() {
    let ((platform, _kept), (south, to_south)) = (bell(0), bell(0));
    let world = open(&platform, &south).await;
    let mut plan = crate::world::plan(1);
    for (version, status) in [(1, "scheduled"), (2, "completed")] {
        plan["version"] = json!(version);
        plan["interventions"][0]["status"] = json!(status);
        plan["interventions"][0]["responsible"] = json!(SOUTH);
        plan["recipients"] = json!([SOUTH]);
        let reply = world.post("/v1/rehab-plans", ONCOLOGY, &plan).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        heard(&to_south, version).await;
    }
    let bodies: Vec<Value> =
        heard(&to_south, 2).await.iter().map(|told| serde_json::from_str(&told.body).unwrap()).collect();
    let counted: Vec<&Value> = bodies.iter().map(|body| &body["data"]["changes"]).collect();
    assert!(counted.contains(&&Value::Null), "a first version changes nothing: {bodies:?}");
    assert!(
        counted.contains(&&json!({ "added": 0, "changed": 0, "ended": 1, "moved": 0, "removed": 0 })),
        "{bodies:?}"
    );
    assert!(!bodies.iter().any(|body| body.to_string().contains("physical")), "{bodies:?}");
    world.close().await;
}

#[actix_web::test]
async fn a_deaf_notice_address_holds_up_no_document_and_shows_on_its_own() {
    let (platform, _kept) = bell(0);
    let world = open(&platform, "http://127.0.0.1:9/nobody").await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let shown = world.get(&exchange, "").await.json();
    let task = shown["parties"][1]["task"].as_str().unwrap();
    assert_eq!(world.get(&format!("/fhir/{task}"), SOUTH).await.status, 200);
    let shown = world.get(&exchange, "").await.json();
    assert_eq!(shown["stage"], "delivered", "a notice that waits is no document that waits: {shown:#}");
    assert_eq!(shown["deliveries"][0]["action"], "notice");
    let partners = world.get("/v1/partners", "").await.json();
    let lanes: Vec<(&Value, &Value)> =
        partners["partners"].as_array().unwrap().iter().map(|p| (&p["partner"], &p["channel"])).collect();
    assert!(
        lanes.contains(&(&json!("reader"), &json!("poll"))) && lanes.contains(&(&json!("reader"), &json!("notices")))
    );
    world.close().await;
}

#[actix_web::test]
async fn a_refused_notice_is_for_whoever_runs_the_gateway_and_says_that_the_document_is_there() {
    let (platform, _kept) = bell(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = format!("http://{}/notices", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 422 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let world = open(&platform, &refusing).await;
    let exchange = world.refer(&referral_to(1, SOUTH)).await;
    let asked = "/fhir/Task?code=https://vardkedja.example/fhir/CodeSystem/worklist|delivery-parked";
    let mut found = Value::Null;
    for _ in 0..600 {
        found = world.get(asked, "").await.json();
        if found["entry"].is_array() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let task = &found["entry"][0]["resource"];
    assert_eq!(task["statusReason"]["coding"][0]["code"], "notice", "{found:#}");
    assert!(task["description"].as_str().unwrap().contains("The document is there"), "{task:#}");
    assert!(task["for"].is_null() && task["focus"].is_null(), "{task:#}");
    assert_ne!(task["owner"]["identifier"]["value"], ONCOLOGY);
    let headers = [("Content-Type", "application/fhir+json")];
    let checked = world.ask("POST", "/fhir/Task/$validate", &headers, Some(task.to_string())).await;
    assert!(!checked.text.contains("\"error\""), "{}", checked.text);
    assert!(world.get(asked, ONCOLOGY).await.json()["entry"].is_null(), "no clinician is asked to mend anything");
    let shown = world.get(&exchange, ONCOLOGY).await.json();
    assert_eq!(shown["attention"], json!([]), "the document waits for nobody: {shown:#}");
    assert_ne!(shown["stage"], "parked");
    assert_eq!(shown["deliveries"][0]["state"], "parked", "it is seen all the same");
    assert_eq!(world.get("/v1/exchanges?attention=true", "").await.json()["exchanges"], json!([]));
    world.close().await;
}
