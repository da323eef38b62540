//! Figures for Prometheus, in the OpenMetrics text format. Labels have bounds: kinds, classes, codes, route templates and
//! configured partners; never an id, never anything that a caller wrote.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::store::Meter;

/// The media type of what [`Figures::write`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: from an answer out of memory to one that waited for a slow partner.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The names of labels are code, their values a short list each.
type Labels<const N: usize> = [(&'static str, String); N];
type Counters = Family<Vec<(&'static str, String)>, Counter>;
type Times = Family<Vec<(&'static str, String)>, Histogram, fn() -> Histogram>;
type Levels = Family<Vec<(&'static str, String)>, Gauge>;

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn labels<const N: usize>(labels: Labels<N>) -> Vec<(&'static str, String)> {
    labels.into()
}

/// One request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    pub method: &'a str,
    /// The template, `/v1/exchanges/{id}`; never the path.
    pub route: &'a str,
    pub status: u16,
    pub took: Duration,
}

/// One attempt to deliver.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    pub partner: &'a str,
    pub class: &'a str,
    pub took: Duration,
}

/// What is counted while the gateway runs.
pub struct Figures {
    registry: Registry,
    requests: Times,
    documents: Counters,
    findings: Counters,
    attempts: Counters,
    attempt_times: Times,
    in_flight: Levels,
    rounds: Counters,
    answers: Counters,
    tokens: Counters,
    key_fetches: Counters,
    drop_files: Counters,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Figures {
    /// All at nought, beside those that the store keeps itself.
    pub fn new(store: &Meter) -> Self {
        let mut registry = Registry::with_prefix("vardkedja");
        let mut figures = Self {
            requests: Times::new_with_constructor(seconds),
            documents: Family::default(),
            findings: Family::default(),
            attempts: Family::default(),
            attempt_times: Times::new_with_constructor(seconds),
            in_flight: Family::default(),
            rounds: Family::default(),
            answers: Family::default(),
            tokens: Family::default(),
            key_fetches: Family::default(),
            drop_files: Family::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        let requests = figures.requests.clone();
        r.register_with_unit("http_request_duration", "Requests answered, by route template", Unit::Seconds, requests);
        r.register("documents", "Documents sent to us, by what became of them", figures.documents.clone());
        r.register("findings", "Findings in documents sent to us, by code and severity", figures.findings.clone());
        r.register("delivery_attempts", "Attempts to deliver, by what they came to", figures.attempts.clone());
        let times = figures.attempt_times.clone();
        r.register_with_unit("delivery_attempt_duration", "How long attempts to deliver took", Unit::Seconds, times);
        r.register("deliveries_in_flight", "Attempts under way", figures.in_flight.clone());
        r.register("poll_rounds", "Rounds over a partner's Tasks, by whether it could be read", figures.rounds.clone());
        r.register("answers", "Answers read from partners, by what became of them", figures.answers.clone());
        let size = store.group_size.clone();
        let tokens = figures.tokens.clone();
        r.register("token_requests", "Requests for an access token, by client and what became of them", tokens);
        let key_fetches = figures.key_fetches.clone();
        r.register("key_fetches", "Public keys asked for at an address, by what came of it", key_fetches);
        r.register("drop_files", "Files of folders, by drop and what became of them", figures.drop_files.clone());
        r.register("commit_group_size", "Commits that shared one sync of the disk", size);
        let duration = store.commit_duration.clone();
        r.register_with_unit("commit_duration", "How long a group took until it was on disk", Unit::Seconds, duration);
        r.register("commit_failures", "Groups that the disk refused: nothing was written", store.failures.clone());
        let checkpoint = store.checkpoint_duration.clone();
        r.register_with_unit("checkpoint_duration", "Moving the log into the database", Unit::Seconds, checkpoint);
        r.register("checkpoints_held_up", "Restarts of the log that a reader held up", store.checkpoints_busy.clone());
        r.register("log_pages", "Pages of the write-ahead log in use", store.log_pages.clone());
        figures.registry = registry;
        figures
    }

    pub fn served(&self, served: Served<'_>) {
        let class = format!("{}xx", served.status / 100);
        let at = labels([("method", served.method.into()), ("route", served.route.into()), ("status", class)]);
        self.requests.get_or_create(&at).observe(served.took.as_secs_f64());
    }

    /// `outcome` is `accepted`, `refused` or `failed`.
    pub fn document(&self, kind: &str, outcome: &str) {
        self.documents.get_or_create(&labels([("kind", kind.into()), ("outcome", outcome.into())])).inc();
    }

    pub fn finding(&self, code: &str, severity: &str) {
        self.findings.get_or_create(&labels([("code", code.into()), ("severity", severity.into())])).inc();
    }

    pub fn attempted(&self, attempt: Attempted<'_>) {
        let at = labels([("partner", attempt.partner.into()), ("class", attempt.class.into())]);
        self.attempts.get_or_create(&at).inc();
        let at = labels([("partner", attempt.partner.into())]);
        self.attempt_times.get_or_create(&at).observe(attempt.took.as_secs_f64());
    }

    /// Counts an attempt as under way until what is returned is dropped.
    pub fn begin_attempt(&self, partner: &str) -> InFlight {
        let gauge = self.in_flight.get_or_create_owned(&labels([("partner", partner.into())]));
        gauge.inc();
        InFlight(gauge)
    }

    /// Attempts that are under way to a partner.
    pub fn in_flight(&self, partner: &str) -> i64 {
        self.in_flight.get(&labels([("partner", partner.into())])).map_or(0, |gauge| gauge.get())
    }

    /// `client` is one of the settings or `unknown`; `result` is `granted`, `failed` or an error of RFC 6749.
    /// `result` is `taken`, `refused` or `failed`: a round that broke off.
    pub fn drop_file(&self, drop: &str, result: &str) {
        self.drop_files.get_or_create(&labels([("drop", drop.into()), ("result", result.into())])).inc();
    }

    pub fn token(&self, client: &str, result: &str) {
        self.tokens.get_or_create(&labels([("client", client.into()), ("result", result.into())])).inc();
    }

    /// `address` is one of the settings; `result` is `fetched` or `failed`.
    pub fn keys_fetched(&self, address: &str, result: &str) {
        self.key_fetches.get_or_create(&labels([("address", address.into()), ("result", result.into())])).inc();
    }

    /// One round over a partner's Tasks, and what came of the answers in it.
    pub fn round(&self, partner: &str, result: &str, answers: [(&str, usize); 3]) {
        self.rounds.get_or_create(&labels([("partner", partner.into()), ("result", result.into())])).inc();
        for (result, count) in answers.into_iter().filter(|(_, count)| *count > 0) {
            let at = labels([("partner", partner.into()), ("result", result.into())]);
            self.answers.get_or_create(&at).inc_by(count as u64);
        }
    }

    /// All of it as text, with what was looked up for this one scrape.
    pub fn write(&self, seen: &Seen) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &seen.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// An attempt that is under way.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is not counted but looked up at every scrape. Ages are seconds, 0 where nothing waits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub ready: bool,
    pub draining: bool,
    pub started_at_s: i64,
    pub waiting_commits: usize,
    pub partners: Vec<SeenPartner>,
    pub held: u32,
    pub log_bytes: u64,
    pub database_bytes: u64,
    pub free_bytes: u64,
    pub backup_at_s: i64,
    pub loops: Vec<SeenLoop>,
}

/// Open loops of a step of which so much was told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenLoop {
    pub step: &'static str,
    /// 0: not overdue.
    pub level: u8,
    pub count: u32,
    pub age_s: i64,
}

/// What waits for one partner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenPartner {
    pub name: String,
    pub waiting: u32,
    pub waiting_age_s: i64,
    pub parked: u32,
    pub parked_age_s: i64,
}

impl Seen {
    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("vardkedja");
        let r = &mut registry;
        let mut one = |name: &str, help: &str, unit: Option<Unit>, value: i64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            match unit {
                Some(unit) => r.register_with_unit(name, help, unit, gauge),
                None => r.register(name, help, gauge),
            }
        };
        let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let oldest = self.partners.iter().map(|p| p.waiting_age_s.max(p.parked_age_s)).max().unwrap_or(0);
        one("ready", "1 where documents are taken", None, i64::from(self.ready));
        one("draining", "1 where the gateway is about to stop", None, i64::from(self.draining));
        one("start_time", "When the gateway started, since 1970", Some(Unit::Seconds), self.started_at_s);
        let waiting = i64::try_from(self.waiting_commits).unwrap_or(i64::MAX);
        one("store_queue_depth", "Commits that wait for the disk", None, waiting);
        one("oldest_undelivered", "Age of the oldest delivery that waits or is parked", Some(Unit::Seconds), oldest);
        one(
            "answers_held",
            "Answers of partners that could not be applied, counted up to 1000",
            None,
            i64::from(self.held),
        );
        one("log", "Size of the write-ahead log", Some(Unit::Bytes), bytes(self.log_bytes));
        one("database", "Size of the database without its log", Some(Unit::Bytes), bytes(self.database_bytes));
        one("disk_free", "Room left on the database's disk", Some(Unit::Bytes), bytes(self.free_bytes));
        let help = "When the newest backup was made, since 1970; 0 where none is known";
        one("backup_time", help, Some(Unit::Seconds), self.backup_at_s);
        self.register_partners(r);
        self.register_loops(r);
        registry
    }

    fn register_loops(&self, registry: &mut Registry) {
        let (open, overdue) = (Levels::default(), Levels::default());
        for seen in &self.loops {
            open.get_or_create(&labels([("step", seen.step.into())])).inc_by(i64::from(seen.count));
            if seen.level > 0 {
                let at = labels([("step", seen.step.into()), ("level", seen.level.to_string())]);
                overdue.get_or_create(&at).set(i64::from(seen.count));
            }
        }
        let oldest: Gauge = Gauge::default();
        oldest.set(self.loops.iter().map(|seen| seen.age_s).max().unwrap_or(0));
        registry.register("open_loops", "Steps that somebody waits for, counted up to 100 000", open);
        registry.register("overdue_loops", "Those that were told to be overdue, by the level that was told", overdue);
        registry.register_with_unit(
            "oldest_open_loop",
            "Since when the oldest of them is waited for",
            Unit::Seconds,
            oldest,
        );
    }

    fn register_partners(&self, registry: &mut Registry) {
        let family = |value: fn(&SeenPartner) -> i64| {
            let levels = Levels::default();
            for partner in &self.partners {
                levels.get_or_create(&labels([("partner", partner.name.clone())])).set(value(partner));
            }
            levels
        };
        let waiting = family(|p| i64::from(p.waiting));
        registry.register("deliveries_waiting", "Deliveries to be sent, counted up to 100 000", waiting);
        let age = family(|p| p.waiting_age_s);
        registry.register_with_unit("queue_age", "Age of the oldest delivery to be sent", Unit::Seconds, age);
        let parked = family(|p| i64::from(p.parked));
        registry.register("deliveries_parked", "Deliveries that wait for a person, counted up to 100 000", parked);
        let age = family(|p| p.parked_age_s);
        registry.register_with_unit(
            "parked_age",
            "Age of the oldest delivery that waits for a person",
            Unit::Seconds,
            age,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_help_a_prefix_and_labels_with_bounds() {
        let figures = Figures::new(&Meter::default());
        figures.served(Served {
            method: "GET",
            route: "/v1/exchanges/{id}",
            status: 404,
            took: Duration::from_millis(3),
        });
        figures.document("referral", "accepted");
        figures.finding("code-invalid", "error");
        figures.attempted(Attempted { partner: "north", class: "transient", took: Duration::from_secs(2) });
        figures.round("north", "read", [("applied", 2), ("held", 0), ("left", 1)]);
        let flying = figures.begin_attempt("north");
        let partners =
            vec![SeenPartner { name: "north".into(), waiting: 3, waiting_age_s: 70, parked: 1, parked_age_s: 90 }];
        let text = figures.write(&Seen { ready: true, partners, ..Seen::default() }).unwrap();
        for line in [
            r#"vardkedja_http_request_duration_seconds_bucket{le="0.005",method="GET",route="/v1/exchanges/{id}",status="4xx"} 1"#,
            r#"vardkedja_documents_total{kind="referral",outcome="accepted"} 1"#,
            r#"vardkedja_findings_total{code="code-invalid",severity="error"} 1"#,
            r#"vardkedja_delivery_attempts_total{partner="north",class="transient"} 1"#,
            r#"vardkedja_delivery_attempt_duration_seconds_bucket{le="2.5",partner="north"} 1"#,
            r#"vardkedja_deliveries_in_flight{partner="north"} 1"#,
            r#"vardkedja_answers_total{partner="north",result="applied"} 2"#,
            r#"vardkedja_queue_age_seconds{partner="north"} 70"#,
            r#"vardkedja_deliveries_parked{partner="north"} 1"#,
            "vardkedja_oldest_undelivered_seconds 90",
            "vardkedja_ready 1",
            "vardkedja_commit_group_size_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let named = text.lines().filter(|l| l.starts_with("# TYPE")).count();
        assert_eq!(named, text.lines().filter(|l| l.starts_with("# HELP")).count());
        assert!(text.ends_with("# EOF\n"));
        drop(flying);
        assert_eq!(figures.in_flight("north"), 0);
    }
}
