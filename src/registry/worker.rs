//! Works on open exports, a few at once, until each is done, deleted or failed; and tidies away those whose time is up.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use super::standing::clear;
use super::writing::{Stop, by_gateway, write};
use crate::Gateway;
use crate::store::{Commit, ExportChange, ExportState, StoreError};

/// Exports that are looked at, or tidied away, in one round.
const AT_ONCE: u32 = 100;
/// The longest nap, after which is looked for exports whose time is up.
const NAP: Duration = Duration::from_secs(30);
/// Rest after the store failed.
const REST: Duration = Duration::from_secs(1);

/// Works on open exports until `shutdown` says stop; what is not done then is gone on with after the next start.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    let mut under_way: HashMap<Id, (Uuid, String)> = HashMap::new();
    let mut tidied: Option<Instant> = None;
    while !*shutdown.borrow() {
        if tidied.is_none_or(|at| at.elapsed() >= NAP) {
            tidy(&gateway, Utc::now()).await;
            tidied = Some(Instant::now());
        }
        match gateway.store.open_exports(AT_ONCE).await {
            Ok(mut open) => {
                while under_way.len() < gateway.config.export.at_once
                    && let Some((id, client)) = next(&mut open, &under_way)
                {
                    let (gateway, shutdown) = (Arc::clone(&gateway), shutdown.clone());
                    let started = running.spawn(async move { one(&gateway, id, &shutdown).await });
                    under_way.insert(started.id(), (id, client));
                }
            }
            Err(error) => tracing::error!(error = %error, "exports cannot be read"),
        }
        tokio::select! {
            () = gateway.exports.wake.notified() => {}
            Some(ended) = running.join_next_with_id(), if !running.is_empty() => {
                under_way.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            () = tokio::time::sleep(NAP) => {}
            _ = shutdown.changed() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// The oldest that is not under way, of a client that has the fewest which are: one client's long exports do not hold up another's.
fn next(open: &mut Vec<(Uuid, String)>, under_way: &HashMap<Id, (Uuid, String)>) -> Option<(Uuid, String)> {
    open.retain(|(id, _)| !under_way.values().any(|(other, _)| other == id));
    let running = |client: &str| under_way.values().filter(|(_, other)| other == client).count();
    let at = (0..open.len()).min_by_key(|at| open.get(*at).map_or(usize::MAX, |(_, client)| running(client)))?;
    Some(open.remove(at))
}

/// Takes away what nobody may have any more.
pub async fn tidy(gateway: &Gateway, now: DateTime<Utc>) {
    let tidied = async {
        for id in gateway.store.expired_exports(now, AT_ONCE).await? {
            let audit = by_gateway("expire", id, &json!({}), now);
            let exports = vec![ExportChange::Remove { id }];
            gateway.store.commit(Commit { exports, audit: vec![audit], ..Commit::default() }).await?;
        }
        for id in gateway.store.forgotten_exports(now - gateway.config.export.remember, AT_ONCE).await? {
            let exports = vec![ExportChange::Forget { id }];
            gateway.store.commit(Commit { exports, ..Commit::default() }).await?;
        }
        sweep(gateway).await
    };
    if let Err(error) = tidied.await {
        tracing::error!(error = %error, "exports whose time is up could not be taken away");
    }
}

/// Folders of exports that are gone.
async fn sweep(gateway: &Gateway) -> Result<(), StoreError> {
    let folder = gateway.config.export.folder.clone();
    let names = tokio::task::spawn_blocking(move || -> io::Result<Vec<Uuid>> {
        let entries = std::fs::read_dir(folder)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
    });
    // No folder is no exports.
    let Ok(Ok(names)) = names.await else { return Ok(()) };
    for id in names {
        let is_kept = gateway.store.export(id).await?.is_some_and(|export| export.state != ExportState::Gone);
        if !is_kept {
            clear(gateway, id).await;
        }
    }
    Ok(())
}

/// One export, to its end or until it has to be left.
async fn one(gateway: &Gateway, id: Uuid, shutdown: &watch::Receiver<bool>) {
    loop {
        match write(gateway, id, shutdown).await {
            Ok(()) | Err(Stop::Stopping) => return,
            Err(Stop::Unwanted) => {
                clear(gateway, id).await;
                return;
            }
            // It passes, or the program stops.
            Err(Stop::Store(error)) => {
                tracing::warn!(export = %id, error = %error, "an export rests until the store answers again");
                tokio::time::sleep(REST).await;
                if *shutdown.borrow() {
                    return;
                }
            }
            Err(stop @ (Stop::File(_) | Stop::Lost(_))) => {
                // Its client deleted it meanwhile, and its files are away: nothing went wrong.
                if matches!(gateway.store.export(id).await, Ok(export) if export.as_ref().is_none_or(|e| e.state == ExportState::Gone))
                {
                    clear(gateway, id).await;
                    return;
                }
                tracing::error!(export = %id, error = %stop, "an export failed");
                let now = Utc::now();
                let note = stop.to_string();
                let expires_at = now + gateway.config.export.keep;
                let exports = vec![ExportChange::Fail { id, expires_at, note }];
                let audit = vec![by_gateway("fail", id, &json!({}), now)];
                match gateway.store.commit(Commit { exports, audit, ..Commit::default() }).await {
                    Ok(_) => {
                        clear(gateway, id).await;
                        return;
                    }
                    Err(_) => tokio::time::sleep(REST).await,
                }
                if *shutdown.borrow() {
                    return;
                }
            }
        }
    }
}
