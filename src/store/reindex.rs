//! Makes what resources are found by anew when the parameters have changed: in small commits, while the store serves.
//!
//! At open the parameters of the program are held against those the database was written with. A type with any that is new
//! or different is noted in `reindex`, and those parameters cannot be asked until its last resource is done; where it had
//! come so far is in the same commit as the work, so a killed process goes on where it was. The values of a resource go and
//! come in one commit: a parameter that did not change answers rightly all the time.

use rusqlite::Connection;

use super::StoreError;
use super::apply::Writing;
use super::state::State;
use super::statement::Statements;
use crate::fhir::search::{self, Place};

/// Resources of one commit: about ten milliseconds of the writer.
const BATCH: u32 = 64;

const KNOWN: &str = "SELECT definition FROM param WHERE type = ?1 AND name = ?2";
const HAS_SOME: &str = "SELECT EXISTS (SELECT 1 FROM resource WHERE type = ?1)";
const DEFINE: &str = "INSERT INTO param (type, name, definition, coded, ready) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (type, name) DO UPDATE SET definition = excluded.definition, coded = excluded.coded, ready = excluded.ready";
const BEGIN: &str = "INSERT INTO reindex (type, done) VALUES (?1, 0) ON CONFLICT (type) DO UPDATE SET done = 0";
pub(super) const DEFINED: &str = "SELECT type, name FROM param WHERE definition <> ''";
/// Found again later, it must not be taken for what it was.
const RETIRE: &str = "UPDATE param SET definition = '' WHERE type = ?1 AND name = ?2";

const FIRST: &str = "SELECT type, done FROM reindex WHERE type > '' ORDER BY type LIMIT 1";
const NEXT: &str = "SELECT r.rid, v.body FROM resource r INDEXED BY resource_of_type CROSS JOIN version v ON v.seq = r.seq \
     WHERE r.type = ?1 AND r.rid > ?2 ORDER BY r.rid LIMIT ?3";
const GO_ON: &str = "UPDATE reindex SET done = ?2 WHERE type = ?1";
const READY: &str = "UPDATE param SET ready = 1 WHERE type = ?1";
const END: &str = "DELETE FROM reindex WHERE type = ?1";

/// Holds the program's parameters against the database's.
pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    let db = Statements::new(connection);
    let prepared = db.run("BEGIN IMMEDIATE", []).and_then(|_| compare(&db)).and_then(|()| db.run("COMMIT", []));
    if let Err(error) = prepared {
        // The step's own error is the one to tell.
        let _ = db.run("ROLLBACK", []);
        return Err(StoreError::Open(error));
    }
    Ok(())
}

fn compare(db: &Statements<'_>) -> Result<(), rusqlite::Error> {
    let word = |row: &rusqlite::Row<'_>, at: usize| row.get::<_, String>(at);
    for param in search::all().filter(|p| p.kept_as == p.name) {
        let definition = search::fingerprint(param);
        if db.first(KNOWN, (param.resource_type, param.name), |row| word(row, 0))?.as_ref() == Some(&definition) {
            continue;
        }
        let some = db.first(HAS_SOME, [param.resource_type], |row| row.get(0))?.unwrap_or(true);
        let coded = param.place == Place::Facet;
        db.run(DEFINE, (param.resource_type, param.name, definition, coded, !some))?;
        if some {
            db.run(BEGIN, [param.resource_type])?;
        }
    }
    for (resource_type, name) in db.all(DEFINED, [], |row| Ok::<_, rusqlite::Error>((word(row, 0)?, word(row, 1)?)))? {
        if search::param(&resource_type, &name).is_none_or(|p| p.kept_as != p.name) {
            db.run(RETIRE, (resource_type, name))?;
        }
    }
    Ok(())
}

/// Whether there is anything to do.
pub(super) fn is_due(connection: &Connection) -> Result<bool, StoreError> {
    let due = connection.query_row("SELECT EXISTS (SELECT 1 FROM reindex)", [], |row| row.get(0));
    due.map_err(StoreError::Open)
}

/// One commit of it; false when all is done.
pub(super) fn go_on(db: &Statements<'_>, state: &mut State) -> Result<bool, StoreError> {
    let Some((resource_type, done)) =
        db.first(FIRST, [], |row| Ok::<(String, i64), StoreError>((row.get(0)?, row.get(1)?)))?
    else {
        return Ok(false);
    };
    in_one_commit(db, state, |state| batch(db, state, &resource_type, done))?;
    Ok(true)
}

/// All of the work or none of it.
pub(super) fn in_one_commit(
    db: &Statements<'_>,
    state: &mut State,
    work: impl FnOnce(&mut State) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    db.run("BEGIN IMMEDIATE", [])?;
    let before = state.mark();
    let worked = work(state).and_then(|()| Ok(db.run("COMMIT", []).map(drop)?));
    if worked.is_err() {
        state.return_to(before);
        if !db.connection().is_autocommit() {
            let _ = db.run("ROLLBACK", []);
        }
    }
    worked
}

fn batch(db: &Statements<'_>, state: &mut State, resource_type: &str, done: i64) -> Result<(), StoreError> {
    let rows: Vec<(i64, Vec<u8>)> =
        db.all(NEXT, (resource_type, done, BATCH), |row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?)))?;
    let mut writing = Writing::new(db, state);
    for (rid, body) in &rows {
        let resource = serde_json::from_slice(body).map_err(|_| StoreError::Corrupt("a resource"))?;
        writing.forget_index(*rid)?;
        writing.put_index(*rid, resource_type, &search::index(&resource))?;
    }
    match rows.last() {
        Some((last, _)) if rows.len() == BATCH as usize => db.run(GO_ON, (resource_type, last))?,
        _ => {
            db.run(READY, [resource_type])?;
            db.run(END, [resource_type])?
        }
    };
    Ok(())
}
