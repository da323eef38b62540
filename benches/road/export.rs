//! A bulk export of all procedures, beside a bare scan of the same rows in the same file; and the memory that it takes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use sha2::{Digest, Sha256};
use vardkedja::config::CodingKey;
use vardkedja::domain::Directory;
use vardkedja::registry::{self, Cipher};

use crate::Plan;
use crate::database::settings;
use crate::figures::{Figures, Goal};
use crate::load::{get, once};
use crate::program::{Program, fresh};
use crate::reads::name;
use crate::token::Key;
use crate::tokens::grant;

const PART: &str = "export";
const SCAN: &str = "SELECT v.body FROM resource r INDEXED BY resource_of_type CROSS JOIN version v ON v.seq = r.seq \
                    WHERE r.type = 'Procedure' ORDER BY r.rid";
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

pub fn measure(plan: &Plan, figures: &mut Figures) {
    figures.note(
        "An export is measured from its request to the record that its files are whole on disk and hashed; the scan only looks at each \
         row. Fetching is of the files of the operator's export, packed with gzip on the way. A registry gets every id as a code of its \
         own, and what it got is on record.",
    );
    let size = plan.sizes.iter().copied().max().unwrap_or(1000);
    let folder = fresh(&plan.folder, "export");
    let (path, key) = filled(&folder, size);
    let (mut scanned, mut hashed, mut parsed, mut rewritten) = (vec![], vec![], vec![], vec![]);
    let (mut synced, mut packed, mut peaks) = (vec![], vec![], vec![]);
    let cipher = cipher();
    let (mut stored, mut stored_share, mut coded, mut coded_share) = (vec![], vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        let scan = rate(size, scan(&path, size));
        scanned.push(scan);
        hashed.push(one_core(|body| {
            std::hint::black_box(Sha256::digest(body));
        }));
        synced.push(rate(size, write(&folder, size)));
        parsed.push(one_core(|body| {
            let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            drop(std::hint::black_box(value.to_string()));
        }));
        rewritten.push(one_core(|body| {
            std::hint::black_box(registry::coded("Procedure", body, &cipher, 2026));
        }));
        let program = Program::start(&folder, &path, &open_settings());
        let export = rate(size, export(&program, &path, ""));
        peaks.push(program.peak_mib());
        packed.push(rate(size, fetch_packed(&program, &path)));
        program.stop();
        stored.push(export);
        stored_share.push(export / scan);
        let _ = std::fs::remove_dir_all(files(&path));

        let program = Program::start(&folder, &path, &registry_settings(&folder));
        let export = rate(size, self::export(&program, &path, &token(&program, &key)));
        peaks.push(program.peak_mib());
        program.stop();
        coded.push(export);
        coded_share.push(export / scan);
        let _ = std::fs::remove_dir_all(files(&path));
    }
    let rows = name(size);
    figures.add(PART, format!("scan of {rows} procedures"), "/s", scanned);
    figures.add(PART, "the same hashed with SHA-256, by one core", "/s", hashed);
    figures.add(PART, "the same written to a file and synced, nothing else", "/s", synced);
    figures.add(PART, "the same parsed and serialised, by one core", "/s", parsed);
    figures.add(PART, "the same with codes, by one core", "/s", rewritten);
    figures.add(PART, format!("export of {rows} procedures as they are stored"), "/s", stored);
    figures.with_goal(PART, "… share of the scan", "×", stored_share, Goal::AtLeast(0.5));
    figures.add(PART, format!("export of {rows} procedures with codes, by a registry"), "/s", coded);
    figures.with_goal(PART, "… share of the scan", "×", coded_share, Goal::AtLeast(0.2));
    figures.with_goal(PART, "memory of both, at most", "MiB", peaks, Goal::AtMost(150.0));
    figures.add(PART, "fetched, packed on the way", "/s", packed);
}

fn cipher() -> Cipher {
    Cipher::new(&CodingKey::new("k1", &[7; 32]).expect("a key"), &Directory::default())
}

/// A registry that gets codes, and its client.
fn registry_settings(folder: &Path) -> String {
    std::fs::write(folder.join("registry.keys"), format!("k1:{}\n", STANDARD.encode([7; 32]))).expect("a key file");
    let more = "[export]\nleave_bytes = 0\n\
        [[registry]]\nname = \"bench\"\nhsa_id = \"SE2321000131-E000000000777\"\nkey_file = \"registry.keys\"\n\
        [[client]]\nid = \"registry\"\nname = \"Bench\"\nhsa_id = \"SE2321000131-E000000000777\"\npurpose = \"registry\"\n\
        registry = \"bench\"\nscopes = [\"system/*.rs\"]\njwks_file = \"jwks.json\"\n";
    settings(None, None, more)
}

/// The header with a token that the registry's client got.
fn token(program: &Program, key: &Key) -> String {
    let smart = once(program.address, &get("/.well-known/smart-configuration", "")).1;
    let smart: serde_json::Value = serde_json::from_slice(&smart).expect("JSON");
    let (status, body) =
        once(program.address, &grant(key, "registry", smart["token_endpoint"].as_str().expect("an address")));
    assert!(status == 200, "answered {status}: {}", String::from_utf8_lossy(&body));
    let granted: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    format!("Authorization: Bearer {}\r\n", granted["access_token"].as_str().expect("a token"))
}

#[expect(clippy::cast_precision_loss, reason = "at most a million")]
fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}

/// How many procedures a second one core does something with.
fn one_core(work: impl Fn(&[u8])) -> f64 {
    let bodies: Vec<Vec<u8>> = (0..1000).map(|n| procedure(&format!("{n:08x}-0000-4000-8000-{n:012x}"))).collect();
    let (started, mut done) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(300) {
        bodies.iter().for_each(|body| work(body));
        done += bodies.len() as u64;
    }
    rate(done, started.elapsed())
}

/// So many procedures on disk, by a program that does nothing else.
fn write(folder: &Path, size: u64) -> Duration {
    let path = folder.join("floor.ndjson");
    let mut piece = procedure("00000000-0000-4000-8000-000000000000");
    piece.push(b'\n');
    let piece = piece.repeat(1000);
    let started = Instant::now();
    let mut file = File::create(&path).expect("a file");
    (0..size / 1000).for_each(|_| file.write_all(&piece).expect("room"));
    file.sync_data().expect("a disk");
    let took = started.elapsed();
    let _ = std::fs::remove_file(path);
    took
}

/// Nobody has to show a token, and whoever calls sees everything.
fn open_settings() -> String {
    settings(None, None, "[audit]\nreads = true").replace("jwks_file = \"jwks.json\"\n", "")
}

fn files(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".exports");
    PathBuf::from(name)
}

/// A database with so many procedures of the size that activities have, and nothing else.
fn filled(folder: &Path, size: u64) -> (PathBuf, Key) {
    let path = folder.join("gateway.db");
    let key = Key::new(folder);
    Program::start(folder, &path, &open_settings()).stop();
    let db = crate::database::open(&path, false);
    db.execute_batch("BEGIN").expect("a transaction");
    let mut resource = db
        .prepare("INSERT INTO resource VALUES (?1, 'Procedure', ?2, 1, ?1, 1790000000000, 'p', NULL)")
        .expect("a table");
    let mut version = db.prepare("INSERT INTO version VALUES (?1, ?1, 1, 1790000000000, ?2)").expect("a table");
    // The program has put its code list in already.
    let sql = "SELECT max(ifnull((SELECT max(rid) FROM resource), 0), ifnull((SELECT max(seq) FROM version), 0))";
    let taken: i64 = db.query_row(sql, [], |row| row.get(0)).expect("a number");
    for n in taken + 1..=taken + size.cast_signed() {
        let id = format!("{n:08x}-0000-4000-8000-{n:012x}");
        resource.execute((n, &id)).expect("a row");
        version.execute((n, procedure(&id))).expect("a row");
    }
    drop((resource, version));
    db.execute_batch("COMMIT").expect("a commit");
    (path, key)
}

fn procedure(id: &str) -> Vec<u8> {
    let identifier = |system: &str, value: String| json!({ "system": system, "value": value });
    json!({
        "resourceType": "Procedure",
        "id": id,
        "meta": {
            "versionId": "1", "lastUpdated": "2026-09-21T14:13:20Z",
            "profile": ["https://vardkedja.example/fhir/StructureDefinition/kva-procedure"],
        },
        "identifier": [identifier("https://vardkedja.example/fhir/NamingSystem/activity", format!("SE2321000131-E000000000202#A-{id}"))],
        "basedOn": [{ "reference": format!("CarePlan/{id}") }],
        "status": "completed",
        "code": { "coding": [{ "system": "urn:oid:1.2.752.116.1.3.2.1.4", "code": "DV133" }] },
        "subject": { "reference": format!("Patient/{id}") },
        "encounter": { "reference": format!("Encounter/{id}") },
        "performedDateTime": "2026-03-16T10:00:00+01:00",
        "performer": [{
            "actor": { "reference": format!("PractitionerRole/{id}") },
            "onBehalfOf": { "reference": format!("Organization/{id}"),
                "identifier": identifier("urn:oid:1.2.752.129.2.1.4.1", "SE2321000131-E000000000202".into()) },
        }],
    })
    .to_string()
    .into_bytes()
}

fn scan(path: &Path, size: u64) -> Duration {
    let db = reader(path);
    db.execute_batch("PRAGMA cache_size = -16384").expect("its settings");
    let started = Instant::now();
    let mut statement = db.prepare(SCAN).expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.next().expect("a row") {
        count += 1;
        bytes += row.get_ref(0).and_then(|body| Ok(body.as_blob()?.len())).expect("a body");
    }
    assert!(count == size && bytes > 0, "{count} rows");
    started.elapsed()
}

fn reader(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database")
}

/// From the request to the record that the files are whole.
fn export(program: &Program, path: &Path, caller: &str) -> Duration {
    let started = Instant::now();
    let request = get("/fhir/$export?_type=Procedure", &format!("{caller}Prefer: respond-async\r\n"));
    let (status, body) = once(program.address, &request);
    assert!(status == 202, "answered {status}: {}", String::from_utf8_lossy(&body));
    let db = reader(path);
    loop {
        let state = "SELECT state FROM export_job ORDER BY created_at DESC LIMIT 1";
        let state: String = db.query_row(state, [], |row| row.get(0)).expect("the export");
        match state.as_str() {
            "done" => return started.elapsed(),
            "open" => {}
            other => panic!("the export is {other}"),
        }
        assert!(started.elapsed() < PATIENCE, "the export does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn fetch_packed(program: &Program, path: &Path) -> Duration {
    let db = reader(path);
    let sql = "SELECT lower(hex(f.job)), f.name FROM export_file f JOIN export_job j ON j.id = f.job \
               WHERE j.created_at = (SELECT max(created_at) FROM export_job)";
    let mut statement = db.prepare(sql).expect("a statement");
    let files = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let files: Vec<(String, String)> = files.and_then(Iterator::collect).expect("the files");
    let started = Instant::now();
    for (job, file) in files {
        let request = get(&format!("/bulk/files/{job}/{file}"), "Accept-Encoding: gzip\r\n");
        let (status, _) = once(program.address, &request);
        assert!(status == 200, "answered {status}");
    }
    started.elapsed()
}
