//! The steps of who has charge of what: added, and read for the gateway itself. What a caller may see of them is decided by the
//! EpisodeOfCare that each charge stands as.

use rusqlite::Row;

use super::apply::{Refusal, Writing};
use super::link::person;
use super::row::{time, uuid, uuid_if_any, word};
use super::{Store, StoreError};
use crate::domain::charge::{Move, Step};

const INSERT: &str = "INSERT INTO charge_move (id, patient, origin, exchange, at, step, area, unit) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const OF_PATIENT: &str = concat!("SELECT * FROM charge_move WHERE patient IN ", person!("?1"), " ORDER BY seq");
/// Grows with every step of the patient's.
pub(super) const LAST: &str =
    concat!("SELECT coalesce(max(seq), 0) AS last FROM charge_move WHERE patient IN ", person!("?1"));

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
}

impl Store {
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
