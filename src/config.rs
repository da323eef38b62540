//! Settings: raw TOML and environment → a checked `Config`. `config.default.toml` beside this file is the manual.
//! Sections that say much have files of their own, as have units and addresses.
//! Longer than most files: one function checks what sections say of each other, and a quarter of it is tests.

mod addresses;
mod audit;
mod client;
mod clocks;
mod export;
mod issuer;
mod limits;
mod oauth;
mod partner;
mod redirect;
mod registry;
mod retention;
mod statistics;
mod subscriptions;
mod transfer;
mod units;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use serde::Deserialize;

use crate::domain::Directory;
use crate::domain::breaker;
use crate::domain::delivery::Schedule;
use crate::domain::outgoing::Outgoing;
use crate::domain::redirect::Rule;
use crate::domain::transfer::Policy;
use crate::store::Ledger;

pub use addresses::Secret;
pub use audit::AuditSettings;
pub use client::{Client, Keys, MOST_AGREED};
pub use clocks::ClockSettings;
pub use export::{Cohort, Export};
pub use issuer::Issuer;
pub use limits::Limits;
use limits::check_waits;
pub use oauth::{Oauth, Tls};
pub use partner::{Channel, Notice, Partner, TokenSource};
pub use registry::{ALL_REGISTRIES, CodingKey, Identity, Registry};
pub use retention::Retention;
pub use statistics::Statistics;
pub use subscriptions::{Hook, Subscriptions};
pub use units::parse_units;

/// What the program runs on, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// Callers come through a proxy of ours, which says where they come from.
    pub behind_proxy: bool,
    pub db: PathBuf,
    pub hsa_id: String,
    pub name: String,
    pub base_url: String,
    pub directory: Directory,
    /// Folder of mapping tables; `None`: those inside the program.
    pub mappings: Option<PathBuf>,
    /// Folder of profiles; `None`: those inside the program.
    pub profiles: Option<PathBuf>,
    /// Folder of rule sets beside those of the profiles; `None`: none.
    pub rules: Option<PathBuf>,
    pub limits: Limits,
    /// Whether it is recorded who read what.
    pub audit_reads: bool,
    pub audit: AuditSettings,
    pub delivery: DeliverySettings,
    pub telemetry: Telemetry,
    pub statistics: Statistics,
    /// How long a stop may take before it is made without waiting any longer.
    pub drain: Duration,
    /// How long `/health/ready` says no before connections are refused.
    pub drain_notice: Duration,
    /// Where the gateway may connect to.
    pub outgoing: Outgoing,
    pub partners: Vec<Partner>,
    /// Quality registries that may get what was done.
    pub registries: Vec<Registry>,
    /// Who may send on what it was asked to do.
    pub redirect: Rule,
    pub retention: Retention,
    /// The ledger of purges.
    pub purges: PathBuf,
    /// What a transfer between levels of care must carry.
    pub transfer: Policy,
    /// When what is owed is overdue.
    pub clocks: ClockSettings,
    pub export: Export,
    pub subscriptions: Subscriptions,
    pub cohorts: Vec<Cohort>,
    /// Who may get a token: those of `[[client]]`, and partners with keys.
    pub clients: Vec<Client>,
    pub issuers: Vec<Issuer>,
    pub oauth: Oauth,
    pub tls: Option<Tls>,
    /// Things that are legal but surprising, to be said at start.
    pub warnings: Vec<String>,
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
    audit: audit::RawAudit,
    delivery: RawDelivery,
    telemetry: Telemetry,
    statistics: Statistics,
    outgoing: RawOutgoing,
    export: export::RawExport,
    subscriptions: subscriptions::RawSubscriptions,
    redirect: redirect::RawRedirect,
    retention: retention::RawRetention,
    programmes: RawProgrammes,
    transfer: transfer::RawTransfer,
    clocks: clocks::RawClocks,
    #[serde(default)]
    partner: Vec<partner::RawPartner>,
    oauth: oauth::RawOauth,
    tls: oauth::RawTls,
    #[serde(default)]
    registry: Vec<registry::RawRegistry>,
    #[serde(default)]
    cohort: Vec<export::RawCohort>,
    #[serde(default)]
    client: Vec<client::RawClient>,
    #[serde(default)]
    issuer: Vec<issuer::RawIssuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGateway {
    listen: String,
    db: PathBuf,
    hsa_id: String,
    name: String,
    base_url: String,
    behind_proxy: bool,
    units: PathBuf,
    mappings: PathBuf,
    profiles: PathBuf,
    rules: PathBuf,
    drain_s: u64,
    drain_notice_s: u64,
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
struct RawProgrammes {
    ledger: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutgoing {
    allow: Vec<String>,
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

fn value(key: &str, what: &str) -> ConfigError {
    ConfigError::Value { key: key.into(), what: what.into() }
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
    limits::check(&raw.limits)?;
    statistics::check(&raw.statistics)?;
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
    for (index, raw_partner) in raw.partner.into_iter().enumerate() {
        let key = format!("partner[{index}] ({})", raw_partner.name);
        if partners.iter().any(|p| p.name == raw_partner.name) {
            return Err(value(&key, "is named twice"));
        }
        let delays = raw_partner.retry.clone().unwrap_or_else(|| raw.delivery.retry_s.clone());
        check_waits(&key, &delays)?;
        let schedule = schedule(&key, delays)?;
        partners.push(partner::check(&key, raw_partner, base, schedule, &outgoing, &mut warnings)?);
    }
    let mut registries: Vec<Registry> = Vec::new();
    for (index, raw_registry) in raw.registry.into_iter().enumerate() {
        let key = format!("registry[{index}] ({})", raw_registry.name);
        if registries.iter().any(|r| r.name == raw_registry.name) {
            return Err(value(&key, "is named twice"));
        }
        registries.push(registry::check(&key, raw_registry, base)?);
    }
    let redirect = redirect::check(&raw.redirect)?;
    let retention = retention::check(raw.retention, base)?;
    let transfer = transfer::check(&raw.transfer, base)?;
    let clocks = clocks::check(raw.clocks, base)?;
    let tls = oauth::tls(raw.tls, base)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let base_url = if gateway.base_url.is_empty() { format!("{scheme}://{listen}") } else { gateway.base_url };
    let base_url = base_url.trim_end_matches('/').to_owned();
    let directory = Directory::new(units);
    let clients = client::check(raw.client, base, &partners, &directory, &outgoing, &mut warnings)?;
    client::check_names(&clients, tls.as_ref())?;
    for client in &clients {
        if let Some(name) = client.registry.as_ref().filter(|name| !registries.iter().any(|r| r.name == **name)) {
            warnings.push(format!("client {:?}: there is no [[registry]] {name:?}, so it gets nothing", client.id));
        }
    }
    let issuers = issuer::check(raw.issuer, base, &base_url, &clients, &outgoing, &mut warnings)?;
    let authenticated = !clients.is_empty();
    let behind_proxy = gateway.behind_proxy;
    oauth::listen(listen, authenticated, tls.as_ref(), behind_proxy)?;
    if !raw.audit.reads {
        if authenticated {
            return Err(value(
                "audit.reads",
                "can be false only where no partner has keys and nobody is a client: to measure what the record costs",
            ));
        }
        warnings.push("reads are not recorded (audit.reads): nobody can tell afterwards who saw what".into());
    }
    for unit in directory.iter().filter(|u| !partners.iter().any(|p| p.name == u.partner)) {
        warnings.push(format!(
            "unit {} is served by {:?}, which is no configured partner: its system has to read from us",
            unit.hsa_id, unit.partner
        ));
    }
    let subscriptions =
        subscriptions::check(&raw.subscriptions, schedule("delivery.retry_s", raw.delivery.retry_s.clone())?)?;
    let db = base.join(gateway.db);
    let purges = match raw.programmes.ledger {
        path if path.as_os_str().is_empty() => Ledger::beside(&db),
        path => base.join(path),
    };
    let reads = raw.audit.reads;
    let audit = audit::check(raw.audit, &db, base)?;
    let export = export::check(raw.export, base, &db)?;
    let cohorts = export::check_cohorts(raw.cohort, &directory)?;
    let folder = |path: PathBuf| (!path.as_os_str().is_empty()).then(|| base.join(path));
    Ok(Config {
        base_url,
        listen,
        behind_proxy,
        oauth: oauth::oauth(raw.oauth, base, &db)?,
        tls,
        db,
        hsa_id: gateway.hsa_id,
        name: gateway.name,
        directory,
        mappings: folder(gateway.mappings),
        profiles: folder(gateway.profiles),
        rules: folder(gateway.rules),
        limits: raw.limits,
        audit_reads: reads,
        audit,
        delivery: DeliverySettings {
            max_in_flight: raw.delivery.max_in_flight.max(1),
            poll_every: Duration::from_secs(raw.delivery.poll_s.max(1)),
            breaker,
            poll_overlap: Duration::from_secs(raw.delivery.poll_overlap_s),
            poll_full_every: Duration::from_secs(raw.delivery.poll_full_s),
        },
        telemetry: raw.telemetry,
        statistics: raw.statistics,
        drain: Duration::from_secs(gateway.drain_s),
        drain_notice: Duration::from_secs(gateway.drain_notice_s),
        outgoing,
        partners,
        registries,
        redirect,
        retention,
        purges,
        transfer,
        clocks,
        export,
        subscriptions,
        cohorts,
        clients,
        issuers,
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

    /// The configured registry of that name.
    pub fn registry(&self, name: &str) -> Option<&Registry> {
        self.registries.iter().find(|r| r.name == name)
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
    fn a_breaker_that_would_never_open_or_never_probe_is_refused() {
        for (more, key) in [
            ("breaker_failures = 0", "breaker_failures"),
            ("breaker_percent = 101", "breaker_percent"),
            ("probe_s = []", "probe_s"),
        ] {
            let error = load(&format!("[delivery]\n{more}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("delivery.{key}")), "{error}");
        }
    }
}
