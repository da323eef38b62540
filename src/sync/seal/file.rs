//! The file outside the database that checkpoints are appended to: a JWS a line, never changed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::Stand;

/// Bytes at the end of the file in which its last line is looked for.
const TAIL: u64 = 64 * 1024;

/// Adds lines, on disk when it returns.
pub(super) fn append(path: &Path, tokens: &[&str]) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).read(true).open(path)?;
    let mut text = String::new();
    // A line that a fall cut short ends here: it is no checkpoint, and the one after it must not be lost with it.
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut end = [0];
        file.read_exact(&mut end)?;
        if end != [b'\n'] {
            text.push('\n');
        }
    }
    for token in tokens {
        text.push_str(token);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// What the last checkpoint in the file says, by its own word: nobody has checked its signature.
pub(super) fn last(path: &Path) -> io::Result<Option<Stand>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().rev().find_map(Stand::unchecked))
}

/// All lines of a file of checkpoints.
pub fn lines(path: &Path) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(path)?.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}
