//! What a document costs on one core: mapping it, and mapping and validating it, beside the floor.
//!
//! The floor is plain serde_json: parse the same bytes in, serialise the same bytes out. Everything is measured in turns, so
//! that the machine's noise falls on all alike.

use std::hint::black_box;
use std::time::Instant;

use serde_json::Value;
use vardkedja::domain::{Format, Kind};
use vardkedja::fhir::guard::{self, Limits};
use vardkedja::mapping::{ExampleIds, Mappings};
use vardkedja::{Conformance, mapping_files, profile_files};

use crate::Plan;
use crate::figures::{Figures, Goal, median};

const PART: &str = "mapping";
/// Documents in one run, of which the median counts.
const AT_ONCE: usize = 100;

const DOCUMENTS: [(&str, Kind); 4] = [
    ("referral.full", Kind::Referral),
    ("rehab-plan.full", Kind::RehabPlan),
    ("handover.sip-full", Kind::Handover),
    ("activity.full", Kind::Activity),
];

pub fn measure(plan: &Plan, figures: &mut Figures) {
    let (mappings, issues) = Mappings::load(&mapping_files(None).expect("tables"));
    assert!(!issues.iter().any(vardkedja::fhir::issue::Issue::is_error), "the tables have errors");
    let (conformance, _) = Conformance::load(&profile_files(None).expect("profiles"));
    for (name, kind) in DOCUMENTS {
        let path = format!("{}/mappings/examples/{name}.source.json", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read(path).expect("an example");
        let map = || {
            let (tree, _) = guard::read(black_box(&source), &Limits::DOCUMENT);
            let tree = tree.expect("JSON");
            let table = mappings.choose(kind, Format::Json, &tree).expect("a table");
            table.out(&tree, &ExampleIds).resources.into_iter().map(|m| m.value).collect::<Vec<_>>()
        };
        let write = |resources: &[Value]| {
            for resource in resources {
                black_box(serde_json::to_vec(resource).expect("bytes"));
            }
        };
        let made = map();
        let (mut floor, mut mapping, mut validating) = (vec![], vec![], vec![]);
        for _ in 0..plan.runs {
            let (mut floors, mut mappings, mut validations) = (vec![], vec![], vec![]);
            for _ in 0..AT_ONCE {
                floors.push(microseconds(|| {
                    black_box(serde_json::from_slice::<Value>(black_box(&source)).expect("JSON"));
                    write(&made);
                }));
                mappings.push(microseconds(|| write(&map())));
                validations.push(microseconds(|| {
                    let resources = map();
                    black_box(conformance.validate(&resources));
                    write(&resources);
                }));
            }
            floor.push(median(&floors));
            mapping.push(median(&mappings));
            validating.push(median(&validations));
        }
        let share = |times: &[f64]| times.iter().zip(&floor).map(|(own, floor)| own / floor).collect::<Vec<f64>>();
        let (mapped, validated) = (share(&mapping), share(&validating));
        figures.add(PART, format!("{name}: parse and serialise, the floor"), "µs", floor);
        figures.add(PART, format!("{name}: map"), "µs", mapping);
        figures.add(PART, format!("{name}: map and validate"), "µs", validating);
        figures.with_goal(PART, format!("{name}: map, beside the floor"), "×", mapped, Goal::AtMost(5.0));
        figures.with_goal(
            PART,
            format!("{name}: map and validate, beside the floor"),
            "×",
            validated,
            Goal::AtMost(10.0),
        );
    }
}

fn microseconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e6
}
