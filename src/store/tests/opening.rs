//! Opening, closing, and what survives: one process at a time, and everything that was answered is there again.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::*;

const DATABASE: &str = "VARDKEDJA_TEST_DATABASE";
const CHILD: &str = "store::tests::opening::another_process";

/// Not a test of its own: what the other process does. It opens the database, commits, says so, and stays.
#[test]
fn another_process() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    match Store::open(Path::new(&path), Options::default()) {
        Err(StoreError::Locked) => eprintln!("said: locked"),
        Err(error) => eprintln!("said: {error}"),
        Ok(store) => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.done(puts([put("Goal", "from-the-child", 1)])));
            eprintln!("said: committed");
            let _ = std::io::stdin().read(&mut [0]);
        }
    }
}

fn other_process(database: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(DATABASE, database)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned()));
    (child, said.unwrap_or_default())
}

#[tokio::test]
async fn a_second_process_is_refused_while_the_first_has_the_database() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let (mut child, said) = other_process(&folder.database());
    child.wait().unwrap();
    assert_eq!(said, "locked");
    store.done(puts([put("Goal", "g", 1)])).await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_lock_and_loses_nothing_it_answered() {
    let folder = Folder::new();
    let (mut child, said) = other_process(&folder.database());
    assert_eq!(said, "committed");
    assert!(matches!(Store::open(&folder.database(), Options::default()), Err(StoreError::Locked)));
    child.kill().unwrap();
    child.wait().unwrap();
    let store = open_at(&folder.database());
    assert!(store.resource(&Filter::ALL, "Goal", "from-the-child").await.unwrap().is_some());
}

#[test]
fn a_second_handle_of_the_same_process_is_refused_too_by_any_name_of_the_file() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    assert!(matches!(Store::open(&folder.database(), Options::default()), Err(StoreError::Locked)));
    let other_name = folder.0.join("other.db");
    std::os::unix::fs::symlink(folder.database(), &other_name).unwrap();
    assert!(matches!(Store::open(&other_name, Options::default()), Err(StoreError::Locked)));
    drop(store);
    open_at(&other_name);
}

#[tokio::test]
async fn everything_is_there_again_after_reopening() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let exchange = Exchange { resources: vec!["Goal/g".into()], ..exchange("d1") };
    let sent = delivery(exchange.id, "norr", "p1");
    let last = store
        .done(Commit {
            exchanges: vec![exchange.clone()],
            documents: vec![document(exchange.id, 1)],
            deliveries: vec![sent.clone()],
            inbound: vec![Inbound { finding: Some("unknown task".into()), ..inbound("norr", "k") }],
            answer: Some(answer("syd", "k")),
            audit: vec![audit("submit")],
            ..puts([put("Goal", "g", 1)])
        })
        .await;
    drop(store);
    let store = open_at(&folder.database());
    assert_eq!(store.exchange(&Filter::ALL, exchange.id).await.unwrap(), Some(exchange.clone()));
    assert_eq!(store.document(exchange.id, None).await.unwrap(), Some(document(exchange.id, 1)));
    let due = store.due(at(1), &[], &Rooms::upto(10)).await.unwrap().ready;
    assert_eq!(due, [Delivery { seq: last, ..sent }]);
    assert_eq!(store.held_inbound(None, 10).await.unwrap().len(), 1);
    assert_eq!(store.recall("syd", "k").await.unwrap(), Some(answer("syd", "k")));
    let next = store.done(Commit { audit: vec![audit("read")], ..puts([put("Goal", "g", 2)]) }).await;
    assert_eq!(next, last + 1, "seq goes on where it was");
    assert_eq!(store.verify_audit().await.unwrap(), 2);
}

#[tokio::test]
async fn closing_writes_what_is_in_the_queue_and_stops_every_handle() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let other = store.clone();
    let release = store.hold_writer();
    let waiting = store.enqueue(puts([put("Goal", "g", 1)])).unwrap();
    let closing = std::thread::spawn(move || store.close());
    drop(release);
    closing.join().unwrap();
    assert!(matches!(waiting.await.unwrap(), Ok(Committed::Done { .. })));
    assert!(matches!(other.commit(Commit::default()).await, Err(StoreError::Stopped)));
    assert!(matches!(other.resource(&Filter::ALL, "Goal", "g").await, Err(StoreError::Stopped)));
    // The lock is free although a handle is left.
    let store = open_at(&folder.database());
    assert!(store.resource(&Filter::ALL, "Goal", "g").await.unwrap().is_some());
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let folder = Folder::new();
    drop(open_at(&folder.database()));
    let raw = rusqlite::Connection::open(folder.database()).unwrap();
    raw.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(raw);
    assert!(matches!(Store::open(&folder.database(), Options::default()), Err(StoreError::TooNew { found: 99, .. })));
}

#[test]
fn a_temporary_store_leaves_nothing_behind() {
    let store = Store::open_temporary().unwrap();
    let folder = store.shared.temporary().unwrap();
    assert!(folder.exists());
    drop(store);
    assert!(!folder.exists());
}
