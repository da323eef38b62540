//! The program's verbs. Thin: each parses its words, makes one call, and says how it ended.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use vardkedja::config::Config;
use vardkedja::domain::{Format, Kind};
use vardkedja::{demo, operations, telemetry, tools};

/// Half of what a document costs beside the disk is small pieces of memory, and this allocator is quicker with them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "vardkedja", version, about = "A FHIR R4 gateway for cancer rehabilitation in Sweden")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the gateway.
    Serve {
        /// Settings; without a file the defaults hold (see config.default.toml).
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Play one patient's whole way through a gateway and a primary care system.
    Demo {
        /// Keep both systems running at the end, to look around.
        #[arg(long)]
        stay: bool,
        /// Send every message twice.
        #[arg(long)]
        twice: bool,
    },
    /// The primary care system of the demo.
    #[command(hide = true)]
    DemoReceiver {
        #[arg(long)]
        db: PathBuf,
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
        /// Let in only who shows a token that the gateway at this address gave.
        #[arg(long)]
        tokens_of: Option<String>,
    },
    /// Map a document to a FHIR transaction Bundle (or, with --back, a Bundle to the document).
    Map {
        /// The document; `-` reads standard input.
        file: PathBuf,
        #[arg(long)]
        kind: Kind,
        #[arg(long, default_value = "json")]
        format: Format,
        /// Map FHIR resources (a Bundle or an array) back to the document.
        #[arg(long)]
        back: bool,
        /// Say for each element which row made it, on standard error.
        #[arg(long)]
        explain: bool,
        /// A folder of tables instead of those inside the program.
        #[arg(long)]
        mappings: Option<PathBuf>,
    },
    /// Check the mapping tables, their examples, the profiles, and the rules with their cases; with --config, a settings file and
    /// everything that it names, without starting.
    Check {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long)]
        mappings: Option<PathBuf>,
        #[arg(long)]
        profiles: Option<PathBuf>,
        /// A folder of rule sets beside those of the profiles.
        #[arg(long)]
        rules: Option<PathBuf>,
    },
    /// The rules of who is responsible as a page, row by row, for a clinician to read.
    Rules {
        #[arg(long)]
        profiles: Option<PathBuf>,
        /// A folder of rule sets beside those of the profiles.
        #[arg(long)]
        rules: Option<PathBuf>,
    },
    /// Validate FHIR resources: one OperationOutcome for each file.
    Validate {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[arg(long)]
        profiles: Option<PathBuf>,
    },
    /// List deliveries of a running gateway, those that wait for a person first in mind.
    Deliveries {
        #[command(flatten)]
        at: At,
        #[arg(long, default_value = "parked")]
        state: String,
    },
    /// How it is doing, on one screen: what is undelivered, and what to do about it. Exit code 1 where something needs a person.
    Status {
        #[command(flatten)]
        at: At,
        /// Read the database of a gateway that is down.
        #[arg(long)]
        db: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copy the database of a gateway, which may go on serving.
    Backup {
        #[arg(long)]
        db: PathBuf,
        /// A file that is not there yet. It gets FILE.manifest.json beside it.
        #[arg(long)]
        to: PathBuf,
    },
    /// Check a copy: bytes, structure, references, audit log, counts.
    VerifyBackup { file: PathBuf },
    /// Put a copy in the place of a database that no gateway has open.
    Restore {
        file: PathBuf,
        #[arg(long)]
        to: PathBuf,
        /// Move a database that is there aside.
        #[arg(long)]
        force: bool,
    },
    /// Add a key that the gateway signs its tokens with; a running gateway takes it up by itself.
    RotateKeys {
        #[arg(long)]
        config: Option<PathBuf>,
        /// Drop all keys before it: every token that is out is void at once.
        #[arg(long)]
        revoke: bool,
    },
    /// The audit log: who saw, sent and got what.
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Gallring: show what is due to be removed by the rules of retention, or remove it from a database that no gateway has open.
    Gallra {
        #[arg(long)]
        config: Option<PathBuf>,
        /// Show what would go by each rule; the gateway may be running.
        #[arg(long, required_unless_present = "run", conflicts_with = "run")]
        dry_run: bool,
        /// Remove it.
        #[arg(long, requires = "by")]
        run: bool,
        /// Who decides: it stands in every stub.
        #[arg(long)]
        by: Option<String>,
    },
    /// Try a parked delivery again.
    Retry {
        id: String,
        #[command(flatten)]
        at: At,
    },
    /// Send deliveries again: show what it would send, or with --send do it.
    Resend {
        /// Those of an exchange.
        #[arg(long, conflicts_with_all = ["partner", "from", "to"], required_unless_present = "partner")]
        exchange: Option<String>,
        /// Those to a partner.
        #[arg(long)]
        partner: Option<String>,
        /// Last tried at this time or later (2026-11-22T01:00:00Z); needed for what was delivered.
        #[arg(long)]
        from: Option<String>,
        #[arg(long)]
        to: Option<String>,
        /// waiting, parked, delivered; several with commas.
        #[arg(long, value_delimiter = ',', default_value = "waiting,parked")]
        states: Vec<String>,
        #[arg(long)]
        send: bool,
        #[command(flatten)]
        at: At,
    },
    /// How each partner stands: its breaker, its queue, its maintenance window.
    Partners {
        #[command(flatten)]
        at: At,
    },
    /// Decide that a delivery shall never be sent.
    Skip {
        id: String,
        /// Who decides.
        #[arg(long)]
        by: String,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Walk the whole log and hold it against its signed checkpoints; a gateway may go on serving. Exit code 1 where anything was
    /// changed, removed, put in, exchanged, cut off or forged.
    Verify {
        /// The database, or a copy with its manifest beside it.
        #[arg(long)]
        db: PathBuf,
        /// The file that checkpoints are appended to; without it, the one beside the database.
        #[arg(long)]
        checkpoints: Option<PathBuf>,
        /// Public keys of the gateway (JWK set, JWK or PEM); without it, audit.jwks.json beside the database.
        #[arg(long)]
        public_key: Option<PathBuf>,
    },
    /// Write the log as AuditEvents, one JSON object a line, in the order of the chain.
    Export {
        #[arg(long)]
        config: Option<PathBuf>,
        /// A database, or a copy; without it, that of the settings.
        #[arg(long)]
        db: Option<PathBuf>,
        /// A file that is not there yet; without it, standard output.
        #[arg(long)]
        to: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct At {
    /// The gateway's address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with the token to show.
    #[arg(long)]
    token_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vardkedja: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the verb ended well.
fn run(verb: Verb) -> anyhow::Result<bool> {
    match verb {
        Verb::Serve { config } => block_on(serve(config.as_deref())),
        Verb::Demo { stay, twice } => block_on(demo::play(demo::Wish { stay, twice })),
        Verb::DemoReceiver { db, listen, tokens_of } => block_on(receive(&db, &listen, tokens_of.as_deref())),
        Verb::Map { file, kind, format, back, explain, mappings } => {
            let wish = tools::MapWish { kind, format, back, explain };
            tools::map(&read(&file)?, wish, mappings.as_deref())
        }
        Verb::Check { config: Some(file), mappings, profiles, rules } => {
            let config = Config::load(Some(&file))?;
            let own = tools::check_settings(&config);
            let (mappings, profiles) = (mappings.or(config.mappings), profiles.or(config.profiles));
            Ok(tools::check(mappings.as_deref(), profiles.as_deref(), rules.or(config.rules).as_deref())? && own)
        }
        Verb::Check { config: None, mappings, profiles, rules } => {
            tools::check(mappings.as_deref(), profiles.as_deref(), rules.as_deref())
        }
        Verb::Rules { profiles, rules } => tools::pages(profiles.as_deref(), rules.as_deref()),
        Verb::Validate { files, profiles } => tools::validate(&files, profiles.as_deref()),
        Verb::Deliveries { at, state } => {
            block_on(tools::get(&at.url, at.token()?, &format!("/v1/deliveries?state={state}")))
        }
        Verb::Status { at, db: Some(db), json } => {
            let _ = at;
            operations::status_of_file(&db, json)
        }
        Verb::Status { at, db: None, json } => block_on(operations::status_of_gateway(&at.url, at.token()?, json)),
        Verb::Backup { db, to } => operations::back_up(&db, &to),
        Verb::VerifyBackup { file } => operations::verify_backup(&file),
        Verb::Restore { file, to, force } => operations::restore(&file, &to, force),
        Verb::RotateKeys { config, revoke } => operations::rotate_keys(config.as_deref(), revoke),
        Verb::Audit { verb: AuditVerb::Verify { db, checkpoints, public_key } } => {
            operations::verify_audit(&operations::Verify { db, checkpoints, public_key })
        }
        Verb::Audit { verb: AuditVerb::Export { config, db, to } } => {
            operations::export_audit(&Config::load(config.as_deref())?, db.as_deref(), to.as_deref())
        }
        Verb::Gallra { config, run: true, by, .. } => {
            let by = by.unwrap_or_default();
            block_on(operations::remove_due(config.as_deref(), &by, chrono::Utc::now()))
        }
        Verb::Gallra { config, .. } => operations::show_due(config.as_deref(), chrono::Utc::now()),
        Verb::Retry { id, at } => {
            block_on(tools::post(&at.url, at.token()?, &format!("/v1/deliveries/{id}/retry"), serde_json::json!({})))
        }
        Verb::Resend { exchange, partner, from, to, states, send, at } => {
            let named = [("exchange", exchange), ("partner", partner), ("from", from), ("to", to)];
            let mut body: serde_json::Map<String, serde_json::Value> =
                named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
            body.insert("states".into(), states.into());
            body.insert("preview".into(), (!send).into());
            block_on(tools::resend(&at.url, at.token()?, body.into()))
        }
        Verb::Partners { at } => block_on(tools::get(&at.url, at.token()?, "/v1/partners")),
        Verb::Skip { id, by, reason, at } => {
            let body = serde_json::json!({ "by": by, "reason": reason });
            block_on(tools::post(&at.url, at.token()?, &format!("/v1/deliveries/{id}/skip"), body))
        }
    }
}

impl At {
    fn token(&self) -> anyhow::Result<Option<String>> {
        let read =
            |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        self.token_file.as_ref().map(read).transpose().map(|t| t.map(|t| t.trim().to_owned()))
    }
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(future)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The exit code of a stop that did not wait, as a shell shows SIGTERM.
const AT_ONCE: i32 = 143;

async fn serve(file: Option<&Path>) -> anyhow::Result<bool> {
    let mut config = Config::load(file)?;
    let _log = telemetry::start(&config.telemetry.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let listener = TcpListener::bind(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    if config.base_url == format!("{scheme}://{}", config.listen) {
        config.base_url = format!("{scheme}://{address}");
    }
    vardkedja::run(config, listener, async move {
        // Heard before anybody is told that it listens: whoever reads that may ask it to stop at once.
        let mut stops = Stops::heard();
        println!("listening on {scheme}://{address}");
        stops.next().await;
        tokio::spawn(async move {
            stops.next().await;
            tracing::warn!("asked to stop a second time: stopping at once");
            std::process::exit(AT_ONCE);
        });
    })
    .await?;
    Ok(true)
}

async fn receive(db: &Path, listen: &str, tokens_of: Option<&str>) -> anyhow::Result<bool> {
    let listener = TcpListener::bind(listen)?;
    println!("listening on http://{}", listener.local_addr()?);
    let tokens = tokens_of.map(demo::receiver::Issuer::at).transpose()?;
    let options = demo::receiver::Options { tokens, ..demo::receiver_options() };
    demo::receiver::serve(listener, db, options).await?;
    Ok(true)
}

/// SIGTERM and Ctrl-C; where one cannot be heard, the other.
struct Stops {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Stops {
    fn heard() -> Self {
        Self { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = one(&mut self.terminate) => {}
            () = one(&mut self.interrupt) => {}
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
