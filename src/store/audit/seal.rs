//! Signed checkpoints of the chain, and the leaving of its oldest rows behind one. Who signs is not decided here.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};

use super::walk::open;
use super::{CHAIN, HEAD, Hash, Head, found_by, hex};
use crate::store::apply::{Refusal, Writing};
use crate::store::removal::is_held;
use crate::store::row::{time, word};
use crate::store::statement::Statements;
use crate::store::{Store, StoreError};

const INSERT: &str =
    "INSERT INTO audit_checkpoint (number, kind, seq, hash, at, token) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const AFTER: &str = "SELECT * FROM audit_checkpoint WHERE number > ?1 ORDER BY number LIMIT ?2";
const LAST: &str = "SELECT * FROM audit_checkpoint WHERE number = (SELECT max(number) FROM audit_checkpoint)";
const HASH_OF: &str = "SELECT hash FROM audit WHERE chain = ?1 AND seq = ?2";
const OLDEST: &str = concat!(
    "SELECT a.seq, a.at, a.hash, ",
    is_held!(),
    " AS held FROM audit a WHERE a.chain = ?1 ORDER BY a.seq LIMIT ?2"
);
const LEAVING: &str = "SELECT seq, at, actor, about FROM audit WHERE chain = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
const LEAVE: &str = "DELETE FROM audit WHERE chain = ?1 AND seq = ?2";
const FORGET: &str = "DELETE FROM audit_about WHERE about = ?1 AND at = ?2 AND seq = ?3";
const HAS_CHECKPOINTS: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'audit_checkpoint'";

/// Checkpoints read at once.
const AT_ONCE: u32 = 1000;

/// What a checkpoint says beside where the chain stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    Regular,
    /// Rows up to it may leave for their age.
    Prune,
    /// A copy took the database's place: what came after it before is lost.
    Restore,
}

impl CheckpointKind {
    pub const ALL: [Self; 3] = [Self::Regular, Self::Prune, Self::Restore];

    pub fn code(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Prune => "prune",
            Self::Restore => "restore",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where the chain stood, with somebody's signature over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its place among the checkpoints of this database.
    pub number: i64,
    pub kind: CheckpointKind,
    pub seq: i64,
    pub hash: [u8; 32],
    pub at: DateTime<Utc>,
    /// A JWS over the other fields.
    pub token: String,
}

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// 0: it has not begun.
    pub seq: i64,
    pub hash: [u8; 32],
}

impl ChainHead {
    /// Hexadecimal.
    pub fn hex(&self) -> String {
        hex(&self.hash)
    }
}

/// The oldest rows leave: those up to `through`. The commit carries the checkpoint that lets them, or it was made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prune {
    pub through: i64,
    pub most: u32,
}

impl Writing<'_, '_> {
    pub(in crate::store) fn put_checkpoint(&mut self, made: &Checkpoint) -> Result<(), Refusal> {
        let row = (made.number, made.kind.code(), made.seq, made.hash, made.at.timestamp_millis(), &made.token);
        self.statements.run(INSERT, row)?;
        Ok(())
    }

    /// The database itself refuses a row that is too young, not the oldest, or not behind a checkpoint.
    pub(in crate::store) fn prune_audit(&mut self, prune: Prune) -> Result<(), Refusal> {
        let db = self.statements;
        let leaving = db.all(LEAVING, (CHAIN, prune.through, prune.most), |row| {
            Ok::<_, StoreError>((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
            ))
        })?;
        for (seq, at, actor, about) in leaving {
            db.run(LEAVE, (CHAIN, seq))?;
            for name in found_by(&actor, &about) {
                db.run(FORGET, (name, at, seq))?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// Where the chain of audit rows ends now.
    pub async fn audit_head(&self) -> Result<ChainHead, StoreError> {
        self.read(|db| {
            let head = |row: &Row<'_>| Ok::<_, StoreError>(ChainHead { seq: row.get(0)?, hash: row.get(1)? });
            Ok(db.first(HEAD, [CHAIN], head)?.unwrap_or_else(|| {
                let Head { seq, hash } = Head::default();
                ChainHead { seq, hash }
            }))
        })
        .await
    }

    /// The hash of the row at that place of the chain.
    pub async fn audit_hash(&self, seq: i64) -> Result<Option<[u8; 32]>, StoreError> {
        self.read(move |db| db.first(HASH_OF, (CHAIN, seq), |row| Ok(row.get::<_, Hash>(0)?))).await
    }

    /// The checkpoints behind that number, a thousand at most.
    pub async fn checkpoints(&self, after: i64) -> Result<Vec<Checkpoint>, StoreError> {
        self.read(move |db| db.all(AFTER, (after, AT_ONCE), checkpoint)).await
    }

    pub async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.read(|db| db.first(LAST, [], checkpoint)).await
    }

    /// The last of the oldest rows that are all from before that time, at most so many; never the last row of the log, nor one of
    /// a patient of whom everything is held, nor what came after that.
    pub async fn leaving(&self, before: DateTime<Utc>, most: u32) -> Result<Option<ChainHead>, StoreError> {
        let cutoff = before.timestamp_millis();
        self.read(move |db| {
            let oldest = db.all(OLDEST, (CHAIN, most.saturating_add(1)), |row| {
                let head = ChainHead { seq: row.get("seq")?, hash: row.get("hash")? };
                Ok::<_, StoreError>((row.get::<_, i64>("at")?, row.get::<_, bool>("held")?, head))
            })?;
            // One more was read than may leave: it stays, and so the log is never empty.
            let count = oldest.len().saturating_sub(1);
            let old = oldest.into_iter().take(count).take_while(|(at, is_held, _)| *at < cutoff && !is_held);
            Ok(old.last().map(|(_, _, head)| head))
        })
        .await
    }
}

/// All checkpoints that a database file has.
pub fn checkpoints_of(path: &Path, is_still: bool) -> Result<Vec<Checkpoint>, StoreError> {
    let connection = open(path, is_still)?;
    if !has_checkpoints(&connection)? {
        return Ok(Vec::new());
    }
    Statements::new(&connection).all(AFTER, (0, i64::MAX), checkpoint)
}

/// Files of older programs have none.
pub(super) fn has_checkpoints(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.query_row(HAS_CHECKPOINTS, [], |row| row.get::<_, i64>(0))? > 0)
}

fn checkpoint(row: &Row<'_>) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint {
        number: row.get("number")?,
        kind: word(row, "kind", "a checkpoint's kind", CheckpointKind::parse)?,
        seq: row.get("seq")?,
        hash: row.get("hash")?,
        at: time(row, "at")?,
        token: row.get("token")?,
    })
}
