//! The loop that tells subscribers: reads what was committed, finds whose events it makes, and lets attempts go. Each subscription has
//! one attempt at a time and waits by itself when it fails; each endpoint's server has a breaker, and no client gets more than half
//! of all places, so that whoever is away holds up nobody.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use super::matching::Index;
use super::rights::standing;
use super::tell::{Turn, heartbeat_at, turn};
use crate::Gateway;
use crate::domain::breaker::{Breaker, Pass, Sign, Standing};
use crate::domain::subscription::Status;
use crate::store::{Commit, Subscription, SubscriptionChange};
use crate::sync::Refusal;

/// Versions of the log that are read at once.
const AT_ONCE: u32 = 500;
/// So far the log is read without a word of it on disk, where nothing of it was for anybody.
const UNMARKED: i64 = 1000;
const NAP: Duration = Duration::from_secs(30);
const BLINK: Duration = Duration::from_millis(5);
/// Rest after the store failed.
const REST: Duration = Duration::from_secs(1);
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// An attempt that is under way: of which subscription, of whom, where.
#[derive(Debug)]
struct Held {
    id: Uuid,
    client: String,
    origin: String,
    pass: Pass,
}

#[derive(Default)]
struct Work {
    index: Index,
    /// What is known of who they are: client and origin of the endpoint.
    who: HashMap<Uuid, (String, String)>,
    /// How many changes of subscriptions the index knows; none before the first look.
    changes: Option<i64>,
    matched: i64,
    marked: i64,
    agenda: BTreeSet<(DateTime<Utc>, Uuid)>,
    when: HashMap<Uuid, DateTime<Utc>>,
    /// Those that failed: what happens does not make them try sooner.
    resting: HashSet<Uuid>,
    breakers: HashMap<String, Breaker>,
    flying: JoinSet<Result<Turn, Refusal>>,
    held: HashMap<Id, Held>,
    tidied: Option<tokio::time::Instant>,
}

/// Tells subscribers until `shutdown` says stop; attempts that are under way are finished. What was not told by then is told after
/// the next start.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let mut work = Work::default();
    let mut commits = gateway.store.commits();
    while !*shutdown.borrow() {
        commits.borrow_and_update();
        let next = match work.round(&gateway).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = %error, "what happened cannot be read for subscribers");
                tokio::time::sleep(REST).await;
                Some(Utc::now())
            }
        };
        let nap = next.map_or(NAP, |next| (next - Utc::now()).to_std().unwrap_or_default().clamp(BLINK, NAP));
        tokio::select! {
            () = gateway.subscriptions.wake.notified() => {}
            _ = commits.changed(), if !work.index.is_empty() => {}
            Some(done) = work.flying.join_next_with_id(), if !work.flying.is_empty() => work.land(&gateway, done),
            () = tokio::time::sleep(nap) => {}
            _ = shutdown.changed() => {}
        }
    }
    while let Some(done) = work.flying.join_next_with_id().await {
        work.land(&gateway, done);
    }
}

impl Work {
    /// Everything that can be done now; when there is more to do, as far as the clock says.
    async fn round(&mut self, gateway: &Arc<Gateway>) -> Result<Option<DateTime<Utc>>, Refusal> {
        for id in gateway.subscriptions.take_ended() {
            self.forget(id);
        }
        self.learn(gateway).await?;
        self.read_log(gateway).await?;
        if self.tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            self.tidy(gateway).await?;
            self.tidied = Some(tokio::time::Instant::now());
        }
        let now = Utc::now();
        self.launch(gateway, now);
        Ok(self.agenda.iter().map(|(at, _)| *at).find(|at| *at > now))
    }

    /// Takes in what was made or changed since the last look.
    async fn learn(&mut self, gateway: &Gateway) -> Result<(), Refusal> {
        if self.changes.is_none() {
            self.matched = gateway.store.matched().await?;
            self.marked = self.matched;
        }
        let changed = gateway.store.subscriptions_changed(self.changes.unwrap_or(-1)).await?;
        if changed.is_empty() {
            self.changes = self.changes.or(Some(0));
            return Ok(());
        }
        let now = Utc::now();
        let news = gateway.store.with_news(changed.iter().map(|s| s.id).collect()).await?;
        let news: HashSet<Uuid> = news.into_iter().collect();
        for subscription in &changed {
            let id = subscription.id;
            self.forget(id);
            self.index.put(subscription, &gateway.conformance.topics, &gateway.reader(now));
            let origin = origin(&subscription.channel.endpoint).to_owned();
            self.who.insert(id, (subscription.client.clone(), origin));
            if let Some(at) = first_turn(subscription, news.contains(&id), now) {
                self.schedule(id, at);
            }
            self.changes = self.changes.max(Some(subscription.changed));
        }
        Ok(())
    }

    fn forget(&mut self, id: Uuid) {
        self.index.remove(id);
        self.who.remove(&id);
        self.resting.remove(&id);
        if let Some(at) = self.when.remove(&id) {
            self.agenda.remove(&(at, id));
        }
    }

    /// At that time, or sooner where it is on the agenda sooner.
    fn schedule(&mut self, id: Uuid, at: DateTime<Utc>) {
        match self.when.get(&id) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.agenda.remove(&(*known, id));
            }
            None => {}
        }
        self.agenda.insert((at, id));
        self.when.insert(id, at);
    }

    /// Reads what was committed, in order, and puts on disk whose events it is.
    async fn read_log(&mut self, gateway: &Gateway) -> Result<(), Refusal> {
        while !self.index.is_empty() {
            let after = self.matched.max(self.index.since());
            let happened = gateway.store.happened(after, &self.index.types(), AT_ONCE).await?;
            if Some(happened.changes) > self.changes {
                // Somebody subscribed meanwhile: what follows may be for them.
                let known = self.changes;
                self.learn(gateway).await?;
                // What has been deleted since leaves its count behind.
                self.changes = self.changes.max(Some(happened.changes)).max(known);
                continue;
            }
            let now = Utc::now();
            let events = self.index.events(&happened.rows, now);
            if !events.is_empty() || happened.through - self.marked >= UNMARKED {
                let of: BTreeSet<Uuid> = events.iter().map(|event| event.subscription).collect();
                let matched = SubscriptionChange::Match { through: happened.through, events };
                gateway.store.commit(Commit { subscriptions: vec![matched], ..Commit::default() }).await?;
                self.marked = happened.through;
                for id in of.into_iter().filter(|id| !self.resting.contains(id)).collect::<Vec<_>>() {
                    self.schedule(id, now);
                }
            }
            self.matched = happened.through;
            if happened.rows.len() < AT_ONCE as usize {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets go what is due and may go.
    fn launch(&mut self, gateway: &Arc<Gateway>, now: DateTime<Utc>) {
        let most = gateway.config.subscriptions.at_once;
        let share = (most / 2).max(1);
        let mut of_client: HashMap<String, usize> = HashMap::new();
        for held in self.held.values() {
            *of_client.entry(held.client.clone()).or_default() += 1;
        }
        let busy: HashSet<Uuid> = self.held.values().map(|held| held.id).collect();
        let due: Vec<Uuid> = self.agenda.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            if self.held.len() >= most {
                return;
            }
            let Some((client, origin)) = self.who.get(&id).cloned() else {
                self.forget(id);
                continue;
            };
            let count = of_client.entry(client.clone()).or_default();
            if busy.contains(&id) || *count >= share {
                continue;
            }
            let rule = || Breaker::new(gateway.config.delivery.breaker.clone());
            let breaker = self.breakers.entry(origin.clone()).or_insert_with(rule);
            let Some(pass) = breaker.pass(now) else {
                let standing = breaker.standing();
                if let Standing::Open { probe_at } = standing {
                    self.later(id, probe_at);
                }
                continue;
            };
            *count += 1;
            if let Some(at) = self.when.remove(&id) {
                self.agenda.remove(&(at, id));
            }
            let gateway = Arc::clone(gateway);
            let started = self.flying.spawn(async move { turn(&gateway, id, now, fastrand::f64()).await });
            self.held.insert(started.id(), Held { id, client, origin, pass });
        }
    }

    fn later(&mut self, id: Uuid, at: DateTime<Utc>) {
        if let Some(known) = self.when.remove(&id) {
            self.agenda.remove(&(known, id));
        }
        self.schedule(id, at);
    }

    fn land(&mut self, gateway: &Gateway, done: Result<(Id, Result<Turn, Refusal>), JoinError>) {
        let (task, ended) = match done {
            Ok((task, ended)) => (task, Some(ended)),
            Err(error) => (error.id(), None),
        };
        let Some(Held { id, origin, pass, .. }) = self.held.remove(&task) else { return };
        let now = Utc::now();
        let (sign, next) = match ended {
            Some(Ok(turn)) => (turn.sign, turn.next),
            Some(Err(error)) => {
                tracing::error!(subscription = %id, error = %error, "what came of telling {id} could not be recorded");
                (None, Some(now + REST))
            }
            None => (None, Some(now + REST)),
        };
        let rule = || Breaker::new(gateway.config.delivery.breaker.clone());
        // A turn without an attempt says nothing of the endpoint: a probe is still to be made.
        self.breakers.entry(origin).or_insert_with(rule).hear(pass, sign.unwrap_or(Sign::Unknown), now);
        if !self.who.contains_key(&id) {
            return;
        }
        match sign {
            Some(Sign::Trouble { .. }) => {
                self.resting.insert(id);
                if let Some(at) = self.when.remove(&id) {
                    self.agenda.remove(&(at, id));
                }
            }
            Some(_) => {
                self.resting.remove(&id);
            }
            None => {}
        }
        if let Some(next) = next {
            self.schedule(id, next);
        }
    }

    /// Lets go of events that are too old or too many. They get their numbers first, so that a gap is seen as one.
    async fn tidy(&mut self, gateway: &Gateway) -> Result<(), Refusal> {
        let (now, bounds) = (Utc::now(), &gateway.config.subscriptions);
        let before = now - bounds.keep;
        let all = self.who.keys().copied().collect();
        for id in gateway.store.overfull(all, before, bounds.kept).await? {
            let Some(subscription) = gateway.store.subscription(id).await? else { continue };
            let mut changes = Vec::new();
            if let Some(standing) = standing(gateway, &subscription, now) {
                let eyes = Box::new(standing.eyes);
                changes.push(SubscriptionChange::Number { id, eyes, most: AT_ONCE });
            }
            changes.push(SubscriptionChange::Forget { id, before, keep: bounds.kept });
            gateway.store.commit(Commit { subscriptions: changes, ..Commit::default() }).await?;
        }
        Ok(())
    }
}

/// When there is something to do for it, as it stands.
fn first_turn(subscription: &Subscription, has_news: bool, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match subscription.status {
        Status::Off | Status::Error => None,
        Status::Requested => Some(now),
        Status::Active if has_news => Some(subscription.due_at.unwrap_or(now)),
        Status::Active => heartbeat_at(subscription).into_iter().chain(subscription.end_at).min(),
    }
}

/// `https://host:port` of an address.
fn origin(endpoint: &str) -> &str {
    let after_scheme = endpoint.find("://").map_or(0, |at| at + 3);
    let rest = endpoint.get(after_scheme..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(endpoint.len(), |at| after_scheme + at);
    endpoint.get(..end).unwrap_or(endpoint)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_origin_is_what_stands_before_the_path() {
        for (endpoint, expected) in [
            ("https://a.example/x?y", "https://a.example"),
            ("http://[::1]:80/x", "http://[::1]:80"),
            ("https://a.example?x", "https://a.example"),
            ("https://a.example", "https://a.example"),
        ] {
            assert_eq!(super::origin(endpoint), expected);
        }
    }
}
