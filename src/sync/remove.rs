//! Gallring: removes what is due by the rules, an exchange a commit, each with its stub and its row in the audit log.
//!
//! It may be stopped at any moment, also by a power cut: what was removed is removed with everything that belongs to it, the rest
//! is found again. What changed, or was held, since it was found is left.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Refusal, consultation, worklist};
use crate::Gateway;
use crate::config::Retention;
use crate::domain::audit::{self, By, Event};
use crate::domain::retention::{Keep, Rule, What};
use crate::store::{Audit, Commit, Committed, Copies, Deed, DeliveryQuery, Removable, Removal, Store};

/// What one round removed by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub rule: String,
    pub what: What,
    /// Exchanges; of copies, batches.
    pub count: u32,
}

/// One round: at most so much of each rule as the settings say. `by` is who started it.
pub async fn round(
    store: &Store,
    retention: &Retention,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Removed>, Refusal> {
    let rules = &retention.rules;
    let log = rules.of_log().map_or(Keep { years: 5, days: 0 }, |rule| rule.keep);
    let mut all = Vec::new();
    for rule in rules.iter() {
        let Some(before) = rule.keep.cutoff(now) else { continue };
        let mut count = 0;
        if rule.what == What::Exchange {
            for kind in &rule.kinds {
                for due in store.removable(*kind, before, retention.at_once).await? {
                    count += u32::from(remove(store, due, rule, rules.version(), log, by, now).await?);
                }
            }
        } else if copies(store, rule, rules.version(), before, retention.at_once, by, now).await? {
            count += 1;
        }
        all.push(Removed { rule: rule.name.clone(), what: rule.what, count });
    }
    Ok(all)
}

/// False where something came in between.
async fn remove(
    store: &Store,
    due: Removable,
    rule: &Rule,
    version: &str,
    log: Keep,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, Refusal> {
    let Some(log_before) = log.cutoff(now) else { return Ok(false) };
    let query = DeliveryQuery { exchange: Some(due.exchange), ..DeliveryQuery::default() };
    let made = store.deliveries(&query).await?;
    let held = consultation::task_id(due.exchange);
    let removal = Removal {
        id: Uuid::now_v7(),
        exchange: due.exchange,
        revision: due.revision,
        items: made.iter().map(|delivery| worklist::task_id(delivery.id)).chain([held]).collect(),
        rule: rule.name.clone(),
        rule_version: version.to_owned(),
        at: now,
        by: by.to_owned(),
        log_before,
        log_kept_ms: (now - log_before).num_milliseconds(),
    };
    let audit = row(removal.id, &rule.name, version, by, now);
    let commit = Commit { deeds: vec![Deed::Remove(removal)], audit: vec![audit], ..Commit::default() };
    Ok(matches!(store.commit(commit).await?, Committed::Done { .. }))
}

/// A batch; false where none was due.
async fn copies(
    store: &Store,
    rule: &Rule,
    version: &str,
    before: DateTime<Utc>,
    most: u32,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, Refusal> {
    if !store.has_copies_due(rule.what, before, now).await? {
        return Ok(false);
    }
    let id = Uuid::now_v7();
    let (rule_version, what) = (version.to_owned(), rule.what);
    let batch = Copies { id, what, before, most, rule: rule.name.clone(), rule_version, at: now, by: by.to_owned() };
    let audit = row(id, &rule.name, version, by, now);
    let commit = Commit { deeds: vec![Deed::RemoveCopies(batch)], audit: vec![audit], ..Commit::default() };
    Ok(matches!(store.commit(commit).await?, Committed::Done { .. }))
}

fn row(id: Uuid, rule: &str, version: &str, by: &str, now: DateTime<Utc>) -> Audit {
    let event = Event::new(now, By::named(by), audit::Deed::Erase, format!("removal/{id}"));
    event.with("rule", rule).with("version", version).into()
}

/// Rounds in the background, where the settings want them, until `shutdown` says stop.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let retention = gateway.config.retention.clone();
    while retention.removes && !*shutdown.borrow() {
        match round(&gateway.store, &retention, "gateway", Utc::now()).await {
            Ok(removed) => {
                for one in removed.iter().filter(|one| one.count > 0) {
                    tracing::info!(rule = one.rule, count = one.count, "removed what was due");
                }
            }
            Err(error) => tracing::error!(error = %error, "what is due could not be removed; it is tried again"),
        }
        tokio::select! {
            () = tokio::time::sleep(retention.every) => {}
            _ = shutdown.changed() => {}
        }
    }
}
