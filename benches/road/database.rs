//! Databases to measure on: with the first documents taken in by the real program, and filled to a size.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;

use crate::documents::{self, Document, NUMBER};
use crate::load::once;
use crate::program::{Program, fresh};
use crate::rows::{Marks, Rows, UNITS, write};
use crate::token::Key;

/// Settings with the partners that the example units are served by. All clients of a run are one caller, so that the default
/// rate of a caller would be what is measured.
pub fn settings(primary_care: Option<&str>, municipality: Option<&str>, more: &str) -> String {
    let channel = |base: Option<&str>| match base {
        Some(base) => format!("channel = \"push\"\nfhir_base = \"{base}\""),
        None => "channel = \"poll\"".to_owned(),
    };
    format!(
        "[limits]\nrate_per_s = 1000000\n{more}\n\
         [[partner]]\nname = \"platform\"\nchannel = \"poll\"\njwks_file = \"jwks.json\"\n\
         [[partner]]\nname = \"reader\"\nchannel = \"poll\"\njwks_file = \"jwks.json\"\n\
         [[partner]]\nname = \"primary-care\"\n{}\n\
         [[partner]]\nname = \"municipality\"\n{}\n",
        channel(primary_care),
        channel(municipality),
    )
}

/// Sends documents one after the other; each must be taken in.
pub fn send_all(program: &Program, key: &Key, number: u64, sent: &[(Document, &str)]) {
    for (document, partner) in sent {
        let (status, body) = once(program.address, &document.request(number, &key.bearer(partner)));
        assert!(status == 202, "{} answered {status}: {}", document.path, String::from_utf8_lossy(&body));
    }
}

/// A database where documents were taken in once before (`before.db`), and the rows that taking them in again wrote.
pub fn capture(folder: &Path, name: &str, sent: &[(Document, &str)]) -> (PathBuf, Rows) {
    let folder = fresh(folder, name);
    let key = Key::new(&folder);
    let (before, after) = (folder.join("before.db"), folder.join("after.db"));
    // Units, people and code systems become known with the first, so that the second writes what most write.
    let program = Program::start(&folder, &before, &settings(None, None, ""));
    send_all(&program, &key, NUMBER + 7, sent);
    program.stop();
    settle(&before);
    std::fs::copy(&before, &after).expect("a copy");
    let program = Program::start(&folder, &after, &settings(None, None, ""));
    // With the number and the patient whose places are looked for.
    send_all(&program, &key, NUMBER, sent);
    program.stop();
    settle(&after);
    let rows = Rows::between(&before, &after);
    (before, rows)
}

/// Moves what is in the log into the database, so that the file alone is all of it.
fn settle(path: &Path) {
    let db = Connection::open(path).expect("a database");
    let moved = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    assert!(moved == Ok(0), "{} is in use", path.display());
}

/// Opens a database as the gateway's store does, durable or (to fill it) not.
pub fn open(path: &Path, durable: bool) -> Connection {
    let db = Connection::open(path).expect("a database");
    let (journal, synchronous) = if durable { ("WAL", "FULL") } else { ("OFF", "OFF") };
    db.execute_batch(&format!(
        "PRAGMA journal_mode = {journal}; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = {}; \
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = {}; PRAGMA wal_autocheckpoint = 0; \
         PRAGMA journal_size_limit = 16777216;",
        if durable { "ON" } else { "OFF" },
        if durable { -65_536 } else { -2_000_000 },
    ))
    .expect("its settings");
    db
}

/// A database with so many resources: a plan, a referral and an activity for each of its patients.
pub struct Filled {
    pub path: PathBuf,
    pub rows: Rows,
    pub copies: u64,
}

/// The database of that size, made where it is not there yet from this program.
pub fn filled(folder: &Path, size: u64) -> Filled {
    let sent = [
        (documents::plan(), "platform"),
        (documents::referral(documents::SOUTH), "platform"),
        (documents::activity(), "reader"),
    ];
    filled_with(folder, "journey", &sent, |rows| size.div_ceil(rows.resources()))
}

/// The database with so many copies of these documents.
pub fn filled_with(folder: &Path, name: &str, sent: &[(Document, &str)], copies: impl FnOnce(&Rows) -> u64) -> Filled {
    let (before, rows) = capture(folder, name, sent);
    let copies = copies(&rows);
    let path = folder.join(format!("filled-{name}-{copies}.db"));
    let made_of = folder.join(format!("filled-{name}-{copies}.rows"));
    // Another program writes other rows: then it is filled anew.
    let kind = format!("{} rows, {} bytes, {copies} copies", rows.count(), rows.bytes());
    if path.exists() && std::fs::read_to_string(&made_of).is_ok_and(|text| text == kind) {
        return Filled { path, rows, copies };
    }
    let started = Instant::now();
    let _ = std::fs::remove_file(&path);
    std::fs::copy(&before, &path).expect("a copy");
    let db = open(&path, false);
    add_units(&db);
    let mut marks = Marks::of(&db);
    let mut statements = rows.prepare(&db);
    while marks.copies < copies {
        let count = (copies - marks.copies).min(200);
        let some: Vec<_> = (0..count).map(|_| rows.copy(&mut marks)).collect();
        db.execute_batch("BEGIN").expect("a transaction");
        write(&mut statements, &some);
        db.execute_batch("COMMIT").expect("a commit");
    }
    drop(statements);
    drop(db);
    std::fs::write(made_of, kind).expect("a note");
    eprintln!("    filled with {} resources in {:.0} s", copies * rows.resources(), started.elapsed().as_secs_f64());
    Filled { path, rows, copies }
}

/// As many units as acts are spread over, whatever the directory knows of them.
fn add_units(db: &Connection) {
    for n in 1..=UNITS {
        db.execute("INSERT INTO fact_unit VALUES (?1, 'SE-BENCH-' || ?1) ON CONFLICT DO NOTHING", [n]).expect("a unit");
    }
}
