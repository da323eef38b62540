//! Dates and times: days that do not exist are refused, and a time needs its zone.

use chrono::{DateTime, Months, NaiveDate};
use chrono_tz::Europe::Stockholm;

use super::{Wrong, wrong};

pub const NO_DAY: Wrong = Wrong { sv: "dagen finns inte i kalendern", en: "the day does not exist in the calendar" };
const DATE: Wrong =
    Wrong { sv: "ska vara ÅÅÅÅ, ÅÅÅÅ-MM eller ÅÅÅÅ-MM-DD", en: "must be YYYY, YYYY-MM or YYYY-MM-DD" };

/// How much of a date is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Year,
    Month,
    Day,
}

pub fn date(text: &str) -> Result<Precision, Wrong> {
    let bytes = text.as_bytes();
    let part = |from: usize, to: usize| digits(bytes.get(from..to).unwrap_or_default()).ok_or(DATE);
    let dash = |at: usize| if bytes.get(at) == Some(&b'-') { Ok(()) } else { Err(DATE) };
    let (year, precision) = match bytes.len() {
        4 => (part(0, 4)?, Precision::Year),
        7 => (part(0, 4)?, Precision::Month),
        10 => (part(0, 4)?, Precision::Day),
        _ => return Err(DATE),
    };
    let mut month = 1;
    let mut day = 1;
    if precision != Precision::Year {
        dash(4)?;
        month = part(5, 7)?;
    }
    if precision == Precision::Day {
        dash(7)?;
        day = part(8, 10)?;
    }
    let exists = i32::try_from(year).is_ok_and(|y| y > 0 && NaiveDate::from_ymd_opt(y, month, day).is_some());
    if exists { Ok(precision) } else { Err(NO_DAY) }
}

pub fn date_time(text: &str) -> Result<(), Wrong> {
    let Some((day, clock)) = text.split_once('T') else { return date(text).map(drop) };
    if date(day)? != Precision::Day {
        return wrong(
            "klockslag kräver hel dag, ÅÅÅÅ-MM-DDThh:mm:ss+01:00",
            "a time needs a whole day, YYYY-MM-DDThh:mm:ss+01:00",
        );
    }
    zoned(clock)
}

pub fn instant(text: &str) -> Result<(), Wrong> {
    match text.split_once('T') {
        Some((day, clock)) if day.len() == 10 => {
            date(day)?;
            zoned(clock)
        }
        _ => wrong("ska vara ÅÅÅÅ-MM-DDThh:mm:ss+01:00", "must be YYYY-MM-DDThh:mm:ss+01:00"),
    }
}

fn zoned(clock: &str) -> Result<(), Wrong> {
    let (clock, zone) = match clock.find(['Z', '+', '-']) {
        Some(at) => clock.split_at(at),
        None => {
            return wrong(
                "klockslaget saknar tidszon, t.ex. +01:00 eller Z",
                "the time lacks its zone, as +01:00 or Z",
            );
        }
    };
    time(clock)?;
    let offset = zone.get(1..).unwrap_or_default().as_bytes();
    let sound = match offset {
        [] => zone == "Z",
        [h1, h2, b':', m1, m2] => {
            let hours = digits(&[*h1, *h2]);
            let minutes = digits(&[*m1, *m2]);
            zone != "Z" && matches!((hours, minutes), (Some(0..=13), Some(0..=59)) | (Some(14), Some(0)))
        }
        _ => false,
    };
    if sound { Ok(()) } else { wrong("tidszonen ska vara Z eller ±hh:mm", "the zone must be Z or ±hh:mm") }
}

pub fn time(clock: &str) -> Result<(), Wrong> {
    const TIME: Wrong = Wrong { sv: "klockslaget ska vara hh:mm:ss", en: "the time must be hh:mm:ss" };
    let bytes = clock.as_bytes();
    let two = |at: usize| digits(bytes.get(at..at + 2).unwrap_or_default()).ok_or(TIME);
    let colons = bytes.get(2) == Some(&b':') && bytes.get(5) == Some(&b':');
    let fraction = match bytes.get(8..) {
        Some([]) => true,
        Some([b'.', rest @ ..]) => !rest.is_empty() && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // R4 allows second 60: leap seconds.
    if colons && fraction && two(0)? < 24 && two(3)? < 60 && two(6)? <= 60 { Ok(()) } else { Err(TIME) }
}

fn digits(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() || bytes.len() > 9 {
        return None;
    }
    bytes.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

/// The first and the last day that a date or dateTime can mean: a year and a month are all their days, and an instant
/// is on the day it has in Sweden.
pub fn days_of(text: &str) -> Option<(NaiveDate, NaiveDate)> {
    if text.contains('T') {
        let at = DateTime::parse_from_rfc3339(text).ok();
        let day = at.map(|at| at.with_timezone(&Stockholm).date_naive()).or_else(|| day_of(text))?;
        return Some((day, day));
    }
    let (first, months) = match date(text).ok()? {
        Precision::Day => return day_of(text).map(|day| (day, day)),
        Precision::Month => (format!("{text}-01"), 1),
        Precision::Year => (format!("{text}-01-01"), 12),
    };
    let first = day_of(&first)?;
    let last = first.checked_add_months(Months::new(months)).and_then(|next| next.pred_opt())?;
    Some((first, last))
}

/// The day of a date or dateTime that has one, as it is written.
pub fn day_of(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()
}
