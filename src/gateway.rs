//! Everything a request needs, opened once; and the run of the program from there to the signal that stops it.
//! Longer than most files: the order in which parts are opened and ended matters, and stands in one place.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::access::{Compiled, Keyring};
use crate::api::{Certificates, TlsError};
use crate::config::{Channel, Config};
use crate::domain::kva::CodeList;
use crate::domain::{Format, Kind};
use crate::fhir::document::beside_the_schema;
use crate::fhir::guard::{self, Limits, Strictness};
use crate::fhir::issue::{Code, Issue, shown_name};
use crate::fhir::profile::Profiles;
use crate::fhir::search::Reader;
use crate::fhir::validate::{self, Context};
use crate::mapping::{Mappings, unwritten};
use crate::partner::{Bearer, Client, Guard, Notifier};
use crate::rules::RuleSets;
use crate::rules::programme::Programmes;
use crate::signing::{Signer, SigningError};
use crate::store::{Ledger, Options, Store, StoreError};
use crate::sync::gate::Gates;
use crate::sync::refused::Counts;
use crate::sync::seal::{KeyError, Sealer};
use crate::telemetry::{Figures, Traces};
use crate::{api, assets, registry, renew, sync};

/// The gateway: settings, store, tables, and clients for its partners.
#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub store: Store,
    pub mappings: Mappings,
    pub conformance: Conformance,
    pub keyring: Keyring,
    /// Our own keys; none where nothing is to be signed.
    pub signer: Arc<Signer>,
    /// What callers' scopes come to.
    pub compiled: Compiled,
    pub clients: HashMap<String, Client>,
    /// Those of partners who want to be told that there is something for them.
    pub notifiers: HashMap<String, Notifier>,
    /// Partners whose servers take our Provenance, as they said when they were last asked.
    pub takes_provenance: Mutex<BTreeSet<String>>,
    /// How each partner stands: what may go to it now, and why the rest waits.
    pub gates: Gates,
    /// What was last read of each partner's Tasks.
    pub seen: Mutex<HashMap<String, sync::seen::Seen>>,
    /// Rung when there may be something to deliver.
    pub wake: Notify,
    pub exports: registry::Exports,
    pub programmes: sync::programme::Desk,
    pub figures: Figures,
    /// Signs checkpoints of the audit log.
    pub sealer: Sealer,
    /// What is told in the audit log as a number.
    pub counts: Counts,
    /// Which request caused what is delivered.
    pub traces: Traces,
    pub started_at: DateTime<Utc>,
    draining: AtomicBool,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database {path} cannot be used, and nothing was changed in it")]
    Store {
        path: String,
        #[source]
        source: StoreError,
    },
    #[error("the {what} cannot be read")]
    Files {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the {what} have errors:\n{findings}")]
    Findings { what: &'static str, findings: String },
    #[error("a client for partner {partner} cannot be made")]
    Client {
        partner: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the gateway's own keys cannot be used")]
    Keys(#[source] SigningError),
    #[error("the certificates of [tls] cannot be used")]
    Tls(#[source] TlsError),
    #[error("the key of the audit log cannot be used (audit.key)")]
    Key(#[source] KeyError),
    #[error("the code list in the database cannot be put in force")]
    CodeList(#[source] StoreError),
    #[error("what was purged could not be purged again")]
    Purges(#[source] sync::Refusal),
    #[error("the server failed")]
    Serve(#[source] std::io::Error),
}

/// What resources are validated against: the profiles, and the KVÅ list that the regional process team owns.
pub struct Conformance {
    pub profiles: Profiles,
    /// Who is responsible for what, by the guidelines of regions.
    pub rules: RuleSets,
    /// Programmes that patients may be offered.
    pub programmes: Programmes,
    codes: RwLock<InForce>,
    /// The package's code list, measures and rules, as resources that are kept in the store.
    definitions: Vec<Value>,
}

/// The KVÅ list in force. Its version is that of the stored CodeSystem; 0 is the one of the package.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    pub version: u32,
    pub list: Arc<CodeList>,
    /// What the list calls its version itself.
    pub edition: Option<String>,
}

impl std::fmt::Debug for Conformance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conformance")
    }
}

impl Conformance {
    /// Loads a package; every finding names its file.
    pub fn load(files: &assets::Files) -> (Self, Vec<Issue>) {
        let (profiles, mut issues) = Profiles::load(files);
        let codes = match files.get(KVA_FILE).map(|text| CodeList::parse(text)) {
            Some(Ok(codes)) => codes,
            Some(Err(error)) => {
                issues.push(Issue::error(Code::Structure, KVA_FILE, "Kodlistan kan inte läsas.", error.to_string()));
                CodeList::default()
            }
            None => {
                issues.push(Issue::error(
                    Code::NotFound,
                    KVA_FILE,
                    "Kodlistan för KVÅ saknas.",
                    "The KVÅ code list is missing.",
                ));
                CodeList::default()
            }
        };
        let stored = |text: &String| {
            let mut resource = serde_json::from_str::<Value>(text).ok()?;
            if resource["resourceType"] == "CodeSystem" {
                // Whatever a package of one's own calls it: this is where it is found and edited.
                resource["id"] = Value::from(registry::definitions::KVA);
            }
            Some(resource)
        };
        let is_kept = |name: &str| ["Measure-", "PlanDefinition-"].iter().any(|kind| name.starts_with(kind));
        let kept = |name: &str| name == KVA_FILE || is_kept(name) && name.ends_with(".json");
        let definitions: Vec<Value> =
            files.iter().filter(|(name, _)| kept(name)).filter_map(|(_, text)| stored(text)).collect();
        let of_kva = definitions.iter().find(|d| d["resourceType"] == "CodeSystem");
        let edition = of_kva.and_then(|d| d["version"].as_str()).map(str::to_owned);
        let codes = RwLock::new(InForce { version: 0, list: Arc::new(codes), edition });
        let (rules, found) = RuleSets::load(files, profiles.terminology());
        issues.extend(found);
        let (programmes, found) = Programmes::load(files, profiles.terminology());
        issues.extend(found);
        let conformance = Self { profiles, rules, programmes, codes, definitions };
        // A guideline is served as it stands, and others read it.
        for plan in conformance.definitions.iter().filter(|d| d["resourceType"] == "PlanDefinition") {
            let file = format!("PlanDefinition-{}.json", plan["id"].as_str().unwrap_or_default());
            issues.extend(conformance.validate(std::slice::from_ref(plan)).into_iter().map(|issue| issue.from(&file)));
        }
        (conformance, issues)
    }

    /// The KVÅ list in force now. What is judged by one list takes it once.
    pub fn codes(&self) -> InForce {
        self.codes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a stored list in force, unless a later one is already.
    pub fn put_in_force(&self, list: InForce) {
        let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        if codes.version < list.version {
            *codes = list;
        }
    }

    /// The package's code list, measures and rules.
    pub fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    /// Validates resources that go out or come in.
    pub fn validate(&self, resources: &[Value]) -> Vec<Issue> {
        let codes = self.codes().list;
        let context = Context { profiles: &self.profiles, codes: &codes };
        resources.iter().flat_map(|r| validate::validate(r, &context)).collect()
    }
}

const KVA_FILE: &str = "CodeSystem-kva.json";

/// A document read into a tree, with what was noticed on the way.
#[derive(Debug)]
pub struct Tree {
    pub value: Value,
    pub issues: Vec<Issue>,
}

impl Gateway {
    /// Opens the store, loads and checks the tables, prepares clients.
    pub fn open(config: Config) -> Result<Self, StartError> {
        let files = assets::mapping_files(config.mappings.as_deref())
            .map_err(|source| StartError::Files { what: "mapping tables", source })?;
        let (mappings, issues) = Mappings::load(&files);
        refuse("mapping tables", &issues)?;
        let files = assets::package_files(config.profiles.as_deref(), config.rules.as_deref())
            .map_err(|source| StartError::Files { what: "profiles", source })?;
        let (conformance, issues) = Conformance::load(&files);
        refuse("profiles", &issues)?;
        refuse("mapping tables", &unwritten(&mappings, &conformance.profiles))?;
        let registries = config.registries.iter().map(|r| (r.name.clone(), r.needs_information)).collect();
        let units = config.directory.iter().map(|unit| (unit.hsa_id.clone(), unit.care_provider.clone())).collect();
        let store =
            Store::open(&config.db, Options { queue: config.limits.queue, registries, units, ..Options::default() })
                .map_err(|source| StartError::Store { path: config.db.display().to_string(), source })?;
        // Behind the database's lock, so that no two processes make keys for each other.
        let signer = if config.signs() {
            Signer::open(&config.oauth.key_file, Utc::now().timestamp()).map_err(StartError::Keys)?
        } else {
            Signer::none()
        };
        let signer = Arc::new(signer);
        let (mut clients, mut notifiers) = (HashMap::new(), HashMap::new());
        let guard = Guard::new(Arc::new(config.outgoing.clone()));
        for partner in &config.partners {
            let failed = |source| StartError::Client { partner: partner.name.clone(), source };
            if let Channel::Push { fhir_base } = &partner.channel {
                let mut client = Client::new(fhir_base, partner.timeout, &guard).map_err(failed)?;
                if let Some(source) = &partner.token {
                    let bearer = Bearer::new(source, Arc::clone(&signer), partner.timeout, &guard).map_err(failed)?;
                    client = client.with_bearer(bearer);
                }
                clients.insert(partner.name.clone(), client);
            }
            if let Some(notice) = &partner.notice {
                let notifier = Notifier::new(notice, partner.timeout, &guard).map_err(failed)?;
                notifiers.insert(partner.name.clone(), notifier);
            }
        }
        let ledger = Ledger::open(&config.purges).map_err(|source| StartError::Store {
            path: config.purges.display().to_string(),
            source,
        })?;
        // After the store: its lock says that nobody else makes the key at the same time.
        let sealer = Sealer::open(&config).map_err(StartError::Key)?;
        Ok(Self {
            gates: Gates::open(&config, Utc::now()),
            config,
            sealer,
            counts: Counts::default(),
            figures: Figures::new(store.meter()),
            traces: Traces::default(),
            started_at: Utc::now(),
            draining: AtomicBool::new(false),
            store,
            mappings,
            conformance,
            keyring: Keyring::default(),
            signer,
            compiled: Compiled::default(),
            clients,
            notifiers,
            takes_provenance: Mutex::default(),
            seen: Mutex::default(),
            wake: Notify::new(),
            exports: registry::Exports::default(),
            programmes: sync::programme::Desk { ledger, wake: Notify::new() },
        })
    }

    /// How search criteria are read, in scopes as in addresses.
    pub fn reader(&self, now: DateTime<Utc>) -> Reader<'_> {
        Reader {
            terminology: self.conformance.profiles.terminology(),
            base_url: &self.config.base_url,
            now,
            hops: self.config.limits.search_hops,
            in_url: true,
        }
    }

    /// Whether documents may be sent: the store takes commits, and nobody has asked us to stop.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.store.is_ready()
    }

    /// Whether we have been asked to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Attempts to deliver that are under way.
    pub fn in_flight(&self) -> i64 {
        self.config.partners.iter().map(|partner| self.figures.in_flight(&partner.name)).sum()
    }

    /// Reads a document's bytes into a tree; what makes it unreadable is returned whole.
    pub fn read(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Tree, Vec<Issue>> {
        let tree = self.tree(kind, format, bytes)?;
        let mut found = Vec::new();
        let all = count(&tree.value, "", self.config.limits.items, &mut found);
        if found.is_empty() && all > self.config.limits.items.saturating_mul(10) {
            found.push(too_long("", all, self.config.limits.items.saturating_mul(10)));
        }
        if found.is_empty() { Ok(tree) } else { Err(found) }
    }

    fn tree(&self, kind: Kind, format: Format, bytes: &[u8]) -> Result<Tree, Vec<Issue>> {
        match format {
            Format::Json => {
                let limits = Limits {
                    bytes: self.config.limits.body_bytes,
                    depth: self.config.limits.depth,
                    strictness: Strictness::Document,
                };
                match guard::read(bytes, &limits) {
                    (Some(value), issues) if !issues.iter().any(Issue::is_error) => Ok(Tree { value, issues }),
                    (_, issues) => Err(issues),
                }
            }
            Format::Riv => {
                let mut source = self.mappings.parse(kind, format, bytes)?;
                source.issues.extend(beside_the_schema(&source.tree));
                Ok(Tree { value: source.tree, issues: source.issues })
            }
        }
    }

    /// Validates resources that go out or come in.
    pub fn validate(&self, resources: &[Value]) -> Vec<Issue> {
        self.conformance.validate(resources)
    }
}

/// Counts the elements of all lists, and tells of each list that is longer than `most`.
fn count(value: &Value, path: &str, most: usize, found: &mut Vec<Issue>) -> usize {
    match value {
        Value::Array(items) => {
            if items.len() > most {
                found.push(too_long(path, items.len(), most));
            }
            items.len() + items.iter().map(|item| count(item, path, most, found)).sum::<usize>()
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| {
                let name = shown_name(name);
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                count(field, &path, most, found)
            })
            .sum(),
        _ => 0,
    }
}

fn too_long(path: &str, count: usize, most: usize) -> Issue {
    Issue::error(
        Code::TooLong,
        path,
        format!("{count} poster; högst {most} tas emot (limits.items). Dela upp dokumentet."),
        format!("{count} elements; at most {most} are taken (limits.items). Split the document."),
    )
}

/// Errors stop the start, everything else is said.
fn refuse(what: &'static str, issues: &[Issue]) -> Result<(), StartError> {
    let errors: Vec<String> = issues.iter().filter(|i| i.is_error()).map(Issue::line).collect();
    for issue in issues.iter().filter(|i| !i.is_error()) {
        tracing::warn!("{}", issue.line());
    }
    if errors.is_empty() { Ok(()) } else { Err(StartError::Findings { what, findings: errors.join("\n") }) }
}

/// Serves until `shutdown` is ready. Then requests under way and deliveries in flight are finished, for at most
/// [`Config::drain`], and the store is closed. What is not delivered by then is in the store and is sent after the next start.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let files = renew::Files::of(&config);
    let certificates = config.tls.as_ref().map(Certificates::open).transpose().map_err(StartError::Tls)?;
    let gateway = Arc::new(Gateway::open(config)?);
    registry::definitions::settle(&gateway, Utc::now()).await.map_err(StartError::CodeList)?;
    // Before anybody can ask: a database that was put back has what was purged since.
    let purged = sync::programme::purge::again(&gateway, Utc::now()).await.map_err(StartError::Purges)?;
    if purged > 0 {
        tracing::warn!(count = purged, "the database is a copy of before: what was purged since is purged again");
    }
    let (stop, stopped) = watch::channel(false);
    let renewal = tokio::spawn(renew::run(Arc::clone(&gateway), certificates.clone(), files, stopped.clone()));
    let worker = tokio::spawn(sync::worker::run(Arc::clone(&gateway), stopped.clone()));
    let exports = tokio::spawn(registry::worker::run(Arc::clone(&gateway), stopped.clone()));
    let answers = tokio::spawn(sync::worker::listen(Arc::clone(&gateway), stopped.clone()));
    let programmes = tokio::spawn(sync::programme::run(Arc::clone(&gateway), stopped.clone()));
    let removals = tokio::spawn(sync::remove::run(Arc::clone(&gateway), stopped));
    let sealing = tokio::spawn(sync::seal::run(Arc::clone(&gateway), stop.subscribe()));
    let server = api::serve(Arc::clone(&gateway), listener, certificates).map_err(StartError::Serve)?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    shutdown.await;
    let deadline = Instant::now() + gateway.config.drain;
    tracing::info!(bound_s = gateway.config.drain.as_secs(), in_flight = gateway.in_flight(), "stopping");
    gateway.draining.store(true, Ordering::Release);
    let _ = stop.send(true);
    gateway.wake.notify_one();
    sleep(gateway.config.drain_notice).await;
    let requests = async {
        handle.stop(true).await;
        let _ = serving.await;
    };
    let requests_ended = timeout_at(deadline, requests).await.is_ok();
    // Counted as the bound is reached: an attempt that is cut off is in flight no more.
    let mut left = 0;
    let mut count = || left = gateway.in_flight();
    let deliveries_ended = ended(worker, deadline, &mut count).await & ended(answers, deadline, || {}).await;
    ended(renewal, deadline, || {}).await;
    let exports_ended = ended(exports, deadline, || {}).await;
    ended(removals, deadline, || {}).await;
    ended(programmes, deadline, || {}).await;
    // Last: whatever was done until now is in the log.
    let _ = ended(sealing, deadline, || {}).await;
    if timeout(LAST_WRITES, sync::seal::end(&gateway, Utc::now())).await.is_err() {
        tracing::error!("the audit log could not be sealed in time; the next start goes on from the last checkpoint");
    }
    close(gateway).await;
    if requests_ended && deliveries_ended && exports_ended {
        tracing::info!("stopped");
    } else {
        tracing::warn!(
            in_flight = left,
            requests_ended,
            "stopped at the bound: what was not delivered is in the database, and is sent after the next start"
        );
    }
    Ok(())
}

/// Waits for a loop until `deadline`, and ends it then. An attempt that is cut off left its delivery as it was, to be sent
/// again: the same bytes, which change nothing where they had arrived.
/// `before_cut` is called just before.
async fn ended(mut work: JoinHandle<()>, deadline: Instant, before_cut: impl FnOnce()) -> bool {
    if timeout_at(deadline, &mut work).await.is_ok() {
        return true;
    }
    before_cut();
    work.abort();
    // Aborting takes effect at the next await, and drops what the loop holds of the gateway.
    let _ = work.await;
    false
}

/// Writes what is queued, and moves the log into the database. A disk that does not answer holds us no longer than a moment:
/// everything acknowledged is in the log.
async fn close(gateway: Arc<Gateway>) {
    let store = gateway.store.clone();
    drop(gateway);
    let (closed, done) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        store.close();
        drop(closed);
    });
    if tokio::time::timeout(LAST_WRITES, done).await.is_err() {
        tracing::error!("the database could not be closed in time; it is repaired from its log at the next start");
    }
}

/// How long the store may take to close.
const LAST_WRITES: Duration = Duration::from_secs(5);
