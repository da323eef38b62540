//! Statistics against a naive count of the same resources, asked by random questions about periods that cross months and the
//! days when clocks change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Europe::Stockholm;
use serde_json::{Value, json};

use super::super::indicators::{self, INDICATORS};
use super::super::statistics::{Count, Question, count};
use super::acts::{Alone, CODES, NORTH, ONCOLOGY, UNITS, act, add_on, coded, list, open, pick, put, surroundings};
use crate::Gateway;
use crate::domain::kva;
use crate::domain::statistic::Dimension;
use crate::store::{Clause, Filter, Grants, Right, Search, TokenMatch};

/// Every Procedure that the filter shows, as it stands.
async fn procedures(gateway: &Gateway, filter: &Filter) -> Vec<Value> {
    let search = Search { limit: 100_000, ..Search::of("Procedure") };
    let page = gateway.store.search(filter, &search).await.unwrap();
    page.matches.iter().map(|stored| serde_json::from_slice(&stored.body).unwrap()).collect()
}

fn naive_day(act: &Value) -> NaiveDate {
    let text = act["performedDateTime"].as_str().or(act["performedPeriod"]["start"].as_str()).unwrap();
    match text.parse::<DateTime<Utc>>() {
        Ok(at) => at.with_timezone(&Stockholm).date_naive(),
        Err(_) => text.parse().unwrap(),
    }
}

fn naive_unit(act: &Value) -> String {
    let performer = &act["performer"][0];
    let own = performer["onBehalfOf"]["identifier"]["value"].as_str().map(str::to_uppercase);
    let role = performer["actor"]["reference"].as_str();
    let role =
        role.map(|name| UNITS[name.trim_start_matches("PractitionerRole/r").parse::<usize>().unwrap()].to_owned());
    let source = act["meta"]["source"].as_str().map(|s| s.trim_start_matches("urn:vardkedja:unit:").to_owned());
    own.or(role).or(source).unwrap_or_else(|| "none".to_owned())
}

/// Groups, total and what is outside, by looking at every resource.
async fn naive(gateway: &Gateway, filter: &Filter, question: &Question) -> (BTreeMap<Vec<String>, Count>, Count, u64) {
    let all = procedures(gateway, &Filter::ALL).await;
    let is_done = |act: &&Value| act["status"] == "completed";
    let code = |act: &Value| act["code"]["coding"][0]["code"].as_str().unwrap().to_owned();
    let add_ons: Vec<&Value> = all.iter().filter(is_done).filter(|act| code(act) == kva::DISTANCE).collect();
    let list = list();
    let (mut groups, mut people) =
        (BTreeMap::<Vec<String>, u64>::new(), BTreeMap::<Vec<String>, BTreeSet<String>>::new());
    let (mut total, mut outside, mut everybody) = (0, 0, BTreeSet::new());
    for act in procedures(gateway, filter).await.iter().filter(is_done) {
        let (code, day, unit) = (code(act), naive_day(act), naive_unit(act));
        let known = list.get(&code);
        let area = known.and_then(|k| k.area.clone()).unwrap_or_else(|| "none".into());
        let wanted = |all: &[String], one: &String| all.is_empty() || all.contains(one);
        if known.is_some_and(|k| k.add_on)
            || day < question.first
            || day > question.last
            || !wanted(&question.codes, &code)
            || !wanted(&question.areas, &area)
            || !(question.units.is_empty() || question.units.contains(&unit))
        {
            continue;
        }
        if list.lookup(&code, Some((day, day))).is_err() {
            outside += 1;
            continue;
        }
        let is_part = |add_on: &&&Value| {
            let own = json!(format!("Procedure/{}", act["id"].as_str().unwrap()));
            let names = add_on["partOf"].as_array().unwrap().iter().any(|part| part["reference"] == own);
            let contact = &act["encounter"]["reference"];
            names || contact.is_string() && *contact == add_on["encounter"]["reference"]
        };
        let distance = add_ons.iter().any(|add_on| is_part(&add_on));
        let level = gateway.config.directory.find(&unit).map_or("none", |u| u.level.code());
        let value = |dimension: &Dimension| match dimension {
            Dimension::Code => code.clone(),
            Dimension::Area => area.clone(),
            Dimension::Unit => unit.clone(),
            Dimension::Level => level.to_owned(),
            Dimension::Year => day.format("%Y").to_string(),
            Dimension::Month => day.format("%Y-%m").to_string(),
            Dimension::Distance => distance.to_string(),
        };
        let key: Vec<String> = question.by.iter().map(value).collect();
        let person = act["subject"]["reference"].as_str().unwrap().to_owned();
        *groups.entry(key.clone()).or_default() += 1;
        people.entry(key).or_default().insert(person.clone());
        total += 1;
        everybody.insert(person);
    }
    let number = |set: Option<&BTreeSet<String>>| question.people.then(|| set.map_or(0, BTreeSet::len) as u64);
    let groups = groups
        .into_iter()
        .map(|(key, acts)| {
            let people = number(people.get(&key));
            (key, Count { acts, people })
        })
        .collect();
    (groups, Count { acts: total, people: number(Some(&everybody)) }, outside)
}

fn question(random: &mut fastrand::Rng) -> Question {
    let day = |random: &mut fastrand::Rng| match random.u8(..3) {
        0 => NaiveDate::from_ymd_opt(2026, random.u32(2..12), 1).unwrap(),
        1 => NaiveDate::from_ymd_opt(2026, random.u32(2..12), 1).unwrap().pred_opt().unwrap(),
        _ => NaiveDate::from_ymd_opt(2026, 2, 1).unwrap() + chrono::Days::new(random.u64(..280)),
    };
    let (one, other) = (day(random), day(random));
    let mut by: Vec<Dimension> = Dimension::ALL.into_iter().filter(|_| random.u8(..) < 80).collect();
    random.shuffle(&mut by);
    let some = |random: &mut fastrand::Rng, from: &[&str]| -> Vec<String> {
        if random.u8(..) < 200 {
            Vec::new()
        } else {
            vec![pick(random, from).to_owned(), pick(random, from).to_owned()]
        }
    };
    Question {
        first: one.min(other),
        last: one.max(other),
        by,
        codes: some(random, &CODES),
        areas: some(random, &["nutrition", "tobacco", "none"]),
        units: some(random, &UNITS),
        people: random.bool(),
    }
}

/// Some codes of acts, and nothing else; at times not even those.
fn scopes(random: &mut fastrand::Rng) -> Arc<Grants> {
    let mut grants = Grants::default();
    for _ in 0..random.u8(..3) {
        let code = TokenMatch { system: None, code: Some(pick(random, &CODES).to_owned()) };
        grants.allow("Procedure", Right::Search, vec![Clause::Token { param: "code".into(), any_of: vec![code] }]);
    }
    Arc::new(grants)
}

async fn compare(gateway: &Gateway, random: &mut fastrand::Rng, times: usize, seed: u64) {
    for _ in 0..times {
        let question = question(random);
        let mut filter = if random.bool() { Filter::ALL } else { Filter::units(vec![pick(random, &UNITS).to_owned()]) };
        if random.u8(..3) == 0 {
            filter = filter.within(scopes(random));
        }
        let counted = count(gateway, &filter, &question).await.unwrap();
        let (groups, total, outside) = naive(gateway, &filter, &question).await;
        let what = format!("seed {seed}, {filter:?}, {question:?}");
        assert_eq!(counted.groups, groups, "{what}");
        assert_eq!((counted.total, counted.outside), (total, outside), "{what}");
    }
}

#[actix_web::test]
async fn statistics_are_what_a_naive_count_of_the_resources_says() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut alone = Alone::open();
        let mut versions = BTreeMap::new();
        surroundings(&alone.gateway, &mut versions).await;
        let acts = 60;
        for _ in 0..12 {
            let some = (0..random.usize(1..25)).map(|_| {
                let resource = match random.u8(..5) {
                    0 => {
                        let id = format!("z{}", random.u8(..8));
                        add_on(&mut random, &id, acts)
                    }
                    _ => {
                        let id = format!("a{}", random.u32(..acts));
                        act(&mut random, &id)
                    }
                };
                let units = UNITS.iter().filter(|_| random.bool()).map(|u| (*u).to_owned()).collect();
                (resource, units)
            });
            let mut once = BTreeMap::new();
            for (resource, units) in some.collect::<Vec<_>>() {
                once.insert(resource["id"].to_string(), (resource, units));
            }
            put(&alone.gateway, &mut versions, once.into_values().collect()).await;
            compare(&alone.gateway, &mut random, 6, seed).await;
        }
        // Another program's facts are made anew, and say the same.
        let Alone { gateway, folder } = &mut alone;
        gateway.store.clone().close();
        let db = rusqlite::Connection::open(folder.join("store.sqlite")).unwrap();
        db.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM act WHERE rid % 2 = 0; DELETE FROM act_add_on; UPDATE fact_edition SET edition = 0").unwrap();
        drop(db);
        *gateway = open(folder);
        while count(gateway, &Filter::ALL, &question(&mut random)).await.is_err() {
            tokio::task::yield_now().await;
        }
        compare(gateway, &mut random, 10, seed).await;
    }
}

#[actix_web::test]
async fn an_indicator_counts_people_with_a_plan_once() {
    let alone = Alone::open();
    let gateway = &alone.gateway;
    let mut versions = BTreeMap::new();
    surroundings(gateway, &mut versions).await;
    let own = |system: &str, code: &str| json!({ "coding": [{ "system": format!("{}/CodeSystem/{system}", crate::fhir::canonical::BASE), "code": code }] });
    let subject = |n: u8| json!({ "reference": format!("Patient/p{n}") });
    let plan = |id: &str, n: u8, created: &str, status: &str| {
        json!({ "resourceType": "CarePlan", "id": id, "status": status, "created": created, "subject": subject(n),
            "meta": { "source": format!("urn:oid:1.2.752.129.2.1.4.1#{ONCOLOGY}") },
            "category": [{ "coding": [{ "system": "https://fhir.inera.se/CodeSystem/typeofcareplan-cs", "code": "RP" }] }] })
    };
    let mut mine = plan("c2", 2, "2026-03-31", "active");
    mine["category"].as_array_mut().unwrap().push(own("programme", "min-vardplan"));
    let nurse =
        json!({ "resourceType": "PractitionerRole", "id": "nurse", "code": [own("profession", "contact-nurse")] });
    let team = |id: &str, n: u8, role: &str| {
        json!({ "resourceType": "CareTeam", "id": id, "status": "active", "subject": subject(n),
        "participant": [{ "member": { "reference": format!("PractitionerRole/{role}") } }] })
    };
    let assessed = |id: &str, n: u8, instrument: &str| {
        json!({ "resourceType": "Observation", "id": id, "status": "final", "subject": subject(n),
        "code": own("observation-kind", "needs-assessment"), "method": own("instrument", instrument), "effectiveDateTime": "2026-01-05" })
    };
    let act = json!({ "resourceType": "Procedure", "id": "x", "status": "completed", "code": coded("XV019"), "subject": subject(1),
        "performedDateTime": "2026-03-31T21:00:00Z" });
    let all = vec![
        plan("c1", 1, "2026-03-01", "active"),
        plan("c1b", 1, "2026-03-05", "active"),
        mine,
        plan("c3", 3, "2026-04-01", "active"),
        plan("c4", 4, "2026-03-05", "entered-in-error"),
        nurse,
        team("t1", 1, "nurse"),
        team("t2", 2, "r1"),
        team("t3", 3, "nurse"),
        assessed("o1", 1, "halsoskattning"),
        assessed("o2", 2, "interview"),
        act,
    ];
    put(gateway, &mut versions, all.into_iter().map(|r| (r, vec![ONCOLOGY.to_owned()])).collect()).await;
    let wanted: Vec<_> = INDICATORS.iter().collect();
    let days = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
    let shares = async |filter: Filter, period, units: &[String]| {
        let measured = indicators::measure(gateway, &filter, &wanted, period, units).await.unwrap();
        measured.iter().map(|m| (m.numerator, m.denominator)).collect::<Vec<_>>()
    };
    let march = days("2026-03-01", "2026-03-31");
    assert_eq!(shares(Filter::ALL, march, &[]).await, [(1, 2), (2, 2), (1, 2)]);
    assert_eq!(shares(Filter::ALL, days("2026-03-01", "2026-03-30"), &[]).await, [(1, 1), (0, 1), (1, 1)]);
    assert_eq!(shares(Filter::ALL, march, &[NORTH.to_owned()]).await, [(0, 0), (0, 0), (0, 0)]);
    assert_eq!(shares(Filter::units(vec![ONCOLOGY.into()]), march, &[]).await, [(1, 2), (2, 2), (1, 2)]);
    assert_eq!(shares(Filter::units(vec![NORTH.into()]), march, &[]).await, [(0, 0), (0, 0), (0, 0)]);
}
