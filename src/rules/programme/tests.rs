//! The shipped programme: whom it is for, and a calendar that loses and doubles nothing however time is cut.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fhir::profile::Profiles;

fn programmes() -> &'static Programmes {
    static LOADED: OnceLock<Programmes> = OnceLock::new();
    LOADED.get_or_init(|| {
        let files = crate::profile_files(None).unwrap();
        let (profiles, _) = Profiles::load(&files);
        let (programmes, issues) = Programmes::load(&files, profiles.terminology());
        assert!(issues.is_empty(), "{issues:?}");
        programmes
    })
}

fn verdict(more: Value) -> (Verdict, String) {
    let programmes = programmes();
    let mut said = json!({
        "age": 50, "aboutToStartTreatment": true, "treatmentAffectsWellbeing": true, "goodSwedish": true, "eIdentification": true,
        "deviceWithInternet": true, "cognitiveImpairmentAffectsLearning": false,
    });
    said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let said = said.as_object().unwrap().iter().filter(|(_, v)| !v.is_null());
    let said = said.map(|(name, value)| (name.clone(), value.clone())).collect();
    let judged = judge(programmes.get("infor-din-cancerbehandling").unwrap(), &said);
    let unmet = judged.unmet.iter().flat_map(|c| &c.cited).map(|c| c.rule.clone());
    let missing = judged.open.iter().flat_map(|(_, missing)| missing.clone());
    (judged.verdict, unmet.chain(missing).collect::<Vec<_>>().join(" "))
}

#[test]
fn each_criterion_fires_alone_and_what_is_not_said_is_named() {
    use Verdict::{Eligible, NotEligible, Undetermined};
    for (said, expected, names) in [
        (json!({}), Eligible, ""),
        (json!({ "aboutToStartTreatment": false }), NotEligible, "ELG-1"),
        (json!({ "treatmentAffectsWellbeing": false }), NotEligible, "ELG-1"),
        (json!({ "goodSwedish": false }), NotEligible, "ELG-2"),
        (json!({ "eIdentification": false }), NotEligible, "ELG-3"),
        (json!({ "deviceWithInternet": false }), NotEligible, "ELG-4"),
        (json!({ "cognitiveImpairmentAffectsLearning": true }), NotEligible, "ELG-6"),
        (json!({ "goodSwedish": null }), Undetermined, "goodSwedish"),
        (json!({ "age": null }), Undetermined, "age cfs"),
        // Strictly over 65, and before it is offered.
        (json!({ "age": 65 }), Eligible, ""),
        (json!({ "age": 66 }), Undetermined, "cfs"),
        (json!({ "age": 66, "cfs": 5 }), Eligible, ""),
        (json!({ "age": 66, "cfs": 6 }), NotEligible, "ELG-5"),
        // Below nobody has to rate; what is known excludes all the same, up to 9.
        (json!({ "age": 50, "cfs": 6 }), NotEligible, "ELG-5"),
        (json!({ "age": 50, "cfs": 9 }), NotEligible, "ELG-5"),
        (json!({ "age": 50, "cfs": 5 }), Eligible, ""),
        // One that is not met decides, whatever is missing.
        (json!({ "age": 66, "eIdentification": false }), NotEligible, "ELG-3 cfs"),
    ] {
        assert_eq!(verdict(said.clone()), (expected, names.to_owned()), "{said}");
    }
}

#[test]
fn a_birthday_on_the_leap_day_is_on_the_last_of_february() {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    assert_eq!(age_on(day("1960-02-29"), day("2026-02-27")), Some(65));
    assert_eq!(age_on(day("1960-02-29"), day("2026-02-28")), Some(66));
    assert_eq!(age_on(day("1960-06-02"), day("2026-06-01")), Some(65));
    assert_eq!(age_on(day("2030-01-01"), day("2026-06-01")), None);
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn course(started: &str) -> Course {
    Course { started_at: at(started), active_at: None, treatment_at: None, closed_at: None }
}

fn named(entries: &[Entry<'_>]) -> Vec<String> {
    let name = |entry: &Entry<'_>| match entry.due {
        Due::Message(message) => format!("{} {}", entry.at.to_rfc3339(), message.code),
        Due::Mark(mark) => format!("{} mark {}", entry.at.to_rfc3339(), mark.code),
        Due::CheckIn { day, .. } => format!("check-in {day}"),
        Due::Close => "close".to_owned(),
    };
    entries.iter().map(name).collect()
}

#[test]
fn the_days_are_swedens_across_the_change_of_the_clock() {
    let programmes = programmes();
    let of = programmes.get("infor-din-cancerbehandling").unwrap();
    // Started late on 27 March 2026: the clock goes forward on the 29th.
    let course = course("2026-03-27T22:30:00Z");
    let all = between(of, &course, at("2026-03-27T22:29:59Z"), at("2026-07-01T00:00:00Z"));
    assert_eq!(
        named(&all),
        [
            "2026-03-27T22:30:00+00:00 start",
            "2026-03-28T08:00:00+00:00 day-1",
            "2026-03-30T07:00:00+00:00 day-3",
            "2026-04-03T07:00:00+00:00 day-7",
            "2026-05-14T07:00:00+00:00 day-48",
            "2026-05-27T22:00:00+00:00 mark 62",
            "2026-06-24T22:00:00+00:00 mark 90",
        ]
    );
    let active = Course { active_at: Some(at("2026-03-28T10:00:00Z")), ..course };
    let week = between(of, &active, at("2026-03-28T10:00:00Z"), at("2026-04-10T00:00:00Z"));
    let check_ins: Vec<String> = named(&week).into_iter().filter(|name| name.starts_with("check-in")).collect();
    assert_eq!(check_ins, ["check-in 2026-03-30", "check-in 2026-04-02", "check-in 2026-04-06", "check-in 2026-04-09"]);
}

#[test]
fn two_years_are_never_more_than_two_years() {
    let programmes = programmes();
    let of = programmes.get("infor-din-cancerbehandling").unwrap();
    for (moment, end) in [
        ("2026-03-02T08:00:00Z", "2028-03-01T23:00:00Z"),
        ("2026-07-02T21:30:00Z", "2028-07-01T22:00:00Z"),
        ("2028-02-29T12:00:00Z", "2030-02-27T23:00:00Z"),
    ] {
        assert_eq!(limit(of, at(moment)), Some(at(end)), "{moment}");
    }
}

#[test]
fn after_treatment_has_begun_no_message_goes_out_and_closing_is_due() {
    let programmes = programmes();
    let of = programmes.get("infor-din-cancerbehandling").unwrap();
    let treated = Course { treatment_at: Some(at("2026-03-07T10:00:00Z")), ..course("2026-03-02T08:00:00Z") };
    let all = between(of, &treated, at("2026-03-02T07:59:59Z"), at("2026-05-30T00:00:00Z"));
    let names = named(&all).join(", ");
    assert!(names.contains("day-3") && !names.contains("day-7") && !names.contains("day-48"), "{names}");
    assert!(names.contains("close") && names.contains("mark 62"), "{names}");
    let closed = Course { closed_at: Some(at("2026-03-08T10:00:00Z")), ..treated };
    assert!(between(of, &closed, at("2026-03-08T10:00:00Z"), at("2030-01-01T00:00:00Z")).is_empty());
    assert_eq!(next(of, &closed, at("2026-03-08T10:00:00Z")), None);
}

#[test]
fn a_message_is_known_again_in_a_note_and_ones_own_words_are_not() {
    let message = "Jag har svårt att få i mig maten på kvällarna och undrar hur jag ska göra";
    assert!(is_copied(message, message));
    assert!(is_copied(&format!("Patienten skriver: ”{}”.", message.to_uppercase()), message));
    assert!(is_copied("Pat. svårt att få i mig maten på kvällarna och undrar hur jag ska göra. Råd givna.", message));
    assert!(!is_copied("Råd om kvällsmål och energirika drycker. Ny kontakt om en vecka.", message));
    assert!(!is_copied("Tack för det, hälsningar", "Tack för det"), "too short to be anybody's");
}

proptest! {
    /// Years of a programme, cut anywhere: each thing once, in order, none after it closed, and `next` never later than what is due.
    #[test]
    fn however_time_is_cut_each_thing_is_due_once(
        start in 1_772_000_000_i64..1_900_000_000,
        active in proptest::option::of(0_i64..40),
        treatment in proptest::option::of(0_i64..120),
        closed in proptest::option::of(0_i64..200),
        mut cuts in proptest::collection::vec(0_i64..250 * 86_400, 0..40),
    ) {
        let programmes = programmes();
        let of = programmes.get("infor-din-cancerbehandling").unwrap();
        let day = |days: i64| DateTime::from_timestamp(start, 0).unwrap() + TimeDelta::days(days);
        let course = Course {
            started_at: day(0),
            active_at: active.map(day),
            treatment_at: treatment.map(day),
            closed_at: closed.map(day),
        };
        let before = day(0) - TimeDelta::milliseconds(1);
        let whole = named(&between(of, &course, before, day(250)));
        let mut seen: BTreeMap<&String, usize> = BTreeMap::new();
        for name in &whole {
            *seen.entry(name).or_default() += 1;
        }
        prop_assert!(seen.values().all(|count| *count == 1));
        for entry in between(of, &course, before, day(250)) {
            prop_assert!(course.closed_at.is_none_or(|closed| entry.at < closed));
            if matches!(entry.due, Due::Message(_)) {
                prop_assert!(course.treatment_at.is_none_or(|treatment| entry.at < treatment));
            }
        }
        cuts.sort_unstable();
        let (mut from, mut pieces) = (before, Vec::new());
        for until in cuts.into_iter().map(|s| day(0) + TimeDelta::seconds(s)).chain([day(250)]) {
            if let Some(first) = between(of, &course, from, day(250)).first() {
                let next = next(of, &course, from);
                prop_assert!(next.is_some_and(|next| next <= first.at), "{next:?} is later than {first:?}");
            }
            pieces.extend(named(&between(of, &course, from, until)));
            from = until.max(from);
        }
        prop_assert_eq!(pieces, whole);
    }
}
