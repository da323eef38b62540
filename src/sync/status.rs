//! How the gateway is doing: what is undelivered, what waits for a person, and what that person does about it. From a running
//! gateway, or from its database when it is down.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::concerns::{causes, concerns};
use crate::Gateway;
use crate::store::{BackupNote, OpenCount, PartnerQueue, Queue, Space, StoreError, Worklist, last_backup};
use crate::telemetry::{Seen, SeenLoop, SeenPartner};

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub gateway: State,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    pub now: String,
    pub partners: Vec<Partner>,
    pub parked: Vec<Cause>,
    pub held: Held,
    pub unanswered: Vec<Silent>,
    /// What is open, step by step.
    #[serde(default)]
    pub loops: Vec<Loops>,
    pub disk: Disk,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// What needs a person; empty when all is well.
    pub concerns: Vec<Concern>,
}

/// Whether documents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ready,
    /// The disk refuses commits.
    NotReady,
    Stopping,
    /// Nobody has been asked: this was read from the database.
    Offline,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partner {
    pub name: String,
    pub waiting: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_at: Option<String>,
    pub in_flight: u32,
    pub parked: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_parked_at: Option<String>,
}

/// Parked deliveries of one partner with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    pub partner: String,
    /// `transient` (given up), `unauthorized`, `conflict`, `permanent`, or `decided` where nothing was tried.
    pub class: String,
    pub reason: String,
    pub count: u32,
    /// The first few; the rest is in `GET /v1/deliveries`.
    pub deliveries: Vec<String>,
    pub oldest_at: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<String>,
}

/// A Task that reached its unit and that nobody there has touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silent {
    pub exchange: String,
    pub unit: String,
    pub partner: String,
    pub since: String,
}

/// Open loops of one step: how many, how many were told to be overdue, and since when the oldest runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loops {
    pub step: String,
    pub open: u32,
    pub overdue: u32,
    pub escalated: u32,
    pub oldest_at: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    pub free_bytes: u64,
    pub database_bytes: u64,
    pub log_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    pub made_at: String,
    pub bytes: u64,
}

/// What is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    pub sv: String,
    pub en: String,
    /// What to type, where something can be typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What the picture is made of.
#[derive(Debug, Clone)]
pub struct Facts {
    pub state: State,
    pub since: Option<DateTime<Utc>>,
    pub worklist: Worklist,
    pub space: Space,
    pub backup: Option<BackupNote>,
    /// Partners that are configured, and attempts under way to each.
    pub partners: Vec<(String, i64)>,
}

/// The picture of this running gateway.
pub async fn status(gateway: &Gateway, now: DateTime<Utc>) -> Result<Status, Refusal> {
    let state = match (gateway.is_draining(), gateway.store.is_ready()) {
        (true, _) => State::Stopping,
        (false, true) => State::Ready,
        (false, false) => State::NotReady,
    };
    let partners = gateway.config.partners.iter().map(|p| (p.name.clone(), gateway.figures.in_flight(&p.name)));
    let facts = Facts {
        state,
        since: Some(gateway.started_at),
        worklist: gateway.store.worklist().await?,
        space: gateway.store.space()?,
        backup: last_backup(gateway.store.path()),
        partners: partners.collect(),
    };
    Ok(picture(facts, now))
}

/// What `/metrics` looks up at each scrape.
pub async fn seen(gateway: &Gateway, now: DateTime<Utc>) -> Result<Seen, StoreError> {
    let queue = gateway.store.queue().await?;
    let open = gateway.store.open_counts().await?;
    let space = gateway.store.space()?;
    let age = |at: Option<DateTime<Utc>>| at.map_or(0, |at| (now - at).num_seconds().max(0));
    let seen = |p: PartnerQueue| SeenPartner {
        waiting: p.waiting,
        waiting_age_s: age(p.waiting_oldest_at),
        parked: p.parked,
        parked_age_s: age(p.parked_oldest_at),
        name: p.partner,
    };
    let held = queue.held;
    let names = gateway.config.partners.iter().map(|p| p.name.clone());
    Ok(Seen {
        ready: gateway.is_ready(),
        draining: gateway.is_draining(),
        started_at_s: gateway.started_at.timestamp(),
        waiting_commits: gateway.store.waiting_commits(),
        partners: everyone(queue, names).into_iter().map(seen).collect(),
        held,
        log_bytes: space.log_bytes,
        database_bytes: space.database_bytes,
        free_bytes: space.free_bytes,
        backup_at_s: last_backup(gateway.store.path()).map_or(0, |backup| backup.made_at.timestamp()),
        loops: open
            .iter()
            .map(|o| SeenLoop { step: o.step.code(), level: o.level, count: o.count, age_s: age(Some(o.oldest)) })
            .collect(),
    })
}

/// Those for whom something waits, and those who are configured, each once.
fn everyone(queue: Queue, names: impl Iterator<Item = String>) -> Vec<PartnerQueue> {
    let mut all = queue.partners;
    for name in names {
        if !all.iter().any(|p| p.partner == name) {
            all.push(PartnerQueue { partner: name, ..PartnerQueue::default() });
        }
    }
    all.sort_by(|a, b| a.partner.cmp(&b.partner));
    all
}

/// The picture that facts make. Pure.
pub fn picture(facts: Facts, now: DateTime<Utc>) -> Status {
    let concerns = concerns(&facts, now);
    let causes = causes(&facts.worklist);
    let Worklist { queue, unanswered, open, .. } = facts.worklist;
    let held = Held { count: queue.held, oldest_at: queue.held_oldest_at.map(text) };
    let in_flight = |name: &str| {
        let found = facts.partners.iter().find(|(n, _)| n == name);
        found.and_then(|(_, count)| u32::try_from(*count).ok()).unwrap_or(0)
    };
    let partner = |p: PartnerQueue| Partner {
        in_flight: in_flight(&p.partner),
        waiting: p.waiting,
        oldest_waiting_at: p.waiting_oldest_at.map(text),
        parked: p.parked,
        oldest_parked_at: p.parked_oldest_at.map(text),
        name: p.partner,
    };
    let names = facts.partners.iter().map(|(name, _)| name.clone());
    let silent = |u: crate::store::Unanswered| Silent {
        exchange: u.exchange.to_string(),
        unit: u.unit,
        partner: u.partner,
        since: text(u.since),
    };
    Status {
        gateway: facts.state,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: facts.since.map(text),
        now: text(now),
        partners: everyone(queue, names).into_iter().map(partner).collect(),
        parked: causes,
        held,
        unanswered: unanswered.into_iter().map(silent).collect(),
        loops: loops(&open),
        disk: Disk {
            free_bytes: facts.space.free_bytes,
            database_bytes: facts.space.database_bytes,
            log_bytes: facts.space.log_bytes,
        },
        backup: facts.backup.map(|b| Backup { made_at: text(b.made_at), bytes: b.bytes }),
        concerns,
    }
}

/// By step, whatever was told of it.
pub(super) fn loops(open: &[OpenCount]) -> Vec<Loops> {
    let mut all: Vec<Loops> = Vec::new();
    for count in open {
        let (step, oldest) = (count.step.code(), text(count.oldest));
        let overdue = if count.level > 0 { count.count } else { 0 };
        let escalated = if count.level > 1 { count.count } else { 0 };
        match all.iter_mut().find(|l| l.step == step) {
            Some(line) => {
                line.open += count.count;
                line.overdue += overdue;
                line.escalated += escalated;
                line.oldest_at = line.oldest_at.clone().min(oldest);
            }
            None => {
                all.push(Loops { step: step.to_owned(), open: count.count, overdue, escalated, oldest_at: oldest });
            }
        }
    }
    all
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::Parked;

    pub(in crate::sync) fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    pub(in crate::sync) fn quiet() -> Facts {
        Facts {
            state: State::Ready,
            since: Some(now()),
            worklist: Worklist::default(),
            space: Space { database_bytes: 1, log_bytes: 1, free_bytes: u64::MAX },
            backup: None,
            partners: vec![("north".into(), 2), ("south".into(), 0)],
        }
    }

    #[test]
    fn a_quiet_gateway_has_no_concerns_and_shows_every_partner() {
        let status = picture(quiet(), now());
        assert!(status.concerns.is_empty(), "{:?}", status.concerns);
        assert_eq!(
            status.partners.iter().map(|p| (p.name.as_str(), p.in_flight)).collect::<Vec<_>>(),
            [("north", 2), ("south", 0)]
        );
    }

    #[test]
    fn parked_deliveries_are_told_by_cause_with_the_command_that_mends_them() {
        let parked = |n: u128, note: &str| Parked {
            id: Uuid::from_u128(n),
            partner: "north".into(),
            created_at: now(),
            class: Some("permanent".into()),
            note: note.into(),
        };
        let mut facts = quiet();
        facts.worklist.parked = vec![parked(1, "HTTP 422"), parked(2, "HTTP 422"), parked(3, "HTTP 404")];
        let status = picture(facts, now());
        assert_eq!(
            status.parked.iter().map(|c| (c.reason.as_str(), c.count)).collect::<Vec<_>>(),
            [("HTTP 422", 2), ("HTTP 404", 1)]
        );
        assert_eq!(status.concerns[0].command.as_deref(), Some("vardkedja retry 00000000-0000-0000-0000-000000000001"));
        assert!(status.concerns[0].en.contains("2 deliveries to north"), "{:?}", status.concerns);
    }
}
