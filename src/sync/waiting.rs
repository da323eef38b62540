//! An add-on code whose main activity has not come: parked whole, and taken up again when it comes.

use chrono::{DateTime, Utc};

use super::Refusal;
use super::kept::{alone, keep, let_go};
use super::read::{Read, read};
use super::submit::Submission;
use super::tie::waits;
use super::witness;
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::{Kind, Stage};
use crate::store::{Commit, Committed, Exchange, ExchangeQuery, Filter};

/// An add-on whose main activity has not come: kept whole, and taken up again when it comes.
pub(super) fn park(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<&Exchange>,
    version: u32,
    main: &[String],
) -> Commit {
    let mut exchange = alone(gateway, submission, read, before, version, Stage::Parked);
    exchange.resources = before.map_or_else(Vec::new, |b| b.resources.clone());
    let mut issues = read.issues.clone();
    issues.push(waits(main));
    let mut commit = keep(gateway, submission, read, before, &exchange, &issues);
    commit.exchanges.push(exchange);
    commit
}

/// Takes up add-ons that wait for their main activity; gives how many found it. `unit`: only those it sent.
pub async fn resume(gateway: &Gateway, unit: Option<&str>, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let query = ExchangeQuery {
        kind: Some(Kind::Activity),
        stage: Some(Stage::Parked),
        unit: unit.map(str::to_owned),
        limit: MOST_WAITING,
        ..ExchangeQuery::default()
    };
    let mut resumed = 0;
    for exchange in gateway.store.exchanges(&Filter::ALL, &query).await?.matches {
        let Some(kept) = gateway.store.document(exchange.id, None).await? else { continue };
        if exchange.recipients().next().is_some() {
            continue; // what is parked there is a delivery
        }
        let caller = Caller::operator();
        let submission = Submission::again(&caller, exchange.kind, &kept, now);
        let read = read(gateway, &submission)?;
        let version = exchange.version;
        let mut commit = let_go(gateway, &submission, &read, exchange).await?;
        if commit.exchanges.iter().any(|e| e.stage == Stage::Parked) {
            continue;
        }
        let event = Event::new(now, By::gateway(), Deed::Resume, format!("exchange/{}", kept.exchange))
            .with("version", version)
            .with("unit", read.unit.as_str());
        commit.audit.push(witness::wrote(event, &commit));
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            resumed += 1;
        }
    }
    Ok(resumed)
}

/// Waiting add-ons looked at in one round.
const MOST_WAITING: u32 = 500;
