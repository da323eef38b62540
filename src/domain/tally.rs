//! Counts what happens again and again, so that it is told in a bounded number of lines: the first of a kind at once, the
//! rest of its window as a number.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};

/// Kinds of things, each with the window it is in.
#[derive(Debug)]
pub struct Tally<K> {
    window: TimeDelta,
    /// Kinds that are kept apart at once; what is beyond is not told one by one.
    most: usize,
    kept: HashMap<K, Counted>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    since: DateTime<Utc>,
    /// Told at once in this window.
    told: u32,
    /// Not told yet.
    untold: u64,
}

/// What is to be done about one that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Tell it, and that so many like it were not told before.
    Tell { before: u64 },
    /// It is counted.
    Later,
}

impl<K: Hash + Eq + Clone> Tally<K> {
    pub fn new(window: TimeDelta, most: usize) -> Self {
        Self { window, most, kept: HashMap::new() }
    }

    /// One more of its kind, of which `free` are told at once in a window.
    pub fn count(&mut self, kind: K, free: u32, now: DateTime<Utc>) -> Count {
        if !self.kept.contains_key(&kind) && self.kept.len() >= self.most {
            let window = self.window;
            self.kept.retain(|_, counted| counted.untold > 0 || now - counted.since < window);
            if self.kept.len() >= self.most {
                return Count::Later;
            }
        }
        let counted = self.kept.entry(kind).or_insert(Counted { since: now, told: 0, untold: 0 });
        // A clock that was set back begins a window too.
        if now - counted.since >= self.window || now < counted.since {
            *counted = Counted { since: now, told: 0, untold: counted.untold };
        }
        if counted.told >= free {
            counted.untold += 1;
            return Count::Later;
        }
        counted.told += 1;
        Count::Tell { before: std::mem::take(&mut counted.untold) }
    }

    /// What was counted in windows that are over, or in all; it is told now.
    pub fn take(&mut self, now: DateTime<Utc>, is_all: bool) -> Vec<(K, u64)> {
        let window = self.window;
        let is_over = |counted: &Counted| is_all || now - counted.since >= window || now < counted.since;
        let due = self.kept.iter().filter(|(_, counted)| is_over(counted) && counted.untold > 0);
        let due: Vec<(K, u64)> = due.map(|(kind, counted)| (kind.clone(), counted.untold)).collect();
        self.kept.retain(|_, counted| !is_over(counted));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_as_a_number() {
        let mut tally = Tally::new(TimeDelta::seconds(60), 10);
        assert_eq!(tally.count("a", 1, at(0)), Count::Tell { before: 0 });
        for second in 1..40 {
            assert_eq!(tally.count("a", 1, at(second)), Count::Later);
        }
        assert_eq!(tally.count("b", 2, at(2)), Count::Tell { before: 0 });
        assert_eq!(tally.count("b", 2, at(3)), Count::Tell { before: 0 });
        assert!(tally.take(at(59), false).is_empty());
        assert_eq!(tally.take(at(60), false), [("a", 39)]);
        assert_eq!(tally.count("a", 1, at(61)), Count::Tell { before: 0 });
    }

    #[test]
    fn what_nobody_has_taken_is_told_with_the_next() {
        let mut tally = Tally::new(TimeDelta::seconds(60), 10);
        tally.count("a", 1, at(0));
        tally.count("a", 1, at(1));
        assert_eq!(tally.count("a", 1, at(100)), Count::Tell { before: 1 });
        tally.count("a", 1, at(101));
        assert_eq!(tally.take(at(102), true), [("a", 1)]);
    }

    #[test]
    fn a_million_strangers_fill_neither_the_memory_nor_the_log() {
        let mut tally = Tally::new(TimeDelta::seconds(60), 100);
        let told = (0..1_000_000).filter(|n| tally.count(*n, 1, at(0)) != Count::Later).count();
        assert_eq!(told, 100);
        assert!(tally.kept.len() <= 100);
        assert_eq!(tally.count(7_000_000, 1, at(60)), Count::Tell { before: 0 }, "a window later there is room again");
    }
}
