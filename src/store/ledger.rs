//! The ledger of purges: a file beside the database and not in it, written before anything goes, so that a copy of the database
//! which is put back is purged again. A line for each, of ids and times: it says of nobody that they were a patient.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::StoreError;
use super::meter::beside;

#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
    known: Arc<Mutex<BTreeSet<Uuid>>>,
}

impl Ledger {
    /// Where it is unless the settings say otherwise.
    pub fn beside(db: &Path) -> PathBuf {
        beside(db, ".purges")
    }

    /// Reads what is there. A line that was cut off was of a purge that had not happened yet, and may stay away.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(StoreError::File(error)),
        };
        let id = |line: &str| {
            let entry: Value = serde_json::from_str(line).ok()?;
            entry["programme"].as_str()?.parse().ok()
        };
        let known = text.lines().filter_map(id).collect();
        Ok(Self { path: path.to_owned(), known: Arc::new(Mutex::new(known)) })
    }

    pub fn all(&self) -> Vec<Uuid> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Notes a purge that is about to be made, on disk when this ends. Noted twice it stands there once.
    pub async fn note(&self, programme: Uuid, rule: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        let line = json!({ "programme": programme.to_string(), "rule": rule, "at": at.to_rfc3339() }).to_string();
        let ledger = self.clone();
        let written = tokio::task::spawn_blocking(move || ledger.write(programme, &line)).await;
        written.map_err(|_| StoreError::Stopped)?.map_err(StoreError::File)
    }

    fn write(&self, programme: Uuid, line: &str) -> io::Result<()> {
        // Held while it is written: two lines never run into each other.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&programme) {
            return Ok(());
        }
        let is_new = !self.path.exists();
        let mut file = private(&self.path)?;
        let mut text = String::new();
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                text.push('\n');
            }
        }
        text.push_str(line);
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if is_new {
            let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
        }
        known.insert(programme);
        Ok(())
    }
}

fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().read(true).append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_noted_is_known_again_and_a_line_that_was_cut_off_spoils_no_other() {
        let folder = std::env::temp_dir().join(format!("ledger-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let path = Ledger::beside(&folder.join("a.sqlite"));
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let ledger = Ledger::open(&path).unwrap();
        assert!(ledger.all().is_empty() && !path.exists());
        ledger.note(one, "PUR-1", DateTime::UNIX_EPOCH).await.unwrap();
        ledger.note(one, "PUR-1", DateTime::UNIX_EPOCH).await.unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        text.push_str("{\"programme\": \"01");
        fs::write(&path, text).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        ledger.note(two, "PUR-2", DateTime::UNIX_EPOCH).await.unwrap();
        let known = Ledger::open(&path).unwrap().all();
        assert_eq!(known.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&one, &two]));
        fs::remove_dir_all(folder).unwrap();
    }
}
