//! Worlds in which two Patients turn out to be one person: on no path is anybody shown what it could not see without that, and a
//! block or an objection under one number keeps what came under both.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::library::{LINK, Library, Request};
use super::marks;
use super::model::{Asker, Model};
use super::paths::PATHS;

const PAIR: (&str, &str) = ("00", "01");

/// Everything that the model shows somebody on any path: each resource is read there, each version, each history.
fn shown_at_all(model: &Model, asker: &Asker, random: &mut Rng) -> BTreeSet<String> {
    let questions = PATHS.iter().flat_map(|(_, ask)| ask(model, asker, random));
    questions.flat_map(|question| question.marks).collect()
}

/// The same world, in which each wish of one of the two is one of both.
fn strict(seed: u64) -> Model {
    let mut model = Model::random(&mut Rng::with_seed(seed));
    let other = |patient: &str| match patient.rsplit('/').next() {
        Some(id) if id == PAIR.0 => Some(format!("Patient/{}", PAIR.1)),
        Some(id) if id == PAIR.1 => Some(format!("Patient/{}", PAIR.0)),
        _ => None,
    };
    let mirrored = model.blocks.iter().filter_map(|block| Some((other(&block.patient)?, block.clone())));
    let mirrored: Vec<_> = mirrored.map(|(patient, block)| super::model::Block { patient, ..block }).collect();
    model.blocks.extend(mirrored);
    let objections: Vec<_> =
        model.objections.iter().filter_map(|(registry, patient)| Some((*registry, other(patient)?))).collect();
    model.objections.extend(objections);
    model
}

#[actix_web::test]
async fn a_link_shows_nobody_what_it_could_not_see_and_what_is_closed_under_one_number_is_under_both() {
    let worlds: u64 = std::env::var("POLICY_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let mut closed = 0;
    for seed in 500..500 + worlds {
        let mut random = Rng::with_seed(seed);
        let mut model = Model::random(&mut random);
        model.link = Some((PAIR.0, PAIR.1, random.usize(..model.exchanges.len())));
        let strict = strict(seed);
        let library = Library::open(&model).await;
        let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
        for n in 0..10 {
            let asker = Model::asker(n, &mut random);
            let Some(token) = library.token(&asker).await else { continue };
            let may = shown_at_all(&model, &asker, &mut random);
            let must_not: BTreeSet<String> =
                may.difference(&shown_at_all(&strict, &asker, &mut random)).cloned().collect();
            // A Patient is there for whoever sees anything of the person.
            let must_not: BTreeSet<String> = must_not.into_iter().filter(|m| !m.starts_with("mark-Patient")).collect();
            closed += must_not.len();
            // A link is read by those who know the person by the old number.
            let place = Request { method: "GET", path: format!("/v1/patients/links/{LINK}"), ..Request::default() };
            let status = library.ask(&token, &place).await.status;
            let old = model.resources.iter().find(|r| r.name() == format!("Patient/{}", PAIR.0)).unwrap();
            assert!(status != 200 || asker.is_among(&old.units), "world {seed}: the link is shown to {asker:?}");
            for (path, ask) in PATHS {
                for question in ask(&model, &asker, &mut random) {
                    let answer = library.ask(&token, &question.request).await;
                    let found = marks(&answer.pages.concat());
                    let place = format!("world {seed}, {path}: {} of {asker:?}", question.request.path);
                    let more: Vec<_> = found.difference(&may).collect();
                    assert!(more.is_empty(), "{place}: a link shows {more:?}");
                    let open: Vec<_> = found.intersection(&must_not).collect();
                    assert!(open.is_empty(), "{place}: closed under the other number, and shown: {open:?}");
                    assert!(answer.status < 500, "{place}: {answer:?}");
                    *shown.entry(path).or_default() += found.len();
                }
            }
        }
        library.close().await;
        assert!(shown.values().filter(|count| **count > 0).count() > 10, "{shown:?}");
    }
    assert!(closed > 0, "no world had anything that a wish under the other number closes");
}
