//! The breaker of one partner: when it is in trouble its deliveries wait and one probe at a time asks whether it is back.
//!
//! ```text
//! closed ── failures in a row, or a share of the last ones ──▶ open ── time for a probe ──▶ probing
//!    ▲                                                          ▲                              │
//!    └───────────────── the partner answers ────────────────────┴── the probe fails ───────────┘
//! ```
//!
//! A delivery is never discarded here and never counted as tried without having been sent: an open breaker only says "not now".

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// When a breaker opens, and when it probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Of the last [`WINDOW`] attempts, how many per cent must fail to open it.
    pub percent: u32,
    /// Seconds until the first probe, the second …; the last one is repeated.
    pub probe_s: Vec<u64>,
}

/// Attempts that the share is taken of.
pub const WINDOW: u32 = 20;

/// What an attempt says about the partner, whatever it says about the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered, if only with a no: it is there, and it knows us.
    Answered,
    /// No connection, a timeout, an overload, or it does not accept who we are: the next one would fare the same.
    Trouble { retry_after: Option<Duration> },
    /// Nothing is known: the outcome was lost on our side.
    Unknown,
}

/// How the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Closed,
    Open { probe_at: DateTime<Utc> },
    Probing,
}

impl Standing {
    pub fn code(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::Probing => "probing",
        }
    }
}

/// What an attempt was let through as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    Free,
    Probe,
}

/// The breaker of one partner. It starts closed.
#[derive(Debug, Clone)]
pub struct Breaker {
    rule: Rule,
    standing: Standing,
    in_a_row: u32,
    /// The last attempts, the newest in the lowest bit; 1 is trouble.
    recent: u32,
    seen: u32,
    /// Probes that failed since it opened.
    probes: usize,
    /// How often it has opened since the start.
    opened: u64,
}

impl Breaker {
    pub fn new(rule: Rule) -> Self {
        Self { rule, standing: Standing::Closed, in_a_row: 0, recent: 0, seen: 0, probes: 0, opened: 0 }
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How often it has opened since the start.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// How many may go at this moment, if `many` could.
    pub fn room(&self, now: DateTime<Utc>, many: usize) -> usize {
        match self.standing {
            Standing::Closed => many,
            Standing::Open { probe_at } if now >= probe_at => many.min(1),
            Standing::Open { .. } | Standing::Probing => 0,
        }
    }

    /// Lets one attempt through, or not.
    pub fn pass(&mut self, now: DateTime<Utc>) -> Option<Pass> {
        match self.standing {
            Standing::Closed => Some(Pass::Free),
            Standing::Open { probe_at } if now >= probe_at => {
                self.standing = Standing::Probing;
                Some(Pass::Probe)
            }
            Standing::Open { .. } | Standing::Probing => None,
        }
    }

    /// What came of an attempt that was let through.
    pub fn hear(&mut self, pass: Pass, sign: Sign, now: DateTime<Utc>) {
        match (self.standing, pass, sign) {
            // Who answers is there, even where the question was asked before the breaker opened.
            (_, _, Sign::Answered) => {
                if self.standing != Standing::Closed {
                    (self.recent, self.seen) = (0, 0);
                }
                (self.standing, self.in_a_row, self.probes) = (Standing::Closed, 0, 0);
                self.remember(false);
            }
            (Standing::Closed, _, Sign::Trouble { retry_after }) => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.remember(true);
                if self.in_a_row >= self.rule.failures || self.is_share_reached() {
                    (self.opened, self.probes) = (self.opened.saturating_add(1), 0);
                    self.open(now, retry_after);
                }
            }
            (Standing::Probing, Pass::Probe, Sign::Trouble { retry_after }) => {
                self.probes = self.probes.saturating_add(1);
                self.open(now, retry_after);
            }
            (Standing::Probing, Pass::Probe, Sign::Unknown) => self.open(now, None),
            // What was sent before it opened says nothing new.
            (Standing::Open { .. } | Standing::Probing, _, Sign::Trouble { .. }) | (_, _, Sign::Unknown) => {}
        }
    }

    fn remember(&mut self, trouble: bool) {
        self.recent = (self.recent << 1 | u32::from(trouble)) & ((1 << WINDOW) - 1);
        self.seen = self.seen.saturating_add(1).min(WINDOW);
    }

    fn is_share_reached(&self) -> bool {
        self.seen == WINDOW && self.recent.count_ones() * 100 >= self.rule.percent.saturating_mul(WINDOW)
    }

    /// A partner that asks for more time than the next probe would give gets it, up to the longest time between probes.
    fn open(&mut self, now: DateTime<Utc>, retry_after: Option<Duration>) {
        let longest = self.rule.probe_s.last().copied().unwrap_or(60);
        let own = self.rule.probe_s.get(self.probes).copied().unwrap_or(longest);
        let asked = retry_after.map_or(0, |asked| asked.as_secs().min(longest));
        let wait_s = i64::try_from(own.max(asked)).unwrap_or(i64::MAX);
        let probe_at = TimeDelta::try_seconds(wait_s).and_then(|wait| now.checked_add_signed(wait)).unwrap_or(now);
        self.standing = Standing::Open { probe_at };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
    }

    fn breaker() -> Breaker {
        Breaker::new(Rule { failures: 3, percent: 80, probe_s: vec![10, 30] })
    }

    const TROUBLE: Sign = Sign::Trouble { retry_after: None };

    fn open() -> Breaker {
        let mut breaker = breaker();
        for _ in 0..3 {
            let pass = breaker.pass(at(0)).unwrap();
            breaker.hear(pass, TROUBLE, at(0));
        }
        breaker
    }

    fn probing() -> Breaker {
        let mut breaker = open();
        assert_eq!(breaker.pass(at(10)), Some(Pass::Probe));
        breaker
    }

    #[test]
    fn every_state_and_sign_has_its_successor() {
        let opened = |second| Standing::Open { probe_at: at(second) };
        let wait = |s| Sign::Trouble { retry_after: Some(Duration::from_secs(s)) };
        let two = || {
            let mut two = breaker();
            two.hear(Pass::Free, TROUBLE, at(0));
            two.hear(Pass::Free, TROUBLE, at(0));
            two
        };
        let table = [
            ("closed", breaker(), Pass::Free, Sign::Answered, Standing::Closed),
            ("closed", breaker(), Pass::Free, TROUBLE, Standing::Closed),
            ("closed", breaker(), Pass::Free, Sign::Unknown, Standing::Closed),
            ("at the brink", two(), Pass::Free, TROUBLE, opened(30)),
            ("at the brink", two(), Pass::Free, Sign::Answered, Standing::Closed),
            ("at the brink", two(), Pass::Free, Sign::Unknown, Standing::Closed),
            ("asked to wait", two(), Pass::Free, wait(25), opened(45)),
            ("asked to wait too long", two(), Pass::Free, wait(9_999), opened(50)),
            ("open", open(), Pass::Free, TROUBLE, opened(10)),
            ("open", open(), Pass::Free, Sign::Unknown, opened(10)),
            ("open", open(), Pass::Free, Sign::Answered, Standing::Closed),
            ("probing", probing(), Pass::Probe, Sign::Answered, Standing::Closed),
            ("probing", probing(), Pass::Free, Sign::Answered, Standing::Closed),
            ("probing", probing(), Pass::Probe, TROUBLE, opened(50)),
            ("probing", probing(), Pass::Probe, Sign::Unknown, opened(30)),
            ("probing", probing(), Pass::Free, TROUBLE, Standing::Probing),
            ("probing", probing(), Pass::Free, Sign::Unknown, Standing::Probing),
        ];
        for (name, mut breaker, pass, sign, expected) in table {
            breaker.hear(pass, sign, at(20));
            assert_eq!(breaker.standing(), expected, "{name}, {pass:?}, {sign:?}");
        }
    }

    #[test]
    fn an_open_breaker_lets_one_probe_through_when_its_time_has_come() {
        let mut breaker = open();
        assert_eq!((breaker.room(at(9), 4), breaker.pass(at(9))), (0, None));
        assert_eq!(breaker.room(at(10), 4), 1);
        assert_eq!(breaker.pass(at(10)), Some(Pass::Probe));
        assert_eq!((breaker.room(at(99), 4), breaker.pass(at(99))), (0, None), "one at a time");
        breaker.hear(Pass::Probe, Sign::Answered, at(11));
        assert_eq!((breaker.room(at(11), 4), breaker.opened()), (4, 1));
    }

    #[test]
    fn a_partner_that_fails_four_times_in_five_opens_it_though_never_three_in_a_row() {
        let mut breaker = Breaker::new(Rule { failures: 100, percent: 80, probe_s: vec![10] });
        for number in 0..WINDOW {
            assert_eq!(breaker.standing(), Standing::Closed, "after {number}");
            let sign = if number % 5 == 0 { Sign::Answered } else { TROUBLE };
            breaker.hear(Pass::Free, sign, at(0));
        }
        assert!(matches!(breaker.standing(), Standing::Open { .. }));
        breaker.hear(Pass::Probe, Sign::Answered, at(20));
        breaker.hear(Pass::Free, TROUBLE, at(21));
        assert_eq!(breaker.standing(), Standing::Closed, "what was before the probe is forgotten");
    }

    #[test]
    fn probes_that_fail_come_less_often_and_the_last_wait_is_repeated() {
        let mut breaker = open();
        let mut now = at(10);
        for wait in [30, 30, 30] {
            let pass = breaker.pass(now).unwrap();
            breaker.hear(pass, TROUBLE, now);
            let Standing::Open { probe_at } = breaker.standing() else { panic!("{:?}", breaker.standing()) };
            assert_eq!((probe_at - now).num_seconds(), wait);
            now = probe_at;
        }
    }
}
