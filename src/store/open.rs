//! Opening and closing the database: one process, one writer, a few readers, and a log that has room from the start.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use chrono::Utc;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::block;
use super::look::look;
use super::migrate::migrate;
use super::objection::settle;
use super::removal::overwrite;
use super::wait;
use super::writer::{self, Job, Writer};
use super::{Commit, Meter, Store, StoreError, fill, log, reader, reindex};
use crate::domain::clock::Clocks;

/// How the store is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many commits may wait for the writer before the next is refused as `Busy`.
    pub queue: usize,
    /// How many reads run at the same time; more wait.
    pub readers: usize,
    /// Registries that may get something, and whether each needs that patients were informed.
    pub registries: Vec<(String, bool)>,
    /// Every unit that is known, with its care provider: an outer block is decided by it.
    pub units: Vec<(String, String)>,
    /// When what is waited for is overdue. Without rules nothing is, until somebody opens the file who has some.
    pub clocks: Option<Arc<Clocks>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { queue: 1024, readers: 4, registries: Vec::new(), units: Vec::new(), clocks: None }
    }
}

/// What all handles share. Dropping the last one closes the store.
pub(super) struct Shared {
    pub(super) jobs: RwLock<Option<mpsc::Sender<Job>>>,
    pub(super) reads: RwLock<Option<mpsc::Sender<reader::Job>>>,
    /// For exports alone.
    pub(super) scans: RwLock<Option<mpsc::Sender<reader::Job>>>,
    pub(super) ready: Arc<AtomicBool>,
    /// The last `seq` that is on disk.
    pub(super) committed: tokio::sync::watch::Sender<i64>,
    pub(super) meter: Meter,
    pub(super) path: PathBuf,
    /// The writer, then the readers.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held as long as the database is open; the kernel lets go of it when the process ends, however it ends.
    lock: Mutex<Option<File>>,
    /// A folder to remove with the store.
    temporary: Option<PathBuf>,
}

impl Store {
    /// Opens the database, makes it if it is not there, and brings it to the form this program knows. Takes the lock
    /// `<path>.lock`, so that a second process gets [`StoreError::Locked`].
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        open(path, &options, Disk::Durable, None)
    }

    /// A store in a folder of its own, which goes away with it: for tests and the demo. It does not wait for the disk.
    pub fn open_temporary() -> Result<Self, StoreError> {
        let folder = std::env::temp_dir().join(format!("vardkedja-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).map_err(StoreError::Lock)?;
        open(&folder.join("store.db"), &Options::default(), Disk::Forgetful, Some(folder))
    }

    /// False after the disk refused a commit, until it takes one again. Asking makes the store try.
    pub fn is_ready(&self) -> bool {
        let ready = self.shared.ready.load(Ordering::Acquire);
        if !ready {
            // Nobody sends commits to a store that is not ready, so the question itself is the attempt.
            let _ = self.enqueue(Commit::default());
        }
        ready
    }

    /// Takes no more commits, waits until those in the queue are on disk, and closes the database for every handle.
    /// Dropping the last handle does the same. Blocks for as long as a group takes.
    pub fn close(self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        // Without senders the threads end when their queues are empty. The writer ends last, because the connection that
        // closes last moves the log into the database, and readers cannot.
        let jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner).take();
        self.reads.write().unwrap_or_else(PoisonError::into_inner).take();
        self.scans.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for reader in threads.drain(threads.len().min(1)..) {
            let _ = reader.join();
        }
        drop(jobs);
        for writer in threads {
            let _ = writer.join();
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
impl Shared {
    pub(super) fn temporary(&self) -> Option<PathBuf> {
        self.temporary.clone()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
        if let Some(folder) = &self.temporary {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Durable,
    Forgetful,
}

fn open(path: &Path, options: &Options, disk: Disk, temporary: Option<PathBuf>) -> Result<Store, StoreError> {
    let lock = lock(path)?;
    look(path)?;
    let connection = connect(path, disk)?;
    migrate(&connection)?;
    reindex::prepare(&connection)?;
    fill::prepare(&connection)?;
    block::affiliate(&connection, &options.units)?;
    if disk == Disk::Durable {
        log::make_room(&connection).map_err(StoreError::Open)?;
    }
    settle(&connection, &options.registries).map_err(StoreError::Open)?;
    let ready = Arc::new(AtomicBool::new(true));
    let (jobs, queue) = mpsc::channel(options.queue.max(1));
    let (reads, questions) = mpsc::channel(reader::QUEUE);
    let (scans, walks) = mpsc::channel(reader::QUEUE);
    let (committed, _) = tokio::sync::watch::channel(0);
    let shared = Arc::new(Shared {
        jobs: RwLock::new(Some(jobs)),
        reads: RwLock::new(Some(reads)),
        scans: RwLock::new(Some(scans)),
        ready: Arc::clone(&ready),
        committed: committed.clone(),
        meter: Meter::default(),
        path: path.to_owned(),
        threads: Mutex::default(),
        lock: Mutex::new(Some(lock)),
        temporary,
    });
    let store = Store { shared };
    let mut state = writer::State::load(&connection)?.with_clocks(options.clocks.clone());
    wait::rebuild(&connection, &mut state, Utc::now())?;
    let meter = store.meter().clone();
    store.spawn("store-writer", move || Writer::new(&connection, state, &ready, meter, committed).run(queue))?;
    let questions = Arc::new(Mutex::new(questions));
    for _ in 0..options.readers.max(1) {
        let connection = connect_reader(path)?;
        let questions = Arc::clone(&questions);
        store.spawn("store-reader", move || reader::run(&connection, &questions))?;
    }
    let (connection, walks) = (connect_reader(path)?, Mutex::new(walks));
    store.spawn("store-scanner", move || reader::run(&connection, &walks))?;
    Ok(store)
}

impl Store {
    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StoreError::Thread)?;
        self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }
}

/// A lock beside the database rather than on it: SQLite's own locks come and go with transactions, and an exclusive one
/// would keep our readers out.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    // Two names of one file must meet in one lock.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = OsString::from(path);
    name.push(".lock");
    let file = File::options().create(true).append(true).open(name).map_err(StoreError::Lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(StoreError::Lock(error)),
    }
}

fn connect(path: &Path, disk: Disk) -> Result<Connection, StoreError> {
    let set = || {
        // One thread uses it, so nothing needs to be locked against another.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        keep_plans(&connection)?;
        connection.busy_timeout(log::BUSY)?;
        let synchronous = if disk == Disk::Durable { "FULL" } else { "OFF" };
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; \
             PRAGMA temp_store = MEMORY;"
        ))?;
        log::set_up(&connection)?;
        overwrite(&connection, false)?;
        Ok(connection)
    };
    set().map_err(StoreError::Open)
}

fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let set = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        keep_plans(&connection)?;
        connection.busy_timeout(log::BUSY)?;
        connection.execute_batch("PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA query_only = ON;")?;
        Ok(connection)
    };
    set().map_err(StoreError::Open)
}

/// A plan that is made once. SQLite would otherwise look at what is bound whenever a partial index might serve, and prepare
/// the statement anew for every use: most of what a read cost.
fn keep_plans(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
