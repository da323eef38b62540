//! Who is asked for a new assessment, when, by which rules, and when it is done: with the time as a value. Long, because every case
//! is told with the same few documents and helpers.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::acknowledge::{Change, Heard, acknowledge};
use super::super::block;
use super::super::deceased::{Told, tell};
use super::super::link;
use super::super::submit::{Submission, submit};
use super::sweep;
use super::task::{REASSESSMENT, intervention};
use crate::Gateway;
use crate::access::Caller;
use crate::config::Config;
use crate::domain::task::Status;
use crate::domain::unit::Unit;
use crate::domain::{Directory, Format, Kind};
use crate::store::{Commit, Committed, Filter, Put, Search};

const PLAN: &str = include_str!("../../../mappings/examples/rehab-plan.full.source.json");
const SIP: &str = include_str!("../../../mappings/examples/handover.sip-small.source.json");
const REFERRAL: &str = include_str!("../../../mappings/examples/referral.small.source.json");
const ONCOLOGY: &str = "SE2321000131-E000000000101";
const TEAM: &str = "SE2321000131-E000000000102";
const FAR: &str = "SE2321000065-E000000000301";
const NORTH: &str = "SE2321000131-E000000000202";
const NURSE: &str = "SE2321000131-P000000000011";
/// The group's last day has passed.
const AFTER: &str = "2026-05-31T22:00:00Z";

/// A samordningsnummer, and the personnummer that the person got.
const OLD: &str = "196109732393";
const NEW: &str = "195009072553";

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

/// A plan whose group training in specialist care ends on 31 May, with an assessment of February.
fn plan(version: u32) -> Value {
    let mut plan: Value = serde_json::from_str(PLAN).unwrap();
    plan["version"] = json!(version);
    plan.as_object_mut().unwrap().shift_remove("replaces");
    plan
}

fn assessed(mut plan: Value, day: &str, areas: &[&str]) -> Value {
    plan["assessment"]["date"] = json!(day);
    plan["assessment"]["needs"] = areas.iter().map(|area| json!({ "area": area, "need": "basic" })).collect();
    plan
}

fn of(mut document: Value, number: &str) -> Value {
    document["patient"] = json!({ "personnummer": number, "name": "Test Testsson" });
    document
}

fn referral_of(number: &str) -> Value {
    of(serde_json::from_str(REFERRAL).unwrap(), number)
}

impl Quiet {
    fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-reassess-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let gateway = Gateway::open(Self::config(&folder)).unwrap();
        Self { gateway, folder }
    }

    fn config(folder: &std::path::Path) -> Config {
        let config = Config { db: folder.join("store.sqlite"), ..Config::load(None).unwrap() };
        // A clinic in a region that has no guideline here.
        let far = Unit { hsa_id: FAR.into(), region: "07".into(), ..config.directory.find(TEAM).unwrap().clone() };
        let units = config.directory.iter().cloned().chain([far]).collect();
        Config { directory: Directory::new(units), ..config }
    }

    async fn send(&self, kind: Kind, document: &Value, now: &str) -> (Uuid, Value) {
        let (caller, bytes) = (Caller::operator(), document.to_string());
        let format = Format::Json;
        let sent = Submission { caller: &caller, kind, format, bytes: bytes.as_bytes(), key: None, now: at(now) };
        let answered = submit(&self.gateway, &sent).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        let id = answered.location.unwrap().rsplit('/').next().unwrap().parse().unwrap();
        (id, serde_json::from_slice(&answered.body).unwrap())
    }

    async fn patient(&self, exchange: Uuid) -> String {
        self.gateway.store.exchange(&Filter::ALL, exchange).await.unwrap().unwrap().patient.unwrap()
    }

    async fn say(&self, patient: &str, told: &Told, now: &str) {
        let caller = Caller::unit(ONCOLOGY, &self.gateway.config.directory);
        tell(&self.gateway, &caller, patient, told, NURSE, at(now)).await.unwrap();
    }

    /// Says that OLD is replaced by NEW; the link.
    async fn link(&self, now: &str) -> Uuid {
        let caller = Caller::unit(ONCOLOGY, &self.gateway.config.directory);
        let number = |text| crate::domain::PersonId::parse(text).unwrap();
        let reason = "Personnummer tilldelat".to_owned();
        let wish = link::Wish { old: number(OLD), new: number(NEW), by: NURSE.into(), reason };
        let sent = link::Sent { bytes: b"{}", key: None };
        let answered = link::link(&self.gateway, &caller, &wish, sent, at(now)).await.unwrap();
        answered.location.unwrap().rsplit('/').next().unwrap().parse().unwrap()
    }

    async fn sweep(&self, now: &str) -> usize {
        sweep(&self.gateway, at(now)).await.unwrap()
    }

    /// The Tasks that a unit sees, as `intervention how status`.
    async fn told(&self, unit: &str) -> Vec<String> {
        let line = |task: &Value| {
            let how = task["reasonCode"]["coding"][0]["code"].as_str().unwrap();
            format!("{} {how} {}", intervention(task).unwrap(), task["status"].as_str().unwrap())
        };
        let mut told: Vec<String> = self.tasks(unit).await.iter().map(line).collect();
        told.sort();
        told
    }

    async fn tasks(&self, unit: &str) -> Vec<Value> {
        let caller = Caller::unit(unit, &self.gateway.config.directory);
        let found = self.gateway.store.search(&caller.filter(), &Search::of("Task")).await.unwrap();
        let tasks = found.matches.iter().map(|stored| serde_json::from_slice::<Value>(&stored.body).unwrap());
        let tasks: Vec<Value> = tasks.filter(|t| t["code"]["coding"][0]["code"] == REASSESSMENT).collect();
        let issues = self.gateway.validate(&tasks);
        assert!(!issues.iter().any(|issue| issue.is_error()), "{issues:#?}");
        tasks
    }

    async fn answer(&self, exchange: Uuid, unit: &str, statuses: &[Status], now: &str) {
        let found = self.gateway.store.exchange(&Filter::ALL, exchange).await.unwrap().unwrap();
        let party = found.parties.iter().find(|p| p.unit == unit).unwrap();
        let base = "https://vardkedja.example/fhir";
        for status in statuses {
            let told = json!({
                "resourceType": "Communication", "id": Uuid::new_v4().to_string(), "status": "completed",
                "meta": { "profile": [format!("{base}/StructureDefinition/referral-answer")] },
                "category": [{ "coding": [{ "system": format!("{base}/CodeSystem/communication-kind"), "code": "answer" }] }],
                "subject": { "reference": format!("Patient/{}", found.patient.as_deref().unwrap()) },
                "basedOn": [{ "reference": format!("Task/{}", party.task.as_deref().unwrap()) }],
                "sent": now, "sender": { "type": "Organization", "identifier": { "system": crate::fhir::canonical::HSA_ID, "value": unit } },
                "payload": [{ "contentString": "Klart." }],
            });
            let name = format!("Communication/{}", told["id"].as_str().unwrap());
            let said = if status.needs_answer() { vec![told] } else { Vec::new() };
            let change = Change {
                status: *status,
                reason: Value::Null,
                business_status: Value::Null,
                note: Value::Null,
                output: said
                    .iter()
                    .map(|_| json!({ "type": { "text": "answer" }, "valueReference": { "reference": name } }))
                    .collect(),
                resources: said,
                areas: Vec::new(),
                children: Vec::new(),
                redirect: None,
            };
            let key = Uuid::new_v4().to_string();
            let heard = Heard {
                partner: "reader",
                actor: unit,
                key: &key,
                body: b"{}",
                expected_version: None,
                by: None,
                here: true,
                kept: None,
            };
            let task = party.task.as_deref().unwrap();
            acknowledge(&self.gateway, task, &change, &heard, at(now)).await.unwrap();
        }
    }

    async fn die(&self, exchange: Uuid) {
        let exchange = self.gateway.store.exchange(&Filter::ALL, exchange).await.unwrap().unwrap();
        let id = exchange.patient.unwrap();
        let stored = self.gateway.store.resource(&Filter::ALL, "Patient", &id).await.unwrap().unwrap();
        let mut patient: Value = serde_json::from_slice(&stored.body).unwrap();
        patient["deceasedBoolean"] = json!(true);
        let put = Put {
            resource_type: "Patient".into(),
            id,
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
async fn when_the_last_day_has_passed_the_responsible_unit_is_asked_once_with_the_rules_that_say_so() {
    let quiet = Quiet::open();
    quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    assert_eq!(quiet.gateway.store.next_look().await.unwrap(), Some(at(AFTER)), "midnight in Sweden");
    assert_eq!(quiet.sweep("2026-05-31T21:59:59Z").await, 0);
    assert!(quiet.told(ONCOLOGY).await.is_empty(), "advice that is given asks for nothing");
    assert_eq!(quiet.sweep(AFTER).await, 1);
    assert_eq!(quiet.sweep("2026-06-30T22:00:00Z").await, 0, "once");
    let [task] = &quiet.tasks(ONCOLOGY).await[..] else { panic!("one Task") };
    assert_eq!((&task["status"], &task["owner"]["identifier"]["value"]), (&json!("requested"), &json!(ONCOLOGY)));
    assert_eq!(task["reasonCode"]["coding"][0]["code"], "passed");
    assert_eq!(task["restriction"]["period"]["start"], "2026-05-31");
    let guideline = "https://vardkedja.example/fhir/PlanDefinition/vgr-cancerrehabilitering|3.0";
    assert_eq!(task["instantiatesCanonical"], guideline);
    let inputs = |name: &str| -> Vec<&Value> {
        task["input"].as_array().unwrap().iter().filter(|input| input["type"]["text"] == name).collect()
    };
    let rules: Vec<&str> = inputs("rule").iter().map(|input| input["valueString"].as_str().unwrap()).collect();
    assert_eq!(rules.len(), 3, "{rules:?}");
    assert!(
        rules[0].starts_with("PA-S8: ”Vid avslutad intervention i specialistvården bör en ny bedömning"),
        "{rules:?}"
    );
    assert!(rules[0].contains("HS9766-305841775-381 version 3.0, rad 133–135"), "{rules:?}");
    assert!(rules[1].starts_with("PA-S9: ") && rules[2].starts_with("PA-S10: ") && rules[2].contains("Rutin Fatigue"));
    assert_eq!(inputs("includes")[0]["valueCodeableConcept"]["coding"][0]["code"], "fatigue");
    let text = task["description"].as_str().unwrap();
    assert!(text.contains("även av fatigue") && text.contains(" | ") && text.contains("also fatigue"), "{text}");
    // Who has got the plan and is not asked has no such Task.
    assert!(quiet.tasks(NORTH).await.is_empty());
}

#[actix_web::test]
async fn a_restart_neither_forgets_nor_repeats_it() {
    let quiet = Quiet::open();
    quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    let Quiet { gateway, folder } = &quiet;
    gateway.store.clone().close();
    let again = Gateway::open(Quiet::config(folder)).unwrap();
    assert_eq!(sweep(&again, at(AFTER)).await.unwrap(), 1);
    again.store.clone().close();
    let once_more = Gateway::open(Quiet::config(folder)).unwrap();
    assert_eq!(sweep(&once_more, at("2027-01-01T00:00:00Z")).await.unwrap(), 0);
    let found = once_more.store.search(&Filter::ALL, &Search::of("Task")).await.unwrap().matches;
    assert_eq!(found.iter().map(|task| task.version).collect::<Vec<_>>(), [1]);
}

#[actix_web::test]
async fn what_a_new_version_ends_is_asked_in_its_commit_and_a_correction_takes_it_back() {
    let quiet = Quiet::open();
    quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    let mut second = plan(2);
    second["interventions"][0]["status"] = json!("stopped");
    let (_, receipt) = quiet.send(Kind::RehabPlan, &second, "2026-04-10T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 stopped requested"]);
    assert!(receipt.to_string().contains("PA-S8: ”Vid avslutad"), "{receipt:#}");
    assert_eq!(quiet.gateway.store.next_look().await.unwrap(), None);
    // It was a mistake.
    quiet.send(Kind::RehabPlan, &plan(3), "2026-04-11T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 stopped cancelled"]);
    assert_eq!(quiet.sweep(AFTER).await, 1);
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed requested"], "the same Task");
    // An assessment from before the end is not the one that is asked for.
    let early = assessed(plan(4), "2026-05-30", &["physical-activity", "fatigue"]);
    quiet.send(Kind::RehabPlan, &early, "2026-06-02T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed requested"]);
    let late = assessed(plan(5), "2026-06-03", &["physical-activity", "fatigue"]);
    let (_, receipt) = quiet.send(Kind::RehabPlan, &late, "2026-06-03T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed completed"]);
    assert!(!receipt.to_string().contains("PA-S9"), "{receipt:#}");
    let tasks = quiet.tasks(ONCOLOGY).await;
    assert!(tasks[0]["output"][0]["valueReference"]["reference"].as_str().unwrap().starts_with("Observation/"));
    // Done is done.
    quiet.send(Kind::RehabPlan, &plan(6), "2026-06-04T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed completed"]);
}

#[actix_web::test]
async fn an_assessment_without_fatigue_ends_it_and_the_sender_is_told_what_was_left_out() {
    let quiet = Quiet::open();
    quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    quiet.sweep(AFTER).await;
    let without = assessed(plan(2), "2026-06-03", &["physical-activity"]);
    let (_, receipt) = quiet.send(Kind::RehabPlan, &without, "2026-06-03T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed completed"]);
    assert!(receipt.to_string().contains("PA-S9: ”Den bör inkludera screening av fatigue.”"), "{receipt:#}");
    let outputs = quiet.tasks(ONCOLOGY).await[0]["output"].clone();
    assert!(outputs[1]["valueString"].as_str().unwrap().starts_with("PA-S9"), "{outputs:#}");
}

#[actix_web::test]
async fn an_intervention_that_ended_without_a_day_is_met_by_a_newer_assessment_only() {
    let quiet = Quiet::open();
    let mut first = plan(1);
    first["interventions"][0].as_object_mut().unwrap().shift_remove("end");
    quiet.send(Kind::RehabPlan, &first, "2026-03-02T09:00:00Z").await;
    let completed = |mut plan: Value| {
        plan["interventions"][0].as_object_mut().unwrap().shift_remove("end");
        plan["interventions"][0]["status"] = json!("completed");
        plan
    };
    quiet.send(Kind::RehabPlan, &completed(plan(2)), "2026-05-10T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 completed requested"]);
    quiet.send(Kind::RehabPlan, &completed(plan(3)), "2026-05-11T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 completed requested"], "the same assessment as before");
    let newer = completed(assessed(plan(4), "2026-05-12", &["fatigue"]));
    quiet.send(Kind::RehabPlan, &newer, "2026-05-12T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 completed completed"]);
}

#[actix_web::test]
async fn nobody_is_asked_for_what_ended_before_the_plan_was_made_for_primary_care_for_advice_or_without_a_rule() {
    let quiet = Quiet::open();
    let mut done = plan(1);
    done["interventions"][0]["status"] = json!("completed");
    done["interventions"][0]["end"] = json!("2026-02-20");
    done["interventions"][0]["start"] = json!("2025-12-01");
    // Advice of specialist care, and what primary care does, end as well.
    done["interventions"][2]["end"] = json!("2026-03-01");
    done["interventions"][1]["start"] = json!("2026-03-02");
    done["interventions"][1]["end"] = json!("2026-03-05");
    quiet.send(Kind::RehabPlan, &done, "2026-03-10T09:00:00Z").await;
    quiet.sweep("2026-12-01T00:00:00Z").await;
    assert!(quiet.told(ONCOLOGY).await.is_empty() && quiet.told(NORTH).await.is_empty());
    // Kronoberg has no guideline here.
    let text = include_str!("../../../mappings/examples/rehab-plan.odd.source.json");
    let mut odd: Value = serde_json::from_str(text).unwrap();
    odd["status"] = json!("active");
    odd["interventions"][0]["form"] = json!("individual");
    odd["interventions"][0]["level"] = json!("specialist");
    odd["interventions"][0]["status"] = json!("completed");
    odd["recipients"] = json!(["SE2120001355-E000000000501"]);
    quiet.send(Kind::RehabPlan, &odd, "2026-11-01T09:00:00Z").await;
    assert!(quiet.told(FAR).await.is_empty());
}

#[actix_web::test]
async fn whoever_has_taken_the_area_over_is_asked_and_ends_it_by_a_plan_of_its_own() {
    let quiet = Quiet::open();
    let (_, _) = quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    let mut referral: Value = serde_json::from_str(REFERRAL).unwrap();
    referral["patient"] = plan(1)["patient"].clone();
    referral["planId"] = plan(1)["id"].clone();
    let (id, _) = quiet.send(Kind::Referral, &referral, "2026-03-03T09:00:00Z").await;
    quiet.answer(id, NORTH, &[Status::Accepted], "2026-03-04T09:00:00Z").await;
    assert_eq!(quiet.sweep(AFTER).await, 1);
    let [task] = &quiet.tasks(NORTH).await[..] else { panic!("one Task") };
    assert_eq!(task["owner"]["identifier"]["value"], NORTH);
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed requested"], "the sender of the plan sees that it is asked");
    let mut own = assessed(plan(1), "2026-06-10", &["fatigue", "physical-activity"]);
    own["id"] = json!(format!("{NORTH}#RP-1"));
    own["author"]["unit"] = json!(NORTH);
    own["recipients"] = json!([ONCOLOGY]);
    own["interventions"] = json!([own["interventions"][1].clone()]);
    quiet.send(Kind::RehabPlan, &own, "2026-06-11T09:00:00Z").await;
    assert_eq!(quiet.told(NORTH).await, ["I1 passed completed"]);
}

#[actix_web::test]
async fn a_unit_that_answers_that_its_part_is_done_ends_what_it_did_in_a_sip_or_by_a_plans_referral() {
    let quiet = Quiet::open();
    let mut sip: Value = serde_json::from_str(SIP).unwrap();
    sip["interventions"][0]["responsible"] = json!(TEAM);
    sip["interventions"][0]["area"] = json!("fatigue");
    sip["participants"][1]["unit"] = json!(TEAM);
    sip["overallResponsibility"] = json!(ONCOLOGY);
    sip["followUp"]["responsible"] = json!(ONCOLOGY);
    let (id, _) = quiet.send(Kind::Handover, &sip, "2026-03-06T09:00:00Z").await;
    quiet.answer(id, TEAM, &[Status::Accepted, Status::Completed], "2026-04-01T09:00:00Z").await;
    assert_eq!(quiet.told(TEAM).await, ["S1 answered requested"]);

    let other = Quiet::open();
    let mut third = plan(1);
    third["interventions"][0]["responsible"] = json!(TEAM);
    other.send(Kind::RehabPlan, &third, "2026-03-02T09:00:00Z").await;
    let mut referral: Value = serde_json::from_str(REFERRAL).unwrap();
    referral["recipient"]["unit"] = json!(TEAM);
    referral["careResponsibilityRemains"] = json!(true);
    referral["patient"] = third["patient"].clone();
    referral["planId"] = third["id"].clone();
    let (id, _) = other.send(Kind::Referral, &referral, "2026-03-03T09:00:00Z").await;
    other.answer(id, TEAM, &[Status::Accepted, Status::Completed], "2026-04-20T09:00:00Z").await;
    assert_eq!(other.told(ONCOLOGY).await, ["I1 answered requested"]);
    // The plan goes on saying that it is under way, until its author has written it anew: the answer stands.
    third["version"] = json!(2);
    other.send(Kind::RehabPlan, &third, "2026-04-21T09:00:00Z").await;
    assert_eq!(other.told(ONCOLOGY).await, ["I1 answered requested"]);
    third["version"] = json!(3);
    third["status"] = json!("entered-in-error");
    other.send(Kind::RehabPlan, &third, "2026-04-22T09:00:00Z").await;
    assert_eq!(other.told(ONCOLOGY).await, ["I1 answered cancelled"]);
}

#[actix_web::test]
async fn of_a_patient_who_has_died_nobody_is_asked() {
    let quiet = Quiet::open();
    let (id, _) = quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    quiet.die(id).await;
    assert_eq!(quiet.sweep(AFTER).await, 0);
}

#[actix_web::test]
async fn a_death_that_is_taken_back_has_every_plan_looked_at() {
    let quiet = Quiet::open();
    let (id, _) = quiet.send(Kind::RehabPlan, &plan(1), "2026-03-02T09:00:00Z").await;
    let patient = quiet.patient(id).await;
    quiet.say(&patient, &Told::Died(None), "2026-04-01T09:00:00Z").await;
    assert_eq!(quiet.sweep(AFTER).await, 0);
    assert_eq!(quiet.gateway.store.next_look().await.unwrap(), None);
    quiet.say(&patient, &Told::Lives { reason: "Förväxling".into() }, "2026-06-02T09:00:00Z").await;
    assert_eq!(quiet.sweep("2026-06-02T09:00:01Z").await, 1);
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed requested"]);
}

#[actix_web::test]
async fn so_has_a_link_to_somebody_who_has_died_when_it_was_wrong() {
    let quiet = Quiet::open();
    quiet.send(Kind::RehabPlan, &of(plan(1), OLD), "2026-03-02T09:00:00Z").await;
    let (other, _) = quiet.send(Kind::Referral, &referral_of(NEW), "2026-03-03T09:00:00Z").await;
    quiet.say(&quiet.patient(other).await, &Told::Died(None), "2026-04-01T09:00:00Z").await;
    let id = quiet.link("2026-04-02T09:00:00Z").await;
    assert_eq!(quiet.sweep(AFTER).await, 0);
    let caller = Caller::unit(ONCOLOGY, &quiet.gateway.config.directory);
    link::undo(&quiet.gateway, &caller, id, NURSE, "Fel person", at("2026-06-02T09:00:00Z")).await.unwrap();
    assert_eq!(quiet.sweep("2026-06-02T09:00:01Z").await, 1);
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed requested"]);
}

#[actix_web::test]
async fn what_comes_under_another_number_of_the_person_asks_and_ends_it_all_the_same() {
    let quiet = Quiet::open();
    let mut shared = of(plan(1), OLD);
    shared["interventions"][0]["responsible"] = json!(TEAM);
    let (id, _) = quiet.send(Kind::RehabPlan, &shared, "2026-03-02T09:00:00Z").await;
    quiet.send(Kind::Referral, &referral_of(NEW), "2026-03-02T10:00:00Z").await;
    quiet.link("2026-03-02T11:00:00Z").await;
    let mut referral = referral_of(NEW);
    referral["id"] = json!(format!("{ONCOLOGY}#R-77"));
    referral["recipient"]["unit"] = json!(TEAM);
    referral["careResponsibilityRemains"] = json!(true);
    referral["planId"] = shared["id"].clone();
    let (sent, _) = quiet.send(Kind::Referral, &referral, "2026-03-03T09:00:00Z").await;
    assert_ne!(quiet.patient(sent).await, quiet.patient(id).await);
    quiet.answer(sent, TEAM, &[Status::Accepted, Status::Completed], "2026-04-20T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 answered requested"]);
    let old = quiet.patient(id).await;
    assert_eq!(quiet.tasks(ONCOLOGY).await[0]["for"]["reference"], format!("Patient/{old}"));
    // Who is asked writes a plan of its own, under the number that is used now.
    let owner = quiet.tasks(ONCOLOGY).await[0]["owner"]["identifier"]["value"].as_str().unwrap().to_owned();
    let mut own = of(assessed(plan(1), "2026-04-25", &["fatigue", "physical-activity"]), NEW);
    own["id"] = json!(format!("{owner}#RP-77"));
    own["author"]["unit"] = json!(owner);
    own["interventions"] = json!([own["interventions"][1].clone()]);
    quiet.send(Kind::RehabPlan, &own, "2026-04-26T09:00:00Z").await;
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 answered completed"]);
    assert_eq!(quiet.tasks(ONCOLOGY).await[0]["for"]["reference"], format!("Patient/{old}"));
}

#[actix_web::test]
async fn a_block_keeps_it_from_whoever_it_keeps_the_plan_from() {
    use crate::domain::block::{Period, Scope};
    let quiet = Quiet::open();
    let mut shared = plan(1);
    shared["interventions"][0]["responsible"] = json!(TEAM);
    shared["recipients"] = json!([TEAM, NORTH]);
    quiet.send(Kind::RehabPlan, &shared, "2026-03-02T09:00:00Z").await;
    quiet.sweep(AFTER).await;
    assert_eq!(quiet.told(TEAM).await, ["I1 passed requested"]);
    let caller = Caller::unit(ONCOLOGY, &quiet.gateway.config.directory);
    let patient = crate::domain::PersonId::parse("196101182803").unwrap();
    let provider = quiet.gateway.config.directory.find(ONCOLOGY).unwrap().care_provider.clone();
    let scope = Scope::Inner { unit: ONCOLOGY.into(), provider };
    let wish = block::Wish { patient, scope, period: Period::default(), by: NURSE.into() };
    let stands = match block::register(&quiet.gateway, &caller, &wish, at("2026-06-03T10:00:00Z")).await.unwrap() {
        block::Registered::New(block) | block::Registered::There(block) => block,
    };
    assert!(quiet.told(TEAM).await.is_empty());
    assert_eq!(quiet.told(ONCOLOGY).await, ["I1 passed requested"]);
    block::lift(&quiet.gateway, &caller, stands.id, NURSE, at("2026-06-06T10:00:00Z")).await.unwrap();
    assert_eq!(quiet.told(TEAM).await, ["I1 passed requested"]);
}

#[test]
fn every_way_to_end_and_the_kind_of_task_have_their_codes() {
    let codes = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(format!("profiles/CodeSystem-{name}.json")).unwrap();
        let system: Value = serde_json::from_str(&text).unwrap();
        system["concept"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes("intervention-end"), super::ended::How::ALL.map(|how| how.code().to_owned()));
    assert!(codes("worklist").iter().any(|code| code == REASSESSMENT));
}
