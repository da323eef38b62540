//! Two plans that say the same differ in nothing; what differs leads from one to the other; lists have no order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fhir::terminology::Terminology;

const FULL: &str = include_str!("../../../mappings/examples/rehab-plan.full.fhir.json");

fn full() -> Vec<Value> {
    serde_json::from_str(FULL).unwrap()
}

fn read(resources: &[Value]) -> Outline {
    outline(resources.iter().find(|r| r["resourceType"] == "CarePlan").unwrap(), resources)
}

fn words() -> Terminology {
    let mut terminology = Terminology::default();
    let mut issues = Vec::new();
    for text in [
        include_str!("../../../profiles/CodeSystem-rehab-area.json"),
        include_str!("../../../profiles/CodeSystem-intervention-form.json"),
        include_str!("../../../profiles/CodeSystem-care-level.json"),
        include_str!("../../../profiles/CodeSystem-need-level.json"),
    ] {
        terminology.add_system("f", &serde_json::from_str(text).unwrap(), &mut issues);
    }
    terminology
}

fn said(change: &Change, quotes: bool) -> Said {
    let unit = |hsa_id: &str| hsa_id.ends_with("202").then(|| "Vårdcentralen Södra".to_owned());
    Speaker { terminology: &words(), unit: &unit, quotes }.say(change)
}

#[test]
fn every_part_of_the_full_plan_is_an_item() {
    let outline = read(&full());
    let count = |part: Part| outline.items.keys().filter(|(p, _)| *p == part).count();
    let counts = [Part::Plan, Part::Intervention, Part::Goal, Part::Need, Part::FollowUp, Part::Team].map(count);
    assert_eq!(counts, [1, 4, 3, 4, 2, 4]);
    let group = &outline.items[&(Part::Intervention, "I1".to_owned())];
    assert_eq!((&group["frequency"], &group["goals"]), (&vec!["2/1wk".to_owned()], &vec!["M1".into(), "M2".into()]));
    let plan = &outline.items[&(Part::Plan, String::new())];
    assert_eq!(plan["diagnoses"], ["C20.9", "Z50.8"]);
    assert_eq!((&plan["cfs"], &plan["cfs-date"]), (&vec!["3".into()], &vec!["2026-02-27".into()]));
    assert_eq!((&plan["treatment-phase"], &plan["treatment-end"]), (&vec!["after".into()], &vec!["2026-01-30".into()]));
}

#[test]
fn an_intervention_that_went_to_primary_care_moved_and_one_that_is_over_ended() {
    let (before, mut after) = (full(), full());
    let detail = &mut after[0]["activity"][0]["detail"];
    detail["status"] = json!("completed");
    let detail = &mut after[0]["activity"][2]["detail"];
    detail["extension"][1]["valueCode"] = json!("primary");
    detail["performer"][0]["identifier"]["value"] = json!("SE2321000131-E000000000202");
    detail["description"] = json!("Vila oftare");
    let changes = difference(&read(&before), &read(&after));
    let told: Vec<(What, &str)> = changes.iter().map(|c| (c.what, c.key.as_str())).collect();
    assert_eq!(told, [(What::Ended, "I1"), (What::Moved, "I3"), (What::Changed, "I3")]);
    assert_eq!(
        said(&changes[0], true).sv,
        "Avslutat: insats, Grupp, Fysisk aktivitet och träning, ”Handledd träning i grupp, tolv veckor” (genomförd)."
    );
    assert_eq!(
        said(&changes[1], false).en,
        "Responsibility moves: intervention, Self-care advice, Fatigue, from SE2321000131-E000000000101 (specialist care) to \
         Vårdcentralen Södra (primary care)."
    );
    let quoted = said(&changes[2], true).sv;
    assert!(quoted.contains("ändras från ”Planera dagen") && quoted.ends_with("till ”Vila oftare”."), "{quoted}");
    assert_eq!(said(&changes[2], false).sv, "Ändrat: insats, Egenvårdsråd, Fatigue: texten har ändrats.");
    assert_eq!(counts(&changes)["moved"], 1);
}

#[test]
fn a_new_rating_and_a_newer_halsoskattning_are_changes_of_the_plan() {
    let (before, mut after) = (full(), full());
    for resource in &mut after {
        match resource["method"]["coding"][0]["code"].as_str() {
            Some("cfs") => resource["valueInteger"] = json!(6),
            Some("halsoskattning") => resource["effectiveDateTime"] = json!("2026-06-03"),
            _ => {}
        }
    }
    let changes = difference(&read(&before), &read(&after));
    assert_eq!(changes.len(), 1);
    assert_eq!(
        said(&changes[0], false).sv,
        "Ändrat: planen: bedömningens datum ändras från 2026-02-27 till 2026-06-03; skörheten (CFS) ändras från 3 till 6."
    );
}

#[test]
fn without_quotes_no_sentence_repeats_what_somebody_wrote_or_is_called() {
    let mut nothing = full();
    nothing[0]["goal"] = json!([]);
    nothing[0]["activity"] = json!([]);
    nothing[0]["careTeam"] = json!([]);
    nothing[0]["supportingInfo"] = json!([]);
    let (whole, empty) = (read(&full()), read(&nothing));
    for change in difference(&whole, &empty).iter().chain(&difference(&empty, &whole)) {
        let Said { sv, en } = said(change, false);
        for written in ["Gå fem", "Cilla", "Bo Ek", "Planera", "Störst", "Sover", "FaR\"", "Ny bedömning"] {
            assert!(!sv.contains(written) && !en.contains(written), "{sv} {en}");
        }
    }
}

#[test]
fn what_the_reader_does_not_have_is_not_in_the_outline() {
    let resources: Vec<Value> = full().into_iter().filter(|r| r["resourceType"] != "Goal").collect();
    let outline = read(&resources);
    assert!(outline.items.keys().all(|(part, _)| *part != Part::Goal));
    assert!(!outline.items[&(Part::Intervention, "I1".to_owned())].contains_key("goals"));
}

/// A plan with some of what the full plan has, and other values here and there.
fn plans() -> impl Strategy<Value = Vec<Value>> {
    let statuses = prop::collection::vec(0usize..5, 6);
    let kept = prop::collection::vec(any::<bool>(), 6);
    let goals = prop::collection::vec(any::<bool>(), 3);
    (statuses, kept, goals, 0u8..3, any::<bool>(), "[a-z]{0,3}").prop_map(
        |(statuses, kept, goals, unit, level, text)| {
            let mut resources = full();
            let plan = &mut resources[0];
            let activities = plan["activity"].as_array().unwrap().clone();
            let mut left = Vec::new();
            for (index, mut activity) in activities.into_iter().enumerate().filter(|(index, _)| kept[*index]) {
                let detail = &mut activity["detail"];
                let codes = ["scheduled", "in-progress", "completed", "stopped", "on-hold"];
                detail["status"] = json!(codes[statuses[index]]);
                detail["performer"][0]["identifier"]["value"] = json!(format!("SE2321000131-E00000000020{unit}"));
                detail["description"] = json!(text);
                if level && detail["extension"].is_array() {
                    detail["extension"][1]["valueCode"] = json!("primary");
                }
                if statuses[index] == 0 && detail["scheduledPeriod"].is_object() {
                    detail["scheduledPeriod"]["start"] = json!("2026-06-01");
                }
                left.push(activity);
            }
            plan["activity"] = json!(left);
            let all = plan["goal"].as_array().unwrap().clone();
            plan["goal"] = all.into_iter().zip(goals).filter(|(_, kept)| *kept).map(|(goal, _)| goal).collect();
            resources
        },
    )
}

/// Every list in another order.
fn shuffled(value: &mut Value, seed: &mut u64) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(|item| shuffled(item, seed));
            for index in (1..items.len()).rev() {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                items.swap(index, (*seed >> 33) as usize % (index + 1));
            }
        }
        Value::Object(object) => object.values_mut().for_each(|child| shuffled(child, seed)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_plan_does_not_differ_from_itself_in_whatever_order(plan in plans(), seed in any::<u64>()) {
        let mut other = plan.clone();
        let mut seed = seed;
        // The first entry of a list that R4 orders (`target`, `note`) is read as it stands: only the lists of a plan are shuffled.
        for resource in &mut other {
            for list in ["activity", "goal", "addresses", "supportingInfo", "participant", "component", "category"] {
                if let Some(list) = resource.get_mut(list) {
                    shuffled(list, &mut seed);
                }
            }
        }
        other.reverse();
        let reordered = outline(other.iter().find(|r| r["resourceType"] == "CarePlan").unwrap(), &other);
        prop_assert_eq!(difference(&read(&plan), &reordered), vec![]);
    }

    #[test]
    fn applied_to_the_first_the_changes_give_the_second(first in plans(), second in plans()) {
        let (first, second) = (read(&first), read(&second));
        let changes = difference(&first, &second);
        prop_assert_eq!(apply(&first, &changes), second.clone());
        prop_assert_eq!(changes.is_empty(), first == second);
        for change in &changes {
            let Said { sv, en } = said(change, true);
            prop_assert!(sv.ends_with('.') && en.ends_with('.'), "{} {}", sv, en);
        }
    }
}
