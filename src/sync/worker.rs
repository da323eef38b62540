//! The two loops that run beside the API: deliver what is due, and read partners' Tasks for answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Refusal;
use super::deliver::deliver;
use super::reconcile::{Round, reconcile};
use super::waiting::resume;
use crate::Gateway;
use crate::store::Delivery;

/// The longest nap: a safety net, not the way deliveries are noticed.
const NAP: Duration = Duration::from_secs(30);
/// Rest after the store failed, so that a full disk is not asked a thousand times a second.
const REST: Duration = Duration::from_secs(1);

/// A lane is a patient at a partner: within it order is kept, across lanes everything runs side by side.
type Lane = (String, String);

/// Delivers until `shutdown` says stop; attempts that are under way are finished.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let mut flying: JoinSet<(Lane, Result<(), Refusal>)> = JoinSet::new();
    let mut busy: Vec<Lane> = Vec::new();
    if let Err(error) = resume(&gateway, None, Utc::now()).await {
        tracing::error!(error = %error, "activities that wait could not be taken up");
    }
    while !*shutdown.borrow() {
        match launch(&gateway, &mut flying, &mut busy).await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(error = %error, "deliveries cannot be read");
                tokio::time::sleep(REST).await;
            }
        }
        let nap = nap(&gateway, busy.is_empty()).await;
        tokio::select! {
            () = gateway.wake.notified() => {}
            Some(done) = flying.join_next(), if !flying.is_empty() => {
                if let Ok((lane, result)) = done {
                    busy.retain(|b| *b != lane);
                    if let Err(error) = result {
                        tracing::error!(error = %error, "the outcome of a delivery could not be recorded; it will be sent again");
                        tokio::time::sleep(REST).await;
                    }
                }
            }
            () = tokio::time::sleep(nap) => {}
            _ = shutdown.changed() => {}
        }
    }
    while flying.join_next().await.is_some() {}
}

async fn nap(gateway: &Gateway, idle: bool) -> Duration {
    if !idle {
        return NAP;
    }
    match gateway.store.next_due().await {
        Ok(Some(due)) => {
            (due - Utc::now()).to_std().unwrap_or(Duration::from_millis(1)).clamp(Duration::from_millis(1), NAP)
        }
        _ => NAP,
    }
}

async fn launch(
    gateway: &Arc<Gateway>,
    flying: &mut JoinSet<(Lane, Result<(), Refusal>)>,
    busy: &mut Vec<Lane>,
) -> Result<(), Refusal> {
    let most = gateway.config.delivery.max_in_flight;
    let due = gateway.store.due(Utc::now(), busy, 256).await?;
    let mut in_flight: HashMap<String, usize> = HashMap::new();
    for (partner, _) in busy.iter() {
        *in_flight.entry(partner.clone()).or_default() += 1;
    }
    for delivery in due {
        let here = in_flight.entry(delivery.partner.clone()).or_default();
        let most_here = gateway.config.partner(&delivery.partner).map_or(1, |p| p.max_in_flight);
        if busy.len() >= most || *here >= most_here {
            continue;
        }
        *here += 1;
        let lane = (delivery.partner.clone(), delivery.patient.clone());
        busy.push(lane.clone());
        let gateway = Arc::clone(gateway);
        flying.spawn(async move { (lane, one(&gateway, &delivery).await) });
    }
    Ok(())
}

async fn one(gateway: &Gateway, delivery: &Delivery) -> Result<(), Refusal> {
    let outcome = deliver(gateway, delivery, Utc::now(), fastrand::f64()).await?;
    tracing::info!(
        delivery = %delivery.id, exchange = %delivery.exchange, partner = delivery.partner,
        class = outcome.class(), reason = outcome.reason(), "attempted delivery {}", delivery.id
    );
    Ok(())
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
    let mut asked = false;
    while !*shutdown.borrow() {
        let round = reconcile(&gateway, &partner, Utc::now()).await;
        tell(&gateway, &partner, &round);
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
        if !asked {
            asked = ask_capability(&gateway, &partner).await;
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

/// Asks what the partner's server takes; false where it did not answer.
async fn ask_capability(gateway: &Gateway, partner: &str) -> bool {
    let Some(client) = gateway.clients.get(partner) else { return true };
    let Some(takes) = client.takes_provenance().await else { return false };
    if let Ok(mut partners) = gateway.takes_provenance.lock()
        && takes
    {
        partners.insert(partner.to_owned());
    }
    true
}

/// Delivers everything that is due now, and what that makes due, then stops: how tests and the demo wait without a clock.
pub async fn pump(gateway: &Gateway) -> Result<usize, Refusal> {
    let mut made = 0;
    loop {
        let due = gateway.store.due(Utc::now(), &[], 256).await?;
        if due.is_empty() {
            return Ok(made);
        }
        for delivery in due {
            deliver(gateway, &delivery, Utc::now(), 0.5).await?;
            made += 1;
        }
    }
}
