//! How partners' Tasks are read: one that cannot be used, or a bad minute, keeps none of the others from being heard.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;
use vardkedja::Gateway;
use vardkedja::access::Caller;
use vardkedja::config::Config;
use vardkedja::demo::Left;
use vardkedja::domain::delivery::{Outcome, State};
use vardkedja::domain::outgoing::Outgoing;
use vardkedja::domain::task::Status;
use vardkedja::domain::{Format, Kind, PartyRole, Stage};
use vardkedja::fhir::canonical::RESOURCE_ID;
use vardkedja::partner::{Client, Guard};
use vardkedja::store::{Action, Commit, Delivery, DeliveryQuery, Exchange, Filter, Party, Rooms};
use vardkedja::sync::cancel::cancel;
use vardkedja::sync::deliver::deliver;
use vardkedja::sync::reconcile::{Round, reconcile};
use vardkedja::sync::release::{Decision, decide};
use vardkedja::sync::worker::pump;
use vardkedja::sync::{Submission, submit};

use crate::world::{NORTH, ONCOLOGY, World, referral};

const PARTNER: &str = "primary-care";

/// A gateway without its loops, so that a test says when something is sent and when Tasks are read.
struct Still {
    gateway: Gateway,
    world: World,
}

impl Still {
    /// The clinic is the world's; the world's own gateway has nothing to do.
    async fn open() -> Self {
        let world = World::open().await;
        let file: PathBuf = world.folder.join("still.toml");
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"still.sqlite\"\n[[partner]]\nname = \"{PARTNER}\"\n\
             channel = \"push\"\nfhir_base = \"{}/fhir\"\ntimeout_s = 2\n",
            world.clinic
        );
        std::fs::write(&file, text).unwrap();
        let gateway = Gateway::open(Config::load(Some(&file)).unwrap()).unwrap();
        Self { gateway, world }
    }

    async fn close(self) {
        drop(self.gateway);
        self.world.close().await;
    }

    /// Takes a document in and sends nothing yet.
    async fn take_in(&self, document: &Value) -> Uuid {
        let caller = Caller::unit(ONCOLOGY, &self.gateway.config.directory);
        let bytes = document.to_string();
        let submission = Submission {
            caller: &caller,
            kind: Kind::Referral,
            format: Format::Json,
            bytes: bytes.as_bytes(),
            key: None,
            now: Utc::now(),
        };
        let answered = submit(&self.gateway, &submission).await.unwrap();
        answered.location.unwrap().rsplit('/').next().unwrap().parse().unwrap()
    }

    /// A referral that the clinic has, and its Task.
    async fn refer(&self, number: u32) -> (Uuid, String) {
        let exchange = self.take_in(&referral(number)).await;
        pump(&self.gateway).await.unwrap();
        let task = self.exchange(exchange).await.recipients().next().unwrap().task.clone().unwrap();
        (exchange, task)
    }

    async fn exchange(&self, id: Uuid) -> Exchange {
        self.gateway.store.exchange(&Filter::ALL, id).await.unwrap().unwrap()
    }

    async fn read(&self) -> Round {
        reconcile(&self.gateway, PARTNER, Utc::now()).await.unwrap()
    }

    async fn step(&self, task: &str, status: &str, answer: Option<&str>) {
        self.world.people().step(task, status, &Left { answer, ..Left::default() }).await.unwrap();
    }

    /// A gateway whose partner is a server of the test's own.
    async fn open_against(base: &str) -> Self {
        let world = World::open().await;
        let file: PathBuf = world.folder.join("still.toml");
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ndb = \"still.sqlite\"\n[delivery]\npoll_overlap_s = 0\n[[partner]]\n\
             name = \"{PARTNER}\"\nchannel = \"push\"\nfhir_base = \"{base}/fhir\"\ntimeout_s = 2\n"
        );
        std::fs::write(&file, text).unwrap();
        let gateway = Gateway::open(Config::load(Some(&file)).unwrap()).unwrap();
        Self { gateway, world }
    }

    /// A Task that the clinic has moved and that is no resource here any more.
    async fn lose(&self, task: &str) -> Uuid {
        let id = self.sent(task).await;
        let theirs = json!({
            "resourceType": "Task", "identifier": [{ "system": RESOURCE_ID, "value": task }],
            "status": "accepted", "intent": "order",
        });
        let url = format!("{}/fhir/Task", self.world.clinic);
        let headers = [("Content-Type", "application/fhir+json")];
        let made = self.world.ask("POST", &url, &headers, Some(theirs.to_string())).await;
        assert_eq!(made.status, 201, "{}", made.text);
        id
    }

    /// A Task that the partner has by what is recorded here.
    async fn sent(&self, task: &str) -> Uuid {
        let now = Utc::now();
        let party = |unit: &str, partner: &str, role, task: Option<&str>| Party {
            unit: unit.into(),
            partner: partner.into(),
            role,
            task: task.map(str::to_owned),
            status: task.map(|_| Status::Requested),
            stage: Stage::Delivered,
        };
        let exchange = Exchange {
            id: Uuid::now_v7(),
            revision: 1,
            kind: Kind::Referral,
            format: Format::Json,
            organisation: "SE2321000131-E000000000001".into(),
            document: task.into(),
            version: 1,
            entered_in_error: false,
            patient: None,
            stage: Stage::Delivered,
            created_at: now,
            updated_at: now,
            parties: vec![
                party(ONCOLOGY, "platform", PartyRole::Sender, None),
                party(NORTH, PARTNER, PartyRole::Recipient, Some(task)),
            ],
            resources: Vec::new(),
        };
        let delivery = Delivery {
            id: Uuid::now_v7(),
            exchange: exchange.id,
            document_version: 1,
            partner: PARTNER.into(),
            unit: NORTH.into(),
            patient: task.into(),
            action: Action::Transaction,
            body: b"{}".to_vec(),
            state: State::Delivered,
            attempts: 1,
            seq: 0,
            created_at: now,
            first_attempt_at: Some(now),
            due_at: now,
            begun_at: None,
            note: None,
            urgent: false,
            resend_of: None,
            held: false,
        };
        let id = exchange.id;
        let commit = Commit { exchanges: vec![exchange], deliveries: vec![delivery], ..Commit::default() };
        self.gateway.store.commit(commit).await.unwrap();
        id
    }
}

#[actix_web::test]
async fn a_task_that_cannot_be_applied_is_held_and_the_next_is_read() {
    let still = Still::open().await;
    still.lose("lost-before").await;
    let (exchange, task) = still.refer(1).await;
    still.lose("lost-after").await;
    still.step(&task, "accepted", None).await;
    assert_eq!(still.read().await, Round { read: 3, applied: 1, held: 2, ..Round::default() });
    assert_eq!(still.exchange(exchange).await.stage, Stage::Accepted);
    let held = still.gateway.store.held_inbound(Some(PARTNER), 10).await.unwrap();
    assert!(held.iter().all(|h| h.finding.as_ref().is_some_and(|f| f.contains("Task"))), "{held:#?}");
    assert_eq!(still.read().await.held, 0, "what is held is told once");
    still.close().await;
}

/// A seed with which the clinic's faults strike as often as `strikes` says, in that order, with a probability of a half.
fn seed(strikes: &[bool]) -> u64 {
    let fits = |seed: &u64| {
        let mut dice = fastrand::Rng::with_seed(*seed);
        strikes.iter().all(|strike| (dice.f64() < 0.5) == *strike)
    };
    (0..).find(fits).unwrap()
}

#[actix_web::test]
async fn an_answer_that_could_not_be_read_in_a_bad_minute_is_read_in_the_next_round() {
    let still = Still::open().await;
    let (exchange, task) = still.refer(1).await;
    still.step(&task, "completed", Some("Klart.")).await;
    for kind in ["error", "busy", "html", "outcome", "empty", "garbage", "truncated", "lost-answer", "reset"] {
        // The Task is read, the Communication it points at is not.
        let fault = json!({ "kind": kind, "probability": 0.5, "seed": seed(&[false, true]), "method": "GET" });
        still.world.misbehave(fault).await;
        assert_eq!(still.read().await, Round { read: 1, left: 1, ..Round::default() }, "{kind}");
        still.world.behave().await;
    }
    assert_eq!(still.gateway.store.held_inbound(Some(PARTNER), 10).await.unwrap(), []);
    assert_eq!(still.read().await, Round { read: 1, applied: 1, ..Round::default() });
    assert_eq!(still.exchange(exchange).await.stage, Stage::Completed);
    still.close().await;
}

#[actix_web::test]
async fn an_answer_to_the_version_before_is_not_taken_for_an_answer_to_this_one() {
    let still = Still::open().await;
    let (exchange, task) = still.refer(1).await;
    still.step(&task, "rejected", Some("Fel vårdnivå.")).await;
    // Before that is read, the sender takes the request back and asks anew.
    let caller = Caller::unit(ONCOLOGY, &still.gateway.config.directory);
    cancel(&still.gateway, &caller, exchange, "Fel.", Utc::now()).await.unwrap();
    let mut again = referral(1);
    again["version"] = json!(2);
    again["reasonForVersion"] = json!("AR");
    still.take_in(&again).await;
    assert_eq!(still.read().await, Round::default(), "the clinic has not got what it would answer");
    assert_eq!(still.exchange(exchange).await.recipients().next().unwrap().status, Some(Status::Requested));

    pump(&still.gateway).await.unwrap();
    let query = DeliveryQuery { state: Some(State::Parked), ..DeliveryQuery::default() };
    let parked = still.gateway.store.deliveries(&query).await.unwrap();
    assert_eq!(parked.len(), 1, "the cancellation came too late");
    let skip = Decision::Skip { by: "Jour Jourdotter", reason: "Avvisad redan." };
    decide(&still.gateway, parked[0].id, skip, "test", Utc::now()).await.unwrap();
    pump(&still.gateway).await.unwrap();
    assert_eq!(still.world.people().task(&task).await.unwrap()["status"], "requested", "asked anew");
    still.read().await;
    still.step(&task, "completed", Some("Klart.")).await;
    assert_eq!(still.read().await.applied, 1);
    assert_eq!(still.exchange(exchange).await.stage, Stage::Completed);
    still.close().await;
}

#[actix_web::test]
async fn a_move_that_was_answered_with_nothing_is_believed_only_when_it_is_seen() {
    let still = Still::open().await;
    let (exchange, task) = still.refer(1).await;
    let caller = Caller::unit(ONCOLOGY, &still.gateway.config.directory);
    cancel(&still.gateway, &caller, exchange, "Fel.", Utc::now()).await.unwrap();
    still.world.misbehave(json!({ "kind": "empty", "next": 1, "method": "PUT" })).await;
    pump(&still.gateway).await.unwrap();
    let query = DeliveryQuery { state: Some(State::Waiting), ..DeliveryQuery::default() };
    let waiting = still.gateway.store.deliveries(&query).await.unwrap();
    assert_eq!(waiting.len(), 1, "200 and nothing, and the clinic's Task stands where it stood");
    decide(&still.gateway, waiting[0].id, Decision::Retry, "test", Utc::now()).await.unwrap();
    pump(&still.gateway).await.unwrap();
    assert_eq!(still.world.people().task(&task).await.unwrap()["status"], "cancelled");
    still.close().await;
}

#[actix_web::test]
async fn an_answer_that_is_not_there_is_held_until_the_task_changes() {
    let still = Still::open().await;
    let (exchange, task) = still.refer(1).await;
    still.step(&task, "completed", Some("Klart.")).await;
    let mut theirs = still.world.people().task(&task).await.unwrap();
    let answer = theirs["output"][0]["valueReference"]["reference"].as_str().unwrap();
    let url = format!("{}/fhir/{answer}", still.world.clinic);
    assert!(still.world.ask("DELETE", &url, &[], None).await.status < 300);
    assert_eq!(still.read().await, Round { read: 1, held: 1, ..Round::default() });
    assert_eq!(still.read().await, Round { read: 1, ..Round::default() });
    theirs.as_object_mut().unwrap().shift_remove("output");
    theirs["status"] = json!("in-progress");
    let url = format!("{}/fhir/Task/{}", still.world.clinic, theirs["id"].as_str().unwrap());
    let headers = [("Content-Type", "application/fhir+json")];
    assert!(still.world.ask("PUT", &url, &headers, Some(theirs.to_string())).await.status < 300);
    assert_eq!(still.read().await, Round { read: 1, applied: 1, ..Round::default() });
    assert_eq!(still.exchange(exchange).await.stage, Stage::InProgress);
    still.close().await;
}

#[actix_web::test]
async fn a_completion_is_read_while_a_later_version_waits_or_is_parked() {
    let still = Still::open().await;
    for (number, parks) in [(1, false), (2, true)] {
        let (exchange, task) = still.refer(number).await;
        let mut second = referral(number);
        second["version"] = json!(2);
        assert_eq!(still.take_in(&second).await, exchange);
        if parks {
            still.world.misbehave(json!({ "kind": "outcome", "next": 1, "method": "POST" })).await;
            pump(&still.gateway).await.unwrap();
        }
        let stage = if parks { Stage::Parked } else { Stage::Waiting };
        assert_eq!(still.exchange(exchange).await.stage, stage);
        still.step(&task, "completed", Some("Klart.")).await;
        assert_eq!(still.read().await.applied, 1, "{stage}");
        assert_eq!(still.exchange(exchange).await.recipients().next().unwrap().status, Some(Status::Completed));
        pump(&still.gateway).await.unwrap();
    }
    still.close().await;
}

#[actix_web::test]
async fn a_delivery_that_was_skipped_while_it_was_sent_keeps_the_attempt_and_the_decision() {
    let still = Still::open().await;
    let exchange = still.take_in(&referral(1)).await;
    let store = &still.gateway.store;
    let under_way = store.due(Utc::now(), &[], &Rooms::upto(1)).await.unwrap().ready.remove(0);
    let skip = Decision::Skip { by: "Eva Ek", reason: "fel mottagare" };
    decide(&still.gateway, under_way.id, skip, "operator", Utc::now()).await.unwrap();
    assert_eq!(deliver(&still.gateway, &under_way, Utc::now(), 0.5).await.unwrap(), None, "it had not begun");
    let begun = Delivery { begun_at: Some(Utc::now()), ..under_way.clone() };
    assert_eq!(deliver(&still.gateway, &begun, Utc::now(), 0.5).await.unwrap(), Some(Outcome::Delivered));
    let query = DeliveryQuery { exchange: Some(exchange), ..DeliveryQuery::default() };
    let found = store.deliveries(&query).await.unwrap().remove(0);
    assert_eq!(
        (found.state, found.attempts, found.note.as_deref()),
        (State::Skipped, 1, Some("Eva Ek: fel mottagare"))
    );
    let attempts = store.attempts(under_way.id).await.unwrap();
    assert_eq!(attempts.iter().map(|a| a.class.as_str()).collect::<Vec<_>>(), ["delivered"]);
    store.verify_audit().await.unwrap();
    still.close().await;
}

/// A server on loopback that answers every GET with what `answer` makes of its path, and keeps the paths.
fn serve(answer: impl Fn(&str, &str) -> Value + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    serve_with(move |own, path| (200, answer(own, path)))
}

/// The same, with a status.
fn serve_with(answer: impl Fn(&str, &str) -> (u16, Value) + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let paths = Arc::new(Mutex::new(Vec::new()));
    let (kept, own) = (Arc::clone(&paths), base.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let (status, body) = answer(&own, &path);
            let body = body.to_string();
            kept.lock().unwrap().push(path);
            let head = format!("HTTP/1.1 {status} It\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    (base, paths)
}

fn page(tasks: &[&str], next: Option<&str>) -> Value {
    let entries: Vec<Value> =
        tasks.iter().map(|id| json!({ "resource": { "resourceType": "Task", "id": id } })).collect();
    let links: Vec<Value> = next.iter().map(|url| json!({ "relation": "next", "url": url })).collect();
    json!({ "resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries })
}

#[tokio::test]
async fn tasks_are_asked_for_in_short_addresses_and_read_from_every_page_of_the_same_server() {
    let (foreign, asked_abroad) = serve(|_, _| page(&["theirs"], None));
    let (base, paths) = serve(move |own, path| match path.rsplit_once("page=").map(|(_, number)| number) {
        None => page(&["1", "2"], Some(&format!("{own}/fhir?page=2"))),
        Some("2") => page(&["2", "3"], Some("?page=3")),
        _ => page(&["4"], Some(&format!("{foreign}/fhir?page=4"))),
    });
    let client = client(&base);
    let identifiers: Vec<String> = (0..45).map(|_| format!("{RESOURCE_ID}|{}", Uuid::new_v4())).collect();
    let tasks = client.tasks(&identifiers).await.unwrap();
    let ids: Vec<&str> = tasks.iter().map(|t| t["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    let paths = paths.lock().unwrap();
    assert_eq!(paths.len(), 9, "three searches of three pages");
    assert!(paths.iter().all(|p| p.len() < 3000), "{paths:#?}");
    assert_eq!(*asked_abroad.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_search_that_never_ends_is_left() {
    let (base, paths) = serve(|own, _| page(&["1"], Some(&format!("{own}/fhir?again"))));
    let client = client(&base);
    assert_eq!(client.tasks(&[format!("{RESOURCE_ID}|1")]).await.unwrap().len(), 1);
    assert!(paths.lock().unwrap().len() <= 20);
}

fn client(base: &str) -> Client {
    let guard = Guard::new(Arc::new(Outgoing { loopback: true, ..Outgoing::default() }));
    Client::new(&format!("{base}/fhir"), Duration::from_secs(5), &guard).unwrap()
}

/// When the partner's Tasks changed, by its own clock.
type Changed = Arc<Mutex<Vec<(&'static str, String)>>>;

/// A partner's server that has these Tasks, and searches by `_lastUpdated` or refuses to.
fn partner_with(tasks: &Changed, refuses: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let tasks = Arc::clone(tasks);
    serve_with(move |_, path| {
        let url = reqwest::Url::parse(&format!("http://x{path}")).unwrap();
        let value = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned());
        let since = value("_lastUpdated");
        if refuses && since.is_some() {
            return (
                400,
                json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "error", "code": "not-supported" }] }),
            );
        }
        let asked = value("identifier").unwrap_or_default();
        let from = since.map(|s| s.trim_start_matches("ge").to_owned()).unwrap_or_default();
        let tasks = tasks.lock().unwrap();
        let found = tasks.iter().filter(|(id, at)| asked.contains(&format!("|{id}")) && *at >= from);
        let entries: Vec<Value> = found
            .map(|(id, at)| {
                json!({ "resource": {
                    "resourceType": "Task", "id": id, "meta": { "versionId": at, "lastUpdated": at }, "status": "accepted",
                    "identifier": [{ "system": RESOURCE_ID, "value": id }],
                } })
            })
            .collect();
        (200, json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries }))
    })
}

fn by_their_clock(now: chrono::DateTime<Utc>, seconds: i64) -> String {
    (now + chrono::TimeDelta::seconds(seconds)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[actix_web::test]
async fn a_round_asks_for_what_has_changed_and_at_times_for_everything_whatever_the_partners_clock_says() {
    let now = Utc::now();
    let tasks: Changed = Arc::new(Mutex::new(vec![("a", by_their_clock(now, -900)), ("b", by_their_clock(now, -600))]));
    let (base, paths) = partner_with(&tasks, false);
    let still = Still::open_against(&base).await;
    still.sent("a").await;
    still.sent("b").await;
    let read = async |after_s: i64| {
        let at = now + chrono::TimeDelta::seconds(after_s);
        reconcile(&still.gateway, PARTNER, at).await.unwrap().read
    };
    assert_eq!([read(0).await, read(1).await], [2, 2], "until it is known what is new");
    assert_eq!(read(2).await, 1, "only what is as new as the newest");
    assert!(paths.lock().unwrap().last().unwrap().contains("_lastUpdated=ge"));
    tasks.lock().unwrap()[0].1 = by_their_clock(now, 3);
    assert_eq!(read(4).await, 2, "what has changed is read");
    still.sent("c").await;
    tasks.lock().unwrap().push(("c", by_their_clock(now, -5000)));
    read(5).await;
    read(6).await;
    let last = paths.lock().unwrap().clone();
    assert!(
        last.iter().any(|p| p.contains("%7Cc") && !p.contains("_lastUpdated")),
        "a Task that is new here: {last:#?}"
    );
    // The partner's clock is set back by an hour, and a Task changes there.
    tasks.lock().unwrap()[1].1 = by_their_clock(now, -3500);
    let before = still.gateway.store.held_inbound(Some(PARTNER), 50).await.unwrap().len();
    read(10).await;
    assert_eq!(still.gateway.store.held_inbound(Some(PARTNER), 50).await.unwrap().len(), before, "it is not seen yet");
    read(3601).await;
    assert_eq!(
        still.gateway.store.held_inbound(Some(PARTNER), 50).await.unwrap().len(),
        before + 1,
        "a full round sees it"
    );
    still.close().await;
}

#[actix_web::test]
async fn a_server_that_refuses_to_search_by_time_is_asked_without() {
    let now = Utc::now();
    let tasks: Changed = Arc::new(Mutex::new(vec![("a", by_their_clock(now, -900)), ("b", by_their_clock(now, -600))]));
    let (base, paths) = partner_with(&tasks, true);
    let still = Still::open_against(&base).await;
    still.sent("a").await;
    still.sent("b").await;
    for _ in 0..6 {
        let round = still.read().await;
        assert_eq!((round.read, round.unreachable), (2, false));
    }
    let with = paths.lock().unwrap().iter().filter(|p| p.contains("_lastUpdated")).count();
    assert_eq!(with, 1, "it is tried once");
    still.close().await;
}
