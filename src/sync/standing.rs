//! How each recipient of an exchange stands: what it said of the whole and of each area, who moved it and when, and where it was
//! sent on to. As far as the caller sees the Tasks.

use serde_json::{Value, json};

use super::moved::business_status;
use super::part::{area_of, is_part, parts_of};
use super::weigh::{Current, instant};
use super::{Refusal, abort, redirect};
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::canonical::HSA_ID;
use crate::fhir::resource::{id_of, identifier, reference_of, type_of};
use crate::store::{Exchange, Move, Party};

/// One line for each Task, those that were sent on too, in the order in which they were asked.
pub(super) async fn recipients(
    gateway: &Gateway,
    caller: &Caller,
    exchange: &Exchange,
    visible: &Current,
) -> Result<Vec<Value>, Refusal> {
    if !caller.may_read_every("Task") {
        return Ok(Vec::new());
    }
    let moves = gateway.store.moves(exchange.id).await?;
    let order: Vec<&String> = exchange.resources.iter().filter(|name| name.starts_with("Task/")).collect();
    let tasks: Vec<&Value> = order.iter().filter_map(|name| visible.get(*name)).map(|(_, task)| task).collect();
    let wholes = tasks.iter().filter(|t| !abort::is_abort(t) && !is_part(t));
    let shown = wholes.filter_map(|task| {
        let party = exchange.parties.iter().find(|p| p.task.is_some() && p.task.as_deref() == id_of(task));
        (party.is_some() || redirect::is_redirected(task)).then(|| line(task, party, &tasks, &moves, visible))
    });
    Ok(shown.collect())
}

fn line(task: &Value, party: Option<&Party>, tasks: &[&Value], moves: &[Move], visible: &Current) -> Value {
    let name = reference_of(task).unwrap_or_default();
    let parts = parts_of(tasks.iter().copied(), &name);
    let areas: Vec<Value> = parts
        .into_values()
        .map(|part| {
            let mut line = stands(part, moves, visible);
            line["area"] = json!(area_of(part));
            line
        })
        .collect();
    let mut line = stands(task, moves, visible);
    line["unit"] = json!(party.map(|p| p.unit.clone()).or_else(|| owner(task, visible)));
    line["role"] = json!(party.map_or("redirected", |p| p.role.code()));
    line["stage"] = json!(party.map(|p| p.stage.code()));
    line["areas"] = json!(areas);
    line["redirectedTo"] = json!(redirect::named(task));
    let from = redirect::continues(task).and_then(|from| visible.get(from)).and_then(|(_, t)| owner(t, visible));
    line["redirectedFrom"] = json!(from);
    line
}

/// What a Task says, and its last move.
fn stands(task: &Value, moves: &[Move], visible: &Current) -> Value {
    let name = reference_of(task).unwrap_or_default();
    let last = moves.iter().rev().find(|m| Some(m.task.as_str()) == id_of(task));
    json!({
        "task": name,
        "version": visible.get(&name).map(|(version, _)| version),
        "status": task["status"],
        "businessStatus": business_status(task),
        "reason": task["statusReason"]["text"],
        "moved": last.map(|m| json!({
            "at": instant(m.at), "actor": m.actor, "by": m.by, "documentVersion": m.version,
        })),
    })
}

/// The HSA-id of the unit that owns the Task.
fn owner(task: &Value, visible: &Current) -> Option<String> {
    let own = &task["owner"];
    if own["identifier"]["system"] == HSA_ID {
        return own["identifier"]["value"].as_str().map(str::to_owned);
    }
    let (_, unit) = visible.get(own["reference"].as_str()?)?;
    identifier(unit, HSA_ID).filter(|_| type_of(unit) == "Organization").map(str::to_owned)
}
