//! What the writer remembers between commits: the last `seq`, the head of the audit chain, and the integers that stand for
//! names. Whatever is rolled back in the database is rolled back here too.

use std::collections::HashMap;

use rusqlite::Connection;

use super::StoreError;
use super::audit::Head;
use super::statement::Statements;

/// Systems come from documents, so their number has no bound; more than this are looked up again.
const REMEMBERED: usize = 10_000;

pub(super) struct State {
    now: Mark,
    params: HashMap<String, HashMap<&'static str, i64>>,
    systems: HashMap<String, i64>,
}

/// A point to return to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    seq: i64,
    pub(super) head: Head,
    /// How many names have been given integers since the start.
    learned: u64,
}

impl State {
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreError> {
        let last =
            "SELECT max((SELECT coalesce(max(seq), 0) FROM version), (SELECT coalesce(max(seq), 0) FROM delivery))";
        let seq = connection.query_row(last, [], |row| row.get(0)).map_err(StoreError::Open)?;
        let head = Head::load(connection).map_err(StoreError::Open)?;
        Ok(Self { now: Mark { seq, head, learned: 0 }, params: HashMap::new(), systems: HashMap::new() })
    }

    /// The last `seq` given.
    pub(super) fn seq(&self) -> i64 {
        self.now.seq
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
            self.systems.clear();
        }
        self.now = mark;
    }

    /// The integer of a search parameter, given now if it has none.
    pub(super) fn param(
        &mut self,
        statements: &Statements<'_>,
        resource_type: &str,
        name: &'static str,
    ) -> Result<i64, rusqlite::Error> {
        if let Some(id) = self.params.get(resource_type).and_then(|names| names.get(name)) {
            return Ok(*id);
        }
        let found =
            statements
                .first("SELECT id FROM param WHERE type = ?1 AND name = ?2", (resource_type, name), |row| row.get(0))?;
        let id = match found {
            Some(id) => id,
            None => {
                statements.run("INSERT INTO param (type, name) VALUES (?1, ?2)", (resource_type, name))?;
                statements.connection().last_insert_rowid()
            }
        };
        self.now.learned += 1;
        self.params.entry(resource_type.to_owned()).or_default().insert(name, id);
        Ok(id)
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
