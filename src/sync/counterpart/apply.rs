//! Applies what a partner's people changed in their copy: the owner's word comes into ours, in one commit with the record of it,
//! the news to the others, and the Task about what is not theirs to say.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::acknowledge::{Heard, hold};
use super::super::notice::{News, notices};
use super::super::package::{self, Address, is_pushed};
use super::super::reconcile::rename;
use super::super::weigh::{Scale, Weighed, current};
use super::super::{Refusal, TRIES, witness};
use super::{Clashes, home, is_closed, is_theirs, open, reassess};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::ownership::{Owner, owner};
use crate::fhir::bundle::TaskMode;
use crate::fhir::issue::{Issue, any_error};
use crate::fhir::resource::{reference_of, type_of};
use crate::fhir::three_way::{Incoming, Taken, incoming, put};
use crate::store::{Commit, Committed, Counterpart, Exchange, Expect, Filter, Owned, OwnedChange, StoreError};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Applied,
    /// It cannot stand here; a person sees it.
    Held,
    /// It says nothing new.
    Nothing,
    /// Something is under way: it is read again.
    Left,
}

/// Applies the partner's copy. `known`: what it had when we looked last.
pub(super) async fn apply(
    gateway: &Gateway,
    known: &Counterpart,
    theirs: &Value,
    now: DateTime<Utc>,
) -> Result<Became, Refusal> {
    let store = &gateway.store;
    let partner = known.partner.as_str();
    let name = format!("{}/{}", known.resource_type, known.id);
    let version = theirs["meta"]["versionId"].as_str();
    let key = format!("{}/{}/{}", known.resource_type, known.theirs, version.unwrap_or_default());
    if version.is_some() && store.is_heard(partner, &key).await? {
        return Ok(Became::Nothing);
    }
    let names = names(gateway, known).await?;
    let base: Value = serde_json::from_slice(&known.body).unwrap_or_default();
    for _ in 0..TRIES {
        let Some(exchange) = home(gateway, &name).await? else { return Ok(Became::Nothing) };
        // What was shared no more is not shared by being changed there.
        if is_closed(gateway, &exchange).await? || !takes_part(gateway, &exchange, known).await? {
            return Ok(Became::Nothing);
        }
        if store.is_under_way(partner, &known.patient).await? {
            return Ok(Became::Left);
        }
        let found = current(store.resources(&Filter::ALL, &exchange.resources).await?);
        let Some((_, ours)) = found.get(&name) else { return Ok(Became::Nothing) };
        let mut read = incoming(&base, ours, theirs, |path| is_theirs(gateway, &exchange, partner, ours, path));
        own_names(&mut read, &names);
        let issues = gateway.validate(std::slice::from_ref(&read.resource));
        if !read.taken.is_empty() && any_error(&issues) {
            let body = serde_json::to_vec(theirs).unwrap_or_default();
            let heard = Heard {
                partner,
                actor: partner,
                key: &key,
                body: &body,
                expected_version: None,
                by: None,
                here: false,
                kept: None,
            };
            let finding = issues.iter().filter(|i| i.is_error()).map(Issue::line).collect::<Vec<_>>().join("\n");
            hold(gateway, &heard, Some(exchange.id), finding, now).await?;
            return Ok(Became::Held);
        }
        let mut commit = Commit {
            counterparts: vec![Counterpart {
                version: version.map(str::to_owned),
                changed: theirs["meta"]["lastUpdated"].as_str().map(str::to_owned),
                settled: true,
                body: serde_json::to_vec(theirs).unwrap_or_default(),
                ..known.clone()
            }],
            expect: vec![Expect::Counterpart {
                partner: partner.to_owned(),
                resource_type: known.resource_type.clone(),
                id: known.id.clone(),
                mark: Some(known.mark),
            }],
            ..Commit::default()
        };
        let is_news = !read.taken.is_empty() || !read.clashes.is_empty();
        if is_news {
            let mut after = Exchange { revision: exchange.revision + 1, updated_at: now, ..exchange.clone() };
            let units = after.units();
            let scale = Scale { now, patient: after.patient.as_deref(), units: &units, exchange: Some(after.id) };
            let mut weighed = Weighed::default();
            scale.add(&read.resource, &found, &mut weighed);
            commit.put = weighed.put;
            commit.expect.extend(weighed.expect);
            commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision });
            commit.owned = said(gateway, known, &read.taken).await?;
            if !commit.put.is_empty() {
                let mut resources: HashMap<String, Value> =
                    found.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
                resources.insert(name.clone(), read.resource.clone());
                // That a performer ends an intervention at its own server is an end like any other.
                if known.resource_type == "CarePlan" {
                    reassess(gateway, &mut commit, &after, &found, &resources, now).await?;
                }
                onward(gateway, &mut commit, &after, &name, &resources, Some(partner), now).await?;
                let others = after.parties.iter().filter(|party| party.partner != partner);
                commit.deliveries.extend(notices(gateway, &after, others, News::Change, now));
            }
            let elements = read.taken.len();
            let clashes = read.clashes.len();
            if clashes > 0 {
                open(gateway, &mut commit, &after, partner, &Clashes { name: name.clone(), found: read.clashes }, now)
                    .await?;
            }
            let event = Event::new(now, By::named(partner), Deed::Sync, name.clone())
                .with("exchange", after.id.to_string())
                .with("partner", partner)
                .with("elements", elements)
                .with("conflicts", clashes);
            commit.audit.push(witness::wrote(event, &commit));
            after.updated_at = now;
            commit.exchanges.push(after);
        }
        match store.commit(commit).await? {
            Committed::Done { .. } => {
                gateway.wake.notify_one();
                return Ok(if is_news { Became::Applied } else { Became::Nothing });
            }
            // Something was sent there meanwhile: what was read is not what stands.
            Committed::Conflict(Expect::Counterpart { .. }) => return Ok(Became::Left),
            Committed::Conflict(_) => {}
        }
    }
    Err(Refusal::Busy)
}

/// Whether the partner has a part in it still: in what makes the resource, or in what it came with.
async fn takes_part(gateway: &Gateway, home: &Exchange, known: &Counterpart) -> Result<bool, Refusal> {
    let has_part = |exchange: &Exchange| exchange.parties.iter().any(|party| party.partner == known.partner);
    if has_part(home) {
        return Ok(true);
    }
    let carried = gateway.store.exchange(&Filter::ALL, known.exchange).await?;
    let Some(carried) = carried.filter(has_part) else { return Ok(false) };
    Ok(!is_closed(gateway, &carried).await?)
}

/// References of theirs become ours, as far as we know what they are.
fn own_names(read: &mut Incoming, names: &HashMap<String, String>) {
    for taken in &mut read.taken {
        if let Some(is) = &mut taken.is {
            rename(is, names);
        }
        put(&mut read.resource, &taken.path, taken.is.clone());
    }
    for said in read.clashes.iter_mut().filter_map(|clash| clash.theirs.as_mut()) {
        rename(said, names);
    }
}

/// What performers have said of their own, with the word of the other side that it stands in the place of.
async fn said(gateway: &Gateway, known: &Counterpart, taken: &[Taken]) -> Result<Vec<OwnedChange>, StoreError> {
    let before = gateway.store.owned(&known.resource_type, &known.id).await?;
    let of = taken.iter().filter(|t| owner(&known.resource_type, &t.path) == Owner::Performer);
    let change = |t: &Taken| {
        let earlier = before.iter().find(|o| o.path == t.path);
        OwnedChange::Said(Owned {
            resource_type: known.resource_type.clone(),
            id: known.id.clone(),
            path: t.path.clone(),
            partner: known.partner.clone(),
            was: earlier.map_or_else(|| t.was.clone(), |o| o.was.clone()),
            said: t.is.clone(),
        })
    };
    Ok(of.map(change).collect())
}

/// What the partner calls the things that we have under our own names.
pub(super) async fn names(gateway: &Gateway, known: &Counterpart) -> Result<HashMap<String, String>, StoreError> {
    let all = gateway.store.counterparts_of_patient(&known.patient, &known.partner).await?;
    let pair = |c: Counterpart| (format!("{}/{}", c.resource_type, c.theirs), format!("{}/{}", c.resource_type, c.id));
    Ok(all.into_iter().map(pair).collect())
}

/// Adds to the commit the resource to everybody who has it and to the sender's own system, but not to the partner that it came
/// from. Who has it by another exchange is sent it while that one stands.
pub(super) async fn onward(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    name: &str,
    resources: &HashMap<String, Value>,
    but: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let mut packed: Vec<Value> = exchange.resources.iter().filter_map(|own| resources.get(own)).cloned().collect();
    packed.retain(|r| type_of(r) != "Task" && type_of(r) != "Provenance");
    debug_assert!(packed.iter().any(|r| reference_of(r).as_deref() == Some(name)));
    let mut deliveries = Vec::new();
    let mut reached: Vec<String> = but.map(str::to_owned).into_iter().collect();
    let mut send = |to: &Exchange, partner: &str| {
        let party = to.parties.iter().find(|party| party.partner == partner);
        let Some(party) = party.filter(|_| is_pushed(gateway, partner) && !reached.iter().any(|r| r == partner)) else {
            return false;
        };
        reached.push(partner.to_owned());
        let address = Address::of(to, party, now);
        deliveries.push(package::bundle(gateway, &address, &packed, TaskMode::CreateOnce, None));
        true
    };
    if let Some(sender) = exchange.sender() {
        send(exchange, &sender.partner);
    }
    for there in gateway.store.counterparts_of_resource(name).await? {
        // The exchange that makes it goes before one that carried it: it stands, whatever became of the other.
        if send(exchange, &there.partner) || there.exchange == exchange.id {
            continue;
        }
        let carried = gateway.store.exchange(&Filter::ALL, there.exchange).await?;
        if let Some(carried) = carried
            && !is_closed(gateway, &carried).await?
            && send(&carried, &there.partner)
        {
            commit.expect.push(Expect::Revision { exchange: carried.id, revision: carried.revision });
        }
    }
    commit.deliveries.extend(deliveries);
    Ok(())
}
