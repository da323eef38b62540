//! How many attempts to get a token are let in before it is proved who is asking: from one source, and from all together.
//!
//! An attempt takes its place when it comes and gives it back when the client has proved who it is; so what is bounded is what
//! fails, and what is not decided yet. A client that has lately proved itself from the same source has places of its own
//! there: whoever else comes through the same proxy does not use them up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::bucket::Bucket;

/// Sources, and clients at a source, that are told apart; beyond that strangers share one place.
const MOST: usize = 10_000;
/// How long a client that has proved itself is known at its source.
const KNOWN: TimeDelta = TimeDelta::hours(24);
/// Whoever is not told apart any more.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Attempts in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub of_source: u32,
    pub of_all: u32,
}

/// One for the whole server.
#[derive(Debug, Default)]
pub struct Attempts {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: Option<Bucket>,
    sources: HashMap<IpAddr, Bucket>,
    known: HashMap<(IpAddr, String), Known>,
}

#[derive(Debug)]
struct Known {
    bucket: Bucket,
    proved_at: DateTime<Utc>,
}

/// An attempt that was let in.
#[derive(Debug, Clone)]
pub struct Attempt {
    source: IpAddr,
    /// The client that it names.
    client: Option<String>,
    /// It has a place of that client's own.
    is_known: bool,
}

/// Too many have failed: when the next may come, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub u32);

/// An address of IPv6 is one of many that its network has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn bucket(per_minute: u32, now: DateTime<Utc>) -> Option<Bucket> {
    Bucket::new(f64::from(per_minute) / 60.0, per_minute, now)
}

impl Attempts {
    /// Lets an attempt in. `client` is whom it names; nobody knows yet whether it is that.
    pub fn begin(
        &self,
        bounds: Bounds,
        address: IpAddr,
        client: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Attempt, TooMany> {
        let source = network(address);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let client = client.map(str::to_owned);
        if let Some(name) = &client
            && let Some(known) = inner.known.get_mut(&(source, name.clone()))
            && now - known.proved_at < KNOWN
        {
            return match known.bucket.take(now) {
                true => Ok(Attempt { source, client, is_known: true }),
                false => Err(wait(&known.bucket, now)),
            };
        }
        let source = inner.place_of(source, now);
        let Inner { all, sources, .. } = &mut *inner;
        let (Some(new), Some(new_all)) = (bucket(bounds.of_source, now), bucket(bounds.of_all, now)) else {
            return Err(TooMany(1));
        };
        let (own, all) = (sources.entry(source).or_insert(new), all.get_or_insert(new_all));
        if own.tokens(now) == 0 {
            return Err(wait(own, now));
        }
        if !all.take(now) {
            return Err(wait(all, now));
        }
        own.take(now);
        Ok(Attempt { source, client, is_known: false })
    }

    /// The client has proved who it is, whatever it was answered.
    pub fn proved(&self, bounds: Bounds, attempt: &Attempt, now: DateTime<Utc>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = &attempt.client else { return };
        let key = (attempt.source, client.clone());
        if attempt.is_known {
            if let Some(known) = inner.known.get_mut(&key) {
                known.bucket.give_back(now);
                known.proved_at = now;
            }
            return;
        }
        if let Some(all) = &mut inner.all {
            all.give_back(now);
        }
        if let Some(own) = inner.sources.get_mut(&attempt.source) {
            own.give_back(now);
        }
        if inner.known.len() >= MOST {
            inner.known.retain(|_, known| now - known.proved_at < KNOWN);
        }
        if attempt.source != OTHERS
            && inner.known.len() < MOST
            && let Some(bucket) = bucket(bounds.of_source, now)
        {
            inner.known.insert(key, Known { bucket, proved_at: now });
        }
    }
}

impl Inner {
    /// The source, as long as so many can be told apart.
    fn place_of(&mut self, source: IpAddr, now: DateTime<Utc>) -> IpAddr {
        if self.sources.len() >= MOST && !self.sources.contains_key(&source) {
            self.sources.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.sources.len() >= MOST && !self.sources.contains_key(&source) { OTHERS } else { source }
    }
}

fn wait(bucket: &Bucket, now: DateTime<Utc>) -> TooMany {
    let seconds = (bucket.next_at(now) - now).num_milliseconds().div_euclid(1000) + 1;
    TooMany(u32::try_from(seconds).unwrap_or(60).clamp(1, 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { of_source: 3, of_all: 10 };

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + s, 0).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_fails_or_is_not_decided_is_bounded_and_what_is_proved_is_not() {
        let attempts = Attempts::default();
        for _ in 0..50 {
            let one = attempts.begin(BOUNDS, ip("192.0.2.1"), Some("good"), at(0)).unwrap();
            attempts.proved(BOUNDS, &one, at(0));
        }
        let stranger = |s| attempts.begin(BOUNDS, ip("192.0.2.1"), None, at(s));
        assert!((0..3).all(|_| stranger(0).is_ok()));
        assert_eq!(stranger(0).unwrap_err(), TooMany(21), "a third of a minute for one of three");
        assert!(attempts.begin(BOUNDS, ip("192.0.2.1"), Some("new"), at(0)).is_err(), "not known there");
        assert!(attempts.begin(BOUNDS, ip("192.0.2.1"), Some("good"), at(0)).is_ok(), "known there");
        assert!(attempts.begin(BOUNDS, ip("192.0.2.2"), Some("good"), at(0)).is_ok(), "another source");
        assert!(stranger(21).is_ok());
    }

    #[test]
    fn who_is_named_and_does_not_prove_it_uses_up_that_clients_places_and_no_other() {
        let attempts = Attempts::default();
        let source = ip("192.0.2.1");
        for client in ["a", "b"] {
            let one = attempts.begin(BOUNDS, source, Some(client), at(0)).unwrap();
            attempts.proved(BOUNDS, &one, at(0));
        }
        assert_eq!((0..9).filter(|_| attempts.begin(BOUNDS, source, Some("a"), at(0)).is_ok()).count(), 3);
        assert!(attempts.begin(BOUNDS, source, Some("b"), at(0)).is_ok());
        assert!(attempts.begin(BOUNDS, source, None, at(0)).is_ok());
        assert!(attempts.begin(BOUNDS, source, Some("a"), at(30)).is_ok(), "with time they come back");
        for _ in 0..3 {
            let _ = attempts.begin(BOUNDS, source, None, at(90_000));
        }
        assert!(attempts.begin(BOUNDS, source, Some("b"), at(90_000)).is_err(), "a day later nobody is known");
    }

    #[test]
    fn many_sources_are_bounded_together_and_a_network_of_ipv6_is_one() {
        let attempts = Attempts::default();
        let from = |n: u32| attempts.begin(BOUNDS, ip(&format!("10.0.{}.{}", n / 256, n % 256)), None, at(0)).is_ok();
        assert_eq!((0..100).filter(|n| from(*n)).count(), 10);
        let six = |n: u32| attempts.begin(BOUNDS, ip(&format!("2001:db8::{n:x}")), None, at(120)).is_ok();
        assert_eq!((0..100).filter(|n| six(*n)).count(), 3);
    }

    #[test]
    fn what_is_remembered_of_sources_is_bounded() {
        let attempts = Attempts::default();
        let wide = Bounds { of_source: 2, of_all: 1_000_000 };
        for n in 0..20_000_u32 {
            let _ = attempts.begin(wide, IpAddr::V4(n.into()), None, at(0));
        }
        assert!(attempts.inner.lock().unwrap().sources.len() <= MOST + 1);
        assert!(attempts.begin(wide, ip("203.0.113.1"), None, at(0)).is_err(), "the others share a place");
        assert!(attempts.begin(wide, ip("203.0.113.1"), None, at(100)).is_ok());
        assert!(attempts.inner.lock().unwrap().sources.len() < 10);
    }
}
