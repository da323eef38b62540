//! The audit log: a chain of hashes. Each row's hash covers the row before it and the salted hash of its payload, so that a
//! payload can be erased and everything else still shows when it is changed.
//!
//! What is cut off at the very end leaves no trace here: whoever must prove that nothing was keeps the last hash elsewhere.

use rusqlite::{Connection, OptionalExtension, Row};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::record::Audit;
use super::statement::Statements;
use super::{Store, StoreError};

/// There is one chain; the column leaves room for one per care provider.
const CHAIN: i64 = 1;

const HEAD: &str = "SELECT seq, hash FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1";
const INSERT: &str = "INSERT INTO audit (chain, seq, at, actor, action, object, payload, salt, payload_hash, prev_hash, hash) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const WALK: &str = "SELECT * FROM audit WHERE chain = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

/// Rows checked in one read: a snapshot held for the whole log would keep SQLite from emptying its write-ahead log.
const STEP: u32 = 1000;

type Hash = [u8; 32];

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    seq: i64,
    hash: Hash,
}

impl Head {
    pub(super) fn seq(self) -> i64 {
        self.seq
    }

    pub(super) fn hex(self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn load(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let head = |row: &Row<'_>| Ok(Self { seq: row.get(0)?, hash: row.get(1)? });
        connection.query_row(HEAD, [CHAIN], head).optional().map(Option::unwrap_or_default)
    }
}

/// What a row's hash covers, beside its payload.
struct Link<'r> {
    seq: i64,
    at: i64,
    actor: &'r str,
    action: &'r str,
    object: &'r str,
    payload_hash: Hash,
}

impl Link<'_> {
    /// Every text is preceded by its length, so that no two rows read alike.
    fn hash(&self, previous: &Hash) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        for number in [CHAIN, self.seq, self.at] {
            hasher.update(number.to_be_bytes());
        }
        for text in [self.actor, self.action, self.object] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        hasher.update(self.payload_hash);
        hasher.finalize().into()
    }
}

fn salted(salt: &[u8], payload: &str) -> Hash {
    Sha256::new().chain_update(salt).chain_update(payload).finalize().into()
}

impl Writing<'_, '_> {
    pub(super) fn append_audit(&mut self, audit: &Audit) -> Result<(), Refusal> {
        let head = self.state.head();
        let (seq, at) = (head.seq + 1, audit.at.timestamp_millis());
        // 122 random bits: what was erased cannot be found again by trying.
        let salt = *Uuid::new_v4().as_bytes();
        let payload_hash = salted(&salt, &audit.payload);
        let link = Link { seq, at, actor: &audit.actor, action: &audit.action, object: &audit.object, payload_hash };
        let hash = link.hash(&head.hash);
        let (actor, action, object, payload) = (&audit.actor, &audit.action, &audit.object, &audit.payload);
        let row = (CHAIN, seq, at, actor, action, object, payload, salt, payload_hash, head.hash, hash);
        self.statements.run(INSERT, row)?;
        self.state.set_head(Head { seq, hash });
        Ok(())
    }
}

impl Store {
    /// Walks the audit log from its first row to its last. How many rows it has; `Corrupt` where the chain breaks.
    pub async fn verify_audit(&self) -> Result<u64, StoreError> {
        let mut head = Head::default();
        let mut rows = 0;
        loop {
            let from = head;
            let (to, count) = self.read(move |db| step(db, from)).await?;
            if count == 0 {
                return Ok(rows);
            }
            rows += count as u64;
            head = to;
        }
    }
}

/// Walks the audit log of a database that nobody writes to.
pub(super) fn walk(db: &Statements<'_>) -> Result<u64, StoreError> {
    let (mut head, mut rows) = (Head::default(), 0);
    loop {
        let (to, count) = step(db, head)?;
        if count == 0 {
            return Ok(rows);
        }
        rows += count as u64;
        head = to;
    }
}

fn step(db: &Statements<'_>, from: Head) -> Result<(Head, usize), StoreError> {
    let mut head = from;
    let steps = db.all(WALK, (CHAIN, from.seq, STEP), |row| {
        head = follow(head, row)?;
        Ok::<_, StoreError>(())
    })?;
    Ok((head, steps.len()))
}

/// Checks one row against the one before it.
fn follow(before: Head, row: &Row<'_>) -> Result<Head, StoreError> {
    let seq: i64 = row.get("seq")?;
    let previous: Hash = row.get("prev_hash")?;
    if seq != before.seq + 1 || previous != before.hash {
        return Err(StoreError::Corrupt("the audit log: a row is missing or was changed"));
    }
    let payload_hash: Hash = row.get("payload_hash")?;
    let (payload, salt): (Option<String>, Option<Vec<u8>>) = (row.get("payload")?, row.get("salt")?);
    let kept = payload.zip(salt);
    if kept.is_some_and(|(payload, salt)| salted(&salt, &payload) != payload_hash) {
        return Err(StoreError::Corrupt("the audit log: a payload was changed"));
    }
    let (actor, action): (String, String) = (row.get("actor")?, row.get("action")?);
    let object: String = row.get("object")?;
    let link = Link { seq, at: row.get("at")?, actor: &actor, action: &action, object: &object, payload_hash };
    let hash: Hash = row.get("hash")?;
    if link.hash(&before.hash) != hash {
        return Err(StoreError::Corrupt("the audit log: a row was changed"));
    }
    Ok(Head { seq, hash })
}
