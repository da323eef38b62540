//! What statistics are asked by: the dimensions of an act, days and months as numbers, and the validity of its code.

use chrono::{Datelike, Days, NaiveDate};

use super::kva::KvaCode;

/// What acts are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Code,
    Area,
    Unit,
    Level,
    Year,
    Month,
    Distance,
}

impl Dimension {
    pub const ALL: [Self; 7] =
        [Self::Code, Self::Area, Self::Unit, Self::Level, Self::Year, Self::Month, Self::Distance];

    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Area => "area",
            Self::Unit => "unit",
            Self::Level => "level",
            Self::Year => "year",
            Self::Month => "month",
            Self::Distance => "distance",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// What follows from it, so that another question's sums are sums of these cells.
    pub fn implied(self) -> Option<Self> {
        match self {
            Self::Code => Some(Self::Area),
            Self::Unit => Some(Self::Level),
            Self::Month => Some(Self::Year),
            _ => None,
        }
    }
}

/// Where an act has no value of a dimension: a code without area, a unit that the directory does not know.
pub const NONE: &str = "none";

/// The number of a day: days since 1970-01-01.
pub fn day_number(day: NaiveDate) -> i32 {
    day.signed_duration_since(NaiveDate::default()).num_days().try_into().unwrap_or(i32::MAX)
}

/// The day of that number, as far as the calendar goes.
pub fn day_of_number(number: i32) -> NaiveDate {
    let begin = NaiveDate::default();
    let days = Days::new(u64::from(number.unsigned_abs()));
    let day = if number < 0 { begin.checked_sub_days(days) } else { begin.checked_add_days(days) };
    day.unwrap_or(NaiveDate::MAX)
}

/// The number of the month that a day is in: twelve a year, January of year 0 is 0.
pub fn month_number(day: NaiveDate) -> i32 {
    day.year() * 12 + i32::try_from(day.month0()).unwrap_or(0)
}

/// `2026-03`
pub fn month_name(number: i32) -> String {
    format!("{:04}-{:02}", number.div_euclid(12), number.rem_euclid(12) + 1)
}

/// The first day of the month.
pub fn month_begin(number: i32) -> NaiveDate {
    let month = u32::try_from(number.rem_euclid(12)).unwrap_or(0) + 1;
    NaiveDate::from_ymd_opt(number.div_euclid(12), month, 1).unwrap_or(NaiveDate::MAX)
}

/// The days of a period on which the code was in force, both ends included.
pub fn in_force(code: &KvaCode, first: NaiveDate, last: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let first = code.valid_from.map_or(first, |from| from.max(first));
    let last = code.valid_to.map_or(last, |to| to.min(last));
    (first <= last).then_some((first, last))
}

/// A period cut at the ends of years and months: whole years, whole months, and what is left of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first and the last year.
    Years(i32, i32),
    /// Numbers of the first and the last month.
    Months(i32, i32),
    /// Numbers of the first and the last day, which are in one month.
    Days(i32, i32),
}

/// Cuts a period, both ends included.
pub fn parts(first: NaiveDate, last: NaiveDate) -> Vec<Part> {
    let (mut from, to) = (month_number(first), month_number(last));
    let is_begin = first.day() == 1;
    let is_end = last.succ_opt().is_none_or(|next| next.day() == 1);
    if from == to {
        return match (first <= last, is_begin && is_end) {
            (false, _) => Vec::new(),
            (true, true) => whole(from, to),
            (true, false) => vec![Part::Days(day_number(first), day_number(last))],
        };
    }
    if from > to {
        return Vec::new();
    }
    let mut parts = Vec::new();
    if !is_begin {
        from += 1;
        parts.push(Part::Days(day_number(first), day_number(month_begin(from)) - 1));
    }
    let whole_to = if is_end { to } else { to - 1 };
    parts.extend(whole(from, whole_to));
    if !is_end {
        parts.push(Part::Days(day_number(month_begin(to)), day_number(last)));
    }
    parts
}

/// Whole months, as years where they are all of one.
fn whole(from: i32, to: i32) -> Vec<Part> {
    let first_year = (from + 11).div_euclid(12);
    let last_year = (to + 1).div_euclid(12) - 1;
    if first_year > last_year {
        return if from <= to { vec![Part::Months(from, to)] } else { Vec::new() };
    }
    let (before, after) = ((from, first_year * 12 - 1), (last_year * 12 + 12, to));
    let months = |(from, to): (i32, i32)| (from <= to).then_some(Part::Months(from, to));
    [months(before), Some(Part::Years(first_year, last_year)), months(after)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_is_cut_at_the_ends_of_months() {
        let n = |text| day_number(day(text));
        let m = |text| month_number(day(text));
        assert_eq!(parts(day("2026-01-01"), day("2026-02-28")), [Part::Months(m("2026-01-01"), m("2026-02-01"))]);
        assert_eq!(parts(day("2024-02-01"), day("2024-02-28")), [Part::Days(n("2024-02-01"), n("2024-02-28"))]);
        assert_eq!(
            parts(day("2025-12-31"), day("2026-03-29")),
            [
                Part::Days(n("2025-12-31"), n("2025-12-31")),
                Part::Months(m("2026-01-01"), m("2026-02-01")),
                Part::Days(n("2026-03-01"), n("2026-03-29")),
            ]
        );
        assert_eq!(
            parts(day("2024-11-01"), day("2026-12-31")),
            [Part::Months(m("2024-11-01"), m("2024-12-01")), Part::Years(2025, 2026)]
        );
        assert_eq!(month_name(m("2026-03-29")), "2026-03");
        assert!(parts(day("2026-03-02"), day("2026-03-01")).is_empty());
        assert!(parts(day("2026-04-02"), day("2026-03-01")).is_empty());
    }

    #[test]
    fn a_code_counts_on_the_days_it_was_in_force() {
        let code = KvaCode {
            code: "DV143".into(),
            display: String::new(),
            valid_from: Some(day("2012-01-01")),
            valid_to: Some(day("2026-06-30")),
            area: None,
            add_on: false,
        };
        assert_eq!(in_force(&code, day("2026-01-01"), day("2026-12-31")), Some((day("2026-01-01"), day("2026-06-30"))));
        assert_eq!(in_force(&code, day("2026-07-01"), day("2026-12-31")), None);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_period_and_nothing_twice(first in 0_i32..30_000, length in 0_i32..2_000) {
            let last = first + length;
            let mut covered = Vec::new();
            for part in parts(day_of_number(first), day_of_number(last)) {
                match part {
                    Part::Years(from, to) => {
                        covered.extend(day_number(month_begin(from * 12))..day_number(month_begin(to * 12 + 12)));
                    }
                    Part::Months(from, to) => {
                        covered.extend(day_number(month_begin(from))..day_number(month_begin(to + 1)));
                    }
                    Part::Days(from, to) => covered.extend(from..=to),
                }
            }
            prop_assert_eq!(covered, (first..=last).collect::<Vec<_>>());
        }

        #[test]
        fn a_day_and_its_number_are_the_same(number in -200_000_i32..200_000) {
            prop_assert_eq!(day_number(day_of_number(number)), number);
        }
    }
}
