//! Writes one export: a list of steps, who is in the group, who left it, then one type after the other.
//!
//! Each step goes piece by piece, with a rest where the intake waits for the disk. How far it has come is put on record together
//! with how much of each file is on disk, so that a killed process goes on from there and writes the same bytes.
//! Longer than most files: what is written, what is recorded and in which order is one argument, and is read as one.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::begin::is_actor;
use super::cohort::criteria;
use super::criteria::{criteria as criteria_of, reader};
use super::disclosure::to_erase;
use super::outgoing::{Line, deleted};
use super::piece::{Made, Rows};
use super::request::{Associated, Request};
use super::spool::{Bounds, Captured, Spool};
use super::standing::folder;
use super::terms::Terms;
use crate::Gateway;
use crate::access::{Caller, read_caller};
use crate::domain::audit::{self, By, Event};
use crate::fhir::issue::{Code, Issue, outcome};
use crate::store::{
    Audit, Clause, Commit, Committed, Deed, Export, ExportChange, ExportLevel, ExportState, FileKind, Filter, HowFar,
    List, Membership, Passed, StoreError, Targets, Walk,
};
use crate::sync::witness;

/// Members and leavers come before the types.
pub(super) const STEPS_BEFORE_TYPES: u32 = 2;
const MEMBERS: u32 = 0;
const LEAVERS: u32 = 1;

/// Bytes of one piece: some milliseconds of the reader. Four are on their way at a time, each of them twice.
const PIECE_BYTES: usize = 1024 * 1024;
/// Patients that are put on a list in one commit.
const LISTED_AT_ONCE: usize = 500;
/// Rows that are noted as disclosed in one commit: some milliseconds of the writer.
const NOTED_AT_ONCE: usize = 2000;
/// Pieces that are made into lines at the same time.
const MADE_AHEAD: usize = 2;
/// What is to be erased, in one question.
const ERASED_AT_ONCE: u32 = 1000;
/// An export that has come further is put on record at least so often, and whether it is still wanted is seen then.
const RECORD_EVERY: Duration = Duration::from_secs(2);
/// Rest while the intake waits for the disk.
const BREATH: Duration = Duration::from_millis(5);

/// Why an export is not gone on with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// Deleted by its client.
    #[error("the export is not wanted any more")]
    Unwanted,
    /// The program is stopping, and goes on when it is started again.
    #[error("the program is stopping")]
    Stopping,
    #[error("a file of the export could not be written")]
    File(#[from] io::Error),
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// What was kept of it cannot be understood.
    #[error("the export cannot be gone on with: {0}")]
    Lost(&'static str),
}

/// An export that is being written.
struct Writing<'g> {
    gateway: &'g Gateway,
    shutdown: &'g watch::Receiver<bool>,
    export: Export,
    request: Request,
    caller: Caller,
    filter: Filter,
    terms: Terms,
    spool: Arc<Mutex<Spool>>,
    /// Pieces that are being made into lines while the next is read.
    making: VecDeque<Making>,
    /// The piece whose lines are being added to the files.
    adding: Option<Adding>,
    /// What goes out with that piece, not noted yet.
    unnoted: Option<Outgoing>,
    /// Bytes that were added since the last record.
    unrecorded: u64,
    recorded_at: Instant,
    /// On its way to the disk while the next pieces are read.
    settling: Option<Settling>,
}

/// A piece, and the row that it goes up to.
struct Making {
    position: i64,
    made: JoinHandle<Made>,
}

/// What will have been read when it is in the files.
struct Adding {
    position: i64,
    resources: u64,
    added: JoinHandle<io::Result<()>>,
}

/// Rows and patients of a piece.
type Outgoing = (Vec<i64>, BTreeSet<String>);

/// What will be on record when it is on disk.
struct Settling {
    step: u32,
    position: i64,
    resources: u64,
    captured: JoinHandle<io::Result<Captured>>,
}

/// Writes an export from where it is on record to its end.
pub(super) async fn write(gateway: &Gateway, id: Uuid, shutdown: &watch::Receiver<bool>) -> Result<(), Stop> {
    let export = gateway.store.export(id).await?.ok_or(Stop::Unwanted)?;
    match export.state {
        ExportState::Open => {}
        ExportState::Gone => return Err(Stop::Unwanted),
        ExportState::Done | ExportState::Failed => return Ok(()),
    }
    let request = Request::read(&export.asked).ok_or(Stop::Lost("what was asked for"))?;
    let caller = asker(gateway, &export).ok_or(Stop::Lost("who asked"))?;
    let settings = &gateway.config.export;
    let bounds = Bounds { bytes: settings.file_bytes, lines: settings.file_lines, leave: settings.leave_bytes };
    let (folder, recorded) = (folder(gateway, id), gateway.store.export_files(id).await?);
    let spool = blocking(move || Spool::open(&folder, bounds, &recorded)).await?;
    let mut writing = Writing {
        filter: caller.filter(),
        terms: Terms::of(gateway, &caller, export.created_at).joined_at(gateway, export.seq).await?,
        gateway,
        shutdown,
        export,
        request,
        caller,
        spool: Arc::new(Mutex::new(spool)),
        making: VecDeque::new(),
        adding: None,
        unnoted: None,
        unrecorded: 0,
        recorded_at: Instant::now(),
        settling: None,
    };
    let done = writing.run().await;
    if let Some(adding) = writing.adding.take() {
        // Whoever goes on with the export must be alone at its files.
        let _ = adding.added.await;
    }
    done
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Stop> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Stop::Lost("a thread ended"))?.map_err(Stop::File)
}

/// Whoever asked for the export, with what the scopes were then.
fn asker(gateway: &Gateway, export: &Export) -> Option<Caller> {
    let caller = read_caller(&export.caller)?;
    Some(caller.narrowed(&gateway.compiled, &reader(gateway, export.created_at)))
}

/// The walk over one type of an export; `None` where a filter cannot be read.
fn walk(
    gateway: &Gateway,
    export: &Export,
    caller: &Caller,
    request: &Request,
    kind: &str,
    provenance: Option<Associated>,
) -> Option<Walk> {
    let of_patients = export.level != ExportLevel::System && !is_actor(kind);
    let is_whole = of_patients && (export.level == ExportLevel::Group || request.patients.is_some());
    Some(Walk {
        resource_type: kind.to_owned(),
        seq: export.seq,
        since: export.since_seq,
        since_at: export.since_at,
        until: export.until,
        of_patients,
        list: (is_whole || (export.since_seq.is_some() && !is_actor(kind)))
            .then_some(List { export: export.id, is_whole }),
        any_of: read_filters(gateway, caller, request, kind, export.created_at)?,
        provenance: provenance
            .map(|which| Targets { types: request.types.clone(), latest: which == Associated::Latest }),
        after: 0,
    })
}

/// Whether a block has closed something since that the export holds or may hold. What cannot be read counts as that.
pub(super) async fn is_closed(gateway: &Gateway, export: &Export) -> Result<bool, StoreError> {
    let (Some(request), Some(caller)) = (Request::read(&export.asked), asker(gateway, export)) else { return Ok(true) };
    let mut walks = Vec::new();
    for kind in &request.types {
        walks.push(walk(gateway, export, &caller, &request, kind, None));
    }
    walks.extend(request.provenance.map(|which| walk(gateway, export, &caller, &request, "Provenance", Some(which))));
    if export.level == ExportLevel::Group {
        // That a patient is in the group tells of these, whatever is exported.
        for kind in ["Condition", "CarePlan"] {
            let all = walk(gateway, export, &caller, &Request::default(), kind, None);
            walks.push(all.map(|walk| Walk { since: None, ..walk }));
        }
    }
    match walks.into_iter().collect() {
        Some(walks) => gateway.store.has_closed(&caller.filter(), walks).await,
        None => Ok(true),
    }
}

impl Writing<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        while self.export.step == MEMBERS {
            self.find_members().await?;
        }
        if self.export.step == LEAVERS {
            self.find_leavers().await?;
        }
        let mut kinds: Vec<(String, Option<Associated>)> =
            self.request.types.iter().map(|kind| (kind.clone(), None)).collect();
        kinds.extend(self.request.provenance.map(|which| ("Provenance".to_owned(), Some(which))));
        loop {
            let at = self.export.step.saturating_sub(STEPS_BEFORE_TYPES) as usize;
            let Some((kind, provenance)) = kinds.get(at) else { break };
            // Who takes part in the care of nobody is nobody's to know.
            let is_empty = self.export.level == ExportLevel::Group
                && is_actor(kind)
                && !self.gateway.store.export_has_patients(self.export.id).await?;
            if is_empty {
                (self.export.step, self.export.position) = (self.export.step + 1, 0);
                continue;
            }
            self.write_type(kind, *provenance).await?;
        }
        self.finish().await
    }

    /// One piece of the patients: those who are in the group go on the list, with whether they were there before.
    async fn find_members(&mut self) -> Result<(), Stop> {
        let (id, basis) = (self.export.id, self.export.basis);
        if self.export.level != ExportLevel::Group {
            let named = self.request.patients.clone().unwrap_or_default();
            let named = named.into_iter().map(|patient| (patient, Membership::Member)).collect();
            self.list(named).await?;
            return self.advance(LEAVERS, 0).await;
        }
        let cohort =
            self.export.cohort.as_ref().and_then(|id| self.gateway.config.cohorts.iter().find(|c| c.id == *id));
        let is_own = cohort.filter(|cohort| cohort.clients.contains(&self.caller.name));
        let cohort = is_own.ok_or(Stop::Lost("the group is no longer the client's"))?;
        let store = &self.gateway.store;
        let (found, walked) = store.members(&self.filter, &criteria(cohort), basis, self.export.position).await?;
        let is_named = |patient: &String| self.request.patients.as_ref().is_none_or(|named| named.contains(patient));
        let listed = found.into_iter().filter(|found| is_named(&found.patient)).map(|found| {
            let is_new = basis.is_some() && !found.was_listed;
            // Without an earlier list nobody knows who is new: everyone is.
            let is_new = is_new || (basis.is_none() && self.export.since_seq.is_some());
            (found.patient, if is_new { Membership::New } else { Membership::Member })
        });
        let listed: Vec<_> = listed.collect();
        self.list(listed).await?;
        tracing::debug!(export = %id, position = walked.position, "members");
        let (step, position) = if walked.is_end { (LEAVERS, 0) } else { (MEMBERS, walked.position) };
        self.advance(step, position).await
    }

    /// Those who were in the group and are not, and those whom a decision let in or shut out.
    async fn find_leavers(&mut self) -> Result<(), Stop> {
        if let Some(since) = self.export.since_seq {
            let changes = self.terms.changes(self.gateway, since).await?;
            self.list(changes).await?;
        }
        let (id, mut after) = (self.export.id, String::new());
        // A list of some says nothing of who else has left.
        if let Some(basis) = self.export.basis.filter(|_| !self.export.is_partial) {
            loop {
                let limit = u32::try_from(LISTED_AT_ONCE).unwrap_or(u32::MAX);
                let left = self.gateway.store.export_leavers(basis, id, &after, limit).await?;
                let Some(last) = left.last() else { break };
                after.clone_from(last);
                self.list(left.into_iter().map(|patient| (patient, Membership::Left)).collect()).await?;
            }
        }
        self.advance(STEPS_BEFORE_TYPES, 0).await
    }

    async fn list(&mut self, patients: Vec<(String, Membership)>) -> Result<(), Stop> {
        for piece in patients.chunks(LISTED_AT_ONCE) {
            self.put(self.export.step, self.export.position, piece.to_vec()).await?;
        }
        Ok(())
    }

    /// All resources of a type. Pieces become lines while the next is read.
    async fn write_type(&mut self, kind: &str, provenance: Option<Associated>) -> Result<(), Stop> {
        let walk = self.walk(kind, provenance)?;
        let line = Line::of(kind, &self.request, &self.terms);
        let mut read = HowFar { position: self.export.position, is_end: false };
        while !read.is_end {
            let walk = Walk { after: read.position, ..walk.clone() };
            let outgoing = self.unnoted.take();
            let (read_now, noted) = tokio::join!(self.read(walk), self.note(outgoing));
            noted?;
            let (rows, walked) = read_now?;
            if self.making.len() >= MADE_AHEAD {
                self.add_oldest(kind).await?;
            }
            let (of, line) = (kind.to_owned(), line.clone());
            let made = tokio::task::spawn_blocking(move || rows.make(&of, &line));
            self.making.push_back(Making { position: walked.position, made });
            self.rest().await?;
            read = walked;
        }
        while !self.making.is_empty() {
            self.add_oldest(kind).await?;
        }
        self.added().await?;
        let (spool, ended) = (Arc::clone(&self.spool), kind.to_owned());
        blocking(move || spool.lock().unwrap_or_else(PoisonError::into_inner).end_type(&ended)).await?;
        (self.export.step, self.export.position) = (self.export.step + 1, 0);
        self.rest().await
    }

    /// One piece of the walk.
    async fn read(&self, walk: Walk) -> Result<(Rows, HowFar), Stop> {
        let rows = Arc::new(Mutex::new(Rows::with_capacity(PIECE_BYTES)));
        let taken = Arc::clone(&rows);
        let pass = move |passed: Passed<'_>| {
            let mut rows = taken.lock().unwrap_or_else(PoisonError::into_inner);
            rows.take(&passed);
            if rows.bytes() >= PIECE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (_, walked) = self.gateway.store.walk(&self.filter, walk, pass).await?;
        let rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((rows, walked))
    }

    /// Lets the lines of the oldest piece be added to the files.
    async fn add_oldest(&mut self, kind: &str) -> Result<(), Stop> {
        let Some(Making { position, made }) = self.making.pop_front() else { return Ok(()) };
        let Made { output, deleted, rows, patients } = made.await.map_err(|_| Stop::Lost("a thread ended"))?;
        self.added().await?;
        let (resources, bytes) = (output.ends.len() as u64, (output.text.len() + deleted.text.len()) as u64);
        let (spool, kind) = (Arc::clone(&self.spool), kind.to_owned());
        let added = tokio::task::spawn_blocking(move || {
            let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
            spool.add_all(FileKind::Deleted, "Bundle", &deleted)?;
            spool.add_all(FileKind::Output, &kind, &output)
        });
        self.unrecorded += bytes;
        self.adding = Some(Adding { position, resources, added });
        self.unnoted = Some((rows, patients));
        Ok(())
    }

    /// The piece whose lines were being added is in the files, and what goes out with it is noted.
    async fn added(&mut self) -> Result<(), Stop> {
        let outgoing = self.unnoted.take();
        self.note(outgoing).await?;
        let Some(Adding { position, resources, added }) = self.adding.take() else { return Ok(()) };
        added.await.map_err(|_| Stop::Lost("a thread ended"))??;
        self.export.resources += resources;
        self.export.position = position;
        Ok(())
    }

    /// Between two pieces: puts on record how far it has come where it is time, and lets others go first.
    async fn rest(&mut self) -> Result<(), Stop> {
        if *self.shutdown.borrow() {
            self.settle().await?;
            self.settled().await?;
            return Err(Stop::Stopping);
        }
        if self.unrecorded >= self.gateway.config.export.record_bytes || self.recorded_at.elapsed() >= RECORD_EVERY {
            self.settle().await?;
        }
        if self.settling.as_ref().is_some_and(|settling| settling.captured.is_finished()) {
            self.settled().await?;
        }
        // Documents that come in go before those that go out in bulk.
        if self.gateway.store.waiting_commits() > 0 {
            tokio::time::sleep(BREATH).await;
        }
        Ok(())
    }

    fn walk(&self, kind: &str, provenance: Option<Associated>) -> Result<Walk, Stop> {
        walk(self.gateway, &self.export, &self.caller, &self.request, kind, provenance)
            .ok_or(Stop::Lost("a filter that was read before"))
    }

    /// Records what is about to go out before a file with it can be fetched: each patient in the log, so that the patient can be
    /// told, and each resource where a registry may have to erase it.
    async fn note(&self, outgoing: Option<Outgoing>) -> Result<(), Stop> {
        let Some((rows, patients)) = outgoing else { return Ok(()) };
        let now = Utc::now();
        if !patients.is_empty() {
            let by = witness::by(&self.gateway.config.directory, &self.caller);
            let event = Event::new(now, by, audit::Deed::Export, format!("export/{}", self.export.id));
            let row: Audit = event.with("step", "written").about(patients).into();
            self.commit(|| Commit { audit: vec![row.clone()], ..Commit::default() }).await?;
        }
        for piece in rows.chunks(NOTED_AT_ONCE) {
            let Some(disclosed) = self.terms.disclosed(piece.to_vec(), now) else { break };
            self.commit(|| Commit { deeds: vec![Deed::Disclosed(disclosed.clone())], ..Commit::default() }).await?;
        }
        Ok(())
    }

    /// Lets what has been written go to the disk. Only one record is on its way at a time.
    async fn settle(&mut self) -> Result<(), Stop> {
        self.settled().await?;
        self.added().await?;
        self.unrecorded = 0;
        let (step, position, resources) = (self.export.step, self.export.position, self.export.resources);
        let spool = Arc::clone(&self.spool);
        let captured = blocking(move || spool.lock().unwrap_or_else(PoisonError::into_inner).capture()).await?;
        let captured = tokio::task::spawn_blocking(move || captured.sync().map(|()| captured));
        self.settling = Some(Settling { step, position, resources, captured });
        self.recorded_at = Instant::now();
        Ok(())
    }

    /// What went to the disk is there, and is put on record.
    async fn settled(&mut self) -> Result<(), Stop> {
        let Some(Settling { step, position, resources, captured }) = self.settling.take() else { return Ok(()) };
        let captured = captured.await.map_err(|_| Stop::Lost("a thread ended"))??;
        let (files, patients) = (captured.files, Vec::new());
        self.record(ExportChange::Advance { id: self.export.id, step, position, resources, files, patients }).await
    }

    /// Before there are files.
    async fn advance(&mut self, step: u32, position: i64) -> Result<(), Stop> {
        self.put(step, position, Vec::new()).await?;
        (self.export.step, self.export.position) = (step, position);
        Ok(())
    }

    async fn put(&self, step: u32, position: i64, patients: Vec<(String, Membership)>) -> Result<(), Stop> {
        let (id, resources, files) = (self.export.id, self.export.resources, Vec::new());
        self.record(ExportChange::Advance { id, step, position, resources, files, patients }).await
    }

    async fn record(&self, change: ExportChange) -> Result<(), Stop> {
        self.commit(|| Commit { exports: vec![change.clone()], ..Commit::default() }).await
    }

    async fn commit(&self, commit: impl Fn() -> Commit) -> Result<(), Stop> {
        loop {
            match self.gateway.store.commit(commit()).await {
                Ok(Committed::Done { .. }) => return Ok(()),
                Ok(Committed::Conflict(_)) => return Err(Stop::Unwanted),
                // Those who have come with documents wait for the same place.
                Err(StoreError::Busy) => tokio::time::sleep(BREATH).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What a registry must erase and has not said that it has, as it knows it.
    async fn erasures(&self) -> Result<Vec<Vec<u8>>, Stop> {
        let Terms::Registry { name, .. } = &self.terms else { return Ok(Vec::new()) };
        let Some(registry) = self.gateway.config.registry(name) else { return Ok(Vec::new()) };
        let (mut lines, mut after) = (Vec::new(), 0);
        loop {
            let list = to_erase(self.gateway, &registry, after, ERASED_AT_ONCE).await;
            let list = list.map_err(|_| Stop::Lost("what is to be erased"))?;
            let Some(last) = list.last() else { return Ok(lines) };
            after = last.seq;
            let known = list.iter().filter_map(|one| Some(deleted(&one.resource_type, one.id.as_deref()?)));
            lines.extend(known);
        }
    }

    async fn finish(&mut self) -> Result<(), Stop> {
        let mut notes = self.request.notes.clone();
        if self.export.level == ExportLevel::Group && self.export.since_seq.is_some() && self.export.basis.is_none() {
            notes.push(outcome(&[unknown_leavers()]));
        }
        self.settled().await?;
        let erasures = self.erasures().await?;
        let spool = Arc::clone(&self.spool);
        let captured = blocking(move || {
            let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
            for line in &erasures {
                spool.add(FileKind::Deleted, "Bundle", line)?;
            }
            for note in &notes {
                spool.add(FileKind::Error, "OperationOutcome", note.to_string().as_bytes())?;
            }
            spool.end_all()?;
            let captured = spool.capture()?;
            captured.sync()?;
            Ok(captured)
        });
        let (id, now) = (self.export.id, Utc::now());
        let advance = ExportChange::Advance {
            id,
            step: self.export.step,
            position: self.export.position,
            resources: self.export.resources,
            files: captured.await?.files,
            patients: Vec::new(),
        };
        let finish = ExportChange::Finish { id, at: now, expires_at: now + self.gateway.config.export.keep };
        let payload = json!({ "recipient": self.caller.name, "resources": self.export.resources });
        let commit = Commit {
            exports: vec![advance, finish],
            audit: vec![by_gateway("done", id, &payload, now)],
            ..Commit::default()
        };
        match self.gateway.store.commit(commit).await? {
            Committed::Done { .. } => Ok(()),
            Committed::Conflict(_) => Err(Stop::Unwanted),
        }
    }
}

/// A row of the log of what nobody asked for just now.
pub(super) fn by_gateway(step: &str, id: Uuid, payload: &Value, now: DateTime<Utc>) -> Audit {
    let event = Event::new(now, By::gateway(), audit::Deed::Export, format!("export/{id}"));
    event.with("step", step).with_all(payload).about([]).into()
}

/// The criteria of a type; `None` where they cannot be read, which was tried when they came.
pub(super) fn read_filters(
    gateway: &Gateway,
    caller: &Caller,
    request: &Request,
    kind: &str,
    now: DateTime<Utc>,
) -> Option<Vec<Vec<Clause>>> {
    request.filters_of(kind).map(|query| criteria_of(gateway, caller, kind, query, now, false).ok()).collect()
}

fn unknown_leavers() -> Issue {
    Issue::warning(
        Code::Processing,
        "_since",
        "Vem som har lämnat gruppen sedan _since är inte känt: det finns ingen tidigare export av hela gruppen från den \
         tiden. Alla som nu är i gruppen är med i sin helhet; ta bort de patienter som inte är det.",
        "Who has left the group since _since is not known: there is no earlier export of the whole group from that time. All \
         who are in it now are here in full; remove the patients who are not.",
    )
}
