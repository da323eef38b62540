//! Rows about the patient's rights and the end of what is kept, as plain values, and the one place that writes them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Expect;
use super::apply::{Refusal, Writing};
use super::programme::Purge;
use crate::domain::retention::What;

/// What a commit does beside documents and deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    OptOut(OptOut),
    /// The patient has taken an objection back.
    Lift {
        id: Uuid,
        at: DateTime<Utc>,
        by: String,
    },
    Informed(Informed),
    Disclosed(Disclosed),
    /// The registry has erased everything up to that `seq`.
    Erased {
        registry: String,
        through: i64,
    },
    /// The settings' registries, and whether each needs that patients were informed; those not named get nothing more.
    Registries(Vec<(String, bool)>),
    Hold(Hold),
    LiftHold {
        id: Uuid,
        at: DateTime<Utc>,
        by: String,
    },
    Remove(Removal),
    RemoveCopies(Copies),
    /// A programme's end: after its row, where the same commit closes it.
    Purge(Purge),
}

/// A patient's objection to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    pub id: Uuid,
    /// Its name, or [`EVERY`](super::EVERY).
    pub registry: String,
    /// The id of the Patient, once there is one: given by the store.
    pub patient: Option<String>,
    /// The number that the patient is known by.
    pub system: String,
    pub value: String,
    /// The unit that received it.
    pub unit: String,
    pub objected_at: DateTime<Utc>,
    pub registered_at: DateTime<Utc>,
    pub registered_by: String,
    pub lifted_at: Option<DateTime<Utc>>,
    pub lifted_by: Option<String>,
}

impl OptOut {
    /// That the unit has not registered it already.
    pub fn unheard(&self) -> Expect {
        Expect::NoOptOut {
            system: self.system.clone(),
            value: self.value.clone(),
            registry: self.registry.clone(),
            unit: self.unit.clone(),
        }
    }
}

/// When a patient was informed of a registry (PDL 7 kap. 3 §).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Informed {
    pub registry: String,
    pub patient: Option<String>,
    pub system: String,
    pub value: String,
    pub unit: String,
    pub informed_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
}

/// What went out to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosed {
    pub registry: String,
    pub what: Given,
    /// The version of the key of its codes; none where it gets what is.
    pub key: Option<String>,
    pub at: DateTime<Utc>,
}

/// Resources that went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// `Type/id` of each.
    Names(Vec<String>),
    /// The rows that a walk showed.
    Rows(Vec<i64>),
}

/// How much of a type a registry has of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosedTo {
    pub registry: String,
    pub resource_type: String,
    pub resources: u32,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

/// Something a registry must erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub seq: i64,
    pub resource_type: String,
    pub id: String,
    /// The version of the key under which the registry has got it.
    pub key: Option<String>,
    /// `opt-out` or `removed`.
    pub reason: String,
    pub at: DateTime<Utc>,
}

/// What stops every removal, of a patient or of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: Uuid,
    pub patient: Option<String>,
    pub exchange: Option<Uuid>,
    pub reason: String,
    pub placed_at: DateTime<Utc>,
    pub placed_by: String,
    pub lifted_at: Option<DateTime<Utc>>,
    pub lifted_by: Option<String>,
}

/// An exchange to remove with everything of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Of its stub.
    pub id: Uuid,
    pub exchange: Uuid,
    /// The revision at which it was found to be due.
    pub revision: u32,
    /// Ids of Tasks of the worklist about it, which belong to no exchange.
    pub items: Vec<String>,
    pub rule: String,
    pub rule_version: String,
    pub at: DateTime<Utc>,
    pub by: String,
    /// What the log says of it goes when it is older than this; younger rows go later.
    pub log_before: DateTime<Utc>,
    /// How long a row of the log is kept, in milliseconds: when the younger ones go.
    pub log_kept_ms: i64,
}

/// Copies to remove: those older than `before`, at most `most`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    pub id: Uuid,
    pub what: What,
    pub before: DateTime<Utc>,
    pub most: u32,
    pub rule: String,
    pub rule_version: String,
    pub at: DateTime<Utc>,
    pub by: String,
}

/// That something was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    pub id: Uuid,
    pub what: String,
    pub kind: Option<String>,
    pub rule: String,
    pub rule_version: String,
    pub at: DateTime<Utc>,
    pub by: String,
    /// How many rows of each sort, as JSON.
    pub counts: String,
}

impl Writing<'_, '_> {
    pub(super) fn put_deed(&mut self, deed: &Deed) -> Result<(), Refusal> {
        match deed {
            Deed::OptOut(wish) => self.register(wish),
            Deed::Lift { id, at, by } => self.lift(*id, at.timestamp_millis(), by),
            Deed::Informed(informed) => self.inform(informed),
            Deed::Disclosed(disclosed) => self.disclose(disclosed),
            Deed::Erased { registry, through } => self.confirm(registry, *through),
            Deed::Registries(registries) => self.settle_registries(registries),
            Deed::Hold(hold) => self.hold(hold),
            Deed::LiftHold { id, at, by } => self.lift_hold(*id, at.timestamp_millis(), by),
            Deed::Remove(removal) => self.remove(removal),
            Deed::RemoveCopies(copies) => self.remove_copies(copies),
            Deed::Purge(purge) => self.purge(purge),
        }
    }
}
