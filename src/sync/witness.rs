//! The record of who saw what: on disk before the answer leaves. A partner that reads its Task here has it.
//!
//! Everybody who does something says it here, by [`by`] and an [`Event`]; what an action wrote is added by [`wrote`].

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::package::is_pushed;
use super::{Refusal, TRIES};
use crate::Gateway;
use crate::access::{Caller, Purpose, Reach};
use crate::domain::audit::{By, Deed, Event};
use crate::domain::{Directory, PartyRole, Stage};
use crate::fhir::about::is_definition;
use crate::fhir::issue::{Code, Issue};
use crate::store::{self, Audit, Commit, Committed, Disclosed, Expect, Filter, Given, Stored};
use crate::telemetry::asked;

/// Who a caller is in the audit log.
pub fn by(directory: &Directory, caller: &Caller) -> By {
    let purpose = match caller.purpose {
        Purpose::Care => "care",
        Purpose::Registry => "registry",
        Purpose::Operations => "operations",
    };
    let systems = (caller.client.as_deref(), caller.partner.as_deref());
    named_for(directory, &caller.name, systems, Some(purpose))
}

/// The same, of somebody of whom no more than this is at hand: the client and its partner, where there are such.
pub fn named_for(
    directory: &Directory,
    name: &str,
    (client, partner): (Option<&str>, Option<&str>),
    purpose: Option<&'static str>,
) -> By {
    let asked = asked();
    // A partner's own system has the partner's name.
    let client = client.or(partner).filter(|client| *client != name);
    By {
        name: name.to_owned(),
        organisation: directory.find(name).map(|unit| unit.care_provider.to_ascii_uppercase()),
        client: client.map(str::to_owned),
        partner: partner.filter(|partner| *partner != name && Some(*partner) != client).map(str::to_owned),
        purpose,
        from: asked.map(|asked| asked.origin),
        request: asked.map(|asked| asked.number),
    }
}

/// Somebody of whom a name is at hand: a unit, a partner, a person who decided.
pub fn named(gateway: &Gateway, name: &str) -> By {
    named_for(&gateway.config.directory, name, (None, None), None)
}

/// The row of an action, with the resources that its commit writes and the patients they are about.
pub fn wrote(event: Event, commit: &Commit) -> Audit {
    let names = commit.put.iter().map(|put| format!("{}/{}/{}", put.resource_type, put.id, put.version)).collect();
    let of_put = commit.put.iter().filter_map(|put| match put.resource_type.as_str() {
        "Patient" => Some(put.id.clone()),
        _ => put.patient.clone(),
    });
    let patients: BTreeSet<String> = of_put.chain(commit.exchanges.iter().filter_map(|e| e.patient.clone())).collect();
    let event = event.showing(names);
    // Where the commit says nothing of a patient, the object may.
    if patients.is_empty() { event.into() } else { event.about(patients).into() }
}

/// Whose the resources are.
pub fn patients(resources: &[Stored]) -> BTreeSet<String> {
    let of = |stored: &Stored| match stored.resource_type.as_str() {
        "Patient" => Some(stored.id.clone()),
        _ => stored.patient.clone(),
    };
    resources.iter().filter_map(of).collect()
}

/// Records something by itself.
pub async fn tell(gateway: &Gateway, event: Event) -> Result<(), Refusal> {
    put(gateway, event.into()).await
}

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
    let event = event(gateway, caller, action, object, now).with_all(payload);
    put(gateway, in_words(event, action)).await
}

/// A word that has no deed of its own stands in the log as it was said.
fn in_words(event: Event, action: &str) -> Audit {
    Audit { action: action.to_owned(), ..event.into() }
}

async fn put(gateway: &Gateway, audit: Audit) -> Result<(), Refusal> {
    gateway.store.commit(Commit { audit: vec![audit], ..Commit::default() }).await?;
    Ok(())
}

/// What a caller did.
pub fn did(gateway: &Gateway, caller: &Caller, deed: Deed, object: impl Into<String>, now: DateTime<Utc>) -> Event {
    Event::new(now, by(&gateway.config.directory, caller), deed, object)
}

fn event(gateway: &Gateway, caller: &Caller, action: &str, object: &str, now: DateTime<Utc>) -> Event {
    did(gateway, caller, Deed::of(action), object, now)
}

/// Whether a registry may read resource by resource. With codes it may not: it gets everything by `$export`, where every
/// resource passes the one place that codes it. Definitions are about nobody, and have nothing to be coded.
pub fn check_interactive(gateway: &Gateway, caller: &Caller) -> Result<(), Refusal> {
    let Reach::Registry(name) = &caller.reach else { return Ok(()) };
    if !gateway.config.gets_codes(name) {
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
    if !resources.iter().all(|stored| is_definition(&stored.resource_type)) {
        check_interactive(gateway, caller)?;
    }
    if gateway.config.audit_reads {
        let names = resources.iter().map(|r| format!("{}/{}/{}", r.resource_type, r.id, r.version)).collect();
        let event = event(gateway, caller, action, object, now).showing(names).about(patients(resources));
        put(gateway, in_words(event, action)).await?;
    }
    if let Reach::Registry(name) = &caller.reach {
        return disclose(gateway, name, resources, now).await;
    }
    fetched(gateway, caller, resources, now).await
}

/// That a unit has got what it was asked for, where that was shown or told to it.
pub async fn fetched(
    gateway: &Gateway,
    caller: &Caller,
    resources: &[Stored],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let told = |r: &&Stored| {
        !matches!(r.resource_type.as_str(), "Patient" | "Organization" | "Practitioner" | "PractitionerRole")
    };
    // The operator looking on is not the recipient having it.
    let Reach::Units(units) = &caller.reach else { return Ok(()) };
    let names: Vec<String> = resources.iter().filter(told).map(|r| format!("{}/{}", r.resource_type, r.id)).collect();
    let exchanges = gateway.store.unreached(&names, units).await?;
    for exchange in exchanges {
        reach(gateway, caller, exchange, now).await?;
    }
    Ok(())
}

/// Records that resources were named, and not shown.
pub async fn listed(
    gateway: &Gateway,
    caller: &Caller,
    object: &str,
    resources: &[Stored],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if !gateway.config.audit_reads {
        return Ok(());
    }
    let names = resources.iter().map(|r| format!("{}/{}/{}", r.resource_type, r.id, r.version)).collect();
    let event = event(gateway, caller, Deed::Search.code(), object, now).showing(names).about(patients(resources));
    put(gateway, event.into()).await
}

/// What a registry reads it has got: on disk before the answer leaves, so that it can be told to erase it.
async fn disclose(gateway: &Gateway, registry: &str, resources: &[Stored], now: DateTime<Utc>) -> Result<(), Refusal> {
    let given = resources.iter().filter(|stored| !is_definition(&stored.resource_type));
    let resources: Vec<String> = given.map(|r| format!("{}/{}", r.resource_type, r.id)).collect();
    if resources.is_empty() {
        return Ok(());
    }
    let disclosed = Disclosed { registry: registry.to_owned(), what: Given::Names(resources), key: None, at: now };
    gateway.store.commit(Commit { deeds: vec![store::Deed::Disclosed(disclosed)], ..Commit::default() }).await?;
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
        let fetched = event(gateway, caller, Deed::Fetch.code(), &format!("exchange/{id}"), now)
            .with("exchange", id.to_string())
            .about(exchange.patient.clone());
        let commit = Commit {
            expect: vec![Expect::Revision { exchange: id, revision }],
            audit: vec![fetched.into()],
            exchanges: vec![exchange],
            ..Commit::default()
        };
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            return Ok(());
        }
    }
    Err(Refusal::Busy)
}
