//! Reads exchanges, their documents, what partners said about them, and answers kept for a key.

use rusqlite::Row;
use rusqlite::types::Value;
use uuid::Uuid;

use super::grants::Right;
use super::link::person;
use super::query::Filter;
use super::record::{Answer, Document, Exchange, Inbound, Party};
use super::row::{list, time, uuid, uuid_if_any, word};
use super::search::Asked;
use super::sql::Sql;
use super::statement::Statements;
use super::visible::and;
use super::{Store, StoreError};
use crate::domain::{Format, Kind, PartyRole, Stage, task};

pub(super) const REVISION: &str = "SELECT revision FROM exchange WHERE id = ?1";
pub(super) const REVISION_OF_DOCUMENT: &str =
    "SELECT id, revision FROM exchange WHERE organisation = ?1 AND kind = ?2 AND document = ?3";
/// Grows with every exchange of the patient and with every change of one.
pub(super) const CHANGES_OF_PATIENT: &str =
    concat!("SELECT coalesce(sum(revision + 1), 0) AS changes FROM exchange WHERE patient IN ", person!("?1"));
/// `Type/id` of the version in force.
pub(super) const RESOURCES: &str = "SELECT r.type || '/' || r.id FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid \
                                    WHERE x.exchange = ?1 AND x.position IS NOT NULL ORDER BY x.position";
/// `Type/id` of everything that any version made or that came to it otherwise.
const EVER: &str = "SELECT r.type || '/' || r.id FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid \
                    WHERE x.exchange = ?1";
const EXCHANGE: &str = "SELECT * FROM exchange WHERE id = ?1";
const PARTIES: &str = "SELECT * FROM party WHERE exchange = ?1 ORDER BY position";
const SEES: &str = "SELECT 1 FROM exchange e WHERE e.id = ?";
const OF_RESOURCE: &str = "SELECT x.exchange FROM resource r CROSS JOIN exchange_resource x ON x.rid = r.rid \
                           WHERE r.type = ?1 AND r.id = ?2 ORDER BY x.exchange";
/// Exchanges of the resources `[type, id]` in which one of the units has not got what is meant for it.
const UNREACHED: &str = "SELECT DISTINCT x.exchange FROM json_each(?1) m \
                         CROSS JOIN resource r ON r.type = m.value ->> 0 AND r.id = m.value ->> 1 \
                         CROSS JOIN exchange_resource x ON x.rid = r.rid CROSS JOIN party p ON p.exchange = x.exchange \
                         WHERE p.role <> 'sender' AND p.stage = 'waiting' AND p.unit IN (SELECT value FROM json_each(?2)) \
                         AND NOT EXISTS (SELECT 1 FROM withheld_exchange w WHERE w.exchange = p.exchange AND w.unit = p.unit) \
                         ORDER BY x.exchange";
const DOCUMENT: &str = "SELECT * FROM document WHERE exchange = ?1 AND version = ?2";
const IN_FORCE: &str = "SELECT * FROM document WHERE exchange = ?1 AND in_force = 1";
const DOCUMENTS: &str = "SELECT * FROM document WHERE exchange = ?1 ORDER BY version DESC";
const ANSWER: &str = "SELECT * FROM answer WHERE caller = ?1 AND key = ?2";
const HELD: &str = "SELECT * FROM inbound WHERE finding IS NOT NULL ORDER BY at LIMIT ?1";
const HELD_OF: &str = "SELECT * FROM inbound WHERE finding IS NOT NULL AND partner = ?2 ORDER BY at LIMIT ?1";
const SAID: &str = "SELECT * FROM inbound WHERE exchange = ?1 ORDER BY at";
const IS_HEARD: &str = "SELECT 1 FROM inbound WHERE partner = ?1 AND key = ?2";
/// The terms of the index `party_open_task`. What the partner's system has is told by what was delivered, not by the stage:
/// that falls back when a later version waits or is parked. What was tried and then put aside or given up may have arrived
/// before its answer was lost, and may be answered. While our own move of a Task has not reached the partner, its
/// copy still stands where it stood before that: what it says is no answer to what we say now.
/// Not while we are about to say there how the Task stands; which version of the request it is about is no such word.
const OPEN_TASKS: &str = "SELECT p.exchange, p.task, \
     (SELECT r.version FROM resource r WHERE r.type = 'Task' AND r.id = p.task) AS version \
     FROM party p WHERE p.partner = ?1 AND p.task > ?2 \
     AND p.status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress') AND p.role <> 'sender' \
     AND EXISTS (SELECT 1 FROM delivery d WHERE d.exchange = p.exchange AND p.unit = d.unit AND d.action <> 'notice' \
                 AND (+d.state = 'delivered' OR +d.state IN ('parked', 'skipped') AND d.attempts > 0)) \
     AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.exchange = p.exchange AND p.unit = d.unit \
                     AND d.action = 'move-task' AND +d.state IN ('waiting', 'parked') \
                     AND CAST(d.body AS TEXT) ->> '$.set.status' IS NOT NULL) \
     ORDER BY p.task LIMIT ?3";

/// A Task that a partner has, with the version at which it stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTask {
    pub exchange: Uuid,
    pub task: String,
    pub version: Option<u32>,
}

/// The exchange, if the one who asks may see it.
fn seen(asked: &Asked<'_, '_>, id: Uuid) -> Result<Option<Exchange>, StoreError> {
    if let Some(visible) = asked.exchange(Right::Read)? {
        let sees = and(Sql::new(SEES, [Value::from(id.as_bytes().to_vec())]), Some(&visible));
        if sees.first(asked.db, |_| Ok(()))?.is_none() {
            return Ok(None);
        }
    }
    exchange(asked.db, id)
}

/// The exchange, whoever asks.
pub(super) fn exchange(db: &Statements<'_>, id: Uuid) -> Result<Option<Exchange>, StoreError> {
    let key = id.as_bytes();
    let found = db.first(EXCHANGE, [key], |row| {
        Ok::<_, StoreError>(Exchange {
            id,
            revision: row.get("revision")?,
            kind: word(row, "kind", "a kind", |word| word.parse().ok())?,
            format: format(row)?,
            organisation: row.get("organisation")?,
            document: row.get("document")?,
            version: row.get("version")?,
            entered_in_error: row.get("entered_in_error")?,
            patient: row.get("patient")?,
            stage: word(row, "stage", "a stage", Stage::parse)?,
            created_at: time(row, "created_at")?,
            updated_at: time(row, "updated_at")?,
            parties: Vec::new(),
            resources: Vec::new(),
        })
    })?;
    let Some(mut exchange) = found else { return Ok(None) };
    exchange.parties = db.all(PARTIES, [key], party)?;
    exchange.resources = db.all(RESOURCES, [key], |row| row.get(0).map_err(StoreError::from))?;
    Ok(Some(exchange))
}

fn format(row: &Row<'_>) -> Result<Format, StoreError> {
    word(row, "format", "a format", |word| word.parse().ok())
}

fn party(row: &Row<'_>) -> Result<Party, StoreError> {
    let status: Option<String> = row.get("status")?;
    let status =
        status.map(|code| task::Status::parse(&code).ok_or(StoreError::Corrupt("a task status"))).transpose()?;
    Ok(Party {
        unit: row.get("unit")?,
        partner: row.get("partner")?,
        role: word(row, "role", "a role", PartyRole::parse)?,
        task: row.get("task")?,
        status,
        stage: word(row, "stage", "a stage", Stage::parse)?,
    })
}

fn document(row: &Row<'_>) -> Result<Document, StoreError> {
    Ok(Document {
        exchange: uuid(row, "exchange")?,
        version: row.get("version")?,
        format: format(row)?,
        source: row.get("source")?,
        hash: row.get("hash")?,
        table: row.get("table_name")?,
        table_version: row.get("table_version")?,
        received_at: time(row, "received_at")?,
        in_force: row.get("in_force")?,
        receipt: row.get("receipt")?,
    })
}

fn inbound(row: &Row<'_>) -> Result<Inbound, StoreError> {
    Ok(Inbound {
        partner: row.get("partner")?,
        key: row.get("key")?,
        exchange: uuid_if_any(row, "exchange")?,
        at: time(row, "at")?,
        body: row.get("body")?,
        finding: row.get("finding")?,
    })
}

fn answer(row: &Row<'_>) -> Result<Answer, StoreError> {
    Ok(Answer {
        caller: row.get("caller")?,
        key: row.get("key")?,
        request_hash: row.get("request_hash")?,
        exchange: uuid_if_any(row, "exchange")?,
        status: row.get("status")?,
        location: row.get("location")?,
        body: row.get("body")?,
    })
}

impl Store {
    pub async fn exchange(&self, filter: &Filter, id: Uuid) -> Result<Option<Exchange>, StoreError> {
        let filter = filter.clone();
        self.read(move |db| seen(&Asked::of(db, &filter), id)).await
    }

    /// The exchange of a document, for the gateway itself.
    /// How much has happened to the patient's exchanges: expect it in the commit that follows from what was read after it.
    pub async fn changes_of_patient(&self, patient: &str) -> Result<i64, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| {
            Ok(db
                .first(CHANGES_OF_PATIENT, [&patient], |row| row.get::<_, i64>("changes").map_err(StoreError::from))?
                .unwrap_or(0))
        })
        .await
    }

    pub async fn exchange_of(
        &self,
        organisation: &str,
        kind: Kind,
        document: &str,
    ) -> Result<Option<Exchange>, StoreError> {
        let key = (organisation.to_owned(), kind.name(), document.to_owned());
        self.read(move |db| {
            let id = db.first(REVISION_OF_DOCUMENT, key, |row| uuid(row, "id"))?;
            id.map(|id| exchange(db, id)).transpose().map(Option::flatten)
        })
        .await
    }

    /// The exchanges a resource belongs to, oldest first.
    pub async fn exchange_of_resource(&self, resource_type: &str, id: &str) -> Result<Vec<Uuid>, StoreError> {
        let key = (resource_type.to_owned(), id.to_owned());
        self.read(move |db| db.all(OF_RESOURCE, key, |row| uuid(row, "exchange"))).await
    }

    /// The exchanges of these resources (`Type/id`) in which one of the units still waits for what is meant for it, oldest first.
    pub async fn unreached(&self, resources: &[String], units: &[String]) -> Result<Vec<Uuid>, StoreError> {
        if resources.is_empty() {
            return Ok(Vec::new());
        }
        let names = resources.iter().filter_map(|name| name.split_once('/'));
        let names = list(names.map(|(resource_type, id)| serde_json::Value::from(vec![resource_type, id])));
        let units = list(units.iter().cloned());
        self.read(move |db| db.all(UNREACHED, (names, units), |row| uuid(row, "exchange"))).await
    }

    /// Everything that belongs to the exchange or ever did (`Type/id`), earlier versions' resources and Provenance too.
    pub async fn resources_of(&self, exchange: Uuid) -> Result<Vec<String>, StoreError> {
        self.read(move |db| db.all(EVER, [exchange.as_bytes()], |row| Ok(row.get(0)?))).await
    }

    /// One version of the document, or the one in force.
    pub async fn document(&self, exchange: Uuid, version: Option<u32>) -> Result<Option<Document>, StoreError> {
        self.read(move |db| match version {
            Some(version) => db.first(DOCUMENT, (exchange.as_bytes(), version), document),
            None => db.first(IN_FORCE, [exchange.as_bytes()], document),
        })
        .await
    }

    /// Every version of the document, newest first.
    pub async fn documents(&self, exchange: Uuid) -> Result<Vec<Document>, StoreError> {
        self.read(move |db| db.all(DOCUMENTS, [exchange.as_bytes()], document)).await
    }

    /// The answer that was given for this Idempotency-Key.
    pub async fn recall(&self, caller: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let key = (caller.to_owned(), key.to_owned());
        self.read(move |db| db.first(ANSWER, key, answer)).await
    }

    /// Tasks that a partner has as we have them and of which more is expected, by Task id; `after` is the last of the page
    /// before.
    pub async fn open_tasks(
        &self,
        partner: &str,
        limit: u32,
        after: Option<String>,
    ) -> Result<Vec<OpenTask>, StoreError> {
        let key = (partner.to_owned(), after.unwrap_or_default(), limit);
        self.read(move |db| {
            db.all(OPEN_TASKS, key, |row| {
                Ok(OpenTask { exchange: uuid(row, "exchange")?, task: row.get("task")?, version: row.get("version")? })
            })
        })
        .await
    }

    /// Whether the partner has said this before.
    pub async fn is_heard(&self, partner: &str, key: &str) -> Result<bool, StoreError> {
        let key = (partner.to_owned(), key.to_owned());
        let found =
            self.read(move |db| db.first(IS_HEARD, key, |row| Ok::<_, StoreError>(row.get::<_, i64>(0)?))).await?;
        Ok(found.is_some())
    }

    /// What partners said that could not be applied, oldest first.
    pub async fn held_inbound(&self, partner: Option<&str>, limit: u32) -> Result<Vec<Inbound>, StoreError> {
        let partner = partner.map(str::to_owned);
        self.read(move |db| match partner {
            Some(partner) => db.all(HELD_OF, (limit, partner), inbound),
            None => db.all(HELD, [limit], inbound),
        })
        .await
    }

    /// What partners said about an exchange, oldest first.
    pub async fn inbound_of(&self, exchange: Uuid) -> Result<Vec<Inbound>, StoreError> {
        self.read(move |db| db.all(SAID, [exchange.as_bytes()], inbound)).await
    }
}
