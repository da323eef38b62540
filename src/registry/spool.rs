//! The files of an export while they are written: lines are added, files are ended when they are long enough, and what is on
//! disk is said so that it can be put on record. After a crash a file is cut to what is on record, and the lines after that are
//! written again, the same as before.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::piece::Lines;
use crate::store::{ExportFile, FileKind};

/// What is written at once.
const PIECE: usize = 256 * 1024;

/// When a file is long enough.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub bytes: u64,
    pub lines: u64,
    /// What has to be free on the disk: those who take documents in need it too.
    pub leave: u64,
}

/// The folder of one export.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    bounds: Bounds,
    /// At most one of each kind is open.
    open: Vec<Open>,
    /// Ended since the last record.
    ended: Vec<ExportFile>,
    /// Written to since the last record, and open no more.
    loose: Vec<File>,
    /// Files of each name so far.
    made: Vec<(String, u32)>,
    is_new: bool,
}

/// What is to be on record when it has reached the disk; meanwhile more can be added to the files.
#[derive(Debug)]
pub struct Captured {
    pub files: Vec<ExportFile>,
    handles: Vec<File>,
}

impl Captured {
    /// Brings it to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.handles.iter().try_for_each(File::sync_data)
    }
}

#[derive(Debug)]
struct Open {
    row: ExportFile,
    file: BufWriter<File>,
    hash: Sha256,
}

impl Open {
    /// Hashes and writes, each on a core of its own where there is much.
    fn add(&mut self, text: &[u8], lines: u64) -> io::Result<()> {
        let Self { row, file, hash } = self;
        if text.len() < PIECE {
            hash.update(text);
            file.write_all(text)?;
        } else {
            std::thread::scope(|threads| {
                threads.spawn(|| hash.update(text));
                file.write_all(text)
            })?;
        }
        row.lines += lines;
        row.bytes += text.len() as u64;
        Ok(())
    }
}

impl Spool {
    /// The folder as it is on record: what is not is cut off or taken away.
    pub fn open(folder: &Path, bounds: Bounds, recorded: &[ExportFile]) -> io::Result<Self> {
        // What is in it is nobody's but the gateway's.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let known = recorded.iter().any(|row| entry.file_name() == row.name.as_str());
            if !known {
                fs::remove_file(entry.path())?;
            }
        }
        let mut spool = Self {
            folder: folder.to_owned(),
            bounds,
            open: Vec::new(),
            ended: Vec::new(),
            loose: Vec::new(),
            made: Vec::new(),
            is_new: true,
        };
        for row in recorded {
            spool.count(&stem(row.kind, &row.resource_type));
            let path = folder.join(&row.name);
            if row.sha256.is_some() {
                if fs::metadata(&path)?.len() != row.bytes {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file is not as long as it was"));
                }
                continue;
            }
            spool.open.push(reopen(&path, row)?);
        }
        Ok(spool)
    }

    /// Adds a line.
    pub fn add(&mut self, kind: FileKind, resource_type: &str, line: &[u8]) -> io::Result<()> {
        let mut lines = Lines::default();
        lines.push(line);
        self.add_all(kind, resource_type, &lines)
    }

    /// Adds lines, as many at once as the file has room for.
    pub fn add_all(&mut self, kind: FileKind, resource_type: &str, lines: &Lines) -> io::Result<()> {
        let (mut text, mut ends, mut from) = (lines.text.as_slice(), lines.ends.as_slice(), 0);
        while !ends.is_empty() {
            let at = self.with_room(kind, resource_type, ends.first().map_or(0, |end| end - from))?;
            let Some(open) = self.open.get_mut(at) else { return Ok(()) };
            let bytes =
                usize::try_from(self.bounds.bytes - open.row.bytes.min(self.bounds.bytes)).unwrap_or(usize::MAX);
            let fit = ends.partition_point(|end| end - from <= bytes);
            let room = usize::try_from(self.bounds.lines - open.row.lines.min(self.bounds.lines)).unwrap_or(usize::MAX);
            // A line that is longer than a file may be has one of its own.
            let Some((now, later)) = ends.split_at_checked(fit.min(room).max(1)) else { return Ok(()) };
            let to = now.last().copied().unwrap_or(from);
            let Some((piece, rest)) = text.split_at_checked(to - from) else { return Ok(()) };
            open.add(piece, now.len() as u64)?;
            (text, ends, from) = (rest, later, to);
        }
        Ok(())
    }

    /// The place of an open file that takes a line of that length.
    fn with_room(&mut self, kind: FileKind, resource_type: &str, line: usize) -> io::Result<usize> {
        let is_same = |open: &Open| open.row.kind == kind && open.row.resource_type == resource_type;
        let is_full = |open: &Open| {
            open.row.lines >= self.bounds.lines
                || (open.row.lines > 0 && open.row.bytes + line as u64 > self.bounds.bytes)
        };
        match self.open.iter().position(is_same) {
            Some(at) if !self.open.get(at).is_some_and(is_full) => return Ok(at),
            Some(at) => {
                let open = self.open.swap_remove(at);
                self.end(open)?;
            }
            None => {}
        }
        self.begin(kind, resource_type)
    }

    /// No more lines of this type: its output file is whole.
    pub fn end_type(&mut self, resource_type: &str) -> io::Result<()> {
        let is_it = |open: &Open| open.row.kind == FileKind::Output && open.row.resource_type == resource_type;
        while let Some(at) = self.open.iter().position(is_it) {
            let open = self.open.swap_remove(at);
            self.end(open)?;
        }
        Ok(())
    }

    /// No more lines at all.
    pub fn end_all(&mut self) -> io::Result<()> {
        while let Some(open) = self.open.pop() {
            self.end(open)?;
        }
        Ok(())
    }

    /// What there is to be put on record now.
    pub fn capture(&mut self) -> io::Result<Captured> {
        let disk = rustix::fs::statvfs(&self.folder)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < self.bounds.leave {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut handles = std::mem::take(&mut self.loose);
        for open in &mut self.open {
            open.file.flush()?;
            handles.push(open.file.get_ref().try_clone()?);
        }
        if self.is_new {
            // The names of new files are in the folder, which is a file too.
            handles.push(File::open(&self.folder)?);
            self.is_new = false;
        }
        let mut files = std::mem::take(&mut self.ended);
        files.extend(self.open.iter().map(|open| open.row.clone()));
        Ok(Captured { files, handles })
    }

    fn begin(&mut self, kind: FileKind, resource_type: &str) -> io::Result<usize> {
        let stem = stem(kind, resource_type);
        let number = self.count(&stem);
        let name = format!("{stem}.{number:04}.ndjson");
        let file = File::create(self.folder.join(&name))?;
        self.is_new = true;
        let row = ExportFile { name, kind, resource_type: resource_type.to_owned(), lines: 0, bytes: 0, sha256: None };
        self.open.push(Open { row, file: BufWriter::with_capacity(PIECE, file), hash: Sha256::new() });
        Ok(self.open.len() - 1)
    }

    fn end(&mut self, mut open: Open) -> io::Result<()> {
        open.file.flush()?;
        self.loose.push(open.file.into_inner().map_err(io::IntoInnerError::into_error)?);
        let sha256 = hex(&open.hash.finalize());
        self.ended.push(ExportFile { sha256: Some(sha256), ..open.row });
        Ok(())
    }

    fn count(&mut self, stem: &str) -> u32 {
        if let Some((_, made)) = self.made.iter_mut().find(|(name, _)| name == stem) {
            *made += 1;
            return *made;
        }
        self.made.push((stem.to_owned(), 1));
        1
    }
}

fn stem(kind: FileKind, resource_type: &str) -> String {
    match kind {
        FileKind::Output => resource_type.to_owned(),
        FileKind::Deleted | FileKind::Error => kind.code().to_owned(),
    }
}

/// A file that was being written: as long as it is on record, and hashed so far.
fn reopen(path: &Path, row: &ExportFile) -> io::Result<Open> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() < row.bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file is shorter than what is on record"));
    }
    file.set_len(row.bytes)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        match piece.get(..read) {
            Some(bytes) if read > 0 => hash.update(bytes),
            _ => break,
        }
    }
    file.seek(SeekFrom::Start(row.bytes))?;
    Ok(Open { row: row.clone(), file: BufWriter::with_capacity(PIECE, file), hash })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("spool-{}", uuid::Uuid::new_v4())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const BOUNDS: Bounds = Bounds { bytes: 100, lines: 5, leave: 0 };

    fn lines(spool: &mut Spool, from: u32, to: u32) {
        for n in from..to {
            let line = format!("{n:0>width$}", width = 10 + n as usize % 30);
            spool.add(FileKind::Output, "Task", line.as_bytes()).unwrap();
            if n % 3 == 0 {
                spool.add(FileKind::Deleted, "Bundle", format!("gone {n}").as_bytes()).unwrap();
            }
        }
    }

    fn settle(spool: &mut Spool) -> Vec<ExportFile> {
        let captured = spool.capture().unwrap();
        captured.sync().unwrap();
        captured.files
    }

    fn all(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn files_that_were_broken_off_anywhere_are_the_same_in_the_end() {
        let whole = Folder::new();
        let mut spool = Spool::open(&whole.0, BOUNDS, &[]).unwrap();
        lines(&mut spool, 0, 40);
        spool.end_all().unwrap();
        let rows = settle(&mut spool);
        assert!(rows.iter().all(|row| row.sha256.is_some() && row.bytes <= 100 && row.lines <= 5));
        for at in 1..40 {
            let broken = Folder::new();
            let mut spool = Spool::open(&broken.0, BOUNDS, &[]).unwrap();
            lines(&mut spool, 0, at);
            let recorded = settle(&mut spool);
            lines(&mut spool, at, 40);
            let _ = spool.end_all();
            drop(spool);
            let mut spool = Spool::open(&broken.0, BOUNDS, &recorded).unwrap();
            lines(&mut spool, at, 40);
            spool.end_all().unwrap();
            let mut again: Vec<ExportFile> = recorded.into_iter().filter(|row| row.sha256.is_some()).collect();
            again.extend(settle(&mut spool));
            let sorted = |mut rows: Vec<ExportFile>| {
                rows.sort_by(|a, b| a.name.cmp(&b.name));
                rows
            };
            assert_eq!(all(&broken.0), all(&whole.0), "{at}");
            assert_eq!(sorted(again), sorted(rows.clone()), "{at}");
        }
    }

    #[test]
    fn a_file_that_lost_what_is_on_record_is_not_gone_on_with() {
        let folder = Folder::new();
        let mut spool = Spool::open(&folder.0, BOUNDS, &[]).unwrap();
        lines(&mut spool, 0, 2);
        let recorded = settle(&mut spool);
        fs::write(folder.0.join("Task.0001.ndjson"), "x").unwrap();
        assert!(Spool::open(&folder.0, BOUNDS, &recorded).is_err());
    }
}
