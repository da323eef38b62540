//! The folders of a drop on the disk: look, claim, read, move, write. Nothing here follows a link, and whatever is moved or written
//! is on disk before the next step.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::name;
use super::whole::Look;
use crate::config::FileDrop;

/// Where files are while we work at them; it is found again after a kill.
const TAKEN: &str = ".taken";
/// What we write is called so until it is whole.
const UNFINISHED: &str = ".unfinished-";

#[derive(Debug, Clone)]
pub struct Folder {
    landing: PathBuf,
    taken: PathBuf,
    done: PathBuf,
    refused: PathBuf,
    answers: PathBuf,
    most_bytes: u64,
}

/// What a claimed file turned out to be.
#[derive(Debug)]
pub enum Found {
    Bytes(Vec<u8>),
    /// A link, a pipe or another thing that is no file.
    NoFile,
    TooLong(u64),
    /// Nobody lets us read it.
    Closed,
    /// It was written to while we read; or it cannot be read for a reason that may pass.
    Unsettled(io::ErrorKind),
}

/// Where a file goes in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Done,
    Refused,
}

/// What is wrong with the folders, for `vardkedja check`; those that we make ourselves need not be there.
pub fn try_folders(settings: &FileDrop) -> Vec<String> {
    let mut wrong = Vec::new();
    match fs::symlink_metadata(&settings.folder) {
        Ok(found) if found.is_dir() => {
            for folder in [&settings.done, &settings.refused] {
                if fs::metadata(folder).is_ok_and(|other| other.dev() != found.dev()) {
                    wrong.push(format!("{} is on another disk: files are moved there in one step", folder.display()));
                }
            }
        }
        Ok(_) => wrong.push(format!("{} is no folder (nothing follows a link)", settings.folder.display())),
        Err(error) => wrong.push(format!("{}: {error}", settings.folder.display())),
    }
    for folder in [&settings.done, &settings.refused, &settings.answers] {
        if fs::symlink_metadata(folder).is_ok_and(|found| !found.is_dir()) {
            wrong.push(format!("{} is no folder (nothing follows a link)", folder.display()));
        }
    }
    wrong
}

impl Folder {
    /// All of them are there, and are folders: where files land is whoever exports' to make, the others are ours.
    pub fn open(settings: &FileDrop) -> io::Result<Self> {
        let folder = Self {
            landing: settings.folder.clone(),
            taken: settings.folder.join(TAKEN),
            done: settings.done.clone(),
            refused: settings.refused.clone(),
            answers: settings.answers.clone(),
            most_bytes: settings.most_bytes,
        };
        check(&folder.landing)?;
        for own in [&folder.taken, &folder.done, &folder.refused, &folder.answers] {
            if let Err(error) = fs::create_dir_all(own)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error);
            }
            check(own)?;
        }
        Ok(folder)
    }

    /// The same on a thread of its own.
    pub fn work<T: 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> impl FnOnce() -> T + Send + 'static {
        let folder = self.clone();
        move || work(&folder)
    }

    /// Files that an earlier round claimed and did not end with.
    pub fn claimed(&self) -> io::Result<Vec<OsString>> {
        let mut names: Vec<OsString> =
            fs::read_dir(&self.taken)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    }

    /// What has landed, the oldest first.
    pub fn waiting(&self) -> io::Result<Vec<Look>> {
        let mut looks = Vec::new();
        for entry in fs::read_dir(&self.landing)? {
            let name = entry?.file_name();
            if name::is_unfinished(&name) {
                continue;
            }
            // It may have gone meanwhile.
            let Ok(found) = fs::symlink_metadata(self.landing.join(&name)) else { continue };
            if !found.is_dir() {
                looks.push(Look { name, bytes: found.len(), modified: found.modified().ok(), inode: found.ino() });
            }
        }
        looks.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
        Ok(looks)
    }

    /// Moves it to where nobody else looks; false where it is gone, or one of that name is not ended with yet.
    pub fn claim(&self, name: &OsStr) -> io::Result<bool> {
        let to = self.taken.join(name);
        if fs::symlink_metadata(&to).is_ok() {
            return Ok(false);
        }
        match fs::rename(self.landing.join(name), to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a claimed file, no more of it than we take.
    pub fn read(&self, name: &OsStr) -> Found {
        let path = self.taken.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => return Found::NoFile,
            Ok(found) if found.len() > self.most_bytes => return Found::TooLong(found.len()),
            Ok(_) => {}
            Err(error) => return Found::Unsettled(error.kind()),
        }
        match self.bytes(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Closed,
            Err(error) => Found::Unsettled(error.kind()),
        }
    }

    fn bytes(&self, path: &Path) -> io::Result<Found> {
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let mut file = File::from(opened);
        let look = |file: &File| file.metadata().map(|found| (found.len(), found.modified().ok()));
        let before = look(&file)?;
        let mut bytes = Vec::new();
        (&mut file).take(self.most_bytes + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.most_bytes {
            return Ok(Found::TooLong(file.metadata()?.len()));
        }
        let is_settled = look(&file)? == before && bytes.len() as u64 == before.0;
        Ok(if is_settled { Found::Bytes(bytes) } else { Found::Unsettled(io::ErrorKind::ResourceBusy) })
    }

    /// A name under which nothing else stands there. A file with the same bytes is the same: it is replaced.
    pub fn free(&self, place: Place, claimed: &OsStr, kept: &str) -> io::Result<String> {
        let folder = self.place(place);
        for number in 1.. {
            let name = if number == 1 { kept.to_owned() } else { numbered(kept, number) };
            match fs::symlink_metadata(folder.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name),
                Err(error) => return Err(error),
                Ok(found) if found.is_file() && self.is_same(claimed, &folder.join(&name), found.len()) => {
                    return Ok(name);
                }
                Ok(_) => {}
            }
        }
        Err(io::Error::other("no name is free"))
    }

    fn is_same(&self, claimed: &OsStr, other: &Path, bytes: u64) -> bool {
        let claimed = self.taken.join(claimed);
        fs::symlink_metadata(&claimed)
            .is_ok_and(|found| found.is_file() && found.len() == bytes && bytes <= self.most_bytes)
            && matches!((fs::read(&claimed), fs::read(other)), (Ok(one), Ok(two)) if one == two)
    }

    /// Moves a claimed file to where it stays.
    pub fn settle(&self, claimed: &OsStr, place: Place, name: &str) -> io::Result<()> {
        let folder = self.place(place);
        fs::rename(self.taken.join(claimed), folder.join(name))?;
        sync(folder)?;
        sync(&self.taken)
    }

    /// Writes findings beside a refused file.
    pub fn write_findings(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        write(&self.refused, name, bytes)
    }

    /// Writes something for the partner to fetch.
    pub fn write_answer(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        write(&self.answers, name, bytes)
    }

    /// Takes away what was done, and what nobody fetched, so long ago.
    pub fn forget(&self, keep: Duration) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.checked_sub(keep).map_or(Ok(()), |before| self.forget_before(before.as_secs()))
    }

    fn forget_before(&self, before_s: u64) -> io::Result<()> {
        for folder in [&self.done, &self.answers] {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let Ok(found) = fs::symlink_metadata(&path) else { continue };
                // When it came here, not when it was written: a move changes only that.
                if !found.is_dir() && u64::try_from(found.ctime()).unwrap_or(u64::MAX) < before_s {
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn place(&self, place: Place) -> &Path {
        match place {
            Place::Done => &self.done,
            Place::Refused => &self.refused,
        }
    }
}

fn check(folder: &Path) -> io::Result<()> {
    if fs::symlink_metadata(folder)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::NotADirectory,
        "one of its folders is a link or a file, and nothing follows a link",
    ))
}

/// `plan.json` as `plan-2.json`.
fn numbered(name: &str, number: u32) -> String {
    match name.rsplit_once('.') {
        Some((stem, end)) => format!("{stem}-{number}.{end}"),
        None => format!("{name}-{number}"),
    }
}

/// Whole or not at all, whoever looks and whoever is killed.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = folder.join(format!("{UNFINISHED}{name}"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // What stands there already, a link too, is not written through.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(name))?;
    sync(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (PathBuf, Folder) {
        let root = std::env::temp_dir().join(format!("folder-{}", uuid::Uuid::new_v4()));
        let all = ["", "taken", "done", "refused", "answers"].map(|name| root.join(name));
        for folder in &all {
            fs::create_dir(folder).unwrap();
        }
        let [landing, taken, done, refused, answers] = all;
        (root, Folder { landing, taken, done, refused, answers, most_bytes: 100 })
    }

    #[test]
    fn what_is_old_goes_and_what_was_refused_stays() {
        let (root, folder) = folder();
        for name in ["done/a", "answers/b", "refused/c"] {
            fs::write(root.join(name), "x").unwrap();
        }
        fs::create_dir(folder.done.join("somebody's")).unwrap();
        folder.forget(Duration::from_secs(86_400)).unwrap();
        assert!(root.join("done/a").exists() && root.join("answers/b").exists());
        // A moment that has not come yet: everything is older than it.
        let (year, now) =
            (Duration::from_secs(31_536_000), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap());
        folder.forget_before((now + year).as_secs()).unwrap();
        assert!(!root.join("done/a").exists() && !root.join("answers/b").exists());
        assert!(root.join("refused/c").exists() && folder.done.join("somebody's").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn nothing_that_stands_there_is_overwritten_but_the_same() {
        let (root, folder) = folder();
        fs::write(folder.done.join("a.json"), "one").unwrap();
        fs::write(folder.done.join("a-2.json"), "two").unwrap();
        let name = |bytes: &str| {
            fs::write(folder.taken.join("a.json"), bytes).unwrap();
            folder.free(Place::Done, OsStr::new("a.json"), "a.json").unwrap()
        };
        assert_eq!(name("one"), "a.json");
        assert_eq!(name("two"), "a-2.json");
        assert_eq!(name("three"), "a-3.json");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_we_write_is_whole_and_not_written_through_a_link() {
        let (root, folder) = folder();
        fs::write(root.join("outside"), "theirs").unwrap();
        for name in ["r.json", ".unfinished-r.json"] {
            std::os::unix::fs::symlink(root.join("outside"), folder.answers.join(name)).unwrap();
        }
        folder.write_answer("r.json", b"ours").unwrap();
        assert_eq!(fs::read(root.join("outside")).unwrap(), b"theirs");
        assert!(fs::symlink_metadata(folder.answers.join("r.json")).unwrap().is_file());
        assert_eq!(fs::read_dir(&folder.answers).unwrap().count(), 1);
        fs::remove_dir_all(root).unwrap();
    }
}
