//! What is due when: pure, over the local days of Sweden. The same question asked in pieces gives the same answer as asked whole,
//! so that a gateway that was down finds what it missed, once.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Europe::Stockholm;

use super::definition::{Mark, Message, Programme};

/// How a programme has gone so far, as far as its calendar depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    pub started_at: DateTime<Utc>,
    /// When the patient began to work with it.
    pub active_at: Option<DateTime<Utc>>,
    /// When cancer treatment began: no more messages, and it is to be closed.
    pub treatment_at: Option<DateTime<Utc>>,
    pub closed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due<'p> {
    Message(&'p Message),
    /// On a day, to be made before the day of the next.
    CheckIn {
        day: NaiveDate,
        next: NaiveDate,
    },
    Mark(&'p Mark),
    /// Treatment has begun.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'p> {
    pub at: DateTime<Utc>,
    pub due: Due<'p>,
}

/// The local day of a moment.
pub fn local_day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&Stockholm).date_naive()
}

/// A local time as a moment: where the clock goes back the first, where it goes forward the first that there is.
fn moment(day: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    let local = day.and_time(time);
    let found = Stockholm.from_local_datetime(&local).earliest();
    let found = found.or_else(|| Stockholm.from_local_datetime(&(local + chrono::TimeDelta::hours(1))).earliest());
    found.map(|at| at.with_timezone(&Utc))
}

const MIDNIGHT: NaiveTime = NaiveTime::MIN;

fn day_after(course: &Course, days: u32) -> Option<NaiveDate> {
    local_day(course.started_at).checked_add_days(Days::new(days.into()))
}

fn message_at(course: &Course, message: &Message) -> Option<DateTime<Utc>> {
    let Some(time) = message.time else { return Some(course.started_at) };
    // What was started late in the evening hears of day 1 the next morning, and never before the start.
    Some(moment(day_after(course, message.day)?, time)?.max(course.started_at))
}

fn mark_at(course: &Course, mark: &Mark) -> Option<DateTime<Utc>> {
    moment(day_after(course, mark.day)?, MIDNIGHT)
}

/// The first day on or after `from` that check-ins are made on.
fn check_in_from(programme: &Programme, from: NaiveDate) -> Option<NaiveDate> {
    let days = (0..7).filter_map(|days| from.checked_add_days(Days::new(days)));
    days.into_iter().find(|day| programme.check_in_days.contains(&day.weekday()))
}

/// Everything that is due after `after` (not at it) and until `until`, in order of time.
pub fn between<'p>(
    programme: &'p Programme,
    course: &Course,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<Entry<'p>> {
    let end = course.closed_at.map_or(until, |closed| until.min(closed));
    let is_due = |at: &DateTime<Utc>| *at > after && *at <= end;
    // What falls on the moment that it closed at is not due: it is over.
    let is_open = |at: &DateTime<Utc>| course.closed_at.is_none_or(|closed| *at < closed);
    let mut entries = Vec::new();
    for message in &programme.messages {
        let at = message_at(course, message).filter(is_due).filter(is_open);
        if let Some(at) = at.filter(|at| course.treatment_at.is_none_or(|treatment| *at < treatment)) {
            entries.push(Entry { at, due: Due::Message(message) });
        }
    }
    for mark in &programme.marks {
        let at = mark_at(course, mark).filter(is_due).filter(is_open);
        entries.extend(at.map(|at| Entry { at, due: Due::Mark(mark) }));
    }
    if let Some(at) = course.treatment_at.filter(is_due).filter(is_open) {
        entries.push(Entry { at, due: Due::Close });
    }
    if let Some(active) = course.active_at {
        let mut from = local_day(active.max(after));
        while let Some(day) = check_in_from(programme, from) {
            let Some((at, next)) = moment(day, MIDNIGHT).zip(day.succ_opt()) else { break };
            let Some(next) = check_in_from(programme, next) else { break };
            if at > end {
                break;
            }
            if at > active && is_due(&at) && is_open(&at) {
                entries.push(Entry { at, due: Due::CheckIn { day, next } });
            }
            from = next;
        }
    }
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// When something is due next after a moment; none once it is closed.
pub fn next(programme: &Programme, course: &Course, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // Nothing but check-ins recurs, and of those there is one within a week of the first day that they are made on.
    let from = course.active_at.map_or(after, |active| active.max(after));
    let week = between(programme, course, from, from.checked_add_days(Days::new(8))?);
    let far = after.checked_add_days(Days::new(800))?;
    let quiet = Course { active_at: None, ..*course };
    let once = between(programme, &quiet, after, far).first().map(|entry| entry.at);
    week.first().map(|entry| entry.at).into_iter().chain(once).min()
}

/// By when everything must be gone: the beginning of the local day on which the years are full.
pub fn limit(programme: &Programme, moment_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let months = Months::new(programme.limit_years.checked_mul(12)?);
    moment(local_day(moment_at).checked_add_months(months)?, MIDNIGHT)
}
