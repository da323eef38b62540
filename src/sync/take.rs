//! The owner of a Task moves it here, through the FHIR face. Everybody else reads it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Refusal;
use super::abort;
use super::acknowledge::{Applied, Change, Heard, acknowledge};
use super::clocks::item::{OVERDUE, PATIENT_DECEASED};
use super::consultation;
use super::counterpart::CONFLICT;
use super::reassess::task::REASSESSMENT;
use super::refusal::missing;
use super::{part, redirect, worklist};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::task::Status;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::resource::content;
use crate::store::{Filter, Right, Stored};

/// What the owner of a Task may change; the rest belongs to the one who asked.
pub const OWNERS: [&str; 6] = ["status", "statusReason", "businessStatus", "output", "lastModified", "note"];

/// The Task as its owner read it. Nothing that anybody else sends, or that is meant for another version, is looked at.
pub async fn open(gateway: &Gateway, caller: &Caller, id: &str, version: u32) -> Result<Value, Refusal> {
    let filter = caller.filter_to(Right::Update);
    let stored = gateway.store.resource(&filter, "Task", id).await?.ok_or_else(|| missing("Task"))?;
    check_worklist(&stored)?;
    check_owner(gateway, caller, id).await?;
    if stored.version != version {
        return Err(stale(stored.version, version));
    }
    serde_json::from_slice(&stored.body).map_err(|_| missing("Task"))
}

/// Applies the owner's Task to ours.
pub async fn take(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    wanted: &Value,
    version: u32,
    now: DateTime<Utc>,
) -> Result<Applied, Refusal> {
    let stored = open(gateway, caller, id, version).await?;
    let mut issues = check_fields(&stored, wanted);
    if issues.is_empty() {
        check_life(&stored, wanted)?;
    }
    // Whole, as it was sent: what is no Task would be read as far as it can be, and the rest of the answer would be lost.
    issues.extend(gateway.validate(std::slice::from_ref(wanted)).into_iter().filter(Issue::is_error));
    let status = wanted["status"].as_str().and_then(Status::parse);
    if status.is_none() {
        issues.push(unused_status());
    }
    let Some(status) = status.filter(|_| issues.is_empty()) else { return Err(Refusal::Findings(issues)) };
    let change = Change {
        status,
        reason: wanted["statusReason"].clone(),
        business_status: wanted["businessStatus"].clone(),
        note: wanted["note"].clone(),
        output: wanted["output"].as_array().cloned().unwrap_or_default(),
        resources: Vec::new(),
        areas: part::said_in(&stored, wanted),
        children: Vec::new(),
        redirect: redirect::said_in(&stored, wanted).map(|to| (to, "Task.output".to_owned())),
    };
    let body = serde_json::to_vec(wanted).unwrap_or_default();
    let key = format!("Task/{id}/{version}/{:x}", Sha256::digest(&body));
    let partner = caller.partner.as_deref().unwrap_or(&caller.name);
    let heard = Heard {
        partner,
        actor: &caller.name,
        key: &key,
        body: &body,
        expected_version: Some(version),
        by: None,
        here: true,
        kept: None,
    };
    acknowledge(gateway, id, &change, &heard, now).await
}

fn unused_status() -> Issue {
    let known: Vec<&str> = Status::ALL.iter().map(|s| s.code()).collect();
    Issue::error(
        Code::CodeInvalid,
        "Task.status",
        format!("Statusen används inte här; använd någon av {}.", known.join(", ")),
        format!("The status is not used here; use one of {}.", known.join(", ")),
    )
}

fn stale(current: u32, expected: u32) -> Refusal {
    Refusal::Stale(Issue::error(
        Code::Conflict,
        "Task.meta.versionId",
        format!("Uppgiften har version {current}, inte {expected}; läs den igen och gör ändringen på nytt."),
        format!("The Task is at version {current}, not {expected}; read it again and repeat the change."),
    ))
}

/// A Task of our own worklist ends with what it asks for, and by nothing else.
fn check_worklist(stored: &Stored) -> Result<(), Refusal> {
    let task: Value = serde_json::from_slice(&stored.body).map_err(|_| missing("Task"))?;
    let code = task["code"]["coding"][0]["code"].as_str().unwrap_or_default();
    if code == consultation::MISSING {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            "Uppgiften avslutas när samråden registreras (POST /v1/exchanges/{id}/consultations) eller remissen tas tillbaka.",
            "The Task ends when the consultations are recorded (POST /v1/exchanges/{id}/consultations) or the referral is taken back.",
        )));
    }
    if [OVERDUE, PATIENT_DECEASED].contains(&code) {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            "Uppgiften avslutas av sig själv när det som väntas på är gjort; flytta den uppgift som focus pekar på.",
            "The Task ends by itself when what is waited for is done; move the Task that focus points at.",
        )));
    }
    if code == REASSESSMENT {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            "Uppgiften avslutas när en plan kommer med en ny bedömning, eller när planen säger att insatsen inte är avslutad.",
            "The Task ends when a plan comes with a new assessment, or says that the intervention has not ended.",
        )));
    }
    if code == CONFLICT {
        return Err(Refusal::Conflict(Issue::error(
            Code::BusinessRule,
            "Task.status",
            "Uppgiften avslutas när det är bestämt vad som gäller: POST /v1/conflicts/{id}/settle med ours eller theirs för varje element.",
            "The Task ends when it is decided what holds: POST /v1/conflicts/{id}/settle with ours or theirs for each element.",
        )));
    }
    if code != worklist::PARKED {
        return Ok(());
    }
    Err(Refusal::Conflict(Issue::error(
        Code::BusinessRule,
        "Task.status",
        "Uppgiften avslutas när leveransen försöks igen, hoppas över eller ersätts: POST /v1/deliveries/{id}/retry eller /skip.",
        "The Task ends when the delivery is retried, skipped or superseded: POST /v1/deliveries/{id}/retry or /skip.",
    )))
}

async fn check_owner(gateway: &Gateway, caller: &Caller, id: &str) -> Result<(), Refusal> {
    for exchange in gateway.store.exchange_of_resource("Task", id).await? {
        let exchange =
            gateway.store.exchange(&caller.within_reach(), exchange).await?.ok_or_else(|| missing("Task"))?;
        let belongs = belongs_to(gateway, id).await?;
        let task = belongs.as_deref().unwrap_or(id);
        let owner = exchange.parties.iter().find(|p| p.task.as_deref() == Some(task));
        if owner.is_some_and(|o| caller.may_act_for(&o.unit)) {
            return Ok(());
        }
    }
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "Task.owner",
        "Bara den enhet som äger uppgiften kan flytta den.",
        "Only the unit that owns the Task can move it.",
    )))
}

/// A request to stop a Task belongs to the owner of that Task, and so does a part of it: its id.
async fn belongs_to(gateway: &Gateway, id: &str) -> Result<Option<String>, Refusal> {
    let Some(stored) = gateway.store.resource(&Filter::ALL, "Task", id).await? else { return Ok(None) };
    let task: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
    if part::is_part(&task) {
        return Ok(part::whole_of(&task).map(str::to_owned));
    }
    Ok(abort::is_abort(&task).then(|| abort::target(&task).trim_start_matches("Task/").to_owned()))
}

/// What has ended is what the sender was told; only the sender begins it anew.
fn check_life(stored: &Value, wanted: &Value) -> Result<(), Refusal> {
    let status = stored["status"].as_str().and_then(Status::parse);
    let Some(ended) = status.filter(|s| s.is_final()) else { return Ok(()) };
    if OWNERS.iter().all(|name| *name == "lastModified" || stored.get(*name) == wanted.get(*name)) {
        return Ok(());
    }
    Err(Refusal::Conflict(Issue::error(
        Code::BusinessRule,
        "Task.status",
        format!("Uppgiften är avslutad ({ended}) och ändras inte mer; nytt arbete begärs med en ny uppgift."),
        format!("The Task has ended ({ended}) and changes no more; new work is asked for with a new Task."),
    )))
}

fn check_fields(stored: &Value, wanted: &Value) -> Vec<Issue> {
    let (stored, wanted) = (content(stored), content(wanted));
    let empty = serde_json::Map::new();
    let (a, b) = (stored.as_object().unwrap_or(&empty), wanted.as_object().unwrap_or(&empty));
    let mut names: Vec<&String> = a.keys().chain(b.keys()).filter(|n| !OWNERS.contains(&n.as_str())).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| *name != "meta" && a.get(*name) != b.get(*name))
        .map(|name| {
            let is_word = name.len() <= 31 && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
            Issue::error(
                Code::BusinessRule,
                // Any other name may be a person's number that ended up in the wrong place.
                if is_word { format!("Task.{name}") } else { "Task".to_owned() },
                "Elementet tillhör den som bad om uppgiften; sänd det som du läste det.",
                "The element belongs to the one who asked; send it as you read it.",
            )
        })
        .collect()
}
