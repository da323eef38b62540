//! The writer: one thread that takes commits from a bounded queue and writes them in groups, so that many share one sync
//! of the disk. Each commit stands in a savepoint of its own; nobody is answered before the group is on disk.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc::{self, error::TryRecvError, error::TrySendError};
use tokio::sync::{oneshot, watch};
use tracing::Instrument as _;

use super::apply::{Refusal, Writing};
use super::audit::{Noted, note};
use super::log::Keeper;
use super::record::Put;
use super::statement::Statements;
use super::{Commit, Committed, Meter, Store, StoreError, fill, log, reindex};
use crate::fhir::act::Facts;

pub(super) use super::state::State;

/// A group is closed when it holds this many commits or bytes.
const GROUP_COMMITS: usize = 256;
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// What the writer is asked to do.
pub(super) enum Job {
    Commit(Box<Member>),
    /// For tests that need a disk which refuses.
    #[cfg(test)]
    Run(Box<dyn FnOnce(&Connection) + Send>),
}

/// One commit of a group, and who waits for it.
pub(super) struct Member {
    commit: Commit,
    /// When each version was made, as its own `meta.lastUpdated` says.
    times: Vec<Option<i64>>,
    /// What each audit row is found by.
    notes: Vec<Noted>,
    /// What statistics know of each version, where it is of a type that they know.
    facts: Vec<Option<Facts>>,
    bytes: usize,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
}

impl Store {
    /// Writes all of it or none of it. The answer comes when it is on disk; dropping the future does not undo it.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let span = tracing::info_span!("commit");
        self.enqueue(commit)?.instrument(span).await.map_err(|_| StoreError::Stopped)?
    }

    pub(super) fn enqueue(
        &self,
        commit: Commit,
    ) -> Result<oneshot::Receiver<Result<Committed, StoreError>>, StoreError> {
        let (answer, receiver) = oneshot::channel();
        let times = commit.put.iter().map(Put::said_at).collect();
        let notes = commit.audit.iter().map(note).collect();
        let facts = commit.put.iter().map(Put::facts).collect();
        let bytes = size(&commit);
        self.send(Job::Commit(Box::new(Member { commit, times, facts, notes, bytes, answer })))?;
        Ok(receiver)
    }

    pub(super) fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.shared.jobs.read().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(StoreError::Busy),
            Some(Err(TrySendError::Closed(_))) | None => Err(StoreError::Stopped),
        }
    }
}

fn size(commit: &Commit) -> usize {
    let put = commit.put.iter().map(|p| p.body.len());
    let documents = commit.documents.iter().map(|d| d.source.len() + d.receipt.len());
    let deliveries = commit.deliveries.iter().map(|d| d.body.len());
    let inbound = commit.inbound.iter().map(|i| i.body.len());
    let answer = commit.answer.iter().map(|a| a.body.len());
    let counterparts = commit.counterparts.iter().map(|c| c.body.len());
    put.chain(documents).chain(deliveries).chain(inbound).chain(counterparts).chain(answer).sum()
}

/// The writing thread.
pub(super) struct Writer<'c> {
    statements: Statements<'c>,
    state: State,
    log: Keeper,
    ready: &'c AtomicBool,
    meter: Meter,
    committed: watch::Sender<i64>,
}

impl<'c> Writer<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        state: State,
        ready: &'c AtomicBool,
        meter: Meter,
        committed: watch::Sender<i64>,
    ) -> Self {
        Self { statements: Statements::new(connection), state, log: Keeper::new(), ready, meter, committed }
    }

    /// Writes until nobody can send any more and the queue is empty. Between groups, and while there are none, what is left to
    /// be indexed anew goes on.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let connection = self.statements.connection();
        let mut is_indexing = reindex::is_due(connection).unwrap_or(false) || fill::is_due(connection).unwrap_or(false);
        loop {
            let first = if is_indexing {
                match queue.try_recv() {
                    Ok(job) => Some(job),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match queue.blocking_recv() {
                    Some(job) => Some(job),
                    None => return,
                }
            };
            if let Some(first) = first {
                self.take(first, &mut queue);
            }
            if is_indexing {
                is_indexing = self.index_some();
            }
            let _ = self.log.tend(&self.statements, &self.meter);
        }
    }

    /// What it stops at is said; the parameters stay unready, and searches by them and statistics 503, until the program is
    /// started again.
    fn index_some(&mut self) -> bool {
        let indexed = reindex::go_on(&self.statements, &mut self.state);
        let made = indexed.and_then(|more| Ok(more || fill::go_on(&self.statements, &mut self.state)?));
        match made {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(error = %error, "indexing anew stopped; it goes on when the program is started again");
                false
            }
        }
    }

    /// One group: what came first, and what has come since.
    fn take(&mut self, first: Job, queue: &mut mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Commit(member) => {
                    bytes += member.bytes;
                    group.push(*member);
                }
                #[cfg(test)]
                Job::Run(work) => work(self.statements.connection()),
            }
            let full = group.len() >= GROUP_COMMITS || bytes >= GROUP_BYTES;
            next = if full { None } else { queue.try_recv().ok() };
        }
        if !group.is_empty() {
            self.write(group);
        }
    }

    fn write(&mut self, group: Vec<Member>) {
        let before = self.state.mark();
        let started = Instant::now();
        let ended = self.try_write(&group);
        self.meter.group_size.observe(group.len() as f64);
        self.meter.commit_duration.observe(started.elapsed().as_secs_f64());
        self.ready.store(ended.is_ok(), Ordering::Release);
        match ended {
            Ok(answers) => {
                // Who waits for something to happen looks at once, whoever made it happen.
                self.committed.send_if_modified(|last| std::mem::replace(last, self.state.seq()) != self.state.seq());
                for (member, answer) in group.into_iter().zip(answers) {
                    // Whoever stopped waiting finds it in the database.
                    let _ = member.answer.send(answer);
                }
            }
            Err(error) => {
                self.meter.failures.inc();
                self.state.return_to(before);
                if !self.statements.connection().is_autocommit() {
                    let _ = self.statements.run("ROLLBACK", []);
                }
                for member in group {
                    let _ = member.answer.send(Err(StoreError::Commit(again(&error))));
                }
            }
        }
    }

    /// The group in one transaction. An error is the group's: nothing of it was written.
    fn try_write(&mut self, group: &[Member]) -> Result<Vec<Result<Committed, StoreError>>, rusqlite::Error> {
        if !self.ready.load(Ordering::Acquire) {
            log::try_room(self.statements.connection())?;
        }
        self.statements.run("BEGIN IMMEDIATE", [])?;
        if !self.ready.load(Ordering::Acquire) {
            // A transaction that writes nothing would succeed on a disk that takes nothing.
            self.statements.run("UPDATE heartbeat SET beats = beats + 1 WHERE id = 1", [])?;
        }
        Writing::new(&self.statements, &mut self.state).mark_sometimes()?;
        let mut answers = Vec::with_capacity(group.len());
        for member in group {
            answers.push(self.try_member(member)?);
        }
        self.statements.run("COMMIT", [])?;
        Ok(answers)
    }

    fn try_member(&mut self, member: &Member) -> Result<Result<Committed, StoreError>, rusqlite::Error> {
        self.statements.run("SAVEPOINT member", [])?;
        let before = self.state.mark();
        let applied = Writing::new(&self.statements, &mut self.state).apply(
            &member.commit,
            &member.times,
            &member.facts,
            &member.notes,
        );
        let refusal = match applied {
            Ok(()) => {
                self.statements.run("RELEASE member", [])?;
                return Ok(Ok(Committed::Done { seq: self.state.seq() }));
            }
            Err(Refusal::Sql(error)) if !is_of_member(&error) => return Err(error),
            Err(refusal) => refusal,
        };
        self.statements.run("ROLLBACK TO member", [])?;
        self.statements.run("RELEASE member", [])?;
        self.state.return_to(before);
        Ok(match refusal {
            Refusal::Unmet(expect) => Ok(Committed::Conflict(expect)),
            Refusal::Sql(error) => Err(StoreError::Refused(error)),
            Refusal::Corrupt(what) => Err(StoreError::Corrupt(what)),
        })
    }
}

/// Whether the rows were at fault rather than the disk, so that the rest of the group can go on.
fn is_of_member(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
        }
        _ => true,
    }
}

/// The same error for each member of a group: it cannot be cloned.
fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => rusqlite::Error::SqliteFailure(*failure, text.clone()),
        other => {
            let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
            rusqlite::Error::SqliteFailure(failure, Some(other.to_string()))
        }
    }
}
