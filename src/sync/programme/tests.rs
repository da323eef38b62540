//! What falls due in a programme, with the time as a value: check-ins, marks, messages and the end.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Event, Start, Started, start, sweep, take};
use crate::Gateway;
use crate::access::Caller;
use crate::config::Config;
use crate::domain::PersonId;
use crate::domain::programme::Step;
use crate::store::{Filter, Programme, Search};

const ONCOLOGY: &str = "SE2321000131-E000000000101";
const NURSE: &str = "SE2321000131-P000000000011";

/// A gateway that nobody listens to, in a folder that goes away with it.
struct Quiet {
    gateway: Gateway,
    folder: std::path::PathBuf,
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

impl Quiet {
    /// A programme that was started at that time.
    async fn open(now: &str) -> (Self, Uuid) {
        let folder = std::env::temp_dir().join(format!("vardkedja-programme-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let config = Config { db: folder.join("store.sqlite"), ..Config::load(None).unwrap() };
        let quiet = Self { gateway: Gateway::open(config).unwrap(), folder };
        let answers = json!({
            "aboutToStartTreatment": true, "treatmentAffectsWellbeing": true, "goodSwedish": true,
            "eIdentification": true, "deviceWithInternet": true, "cognitiveImpairmentAffectsLearning": false,
        });
        let wish = Start {
            definition: "infor-din-cancerbehandling".into(),
            patient: PersonId::parse("200001252386").unwrap(),
            unit: ONCOLOGY.into(),
            by: NURSE.into(),
            role: "contact-nurse".into(),
            started_at: at(now),
            answers: answers.as_object().unwrap().clone(),
        };
        let caller = quiet.caller();
        let Started::New(one) = start(&quiet.gateway, &caller, &wish, at(now)).await.unwrap() else {
            panic!("it was there")
        };
        (quiet, one.id)
    }

    fn caller(&self) -> Caller {
        Caller::unit(ONCOLOGY, &self.gateway.config.directory)
    }

    async fn step(&self, id: Uuid, step: Step, more: Event, now: &str) -> Programme {
        let event = Event { step: Some(step), by: NURSE.into(), role: "therapist".into(), ..more };
        take(&self.gateway, &self.caller(), id, &event, at(now)).await.unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    async fn sweep(&self, now: &str) {
        sweep(&self.gateway, at(now)).await.unwrap();
    }

    async fn of(&self, kind: &'static str) -> Vec<Value> {
        let found = self.gateway.store.search(&Filter::ALL, &Search::of(kind)).await.unwrap();
        found.matches.iter().map(|stored| serde_json::from_slice(&stored.body).unwrap()).collect()
    }

    /// Its Tasks of a kind, as `day status`.
    async fn tasks(&self, code: &str) -> Vec<String> {
        let tasks = self.of("Task").await;
        let line = |task: &Value| {
            let day = task["restriction"]["period"]["start"].as_str().unwrap();
            format!("{} {}", &day[..10], task["status"].as_str().unwrap())
        };
        let is_of = |task: &&Value| task["code"]["coding"][0]["code"] == code;
        let mut tasks: Vec<String> = tasks.iter().filter(is_of).map(line).collect();
        tasks.sort();
        tasks
    }
}

#[actix_web::test]
async fn check_ins_come_twice_a_week_and_one_that_nobody_made_has_failed_when_the_next_comes() {
    let (quiet, id) = Quiet::open("2026-03-02T08:00:00Z").await;
    // Nobody works with it yet: no check-in.
    quiet.sweep("2026-03-10T08:00:00Z").await;
    assert!(quiet.tasks("check-in").await.is_empty());
    quiet.step(id, Step::Begin, Event::default(), "2026-03-10T09:00:00Z").await;
    // A Thursday and a Monday, as days of Sweden.
    quiet.sweep("2026-03-12T08:00:00Z").await;
    assert_eq!(quiet.tasks("check-in").await, ["2026-03-11 requested"]);
    quiet.sweep("2026-03-16T08:00:00Z").await;
    assert_eq!(quiet.tasks("check-in").await, ["2026-03-11 failed", "2026-03-15 requested"]);
    quiet.step(id, Step::CheckIn, Event::default(), "2026-03-16T09:00:00Z").await;
    // After a week without anybody looking: what is over by then is there, and was not made.
    quiet.sweep("2026-03-23T08:00:00Z").await;
    assert_eq!(
        quiet.tasks("check-in").await,
        ["2026-03-11 failed", "2026-03-15 completed", "2026-03-18 failed", "2026-03-22 requested"]
    );
    quiet.sweep("2026-03-23T08:00:00Z").await;
    assert_eq!(quiet.tasks("check-in").await.len(), 4, "each once");
}

#[actix_web::test]
async fn days_62_and_90_are_marked_and_from_treatment_on_closing_is_due_and_nothing_is_sent() {
    let (quiet, id) = Quiet::open("2026-03-02T08:00:00Z").await;
    quiet.sweep("2026-03-02T08:00:00Z").await;
    // The gateway has been down: day 1 and day 3 are due, and treatment begins before they are made.
    let told = quiet.step(id, Step::TreatmentStarted, Event::default(), "2026-03-06T08:00:00Z").await;
    assert_eq!(told.treatment_at, Some(at("2026-03-06T08:00:00Z")));
    quiet.sweep("2026-03-06T08:00:01Z").await;
    assert_eq!(quiet.tasks("close").await, ["2026-03-06 requested"]);
    quiet.sweep("2026-05-03T08:00:00Z").await;
    assert_eq!(quiet.tasks("mark").await, ["2026-05-02 requested"]);
    quiet.sweep("2026-06-01T08:00:00Z").await;
    assert_eq!(quiet.tasks("mark").await, ["2026-05-02 requested", "2026-05-30 requested"]);
    let messages = quiet.of("CommunicationRequest").await;
    assert!(messages.len() >= 3 && messages.iter().all(|m| m["status"] == "revoked"), "{messages:#?}");
}

#[actix_web::test]
async fn a_module_that_began_before_the_programme_was_known_moves_its_end() {
    let (quiet, id) = Quiet::open("2026-03-02T08:00:00Z").await;
    quiet.step(id, Step::Begin, Event::default(), "2026-03-03T08:00:00Z").await;
    let before = quiet.gateway.store.programme(id).await.unwrap().unwrap();
    assert_eq!(before.purge_at, at("2028-03-01T23:00:00Z"));
    let module = Event { module: Some("eating".into()), at: Some(at("2026-01-15T10:00:00Z")), ..Event::default() };
    let after = quiet.step(id, Step::Module, module, "2026-03-03T09:00:00Z").await;
    assert_eq!(after.purge_at, at("2028-01-14T23:00:00Z"));
}
