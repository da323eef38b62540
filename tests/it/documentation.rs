//! The documentation can be trusted to lead somewhere: its links, its headings and the tests that it names are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page a reader may be at: all Markdown of the repository, from its root.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for folder in ["docs", "examples", "mappings", "profiles"] {
        collect(Path::new(folder), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|page| {
            let text = fs::read_to_string(root().join(&page)).unwrap();
            (page, text)
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return };
    for entry in entries.map(Result::unwrap) {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
}

/// The text without its code: what stands between fences is for a shell, and brackets in it are no links.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // An odd piece between backticks is code.
            for (at, piece) in line.split('`').enumerate() {
                prose.push_str(if at % 2 == 0 { piece } else { "code" });
            }
            prose.push('\n');
        }
    }
    prose
}

fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// A heading's anchor, as the places that show Markdown make it.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// `docs/integrator/../../README.md` as `README.md`; none where it leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => plain.pop().then_some(())?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

fn target(page: &Path, link: &str) -> Option<PathBuf> {
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() { Some(page.to_owned()) } else { plain(&page.parent()?.join(file)) }
}

fn outside(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for link in links(&text).into_iter().filter(|link| !outside(link)) {
            seen += 1;
            let there = target(&page, &link).filter(|file| root().join(file).exists());
            let heading = link.split_once('#').map(|(_, heading)| heading);
            let right = there.is_some_and(|file| {
                heading.is_none_or(|heading| {
                    fs::read_to_string(root().join(file)).is_ok_and(|text| anchors(&text).contains(heading))
                })
            });
            if !right {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(seen > 30, "only {seen} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_can_be_reached_from_the_readme_by_links() {
    let pages = pages();
    let mut reached = BTreeSet::from([PathBuf::from("README.md")]);
    let mut look = vec![PathBuf::from("README.md")];
    while let Some(page) = look.pop() {
        let Some((_, text)) = pages.iter().find(|(path, _)| *path == page) else { continue };
        for link in links(text).into_iter().filter(|link| !outside(link)) {
            let Some(file) = target(&page, &link) else { continue };
            if reached.insert(file.clone()) {
                look.push(file);
            }
        }
    }
    let lost: Vec<_> = pages.iter().map(|(path, _)| path).filter(|path| !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

#[test]
fn every_test_that_the_documentation_names_is_one() {
    let listed = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut named = 0;
    for (page, text) in pages() {
        for line in text.lines() {
            let Some((before, rest)) = line.split_once("--test it ") else { continue };
            let name = rest.split(|c: char| c.is_whitespace() || c == '`').next().unwrap_or_default();
            if name.is_empty() || name.starts_with('-') {
                continue;
            }
            named += 1;
            // What stands behind a feature is not in this build: its file must do.
            let module = name.split("::").next().unwrap_or_default();
            let there = if before.contains("--features") {
                root().join(format!("tests/it/{module}.rs")).exists()
            } else {
                listed.contains(name)
            };
            assert!(there, "{} names a test that is not there: {name}", page.display());
        }
    }
    assert!(named > 0, "no page names a test");
}

#[test]
fn the_readme_can_be_read_in_one_sitting() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.len() < 16_000, "README.md has {} bytes: what is for one kind of reader goes to docs/", text.len());
}
