//! SQLite's write-ahead log: it has room from the start, is moved into the database after answers rather than before them,
//! and is not let grow for ever by readers that never pause.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Meter;
use super::statement::Statements;

/// The log grows to this at start: growing it later, under load, costs a journal commit of the file system for every sync.
const ROOM_BYTES: u32 = 16 * 1024 * 1024;

/// With so many pages in the log they are moved into the database: half of what it has room for.
const MOVE_PAGES: i64 = 2048;

/// With so many the writer waits for readers to let go of the log, so that it can begin again from the front.
const RESTART_PAGES: i64 = 4 * MOVE_PAGES;

/// A reader that takes longer than this is not waited for.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) const BUSY: Duration = Duration::from_secs(5);
const CACHE: &str = "PRAGMA cache_size = -32768";

pub(super) fn set_up(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection
        .execute_batch(&format!("PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {ROOM_BYTES}; {CACHE};"))
}

/// Makes room by writing more than the page cache holds and taking it back: the database itself does not grow.
pub(super) fn make_room(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    fill(connection)?;
    // A small commit, so that the first real one does not wait for the room to reach the disk.
    connection.execute_batch("UPDATE heartbeat SET beats = beats + 1 WHERE id = 1")
}

/// Whether the disk takes again what commits may need, after it refused one: what stands in the log is moved into the
/// database, and the log takes as much as it has room for at start. A small commit alone would prove nothing: it fits where
/// a document does not.
pub(super) fn try_room(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    fill(connection)
}

/// Writes more than the page cache holds, and takes it back.
fn fill(connection: &Connection) -> Result<(), rusqlite::Error> {
    let begun = connection.execute_batch("PRAGMA cache_size = 16; BEGIN IMMEDIATE; CREATE TABLE room (filling BLOB);");
    let filled = begun.and_then(|()| connection.execute("INSERT INTO room VALUES (zeroblob(?1))", [ROOM_BYTES]));
    // A full disk may have ended the transaction already.
    let undone = if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") };
    connection.execute_batch(CACHE)?;
    filled.and(undone)
}

/// Looks after the log between groups.
pub(super) struct Keeper {
    pub(super) restart_at: i64,
    pub(super) patience: Duration,
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self { restart_at: RESTART_PAGES, patience: PATIENCE }
    }

    /// Moves the log into the database if it has become long. What fails here fails at the next commit too, and there
    /// somebody is told.
    pub(super) fn tend(&mut self, db: &Statements<'_>, meter: &Meter) -> Result<(), rusqlite::Error> {
        let pages = checkpoint(db, "PRAGMA wal_checkpoint(NOOP)")?.pages;
        meter.log_pages.set(pages);
        let started = Instant::now();
        if pages >= self.restart_at {
            db.connection().busy_timeout(self.patience)?;
            let ended = checkpoint(db, "PRAGMA wal_checkpoint(RESTART)");
            db.connection().busy_timeout(BUSY)?;
            // Not to wait again after every group for a reader that stays.
            let is_busy = ended?.busy;
            self.restart_at = if is_busy { pages.saturating_mul(2) } else { RESTART_PAGES };
            meter.checkpoints_busy.inc_by(u64::from(is_busy));
            meter.checkpoint_duration.observe(started.elapsed().as_secs_f64());
        } else if pages >= MOVE_PAGES {
            checkpoint(db, "PRAGMA wal_checkpoint(PASSIVE)")?;
            meter.checkpoint_duration.observe(started.elapsed().as_secs_f64());
        }
        Ok(())
    }
}

struct Checkpoint {
    busy: bool,
    /// Pages in the log.
    pages: i64,
}

fn checkpoint(db: &Statements<'_>, sql: &str) -> Result<Checkpoint, rusqlite::Error> {
    let found = db.first(sql, [], |row| {
        Ok::<_, rusqlite::Error>(Checkpoint { busy: row.get::<_, i64>(0)? != 0, pages: row.get(1)? })
    })?;
    Ok(found.unwrap_or(Checkpoint { busy: false, pages: 0 }))
}
