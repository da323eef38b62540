//! The rules: after how long each step of each sort of document is overdue, by how urgent it is, level by level.

use chrono::{TimeZone, Utc};

use super::{After, Pause, Priority, Sort, Step};

/// A reminder, an escalation, and two more for who wants them.
pub const MOST_LEVELS: usize = 4;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub step: Step,
    pub sorts: Vec<Sort>,
    pub priorities: Vec<Priority>,
    /// After how long each level is reached, counted from the beginning of the wait.
    pub levels: Vec<After>,
    /// Where it stands in its file.
    pub line: usize,
}

/// Rules that do not contradict each other. Without any, everything is seen as open and nothing is ever overdue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clocks {
    rules: Vec<Rule>,
    /// While the recipient's Task is on hold its own clocks stand still: it waits for the sender.
    pub on_hold_pauses: bool,
    /// When the patient has died.
    pub deceased_pauses: bool,
    /// Changes with anything that decides when something is due.
    pub mark: String,
}

impl Clocks {
    /// Everything that is wrong with them, each with its line.
    pub fn check(
        rules: Vec<Rule>,
        on_hold_pauses: bool,
        deceased_pauses: bool,
        mark: String,
    ) -> Result<Self, Vec<(usize, String)>> {
        let mut wrong = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if rule.levels.is_empty() || rule.levels.len() > MOST_LEVELS {
                wrong.push((rule.line, format!("{}: from one to {MOST_LEVELS} levels", rule.step.code())));
            }
            if !climbs(&rule.levels) {
                let said = rule.levels.iter().map(After::to_string).collect::<Vec<_>>().join(", ");
                let what = format!(
                    "{}: each level comes after the one before, whatever day it begins ({said})",
                    rule.step.code()
                );
                wrong.push((rule.line, what));
            }
            for other in rules.iter().take(index).filter(|other| other.step == rule.step) {
                let both = rule.sorts.iter().find(|s| other.sorts.contains(s));
                let same = rule.priorities.iter().find(|p| other.priorities.contains(p));
                if let (Some(sort), Some(priority)) = (both, same) {
                    let (step, sort, priority) = (rule.step.code(), sort.code(), priority.code());
                    let what = format!("{step} of a {sort} ({priority}) has a rule already, in line {}", other.line);
                    wrong.push((rule.line, what));
                }
            }
        }
        if wrong.is_empty() { Ok(Self { rules, on_hold_pauses, deceased_pauses, mark }) } else { Err(wrong) }
    }

    /// After how long each level is reached; empty where nothing is ever overdue.
    pub fn levels(&self, step: Step, sort: Sort, priority: Priority) -> &[After] {
        let found =
            self.rules.iter().find(|r| r.step == step && r.sorts.contains(&sort) && r.priorities.contains(&priority));
        found.map_or(&[], |rule| rule.levels.as_slice())
    }

    /// When each level of a wait is reached, in milliseconds; [`FOREVER`](super::pause::FOREVER) behind a pause without an end.
    pub fn dues(&self, step: Step, sort: Sort, priority: Priority, since: i64, pauses: &[Pause]) -> Vec<i64> {
        self.levels(step, sort, priority).iter().map(|after| after.end(since, pauses)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
}

/// Whether each level comes after the one before, from whatever day of two years the wait begins.
fn climbs(levels: &[After]) -> bool {
    let Some(first) = Utc.with_ymd_and_hms(2026, 1, 1, 11, 0, 0).single() else { return false };
    (0..731).map(|day| first.timestamp_millis() + day * 86_400_000).all(|from| {
        let ends: Vec<i64> = levels.iter().map(|after| after.end(from, &[])).collect();
        ends.windows(2).all(|pair| pair.first() < pair.last())
    })
}
