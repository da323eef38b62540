//! The real program, killed while it writes an export: it goes on, and the files are those that nobody would have broken off.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use vardkedja::store::{Commit, Options, Store};

use super::{patient, procedure};
use crate::program::Program;

const SETTINGS: &str = "[limits]\nrate_per_s = 100000\n[export]\nfile_bytes = 300000\nrecord_bytes = 20000\nopen_per_client = 100\nkept_per_client = 100\npoll_s = 1\n";
const PROCEDURES: u32 = 12_000;

async fn fill(db: &Path) {
    let store = Store::open(db, Options::default()).unwrap();
    store.commit(Commit { put: vec![patient("p1")], ..Commit::default() }).await.unwrap();
    for from in (0..PROCEDURES).step_by(500) {
        let status = |n: u32| if n.is_multiple_of(97) { "entered-in-error" } else { "completed" };
        let put = (from..from + 500).map(|n| procedure(&format!("c{n}"), 1, "p1", status(n))).collect();
        store.commit(Commit { put, ..Commit::default() }).await.unwrap();
    }
    store.close();
}

async fn start(http: &reqwest::Client, program: &Program) -> String {
    let path = format!("{}/fhir/$export?_type=Procedure,Patient", program.url);
    let reply = http.get(path).header("Prefer", "respond-async").send().await.unwrap();
    assert_eq!(reply.status(), 202);
    let location = reply.headers()["content-location"].to_str().unwrap().to_owned();
    location[location.find("/bulk").unwrap()..].to_owned()
}

/// The manifest, when it is there; nothing while it is not.
async fn manifest(http: &reqwest::Client, program: &Program, job: &str) -> Option<Value> {
    let reply = http.get(format!("{}{job}", program.url)).send().await.unwrap();
    match reply.status().as_u16() {
        200 => Some(serde_json::from_str(&reply.text().await.unwrap()).unwrap()),
        202 | 429 => None,
        other => panic!("{other}"),
    }
}

async fn done(http: &reqwest::Client, program: &Program, job: &str) -> Value {
    let started = Instant::now();
    loop {
        if let Some(manifest) = manifest(http, program, job).await {
            return manifest;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{}", program.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Names, hashes and counts, and the bytes as they come.
async fn files(http: &reqwest::Client, program: &Program, manifest: &Value) -> BTreeMap<String, (Value, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for file in manifest["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let path = &url[url.find("/bulk").unwrap()..];
        let bytes = http.get(format!("{}{path}", program.url)).send().await.unwrap().bytes().await.unwrap();
        let name = path.rsplit('/').next().unwrap().to_owned();
        files.insert(name, (file["extension"]["sha-256"].clone(), bytes.to_vec()));
    }
    files
}

#[actix_web::test]
async fn an_export_that_was_killed_again_and_again_is_byte_for_byte_the_same() {
    let folder = std::env::temp_dir().join(format!("resume-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    fill(&folder.join("program.sqlite")).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut program = Program::start(&folder, SETTINGS, &[]);
    let job = start(&http, &program).await;
    let exports = folder.join("program.sqlite.exports").join(job.rsplit('/').next().unwrap());
    let mut kills = 0;
    let mut grown = 0;
    while manifest(&http, &program, &job).await.is_none() {
        // Killed when there is more on disk than the last time, wherever it stands then.
        let size = |folder: &Path| -> u64 {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
        };
        if kills < 6 && size(&exports) > grown {
            grown = size(&exports) + 100_000;
            program.signal("-KILL");
            program.ended().await;
            kills += 1;
            if kills == 3 {
                // What was written beyond the record, by a program that died before it could say so.
                let open = std::fs::read_dir(&exports).unwrap().flatten().map(|entry| entry.path()).max().unwrap();
                let mut bytes = std::fs::read(&open).unwrap();
                bytes.extend_from_slice(b"{ half a li");
                std::fs::write(open, bytes).unwrap();
            }
            program = Program::start(&folder, SETTINGS, &[]);
        }
    }
    assert!(kills >= 2, "it was killed only {kills} times before it was done");
    let broken = done(&http, &program, &job).await;
    let other = start(&http, &program).await;
    let whole = done(&http, &program, &other).await;
    let (broken, whole) = (files(&http, &program, &broken).await, files(&http, &program, &whole).await);
    assert!(whole.len() > 3);
    assert_eq!(broken.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert!(broken == whole, "not the same bytes after {kills} kills");
    let lines: usize = whole.values().map(|(_, bytes)| bytes.iter().filter(|b| **b == b'\n').count()).sum();
    assert_eq!(lines, PROCEDURES as usize - 124 + 1);
    program.stop().await;
    let _ = std::fs::remove_dir_all(&folder);
}
