//! What an attempt to deliver came to, and what follows from it. Pure: the clock and the dice are handed in.

use std::time::Duration;

use super::breaker::Sign;

/// The state of a stored delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// To be sent when it is due and nothing before it in its lane remains.
    Waiting,
    Delivered,
    /// Waits for a person, and holds its successors for the same patient and partner.
    Parked,
    /// A named person decided that it shall not be sent.
    Skipped,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Delivered, Self::Parked, Self::Skipped];

    pub fn code(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Parked => "parked",
            Self::Skipped => "skipped",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.code() == code)
    }
}

/// What the lane of a partner's notices is called in place of the partner: its queue, room, rate and breaker are its own, so
/// that a deaf notice address holds up no document.
pub fn notices_of(partner: &str) -> String {
    format!("{partner}{NOTICES}")
}

/// The partner of a lane, and whether the lane is that of its notices.
pub fn partner_of(lane: &str) -> (&str, bool) {
    lane.strip_suffix(NOTICES).map_or((lane, false), |partner| (partner, true))
}

/// What no partner's name may have in it.
pub const NOTICES: &str = "#notices";

/// What one attempt came to, classified by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// Worth trying again: no connection, timeout, 408, 425, 429, 5xx, an answer that cannot be read.
    Transient {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// 401 or 403: the partner does not accept who we are.
    Unauthorized {
        reason: String,
    },
    /// 409 or 412: the partner's data are not as we believe, for instance several matches.
    Conflict {
        reason: String,
    },
    /// The partner will never take these bytes: other 4xx, or an OperationOutcome of errors.
    Permanent {
        reason: String,
    },
    /// Nothing was sent: the partner's address is one that the gateway does not connect to.
    Barred {
        reason: String,
    },
}

/// The words for what an attempt came to, as the database, the API and metrics have them.
pub const CLASSES: [&str; 6] = ["delivered", "transient", "unauthorized", "conflict", "permanent", "barred"];

impl Outcome {
    /// The word used in the database, in the API and in metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Transient { .. } => "transient",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Conflict { .. } => "conflict",
            Self::Permanent { .. } => "permanent",
            Self::Barred { .. } => "barred",
        }
    }

    /// What it says about the partner, whatever it says about the document.
    pub fn sign(&self) -> Sign {
        match self {
            Self::Delivered | Self::Conflict { .. } | Self::Permanent { .. } => Sign::Answered,
            Self::Transient { retry_after, .. } => Sign::Trouble { retry_after: *retry_after },
            // The next one would be parked just the same: better that it waits than that a person has to mend each.
            Self::Unauthorized { .. } | Self::Barred { .. } => Sign::Trouble { retry_after: None },
        }
    }

    /// What went wrong, without anything of the document.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Transient { reason, .. }
            | Self::Unauthorized { reason }
            | Self::Conflict { reason }
            | Self::Permanent { reason }
            | Self::Barred { reason } => Some(reason),
        }
    }
}

/// When to try again: delays in seconds, the last one repeated until `give_up_after` has passed since the first attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    delays_s: Vec<u64>,
    give_up_after: Duration,
}

/// Eight days: a long weekend and a broken certificate must not lose a referral.
pub const LEAST_PATIENCE: Duration = Duration::from_secs(8 * 24 * 3600);

impl Schedule {
    /// `None` where the schedule is empty or gives up before eight days have passed.
    pub fn new(delays_s: Vec<u64>, give_up_after: Duration) -> Option<Self> {
        (!delays_s.is_empty() && give_up_after >= LEAST_PATIENCE).then_some(Self { delays_s, give_up_after })
    }

    /// The delay after `attempts` failed ones, spread by `dice` in 0..1 to ±20 %, or what the partner asked for if that is longer
    /// (but at most a day).
    fn delay(&self, attempts: u32, dice: f64, retry_after: Option<Duration>) -> Duration {
        let index = (attempts.saturating_sub(1) as usize).min(self.delays_s.len().saturating_sub(1));
        let base = Duration::from_secs(self.delays_s.get(index).copied().unwrap_or(60));
        let spread = base.mul_f64(0.8 + 0.4 * dice.clamp(0.0, 1.0));
        retry_after.map_or(spread, |asked| spread.max(asked.min(Duration::from_secs(24 * 3600))))
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Done,
    RetryIn(Duration),
    Park,
}

/// The one rule for every delivery: `attempts` counts this one, `waited` is the time since the first.
pub fn after(outcome: &Outcome, attempts: u32, waited: Duration, schedule: &Schedule, dice: f64) -> Next {
    match outcome {
        Outcome::Delivered => Next::Done,
        Outcome::Transient { retry_after, .. } => {
            let delay = schedule.delay(attempts, dice, *retry_after);
            if waited + delay > schedule.give_up_after { Next::Park } else { Next::RetryIn(delay) }
        }
        Outcome::Unauthorized { .. }
        | Outcome::Conflict { .. }
        | Outcome::Permanent { .. }
        | Outcome::Barred { .. } => Next::Park,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(vec![5, 300, 1800], LEAST_PATIENCE).unwrap()
    }

    fn transient(retry_after: Option<u64>) -> Outcome {
        Outcome::Transient { reason: "timeout".into(), retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn a_partner_that_is_down_is_tried_for_eight_days_and_then_parked() {
        let mut waited = Duration::ZERO;
        let mut attempts = 1;
        loop {
            match after(&transient(None), attempts, waited, &schedule(), 0.5) {
                Next::RetryIn(delay) => waited += delay,
                Next::Park => break,
                Next::Done => panic!("nothing was delivered"),
            }
            attempts += 1;
        }
        assert!(waited > LEAST_PATIENCE - Duration::from_secs(2200), "gave up after {waited:?}");
    }

    #[test]
    fn a_schedule_that_gives_up_before_eight_days_is_refused() {
        assert!(Schedule::new(vec![5], LEAST_PATIENCE - Duration::from_secs(1)).is_none());
        assert!(Schedule::new(vec![], LEAST_PATIENCE).is_none());
    }

    #[test]
    fn retry_after_is_honoured_but_bounded() {
        let next = |after_s| match after(&transient(Some(after_s)), 1, Duration::ZERO, &schedule(), 0.5) {
            Next::RetryIn(d) => d.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(next(60), 60);
        assert_eq!(next(1), 5);
        assert_eq!(next(900_000), 24 * 3600);
    }

    #[test]
    fn what_will_never_be_taken_is_parked_at_once() {
        for outcome in [
            Outcome::Unauthorized { reason: "401".into() },
            Outcome::Conflict { reason: "412".into() },
            Outcome::Permanent { reason: "422".into() },
            Outcome::Barred { reason: "link-local".into() },
        ] {
            assert_eq!(after(&outcome, 1, Duration::ZERO, &schedule(), 0.5), Next::Park);
        }
    }
}
