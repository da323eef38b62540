//! A primary care system: a small, real FHIR R4 server with its own database, for the demo and the tests.
//!
//! It is another system than the gateway and shares none of its store, sync or mapping: what passes here has crossed
//! a socket. One interaction alone and one in a transaction Bundle walk the same path (`transaction::perform`).
//!
//! - `face`: the HTTP side of FHIR; `capability`: what it says of itself
//! - `interaction`: what is asked; `transaction`: doing it, one or many together; `answer`, `refusal`: what comes of it
//! - `references`: what resources point at; `patch`: JSON Patch; `check`: is this R4 at all
//! - `terms`, `search`: how resources are found; `records`: the only SQL that writes
//! - `staff`: what the people at the unit do; `worklist`: what they see
//! - `tokens`: whom it lets in, where it does not let in everybody
//! - `faults`: misbehaviour on demand; `journal`: which requests came

mod answer;
mod capability;
mod check;
mod face;
mod faults;
mod interaction;
mod journal;
mod patch;
mod records;
mod references;
mod refusal;
mod search;
mod staff;
mod terms;
mod tokens;
mod transaction;
mod worklist;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::Context;

pub use faults::{Fault, Faults, Misbehaviour};
pub use staff::Staff;
pub use tokens::Issuer;

use journal::Journal;
use records::{Desk, Records};
use refusal::Refusal;
use search::Pages;

/// The largest body that is read; a Bundle with attachments stays below it.
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// How the system is set up.
#[derive(Default)]
pub struct Options {
    /// Names of units by HSA-id, for people to read where a Task names a unit by identifier only.
    pub unit_names: BTreeMap<String, String>,
    /// Who works here; without staff there is no worklist.
    pub staff: Option<Staff>,
    /// Misbehaviour from the start; `POST /faults` adds to it.
    pub faults: Faults,
    /// Whether `PUT Provenance/{id}` may create (`updateCreate`).
    pub provenance_by_id: bool,
    /// Whose tokens it demands; without it everybody is let in.
    pub tokens: Option<Issuer>,
    /// Ends `serve` when it completes; without it the server lives as long as the process.
    pub shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// One running primary care system.
pub struct Receiver {
    records: Mutex<Records>,
    pages: Mutex<Pages>,
    journal: Journal,
    faults: Faults,
    unit_names: BTreeMap<String, String>,
    staff: Option<Staff>,
    provenance_by_id: bool,
    tokens: Option<Issuer>,
}

impl Receiver {
    fn open(db: &Path, options: Options) -> rusqlite::Result<Self> {
        Ok(Self {
            records: Mutex::new(Records::open(db)?),
            pages: Mutex::default(),
            journal: Journal::default(),
            faults: options.faults,
            unit_names: options.unit_names,
            staff: options.staff,
            provenance_by_id: options.provenance_by_id,
            tokens: options.tokens,
        })
    }

    /// Runs `work` in one SQLite transaction: all of it happens, or nothing.
    fn change<T>(&self, work: impl FnOnce(&mut Desk<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        locked(&self.records).change(work)
    }

    /// Whether `PUT {kind}/{id}` may create.
    fn creates_by_id(&self, kind: &str) -> bool {
        self.provenance_by_id && kind == "Provenance"
    }
}

/// A panic elsewhere leaves the data whole (SQLite has rolled back), so a poisoned lock is still good.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves FHIR under `/fhir`, the worklist, `/faults` and `/journal` until the process or `options.shutdown` ends.
pub async fn serve(listener: TcpListener, db: &Path, mut options: Options) -> anyhow::Result<()> {
    let shutdown = options.shutdown.take();
    let receiver = web::Data::new(Receiver::open(db, options).context("opening the receiver's database")?);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(receiver.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES))
            .wrap(from_fn(tokens::demand))
            .wrap(from_fn(faults::strike))
            .wrap(from_fn(journal::record))
            .configure(journal::routes)
            .configure(faults::routes)
            .configure(staff::routes)
            .configure(face::routes)
            .default_service(web::to(face::nothing_here))
    })
    .workers(2)
    .h1_allow_half_closed(false) // what nobody waits for any more is not done later, behind what came after it
    .shutdown_timeout(1)
    .listen(listener)
    .context("listening")?;
    let server = match shutdown {
        Some(signal) => server.shutdown_signal(signal),
        None => server.disable_signals(),
    };
    server.run().await.context("serving")
}
