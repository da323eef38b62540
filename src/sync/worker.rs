//! The two loops that run beside the API: deliver what is due, and read partners' Tasks for answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::Refusal;
use super::deliver::deliver;
use super::gate::{Closed, Ticket};
use super::reconcile::{Round, reconcile};
use super::waiting::resume;
use super::witness;
use super::worklist::tend;
use crate::Gateway;
use crate::domain::audit::{self, By, Deed, Event};
use crate::domain::delivery::{Outcome, State};
use crate::domain::window;
use crate::store::{Commit, Committed, Delivery, DeliveryChange, Due, Rooms};

/// The longest nap: a safety net, not the way deliveries are noticed.
const NAP: Duration = Duration::from_secs(30);
/// The shortest: a clock that goes back must not make us ask without end.
const BLINK: Duration = Duration::from_millis(5);
/// Rest after the store failed, so that a full disk is not asked a thousand times a second.
const REST: Duration = Duration::from_secs(1);

/// Deliveries that are made due in one commit.
const AT_ONCE: u32 = 1000;

/// A lane is a patient at a partner: within it order is kept, across lanes everything runs side by side.
type Lane = (String, String);

/// The attempts that are under way.
#[derive(Default)]
struct Flying {
    tasks: JoinSet<Result<Option<Outcome>, Refusal>>,
    /// What each of them holds, kept here so that it is let go of however the attempt ends.
    held: HashMap<Id, (Lane, Ticket)>,
    /// Partners that answer again, and whose deliveries still wait for a time that was set while they did not.
    back: BTreeSet<String>,
}

/// Delivers until `shutdown` says stop; attempts that are under way are finished.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let mut flying = Flying::default();
    if let Err(error) = resume(&gateway, None, Utc::now()).await {
        tracing::error!(error = %error, "activities that wait could not be taken up");
    }
    while !*shutdown.borrow() {
        let next = match launch(&gateway, &mut flying).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = %error, "deliveries cannot be read");
                Some(Utc::now() + REST)
            }
        };
        let nap = next.map_or(NAP, |next| (next - Utc::now()).to_std().unwrap_or_default().clamp(BLINK, NAP));
        tokio::select! {
            () = gateway.wake.notified() => {}
            Some(done) = flying.tasks.join_next_with_id(), if !flying.tasks.is_empty() => {
                let mut failed = flying.land(&gateway, done);
                while let Some(done) = flying.tasks.try_join_next_with_id() {
                    failed |= flying.land(&gateway, done);
                }
                if failed {
                    tokio::time::sleep(REST).await;
                }
            }
            () = tokio::time::sleep(nap) => {}
            _ = shutdown.changed() => {}
        }
    }
    while let Some(done) = flying.tasks.join_next_with_id().await {
        flying.land(&gateway, done);
    }
}

impl Flying {
    fn busy(&self) -> Vec<Lane> {
        self.held.values().map(|(lane, _)| lane.clone()).collect()
    }

    /// Lets go of what an attempt held; whether its outcome could not be recorded.
    fn land(&mut self, gateway: &Gateway, done: Result<(Id, Result<Option<Outcome>, Refusal>), JoinError>) -> bool {
        let (id, outcome, failed) = match done {
            Ok((id, Ok(outcome))) => (id, outcome, false),
            Ok((id, Err(error))) => {
                tracing::error!(error = %error, "the outcome of a delivery could not be recorded; it will be sent again");
                (id, None, true)
            }
            Err(error) => (error.id(), None, true),
        };
        if let Some((_, ticket)) = self.held.remove(&id) {
            self.back.extend(gateway.gates.give_back(&ticket, outcome.as_ref(), Utc::now()));
        }
        failed
    }
}

/// What waited for a partner that answers again is due now, so many in one commit: the gate sees to it that the partner is
/// not sent more than it takes.
async fn hasten(gateway: &Gateway, flying: &mut Flying) -> Result<(), Refusal> {
    let now = Utc::now();
    let Some(partner) = flying.back.first().cloned() else { return Ok(()) };
    let waiting = gateway.store.retrying(&partner, now, AT_ONCE).await?;
    let is_all = waiting.len() < AT_ONCE as usize;
    let due =
        |id| DeliveryChange { id, from: State::Waiting, to: State::Waiting, due_at: now, note: None, attempt: None };
    let commit = Commit { delivery_changes: waiting.into_iter().map(due).collect(), ..Commit::default() };
    // Where one of them was decided about meanwhile, the next turn looks again.
    let is_done = matches!(gateway.store.commit(commit).await?, Committed::Done { .. });
    if is_all && is_done {
        flying.back.remove(&partner);
    }
    Ok(())
}

/// Starts what may go now; when the next may, as far as that is told by the clock.
async fn launch(gateway: &Arc<Gateway>, flying: &mut Flying) -> Result<Option<DateTime<Utc>>, Refusal> {
    hasten(gateway, flying).await?;
    let now = Utc::now();
    tend(gateway, now).await?;
    let Due { ready, next } = gateway.store.due(now, &flying.busy(), &gateway.gates.rooms(now)).await?;
    for delivery in ready {
        // Another partner may have taken the last place that is shared: it goes when one is free again.
        let Some(ticket) = gateway.gates.pass(&delivery.partner, delivery.urgent, now) else { continue };
        let lane = (delivery.partner.clone(), delivery.patient.clone());
        let gateway = Arc::clone(gateway);
        let started = flying.tasks.spawn(async move { one(&gateway, &delivery).await });
        flying.held.insert(started.id(), (lane, ticket));
    }
    let opens = |(partner, due): (String, DateTime<Utc>)| match gateway.gates.closed(&partner, now) {
        None => Some(due),
        Some(Closed::Window { until } | Closed::Rate { until }) => Some(due.max(until)),
        Some(Closed::Trouble { probe_at: Some(at) }) => Some(at),
        // An attempt that comes back makes room, and wakes us.
        Some(Closed::Trouble { probe_at: None } | Closed::Full) => None,
    };
    let next = next.into_iter().filter_map(opens).min();
    Ok(if flying.back.is_empty() { next } else { Some(now) })
}

async fn one(gateway: &Gateway, delivery: &Delivery) -> Result<Option<Outcome>, Refusal> {
    let Some(outcome) = deliver(gateway, delivery, Utc::now(), fastrand::f64()).await? else { return Ok(None) };
    tracing::info!(
        delivery = %delivery.id, exchange = %delivery.exchange, partner = delivery.partner,
        class = outcome.class(), reason = outcome.reason(), "attempted delivery {}", delivery.id
    );
    Ok(Some(outcome))
}

/// Reads every pushed partner's Tasks, each in its own rhythm, until `shutdown` says stop.
pub async fn listen(gateway: Arc<Gateway>, shutdown: watch::Receiver<bool>) {
    let mut partners = JoinSet::new();
    for name in gateway.clients.keys().cloned() {
        partners.spawn(every(Arc::clone(&gateway), name, shutdown.clone()));
    }
    while partners.join_next().await.is_some() {}
}

async fn every(gateway: Arc<Gateway>, partner: String, mut shutdown: watch::Receiver<bool>) {
    let mut asked = Asked::Never;
    while !*shutdown.borrow() {
        if !is_in_window(&gateway, &partner) {
            read_round(&gateway, &partner).await;
            if asked != Asked::Answered {
                asked = ask_capability(&gateway, &partner, asked).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(gateway.config.delivery.poll_every) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Counts a round and what came of the answers in it.
fn tell(gateway: &Gateway, partner: &str, round: &Result<Round, Refusal>) {
    match round {
        Ok(round) => {
            let result = if round.unreachable { "unreachable" } else { "read" };
            let answers = [("applied", round.applied), ("held", round.held), ("left", round.left)];
            gateway.figures.round(partner, result, answers);
        }
        Err(_) => gateway.figures.round(partner, "failed", [("applied", 0), ("held", 0), ("left", 0)]),
    }
}

/// Whether the partner has asked to be left alone now.
fn is_in_window(gateway: &Gateway, partner: &str) -> bool {
    gateway.config.partner(partner).is_some_and(|p| window::until(&p.windows, Utc::now()).is_some())
}

async fn read_round(gateway: &Gateway, partner: &str) {
    let round = reconcile(gateway, partner, Utc::now()).await;
    tell(gateway, partner, &round);
    match round {
        Ok(round) if round.applied + round.held > 0 => {
            tracing::info!(
                partner,
                read = round.read,
                applied = round.applied,
                held = round.held,
                "read Tasks of {partner}"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::error!(partner, error = %error, "answers of {partner} could not be stored"),
    }
}

/// Whether a partner has said what its server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Never,
    InVain,
    Answered,
}

/// Asks what the partner's server takes. It is asked again until it answers; of that the first time that it did not and the
/// time that it did are in the audit log.
async fn ask_capability(gateway: &Gateway, partner: &str, before: Asked) -> Asked {
    let Some(client) = gateway.clients.get(partner) else { return Asked::Answered };
    let said = client.takes_provenance().await;
    if said.is_some() || before == Asked::Never {
        let outcome = if said.is_some() { audit::Outcome::Success } else { audit::Outcome::Minor };
        let event = Event::new(Utc::now(), By::gateway(), Deed::Capability, format!("partner/{partner}"));
        if let Err(error) = witness::tell(gateway, event.ended(outcome).about([]).with("partner", partner)).await {
            tracing::error!(partner, error = %error, "that {partner} was asked could not be recorded");
            return before;
        }
    }
    let Some(takes) = said else { return Asked::InVain };
    if let Ok(mut partners) = gateway.takes_provenance.lock()
        && takes
    {
        partners.insert(partner.to_owned());
    }
    Asked::Answered
}

/// Delivers everything that is due now, and what that makes due, then stops: how tests and the demo wait without a clock.
pub async fn pump(gateway: &Gateway) -> Result<usize, Refusal> {
    let mut made = 0;
    tend(gateway, Utc::now()).await?;
    loop {
        let due = gateway.store.due(Utc::now(), &[], &Rooms::upto(256)).await?.ready;
        if due.is_empty() {
            return Ok(made);
        }
        for delivery in due {
            deliver(gateway, &delivery, Utc::now(), 0.5).await?;
            made += 1;
        }
    }
}
