//! Everything a request needs, opened once; and the run of the program from there to the signal that stops it.
//!
//! `opening` makes it of the settings, `conformance` is what resources are judged by, `reading` makes trees of documents, and
//! `running` is the program's run.

mod conformance;
mod opening;
mod reading;
mod running;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Notify;

use crate::access::{Compiled, Keyring};
use crate::config::Config;
use crate::fhir::issue::Issue;
use crate::fhir::search::Reader;
use crate::mapping::Mappings;
use crate::partner::{Client, Hooks, Notifier};
use crate::signing::Signer;
use crate::store::Store;
use crate::sync::gate::Gates;
use crate::sync::refused::Counts;
use crate::sync::seal::Sealer;
use crate::telemetry::{Figures, Traces};
use crate::{registry, sync};

pub use conformance::{Conformance, InForce};
pub use opening::StartError;
pub use running::run;

/// The gateway: settings, store, tables, and clients for its partners.
#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub store: Store,
    pub mappings: Mappings,
    pub conformance: Conformance,
    pub keyring: Keyring,
    /// Our own keys; none where nothing is to be signed.
    pub signer: Arc<Signer>,
    /// What callers' scopes come to.
    pub compiled: Compiled,
    pub clients: HashMap<String, Client>,
    /// Those of partners who want to be told that there is something for them.
    pub notifiers: HashMap<String, Notifier>,
    /// Partners whose servers take our Provenance, as they said when they were last asked.
    pub takes_provenance: Mutex<BTreeSet<String>>,
    /// How each partner stands: what may go to it now, and why the rest waits.
    pub gates: Gates,
    /// What was last read of each partner's Tasks.
    pub seen: Mutex<HashMap<String, sync::seen::Seen>>,
    /// Rung when there may be something to deliver.
    pub wake: Notify,
    pub exports: registry::Exports,
    /// The ledger of purges, and the bell of what is due in programmes.
    pub programmes: sync::programme::Desk,
    pub subscriptions: sync::subscription::Desk,
    /// Whether responsibility of before it was kept is still to be derived.
    pub charges: sync::charge::Due,
    /// Where subscribers are told.
    pub hooks: Hooks,
    pub figures: Figures,
    /// Signs checkpoints of the audit log.
    pub sealer: Sealer,
    /// What is told in the audit log as a number.
    pub counts: Counts,
    /// Which request caused what is delivered.
    pub traces: Traces,
    pub started_at: DateTime<Utc>,
    draining: AtomicBool,
}

impl Gateway {
    /// How search criteria are read, in scopes as in addresses.
    pub fn reader(&self, now: DateTime<Utc>) -> Reader<'_> {
        Reader {
            terminology: self.conformance.profiles.terminology(),
            base_url: &self.config.base_url,
            now,
            hops: self.config.limits.search_hops,
            in_url: true,
        }
    }

    /// Whether documents may be sent: the store takes commits, and nobody has asked us to stop.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.store.is_ready()
    }

    /// Whether we have been asked to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Attempts to deliver that are under way.
    pub fn in_flight(&self) -> i64 {
        self.config.partners.iter().map(|partner| self.figures.in_flight(&partner.name)).sum()
    }

    /// Validates resources that go out or come in.
    pub fn validate(&self, resources: &[Value]) -> Vec<Issue> {
        self.conformance.validate(resources)
    }
}
