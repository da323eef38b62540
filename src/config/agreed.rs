//! What was agreed with whom: clients, outside issuers and registries. It is read again while the gateway runs, all of it or
//! nothing; whoever holds what was in force goes on with that.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Client, Issuer, Registry};

/// One state of it, checked.
#[derive(Debug, Clone, Default)]
pub struct Agreed {
    /// Who may get a token: those of `[[client]]`, and partners with keys.
    pub clients: Vec<Arc<Client>>,
    pub issuers: Vec<Arc<Issuer>>,
    /// Quality registries that may get what was done.
    pub registries: Vec<Arc<Registry>>,
}

impl Agreed {
    pub(super) fn new(clients: Vec<Client>, issuers: Vec<Issuer>, registries: Vec<Registry>) -> Self {
        Self {
            clients: clients.into_iter().map(Arc::new).collect(),
            issuers: issuers.into_iter().map(Arc::new).collect(),
            registries: registries.into_iter().map(Arc::new).collect(),
        }
    }

    /// The registries as the store keeps them: which there are, and whether each gets only the informed.
    pub fn terms(&self) -> Vec<(String, bool)> {
        self.registries.iter().map(|registry| (registry.name.clone(), registry.needs_information)).collect()
    }
}

/// What is in force.
#[derive(Debug, Clone)]
pub struct Agreements(Arc<RwLock<Arc<Agreed>>>);

impl Agreements {
    pub(super) fn new(agreed: Agreed) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(agreed))))
    }

    pub fn now(&self) -> Arc<Agreed> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another state in force; what was until then comes back.
    pub fn replace(&self, agreed: Agreed) -> Arc<Agreed> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), Arc::new(agreed))
    }
}
