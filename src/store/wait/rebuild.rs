//! Reckons all waits anew where the rules have changed since, or where a file of an older form has none yet.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use uuid::Uuid;

use super::super::StoreError;
use super::super::apply::{Refusal, Writing};
use super::super::read_exchange::exchange;
use super::super::record::Put;
use super::super::row::uuid;
use super::super::state::State;
use super::super::statement::Statements;
use super::told::Told;
use crate::fhir::search;

const MARK: &str = "SELECT mark FROM clock_rules WHERE id = 1";
const SET_MARK: &str =
    "INSERT INTO clock_rules (id, mark) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET mark = excluded.mark";
/// The terms of the index `exchange_open`, and whatever has a wait.
const OPEN: &str = "SELECT id FROM exchange INDEXED BY exchange_open \
     WHERE stage IN ('parked', 'waiting', 'delivered', 'received', 'on-hold', 'accepted', 'in-progress')";
const KNOWN: &str = "SELECT exchange AS id FROM wait INDEXED BY wait_due";
const RESOURCE: &str =
    "SELECT v.body FROM resource r CROSS JOIN version v ON v.seq = r.seq WHERE r.type = ?1 AND r.id = ?2";

/// Before anybody asks. Without rules nothing is changed: whoever opens the file to look at it has none.
pub(in crate::store) fn rebuild(
    connection: &Connection,
    state: &mut State,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(mark) = state.clock_mark() else { return Ok(()) };
    let db = Statements::new(connection);
    let standing: Option<String> = db.first(MARK, [], |row| row.get(0)).map_err(StoreError::Open)?;
    if standing.as_ref() == Some(&mark) {
        return Ok(());
    }
    db.run("BEGIN IMMEDIATE", []).map_err(StoreError::Open)?;
    let done = reckon(&db, state, standing.is_none(), now)
        .and_then(|()| Ok(db.run(SET_MARK, [&mark]).map(|_| ())?))
        .and_then(|()| Ok(db.run("COMMIT", []).map(|_| ())?));
    if done.is_err() {
        // The step's own error is the one to tell.
        let _ = db.run("ROLLBACK", []);
    }
    done.map_err(|refusal| match refusal {
        Refusal::Sql(error) => StoreError::Open(error),
        Refusal::Corrupt(what) => StoreError::Corrupt(what),
        Refusal::Unmet(_) => StoreError::Corrupt("a wait"),
    })
}

/// `is_first`: nothing is known yet beside the parties. What waits then has waited since its exchange last changed.
fn reckon(db: &Statements<'_>, state: &mut State, is_first: bool, now: DateTime<Utc>) -> Result<(), Refusal> {
    let mut writing = Writing::new(db, state);
    let mut all: BTreeSet<Uuid> = db.all(OPEN, [], |row| uuid(row, "id"))?.into_iter().collect();
    all.extend(db.all(KNOWN, [], |row| uuid(row, "id"))?);
    for id in all {
        let Some(exchange) = exchange(db, id)? else { continue };
        let mut told = Told::default();
        for (kind, name) in exchange.resources.iter().filter_map(|name| name.split_once('/')).filter(|_| is_first) {
            if !["ServiceRequest", "Task", "Appointment"].contains(&kind) {
                continue;
            }
            let body: Option<Vec<u8>> = db.first(RESOURCE, (kind, name), |row| row.get(0))?;
            let resource = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
            let (resource_type, id) = (kind.to_owned(), name.to_owned());
            let (index, patient) = (search::index(&resource), None);
            told.hear(&Put {
                resource_type,
                id,
                version: 1,
                body: Vec::new(),
                patient,
                units: Vec::new(),
                index,
                exchange: None,
            });
        }
        let at = if is_first { exchange.updated_at } else { now };
        writing.settle_clocks(&exchange, &told, at)?;
    }
    Ok(())
}
