//! The house rules that a compiler does not know: which way imports run, and who may touch what.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the outermost in; a folder may use those further in, and those it shares a line with are strangers.
const LAYERS: [&[&str]; 6] =
    [&["api"], &["registry", "sync", "access"], &["mapping", "rules", "store", "partner"], &["fhir"], &["domain"], &[]];
/// Opened once by the outermost layer and handed to all.
const SHELL: [&str; 8] = ["main", "lib", "gateway", "config", "assets", "tools", "telemetry", "operations"];

fn sources() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "tests"))
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let folder = inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (PathBuf::from(inside), folder, text)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Those of one line that may use each other all the same, one way.
fn may_use(folder: &str, used: &str) -> bool {
    matches!((folder, used), ("sync", "access") | ("registry", "sync" | "access"))
}

fn layer(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

/// Lines of code, without comments and without the tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).filter(|l| !l.trim_start().starts_with("//"))
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (path, folder, text) in sources() {
        let Some(own) = layer(&folder) else { continue };
        for line in code(&text) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                let Some(other) = layer(used) else { continue };
                if other < own || other == own && used != folder && !may_use(&folder, used) {
                    wrong.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_tool_has_its_one_place() {
    let places =
        [("rusqlite", &["store"][..]), ("reqwest", &["partner"]), ("actix_web", &["api"]), ("fhirbolt", &["fhir"])];
    let mut wrong = Vec::new();
    for (path, folder, text) in sources() {
        // The demo is a world of its own; the shell names what it starts, and the store's error what failed.
        if folder == "demo" || SHELL.contains(&folder.as_str()) {
            continue;
        }
        for (tool, allowed) in places {
            if !allowed.contains(&folder.as_str()) && code(&text).any(|l| l.contains(&format!("{tool}::"))) {
                wrong.push(format!("{} uses {tool}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_folders_have_no_clock_no_socket_and_no_file() {
    let mut wrong = Vec::new();
    for (path, folder, text) in sources() {
        if !["domain", "fhir", "mapping", "rules"].contains(&folder.as_str()) {
            continue;
        }
        for forbidden in
            ["Utc::now", "Local::now", "SystemTime", "Instant::now", "std::net", "std::fs", "File::open", "tokio::"]
        {
            if code(&text).any(|l| l.contains(forbidden)) {
                wrong.push(format!("{} uses {forbidden}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, t)| !t.starts_with("//!"))
        .map(|(p, ..)| p.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn the_canonical_base_is_the_same_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for folder in ["mappings", "profiles"] {
        let mut files = Vec::new();
        all(&root.join(folder), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            for (at, _) in text.match_indices("vardkedja.example") {
                let start = at.saturating_sub("https://".len());
                if !text[start..].starts_with(vardkedja::fhir::canonical::BASE) {
                    wrong.push(format!("{}: …{}", file.display(), text[start..].chars().take(50).collect::<String>()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn all(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() { all(&path, files) } else { files.push(path) }
    }
}
