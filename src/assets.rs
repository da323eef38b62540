//! The mapping tables and profiles inside the program, or the folders that replace them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use include_dir::{Dir, include_dir};

static MAPPINGS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/mappings");
static PROFILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/profiles");

/// Name → text of every file.
pub type Files = BTreeMap<String, String>;

/// The mapping tables of that folder, or those inside the program.
pub fn mapping_files(folder: Option<&Path>) -> io::Result<Files> {
    folder.map_or_else(|| Ok(embedded(&MAPPINGS)), read)
}

/// The profiles of that folder, or those inside the program.
pub fn profile_files(folder: Option<&Path>) -> io::Result<Files> {
    folder.map_or_else(|| Ok(embedded(&PROFILES)), read)
}

/// The profiles, and the files of a folder with rules beside them; one of the same name takes the place of the package's.
pub fn package_files(profiles: Option<&Path>, rules: Option<&Path>) -> io::Result<Files> {
    let mut files = profile_files(profiles)?;
    if let Some(folder) = rules {
        files.extend(read(folder)?);
    }
    Ok(files)
}

fn embedded(dir: &Dir<'_>) -> Files {
    let mut files = Files::new();
    for entry in dir.entries() {
        match entry {
            include_dir::DirEntry::Dir(dir) => files.extend(embedded(dir)),
            include_dir::DirEntry::File(file) => {
                if let Some(text) = file.contents_utf8() {
                    files.insert(file.path().to_string_lossy().replace('\\', "/"), text.to_owned());
                }
            }
        }
    }
    files
}

fn read(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    collect(folder, folder, &mut files)?;
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Files) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            // Text in another encoding is read as far as it goes; the XML reader is given files only as text here.
            let bytes = fs::read(&path)?;
            files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(())
}
