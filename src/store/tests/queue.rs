//! What waits, as watchers see it: right, and no dearer for a long queue than for a short one.

use rusqlite::Connection;

use super::*;
use crate::domain::delivery::State;
use crate::store::{PartnerQueue, look};

#[tokio::test]
async fn what_waits_is_counted_by_partner_with_the_age_of_the_oldest() {
    let exchange = exchange("d1");
    let old = Delivery { created_at: at(1), ..delivery(exchange.id, "norr", "p1") };
    let new = Delivery { created_at: at(9), ..delivery(exchange.id, "norr", "p2") };
    let stuck = Delivery { created_at: at(2), ..delivery(exchange.id, "väst", "p1") };
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let deliveries = vec![old.clone(), new, stuck.clone()];
    let inbound = Inbound { finding: Some("x".into()), at: at(3), ..inbound("norr", "k") };
    let commit = Commit { exchanges: vec![exchange], deliveries, inbound: vec![inbound], ..Commit::default() };
    store.done(commit).await;
    let parked =
        DeliveryChange { attempt: Some(attempt("permanent")), ..change(&stuck, State::Waiting, State::Parked) };
    store.done(Commit { delivery_changes: vec![parked], ..Commit::default() }).await;
    let worklist = store.worklist().await.unwrap();
    let norr =
        PartnerQueue { partner: "norr".into(), waiting: 2, waiting_oldest_at: Some(at(1)), ..PartnerQueue::default() };
    let väst =
        PartnerQueue { partner: "väst".into(), parked: 1, parked_oldest_at: Some(at(2)), ..PartnerQueue::default() };
    assert_eq!(worklist.queue.partners, [norr, väst]);
    assert_eq!((worklist.queue.held, worklist.queue.held_oldest_at), (1, Some(at(3))));
    assert_eq!(worklist.queue, store.queue().await.unwrap());
    let [parked] = worklist.parked.as_slice() else { panic!("{worklist:?}") };
    assert_eq!((parked.id, parked.class.as_deref()), (stuck.id, Some("permanent")));
    // The same beside a store that has the file open, as `vardkedja status --db` reads it.
    assert_eq!(look(&folder.database()).unwrap().0, worklist);
}

#[test]
fn counting_reads_nothing_but_an_index() {
    let connection = Connection::open_in_memory().unwrap();
    crate::store::migrate::migrate(&connection).unwrap();
    for sql in crate::store::read_queue::COUNTS {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = rusqlite::params_from_iter(vec![rusqlite::types::Null; statement.parameter_count()]);
        let steps: Vec<String> =
            statement.query_map(parameters, |row| row.get("detail")).unwrap().map(Result::unwrap).collect();
        assert!(steps.iter().any(|s| s.contains("COVERING INDEX")), "{sql}: {steps:?}");
    }
}
