//! How fast a partner may be sent to: a bucket of tokens that fills at a rate. Pure, so that no test has to wait.

use chrono::{DateTime, TimeDelta, Utc};

/// Starts full: the first `burst` attempts go at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    per_s: f64,
    burst: f64,
    tokens: f64,
    filled_at: DateTime<Utc>,
}

impl Bucket {
    /// `None` where the rate is no positive number or the burst is nought.
    pub fn new(per_s: f64, burst: u32, now: DateTime<Utc>) -> Option<Self> {
        let burst = f64::from(burst);
        (per_s.is_finite() && per_s > 0.0 && burst >= 1.0).then_some(Self {
            per_s,
            burst,
            tokens: burst,
            filled_at: now,
        })
    }

    /// Whole tokens that are there.
    pub fn tokens(&self, now: DateTime<Utc>) -> usize {
        // Sixteen digits are enough for a rate, and not for the last of its ten thousandth tokens.
        (self.level(now) + 1e-9) as usize
    }

    /// Takes one, if one is there.
    pub fn take(&mut self, now: DateTime<Utc>) -> bool {
        if self.tokens(now) == 0 {
            return false;
        }
        self.tokens = (self.level(now) - 1.0).max(0.0);
        self.filled_at = self.filled_at.max(now);
        true
    }

    /// Puts one back that was taken for nothing.
    pub fn give_back(&mut self, now: DateTime<Utc>) {
        self.tokens = (self.level(now) + 1.0).min(self.burst);
        self.filled_at = self.filled_at.max(now);
    }

    /// Whether nothing is missing.
    pub fn is_full(&self, now: DateTime<Utc>) -> bool {
        self.level(now) + 1e-9 >= self.burst
    }

    /// When a token is there.
    pub fn next_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.tokens(now) > 0 {
            return now;
        }
        let wait_ms = ((1.0 - self.level(now)) / self.per_s * 1000.0).ceil().min(1e12) as i64;
        now.checked_add_signed(TimeDelta::milliseconds(wait_ms)).unwrap_or(now)
    }

    /// A clock that goes back fills nothing and takes nothing away.
    fn level(&self, now: DateTime<Utc>) -> f64 {
        let passed_s = (now - self.filled_at).num_milliseconds().max(0) as f64 / 1000.0;
        (self.tokens + passed_s * self.per_s).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_790_000_000_000 + ms).unwrap()
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(2.0, 3, at(0)).unwrap();
        let sent = (0..10_000).filter(|ms| bucket.take(at(*ms))).count();
        assert_eq!(
            sent,
            3 + 19,
            "three at once, then two a second; the twentieth is due when the tenth second is over"
        );
    }

    #[test]
    fn it_says_when_the_next_may_go_and_not_a_millisecond_before() {
        for per_s in [0.1, 0.5, 1.0, 3.0, 7.0, 250.0] {
            let mut bucket = Bucket::new(per_s, 1, at(0)).unwrap();
            let mut now = at(0);
            for _ in 0..50 {
                assert!(bucket.take(now), "{per_s}");
                let next = bucket.next_at(now);
                assert!(next > now && !bucket.clone().take(next - TimeDelta::milliseconds(1)), "{per_s}");
                now = next;
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut bucket = Bucket::new(1.0, 1, at(0)).unwrap();
        assert!(bucket.take(at(5000)));
        assert!(!bucket.take(at(0)));
        assert!(!bucket.take(at(5500)));
        assert!(bucket.take(at(6000)));
    }

    #[test]
    fn a_rate_that_lets_nothing_through_is_none() {
        assert!([0.0, -1.0, f64::NAN, f64::INFINITY].iter().all(|rate| Bucket::new(*rate, 1, at(0)).is_none()));
        assert!(Bucket::new(1.0, 0, at(0)).is_none());
    }
}
