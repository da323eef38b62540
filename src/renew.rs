//! Looks for changed keys and certificates while the gateway runs, and takes them into use without dropping a connection. A
//! broken new one leaves the old in force, and is said. Copies of the database that were made meanwhile are put into the log.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::Utc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::Gateway;
use crate::api::Certificates;
use crate::config::{Agreed, Config};
use crate::domain::audit::{By, Deed, Event};
use crate::operations::record_copies;
use crate::store::{self, Commit};

/// What tells one content of a file from another without reading it; none where it is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

/// The files that are looked at, as they were when that was done last.
pub struct Files {
    keys: Watched,
    certificates: Watched,
}

struct Watched {
    paths: Vec<PathBuf>,
    seen: Vec<Stamp>,
}

impl Files {
    /// To be called before they are read, so that no change after that is missed.
    pub fn of(config: &Config) -> Self {
        let keys = config.signs().then(|| config.oauth.key_file.clone()).into_iter().collect();
        let tls = config.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]);
        Self { keys: Watched::begin(keys), certificates: Watched::begin(tls.flatten().cloned().collect()) }
    }
}

impl Watched {
    fn begin(paths: Vec<PathBuf>) -> Self {
        let mut watched = Self { paths, seen: Vec::new() };
        watched.seen = watched.look();
        watched
    }

    fn look(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        self.paths.iter().map(stamp).collect()
    }

    /// Whether something is other than when it was asked last.
    fn changed(&mut self) -> bool {
        let now = self.look();
        let is_other = now != self.seen;
        self.seen = now;
        is_other
    }
}

/// Looks every so often, and when SIGHUP comes, until `stopped` says so.
pub async fn run(
    gateway: Arc<Gateway>,
    certificates: Option<Arc<Certificates>>,
    mut files: Files,
    mut stopped: watch::Receiver<bool>,
) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    while !*stopped.borrow() {
        record_copies(&gateway, Utc::now()).await;
        let asked = tokio::select! {
            () = tokio::time::sleep(gateway.config.oauth.reload) => false,
            () = received(&mut hangup) => true,
            _ = stopped.changed() => return,
        };
        if files.keys.changed() || asked {
            take_keys(&gateway);
        }
        if asked {
            take_agreements(&gateway).await;
        }
        if let Some(certificates) = &certificates
            && (files.certificates.changed() || asked)
        {
            match certificates.reload() {
                Ok(()) => tracing::info!("certificates were read again"),
                Err(error) => tracing::error!(error = %whole(&error), "new certificates are not used: the old stay"),
            }
        }
    }
}

fn take_keys(gateway: &Gateway) {
    match gateway.signer.reload() {
        Ok(true) => {
            gateway.keyring.forget();
            tracing::info!("the gateway's own keys are others now");
        }
        Ok(false) => {}
        Err(error) => tracing::error!(error = %whole(&error), "new keys are not used: the old stay"),
    }
}

/// Reads again who may get what. The store's part of it and the record that it was done are one commit; after that it is in force
/// for every request that comes, and no token of before is believed without being looked at anew.
async fn take_agreements(gateway: &Gateway) {
    let (agreed, warnings) = match gateway.config.agreed_again() {
        Ok(Some(read)) => read,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(error = %whole(&error), "new clients and registries are not used: the old stay");
            return;
        }
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let before = gateway.config.agreements.now();
    let others = |of: &Agreed, than: &Agreed| -> Vec<String> {
        let clients = of.clients.iter().map(|c| &c.id).filter(|id| !than.clients.iter().any(|c| c.id == **id));
        let registries =
            of.registries.iter().map(|r| &r.name).filter(|n| !than.registries.iter().any(|r| r.name == **n));
        clients.chain(registries).cloned().collect()
    };
    let event = Event::new(Utc::now(), By::gateway(), Deed::Agree, "settings").about([]);
    let event = event.with("came", others(&agreed, &before)).with("left", others(&before, &agreed));
    let event = event.with("clients", agreed.clients.len()).with("registries", agreed.registries.len());
    let deeds = vec![store::Deed::Registries(agreed.terms())];
    let commit = Commit { deeds, audit: vec![event.into()], ..Commit::default() };
    match gateway.store.commit(commit).await {
        Ok(_) => {
            gateway.config.agreements.replace(agreed);
            gateway.keyring.forget();
            tracing::info!(
                "clients, issuers and registries were read again; all else in the settings waits for a restart"
            );
        }
        Err(error) => tracing::error!(error = %error, "new clients and registries are not used: the old stay"),
    }
}

/// For ever, where there is no such signal.
async fn received(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
