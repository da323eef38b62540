//! Sweden's days off: Saturdays, Sundays, the holidays of lag (1989:1253), and the three eves that lag (1930:173) 2 § puts on
//! a par with them. On every other day a unit can be expected to open its letters.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// Whether the day is one on which people work.
pub fn is_working(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) && !is_holiday(day)
}

/// Holidays and the eves, on whatever day of the week.
fn is_holiday(day: NaiveDate) -> bool {
    let (month, date) = (day.month(), day.day());
    let is_fixed =
        matches!((month, date), (1, 1) | (1, 6) | (5, 1) | (6, 6) | (12, 24) | (12, 25) | (12, 26) | (12, 31));
    // Midsummer's Day is the Saturday of 20–26 June, its eve the day before. All Saints' is a Saturday anyway.
    let is_midsummer_eve = day.weekday() == Weekday::Fri && month == 6 && (19..=25).contains(&date);
    is_fixed || is_midsummer_eve || is_of_easter(day)
}

/// Good Friday, Easter Monday and Ascension Day; Easter and Whit Sunday are Sundays.
fn is_of_easter(day: NaiveDate) -> bool {
    let Some(easter) = easter(day.year()) else { return false };
    let is = |other: Option<NaiveDate>| other == Some(day);
    is(easter.checked_sub_days(Days::new(2)))
        || is(easter.checked_add_days(Days::new(1)))
        || is(easter.checked_add_days(Days::new(39)))
}

/// Easter Sunday by the Gregorian calendar (the anonymous algorithm of 1876, as Meeus gives it).
fn easter(year: i32) -> Option<NaiveDate> {
    let (golden, century, of_century) = (year.rem_euclid(19), year.div_euclid(100), year.rem_euclid(100));
    let correction = (century - century / 4 - (8 * century + 13) / 25 + 19 * golden + 15).rem_euclid(30);
    let epact = correction - (golden + 11 * correction) / 319;
    let weekday = (2 * (century % 4) + 2 * (of_century / 4) - epact - of_century % 4 + 32).rem_euclid(7);
    let month = (epact + weekday + 90) / 25;
    let day = (epact + weekday + month + 19).rem_euclid(32);
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn easter_falls_where_the_almanac_has_it() {
        for text in [
            "2000-04-23",
            "2019-04-21",
            "2024-03-31",
            "2025-04-20",
            "2026-04-05",
            "2027-03-28",
            "2028-04-16",
            "2038-04-25",
        ] {
            assert_eq!(easter(day(text).year()), Some(day(text)));
        }
    }

    #[test]
    fn the_days_off_of_a_year_are_those_of_the_almanac() {
        let first = day("2026-01-01");
        let off: Vec<String> = first
            .iter_days()
            .take(365)
            .filter(|d| !matches!(d.weekday(), Weekday::Sat | Weekday::Sun) && !is_working(*d))
            .map(|d| d.format("%m-%d").to_string())
            .collect();
        assert_eq!(
            off,
            ["01-01", "01-06", "04-03", "04-06", "05-01", "05-14", "06-19", "12-24", "12-25", "12-31"],
            "2026: the National Day is a Saturday"
        );
        assert!(!is_working(day("2025-06-06")) && is_working(day("2025-06-05")));
        assert!(!is_working(day("2024-05-09")), "Ascension Day");
        assert!(is_working(day("2028-02-29")), "a leap day is a day");
    }
}
