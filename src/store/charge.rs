//! The steps of who has charge of what: added, and read for the gateway itself; and whose are still to be derived from before they
//! were kept. What a caller may see of them is decided by the EpisodeOfCare that each charge stands as.

use rusqlite::Row;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::link::person;
use super::read_resource::stored;
use super::row::{time, uuid, uuid_if_any, word};
use super::statement::Statements;
use super::{Store, StoreError, Stored};
use crate::domain::charge::{Move, Step};

const INSERT: &str = "INSERT INTO charge_move (id, patient, origin, exchange, at, step, area, unit) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const OF_PATIENT: &str = concat!("SELECT * FROM charge_move WHERE patient IN ", person!("?1"), " ORDER BY seq");
/// Grows with every step of the patient's.
pub(super) const LAST: &str =
    concat!("SELECT coalesce(max(seq), 0) AS last FROM charge_move WHERE patient IN ", person!("?1"));

const UNDERIVED: &str = "SELECT patient FROM charge_underived WHERE patient > ?1 ORDER BY patient LIMIT ?2";
const IS_UNDERIVED: &str = "SELECT 1 FROM charge_underived WHERE patient = ?1";
const DERIVED: &str = "DELETE FROM charge_underived WHERE patient = ?1";
const EXCHANGES: &str = "SELECT id FROM exchange WHERE patient = ?1 AND kind <> 'activity'";
/// Every version of what speaks of responsibility, in the order of commits.
const LIFE: &str = "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient FROM exchange_resource x \
     CROSS JOIN resource r ON r.rid = x.rid CROSS JOIN version v ON v.rid = r.rid \
     WHERE x.exchange = ?1 AND r.type IN ('ServiceRequest', 'Task', 'Composition', 'CarePlan') ORDER BY v.seq";

/// A step of a patient's, to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The id of the Patient.
    pub patient: String,
    pub step: Move,
}

/// The steps of a patient, and the mark by which it is known that there are no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    pub steps: Vec<Move>,
    pub last: i64,
}

fn step(row: &Row<'_>) -> Result<(i64, Move), StoreError> {
    let step = Move {
        id: uuid(row, "id")?,
        origin: uuid(row, "origin")?,
        exchange: uuid_if_any(row, "exchange")?,
        at: time(row, "at")?,
        step: word(row, "step", "a step", Step::parse)?,
        patient: row.get("patient")?,
        area: row.get("area")?,
        unit: row.get("unit")?,
    };
    Ok((row.get("seq")?, step))
}

/// Every step of the patient's, in order.
pub(super) fn moves_of(db: &Statements<'_>, patient: &str) -> Result<Vec<Move>, StoreError> {
    Ok(db.all(OF_PATIENT, [patient], step)?.into_iter().map(|(_, step)| step).collect())
}

impl Writing<'_, '_> {
    pub(super) fn put_moved(&mut self, moved: &Moved) -> Result<(), Refusal> {
        let step = &moved.step;
        self.statements.run(
            INSERT,
            (
                step.id.as_bytes(),
                &moved.patient,
                step.origin.as_bytes(),
                step.exchange.as_ref().map(|id| id.as_bytes()),
                step.at.timestamp_millis(),
                step.step.code(),
                &step.area,
                &step.unit,
            ),
        )?;
        Ok(())
    }

    pub(super) fn put_derived(&mut self, patient: &str) -> Result<(), Refusal> {
        self.statements.run(DERIVED, [patient])?;
        Ok(())
    }
}

impl Store {
    /// Patients whose responsibility is still to be derived, behind that one.
    pub async fn underived(&self, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let after = after.to_owned();
        self.read(move |db| db.all(UNDERIVED, (after, limit), |row| row.get(0).map_err(StoreError::from))).await
    }

    pub async fn is_underived(&self, patient: &str) -> Result<bool, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| Ok(db.first(IS_UNDERIVED, [patient], |_| Ok::<_, StoreError>(()))?.is_some())).await
    }

    /// The ids of the patient's exchanges that may speak of responsibility; for the gateway itself.
    pub async fn exchanges_of_patient(&self, patient: &str) -> Result<Vec<Uuid>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| db.all(EXCHANGES, [patient], |row| uuid(row, "id"))).await
    }

    /// Every version of what an exchange has that speaks of responsibility, in the order of commits; for the gateway itself.
    pub async fn life_of(&self, exchange: Uuid) -> Result<Vec<Stored>, StoreError> {
        self.read(move |db| db.all(LIFE, [exchange.as_bytes()], stored)).await
    }

    /// Every step of the patient's, in order, for the gateway itself.
    pub async fn charge_moves(&self, patient: &str) -> Result<Moves, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| {
            let found = db.all(OF_PATIENT, [&patient], step)?;
            let last = found.last().map_or(0, |(seq, _)| *seq);
            Ok(Moves { steps: found.into_iter().map(|(_, step)| step).collect(), last })
        })
        .await
    }
}
