//! Who may see what: every read verb hides what does not concern the one who asks.

use super::*;

const SEEN: &str = "se2321000131-e101";

struct World {
    store: Store,
    exchange: Exchange,
}

/// A plan and a referral that concern [`ASKER`] and [`HELPER`].
async fn world() -> World {
    let store = Store::open_temporary().unwrap();
    let exchange = exchange("d1");
    let plan = |version| Put {
        units: vec![ASKER.to_lowercase(), HELPER.into()],
        index: vec![identifier("urn:s", "x")],
        exchange: Some(exchange.id),
        ..put("CarePlan", "c", version)
    };
    store.done(Commit { exchanges: vec![exchange.clone()], ..puts([plan(1)]) }).await;
    store.done(puts([plan(2)])).await;
    World { store, exchange }
}

/// Which of the read verbs show something to `filter`.
async fn shown(World { store, exchange }: &World, filter: &Filter) -> Vec<&'static str> {
    let names = ["CarePlan/c".to_owned()];
    let search = Search { clauses: vec![Clause::Id(vec!["c".into()])], ..Search::of("CarePlan") };
    let of_unit = ExchangeQuery { unit: Some(HELPER.into()), ..ExchangeQuery::default() };
    let of_partner = ExchangeQuery { partner: Some("norr".into()), ..ExchangeQuery::default() };
    let of_patient = ExchangeQuery { patient: Some("p1".into()), ..ExchangeQuery::default() };
    let mut shown = vec![
        ("resource", store.resource(filter, "CarePlan", "c").await.unwrap().is_some()),
        ("resources", !store.resources(filter, &names).await.unwrap().is_empty()),
        ("version", store.version(filter, "CarePlan", "c", 1).await.unwrap().is_some()),
        ("history", !store.versions(filter, &versions("CarePlan", "c", 9, None)).await.unwrap().is_empty()),
        ("search", !store.search(filter, &search).await.unwrap().matches.is_empty()),
        ("search all", !store.search(filter, &Search::of("CarePlan")).await.unwrap().matches.is_empty()),
        ("by_identifier", !store.by_identifier(filter, "CarePlan", "urn:s", "x").await.unwrap().is_empty()),
        ("exchange", store.exchange(filter, exchange.id).await.unwrap().is_some()),
    ];
    for query in [ExchangeQuery::default(), of_unit, of_partner, of_patient] {
        shown.push(("exchanges", !store.exchanges(filter, &query).await.unwrap().matches.is_empty()));
    }
    shown.into_iter().filter(|(_, shown)| *shown).map(|(verb, _)| verb).collect()
}

#[tokio::test]
async fn the_gateway_and_every_unit_concerned_see_it_on_every_path_whatever_the_case_of_the_hsa_id() {
    let world = world().await;
    for filter in [Filter::ALL, units(&[SEEN]), units(&[HELPER]), units(&[STRANGER, HELPER])] {
        assert_eq!(shown(&world, &filter).await.len(), 12, "{filter:?}");
    }
}

#[tokio::test]
async fn nobody_else_sees_it_on_any_path() {
    let world = world().await;
    let many: Vec<String> = (0..200).map(|n| format!("SE2321000131-F{n}")).collect();
    for filter in [units(&[STRANGER]), units(&[]), units(&["SE2321000131-E10"]), units(&["%"]), Filter::units(many)] {
        assert_eq!(shown(&world, &filter).await, [""; 0], "{filter:?}");
    }
}

#[tokio::test]
async fn units_are_added_and_never_taken_away() {
    let World { store, .. } = world().await;
    let put = Put { units: vec![STRANGER.into()], ..put("CarePlan", "c", 3) };
    store.done(puts([put])).await;
    for unit in [ASKER, HELPER, STRANGER] {
        assert!(store.resource(&units(&[unit]), "CarePlan", "c").await.unwrap().is_some(), "{unit}");
    }
}

#[tokio::test]
async fn actors_are_visible_to_all_and_patients_are_not() {
    let store = Store::open_temporary().unwrap();
    for (resource_type, expected) in [
        ("Organization", true),
        ("Practitioner", true),
        ("PractitionerRole", true),
        ("Patient", false),
        ("Location", false),
    ] {
        let named = Put { index: vec![identifier("urn:s", "x")], ..put(resource_type, "x", 1) };
        store.done(puts([named])).await;
        let filter = units(&[STRANGER]);
        let one = store.resource(&filter, resource_type, "x").await.unwrap().is_some();
        let page = store.search(&filter, &Search::of(resource_type)).await.unwrap();
        let named = store.by_identifier(&filter, resource_type, "urn:s", "x").await.unwrap();
        assert_eq!((one, page.matches.len() == 1, named.len() == 1), (expected, expected, expected), "{resource_type}");
    }
}
