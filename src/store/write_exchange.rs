//! Writes exchanges with their parties and resources, documents, what partners said, and answers kept for a key.

use super::Expect;
use super::apply::{Refusal, Writing};
use super::read_exchange::{RESOURCES, REVISION};
use super::record::{Answer, Document, Exchange, Inbound};
use super::row::list;

const INSERT: &str = "INSERT INTO exchange (id, revision, kind, format, organisation, document, version, entered_in_error, \
                      patient, stage, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const UPDATE: &str = "UPDATE exchange SET revision = ?2, format = ?3, version = ?4, entered_in_error = ?5, patient = ?6, \
                      stage = ?7, updated_at = ?8 WHERE id = ?1";
const FORGET_PARTIES: &str = "DELETE FROM party WHERE exchange = ?1";
const INSERT_PARTY: &str = "INSERT INTO party (exchange, position, unit, partner, role, task, status, stage, updated_at) \
                            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const NOT_IN_FORCE: &str = "UPDATE exchange_resource SET position = NULL WHERE exchange = ?1 AND position IS NOT NULL";
/// A resource that is not there makes `rid` null, which the table refuses.
const IN_FORCE: &str = "INSERT INTO exchange_resource (exchange, rid, position) \
                        SELECT ?1, (SELECT rid FROM resource WHERE type = m.value ->> 0 AND id = m.value ->> 1), m.key \
                        FROM json_each(?2) m WHERE true \
                        ON CONFLICT (exchange, rid) DO UPDATE SET position = excluded.position";
const SUPERSEDE: &str = "UPDATE document SET in_force = 0 WHERE exchange = ?1 AND in_force = 1";
const INSERT_DOCUMENT: &str = "INSERT INTO document (exchange, version, format, hash, table_name, table_version, received_at, \
                               in_force, receipt, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
/// What was held may be applied later; what was said stays as it was said first.
const PUT_INBOUND: &str = "INSERT INTO inbound (partner, key, exchange, at, finding, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                           ON CONFLICT (partner, key) DO UPDATE SET exchange = excluded.exchange, finding = excluded.finding";
const INSERT_ANSWER: &str = "INSERT INTO answer (caller, key, request_hash, exchange, status, location, at, body) \
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

impl Writing<'_, '_> {
    /// Its resources are written after them, by [`Self::put_exchange_resources`].
    pub(super) fn put_exchange(&mut self, exchange: &Exchange) -> Result<(), Refusal> {
        let db = self.statements;
        let id = exchange.id.as_bytes();
        let standing: Option<u32> = db.first(REVISION, [id], |row| row.get("revision").map_err(Refusal::from))?;
        let updated_at = exchange.updated_at.timestamp_millis();
        match standing {
            None => db.run(
                INSERT,
                (
                    id,
                    exchange.revision,
                    exchange.kind.name(),
                    exchange.format.name(),
                    &exchange.organisation,
                    &exchange.document,
                    exchange.version,
                    exchange.entered_in_error,
                    &exchange.patient,
                    exchange.stage.code(),
                    exchange.created_at.timestamp_millis(),
                    updated_at,
                ),
            )?,
            Some(revision) if revision.checked_add(1) == Some(exchange.revision) => db.run(
                UPDATE,
                (
                    id,
                    exchange.revision,
                    exchange.format.name(),
                    exchange.version,
                    exchange.entered_in_error,
                    &exchange.patient,
                    exchange.stage.code(),
                    updated_at,
                ),
            )?,
            Some(_) => {
                let revision = exchange.revision.saturating_sub(1);
                return Err(Refusal::Unmet(Expect::Revision { exchange: exchange.id, revision }));
            }
        };
        db.run(FORGET_PARTIES, [id])?;
        for (position, party) in (0_i64..).zip(&exchange.parties) {
            let status = party.status.map(|status| status.code());
            let (role, stage) = (party.role.code(), party.stage.code());
            let row = (id, position, &party.unit, &party.partner, role, &party.task, status, stage, updated_at);
            db.run(INSERT_PARTY, row)?;
        }
        Ok(())
    }

    pub(super) fn put_exchange_resources(&mut self, exchange: &Exchange) -> Result<(), Refusal> {
        let db = self.statements;
        let id = exchange.id.as_bytes();
        let standing: Vec<String> = db.all(RESOURCES, [id], |row| row.get(0).map_err(Refusal::from))?;
        if standing == exchange.resources {
            return Ok(());
        }
        db.run(NOT_IN_FORCE, [id])?;
        let names = exchange.resources.iter().map(|name| {
            let (resource_type, id) = name.split_once('/').unwrap_or((name, ""));
            serde_json::Value::from(vec![resource_type, id])
        });
        db.run(IN_FORCE, (id, list(names)))?;
        Ok(())
    }

    pub(super) fn put_document(&mut self, document: &Document) -> Result<(), Refusal> {
        let db = self.statements;
        let exchange = document.exchange.as_bytes();
        if document.in_force {
            db.run(SUPERSEDE, [exchange])?;
        }
        db.run(
            INSERT_DOCUMENT,
            (
                exchange,
                document.version,
                document.format.name(),
                &document.hash,
                &document.table,
                &document.table_version,
                document.received_at.timestamp_millis(),
                document.in_force,
                &document.receipt,
                &document.source,
            ),
        )?;
        Ok(())
    }

    pub(super) fn put_inbound(&mut self, inbound: &Inbound) -> Result<(), Refusal> {
        let exchange = inbound.exchange.as_ref().map(|id| id.as_bytes());
        let at = inbound.at.timestamp_millis();
        let row = (&inbound.partner, &inbound.key, exchange, at, &inbound.finding, &inbound.body);
        self.statements.run(PUT_INBOUND, row)?;
        Ok(())
    }

    pub(super) fn put_answer(&mut self, answer: &Answer) -> Result<(), Refusal> {
        let exchange = answer.exchange.as_ref().map(|id| id.as_bytes());
        self.statements.run(
            INSERT_ANSWER,
            (
                &answer.caller,
                &answer.key,
                &answer.request_hash,
                exchange,
                answer.status,
                &answer.location,
                self.now_ms,
                &answer.body,
            ),
        )?;
        Ok(())
    }
}
