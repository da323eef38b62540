//! How rules combine: in three values, in any order, and never another answer for more that is said.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ID, ask, day, files, lines, load, told, with};
use crate::fhir::profile::expression::FieldType;
use crate::rules::{Inputs, Responsible, check_cases, judge};

/// Turns every list of actions about, deep inside too.
fn shuffle(actions: &mut Value, random: &mut fastrand::Rng) {
    let Some(list) = actions.as_array_mut() else { return };
    random.shuffle(list);
    list.iter_mut()
        .filter(|action| action.get("action").is_some())
        .for_each(|action| shuffle(&mut action["action"], random));
}

#[test]
fn the_order_of_rules_does_not_matter() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5 {
        let files = with(|plan| {
            for group in plan["action"].as_array_mut().unwrap() {
                shuffle(&mut group["action"], &mut random);
            }
        });
        let (sets, mut issues) = load(&files);
        issues.extend(check_cases(&sets, &files));
        assert!(issues.is_empty(), "{}", lines(&issues));
    }
}

#[test]
fn both_sides_of_physical_activity_are_a_conflict_with_both_sides_rules() {
    let (sets, _) = load(&files());
    let criteria =
        json!({ "skeletalMetastases": true, "needsPhysiotherapySupport": true, "hasPrimaryCareContact": true });
    let body = json!({ "needs": { "physical-activity": "basic" }, "criteria": criteria });
    assert_eq!(ask(&sets, "physical-activity", body.clone()), "conflict PA-S2 PA-P1");
    let sides = told(&sets, "physical-activity", body, |finding| {
        let sides = finding.by_side();
        sides.iter().map(|(side, rules)| (side.code(), rules[0].0.id.clone())).collect::<Vec<_>>()
    });
    assert_eq!(sides, [("specialist", "PA-S2".to_owned()), ("primary", "PA-P1".to_owned())]);
}

#[test]
fn an_answer_tells_what_no_rule_reads() {
    let (sets, _) = load(&files());
    let body = json!({ "needs": { "fatigue": "basic" }, "cfs": 4, "criteria": { "fatigueLimitsDailyLife": true } });
    let assessment = sets.inputs.check(body.as_object().unwrap(), day("2026-03-02")).unwrap();
    let judged = judge(sets.by_id(ID).unwrap(), &assessment, &[]);
    assert_eq!(judged.unread, ["cfs"]);
    let areas: Vec<&str> = judged.findings.iter().map(|finding| finding.group.about.code()).collect();
    assert_eq!(areas, ["fatigue"], "what nobody said something of is not answered unasked");
}

/// A value of a field, by a number.
fn value(field: &FieldType, number: u8) -> Value {
    match field {
        FieldType::Boolean => json!(number.is_multiple_of(2)),
        FieldType::Integer => json!(1 + number % 9),
        FieldType::Code(codes) => json!(codes[usize::from(number) % codes.len()]),
        // Around a year before the day that is asked about, and on it.
        FieldType::Date if number.is_multiple_of(4) => json!("2025-03-02"),
        FieldType::Date => json!((day("2026-03-02") - chrono::Days::new(250 + u64::from(number))).to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn more_that_is_said_never_turns_one_answer_into_another(
        choices in proptest::collection::vec((any::<u8>(), 0..4u8), 80),
    ) {
        let (sets, _) = SETS.get_or_init(|| load(&files()));
        let (mut less, mut more) = (Map::new(), Map::new());
        let names = sets.inputs.fields().names().filter(|name| *name != "asOf");
        for (name, (number, said)) in names.zip(choices) {
            let value = value(sets.inputs.fields().get(name).unwrap(), number);
            if said < 2 {
                Inputs::put(&mut less, name, value.clone());
            }
            if said < 3 {
                Inputs::put(&mut more, name, value);
            }
        }
        let set = sets.by_id(ID).unwrap();
        let areas: Vec<&str> = set.groups.iter().filter(|g| g.is_area()).map(|g| g.about.code()).collect();
        let today = day("2026-03-02");
        // An assessment that contradicts itself is refused.
        if let (Ok(less), Ok(more)) = (sets.inputs.check(&less, today), sets.inputs.check(&more, today)) {
            let (less, more) = (judge(set, &less, &areas), judge(set, &more, &areas));
            for (before, after) in less.findings.iter().zip(&more.findings) {
                if before.responsible == Some(Responsible::Undetermined) {
                    prop_assert!(!before.missing.is_empty(), "nothing is missing of {}", before.group.title);
                    continue;
                }
                prop_assert_eq!(before.responsible, after.responsible, "{}", &before.group.title);
                prop_assert_eq!(before.target, after.target);
            }
        }
    }
}

static SETS: std::sync::OnceLock<(crate::rules::RuleSets, Vec<crate::fhir::issue::Issue>)> = std::sync::OnceLock::new();

#[test]
fn everything_said_is_always_answered() {
    let (sets, _) = load(&files());
    let set = sets.by_id(ID).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let today = day("2026-03-02");
    for _ in 0..500 {
        let mut body = Map::new();
        for name in sets.inputs.fields().names().filter(|name| *name != "asOf") {
            let field = sets.inputs.fields().get(name).unwrap();
            let value = if name == "treatment.intent" { json!("curative") } else { value(field, random.u8(..)) };
            Inputs::put(&mut body, name, value);
        }
        let assessment = sets.inputs.check(&body, today).unwrap();
        let areas: Vec<&str> = set.groups.iter().map(|group| group.about.code()).collect();
        for finding in judge(set, &assessment, &areas).findings {
            assert_ne!(finding.responsible, Some(Responsible::Undetermined), "{}", finding.group.title);
            assert!(finding.unjudged.is_empty(), "{}", finding.group.title);
        }
    }
}
