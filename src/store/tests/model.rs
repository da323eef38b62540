//! Search against a model: random resources, random questions, and a naive filter in memory that must find the same, page by
//! page, for everybody who asks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::fhir::search::{self, index};

/// A resource of the model.
struct Known {
    name: String,
    values: Vec<Index>,
    units: Vec<&'static str>,
    updated_at: i64,
}

const UNITS: [&str; 3] = [ASKER, HELPER, STRANGER];

fn pick<'a, T: ?Sized>(random: &mut fastrand::Rng, from: &[&'a T]) -> &'a T {
    from[random.usize(..from.len())]
}

fn day(random: &mut fastrand::Rng) -> String {
    format!("2026-01-{:02}", random.u32(1..6))
}

fn resource(random: &mut fastrand::Rng, resource_type: &str, id: &str, at: i64) -> Value {
    let n = |random: &mut fastrand::Rng| random.u32(0..6);
    let updated = DateTime::from_timestamp_millis(at).unwrap().to_rfc3339();
    let mut made = json!({ "resourceType": resource_type, "id": id, "meta": { "lastUpdated": updated } });
    if random.bool() {
        made["meta"]["tag"] =
            json!([{ "system": pick(random, &["urn:s", "urn:t"]), "code": pick(random, &["x", "y"]) }]);
    }
    if random.u8(..) < 200 {
        let system = pick(random, &["urn:s", "urn:t"]);
        made["identifier"] = json!([{ "system": system, "value": n(random).to_string() }]);
    }
    let of_patient = if resource_type == "Task" { "for" } else { "subject" };
    match resource_type {
        "Patient" => {
            if random.bool() {
                made["name"] = json!([{ "family": pick(random, &["Ek", "Åberg", "Ekman"]), "given": [pick(random, &["Bo", "Åsa"])] }]);
            }
            if random.bool() {
                made["birthDate"] = json!(day(random));
            }
            made["gender"] = json!(pick(random, &["female", "male"]));
        }
        _ => {
            if random.u8(..) < 220 {
                made[of_patient] = json!({ "reference": format!("Patient/{}", n(random)) });
            }
            if random.bool() {
                made["status"] = json!(pick(random, &["requested", "accepted", "completed"]));
            }
            if random.bool() {
                made["code"] =
                    json!({ "coding": [{ "system": "urn:k", "code": pick(random, &["k1", "k2"]) }, { "code": "k3" }] });
            }
        }
    }
    match resource_type {
        "Task" if random.bool() => {
            let other = if random.bool() { "Procedure" } else { "Task" };
            made["focus"] = json!({ "reference": format!("{other}/{}", n(random)) });
        }
        "Procedure" if random.bool() => made["performedDateTime"] = json!(day(random)),
        "Procedure" if random.bool() => made["performedPeriod"] = json!({ "start": day(random) }),
        "Procedure" => made["partOf"] = json!([{ "reference": format!("Procedure/{}", n(random)) }]),
        _ => {}
    }
    made
}

fn clause(random: &mut fastrand::Rng, resource_type: &'static str, depth: u32) -> Clause {
    let n = |random: &mut fastrand::Rng| random.u32(0..7).to_string();
    let token = |random: &mut fastrand::Rng, param: &str, codes: &[&str]| {
        let one = |random: &mut fastrand::Rng| TokenMatch {
            system: random.bool().then(|| pick(random, &["urn:s", "urn:k", ""]).to_owned()),
            code: random.bool().then(|| pick(random, codes).to_owned()),
        };
        let any_of = (0..random.usize(1..3)).map(|_| one(random)).collect();
        Clause::Token { param: param.into(), any_of }
    };
    let span = |random: &mut fastrand::Rng| {
        use DateOp::{Eb, Eq, Ge, Gt, Le, Lt, Meets, Ne, Sa};
        let (low, high) = search::moment(&day(random)).unwrap();
        let ops = [Eq, Ne, Gt, Ge, Lt, Le, Sa, Eb, Meets];
        Span { op: ops[random.usize(..ops.len())], low, high }
    };
    let patient = if resource_type == "Task" || resource_type == "Procedure" { Some("patient") } else { None };
    match random.u8(0..14) {
        0 => Clause::Id(vec![n(random), n(random)]),
        1 => token(random, "identifier", &["0", "1", "2", "3"]),
        2 => token(random, "_tag", &["x", "y"]),
        3 => Clause::LastUpdated { any_of: vec![span(random)] },
        4 if patient.is_none() => token(random, "gender", &["female", "male"]),
        4 => token(random, "status", &["requested", "accepted"]),
        5 if patient.is_some() => token(random, "code", &["k1", "k2", "k3"]),
        6 if resource_type == "Procedure" => {
            Clause::Date { param: "date".into(), any_of: vec![span(random), span(random)] }
        }
        6 if resource_type == "Patient" => Clause::Date { param: "birthdate".into(), any_of: vec![span(random)] },
        7 if resource_type == "Patient" => {
            let how = [TextMatch::Starts, TextMatch::Contains, TextMatch::Exact][random.usize(..3)];
            let word = pick(random, &["ek", "a", "berg", "Ek", "Åsa"]).to_owned();
            Clause::Text { param: pick(random, &["name", "family"]).into(), any_of: vec![word], how }
        }
        7 => {
            let param = patient.unwrap().into();
            Clause::Reference {
                param,
                any_of: vec![format!("Patient/{}", n(random)), format!("Patient/{}", n(random))],
            }
        }
        8 => {
            let params = search::params(resource_type);
            Clause::Present(&params[random.usize(..params.len())])
        }
        9 => Clause::Not(Box::new(clause(random, resource_type, depth))),
        10 => Clause::Any(vec![clause(random, resource_type, depth), clause(random, resource_type, depth)]),
        11 | 12 if depth > 0 && patient.is_some() => {
            let (param, target) = match resource_type {
                "Task" => [("patient", "Patient"), ("focus", "Procedure"), ("focus", "Task")][random.usize(..3)],
                _ => [("patient", "Patient"), ("part-of", "Procedure")][random.usize(..2)],
            };
            let clause = Box::new(clause(random, target, depth - 1));
            Clause::Chain { param: param.into(), target: target.into(), clause }
        }
        13 if depth > 0 => {
            let (source, param) = match resource_type {
                "Patient" => [("Task", "patient"), ("Procedure", "patient")][random.usize(..2)],
                "Procedure" => [("Task", "focus"), ("Procedure", "part-of")][random.usize(..2)],
                _ => ("Task", "focus"),
            };
            Clause::Has {
                source: source.into(),
                param: param.into(),
                clause: Box::new(clause(random, source, depth - 1)),
            }
        }
        _ => token(random, "identifier", &["4", "5"]),
    }
}

/// Whether the one who asks may see it: what a criterion of a scope follows a reference to, through a scope that follows none.
fn is_seen(all: &[Known], filter: &Filter, one: &Known, in_criterion: bool) -> bool {
    let concerns = match &filter.who {
        Who::Gateway | Who::Registry(_) => true,
        Who::Units(units) => one.units.iter().any(|unit| units.iter().any(|u| u == unit)),
    };
    let resource_type = one.name.split('/').next().unwrap();
    let covers = match filter.grants.as_ref().map(|grants| grants.extent(resource_type, Right::Search)) {
        None | Some(Extent::All) => true,
        Some(Extent::Nothing) => false,
        Some(Extent::AnyOf(lists)) => lists.iter().any(|list| {
            !(in_criterion && list.iter().any(follows))
                && list.iter().all(|clause| meets(all, filter, one, clause, true))
        }),
    };
    concerns && covers
}

fn follows(clause: &Clause) -> bool {
    match clause {
        Clause::Chain { .. } | Clause::Has { .. } => true,
        Clause::Not(clause) => follows(clause),
        Clause::Any(clauses) => clauses.iter().any(follows),
        _ => false,
    }
}

fn holds(all: &[Known], filter: &Filter, one: &Known, clause: &Clause) -> bool {
    meets(all, filter, one, clause, false)
}

fn meets(all: &[Known], filter: &Filter, one: &Known, clause: &Clause, in_criterion: bool) -> bool {
    let of = |param: &str| one.values.iter().filter(move |value| value.param() == param).cloned().collect::<Vec<_>>();
    let inside = |span: &Span, lo: i64, hi: i64| span.low <= lo && hi <= span.high;
    let within = |span: &Span, lo: i64, hi: i64| match span.op {
        DateOp::Eq => inside(span, lo, hi),
        DateOp::Ne => !inside(span, lo, hi),
        DateOp::Gt => hi > span.high,
        DateOp::Lt => lo < span.low,
        DateOp::Ge => hi > span.high || inside(span, lo, hi),
        DateOp::Le => lo < span.low || inside(span, lo, hi),
        DateOp::Sa => lo > span.high,
        DateOp::Eb => hi < span.low,
        DateOp::Meets => lo <= span.high && hi >= span.low,
    };
    match clause {
        Clause::Id(ids) => ids.iter().any(|id| one.name.ends_with(&format!("/{id}"))),
        Clause::Token { param, any_of } => of(param).iter().any(|value| {
            let Index::Token { system, code, .. } = value else { return false };
            any_of.iter().any(|t| {
                (t.system.is_some() || t.code.is_some())
                    && t.system.as_ref().is_none_or(|s| s == system)
                    && t.code.as_ref().is_none_or(|c| c == code)
            })
        }),
        Clause::Reference { param, any_of } => of(param)
            .iter()
            .any(|value| matches!(value, Index::Reference { target, .. } if any_of.contains(target))),
        Clause::Date { param, any_of } => of(param).iter().any(|value| {
            matches!(value, Index::Date { low, high, .. } if any_of.iter().any(|span| within(span, *low, *high)))
        }),
        Clause::LastUpdated { any_of } => any_of.iter().any(|span| within(span, one.updated_at, one.updated_at)),
        Clause::Text { param, any_of, how } => of(param).iter().any(|value| {
            let Index::Text { folded, exact, .. } = value else { return false };
            any_of.iter().any(|word| match how {
                TextMatch::Starts => folded.starts_with(word),
                TextMatch::Contains => folded.contains(word),
                TextMatch::Exact => exact == word,
            })
        }),
        Clause::Present(param) => of(param.kept_as).iter().any(|value| match (param.only, value) {
            (Some(only), Index::Reference { target, .. }) => target.starts_with(&format!("{only}/")),
            _ => true,
        }),
        Clause::Chain { param, target, clause } => of(param).iter().any(|value| {
            let Index::Reference { target: name, .. } = value else { return false };
            name.starts_with(&format!("{target}/"))
                && all.iter().any(|other| other.name == *name && is_seen(all, filter, other, in_criterion) && meets(all, filter, other, clause, in_criterion))
        }),
        Clause::Has { source, param, clause } => all.iter().any(|other| {
            let points = |value: &Index| matches!(value, Index::Reference { target, .. } if *target == one.name);
            other.name.starts_with(&format!("{source}/"))
                && other.values.iter().any(|value| value.param() == param && points(value))
                && is_seen(all, filter, other, in_criterion)
                && meets(all, filter, other, clause, in_criterion)
        }),
        Clause::Not(clause) => !meets(all, filter, one, clause, in_criterion),
        // Nothing is waited for in these worlds.
        Clause::Awaited { .. } => false,
        Clause::Any(clauses) => clauses.iter().any(|clause| meets(all, filter, one, clause, in_criterion)),
    }
}

/// Random scopes for each type: none, all, or some with criteria.
fn grants(random: &mut fastrand::Rng) -> Grants {
    let mut grants = Grants::default();
    for resource_type in TYPES {
        for _ in 0..random.usize(0..3) {
            let criteria = (0..random.usize(0..3)).map(|_| clause(random, resource_type, 1)).collect();
            grants.allow(resource_type, Right::Search, criteria);
        }
    }
    grants
}

const TYPES: [&str; 3] = ["Patient", "Procedure", "Task"];

/// Random resources in a store, and the same in memory, in the order they were made.
async fn both(random: &mut fastrand::Rng, crowd: u32) -> (Store, Vec<Known>) {
    let store = Store::open_temporary().unwrap();
    let (mut all, mut puts) = (Vec::new(), Vec::new());
    for id in 0..crowd {
        for resource_type in TYPES {
            let at = search::moment(&day(random)).unwrap().0 + i64::from(random.u32(..1000));
            let body = resource(random, resource_type, &id.to_string(), at);
            let units: Vec<&str> = UNITS.into_iter().filter(|_| random.bool()).collect();
            let values = index(&body);
            puts.push(Put {
                body: body.to_string().into(),
                index: values.clone(),
                units: units.iter().map(|u| (*u).to_owned()).collect(),
                ..put(resource_type, &id.to_string(), 1)
            });
            all.push(Known { name: format!("{resource_type}/{id}"), values, units, updated_at: at });
        }
    }
    store.done(super::puts(puts)).await;
    (store, all)
}

/// All pages, one after the other.
async fn paged(store: &Store, filter: &Filter, mut search: Search) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = store.search(filter, &search).await.unwrap();
        found.extend(page.matches.iter().map(|m| format!("{}/{}", m.resource_type, m.id)));
        search.after = page.matches.last().map(|last| last.seq);
        if !page.more {
            return found;
        }
        assert_eq!(page.matches.len(), search.limit as usize);
    }
}

#[tokio::test]
async fn every_question_is_answered_as_a_naive_filter_would_whoever_asks() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let mut filters = vec![Filter::ALL, units(&[ASKER]), units(&[HELPER, STRANGER]), units(&[])];
    for n in 0..12 {
        let who = if n % 3 == 0 { Filter::ALL } else { units(&[ASKER, HELPER]) };
        filters.push(who.within(std::sync::Arc::new(grants(&mut random))));
    }
    let mut answers = BTreeSet::new();
    // With few everything is rare and some condition leads; with many the type is walked.
    for (crowd, questions) in [(8, 700), (8, 700), (1100, 100)] {
        let (store, all) = both(&mut random, crowd).await;
        for _ in 0..questions {
            let resource_type = TYPES[random.usize(..3)];
            let clauses: Vec<Clause> = (0..random.usize(1..4)).map(|_| clause(&mut random, resource_type, 2)).collect();
            let filter = &filters[random.usize(..filters.len())];
            let search = Search { clauses, limit: random.u32(1..6) * crowd / 8, ..Search::of(resource_type) };
            let expected: Vec<String> = all
                .iter()
                .filter(|one| one.name.starts_with(&format!("{resource_type}/")) && is_seen(&all, filter, one, false))
                .filter(|one| search.clauses.iter().all(|clause| holds(&all, filter, one, clause)))
                .map(|one| one.name.clone())
                .collect();
            assert_eq!(paged(&store, filter, search.clone()).await, expected, "{filter:?} {:?}", search.clauses);
            assert_eq!(store.count(filter, &search).await.unwrap(), expected.len() as u64, "{:?}", search.clauses);
            answers.insert(expected.len());
        }
    }
    assert!(answers.len() > 15, "questions too much alike: {answers:?}");
}

#[tokio::test]
async fn sorted_pages_are_the_sorted_whole() {
    let mut random = fastrand::Rng::with_seed(7);
    let keys = |resource_type: &str| -> Vec<SortBy> {
        let sortable = search::params(resource_type)
            .iter()
            .filter(|p| matches!(p.kind, search::Kind::Token | search::Kind::Date | search::Kind::String));
        sortable.map(SortBy::Param).chain([SortBy::Id, SortBy::LastUpdated]).collect()
    };
    for crowd in [30, 1100] {
        let (store, all) = both(&mut random, crowd).await;
        for _ in 0..if crowd > 1000 { 12 } else { 120 } {
            let resource_type = TYPES[random.usize(..3)];
            let keys = keys(resource_type);
            let sort: Vec<Sort> = (0..random.usize(1..3))
                .map(|_| Sort { by: keys[random.usize(..keys.len())].clone(), descending: random.bool() })
                .collect();
            let mut expected: Vec<(usize, &Known)> =
                all.iter().enumerate().filter(|(_, one)| one.name.starts_with(&format!("{resource_type}/"))).collect();
            expected.sort_by(|(n, a), (m, b)| {
                let mut order = std::cmp::Ordering::Equal;
                for key in &sort {
                    let (a, b) = (sort_value(a, key), sort_value(b, key));
                    let turned = if key.descending { b.cmp(&a) } else { a.cmp(&b) };
                    order = order.then(match (a.is_some(), b.is_some()) {
                        (true, true) => turned,
                        (a, b) => b.cmp(&a),
                    });
                }
                order.then(if sort[0].descending { m.cmp(n) } else { n.cmp(m) })
            });
            let search = Search { sort: sort.clone(), limit: crowd / 4 + 1, ..Search::of(resource_type) };
            let expected: Vec<String> = expected.into_iter().map(|(_, one)| one.name.clone()).collect();
            assert_eq!(paged(&store, &Filter::ALL, search).await, expected, "{sort:?}");
        }
    }
}

/// Numbers as text of one length, so that one type holds all.
fn sort_value(one: &Known, key: &Sort) -> Option<String> {
    let number = |n: i64| format!("{:020}", i128::from(n) - i128::from(i64::MIN));
    let param = match &key.by {
        SortBy::Id => return Some(one.name.rsplit('/').next()?.to_owned()),
        SortBy::LastUpdated => return Some(number(one.updated_at)),
        SortBy::Param(param) => param,
    };
    let values = one.values.iter().filter(|v| v.param() == param.kept_as).filter_map(|value| match value {
        Index::Date { low, high, .. } => Some(number(if key.descending { *high } else { *low })),
        Index::Token { code, .. } => Some(code.clone()),
        Index::Text { folded, .. } => Some(folded.clone()),
        Index::Reference { .. } => None,
    });
    if key.descending { values.max() } else { values.min() }
}
