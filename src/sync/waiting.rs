//! An add-on code whose main activity has not come: parked whole, and taken up again when it comes.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Refusal;
use super::read::{Read, read};
use super::receipt::receipt;
use super::submit::{Submission, document};
use super::supersede::supersede;
use super::tie::waits;
use super::witness;
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::{Kind, PartyRole, Stage};
use crate::store::{Commit, Committed, Exchange, ExchangeQuery, Expect, Filter, Party};

/// An add-on whose main activity has not come: kept whole, and taken up again when it comes.
pub(super) fn park(
    gateway: &Gateway,
    submission: &Submission<'_>,
    read: &Read<'_>,
    before: Option<&Exchange>,
    version: u32,
    main: &[String],
) -> Commit {
    let partner = gateway.config.directory.find(&read.unit).map_or(String::new(), |u| u.partner.clone());
    let exchange = Exchange {
        id: before.map_or_else(Uuid::now_v7, |b| b.id),
        revision: before.map_or(1, |b| b.revision + 1),
        kind: submission.kind,
        format: submission.format,
        organisation: read.organisation.clone(),
        document: read.envelope.id.clone(),
        version,
        entered_in_error: false,
        patient: None,
        stage: Stage::Parked,
        created_at: before.map_or(submission.now, |b| b.created_at),
        updated_at: submission.now,
        parties: vec![Party {
            unit: read.unit.clone(),
            partner,
            role: PartyRole::Sender,
            task: None,
            status: None,
            stage: Stage::Parked,
        }],
        resources: before.map_or_else(Vec::new, |b| b.resources.clone()),
    };
    let mut issues = read.issues.clone();
    issues.push(waits(main));
    let receipt = receipt(gateway, &exchange, version, read.table, &issues, submission.now, true);
    Commit {
        expect: vec![Expect::Exchange {
            organisation: exchange.organisation.clone(),
            kind: exchange.kind,
            document: exchange.document.clone(),
            revision: before.map(|b| b.revision),
        }],
        documents: vec![document(submission, read, exchange.id, version, receipt, true)],
        exchanges: vec![exchange],
        ..Commit::default()
    }
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
        let submission = Submission {
            caller: &caller,
            kind: exchange.kind,
            format: kept.format,
            bytes: &kept.source,
            key: None,
            now,
        };
        let read = read(gateway, &submission)?;
        let version = exchange.version;
        let mut commit = supersede(gateway, &submission, &read, Some(exchange), version).await?;
        if commit.exchanges.iter().any(|e| e.stage == Stage::Parked) {
            continue;
        }
        commit.documents.clear(); // it is there since it came
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
