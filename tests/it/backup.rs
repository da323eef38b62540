//! Copies of a database in use: whole, checked, put back, and gone on from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::ops::settings;
use crate::program::{Program, run};
use crate::world::{ONCOLOGY, World, referral};

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Sends a referral; its place in the gateway where it was acknowledged.
async fn send(client: &reqwest::Client, url: &str, number: u32) -> Option<String> {
    let patients = ["195009072553", "196101182803", "189002029800"];
    let mut document = referral(number);
    document["patient"]["personnummer"] = json!(patients[number as usize % 3]);
    let request = client.post(format!("{url}/v1/referrals")).header("Vardkedja-Unit", ONCOLOGY).json(&document);
    let response = request.send().await.ok()?;
    (response.status() == 202).then(|| response.headers()["location"].to_str().unwrap().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn back_up(db: &Path, to: &Path) -> String {
    let (code, said) = run(&["backup", "--db", text(db), "--to", text(to)]);
    assert_eq!(code, Some(0), "{said}");
    said
}

#[actix_web::test]
async fn a_copy_made_under_load_holds_all_that_was_acknowledged_before_and_is_gone_on_from() {
    let world = World::open_clinic_only().await;
    // Half of what is sent fails, so that something is undelivered when the copy is made.
    world.misbehave(json!({ "kind": "error", "probability": 0.5, "method": "POST" })).await;
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    let (enough, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (enough, number, acknowledged) = (Arc::clone(&enough), Arc::clone(&number), Arc::clone(&acknowledged));
            let (client, url) = (client(), program.url.clone());
            tokio::spawn(async move {
                while !enough.load(Ordering::Acquire) {
                    let n = number.fetch_add(1, Ordering::AcqRel) as u32;
                    let place = send(&client, &url, n).await.expect("a backup refuses nobody");
                    acknowledged.lock().unwrap().push((n, place));
                }
            })
        })
        .collect();
    let count = || acknowledged.lock().unwrap().len();
    while count() < 40 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let before = acknowledged.lock().unwrap().clone();
    let copy = world.folder.join("copy.sqlite");
    let (db, to) = (program.db.clone(), copy.clone());
    let said = tokio::task::spawn_blocking(move || back_up(&db, &to)).await.unwrap();
    let after = count();
    enough.store(true, Ordering::Release);
    for sender in senders {
        sender.await.unwrap();
    }
    assert!(said.contains("audit rows") && after >= before.len(), "{said}");
    let (code, said) = run(&["verify-backup", text(&copy)]);
    assert_eq!(code, Some(0), "{said}");
    let status = client().get(format!("{}/v1/status", program.url)).send().await.unwrap();
    assert!(status.json::<Value>().await.unwrap()["backup"]["madeAt"].is_string(), "status knows of it");
    program.stop().await;

    world.behave().await;
    let elsewhere = world.folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let (code, said) = run(&["restore", text(&copy), "--to", text(&elsewhere.join("program.sqlite"))]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Ask the senders to send again"), "{said}");
    let program = Program::start(&elsewhere, &settings("", &world.clinic, 2), &[]);
    for (n, place) in &before {
        world.until(&format!("{}{place}", program.url), "delivered").await;
        assert_eq!(send(&client(), &program.url, *n).await.as_ref(), Some(place), "it knows R-{n} again");
    }
    let arrived = world.at_clinic("ServiceRequest").await;
    let mut ids: Vec<_> = arrived.iter().map(|r| r["identifier"][0]["value"].as_str().unwrap().to_owned()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "what was sent again changed nothing");
    program.stop().await;
    world.close().await;
}

/// A database with one referral in it, and a copy of it.
async fn copied(world: &World) -> (PathBuf, PathBuf) {
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    send(&client(), &program.url, 1).await.unwrap();
    let (db, copy) = (program.db.clone(), world.folder.join("copy.sqlite"));
    program.stop().await;
    back_up(&db, &copy);
    (db, copy)
}

#[actix_web::test]
async fn a_copy_that_changed_is_no_good_copy() {
    let world = World::open_clinic_only().await;
    let (db, copy) = copied(&world).await;
    let whole = std::fs::read(&copy).unwrap();
    let middle = whole.len() / 2;
    let cases: [(&str, Vec<u8>); 3] = [
        ("cut off", whole[..middle].to_vec()),
        ("a byte", {
            let mut bytes = whole.clone();
            bytes[middle] ^= 1;
            bytes
        }),
        ("empty", Vec::new()),
    ];
    for (what, bytes) in cases {
        std::fs::write(&copy, bytes).unwrap();
        let (code, said) = run(&["verify-backup", text(&copy)]);
        assert!(code == Some(1) && said.contains("sha-256"), "{what}: {said}");
        let (code, said) = run(&["restore", text(&copy), "--to", text(&db), "--force"]);
        assert!(code == Some(1) && db.exists(), "{what}: {said}");
    }
    std::fs::write(&copy, &whole).unwrap();
    assert_eq!(run(&["verify-backup", text(&copy)]).0, Some(0));
    // Somebody who changes the copy and its manifest too is told by the chain of the audit log.
    let connection = rusqlite::Connection::open(&copy).unwrap();
    connection.execute_batch("DROP TRIGGER audit_stays; UPDATE audit SET actor = 'nobody' WHERE seq = 1").unwrap();
    drop(connection);
    let manifest = world.folder.join("copy.sqlite.manifest.json");
    let mut said: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    said["bytes"] = json!(bytes.len());
    said["sha256"] = json!(format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(&bytes)));
    std::fs::write(&manifest, said.to_string()).unwrap();
    let (code, said) = run(&["verify-backup", text(&copy)]);
    assert!(code == Some(1) && said.contains("audit log"), "{said}");
    world.close().await;
}

#[actix_web::test]
async fn restoring_takes_nothing_away() {
    let world = World::open_clinic_only().await;
    let (db, copy) = copied(&world).await;
    let (code, said) = run(&["backup", "--db", text(&db), "--to", text(&copy)]);
    assert!(code == Some(1) && said.contains("never takes the place"), "{said}");
    let (code, said) = run(&["restore", text(&copy), "--to", text(&db)]);
    assert!(code == Some(1) && said.contains("--force"), "{said}");
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    let (code, said) = run(&["restore", text(&copy), "--to", text(&db), "--force"]);
    assert!(code == Some(1) && said.contains("another process has the database open"), "{said}");
    send(&client(), &program.url, 2).await.unwrap();
    program.stop().await;
    let (code, said) = run(&["restore", text(&copy), "--to", text(&db), "--force"]);
    assert_eq!(code, Some(0), "{said}");
    let aside = std::fs::read_dir(&world.folder).unwrap().map(|e| e.unwrap().path());
    let aside = aside.into_iter().find(|p| text(p).contains(".before-restore-")).expect("what stood there is kept");
    let count = |path: &Path| -> i64 {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.query_row("SELECT count(*) FROM document", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count(&aside), count(&db)), (2, 1));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "a copy is for its owner only");
    world.close().await;
}

#[actix_web::test]
async fn a_log_without_its_database_is_moved_aside_and_does_not_ruin_the_copy() {
    let world = World::open_clinic_only().await;
    let (db, copy) = copied(&world).await;
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &[]);
    send(&client(), &program.url, 2).await.unwrap();
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", text(&db)));
    let log = std::fs::read(beside("-wal")).unwrap();
    program.stop().await;
    std::fs::remove_file(&db).unwrap();
    std::fs::write(beside("-wal"), &log).unwrap();
    let (code, said) = run(&["restore", text(&copy), "--to", text(&db)]);
    assert!(code == Some(1) && said.contains("-wal is there; --force moves it aside"), "{said}");
    assert!(!db.exists() && std::fs::read(beside("-wal")).unwrap() == log, "nothing was touched");
    let (code, said) = run(&["restore", text(&copy), "--to", text(&db), "--force"]);
    assert_eq!(code, Some(0), "{said}");
    let kept = std::fs::read_dir(&world.folder).unwrap().map(|e| e.unwrap().path());
    let kept = kept.into_iter().find(|p| text(p).contains(".before-restore-")).expect("the log is kept");
    assert!(text(&kept).ends_with("-wal") && std::fs::read(kept).unwrap() == log);
    let connection = rusqlite::Connection::open(&db).unwrap();
    let documents: i64 = connection.query_row("SELECT count(*) FROM document", [], |row| row.get(0)).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!((documents, sound.as_str()), (1, "ok"));
    world.close().await;
}

#[actix_web::test]
async fn a_database_that_is_not_there_leaves_no_empty_copy() {
    let world = World::open_clinic_only().await;
    let to = world.folder.join("z.sqlite");
    let (code, said) = run(&["backup", "--db", text(&world.folder.join("nowhere.sqlite")), "--to", text(&to)]);
    assert!(code == Some(1) && said.contains("no copy was made"), "{said}");
    assert!(!to.exists() && !PathBuf::from(format!("{}.part", text(&to))).exists());
    world.close().await;
}

/// What the audit log says of copies: SHA-256 of each.
fn recorded(db: &Path) -> Vec<Value> {
    let db = rusqlite::Connection::open_with_flags(db, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = db.prepare("SELECT payload FROM audit WHERE action = 'backup' ORDER BY seq").unwrap();
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    rows.map(|payload| serde_json::from_str::<Value>(&payload).unwrap()["sha256"].clone()).collect()
}

#[actix_web::test]
async fn each_copy_is_in_the_audit_log_whether_the_gateway_ran_or_not_and_so_is_what_partners_were_asked() {
    let world = World::open_clinic_only().await;
    let program = Program::start(&world.folder, &settings("[oauth]\nreload_s = 1\n", &world.clinic, 2), &[]);
    let db = program.db.clone();
    let copy = async |name: &str| {
        let (db, to) = (db.clone(), world.folder.join(name));
        let manifest = to.with_file_name(format!("{name}.manifest.json"));
        tokio::task::spawn_blocking(move || back_up(&db, &to)).await.unwrap();
        serde_json::from_slice::<Value>(&std::fs::read(manifest).unwrap()).unwrap()["sha256"].clone()
    };
    let until = async |expected: &[Value]| {
        for _ in 0..1000 {
            if recorded(&db) == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{:?} is not {expected:?}", recorded(&db));
    };
    // Two at once, so that both are left for the gateway to find.
    let running = [copy("one.sqlite").await, copy("two.sqlite").await];
    until(&running).await;
    program.stop().await;
    let stopped = copy("three.sqlite").await;
    assert_eq!(recorded(&db).len(), 2, "nobody but the gateway writes the log");
    let program = Program::start(&world.folder, &settings("[oauth]\nreload_s = 1\n", &world.clinic, 2), &[]);
    until(&[running.as_slice(), &[stopped]].concat()).await;
    let asked = || {
        let db = rusqlite::Connection::open_with_flags(&db, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let sql = "SELECT count(*) FROM audit WHERE action = 'capability' AND object = 'partner/primary-care' AND outcome = 0";
        db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    for _ in 0..1000 {
        if asked() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(asked(), 2, "once after each start");
    program.stop().await;
    let left = std::fs::read_dir(&world.folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("made-copy"));
    assert_eq!(left.count(), 0);
    world.close().await;
}
