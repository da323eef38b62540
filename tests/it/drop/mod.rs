//! Folders that a partner's files land in: every file is taken once or refused with its findings, whatever somebody puts there and
//! whenever the program is killed.

mod hostile;
mod killed;
mod road;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::PATIENCE;

/// The folders of a drop.
#[derive(Clone)]
pub struct Drop {
    pub folder: PathBuf,
}

impl Drop {
    /// In the folder of the settings.
    pub fn make(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    /// Its section, with quick looks; files are renamed into it.
    pub fn settings(name: &str, kind: &str, format: &str, more: &str) -> String {
        format!(
            "[[drop]]\nname = \"{name}\"\nfolder = \"{name}\"\npartner = \"platform\"\nkind = \"{kind}\"\nformat = \"{format}\"\n\
             settled_s = 0\nevery_s = 1\n{more}\n"
        )
    }

    /// As an export ought to: under another name until it is whole.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let unfinished = self.folder.join(format!(".{}", uuid::Uuid::new_v4()));
        std::fs::write(&unfinished, bytes).unwrap();
        std::fs::rename(unfinished, self.folder.join(name)).unwrap();
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.join(inside)
    }

    pub fn json(&self, inside: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(inside)).unwrap()).unwrap()
    }

    /// The names in one of its folders, sorted.
    pub fn names(&self, inside: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(inside)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Waits until the file is there.
    pub async fn until(&self, inside: &str) {
        self.until_so(inside, || self.path(inside).exists()).await;
    }

    /// Waits until something is so.
    pub async fn until_so(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            let all = ["", "done", "refused", "answers", ".taken"].map(|folder| (folder, self.names(folder)));
            assert!(started.elapsed() < PATIENCE, "not so: {what}; there is {all:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
