//! How soon the program serves after a start, and how much memory it holds.

use crate::Plan;
use crate::database::{filled, settings};
use crate::figures::{Figures, Goal};
use crate::program::{Program, fresh};
use crate::reads::name;
use crate::token::Key;

const PART: &str = "start";
/// A journey in the filled database has a plan, a referral and an activity.
const EXCHANGES_OF_A_COPY: u64 = 3;

pub fn measure(plan: &Plan, figures: &mut Figures) {
    let folder = fresh(&plan.folder, "start");
    let _key = Key::new(&folder);
    let run = |path: &std::path::Path| {
        let program = Program::start(&folder, path, &settings(None, None, ""));
        let (took, held) = (program.started_in.as_secs_f64() * 1000.0, program.resident_mib());
        program.stop();
        (took, held)
    };
    let (mut empty, mut idle) = (vec![], vec![]);
    for n in 0..plan.runs {
        let (took, held) = run(&folder.join(format!("empty-{n}.db")));
        empty.push(took);
        idle.push(held);
    }
    figures.with_goal(PART, "start with a new database", "ms", empty, Goal::AtMost(1000.0));
    figures.with_goal(PART, "memory, idle", "MiB", idle, Goal::AtMost(60.0));
    let size = plan.sizes.iter().copied().max().unwrap_or(1000);
    let database = filled(&plan.folder, size);
    let (mut full, mut holds) = (vec![], vec![]);
    for _ in 0..plan.runs {
        let (took, held) = run(&database.path);
        full.push(took);
        holds.push(held);
    }
    let exchanges = name(database.copies * EXCHANGES_OF_A_COPY);
    figures.with_goal(PART, format!("start with {exchanges} exchanges"), "ms", full, Goal::AtMost(1000.0));
    figures.add(PART, format!("memory, idle, with {exchanges} exchanges"), "MiB", holds);
}
