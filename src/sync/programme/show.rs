//! A programme as it is shown: where it stands, what comes when, who may do what now, and by when it is gone. No message's words.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::state::State;
use super::{course, responsible};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::programme::{Step, open_steps};
use crate::rules::programme::{self as rules, Due, between};
use crate::store::Programme;
use crate::sync::Refusal;
use crate::sync::weigh::instant;

/// One programme in full.
pub async fn shown(gateway: &Gateway, one: &Programme, now: DateTime<Utc>) -> Result<Value, Refusal> {
    let mut shown = line(one);
    let held = match &one.patient {
        Some(patient) => gateway.store.programme_hold(patient).await?,
        None => None,
    };
    let at = |at: Option<DateTime<Utc>>| at.map(instant);
    shown["purge"] = json!({
        "dueAt": instant(if one.closed_at.is_some() { one.closed_at.unwrap_or(one.purge_at) } else { one.purge_at }),
        "purgedAt": at(one.purged_at),
        "held": held.is_some(),
    });
    if one.purged_at.is_some() {
        return Ok(shown);
    }
    let state = State::read(&one.state);
    shown["startedBy"] = json!(state.started_by);
    shown["therapist"] = json!(state.therapist);
    shown["documented"] = json!(state.documented);
    shown["carePlan"] = json!(format!("CarePlan/{}", one.id));
    shown["checkIn"] = json!(state.check_in.as_ref().map(|id| format!("Task/{id}")));
    let Some(definition) = gateway.conformance.programmes.get(&one.definition) else { return Ok(shown) };
    let module = |module: &rules::Module| {
        let progress = state.modules.get(&module.code).cloned().unwrap_or_default();
        json!({
            "code": module.code, "title": module.title,
            "startedAt": at(progress.started_at), "completedAt": at(progress.completed_at),
        })
    };
    shown["modules"] = definition.modules.iter().map(module).collect();
    shown["calendar"] = calendar(definition, one, now);
    let step = |step| {
        let roles = definition.step(step).map(|rule| rule.roles.clone()).unwrap_or_default();
        json!({ "step": step.code(), "roles": roles })
    };
    shown["steps"] = open_steps(one.stage).filter(|step| *step != Step::Sent).map(step).collect();
    Ok(shown)
}

/// One line of a list.
pub fn line(one: &Programme) -> Value {
    let at = |at: Option<DateTime<Utc>>| at.map(instant);
    json!({
        "id": one.id.to_string(),
        "definition": one.definition,
        "version": one.version,
        "stage": one.stage.code(),
        "patient": one.patient.as_ref().map(|id| format!("Patient/{id}")),
        "unit": one.unit,
        "team": one.team,
        "responsible": responsible(one),
        "startedAt": instant(one.started_at),
        "activeAt": at(one.active_at),
        "treatmentStartedAt": at(one.treatment_at),
        "closedAt": at(one.closed_at),
    })
}

/// The days that are given, gone by and to come; check-ins are the Tasks that are made.
fn calendar(definition: &rules::Programme, one: &Programme, now: DateTime<Utc>) -> Value {
    let quiet = rules::Course { active_at: None, ..course(one) };
    let before = one.started_at - chrono::TimeDelta::milliseconds(1);
    let entries = between(definition, &quiet, before, one.purge_at);
    let entry = |entry: &rules::Entry<'_>| {
        let (kind, code, cited) = match entry.due {
            Due::Message(message) => ("message", message.code.as_str(), message.cited.as_slice()),
            Due::Mark(mark) => ("mark", mark.code.as_str(), mark.cited.as_slice()),
            Due::Close => ("close", "close", &[][..]),
            Due::CheckIn { .. } => ("check-in", "check-in", &[][..]),
        };
        let rules: Vec<&str> = cited.iter().map(|c| c.rule.as_str()).collect();
        json!({ "at": instant(entry.at), "kind": kind, "code": code, "rules": rules, "isDue": entry.at <= now })
    };
    entries.iter().map(entry).collect()
}

/// The programmes that the caller may see, the latest first, those that were purged at the end of their days too.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Value>, Refusal> {
    let filter = caller.filter();
    let all = gateway.store.programmes(&caller.within_reach(), before, limit).await?;
    let names: Vec<String> = all.iter().map(|one| format!("CarePlan/{}", one.id)).collect();
    let plans = gateway.store.resources(&filter, &names).await?;
    let is_seen = |id: Uuid| plans.iter().any(|plan| plan.id == id.to_string());
    let shown = all.iter().filter(|one| one.purged_at.is_some() || is_seen(one.id));
    Ok(shown.map(line).collect())
}

/// What programmes there are.
pub fn definitions(gateway: &Gateway) -> Vec<Value> {
    let one = |of: &rules::Programme| json!({ "id": of.id, "title": of.title, "definition": of.canonical(), "active": of.is_active });
    gateway.conformance.programmes.all().iter().map(one).collect()
}
