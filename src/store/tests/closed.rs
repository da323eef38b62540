//! What a block closes and opens again, as those who had it are told: whatever else happens to it meanwhile.

use super::block::{UNITS, blocks, inner, lifted, sent, with_patient};
use super::removal::removal;
use super::rights::right;
use super::*;
use crate::store::search::Walk;

const NUMBER: &str = "195009072553";

/// A block of A's that is registered and lifted, and an objection of the patient's.
struct Both {
    store: Store,
    _folder: Folder,
    block: Block,
    objection: OptOut,
    name: String,
}

impl Both {
    async fn open() -> Self {
        let folder = Folder::new();
        let store = with_patient(&folder).await;
        store.done(right(Deed::Registries(vec![("r".into(), false)]))).await;
        let (commit, _, id) = sent(1, UNITS[0], UNITS[1], 0);
        store.done(commit).await;
        let objection = OptOut {
            id: Uuid::now_v7(),
            registry: "r".into(),
            patient: None,
            system: PNR.into(),
            value: NUMBER.into(),
            unit: UNITS[0].into(),
            objected_at: at(1),
            registered_at: at(2),
            registered_by: UNITS[0].into(),
            lifted_at: None,
            lifted_by: None,
        };
        Self { store, _folder: folder, block: inner(UNITS[0]), objection, name: format!("ServiceRequest/{id}") }
    }

    async fn disclose(&self) {
        let resources = vec![self.name.clone(), "Patient/p1".into()];
        let disclosed =
            Disclosed { registry: "r".into(), what: Given::Names(resources), key: Some("k1".into()), at: at(3) };
        self.store.done(right(Deed::Disclosed(disclosed))).await;
    }

    async fn does(&self, what: char) -> i64 {
        match what {
            'b' => self.store.done(blocks([self.block.clone()])).await,
            'B' => self.store.done(blocks([lifted(&self.block)])).await,
            'o' => self.store.done(right(Deed::OptOut(self.objection.clone()))).await,
            _ => {
                let lift = Deed::Lift { id: self.objection.id, at: at(9), by: UNITS[0].into() };
                self.store.done(right(lift)).await
            }
        }
    }

    /// What is to be erased, and how much of the patient's the registry has.
    async fn stands(&self) -> (Vec<String>, u32) {
        let erasures = self.store.erasures("r", 0, 99).await.unwrap();
        assert!(erasures.iter().all(|e| e.key.as_deref() == Some("k1")), "under the key that it was sent with");
        let disclosed = self.store.disclosed(&Filter::ALL, "p1").await.unwrap();
        assert!(disclosed.iter().all(|d| d.first_at == at(3)), "it has had it since then: {disclosed:?}");
        (erasures.into_iter().map(|e| e.reason).collect(), disclosed.iter().map(|d| d.resources).sum())
    }
}

#[tokio::test]
async fn what_a_registry_is_to_erase_for_a_block_and_for_an_objection_stands_until_both_are_lifted() {
    // `b` and `o` are registered, `B` and `O` lifted: each order in which the two can come and go.
    for order in ["bBoO", "oObB", "boBO", "boOB", "obBO", "obOB"] {
        let both = Both::open().await;
        both.disclose().await;
        let (mut blocked, mut objects) = (false, false);
        for what in order.chars() {
            both.does(what).await;
            match what {
                'b' | 'B' => blocked = what == 'b',
                _ => objects = what == 'o',
            }
            let (reasons, has) = both.stands().await;
            let expected = match (objects, blocked) {
                (true, _) => vec!["opt-out"; 2],
                (false, true) => vec!["removed"; 2],
                (false, false) => Vec::new(),
            };
            assert_eq!(
                (reasons.as_slice(), has),
                (
                    expected.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>().as_slice(),
                    2 - u32::try_from(expected.len()).unwrap()
                ),
                "{order} after {what}"
            );
        }
    }
}

#[tokio::test]
async fn what_goes_out_while_a_block_is_being_registered_is_to_be_erased_at_once() {
    let both = Both::open().await;
    both.does('b').await;
    both.disclose().await;
    assert_eq!(both.stands().await, (vec!["removed".into(), "removed".into()], 0));
    let through = both.store.erasures("r", 0, 99).await.unwrap().iter().map(|e| e.seq).max().unwrap();
    both.store.done(right(Deed::Erased { registry: "r".into(), through })).await;
    both.does('B').await;
    assert_eq!(both.stands().await, (Vec::new(), 0), "what it has erased it has no more");
}

fn walk(seq: i64) -> Vec<Walk> {
    vec![Walk {
        resource_type: "ServiceRequest".into(),
        seq,
        since: None,
        since_at: None,
        until: None,
        of_patients: false,
        list: None,
        any_of: Vec::new(),
        provenance: None,
        after: 0,
    }]
}

#[tokio::test]
async fn an_export_from_before_a_block_is_closed_for_those_from_whom_it_keeps_something() {
    let both = Both::open().await;
    let before = both.store.last_seq().await.unwrap();
    both.does('b').await;
    let after = both.store.last_seq().await.unwrap();
    let closed = async |filter: &Filter, seq: i64| both.store.has_closed(filter, walk(seq)).await.unwrap();
    let (a, b, c) = (units(&[UNITS[0]]), units(&[UNITS[1]]), units(&[UNITS[2]]));
    for (filter, expected) in
        [(&a, false), (&b, true), (&c, false), (&Filter::registry("r"), true), (&Filter::ALL, false)]
    {
        assert_eq!(closed(filter, before).await, expected, "{filter:?}");
        assert!(!closed(filter, after).await, "made after it: {filter:?}");
    }
    assert!(!closed(&units(&[UNITS[0], UNITS[1]]), before).await, "one of its units sees it all the same");
    assert!(!closed(&b, 0).await, "of a time when it was not there");
    // A consent that is withdrawn meanwhile, or given again, changes nothing of that.
    let share = || vec![Share { resources: vec![both.name.clone()], units: vec![UNITS[1].into()] }];
    both.store.done(Commit { hide: share(), ..Commit::default() }).await;
    assert!(closed(&b, before).await);
    both.store.done(Commit { share: share(), ..Commit::default() }).await;
    assert!(closed(&b, before).await);
    both.does('B').await;
    assert!(!closed(&b, before).await, "lifted");
    let id = both.name.split_once('/').unwrap().1;
    assert!(both.store.resource(&b, "ServiceRequest", id).await.unwrap().is_some(), "shared again while it stood");
}

#[tokio::test]
async fn of_what_a_unit_never_had_nothing_is_on_record_when_a_block_closes_it() {
    let both = Both::open().await;
    both.does('b').await;
    let (commit, _, _) = sent(2, UNITS[0], UNITS[2], 0);
    both.store.done(commit).await;
    let lost = count(&both.store, "SELECT count(*) FROM sight WHERE gained = 0 AND unit = 'SE2321000131-C'");
    assert_eq!(lost, 0, "neither of the document nor of the Patient, which stood before");
}

#[tokio::test]
async fn what_was_closed_and_opened_can_be_removed_by_a_rule() {
    let both = Both::open().await;
    let (commit, mut exchange, _) = sent(2, UNITS[0], UNITS[1], 0);
    exchange.stage = Stage::Completed;
    exchange.parties[1].status = None;
    exchange.parties[1].task = None;
    both.store.done(Commit { exchanges: vec![exchange.clone()], ..commit }).await;
    both.does('b').await;
    both.does('B').await;
    assert!(count(&both.store, "SELECT count(*) FROM sight") > 0);
    both.store.done(right(Deed::Remove(removal(&exchange, at(50))))).await;
    assert_eq!(count(&both.store, "SELECT count(*) FROM resource WHERE id = 's2'"), 0);
}
