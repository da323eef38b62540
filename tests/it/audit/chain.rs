//! The chain of audit rows: sealed as it goes, verified beside a gateway that serves and in a copy, tampered with by hand in
//! every way, and let go at its oldest end.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use super::rows;
use crate::gateway::TestGateway;
use crate::ops::settings;
use crate::program::{Program, run};
use crate::world::{ONCOLOGY, SOUTH, World, referral_to};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A gateway that has lived and stopped, sealed as it went.
struct Sealed {
    folder: PathBuf,
    db: PathBuf,
}

const KEPT_APART: &str = "apart.jws";

impl Sealed {
    async fn new() -> Self {
        let world = World::open_clinic_only().await;
        let more = format!("[audit]\ncheckpoint_rows = 3\ncheckpoint_s = 1\ncheckpoints = \"{KEPT_APART}\"\n");
        let program = Program::start(&world.folder, &settings(&more, &world.clinic, 2), &[]);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for number in 0..6 {
            let request = client.post(format!("{}/v1/referrals", program.url)).header("Vardkedja-Unit", ONCOLOGY);
            assert_eq!(request.json(&referral_to(number, SOUTH)).send().await.unwrap().status(), 202);
            let sealed = || std::fs::read_to_string(world.folder.join(KEPT_APART)).map_or(0, |t| t.lines().count());
            let before = sealed();
            while number % 2 == 1 && sealed() == before {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        let (code, said) =
            run(&["audit", "verify", "--db", text(&program.db), "--checkpoints", text(&world.folder.join(KEPT_APART))]);
        assert_eq!(code, Some(0), "while it serves: {said}");
        let folder = std::env::temp_dir().join(format!("sealed-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let from = world.folder.clone();
        program.stop().await;
        for name in ["program.sqlite", KEPT_APART, "audit.key", "audit.jwks.json"] {
            std::fs::copy(from.join(name), folder.join(name)).unwrap();
        }
        world.close().await;
        Self { db: folder.join("program.sqlite"), folder }
    }

    fn verify(&self) -> (Option<i32>, String) {
        run(&["audit", "verify", "--db", text(&self.db), "--checkpoints", text(&self.folder.join(KEPT_APART))])
    }

    /// What the verifier says after something was done to a copy, by hand and with every trigger out of the way.
    fn after(&self, work: impl FnOnce(&Connection, &Path)) -> String {
        let folder = std::env::temp_dir().join(format!("tampered-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(&self.folder).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        let copy = Self { db: folder.join("program.sqlite"), folder };
        let db = Connection::open(&copy.db).unwrap();
        let triggers: Vec<String> = {
            let mut found =
                db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'audit%'").unwrap();
            found.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        for name in triggers {
            db.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        work(&db, &copy.folder);
        drop(db);
        let (code, said) = copy.verify();
        assert_eq!(code == Some(0), said.contains("is whole"), "{said}");
        let _ = std::fs::remove_dir_all(&copy.folder);
        said
    }
}

#[actix_web::test]
async fn whatever_is_done_to_the_log_by_hand_is_found_with_its_row() {
    let sealed = Sealed::new().await;
    let (code, said) = sealed.verify();
    assert!(code == Some(0) && said.contains("The audit log is whole") && said.contains("sealed up to row"), "{said}");
    let head: i64 =
        Connection::open(&sealed.db).unwrap().query_row("SELECT max(seq) FROM audit", [], |row| row.get(0)).unwrap();
    assert!(said.contains(&format!("sealed up to row {head} ")), "the last row is sealed when it stops: {said}");
    let sql = |sql: &str| sealed.after(|db, _| db.execute_batch(sql).unwrap());
    for (what, done, expected) in [
        ("changed", sql("UPDATE audit SET actor = 'nobody' WHERE seq = 4"), "row 4 was changed".to_owned()),
        ("whose it is", sql("UPDATE audit SET about = 'Patient/x' WHERE seq = 4"), "row 4 was changed".into()),
        ("how it ended", sql("UPDATE audit SET outcome = 8 WHERE seq = 5"), "row 5 was changed".into()),
        ("payload", sql("UPDATE audit SET payload = '{}' WHERE seq = 4"), "the payload of row 4 was changed".into()),
        (
            "payload taken away",
            sql("UPDATE audit SET payload = NULL, salt = NULL WHERE seq = 4"),
            "the payload of row 4 was taken away".into(),
        ),
        ("removed", sql("DELETE FROM audit WHERE seq = 4"), "rows 4 to 4 are missing".into()),
        ("the first", sql("DELETE FROM audit WHERE seq <= 2"), "rows 1 to 2 are missing".into()),
        (
            "put in",
            sql(&format!(
                "INSERT INTO audit SELECT chain, {head} + 1, at, actor, action, object, payload, salt, payload_hash, prev_hash, \
                 hash, form, outcome, about FROM audit WHERE seq = {head}"
            )),
            format!("row {} does not follow", head + 1),
        ),
        (
            "exchanged",
            sql("UPDATE audit SET seq = 1000 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; \
                 UPDATE audit SET seq = 4 WHERE seq = 1000"),
            "row 3 does not follow".into(),
        ),
        (
            "cut off",
            sql(&format!("DELETE FROM audit WHERE seq = {head}")),
            format!("and a checkpoint was made of row {head}"),
        ),
        (
            "cut off with its checkpoints",
            sql("DELETE FROM audit_checkpoint WHERE seq > 3; DELETE FROM audit WHERE seq > 3"),
            format!("and a checkpoint was made of row {head}"),
        ),
        ("all of it", sql("DELETE FROM audit_checkpoint; DELETE FROM audit"), "the log ends at row 0".into()),
        (
            "a checkpoint moved",
            sql("UPDATE audit_checkpoint SET seq = seq - 1 WHERE number = 2"),
            "checkpoint 2 (row".into(),
        ),
        (
            "a checkpoint gone",
            sql("DELETE FROM audit_checkpoint WHERE number = 1"),
            "checkpoints 1 to 1 are missing".into(),
        ),
    ] {
        assert!(done.contains(&expected) && done.contains("NOT whole"), "{what}: {expected} is not in\n{done}");
    }
    // A log that was cut off is no copy of an earlier day, whatever is laid beside it.
    let manifest = |text: String| {
        sealed.after(|db, folder| {
            db.execute_batch("DELETE FROM audit_checkpoint WHERE seq > 3; DELETE FROM audit WHERE seq > 3").unwrap();
            std::fs::write(folder.join("program.sqlite.manifest.json"), text).unwrap();
        })
    };
    let forged = manifest(
        r#"{"program":"0","schema_version":1,"made_at":"2026-01-01T00:00:00Z","bytes":1,"sha256":"","seq":1,"rows":{},
            "undelivered":{},"audit":{"seq":0,"hash":""}}"#
            .into(),
    );
    assert!(forged.contains("the manifest beside the database is of another file"), "{forged}");
    assert!(forged.contains(&format!("and a checkpoint was made of row {head}")), "{forged}");
    let file = |change: &dyn Fn(&str) -> String| {
        sealed.after(|_, folder| {
            let path = folder.join(KEPT_APART);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, change(&text)).unwrap();
        })
    };
    let forged = file(&|text| text.replacen("eyJ", "eyK", 1));
    assert!(forged.contains("line 1 of the file of checkpoints is not signed"), "{forged}");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let without = file(&|text| lines(text)[1..].join("\n"));
    assert!(without.contains("the file of checkpoints lacks 1 that the database has"), "{without}");
    let torn = file(&|text| format!("{}\n{text}", &text[..40]));
    assert!(torn.contains("is whole"), "a line that a fall cut short, and that was written again: {torn}");
    let _ = std::fs::remove_dir_all(&sealed.folder);
}

#[actix_web::test]
async fn a_log_written_anew_from_its_beginning_shows_against_what_was_signed() {
    let sealed = Sealed::new().await;
    // The chain needs no secret: whoever can write the file can make another that is whole in itself.
    let anew = sealed.after(|db, folder| {
        let last: i64 = db.query_row("SELECT max(seq) FROM audit", [], |row| row.get(0)).unwrap();
        db.execute_batch("DELETE FROM audit; DELETE FROM audit_about; DELETE FROM audit_checkpoint").unwrap();
        let store = vardkedja::store::Store::open(&folder.join("program.sqlite"), vardkedja::store::Options::default())
            .unwrap();
        let audit = vardkedja::store::Audit {
            at: chrono::Utc::now(),
            actor: "operator".into(),
            action: "read".into(),
            object: "nothing".into(),
            payload: "{}".into(),
        };
        let commit = vardkedja::store::Commit { audit: vec![audit; last as usize], ..Default::default() };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.commit(commit)).unwrap();
            store.close();
        })
        .join()
        .unwrap();
    });
    assert!(anew.contains("is not the one that a checkpoint was made of"), "{anew}");
    // With another's key it is no better.
    let other = Sealed::new().await;
    let key = other.folder.join("audit.jwks.json");
    let (code, said) = run(&["audit", "verify", "--db", text(&sealed.db), "--public-key", text(&key)]);
    assert!(code == Some(1) && said.contains("not signed by the gateway's key"), "{said}");
    for one in [&sealed, &other] {
        let _ = std::fs::remove_dir_all(&one.folder);
    }
}

#[actix_web::test]
async fn a_copy_is_verified_by_its_own_moment_and_what_a_restore_lost_is_told() {
    let world = World::open_clinic_only().await;
    let more = "[audit]\ncheckpoint_rows = 1\ncheckpoint_s = 1\n";
    let start = || Program::start(&world.folder, &settings(more, &world.clinic, 2), &[]);
    let program = start();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |url: &str, number: u32| {
        let request = client.post(format!("{url}/v1/referrals")).header("Vardkedja-Unit", ONCOLOGY);
        assert_eq!(request.json(&referral_to(number, SOUTH)).send().await.unwrap().status(), 202);
    };
    let file = PathBuf::from(format!("{}.checkpoints", text(&program.db)));
    let until_sealed = async |lines: usize| {
        while std::fs::read_to_string(&file).map_or(0, |t| t.lines().count()) < lines {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    send(&program.url, 1).await;
    until_sealed(1).await;
    let copy = world.folder.join("copy.sqlite");
    let (code, said) = run(&["backup", "--db", text(&program.db), "--to", text(&copy)]);
    assert_eq!(code, Some(0), "{said}");
    send(&program.url, 2).await;
    until_sealed(2).await;
    let url = program.url.clone();
    drop(url);
    let db = program.db.clone();
    program.stop().await;
    let (code, said) = run(&["audit", "verify", "--db", text(&copy), "--checkpoints", text(&file)]);
    assert!(code == Some(0) && said.contains("is whole"), "a copy lacks nothing of before it was made: {said}");
    assert!(said.contains("this is a copy of"), "and it is said that it was taken for one: {said}");
    let (code, said) = run(&["restore", text(&copy), "--to", text(&db), "--force"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["audit", "verify", "--db", text(&db)]);
    assert!(code == Some(1), "what was lost shows until the gateway has said that it was a restore: {said}");
    let program = start();
    send(&program.url, 3).await;
    until_sealed(4).await;
    program.stop().await;
    let (code, said) = run(&["audit", "verify", "--db", text(&db)]);
    assert!(code == Some(0) && said.contains("a copy took the database's place"), "{said}");
    let out = world.folder.join("events.ndjson");
    let (code, said) = run(&["audit", "export", "--db", text(&db), "--to", text(&out)]);
    assert_eq!(code, Some(0), "{said}");
    let events: Vec<Value> =
        std::fs::read_to_string(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["subtype"].to_string().contains("restore")) && events[0]["id"] == "1");
    world.close().await;
}

#[actix_web::test]
async fn rows_older_than_they_are_kept_leave_behind_a_checkpoint_and_the_rest_verifies() {
    let folder = std::env::temp_dir().join(format!("pruned-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let db = folder.join("gateway.sqlite");
    let store = vardkedja::store::Store::open(&db, vardkedja::store::Options::default()).unwrap();
    let row = |years: i64| vardkedja::store::Audit {
        at: chrono::Utc::now() - chrono::TimeDelta::days(years * 366),
        actor: "operator".into(),
        action: "read".into(),
        object: "nothing".into(),
        payload: r#"{"patients":["p1"]}"#.into(),
    };
    let audit = [vec![row(7); 2500], vec![row(4); 10]].concat();
    store.commit(vardkedja::store::Commit { audit, ..Default::default() }).await.unwrap();
    store.close();
    let gateway = TestGateway::start_in(&folder, "[audit]\nkeep_years = 6\n").await;
    let kept = || rows(&folder).iter().filter(|row| row.3 == "nothing").count();
    while kept() > 10 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    gateway.stop().await;
    assert_eq!(kept(), 10);
    let (code, said) = run(&["audit", "verify", "--db", text(&db)]);
    assert!(code == Some(0) && said.contains("Rows 1 to 2500 have left for their age"), "{said}");
    let raw = Connection::open(&db).unwrap();
    let left: i64 = raw.query_row("SELECT count(*) FROM audit_about WHERE seq <= 2500", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "what left is not found any more");
    assert!(raw.execute("DELETE FROM audit WHERE seq = 2501", []).is_err(), "four years old");
    raw.execute_batch("DROP TRIGGER audit_is_kept; DELETE FROM audit WHERE seq <= 2503").unwrap();
    drop(raw);
    let (code, said) = run(&["audit", "verify", "--db", text(&db)]);
    assert!(code == Some(1) && said.contains("are missing"), "{said}");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn less_than_the_five_years_of_the_law_is_refused() {
    let folder = std::env::temp_dir().join(format!("years-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("gateway.toml");
    std::fs::write(&file, "[audit]\nkeep_years = 4\n").unwrap();
    let error = vardkedja::config::Config::load(Some(&file)).unwrap_err().to_string();
    assert!(error.starts_with("audit.keep_years"), "{error}");
    let _ = std::fs::remove_dir_all(folder);
}
