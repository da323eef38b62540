//! Notes where Tasks went, for whoever asks afterwards who moved what and when: a row for each that stands elsewhere than before.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::weigh::Current;
use crate::domain::task::Status;
use crate::fhir::canonical::BASE;
use crate::fhir::resource::{id_of, reference_of, type_of};
use crate::store::{Exchange, Move};

/// Who moves Tasks: the unit or partner, and the HSA-id of the person where it was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mover<'a> {
    pub(super) actor: &'a str,
    pub(super) by: Option<&'a str>,
}

/// The moves that lead from what is stored to these resources.
pub(super) fn moves<'a>(
    exchange: &Exchange,
    resources: impl IntoIterator<Item = &'a Value>,
    current: &Current,
    mover: Mover<'_>,
    now: DateTime<Utc>,
) -> Vec<Move> {
    let tasks = resources.into_iter().filter(|r| type_of(r) == "Task");
    tasks
        .filter_map(|task| {
            let stored = reference_of(task).and_then(|name| current.get(&name)).map(|(_, stored)| stored);
            let stands = |t: &Value| (t["status"].as_str().map(str::to_owned), business_status(t).map(str::to_owned));
            if stored.is_some_and(|stored| stands(stored) == stands(task)) {
                return None;
            }
            Some(Move {
                exchange: exchange.id,
                task: id_of(task)?.to_owned(),
                at: now,
                actor: mover.actor.to_owned(),
                by: mover.by.map(str::to_owned),
                version: exchange.version,
                status: task["status"].as_str().and_then(Status::parse)?,
                business_status: business_status(task).map(str::to_owned),
            })
        })
        .collect()
}

/// The code of our own in `Task.businessStatus`.
pub(super) fn business_status(task: &Value) -> Option<&str> {
    let system = format!("{BASE}/CodeSystem/business-status");
    let codings = task["businessStatus"]["coding"].as_array().map_or(&[][..], Vec::as_slice);
    codings.iter().find(|coding| coding["system"] == *system)?["code"].as_str()
}
