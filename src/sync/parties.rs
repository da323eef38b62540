//! Who takes part in an exchange after a version, and what each of them is sent.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::package::{self, Address, Right, is_pushed};
use super::read::Read;
use super::route::{Followed, Ties};
use super::weigh::Current;
use crate::Gateway;
use crate::domain::task::Status;
use crate::domain::{PartyRole, Stage};
use crate::fhir::bundle::TaskMode;
use crate::store::{Delivery, Exchange, Party};

/// The sender and everyone the version goes to.
pub(super) fn parties(
    gateway: &Gateway,
    read: &Read<'_>,
    followed: &Followed,
    ties: &Ties,
    resources: &[Value],
    before: Option<&Exchange>,
) -> Vec<Party> {
    let status_of = |task: &str| {
        resources.iter().find(|r| r["id"] == *task).and_then(|t| t["status"].as_str()).and_then(Status::parse)
    };
    let own_task =
        ties.owners.iter().find(|(_, unit)| unit.eq_ignore_ascii_case(&read.unit)).map(|(task, _)| task.clone());
    let partner = gateway.config.directory.find(&read.unit).map_or(String::new(), |u| u.partner.clone());
    let mut parties = vec![Party {
        unit: read.unit.clone(),
        partner,
        role: PartyRole::Sender,
        status: own_task.as_deref().and_then(status_of),
        task: own_task,
        stage: Stage::Recorded,
    }];
    for recipient in &followed.recipients {
        parties.push(Party {
            unit: recipient.unit.clone(),
            partner: recipient.partner.clone(),
            role: recipient.role,
            status: recipient.task.as_deref().and_then(status_of),
            task: recipient.task.clone(),
            stage: Stage::Waiting,
        });
    }
    // Whoever got an earlier version of a plan or activity gets the later ones too, so that nobody is left with what no
    // longer holds. A unit whose Task fell away is told so (`farewells`) and is no party any more.
    for old in before.iter().flat_map(|b| b.recipients()).filter(|p| p.task.is_none()) {
        if !parties.iter().any(|p| p.unit == old.unit) {
            parties.push(Party { stage: Stage::Waiting, ..old.clone() });
        }
    }
    parties
}

/// Recipients of the version before whose Task is no longer asked for.
pub(super) fn left_out<'a>(before: Option<&'a Exchange>, parties: &[Party]) -> Vec<&'a Party> {
    let gone = |p: &&Party| p.task.is_some() && !parties.iter().any(|n| n.unit == p.unit);
    before.into_iter().flat_map(|b| b.recipients()).filter(gone).collect()
}

/// What each recipient with a server of its own is sent.
pub(super) fn deliveries(
    gateway: &Gateway,
    exchange: &Exchange,
    resources: &[Value],
    current: &Current,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for party in exchange.recipients().filter(|p| is_pushed(gateway, &p.partner)) {
        let address = Address::of(exchange, party, now);
        let none = String::new();
        let own = party.task.as_ref().unwrap_or(&none);
        deliveries.push(package::bundle(gateway, &address, resources, TaskMode::CreateOnce, Some(own)));
        // A Bundle never updates a Task that is there: what this version changes in it is delivered by itself.
        let task = resources.iter().find(|r| r["resourceType"] == "Task" && r["id"] == **own);
        let stored = current.get(&format!("Task/{own}")).map(|(_, task)| task);
        if let (Some(task), Some(stored)) = (task, stored) {
            // A new version begins a cancelled Task anew: one that is cancelled here is so for lack of consent.
            let right = if task["status"] == "cancelled" { Right::Both } else { Right::Placer };
            deliveries.extend(package::task_change(&address, task, stored, right));
        }
    }
    deliveries
}

/// What units are sent whose Task is no longer asked for: that it was entered in error, and nothing of the new version.
pub(super) fn farewells(
    gateway: &Gateway,
    exchange: &Exchange,
    left: &[&Party],
    fallen: &[Value],
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    left.iter()
        .filter(|p| is_pushed(gateway, &p.partner))
        .filter_map(|p| {
            let task = fallen.iter().find(|r| r["id"].as_str() == p.task.as_deref())?;
            Some(package::task_move(&Address::of(exchange, p, now), task, Right::Placer))
        })
        .collect()
}
