//! Whether a block has closed, since an export was begun, something that the export holds or may hold: then its files must not
//! go out any more.
//!
//! What is asked is what is closed to the one whose export it is, and was not then: few rows, however large the export. Each is
//! looked at as the walk of the export would have: type, patients, window, scopes and filters. What is not known counts as held.

use super::super::block::readers;
use super::super::grants::Right;
use super::super::query::Filter;
use super::super::read_resource::stored;
use super::super::sql::Sql;
use super::super::visible::units;
use super::super::{Store, StoreError};
use super::condition::Asked;
use super::walk::{Walk, came, fits, listed, patient_of};
use crate::fhir::lifecycle::is_retired;

impl Store {
    /// Whether any of the walks may have passed what a block keeps from the one who asks since `walk.seq`.
    pub async fn has_closed(&self, filter: &Filter, walks: Vec<Walk>) -> Result<bool, StoreError> {
        let filter = filter.clone();
        self.read(move |db| {
            let asked = Asked::of(db, &filter);
            for walk in &walks {
                if closed(&asked, walk)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}

fn closed(asked: &Asked<'_, '_>, walk: &Walk) -> Result<bool, StoreError> {
    let Some(who) = readers(asked.filter) else { return Ok(false) };
    let mut sql = Sql::new(
        "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient FROM withheld w INDEXED BY withheld_from_unit \
         CROSS JOIN resource r ON r.rid = w.rid CROSS JOIN version v \
         ON v.seq = (SELECT max(o.seq) FROM version o WHERE o.rid = r.rid AND o.seq <= ?) \
         WHERE w.unit IN (SELECT value FROM json_each(?)) AND w.seq > ? AND r.type = ?",
        [walk.seq.into(), who.into(), walk.seq.into(), walk.resource_type.clone().into()],
    );
    if let Some(units) = units(asked.filter) {
        // Another unit of the same caller may see it all the same.
        sql = sql
            .text(" AND NOT EXISTS (SELECT 1 FROM concern c WHERE c.rid = r.rid AND c.unit IN (SELECT value FROM json_each(?)))")
            .value(units);
    }
    if let Some(since) = walk.since {
        sql = sql.text(" AND (v.seq > ?").value(since).then(&came(asked, walk, since)).text(")");
    }
    if let Some(until) = walk.until {
        sql = sql.text(" AND (v.seq <= ? OR v.at <= ?)").value(until.seq).value(until.at.timestamp_millis());
    }
    if let Some(list) = walk.list.filter(|list| list.is_whole) {
        sql = sql.text(" AND ").then(&listed(list.export, patient_of(&walk.resource_type), "m.state <> 'left'"));
    }
    for stood in sql.all(asked.db, stored)? {
        if !is_retired(&stood.body) && asked.may_have_covered(Right::Read, &stood)? && fits(walk, &stood)? {
            return Ok(true);
        }
    }
    Ok(false)
}
