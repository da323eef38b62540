//! Maintenance windows of a partner: times of the week, by the clock on the wall in Sweden, when nothing is sent to it.
//!
//! `Sun 01:00-05:00`, `Mon-Fri 22:00-02:00` (ends the next morning), `daily 03:00-03:30`. A window runs from the first
//! instant that the wall shows its start to the last that it shows its end: on the night when an hour comes twice, a window
//! that begins or ends in it covers both; on the night when an hour is missing, what would begin in it begins after it.

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc, Weekday,
};
use chrono_tz::Europe::Stockholm;

/// A window that comes back every week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Whether it begins on the day, Monday first.
    days: [bool; 7],
    start: NaiveTime,
    /// `None`: midnight at the end of the day.
    end: Option<NaiveTime>,
    text: String,
}

/// What a window looks like, for whoever wrote another.
pub const FORM: &str = "a window is a day, days or daily, and two times: \"Sun 01:00-05:00\", \"Mon-Fri 22:00-02:00\", \"daily 03:00-03:30\"";

impl Window {
    /// `None` where it is not of [`FORM`], or empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (days, times) = text.trim().split_once(' ')?;
        let (start, end) = times.trim().split_once('-')?;
        let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5);
        let start = time(start)?;
        let end = if end == "24:00" { None } else { Some(time(end)?) };
        (Some(start) != end).then_some(Self { days: parse_days(days)?, start, end, text: text.trim().to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The end of the window that `now` lies in; `None` outside.
    pub fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&Stockholm).date_naive();
        // One that began yesterday may still be open.
        let begins = [today.checked_sub_days(Days::new(1)), Some(today)];
        let spans = begins.into_iter().flatten().filter_map(|day| self.span(day));
        spans.filter(|(start, end)| *start <= now && now < *end).map(|(_, end)| end).max()
    }

    /// The window that begins on that day, as instants.
    fn span(&self, day: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        if !*self.days.get(day.weekday().num_days_from_monday() as usize)? {
            return None;
        }
        let next = day.checked_add_days(Days::new(1))?;
        let end = match self.end {
            None => next.and_time(NaiveTime::MIN),
            Some(end) if end <= self.start => next.and_time(end),
            Some(end) => day.and_time(end),
        };
        Some((first(day.and_time(self.start))?, last(end)?))
    }
}

/// The end of the last of these windows that `now` lies in.
pub fn until(windows: &[Window], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    windows.iter().filter_map(|window| window.until(now)).max()
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    if text == "daily" {
        return Some([true; 7]);
    }
    let day = |text: &str| text.parse::<Weekday>().ok().filter(|_| text.len() == 3);
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (day(from)?, day(to)?),
        None => (day(text)?, day(text)?),
    };
    let mut at = from;
    loop {
        *days.get_mut(at.num_days_from_monday() as usize)? = true;
        if at == to {
            return Some(days);
        }
        at = at.succ();
    }
}

/// The first instant at which the wall shows this time, or the end of the gap that swallowed it.
fn first(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match Stockholm.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.to_utc()),
        LocalResult::None => after_gap(local),
    }
}

fn last(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match Stockholm.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => Some(at.to_utc()),
        LocalResult::None => after_gap(local),
    }
}

/// The hour that is missing in spring ends on the next full hour.
fn after_gap(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let full = local.date().and_hms_opt(chrono::Timelike::hour(&local), 0, 0)?;
    Stockholm.from_local_datetime(&full.checked_add_signed(TimeDelta::hours(1))?).earliest().map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        format!("{text}:00Z").parse().unwrap()
    }

    fn until_of(window: &str, now: &str) -> Option<String> {
        let until = Window::parse(window).unwrap().until(utc(now))?;
        Some(until.format("%Y-%m-%dT%H:%M").to_string())
    }

    #[test]
    fn a_window_is_by_the_clock_on_the_wall_in_sweden() {
        for (window, now, until) in [
            // Summer time is two hours ahead, winter time one.
            ("Sun 01:00-05:00", "2026-07-04T22:59", None),
            ("Sun 01:00-05:00", "2026-07-04T23:00", Some("2026-07-05T03:00")),
            ("Sun 01:00-05:00", "2026-07-05T02:59", Some("2026-07-05T03:00")),
            ("Sun 01:00-05:00", "2026-07-05T03:00", None),
            ("Sun 01:00-05:00", "2026-12-06T00:00", Some("2026-12-06T04:00")),
            ("Sun 01:00-05:00", "2026-12-07T00:30", None),
            // Over midnight, also from one week into the next.
            ("Mon-Fri 22:00-02:00", "2026-12-04T22:30", Some("2026-12-05T01:00")),
            ("Mon-Fri 22:00-02:00", "2026-12-05T00:30", Some("2026-12-05T01:00")),
            ("Mon-Fri 22:00-02:00", "2026-12-06T00:30", None),
            ("Sat-Mon 00:00-24:00", "2026-12-07T12:00", Some("2026-12-07T23:00")),
            ("Sat-Mon 00:00-24:00", "2026-12-08T12:00", None),
            ("daily 23:30-00:30", "2026-12-31T23:00", Some("2026-12-31T23:30")),
        ] {
            assert_eq!(until_of(window, now).as_deref(), until, "{window} at {now}");
        }
    }

    #[test]
    fn the_night_when_an_hour_comes_twice_makes_a_window_longer_and_never_opens_it_in_between() {
        // 2026-10-25: 03:00 becomes 02:00 again at 01:00 UTC.
        for (window, now, until) in [
            ("Sun 01:00-05:00", "2026-10-24T23:00", Some("2026-10-25T04:00")),
            ("Sun 01:00-05:00", "2026-10-25T03:59", Some("2026-10-25T04:00")),
            ("Sun 01:00-02:30", "2026-10-25T00:45", Some("2026-10-25T01:30")),
            ("Sun 01:00-02:30", "2026-10-25T01:29", Some("2026-10-25T01:30")),
            ("Sun 01:00-02:30", "2026-10-25T01:30", None),
            ("Sun 02:30-03:30", "2026-10-25T00:29", None),
            ("Sun 02:30-03:30", "2026-10-25T00:30", Some("2026-10-25T02:30")),
            ("Sun 02:30-03:30", "2026-10-25T01:15", Some("2026-10-25T02:30")),
        ] {
            assert_eq!(until_of(window, now).as_deref(), until, "{window} at {now}");
        }
    }

    #[test]
    fn the_night_when_an_hour_is_missing_makes_a_window_shorter() {
        // 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
        for (window, now, until) in [
            ("Sun 01:00-05:00", "2026-03-29T00:00", Some("2026-03-29T03:00")),
            ("Sun 01:00-05:00", "2026-03-29T02:59", Some("2026-03-29T03:00")),
            ("Sun 02:30-04:00", "2026-03-29T00:59", None),
            ("Sun 02:30-04:00", "2026-03-29T01:00", Some("2026-03-29T02:00")),
            ("Sun 01:00-02:30", "2026-03-29T00:59", Some("2026-03-29T01:00")),
            ("Sun 01:00-02:30", "2026-03-29T01:00", None),
            ("Sun 02:00-03:00", "2026-03-29T00:59", None),
            ("Sun 02:00-03:00", "2026-03-29T01:00", None),
        ] {
            assert_eq!(until_of(window, now).as_deref(), until, "{window} at {now}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "Sun",
            "Sun 01:00",
            "01:00-05:00",
            "Sunday 01:00-05:00",
            "Sun 1:00-05:00",
            "Sun 01:00-25:00",
            "Sun 24:00-01:00",
            "Sun 01:00-01:00",
            "Mon- 01:00-02:00",
            "Sun,Mon 01:00-02:00",
            "Sun 01:00–05:00",
        ] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }

    #[test]
    fn windows_that_overlap_end_with_the_last() {
        let windows = ["daily 01:00-03:00", "Sun 02:00-05:00"].map(|text| Window::parse(text).unwrap());
        assert_eq!(until(&windows, utc("2026-12-06T01:30")), Some(utc("2026-12-06T04:00")));
        assert_eq!(until(&windows, utc("2026-12-07T01:30")), Some(utc("2026-12-07T02:00")));
        assert_eq!(until(&windows, utc("2026-12-07T12:00")), None);
    }
}
