//! The audit log: a chain of hashes. Each row's hash covers the row before it and the salted hash of its payload, so that a
//! payload can be erased and everything else still shows when it is changed.
//!
//! `note` reads off a row, in the thread of whoever says it, what it is found by; `walk` finds what was changed; `read` is
//! for those who may look; `seal` keeps the signed checkpoints that show what was cut off at the end, and lets the oldest
//! rows go behind one.

mod note;
mod read;
mod seal;
mod walk;

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::StoreError;
use super::apply::{Refusal, Writing};
use super::record::Audit;

pub(super) use note::{Noted, note};
pub use read::AuditQuery;
pub use seal::{ChainHead, Checkpoint, CheckpointKind, Prune, checkpoints_of};
pub(super) use walk::walk;
pub use walk::{Fault, Mark, Walked, rows_in_order, walk_file};

/// There is one chain; the column leaves room for one per care provider.
const CHAIN: i64 = 1;

const HEAD: &str = "SELECT seq, hash FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1";
const INSERT: &str = "INSERT INTO audit (chain, seq, at, actor, action, object, payload, salt, payload_hash, prev_hash, hash, form, \
                      outcome, about) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const INSERT_ABOUT: &str = "INSERT INTO audit_about (about, at, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const OF_RESOURCE: &str =
    "SELECT CASE type WHEN 'Patient' THEN id ELSE patient END FROM resource WHERE type = ?1 AND id = ?2";
const OF_EXCHANGE: &str = "SELECT patient FROM exchange WHERE id = ?1";
const OF_DELIVERY: &str = "SELECT e.patient FROM delivery d CROSS JOIN exchange e ON e.id = d.exchange WHERE d.id = ?1";

const BLOCK_ROWS: &str = "SELECT seq, at, actor, about FROM audit WHERE chain = ?1 AND seq > ?2 AND seq <= ?3";

pub(super) type Hash = [u8; 32];

/// Rows are indexed so many at a time; those of a block that is not full are looked through.
const BLOCK: i64 = 1024;

/// Rows of before the log said whom it is about.
const FIRST_FORM: i64 = 1;
/// Rows whose hash also covers outcome and `about`.
const FORM: i64 = 2;

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
        hex(&self.hash)
    }

    pub(super) fn load(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let head = |row: &Row<'_>| Ok(Self { seq: row.get(0)?, hash: row.get(1)? });
        connection.query_row(HEAD, [CHAIN], head).optional().map(Option::unwrap_or_default)
    }
}

pub(super) fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a row's hash covers, beside its payload.
struct Link<'r> {
    form: i64,
    seq: i64,
    at: i64,
    outcome: i64,
    actor: &'r str,
    action: &'r str,
    object: &'r str,
    about: &'r str,
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
            said(&mut hasher, text);
        }
        hasher.update(self.payload_hash);
        if self.form != FIRST_FORM {
            hasher.update(self.form.to_be_bytes());
            hasher.update(self.outcome.to_be_bytes());
            said(&mut hasher, self.about);
        }
        hasher.finalize().into()
    }
}

fn said(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text);
}

/// The last row of the last full block: rows up to there are indexed.
fn indexed_to(head: i64) -> i64 {
    head - head % BLOCK
}

/// What a row is found by, a line each: `Patient/…` and `agent/…`, the actor first.
fn found_by<'r>(actor: &'r str, about: &'r str) -> impl Iterator<Item = String> + 'r {
    std::iter::once(agent(actor)).chain(about.lines().map(str::to_owned))
}

/// How somebody who took part is written.
fn agent(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("agent/{name}")
}

impl Writing<'_, '_> {
    pub(super) fn append_audit(&mut self, audit: &Audit, noted: &Noted) -> Result<(), Refusal> {
        let head = self.state.head();
        let (seq, at) = (head.seq + 1, audit.at.timestamp_millis());
        let about = self.about(audit, noted)?;
        let (payload_hash, outcome) = (noted.payload_hash, i64::from(noted.outcome));
        let (actor, action, object) = (&audit.actor, &audit.action, &audit.object);
        let link = Link { form: FORM, seq, at, outcome, actor, action, object, about: &about, payload_hash };
        let hash = link.hash(&head.hash);
        let payload = (&audit.payload, noted.salt, payload_hash);
        let row = rusqlite::params![
            CHAIN, seq, at, actor, action, object, payload.0, payload.1, payload.2, head.hash, hash, FORM, outcome,
            about
        ];
        self.statements.run(INSERT, row)?;
        if seq % BLOCK == 0 {
            self.index_block(seq)?;
        }
        self.state.set_head(Head { seq, hash });
        Ok(())
    }

    /// What the rows of the block that ends here are found by, all at once and in the order of the index: a row by row would
    /// write a page for every patient that is read.
    fn index_block(&mut self, end: i64) -> Result<(), StoreError> {
        let mut found = Vec::new();
        self.statements.all(BLOCK_ROWS, (CHAIN, end - BLOCK, end), |row| {
            let (seq, at): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (actor, about): (String, String) = (row.get(2)?, row.get(3)?);
            found.extend(found_by(&actor, &about).map(|name| (name, at, seq)));
            Ok::<_, StoreError>(())
        })?;
        found.sort_unstable();
        for key in found {
            self.statements.run(INSERT_ABOUT, key)?;
        }
        Ok(())
    }

    /// Whom a row is about and who took part, as its column has it.
    fn about(&self, audit: &Audit, noted: &Noted) -> Result<String, StoreError> {
        let mut names: BTreeSet<String> = noted.agents.iter().map(|name| agent(name)).collect();
        names.remove(&agent(&audit.actor));
        let patients = match &noted.patients {
            Some(patients) => patients.clone(),
            None => self.patients(audit, noted)?,
        };
        names.extend(patients.iter().filter(|id| !id.is_empty()).map(|id| format!("Patient/{id}")));
        Ok(names.into_iter().collect::<Vec<_>>().join("\n"))
    }

    /// Whose the resources, the exchange or the delivery are that the row names.
    fn patients(&self, audit: &Audit, noted: &Noted) -> Result<Vec<String>, StoreError> {
        let one = |sql: &str, key: &dyn rusqlite::ToSql| -> Result<Option<String>, StoreError> {
            Ok(self.statements.first(sql, [key], |row| row.get::<_, Option<String>>(0))?.flatten())
        };
        let mut found = BTreeSet::new();
        let exchange = audit.object.strip_prefix("exchange/").and_then(|rest| rest.split('/').next());
        for id in exchange.into_iter().chain(noted.exchange.as_deref()).filter_map(|id| Uuid::parse_str(id).ok()) {
            found.extend(one(OF_EXCHANGE, &id.as_bytes().as_slice())?);
        }
        let delivery = audit.object.strip_prefix("delivery/").and_then(|id| Uuid::parse_str(id).ok());
        if let Some(id) = delivery {
            found.extend(one(OF_DELIVERY, &id.as_bytes().as_slice())?);
        }
        let resources = noted.shown.iter().map(String::as_str).chain([audit.object.as_str()]);
        for (resource_type, rest) in resources.filter_map(|name| name.split_once('/')) {
            if !resource_type.starts_with(|c: char| c.is_ascii_uppercase()) {
                continue;
            }
            let id = rest.split('/').next().unwrap_or_default();
            let patient =
                self.statements.first(OF_RESOURCE, (resource_type, id), |row| row.get::<_, Option<String>>(0))?;
            found.extend(patient.flatten());
        }
        Ok(found.into_iter().collect())
    }
}
