//! Links between Patients: who may be linked to whom, lanes, holds, and the end of what is known of a person.

use super::removal::{old, removal};
use super::rights::{right, with_registries};
use super::*;

const OTHER: &str = "196109732393";

fn linked(old: &str, new: &str) -> Link {
    Link {
        id: Uuid::now_v7(),
        old: old.into(),
        new: new.into(),
        unit: ASKER.into(),
        made_at: at(1),
        made_by: "SE2321000131-P1".into(),
        reason: "x".into(),
        undone: None,
    }
}

fn undone(link: &Link) -> Link {
    let by = Undone { at: at(2), by: "SE2321000131-P1".into(), reason: "x".into() };
    Link { undone: Some(by), ..link.clone() }
}

fn links(link: Link) -> Commit {
    Commit { links: vec![link], ..Commit::default() }
}

fn known(id: &str, number: &str) -> Put {
    Put { patient: Some(id.into()), ..patient(id, number) }
}

#[tokio::test]
async fn links_make_no_chain_and_an_undone_one_is_undone_once() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([known("a", "1"), known("b", "2"), known("c", "3"), known("d", "4")])).await;
    let first = linked("a", "b");
    store.done(links(first.clone())).await;
    for (old, new) in [("a", "b"), ("a", "c"), ("b", "c"), ("b", "a"), ("c", "a")] {
        let refused = store.commit(links(linked(old, new))).await.unwrap();
        assert!(matches!(refused, Committed::Conflict(Expect::Unlinked { .. })), "{old} → {new}: {refused:?}");
    }
    store.done(links(linked("c", "b"))).await;
    assert_eq!(store.kin("a").await.unwrap(), ["b", "c"]);
    store.done(links(undone(&first))).await;
    assert!(store.kin("a").await.unwrap().is_empty());
    assert_eq!(store.kin("b").await.unwrap(), ["c"]);
    let again = store.commit(links(undone(&first))).await.unwrap();
    assert!(matches!(again, Committed::Conflict(Expect::Linked { .. })), "{again:?}");
    store.done(links(linked("a", "d"))).await;
}

#[tokio::test]
async fn what_comes_under_the_new_number_waits_behind_what_waits_under_the_old() {
    let store = Store::open_temporary().unwrap();
    store.done(puts([known("p1", "1"), known("p2", "2")])).await;
    let (first, second) = (exchange("d1"), Exchange { patient: Some("p2".into()), ..exchange("d2") });
    let sent = delivery(first.id, "norr", "p1");
    store.done(Commit { exchanges: vec![first], deliveries: vec![sent.clone()], ..Commit::default() }).await;
    store.done(links(linked("p1", "p2"))).await;
    let later = delivery(second.id, "norr", "p2");
    store.done(Commit { exchanges: vec![second], deliveries: vec![later.clone()], ..Commit::default() }).await;
    let due = async || {
        let found = store.due(at(0), &[], &Rooms::upto(5)).await.unwrap();
        found.ready.iter().map(|d| d.id).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [sent.id], "one person is one lane");
    let done = change(&sent, delivery::State::Waiting, delivery::State::Delivered);
    store.done(Commit { delivery_changes: vec![done], ..Commit::default() }).await;
    assert_eq!(due().await, [later.id]);
}

#[tokio::test]
async fn a_hold_on_one_number_keeps_the_other_and_the_last_exchange_takes_both() {
    let store = with_registries(&[]).await;
    let one = old(&store, "d1", "a").await;
    store.done(puts([known("p2", OTHER)])).await;
    store.done(links(linked("p1", "p2"))).await;
    let hold = Hold {
        id: Uuid::now_v7(),
        patient: Some("p2".into()),
        exchange: None,
        reason: "tillsyn".into(),
        placed_at: at(1),
        placed_by: ASKER.into(),
        lifted_at: None,
        lifted_by: None,
    };
    store.done(right(Deed::Hold(hold.clone()))).await;
    let refused = store.commit(right(Deed::Remove(removal(&one, at(50))))).await.unwrap();
    assert!(matches!(refused, Committed::Conflict(Expect::Removable { .. })), "{refused:?}");
    store.done(right(Deed::LiftHold { id: hold.id, at: at(2), by: ASKER.into() })).await;
    store.done(right(Deed::Remove(removal(&one, at(50))))).await;
    for id in ["p1", "p2"] {
        assert!(store.resource(&Filter::ALL, "Patient", id).await.unwrap().is_none(), "{id}");
    }
    for table in ["kin", "merged", "patient_link", "link_sight"] {
        assert_eq!(
            count(
                &store,
                match table {
                    "kin" => "SELECT count(*) FROM kin",
                    "merged" => "SELECT count(*) FROM merged",
                    "patient_link" => "SELECT count(*) FROM patient_link",
                    _ => "SELECT count(*) FROM link_sight",
                }
            ),
            0,
            "{table}"
        );
    }
}
