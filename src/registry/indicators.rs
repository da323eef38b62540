//! NVP's quality indicators as far as the gateway's data can answer them: of the people who got a rehabilitation plan in a
//! period, how many had their needs assessed with Hälsoskattning, have Min vårdplan, have a named contact nurse (KSSK).
//!
//! Each says what it counts, and what the data cannot say: a share that is taken for something else is worse than none.

use std::collections::HashSet;

use chrono::NaiveDate;

use crate::Gateway;
use crate::domain::disclosure::is_small;
use crate::fhir::act::Kind;
use crate::store::{ActQuestion, ActRow, ActSpan, Apart, Filter};
use crate::sync::Refusal;

/// One of the indicators, by the id of its Measure.
#[derive(Debug, PartialEq, Eq)]
pub struct Indicator {
    pub id: &'static str,
    pub kind: Kind,
    /// KVÅ codes that say the same.
    pub codes: &'static [&'static str],
    pub numerator: &'static str,
    pub cannot_say: &'static str,
}

/// What all of them are shares of.
pub const DENOMINATOR: &str = "People with a rehabilitation plan (CarePlan, type RP or VP) that was created in the period and is not \
     entered in error.";

pub const INDICATORS: [Indicator; 3] = [
    Indicator {
        id: "halsoskattning",
        kind: Kind::Halsoskattning,
        codes: &[],
        numerator: "Of them, those whose needs were assessed with Hälsoskattning at the latest on the last day of the period.",
        cannot_say: "Assessments that were not sent with a plan, and people without a plan here. An assessment by interview or \
                     another instrument does not count, although NVP says 'or equivalent'.",
    },
    Indicator {
        id: "min-vardplan",
        kind: Kind::MinVardplan,
        codes: &["XV019", "XV020"],
        numerator: "Of them, those with a plan within the programme Min vårdplan, or an act XV019 or XV020, at the latest on the \
                    last day of the period.",
        cannot_say: "That Min vårdplan was offered and declined: the data have those who got it.",
    },
    Indicator {
        id: "contact-nurse",
        kind: Kind::ContactNurse,
        codes: &[],
        numerator: "Of them, those with a care team here that names a contact nurse (KSSK), as it stands now.",
        cannot_say: "When she was named, and contact nurses who are named in the journal only.",
    },
];

impl Indicator {
    pub fn named(id: &str) -> Option<&'static Self> {
        INDICATORS.iter().find(|indicator| indicator.id == id)
    }
}

/// What an indicator came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    pub indicator: &'static Indicator,
    pub denominator: u64,
    pub numerator: u64,
}

/// The same as it is shown: none where a number would tell of few people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    pub indicator: &'static Indicator,
    pub denominator: Option<u64>,
    pub numerator: Option<u64>,
    pub share: Option<f64>,
}

/// The indicators, for plans of these units (upper case; none: of all).
pub async fn measure(
    gateway: &Gateway,
    filter: &Filter,
    wanted: &[&'static Indicator],
    (first, last): (NaiveDate, NaiveDate),
    units: &[String],
) -> Result<Vec<Measured>, Refusal> {
    let store = &gateway.store;
    let plans = store.reached(filter, Kind::Plan, first, last).await?;
    let own = plans.into_iter().filter(|plan| units.is_empty() || units.contains(&plan.unit));
    let people: HashSet<i64> = own.map(|plan| plan.patient).collect();
    let mut measured = Vec::new();
    for indicator in wanted {
        let ever = NaiveDate::default();
        let reached = store.reached(filter, indicator.kind, ever, last).await?;
        let mut found: HashSet<i64> = reached.into_iter().map(|reached| reached.patient).collect();
        if !indicator.codes.is_empty() {
            let span = |code: &&str| ActSpan { code: (*code).to_owned(), first: ever, last };
            let question = ActQuestion {
                spans: indicator.codes.iter().map(span).collect(),
                apart: Apart { patient: true, ..Apart::default() },
            };
            let add = |found: &mut HashSet<i64>, row: &ActRow<'_>| found.extend(row.patient);
            found = store.fold_acts(filter, question, found, add).await?;
        }
        let numerator = people.intersection(&found).count() as u64;
        measured.push(Measured { indicator, denominator: people.len() as u64, numerator });
    }
    Ok(measured)
}

/// Hides numbers of few people: those counted, and those left over.
pub fn show(measured: Measured, smallest: u64) -> Share {
    let Measured { indicator, denominator, numerator } = measured;
    let few = is_small(denominator, smallest);
    let tells = is_small(numerator, smallest) || is_small(denominator.saturating_sub(numerator), smallest);
    let shown = !few && !tells;
    Share {
        indicator,
        denominator: (!few).then_some(denominator),
        numerator: shown.then_some(numerator),
        share: (shown && denominator > 0).then(|| numerator as f64 / denominator as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_those_counted_nor_those_left_over_are_few() {
        let shown = |denominator, numerator| {
            let share = show(Measured { indicator: &INDICATORS[0], denominator, numerator }, 5);
            (share.denominator, share.numerator)
        };
        assert_eq!(shown(100, 60), (Some(100), Some(60)));
        assert_eq!(shown(100, 4), (Some(100), None));
        assert_eq!(shown(100, 97), (Some(100), None));
        assert_eq!(shown(100, 100), (Some(100), Some(100)));
        assert_eq!(shown(4, 0), (None, None));
        assert_eq!(shown(0, 0), (Some(0), Some(0)));
    }
}
