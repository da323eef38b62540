//! Makes the facts of statistics for resources that were stored before this program knew of them, or by another edition of it:
//! in small commits, while the store serves. Until that is done statistics are refused rather than answered in part.

use rusqlite::Connection;

use super::StoreError;
use super::apply::{Refusal, Writing};
use super::reindex::in_one_commit;
use super::state::State;
use super::statement::Statements;
use crate::fhir::act;

/// Resources of one commit: about ten milliseconds of the writer.
const BATCH: u32 = 128;

const KNOWN: &str = "SELECT edition FROM fact_edition WHERE id = 1";
const KNOW: &str = "UPDATE fact_edition SET edition = ?1 WHERE id = 1";
const HAS_SOME: &str = "SELECT EXISTS (SELECT 1 FROM resource WHERE type = ?1)";
const BEGIN: &str = "INSERT INTO fact_fill (type, done) VALUES (?1, 0) ON CONFLICT (type) DO UPDATE SET done = 0";
const FIRST: &str = "SELECT type, done FROM fact_fill WHERE type > '' ORDER BY type LIMIT 1";
const NEXT: &str = "SELECT r.rid, r.id, v.body FROM resource r INDEXED BY resource_of_type CROSS JOIN version v ON v.seq = r.seq \
     WHERE r.type = ?1 AND r.rid > ?2 ORDER BY r.rid LIMIT ?3";
const GO_ON: &str = "UPDATE fact_fill SET done = ?2 WHERE type = ?1";
const END: &str = "DELETE FROM fact_fill WHERE type = ?1";
pub(super) const IS_DUE: &str = "SELECT EXISTS (SELECT 1 FROM fact_fill WHERE type > '')";

/// Holds the program's edition against the database's. Facts of another edition are replaced one by one.
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
    let known: Option<i64> = db.first(KNOWN, [], |row| row.get(0))?;
    if known == Some(act::EDITION) {
        return Ok(());
    }
    for resource_type in act::TYPES {
        if db.first(HAS_SOME, [resource_type], |row| row.get(0))?.unwrap_or(true) {
            db.run(BEGIN, [resource_type])?;
        }
    }
    db.run(KNOW, [act::EDITION])?;
    Ok(())
}

/// Whether there is anything to do.
pub(super) fn is_due(connection: &Connection) -> Result<bool, StoreError> {
    connection.query_row(IS_DUE, [], |row| row.get(0)).map_err(StoreError::Open)
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

fn batch(db: &Statements<'_>, state: &mut State, resource_type: &str, done: i64) -> Result<(), StoreError> {
    let rows: Vec<(i64, String, Vec<u8>)> =
        db.all(NEXT, (resource_type, done, BATCH), |row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut writing = Writing::new(db, state);
    for (_, id, body) in &rows {
        let resource = serde_json::from_slice(body).map_err(|_| StoreError::Corrupt("a resource"))?;
        writing.put_facts(resource_type, id, false, &act::facts(&resource)).map_err(|refusal| match refusal {
            Refusal::Sql(error) => StoreError::Commit(error),
            Refusal::Corrupt(what) => StoreError::Corrupt(what),
            Refusal::Unmet(_) => StoreError::Corrupt("a fact"),
        })?;
    }
    match rows.last() {
        Some((last, _, _)) if rows.len() == BATCH as usize => db.run(GO_ON, (resource_type, last))?,
        _ => db.run(END, [resource_type])?,
    };
    Ok(())
}
