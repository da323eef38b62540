//! Whether an intervention has ended, how that is known, and whether anybody has assessed the patient since.

use chrono::NaiveDate;
use serde_json::Value;

use super::super::planned::{Intervention, list};
use crate::fhir::canonical::BASE;
use crate::fhir::primitive::days_of;
use crate::fhir::resource::{has_coding, reference_of, type_of};

/// How it is known that an intervention has ended: the codes of our CodeSystem `intervention-end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The plan says that it was carried through.
    Completed,
    /// The plan says that it was broken off.
    Stopped,
    /// Its last day has passed.
    Passed,
    /// The unit that does it has answered that it is done.
    Answered,
}

impl How {
    pub const ALL: [Self; 4] = [Self::Completed, Self::Stopped, Self::Passed, Self::Answered];

    pub fn code(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Passed => "passed",
            Self::Answered => "answered",
        }
    }
}

/// An intervention that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub how: How,
    /// The day; none where nobody has said.
    pub on: Option<NaiveDate>,
    /// It was under way before what is looked at now.
    pub is_news: bool,
}

/// Whether it has ended by that day. `was`: the same one as it stood before; `answered`: its unit says that it is done.
pub fn ended(now: &Intervention, was: Option<&Intervention>, is_answered: bool, today: NaiveDate) -> Option<Ended> {
    let is_over = |status: &str| matches!(status, "completed" | "stopped" | "cancelled" | "entered-in-error");
    let past = now.end.filter(|end| *end < today);
    match now.status.as_str() {
        "completed" | "stopped" => {
            let how = if now.status == "completed" { How::Completed } else { How::Stopped };
            let on = now.end.filter(|end| *end <= today);
            Some(Ended { how, on, is_news: was.is_some_and(|was| !is_over(&was.status)) })
        }
        status if is_over(status) => None,
        _ if past.is_some() => Some(Ended { how: How::Passed, on: past, is_news: true }),
        _ if is_answered => Some(Ended { how: How::Answered, on: Some(today), is_news: true }),
        _ => None,
    }
}

/// An assessment of needs, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessed {
    /// The last day that its date can mean.
    pub on: NaiveDate,
    /// `Observation/id`
    pub name: String,
    pub areas: Vec<String>,
}

/// The newest assessment among what a document made.
pub fn assessed(resources: &[Value]) -> Option<Assessed> {
    let kind = format!("{BASE}/CodeSystem/observation-kind");
    let area = format!("{BASE}/CodeSystem/rehab-area");
    let is_one = |o: &&Value| {
        let stands = matches!(o["status"].as_str(), Some("final" | "amended" | "corrected"));
        type_of(o) == "Observation" && stands && has_coding(&o["code"], &kind, "needs-assessment")
    };
    let read = |o: &Value| {
        let codings = list(&o["component"]).iter().flat_map(|component| list(&component["code"]["coding"]));
        let areas = codings.filter(|c| c["system"] == *area).filter_map(|c| c["code"].as_str().map(str::to_owned));
        Some(Assessed {
            on: o["effectiveDateTime"].as_str().and_then(days_of)?.1,
            name: reference_of(o)?,
            areas: areas.collect(),
        })
    };
    resources.iter().filter(is_one).filter_map(read).max_by_key(|found| found.on)
}

/// Whether the patient was assessed after it had ended. Where nobody has said on which day it ended, an assessment is later that
/// came with that word or is newer than the one before it (`before`).
pub fn is_assessed_since(ended: &Ended, assessed: Option<&Assessed>, before: Option<NaiveDate>) -> bool {
    let Some(assessed) = assessed else { return false };
    match ended.on {
        Some(on) => assessed.on >= on,
        None => !ended.is_news || before.is_some_and(|before| assessed.on > before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn intervention(status: &str, end: &str) -> Intervention {
        Intervention {
            place: 0,
            id: "I1".into(),
            area: None,
            form: None,
            level: None,
            unit: None,
            status: status.into(),
            start: None,
            end: end.parse().ok(),
        }
    }

    #[test]
    fn an_intervention_ends_by_its_status_its_last_day_or_its_units_word() {
        let today = day("2026-06-01");
        let told = |status: &str, end: &str, was: Option<&str>, answered: bool| {
            let was = was.map(|status| intervention(status, end));
            ended(&intervention(status, end), was.as_ref(), answered, today)
                .map(|e| (e.how.code(), e.on.map(|on| on.to_string()).unwrap_or_default(), e.is_news))
        };
        let some = |how, on: &str, is_news| Some((how, on.to_owned(), is_news));
        assert_eq!(told("in-progress", "2026-06-01", None, false), None, "its last day is not over");
        assert_eq!(told("in-progress", "2026-05-31", None, false), some("passed", "2026-05-31", true));
        assert_eq!(told("scheduled", "", None, false), None);
        assert_eq!(told("scheduled", "", None, true), some("answered", "2026-06-01", true));
        assert_eq!(told("completed", "2026-06-01", Some("in-progress"), false), some("completed", "2026-06-01", true));
        assert_eq!(told("stopped", "2026-08-01", Some("in-progress"), false), some("stopped", "", true), "early");
        assert_eq!(told("completed", "", None, false), some("completed", "", false), "a first version");
        assert_eq!(told("completed", "", Some("completed"), false), some("completed", "", false));
        assert_eq!(told("cancelled", "2026-05-01", Some("scheduled"), true), None, "it was never begun");
    }

    #[test]
    fn an_assessment_is_later_by_its_day_or_where_no_day_is_known_by_being_a_new_one() {
        let of = |on: &str| Assessed { on: day(on), name: "Observation/o".into(), areas: Vec::new() };
        let ended = |on: &str, is_news| Ended { how: How::Completed, on: on.parse().ok(), is_news };
        let since = |e: &Ended, on: &str, before: &str| is_assessed_since(e, Some(&of(on)), before.parse().ok());
        assert!(since(&ended("2026-05-31", true), "2026-05-31", ""), "at the last visit");
        assert!(!since(&ended("2026-05-31", true), "2026-05-30", "2026-02-01"));
        assert!(!since(&ended("", true), "2026-02-01", "2026-02-01"));
        assert!(since(&ended("", true), "2026-05-01", "2026-02-01"));
        assert!(since(&ended("", false), "2026-02-01", ""), "the plan was made when it had ended");
        assert!(!is_assessed_since(&ended("", false), None, None));
    }
}
