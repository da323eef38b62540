//! Gallring by the real program: what would go is shown, a hold keeps it, `kill -9` in the middle leaves all or nothing of each
//! exchange, and nothing of what went is left in the file.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::clocks::rules;
use crate::program::{PATIENCE, Program, run};
use crate::world::{ONCOLOGY, SOUTH, activity, referral_to};

const NUMBERS: [&str; 4] = ["195009072553", "196101182803", "189002029800", "200302022389"];
const MANY: u32 = 120;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("vardkedja-retention-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn db(&self) -> PathBuf {
        self.0.join("program.sqlite")
    }

    fn settings(&self) -> String {
        self.0.join("program.toml").to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn post(url: &str, path: &str, media_type: &str, body: String) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{url}{path}")).header("Content-Type", media_type).body(body);
    let reply = request.send().await.unwrap();
    assert!(reply.status().is_success(), "{}", reply.status());
    let text = reply.text().await.unwrap();
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or(Value::Null)
}

/// A request of a unit's; the answer.
async fn ask(url: &str, unit: &str, path: &str, media_type: &str, body: Option<String>) -> (Option<String>, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = match body {
        Some(body) => client.post(format!("{url}{path}")).header("Content-Type", media_type).body(body),
        None => client.get(format!("{url}{path}")),
    };
    let reply = request.header("Vardkedja-Unit", unit).send().await.unwrap();
    assert!(reply.status().is_success(), "{path}: {} {}", reply.status(), reply.text().await.unwrap());
    let location = reply.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
    (location, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Makes everything eleven years old.
fn age(path: &Path) {
    let db = Connection::open(path).unwrap();
    let years = 11 * 366 * 86_400_000_i64;
    for table in ["exchange", "resource", "party"] {
        db.execute(&format!("UPDATE {table} SET updated_at = updated_at - {years}"), []).unwrap();
    }
}

/// Activities of four patients, taken in by a gateway that is then stopped, and made eleven years old.
async fn old(folder: &Folder, many: u32) {
    let program = Program::start(&folder.0, "", &[]);
    let lines: Vec<String> = (0..many)
        .map(|n| {
            let mut one = activity(n);
            one["patient"] = json!({ "personnummer": NUMBERS[n as usize % NUMBERS.len()], "name": "Gammal Testsson" });
            one.to_string()
        })
        .collect();
    let last = post(&program.url, "/v1/activities", "application/x-ndjson", lines.join("\n")).await;
    assert_eq!(last["status"], 202, "{last}");
    program.stop().await;
    age(&folder.db());
}

fn look(path: &Path) -> Connection {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    db
}

fn count(db: &Connection, sql: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {sql}"), [], |row| row.get(0)).unwrap()
}

/// Each exchange is whole, or gone with a stub.
fn check_whole(path: &Path, many: u32) -> i64 {
    let db = look(path);
    let stubs = count(&db, "removal WHERE what = 'exchange'");
    assert_eq!(count(&db, "exchange") + stubs, i64::from(many));
    assert_eq!(count(&db, "document"), count(&db, "exchange"));
    assert_eq!(count(&db, "removing"), 0);
    assert_eq!(count(&db, "pragma_foreign_key_check"), 0);
    assert_eq!(
        count(&db, "exchange e WHERE NOT EXISTS (SELECT 1 FROM exchange_resource x WHERE x.exchange = e.id)"),
        0
    );
    assert_eq!(count(&db, "audit WHERE action = 'erase'"), stubs);
    stubs
}

#[tokio::test]
async fn what_is_due_is_shown_and_removed_a_hold_keeps_it_and_nothing_of_it_stays_in_the_file() {
    let folder = Folder::new();
    old(&folder, 12).await;
    let program = Program::start(&folder.0, "", &[]);
    post(
        &program.url,
        "/v1/holds",
        "application/json",
        json!({ "patient": NUMBERS[0], "reason": "Tillsyn" }).to_string(),
    )
    .await;
    let (code, said) = run(&["gallra", "--config", &folder.settings(), "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("9 due (3 more are held)"), "{said}");
    let (code, said) = run(&["gallra", "--config", &folder.settings(), "--run", "--by", "Kim Arkivarie"]);
    assert!(code == Some(1) && said.contains("a gateway has"), "not beside a running gateway: {said}");
    program.stop().await;
    assert_eq!(run(&["gallra", "--config", &folder.settings(), "--run"]).0, Some(2), "nobody decides");
    let (code, said) = run(&["gallra", "--config", &folder.settings(), "--run", "--by", "Kim Arkivarie"]);
    assert!(code == Some(0) && said.contains("9 exchanges removed"), "{said}");
    assert_eq!(check_whole(&folder.db(), 12), 9);
    let (_, said) = run(&["gallra", "--config", &folder.settings(), "--dry-run"]);
    assert!(said.contains(" 0 due (3 more are held)"), "{said}");
    let bytes = std::fs::read(folder.db()).unwrap();
    let stands = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(stands(NUMBERS[0]), "held");
    for number in &NUMBERS[1..] {
        assert!(!stands(number), "{number} is still in the file");
    }
    let copy = folder.0.join("copy.db");
    let copy = copy.to_str().unwrap();
    assert_eq!(run(&["backup", "--db", folder.db().to_str().unwrap(), "--to", copy]).0, Some(0));
    let (code, said) = run(&["verify-backup", copy]);
    assert_eq!(code, Some(0), "the chain of the log holds: {said}");
}

#[tokio::test]
async fn killed_in_the_middle_each_exchange_is_whole_or_gone_and_the_rest_goes_later() {
    let folder = Folder::new();
    old(&folder, MANY).await;
    let settings = "[retention]\nremoves = true\nevery_s = 1\nat_once = 7\n";
    let mut rng = fastrand::Rng::with_seed(4);
    let mut removed = 0;
    for _ in 0..6 {
        let mut program = Program::start(&folder.0, settings, &[]);
        let enough = (removed + rng.i64(1..20)).min(i64::from(MANY));
        let started = std::time::Instant::now();
        let db = look(&folder.db());
        while count(&db, "removal WHERE what = 'exchange'") < enough {
            assert!(started.elapsed() < PATIENCE, "{}", program.log());
            tokio::task::yield_now().await;
        }
        drop(db);
        program.signal("-KILL");
        program.ended().await;
        removed = check_whole(&folder.db(), MANY);
        assert!(removed >= enough, "what was removed stays removed");
    }
    let (code, said) = run(&["gallra", "--config", &folder.settings(), "--run", "--by", "Kim Arkivarie"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(check_whole(&folder.db(), MANY), i64::from(MANY));
    let db = look(&folder.db());
    let of_patients = "resource WHERE type NOT IN \
                       ('Organization', 'Practitioner', 'PractitionerRole', 'CodeSystem', 'Measure', 'PlanDefinition')";
    for table in [of_patients, "party", "document"] {
        assert_eq!(count(&db, table), 0, "{table}");
    }
    let again = run(&["gallra", "--config", &folder.settings(), "--run", "--by", "Kim Arkivarie"]);
    assert!(again.1.starts_with("Nothing more is due."), "{}", again.1);
}

/// How many items of that code its unit has on its worklist.
async fn items(url: &str, unit: &str, code: &str) -> usize {
    let (_, found) = ask(url, unit, &format!("/fhir/Task?code={code}"), "", None).await;
    found["entry"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn with_an_exchange_go_its_clocks_what_it_moved_and_what_stood_of_it_on_worklists() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("rules.toml"), rules("[\"1s\", \"2s\"]")).unwrap();
    let program = Program::start(&folder.0, "[clocks]\nrules = \"rules.toml\"\nevery_s = 1\n", &[]);
    let url = program.url.clone();
    let mut referral = referral_to(1, SOUTH);
    referral["areas"] = json!(["physical-activity", "tobacco"]);
    let exchange =
        ask(&url, ONCOLOGY, "/v1/referrals", "application/json", Some(referral.to_string())).await.0.unwrap();
    let pause = json!({ "by": "SE2321000131-P000000000011", "reason": "Resa", "until": chrono::Utc::now() + chrono::TimeDelta::seconds(1) });
    ask(&url, ONCOLOGY, &format!("{exchange}/clocks/pause"), "application/json", Some(pause.to_string())).await;
    // One that never left, and was taken back.
    let riv = include_str!("../../mappings/examples/referral.riv-small.source.xml")
        .replace("SE2321000131-E000000000202", SOUTH)
        .replace("195009072553", NUMBERS[1]);
    let held = ask(&url, ONCOLOGY, "/v1/referrals", "application/xml", Some(riv)).await.0.unwrap();
    assert_eq!(items(&url, ONCOLOGY, "consultation-missing").await, 1);
    ask(&url, ONCOLOGY, &format!("{held}/cancel"), "application/json", Some(json!({ "reason": "x" }).to_string()))
        .await;
    let waited = std::time::Instant::now();
    while items(&url, SOUTH, "overdue").await == 0 {
        assert!(waited.elapsed() < PATIENCE, "nothing was told");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let areas = json!([{ "area": "physical-activity", "status": "accepted" }, { "area": "tobacco", "status": "rejected", "reason": "Nej" }]);
    for answer in [
        json!({ "status": "accepted", "areas": areas }),
        json!({ "status": "completed", "text": "Klart.", "areas": [{ "area": "physical-activity", "status": "completed" }] }),
    ] {
        ask(&url, SOUTH, &format!("{exchange}/answers"), "application/json", Some(answer.to_string())).await;
    }
    // Another of the same patient's stays.
    ask(&url, ONCOLOGY, "/v1/referrals", "application/json", Some(referral_to(2, SOUTH).to_string())).await;
    program.stop().await;
    age(&folder.db());
    let (code, said) = run(&["gallra", "--config", &folder.settings(), "--run", "--by", "Kim Arkivarie"]);
    assert!(code == Some(0) && said.contains("2 exchanges removed"), "{said}");
    let db = look(&folder.db());
    let id = |path: &str| path.rsplit('/').next().unwrap().replace('-', "");
    for gone in [id(&exchange), id(&held)] {
        for table in [
            "wait",
            "clocked",
            "pause",
            "escalation",
            "escalation_task",
            "charge_move",
            "counterpart",
            "move",
            "party",
            "exchange_resource",
        ] {
            assert_eq!(count(&db, &format!("{table} WHERE lower(hex(exchange)) = '{gone}'")), 0, "{table}");
        }
    }
    assert!(count(&db, "charge_move") > 0, "who has what is known as long as the patient is");
    assert_eq!(count(&db, "pragma_foreign_key_check"), 0);
    drop(db);
    let bytes = std::fs::read(folder.db()).unwrap();
    let stands = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    // The log names exchanges until its own time is over; what they were about is gone.
    for text in ["R-2026-002", NUMBERS[1]] {
        assert!(!stands(text), "{text} is still in the file");
    }
    let program = Program::start(&folder.0, "", &[]);
    for unit in [ONCOLOGY, SOUTH] {
        let (_, tasks) = ask(&program.url, unit, "/fhir/Task", "", None).await;
        assert_eq!(tasks["entry"].as_array().unwrap().len(), 1, "only what is about the other: {tasks:#}");
    }
    program.stop().await;
}
