//! Who has charge of what, moved in the commit that moves it: what a document and its answers say is read from the resources as
//! they stand after the commit (`said`), the steps that follow are added to it, and each charge is written as an EpisodeOfCare
//! (`episode`). What was answered before it was kept is derived from the versions there are (`derive`); what cannot be told at all
//! is said to be so (`unclear`).

mod derive;
mod episode;
mod said;
#[cfg(test)]
mod tests;
mod unclear;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Refusal;
use super::weigh::{Current, current};
use crate::Gateway;
use crate::domain::Kind;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::charge::{Move, charges, given, steps};
use crate::fhir::resource::reference_of;
use crate::store::{Commit, Exchange, Expect, Filter, Moved};
pub(super) use derive::settled;
pub use derive::{Due, run};
pub use episode::episode_id;
use episode::{changed, in_contact, write};
use said::{id_in, parts_of, read};
pub(super) use unclear::{Unclear, unclear};

/// Whose word the commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// The sender's: a version, or that it takes the request back. It gives nobody anything.
    Sender,
    /// The owner's of a Task: what it moves is its own word.
    Owner,
}

/// The episodes that an exchange has made, each with the unit that it says is responsible: whoever comes to the exchange sees them,
/// and whoever leaves it only its own.
pub(super) async fn episodes_of(gateway: &Gateway, exchange: Uuid) -> Result<Vec<(String, String)>, Refusal> {
    let mut names = gateway.store.resources_of(exchange).await?;
    names.retain(|name| name.starts_with("EpisodeOfCare/"));
    let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let unit = |episode: &Value| episode["managingOrganization"]["identifier"]["value"].as_str().map(str::to_owned);
    Ok(known.into_iter().map(|(name, (_, episode))| (name, unit(&episode).unwrap_or_default())).collect())
}

/// Adds to the commit what it moves; the episodes that it writes. Called when all that it puts of the exchange is there.
pub(super) async fn follow(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    speaks: Speaks,
    by: By,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, Refusal> {
    let Some(patient) = exchange.patient.as_deref().filter(|_| exchange.kind != Kind::Activity) else {
        return Ok(Vec::new());
    };
    let resources = standing(gateway, commit, exchange).await?;
    let spoke: Vec<String> = commit.put.iter().filter(|p| p.resource_type == "Task").map(|p| p.id.clone()).collect();
    let spoke = if speaks == Speaks::Owner { spoke } else { Vec::new() };
    let mut said = read(exchange, &resources, own_word(&resources, &spoke));
    settled(gateway, patient, now).await;
    let before = gateway.store.charge_moves(patient).await?;
    said.had = given(&before.steps, exchange.id);
    let past: Vec<&Move> = before.steps.iter().filter(|m| m.exchange == Some(exchange.id)).collect();
    let new = steps(&said, &past);
    if new.is_empty() {
        return Ok(Vec::new());
    }
    // A clock that was set back changes no order.
    let at = before.steps.iter().map(|m| m.at).chain([now]).max().unwrap_or(now);
    let made = new.into_iter().map(|(step, area, unit)| Move {
        id: Uuid::now_v7(),
        origin: exchange.id,
        exchange: Some(exchange.id),
        at: DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at),
        step,
        patient: patient.to_owned(),
        area,
        unit,
    });
    let made: Vec<Move> = made.collect();
    let all: Vec<Move> = before.steps.iter().chain(&made).cloned().collect();
    let contact = in_contact(gateway, commit, &resources).await?;
    let changed = changed(&charges(&before.steps), &charges(&all));
    let episodes = write(gateway, commit, exchange, &changed, contact.as_ref(), now).await?;
    commit.expect.push(Expect::Charges { patient: patient.to_owned(), last: before.last });
    let told: Vec<String> = made.iter().map(|m| format!("{} {} {}", m.step.code(), m.area, m.unit)).collect();
    let names = commit.put.iter().filter(|p| p.resource_type == "EpisodeOfCare");
    let names = names.map(|p| format!("{}/{}/{}", p.resource_type, p.id, p.version)).collect();
    let event = Event::new(now, by, Deed::Responsibility, format!("exchange/{}", exchange.id))
        .about([patient.to_owned()])
        .showing(names)
        .with("steps", told);
    commit.audit.push(event.into());
    commit.charges.extend(made.into_iter().map(|step| Moved { patient: patient.to_owned(), step }));
    Ok(episodes)
}

/// Whether the owner of a Task has spoken in it, or in a part of it: `spoke` are the Tasks that owners moved.
fn own_word<'a>(resources: &'a [Value], spoke: &'a [String]) -> impl Fn(&Value) -> bool {
    let own = move |id: &str| spoke.iter().any(|s| s == id);
    move |task: &Value| own(id_in(task)) || parts_of(resources, task).any(|part| own(id_in(part)))
}

/// The exchange's resources as they stand after the commit, as far as they speak of responsibility.
async fn standing(gateway: &Gateway, commit: &Commit, exchange: &Exchange) -> Result<Vec<Value>, Refusal> {
    let kinds = ["ServiceRequest", "Task", "Composition", "CarePlan"];
    let is_meant = |kind: &str| kinds.contains(&kind);
    let put: Vec<Value> = commit
        .put
        .iter()
        .filter(|p| is_meant(&p.resource_type))
        .filter_map(|p| serde_json::from_slice(&p.body).ok())
        .collect();
    let is_put = |name: &String| put.iter().any(|r| reference_of(r).as_ref() == Some(name));
    let rest: Vec<String> = exchange
        .resources
        .iter()
        .filter(|name| name.split_once('/').is_some_and(|(kind, _)| is_meant(kind)) && !is_put(name))
        .cloned()
        .collect();
    if rest.is_empty() {
        return Ok(put);
    }
    let known: Current = current(gateway.store.resources(&Filter::ALL, &rest).await?);
    Ok(put.into_iter().chain(known.into_values().map(|(_, value)| value)).collect())
}
