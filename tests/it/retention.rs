//! Gallring by the real program: what would go is shown, a hold keeps it, `kill -9` in the middle leaves all or nothing of each
//! exchange, and nothing of what went is left in the file.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::program::{PATIENCE, Program, run};
use crate::world::activity;

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
    let db = Connection::open(folder.db()).unwrap();
    let years = 11 * 366 * 86_400_000_i64;
    for table in ["exchange", "resource", "party"] {
        db.execute(&format!("UPDATE {table} SET updated_at = updated_at - {years}"), []).unwrap();
    }
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
