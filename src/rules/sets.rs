//! The rule sets in force, and which of them is asked: by region and day.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::assessment::Inputs;
use super::load;
use super::programme::is_programme;
use super::set::RuleSet;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::terminology::Terminology;

/// Name → text of every file of a package.
pub type Files = BTreeMap<String, String>;
pub type Findings = Vec<Issue>;

/// All rule sets of a package, and the fields that they are judged by.
#[derive(Debug, Default)]
pub struct RuleSets {
    sets: Vec<RuleSet>,
    pub inputs: Inputs,
}

/// Why no rule set can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSet {
    /// None of the region; there are these regions.
    Region(Vec<String>),
    /// The region has one, but not on that day.
    Day,
    /// Nobody said which region, and there are several.
    Which(Vec<String>),
}

impl RuleSets {
    /// Loads a package. A file with an error is left out; every finding names file and rule.
    pub fn load(files: &Files, terminology: &Terminology) -> (Self, Findings) {
        let mut issues = Vec::new();
        let inputs = Inputs::load(files, terminology, &mut issues);
        let mut sets: Vec<RuleSet> = Vec::new();
        for (file, text) in
            files.iter().filter(|(name, _)| name.starts_with("PlanDefinition-") && name.ends_with(".json"))
        {
            let mut found = Vec::new();
            // A programme is no guideline of who is responsible.
            if serde_json::from_str(text).is_ok_and(|plan| is_programme(&plan)) {
                continue;
            }
            let set = load::read(file, text, &inputs, terminology, &mut found);
            let is_sound = !any_error(&found);
            issues.append(&mut found);
            sets.extend(set.filter(|_| is_sound));
        }
        for (at, set) in sets.iter().enumerate() {
            for other in sets.iter().take(at) {
                let is_same = set.id == other.id || set.canonical() == other.canonical();
                let share = set.regions.iter().any(|region| other.regions.contains(region));
                if is_same || share && set.is_active && other.is_active && set.from == other.from {
                    issues.push(
                        Issue::error(
                            Code::Duplicate,
                            "PlanDefinition",
                            format!("{} gäller samma region från samma dag, eller har samma namn", other.file),
                            format!("{} is of the same region from the same day, or has the same name", other.file),
                        )
                        .from(set.file.as_str()),
                    );
                }
            }
        }
        (Self { sets, inputs }, issues)
    }

    pub fn all(&self) -> &[RuleSet] {
        &self.sets
    }

    pub fn by_id(&self, id: &str) -> Option<&RuleSet> {
        self.sets.iter().find(|set| set.id == id)
    }

    /// The set in force in a region on a day: of several the one that began last. Without a region, that of the only one.
    pub fn choose(&self, region: Option<&str>, day: NaiveDate) -> Result<&RuleSet, NoSet> {
        let active = || self.sets.iter().filter(|set| set.is_active);
        let regions: BTreeSet<&String> = active().flat_map(|set| &set.regions).collect();
        let known = || regions.iter().map(|region| (*region).clone()).collect::<Vec<_>>();
        let region = match (region, regions.first()) {
            (Some(region), _) => region,
            (None, Some(only)) if regions.len() == 1 => only.as_str(),
            (None, _) => return Err(NoSet::Which(known())),
        };
        if !regions.iter().any(|known| *known == region) {
            return Err(NoSet::Region(known()));
        }
        let of_region = active().filter(|set| set.regions.iter().any(|own| own == region));
        of_region.filter(|set| set.holds_on(day)).max_by_key(|set| set.from).ok_or(NoSet::Day)
    }
}

impl NoSet {
    /// As the caller reads it.
    pub fn issue(&self) -> Issue {
        let (at, sv, en) = match self {
            Self::Region(known) => {
                let known = known.join(", ");
                (
                    "region",
                    format!("Regionen har inga regler här; regler finns för {known}."),
                    format!("The region has no rules here; there are rules for {known}."),
                )
            }
            Self::Day => (
                "assessment.asOf",
                "Regionen har inga regler som gällde den dagen.".to_owned(),
                "The region has no rules that were in force on that day.".to_owned(),
            ),
            Self::Which(known) => {
                let known = known.join(", ");
                (
                    "region",
                    format!("Ange region; regler finns för {known}."),
                    format!("Say which region; there are rules for {known}."),
                )
            }
        };
        Issue::error(Code::NotFound, at, sv, en)
    }
}
