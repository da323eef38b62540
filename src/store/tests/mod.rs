//! Tests of the store as its users see it, and the rows they are made of.

mod assertions;
mod audit;
mod block;
mod closed;
mod exchanges;
mod expectations;
mod exports;
mod fill;
mod filter;
mod groups;
mod lanes;
mod link;
mod log;
mod model;
mod opening;
mod plans;
mod questions;
mod queue;
mod reindex;
mod removal;
mod resources;
mod rights;
mod schema;
mod search;
mod waits;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::*;
use crate::domain::{Format, Kind, PartyRole, Stage, delivery, task};

const PNR: &str = "http://electronichealth.se/identifier/personnummer";
const ASKER: &str = "SE2321000131-E101";
const HELPER: &str = "SE2321000131-E202";
const STRANGER: &str = "SE2321000131-E909";

/// Times are whole milliseconds, as the database keeps them.
fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + 60 * minute, 0).unwrap()
}

fn put(resource_type: &str, id: &str, version: u32) -> Put {
    Put {
        resource_type: resource_type.into(),
        id: id.into(),
        version,
        body: format!(r#"{{"resourceType":"{resource_type}","id":"{id}","meta":{{"versionId":"{version}"}}}}"#).into(),
        patient: None,
        units: Vec::new(),
        index: Vec::new(),
        exchange: None,
    }
}

fn identifier(system: &str, code: &str) -> Index {
    Index::Token { param: "identifier", system: system.into(), code: code.into() }
}

fn patient(id: &str, pnr: &str) -> Put {
    Put { index: vec![identifier(PNR, pnr)], ..put("Patient", id, 1) }
}

fn party(unit: &str, partner: &str, role: PartyRole) -> Party {
    Party { unit: unit.into(), partner: partner.into(), role, task: None, status: None, stage: Stage::Waiting }
}

/// An exchange between [`ASKER`] (partner `syd`) and [`HELPER`] (partner `norr`).
fn exchange(document: &str) -> Exchange {
    Exchange {
        id: Uuid::now_v7(),
        revision: 1,
        kind: Kind::Referral,
        format: Format::Json,
        organisation: "SE2321000131-E000000000001".into(),
        document: document.into(),
        version: 1,
        entered_in_error: false,
        patient: Some("p1".into()),
        stage: Stage::Waiting,
        created_at: at(0),
        updated_at: at(0),
        parties: vec![party(ASKER, "syd", PartyRole::Sender), party(HELPER, "norr", PartyRole::Recipient)],
        resources: Vec::new(),
    }
}

fn document(exchange: Uuid, version: u32) -> Document {
    Document {
        exchange,
        version,
        format: Format::Json,
        source: format!("source of version {version}").into(),
        hash: "00".into(),
        table: "referral.json".into(),
        table_version: "11".into(),
        received_at: at(0),
        in_force: true,
        receipt: b"receipt".to_vec(),
    }
}

fn delivery(exchange: Uuid, partner: &str, patient: &str) -> Delivery {
    Delivery {
        id: Uuid::now_v7(),
        exchange,
        document_version: 1,
        partner: partner.into(),
        unit: HELPER.into(),
        patient: patient.into(),
        action: Action::Transaction,
        body: b"bundle".to_vec(),
        state: delivery::State::Waiting,
        attempts: 0,
        seq: 0,
        created_at: at(0),
        first_attempt_at: None,
        due_at: at(0),
        begun_at: None,
        note: None,
        urgent: false,
        resend_of: None,
        held: false,
    }
}

fn attempt(class: &str) -> Attempt {
    Attempt { at: at(1), class: class.into(), status: Some(201), reason: None, duration_ms: 12 }
}

fn change(delivery: &Delivery, from: delivery::State, to: delivery::State) -> DeliveryChange {
    let tried = matches!((from, to), (delivery::State::Waiting, delivery::State::Delivered));
    let stopped = matches!(to, delivery::State::Parked | delivery::State::Skipped);
    DeliveryChange {
        id: delivery.id,
        from,
        to,
        due_at: delivery.due_at,
        note: stopped.then(|| "said so".into()),
        attempt: tried.then(|| attempt("delivered")),
    }
}

fn inbound(partner: &str, key: &str) -> Inbound {
    Inbound {
        partner: partner.into(),
        key: key.into(),
        exchange: None,
        at: at(0),
        body: b"said".to_vec(),
        finding: None,
    }
}

fn answer(caller: &str, key: &str) -> Answer {
    Answer {
        caller: caller.into(),
        key: key.into(),
        request_hash: "22".into(),
        exchange: None,
        status: 202,
        location: Some("/v1/referrals/1".into()),
        body: b"receipt".to_vec(),
    }
}

fn audit(action: &str) -> Audit {
    Audit {
        at: at(0),
        actor: ASKER.into(),
        action: action.into(),
        object: "exchange/1".into(),
        payload: r#"{"why":"care"}"#.into(),
    }
}

fn puts(put: impl IntoIterator<Item = Put>) -> Commit {
    Commit { put: put.into_iter().collect(), ..Commit::default() }
}

fn units(units: &[&str]) -> Filter {
    Filter::units(units.iter().map(|unit| (*unit).to_owned()).collect())
}

/// The one number that the statement tells.
fn count(store: &Store, sql: &'static str) -> i64 {
    let (send, receive) = std::sync::mpsc::channel();
    store.on_writer(move |db| send.send(db.query_row(sql, [], |row| row.get(0)).unwrap()).unwrap());
    receive.recv().unwrap()
}

impl Store {
    /// Commits what must succeed.
    async fn done(&self, commit: Commit) -> i64 {
        match self.commit(commit).await.unwrap() {
            Committed::Done { seq } => seq,
            Committed::Conflict(expect) => panic!("unmet: {expect:?}"),
        }
    }

    /// Runs something on the writer's own connection, between two groups.
    fn on_writer(&self, work: impl FnOnce(&rusqlite::Connection) + Send + 'static) {
        self.send(writer::Job::Run(Box::new(work))).unwrap();
    }

    /// Holds the writer until the sender is dropped, so that what is sent meanwhile becomes one group.
    fn hold_writer(&self) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel();
        let (started, running) = std::sync::mpsc::channel();
        self.on_writer(move |_| {
            started.send(()).unwrap();
            let _ = held.recv();
        });
        running.recv().unwrap();
        release
    }
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("vardkedja-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn database(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open_at(path: &Path) -> Store {
    Store::open(path, Options::default()).unwrap()
}

/// The versions of one resource.
fn versions(resource_type: &str, id: &str, limit: u32, before: Option<i64>) -> Versions {
    Versions { resource_type: Some(resource_type.into()), id: Some(id.into()), limit, before, ..Versions::default() }
}
