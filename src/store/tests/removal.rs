//! What the gateway itself removes, what stops it, and what is left behind.

use super::rights::{NUMBER, REGISTRY, about, disclosed, lift, objection, right, with_registries};
use super::*;
use crate::domain::retention::What;

/// A closed exchange with everything that belongs to one; its Procedure has two versions.
pub(super) async fn old(store: &Store, document_id: &str, procedure: &str) -> Exchange {
    let mut one = exchange(document_id);
    one.stage = Stage::Completed;
    for party in &mut one.parties {
        party.stage = Stage::Completed;
    }
    one.resources = vec!["Patient/p1".into(), format!("Procedure/{procedure}"), "Organization/o".into()];
    let sent = delivery(one.id, "norr", "p1");
    let known = store.resource(&Filter::ALL, "Patient", "p1").await.unwrap();
    let mut put = vec![about("Procedure", procedure, "p1", Some(one.id))];
    if known.is_none() {
        put.push(Put { patient: Some("p1".into()), exchange: Some(one.id), ..patient("p1", NUMBER) });
    }
    if store.resource(&Filter::ALL, "Organization", "o").await.unwrap().is_none() {
        put.push(super::put("Organization", "o", 1));
    }
    let said = Inbound { exchange: Some(one.id), ..inbound("norr", document_id) };
    let answered = Answer { exchange: Some(one.id), ..answer("syd", document_id) };
    let log = |object: String| Audit { object, ..audit("submit") };
    let commit = Commit {
        put,
        exchanges: vec![one.clone()],
        documents: vec![document(one.id, 1)],
        deliveries: vec![sent.clone()],
        inbound: vec![said],
        answer: Some(answered),
        audit: vec![
            log(format!("exchange/{}", one.id)),
            log(format!("Procedure/{procedure}/_history/1")),
            log("Procedure".into()),
        ],
        ..Commit::default()
    };
    store.done(commit).await;
    let done = change(&sent, delivery::State::Waiting, delivery::State::Delivered);
    store.done(Commit { delivery_changes: vec![done], ..Commit::default() }).await;
    store.done(puts([Put { version: 2, ..about("Procedure", procedure, "p1", Some(one.id)) }])).await;
    one
}

pub(super) fn removal(of: &Exchange, log_before: DateTime<Utc>) -> Removal {
    Removal {
        id: Uuid::now_v7(),
        exchange: of.id,
        revision: of.revision,
        items: Vec::new(),
        rule: "journal".into(),
        rule_version: "2026-1".into(),
        at: at(100),
        by: "gateway".into(),
        log_before,
        log_kept_ms: 60_000,
    }
}

#[tokio::test]
async fn what_is_removed_here_stays_to_be_erased_though_an_objection_is_taken_back() {
    let store = with_registries(&[(REGISTRY, false)]).await;
    let one = old(&store, "d1", "a").await;
    store.done(disclosed(&["Procedure/a", "Patient/p1"])).await;
    let wish = objection(REGISTRY, ASKER);
    store.done(right(Deed::OptOut(wish.clone()))).await;
    store.done(right(Deed::Remove(removal(&one, at(99))))).await;
    store.done(lift(wish.id)).await;
    let list = store.erasures(REGISTRY, 0, 9).await.unwrap();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|erasure| erasure.reason == "removed"), "{list:?}");
}

#[tokio::test]
async fn what_another_unit_was_let_in_to_later_is_removed_like_everything_else() {
    let store = with_registries(&[]).await;
    let one = old(&store, "d1", "a").await;
    let share = Share { resources: vec!["Procedure/a".into(), "Patient/p1".into()], units: vec!["SE-NEW".into()] };
    store.done(Commit { share: vec![share], ..Commit::default() }).await;
    assert_eq!(count(&store, "SELECT count(*) FROM sight"), 2);
    store.done(right(Deed::Remove(removal(&one, at(99))))).await;
    assert!(store.resource(&Filter::ALL, "Procedure", "a").await.unwrap().is_none());
    assert_eq!(count(&store, "SELECT count(*) FROM sight"), 0);
}

#[tokio::test]
async fn what_is_removed_is_gone_everywhere_and_leaves_a_stub() {
    let store = with_registries(&[(REGISTRY, false)]).await;
    let first = old(&store, "d1", "a").await;
    let second = old(&store, "d2", "b").await;
    store.done(disclosed(&["Procedure/a", "Patient/p1"])).await;
    store.done(right(Deed::Remove(removal(&first, at(50))))).await;
    assert!(store.exchange(&Filter::ALL, first.id).await.unwrap().is_none());
    assert!(store.resource(&Filter::ALL, "Procedure", "a").await.unwrap().is_none());
    assert!(
        store.resource(&Filter::ALL, "Patient", "p1").await.unwrap().is_some(),
        "another exchange is about the patient"
    );
    assert!(store.resource(&Filter::ALL, "Procedure", "b").await.unwrap().is_some());
    let erased = store.erasures(REGISTRY, 0, 9).await.unwrap();
    assert_eq!(erased.iter().map(|e| (e.id.as_str(), e.reason.as_str())).collect::<Vec<_>>(), [("a", "removed")]);
    let stub = store.stub_of(first.id).await.unwrap().unwrap();
    assert_eq!(
        (stub.what.as_str(), stub.kind.as_deref(), stub.rule.as_str()),
        ("exchange", Some("referral"), "journal")
    );
    assert!(stub.counts.contains("\"resources\":1") && stub.counts.contains("\"versions\":2"), "{}", stub.counts);
    assert!(stub.counts.contains("\"payloads\":2"), "the row about a search is about nobody: {}", stub.counts);
    assert!(store.stub_of(second.id).await.unwrap().is_none());
    store.verify_audit().await.unwrap();
    store.done(right(Deed::Remove(removal(&second, at(50))))).await;
    assert!(
        store.resource(&Filter::ALL, "Patient", "p1").await.unwrap().is_none(),
        "nothing is about the patient any more"
    );
    assert!(store.resource(&Filter::ALL, "Organization", "o").await.unwrap().is_some());
    assert_eq!(store.patient_id(PNR, NUMBER).await.unwrap(), None);
    for table in [
        "version WHERE rid NOT IN (SELECT rid FROM resource)",
        "document",
        "delivery",
        "attempt",
        "inbound",
        "answer",
        "party",
        "removing",
    ] {
        let sql: &'static str = Box::leak(format!("SELECT count(*) FROM {table}").into_boxed_str());
        assert_eq!(count(&store, sql), 0, "{table}");
    }
    assert_eq!(count(&store, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    let again = store.commit(right(Deed::Remove(removal(&first, at(50))))).await.unwrap();
    assert!(matches!(again, Committed::Conflict(_)), "once is enough");
}

#[tokio::test]
async fn a_hold_an_open_task_and_a_newer_revision_each_stop_a_removal() {
    let store = with_registries(&[]).await;
    let one = old(&store, "d1", "a").await;
    let hold = |patient: Option<&str>, exchange| Hold {
        id: Uuid::now_v7(),
        patient: patient.map(str::to_owned),
        exchange,
        reason: "tillsyn".into(),
        placed_at: at(1),
        placed_by: ASKER.into(),
        lifted_at: None,
        lifted_by: None,
    };
    for hold in [hold(Some("p1"), None), hold(None, Some(one.id))] {
        store.done(right(Deed::Hold(hold.clone()))).await;
        assert!(store.removable(Kind::Referral, at(90), 9).await.unwrap().is_empty());
        let refused = store.commit(right(Deed::Remove(removal(&one, at(50))))).await.unwrap();
        assert!(matches!(refused, Committed::Conflict(Expect::Removable { .. })), "{refused:?}");
        assert_eq!(store.holds(9).await.unwrap().len(), 1);
        store.done(right(Deed::LiftHold { id: hold.id, at: at(2), by: ASKER.into() })).await;
    }
    let due = store.removable(Kind::Referral, at(90), 9).await.unwrap();
    // Its versions are made by the clock of the machine, which is far from these times.
    assert!(due.is_empty() || due[0].exchange == one.id);
    let stale = Removal { revision: 7, ..removal(&one, at(50)) };
    assert!(matches!(store.commit(right(Deed::Remove(stale))).await.unwrap(), Committed::Conflict(_)));
    let mut open = Exchange { revision: 2, ..one.clone() };
    open.parties[1].task = Some("t".into());
    open.parties[1].status = Some(task::Status::Accepted);
    store.done(Commit { exchanges: vec![open.clone()], ..Commit::default() }).await;
    let refused = store.commit(right(Deed::Remove(removal(&open, at(50))))).await.unwrap();
    assert!(matches!(refused, Committed::Conflict(Expect::Removable { .. })), "{refused:?}");
}

#[tokio::test]
async fn nothing_else_takes_away_a_version_a_document_or_a_delivery() {
    let store = with_registries(&[]).await;
    old(&store, "d1", "a").await;
    store.on_writer(|db| {
        for sql in [
            "DELETE FROM version",
            "DELETE FROM document",
            "DELETE FROM attempt",
            "DELETE FROM delivery",
            "UPDATE delivery SET body = x''",
            "DELETE FROM audit",
        ] {
            assert!(db.execute(sql, []).is_err(), "{sql}");
        }
    });
    assert_eq!(count(&store, "SELECT count(*) FROM delivery WHERE length(body) > 0"), 1);
}

#[tokio::test]
async fn copies_go_by_their_own_rules_and_cannot_be_sent_again() {
    let store = with_registries(&[]).await;
    let one = old(&store, "d1", "a").await;
    let copies = |what, before| {
        let (rule, rule_version) = ("copies".to_owned(), "2026-1".to_owned());
        let all =
            Copies { id: Uuid::now_v7(), what, before, most: 9, rule, rule_version, at: at(100), by: "gateway".into() };
        right(Deed::RemoveCopies(all))
    };
    for what in [What::DeliveryBody, What::Inbound] {
        store.done(copies(what, at(0))).await;
    }
    assert!(store.stubs(at(200), 9).await.unwrap().is_empty(), "nothing was due, and nothing is said");
    for what in [What::DeliveryBody, What::Inbound, What::Answer] {
        store.done(copies(what, DateTime::from_timestamp(4_000_000_000, 0).unwrap())).await;
    }
    assert_eq!(store.stubs(at(200), 9).await.unwrap().len(), 3);
    assert_eq!(count(&store, "SELECT length(body) FROM delivery"), 0);
    assert_eq!(count(&store, "SELECT length(body) FROM inbound"), 0);
    assert_eq!(count(&store, "SELECT count(*) FROM answer"), 0);
    assert!(store.resource(&Filter::ALL, "Procedure", "a").await.unwrap().is_some(), "the journal stays");
    let sent = store.deliveries(&DeliveryQuery { exchange: Some(one.id), ..DeliveryQuery::default() }).await.unwrap();
    let again = Delivery {
        id: Uuid::now_v7(),
        state: delivery::State::Waiting,
        attempts: 0,
        first_attempt_at: None,
        resend_of: Some(sent[0].id),
        ..sent[0].clone()
    };
    let refused = store.commit(Commit { deliveries: vec![again], ..Commit::default() }).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn what_the_log_said_goes_when_its_own_time_is_over_and_the_chain_holds() {
    let store = with_registries(&[]).await;
    let one = old(&store, "d1", "a").await;
    store.done(right(Deed::Remove(removal(&one, at(-9))))).await;
    let said = "SELECT count(*) FROM audit WHERE payload IS NOT NULL AND object <> 'Procedure'";
    assert_eq!(count(&store, said), 2, "too young to go");
    let copies = |at| Copies {
        id: Uuid::now_v7(),
        what: What::AuditPayload,
        before: at,
        most: 9,
        rule: "log".into(),
        rule_version: "2026-1".into(),
        at,
        by: "gateway".into(),
    };
    store.done(right(Deed::RemoveCopies(copies(at(0))))).await;
    assert_eq!(count(&store, said), 2);
    store.done(right(Deed::RemoveCopies(copies(at(1))))).await;
    assert_eq!(count(&store, said), 0);
    assert_eq!(store.verify_audit().await.unwrap(), 3);
}

#[tokio::test]
async fn what_the_log_said_is_held_with_the_patient_or_with_an_exchange() {
    for of_exchange in [false, true] {
        held_with(of_exchange).await;
    }
}

async fn held_with(of_exchange: bool) {
    let store = with_registries(&[]).await;
    let one = old(&store, "d1", "a").await;
    let other = old(&store, "d2", "b").await;
    store.done(right(Deed::Remove(removal(&one, at(-9))))).await;
    let hold = Hold {
        id: Uuid::now_v7(),
        patient: (!of_exchange).then(|| "p1".into()),
        exchange: of_exchange.then_some(other.id),
        reason: "inquiry".into(),
        placed_at: at(1),
        placed_by: "operator".into(),
        lifted_at: None,
        lifted_by: None,
    };
    store.done(right(Deed::Hold(hold.clone()))).await;
    let copies = || Copies {
        id: Uuid::now_v7(),
        what: What::AuditPayload,
        before: at(1),
        most: 9,
        rule: "log".into(),
        rule_version: "2026-1".into(),
        at: at(1),
        by: "gateway".into(),
    };
    let said = "SELECT count(*) FROM audit WHERE payload IS NOT NULL AND about LIKE '%Patient/p1%'";
    let before = count(&store, said);
    assert!(before > 0);
    store.done(right(Deed::RemoveCopies(copies()))).await;
    assert_eq!(count(&store, said), before);
    assert!(!store.has_copies_due(What::AuditPayload, at(1), at(1)).await.unwrap(), "nothing is to be done");
    store.done(Commit { audit: vec![audit("read"); 3], ..Commit::default() }).await;
    let first = count(&store, "SELECT min(seq) FROM audit WHERE about LIKE '%Patient/p1%'");
    let leaves = |head: Option<ChainHead>| head.map_or(0, |head| head.seq);
    assert!(leaves(store.leaving(at(99), 100).await.unwrap()) < first, "nor does it leave at the oldest end");
    store.done(right(Deed::LiftHold { id: hold.id, at: at(2), by: "operator".into() })).await;
    store.done(right(Deed::RemoveCopies(copies()))).await;
    assert!(count(&store, said) < before);
    assert!(leaves(store.leaving(at(99), 100).await.unwrap()) >= first);
}

#[tokio::test]
async fn a_removed_text_does_not_stay_in_the_file_and_no_number_is_given_twice() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    let mut one = old(&store, "d1", "a").await;
    let needle = "Hemligstaden-4711 ".repeat(2000);
    let named = Index::Text { param: "family", folded: "hemligstaden-4711".into(), exact: "Hemligstaden-4711".into() };
    let body = Put {
        body: needle.into_bytes(),
        version: 3,
        index: vec![named],
        ..about("Procedure", "a", "p1", Some(one.id))
    };
    let last = store.done(puts([body])).await;
    one.revision = 1;
    store.done(right(Deed::Remove(removal(&one, at(50))))).await;
    store.close();
    let bytes = std::fs::read(folder.database()).unwrap();
    assert!(!bytes.windows(12).any(|w| w.eq_ignore_ascii_case(b"hemligstaden")), "it is still in the file");
    let store = open_at(&folder.database());
    assert!(store.done(puts([put("Goal", "g", 1)])).await > last);
}

/// Every statement that writes, for the test that looks at their plans.
pub(super) async fn write_everything(store: &Store) {
    let all = vec![(REGISTRY.to_owned(), false)];
    store.done(right(Deed::Registries(all))).await;
    let one = old(store, "to remove", "to-remove").await;
    store.done(disclosed(&["Procedure/to-remove"])).await;
    let wish = objection(REGISTRY, STRANGER);
    store.done(right(Deed::OptOut(wish.clone()))).await;
    store.done(disclosed(&["Procedure/to-remove"])).await;
    store.done(right(Deed::Erased { registry: REGISTRY.into(), through: 0 })).await;
    store.done(lift(wish.id)).await;
    store.done(right(Deed::Remove(removal(&one, at(50))))).await;
    for what in [What::DeliveryBody, What::Inbound, What::Answer, What::AuditPayload] {
        let (rule, rule_version) = ("copies".to_owned(), "1".to_owned());
        let id = Uuid::now_v7();
        let copies =
            Copies { id, what, before: at(99), most: 9, rule, rule_version, at: at(100), by: "gateway".into() };
        store.done(right(Deed::RemoveCopies(copies))).await;
    }
}
