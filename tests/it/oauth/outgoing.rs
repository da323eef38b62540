//! We as a client: a partner that demands tokens gets them, from its own token endpoint, by the scheme that we offer ourselves.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vardkedja::demo::receiver::{self, Fault, Misbehaviour};

use super::{Door, ORGANISATION};
use crate::world::{ONCOLOGY, referral};

/// A primary care system that demands tokens of an issuer.
struct Clinic {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Clinic {
    fn open(folder: &Path, issuer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let options = receiver::Options {
            tokens: Some(receiver::Issuer::at(issuer).unwrap()),
            shutdown: Some(Box::pin(async { stopped.await.unwrap_or_default() })),
            ..receiver::Options::default()
        };
        let db = folder.join("clinic.db");
        let running = tokio::spawn(async move { receiver::serve(listener, &db, options).await.unwrap() });
        Self { url, stop: Some(stop), running }
    }

    async fn close(mut self) {
        drop(self.stop.take());
        self.running.await.unwrap();
    }
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("oauth-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

/// What the sending gateway is told of its partner.
fn sender(clinic: &str, token_url: &str, more: &str) -> String {
    format!(
        "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
         [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
         token_url = \"{token_url}\"\nclient_id = \"vardkedja-a\"\nscope = \"system/*.cruds\"\n{more}\n"
    )
}

/// What the gateway that gives the tokens knows of the sender.
fn issuer(scopes: &str) -> String {
    format!(
        "[[client]]\nid = \"vardkedja-a\"\nname = \"A\"\nhsa_id = \"{ORGANISATION}\"\npurpose = \"operations\"\n\
         jwks_file = \"a.json\"\nscopes = [\"{scopes}\"]\n"
    )
}

/// The sending gateway's keys are made at its first start, and are handed to the issuer.
async fn keys_of(sender: &Door) -> String {
    let jwks = sender.get("/.well-known/jwks.json", "", &[]).await;
    assert_eq!(jwks.json()["keys"].as_array().unwrap().len(), 1, "{}", jwks.text);
    jwks.text
}

async fn refer(door: &Door, number: u32) -> String {
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json")];
    let reply = door.post("/v1/referrals", &headers, referral(number).to_string()).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.headers["location"].to_str().unwrap().to_owned()
}

async fn until(door: &Door, exchange: &str, stage: &str) -> Value {
    let mut shown = Value::Null;
    for _ in 0..600 {
        shown = door.get(exchange, "", &[]).await.json();
        if shown["stage"] == stage {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {stage}: {shown:#}");
}

#[actix_web::test]
async fn a_partner_that_demands_tokens_is_shown_them_and_they_are_renewed_once() {
    let (home, away) = (folder(), folder());
    let nowhere = "http://127.0.0.1:9/oauth/token";
    let mut sending = Door::open_in(home, &sender("http://127.0.0.1:9", nowhere, "")).await;
    std::fs::write(away.join("a.json"), keys_of(&sending).await).unwrap();
    let giving = Door::open_in(away, &issuer("system/*.cruds")).await;
    let clinic = Clinic::open(&giving.folder, &giving.url);
    sending.restart(&sender(&clinic.url, &giving.token_url(), "")).await;

    let exchange = refer(&sending, 1).await;
    until(&sending, &exchange, "delivered").await;
    assert_eq!(giving.audited("token").len(), 1);
    let exchange = refer(&sending, 2).await;
    until(&sending, &exchange, "delivered").await;
    assert_eq!(giving.audited("token").len(), 1, "one token for all, while it is good");

    // A 401 means that the token is good no more: another is fetched, and nobody has to do anything.
    let fault = |next: u32| {
        let fault = Fault { method: Some("POST".into()), ..Fault::next(Misbehaviour::Unauthorized, next) };
        serde_json::to_string(&fault).unwrap()
    };
    let faults = format!("{}/faults", clinic.url);
    sending.http.post(&faults).body(fault(1)).send().await.unwrap();
    let exchange = refer(&sending, 3).await;
    let shown = until(&sending, &exchange, "delivered").await;
    let attempts = |shown: &Value| {
        shown["deliveries"].as_array().unwrap().iter().map(|d| d["attempts"].as_array().unwrap().len()).sum::<usize>()
    };
    assert_eq!(attempts(&shown), 1, "{shown:#}");
    assert_eq!(giving.audited("token").len(), 2);

    // A partner that takes no token at all is asked twice and no more: the delivery waits for a person.
    sending.http.post(&faults).body(fault(2)).send().await.unwrap();
    let exchange = refer(&sending, 4).await;
    let shown = until(&sending, &exchange, "parked").await;
    assert_eq!(attempts(&shown), 1, "{shown:#}");
    assert_eq!(shown["deliveries"][0]["attempts"][0]["class"], "unauthorized");
    assert_eq!(giving.audited("token").len(), 3);
    clinic.close().await;
    sending.close().await;
    giving.close().await;
}

#[actix_web::test]
async fn without_a_token_nothing_is_sent_and_it_is_said_why() {
    let (home, away) = (folder(), folder());
    let mut sending = Door::open_in(home, &sender("http://127.0.0.1:9", "http://127.0.0.1:9/oauth/token", "")).await;
    keys_of(&sending).await;
    std::fs::write(away.join("a.json"), json!({ "keys": [super::Key::es384("k1").public()] }).to_string()).unwrap();
    let giving = Door::open_in(away, &issuer("system/*.cruds")).await;
    let clinic = Clinic::open(&giving.folder, &giving.url);
    sending.restart(&sender(&clinic.url, &giving.token_url(), "")).await;
    let exchange = refer(&sending, 1).await;
    let shown = until(&sending, &exchange, "parked").await;
    let attempt = &shown["deliveries"][0]["attempts"][0];
    assert_eq!(attempt["class"], "unauthorized");
    assert_eq!(attempt["reason"], "no token: HTTP 401 (invalid_client)");
    let journal = sending.http.get(format!("{}/journal", clinic.url)).send().await.unwrap().text().await.unwrap();
    assert!(!journal.contains("\"method\":\"POST\""), "nothing was sent: {journal}");
    clinic.close().await;
    sending.close().await;
    giving.close().await;
}
