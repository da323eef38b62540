//! Patients of whom a unit has only spoken itself: others' words about them (name, telephone, address) have not come to it.
//!
//! A Patient is one for everybody, put together from what all units say. A unit that received something about the patient has
//! got the Patient with it. One that only sent finds the Patient by id and identifier, which it knows, and by nothing that
//! others may have said; what it is shown is its own word (`sync::particulars`). So does one that knows the person by another
//! number only: that two numbers are one person's brings nobody what others have said under the other.

use std::collections::BTreeSet;

use rusqlite::types::Value;

use super::block::UNBLOCKED_PARTY;
use super::query::Filter;
use super::row::list;
use super::search::Asked;
use super::sql::Sql;
use super::visible::units;
use super::{Store, StoreError};
use crate::fhir::search::Clause;

impl Asked<'_, '_> {
    /// That the Patient `row` has come to the one who asks with a document, or otherwise than by its own; none for others than
    /// units.
    pub(super) fn has_come(&self, row: &str) -> Option<Sql> {
        let units = units(self.filter)?;
        // Nor has it with a link, whatever else the unit once had of the person.
        let text = format!(
            "(coalesce((SELECT max(p.role <> 'sender') FROM exchange o CROSS JOIN party p ON p.exchange = o.id \
             WHERE o.patient = {row}.id AND +p.unit IN (SELECT value FROM json_each(?)) AND {UNBLOCKED_PARTY}), \
             NOT EXISTS (SELECT 1 FROM kin k WHERE k.patient = {row}.id)) \
             AND (NOT EXISTS (SELECT 1 FROM link_sight s INDEXED BY link_sight_of WHERE s.rid = {row}.rid) \
             OR EXISTS (SELECT 1 FROM concern c WHERE c.rid = {row}.rid AND c.unit IN (SELECT value FROM json_each(?)) \
             AND NOT EXISTS (SELECT 1 FROM link_sight s INDEXED BY link_sight_of WHERE s.rid = c.rid AND s.unit = c.unit))))"
        );
        Some(Sql::new(text, [Value::from(units.clone()), Value::from(units)]))
    }

    /// Whether a Patient is known to the one who asks by its own word only.
    pub(super) fn is_own_word(&self, id: &str) -> Result<bool, StoreError> {
        let Some(has_come) = self.has_come("r") else { return Ok(false) };
        let sql =
            Sql::new("SELECT 1 FROM resource r WHERE r.type = 'Patient' AND r.id = ? AND NOT ", [id.to_owned().into()]);
        Ok(sql.then(&has_come).first(self.db, |_| Ok(()))?.is_some())
    }
}

/// Whether the answer to a clause about a Patient tells what somebody said of it.
pub(super) fn tells(clause: &Clause) -> bool {
    match clause {
        // Who points at the patient is told by what does.
        Clause::Id(_) | Clause::Has { .. } => false,
        Clause::Token { param, .. } => param != "identifier",
        Clause::Not(clause) => tells(clause),
        Clause::Any(clauses) => clauses.iter().any(tells),
        _ => true,
    }
}

impl Store {
    /// Which of these Patients are known to the one who asks by its own word only.
    pub async fn own_words(&self, filter: &Filter, ids: &[String]) -> Result<BTreeSet<String>, StoreError> {
        let (filter, ids) = (filter.clone(), list(ids.iter().cloned()));
        self.read(move |db| {
            let Some(has_come) = Asked::of(db, &filter).has_come("r") else { return Ok(BTreeSet::new()) };
            let sql = Sql::new(
                "SELECT r.id FROM json_each(?) m CROSS JOIN resource r ON r.type = 'Patient' AND r.id = m.value WHERE NOT ",
                [Value::from(ids)],
            );
            Ok(sql.then(&has_come).all(db, |row| Ok(row.get(0)?))?.into_iter().collect())
        })
        .await
    }
}
