//! How many requests of one caller are let in: so many at once, so many in a second. One caller that runs wild costs the
//! others nothing, and is told when to come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::super::problem::Problem;
use crate::config::Limits;

/// When a caller that was refused should come back, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// One for the whole server. Callers are those who were admitted, so their number is that of units and partners.
pub struct Turnstile {
    most_at_once: usize,
    rate_per_s: f64,
    callers: Mutex<HashMap<String, Gate>>,
}

/// What is known of one caller.
struct Gate {
    at_once: usize,
    /// Requests it may make now, at `at`; grows with time up to one second's worth.
    left: f64,
    at: Instant,
}

/// One request that was let in; the place is free again when this is dropped.
pub struct Pass {
    turnstile: Arc<Turnstile>,
    caller: String,
}

impl Turnstile {
    pub fn new(limits: &Limits) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most a million")]
        let rate_per_s = limits.rate_per_s as f64;
        Self { most_at_once: limits.in_flight, rate_per_s, callers: Mutex::default() }
    }

    /// Lets a request in, or says 429 with Retry-After.
    pub fn enter(self: &Arc<Self>, caller: &str, now: Instant) -> Result<Pass, Problem> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Gate { at_once: 0, left: self.rate_per_s, at: now };
        let gate = callers.entry(caller.to_owned()).or_insert_with(new);
        gate.left = (gate.left + now.duration_since(gate.at).as_secs_f64() * self.rate_per_s).min(self.rate_per_s);
        gate.at = now;
        if gate.at_once >= self.most_at_once {
            return Err(Problem::too_many("limits.in_flight", RETRY_AFTER_S));
        }
        if gate.left < 1.0 {
            return Err(Problem::too_many("limits.rate_per_s", RETRY_AFTER_S));
        }
        gate.left -= 1.0;
        gate.at_once += 1;
        Ok(Pass { turnstile: Arc::clone(self), caller: caller.to_owned() })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut callers = self.turnstile.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = callers.get_mut(&self.caller) {
            gate.at_once = gate.at_once.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn turnstile(most_at_once: usize, rate_per_s: f64) -> Arc<Turnstile> {
        Arc::new(Turnstile { most_at_once, rate_per_s, callers: Mutex::default() })
    }

    #[test]
    fn a_caller_has_so_many_requests_at_once_and_others_have_their_own() {
        let (turnstile, now) = (turnstile(2, 100.0), Instant::now());
        let first = turnstile.enter("a", now).unwrap_or_else(|_| panic!("the first is let in"));
        let _second = turnstile.enter("a", now).unwrap_or_else(|_| panic!("so is the second"));
        assert!(turnstile.enter("a", now).is_err());
        assert!(turnstile.enter("b", now).is_ok());
        drop(first);
        assert!(turnstile.enter("a", now).is_ok(), "a place that is free is given again");
    }

    #[test]
    fn a_caller_has_so_many_requests_a_second_and_one_second_of_them_saved_up() {
        let (turnstile, start) = (turnstile(100, 10.0), Instant::now());
        let let_in = |now: Instant| (0..50).take_while(|_| turnstile.enter("a", now).is_ok()).count();
        assert_eq!(let_in(start), 10);
        assert_eq!(let_in(start + Duration::from_millis(500)), 5);
        assert_eq!(let_in(start + Duration::from_secs(60)), 10, "an hour of rest is no hour of requests");
    }
}
