//! Settings: raw TOML and environment → a checked `Config`. `config.default.toml` beside this file is the manual.
//! Long, because a key stands in it three times (as written, as checked, as tested), and that is easier to follow in one place.

mod addresses;
mod units;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::DateTime;
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use serde::Deserialize;

use crate::domain::Directory;
use crate::domain::breaker;
use crate::domain::bucket::Bucket;
use crate::domain::delivery::Schedule;
use crate::domain::outgoing::Outgoing;
use crate::domain::window::{self, Window};
use crate::fhir::bundle::Dialect;

pub use addresses::Secret;
pub use units::parse_units;

/// What the program runs on, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub db: PathBuf,
    pub hsa_id: String,
    pub name: String,
    pub base_url: String,
    pub directory: Directory,
    /// Folder of mapping tables; `None`: those inside the program.
    pub mappings: Option<PathBuf>,
    /// Folder of profiles; `None`: those inside the program.
    pub profiles: Option<PathBuf>,
    pub limits: Limits,
    /// Whether it is recorded who read what.
    pub audit_reads: bool,
    pub delivery: DeliverySettings,
    pub telemetry: Telemetry,
    /// How long a stop may take before it is made without waiting any longer.
    pub drain: Duration,
    /// How long `/health/ready` says no before connections are refused.
    pub drain_notice: Duration,
    /// Where the gateway may connect to.
    pub outgoing: Outgoing,
    pub partners: Vec<Partner>,
    /// Things that are legal but surprising, to be said at start.
    pub warnings: Vec<String>,
}

/// Bounds on what one request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: usize,
    pub depth: usize,
    pub items: usize,
    pub findings: usize,
    pub lines: usize,
    pub line_bytes: usize,
    pub patch_operations: usize,
    pub url_bytes: usize,
    pub query_parameters: usize,
    pub header_bytes: usize,
    pub key_bytes: usize,
    pub page: u32,
    pub page_max: u32,
    pub search_terms: usize,
    pub search_hops: usize,
    pub search_includes: usize,
    pub queue: usize,
    pub header_s: u64,
    pub body_s: u64,
    pub keep_alive_s: u64,
    pub connections: usize,
    pub workers: usize,
    pub in_flight: usize,
    pub rate_per_s: usize,
}

/// What is told of the gateway's running, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A level, or directives as in `RUST_LOG`.
    pub log: String,
    /// Whether each request is a line at `info`; otherwise at `debug`.
    pub requests: bool,
    pub open_to: OpenTo,
}

/// Who may read `/metrics` and `/v1/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenTo {
    /// Programs on this machine that call us directly, not through a proxy.
    Loopback,
    Any,
    Nobody,
}

/// How deliveries are made.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    pub max_in_flight: usize,
    pub poll_every: Duration,
    pub breaker: breaker::Rule,
    pub poll_overlap: Duration,
    pub poll_full_every: Duration,
}

/// How a partner gets what is meant for its units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// We send to its FHIR server, and read its Tasks for answers.
    Push { fhir_base: String },
    /// It reads from us and moves its Tasks here.
    Poll,
}

/// Where a partner's public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    File(PathBuf),
    Url(String),
}

/// A system we exchange with.
#[derive(Debug, Clone)]
pub struct Partner {
    pub name: String,
    pub channel: Channel,
    pub dialect: Dialect,
    pub keys: Option<Keys>,
    pub timeout: Duration,
    pub max_in_flight: usize,
    /// Attempts a second, and how many may go at once.
    pub rate: Option<(f64, u32)>,
    /// When nothing is sent to it.
    pub windows: Vec<Window>,
    pub notice: Option<Notice>,
    pub schedule: Schedule,
}

/// Where a partner is told that there is something for it, and the secrets that the notices are signed with.
#[derive(Debug, Clone)]
pub struct Notice {
    pub url: String,
    pub secrets: Vec<Secret>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Raw(#[source] Box<figment::Error>),
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} row {row}: {what}")]
    Units { path: String, row: usize, what: String },
    #[error("{key}: {what}")]
    Value { key: String, what: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    gateway: RawGateway,
    limits: Limits,
    audit: RawAudit,
    delivery: RawDelivery,
    telemetry: Telemetry,
    outgoing: RawOutgoing,
    #[serde(default)]
    partner: Vec<RawPartner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGateway {
    listen: String,
    db: PathBuf,
    hsa_id: String,
    name: String,
    base_url: String,
    units: PathBuf,
    mappings: PathBuf,
    profiles: PathBuf,
    drain_s: u64,
    drain_notice_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAudit {
    reads: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDelivery {
    retry_s: Vec<u64>,
    give_up_after_h: u64,
    max_in_flight: usize,
    poll_s: u64,
    poll_overlap_s: u64,
    poll_full_s: u64,
    breaker_failures: u32,
    breaker_percent: u32,
    probe_s: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutgoing {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPartner {
    name: String,
    channel: String,
    fhir_base: Option<String>,
    #[serde(default)]
    identifiers: BTreeMap<String, String>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    timeout_s: Option<u64>,
    max_in_flight: Option<usize>,
    rate_per_s: Option<f64>,
    burst: Option<u32>,
    #[serde(default)]
    windows: Vec<String>,
    notice_url: Option<String>,
    notice_secret_file: Option<PathBuf>,
    retry: Option<Vec<u64>>,
    #[serde(default)]
    contained: Vec<String>,
}

const DEFAULTS: &str = include_str!("config.default.toml");
const EXAMPLE_UNITS: &str = include_str!("units.example.csv");

impl Config {
    /// Defaults, then the file, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(path) = file {
            let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.into(), source })?;
            figment = figment.merge(Toml::string(&text));
        }
        figment = figment.merge(Env::prefixed("VARDKEDJA_").map(|key| format!("gateway.{key}").into()).split("."));
        let raw: Raw = figment.extract().map_err(|e| ConfigError::Raw(Box::new(e)))?;
        let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
        check(raw, base)
    }
}

/// The longest that anything is waited for, in seconds: seven days, less than the shortest patience with a partner.
const LONGEST_WAIT_S: u64 = 7 * 24 * 3600;
/// The most entries of a page, lines of a request, findings of an answer and commits in the queue.
const MOST: usize = 1_000_000;
/// Addresses longer than this are refused before any limit of ours is asked.
const LONGEST_URL: usize = 65_000;
const MOST_WORKERS: usize = 256;
/// An hour: longer than anybody waits for a request, in seconds.
const LONGEST_REQUEST_S: usize = 3600;

fn seconds(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn value(key: &str, what: &str) -> ConfigError {
    ConfigError::Value { key: key.into(), what: what.into() }
}

/// Each hop is a statement within a statement.
const MOST_HOPS: usize = 10;

/// A limit of nought would let nothing through; one without bound bounds nothing.
fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    let counts = [
        ("body_bytes", limits.body_bytes, usize::MAX),
        ("depth", limits.depth, usize::MAX),
        ("items", limits.items, MOST),
        ("findings", limits.findings, MOST),
        ("lines", limits.lines, MOST),
        ("line_bytes", limits.line_bytes, usize::MAX),
        ("patch_operations", limits.patch_operations, MOST),
        ("url_bytes", limits.url_bytes, LONGEST_URL),
        ("query_parameters", limits.query_parameters, MOST),
        ("header_bytes", limits.header_bytes, MOST),
        ("key_bytes", limits.key_bytes, MOST),
        ("connections", limits.connections, MOST),
        ("workers", limits.workers, MOST_WORKERS),
        ("in_flight", limits.in_flight, MOST),
        ("rate_per_s", limits.rate_per_s, MOST),
        ("header_s", seconds(limits.header_s), LONGEST_REQUEST_S),
        ("body_s", seconds(limits.body_s), LONGEST_REQUEST_S),
        ("keep_alive_s", seconds(limits.keep_alive_s), LONGEST_REQUEST_S),
        ("page", limits.page as usize, MOST),
        ("page_max", limits.page_max as usize, MOST),
        ("search_terms", limits.search_terms, MOST),
        ("search_hops", limits.search_hops, MOST),
        ("search_includes", limits.search_includes, MOST),
        ("queue", limits.queue, MOST),
    ];
    for (name, count, most) in counts {
        if count == 0 {
            return Err(value(&format!("limits.{name}"), "must be at least 1"));
        }
        if count > most {
            return Err(value(&format!("limits.{name}"), &format!("must be at most {most}")));
        }
    }
    if limits.search_hops > MOST_HOPS {
        return Err(value("limits.search_hops", "must be at most 10"));
    }
    Ok(())
}

fn check_waits(key: &str, seconds: &[u64]) -> Result<(), ConfigError> {
    if seconds.iter().any(|s| *s > LONGEST_WAIT_S) {
        return Err(value(key, "holds a time of more than seven days (604800 seconds)"));
    }
    Ok(())
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

fn check(raw: Raw, base: &Path) -> Result<Config, ConfigError> {
    check_limits(&raw.limits)?;
    check_waits("delivery.retry_s", &raw.delivery.retry_s)?;
    check_waits("delivery.poll_s", &[raw.delivery.poll_s])?;
    check_waits("delivery.probe_s", &raw.delivery.probe_s)?;
    let breaker = breaker_rule(&raw.delivery)?;
    check_waits("delivery.poll_overlap_s", &[raw.delivery.poll_overlap_s])?;
    check_waits("delivery.poll_full_s", &[raw.delivery.poll_full_s])?;
    let gateway = raw.gateway;
    check_waits("gateway.drain_s", &[gateway.drain_s])?;
    check_waits("gateway.drain_notice_s", &[gateway.drain_notice_s])?;
    let listen: SocketAddr = gateway
        .listen
        .parse()
        .map_err(|_| value("gateway.listen", "is not an address and port, like 127.0.0.1:8080"))?;
    let mut warnings = Vec::new();
    let outgoing = addresses::outgoing(&raw.outgoing.allow, listen.ip())?;
    let units = if gateway.units.as_os_str().is_empty() {
        warnings
            .push("no units file is configured (gateway.units): using the invented units inside the program".into());
        parse_units("units.example.csv", EXAMPLE_UNITS)?
    } else {
        let path = base.join(&gateway.units);
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
        parse_units(&path.display().to_string(), &text)?
    };
    let patience = Duration::from_secs(raw.delivery.give_up_after_h.saturating_mul(3600));
    let schedule = |key: &str, delays: Vec<u64>| {
        Schedule::new(delays, patience).ok_or_else(|| {
            value(key, "needs at least one delay, and delivery.give_up_after_h at least 192 (eight days)")
        })
    };
    let mut partners: Vec<Partner> = Vec::new();
    for (index, partner) in raw.partner.into_iter().enumerate() {
        let key = format!("partner[{index}] ({})", partner.name);
        if partners.iter().any(|p| p.name == partner.name) {
            return Err(value(&key, "is named twice"));
        }
        check_waits(&key, partner.retry.as_deref().unwrap_or_default())?;
        check_waits(&key, partner.timeout_s.as_slice())?;
        if partner.name.is_empty() || partner.name.contains('#') {
            return Err(value(&key, "has a name that is empty or has a # in it"));
        }
        let mut check_url = |what: &str, url: &str| {
            addresses::check(&format!("{key}: {what}"), url, &outgoing).map(|warning| warnings.extend(warning))
        };
        for (what, url) in
            [("fhir_base", &partner.fhir_base), ("jwks_url", &partner.jwks_url), ("notice_url", &partner.notice_url)]
        {
            if let Some(url) = url {
                check_url(what, url)?;
            }
        }
        let channel = match (partner.channel.as_str(), partner.fhir_base) {
            ("push", Some(base)) => Channel::Push { fhir_base: base.trim_end_matches('/').to_owned() },
            ("push", _) => return Err(value(&key, "channel push needs fhir_base, an http or https address")),
            ("poll", _) => Channel::Poll,
            _ => return Err(value(&key, "channel is \"push\" or \"poll\"")),
        };
        let keys = match (partner.jwks_file, partner.jwks_url) {
            (Some(_), Some(_)) => return Err(value(&key, "has both jwks_file and jwks_url: choose one")),
            (Some(path), None) => Some(Keys::File(base.join(path))),
            (None, Some(url)) => Some(Keys::Url(url)),
            (None, None) => None,
        };
        let rate = match (partner.rate_per_s, partner.burst) {
            (Some(per_s), burst) => {
                let rate = (per_s, burst.unwrap_or(1));
                // Slower than one a day is a mistake for one a second.
                let is_rate = per_s >= 1.0 / 86_400.0 && Bucket::new(rate.0, rate.1, DateTime::UNIX_EPOCH).is_some();
                if !is_rate {
                    return Err(value(&key, "rate_per_s is a number above 0 and burst at least 1"));
                }
                Some(rate)
            }
            (None, Some(_)) => return Err(value(&key, "has a burst and no rate_per_s")),
            (None, None) => None,
        };
        let windows = partner.windows.iter().map(|text| {
            Window::parse(text).ok_or_else(|| value(&format!("{key}: windows"), &format!("{text:?}: {}", window::FORM)))
        });
        let windows: Vec<Window> = windows.collect::<Result<_, _>>()?;
        partners.push(Partner {
            channel,
            rate,
            windows,
            notice: addresses::notice(&key, base, partner.notice_url, partner.notice_secret_file)?,
            keys,
            dialect: Dialect { systems: partner.identifiers.into_iter().collect(), contained: partner.contained },
            timeout: Duration::from_secs(partner.timeout_s.unwrap_or(30).max(1)),
            max_in_flight: partner.max_in_flight.unwrap_or(4).max(1),
            schedule: schedule(&key, partner.retry.unwrap_or_else(|| raw.delivery.retry_s.clone()))?,
            name: partner.name,
        });
    }
    let authenticated = partners.iter().any(|p| p.keys.is_some());
    if !listen.ip().is_loopback() && !authenticated {
        return Err(value(
            "gateway.listen",
            "is beyond loopback, and no partner has jwks_file or jwks_url to tell callers apart",
        ));
    }
    if !raw.audit.reads {
        if authenticated {
            return Err(value(
                "audit.reads",
                "can be false only where no partner has keys: to measure what the record costs",
            ));
        }
        warnings.push("reads are not recorded (audit.reads): nobody can tell afterwards who saw what".into());
    }
    for unit in units.iter().filter(|u| !partners.iter().any(|p| p.name == u.partner)) {
        warnings.push(format!(
            "unit {} is served by {:?}, which is no configured partner: its system has to read from us",
            unit.hsa_id, unit.partner
        ));
    }
    schedule("delivery.retry_s", raw.delivery.retry_s.clone())?;
    let folder = |path: PathBuf| (!path.as_os_str().is_empty()).then(|| base.join(path));
    Ok(Config {
        base_url: if gateway.base_url.is_empty() { format!("http://{listen}") } else { gateway.base_url },
        listen,
        db: base.join(gateway.db),
        hsa_id: gateway.hsa_id,
        name: gateway.name,
        directory: Directory::new(units),
        mappings: folder(gateway.mappings),
        profiles: folder(gateway.profiles),
        limits: raw.limits,
        audit_reads: raw.audit.reads,
        delivery: DeliverySettings {
            max_in_flight: raw.delivery.max_in_flight.max(1),
            poll_every: Duration::from_secs(raw.delivery.poll_s.max(1)),
            breaker,
            poll_overlap: Duration::from_secs(raw.delivery.poll_overlap_s),
            poll_full_every: Duration::from_secs(raw.delivery.poll_full_s),
        },
        telemetry: raw.telemetry,
        drain: Duration::from_secs(gateway.drain_s),
        drain_notice: Duration::from_secs(gateway.drain_notice_s),
        outgoing,
        partners,
        warnings,
    })
}

#[cfg(test)]
impl Config {
    /// Settings as a file would have them, for tests inside the house.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let figment = Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(text));
        let raw: Raw = figment.extract().map_err(|e| ConfigError::Raw(Box::new(e)))?;
        check(raw, Path::new(""))
    }
}

impl Config {
    /// The configured partner of that name; a system that is not configured reads from us.
    pub fn partner(&self, name: &str) -> Option<&Partner> {
        self.partners.iter().find(|p| p.name == name)
    }

    /// Whether callers must show a token.
    pub fn is_authenticated(&self) -> bool {
        self.partners.iter().any(|p| p.keys.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text)
    }

    #[test]
    fn the_defaults_alone_are_a_working_configuration() {
        let config = load("").unwrap();
        assert!(config.listen.ip().is_loopback());
        assert!(config.directory.find("SE2321000131-E000000000101").is_some());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = load("[gateway]\nlissten = \"x\"").unwrap_err().to_string();
        assert!(error.contains("lissten"), "{error}");
    }

    #[test]
    fn nothing_listens_beyond_loopback_without_keys() {
        let error = load("[gateway]\nlisten = \"0.0.0.0:8080\"").unwrap_err().to_string();
        assert!(error.contains("jwks_file"), "{error}");
    }

    #[test]
    fn reads_go_unrecorded_only_where_nobody_has_to_log_in() {
        let off = "[audit]\nreads = false\n";
        assert!(load(off).unwrap().warnings.iter().any(|w| w.contains("audit.reads")));
        let partner = "[[partner]]\nname = \"north\"\nchannel = \"poll\"\njwks_file = \"north.json\"\n";
        let error = load(&format!("{off}{partner}")).unwrap_err().to_string();
        assert!(error.starts_with("audit.reads"), "{error}");
        assert!(load(partner).unwrap().audit_reads);
    }

    #[test]
    fn a_schedule_shorter_than_eight_days_is_refused() {
        assert!(load("[delivery]\ngive_up_after_h = 24").is_err());
    }

    #[test]
    fn a_bad_row_of_units_is_named() {
        let error = parse_units("units.csv", &EXAMPLE_UNITS.replace("specialist", "hospital")).unwrap_err().to_string();
        assert!(error.starts_with("units.csv row 2:"), "{error}");
    }

    #[test]
    fn a_limit_that_lets_nothing_through_is_refused() {
        for key in [
            "body_bytes",
            "depth",
            "items",
            "findings",
            "lines",
            "line_bytes",
            "patch_operations",
            "url_bytes",
            "query_parameters",
            "header_bytes",
            "key_bytes",
            "page",
            "page_max",
            "queue",
            "header_s",
            "body_s",
            "keep_alive_s",
            "connections",
            "workers",
            "in_flight",
            "rate_per_s",
        ] {
            let error = load(&format!("[limits]\n{key} = 0")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("limits.{key}:")), "{error}");
        }
        for key in ["page_max", "queue", "workers", "body_s", "url_bytes"] {
            assert!(load(&format!("[limits]\n{key} = 4294967295")).is_err(), "{key}");
        }
    }

    #[test]
    fn a_time_that_no_clock_can_count_is_refused() {
        let partner = "[[partner]]\nname = \"north\"\nchannel = \"poll\"\n";
        for (key, text) in [
            ("delivery.retry_s", format!("[delivery]\nretry_s = [5, {}]", i64::MAX)),
            ("delivery.retry_s", "[delivery]\nretry_s = [604801]".to_owned()),
            ("delivery.poll_s", format!("[delivery]\npoll_s = {}", i64::MAX)),
            ("partner[0] (north)", format!("{partner}retry = [{}]", i64::MAX)),
            ("partner[0] (north)", format!("{partner}timeout_s = {}", i64::MAX)),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains("seven days"), "{error}");
        }
        assert!(load("[delivery]\nretry_s = [604800]").is_ok());
    }

    #[test]
    fn how_a_partner_may_be_sent_to_is_checked() {
        let partner = |more: &str| {
            load(&format!(
                "[[partner]]\nname = \"north\"\nchannel = \"push\"\nfhir_base = \"https://north.example.se/r4\"\n{more}"
            ))
        };
        let good = partner("rate_per_s = 2\nburst = 5\nwindows = [\"Sun 01:00-05:00\"]\nmax_in_flight = 8").unwrap();
        assert_eq!(good.partners[0].rate, Some((2.0, 5)));
        assert_eq!(good.partners[0].windows[0].text(), "Sun 01:00-05:00");
        for (more, what) in [
            ("rate_per_s = 0", "rate_per_s"),
            ("rate_per_s = -1.5", "rate_per_s"),
            ("rate_per_s = 1\nburst = 0", "burst"),
            ("burst = 3", "rate_per_s"),
            ("windows = [\"Sunday night\"]", "Sunday night"),
            ("notice_url = \"https://north.example.se/notices\"", "notice_secret_file"),
        ] {
            let error = partner(more).unwrap_err().to_string();
            assert!(error.starts_with("partner[0] (north)") && error.contains(what), "{more}: {error}");
        }
        for (more, key) in [
            ("breaker_failures = 0", "breaker_failures"),
            ("breaker_percent = 101", "breaker_percent"),
            ("probe_s = []", "probe_s"),
        ] {
            let error = load(&format!("[delivery]\n{more}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("delivery.{key}")), "{error}");
        }
        assert!(load("[[partner]]\nname = \"north#notices\"\nchannel = \"poll\"").is_err());
    }
}
