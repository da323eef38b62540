//! Spärr in the store: blocks, and what follows from them for everything of the patient's.
//!
//! The rule is `domain::block`, and it is applied by the writer: whatever commit touches a patient with a block that stands,
//! what is kept from whom is settled anew in that commit (`settle`). Rows of `concern` that a block closes are moved to
//! `withheld`, exchanges noted in `withheld_exchange`, deliveries held. So every read that asks `concern` and `party`, as all
//! must, obeys a block from its commit on, and for patients without one nothing is asked that was not asked before.

mod known;
mod read;
mod settle;
mod shut;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::query::{Filter, Who};
use super::row::list;
use crate::domain::block::{Period, Rule, Scope};

#[cfg(test)]
pub(super) use settle::UNITS;
pub(super) use settle::affiliate;

/// A block as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub id: Uuid,
    /// The id of the Patient.
    pub patient: String,
    pub scope: Scope,
    pub period: Period,
    pub registered_at: DateTime<Utc>,
    /// The HSA-id of the person who registered it.
    pub registered_by: String,
    pub lifted: Option<Lifted>,
}

/// That a block was lifted: when, and the HSA-id of who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    pub at: DateTime<Utc>,
    pub by: String,
}

impl Block {
    pub fn rule(&self) -> Rule {
        Rule { scope: self.scope.clone(), period: self.period }
    }
}

/// What is about to be sent to units, and by whom: to know before the commit which of them a block keeps it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub patient: String,
    /// The sending unit and its care provider.
    pub unit: String,
    pub provider: String,
    pub documented: Option<(i64, i64)>,
    /// `Type/id` of what travels along, from other exchanges.
    pub along: Vec<String>,
    pub to: Vec<String>,
}

/// Whether the worklist has heard that a delivery is held, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub delivery: Uuid,
    pub held: bool,
}

/// Whoever has no unit, as `withheld` names it.
const NOBODY: &str = "";

/// For a reader without a unit, the condition that no block keeps the row `row` of `resource` from it. For units it is
/// `concern` that says so.
pub(super) fn open_to(filter: &Filter, row: &str) -> Option<String> {
    let is_registry = matches!(filter.who, Who::Registry(_));
    is_registry.then(|| format!("NOT EXISTS (SELECT 1 FROM withheld w WHERE w.rid = {row}.rid AND w.unit = '')"))
}

/// Who asks, as `withheld` and `sight` name them; none before whom nothing is closed.
pub(super) fn readers(filter: &Filter) -> Option<String> {
    match &filter.who {
        Who::Gateway => None,
        Who::Units(units) => Some(list(units.iter().map(|unit| unit.to_ascii_uppercase()))),
        Who::Registry(_) => Some(list([NOBODY])),
    }
}

/// That no block keeps the exchange of the party `p` from the party's unit.
pub(super) const UNBLOCKED_PARTY: &str =
    "NOT EXISTS (SELECT 1 FROM withheld_exchange w WHERE w.exchange = p.exchange AND w.unit = p.unit)";
