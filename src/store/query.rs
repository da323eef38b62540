//! What can be asked of the store, as plain values: who asks, and for what.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::grants::{Grants, Right};
use super::record::{Exchange, Stored};
use crate::domain::{Kind, Stage, delivery};
use crate::fhir::search::{Clause, Param};

/// What may be seen. Every read of resources and exchanges requires one; all that narrows it is decided in the store, in one
/// place for every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub who: Who,
    /// What its scopes allow; `None`: nothing narrows what it may see.
    pub grants: Option<Arc<Grants>>,
    /// Asks for this right wherever another would be asked for: what may be changed is not all that may be read.
    pub instead: Option<Right>,
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The gateway itself, or its operator.
    Gateway,
    /// These units, by HSA-id, compared without regard to case: they see what concerns them.
    Units(Vec<String>),
    /// The quality registry of that name.
    Registry(String),
}

impl Filter {
    /// For the gateway itself: nothing is hidden.
    pub const ALL: Self = Self { who: Who::Gateway, grants: None, instead: None };

    pub fn units(units: Vec<String>) -> Self {
        Self { who: Who::Units(units), ..Self::ALL }
    }

    /// For somebody before whom everything is hidden.
    pub fn nothing() -> Self {
        Self { grants: Some(Arc::default()), ..Self::units(Vec::new()) }
    }

    /// The same as far as scopes allow.
    pub fn within(self, grants: Arc<Grants>) -> Self {
        Self { grants: Some(grants), ..self }
    }

    /// The same as far as scopes give that right.
    pub fn to(self, right: Right) -> Self {
        Self { instead: Some(right), ..self }
    }

    pub fn registry(name: impl Into<String>) -> Self {
        Self { who: Who::Registry(name.into()), ..Self::ALL }
    }
}

/// A search for resources of one type. Pass the `seq` of the last of a page as `after` to get the next.
///
/// Without `sort` the order is that in which the resources were made: it never changes, so a resource that changes while
/// somebody pages is neither passed over nor shown twice, and what is new comes at the end. With `sort` the same holds for all
/// whose sort values stay; one whose values change stands where they put it, before or behind the page.
#[derive(Debug, Clone)]
pub struct Search {
    pub resource_type: String,
    /// All of them must hold.
    pub clauses: Vec<Clause>,
    pub sort: Vec<Sort>,
    pub limit: u32,
    pub after: Option<i64>,
}

impl Search {
    /// Everything of a type.
    pub fn of(resource_type: impl Into<String>) -> Self {
        Self { resource_type: resource_type.into(), clauses: Vec::new(), sort: Vec::new(), limit: 100, after: None }
    }
}

/// What to sort by; resources without a value come last either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortBy {
    Id,
    LastUpdated,
    /// A token, date or string. Of several values the lowest counts, descending the highest.
    Param(&'static Param),
}

/// What to bring along with matches: what `source`'s reference `param` points at, or in reverse what points so at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    pub is_reverse: bool,
    pub source: String,
    pub param: String,
    /// Only targets of this type.
    pub target: Option<String>,
    /// Also from what was brought along.
    pub iterates: bool,
}

/// A page of what a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub matches: Vec<Stored>,
    /// Whether there is at least one more behind the last.
    pub more: bool,
}

/// A question for exchanges, newest change first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeQuery {
    pub stage: Option<Stage>,
    /// A partner that serves one of the parties.
    pub partner: Option<String>,
    /// The HSA-id of one of the parties.
    pub unit: Option<String>,
    pub kind: Option<Kind>,
    /// The id of the Patient.
    pub patient: Option<String>,
    /// Only those of which something more is expected.
    pub open: bool,
    /// Only those with something that waits for a person: a parked delivery, or an answer that could not be applied.
    pub attention: bool,
    pub limit: u32,
    /// Only those behind this one: `updated_at` and `id` of the last of the page before.
    pub before: Option<(DateTime<Utc>, Uuid)>,
}

impl Default for ExchangeQuery {
    fn default() -> Self {
        Self {
            stage: None,
            partner: None,
            unit: None,
            kind: None,
            patient: None,
            open: false,
            attention: false,
            limit: 100,
            before: None,
        }
    }
}

/// A page of exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangePage {
    pub matches: Vec<Exchange>,
    pub more: bool,
}

/// A question for deliveries, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryQuery {
    pub id: Option<Uuid>,
    pub exchange: Option<Uuid>,
    pub partner: Option<String>,
    pub state: Option<delivery::State>,
    /// Only those of exchanges that these units are party to.
    pub filter: Filter,
    /// Only those made after this one: the `seq` of the last of the page before.
    pub after: Option<i64>,
    /// Without an exchange. Those of an exchange are given whole: what becomes of it is decided by all of them.
    pub limit: u32,
}

impl Default for DeliveryQuery {
    fn default() -> Self {
        Self { id: None, exchange: None, partner: None, state: None, filter: Filter::ALL, after: None, limit: 100 }
    }
}

/// A question for what a partner was to get in a span of time, the first made first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub partner: String,
    /// Last tried, or made where never tried, not before this.
    pub from: DateTime<Utc>,
    /// And not after this.
    pub to: DateTime<Utc>,
    pub states: Vec<delivery::State>,
    /// Only those of exchanges that these units are party to.
    pub filter: Filter,
    /// Only those made after this one: the `seq` of the last of the page before.
    pub after: Option<i64>,
    pub limit: u32,
}
