//! The rules: after how long each step of each sort of document is overdue, by how urgent it is, level by level; for every region,
//! or for one that has agreed on others.

use std::collections::BTreeMap;

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
    /// The county code of the region whose units' documents it is for; without one it is for all that have none of their own.
    pub region: Option<String>,
    /// After how long each level is reached, counted from the beginning of the wait.
    pub levels: Vec<After>,
    /// Where it stands in its file.
    pub line: usize,
}

/// What a wait is about, as far as its clock depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Matter<'a> {
    pub step: Step,
    pub sort: Sort,
    pub priority: Priority,
    /// The unit that sent the document: its region's rules hold, as with transfers.
    pub sender: &'a str,
}

/// Rules that do not contradict each other. Without any, everything is seen as open and nothing is ever overdue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clocks {
    rules: Vec<Rule>,
    /// While the recipient's Task is on hold its own clocks stand still: it waits for the sender.
    pub on_hold_pauses: bool,
    /// When the patient has died.
    pub deceased_pauses: bool,
    /// Regions of units, where a rule is for one region: HSA-ids in upper case.
    regions: BTreeMap<String, String>,
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
            let of_same = |other: &&Rule| other.step == rule.step && other.region == rule.region;
            for other in rules.iter().take(index).filter(of_same) {
                let both = rule.sorts.iter().find(|s| other.sorts.contains(s));
                let same = rule.priorities.iter().find(|p| other.priorities.contains(p));
                if let (Some(sort), Some(priority)) = (both, same) {
                    let (step, sort, priority) = (rule.step.code(), sort.code(), priority.code());
                    let what = format!("{step} of a {sort} ({priority}) has a rule already, in line {}", other.line);
                    wrong.push((rule.line, what));
                }
            }
        }
        let regions = BTreeMap::new();
        if wrong.is_empty() { Ok(Self { rules, on_hold_pauses, deceased_pauses, regions, mark }) } else { Err(wrong) }
    }

    /// With the regions of all units, where that decides anything.
    pub fn with_regions<'u>(mut self, units: impl Iterator<Item = (&'u str, &'u str)>) -> Self {
        if self.rules.iter().any(|rule| rule.region.is_some()) {
            self.regions = units.map(|(unit, region)| (unit.to_ascii_uppercase(), region.to_owned())).collect();
            // A unit that changes its region changes what holds for it.
            let told: Vec<String> = self.regions.iter().map(|(unit, region)| format!("{unit}={region}")).collect();
            self.mark = format!("{} {}", self.mark, told.join(" "));
        }
        self
    }

    /// After how long each level is reached; empty where nothing is ever overdue. A rule of the sender's region goes before one for
    /// all.
    pub fn levels(&self, matter: Matter<'_>) -> &[After] {
        let Matter { step, sort, priority, sender } = matter;
        let region = self.regions.get(&sender.to_ascii_uppercase());
        let find = |step: Step, region: Option<&String>| {
            let fits = |r: &&Rule| {
                r.step == step
                    && r.region.as_ref() == region
                    && r.sorts.contains(&sort)
                    && r.priorities.contains(&priority)
            };
            self.rules.iter().find(fits)
        };
        let of_step = |step: Step| region.and_then(|region| find(step, Some(region))).or_else(|| find(step, None));
        let found = of_step(step).or_else(|| match step {
            // Rules that were written before it was a step of its own meant it too.
            Step::NoConsultation => of_step(Step::Parked),
            _ => None,
        });
        found.map_or(&[], |rule| rule.levels.as_slice())
    }

    /// When each level of a wait is reached, in milliseconds; [`FOREVER`](super::pause::FOREVER) behind a pause without an end.
    pub fn dues(&self, matter: Matter<'_>, since: i64, pauses: &[Pause]) -> Vec<i64> {
        self.levels(matter).iter().map(|after| after.end(since, pauses)).collect()
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
