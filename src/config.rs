//! Settings: raw TOML and environment → a checked `Config`. `config.default.toml` beside this file is the manual.
//! Each section has a file of its own, as have units and addresses; here is what they make together, and what they say of each other.

mod addresses;
mod agreed;
mod audit;
mod client;
mod clocks;
mod delivery;
mod drop;
mod error;
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
mod telemetry;
mod transfer;
mod units;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use serde::Deserialize;

use crate::domain::Directory;
use crate::domain::outgoing::Outgoing;
use crate::domain::redirect::Rule;
use crate::domain::transfer::Policy;
use crate::store::Ledger;

pub use addresses::Secret;
pub use agreed::{Agreed, Agreements};
pub use audit::AuditSettings;
pub use client::{Client, Keys, MOST_AGREED};
pub use clocks::ClockSettings;
pub use delivery::DeliverySettings;
pub use drop::{FileDrop, Files};
pub use error::ConfigError;
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
pub use telemetry::{OpenTo, Telemetry};
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
    /// Folders that partners' files land in.
    pub drops: Vec<FileDrop>,
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
    /// Clients, issuers and registries: what of the settings is read again while the gateway runs.
    pub agreements: Agreements,
    /// Where it was all read; none where there is no such file.
    pub file: Option<PathBuf>,
    pub oauth: Oauth,
    pub tls: Option<Tls>,
    /// Things that are legal but surprising, to be said at start.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    gateway: RawGateway,
    limits: Limits,
    audit: audit::RawAudit,
    delivery: delivery::RawDelivery,
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
    #[serde(default)]
    drop: Vec<drop::RawDrop>,
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
struct RawProgrammes {
    ledger: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutgoing {
    allow: Vec<String>,
}

const DEFAULTS: &str = include_str!("config.default.toml");

impl Config {
    /// Defaults, then the file, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config = check(raw(file)?, base(file))?;
        Ok(Self { file: file.map(Path::to_path_buf), ..config })
    }

    /// What its file says now of who gets what, with what is to be said of it: checked as at the start, and against the partners
    /// and units that are in force. None where there is no file.
    pub fn agreed_again(&self) -> Result<Option<(Agreed, Vec<String>)>, ConfigError> {
        let Some(file) = self.file.as_deref() else { return Ok(None) };
        // All of it is looked at: what would stop the next start is not half right.
        check(raw(Some(file))?, base(Some(file)))?;
        let (raw, base, mut warnings) = (raw(Some(file))?, base(Some(file)), Vec::new());
        let registries = check_registries(raw.registry, base)?;
        let (partners, directory, outgoing) = (&self.partners, &self.directory, &self.outgoing);
        let clients = client::check(raw.client, base, partners, directory, outgoing, &mut warnings)?;
        client::check_names(&clients, self.tls.as_ref())?;
        warnings.extend(without_registry(&clients, &registries));
        let issuers = issuer::check(raw.issuer, base, &self.base_url, &clients, outgoing, &mut warnings)?;
        if clients.is_empty() == self.is_authenticated() {
            return Err(value("client", "whether callers show tokens is decided when the gateway starts: restart it"));
        }
        Ok(Some((Agreed::new(clients, issuers, registries), warnings)))
    }
}

/// The folder that paths in the settings start from.
fn base(file: Option<&Path>) -> &Path {
    file.and_then(Path::parent).unwrap_or(Path::new(""))
}

fn raw(file: Option<&Path>) -> Result<Raw, ConfigError> {
    let mut figment = Figment::from(Toml::string(DEFAULTS));
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.into(), source })?;
        figment = figment.merge(Toml::string(&text));
    }
    figment = figment.merge(Env::prefixed("VARDKEDJA_").map(|key| format!("gateway.{key}").into()).split("."));
    figment.extract().map_err(|e| ConfigError::Raw(Box::new(e)))
}

fn check_registries(raw: Vec<registry::RawRegistry>, base: &Path) -> Result<Vec<Registry>, ConfigError> {
    let mut registries: Vec<Registry> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("registry[{index}] ({})", raw.name);
        if registries.iter().any(|r| r.name == raw.name) {
            return Err(value(&key, "is named twice"));
        }
        registries.push(registry::check(&key, raw, base)?);
    }
    Ok(registries)
}

/// Clients of registries that there are not.
fn without_registry(clients: &[Client], registries: &[Registry]) -> Vec<String> {
    let missing = |client: &Client| {
        let name = client.registry.as_ref().filter(|name| !registries.iter().any(|r| r.name == **name))?;
        Some(format!("client {:?}: there is no [[registry]] {name:?}, so it gets nothing", client.id))
    };
    clients.iter().filter_map(missing).collect()
}

fn value(key: &str, what: &str) -> ConfigError {
    ConfigError::Value { key: key.into(), what: what.into() }
}

fn check(raw: Raw, base: &Path) -> Result<Config, ConfigError> {
    limits::check(&raw.limits)?;
    statistics::check(&raw.statistics)?;
    let delivery = delivery::check(&raw.delivery)?;
    let gateway = raw.gateway;
    check_waits("gateway.drain_s", &[gateway.drain_s])?;
    check_waits("gateway.drain_notice_s", &[gateway.drain_notice_s])?;
    let listen: SocketAddr = gateway
        .listen
        .parse()
        .map_err(|_| value("gateway.listen", "is not an address and port, like 127.0.0.1:8080"))?;
    let mut warnings = Vec::new();
    let outgoing = addresses::outgoing(&raw.outgoing.allow, listen.ip())?;
    let units = units::read(&gateway.units, base, &mut warnings)?;
    let schedule = |key: &str, delays: Vec<u64>| delivery::schedule(key, delays, &raw.delivery);
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
    let registries = check_registries(raw.registry, base)?;
    let redirect = redirect::check(&raw.redirect)?;
    let retention = retention::check(raw.retention, base)?;
    let transfer = transfer::check(&raw.transfer, base)?;
    let tls = oauth::tls(raw.tls, base)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let base_url = if gateway.base_url.is_empty() { format!("{scheme}://{listen}") } else { gateway.base_url };
    let base_url = base_url.trim_end_matches('/').to_owned();
    let directory = Directory::new(units);
    let clocks = clocks::check(raw.clocks, base, &directory)?;
    let drops = drop::check(raw.drop, base, &partners, &directory, &raw.limits)?;
    let clients = client::check(raw.client, base, &partners, &directory, &outgoing, &mut warnings)?;
    client::check_names(&clients, tls.as_ref())?;
    warnings.extend(without_registry(&clients, &registries));
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
        delivery,
        telemetry: raw.telemetry,
        statistics: raw.statistics,
        drain: Duration::from_secs(gateway.drain_s),
        drain_notice: Duration::from_secs(gateway.drain_notice_s),
        outgoing,
        partners,
        drops,
        redirect,
        retention,
        purges,
        transfer,
        clocks,
        export,
        subscriptions,
        cohorts,
        agreements: Agreements::new(Agreed::new(clients, issuers, registries)),
        file: None,
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
    pub fn registry(&self, name: &str) -> Option<Arc<Registry>> {
        self.agreements.now().registries.iter().find(|r| r.name == name).cloned()
    }
}

#[cfg(test)]
mod tests;
