//! Search: FHIR's matches, and pages that stay whole while others write.

use super::*;
use crate::fhir::search;

fn token(system: Option<&str>, code: Option<&str>) -> TokenMatch {
    TokenMatch { system: system.map(str::to_owned), code: code.map(str::to_owned) }
}

fn tokens(any_of: &[TokenMatch]) -> Clause {
    Clause::Token { param: "status".into(), any_of: any_of.to_vec() }
}

fn with(id: &str, index: Vec<Index>) -> Put {
    Put { index, ..put("Task", id, 1) }
}

fn status(system: &str, code: &str) -> Index {
    Index::Token { param: "status", system: system.into(), code: code.into() }
}

async fn found(store: &Store, clauses: Vec<Clause>) -> String {
    let page = store.search(&Filter::ALL, &Search { clauses, ..Search::of("Task") }).await.unwrap();
    assert!(!page.more);
    page.matches.into_iter().map(|stored| stored.id).collect::<Vec<_>>().join(" ")
}

/// Fills the type with so many others that no condition is rare any more, so that the other plan is taken.
async fn crowd(store: &Store, index: impl Fn(usize) -> Vec<Index>) {
    store.done(puts((0..1100).map(|n| with(&format!("other{n}"), index(n))))).await;
}

#[tokio::test]
async fn tokens_match_as_fhir_says() {
    let store = Store::open_temporary().unwrap();
    let of = [("a", "urn:s", "open"), ("b", "urn:t", "open"), ("c", "", "open"), ("d", "urn:s", "done")];
    store.done(puts(of.map(|(id, system, code)| with(id, vec![status(system, code)])))).await;
    // The same code under another parameter and for another type is something else.
    let elsewhere = Index::Token { param: "code", system: "urn:s".into(), code: "open".into() };
    store
        .done(puts([with("e", vec![elsewhere]), Put { index: vec![status("urn:s", "open")], ..put("Goal", "g", 1) }]))
        .await;
    for (any_of, expected) in [
        (vec![token(Some("urn:s"), Some("open"))], "a"),
        (vec![token(None, Some("open"))], "a b c"),
        (vec![token(Some(""), Some("open"))], "c"),
        (vec![token(Some("urn:s"), None)], "a d"),
        (vec![token(None, Some("done")), token(Some("urn:t"), Some("open"))], "b d"),
        (vec![token(None, Some("open")), token(Some("urn:s"), None), token(Some("urn:s"), Some("open"))], "a b c d"),
        (vec![token(Some("urn:unknown"), Some("open"))], ""),
        (vec![token(None, Some("OPEN"))], ""),
        (vec![token(None, None)], ""),
        (vec![], ""),
    ] {
        assert_eq!(found(&store, vec![tokens(&any_of)]).await, expected, "{any_of:?}");
    }
}

#[tokio::test]
async fn clauses_are_anded_and_an_unknown_parameter_matches_nothing() {
    let store = Store::open_temporary().unwrap();
    let reference = |target: &str| Index::Reference { param: "owner", target: target.into() };
    store
        .done(puts([
            with("a", vec![status("s", "open"), reference("Organization/1")]),
            with("b", vec![status("s", "open"), reference("Organization/2"), reference("identifier:urn:hsa|SE1")]),
            with("c", vec![status("s", "done"), reference("Organization/1")]),
        ]))
        .await;
    let owner = |targets: &[&str]| Clause::Reference {
        param: "owner".into(),
        any_of: targets.iter().map(|target| (*target).to_owned()).collect(),
    };
    let open = || tokens(&[token(None, Some("open"))]);
    let id = |ids: &[&str]| Clause::Id(ids.iter().map(|id| (*id).to_owned()).collect());
    assert_eq!(found(&store, vec![open(), owner(&["Organization/1"])]).await, "a");
    assert_eq!(found(&store, vec![owner(&["Organization/1", "identifier:urn:hsa|SE1"])]).await, "a b c");
    assert_eq!(
        found(&store, vec![open(), owner(&["Organization/1", "Organization/2"]), id(&["b", "c", "x"])]).await,
        "b"
    );
    assert_eq!(found(&store, vec![id(&["c", "a"])]).await, "a c");
    assert_eq!(found(&store, vec![id(&[])]).await, "");
    assert_eq!(found(&store, vec![owner(&[])]).await, "");
    let unknown = Clause::Token { param: "unheard-of".into(), any_of: vec![token(None, Some("open"))] };
    assert_eq!(found(&store, vec![open(), unknown]).await, "");
    assert_eq!(found(&store, vec![]).await, "a b c");
}

/// The search span is 100..199. `before`, `into`, … say how the resource's span lies to it.
#[tokio::test]
async fn spans_of_time_compare_as_fhir_says() {
    use DateOp::{Eb, Eq, Ge, Gt, Le, Lt, Ne, Sa};
    let store = Store::open_temporary().unwrap();
    let span = |id: &str, low, high| with(id, vec![Index::Date { param: "period", low, high }]);
    store
        .done(puts([
            span("before", 0, 99),
            span("into", 50, 150),
            span("inside", 120, 130),
            span("same", 100, 199),
            span("out", 150, 250),
            span("after", 200, 300),
            span("around", 50, 250),
            span("open-end", 150, i64::MAX),
        ]))
        .await;
    for crowded in [false, true] {
        if crowded {
            // Spans on both sides, so that each operator allows more than a few.
            crowd(&store, |n| {
                let low = if n % 2 == 0 { -10 } else { 1000 };
                vec![Index::Date { param: "period", low, high: low + 5 }]
            })
            .await;
        }
        for (op, expected) in [
            (Eq, "inside same"),
            (Ne, "before into out after around open-end"),
            (Gt, "out after around open-end"),
            (Lt, "before into around"),
            (Ge, "inside same out after around open-end"),
            (Le, "before into inside same around"),
            (Sa, "after"),
            (Eb, "before"),
        ] {
            let clause = Clause::Date { param: "period".into(), any_of: vec![Span { op, low: 100, high: 199 }] };
            let search = Search { clauses: vec![clause], limit: 5000, ..Search::of("Task") };
            let page = store.search(&Filter::ALL, &search).await.unwrap();
            let ids: Vec<_> =
                page.matches.iter().map(|stored| stored.id.as_str()).filter(|id| !id.starts_with("other")).collect();
            assert_eq!(ids.join(" "), expected, "{op:?}, crowded: {crowded}");
        }
    }
}

#[tokio::test]
async fn last_updated_is_the_time_the_versions_carry() {
    let store = Store::open_temporary().unwrap();
    for (id, version, time) in [("a", 1, "10:00"), ("b", 1, "11:00"), ("a", 2, "12:00")] {
        let body = format!(r#"{{"meta":{{"lastUpdated":"2026-11-02T{time}:00Z"}}}}"#);
        store.done(puts([Put { body: body.into(), ..put("Task", id, version) }])).await;
    }
    let noon = "2026-11-02T12:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_millis();
    let updated = |op| Clause::LastUpdated { any_of: vec![Span { op, low: noon, high: noon + 999 }] };
    assert_eq!(found(&store, vec![updated(DateOp::Ge)]).await, "a");
    assert_eq!(found(&store, vec![updated(DateOp::Lt)]).await, "b");
    assert_eq!(found(&store, vec![updated(DateOp::Gt)]).await, "");
}

#[tokio::test]
async fn the_two_plans_find_the_same() {
    let store = Store::open_temporary().unwrap();
    let index = |n: usize| {
        let target = format!("Organization/{}", n % 3);
        vec![status("s", ["open", "done"][n % 2]), Index::Reference { param: "owner", target }]
    };
    store.done(puts((0..4500).map(|n| Put { units: vec![ASKER.into()], ..with(&format!("t{n}"), index(n)) }))).await;
    let clauses = vec![
        tokens(&[token(None, Some("open"))]),
        Clause::Reference { param: "owner".into(), any_of: vec!["Organization/1".into()] },
    ];
    let walk = Search { clauses: clauses.clone(), limit: 5000, ..Search::of("Task") };
    let expected: Vec<String> = (0..4500).filter(|n| n % 2 == 0 && n % 3 == 1).map(|n| format!("t{n}")).collect();
    for filter in [Filter::ALL, units(&[ASKER])] {
        let page = store.search(&filter, &walk).await.unwrap();
        assert_eq!(page.matches.iter().map(|task| task.id.clone()).collect::<Vec<_>>(), expected);
        let some = Clause::Id(expected.iter().take(20).cloned().collect());
        let lead = Search { clauses: clauses.iter().cloned().chain([some]).collect(), ..walk.clone() };
        let page = store.search(&filter, &lead).await.unwrap();
        assert_eq!(page.matches.iter().map(|task| task.id.clone()).collect::<Vec<_>>(), expected[..20]);
    }
}

fn by_last_update(descending: bool) -> Vec<Sort> {
    vec![Sort { by: SortBy::LastUpdated, descending }]
}

/// Pages through everything, while before each page something new is written.
async fn paged(sort: Vec<Sort>) -> (Store, Vec<String>) {
    let store = Store::open_temporary().unwrap();
    store.done(puts((0..30).map(|n| with(&format!("t{n:02}"), vec![status("s", "open")])))).await;
    let clauses = vec![tokens(&[token(None, Some("open"))])];
    let mut search = Search { clauses, limit: 7, sort, ..Search::of("Task") };
    let mut seen = Vec::new();
    loop {
        let page = store.search(&Filter::ALL, &search).await.unwrap();
        assert!(page.matches.len() == 7 || !page.more, "only the last page is short");
        seen.extend(page.matches.iter().map(|task| task.id.clone()));
        search.after = page.matches.last().map(|task| task.seq);
        if !page.more {
            break (store, seen);
        }
        if seen.len() < 28 {
            store.done(puts([with(&format!("new{}", seen.len()), vec![status("s", "open")])])).await;
        }
    }
}

#[tokio::test]
async fn pages_show_each_once_and_what_is_new_at_the_end() {
    for sort in [Vec::new(), by_last_update(false)] {
        let (_, seen) = paged(sort).await;
        let expected: Vec<String> =
            (0..30).map(|n| format!("t{n:02}")).chain(["new7", "new14", "new21"].map(str::to_owned)).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn newest_first_pages_show_the_list_as_it_was_when_paging_began() {
    let (_, seen) = paged(by_last_update(true)).await;
    let expected: Vec<String> = (0..30).rev().map(|n| format!("t{n:02}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_changes_while_someone_pages_is_neither_missed_nor_shown_twice() {
    let store = Store::open_temporary().unwrap();
    // The values of a page's last are read from its body.
    let open = |id: &str, version| Put {
        body: br#"{"resourceType":"Task","status":"open"}"#.to_vec(),
        ..Put { version, ..with(id, vec![status("", "open")]) }
    };
    store.done(puts((0..6).map(|n| open(&format!("t{n}"), 1)))).await;
    let of_status = |descending| Sort { by: SortBy::Param(search::param("Task", "status").unwrap()), descending };
    for sort in [Vec::new(), vec![of_status(false)], vec![of_status(true)]] {
        let mut search = Search { limit: 3, sort: sort.clone(), ..Search::of("Task") };
        let first = store.search(&Filter::ALL, &search).await.unwrap();
        let (shown, last) = (first.matches[1].id.clone(), first.matches[2].id.clone());
        let unshown = if sort == [of_status(true)] { "t1" } else { "t4" };
        // What was shown and what was not, the last of the page too, changes; its sort value stays.
        for id in [&*shown, &*last, unshown, &*last] {
            let standing = store.resource(&Filter::ALL, "Task", id).await.unwrap().unwrap().version;
            store.done(puts([open(id, standing + 1)])).await;
        }
        search.after = first.matches.last().map(|task| task.seq);
        search.limit = 10;
        let second = store.search(&Filter::ALL, &search).await.unwrap();
        let ids: Vec<_> = first.matches.iter().chain(&second.matches).map(|task| task.id.as_str()).collect();
        let mut expected = ["t0", "t1", "t2", "t3", "t4", "t5"];
        if sort == [of_status(true)] {
            expected.reverse();
        }
        assert_eq!(ids, expected, "{sort:?}");
    }
}

/// `cargo test --release --lib search_by_patient -- --ignored --nocapture`, with `MOST=1000000`.
#[tokio::test]
#[ignore = "measures, with as many resources as MOST says"]
async fn search_by_patient_costs_the_same_whatever_there_is() {
    let most: usize = std::env::var("MOST").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let store = Store::open_temporary().unwrap();
    let mut made = 0;
    let mut medians = Vec::new();
    for size in [1000, most / 10, most] {
        while made < size {
            // Ten of each patient; what a search finds is of one size.
            let some = (made..made + 1000).map(|n| {
                let index = vec![
                    status("", ["requested", "accepted"][n % 2]),
                    Index::Reference { param: "patient", target: format!("Patient/p{}", n / 10) },
                    Index::Token { param: "identifier", system: "urn:s".into(), code: n.to_string() },
                ];
                Put { units: vec![ASKER.into(), HELPER.into()], ..with(&format!("t{n}"), index) }
            });
            store.done(puts(some)).await;
            made += 1000;
        }
        let patient = |n: usize| Clause::Reference {
            param: "patient".into(),
            any_of: vec![format!("Patient/p{}", n * 7919 % (made / 10))],
        };
        let ask = |n| Search { clauses: vec![patient(n)], ..Search::of("Task") };
        let mut took = Vec::new();
        for n in 0..600 {
            // Warm: the same questions come again.
            let search = ask(n % 100);
            let began = std::time::Instant::now();
            let page = store.search(&units(&[ASKER]), &search).await.unwrap();
            took.push(began.elapsed());
            assert_eq!(page.matches.len(), 10);
        }
        took.drain(..100);
        took.sort();
        medians.push(took[took.len() / 2]);
        eprintln!("{size} resources: median {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
    }
    assert!(medians[2] < medians[0] * 3 / 2, "{medians:?}");
}
