//! Statistics over many acts: whole months from their counters, any period from the acts at its ends, people, and a unit's own.

use std::time::Instant;

use serde_json::json;

use crate::Plan;
use crate::database::{Filled, filled_with, settings};
use crate::documents::{self, SOUTH};
use crate::figures::{Figures, Goal};
use crate::load::{get, once};
use crate::program::{Program, fresh};
use crate::reads::name;
use crate::rows::UNITS;

const PART: &str = "statistics";
/// Main codes of one contact: so many acts in one copy.
const CODES: [&str; 10] = ["AU002", "AW005", "AW020", "DU007", "DV111", "DV113", "DV123", "DV133", "DV143", "DV200"];
/// Times that each question is asked.
const ROUNDS: usize = 20;

/// Acts in a database that resources are counted for otherwise.
fn acts(folder: &std::path::Path, size: u64) -> Filled {
    let sent = [(documents::activity_of(&CODES), "reader")];
    filled_with(folder, "acts", &sent, |_| size / CODES.len() as u64)
}

pub fn measure(plan: &Plan, figures: &mut Figures) {
    figures.note(format!(
        "Statistics are asked by the operator, one question at a time, over acts of {} codes at {UNITS} units, twenty \
         contacts a day; every question is on record.",
        CODES.len()
    ));
    let size = plan.sizes.iter().copied().max().unwrap_or(1000);
    let database = acts(&plan.folder, size);
    let folder = fresh(&plan.folder, "statistics");
    let path = folder.join("gateway.db");
    std::fs::copy(&database.path, &path).expect("a copy");
    // Without keys the caller is the operator, who sees everything.
    let open = settings(None, None, "").replace("jwks_file = \"jwks.json\"\n", "");
    let program = Program::start(&folder, &path, &open);
    let months = Goal::AtMost(50.0);
    let days = Goal::AtMost(1500.0);
    let unit = format!("Vardkedja-Unit: {SOUTH}\r\n");
    let questions = [
        ("whole months, all together", "from=2000&to=2199", "", Some(months)),
        ("whole months, by area", "from=2026-04&to=2028-03&by=area", "", Some(months)),
        ("whole months, by area, level and year", "from=2000&to=2199&by=area,level,year", "", Some(months)),
        ("whole months, by unit", "from=2000&to=2199&by=unit", "", Some(months)),
        ("whole months, by code and month", "from=2000&to=2199&by=code,month", "", Some(months)),
        ("whole months, by month and distance", "from=2000&to=2199&by=month,distance", "", Some(months)),
        ("whole months, by level and month", "from=2000&to=2199&by=level,month", "", Some(months)),
        ("any period, by area", "from=2026-03-17&to=2033-09-09&by=area", "", Some(days)),
        (
            "any period, by code, month and distance",
            "from=2026-03-17&to=2033-09-09&by=code,month,distance",
            "",
            Some(days),
        ),
        ("people, by area, all time", "from=2000&to=2199&by=area&people=true", "", None),
        ("a unit's own, by code, a year", "from=2027&to=2027&by=code", unit.as_str(), None),
    ];
    for (what, query, caller, goal) in questions {
        let request = get(&format!("/v1/statistics/kva?{query}"), caller);
        let (status, body) = once(program.address, &request);
        assert!(status == 200, "{what} answered {status}: {}", String::from_utf8_lossy(&body));
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert!(answer["total"]["acts"].as_u64() > Some(0), "{what}: {}", json!(answer["total"]));
        // What takes a while is not asked so often.
        let begun = Instant::now();
        once(program.address, &request);
        let rounds = if begun.elapsed().as_secs() > 0 { 3 } else { ROUNDS };
        let runs = (0..rounds).map(|_| {
            let begun = Instant::now();
            once(program.address, &request);
            begun.elapsed().as_secs_f64() * 1000.0
        });
        let acts = name(size);
        figures.with_goal(PART, format!("{what}, {acts} acts"), "ms", runs.collect(), goal);
    }
    program.stop();
}
