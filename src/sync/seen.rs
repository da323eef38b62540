//! What was last read of a partner's Tasks, so that a round asks only for what has changed. By the partner's clock, in memory:
//! after a restart everything is asked for, as it is at times anyway, so that no clock can make an answer disappear.
//!
//! A round may take long. What it asks for is what changed since the newest Task that the round *before* had read: that was
//! changed before any Task was asked for this time.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What is known of one partner.
#[derive(Debug, Default)]
pub struct Seen {
    /// Tasks that were asked for, and read if they had changed.
    known: HashSet<String>,
    /// Those of this round.
    asked: HashSet<String>,
    /// The newest `meta.lastUpdated` when the last whole round began.
    settled: Option<DateTime<Utc>>,
    /// The newest when the last whole round had ended.
    before: Option<DateTime<Utc>>,
    /// The newest of all.
    newest: Option<DateTime<Utc>>,
    /// What this round asks from.
    since: Option<DateTime<Utc>>,
    full_at: Option<DateTime<Utc>>,
    /// The server refuses `_lastUpdated`, or does not say when its Tasks changed.
    without: bool,
}

impl Seen {
    /// Begins a round. A full one forgets all: what was asked for, and what the partner's clock said then.
    pub fn begin(&mut self, now: DateTime<Utc>, overlap: Duration, full_every: Duration) {
        let since_full = self.full_at.and_then(|at| (now - at).to_std().ok());
        if since_full.is_none_or(|passed| passed >= full_every) {
            *self = Self { full_at: Some(now), ..Self::default() };
        }
        self.asked.clear();
        // A partner whose clock is ahead of ours may be set right at any time.
        let trusted = self.settled.map(|at| at.min(now));
        let overlap = TimeDelta::from_std(overlap).unwrap_or(TimeDelta::MAX);
        self.since = trusted.and_then(|at| at.checked_sub_signed(overlap)).filter(|_| !self.without);
    }

    /// From when on changes are asked for; `None`: everything is.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.since
    }

    /// Whether a change since then is all that is missing of the Task.
    pub fn knows(&self, task: &str) -> bool {
        self.known.contains(task)
    }

    /// The Task was asked for.
    pub fn asked(&mut self, task: &str) {
        self.known.insert(task.to_owned());
        self.asked.insert(task.to_owned());
    }

    /// The Task could not be read whole: next time it is asked for as it stands.
    pub fn left(&mut self, task: &str) {
        self.known.remove(task);
        self.asked.remove(task);
    }

    /// A Task was read with this `meta.lastUpdated`.
    pub fn read(&mut self, last_updated: Option<&str>) {
        let at = last_updated.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        match at {
            Some(at) => self.newest = self.newest.max(Some(at.to_utc())),
            None => self.ask_without(),
        }
    }

    /// The server cannot be asked for changes.
    pub fn ask_without(&mut self) {
        self.without = true;
        self.since = None;
    }

    /// The round is whole: every open Task was asked for.
    pub fn end(&mut self) {
        self.known = std::mem::take(&mut self.asked);
        self.settled = self.settled.max(self.before);
        self.before = self.newest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    /// One whole round that reads a Task last changed then.
    fn round(seen: &mut Seen, now: i64, changed: i64) {
        seen.begin(at(now), MINUTE, HOUR);
        seen.asked("t");
        seen.read(Some(&at(changed).to_rfc3339()));
        seen.end();
    }

    #[test]
    fn a_round_asks_from_the_newest_that_the_round_before_the_last_had_read() {
        let mut seen = Seen::default();
        round(&mut seen, 0, -500);
        round(&mut seen, 15, -10);
        seen.begin(at(30), MINUTE, HOUR);
        assert_eq!(seen.since(), Some(at(-560)), "what changed while the last round ran is asked for again");
        assert!(seen.knows("t"));
        assert!(!seen.knows("new"));
    }

    #[test]
    fn a_clock_ahead_of_ours_is_not_trusted() {
        let mut seen = Seen::default();
        round(&mut seen, 0, 1_000_000);
        round(&mut seen, 15, 1_000_000);
        seen.begin(at(30), MINUTE, HOUR);
        assert_eq!(seen.since(), Some(at(-30)));
    }

    #[test]
    fn at_times_and_when_our_own_clock_was_set_back_everything_is_asked_for() {
        for now in [3600, -1] {
            let mut seen = Seen::default();
            round(&mut seen, 0, -500);
            round(&mut seen, 15, -10);
            seen.begin(at(now), MINUTE, HOUR);
            assert_eq!((seen.since(), seen.knows("t")), (None, false), "{now}");
        }
    }

    #[test]
    fn a_task_that_was_left_is_asked_for_as_it_stands() {
        let mut seen = Seen::default();
        round(&mut seen, 0, -500);
        seen.begin(at(15), MINUTE, HOUR);
        seen.asked("t");
        seen.left("t");
        seen.end();
        assert!(!seen.knows("t"));
    }

    #[test]
    fn a_server_that_does_not_say_when_its_tasks_changed_is_asked_for_all() {
        let mut seen = Seen::default();
        round(&mut seen, 0, -500);
        round(&mut seen, 15, -10);
        seen.begin(at(30), MINUTE, HOUR);
        seen.read(None);
        seen.end();
        seen.begin(at(45), MINUTE, HOUR);
        assert_eq!(seen.since(), None);
    }
}
