//! What is gone is gone: from every file, from a copy that is put back, after a kill; and what a hold keeps goes when it is lifted.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{NURSE, PROGRAMME, answers};
use crate::program::{PATIENCE, Program, run};
use crate::world::{ONCOLOGY, activity};

const SECRET: &str = "Jag vågar inte berätta för barnen att jag är sjuk och ligger vaken";

struct Site {
    folder: PathBuf,
    http: reqwest::Client,
}

impl Site {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("vardkedja-programme-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self { folder, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn db(&self) -> PathBuf {
        self.folder.join("program.sqlite")
    }

    fn open(&self) -> Program {
        Program::start(&self.folder, "", &[])
    }

    async fn post(&self, program: &Program, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", program.url)).header("Content-Type", "application/json");
        let reply = request.body(body.to_string()).send().await.unwrap();
        let status = reply.status().as_u16();
        (status, serde_json::from_str(&reply.text().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, program: &Program, path: &str) -> (u16, Value) {
        let reply = self.http.get(format!("{}{path}", program.url)).send().await.unwrap();
        let status = reply.status().as_u16();
        (status, serde_json::from_str(&reply.text().await.unwrap()).unwrap_or_default())
    }

    async fn start(&self, program: &Program, patient: &str) -> String {
        let mut answers = answers();
        answers["cfs"] = json!(3);
        let body = json!({
            "definition": PROGRAMME, "patient": patient, "unit": ONCOLOGY, "by": NURSE, "role": "contact-nurse", "answers": answers,
        });
        let (status, made) = self.post(program, "/v1/programmes", &body).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    async fn step(&self, program: &Program, id: &str, step: &str, more: Value) -> (u16, Value) {
        let mut body = json!({ "step": step, "by": NURSE, "role": "contact-nurse" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(program, &format!("/v1/programmes/{id}/events"), &body).await
    }

    /// With a patient's words in it.
    async fn talked(&self, program: &Program, patient: &str) -> String {
        let id = self.start(program, patient).await;
        assert_eq!(self.step(program, &id, "begin", json!({})).await.0, 200);
        let said = json!({ "id": "m-1", "from": "patient", "text": SECRET });
        assert_eq!(self.step(program, &id, "message", said).await.0, 200);
        id
    }

    /// Every file of the database that has the words.
    fn told(&self) -> Vec<String> {
        let mut found = Vec::new();
        for ending in ["", "-wal", ".purges"] {
            let path = PathBuf::from(format!("{}{ending}", self.db().display()));
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
        found
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_copy_of_before_is_purged_again_when_it_is_put_back_and_the_journal_stays() {
    let site = Site::new();
    let program = site.open();
    let id = site.talked(&program, "195009072553").await;
    let note = json!({
        "id": "n-1", "contactId": format!("{ONCOLOGY}#K-1"), "form": "platform", "profession": "contact-nurse",
        "diagnoses": ["C50.9"], "codes": ["DV133"],
    });
    let mut copied = note.clone();
    copied["text"] = json!(format!("Pat skriver: {SECRET}."));
    let (status, refused) = site.step(&program, &id, "note", copied).await;
    assert!(status == 422 && refused.to_string().contains("JRN-5"), "{refused}");
    let mut sent = activity(1);
    sent["note"] = json!(SECRET);
    let (status, refused) = site.post(&program, "/v1/activities", &sent).await;
    assert!(status == 422 && refused.to_string().contains("JRN-5"), "by the other road too: {refused}");
    let mut own = note;
    own["text"] = json!("Samtal om fysisk aktivitet inför behandlingen.");
    let (status, said) = site.step(&program, &id, "note", own).await;
    assert_eq!(status, 200, "{said}");
    let (_, acts) = site.get(&program, "/fhir/Procedure?_count=50").await;
    assert_eq!(acts["entry"].as_array().unwrap().len(), 2, "DV133 and ZV051 at one contact: {acts}");
    let copy = site.folder.join("copy.sqlite");
    assert_eq!(run(&["backup", "--db", text(&site.db()), "--to", text(&copy)]).0, Some(0));

    let (status, closed) = site.step(&program, &id, "close", json!({ "withPatient": true })).await;
    assert_eq!((status, &closed["stage"]), (200, &json!("purged")), "{closed}");
    program.stop().await;
    assert!(site.told().is_empty(), "{:?}", site.told());

    let (code, said) = run(&["restore", text(&copy), "--to", text(&site.db()), "--force"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!site.told().is_empty(), "the copy has it");
    let program = site.open();
    let (_, found) = site.get(&program, "/fhir/Communication").await;
    assert!(found["entry"].as_array().is_none_or(Vec::is_empty), "{found}");
    let (_, shown) = site.get(&program, &format!("/v1/programmes/{id}")).await;
    assert_eq!(shown["stage"], "purged");
    let (_, acts) = site.get(&program, "/fhir/Procedure?_count=50").await;
    assert_eq!(acts["entry"].as_array().unwrap().len(), 2, "the journal stays");
    program.stop().await;
    assert!(site.told().is_empty(), "{:?}", site.told());
    let again = site.folder.join("again.sqlite");
    assert_eq!(run(&["backup", "--db", text(&site.db()), "--to", text(&again)]).0, Some(0));
    let (code, said) = run(&["verify-backup", text(&again)]);
    assert_eq!(code, Some(0), "the chain of the log holds: {said}");
}

#[tokio::test]
async fn a_hold_keeps_it_closed_and_unpurged_until_it_is_lifted() {
    let site = Site::new();
    let program = site.open();
    let id = site.talked(&program, "195009072553").await;
    let (_, hold) = site.post(&program, "/v1/holds", &json!({ "patient": "195009072553", "reason": "Tillsyn" })).await;
    let (status, closed) = site.step(&program, &id, "close", json!({ "withPatient": true })).await;
    assert_eq!((status, &closed["stage"], &closed["purge"]["held"]), (200, &json!("closed"), &json!(true)));
    assert_eq!(site.step(&program, &id, "purge", json!({})).await.0, 409);
    assert_eq!(site.step(&program, &id, "message", json!({ "id": "2", "from": "staff", "text": "Hej" })).await.0, 409);
    let lift = format!("/v1/holds/{}/lift", hold["id"].as_str().unwrap());
    assert_eq!(site.post(&program, &lift, &json!({})).await.0, 200);
    let (status, purged) = site.step(&program, &id, "purge", json!({})).await;
    assert_eq!((status, &purged["stage"]), (200, &json!("purged")), "{purged}");
    program.stop().await;
    assert!(site.told().is_empty(), "{:?}", site.told());
}

const NUMBERS: [&str; 6] =
    ["195009072553", "196101182803", "189002029800", "200302022389", "199002222397", "200001252386"];

fn count(db: &Connection, sql: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {sql}"), [], |row| row.get(0)).unwrap()
}

/// Makes programmes older than they are, as if the gateway had been down.
fn age(path: &Path, days: i64) {
    let db = Connection::open(path).unwrap();
    let ms = days * 86_400_000;
    db.execute(
        &format!(
            "UPDATE programme SET started_at = started_at - {ms}, moment_at = moment_at - {ms}, swept_at = swept_at - {ms}, \
             purge_at = purge_at - {ms}, active_at = active_at - {ms}, next_at = 0 WHERE next_at IS NOT NULL"
        ),
        [],
    )
    .unwrap();
}

#[tokio::test]
async fn killed_in_the_middle_of_a_sweep_every_message_is_there_once_and_after_two_years_nothing() {
    let site = Site::new();
    let program = site.open();
    for number in NUMBERS {
        let id = site.start(&program, number).await;
        assert_eq!(site.step(&program, &id, "begin", json!({})).await.0, 200);
    }
    program.stop().await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut days = 0;
    for step in [2, 2, 4, 41, 15, 30] {
        age(&site.db(), step);
        days += step;
        for _ in 0..2 {
            let program = site.open();
            tokio::time::sleep(std::time::Duration::from_millis(rng.u64(0..120))).await;
            program.signal("-KILL");
            drop(program);
        }
        let program = site.open();
        let expected: i64 = [0, 1, 3, 7, 48].iter().filter(|day| **day < days).count() as i64;
        let started = std::time::Instant::now();
        let db = Connection::open(site.db()).unwrap();
        db.busy_timeout(PATIENCE).unwrap();
        let many = NUMBERS.len() as i64;
        while count(&db, "resource WHERE type = 'CommunicationRequest'") < expected * many
            || count(&db, "programme WHERE next_at = 0") > 0
        {
            assert!(started.elapsed() < PATIENCE, "day {days}: {}", program.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(count(&db, "resource WHERE type = 'CommunicationRequest'"), expected * many, "day {days}");
        assert_eq!(
            count(&db, "version v JOIN resource r USING (rid) WHERE r.type = 'CommunicationRequest'"),
            expected * many
        );
        drop(db);
        program.stop().await;
    }
    age(&site.db(), 640);
    let program = site.open();
    let db = Connection::open(site.db()).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    let started = std::time::Instant::now();
    while count(&db, "programme WHERE stage = 'purged'") < NUMBERS.len() as i64 {
        assert!(started.elapsed() < PATIENCE, "{}", program.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(count(&db, "resource WHERE type IN ('CommunicationRequest', 'CarePlan', 'CareTeam')"), 0);
    assert_eq!(count(&db, "removal WHERE what = 'programme' AND rule = 'PUR-2'"), NUMBERS.len() as i64);
    assert_eq!(count(&db, "pragma_foreign_key_check"), 0);
    drop(db);
    program.stop().await;
    let ledger = std::fs::read_to_string(format!("{}.purges", site.db().display())).unwrap();
    assert_eq!(ledger.lines().count(), NUMBERS.len());
    assert!(NUMBERS.iter().all(|number| !ledger.contains(number)));
}
