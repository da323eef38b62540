//! A patient's objection on every path of a registry, and what it must erase.

use super::*;
use crate::fhir::search;

pub(super) const REGISTRY: &str = "rehab";
pub(super) const NUMBER: &str = "195009072553";

pub(super) fn about(resource_type: &str, id: &str, patient: &str, exchange: Option<Uuid>) -> Put {
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

pub(super) fn objection(registry: &str, unit: &str) -> OptOut {
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

pub(super) fn lift(id: Uuid) -> Commit {
    right(Deed::Lift { id, at: at(9), by: ASKER.into() })
}

pub(super) async fn with_registries(more: &[(&str, bool)]) -> Store {
    let store = Store::open_temporary().unwrap();
    let all = more.iter().map(|(name, needs)| ((*name).to_owned(), *needs)).collect();
    store.done(right(Deed::Registries(all))).await;
    store
}

pub(super) fn disclosed(resources: &[&str]) -> Commit {
    let resources = resources.iter().map(|name| (*name).to_owned()).collect();
    right(Deed::Disclosed(Disclosed {
        registry: REGISTRY.into(),
        what: Given::Names(resources),
        key: Some("k1".into()),
        at: at(3),
    }))
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
