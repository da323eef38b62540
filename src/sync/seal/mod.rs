//! Seals the audit log: signed checkpoints of where its chain stood, in the database and in a file outside it; and lets rows
//! go that are older than they have to be kept.
//!
//! A chain of hashes shows what was changed in its middle. That its end was cut off, or that all of it was written anew,
//! shows only against something that its writer could not reach: a checkpoint kept elsewhere, signed, so that nobody can
//! make another in its place.

mod file;
mod key;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Months, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::{Refusal, refused};
use crate::Gateway;
use crate::config::Config;
use crate::domain::audit::{By, Deed, Event};
use crate::store::{AuditQuery, Checkpoint, CheckpointKind, Commit, Committed, Filter, Prune, StoreError};

pub use file::lines;
pub use key::{Checker, KeyError, Signer, public_path};

/// How often it is looked whether a checkpoint is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether rows are old enough to leave.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// Rows that leave in one commit.
const LEAVE_AT_ONCE: u32 = 2000;
/// The operator's rows among which that of a restore is looked for.
const RESTORES: u32 = 1000;

/// Where the chain stood, as it is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The gateway's HSA-id.
    pub iss: String,
    /// Its place among the checkpoints of its database.
    pub number: i64,
    pub kind: String,
    pub seq: i64,
    /// Hexadecimal.
    pub hash: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

impl Stand {
    pub fn new(iss: &str, number: i64, kind: CheckpointKind, seq: i64, hash: &[u8; 32], at: DateTime<Utc>) -> Self {
        let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { iss: iss.into(), number, kind: kind.code().into(), seq, hash, at: at.timestamp_millis() }
    }

    /// What a JWS says, by its own word: nobody has checked its signature.
    pub fn unchecked(token: &str) -> Option<Self> {
        jsonwebtoken::dangerous::insecure_decode::<Self>(token).ok().map(|data| data.claims)
    }

    pub fn kind(&self) -> Option<CheckpointKind> {
        CheckpointKind::parse(&self.kind)
    }

    /// The hash as bytes; nothing where it is none.
    pub fn bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        if self.hash.len() != 64 || !self.hash.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(self.hash.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(bytes)
    }
}

/// Signs, and knows what is in the file outside.
#[derive(Debug)]
pub struct Sealer {
    signer: Signer,
    /// The number of the last checkpoint in the file; one at a time adds to it.
    written: Mutex<Option<i64>>,
}

impl Sealer {
    pub fn open(config: &Config) -> Result<Self, KeyError> {
        Ok(Self { signer: Signer::open(&config.audit.key)?, written: Mutex::new(None) })
    }
}

/// Makes checkpoints, tells what was counted, and lets old rows go, until `shutdown` says stop.
pub async fn run(gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    if let Err(error) = begin(&gateway, Utc::now()).await {
        tracing::error!(error = %error, "the audit log could not be held against its checkpoints");
    }
    let mut pruned_at: Option<DateTime<Utc>> = None;
    while !*shutdown.borrow() {
        let now = Utc::now();
        let done = async {
            refused::tell_counted(&gateway, now, false).await?;
            if is_due(&gateway, now).await? {
                seal(&gateway, now).await?;
            }
            if pruned_at.is_none_or(|at| (now - at).to_std().is_ok_and(|gone| gone >= PRUNE_EVERY)) {
                while prune(&gateway, now).await? {}
                pruned_at = Some(now);
            }
            Ok::<_, Refusal>(())
        };
        if let Err(error) = done.await {
            tracing::error!(error = %error, "the audit log could not be sealed; it is tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// What is left to do when the gateway stops: what was counted is told, and the last row sealed.
pub async fn end(gateway: &Gateway, now: DateTime<Utc>) {
    let done = async {
        refused::tell_counted(gateway, now, true).await?;
        seal(gateway, now).await
    };
    if let Err(error) = done.await {
        tracing::error!(error = %error, "the audit log could not be sealed at the end");
    }
}

async fn is_due(gateway: &Gateway, now: DateTime<Utc>) -> Result<bool, Refusal> {
    let settings = &gateway.config.audit;
    let head = gateway.store.audit_head().await?;
    let last = gateway.store.last_checkpoint().await?;
    let (seq, at) = last.map_or((0, gateway.started_at), |last| (last.seq, last.at.max(gateway.started_at)));
    let rows = head.seq - seq;
    let is_late = (now - at).to_std().map_or(now < at, |gone| gone >= settings.checkpoint_every);
    Ok(rows >= settings.checkpoint_rows || (rows > 0 && is_late))
}

/// A checkpoint of the last row, where none is of it, in the database and in the file.
pub async fn seal(gateway: &Gateway, now: DateTime<Utc>) -> Result<(), Refusal> {
    let mut written = gateway.sealer.written.lock().await;
    let head = gateway.store.audit_head().await?;
    let last = gateway.store.last_checkpoint().await?;
    if head.seq > last.as_ref().map_or(0, |last| last.seq) {
        let next = last.map_or(0, |last| last.number) + 1;
        if let Some(made) = made(gateway, next, CheckpointKind::Regular, head.seq, head.hash, now) {
            gateway.store.commit(Commit { checkpoint: Some(made), ..Commit::default() }).await?;
        }
    }
    copy(gateway, &mut written).await
}

fn made(
    gateway: &Gateway,
    number: i64,
    kind: CheckpointKind,
    seq: i64,
    hash: [u8; 32],
    at: DateTime<Utc>,
) -> Option<Checkpoint> {
    let stand = Stand::new(&gateway.config.hsa_id, number, kind, seq, &hash, at);
    let token = gateway.sealer.signer.sign(&stand);
    if token.is_none() {
        tracing::error!("a checkpoint of the audit log could not be signed");
    }
    Some(Checkpoint { number, kind, seq, hash, at, token: token? })
}

/// Appends to the file what it does not have yet. A file that cannot be written now has it the next time.
async fn copy(gateway: &Gateway, written: &mut Option<i64>) -> Result<(), Refusal> {
    let path = &gateway.config.audit.checkpoints;
    if written.is_none() {
        match file::last(path) {
            Ok(last) => *written = Some(last.map_or(0, |stand| stand.number)),
            Err(error) => {
                tracing::error!(error = %error, path = %path.display(), "the file of checkpoints cannot be read");
                return Ok(());
            }
        }
    }
    while let Some(after) = *written {
        let missing = gateway.store.checkpoints(after).await?;
        let Some(last) = missing.last().map(|last| last.number) else { break };
        let tokens: Vec<&str> = missing.iter().map(|made| made.token.as_str()).collect();
        if let Err(error) = file::append(path, &tokens) {
            tracing::error!(error = %error, path = %path.display(), "the file of checkpoints cannot be written");
            break;
        }
        *written = Some(last);
    }
    Ok(())
}

/// Whether the log is the one that the file has checkpoints of. One that was put back from a copy is behind the file, and
/// says so in a row of its own: then a checkpoint of that kind follows, by which everybody sees what was lost.
async fn begin(gateway: &Gateway, now: DateTime<Utc>) -> Result<(), Refusal> {
    let mut written = gateway.sealer.written.lock().await;
    let path = &gateway.config.audit.checkpoints;
    let last = match file::last(path) {
        Ok(last) => last,
        Err(error) => {
            tracing::error!(error = %error, path = %path.display(), "the file of checkpoints cannot be read");
            return Ok(());
        }
    };
    if let Some(last) = last {
        let stands = gateway.store.audit_hash(last.seq).await? == last.bytes();
        let pruned = gateway
            .store
            .checkpoints(0)
            .await?
            .iter()
            .any(|made| made.seq >= last.seq && made.kind == CheckpointKind::Prune);
        let own = gateway.store.last_checkpoint().await?;
        if stands || pruned {
            *written = Some(last.number);
        } else if let Some(row) = restored(gateway).await? {
            let number = own.map_or(0, |own| own.number) + 1;
            // What the copy has stands in the file since it was made.
            *written = Some(number - 1);
            let hash = gateway.store.audit_hash(row).await?.unwrap_or_default();
            let checkpoint = made(gateway, number, CheckpointKind::Restore, row, hash, now);
            tracing::warn!(
                row,
                sealed = last.seq,
                "the database was put back from a copy: rows of the audit log are lost"
            );
            gateway.store.commit(Commit { checkpoint, ..Commit::default() }).await?;
        } else {
            *written = Some(own.map_or(0, |own| own.number));
            tracing::error!(
                sealed = last.seq,
                "the audit log is not the one that its checkpoints were made of: run vardkedja audit verify"
            );
        }
    }
    copy(gateway, &mut written).await
}

/// The row that says that a copy took the database's place, where it is newer than every checkpoint.
async fn restored(gateway: &Gateway) -> Result<Option<i64>, StoreError> {
    let sealed = gateway.store.last_checkpoint().await?.map_or(0, |last| last.seq);
    let of = AuditQuery { agent: Some("operator".into()), limit: RESTORES, ..AuditQuery::default() };
    let rows = gateway.store.audit_rows(&Filter::ALL, &of).await?;
    Ok(rows.into_iter().find(|row| row.deed() == Deed::Restore && row.seq > sealed).map(|row| row.seq))
}

/// Lets the oldest rows go that are older than they are to be kept, behind a checkpoint; whether there may be more.
pub async fn prune(gateway: &Gateway, now: DateTime<Utc>) -> Result<bool, Refusal> {
    let years = gateway.config.audit.keep_years;
    // A day more than the years: the database counts five years in days.
    let before = now.checked_sub_months(Months::new(12 * years)).map(|at| at - chrono::TimeDelta::days(1));
    let Some(before) = before else { return Ok(false) };
    let Some(last) = gateway.store.leaving(before, LEAVE_AT_ONCE).await? else { return Ok(false) };
    let mut written = gateway.sealer.written.lock().await;
    let number = gateway.store.last_checkpoint().await?.map_or(0, |own| own.number) + 1;
    let Some(checkpoint) = made(gateway, number, CheckpointKind::Prune, last.seq, last.hash, now) else {
        return Ok(false);
    };
    let event = Event::new(now, By::gateway(), Deed::Prune, "audit").with("through", last.seq).about([]);
    let commit = Commit {
        audit: vec![event.with("keepYears", years).into()],
        checkpoint: Some(checkpoint),
        prune: Some(Prune { through: last.seq, most: LEAVE_AT_ONCE }),
        ..Commit::default()
    };
    let done = matches!(gateway.store.commit(commit).await?, Committed::Done { .. });
    copy(gateway, &mut written).await?;
    Ok(done)
}
