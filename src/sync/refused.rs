//! Refusals in the audit log, and whatever else happens again and again without changing anything: the first at once, before
//! its answer leaves, the rest of the minute as a number, so that nobody can fill the disk by being refused.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Refusal, witness};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event, Origin, Outcome};
use crate::domain::tally::{Count, Tally};
use crate::telemetry::asked;

/// Kinds of refusals that are kept apart: known callers, and what strangers can bring about.
const MOST_KINDS: usize = 10_000;
/// Kinds of a stranger's refusals are few, and each is told once in a window.
const OF_STRANGERS: u32 = 1;
/// Rounds over a partner's Tasks that ended alike are told once an hour.
const ROUNDS_TOLD: u32 = 1;
const HOUR_S: i64 = 3600;
const MINUTE_S: i64 = 60;

/// A caller as far as a refusal needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub client: Option<String>,
    pub partner: Option<String>,
    pub purpose: &'static str,
}

/// Somebody was refused something.
#[derive(Debug, Clone)]
pub struct Refused<'a> {
    /// `None`: a stranger, or somebody whose word was not believed.
    pub who: Option<&'a Known>,
    pub status: u16,
    /// Method and route, without what the caller wrote in it.
    pub route: &'a str,
    /// `Type/id` of something that is there, where that was meant.
    pub object: Option<String>,
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Caller { name: String, client: Option<String>, partner: Option<String> },
    Stranger { status: u16, origin: Option<Origin> },
}

/// What was counted and not told yet.
#[derive(Debug)]
pub struct Counts {
    refusals: Mutex<Tally<Kind>>,
    rounds: Mutex<Tally<(String, Outcome)>>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            refusals: Mutex::new(Tally::new(TimeDelta::seconds(MINUTE_S), MOST_KINDS)),
            rounds: Mutex::new(Tally::new(TimeDelta::seconds(HOUR_S), MOST_KINDS)),
        }
    }
}

fn count<K: std::hash::Hash + Eq + Clone>(tally: &Mutex<Tally<K>>, kind: K, free: u32, now: DateTime<Utc>) -> Count {
    tally.lock().unwrap_or_else(PoisonError::into_inner).count(kind, free, now)
}

/// Records that somebody was refused. A store that cannot take it does not turn the refusal into anything else.
pub async fn refused(gateway: &Gateway, of: Refused<'_>, now: DateTime<Utc>) {
    let origin = asked().map(|asked| asked.origin);
    let (kind, free) = match of.who {
        Some(who) => {
            let Known { name, client, partner, .. } = who.clone();
            (Kind::Caller { name, client, partner }, gateway.config.audit.refusals_per_minute)
        }
        None => (Kind::Stranger { status: of.status, origin }, OF_STRANGERS),
    };
    let Count::Tell { before } = count(&gateway.counts.refusals, kind, free, now) else { return };
    let directory = &gateway.config.directory;
    let by = match of.who {
        Some(who) => {
            let systems = (who.client.as_deref(), who.partner.as_deref());
            witness::named_for(directory, &who.name, systems, Some(who.purpose))
        }
        None => witness::named(gateway, "unknown"),
    };
    let event = Event::new(now, by, Deed::Refuse, of.object.clone().unwrap_or_else(|| of.route.to_owned()))
        .ended(weight(of.status))
        .with("status", of.status)
        .with("route", of.route);
    // What is there belongs to somebody, and that is looked up; a route is about nobody.
    let event = if of.object.is_some() { event } else { event.about([]) };
    let event = if before > 0 { event.with("alsoBefore", before) } else { event };
    if let Err(error) = witness::tell(gateway, event).await {
        tracing::error!(error = %error, status = of.status, "a refusal could not be recorded");
    }
}

fn weight(status: u16) -> Outcome {
    match status {
        401 | 403 | 404 => Outcome::Serious,
        _ => Outcome::Minor,
    }
}

/// Records a round over a partner's Tasks: the first of an hour that ended so, and the others as a number. What a round brought
/// is recorded with the answer itself.
pub async fn polled(gateway: &Gateway, partner: &str, event: Event, now: DateTime<Utc>) -> Result<(), Refusal> {
    let kind = (partner.to_owned(), event.outcome);
    match count(&gateway.counts.rounds, kind, ROUNDS_TOLD, now) {
        Count::Later => Ok(()),
        Count::Tell { before: 0 } => witness::tell(gateway, event).await,
        Count::Tell { before } => witness::tell(gateway, event.with("roundsBefore", before)).await,
    }
}

/// Tells what was counted in windows that are over; all of it when the gateway stops.
pub async fn tell_counted(gateway: &Gateway, now: DateTime<Utc>, is_all: bool) -> Result<(), Refusal> {
    let refusals = gateway.counts.refusals.lock().unwrap_or_else(PoisonError::into_inner).take(now, is_all);
    for (kind, count) in refusals {
        let event = match kind {
            Kind::Caller { name, client, partner } => {
                let systems = (client.as_deref(), partner.as_deref());
                let by = witness::named_for(&gateway.config.directory, &name, systems, None);
                Event::new(now, by, Deed::Refuse, "refusals")
            }
            Kind::Stranger { status, origin } => {
                let by = By { from: origin, ..By::named("unknown") };
                Event::new(now, by, Deed::Refuse, "refusals").with("status", status)
            }
        };
        witness::tell(gateway, event.ended(Outcome::Serious).about([]).with("count", count)).await?;
    }
    let rounds = gateway.counts.rounds.lock().unwrap_or_else(PoisonError::into_inner).take(now, is_all);
    for ((partner, outcome), count) in rounds {
        let event = Event::new(now, By::gateway(), Deed::Poll, format!("partner/{partner}")).ended(outcome).about([]);
        witness::tell(gateway, event.with("partner", partner).with("rounds", count)).await?;
    }
    Ok(())
}
