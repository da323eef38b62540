//! Moves of Tasks, as they were made: written in the commit that makes them, read with their exchange.

use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::record::Move;
use super::row::{time, uuid, word};
use super::{Store, StoreError};
use crate::domain::task::Status;

const INSERT: &str = "INSERT INTO move (exchange, task, at, actor, by, version, status, business_status) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const OF_EXCHANGE: &str = "SELECT * FROM move WHERE exchange = ?1 ORDER BY id";

impl Writing<'_, '_> {
    pub(super) fn put_move(&mut self, one: &Move) -> Result<(), Refusal> {
        let (id, at) = (one.exchange.as_bytes(), one.at.timestamp_millis());
        let row = (id, &one.task, at, &one.actor, &one.by, one.version, one.status.code(), &one.business_status);
        self.statements.run(INSERT, row)?;
        Ok(())
    }
}

impl Store {
    /// Every move of the exchange's Tasks, the oldest first.
    pub async fn moves(&self, exchange: Uuid) -> Result<Vec<Move>, StoreError> {
        self.read(move |db| {
            db.all(OF_EXCHANGE, [exchange.as_bytes()], |row| {
                Ok(Move {
                    exchange: uuid(row, "exchange")?,
                    task: row.get("task")?,
                    at: time(row, "at")?,
                    actor: row.get("actor")?,
                    by: row.get("by")?,
                    version: row.get("version")?,
                    status: word(row, "status", "a Task's status", Status::parse)?,
                    business_status: row.get("business_status")?,
                })
            })
        })
        .await
    }
}
