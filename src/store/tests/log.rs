//! The write-ahead log: room from the start, and never longer than it must be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::store::log::{Keeper, set_up};
use crate::store::statement::Statements;

#[test]
fn the_log_has_room_from_the_start_and_the_database_does_not_grow_for_it() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let bytes = |name: &str| std::fs::metadata(folder.0.join(name)).unwrap().len();
    assert!(bytes("store.db-wal") >= 16 << 20, "{}", bytes("store.db-wal"));
    assert!(bytes("store.db") < 1 << 20, "{}", bytes("store.db"));
    drop(store);
    assert!(!folder.0.join("store.db-wal").exists(), "closing moves the log into the database");
}

/// Commits of a megabyte each, one after the other.
async fn write_megabytes(store: &Store, from: u32, to: u32) {
    for n in from..to {
        let large = Put { body: vec![b' '; 1 << 20], ..put("Binary", &format!("b{n}"), 1) };
        store.done(puts([large])).await;
    }
}

#[tokio::test]
async fn the_log_is_moved_into_the_database_as_it_fills() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    write_megabytes(&store, 0, 40).await;
    let bytes = |name: &str| std::fs::metadata(folder.0.join(name)).unwrap().len();
    assert!(bytes("store.db") > 30 << 20, "{}", bytes("store.db"));
    assert!(bytes("store.db-wal") < 20 << 20, "{}", bytes("store.db-wal"));
}

#[tokio::test]
async fn a_reader_that_stays_lets_the_log_grow_and_when_it_leaves_the_log_begins_again() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let raw = rusqlite::Connection::open(folder.database()).unwrap();
    raw.execute_batch("BEGIN; SELECT * FROM heartbeat;").unwrap();
    write_megabytes(&store, 0, 40).await;
    let bytes = || std::fs::metadata(folder.0.join("store.db-wal")).unwrap().len();
    assert!(bytes() > 40 << 20, "{}", bytes());
    raw.execute_batch("COMMIT").unwrap();
    write_megabytes(&store, 40, 42).await;
    assert!(bytes() < 20 << 20, "{}", bytes());
}

fn connect(folder: &Folder, busy: Duration) -> Connection {
    let connection = Connection::open(folder.database()).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    connection.busy_timeout(busy).unwrap();
    connection
}

#[test]
fn the_writer_waits_for_a_reader_that_is_about_to_leave_and_begins_the_log_again() {
    let folder = Folder::new();
    let writer = connect(&folder, Duration::from_secs(60));
    set_up(&writer).unwrap();
    writer.execute_batch("CREATE TABLE t (x BLOB)").unwrap();
    let reader = connect(&folder, Duration::ZERO);
    reader.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
    let other = connect(&folder, Duration::ZERO);
    writer.execute_batch("INSERT INTO t VALUES (zeroblob(1000000))").unwrap();

    let ended = AtomicBool::new(false);
    let done = &ended;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Nobody else can write while the log is about to begin again: that is when the reader leaves.
            while other.execute_batch("BEGIN IMMEDIATE; ROLLBACK;").is_ok() && !done.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            reader.execute_batch("COMMIT").unwrap();
        });
        let mut keeper = Keeper { restart_at: 100, patience: Duration::from_secs(60) };
        keeper.tend(&Statements::new(&writer), &crate::store::Meter::default()).unwrap();
        done.store(true, Ordering::Release);
    });
    writer.execute_batch("INSERT INTO t VALUES (x'00')").unwrap();
    let pages: i64 = writer.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).unwrap();
    assert!(pages < 10, "{pages}");
}
