//! Lanes: same patient, same partner, in order; whatever is stuck holds what is behind it and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::domain::delivery::State;

async fn store_with(deliveries: &[Delivery], exchange: &Exchange) -> Store {
    let store = Store::open_temporary().unwrap();
    store
        .done(Commit { exchanges: vec![exchange.clone()], deliveries: deliveries.to_vec(), ..Commit::default() })
        .await;
    store
}

async fn changed(store: &Store, change: DeliveryChange) -> Result<Committed, StoreError> {
    store.commit(Commit { delivery_changes: vec![change], ..Commit::default() }).await
}

async fn due(store: &Store) -> Vec<Uuid> {
    store.due(at(0), &[], &Rooms::upto(100)).await.unwrap().ready.into_iter().map(|delivery| delivery.id).collect()
}

#[tokio::test]
async fn a_parked_delivery_holds_its_successors_and_no_other_lane() {
    let exchange = exchange("d1");
    let of = |partner: &str, patient: &str| delivery(exchange.id, partner, patient);
    let [first, second] = [of("norr", "p1"), of("norr", "p1")];
    let [other_patient, other_partner] = [of("norr", "p2"), of("väst", "p1")];
    let all = [first.clone(), second.clone(), other_patient.clone(), other_partner.clone()];
    let store = store_with(&all, &exchange).await;
    assert_eq!(due(&store).await, [first.id, other_partner.id, other_patient.id]);
    changed(&store, change(&first, State::Waiting, State::Parked)).await.unwrap();
    assert_eq!(due(&store).await, [other_patient.id, other_partner.id]);
    changed(&store, change(&first, State::Parked, State::Waiting)).await.unwrap();
    assert_eq!(due(&store).await, [first.id, other_partner.id, other_patient.id], "retried");
    changed(&store, change(&first, State::Waiting, State::Parked)).await.unwrap();
    changed(&store, change(&first, State::Parked, State::Skipped)).await.unwrap();
    assert_eq!(due(&store).await, [second.id, other_partner.id, other_patient.id], "skipped");
}

#[tokio::test]
async fn what_waits_for_its_time_holds_its_lane_too() {
    let exchange = exchange("d1");
    let first = Delivery { due_at: at(5), ..delivery(exchange.id, "norr", "p1") };
    let second = delivery(exchange.id, "norr", "p1");
    let store = store_with(&[first.clone(), second], &exchange).await;
    assert!(due(&store).await.is_empty());
    let next = store.due(at(0), &[], &Rooms::upto(10)).await.unwrap().next;
    assert_eq!(next, BTreeMap::from([("norr".to_owned(), at(5))]));
    let Due { ready, next } = store.due(at(5), &[], &Rooms::upto(10)).await.unwrap();
    assert!(next.is_empty(), "{next:?}");
    assert_eq!(ready.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [first.id]);
}

#[tokio::test]
async fn lanes_under_way_are_left_out_and_do_not_use_up_the_limit() {
    let exchange = exchange("d1");
    let all: Vec<_> = (0..6).map(|n| delivery(exchange.id, "norr", &format!("p{n}"))).collect();
    let store = store_with(&all, &exchange).await;
    let busy: Vec<_> =
        (0..4).map(|n| ("norr".to_owned(), format!("p{n}"))).chain([("väst".into(), "p5".into())]).collect();
    let due = store.due(at(0), &busy, &Rooms::upto(2)).await.unwrap().ready;
    assert_eq!(due.iter().map(|delivery| delivery.patient.as_str()).collect::<Vec<_>>(), ["p4", "p5"]);
}

#[tokio::test]
async fn a_partner_with_much_to_get_does_not_fill_the_list() {
    let exchange = exchange("d1");
    let many = (0..50).map(|n| delivery(exchange.id, "norr", &format!("p{n}")));
    let few = (0..2).map(|n| Delivery { due_at: at(1), ..delivery(exchange.id, "väst", &format!("p{n}")) });
    let store = store_with(&many.chain(few).collect::<Vec<_>>(), &exchange).await;
    let due = store.due(at(1), &[], &Rooms::upto(6)).await.unwrap().ready;
    let partners: Vec<_> = due.iter().map(|delivery| delivery.partner.as_str()).collect();
    assert_eq!(partners, ["norr", "väst", "norr", "väst", "norr", "norr"]);
}

#[tokio::test]
async fn the_database_refuses_a_delivery_out_of_order_and_one_that_is_over() {
    let exchange = exchange("d1");
    let [first, second] = [0, 1].map(|_| delivery(exchange.id, "norr", "p1"));
    let store = store_with(&[first.clone(), second.clone()], &exchange).await;
    let early = changed(&store, change(&second, State::Waiting, State::Delivered)).await;
    assert!(matches!(early, Err(StoreError::Refused(_))), "{early:?}");
    changed(&store, change(&first, State::Waiting, State::Delivered)).await.unwrap();
    let again = changed(&store, change(&first, State::Delivered, State::Waiting)).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    let stale = changed(&store, change(&first, State::Waiting, State::Parked)).await.unwrap();
    assert_eq!(stale, Committed::Conflict(Expect::Delivery { delivery: first.id, state: State::Waiting }));
    changed(&store, change(&second, State::Waiting, State::Delivered)).await.unwrap();
}

#[tokio::test]
async fn attempts_are_counted_and_kept_in_order() {
    let exchange = exchange("d1");
    let one = delivery(exchange.id, "norr", "p1");
    let store = store_with(std::slice::from_ref(&one), &exchange).await;
    let failed = Attempt { status: None, reason: Some("timeout".into()), ..attempt("transient") };
    let retry =
        DeliveryChange { due_at: at(9), attempt: Some(failed.clone()), ..change(&one, State::Waiting, State::Waiting) };
    changed(&store, retry).await.unwrap();
    let last = Attempt { at: at(9), ..attempt("delivered") };
    let done = DeliveryChange { attempt: Some(last.clone()), ..change(&one, State::Waiting, State::Delivered) };
    changed(&store, done).await.unwrap();
    assert_eq!(store.attempts(one.id).await.unwrap(), [failed, last]);
    let found = store.deliveries(&DeliveryQuery { id: Some(one.id), ..DeliveryQuery::default() }).await.unwrap();
    let expected =
        Delivery { state: State::Delivered, attempts: 2, first_attempt_at: Some(at(1)), seq: 1, ..one.clone() };
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn the_deliveries_of_an_exchange_are_listed_whole_however_many() {
    let (one, other) = (exchange("d"), exchange("e"));
    let deliveries: Vec<Delivery> = (0..150).map(|_| delivery(one.id, "norr", "p1")).collect();
    let store = store_with(&deliveries, &one).await;
    let more = vec![delivery(other.id, "norr", "p1")];
    store.done(Commit { exchanges: vec![other], deliveries: more, ..Commit::default() }).await;
    let whole = DeliveryQuery { exchange: Some(one.id), ..DeliveryQuery::default() };
    assert_eq!(store.deliveries(&whole).await.unwrap().len(), 150);
    let all = DeliveryQuery { partner: Some("norr".into()), ..DeliveryQuery::default() };
    assert_eq!(store.deliveries(&all).await.unwrap().len(), 100);
}

#[tokio::test]
async fn deliveries_are_listed_by_every_combination_oldest_first() {
    let one = exchange("d1");
    let two = exchange("d2");
    let store = Store::open_temporary().unwrap();
    let all: Vec<Delivery> = (0..24_i64)
        .map(|n| Delivery {
            state: if n % 3 == 0 { State::Parked } else { State::Waiting },
            note: (n % 3 == 0).then(|| "why".into()),
            seq: n + 1,
            ..delivery(if n % 2 == 0 { one.id } else { two.id }, ["norr", "väst"][usize::from(n % 4 < 2)], "p1")
        })
        .collect();
    store
        .done(Commit { exchanges: vec![one.clone(), two.clone()], deliveries: all.clone(), ..Commit::default() })
        .await;
    for exchange in [None, Some(one.id)] {
        for partner in [None, Some("norr".to_owned()), Some("nobody".to_owned())] {
            for state in [None, Some(State::Waiting), Some(State::Parked), Some(State::Delivered)] {
                for id in [None, Some(all[4].id)] {
                    let query = DeliveryQuery {
                        id,
                        exchange,
                        partner: partner.clone(),
                        state,
                        limit: 5,
                        ..DeliveryQuery::default()
                    };
                    let expected: Vec<Delivery> = all
                        .iter()
                        .filter(|d| id.is_none_or(|id| d.id == id))
                        .filter(|d| exchange.is_none_or(|id| d.exchange == id))
                        .filter(|d| partner.as_ref().is_none_or(|name| d.partner == *name))
                        .filter(|d| state.is_none_or(|state| d.state == state))
                        .take(if exchange.is_some() { usize::MAX } else { 5 })
                        .cloned()
                        .collect();
                    assert_eq!(store.deliveries(&query).await.unwrap(), expected, "{query:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_urgent_overtakes_other_patients_and_nobody_waits_for_ever() {
    let exchange = exchange("d1");
    let routine = (0..3).map(|n| delivery(exchange.id, "norr", &format!("r{n}")));
    let urgent = (0..20).map(|n| Delivery { urgent: true, ..delivery(exchange.id, "norr", &format!("u{n:02}")) });
    let store = store_with(&routine.chain(urgent).collect::<Vec<_>>(), &exchange).await;
    let patients = |due: Due| due.ready.into_iter().map(|d| d.patient).collect::<Vec<_>>();
    let twelve = patients(store.due(at(0), &[], &Rooms::upto(12)).await.unwrap());
    assert_eq!(twelve, ["u00", "u01", "u02", "r0", "u03", "u04", "u05", "r1", "u06", "u07", "u08", "r2"]);
    // One place at a time, as when a partner takes one at a time: the turn is remembered by whoever asks.
    let one = |overtaken| Rooms {
        at: HashMap::from([("norr".into(), Room { most: 1, overtaken, is_probe: false })]),
        elsewhere: 0,
        most: 9,
    };
    for (overtaken, first) in [(0, "u00"), (TURN - 2, "u00"), (TURN - 1, "r0"), (99, "r0")] {
        assert_eq!(patients(store.due(at(0), &[], &one(overtaken)).await.unwrap()), [first], "after {overtaken}");
    }
}

#[tokio::test]
async fn something_urgent_hurries_what_stands_before_it_and_never_overtakes_it() {
    let exchange = exchange("d1");
    let other = delivery(exchange.id, "norr", "p1");
    let [first, second] = [(); 2].map(|()| delivery(exchange.id, "norr", "p2"));
    let store = store_with(&[other.clone(), first.clone(), second.clone()], &exchange).await;
    let last = Delivery { urgent: true, ..delivery(exchange.id, "norr", "p2") };
    store.done(Commit { deliveries: vec![last.clone()], ..Commit::default() }).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let rooms =
            Rooms { at: HashMap::from([("norr".into(), Room { most: 1, ..Room::default() })]), elsewhere: 0, most: 9 };
        let next = store.due(at(0), &[], &rooms).await.unwrap().ready.remove(0);
        changed(&store, change(&next, State::Waiting, State::Delivered)).await.unwrap();
        order.push(next.id);
    }
    assert_eq!(order, [first.id, second.id, last.id, other.id]);
}

#[tokio::test]
async fn a_partner_that_must_wait_takes_no_place_from_another_and_says_when_it_is_due() {
    let exchange = exchange("d1");
    let all = [delivery(exchange.id, "norr", "p1"), delivery(exchange.id, "väst", "p1")];
    let store = store_with(&all, &exchange).await;
    let rooms = Rooms { at: HashMap::from([("norr".into(), Room::default())]), elsewhere: 3, most: 9 };
    let due = store.due(at(1), &[], &rooms).await.unwrap();
    assert_eq!(due.ready.iter().map(|d| d.partner.as_str()).collect::<Vec<_>>(), ["väst"]);
    assert_eq!(due.next, BTreeMap::from([("norr".to_owned(), at(0))]));
    let busy = [("norr".to_owned(), "p1".to_owned())];
    assert!(store.due(at(1), &busy, &rooms).await.unwrap().next.is_empty(), "what is under way is not waited for");
}

#[tokio::test]
async fn only_what_was_delivered_is_sent_again_and_only_byte_by_byte() {
    let exchange = exchange("d1");
    let [first, waiting] = ["p1", "p2"].map(|patient| delivery(exchange.id, "norr", patient));
    let store = store_with(&[first.clone(), waiting.clone()], &exchange).await;
    changed(&store, change(&first, State::Waiting, State::Delivered)).await.unwrap();
    let again = |of: &Delivery| Delivery { id: Uuid::now_v7(), resend_of: Some(of.id), ..of.clone() };
    let wrong = [
        Delivery { body: b"other".to_vec(), ..again(&first) },
        Delivery { patient: "p3".into(), ..again(&first) },
        Delivery { partner: "väst".into(), ..again(&first) },
        again(&waiting),
    ];
    for wrong in wrong {
        let refused = store.commit(Commit { deliveries: vec![wrong], ..Commit::default() }).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    let right = again(&first);
    store.done(Commit { deliveries: vec![right.clone()], ..Commit::default() }).await;
    assert_eq!(due(&store).await, [waiting.id, right.id]);
}

/// One step of a random life: something new, or a change of something that is there.
#[derive(Debug, Clone)]
enum Step {
    Add { partner: u8, patient: u8, parked: bool, due: i64 },
    Move { which: prop::sample::Index, to: State, due: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop::sample::select(State::ALL.to_vec());
    prop_oneof![
        (0..3_u8, 0..3_u8, prop::bool::weighted(0.1), 0..4_i64).prop_map(|(partner, patient, parked, due)| Step::Add {
            partner,
            patient,
            parked,
            due
        }),
        (any::<prop::sample::Index>(), to, 0..4_i64).prop_map(|(which, to, due)| Step::Move { which, to, due }),
    ]
}

/// The rule in its plainest form: in each lane, the first that is neither delivered nor skipped.
fn heads(model: &[Delivery]) -> Vec<&Delivery> {
    let mut lanes = BTreeSet::new();
    let open = model.iter().filter(|d| matches!(d.state, State::Waiting | State::Parked));
    open.filter(|d| lanes.insert((&d.partner, &d.patient))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_only_the_head_of_each_lane_may_go(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live(steps))?;
    }
}

async fn live(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let exchange = exchange("d1");
    let store = store_with(&[], &exchange).await;
    let mut model: Vec<Delivery> = Vec::new();
    for step in steps {
        match step {
            Step::Add { partner, patient, parked, due } => {
                let mut new = delivery(exchange.id, &format!("partner{partner}"), &format!("p{patient}"));
                new.due_at = at(due);
                if parked {
                    (new.state, new.note) = (State::Parked, Some("no route".into()));
                }
                store.done(Commit { deliveries: vec![new.clone()], ..Commit::default() }).await;
                model.push(new);
            }
            Step::Move { which, to, due } if !model.is_empty() => {
                let index = which.index(model.len());
                let before = model[index].clone();
                let tried = to == State::Delivered;
                let moved = DeliveryChange {
                    due_at: at(due),
                    attempt: tried.then(|| attempt("delivered")),
                    ..change(&before, before.state, to)
                };
                let is_head = heads(&model).iter().any(|head| head.id == before.id);
                let over = matches!(before.state, State::Delivered | State::Skipped);
                let legal = if over { to == before.state } else { to != State::Delivered || is_head };
                let committed = changed(&store, moved).await;
                // A delivered one that is "delivered" again is out of order like any that is not a head.
                if legal && !(over && to == State::Delivered) {
                    prop_assert!(matches!(committed, Ok(Committed::Done { .. })), "{:?}", committed);
                    let now = &mut model[index];
                    (now.state, now.due_at) = (to, at(due));
                } else {
                    prop_assert!(matches!(committed, Err(StoreError::Refused(_))), "{:?}", committed);
                }
            }
            Step::Move { .. } => continue,
        }
        let waiting: Vec<&Delivery> = heads(&model).into_iter().filter(|d| d.state == State::Waiting).collect();
        let shut = store.due(at(1), &[], &Rooms::upto(0)).await.unwrap();
        prop_assert!(shut.ready.is_empty());
        prop_assert_eq!(shut.next.values().min().copied(), waiting.iter().map(|d| d.due_at).min());
        let busy = [("partner0".to_owned(), "p0".to_owned())];
        for busy in [&[][..], &busy[..]] {
            let lane = |d: &Delivery| (d.partner.clone(), d.patient.clone());
            let expected: BTreeSet<Uuid> =
                waiting.iter().filter(|d| d.due_at <= at(1) && !busy.contains(&lane(d))).map(|d| d.id).collect();
            let Due { ready: found, next } = store.due(at(1), busy, &Rooms::upto(100)).await.unwrap();
            let later = waiting.iter().filter(|d| d.due_at > at(1) && !busy.contains(&lane(d))).map(|d| d.due_at).min();
            prop_assert_eq!(next.values().min().copied(), later);
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.iter().map(|d| d.id).collect::<BTreeSet<_>>(), expected);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_probe_goes_before_its_time_where_nothing_is_due_and_one_goes() {
    let exchange = exchange("d1");
    let waits = |patient: &str, second| Delivery { due_at: at(second), ..delivery(exchange.id, "norr", patient) };
    let store = store_with(&[waits("p1", 90), waits("p2", 60)], &exchange).await;
    let rooms = |is_probe| Rooms {
        at: HashMap::from([("norr".into(), Room { most: 1, overtaken: 0, is_probe })]),
        elsewhere: 0,
        most: 9,
    };
    assert!(store.due(at(0), &[], &rooms(false)).await.unwrap().ready.is_empty());
    let ready = store.due(at(0), &[], &rooms(true)).await.unwrap().ready;
    assert_eq!(ready.into_iter().map(|d| d.patient).collect::<Vec<_>>(), ["p2"]);
}
