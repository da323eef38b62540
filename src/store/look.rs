//! A look at a database file before anything is written to it: a file of another program or of a newer one, and one that is
//! no database at all, is refused and stays byte for byte as it was.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, log, migrate};

/// Whether the file is ours to open. One that is not there, or empty, is.
pub(super) fn look(path: &Path) -> Result<(), StoreError> {
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    if bytes == 0 {
        return Ok(());
    }
    let logged = log_of(path).exists();
    let read = || {
        let connection = connect(path, logged)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let size: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok((version, tables, u64::try_from(pages.saturating_mul(size)).unwrap_or(0)))
    };
    let (version, tables, said) = read().map_err(StoreError::Open)?;
    migrate::known(version)?;
    if version == 0 && tables > 0 {
        return Err(StoreError::Foreign);
    }
    // Pages that stand in the log need not be in the file yet.
    if !logged && bytes < said { Err(StoreError::CutOff { bytes, said }) } else { Ok(()) }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    PathBuf::from(name)
}

fn connect(path: &Path, logged: bool) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Without a log the file says everything, and SQLite need not lay its own files beside it.
    let (name, flags) = match (logged, path.to_str()) {
        (false, Some(text)) => {
            let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            (OsString::from(format!("file:{escaped}?immutable=1")), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => (OsString::from(path), flags),
    };
    let connection = Connection::open_with_flags(name, flags)?;
    connection.busy_timeout(log::BUSY)?;
    Ok(connection)
}
