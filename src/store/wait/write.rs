//! Writes waits, what is told of them, and the ends of the Tasks that told it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Expect;
use super::super::StoreError;
use super::super::apply::{Refusal, Writing};
use super::super::audit::note;
use super::super::record::{Audit, Put};
use super::read::{ONE, waiting};
use super::settle::standing_of;
use super::{DECEASED, HeldBy, Raised, Waiting};
use crate::domain::audit::{By, Deed, Event};
use crate::domain::clock::pause::FOREVER;
use crate::fhir::search;

const INSERT: &str = "INSERT INTO wait (exchange, unit, step, subject, task, sender, sort, priority, since, dues, held_until, \
     held_by, due_at, next_at, level, item) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
const DELETE: &str = "DELETE FROM wait WHERE exchange = ?1 AND unit = ?2 AND step = ?3 AND subject = ?4";
const FORGET_MARK: &str = "DELETE FROM clock_rules WHERE id = 1";
const RAISE: &str = "UPDATE wait SET level = ?5, item = 1, next_at = ?6 \
                     WHERE exchange = ?1 AND unit = ?2 AND step = ?3 AND subject = ?4";
const RAISE_DECEASED: &str = "UPDATE wait SET item = 1, next_at = NULL WHERE exchange = ?1 AND held_by = 'deceased'";
const ESCALATE: &str = "INSERT INTO escalation (exchange, unit, step, subject, since, level, at) \
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
const END: &str = "UPDATE escalation SET ended_at = ?5 \
                   WHERE exchange = ?1 AND unit = ?2 AND step = ?3 AND subject = ?4 AND ended_at IS NULL";
const NOTE_TASK: &str = "INSERT INTO escalation_task (exchange, rid, unit, step, subject) \
     VALUES (?1, (SELECT rid FROM resource WHERE type = 'Task' AND id = ?2), ?3, ?4, ?5) ON CONFLICT DO NOTHING";
const TASKS: &str = "SELECT x.unit, x.step, x.subject, r.id, r.version, r.patient, v.body FROM escalation_task x \
     CROSS JOIN resource r ON r.rid = x.rid CROSS JOIN version v ON v.seq = r.seq WHERE x.exchange = ?1";

/// A Task that tells of a wait, as it stands.
struct Item {
    unit: String,
    step: String,
    subject: String,
    id: String,
    version: u32,
    patient: Option<String>,
    body: Vec<u8>,
}

impl Writing<'_, '_> {
    /// Writes what differs.
    pub(super) fn write_waits(&mut self, exchange: Uuid, old: &[Waiting], new: &[Waiting]) -> Result<(), Refusal> {
        let db = self.statements;
        let key = exchange.as_bytes();
        if self.state.clock_mark().is_none() && old != new {
            // Whoever opens the file with rules reckons anew.
            db.run(FORGET_MARK, [])?;
        }
        for row in old.iter().filter(|o| !new.contains(o)) {
            db.run(DELETE, (key, &row.unit, row.step.code(), &row.subject))?;
        }
        for row in new.iter().filter(|n| !old.contains(n)) {
            let (since, dues) = (row.since.timestamp_millis(), json!(row.dues).to_string());
            db.run(
                INSERT,
                rusqlite::params![
                    key,
                    row.unit,
                    row.step.code(),
                    row.subject,
                    row.task,
                    row.sender,
                    row.sort.code(),
                    row.priority.code(),
                    since,
                    dues,
                    row.held_until,
                    row.held_by.map(HeldBy::code),
                    row.due_at,
                    row.next_at,
                    row.level,
                    row.has_item,
                ],
            )?;
        }
        Ok(())
    }

    /// Notes that a wait was told; nothing where it stands otherwise than it was read.
    pub(in crate::store) fn raise(&mut self, raised: &Raised) -> Result<(), Refusal> {
        let db = self.statements;
        let key = raised.exchange.as_bytes();
        let place = (key, &raised.unit, raised.step.code(), &raised.subject);
        let found: Option<Waiting> = db.first(ONE, place, waiting)?;
        let is_it = |w: &&Waiting| {
            let is_dead = w.held_by == Some(HeldBy::Deceased);
            w.since == raised.since && w.level == raised.before && is_dead == raised.is_deceased && w.next_at.is_some()
        };
        let Some(row) = found.as_ref().filter(is_it) else {
            return Err(Refusal::Unmet(Expect::Waiting {
                exchange: raised.exchange,
                unit: raised.unit.clone(),
                step: raised.step,
            }));
        };
        let (since, at) = (row.since.timestamp_millis(), raised.at.timestamp_millis());
        let (unit, step) = match raised.is_deceased {
            true => (&row.sender, DECEASED),
            false => (&raised.unit, raised.step.code()),
        };
        if raised.is_deceased {
            db.run(RAISE_DECEASED, [key])?;
        } else {
            let level = usize::from(raised.level) + 1;
            let next = Some(row.due(level)).filter(|next| *next < FOREVER);
            db.run(RAISE, (key, &raised.unit, step, &raised.subject, raised.level, next))?;
        }
        let subject = if raised.is_deceased { "" } else { raised.subject.as_str() };
        db.run(ESCALATE, (key, unit, step, subject, since, raised.level, at))?;
        for task in &raised.tasks {
            db.run(NOTE_TASK, (key, task, unit, step, subject))?;
        }
        Ok(())
    }

    pub(super) fn end_escalations(
        &mut self,
        exchange: Uuid,
        ended: &[&Waiting],
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        for wait in ended {
            let at = now.timestamp_millis();
            let (unit, step) = match wait.held_by {
                Some(HeldBy::Deceased) => (&wait.sender, DECEASED),
                _ => (&wait.unit, wait.step.code()),
            };
            let subject = if step == DECEASED { "" } else { wait.subject.as_str() };
            self.statements.run(END, (exchange.as_bytes(), unit, step, subject, at))?;
        }
        Ok(())
    }

    /// Ends the Tasks whose wait is over, and holds those whose clock stands still.
    pub(super) fn end_items(&mut self, exchange: Uuid, new: &[Waiting], now: DateTime<Utc>) -> Result<(), Refusal> {
        let item = |row: &rusqlite::Row<'_>| {
            Ok::<_, StoreError>(Item {
                unit: row.get("unit")?,
                step: row.get("step")?,
                subject: row.get("subject")?,
                id: row.get("id")?,
                version: row.get("version")?,
                patient: row.get("patient")?,
                body: row.get("body")?,
            })
        };
        for item in self.statements.all(TASKS, [exchange.as_bytes()], item)? {
            let status = standing_of(&item.step, &item.unit, &item.subject, new).unwrap_or("completed");
            if status != "requested" {
                self.end_item(exchange, &item, status, now)?;
            }
        }
        Ok(())
    }

    fn end_item(&mut self, exchange: Uuid, item: &Item, status: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        let mut task: Value = serde_json::from_slice(&item.body).map_err(|_| Refusal::Corrupt("a Task"))?;
        if task["status"] == status || task["status"] == "completed" {
            return Ok(());
        }
        let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let version = item.version.saturating_add(1);
        task["status"] = json!(status);
        task["lastModified"] = json!(at);
        task["meta"]["versionId"] = json!(version.to_string());
        task["meta"]["lastUpdated"] = json!(at);
        let put = Put {
            resource_type: "Task".into(),
            id: item.id.clone(),
            version,
            body: serde_json::to_vec(&task).map_err(|_| Refusal::Corrupt("a Task"))?,
            patient: item.patient.clone(),
            units: Vec::new(),
            index: search::index(&task),
            exchange: None,
        };
        self.put_resource(&put, Some(now.timestamp_millis()))?;
        let event = Event::new(now, By::gateway(), Deed::Escalate, format!("Task/{}", item.id))
            .with("change", if status == "on-hold" { "hold" } else { "end" })
            .with("exchange", exchange.to_string())
            .with("unit", item.unit.as_str())
            .with("step", item.step.as_str());
        let audit = Audit::from(event.showing(vec![format!("Task/{}/{version}", item.id)]));
        let noted = note(&audit);
        self.append_audit(&audit, &noted)
    }
}
