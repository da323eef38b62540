//! Each expectation: a commit that expects the truth is written, one that expects anything else writes nothing.

use super::*;

/// Tries `expect` on a store that holds one of everything; what came of it, and whether anything was written.
async fn tried(store: &Store, expect: Expect) -> (Committed, bool) {
    let id = Uuid::new_v4().to_string();
    let commit = Commit { expect: vec![expect], ..puts([put("Goal", &id, 1)]) };
    let committed = store.commit(commit).await.unwrap();
    (committed, store.resource(&Filter::ALL, "Goal", &id).await.unwrap().is_some())
}

struct One {
    store: Store,
    exchange: Exchange,
    delivery: Delivery,
}

async fn one_of_everything() -> One {
    let store = Store::open_temporary().unwrap();
    let exchange = exchange("d1");
    let delivery = delivery(exchange.id, "norr", "p1");
    store
        .done(Commit {
            put: vec![patient("p1", "195009072553"), put("CarePlan", "c1", 1)],
            exchanges: vec![exchange.clone()],
            deliveries: vec![delivery.clone()],
            inbound: vec![inbound("norr", "Task/1/2")],
            answer: Some(answer("syd", "k1")),
            ..Commit::default()
        })
        .await;
    store.done(puts([put("CarePlan", "c1", 2)])).await;
    One { store, exchange, delivery }
}

fn true_ones(one: &One) -> Vec<Expect> {
    let pnr = |value: &str, id: Option<&str>| Expect::Patient {
        system: PNR.into(),
        value: value.into(),
        id: id.map(str::to_owned),
    };
    let version = |id: &str, version| Expect::Version { resource_type: "CarePlan".into(), id: id.into(), version };
    let of = |document: &str, revision| Expect::Exchange {
        organisation: one.exchange.organisation.to_lowercase(),
        kind: Kind::Referral,
        document: document.into(),
        revision,
    };
    vec![
        pnr("195009072553", Some("p1")),
        pnr("196101182803", None),
        version("c1", Some(2)),
        version("c2", None),
        Expect::NoIdentifier {
            resource_type: "Patient".into(),
            system: PNR.into(),
            value: "196101182803".into(),
            filter: Filter::ALL,
        },
        Expect::NoIdentifier {
            resource_type: "Task".into(),
            system: PNR.into(),
            value: "195009072553".into(),
            filter: Filter::ALL,
        },
        Expect::NoIdentifier {
            resource_type: "Patient".into(),
            system: "urn:x".into(),
            value: "195009072553".into(),
            filter: Filter::ALL,
        },
        of("d1", Some(1)),
        of("d2", None),
        Expect::Revision { exchange: one.exchange.id, revision: 1 },
        Expect::Unchanged { patient: "p1".into(), changes: 2 },
        Expect::Unchanged { patient: "p2".into(), changes: 0 },
        Expect::FreshKey { caller: "syd".into(), key: "k2".into() },
        Expect::FreshKey { caller: "norr".into(), key: "k1".into() },
        Expect::Unheard { partner: "norr".into(), key: "Task/1/3".into() },
        Expect::Unheard { partner: "syd".into(), key: "Task/1/2".into() },
        Expect::Delivery { delivery: one.delivery.id, state: delivery::State::Waiting },
        Expect::Untried { delivery: one.delivery.id, attempts: 0 },
    ]
}

fn false_ones(one: &One) -> Vec<Expect> {
    let pnr = |value: &str, id: Option<&str>| Expect::Patient {
        system: PNR.into(),
        value: value.into(),
        id: id.map(str::to_owned),
    };
    let version = |id: &str, version| Expect::Version { resource_type: "CarePlan".into(), id: id.into(), version };
    let of = |document: &str, revision| Expect::Exchange {
        organisation: one.exchange.organisation.clone(),
        kind: Kind::Referral,
        document: document.into(),
        revision,
    };
    vec![
        pnr("195009072553", None),
        pnr("195009072553", Some("p2")),
        pnr("196101182803", Some("p1")),
        version("c1", Some(1)),
        version("c1", None),
        version("c2", Some(1)),
        Expect::NoIdentifier {
            resource_type: "Patient".into(),
            system: PNR.into(),
            value: "195009072553".into(),
            filter: Filter::ALL,
        },
        of("d1", None),
        of("d1", Some(2)),
        of("d2", Some(1)),
        Expect::Revision { exchange: one.exchange.id, revision: 2 },
        Expect::Unchanged { patient: "p1".into(), changes: 1 },
        Expect::Unchanged { patient: "p2".into(), changes: 1 },
        Expect::Revision { exchange: Uuid::now_v7(), revision: 1 },
        Expect::FreshKey { caller: "syd".into(), key: "k1".into() },
        Expect::Unheard { partner: "norr".into(), key: "Task/1/2".into() },
        Expect::Delivery { delivery: one.delivery.id, state: delivery::State::Parked },
        Expect::Untried { delivery: one.delivery.id, attempts: 1 },
        Expect::Delivery { delivery: Uuid::now_v7(), state: delivery::State::Waiting },
    ]
}

#[tokio::test]
async fn what_is_true_lets_a_commit_through() {
    let one = one_of_everything().await;
    for expect in true_ones(&one) {
        let (committed, written) = tried(&one.store, expect.clone()).await;
        assert!(matches!(committed, Committed::Done { .. }) && written, "{expect:?}");
    }
}

#[tokio::test]
async fn what_is_not_true_stops_a_commit_and_is_named() {
    let one = one_of_everything().await;
    for expect in false_ones(&one) {
        let (committed, written) = tried(&one.store, expect.clone()).await;
        assert_eq!(committed, Committed::Conflict(expect.clone()));
        assert!(!written, "{expect:?}");
    }
}

#[tokio::test]
async fn one_of_several_is_enough_to_stop() {
    let one = one_of_everything().await;
    let fresh = Expect::FreshKey { caller: "syd".into(), key: "k2".into() };
    let stale = Expect::Version { resource_type: "CarePlan".into(), id: "c1".into(), version: Some(1) };
    let commit = Commit { expect: vec![fresh, stale.clone()], ..puts([put("Goal", "g", 1)]) };
    assert_eq!(one.store.commit(commit).await.unwrap(), Committed::Conflict(stale));
    assert_eq!(one.store.resource(&Filter::ALL, "Goal", "g").await.unwrap(), None);
}

#[tokio::test]
async fn a_version_follows_the_one_before_even_where_nobody_expects_it() {
    let one = one_of_everything().await;
    for (version, expected) in [(1, None), (2, Some(1)), (4, Some(3))] {
        let conflict = Expect::Version { resource_type: "CarePlan".into(), id: "c1".into(), version: expected };
        let committed = one.store.commit(puts([put("CarePlan", "c1", version)])).await.unwrap();
        assert_eq!(committed, Committed::Conflict(conflict));
    }
    one.store.done(puts([put("CarePlan", "c1", 3)])).await;
}

#[tokio::test]
async fn an_exchange_changes_by_one_revision_at_a_time() {
    let one = one_of_everything().await;
    for revision in [1, 3] {
        let changed = Exchange { revision, ..one.exchange.clone() };
        let commit = Commit { exchanges: vec![changed], ..Commit::default() };
        let conflict = Expect::Revision { exchange: one.exchange.id, revision: revision - 1 };
        assert_eq!(one.store.commit(commit).await.unwrap(), Committed::Conflict(conflict));
    }
    let changed = Exchange { revision: 2, ..one.exchange.clone() };
    one.store.done(Commit { exchanges: vec![changed.clone()], ..Commit::default() }).await;
    assert_eq!(one.store.exchange(&Filter::ALL, changed.id).await.unwrap(), Some(changed));
}
