//! Copies of the database: made beside a running gateway, checked without one, and put back.
//!
//! A copy is `VACUUM INTO` over a connection that only reads: one snapshot, whatever is written meanwhile, and no lock that
//! the gateway would wait for. It is a database without a log, beside it a manifest that says what must be in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::audit::{Head, walk};
use super::meter::beside;
use super::migrate::known_version;
use super::open::lock;
use super::read_queue::read_only;
use super::state::LAST_SEQ;
use super::statement::Statements;
use super::{Commit, Options, Store, StoreError};
use crate::domain::audit::{By, Deed, Event};

/// What a copy holds, so that anybody can see whether it still does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub program: String,
    pub schema_version: i64,
    pub made_at: DateTime<Utc>,
    pub bytes: u64,
    pub sha256: String,
    /// The commit order's last number.
    pub seq: i64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Deliveries by partner that were waiting or parked.
    pub undelivered: BTreeMap<String, u64>,
    pub audit: AuditHead,
}

/// Where the audit log ended: whoever keeps this elsewhere sees when its end was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    pub seq: i64,
    pub hash: String,
}

/// The newest copy that was made of a database, as noted beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupNote {
    pub made_at: DateTime<Utc>,
    pub bytes: u64,
    pub sha256: String,
}

/// Why there is no copy, or not a good one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is there already; a copy never takes the place of another")]
    Exists(PathBuf),
    #[error("{0} is there; --force moves it aside")]
    InTheWay(PathBuf),
    #[error("the copy is not what its manifest says: {0}")]
    Differs(String),
    #[error("the manifest {path} cannot be read")]
    Manifest {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// Restoring ended after something was moved.
    #[error("not all was done: {what}")]
    Halfway {
        what: String,
        #[source]
        source: Box<BackupError>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

const UNDELIVERED: &str =
    "SELECT partner, count(*) FROM delivery WHERE state IN ('waiting', 'parked') GROUP BY partner ORDER BY partner";
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";

/// Copies a database that may be in use to a file that must not be there yet. Nobody who writes has to wait.
pub fn back_up(db: &Path, to: &Path, now: DateTime<Utc>) -> Result<Manifest, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // First: where there is no database, nothing is left behind that looks like the beginning of a copy.
    let source = read_only(db)?;
    let unfinished = beside(to, ".part");
    // What a copy that was interrupted left behind is worth nothing.
    remove(&unfinished)?;
    // Made first and for its owner only: everything that patients told is in it.
    private(&unfinished)?;
    let name = unfinished.to_str().ok_or_else(|| BackupError::Differs("its path is no UTF-8".into()))?;
    source.execute("VACUUM INTO ?1", [name]).map_err(StoreError::Read)?;
    drop(source);
    let file = File::open(&unfinished).map_err(at(&unfinished))?;
    file.sync_all().map_err(at(&unfinished))?;
    let manifest = describe(&unfinished, now)?;
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    write_private(&manifest_path(to), &text)?;
    fs::rename(&unfinished, to).map_err(at(to))?;
    sync_folder(to)?;
    let note = BackupNote { made_at: now, bytes: manifest.bytes, sha256: manifest.sha256.clone() };
    // The note is for `status` only: a folder that cannot be written is no reason to say that there is no copy.
    let _ = fs::write(note_path(db), serde_json::to_vec(&note).unwrap_or_default());
    Ok(manifest)
}

/// Checks a copy: its bytes, its structure, its references, its audit log and its counts.
pub fn verify_backup(file: &Path) -> Result<Manifest, BackupError> {
    let path = manifest_path(file);
    let text = fs::read(&path).map_err(at(&path))?;
    let said: Manifest = serde_json::from_slice(&text).map_err(|source| BackupError::Manifest { path, source })?;
    let found = hash(file)?;
    if found != (said.bytes, said.sha256.clone()) {
        return Err(BackupError::Differs("its bytes have changed (sha-256)".into()));
    }
    let connection = still(file)?;
    let sound: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(StoreError::Read)?;
    if sound != "ok" {
        return Err(BackupError::Differs(format!("SQLite finds it damaged: {sound}")));
    }
    let db = Statements::new(&connection);
    let astray = db.first("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0).map_err(StoreError::from))?;
    if let Some(table) = astray {
        return Err(BackupError::Differs(format!("a row of {table} refers to one that is not there")));
    }
    let rows = walk(&db)?;
    let made = describe(file, said.made_at)?;
    if said.rows.get("audit").copied() != Some(rows) {
        return Err(BackupError::Differs("the audit log has another length".into()));
    }
    let said_by_us = Manifest { program: made.program.clone(), ..said.clone() };
    if made != said_by_us {
        return Err(BackupError::Differs("its counts are others".into()));
    }
    Ok(said)
}

/// What restoring did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub manifest: Manifest,
    /// Where the database went that stood there before.
    pub aside: Option<PathBuf>,
}

/// Puts a copy in a database's place. Refuses while a gateway has the database open, and does not delete what stood there.
pub fn restore(file: &Path, to: &Path, force: bool, now: DateTime<Utc>) -> Result<Restored, BackupError> {
    let manifest = verify_backup(file)?;
    let held = lock(to)?;
    // A log or an index of one that is gone, too: beside the copy SQLite would read them as the copy's.
    let there: Vec<&str> = ENDINGS.into_iter().filter(|ending| beside(to, ending).exists()).collect();
    if let Some(ending) = there.last().filter(|_| !force) {
        return Err(BackupError::InTheWay(beside(to, ending)));
    }
    let unfinished = beside(to, ".part");
    remove(&unfinished)?;
    private(&unfinished)?;
    fs::copy(file, &unfinished).map_err(at(&unfinished))?;
    File::open(&unfinished).and_then(|f| f.sync_all()).map_err(at(&unfinished))?;
    let aside = beside(to, &format!(".before-restore-{}", now.format("%Y%m%dT%H%M%SZ")));
    for ending in &there {
        let from = beside(to, ending);
        if let Err(error) = fs::rename(&from, beside(&aside, ending)) {
            return Err(halfway(format!("some of what stood there may be at {}", aside.display()), at(&from)(error)));
        }
    }
    if let Err(error) = fs::rename(&unfinished, to) {
        let what = format!("the copy is whole at {}; what stood there is at {}", unfinished.display(), aside.display());
        return Err(halfway(what, at(to)(error)));
    }
    let placed = |error: BackupError| halfway(format!("{} is the copy now", to.display()), error);
    sync_folder(to).map_err(placed)?;
    drop(held);
    record(to, &manifest, now).map_err(|error| placed(error.into()))?;
    Ok(Restored { manifest, aside: (!there.is_empty()).then_some(aside) })
}

/// A database's log, the log's index, and the database. They are moved in this order: a log beside another database would be
/// read as that one's.
const ENDINGS: [&str; 3] = ["-wal", "-shm", ""];

fn halfway(what: String, source: BackupError) -> BackupError {
    BackupError::Halfway { what, source: Box::new(source) }
}

/// That a copy took the database's place belongs in its audit log.
fn record(db: &Path, manifest: &Manifest, now: DateTime<Utc>) -> Result<(), StoreError> {
    let store = Store::open(db, Options::default())?;
    let event = Event::new(now, By::named("operator"), Deed::Restore, "database")
        .with("madeAt", serde_json::json!(manifest.made_at))
        .with("sha256", manifest.sha256.as_str())
        .with("seq", manifest.seq);
    let waiting = store.enqueue(Commit { audit: vec![event.into()], ..Commit::default() })?;
    let ended = waiting.blocking_recv().map_err(|_| StoreError::Stopped)?;
    store.close();
    ended.map(|_| ())
}

/// What a file is said to hold, where it is a copy.
pub fn manifest_of(file: &Path) -> Option<Manifest> {
    serde_json::from_slice(&fs::read(manifest_path(file)).ok()?).ok()
}

/// Whether the file has the bytes that the manifest speaks of.
pub fn is_of(manifest: &Manifest, file: &Path) -> Result<bool, BackupError> {
    Ok(hash(file)? == (manifest.bytes, manifest.sha256.clone()))
}

/// The newest copy of a database, where one was made.
pub fn last_backup(db: &Path) -> Option<BackupNote> {
    serde_json::from_slice(&fs::read(note_path(db)).ok()?).ok()
}

fn describe(file: &Path, made_at: DateTime<Utc>) -> Result<Manifest, BackupError> {
    let (bytes, sha256) = hash(file)?;
    let connection = still(file)?;
    let db = Statements::new(&connection);
    let tables: Vec<String> = db.all(TABLES, [], |row| row.get(0).map_err(StoreError::from))?;
    let mut rows = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT count(*) FROM \"{table}\"");
        let count = db.first(&sql, [], |row| row.get::<_, i64>(0).map_err(StoreError::from))?;
        rows.insert(table, count.unwrap_or(0).unsigned_abs());
    }
    let undelivered = db.all(UNDELIVERED, [], |row| {
        Ok::<_, StoreError>((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    let seq = db.first(LAST_SEQ, [], |row| row.get(0).map_err(StoreError::from))?.unwrap_or(0);
    let head = Head::load(&connection).map_err(StoreError::Read)?;
    Ok(Manifest {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: known_version(&connection)?,
        made_at,
        bytes,
        sha256,
        seq,
        rows,
        undelivered: undelivered.into_iter().collect(),
        audit: AuditHead { seq: head.seq(), hash: head.hex() },
    })
}

/// Opens a copy that nobody writes to: without a lock, and without files beside it.
pub(super) fn still(file: &Path) -> Result<Connection, BackupError> {
    let path = fs::canonicalize(file).map_err(at(file))?;
    let mut name = String::from("file:");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(name, flags).map_err(StoreError::Open)?;
    known_version(&connection)?;
    Ok(connection)
}

/// Length and SHA-256 of a file.
fn hash(file: &Path) -> Result<(u64, String), BackupError> {
    let mut source = File::open(file).map_err(at(file))?;
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 1024 * 1024]);
    loop {
        let read = source.read(&mut piece).map_err(at(file))?;
        if read == 0 {
            return Ok((bytes, format!("{:x}", hasher.finalize())));
        }
        bytes += read as u64;
        hasher.update(piece.get(..read).unwrap_or_default());
    }
}

/// Where the manifest of a copy is.
pub fn manifest_path(file: &Path) -> PathBuf {
    beside(file, ".manifest.json")
}

/// Leaves word of a copy beside the database, for the log: only the gateway writes that, and it may be running.
pub fn leave_for_log(db: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let note = BackupNote { made_at: manifest.made_at, bytes: manifest.bytes, sha256: manifest.sha256.clone() };
    let name = format!("{FOR_LOG}{}.json", uuid::Uuid::now_v7());
    let unfinished = beside(db, &format!(".part{name}"));
    write_private(&unfinished, &serde_json::to_vec(&note).unwrap_or_default())?;
    fs::rename(&unfinished, beside(db, &name)).map_err(at(db))?;
    sync_folder(db)
}

/// Copies of which the log has not heard, the first made first, with the file that says so: it is removed when the log has.
pub fn left_for_log(db: &Path) -> Result<Vec<(PathBuf, BackupNote)>, BackupError> {
    let folder = db.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(before) = beside(db, FOR_LOG).file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Ok(Vec::new());
    };
    let mut left = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if !entry.file_name().to_string_lossy().starts_with(&before) {
            continue;
        }
        let path = entry.path();
        let text = fs::read(&path).map_err(at(&path))?;
        let manifest = |source| BackupError::Manifest { path: path.clone(), source };
        left.push((path.clone(), serde_json::from_slice(&text).map_err(manifest)?));
    }
    left.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(left)
}

/// How the names of such files go on behind the database's.
const FOR_LOG: &str = ".made-copy-";

fn note_path(db: &Path) -> PathBuf {
    beside(db, ".backup.json")
}

fn private(path: &Path) -> Result<File, BackupError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    remove(path)?;
    let mut file = private(path)?;
    std::io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()).map_err(at(path))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// A new name is on disk when its folder is.
fn sync_folder(path: &Path) -> Result<(), BackupError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> BackupError + '_ {
    move |source| BackupError::File { path: path.to_owned(), source }
}
