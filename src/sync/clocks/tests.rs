//! Years in milliseconds: the time is a value, and nobody waits for it. Longer than most files: one gateway that nobody listens to
//! serves them all.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::acknowledge::{Change, Heard, acknowledge};
use super::super::part::AreaAnswer;
use super::super::submit::{Submission, submit};
use super::super::{block, witness};
use super::pause::{Wish, pause, resume};
use super::round;
use crate::Gateway;
use crate::access::Caller;
use crate::config::Config;
use crate::domain::task::Status;
use crate::domain::{Format, Kind};
use crate::store::{Commit, Committed, Filter, Put, Waiting};

const REFERRAL: &str = include_str!("../../../mappings/examples/referral.small.source.json");
const ACTIVE: &str = include_str!("../../../mappings/examples/handover.active-small.source.json");
const ONCOLOGY: &str = "SE2321000131-E000000000101";
const SOUTH: &str = "SE2321000131-E000000000203";
const NURSE: &str = "SE2321000131-P000000000011";

/// A gateway that nobody listens to, whose recipients read from it; in a folder that goes away with it.
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
    fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-clocks-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let config = Config { db: folder.join("store.sqlite"), ..Config::load(None).unwrap() };
        Self { gateway: Gateway::open(config).unwrap(), folder }
    }

    /// Sends a document to the southern unit, and gives its exchange with the unit's Task.
    async fn send(&self, kind: Kind, text: &str, urgency: &str, version: u32, now: &str) -> (Uuid, String) {
        let mut document: Value = serde_json::from_str(text).unwrap();
        document["recipient"]["unit"] = json!(SOUTH);
        document["version"] = json!(version);
        if kind == Kind::Referral {
            document["urgency"] = json!(urgency);
        }
        let (caller, bytes) = (Caller::operator(), document.to_string());
        let sent = Submission {
            caller: &caller,
            kind,
            format: Format::Json,
            bytes: bytes.as_bytes(),
            key: None,
            now: at(now),
        };
        let answered = submit(&self.gateway, &sent).await.unwrap();
        let id: Uuid = answered.location.unwrap().rsplit('/').next().unwrap().parse().unwrap();
        let exchange = self.gateway.store.exchange(&Filter::ALL, id).await.unwrap().unwrap();
        let task = exchange.recipients().find(|p| p.unit == SOUTH).unwrap().task.clone().unwrap();
        (id, task)
    }

    /// The unit reads its Task: from then on it has it.
    async fn fetch(&self, task: &str, now: &str) {
        let caller = Caller::unit(SOUTH, &self.gateway.config.directory);
        let found = self.gateway.store.resources(&caller.filter(), &[format!("Task/{task}")]).await.unwrap();
        witness::shown(&self.gateway, &caller, "read", &format!("Task/{task}"), &found, at(now)).await.unwrap();
    }

    async fn answer(&self, task: &str, status: Status, now: &str) {
        self.answer_areas(task, status, &[], now).await;
    }

    async fn answer_areas(&self, task: &str, status: Status, areas: &[(&str, Status)], now: &str) {
        let answer = |(area, status): &(&str, Status)| AreaAnswer {
            area: (*area).to_owned(),
            status: *status,
            reason: Some("Ett skäl.".into()),
            business_status: None,
            place: "areas[0]".into(),
        };
        let reason = if status.needs_answer() { json!({ "text": "Svar." }) } else { Value::Null };
        let change = Change {
            status,
            reason,
            business_status: Value::Null,
            note: Value::Null,
            output: Vec::new(),
            resources: Vec::new(),
            areas: areas.iter().map(answer).collect(),
            children: Vec::new(),
            redirect: None,
        };
        let key = Uuid::new_v4().to_string();
        let heard = Heard {
            partner: "reader",
            actor: SOUTH,
            key: &key,
            body: b"{}",
            expected_version: None,
            by: None,
            here: true,
            kept: None,
        };
        acknowledge(&self.gateway, task, &change, &heard, at(now)).await.unwrap();
    }

    async fn waits(&self, id: Uuid) -> Vec<Waiting> {
        self.gateway.store.waits_of(id).await.unwrap()
    }

    async fn round(&self, now: &str) -> usize {
        round(&self.gateway, at(now)).await.unwrap()
    }

    /// `step level status` of every Task about something overdue that the unit sees.
    async fn items(&self, unit: &str) -> Vec<String> {
        let caller = Caller::unit(unit, &self.gateway.config.directory);
        let found = self.gateway.store.search(&caller.filter(), &crate::store::Search::of("Task")).await.unwrap();
        let mut told = Vec::new();
        for stored in found.matches {
            let task: Value = serde_json::from_slice(&stored.body).unwrap();
            if task["code"]["coding"][0]["system"].as_str().is_some_and(|s| s.ends_with("/worklist")) {
                let code = |name: &str| task[name]["coding"][0]["code"].as_str().unwrap_or("-").to_owned();
                told.push(format!(
                    "{} {} {}",
                    code("reasonCode"),
                    code("businessStatus"),
                    task["status"].as_str().unwrap()
                ));
                let issues = self.gateway.validate(&[task]);
                assert!(!issues.iter().any(|i| i.is_error()), "{issues:#?}");
            }
        }
        told.sort();
        told
    }

    async fn put_patient(&self, exchange: Uuid, deceased: bool, now: &str) {
        let exchange = self.gateway.store.exchange(&Filter::ALL, exchange).await.unwrap().unwrap();
        let id = exchange.patient.unwrap();
        let stored = self.gateway.store.resource(&Filter::ALL, "Patient", &id).await.unwrap().unwrap();
        let mut patient: Value = serde_json::from_slice(&stored.body).unwrap();
        patient["meta"]["lastUpdated"] = json!(now);
        patient["deceasedBoolean"] = json!(deceased);
        let put = Put {
            resource_type: "Patient".into(),
            id: id.clone(),
            version: stored.version + 1,
            body: serde_json::to_vec(&patient).unwrap(),
            patient: None,
            units: Vec::new(),
            index: crate::fhir::search::index(&patient),
            exchange: None,
        };
        let done = self.gateway.store.commit(Commit { put: vec![put], ..Commit::default() }).await.unwrap();
        assert!(matches!(done, Committed::Done { .. }));
    }
}

#[actix_web::test]
async fn what_nobody_answers_is_told_once_for_each_level_and_ends_with_the_move() {
    let quiet = Quiet::open();
    let (id, task) = quiet.send(Kind::Referral, REFERRAL, "routine", 1, "2026-03-10T09:00:00Z").await;
    assert_eq!(quiet.round("2026-03-11T08:59:59Z").await, 0, "a working day has not passed");
    assert_eq!(quiet.round("2026-03-11T09:00:00Z").await, 1);
    assert_eq!(quiet.round("2026-03-11T09:00:00Z").await, 0, "told once");
    for unit in [ONCOLOGY, SOUTH] {
        assert_eq!(quiet.items(unit).await, ["not-delivered reminder requested"], "{unit}");
    }
    quiet.fetch(&task, "2026-03-11T10:00:00Z").await;
    assert_eq!(quiet.items(SOUTH).await, ["not-delivered reminder completed"], "in the commit of the move");
    // Fetched on a Wednesday: two working days later is Friday, five the Wednesday after.
    assert_eq!(quiet.round("2026-03-13T09:59:59Z").await, 0);
    assert_eq!(quiet.round("2026-03-13T10:00:00Z").await, 1);
    assert_eq!(quiet.round("2026-03-18T10:00:00Z").await, 1);
    let told = ["no-receipt escalation requested", "not-delivered reminder completed"];
    assert_eq!(quiet.items(ONCOLOGY).await, told);
    quiet.answer(&task, Status::Accepted, "2026-03-18T12:00:00Z").await;
    assert_eq!(quiet.items(ONCOLOGY).await[0], "no-receipt escalation completed");
    // An outcome is waited for ninety days by the calendar: over the night when the clock changes.
    assert_eq!(quiet.round("2026-06-16T10:59:59Z").await, 0);
    assert_eq!(quiet.round("2026-06-16T11:00:00Z").await, 1);
    // Nobody looked for years: what was missed is told once, at its highest.
    assert_eq!(quiet.round("2031-01-01T00:00:00Z").await, 1);
    assert_eq!(quiet.round("2031-01-01T00:00:00Z").await, 0);
    assert!(quiet.items(SOUTH).await.contains(&"no-outcome escalation requested".to_owned()));
    quiet.answer(&task, Status::Failed, "2031-02-01T00:00:00Z").await;
    assert!(quiet.waits(id).await.is_empty());
    assert!(!quiet.items(SOUTH).await.iter().any(|item| item.ends_with("requested")));
    let told = quiet.gateway.store.escalations_of(id).await.unwrap();
    assert_eq!(told.iter().map(|t| t.level).collect::<Vec<_>>(), [1, 1, 2, 1, 2]);
    assert!(told.iter().all(|t| t.ended_at.is_some()));
}

#[actix_web::test]
async fn what_is_urgent_is_told_in_hours_also_at_night() {
    let quiet = Quiet::open();
    let (id, _) = quiet.send(Kind::Referral, REFERRAL, "stat", 1, "2026-12-24T21:00:00Z").await;
    assert_eq!(quiet.round("2026-12-24T21:59:59Z").await, 0);
    assert_eq!(quiet.round("2026-12-25T12:00:00Z").await, 1, "both levels at once");
    assert_eq!(quiet.waits(id).await[0].level, 2);
    assert_eq!(quiet.gateway.store.next_wait().await.unwrap(), None);
}

#[actix_web::test]
async fn an_active_handover_waits_for_the_contact_with_the_patient() {
    let quiet = Quiet::open();
    let (_, task) = quiet.send(Kind::Handover, ACTIVE, "", 1, "2026-03-02T09:00:00Z").await;
    quiet.fetch(&task, "2026-03-02T09:00:00Z").await;
    quiet.answer(&task, Status::Accepted, "2026-03-02T10:00:00Z").await;
    assert_eq!(quiet.round("2026-03-16T09:59:00Z").await, 0);
    assert_eq!(quiet.round("2026-03-16T10:00:00Z").await, 1);
    assert_eq!(quiet.items(SOUTH).await, ["no-contact reminder requested"]);
    assert_eq!(quiet.items(ONCOLOGY).await, ["no-contact reminder requested"]);
}

#[actix_web::test]
async fn time_that_is_paused_does_not_count() {
    let quiet = Quiet::open();
    let (id, task) = quiet.send(Kind::Referral, REFERRAL, "routine", 1, "2026-03-02T09:00:00Z").await;
    quiet.fetch(&task, "2026-03-02T09:00:00Z").await;
    quiet.answer(&task, Status::Received, "2026-03-02T09:00:00Z").await;
    let caller = Caller::unit(ONCOLOGY, &quiet.gateway.config.directory);
    let wish = |until: &str| Wish { by: NURSE.into(), reason: "Patienten reser.".into(), until: at(until), unit: None };
    // Five working days are due on the 9th. Paused for 14 days on the second day: due 14 days later.
    pause(&quiet.gateway, &caller, id, &wish("2026-03-17T09:00:00Z"), at("2026-03-03T09:00:00Z")).await.unwrap();
    assert_eq!(quiet.round("2026-03-16T09:00:00Z").await, 0);
    assert_eq!(quiet.round("2026-03-23T08:59:59Z").await, 0, "nobody has to end it: it ends by itself");
    assert_eq!(quiet.round("2026-03-23T09:00:00Z").await, 1);
    assert_eq!(quiet.items(SOUTH).await, ["no-decision reminder requested"]);
    // What is overdue and paused is quiet, and is told again afterwards.
    pause(&quiet.gateway, &caller, id, &wish("2026-05-01T09:00:00Z"), at("2026-03-23T10:00:00Z")).await.unwrap();
    assert_eq!(quiet.items(SOUTH).await, ["no-decision reminder on-hold"]);
    resume(&quiet.gateway, &caller, id, NURSE, at("2026-03-24T10:00:00Z")).await.unwrap();
    assert!(resume(&quiet.gateway, &caller, id, NURSE, at("2026-03-24T10:00:00Z")).await.is_err(), "there is none");
    assert_eq!(quiet.round("2026-03-24T10:00:01Z").await, 1);
    assert_eq!(quiet.items(SOUTH).await, ["no-decision reminder requested"]);
    // While the recipient waits for the sender its clock stands still, and the sender's runs.
    quiet.answer(&task, Status::OnHold, "2026-03-24T12:00:00Z").await;
    assert_eq!(quiet.items(SOUTH).await, ["no-decision reminder on-hold"]);
    assert_eq!(quiet.round("2026-03-31T11:00:00Z").await, 1);
    assert_eq!(quiet.items(ONCOLOGY).await, ["no-completion reminder requested", "no-decision reminder on-hold"]);
    quiet.answer(&task, Status::Received, "2026-04-07T12:00:00Z").await;
    assert_eq!(quiet.items(ONCOLOGY).await, ["no-completion reminder completed", "no-decision reminder on-hold"]);
    assert_eq!(quiet.round("2026-04-07T12:00:00Z").await, 1, "overdue before, overdue still");
    let stranger = Caller::unit(SOUTH, &quiet.gateway.config.directory);
    assert!(
        pause(&quiet.gateway, &stranger, id, &wish("2026-05-01T09:00:00Z"), at("2026-04-08T09:00:00Z")).await.is_err()
    );
    assert!(
        pause(&quiet.gateway, &caller, id, &wish("2026-12-01T09:00:00Z"), at("2026-04-08T09:00:00Z")).await.is_err()
    );
}

#[actix_web::test]
async fn when_the_patient_has_died_the_clocks_stand_still_and_each_side_has_an_item() {
    let quiet = Quiet::open();
    let (id, task) = quiet.send(Kind::Referral, REFERRAL, "routine", 1, "2026-03-02T09:00:00Z").await;
    quiet.fetch(&task, "2026-03-02T09:00:00Z").await;
    quiet.put_patient(id, true, "2026-03-03T09:00:00.000Z").await;
    assert_eq!(quiet.round("2026-03-03T09:00:01Z").await, 1);
    assert_eq!(quiet.round("2030-01-01T00:00:00Z").await, 0);
    assert_eq!(quiet.items(ONCOLOGY).await, ["- - requested"]);
    assert_eq!(quiet.items(SOUTH).await, ["- - requested"], "whoever has booked something is told too");
    // It was a mistake: on the day before, one of two working days had passed.
    quiet.put_patient(id, false, "2026-03-10T09:00:00.000Z").await;
    for unit in [ONCOLOGY, SOUTH] {
        assert_eq!(quiet.items(unit).await, ["- - completed"]);
    }
    assert_eq!(quiet.round("2026-03-11T08:59:59Z").await, 0);
    assert_eq!(quiet.round("2026-03-11T09:00:00Z").await, 1);
}

#[actix_web::test]
async fn a_block_keeps_the_recipient_from_hearing_that_something_waits_for_it() {
    use crate::domain::block::{Period, Scope};
    let quiet = Quiet::open();
    let (id, _) = quiet.send(Kind::Referral, REFERRAL, "routine", 1, "2026-03-02T09:00:00Z").await;
    quiet.round("2026-03-03T09:00:00Z").await;
    assert_eq!(quiet.items(SOUTH).await.len(), 1);
    let caller = Caller::unit(ONCOLOGY, &quiet.gateway.config.directory);
    let patient = crate::domain::PersonId::parse("195009072553").unwrap();
    let provider = quiet.gateway.config.directory.find(ONCOLOGY).unwrap().care_provider.clone();
    let scope = Scope::Inner { unit: ONCOLOGY.into(), provider };
    let wish = block::Wish { patient, scope, period: Period::default(), by: NURSE.into() };
    let stands = match block::register(&quiet.gateway, &caller, &wish, at("2026-03-03T10:00:00Z")).await.unwrap() {
        block::Registered::New(block) | block::Registered::There(block) => block,
    };
    assert!(quiet.items(SOUTH).await.is_empty());
    assert_eq!(quiet.round("2026-03-05T09:00:00Z").await, 1, "the sender is still told");
    assert!(quiet.items(SOUTH).await.is_empty());
    assert_eq!(quiet.items(ONCOLOGY).await, ["not-delivered escalation requested"]);
    block::lift(&quiet.gateway, &caller, stands.id, NURSE, at("2026-03-06T10:00:00Z")).await.unwrap();
    assert_eq!(quiet.items(SOUTH).await, ["not-delivered escalation requested"]);
    assert_eq!(quiet.waits(id).await.len(), 1);
}

#[actix_web::test]
async fn other_rules_hold_for_what_is_open_from_the_next_start() {
    let quiet = Quiet::open();
    let (id, _) = quiet.send(Kind::Referral, REFERRAL, "routine", 1, "2026-03-02T09:00:00Z").await;
    let due = quiet.waits(id).await[0].due_at;
    let Quiet { gateway, folder } = &quiet;
    gateway.store.clone().close();
    let mut config = Config { db: folder.join("store.sqlite"), ..Config::load(None).unwrap() };
    let shorter =
        std::fs::read_to_string("src/config/clocks.toml").unwrap().replace("\"1wd\", \"3wd\"", "\"2h\", \"3h\"");
    std::fs::write(folder.join("rules.toml"), shorter).unwrap();
    let settings = format!("[clocks]\nrules = {:?}\n", folder.join("rules.toml"));
    config.clocks = Config::parse(&settings).unwrap().clocks;
    let again = Gateway::open(config).unwrap();
    let now = again.store.waits_of(id).await.unwrap();
    assert_eq!(
        (now[0].since, now[0].due_at),
        (at("2026-03-02T09:00:00Z"), at("2026-03-02T11:00:00Z").timestamp_millis())
    );
    assert!(now[0].due_at < due);
}

#[actix_web::test]
async fn an_area_that_nobody_takes_and_one_that_nobody_answers_are_told_by_their_names() {
    let quiet = Quiet::open();
    let three: Value = {
        let mut document: Value = serde_json::from_str(REFERRAL).unwrap();
        document["areas"] = json!(["physical-activity", "nutrition"]);
        document
    };
    let (id, task) = quiet.send(Kind::Referral, &three.to_string(), "routine", 1, "2026-03-02T09:00:00Z").await;
    quiet.fetch(&task, "2026-03-02T09:00:00Z").await;
    let answers = [("physical-activity", Status::Accepted), ("nutrition", Status::Rejected)];
    quiet.answer_areas(&task, Status::Accepted, &answers, "2026-03-02T10:00:00Z").await;
    let said = async || {
        let mut all: Vec<String> =
            quiet.waits(id).await.iter().map(|w| format!("{} {}", w.step.code(), w.subject)).collect();
        all.sort();
        all
    };
    assert_eq!(said().await, ["no-outcome physical-activity", "no-taker nutrition"]);
    // A new version adds an area: the answer to the others is none to it.
    let mut more = three.clone();
    more["areas"] = json!(["physical-activity", "nutrition", "tobacco"]);
    quiet.send(Kind::Referral, &more.to_string(), "routine", 2, "2026-03-03T09:00:00Z").await;
    let expected = ["no-decision tobacco", "no-outcome physical-activity", "no-taker nutrition"];
    assert_eq!(said().await.iter().filter(|s| !s.starts_with("not-delivered")).collect::<Vec<_>>(), expected);
    quiet.fetch(&task, "2026-03-03T09:00:00Z").await;
    assert_eq!(quiet.round("2026-03-09T10:00:01Z").await, 1, "five working days after the no");
    assert_eq!(quiet.items(SOUTH).await, Vec::<String>::new(), "it has said what it had to say");
    assert_eq!(quiet.items(ONCOLOGY).await, ["no-taker reminder requested"]);
    assert_eq!(quiet.round("2026-03-10T10:00:00Z").await, 1);
    assert_eq!(quiet.items(SOUTH).await, ["no-decision reminder requested"]);
    let caller = Caller::unit(SOUTH, &quiet.gateway.config.directory);
    let search = crate::store::Search::of("Task");
    let found = quiet.gateway.store.search(&caller.filter(), &search).await.unwrap();
    let tasks: Vec<Value> = found.matches.iter().map(|s| serde_json::from_slice(&s.body).unwrap()).collect();
    let item = tasks.iter().find(|t| t["reasonCode"]["coding"][0]["code"] == "no-decision").unwrap();
    assert_eq!(item["reasonCode"]["coding"][1]["code"], "tobacco");
    assert!(item["description"].as_str().unwrap().starts_with("Tobak"), "{item:#}");
    assert_eq!(item["focus"]["reference"], format!("Task/{task}"));
    // Each area ends its own; the other clocks go on.
    let now = "2026-03-11T10:00:00Z";
    quiet.answer_areas(&task, Status::Accepted, &[("tobacco", Status::Accepted)], now).await;
    assert_eq!(quiet.items(SOUTH).await, ["no-decision reminder completed"]);
    assert_eq!(said().await, ["no-outcome physical-activity", "no-outcome tobacco", "no-taker nutrition"]);
    let since: Vec<String> = quiet.waits(id).await.iter().map(|w| w.since.to_rfc3339()).collect();
    assert!(since.iter().any(|s| s.starts_with("2026-03-02")) && since.iter().any(|s| s.starts_with("2026-03-11")));
    // Another unit takes nutrition over: nobody has to look for one any more.
    let mut other = three.clone();
    (other["id"], other["areas"]) = (json!(format!("{ONCOLOGY}#R-else")), json!(["nutrition"]));
    let (_, second) = quiet.send(Kind::Referral, &other.to_string(), "routine", 1, "2026-03-12T09:00:00Z").await;
    assert_eq!(said().await.len(), 3);
    quiet.answer(&second, Status::Accepted, "2026-03-12T10:00:00Z").await;
    assert_eq!(said().await, ["no-outcome physical-activity", "no-outcome tobacco"]);
    assert_eq!(quiet.items(ONCOLOGY).await, ["no-decision reminder completed", "no-taker reminder completed"]);
    // And gives it back: the sender has it again, and looks again.
    quiet.answer(&second, Status::Failed, "2026-03-13T10:00:00Z").await;
    assert_eq!(said().await, ["no-outcome physical-activity", "no-outcome tobacco", "no-taker nutrition"]);
}

#[actix_web::test]
async fn a_region_has_its_own_times_for_what_its_units_send() {
    let quiet = Quiet::open();
    let Quiet { gateway, folder } = &quiet;
    gateway.store.clone().close();
    let text = std::fs::read_to_string("src/config/clocks.toml").unwrap();
    let own = "\n[[clock]]\nstep = \"not-delivered\"\nregion = \"14\"\nsorts = [\"referral\"]\nafter = { routine = [\"2h\", \"3h\"] }\n";
    std::fs::write(folder.join("rules.toml"), text + own).unwrap();
    let mut config = Config { db: folder.join("store.sqlite"), ..Config::load(None).unwrap() };
    config.clocks = Config::parse(&format!("[clocks]\nrules = {:?}\n", folder.join("rules.toml"))).unwrap().clocks;
    let again = Quiet { gateway: Gateway::open(config).unwrap(), folder: folder.join("nothing") };
    let (id, _) = again.send(Kind::Referral, REFERRAL, "routine", 1, "2026-03-02T09:00:00Z").await;
    assert_eq!(again.waits(id).await[0].due_at, at("2026-03-02T11:00:00Z").timestamp_millis());
    let mut back: Value = serde_json::from_str(REFERRAL).unwrap();
    back["id"] = json!(format!("{ONCOLOGY}#R-urgent"));
    let (id, _) = again.send(Kind::Referral, &back.to_string(), "urgent", 1, "2026-03-02T09:00:00Z").await;
    let due = at("2026-03-02T17:00:00Z").timestamp_millis();
    assert_eq!(again.waits(id).await[0].due_at, due, "what the region has not said is as for all");
}
