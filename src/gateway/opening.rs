//! Opens what a gateway is made of. The order matters: the lock of the database says that no other process makes the same keys.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use chrono::Utc;
use tokio::sync::Notify;

use super::{Conformance, Gateway};
use crate::access::{Compiled, Keyring};
use crate::api::TlsError;
use crate::config::{Channel, Config};
use crate::fhir::issue::Issue;
use crate::mapping::{Mappings, unwritten};
use crate::partner::{Bearer, Client, Guard, Hooks, Notifier};
use crate::signing::{Signer, SigningError};
use crate::store::{Ledger, Options, Store, StoreError};
use crate::sync::gate::Gates;
use crate::sync::refused::Counts;
use crate::sync::seal::{KeyError, Sealer};
use crate::telemetry::{Figures, Traces};
use crate::{assets, registry, sync};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database {path} cannot be used, and nothing was changed in it")]
    Store {
        path: String,
        #[source]
        source: StoreError,
    },
    #[error("the {what} cannot be read")]
    Files {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the {what} have errors:\n{findings}")]
    Findings { what: &'static str, findings: String },
    #[error("a client for partner {partner} cannot be made")]
    Client {
        partner: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the gateway's own keys cannot be used")]
    Keys(#[source] SigningError),
    #[error("the certificates of [tls] cannot be used")]
    Tls(#[source] TlsError),
    #[error("the key of the audit log cannot be used (audit.key)")]
    Key(#[source] KeyError),
    #[error("the code list in the database cannot be put in force")]
    CodeList(#[source] StoreError),
    #[error("what was purged could not be purged again")]
    Purges(#[source] sync::Refusal),
    #[error("the server failed")]
    Serve(#[source] std::io::Error),
}

impl Gateway {
    /// Opens the store, loads and checks the tables, prepares clients.
    pub fn open(config: Config) -> Result<Self, StartError> {
        let files = assets::mapping_files(config.mappings.as_deref())
            .map_err(|source| StartError::Files { what: "mapping tables", source })?;
        let (mappings, issues) = Mappings::load(&files);
        refuse("mapping tables", &issues)?;
        let files = assets::package_files(config.profiles.as_deref(), config.rules.as_deref())
            .map_err(|source| StartError::Files { what: "profiles", source })?;
        let (conformance, issues) = Conformance::load(&files);
        refuse("profiles", &issues)?;
        refuse("mapping tables", &unwritten(&mappings, &conformance.profiles))?;
        let registries = config.agreements.now().terms();
        let units = config.directory.iter().map(|unit| (unit.hsa_id.clone(), unit.care_provider.clone())).collect();
        let clocks = Some(Arc::new(config.clocks.rules.clone()));
        let store = Store::open(
            &config.db,
            Options { queue: config.limits.queue, registries, units, clocks, ..Options::default() },
        )
        .map_err(|source| StartError::Store { path: config.db.display().to_string(), source })?;
        // Behind the database's lock, so that no two processes make keys for each other.
        let signer = if config.signs() {
            Signer::open(&config.oauth.key_file, Utc::now().timestamp()).map_err(StartError::Keys)?
        } else {
            Signer::none()
        };
        let signer = Arc::new(signer);
        let (mut clients, mut notifiers) = (HashMap::new(), HashMap::new());
        let guard = Guard::new(Arc::new(config.outgoing.clone()));
        let hooks = Hooks::new(config.subscriptions.timeout(), &guard)
            .map_err(|source| StartError::Client { partner: "subscribers".into(), source })?;
        for partner in &config.partners {
            let failed = |source| StartError::Client { partner: partner.name.clone(), source };
            if let Channel::Push { fhir_base } = &partner.channel {
                let mut client = Client::new(fhir_base, partner.timeout, &guard).map_err(failed)?;
                if let Some(source) = &partner.token {
                    let bearer = Bearer::new(source, Arc::clone(&signer), partner.timeout, &guard).map_err(failed)?;
                    client = client.with_bearer(bearer);
                }
                clients.insert(partner.name.clone(), client);
            }
            if let Some(notice) = &partner.notice {
                let notifier = Notifier::new(notice, partner.timeout, &guard).map_err(failed)?;
                notifiers.insert(partner.name.clone(), notifier);
            }
        }
        let ledger = Ledger::open(&config.purges)
            .map_err(|source| StartError::Store { path: config.purges.display().to_string(), source })?;
        // After the store: its lock says that nobody else makes the key at the same time.
        let sealer = Sealer::open(&config).map_err(StartError::Key)?;
        Ok(Self {
            gates: Gates::open(&config, Utc::now()),
            config,
            sealer,
            counts: Counts::default(),
            figures: Figures::new(store.meter()),
            traces: Traces::default(),
            started_at: Utc::now(),
            draining: AtomicBool::new(false),
            store,
            mappings,
            conformance,
            keyring: Keyring::default(),
            signer,
            compiled: Compiled::default(),
            clients,
            notifiers,
            takes_provenance: Mutex::default(),
            seen: Mutex::default(),
            wake: Notify::new(),
            exports: registry::Exports::default(),
            programmes: sync::programme::Desk { ledger, wake: Notify::new() },
            subscriptions: sync::subscription::Desk::default(),
            charges: sync::charge::Due::default(),
            hooks,
        })
    }
}

/// Errors stop the start, everything else is said.
fn refuse(what: &'static str, issues: &[Issue]) -> Result<(), StartError> {
    let errors: Vec<String> = issues.iter().filter(|i| i.is_error()).map(Issue::line).collect();
    for issue in issues.iter().filter(|i| !i.is_error()) {
        tracing::warn!("{}", issue.line());
    }
    if errors.is_empty() { Ok(()) } else { Err(StartError::Findings { what, findings: errors.join("\n") }) }
}
