//! The calendar's part: a plan whose intervention has had its last day is looked at again, once, and after a restart as well. The row
//! that says when is written with the plan, and moved on in the commit that makes the Task.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::super::Refusal;
use super::super::weigh::current;
use super::{Looked, follow};
use crate::Gateway;
use crate::store::{Commit, Committed, Expect, Filter, Look};

/// Plans that one round looks at.
const AT_ONCE: u32 = 100;
/// The shortest rest between two rounds, and the longest, so that a clock that was set is noticed.
const REST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Rounds in the background until `shutdown` says stop.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        if let Err(error) = sweep(&gateway, Utc::now()).await {
            tracing::error!(error = %error, "plans whose interventions have ended could not be looked at; it is tried again");
        }
        let next = gateway.store.next_look().await.ok().flatten();
        let until = next.map_or(LONGEST, |next| (next - Utc::now()).to_std().unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(until.clamp(REST, LONGEST)) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Looks at every plan that is due; how many Tasks were written.
pub async fn sweep(gateway: &Gateway, now: DateTime<Utc>) -> Result<usize, Refusal> {
    let mut written = 0;
    loop {
        let due = gateway.store.plans_due(now, AT_ONCE).await?;
        let mut is_stuck = true;
        for exchange in &due {
            if let Some(tasks) = look(gateway, *exchange, now).await? {
                written += tasks;
                is_stuck = false;
            }
        }
        // Where others are faster with every one of them it is their turn; what is left is looked at in the next round.
        if due.is_empty() || is_stuck {
            break;
        }
    }
    if written > 0 {
        gateway.wake.notify_one();
    }
    Ok(written)
}

/// `None` where the plan changed meanwhile: it is looked at again.
async fn look(gateway: &Gateway, id: Uuid, now: DateTime<Utc>) -> Result<Option<usize>, Refusal> {
    let mut commit = Commit::default();
    if let Some(exchange) = gateway.store.exchange(&Filter::ALL, id).await? {
        let stored = current(gateway.store.resources(&Filter::ALL, &exchange.resources).await?);
        let resources: Vec<Value> = stored.into_values().map(|(_, resource)| resource).collect();
        follow(gateway, &mut commit, &Looked::at_rest(&exchange, &resources), now).await?;
        commit.expect.push(Expect::Revision { exchange: id, revision: exchange.revision });
    }
    if commit.looks.is_empty() {
        commit.looks.push(Look { exchange: id, at: None, tasks: Vec::new() });
    }
    let written = commit.put.len();
    Ok(matches!(gateway.store.commit(commit).await?, Committed::Done { .. }).then_some(written))
}
