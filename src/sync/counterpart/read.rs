//! Reads what partners have of our plans, goals and requests, as often as their Tasks, and applies what was changed there.
//!
//! What we wrote ourselves is known by its version; where that is not known, by what it says. While something is on its way to
//! the partner about the patient nothing is read: it could be our own word that comes back.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::Refusal;
use super::super::reconcile::Round;
use super::super::weigh::instant;
use super::adopt;
use super::apply::{Became, apply};
use crate::Gateway;
use crate::domain::delivery::Outcome;
use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::resource::identifier;
use crate::partner::Client;
use crate::store::Counterpart;
use crate::sync::seen::Seen;

/// What is read, beside Tasks.
const WATCHED: [&str; 3] = ["CarePlan", "Goal", "ServiceRequest"];
/// As many as a partner is asked for in one search.
const AT_ONCE: u32 = 20;

/// One round over what the partner has.
pub(in crate::sync) async fn read(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    now: DateTime<Utc>,
    round: &mut Round,
) -> Result<(), Refusal> {
    let name = format!("{partner}#counterparts");
    let mut seen = gateway.seen.lock().ok().and_then(|mut all| all.remove(&name)).unwrap_or_default();
    let settings = &gateway.config.delivery;
    seen.begin(now, settings.poll_overlap, settings.poll_full_every);
    let done = read_all(gateway, client, partner, now, &mut seen, round).await;
    if let Ok(mut all) = gateway.seen.lock() {
        all.insert(name, seen);
    }
    done
}

async fn read_all(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    now: DateTime<Utc>,
    seen: &mut Seen,
    round: &mut Round,
) -> Result<(), Refusal> {
    for resource_type in WATCHED {
        let mut after = String::new();
        loop {
            // A plan outlives the request that came with it: it is read in every full round.
            let all = resource_type == "CarePlan" && seen.since().is_none();
            let watched = gateway.store.watched(partner, resource_type, &after, AT_ONCE, all).await?;
            let Some(last) = watched.last() else { break };
            after.clone_from(&last.id);
            let is_last = watched.len() < AT_ONCE as usize;
            match ask(client, resource_type, &watched, seen).await {
                Ok(found) => {
                    take_in(gateway, client, &watched, &found, now, seen, round).await?;
                    if resource_type != "Goal" {
                        adopt::done_for(gateway, client, &watched, now, seen, round).await?;
                    }
                }
                // A server that does not hold the type, or does not find it so, is not asked what stands there.
                Err(Outcome::Permanent { reason }) => {
                    tracing::info!(partner, resource_type, reason, "the partner's server does not search for it");
                    break;
                }
                Err(outcome) => {
                    tracing::warn!(partner, reason = outcome.reason(), "cannot read what the partner has");
                    return Ok(());
                }
            }
            if is_last {
                break;
            }
        }
    }
    seen.end();
    Ok(())
}

/// What the partner has of these: of what was read before only what has changed since.
async fn ask(
    client: &Client,
    resource_type: &str,
    watched: &[Counterpart],
    seen: &mut Seen,
) -> Result<Vec<Value>, Outcome> {
    let named = |c: &Counterpart| format!("{RESOURCE_ID}|{}", c.id);
    let key = |c: &Counterpart| format!("{resource_type}/{}", c.id);
    let since = seen.since().map(instant);
    let (known, new): (Vec<&Counterpart>, Vec<&Counterpart>) =
        watched.iter().partition(|c| since.is_some() && seen.knows(&key(c)));
    let new: Vec<String> = new.into_iter().map(named).collect();
    let mut found = client.find(resource_type, "identifier", &new, None).await?;
    let known: Vec<String> = known.into_iter().map(named).collect();
    match client.find(resource_type, "identifier", &known, since.as_deref()).await {
        Ok(changed) => found.extend(changed),
        Err(Outcome::Permanent { .. }) if since.is_some() => {
            found.extend(client.find(resource_type, "identifier", &known, None).await?);
            seen.ask_without();
        }
        Err(outcome) => return Err(outcome),
    }
    for c in watched {
        seen.asked(&key(c));
    }
    for resource in &found {
        seen.read(resource["meta"]["lastUpdated"].as_str());
    }
    Ok(found)
}

async fn take_in(
    gateway: &Gateway,
    client: &Client,
    watched: &[Counterpart],
    found: &[Value],
    now: DateTime<Utc>,
    seen: &mut Seen,
    round: &mut Round,
) -> Result<(), Refusal> {
    for theirs in found {
        let Some(known) = identifier(theirs, RESOURCE_ID).and_then(|id| watched.iter().find(|c| c.id == id)) else {
            continue;
        };
        if is_echo(known, theirs) {
            continue;
        }
        let key = format!("{}/{}", known.resource_type, known.id);
        // A search may bring what stood there a while ago: what is applied is what stands there now.
        let place = format!("{}/{}", known.resource_type, theirs["id"].as_str().unwrap_or(&known.theirs));
        let Ok(theirs) = client.read(&place).await else {
            round.left += 1;
            seen.left(&key);
            continue;
        };
        if is_echo(known, &theirs) {
            continue;
        }
        match apply(gateway, known, &theirs, now).await? {
            Became::Applied => round.applied += 1,
            Became::Held => round.held += 1,
            Became::Nothing => {}
            Became::Left => {
                round.left += 1;
                seen.left(&key);
            }
        }
    }
    Ok(())
}

/// Whether this very version is what we wrote, or read, last.
fn is_echo(known: &Counterpart, theirs: &Value) -> bool {
    let version = theirs["meta"]["versionId"].as_str();
    known.settled && version.is_some() && known.version.as_deref() == version
}
