//! What a person decides about deliveries that wait for one: try again, or skip.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::deliver::staged;
use super::refusal::missing;
use super::{Refusal, TRIES, witness, worklist};
use crate::Gateway;
use crate::domain::audit::{Deed, Event};
use crate::domain::delivery::State;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Commit, Committed, Delivery, DeliveryChange, DeliveryQuery, Expect, Filter};

/// What is to become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    Retry,
    /// Never to be sent; it is recorded who decided and why.
    Skip {
        by: &'a str,
        reason: &'a str,
    },
}

/// Carries out a decision on one delivery.
pub async fn decide(
    gateway: &Gateway,
    id: Uuid,
    decision: Decision<'_>,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Delivery, Refusal> {
    let who = || witness::named(gateway, actor);
    for _ in 0..TRIES {
        let query = DeliveryQuery { id: Some(id), ..DeliveryQuery::default() };
        let delivery = gateway.store.deliveries(&query).await?.into_iter().next().ok_or_else(|| missing("delivery"))?;
        let (to, note) = match decision {
            Decision::Retry => (State::Waiting, None),
            Decision::Skip { by, reason } => (State::Skipped, Some(format!("{by}: {reason}"))),
        };
        if !matches!(delivery.state, State::Parked | State::Waiting) {
            return Err(Refusal::Conflict(Issue::error(
                Code::BusinessRule,
                "delivery",
                format!("Leveransen är redan avslutad ({}).", delivery.state.code()),
                format!("The delivery has ended already ({}).", delivery.state.code()),
            )));
        }
        let event = match decision {
            Decision::Retry => Event::new(now, who(), Deed::Retry, format!("delivery/{id}")),
            Decision::Skip { by, .. } => {
                Event::new(now, who(), Deed::Skip, format!("delivery/{id}")).with("decidedBy", by)
            }
        };
        let mut commit = Commit {
            delivery_changes: vec![DeliveryChange {
                id,
                from: delivery.state,
                to,
                due_at: now,
                note: note.clone(),
                attempt: None,
            }],
            audit: vec![event.with("exchange", delivery.exchange.to_string()).into()],
            ..Commit::default()
        };
        if let Some(exchange) = staged(gateway, &delivery, to, now).await? {
            commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision - 1 });
            commit.exchanges.push(exchange);
        }
        if let Some(exchange) = gateway.store.exchange(&Filter::ALL, delivery.exchange).await? {
            worklist::follow(gateway, &mut commit, &exchange, now).await?;
        }
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.wake.notify_one();
            return Ok(Delivery { state: to, due_at: now, note, ..delivery });
        }
    }
    Err(Refusal::Busy)
}

/// Tries everything of an exchange again that is parked.
pub async fn retry_exchange(
    gateway: &Gateway,
    exchange: Uuid,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<usize, Refusal> {
    let query = DeliveryQuery {
        exchange: Some(exchange),
        state: Some(State::Parked),
        limit: u32::MAX, // one exchange has a few deliveries for each version, and none may be forgotten
        ..DeliveryQuery::default()
    };
    let parked = gateway.store.deliveries(&query).await?;
    for delivery in &parked {
        decide(gateway, delivery.id, Decision::Retry, actor, now).await?;
    }
    Ok(parked.len())
}
