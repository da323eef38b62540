//! Folders that partners' exports land in, for systems that can write a file and not call us.
//!
//! A file is claimed (moved to `.taken`), read, and sent the road that every document goes ([`crate::sync::submit()`]); then its
//! receipt is written, and it is moved to `done`, or to `refused` with its findings beside it. Each step can be done twice: whoever is
//! killed in between does it again, and the same document has the same receipt. How an exchange stands is written into `answers`
//! whenever that changes. Names of files are the partner's and may say whom they are about: they stand in no log.

mod back;
mod folder;
mod name;
mod take;
mod whole;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::config::FileDrop;
use crate::sync::Refusal;
use folder::Folder;
pub use folder::try_folders;
use take::Ended;
use whole::Settling;

/// A drop at work, with what it remembers from round to round.
struct Desk {
    gateway: Arc<Gateway>,
    settings: FileDrop,
    caller: Caller,
    settling: Settling,
    /// What was said of it last: the same fault is said once.
    fault: Option<String>,
    /// Files that could not be read for a reason that may pass.
    stuck: HashMap<OsString, io::ErrorKind>,
}

/// Why a round broke off; the next one goes on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the folder cannot be used: {0}")]
    Folder(#[from] io::Error),
    #[error("{0}")]
    Journey(#[from] Refusal),
}

/// Looks into every drop's folder until `shutdown` says stop. Drops do not wait for each other.
pub async fn run(gateway: Arc<Gateway>, shutdown: watch::Receiver<bool>) {
    let mut drops = JoinSet::new();
    for settings in gateway.config.drops.clone() {
        drops.spawn(one(Desk::new(Arc::clone(&gateway), settings), shutdown.clone()));
    }
    drop(gateway);
    while drops.join_next().await.is_some() {}
}

async fn one(mut desk: Desk, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        let full = desk.round(&shutdown).await;
        if full {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(desk.settings.every) => {}
            _ = shutdown.changed() => {}
        }
    }
}

impl Desk {
    fn new(gateway: Arc<Gateway>, settings: FileDrop) -> Self {
        let mut caller = Caller::partner(&settings.partner, &gateway.config.directory);
        caller.reach = Reach::Units(settings.units.clone());
        let settling = Settling::default();
        Self { gateway, settings, caller, settling, fault: None, stuck: HashMap::new() }
    }

    /// Whether there is more to be done at once.
    async fn round(&mut self, shutdown: &watch::Receiver<bool>) -> bool {
        match self.work(shutdown).await {
            Ok(full) => {
                if self.fault.take().is_some() {
                    tracing::info!(drop = self.settings.name, "the drop is in order again");
                }
                full
            }
            Err(error) => {
                let fault = error.to_string();
                if self.fault.as_ref() != Some(&fault) {
                    tracing::error!(
                        drop = self.settings.name,
                        error = fault,
                        "a round of the drop broke off; it is tried again"
                    );
                    self.gateway.figures.drop_file(&self.settings.name, "failed");
                    self.fault = Some(fault);
                }
                false
            }
        }
    }

    async fn work(&mut self, shutdown: &watch::Receiver<bool>) -> Result<bool, Broken> {
        let settings = self.settings.clone();
        let folder = blocking(move || Folder::open(&settings)).await??;
        // First what an earlier process had claimed, or what could not be taken then.
        let claimed = blocking(folder.work(Folder::claimed)).await??;
        self.stuck.retain(|name, _| claimed.contains(name));
        for name in claimed {
            if *shutdown.borrow() {
                return Ok(false);
            }
            self.take(&folder, name).await?;
        }
        let waiting = blocking(folder.work(Folder::waiting)).await??;
        let now = Instant::now();
        let whole: Vec<OsString> = self.settling.whole(waiting, self.settings.settled, now);
        let more = whole.len() > self.settings.at_once;
        let mut moved = false;
        for name in whole.into_iter().take(self.settings.at_once) {
            if *shutdown.borrow() {
                return Ok(false);
            }
            let claimed = name.clone();
            if blocking(folder.work(move |folder| folder.claim(&claimed))).await?? {
                moved = true;
                self.take(&folder, name).await?;
            }
        }
        back::write(&self.gateway, &self.settings, &self.caller, &folder).await?;
        let keep = self.settings.keep;
        blocking(folder.work(move |folder| folder.forget(keep))).await??;
        // Where nothing could be claimed, looking again at once would find the same.
        Ok(more && moved)
    }

    async fn take(&mut self, folder: &Folder, name: OsString) -> Result<(), Broken> {
        match take::take(&self.gateway, &self.settings, &self.caller, folder, &name, Utc::now()).await? {
            Ended::Taken => self.gateway.figures.drop_file(&self.settings.name, "taken"),
            Ended::Refused => self.gateway.figures.drop_file(&self.settings.name, "refused"),
            Ended::Later(kind) => {
                if self.stuck.insert(name.clone(), kind) != Some(kind) {
                    tracing::warn!(drop = self.settings.name, error = %kind, "a file cannot be read now; it is tried again");
                }
                return Ok(());
            }
        }
        self.stuck.remove(&name);
        Ok(())
    }
}

/// Work with files, on a thread that may wait for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
