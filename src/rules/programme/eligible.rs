//! Whom a programme may be offered to: each criterion over what was said of the patient, in three values.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate};
use serde_json::{Map, Value};

use super::definition::{Criterion, Programme, Strictness};

/// What the criteria come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Eligible,
    NotEligible,
    /// Something has to be said first.
    Undetermined,
}

impl Verdict {
    pub fn code(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::NotEligible => "not-eligible",
            Self::Undetermined => "undetermined",
        }
    }
}

/// The verdict with its reasons.
#[derive(Debug)]
pub struct Eligible<'p> {
    pub verdict: Verdict,
    /// Criteria that are met, and those that are not.
    pub met: Vec<&'p Criterion>,
    pub unmet: Vec<&'p Criterion>,
    /// Criteria that cannot be judged, with what they lack.
    pub open: Vec<(&'p Criterion, BTreeSet<String>)>,
}

/// Judges all criteria. One that is not met decides, whatever is missing beside it.
pub fn judge<'p>(programme: &'p Programme, said: &Map<String, Value>) -> Eligible<'p> {
    let mut judged = Eligible { verdict: Verdict::Eligible, met: Vec::new(), unmet: Vec::new(), open: Vec::new() };
    for criterion in &programme.criteria {
        let holds = criterion.condition.judge(said);
        match (criterion.strictness, holds) {
            (Strictness::Inclusion, Some(true)) | (Strictness::Exclusion, Some(false)) => judged.met.push(criterion),
            (Strictness::Inclusion, Some(false)) | (Strictness::Exclusion, Some(true)) => judged.unmet.push(criterion),
            (Strictness::Inclusion, None) => judged.open.push((criterion, criterion.condition.missing(said))),
            (Strictness::Exclusion, None) => {}
        }
    }
    judged.verdict = match (judged.unmet.is_empty(), judged.open.is_empty()) {
        (false, _) => Verdict::NotEligible,
        (true, false) => Verdict::Undetermined,
        (true, true) => Verdict::Eligible,
    };
    judged
}

/// Whole years on a day; somebody born on the leap day has a birthday on 28 February of other years.
pub fn age_on(born: NaiveDate, day: NaiveDate) -> Option<u32> {
    let years = day.year() - born.year();
    let birthday = born.with_year(day.year()).or_else(|| NaiveDate::from_ymd_opt(day.year(), 2, 28))?;
    u32::try_from(if day < birthday { years - 1 } else { years }).ok()
}
