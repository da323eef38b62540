//! One policy for every path: random worlds, random callers, every path over HTTP. No path shows what the model does not show,
//! and each shows all that it does.

mod directed;
mod library;
mod linked;
mod model;
mod paths;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::Value;

use library::{Answer, Library};
use model::{KINDS, Model, Purpose};
use paths::{PATHS, Question};

/// Every mark in the text.
fn marks(text: &str) -> BTreeSet<String> {
    let found = text.match_indices("mark-").filter_map(|(at, _)| {
        let rest = &text[at..];
        let mark = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()?;
        // Other words may begin like one.
        mark.ends_with("-end").then(|| mark.to_owned())
    });
    found.collect()
}

/// The resource whose mark it is: `mark-Type-id-version-end`.
fn named(mark: &str) -> String {
    let whole = mark.trim_start_matches("mark-").trim_end_matches("-end");
    let (name, _) = whole.rsplit_once('-').unwrap();
    name.replacen('-', "/", 1)
}

/// What is wrong with an answer.
fn wrong(model: &Model, question: &Question, answer: &Answer) -> Option<String> {
    let text = answer.pages.concat();
    let shown = marks(&text);
    if shown != question.marks {
        let leaked: Vec<_> = shown.difference(&question.marks).collect();
        let missing: Vec<_> = question.marks.difference(&shown).collect();
        return Some(format!("shown and should not be: {leaked:?}; missing: {missing:?}"));
    }
    let first: Value = answer.pages.first().and_then(|page| serde_json::from_str(page).ok()).unwrap_or_default();
    if let Some(total) = question.total
        && first["total"] != total
    {
        return Some(format!("counts {}, not {total}", first["total"]));
    }
    if let Some(expected) = &question.exchanges {
        let shown: BTreeSet<String> =
            model.exchanges.iter().map(|e| e.id.to_string()).filter(|id| text.contains(id)).collect();
        if shown != *expected {
            return Some(format!("shows exchanges {shown:?}, not {expected:?}"));
        }
    }
    if let Some(expected) = &question.names {
        let names = first["resources"].as_array().cloned().unwrap_or_default();
        let shown: BTreeSet<String> = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        if shown != *expected {
            return Some(format!("names {shown:?}, not {expected:?}"));
        }
    }
    if let Some((read, expected)) = &question.figures
        && read(&first) != *expected
    {
        return Some(format!("says {}, not {expected}", read(&first)));
    }
    question.status.filter(|is_right| !is_right(answer.status)).map(|_| format!("status {}", answer.status))
}

/// Whether something is said at all.
fn has_numbers(said: &Value) -> bool {
    match said {
        Value::Array(all) => all.iter().any(has_numbers),
        Value::Object(all) => all.values().any(has_numbers),
        Value::Number(n) => n.as_u64() != Some(0),
        Value::String(_) => true,
        _ => false,
    }
}

#[actix_web::test]
async fn no_path_shows_what_the_filtered_model_does_not_contain_and_each_shows_all_that_it_does() {
    let worlds: u64 = std::env::var("POLICY_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..worlds {
        let mut random = Rng::with_seed(seed);
        let model = Model::random(&mut random);
        let library = Library::open(&model).await;
        // Of each path that writes something for a caller, another who asked for it.
        let mut strangers: BTreeMap<&str, (&str, String)> = BTreeMap::new();
        for n in 0..14 {
            let asker = Model::asker(n, &mut random);
            let Some(token) = library.token(&asker).await else {
                let may = |right| KINDS.iter().any(|kind| asker.may_ask(kind, right));
                assert!(!asker.sees_log() && !"cruds".chars().any(may), "world {seed}: nothing was granted: {asker:?}");
                continue;
            };
            for (path, ask) in PATHS {
                for question in ask(&model, &asker, &mut random) {
                    let answer = library.ask(&token, &question.request).await;
                    if let Purpose::Registry(registry) = asker.purpose {
                        let names = marks(&answer.pages.concat()).into_iter().map(|mark| (registry, named(&mark)));
                        model.got.borrow_mut().extend(names);
                    }
                    for url in &answer.own {
                        let (name, other) = strangers.entry(path).or_insert((asker.name(), token.clone()));
                        let is_own = *name == asker.name();
                        assert_eq!(library.is_there(other, url).await, is_own, "{path}: another's {url}");
                    }
                    assert!(answer.status != 401 && answer.status < 500, "{path}: {answer:?}");
                    if let Some(wrong) = wrong(&model, &question, &answer) {
                        let scopes: Option<Vec<String>> =
                            asker.scopes.as_ref().map(|l| l.iter().map(model::Scope::text).collect());
                        panic!(
                            "world {seed}, {path}: {wrong}\n{} {}\n{:?}, {:?} of {} with {scopes:?}\n{}",
                            question.request.method,
                            question.request.path,
                            asker.purpose,
                            asker.unit,
                            asker.partner,
                            answer.pages.first().map(String::as_str).unwrap_or_default()
                        );
                    }
                    let showed = question.marks.len()
                        + question.total.unwrap_or(0)
                        + question.exchanges.map_or(0, |e| e.len())
                        + question.names.map_or(0, |n| n.len())
                        + question.figures.map_or(0, |(_, said)| usize::from(has_numbers(&said)))
                        + usize::from(
                            matches!(answer.status, 304 | 412) || (path.contains("udit") && answer.status == 200),
                        )
                        + usize::from(*path == "access-log" && answer.status == 200)
                        // What rules make of resources, and what differs in them, shows none of them as it is.
                        + usize::from(matches!(*path, "rules applied" | "programme applied" | "rules asked of a plan" | "$diff") && answer.status == 200);
                    *shown.entry(path).or_default() += showed;
                }
            }
        }
        library.close().await;
    }
    // A path on which nobody ever saw anything would prove nothing.
    let empty: Vec<&&str> = shown.iter().filter(|(_, count)| **count == 0).map(|(path, _)| path).collect();
    // Of these the status alone says something.
    let by_status = ["conditional update", "a conflict settled"];
    let silent: Vec<&&str> = empty.into_iter().filter(|path| !by_status.contains(path)).collect();
    assert!(shown.len() == PATHS.len() && silent.is_empty(), "nothing was shown by {silent:?}");
}
