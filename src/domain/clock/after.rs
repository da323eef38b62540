//! After how long: seconds, minutes and hours as they pass, days by the Swedish calendar, or working days.
//!
//! What is urgent is counted in hours, for nobody's weekend makes it less so. What a person opens at a desk is counted in
//! working days, as care agrees its deadlines; what a patient waits through is counted in days. A day ends at the time of day
//! at which the wait began, by the clock on the wall in Sweden, also over the nights when that is changed. A wait that begins on
//! a day off begins with the next working day.

use std::fmt;

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Europe::Stockholm;

use super::Pause;
use super::holiday::is_working;
use super::pause::{FOREVER, spans};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum After {
    Seconds(u32),
    Days(u32),
    WorkingDays(u32),
}

/// What it looks like, for whoever wrote something else.
pub const FORM: &str =
    "a whole number with s, m, h, d (days) or wd (working days), at most ten years: \"4h\", \"30d\", \"5wd\"";

/// Longer than anything is waited for.
const MOST_DAYS: u32 = 3660;

impl After {
    /// `None` where it is not of [`FORM`].
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(end);
        let number: u32 = number.parse().ok().filter(|n| *n > 0)?;
        let seconds = |of_one: u32| {
            number.checked_mul(of_one).filter(|s| *s <= MOST_DAYS.saturating_mul(86_400)).map(Self::Seconds)
        };
        match unit {
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            "d" => (number <= MOST_DAYS).then_some(Self::Days(number)),
            "wd" => (number <= MOST_DAYS / 2).then_some(Self::WorkingDays(number)),
            _ => None,
        }
    }

    /// When it is over for what began then; pauses are time that does not count. Both in milliseconds since 1970, and
    /// [`FOREVER`] where a pause has no end.
    pub fn end(self, since: i64, pauses: &[Pause]) -> i64 {
        let (mut at, mut remaining) = (since, self.length_ms());
        for (from, until) in spans(since, pauses) {
            let counted = self.counted(at, from);
            if from > at && counted >= remaining {
                return self.advance(at, remaining);
            }
            remaining -= counted;
            at = until;
            if until == FOREVER {
                return FOREVER;
            }
        }
        self.advance(at, remaining)
    }

    fn length_ms(self) -> i64 {
        match self {
            Self::Seconds(seconds) => i64::from(seconds) * 1000,
            Self::Days(days) | Self::WorkingDays(days) => i64::from(days) * DAY_MS,
        }
    }

    /// How much of it passes between two instants.
    fn counted(self, from: i64, to: i64) -> i64 {
        let span = wall(from).zip(wall(to));
        match (self, span) {
            (Self::Seconds(_), _) => (to - from).max(0),
            (_, None) => 0,
            (Self::Days(_), Some((from, to))) => (to - from).num_milliseconds().max(0),
            (Self::WorkingDays(_), Some((from, to))) => {
                let days = from.date().iter_days().take_while(|day| *day <= to.date()).filter(|day| is_working(*day));
                let of_day = |day: NaiveDate| {
                    let (start, end) = (day.and_time(NaiveTime::MIN), day.succ_opt()?.and_time(NaiveTime::MIN));
                    Some((to.min(end) - from.max(start)).num_milliseconds().max(0))
                };
                days.filter_map(of_day).sum()
            }
        }
    }

    /// The instant at which so much of it has passed; beyond what any calendar has, never.
    fn advance(self, from: i64, length_ms: i64) -> i64 {
        let end = match self {
            Self::Seconds(_) => return from.saturating_add(length_ms),
            Self::Days(_) => wall(from).and_then(|local| local.checked_add_signed(TimeDelta::milliseconds(length_ms))),
            Self::WorkingDays(_) => wall(from).and_then(|local| working(local, length_ms)),
        };
        end.and_then(on_the_wall).map_or(FOREVER, |at| at.timestamp_millis())
    }
}

const DAY_MS: i64 = 86_400_000;

/// What the wall shows.
fn wall(at: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp_millis(at)?.with_timezone(&Stockholm).naive_local())
}

fn working(local: NaiveDateTime, mut length_ms: i64) -> Option<NaiveDateTime> {
    let mut at = local;
    if !is_working(at.date()) {
        at = next_working(at.date())?.and_time(NaiveTime::MIN);
    }
    loop {
        let left = (at.date().succ_opt()?.and_time(NaiveTime::MIN) - at).num_milliseconds();
        if length_ms < left {
            return at.checked_add_signed(TimeDelta::milliseconds(length_ms));
        }
        length_ms -= left;
        at = next_working(at.date())?.and_time(NaiveTime::MIN);
    }
}

fn next_working(day: NaiveDate) -> Option<NaiveDate> {
    let mut next = day.succ_opt()?;
    while !is_working(next) {
        next = next.succ_opt()?;
    }
    Some(next)
}

/// The instant at which the wall shows this time: the later of two, and the end of the gap that swallowed it, so that nobody is
/// late before the clock says so.
fn on_the_wall(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match Stockholm.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => Some(at.to_utc()),
        LocalResult::None => {
            let full = local.date().and_hms_opt(local.hour(), 0, 0)?.checked_add_signed(TimeDelta::hours(1))?;
            Stockholm.from_local_datetime(&full).earliest().map(|at| at.to_utc())
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(s) if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            Self::Seconds(s) if s % 60 == 0 => write!(f, "{}m", s / 60),
            Self::Seconds(s) => write!(f, "{s}s"),
            Self::Days(d) => write!(f, "{d}d"),
            Self::WorkingDays(d) => write!(f, "{d}wd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(after: &str, from: &str) -> String {
        let from: DateTime<Utc> = from.parse().unwrap();
        let end = After::parse(after).unwrap().end(from.timestamp_millis(), &[]);
        DateTime::from_timestamp_millis(end).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn what_is_waited_for_ends_by_the_clock_on_the_wall_in_sweden() {
        for (after, from, expected) in [
            ("90s", "2026-03-02T08:00:00Z", "2026-03-02T08:01:30Z"),
            ("4h", "2026-03-28T23:00:00Z", "2026-03-29T03:00:00Z"),
            // The night of 29 March has no 02:30, that of 25 October has two.
            ("1d", "2026-03-28T12:00:00Z", "2026-03-29T11:00:00Z"),
            ("1d", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"),
            ("1d", "2026-10-24T12:00:00Z", "2026-10-25T13:00:00Z"),
            ("1d", "2026-10-24T00:30:00Z", "2026-10-25T01:30:00Z"),
            ("30d", "2028-02-01T09:00:00Z", "2028-03-02T09:00:00Z"),
            ("365d", "2028-02-29T09:00:00Z", "2029-02-28T09:00:00Z"),
            // Friday to Monday, over Easter, from a Saturday, from the evening before a holiday in Swedish time.
            ("1wd", "2026-03-06T14:00:00Z", "2026-03-09T14:00:00Z"),
            ("3wd", "2026-04-01T08:00:00Z", "2026-04-08T08:00:00Z"),
            ("1wd", "2026-03-07T10:00:00Z", "2026-03-09T23:00:00Z"),
            ("1wd", "2026-04-30T22:30:00Z", "2026-05-04T22:00:00Z"),
            ("2wd", "2026-12-23T09:00:00Z", "2026-12-29T09:00:00Z"),
        ] {
            assert_eq!(end(after, from), expected, "{after} from {from}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in ["", "0h", "4", "h", "-1d", "4 h", "1.5d", "2w", "4H", "99999999999h", "3661d", "1831wd", "४h"] {
            assert_eq!(After::parse(text), None, "{text}");
        }
        for text in ["30s", "5m", "4h", "36h", "5d", "5wd"] {
            assert_eq!(After::parse(text).unwrap().to_string(), text);
        }
    }

    /// A second way: hour by hour, whose wall shows what.
    #[test]
    fn working_days_are_what_somebody_counts_on_fingers() {
        let mut from: DateTime<Utc> = "2025-12-15T00:20:00Z".parse().unwrap();
        let last: DateTime<Utc> = "2028-03-05T00:00:00Z".parse().unwrap();
        while from < last {
            let began = from.with_timezone(&Stockholm).naive_local();
            let end = wall(After::WorkingDays(3).end(from.timestamp_millis(), &[])).unwrap();
            assert!(is_working(end.date()), "{from}");
            let between = began.date().iter_days().skip(1).take_while(|day| *day <= end.date());
            let worked = between.filter(|day| is_working(*day)).count();
            let begins_off = !is_working(began.date());
            assert_eq!(worked, if begins_off { 4 } else { 3 }, "{from}");
            from += TimeDelta::hours(7);
        }
    }

    /// A second way for pauses too: minute by minute, whether it counts.
    #[test]
    fn what_is_paused_does_not_count_over_nights_that_change_the_clock_leap_days_and_holidays() {
        let mut random = fastrand::Rng::with_seed(7);
        for (first, after) in [
            ("2026-03-27T15:00:00Z", After::Days(2)),
            ("2026-10-23T15:00:00Z", After::Days(2)),
            ("2028-02-27T09:00:00Z", After::WorkingDays(3)),
            ("2026-03-31T15:00:00Z", After::WorkingDays(2)),
            ("2026-12-22T15:00:00Z", After::WorkingDays(2)),
            ("2026-06-18T15:00:00Z", After::Seconds(30 * 3600)),
        ] {
            let first: DateTime<Utc> = first.parse().unwrap();
            for _ in 0..40 {
                let minute = |n: i64| first.timestamp_millis() + n * 60_000;
                let since = random.i64(0..1500);
                let pauses: Vec<(i64, i64)> = (0..random.usize(..4))
                    .map(|_| {
                        let from = random.i64(0..5000);
                        (from, from + random.i64(1..2500))
                    })
                    .collect();
                let told: Vec<Pause> = pauses
                    .iter()
                    .map(|(from, until)| Pause { from: minute(*from), until: Some(minute(*until)) })
                    .collect();
                let end = after.end(minute(since), &told);
                let (mut counted, mut now) = (0, since);
                while counted < after.length_ms() {
                    let is_paused = pauses.iter().any(|(from, until)| (*from..*until).contains(&now));
                    let step = if is_paused { 0 } else { after.counted(minute(now), minute(now + 1)) };
                    counted += step;
                    now += 1;
                }
                let late = end - minute(now);
                // Where the wall jumps within a minute that is counted, and at the end of the last working day before a day off.
                let slack = if matches!(after, After::Seconds(_)) { 0 } else { 3_600_000 };
                let begins_later =
                    matches!(after, After::WorkingDays(_)) && wall(end).unwrap().time() == NaiveTime::MIN;
                assert!(late.abs() <= slack || begins_later, "{after} since {since}: {late} {pauses:?}");
            }
        }
    }
}
