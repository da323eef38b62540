//! Walks the audit log from its first row to its last and says what is wrong with it, row by row: changed, missing, put in,
//! not in its place, not found where it should be, or not what a checkpoint says.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use super::note::salted;
use super::seal::has_checkpoints;
use super::{CHAIN, FIRST_FORM, HEAD, Hash, Head, Link, found_by, hex, indexed_to};
use crate::domain::audit::Record;
use crate::store::backup::{BackupError, still};
use crate::store::read_queue::read_only;
use crate::store::statement::Statements;
use crate::store::{Store, StoreError};

const WALK: &str = "SELECT * FROM audit WHERE chain = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const PRUNED: &str = "SELECT max(seq) FROM audit_checkpoint INDEXED BY audit_checkpoint_prune WHERE kind = 'prune'";
const FOUND: &str = "SELECT 1 FROM audit_about WHERE about = ?1 AND at = ?2 AND seq = ?3";
/// A chain begins at 1, and there is one: whatever stands elsewhere is read by those who ask for rows, and by no walk.
const BESIDE: &str = "SELECT seq FROM audit WHERE chain = ?1 AND seq < 1 UNION ALL SELECT seq FROM audit WHERE chain < ?1 \
                      UNION ALL SELECT seq FROM audit WHERE chain > ?1 LIMIT ?2";

/// Rows checked in one read: a snapshot held for the whole log would keep SQLite from emptying its write-ahead log.
const STEP: u32 = 1000;
/// Faults told one by one; more are counted.
const MOST_FAULTS: usize = 100;
/// What the log says of a thing goes with the thing, five years after it was written at the earliest: two leap days in them.
const PAYLOAD_KEPT_DAYS: i64 = 1827;

/// Where the chain stood by somebody else's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub seq: i64,
    pub hash: [u8; 32],
}

/// What is wrong, and at which row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("rows {from} to {to} are missing")]
    Missing { from: i64, to: i64 },
    #[error("row {seq} was changed")]
    Changed { seq: i64 },
    #[error("the payload of row {seq} was changed")]
    Payload { seq: i64 },
    #[error("the payload of row {seq} was taken away, and it is not five years old")]
    Emptied { seq: i64 },
    #[error("row {seq} stands outside the chain: it was put in")]
    Beside { seq: i64 },
    #[error("row {seq} does not follow the row before it: one of them was put in, exchanged or changed")]
    Unlinked { seq: i64 },
    #[error("row {seq} is not found under {name}, whom it is about")]
    Unfound { seq: i64, name: String },
    #[error("row {seq} is not the one that a checkpoint was made of: everything up to it may have been written anew")]
    Contradicted { seq: i64 },
    #[error("the log ends at row {head}, and a checkpoint was made of row {seq}: what stood after {head} was cut off")]
    CutOff { head: i64, seq: i64 },
    #[error("row {seq} cannot be read")]
    Unreadable { seq: i64 },
}

/// What a walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    pub rows: u64,
    /// The first row that is kept; 0 where there is none.
    pub first: i64,
    pub head: i64,
    /// Hexadecimal.
    pub head_hash: String,
    /// The last row that may have been removed for its age, by the database's own word.
    pub pruned_to: i64,
    /// Rows of which only the hash of what they said is kept.
    pub emptied: u64,
    pub faults: Vec<Fault>,
    /// All of them, told or not.
    pub fault_count: u64,
}

impl Walked {
    fn found(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// The walk under way.
#[derive(Default)]
struct Walk {
    marks: BTreeMap<i64, Vec<Hash>>,
    before: Head,
    /// Rows after this need not be in the index yet.
    indexed_to: i64,
    /// Rows from this time on have their payload, in milliseconds; none: whenever they were written.
    whole_from: Option<i64>,
    so_far: Walked,
}

impl Store {
    /// Walks the audit log from its first row to its last. How many rows it has; `Corrupt` where anything is wrong.
    pub async fn verify_audit(&self) -> Result<u64, StoreError> {
        let mut walk = Walk::default();
        loop {
            let step = move |db: &Statements<'_>| walk.step(db).map(|count| (walk, count));
            let (walked, count) = self.read(step).await?;
            if count == 0 {
                return sound(&walked.so_far);
            }
            walk = walked;
        }
    }
}

fn sound(walked: &Walked) -> Result<u64, StoreError> {
    match walked.faults.first() {
        None => Ok(walked.rows),
        Some(Fault::Payload { .. }) => Err(StoreError::Corrupt("the audit log: a payload was changed")),
        Some(Fault::Changed { .. }) => Err(StoreError::Corrupt("the audit log: a row was changed")),
        Some(_) => Err(StoreError::Corrupt("the audit log: a row is missing or was changed")),
    }
}

/// Walks the audit log of a database that nobody writes to. How many rows it has.
pub(in crate::store) fn walk(db: &Statements<'_>) -> Result<u64, StoreError> {
    sound(&walk_with(db, Walk::default())?)
}

fn walk_with(db: &Statements<'_>, mut walk: Walk) -> Result<Walked, StoreError> {
    while walk.step(db)? > 0 {}
    let Walk { marks, so_far: mut walked, .. } = walk;
    for (seq, _) in marks.range(walked.head.saturating_add(1)..) {
        walked.found(Fault::CutOff { head: walked.head, seq: *seq });
    }
    for seq in db.all(BESIDE, (CHAIN, STEP), |row| Ok::<_, StoreError>(row.get(0)?))? {
        walked.found(Fault::Beside { seq });
    }
    Ok(walked)
}

/// Walks the log in a file and holds it against the marks. Beside a gateway that serves, nothing is written and nobody waits;
/// `is_still` says that nobody writes to the file.
pub fn walk_file(path: &Path, marks: &[Mark], is_still: bool, now: DateTime<Utc>) -> Result<Walked, StoreError> {
    let connection = open(path, is_still)?;
    let mut by_seq: BTreeMap<i64, Vec<Hash>> = BTreeMap::new();
    for mark in marks {
        by_seq.entry(mark.seq).or_default().push(mark.hash);
    }
    let whole_from = Some((now - TimeDelta::days(PAYLOAD_KEPT_DAYS)).timestamp_millis());
    walk_with(&Statements::new(&connection), Walk { marks: by_seq, whole_from, ..Walk::default() })
}

/// Gives every row of the log in a file to `take`, in the order of the chain, until it has had enough.
pub fn rows_in_order(path: &Path, is_still: bool, mut take: impl FnMut(Record) -> bool) -> Result<(), StoreError> {
    let connection = open(path, is_still)?;
    let db = Statements::new(&connection);
    let mut after = 0;
    loop {
        let rows = super::read::in_order(&db, after, STEP)?;
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(()) };
        after = last;
        for row in rows {
            if !take(row) {
                return Ok(());
            }
        }
    }
}

/// A file to look at: beside a gateway, or one that nobody writes to.
pub(super) fn open(path: &Path, is_still: bool) -> Result<Connection, StoreError> {
    if !is_still {
        return read_only(path);
    }
    still(path).map_err(|error| match error {
        BackupError::Store(error) => error,
        BackupError::File { source, .. } => StoreError::File(source),
        _ => StoreError::Corrupt("the file"),
    })
}

/// A column that files of older programs do not have.
fn later<T: FromSql>(row: &Row<'_>, column: &str, before: T) -> Result<T, StoreError> {
    match row.get(column) {
        Err(rusqlite::Error::InvalidColumnName(_)) => Ok(before),
        found => Ok(found?),
    }
}

impl Walk {
    /// Checks the next rows; how many there were.
    fn step(&mut self, db: &Statements<'_>) -> Result<usize, StoreError> {
        if self.so_far.rows == 0 && has_checkpoints(db.connection())? {
            let pruned = db.first(PRUNED, [], |row| row.get::<_, Option<i64>>(0))?.flatten();
            self.so_far.pruned_to = pruned.unwrap_or(0);
            let head = db.first(HEAD, [CHAIN], |row| row.get::<_, i64>(0))?.unwrap_or(0);
            self.indexed_to = indexed_to(head);
        }
        let rows = db.all(WALK, (CHAIN, self.before.seq, STEP), |row| {
            let seq: i64 = row.get("seq")?;
            if self.follow(db, row).is_err() {
                self.so_far.found(Fault::Unreadable { seq });
                self.before = Head { seq, hash: row.get("hash").unwrap_or_default() };
                self.so_far.rows += 1;
            }
            Ok::<_, StoreError>(())
        })?;
        self.so_far.head = self.before.seq;
        self.so_far.head_hash = hex(&self.before.hash);
        Ok(rows.len())
    }

    /// Checks one row against the one before it, and goes on from what it says.
    fn follow(&mut self, db: &Statements<'_>, row: &Row<'_>) -> Result<(), StoreError> {
        let before = self.before;
        let (seq, at): (i64, i64) = (row.get("seq")?, row.get("at")?);
        let (previous, hash): (Hash, Hash) = (row.get("prev_hash")?, row.get("hash")?);
        let payload_hash: Hash = row.get("payload_hash")?;
        let (payload, salt): (Option<String>, Option<Vec<u8>>) = (row.get("payload")?, row.get("salt")?);
        let (actor, action): (String, String) = (row.get("actor")?, row.get("action")?);
        let (object, about): (String, String) = (row.get("object")?, later(row, "about", String::new())?);
        let (form, outcome): (i64, i64) = (later(row, "form", FIRST_FORM)?, later(row, "outcome", 0)?);
        let mut found = Vec::new();
        // The oldest rows may have left for their age; the checkpoint that let them go vouches for what follows.
        let is_first = self.so_far.rows == 0;
        let is_after_pruned = is_first && seq > 1 && seq - 1 <= self.so_far.pruned_to;
        if seq != before.seq + 1 && !is_after_pruned {
            found.push(Fault::Missing { from: before.seq + 1, to: seq - 1 });
        } else if previous != before.hash && !is_after_pruned {
            found.push(Fault::Unlinked { seq });
        }
        match (payload, salt) {
            (Some(payload), Some(salt)) if salted(&salt, &payload) == payload_hash => {}
            (None, None) => {
                self.so_far.emptied += 1;
                let is_young = self.whole_from.is_some_and(|from| at > from);
                found.extend(is_young.then_some(Fault::Emptied { seq }));
            }
            // Without its salt nobody can tell whether it is what was said.
            _ => found.push(Fault::Payload { seq }),
        }
        let link = Link {
            form,
            seq,
            at,
            outcome,
            actor: &actor,
            action: &action,
            object: &object,
            about: &about,
            payload_hash,
        };
        if link.hash(&previous) != hash {
            found.push(Fault::Changed { seq });
        }
        for name in found_by(&actor, &about).filter(|_| form != FIRST_FORM && seq <= self.indexed_to) {
            if db.first(FOUND, (&name, at, seq), |_| Ok::<_, StoreError>(()))?.is_none() {
                found.push(Fault::Unfound { seq, name });
            }
        }
        if is_after_pruned && let Some(marks) = self.marks.get(&(seq - 1)) {
            let contradicted = marks.iter().any(|mark| *mark != previous);
            found.extend(contradicted.then_some(Fault::Contradicted { seq: seq - 1 }));
        }
        if let Some(marks) = self.marks.get(&seq) {
            let contradicted = marks.iter().any(|mark| *mark != hash);
            found.extend(contradicted.then_some(Fault::Contradicted { seq }));
        }
        if is_first {
            self.so_far.first = seq;
        }
        self.so_far.rows += 1;
        self.before = Head { seq, hash };
        for fault in found {
            self.so_far.found(fault);
        }
        Ok(())
    }
}
