//! Prepared statements, kept beside the connection they belong to: preparing costs more than most statements do.
//!
//! A statement borrows its connection, so both live on the stack of the one thread that uses them.

use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::{Connection, Params, Row, Statement};

/// Searches come in many shapes; more than this many statements are not worth their memory.
const KEPT: usize = 256;

pub(super) struct Statements<'c> {
    connection: &'c Connection,
    kept: RefCell<HashMap<String, Statement<'c>>>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, kept: RefCell::default() }
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Runs a statement that returns no rows; how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, rusqlite::Error> {
        self.with(sql, |statement| statement.execute(params))
    }

    /// The first row, read by `read`.
    pub(super) fn first<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        self.with(sql, |statement| {
            let mut rows = statement.query(params)?;
            rows.next()?.map(read).transpose()
        })
    }

    /// Every row, read by `read`.
    pub(super) fn all<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        self.some(sql, params, |row| read(row).map(Some), usize::MAX)
    }

    /// The first `limit` rows of which `read` makes something.
    pub(super) fn some<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<Option<T>, E>,
        limit: usize,
    ) -> Result<Vec<T>, E> {
        self.with(sql, |statement| {
            let mut rows = statement.query(params)?;
            let mut all = Vec::new();
            while all.len() < limit
                && let Some(row) = rows.next()?
            {
                all.extend(read(row)?);
            }
            Ok(all)
        })
    }

    /// Takes the statement out while it is used, so that a statement within a statement finds its own.
    fn with<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        work: impl FnOnce(&mut Statement<'c>) -> Result<T, E>,
    ) -> Result<T, E> {
        let taken = self.kept.borrow_mut().remove_entry(sql);
        let (key, mut statement) = match taken {
            Some(kept) => kept,
            None => {
                #[cfg(test)]
                seen::remember(sql);
                (sql.to_owned(), self.connection.prepare(sql)?)
            }
        };
        let result = work(&mut statement);
        // A bound body would otherwise stay in memory until the statement is used again.
        statement.clear_bindings();
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, statement);
        result
    }
}

/// Every statement that was prepared by any test, for the test that looks at query plans.
#[cfg(test)]
pub(super) mod seen {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    pub(super) fn remember(sql: &str) {
        SEEN.lock().unwrap().insert(sql.to_owned());
    }

    pub(in crate::store) fn all() -> Vec<String> {
        SEEN.lock().unwrap().iter().cloned().collect()
    }
}
