//! What is open: where it stands, since when, due when, overdue by how much, and whose move it is. No clinical content.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::package::is_pushed;
use super::super::weigh::instant;
use crate::Gateway;
use crate::domain::clock::Mover;
use crate::domain::clock::pause::FOREVER;
use crate::store::{StepCount, Waiting};

/// One line of the list. `names_areas`: whoever asks gives care, and may know which.
pub fn line(gateway: &Gateway, wait: &Waiting, names_areas: bool, now: DateTime<Utc>) -> Value {
    let config = &gateway.config;
    let unit = config.directory.find(&wait.unit);
    let mover = wait.step.mover(unit.is_some_and(|unit| is_pushed(gateway, &unit.partner)));
    let whose = match mover {
        Mover::Sender => &wait.sender,
        Mover::Unit => &wait.unit,
        Mover::Gateway => &config.hsa_id,
    };
    // By its own clock, which does not count what was paused.
    let due = wait.dues.first().copied().unwrap_or(FOREVER);
    let overdue_ms = now.timestamp_millis().saturating_sub(due);
    let is_held = wait.is_held(now);
    let until = wait.held_until.filter(|until| is_held && *until < FOREVER).and_then(DateTime::from_timestamp_millis);
    let is_overdue = wait.is_overdue(now);
    json!({
        "exchange": wait.exchange.to_string(),
        "kind": wait.sort.code(),
        "step": wait.step.code(),
        "priority": wait.priority.code(),
        "unit": wait.unit,
        "partner": unit.map(|unit| &unit.partner),
        "sender": wait.sender,
        "area": wait.area().filter(|_| names_areas),
        "task": wait.task.as_ref().map(|task| format!("Task/{task}")),
        "since": instant(wait.since),
        "dueAt": DateTime::from_timestamp_millis(due).filter(|_| due < FOREVER && !is_held).map(instant),
        "overdue": is_overdue,
        "overdueSeconds": if is_overdue { overdue_ms.max(0) / 1000 } else { 0 },
        "level": wait.level,
        "move": { "by": mover.code(), "unit": whose },
        "paused": if is_held { json!({ "by": wait.held_by.map(|by| by.code()), "until": until.map(instant) }) } else { Value::Null },
    })
}

/// How many there are, step by step.
pub fn count(count: &StepCount) -> Value {
    json!({ "step": count.step.code(), "open": count.open, "overdue": count.overdue })
}
