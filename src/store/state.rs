//! What the writer remembers between commits: the last `seq`, the head of the audit chain, and the integers that stand for
//! names. Whatever is rolled back in the database is rolled back here too.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use super::audit::Head;
use super::statement::Statements;
use crate::domain::clock::Clocks;

/// Systems come from documents, so their number has no bound; more than this are looked up again.
const REMEMBERED: usize = 10_000;
/// Between two marks that nobody asked for, in milliseconds.
const MARK_EVERY_MS: i64 = 60_000;

/// The last number that was given to anything.
pub(super) const LAST_SEQ: &str = "SELECT max((SELECT coalesce(max(seq), 0) FROM version), \
     (SELECT coalesce(max(seq), 0) FROM delivery), (SELECT coalesce(max(seq), 0) FROM sight), \
     (SELECT coalesce(max(seq), 0) FROM seq_given), \
     (SELECT coalesce(max(seq), 0) FROM opt_out), (SELECT coalesce(max(lifted_seq), 0) FROM opt_out WHERE lifted_seq IS NOT NULL), \
     (SELECT coalesce(max(seq), 0) FROM information))";
const LAST_MARK: &str = "SELECT at, seq FROM mark ORDER BY at DESC LIMIT 1";

pub(super) struct State {
    now: Mark,
    params: HashMap<String, HashMap<&'static str, Param>>,
    facets: HashMap<[u8; 32], i64>,
    systems: HashMap<String, i64>,
    clocks: Option<Arc<Clocks>>,
}

/// A search parameter as the database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Param {
    pub(super) id: i64,
    /// Its values are kept in facets.
    pub(super) coded: bool,
}

/// A point to return to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    seq: i64,
    pub(super) head: Head,
    /// How many names have been given integers since the start.
    learned: u64,
    /// The last mark: its time, and what had been committed then.
    marked: (i64, i64),
}

impl State {
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreError> {
        let seq = connection.query_row(LAST_SEQ, [], |row| row.get(0)).map_err(StoreError::Open)?;
        let marked = connection.query_row(LAST_MARK, [], |row| Ok((row.get(0)?, row.get(1)?))).optional();
        let marked = marked.map_err(StoreError::Open)?.unwrap_or_default();
        let head = Head::load(connection).map_err(StoreError::Open)?;
        Ok(Self {
            now: Mark { seq, head, learned: 0, marked },
            params: HashMap::new(),
            facets: HashMap::new(),
            systems: HashMap::new(),
            clocks: None,
        })
    }

    /// By which rules waits are reckoned.
    pub(super) fn with_clocks(self, clocks: Option<Arc<Clocks>>) -> Self {
        Self { clocks, ..self }
    }

    /// Without rules nothing is ever due.
    pub(super) fn clocks(&self) -> Arc<Clocks> {
        self.clocks.clone().unwrap_or_default()
    }

    /// The mark of the rules; none where there are none.
    pub(super) fn clock_mark(&self) -> Option<String> {
        self.clocks.as_ref().map(|clocks| clocks.mark.clone())
    }

    /// The last `seq` given.
    pub(super) fn seq(&self) -> i64 {
        self.now.seq
    }

    /// A mark for now. Its time is after every mark before, although the clock may have been set back.
    pub(super) fn mark_at(&mut self, now_ms: i64) -> (i64, i64) {
        self.now.marked = (now_ms.max(self.now.marked.0 + 1), self.now.seq);
        self.now.marked
    }

    /// Whether something was committed since the last mark, and that was a while ago.
    pub(super) fn is_mark_due(&self, now_ms: i64) -> bool {
        let (at, seq) = self.now.marked;
        at == 0 || (seq < self.now.seq && now_ms - at >= MARK_EVERY_MS)
    }

    pub(super) fn next_seq(&mut self) -> i64 {
        self.now.seq += 1;
        self.now.seq
    }

    pub(super) fn head(&self) -> Head {
        self.now.head
    }

    pub(super) fn set_head(&mut self, head: Head) {
        self.now.head = head;
    }

    pub(super) fn mark(&self) -> Mark {
        self.now
    }

    pub(super) fn return_to(&mut self, mark: Mark) {
        if self.now.learned != mark.learned {
            // The rows that named them are gone.
            self.params.clear();
            self.facets.clear();
            self.systems.clear();
        }
        self.now = mark;
    }

    /// A search parameter, made now if it is not there.
    pub(super) fn param(
        &mut self,
        statements: &Statements<'_>,
        resource_type: &str,
        name: &'static str,
    ) -> Result<Param, rusqlite::Error> {
        if let Some(param) = self.params.get(resource_type).and_then(|names| names.get(name)) {
            return Ok(*param);
        }
        let found = statements.first(
            "SELECT id, coded FROM param WHERE type = ?1 AND name = ?2",
            (resource_type, name),
            |row| Ok::<_, rusqlite::Error>(Param { id: row.get(0)?, coded: row.get(1)? }),
        )?;
        let param = match found {
            Some(param) => param,
            None => {
                statements.run("INSERT INTO param (type, name) VALUES (?1, ?2)", (resource_type, name))?;
                Param { id: statements.connection().last_insert_rowid(), coded: false }
            }
        };
        self.now.learned += 1;
        self.params.entry(resource_type.to_owned()).or_default().insert(name, param);
        Ok(param)
    }

    /// The integer of a combination of coded values, given now if it has none: then the answer says that its values are to be
    /// written.
    pub(super) fn facet(
        &mut self,
        statements: &Statements<'_>,
        hash: [u8; 32],
    ) -> Result<(i64, bool), rusqlite::Error> {
        if let Some(id) = self.facets.get(&hash) {
            return Ok((*id, false));
        }
        let found = statements.first("SELECT id FROM facet WHERE hash = ?1", [hash], |row| row.get(0))?;
        let is_new = found.is_none();
        let id = match found {
            Some(id) => id,
            None => {
                statements.run("INSERT INTO facet (hash) VALUES (?1)", [hash])?;
                statements.connection().last_insert_rowid()
            }
        };
        self.now.learned += 1;
        if self.facets.len() >= REMEMBERED {
            self.facets.clear();
        }
        self.facets.insert(hash, id);
        Ok((id, is_new))
    }

    /// The integer of a code system or identifier system, given now if it has none.
    pub(super) fn system(&mut self, statements: &Statements<'_>, uri: &str) -> Result<i64, rusqlite::Error> {
        if let Some(id) = self.systems.get(uri) {
            return Ok(*id);
        }
        let found = statements.first("SELECT id FROM system WHERE uri = ?1", [uri], |row| row.get(0))?;
        let id = match found {
            Some(id) => id,
            None => {
                statements.run("INSERT INTO system (uri) VALUES (?1)", [uri])?;
                statements.connection().last_insert_rowid()
            }
        };
        self.now.learned += 1;
        if self.systems.len() >= REMEMBERED {
            self.systems.clear();
        }
        self.systems.insert(uri.to_owned(), id);
        Ok(id)
    }
}
