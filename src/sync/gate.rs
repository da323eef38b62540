//! The gate of each partner: how many attempts may go to it now, and why others wait.
//!
//! A partner has a breaker, a rate, maintenance windows and a number of attempts in flight, and its notices have a gate of
//! their own. Its first attempt in flight is always its own; those beside it share `[delivery] max_in_flight` with everyone,
//! of which one partner gets at most half. So however many partners are slow, each of the others can be sent to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::config::{Config, Partner};
use crate::domain::breaker::{Breaker, Pass, Sign, Standing};
use crate::domain::bucket::Bucket;
use crate::domain::delivery::{Outcome, notices_of};
use crate::domain::window::{self, Window};
use crate::store::{Room, Rooms};

/// All gates, by partner; those of notices by [`notices_of`].
#[derive(Debug)]
pub struct Gates {
    shared: usize,
    by_lane: Mutex<BTreeMap<String, Gate>>,
}

#[derive(Debug)]
struct Gate {
    breaker: Breaker,
    bucket: Option<Bucket>,
    windows: Vec<Window>,
    most: usize,
    in_flight: usize,
    /// Urgent attempts in a row.
    overtaken: usize,
    attempts: BTreeMap<&'static str, u64>,
}

/// Why a partner is not sent to at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its breaker is open: the next probe is at that time; `None`: one is under way.
    Trouble { probe_at: Option<DateTime<Utc>> },
    /// A maintenance window, and its end.
    Window { until: DateTime<Utc> },
    /// Its rate, and when the next may go.
    Rate { until: DateTime<Utc> },
    /// As many are in flight as may be.
    Full,
}

/// How one gate stands, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The partner, or [`notices_of`] it.
    pub lane: String,
    pub breaker: Standing,
    /// How often the breaker has opened since the start.
    pub opened: u64,
    /// The end of the maintenance window that it is in.
    pub window_until: Option<DateTime<Utc>>,
    pub in_flight: usize,
    /// Attempts since the start by `Outcome::class`.
    pub attempts: BTreeMap<&'static str, u64>,
}

/// One attempt that was let through; it is given back with what came of it.
#[derive(Debug)]
pub struct Ticket {
    lane: String,
    pass: Pass,
}

impl Gate {
    fn of(partner: &Partner, config: &Config, now: DateTime<Utc>) -> Self {
        Self {
            breaker: Breaker::new(config.delivery.breaker.clone()),
            bucket: partner.rate.and_then(|(per_s, burst)| Bucket::new(per_s, burst, now)),
            windows: partner.windows.clone(),
            most: partner.max_in_flight,
            in_flight: 0,
            overtaken: 0,
            attempts: BTreeMap::new(),
        }
    }

    /// Attempts that share the common bound: all but the first.
    fn shared(&self) -> usize {
        self.in_flight.saturating_sub(1)
    }

    fn room(&self, now: DateTime<Utc>, shared_left: usize, share: usize) -> usize {
        if window::until(&self.windows, now).is_some() {
            return 0;
        }
        let own = usize::from(self.in_flight == 0);
        let beside = shared_left.min(share.saturating_sub(self.shared()));
        let room = self.most.saturating_sub(self.in_flight).min(own + beside);
        let room = self.bucket.as_ref().map_or(room, |bucket| room.min(bucket.tokens(now)));
        self.breaker.room(now, room)
    }

    fn closed(&self, now: DateTime<Utc>, shared_left: usize, share: usize) -> Option<Closed> {
        if self.room(now, shared_left, share) > 0 {
            return None;
        }
        if let Some(until) = window::until(&self.windows, now) {
            return Some(Closed::Window { until });
        }
        match self.breaker.standing() {
            Standing::Open { probe_at } if probe_at > now => {
                return Some(Closed::Trouble { probe_at: Some(probe_at) });
            }
            Standing::Probing => return Some(Closed::Trouble { probe_at: None }),
            Standing::Closed | Standing::Open { .. } => {}
        }
        let until = self.bucket.as_ref().map(|bucket| bucket.next_at(now)).filter(|until| *until > now);
        Some(until.map_or(Closed::Full, |until| Closed::Rate { until }))
    }
}

impl Gates {
    /// Every gate of the configured partners, open.
    pub fn open(config: &Config, now: DateTime<Utc>) -> Self {
        let mut by_lane = BTreeMap::new();
        for partner in &config.partners {
            by_lane.insert(partner.name.clone(), Gate::of(partner, config, now));
            if partner.notice.is_some() {
                by_lane.insert(notices_of(&partner.name), Gate::of(partner, config, now));
            }
        }
        Self { shared: config.delivery.max_in_flight, by_lane: Mutex::new(by_lane) }
    }

    /// How many may go now, and where.
    pub fn rooms(&self, now: DateTime<Utc>) -> Rooms {
        self.with(|gates, left, share| {
            let room = |gate: &Gate| Room {
                most: gate.room(now, left, share),
                overtaken: gate.overtaken,
                is_probe: matches!(gate.breaker.standing(), Standing::Open { .. }),
            };
            let at: HashMap<String, Room> = gates.iter().map(|(lane, gate)| (lane.clone(), room(gate))).collect();
            let most = at.values().map(|room| room.most).sum::<usize>();
            // What is for a partner that is not configured any more is parked as soon as it is due.
            Rooms { at, elsewhere: 1, most: most.saturating_add(16) }
        })
    }

    /// Lets one attempt through, if it may go.
    pub fn pass(&self, lane: &str, urgent: bool, now: DateTime<Utc>) -> Option<Ticket> {
        self.with(|gates, left, share| {
            let Some(gate) = gates.get_mut(lane) else {
                return Some(Ticket { lane: lane.to_owned(), pass: Pass::Free });
            };
            if gate.room(now, left, share) == 0 {
                return None;
            }
            let pass = gate.breaker.pass(now)?;
            if let Some(bucket) = &mut gate.bucket {
                bucket.take(now);
            }
            gate.in_flight += 1;
            gate.overtaken = if urgent { gate.overtaken.saturating_add(1) } else { 0 };
            Some(Ticket { lane: lane.to_owned(), pass })
        })
    }

    /// Takes a ticket back; the lane, where the partner was in trouble and answers again. `None` as the outcome: what came of
    /// the attempt is not known.
    pub fn give_back(&self, ticket: &Ticket, outcome: Option<&Outcome>, now: DateTime<Utc>) -> Option<String> {
        self.with(|gates, _, _| {
            let gate = gates.get_mut(&ticket.lane)?;
            gate.in_flight = gate.in_flight.saturating_sub(1);
            if let Some(outcome) = outcome {
                *gate.attempts.entry(outcome.class()).or_default() += 1;
            }
            let before = gate.breaker.standing();
            gate.breaker.hear(ticket.pass, outcome.map_or(Sign::Unknown, Outcome::sign), now);
            let after = gate.breaker.standing();
            tell(&ticket.lane, before, after, outcome);
            (before != Standing::Closed && after == Standing::Closed).then(|| ticket.lane.clone())
        })
    }

    /// Why nothing goes there now; `None` where it may.
    pub fn closed(&self, lane: &str, now: DateTime<Utc>) -> Option<Closed> {
        self.with(|gates, left, share| gates.get(lane)?.closed(now, left, share))
    }

    /// How every gate stands.
    pub fn look(&self, now: DateTime<Utc>) -> Vec<Seen> {
        self.with(|gates, _, _| {
            let seen = |(lane, gate): (&String, &mut Gate)| Seen {
                lane: lane.clone(),
                breaker: gate.breaker.standing(),
                opened: gate.breaker.opened(),
                window_until: window::until(&gate.windows, now),
                in_flight: gate.in_flight,
                attempts: gate.attempts.clone(),
            };
            gates.iter_mut().map(seen).collect()
        })
    }

    /// `work` gets the gates, how much of the common bound is left, and how much of it one partner may have.
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Gate>, usize, usize) -> T) -> T {
        let mut gates = self.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
        let used: usize = gates.values().map(Gate::shared).sum();
        work(&mut gates, self.shared.saturating_sub(used), self.shared / 2)
    }
}

/// Whoever reads the log learns when a partner went away and when it came back, once each.
fn tell(lane: &str, before: Standing, after: Standing, outcome: Option<&Outcome>) {
    match (before, after) {
        (Standing::Closed, Standing::Open { probe_at }) => {
            let reason = outcome.and_then(Outcome::reason);
            tracing::error!(partner = lane, reason, %probe_at, "{lane} is in trouble: its deliveries wait, probes go on");
        }
        (Standing::Probing, Standing::Open { probe_at }) => {
            tracing::warn!(partner = lane, %probe_at, "{lane} is still in trouble");
        }
        (Standing::Open { .. } | Standing::Probing, Standing::Closed) => {
            tracing::info!(partner = lane, "{lane} answers again");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
    }

    fn gates(settings: &str) -> Gates {
        Gates::open(&Config::parse(settings).unwrap(), at(0))
    }

    fn partner(name: &str, more: &str) -> String {
        format!(
            "[[partner]]\nname = \"{name}\"\nchannel = \"push\"\nfhir_base = \"https://{name}.example.se\"\n{more}\n"
        )
    }

    fn fill(gates: &Gates, lane: &str) -> Vec<Ticket> {
        std::iter::from_fn(|| gates.pass(lane, false, at(0))).take(1000).collect()
    }

    fn down() -> Outcome {
        Outcome::Transient { reason: "no connection".into(), retry_after: None }
    }

    #[test]
    fn a_partner_has_at_most_what_it_may_and_half_of_what_is_shared() {
        let greedy = partner("greedy", "max_in_flight = 100");
        let gates = gates(&format!("[delivery]\nmax_in_flight = 8\n{greedy}{}", partner("small", "max_in_flight = 2")));
        assert_eq!(fill(&gates, "greedy").len(), 1 + 4);
        assert_eq!(fill(&gates, "small").len(), 2);
        assert_eq!(gates.closed("small", at(0)), Some(Closed::Full));
    }

    #[test]
    fn however_many_partners_are_slow_every_other_can_be_sent_to() {
        let slow: String = (0..20).map(|n| partner(&format!("slow{n}"), "max_in_flight = 100")).collect();
        let gates = gates(&format!("[delivery]\nmax_in_flight = 8\n{slow}{}", partner("quick", "")));
        let held: usize = (0..20).map(|n| fill(&gates, &format!("slow{n}")).len()).sum();
        assert_eq!(held, 20 + 8);
        assert_eq!(gates.rooms(at(0)).at["quick"].most, 1);
        for _ in 0..10 {
            let ticket = gates.pass("quick", false, at(0)).unwrap();
            gates.give_back(&ticket, Some(&Outcome::Delivered), at(0));
        }
    }

    #[test]
    fn a_partner_in_trouble_waits_for_one_probe_and_then_goes_on() {
        let gates = gates(&format!("[delivery]\nbreaker_failures = 3\nprobe_s = [10]\n{}", partner("north", "")));
        for _ in 0..3 {
            let ticket = gates.pass("north", false, at(0)).unwrap();
            gates.give_back(&ticket, Some(&down()), at(0));
        }
        assert!(gates.pass("north", true, at(9)).is_none());
        assert_eq!(gates.closed("north", at(9)), Some(Closed::Trouble { probe_at: Some(at(10)) }));
        let probe = gates.pass("north", false, at(10)).unwrap();
        assert_eq!(gates.closed("north", at(10)), Some(Closed::Trouble { probe_at: None }));
        gates.give_back(&probe, None, at(11));
        assert_eq!(gates.closed("north", at(12)), Some(Closed::Trouble { probe_at: Some(at(21)) }), "it is not lost");
        let probe = gates.pass("north", false, at(21)).unwrap();
        gates.give_back(&probe, Some(&Outcome::Delivered), at(21));
        assert_eq!(gates.closed("north", at(21)), None);
        let seen = &gates.look(at(21))[0];
        assert_eq!((seen.opened, seen.in_flight), (1, 0));
        assert_eq!(seen.attempts, BTreeMap::from([("transient", 3), ("delivered", 1)]));
    }

    #[test]
    fn a_rate_and_a_window_hold_a_partner_and_nobody_else() {
        let slow = partner("slow", "rate_per_s = 0.5\nburst = 2");
        let gates =
            gates(&format!("{slow}{}{}", partner("closed", "windows = [\"daily 00:00-24:00\"]"), partner("free", "")));
        assert_eq!(fill(&gates, "slow").len(), 2);
        assert_eq!(gates.closed("slow", at(1)), Some(Closed::Rate { until: at(2) }));
        assert!(gates.pass("slow", false, at(2)).is_some());
        assert!(matches!(gates.closed("closed", at(0)), Some(Closed::Window { until }) if until > at(0)));
        assert!(gates.pass("closed", true, at(0)).is_none());
        assert_eq!(fill(&gates, "free").len(), 4);
    }

    #[test]
    fn an_overload_that_names_a_time_is_waited_out() {
        let gates = gates(&format!("[delivery]\nbreaker_failures = 1\nprobe_s = [10, 300]\n{}", partner("north", "")));
        let ticket = gates.pass("north", false, at(0)).unwrap();
        let busy = Outcome::Transient { reason: "HTTP 429".into(), retry_after: Some(Duration::from_secs(60)) };
        gates.give_back(&ticket, Some(&busy), at(0));
        assert_eq!(gates.closed("north", at(0)), Some(Closed::Trouble { probe_at: Some(at(60)) }));
    }
}
