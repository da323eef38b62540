//! Two systems, one resource: what a partner has of ours is written only over the version that we know (If-Match), what its
//! people changed is read, and whose word an element is decides what becomes of it.
//!
//! - `send`: a delivery's Bundle, brought together with what stands at the partner
//! - `read`: what was changed there, read and applied; `apply`: the commit of it, and who else is told
//! - `adopt`: what it did for us; `children`: what it says of single areas in Tasks of its own;
//!   `asked`: what it changed in a Task that is not its own
//! - `clash`: what the owner did not change alone, as a Task for a person; `settle`: the person's decision
//! - `keep`: a new version of a document keeps what performers have said of their activities
//!
//! Whose word it is stands in [`crate::domain::ownership`]; how three versions come together in [`crate::fhir::three_way`].

mod adopt;
mod apply;
mod asked;
mod children;
mod clash;
mod keep;
mod read;
mod send;
pub mod settle;

use super::Refusal;
use super::consent::rests_on_nothing;
use super::reassess::{self, Looked};
use super::weigh::Current;
use crate::Gateway;
use crate::domain::ownership::{self, Owner};
use crate::fhir::canonical::HSA_ID;
use crate::fhir::resource::{identifier, type_of};
use crate::fhir::three_way;
use crate::store::{Commit, Exchange, Filter, StoreError};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::HashMap;

pub(super) use asked::check_asked;
pub(super) use children::{changed_wholes, parts_at};
pub(super) use clash::{CONFLICT, Clashes, open};
pub(super) use keep::{Kept, keep};
pub(super) use read::read;
pub(super) use send::{Sent, send};

/// The exchange whose document makes the resource (`Type/id`).
pub(super) async fn home(gateway: &Gateway, name: &str) -> Result<Option<Exchange>, StoreError> {
    let Some((resource_type, id)) = name.split_once('/') else { return Ok(None) };
    for exchange in gateway.store.exchange_of_resource(resource_type, id).await? {
        if let Some(exchange) = gateway.store.exchange(&Filter::ALL, exchange).await?
            && exchange.resources.iter().any(|own| own == name)
        {
            return Ok(Some(exchange));
        }
    }
    Ok(None)
}

/// Whether nothing more is shared through it: it was entered in error, or the consent that it rests on is gone.
async fn is_closed(gateway: &Gateway, exchange: &Exchange) -> Result<bool, Refusal> {
    Ok(exchange.entered_in_error || rests_on_nothing(gateway, exchange).await?)
}

/// What follows for new assessments of a plan that was changed here without a new version of its document.
async fn reassess(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    before: &Current,
    after: &HashMap<String, Value>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let own = || exchange.resources.iter();
    let before: Vec<Value> = own().filter_map(|name| before.get(name)).map(|(_, value)| value.clone()).collect();
    let after: Vec<Value> = own().filter_map(|name| after.get(name)).cloned().collect();
    let looked = Looked { before: &before, ..Looked::at_rest(exchange, &after) };
    reassess::follow(gateway, commit, &looked, now).await?;
    Ok(())
}

/// Whether the element is a word of that partner's units.
fn is_theirs(gateway: &Gateway, exchange: &Exchange, partner: &str, ours: &Value, path: &str) -> bool {
    match ownership::owner(type_of(ours), path) {
        Owner::Placer => exchange.sender().is_some_and(|sender| sender.partner == partner),
        Owner::Filler => {
            let task = ours["id"].as_str();
            exchange.recipients().any(|party| party.partner == partner && party.task.as_deref() == task)
        }
        Owner::Performer => performer(gateway, ours, path).is_some_and(|of| of == partner),
    }
}

/// The partner of the unit that carries out the activity which the element stands in.
fn performer(gateway: &Gateway, plan: &Value, path: &str) -> Option<String> {
    let (item, _) = path.split_once(']')?;
    let activity = three_way::get(plan, &format!("{item}]"))?;
    let performers = activity["detail"]["performer"].as_array()?;
    let unit = performers.iter().find_map(|p| {
        let by_identifier = p["identifier"]["value"].as_str().filter(|_| p["identifier"]["system"] == HSA_ID);
        by_identifier.or_else(|| identifier(p, HSA_ID))
    })?;
    Some(gateway.config.directory.find(unit)?.partner.clone())
}
