//! The readers: a few threads, each with a connection that can only read. One read is one snapshot.
//!
//! Threads of our own rather than tokio's blocking pool: each keeps its prepared statements beside its connection, and
//! their number bounds how much reading goes on beside the writer.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::statement::Statements;
use super::{Store, StoreError};

/// Reads that wait beyond this make their callers wait to enqueue.
pub(super) const QUEUE: usize = 256;

pub(super) type Job = Box<dyn FnOnce(&Statements<'_>) + Send>;

pub(super) fn run(connection: &Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    let statements = Statements::new(connection);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match job {
            Some(job) => job(&statements),
            None => return,
        }
    }
}

impl Store {
    /// Runs a question on one of the readers, inside one transaction.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Statements<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let queue = self.shared.reads.read().unwrap_or_else(PoisonError::into_inner).clone();
        ask(queue, question).await
    }

    /// The same on the one reader that is kept for exports, so that they take none of the others, and one core at most.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Statements<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let queue = self.shared.scans.read().unwrap_or_else(PoisonError::into_inner).clone();
        ask(queue, question).await
    }
}

async fn ask<T: Send + 'static>(
    queue: Option<mpsc::Sender<Job>>,
    question: impl FnOnce(&Statements<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, answer) = oneshot::channel();
    let job: Job = Box::new(move |statements| {
        let _ = sender.send(snapshot(statements, question));
    });
    queue.ok_or(StoreError::Stopped)?.send(job).await.map_err(|_| StoreError::Stopped)?;
    answer.await.map_err(|_| StoreError::Stopped)?
}

fn snapshot<T>(
    statements: &Statements<'_>,
    question: impl FnOnce(&Statements<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if !statements.connection().is_autocommit() {
        // The read before could not end its transaction; this one must not see its old snapshot.
        statements.run("ROLLBACK", [])?;
    }
    statements.run("BEGIN", [])?;
    let answer = question(statements);
    // Nothing was written, so there is nothing that could fail to be kept.
    statements.run("COMMIT", [])?;
    answer
}
