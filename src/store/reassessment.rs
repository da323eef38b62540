//! When a plan has to be looked at again, and which Tasks ask for a new assessment of whom: for the gateway itself. Who sees such
//! a Task is decided as for any other resource.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::link::person;
use super::row::uuid;
use super::{Store, StoreError};

/// What a commit says of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub exchange: Uuid,
    /// When it is looked at again; none: nothing of it ends by the calendar.
    pub at: Option<DateTime<Utc>>,
    /// The ids of Tasks of this commit that ask for a new assessment.
    pub tasks: Vec<String>,
}

/// A Task that asks for a new assessment, and the plan that it follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassessment {
    pub exchange: Uuid,
    pub task: String,
}

const PUT: &str =
    "INSERT INTO plan_look (exchange, at) VALUES (?1, ?2) ON CONFLICT (exchange) DO UPDATE SET at = excluded.at";
const FORGET: &str = "DELETE FROM plan_look WHERE exchange = ?1";
const NOTE: &str = "INSERT INTO reassessment (rid, exchange) \
     VALUES ((SELECT rid FROM resource WHERE type = 'Task' AND id = ?2), ?1) ON CONFLICT DO NOTHING";
const DUE: &str = "SELECT exchange FROM plan_look INDEXED BY plan_look_at WHERE at <= ?1 ORDER BY at LIMIT ?2";
const NEXT: &str = "SELECT at FROM plan_look INDEXED BY plan_look_at ORDER BY at LIMIT 1";
const OF_PATIENT: &str = concat!(
    "SELECT x.exchange, r.id FROM resource r INDEXED BY resource_of_patient \
     CROSS JOIN reassessment x ON x.rid = r.rid WHERE r.patient IN ",
    person!("?1")
);
const PLANS: &str = concat!(
    "SELECT id FROM exchange INDEXED BY exchange_patient WHERE kind IN ('rehab-plan', 'handover') AND patient IN ",
    person!("?1")
);

fn reassessment(row: &Row<'_>) -> Result<Reassessment, StoreError> {
    Ok(Reassessment { exchange: uuid(row, "exchange")?, task: row.get("id")? })
}

impl Writing<'_, '_> {
    pub(super) fn put_look(&mut self, look: &Look) -> Result<(), Refusal> {
        let (db, exchange) = (self.statements, look.exchange.as_bytes());
        match look.at {
            Some(at) => db.run(PUT, (exchange, at.timestamp_millis()))?,
            None => db.run(FORGET, [exchange])?,
        };
        for task in &look.tasks {
            db.run(NOTE, (exchange, task))?;
        }
        Ok(())
    }
}

impl Store {
    /// Exchanges whose plan has to be looked at now, the longest waiting first.
    pub async fn plans_due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        self.read(move |db| db.all(DUE, (now.timestamp_millis(), limit), |row| uuid(row, "exchange"))).await
    }

    /// When the next is.
    pub async fn next_look(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at = self.read(|db| db.first(NEXT, [], |row| Ok::<_, StoreError>(row.get::<_, i64>(0)?))).await?;
        Ok(at.and_then(DateTime::from_timestamp_millis))
    }

    /// Exchanges with a plan of the person, under whichever number.
    pub async fn plans_of(&self, patient: &str) -> Result<Vec<Uuid>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| db.all(PLANS, [patient], |row| uuid(row, "id"))).await
    }

    /// Every Task that asked for a new assessment of the person, under whichever number.
    pub async fn reassessments(&self, patient: &str) -> Result<Vec<Reassessment>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| db.all(OF_PATIENT, [patient], reassessment)).await
    }
}
