//! Events against a model: random commits, subscribers, filters and scopes, and a naive list of who should be told what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Index;
use super::tell::told;
use crate::Conformance;
use crate::access::{Caller, Purpose, Reach, write_caller};
use crate::domain::subscription::{Payload, Status};
use crate::fhir::search::{Clause, Reader, TokenMatch, index};
use crate::store::{
    Commit, Committed, Eyes, Filter, Grants, Hook, Put, Right, Share, Store, SubscriptionChange, SubscriptionOrder,
};

const UNITS: [&str; 3] = ["SE-A", "SE-B", "SE-C"];
const STATUSES: [&str; 3] = ["requested", "accepted", "completed"];
const TOPIC: &str = "https://vardkedja.example/fhir/SubscriptionTopic/task-changed";

fn pick<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

fn some<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> Vec<&'a str> {
    from.iter().copied().filter(|_| random.bool()).collect()
}

/// A Task of the model: its versions, and who sees it.
#[derive(Default)]
struct Known {
    versions: Vec<Value>,
    units: BTreeSet<String>,
}

/// A subscriber of the model.
struct Subscriber {
    id: Uuid,
    units: Vec<&'static str>,
    status: Option<&'static str>,
    patient: Option<String>,
    /// The only status that its scopes cover.
    scope: Option<&'static str>,
    /// What it should have been told, by Task and version.
    expected: Vec<(String, usize)>,
}

impl Subscriber {
    fn eyes(&self) -> Eyes {
        let filter = Filter::units(self.units.iter().map(|unit| (*unit).to_owned()).collect());
        let filter = match self.scope {
            None => filter,
            Some(status) => {
                let any_of = vec![TokenMatch { system: None, code: Some(status.to_owned()) }];
                let mut grants = Grants::default();
                for right in [Right::Search, Right::Read] {
                    let clause = Clause::Token { param: "status".into(), any_of: any_of.clone() };
                    grants.allow("Task", right, vec![clause]);
                }
                filter.within(Arc::new(grants))
            }
        };
        Eyes { filter, rights: vec![Right::Search] }
    }

    fn sees(&self, task: &Known, version: usize) -> bool {
        let covers = |body: &Value| self.scope.is_none_or(|status| body["status"] == status);
        self.units.iter().any(|unit| task.units.contains(*unit))
            && covers(task.versions.last().unwrap())
            && covers(&task.versions[version])
    }

    fn wants(&self, body: &Value) -> bool {
        self.status.is_none_or(|status| body["status"] == status)
            && self.patient.as_ref().is_none_or(|patient| body["for"]["reference"] == patient.as_str())
    }
}

async fn done(store: &Store, commit: Commit) {
    assert!(matches!(store.commit(commit).await.unwrap(), Committed::Done { .. }));
}

fn caller(units: &[&str]) -> Caller {
    Caller {
        client: None,
        name: "north".into(),
        partner: Some("north".into()),
        reach: Reach::Units(units.iter().map(|unit| (*unit).to_owned()).collect()),
        purpose: Purpose::Care,
        scopes: None,
        grants: None,
    }
}

/// What happened since the log was last read: a Task's version, and the unit that was let in, where that is what happened.
type Happened = (String, usize, Option<String>);

#[tokio::test]
async fn whoever_subscribes_is_told_what_a_naive_list_says_in_its_order_without_gaps_and_nothing_hidden() {
    let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
    let now = DateTime::UNIX_EPOCH;
    let terminology = conformance.profiles.terminology();
    let reader = Reader { terminology, base_url: "http://x", now, hops: 0, in_url: true };
    let mut total = 0;
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = Store::open_temporary().unwrap();
        let (mut tasks, mut subscribers) = (BTreeMap::<String, Known>::new(), Vec::<Subscriber>::new());
        let (mut index_of_all, mut matched, mut fresh) = (Index::default(), 0, Vec::<Happened>::new());
        for _ in 0..40 {
            match random.u8(0..10) {
                0 | 1 if subscribers.len() < 6 => {
                    // Who comes late is told of what comes later.
                    read_log(&store, &index_of_all, &mut matched, &tasks, &mut subscribers, &mut fresh).await;
                    let subscriber = subscribe(&mut random, &store).await;
                    let stored = store.subscription(subscriber.id).await.unwrap().unwrap();
                    index_of_all.put(&stored, &conformance.topics, &reader);
                    subscribers.push(subscriber);
                }
                2 | 3 => read_log(&store, &index_of_all, &mut matched, &tasks, &mut subscribers, &mut fresh).await,
                4 => share(&mut random, &store, &mut tasks, &mut fresh, true).await,
                5 => share(&mut random, &store, &mut tasks, &mut fresh, false).await,
                _ => put(&mut random, &store, &mut tasks, &mut fresh).await,
            }
        }
        read_log(&store, &index_of_all, &mut matched, &tasks, &mut subscribers, &mut fresh).await;
        for subscriber in &subscribers {
            total += compare(&store, &tasks, subscriber, seed).await;
        }
    }
    assert!(total > 500, "only {total} events were told");
}

async fn subscribe(random: &mut fastrand::Rng, store: &Store) -> Subscriber {
    let mut units = some(random, &UNITS);
    if units.is_empty() {
        units.push(UNITS[0]);
    }
    let subscriber = Subscriber {
        id: Uuid::new_v4(),
        units,
        status: random.bool().then(|| pick(random, &STATUSES)),
        patient: (random.u8(..) < 80).then(|| format!("Patient/{}", random.u8(0..3))),
        scope: (random.u8(..) < 80).then(|| pick(random, &STATUSES)),
        expected: Vec::new(),
    };
    let mut filters = Vec::new();
    filters.extend(subscriber.status.map(|status| json!(["Task", "status", status])));
    filters.extend(subscriber.patient.as_ref().map(|patient| json!(["Task", "patient", patient])));
    let order = SubscriptionOrder {
        id: subscriber.id,
        client: "north".into(),
        caller: write_caller(&caller(&subscriber.units)),
        topic: TOPIC.into(),
        asked: json!({ "filters": filters, "reason": "test", "contact": null }).to_string(),
        channel: Hook {
            endpoint: "https://x.example".into(),
            headers: Vec::new(),
            payload: Payload::IdOnly,
            heartbeat_s: None,
            timeout_s: 1,
            max_count: 10,
        },
        status: Status::Requested,
        end_at: None,
        at: Utc::now(),
    };
    let subscriptions = vec![SubscriptionChange::Begin(Box::new(order))];
    done(store, Commit { subscriptions, ..Commit::default() }).await;
    subscriber
}

/// One commit with several Tasks, as a document makes them.
async fn put(
    random: &mut fastrand::Rng,
    store: &Store,
    tasks: &mut BTreeMap<String, Known>,
    fresh: &mut Vec<Happened>,
) {
    let mut commit = Commit::default();
    let mut ids: Vec<u8> = (0..5).collect();
    random.shuffle(&mut ids);
    for id in ids.into_iter().take(random.usize(1..4)) {
        let id = format!("t{id}");
        let known = tasks.entry(id.clone()).or_default();
        let body = json!({
            "resourceType": "Task", "id": id, "status": pick(random, &STATUSES),
            "for": { "reference": format!("Patient/{}", random.u8(0..3)) },
        });
        let units: Vec<String> = some(random, &UNITS).into_iter().map(str::to_owned).collect();
        known.units.extend(units.iter().cloned());
        known.versions.push(body.clone());
        fresh.push((id.clone(), known.versions.len() - 1, None));
        commit.put.push(Put {
            resource_type: "Task".into(),
            id,
            version: u32::try_from(known.versions.len()).unwrap(),
            index: index(&body),
            body: body.to_string().into_bytes(),
            patient: None,
            units,
            exchange: None,
        });
    }
    done(store, commit).await;
}

async fn share(
    random: &mut fastrand::Rng,
    store: &Store,
    tasks: &mut BTreeMap<String, Known>,
    fresh: &mut Vec<Happened>,
    lets_in: bool,
) {
    let id = format!("t{}", random.u8(0..5));
    let Some(known) = tasks.get_mut(&id) else { return };
    let unit = pick(random, &UNITS).to_owned();
    let share = vec![Share { resources: vec![format!("Task/{id}")], units: vec![unit.clone()] }];
    let commit = match lets_in {
        true => Commit { share, ..Commit::default() },
        false => Commit { hide: share, ..Commit::default() },
    };
    done(store, commit).await;
    match lets_in {
        true if known.units.insert(unit.clone()) => fresh.push((id, known.versions.len() - 1, Some(unit))),
        true => {}
        false => {
            known.units.remove(&unit);
        }
    }
}

/// Reads the log here and in the model, and numbers what is new.
async fn read_log(
    store: &Store,
    all: &Index,
    matched: &mut i64,
    tasks: &BTreeMap<String, Known>,
    subscribers: &mut [Subscriber],
    fresh: &mut Vec<Happened>,
) {
    loop {
        // In pieces, so that their seams are tried too.
        let happened = store.happened(*matched, &["Task".to_owned()], 3).await.unwrap();
        let events = all.events(&happened.rows, Utc::now());
        let change = SubscriptionChange::Match { through: happened.through, events };
        // Twice: after a kill the log is read again from where it was last on disk.
        done(store, Commit { subscriptions: vec![change.clone(), change], ..Commit::default() }).await;
        if happened.rows.is_empty() {
            break;
        }
        *matched = happened.through;
    }
    for (id, version, gained) in fresh.drain(..) {
        let task = &tasks[&id];
        for subscriber in subscribers.iter_mut() {
            let is_let_in = gained.as_ref().is_none_or(|unit| subscriber.units.contains(&unit.as_str()));
            if is_let_in && subscriber.wants(&task.versions[version]) && subscriber.sees(task, version) {
                subscriber.expected.push((id.clone(), version + 1));
            }
        }
    }
    for subscriber in subscribers {
        let number = SubscriptionChange::Number { id: subscriber.id, eyes: Box::new(subscriber.eyes()), most: 1000 };
        done(store, Commit { subscriptions: vec![number], ..Commit::default() }).await;
    }
}

/// What its numbers say now: the event of each, or the next that may still be seen.
async fn compare(store: &Store, tasks: &BTreeMap<String, Known>, subscriber: &Subscriber, seed: u64) -> usize {
    let numbered = store.numbered(subscriber.id, &subscriber.eyes(), (1, i64::MAX), 10_000).await.unwrap();
    assert_eq!(numbered.len(), subscriber.expected.len(), "seed {seed}");
    let seen = |(id, version): &&(String, usize)| subscriber.sees(&tasks[id], version - 1);
    let all: Vec<(i64, String, bool)> =
        told(&numbered, Payload::IdOnly).into_iter().map(|told| (told.number, told.id, told.is_new)).collect();
    let naive: Vec<(i64, String, bool)> = (0..subscriber.expected.len())
        .filter_map(|at| {
            let (id, version) = subscriber.expected[at..].iter().find(seen)?;
            Some((at as i64 + 1, id.clone(), *version == 1))
        })
        .collect();
    assert_eq!(all, naive, "seed {seed}");
    all.len()
}

#[tokio::test]
async fn of_ten_thousand_subscribers_a_commit_looks_at_those_whom_it_concerns() {
    let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
    let now = DateTime::UNIX_EPOCH;
    let terminology = conformance.profiles.terminology();
    let reader = Reader { terminology, base_url: "http://x", now, hops: 0, in_url: true };
    let store = Store::open_temporary().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let model = subscribe(&mut random, &store).await;
    let one = store.subscription(model.id).await.unwrap().unwrap();
    let mut all = Index::default();
    for n in 0..10_000 {
        // Half of them for all of a unit's Tasks, half for one patient each of the same unit.
        let (unit, patient) = if n % 2 == 0 { (format!("SE-{n}"), None) } else { ("SE-0".to_owned(), Some(n)) };
        let filters: Vec<Value> = patient.iter().map(|p| json!(["Task", "patient", format!("Patient/{p}")])).collect();
        let asked = json!({ "filters": filters, "reason": "test", "contact": null }).to_string();
        let caller = write_caller(&caller(&[unit.as_str()]));
        let subscription =
            crate::store::Subscription { id: Uuid::new_v4(), caller, asked, since_seq: 0, ..one.clone() };
        all.put(&subscription, &conformance.topics, &reader);
    }
    let happening = |n: i64| {
        let body = json!({ "resourceType": "Task", "id": n.to_string(), "for": { "reference": "Patient/1" } });
        crate::store::Happening {
            seq: n,
            rid: n,
            resource_type: "Task".into(),
            id: n.to_string(),
            version: 1,
            version_seq: n,
            at: now,
            body: body.to_string().into_bytes(),
            units: vec!["SE-0".into(), "SE-2".into()],
            gained: None,
        }
    };
    let rows: Vec<_> = (1..=1000).map(happening).collect();
    let started = std::time::Instant::now();
    let events = all.events(&rows, now);
    println!("{} µs a commit among 10 000 subscribers", started.elapsed().as_micros() / 1000);
    // The two units, and the one patient that is asked for.
    assert_eq!(events.len(), 3 * rows.len());
}
