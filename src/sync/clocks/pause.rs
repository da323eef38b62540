//! A named person at the sender pauses the clocks of an exchange, with a reason and until when, and lets them run on.
//!
//! The sender's to decide: a recipient that waits for something says so by putting its Task on hold.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::sender::sent_by;
use super::super::weigh::instant;
use super::super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::access::Caller;
use crate::domain::audit::{Deed, Event};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Commit, Committed, Exchange, Expect, HeldBy, PauseChange, PauseRow};

/// What a person wishes.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The HSA-id of the person.
    pub by: String,
    pub reason: String,
    pub until: DateTime<Utc>,
    /// Only the clocks of this recipient.
    pub unit: Option<String>,
}

const NOT_YOURS: (&str, &str) = (
    "Bara den sändande enheten pausar klockorna; mottagaren sätter sin uppgift på vänt (on-hold).",
    "Only the sending unit pauses the clocks; a recipient puts its Task on hold (on-hold).",
);

/// Pauses; a pause of the same clocks that runs already ends with the beginning of this one.
pub async fn pause(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    wish: &Wish,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    for _ in 0..TRIES {
        let exchange = sent_by(gateway, caller, id, NOT_YOURS).await?;
        check(gateway, &exchange, wish, now)?;
        if gateway.store.waits_of(id).await?.is_empty() {
            return Err(conflict(
                "Ärendet väntar inte på någon: det finns inga klockor att pausa.",
                "The exchange waits for nobody: there are no clocks to pause.",
            ));
        }
        let mut pauses = end(&running(gateway, id, now).await?, |p| p.unit == wish.unit, id, &wish.by, now);
        pauses.push(PauseChange::Begin {
            id: Uuid::now_v7(),
            exchange: id,
            unit: wish.unit.clone(),
            from: now,
            until: wish.until,
            by: wish.by.clone(),
            reason: wish.reason.clone(),
        });
        if commit(gateway, caller, &exchange, pauses, "begin", &wish.by, now).await? {
            return shown(gateway, id, now).await;
        }
    }
    Err(Refusal::Busy)
}

/// Lets all clocks run on that a person has paused.
pub async fn resume(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    for _ in 0..TRIES {
        let exchange = sent_by(gateway, caller, id, NOT_YOURS).await?;
        let pauses = end(&running(gateway, id, now).await?, |_| true, id, by, now);
        if pauses.is_empty() {
            return Err(conflict(
                "Ingen paus pågår som en person har begärt.",
                "There is no pause that a person has asked for.",
            ));
        }
        if commit(gateway, caller, &exchange, pauses, "end", by, now).await? {
            return shown(gateway, id, now).await;
        }
    }
    Err(Refusal::Busy)
}

fn check(gateway: &Gateway, exchange: &Exchange, wish: &Wish, now: DateTime<Utc>) -> Result<(), Refusal> {
    let days = gateway.config.clocks.most_pause_days;
    let mut issues = Vec::new();
    if wish.until <= now || wish.until > now + TimeDelta::days(days.into()) {
        issues.push(Issue::error(
            Code::Value,
            "until",
            format!("Fältet until: en tid framåt, högst {days} dagar (clocks.most_pause_days)."),
            format!("The field until: a time to come, at most {days} days away (clocks.most_pause_days)."),
        ));
    }
    let is_party = |unit: &String| exchange.recipients().any(|p| p.unit.eq_ignore_ascii_case(unit));
    if wish.unit.as_ref().is_some_and(|unit| !is_party(unit)) {
        issues.push(Issue::error(
            Code::NotFound,
            "unit",
            "Fältet unit: enheten är ingen mottagare i ärendet.",
            "The field unit: the unit is no recipient of the exchange.",
        ));
    }
    if issues.is_empty() { Ok(()) } else { Err(Refusal::Findings(issues)) }
}

async fn running(gateway: &Gateway, id: Uuid, now: DateTime<Utc>) -> Result<Vec<PauseRow>, Refusal> {
    let mut pauses = gateway.store.pauses_of(id).await?;
    pauses.retain(|p| p.why == HeldBy::Person && p.until.is_none_or(|until| until > now));
    Ok(pauses)
}

fn end(
    running: &[PauseRow],
    which: impl Fn(&PauseRow) -> bool,
    exchange: Uuid,
    by: &str,
    at: DateTime<Utc>,
) -> Vec<PauseChange> {
    let end = |p: &PauseRow| PauseChange::End { id: p.id, exchange, at, by: by.to_owned() };
    running.iter().filter(|p| which(p)).map(end).collect()
}

async fn commit(
    gateway: &Gateway,
    caller: &Caller,
    exchange: &Exchange,
    pauses: Vec<PauseChange>,
    change: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, Refusal> {
    let who = witness::by(&gateway.config.directory, caller);
    let event = Event::new(now, who, Deed::Pause, format!("exchange/{}", exchange.id))
        .about(exchange.patient.clone())
        .with("change", change)
        .with("decidedBy", by);
    let expect = vec![Expect::Revision { exchange: exchange.id, revision: exchange.revision }];
    let commit = Commit { expect, pauses, audit: vec![event.into()], ..Commit::default() };
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }))
}

fn conflict(sv: &str, en: &str) -> Refusal {
    Refusal::Conflict(Issue::error(Code::BusinessRule, "exchange", sv, en))
}

/// The clocks of the exchange as they stand now.
async fn shown(gateway: &Gateway, id: Uuid, now: DateTime<Utc>) -> Result<Value, Refusal> {
    let waits = gateway.store.waits_of(id).await?;
    let paused: Vec<Value> = running(gateway, id, now)
        .await?
        .iter()
        .map(|p| json!({ "unit": p.unit, "from": instant(p.from), "until": p.until.map(instant), "by": p.by, "reason": p.reason }))
        .collect();
    let clocks: Vec<Value> = waits.iter().map(|wait| super::loops::line(gateway, wait, true, now)).collect();
    Ok(json!({ "exchange": id.to_string(), "paused": paused, "clocks": clocks }))
}
