//! When nobody answers: what is overdue is told to the unit whose move it is and to the sender, once for each level.
//!
//! Which waits there are and when they are due the store knows from the state of every exchange (`store::wait`); here each is
//! told in one commit, which expects the wait as it was read: whoever was stopped in between, or was slower, tells it again or
//! not at all. What ends a wait ends its Tasks too, in the writer.

pub mod item;
pub mod loops;
pub mod pause;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;

use super::notice::{News, notices};
use super::package::is_pushed;
use super::weigh::{Scale, Weighed, current};
use super::{Refusal, witness};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::clock::{Mover, Step};
use crate::store::{Commit, Committed, DECEASED, Exchange, Filter, HeldBy, Party, Raised, Waiting};
use item::{Owner, Telling};

/// The shortest rest between two rounds: what cannot be told now does not make us ask without end.
const REST: Duration = Duration::from_secs(1);

/// Looks whenever something becomes due, until `shutdown` says stop.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let every = gateway.config.clocks.every;
    while !*shutdown.borrow() {
        let told = match round(&gateway, Utc::now()).await {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(error = %error, "what is overdue could not be told; it is tried again");
                0
            }
        };
        if told > 0 {
            tracing::info!(told, "told what is overdue");
        }
        let next = gateway.store.next_wait().await.ok().flatten();
        let until = next.map_or(every, |next| (next - Utc::now()).to_std().unwrap_or_default());
        let full = told as u64 >= u64::from(gateway.config.clocks.at_once);
        let nap = if full { Duration::ZERO } else { until.clamp(REST, every.max(REST)) };
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Tells what is overdue now, so much at most; how many waits that were.
pub async fn round(gateway: &Gateway, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let mut told = 0;
    for wait in gateway.store.due_waits(now, gateway.config.clocks.at_once).await? {
        told += usize::from(tell(gateway, &wait, now).await?);
    }
    if told > 0 {
        gateway.wake.notify_one();
    }
    Ok(told)
}

/// False where it stands otherwise by now: it is looked at again.
async fn tell(gateway: &Gateway, wait: &Waiting, now: DateTime<Utc>) -> Result<bool, Refusal> {
    let Some(exchange) = gateway.store.exchange(&Filter::ALL, wait.exchange).await? else { return Ok(false) };
    let is_deceased = wait.held_by == Some(HeldBy::Deceased);
    let party = exchange.recipients().find(|p| p.unit.eq_ignore_ascii_case(&wait.unit));
    let mover = wait.step.mover(party.is_some_and(|p| is_pushed(gateway, &p.partner)));
    let level = if is_deceased { wait.level } else { reached(wait, now) };
    let owners = if is_deceased { mourners(&exchange, wait) } else { owners(wait, mover) };
    let telling = Telling { exchange: &exchange, wait, level, is_deceased };
    let names: Vec<String> = owners.iter().map(|owner| format!("Task/{}", telling.id(gateway, *owner))).collect();
    let current = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let mut weighed = Weighed::default();
    for (owner, name) in owners.iter().zip(&names) {
        let task = telling.task(gateway, *owner, current.get(name).map(|(_, task)| task), now);
        let units: Vec<String> = telling.unit(*owner).map(str::to_owned).into_iter().collect();
        // Whoever runs the gateway needs not know about whom it is.
        let patient = exchange.patient.as_deref().filter(|_| !units.is_empty());
        Scale { now, patient, units: &units, exchange: None }.add(&task, &current, &mut weighed);
    }
    let raised = Raised {
        exchange: wait.exchange,
        unit: wait.unit.clone(),
        step: wait.step,
        subject: wait.subject.clone(),
        since: wait.since,
        before: wait.level,
        level,
        is_deceased,
        at: now,
        tasks: names.iter().filter_map(|name| name.strip_prefix("Task/")).map(str::to_owned).collect(),
    };
    let is_owner =
        |p: &&Party| owners.iter().any(|o| matches!(o, Owner::Party(unit) if p.unit.eq_ignore_ascii_case(unit)));
    let told = exchange.parties.iter().filter(|p| hears(p, wait, mover, is_deceased) || is_owner(p));
    let deliveries = notices(gateway, &exchange, told, News::Overdue, now);
    let mut commit =
        Commit { put: weighed.put, expect: weighed.expect, raised: vec![raised], deliveries, ..Commit::default() };
    commit.audit.push(witness::wrote(event(&exchange, wait, level, is_deceased, now), &commit));
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

fn event(exchange: &Exchange, wait: &Waiting, level: u8, is_deceased: bool, now: DateTime<Utc>) -> Event {
    let step: Value = if is_deceased { DECEASED.into() } else { wait.step.code().into() };
    let event = Event::new(now, By::gateway(), Deed::Escalate, format!("exchange/{}", exchange.id));
    event.with("change", "begin").with("unit", wait.unit.as_str()).with("step", step).with("level", level)
}

/// The highest level that is due: what was missed while nobody looked is told once.
fn reached(wait: &Waiting, now: DateTime<Utc>) -> u8 {
    let is_due = |level: &usize| wait.due(*level) <= now.timestamp_millis();
    let level = (1..=wait.dues.len()).filter(is_due).max().unwrap_or(0);
    u8::try_from(level).unwrap_or(u8::MAX).max(wait.level)
}

/// Each unit that still has to do with the exchange: it may have booked something, or may call.
fn mourners<'a>(exchange: &'a Exchange, wait: &Waiting) -> Vec<Owner<'a>> {
    let is_open = |p: &&Party| p.status.is_none_or(|status| !status.is_final());
    let others = exchange.recipients().filter(is_open).map(|p| p.unit.as_str());
    let others = others.filter(|unit| !unit.eq_ignore_ascii_case(&wait.sender));
    std::iter::once(Owner::Sender).chain(others.map(Owner::Party)).collect()
}

/// Whose worklist it comes on: that of the unit whose move it is, and the sender's.
fn owners(wait: &Waiting, mover: Mover) -> Vec<Owner<'static>> {
    match mover {
        Mover::Sender => vec![Owner::Sender],
        Mover::Unit if wait.unit.eq_ignore_ascii_case(&wait.sender) => vec![Owner::Sender],
        Mover::Unit => vec![Owner::Unit, Owner::Sender],
        Mover::Gateway => vec![Owner::Gateway, Owner::Sender],
    }
}

/// Both sides hear of it; a recipient only where it has, or can fetch, what it is about.
fn hears(party: &Party, wait: &Waiting, mover: Mover, is_deceased: bool) -> bool {
    if party.unit.eq_ignore_ascii_case(&wait.sender) {
        return true;
    }
    let is_of_recipient = mover == Mover::Unit || wait.step == Step::NoCompletion;
    is_of_recipient && !is_deceased && party.unit.eq_ignore_ascii_case(&wait.unit)
}
