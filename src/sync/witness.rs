//! The record of who saw what: on disk before the answer leaves. A partner that reads its Task here has it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::package::is_pushed;
use super::{Refusal, TRIES};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::{PartyRole, Stage};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Audit, Commit, Committed, Deed, Disclosed, Expect, Filter, Stored};

/// Records a read or a search.
pub async fn record(
    gateway: &Gateway,
    caller: &Caller,
    action: &str,
    object: &str,
    payload: &Value,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if !gateway.config.audit_reads {
        return Ok(());
    }
    let audit = audit(caller, action, object, payload, now);
    gateway.store.commit(Commit { audit: vec![audit], ..Commit::default() }).await?;
    Ok(())
}

fn audit(caller: &Caller, action: &str, object: &str, payload: &Value, now: DateTime<Utc>) -> Audit {
    Audit {
        at: now,
        actor: caller.name.clone(),
        action: action.to_owned(),
        object: object.to_owned(),
        payload: payload.to_string(),
    }
}

/// Whether a registry may read resource by resource. With codes it may not: it gets everything by `$export`, where every
/// resource passes the one place that codes it.
pub fn check_interactive(gateway: &Gateway, caller: &Caller) -> Result<(), Refusal> {
    let Reach::Registry(name) = &caller.reach else { return Ok(()) };
    if gateway.config.registry(name).is_some_and(|registry| !registry.is_coded()) {
        return Ok(());
    }
    Err(Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "",
        "Registret får kodade uppgifter: hämta dem med $export; att läsa och söka enskilda resurser är stängt.",
        "The registry gets coded data: fetch it by $export; reading and searching single resources is closed.",
    )))
}

/// Records that resources were shown, and that a unit which read something of an exchange here has got it.
pub async fn shown(
    gateway: &Gateway,
    caller: &Caller,
    action: &str,
    object: &str,
    resources: &[Stored],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    check_interactive(gateway, caller)?;
    let names: Vec<String> = resources.iter().map(|r| format!("{}/{}/{}", r.resource_type, r.id, r.version)).collect();
    record(gateway, caller, action, object, &json!({ "shown": names }), now).await?;
    let told = |r: &&Stored| {
        !matches!(r.resource_type.as_str(), "Patient" | "Organization" | "Practitioner" | "PractitionerRole")
    };
    if let Reach::Registry(name) = &caller.reach {
        return disclose(gateway, name, resources, now).await;
    }
    // The operator looking on is not the recipient having it.
    let Reach::Units(units) = &caller.reach else { return Ok(()) };
    let names: Vec<String> = resources.iter().filter(told).map(|r| format!("{}/{}", r.resource_type, r.id)).collect();
    let exchanges = gateway.store.unreached(&names, units).await?;
    for exchange in exchanges {
        reach(gateway, caller, exchange, now).await?;
    }
    Ok(())
}

/// What a registry reads it has got: on disk before the answer leaves, so that it can be told to erase it.
async fn disclose(gateway: &Gateway, registry: &str, resources: &[Stored], now: DateTime<Utc>) -> Result<(), Refusal> {
    let resources = resources.iter().map(|r| format!("{}/{}", r.resource_type, r.id)).collect();
    let disclosed = Disclosed { registry: registry.to_owned(), resources, key: None, at: now };
    gateway.store.commit(Commit { deeds: vec![Deed::Disclosed(disclosed)], ..Commit::default() }).await?;
    Ok(())
}

async fn reach(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<(), Refusal> {
    for _ in 0..TRIES {
        let Some(mut exchange) = gateway.store.exchange(&Filter::ALL, id).await? else { return Ok(()) };
        let revision = exchange.revision;
        let mut reached = false;
        for party in exchange.parties.iter_mut().filter(|p| p.role != PartyRole::Sender && p.stage == Stage::Waiting) {
            if !is_pushed(gateway, &party.partner) && caller.may_act_for(&party.unit) {
                party.stage = party.status.map_or(Stage::Delivered, Stage::of_task);
                reached = true;
            }
        }
        if !reached {
            return Ok(());
        }
        exchange.stage = Stage::of_all(exchange.recipients().map(|p| p.stage));
        exchange.revision += 1;
        exchange.updated_at = now;
        let commit = Commit {
            expect: vec![Expect::Revision { exchange: id, revision }],
            audit: vec![audit(caller, "fetch", &format!("exchange/{id}"), &json!({ "exchange": id.to_string() }), now)],
            exchanges: vec![exchange],
            ..Commit::default()
        };
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            return Ok(());
        }
    }
    Err(Refusal::Busy)
}
