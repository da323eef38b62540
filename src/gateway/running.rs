//! The run of the program: what is started, and in which order it ends when a signal says so.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Gateway, StartError};
use crate::api::Certificates;
use crate::config::Config;
use crate::{api, drop, registry, renew, sync};

/// Serves until `shutdown` is ready. Then requests under way and deliveries in flight are finished, for at most
/// [`Config::drain`], and the store is closed. What is not delivered by then is in the store and is sent after the next start.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let files = renew::Files::of(&config);
    let certificates = config.tls.as_ref().map(Certificates::open).transpose().map_err(StartError::Tls)?;
    let gateway = Arc::new(Gateway::open(config)?);
    registry::definitions::settle(&gateway, Utc::now()).await.map_err(StartError::CodeList)?;
    // Before anybody can ask: a database that was put back has what was purged since.
    let purged = sync::programme::purge::again(&gateway, Utc::now()).await.map_err(StartError::Purges)?;
    if purged > 0 {
        tracing::warn!(count = purged, "the database is a copy of before: what was purged since is purged again");
    }
    let (stop, stopped) = watch::channel(false);
    let renewal = tokio::spawn(renew::run(Arc::clone(&gateway), certificates.clone(), files, stopped.clone()));
    let worker = tokio::spawn(sync::worker::run(Arc::clone(&gateway), stopped.clone()));
    let exports = tokio::spawn(registry::worker::run(Arc::clone(&gateway), stopped.clone()));
    let telling = tokio::spawn(sync::subscription::run(Arc::clone(&gateway), stopped.clone()));
    let answers = tokio::spawn(sync::worker::listen(Arc::clone(&gateway), stopped.clone()));
    let clocks = tokio::spawn(sync::clocks::run(Arc::clone(&gateway), stopped.clone()));
    let programmes = tokio::spawn(sync::programme::run(Arc::clone(&gateway), stopped.clone()));
    let deriving = tokio::spawn(sync::charge::run(Arc::clone(&gateway), stopped.clone()));
    let drops = tokio::spawn(drop::run(Arc::clone(&gateway), stopped.clone()));
    let reassessing = tokio::spawn(sync::reassess::run(Arc::clone(&gateway), stopped.clone()));
    let removals = tokio::spawn(sync::remove::run(Arc::clone(&gateway), stopped));
    let sealing = tokio::spawn(sync::seal::run(Arc::clone(&gateway), stop.subscribe()));
    let server = api::serve(Arc::clone(&gateway), listener, certificates).map_err(StartError::Serve)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    shutdown.await;
    let deadline = Instant::now() + gateway.config.drain;
    tracing::info!(bound_s = gateway.config.drain.as_secs(), in_flight = gateway.in_flight(), "stopping");
    gateway.draining.store(true, Ordering::Release);
    let _ = stop.send(true);
    gateway.wake.notify_one();
    sleep(gateway.config.drain_notice).await;
    let requests = async {
        handle.stop(true).await;
        let _ = serving.await;
    };
    let requests_ended = timeout_at(deadline, requests).await.is_ok();
    // Counted as the bound is reached: an attempt that is cut off is in flight no more.
    let mut left = 0;
    let mut count = || left = gateway.in_flight();
    let deliveries_ended = ended(worker, deadline, &mut count).await & ended(answers, deadline, || {}).await;
    ended(renewal, deadline, || {}).await;
    let exports_ended = ended(exports, deadline, || {}).await;
    ended(telling, deadline, || {}).await;
    ended(removals, deadline, || {}).await;
    ended(clocks, deadline, || {}).await;
    ended(programmes, deadline, || {}).await;
    ended(deriving, deadline, || {}).await;
    ended(drops, deadline, || {}).await;
    ended(reassessing, deadline, || {}).await;
    // Last: whatever was done until now is in the log.
    let _ = ended(sealing, deadline, || {}).await;
    if timeout(LAST_WRITES, sync::seal::end(&gateway, Utc::now())).await.is_err() {
        tracing::error!("the audit log could not be sealed in time; the next start goes on from the last checkpoint");
    }
    close(gateway).await;
    if requests_ended && deliveries_ended && exports_ended {
        tracing::info!("stopped");
    } else {
        tracing::warn!(
            in_flight = left,
            requests_ended,
            "stopped at the bound: what was not delivered is in the database, and is sent after the next start"
        );
    }
    Ok(())
}

/// Waits for a loop until `deadline`, and ends it then. An attempt that is cut off left its delivery as it was, to be sent
/// again: the same bytes, which change nothing where they had arrived.
/// `before_cut` is called just before.
async fn ended(mut work: JoinHandle<()>, deadline: Instant, before_cut: impl FnOnce()) -> bool {
    if timeout_at(deadline, &mut work).await.is_ok() {
        return true;
    }
    before_cut();
    work.abort();
    // Aborting takes effect at the next await, and drops what the loop holds of the gateway.
    let _ = work.await;
    false
}

/// Writes what is queued, and moves the log into the database. A disk that does not answer holds us no longer than a moment:
/// everything acknowledged is in the log.
async fn close(gateway: Arc<Gateway>) {
    let store = gateway.store.clone();
    drop(gateway);
    let (closed, done) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        store.close();
        drop(closed);
    });
    if tokio::time::timeout(LAST_WRITES, done).await.is_err() {
        tracing::error!("the database could not be closed in time; it is repaired from its log at the next start");
    }
}

/// How long the store may take to close.
const LAST_WRITES: Duration = Duration::from_secs(5);
