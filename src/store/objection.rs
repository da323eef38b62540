//! What patients wish of registries: that nothing of them goes out, and when they were informed; and the one condition that
//! a row must satisfy for a registry to get it.
//!
//! An objection is in force from its commit: every read that a registry makes asks the database itself.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::link::{changed_since, kin, person};
use super::read_resource::BY_IDENTIFIER;
use super::rights::{Informed, OptOut};
use super::row::{time, time_if_any, uuid};
use super::search::Condition;
use super::sql::Sql;
use super::{Expect, Index, Store, StoreError};
use crate::fhir::about::{DEFINITIONS, WORDS};

/// Every registry, in the `registry` column.
pub const EVERY: &str = "*";

/// What a registry may get, as a condition on the row `§`; the question mark is its name. Actors and definitions are nobody's
/// patient. Words no registry gets. Everything else is about a patient, who has not objected and, where the registry's agreement
/// says so, was informed. A registry that is not among the settings gets nothing, and nobody gets what is about nobody we know.
/// An objection holds whichever number of the person it was made under; of having been informed only what was recorded under
/// the number itself.
const MAY_GET: &str = "EXISTS (SELECT 1 FROM registry g WHERE g.name = ? AND g.in_force = 1 AND \
     (§.type IN ({of_nobody}) OR (§.type NOT IN ({words}) AND iif(§.type = 'Patient', §.id, §.patient) IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM opt_out o INDEXED BY opt_out_of_patient \
                     WHERE o.patient = iif(§.type = 'Patient', §.id, §.patient) AND o.registry IN (g.name, '*') AND o.lifted_at IS NULL) \
     AND NOT EXISTS (SELECT 1 FROM kin k CROSS JOIN opt_out o INDEXED BY opt_out_of_patient \
                     ON o.patient = k.other AND o.registry IN (g.name, '*') AND o.lifted_at IS NULL \
                     WHERE k.patient = iif(§.type = 'Patient', §.id, §.patient)) \
     AND (g.needs_information = 0 OR EXISTS (SELECT 1 FROM information i INDEXED BY information_of_patient \
                     WHERE i.patient = iif(§.type = 'Patient', §.id, §.patient) AND i.registry IN (g.name, '*'))))))";

/// Who takes part in care is nothing about a patient.
const ACTORS: [&str; 3] = ["Organization", "Practitioner", "PractitionerRole"];

/// That the registry may get the row of that name: one more ground of [`Asked`](super::search::Asked).
pub(super) fn may_get(registry: &str, row: &str) -> Condition {
    let quoted = |types: &[&str]| types.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let of_nobody = format!("{}, {}", quoted(&ACTORS), quoted(&DEFINITIONS));
    let text = MAY_GET.replace("{of_nobody}", &of_nobody).replace("{words}", &quoted(&WORDS)).replace('§', row);
    let holds = Sql::new(text, [Value::from(registry.to_owned())]);
    Condition { holds, set: None, is_exact: false }
}

const REGISTER: &str = "INSERT INTO opt_out (id, registry, patient, system, value, unit, objected_at, registered_at, registered_by, seq) \
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(super) const STANDING: &str = "SELECT id FROM opt_out INDEXED BY opt_out_in_force \
                                   WHERE system = ?1 AND value = ?2 AND registry = ?3 AND unit = ?4 AND lifted_at IS NULL";
const LIFT: &str =
    "UPDATE opt_out SET lifted_at = ?2, lifted_by = ?3, lifted_seq = ?4 WHERE id = ?1 AND lifted_at IS NULL";
const INFORM: &str = "INSERT INTO information (registry, patient, system, value, unit, informed_at, recorded_at, seq) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
/// A Patient that is made, or that gets another number: what was said of the number is about it.
const MEANT: &str =
    "UPDATE opt_out SET patient = ?1 WHERE system = ?2 AND value = ?3 AND patient IS NULL AND lifted_at IS NULL";
const MEANT_INFORMATION: &str =
    "UPDATE information SET patient = ?1 WHERE system = ?2 AND value = ?3 AND patient IS NULL";
const ONE: &str = "SELECT * FROM opt_out WHERE id = ?1";
const OF_NUMBER: &str = "SELECT * FROM opt_out WHERE system = ?1 AND value = ?2 ORDER BY registered_at, id";
const INFORMED: &str =
    "SELECT * FROM information WHERE system = ?1 AND value = ?2 ORDER BY registry, informed_at, unit";
const OBJECTED_SINCE: &str = "SELECT DISTINCT patient FROM opt_out INDEXED BY opt_out_changed WHERE seq > ?2 AND registry IN (?1, '*') \
                              AND patient IS NOT NULL AND lifted_at IS NULL ORDER BY patient";
const RETURNED_SINCE: &str = "SELECT DISTINCT o.patient FROM opt_out o INDEXED BY opt_out_lifted \
     WHERE o.lifted_seq > ?2 AND o.lifted_seq IS NOT NULL AND o.registry IN (?1, '*') AND o.patient IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM opt_out n INDEXED BY opt_out_of_patient \
                     WHERE n.patient = o.patient AND n.registry IN (?1, '*') AND n.lifted_at IS NULL) ORDER BY o.patient";
/// The person objects, under whichever number.
const OBJECTS: &str = concat!(
    "SELECT 1 FROM opt_out n INDEXED BY opt_out_of_patient WHERE n.patient IN ",
    person!("?2"),
    " AND n.registry IN (?1, '*') AND n.lifted_at IS NULL LIMIT 1"
);
/// Of whom it was recorded for the first time that they know of the registry.
const INFORMED_SINCE: &str = "SELECT DISTINCT i.patient FROM information i INDEXED BY information_recorded CROSS JOIN registry g ON g.name = ?1 \
     WHERE i.seq > ?2 AND i.registry IN (?1, '*') AND i.patient IS NOT NULL AND g.needs_information = 1 \
     AND NOT EXISTS (SELECT 1 FROM information b INDEXED BY information_of_patient \
                     WHERE b.patient = i.patient AND b.registry IN (?1, '*') AND b.seq <= ?2) ORDER BY i.patient";
const SETTLE: &str = "INSERT INTO registry (name, in_force, needs_information) VALUES (?1, 1, ?2) \
                      ON CONFLICT (name) DO UPDATE SET in_force = 1, needs_information = excluded.needs_information";
const NONE_IN_FORCE: &str = "UPDATE registry SET in_force = 0 WHERE in_force = 1";

fn opt_out(row: &Row<'_>) -> Result<OptOut, StoreError> {
    Ok(OptOut {
        id: uuid(row, "id")?,
        registry: row.get("registry")?,
        patient: row.get("patient")?,
        system: row.get("system")?,
        value: row.get("value")?,
        unit: row.get("unit")?,
        objected_at: time(row, "objected_at")?,
        registered_at: time(row, "registered_at")?,
        registered_by: row.get("registered_by")?,
        lifted_at: time_if_any(row, "lifted_at")?,
        lifted_by: row.get("lifted_by")?,
    })
}

fn informed(row: &Row<'_>) -> Result<Informed, StoreError> {
    Ok(Informed {
        registry: row.get("registry")?,
        patient: row.get("patient")?,
        system: row.get("system")?,
        value: row.get("value")?,
        unit: row.get("unit")?,
        informed_at: time(row, "informed_at")?,
        recorded_at: time(row, "recorded_at")?,
    })
}

impl Writing<'_, '_> {
    /// The Patient is looked up here, so that one that is made meanwhile is not missed.
    pub(super) fn register(&mut self, wish: &OptOut) -> Result<(), Refusal> {
        let db = self.statements;
        let (system, value, unit) = (&wish.system, &wish.value, wish.unit.to_ascii_uppercase());
        let standing = db.first(STANDING, (system, value, &wish.registry, &unit), |_| Ok::<_, Refusal>(()))?;
        if standing.is_some() {
            return Err(Refusal::Unmet(wish.unheard()));
        }
        let patient = self.patient_of(system, value)?;
        let objected_at = wish.objected_at.timestamp_millis();
        let registered_at = self.not_before_now(wish.registered_at.timestamp_millis());
        let seq = self.state.next_seq();
        let row = (
            wish.id.as_bytes(),
            &wish.registry,
            &patient,
            system,
            value,
            unit,
            objected_at,
            registered_at,
            &wish.registered_by,
            seq,
        );
        db.run(REGISTER, row)?;
        let Some(patient) = patient else { return Ok(()) };
        for one in kin(db, &patient)?.iter().chain([&patient]) {
            self.withdraw(one, &wish.registry, registered_at)?;
        }
        Ok(())
    }

    pub(super) fn lift(&mut self, id: Uuid, at_ms: i64, by: &str) -> Result<(), Refusal> {
        let db = self.statements;
        let (at_ms, seq) = (self.not_before_now(at_ms), self.state.next_seq());
        if db.run(LIFT, (id.as_bytes(), at_ms, by, seq))? == 0 {
            return Err(Refusal::Unmet(Expect::OptOut { id }));
        }
        let patient: Option<Option<String>> =
            db.first(ONE, [id.as_bytes()], |row| row.get("patient").map_err(Refusal::from))?;
        let Some(patient) = patient.flatten() else { return Ok(()) };
        for one in kin(db, &patient)?.iter().chain([&patient]) {
            self.take_back(one)?;
        }
        Ok(())
    }

    pub(super) fn inform(&mut self, informed: &Informed) -> Result<(), Refusal> {
        let patient = self.patient_of(&informed.system, &informed.value)?;
        let informed_at = informed.informed_at.timestamp_millis();
        let recorded_at = self.not_before_now(informed.recorded_at.timestamp_millis());
        let (unit, seq) = (informed.unit.to_ascii_uppercase(), self.state.next_seq());
        let row =
            (&informed.registry, &patient, &informed.system, &informed.value, unit, informed_at, recorded_at, seq);
        self.statements.run(INFORM, row)?;
        Ok(())
    }

    /// The time of what patients say of registries is that of its commit. What it was said before and after is told by its `seq`.
    fn not_before_now(&self, at_ms: i64) -> i64 {
        at_ms.max(self.now_ms)
    }

    /// A Patient's identifiers as they are written: wishes that came before it are about it from now on.
    pub(super) fn meet_wishes(&mut self, patient: &str, values: &[Index]) -> Result<(), Refusal> {
        for value in values {
            if let Index::Token { param: "identifier", system, code } = value {
                self.statements.run(MEANT, (patient, system, code))?;
                self.statements.run(MEANT_INFORMATION, (patient, system, code))?;
            }
        }
        Ok(())
    }

    pub(super) fn patient_of(&self, system: &str, value: &str) -> Result<Option<String>, Refusal> {
        self.statements.first(BY_IDENTIFIER, ("Patient", system, value), |row| row.get("id").map_err(Refusal::from))
    }

    /// Makes the settings' registries those in force.
    pub(super) fn settle_registries(&mut self, registries: &[(String, bool)]) -> Result<(), Refusal> {
        Ok(settle_in(self.statements.connection(), registries)?)
    }
}

/// The same when the database is opened.
pub(super) fn settle(connection: &Connection, registries: &[(String, bool)]) -> Result<(), rusqlite::Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let settled = settle_in(connection, registries);
    connection.execute_batch(if settled.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    settled
}

fn settle_in(connection: &Connection, registries: &[(String, bool)]) -> Result<(), rusqlite::Error> {
    connection.execute(NONE_IN_FORCE, [])?;
    for (name, needs_information) in registries {
        connection.execute(SETTLE, (name, needs_information))?;
    }
    Ok(())
}

impl Store {
    pub async fn opt_out(&self, id: Uuid) -> Result<Option<OptOut>, StoreError> {
        self.read(move |db| db.first(ONE, [id.as_bytes()], opt_out)).await
    }

    /// Every objection of the person with that number, lifted ones too, the first registered first.
    pub async fn opt_outs(&self, system: &str, value: &str) -> Result<Vec<OptOut>, StoreError> {
        let key = (system.to_owned(), value.to_owned());
        self.read(move |db| db.all(OF_NUMBER, key, opt_out)).await
    }

    /// When the person with that number was informed, of which registries, by whom.
    pub async fn informed(&self, system: &str, value: &str) -> Result<Vec<Informed>, StoreError> {
        let key = (system.to_owned(), value.to_owned());
        self.read(move |db| db.all(INFORMED, key, informed)).await
    }

    /// Patients whose objection to the registry was registered after that commit and is in force: what was made ready for it
    /// before and has them in it must not go out.
    pub async fn objected_since(&self, registry: &str, seq: i64) -> Result<Vec<String>, StoreError> {
        let registry = registry.to_owned();
        self.read(move |db| {
            let found: Vec<String> =
                db.all(OBJECTED_SINCE, (&registry, seq), |row| Ok::<_, StoreError>(row.get(0)?))?;
            let mut all = BTreeSet::new();
            for patient in found {
                all.extend(kin(db, &patient)?);
                all.insert(patient);
            }
            // Of whom it became known since that they are one with somebody who objects.
            for patient in changed_since(db, seq)? {
                if db.first(OBJECTS, (&registry, &patient), |_| Ok::<_, StoreError>(()))?.is_some() {
                    all.insert(patient);
                }
            }
            Ok(all.into_iter().collect())
        })
        .await
    }

    /// Patients who have taken their objection back since: everything of them goes out again, however old. So does everything of
    /// those of whom it was said since that they are, or are not, one person with another: it is another's from now on.
    pub async fn returned_since(&self, registry: &str, seq: i64) -> Result<Vec<String>, StoreError> {
        let registry = registry.to_owned();
        self.read(move |db| {
            let found: Vec<String> =
                db.all(RETURNED_SINCE, (&registry, seq), |row| Ok::<_, StoreError>(row.get(0)?))?;
            let mut all: BTreeSet<String> = changed_since(db, seq)?.into_iter().collect();
            for patient in found {
                all.extend(kin(db, &patient)?);
                all.insert(patient);
            }
            let mut returned = Vec::new();
            for patient in all {
                // Nobody has returned for whom another number of the person objects.
                if db.first(OBJECTS, (&registry, &patient), |_| Ok::<_, StoreError>(()))?.is_none() {
                    returned.push(patient);
                }
            }
            Ok(returned)
        })
        .await
    }

    /// Patients who know of the registry since then, where it may get no others: everything of them goes out, however old.
    pub async fn informed_since(&self, registry: &str, seq: i64) -> Result<Vec<String>, StoreError> {
        self.patients(INFORMED_SINCE, registry, seq).await
    }

    async fn patients(&self, sql: &'static str, registry: &str, seq: i64) -> Result<Vec<String>, StoreError> {
        let key = (registry.to_owned(), seq);
        self.read(move |db| db.all(sql, key, |row| Ok(row.get(0)?))).await
    }
}
