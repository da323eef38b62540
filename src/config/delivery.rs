//! `[delivery]`: how deliveries are made, when they are tried again and when a partner is in trouble.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, check_waits, value};
use crate::domain::breaker;
use crate::domain::delivery::Schedule;

/// How deliveries are made.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    pub max_in_flight: usize,
    pub poll_every: Duration,
    pub breaker: breaker::Rule,
    pub poll_overlap: Duration,
    pub poll_full_every: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDelivery {
    pub(super) retry_s: Vec<u64>,
    give_up_after_h: u64,
    max_in_flight: usize,
    poll_s: u64,
    poll_overlap_s: u64,
    poll_full_s: u64,
    breaker_failures: u32,
    breaker_percent: u32,
    probe_s: Vec<u64>,
}

/// The delays of `key`, tried for as long as everything is.
pub(super) fn schedule(key: &str, delays: Vec<u64>, raw: &RawDelivery) -> Result<Schedule, ConfigError> {
    let patience = Duration::from_secs(raw.give_up_after_h.saturating_mul(3600));
    Schedule::new(delays, patience)
        .ok_or_else(|| value(key, "needs at least one delay, and delivery.give_up_after_h at least 192 (eight days)"))
}

pub(super) fn check(raw: &RawDelivery) -> Result<DeliverySettings, ConfigError> {
    check_waits("delivery.retry_s", &raw.retry_s)?;
    check_waits("delivery.poll_s", &[raw.poll_s])?;
    check_waits("delivery.probe_s", &raw.probe_s)?;
    let breaker = breaker_rule(raw)?;
    check_waits("delivery.poll_overlap_s", &[raw.poll_overlap_s])?;
    check_waits("delivery.poll_full_s", &[raw.poll_full_s])?;
    Ok(DeliverySettings {
        max_in_flight: raw.max_in_flight.max(1),
        poll_every: Duration::from_secs(raw.poll_s.max(1)),
        breaker,
        poll_overlap: Duration::from_secs(raw.poll_overlap_s),
        poll_full_every: Duration::from_secs(raw.poll_full_s),
    })
}

fn breaker_rule(raw: &RawDelivery) -> Result<breaker::Rule, ConfigError> {
    if raw.breaker_failures == 0 {
        return Err(value("delivery.breaker_failures", "must be at least 1"));
    }
    if raw.breaker_percent == 0 || raw.breaker_percent > 100 {
        return Err(value("delivery.breaker_percent", "is from 1 to 100"));
    }
    if raw.probe_s.is_empty() || raw.probe_s.contains(&0) {
        return Err(value("delivery.probe_s", "needs at least one time, and each at least 1"));
    }
    Ok(breaker::Rule { failures: raw.breaker_failures, percent: raw.breaker_percent, probe_s: raw.probe_s.clone() })
}
