//! A patient's objection on every path of a registry, what it must erase, and what the gateway itself removes.
//! Longer than most files: the rows that all of these need are made here once.

use super::*;
use crate::domain::retention::What;
use crate::fhir::search;

const REGISTRY: &str = "rehab";
const NUMBER: &str = "195009072553";

fn about(resource_type: &str, id: &str, patient: &str, exchange: Option<Uuid>) -> Put {
    let subject = Index::Reference { param: "subject", target: format!("Patient/{patient}") };
    Put {
        patient: Some(patient.into()),
        units: vec![ASKER.into()],
        index: vec![subject],
        exchange,
        ..put(resource_type, id, 1)
    }
}

pub(super) fn right(right: Deed) -> Commit {
    Commit { deeds: vec![right], ..Commit::default() }
}

fn objection(registry: &str, unit: &str) -> OptOut {
    OptOut {
        id: Uuid::now_v7(),
        registry: registry.into(),
        patient: None,
        system: PNR.into(),
        value: NUMBER.into(),
        unit: unit.into(),
        objected_at: at(1),
        registered_at: at(2),
        registered_by: unit.into(),
        lifted_at: None,
        lifted_by: None,
    }
}

fn lift(id: Uuid) -> Commit {
    right(Deed::Lift { id, at: at(9), by: ASKER.into() })
}

async fn with_registries(more: &[(&str, bool)]) -> Store {
    let store = Store::open_temporary().unwrap();
    let all = more.iter().map(|(name, needs)| ((*name).to_owned(), *needs)).collect();
    store.done(right(Deed::Registries(all))).await;
    store
}

fn disclosed(resources: &[&str]) -> Commit {
    let resources = resources.iter().map(|name| (*name).to_owned()).collect();
    right(Deed::Disclosed(Disclosed { registry: REGISTRY.into(), resources, key: Some("k1".into()), at: at(3) }))
}

/// On which of the paths to it a Procedure is shown.
async fn ways(store: &Store, filter: &Filter, id: &str) -> Vec<&'static str> {
    let mut ways = Vec::new();
    let mut add = |name, is_shown: bool| {
        if is_shown {
            ways.push(name);
        }
    };
    let among = |found: &[Stored]| found.iter().any(|s| s.resource_type == "Procedure" && s.id == id);
    add("read", store.resource(filter, "Procedure", id).await.unwrap().is_some());
    add("several", among(&store.resources(filter, &[format!("Procedure/{id}")]).await.unwrap()));
    add("vread", store.version(filter, "Procedure", id, 1).await.unwrap().is_some());
    add("history", !store.versions(filter, &versions("Procedure", id, 9, None)).await.unwrap().is_empty());
    let of_type = Versions { resource_type: Some("Procedure".into()), limit: 99, ..Versions::default() };
    add("history of the type", among(&store.versions(filter, &of_type).await.unwrap()));
    let of_all = Versions { limit: 99, ..Versions::default() };
    add("history of all", among(&store.versions(filter, &of_all).await.unwrap()));
    let all = Search::of("Procedure");
    add("search", among(&store.search(filter, &all).await.unwrap().matches));
    let one = Search { clauses: vec![Clause::Id(vec![id.into()])], ..Search::of("Procedure") };
    add("count", store.count(filter, &one).await.unwrap() == 1);
    let subject =
        |clause| Clause::Chain { param: "subject".into(), target: "Patient".into(), clause: Box::new(clause) };
    let chained = Search { clauses: vec![subject(Clause::Id(vec!["p1".into()]))], ..Search::of("Procedure") };
    add("chain", among(&store.search(filter, &chained).await.unwrap().matches));
    let has = Clause::Has {
        source: "Procedure".into(),
        param: "subject".into(),
        clause: Box::new(Clause::Id(vec![id.into()])),
    };
    let having = Search { clauses: vec![has], ..Search::of("Patient") };
    add("has", store.count(filter, &having).await.unwrap() == 1);
    let back = Include {
        is_reverse: true,
        source: "Procedure".into(),
        param: "subject".into(),
        target: None,
        iterates: false,
    };
    let included = store.included(filter, vec!["Patient/p1".into()], vec![back], 99).await.unwrap().unwrap();
    add("revinclude", among(&included));
    add("identifier", !store.by_identifier(filter, "Patient", PNR, NUMBER).await.unwrap().is_empty());
    ways
}

const EVERY_WAY: usize = 12;

async fn with_patient(store: &Store) {
    let _ = search::param("Procedure", "subject").unwrap();
    let person = Put { patient: Some("p1".into()), units: vec![ASKER.into()], ..patient("p1", NUMBER) };
    store.done(puts([person, about("Procedure", "a", "p1", None), about("Procedure", "b", "p2", None)])).await;
    store.done(puts([put("Organization", "o", 1)])).await;
}

#[tokio::test]
async fn from_the_commit_of_an_objection_no_path_shows_the_patient_to_that_registry() {
    let store = with_registries(&[(REGISTRY, false), ("other", false)]).await;
    with_patient(&store).await;
    let (ours, other) = (Filter::registry(REGISTRY), Filter::registry("other"));
    assert_eq!(ways(&store, &ours, "a").await.len(), EVERY_WAY);
    let wish = objection(REGISTRY, ASKER);
    store.done(right(Deed::OptOut(wish.clone()))).await;
    assert_eq!(ways(&store, &ours, "a").await, Vec::<&str>::new());
    assert!(store.resource(&ours, "Patient", "p1").await.unwrap().is_none());
    assert_eq!(ways(&store, &other, "a").await.len(), EVERY_WAY, "another registry goes on getting it");
    assert_eq!(ways(&store, &units(&[ASKER]), "a").await.len(), EVERY_WAY, "care is not touched by it");
    assert!(store.resource(&ours, "Procedure", "b").await.unwrap().is_some(), "nor another patient");
    assert!(store.resource(&ours, "Organization", "o").await.unwrap().is_some());
    store.done(lift(wish.id)).await;
    assert_eq!(ways(&store, &ours, "a").await.len(), EVERY_WAY, "the patient may take it back");
    let again = store.commit(lift(wish.id)).await.unwrap();
    assert!(matches!(again, Committed::Conflict(Expect::OptOut { .. })));
}

#[tokio::test]
async fn an_objection_to_all_holds_for_each_and_two_must_both_be_lifted() {
    let store = with_registries(&[(REGISTRY, false), ("other", false)]).await;
    with_patient(&store).await;
    let (all, one) = (objection(EVERY, ASKER), objection(REGISTRY, HELPER));
    store.done(right(Deed::OptOut(all.clone()))).await;
    store.done(right(Deed::OptOut(one.clone()))).await;
    for registry in [REGISTRY, "other"] {
        assert!(ways(&store, &Filter::registry(registry), "a").await.is_empty());
    }
    store.done(lift(all.id)).await;
    assert!(ways(&store, &Filter::registry(REGISTRY), "a").await.is_empty(), "the other unit's stands");
    assert_eq!(ways(&store, &Filter::registry("other"), "a").await.len(), EVERY_WAY);
    let twice = store.commit(right(Deed::OptOut(objection(REGISTRY, HELPER)))).await.unwrap();
    assert!(matches!(twice, Committed::Conflict(Expect::NoOptOut { .. })), "{twice:?}");
}

#[tokio::test]
async fn an_objection_of_somebody_whom_no_document_was_about_holds_when_one_is() {
    let store = with_registries(&[(REGISTRY, false)]).await;
    store.done(right(Deed::OptOut(objection(REGISTRY, ASKER)))).await;
    with_patient(&store).await;
    assert!(ways(&store, &Filter::registry(REGISTRY), "a").await.is_empty());
    assert_eq!(store.opt_outs(PNR, NUMBER).await.unwrap()[0].patient.as_deref(), Some("p1"));
}

#[tokio::test]
async fn a_registry_that_is_not_among_the_settings_gets_nothing() {
    let store = with_registries(&[("other", false)]).await;
    with_patient(&store).await;
    assert!(ways(&store, &Filter::registry(REGISTRY), "a").await.is_empty());
    store.done(right(Deed::Registries(Vec::new()))).await;
    assert!(ways(&store, &Filter::registry("other"), "a").await.is_empty(), "nor one that was taken out of them");
    assert!(store.exchanges(&Filter::registry("other"), &ExchangeQuery::default()).await.unwrap().matches.is_empty());
}

#[tokio::test]
async fn where_the_agreement_says_so_only_the_informed_go_out() {
    let store = with_registries(&[(REGISTRY, true)]).await;
    with_patient(&store).await;
    let filter = Filter::registry(REGISTRY);
    assert!(ways(&store, &filter, "a").await.is_empty());
    let informed = Informed {
        registry: REGISTRY.into(),
        patient: None,
        system: PNR.into(),
        value: NUMBER.into(),
        unit: ASKER.into(),
        informed_at: at(1),
        recorded_at: at(2),
    };
    store.done(right(Deed::Informed(informed.clone()))).await;
    store.done(right(Deed::Informed(informed))).await;
    assert_eq!(ways(&store, &filter, "a").await.len(), EVERY_WAY);
    assert!(store.resource(&filter, "Procedure", "b").await.unwrap().is_none());
    assert_eq!(store.informed(PNR, NUMBER).await.unwrap().len(), 1, "the same again is the same");
}

#[tokio::test]
async fn what_a_registry_has_of_a_patient_who_objects_is_to_be_erased_until_it_says_that_it_is() {
    let store = with_registries(&[(REGISTRY, false), ("other", false)]).await;
    with_patient(&store).await;
    store.done(disclosed(&["Patient/p1", "Procedure/a", "Procedure/b", "Procedure/none"])).await;
    let of_type = store.disclosed(&Filter::ALL, "p1").await.unwrap();
    assert_eq!(
        of_type.iter().map(|d| (d.resource_type.as_str(), d.resources)).collect::<Vec<_>>(),
        [("Patient", 1), ("Procedure", 1)]
    );
    let wish = objection(EVERY, ASKER);
    store.done(right(Deed::OptOut(wish.clone()))).await;
    let names =
        |list: Vec<Erasure>| list.into_iter().map(|e| format!("{}/{}", e.resource_type, e.id)).collect::<Vec<_>>();
    let list = store.erasures(REGISTRY, 0, 9).await.unwrap();
    assert!(list.iter().all(|e| e.key.as_deref() == Some("k1") && e.reason == "opt-out"));
    let last = list.last().unwrap().seq;
    let mut found = names(list);
    found.sort();
    assert_eq!(found, ["Patient/p1", "Procedure/a"]);
    assert!(store.disclosed(&Filter::ALL, "p1").await.unwrap().is_empty());
    assert_eq!(store.to_erase(&Filter::ALL, "p1").await.unwrap().len(), 2);
    assert!(store.erasures("other", 0, 9).await.unwrap().is_empty(), "it never got anything");
    assert_eq!(store.objected_since(REGISTRY, 0).await.unwrap(), ["p1"]);
    // A file that was on its way when the objection came: it is on the list too.
    store.done(disclosed(&["Procedure/a"])).await;
    assert_eq!(store.erasures(REGISTRY, 0, 9).await.unwrap().len(), 2);
    store.done(right(Deed::Erased { registry: REGISTRY.into(), through: last })).await;
    assert!(store.erasures(REGISTRY, 0, 9).await.unwrap().is_empty());
    store.done(lift(wish.id)).await;
    assert_eq!(store.returned_since(REGISTRY, 0).await.unwrap(), ["p1"]);
}

#[tokio::test]
async fn an_objection_that_is_taken_back_before_the_registry_erased_leaves_nothing_to_erase() {
    let store = with_registries(&[(REGISTRY, false)]).await;
    with_patient(&store).await;
    store.done(disclosed(&["Procedure/a"])).await;
    let wish = objection(REGISTRY, ASKER);
    store.done(right(Deed::OptOut(wish.clone()))).await;
    assert_eq!(store.erasures(REGISTRY, 0, 9).await.unwrap().len(), 1);
    store.done(lift(wish.id)).await;
    assert!(store.erasures(REGISTRY, 0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_objection_that_comes_again_before_the_registry_erased_has_everything_erased() {
    let store = with_registries(&[(REGISTRY, false)]).await;
    with_patient(&store).await;
    store.done(disclosed(&["Patient/p1", "Procedure/a"])).await;
    for _ in 0..2 {
        let wish = objection(REGISTRY, ASKER);
        store.done(right(Deed::OptOut(wish.clone()))).await;
        assert_eq!(store.erasures(REGISTRY, 0, 9).await.unwrap().len(), 2, "the registry has it still");
        assert!(store.disclosed(&Filter::ALL, "p1").await.unwrap().is_empty());
        assert!(store.held_by(REGISTRY, 0, 9).await.unwrap().is_empty(), "nor are its codes told anew");
        store.done(lift(wish.id)).await;
        assert!(store.erasures(REGISTRY, 0, 9).await.unwrap().is_empty());
        assert_eq!(store.disclosed(&Filter::ALL, "p1").await.unwrap().len(), 2, "what was not erased is there");
        assert_eq!(store.held_by(REGISTRY, 0, 9).await.unwrap().len(), 2);
    }
    store.done(right(Deed::OptOut(objection(REGISTRY, ASKER)))).await;
    let through = store.erasures(REGISTRY, 0, 9).await.unwrap().last().unwrap().seq;
    // A file that was on its way when the objection came.
    store.done(disclosed(&["Procedure/a"])).await;
    store.done(right(Deed::Erased { registry: REGISTRY.into(), through })).await;
    assert_eq!(count(&store, "SELECT count(*) FROM disclosure"), 0, "what is erased the registry has no more");
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

/// A clock may stand still, or be set back, and a request waits for its turn: what an export knew of is told by the order of
/// commits alone.
#[tokio::test]
async fn what_patients_say_stands_before_or_after_an_export_by_the_order_of_commits_and_by_no_clock() {
    // Ahead of the writer's own clock, so that it decides nothing.
    let still = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let store = with_registries(&[(REGISTRY, true)]).await;
    with_patient(&store).await;
    let export = async || {
        store.done(super::exports::begin_at(still)).await;
        count(&store, "SELECT max(seq) FROM export_job")
    };
    let informed = |registry: &str, unit: &str| Informed {
        registry: registry.into(),
        patient: None,
        system: PNR.into(),
        value: NUMBER.into(),
        unit: unit.into(),
        informed_at: still,
        recorded_at: still,
    };
    let wish = OptOut { registered_at: still, objected_at: still, ..objection(REGISTRY, ASKER) };

    let first = export().await;
    store.done(right(Deed::OptOut(wish.clone()))).await;
    let second = export().await;
    assert_eq!(store.objected_since(REGISTRY, first).await.unwrap(), ["p1"]);
    assert!(store.objected_since(REGISTRY, second).await.unwrap().is_empty(), "the second knew of it");

    store.done(right(Deed::Lift { id: wish.id, at: still, by: "n".into() })).await;
    let third = export().await;
    assert_eq!(store.returned_since(REGISTRY, second).await.unwrap(), ["p1"]);
    assert!(store.returned_since(REGISTRY, third).await.unwrap().is_empty());

    store.done(right(Deed::Informed(informed(EVERY, ASKER)))).await;
    let fourth = export().await;
    assert_eq!(store.informed_since(REGISTRY, third).await.unwrap(), ["p1"], "everything of the patient goes out now");
    assert!(store.informed_since(REGISTRY, fourth).await.unwrap().is_empty());
    store.done(right(Deed::Informed(informed(REGISTRY, "SE-OTHER")))).await;
    assert!(store.informed_since(REGISTRY, fourth).await.unwrap().is_empty(), "it was known before");
    store.done(right(Deed::Registries(vec![(REGISTRY.into(), false)]))).await;
    assert!(store.informed_since(REGISTRY, third).await.unwrap().is_empty(), "where all go out it makes no difference");
}

#[tokio::test]
async fn a_number_that_an_objection_has_is_not_given_again_after_a_restart() {
    let folder = Folder::new();
    let store = open_at(&folder.database());
    store.done(right(Deed::Registries(vec![(REGISTRY.into(), false)]))).await;
    with_patient(&store).await;
    store.done(right(Deed::OptOut(objection(REGISTRY, ASKER)))).await;
    let before = store.last_seq().await.unwrap();
    store.close();
    let store = open_at(&folder.database());
    store.done(super::exports::begin_at(at(0))).await;
    assert_eq!(count(&store, "SELECT max(seq) FROM export_job"), before);
    assert!(store.objected_since(REGISTRY, before).await.unwrap().is_empty(), "an export of after knows of it");
    store.close();
}

/// A closed exchange with everything that belongs to one; its Procedure has two versions.
async fn old(store: &Store, document_id: &str, procedure: &str) -> Exchange {
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

pub(super) fn count(store: &Store, sql: &'static str) -> i64 {
    let (send, receive) = std::sync::mpsc::channel();
    store.on_writer(move |db| send.send(db.query_row(sql, [], |row| row.get(0)).unwrap()).unwrap());
    receive.recv().unwrap()
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
