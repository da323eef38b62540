//! `[[drop]]`: a folder that a partner's export lands in, read and checked. Whether the folders are there is no matter of the
//! settings: `vardkedja check --config` looks, and the gateway looks at every round.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Limits, Partner, check_waits, value};
use crate::domain::{Directory, Format, Kind};

/// What a file of a drop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// A document each.
    Whole(Format),
    /// NDJSON: an activity on each line.
    Lines,
}

/// A folder whose files are documents of a partner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDrop {
    pub name: String,
    pub folder: PathBuf,
    /// Files that were taken.
    pub done: PathBuf,
    /// Files that were refused, with their findings beside them.
    pub refused: PathBuf,
    /// Receipts, and how each exchange stands.
    pub answers: PathBuf,
    pub partner: String,
    /// HSA-ids of the units it speaks for: those that are named, or all of the partner's. A unit that is named may be served by
    /// another partner: what a portal's export says is its unit's, and what the unit is asked goes to its journal.
    pub units: Vec<String>,
    pub kind: Kind,
    pub files: Files,
    pub most_bytes: u64,
    /// A file that has not changed for so long is whole; nought: files are renamed into the folder when they are.
    pub settled: Duration,
    pub every: Duration,
    /// Files in `done` and `answers` go after so long.
    pub keep: Duration,
    /// Files of one round.
    pub at_once: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDrop {
    name: String,
    folder: PathBuf,
    done: Option<PathBuf>,
    refused: Option<PathBuf>,
    answers: Option<PathBuf>,
    partner: String,
    units: Option<Vec<String>>,
    kind: String,
    format: String,
    most_bytes: Option<u64>,
    settled_s: Option<u64>,
    every_s: Option<u64>,
    keep_d: Option<u64>,
    at_once: Option<usize>,
}

/// A name that can stand in a log, a figure and the audit log.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}

pub(super) fn check(
    raw: Vec<RawDrop>,
    base: &Path,
    partners: &[Partner],
    directory: &Directory,
    limits: &Limits,
) -> Result<Vec<FileDrop>, ConfigError> {
    let mut drops: Vec<FileDrop> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("drop[{index}] ({})", raw.name);
        let drop = one(&key, raw, base, partners, directory, limits)?;
        if drops.iter().any(|other| other.name == drop.name) {
            return Err(value(&key, "is named twice"));
        }
        let folders = |drop: &FileDrop| {
            [&drop.folder, &drop.done, &drop.refused, &drop.answers]
                .map(|folder| folder.components().collect::<PathBuf>())
        };
        let own = folders(&drop);
        let is_twice = own.iter().enumerate().any(|(at, folder)| own.iter().skip(at + 1).any(|other| other == folder));
        if is_twice || drops.iter().flat_map(folders).any(|taken| own.contains(&taken)) {
            return Err(value(&key, "folder, done, refused and answers are four folders, and no other drop's"));
        }
        drops.push(drop);
    }
    Ok(drops)
}

fn one(
    key: &str,
    raw: RawDrop,
    base: &Path,
    partners: &[Partner],
    directory: &Directory,
    limits: &Limits,
) -> Result<FileDrop, ConfigError> {
    if !is_name(&raw.name) {
        return Err(value(key, "name has small letters, figures and hyphens, at most 64, and begins with a letter"));
    }
    if raw.folder.as_os_str().is_empty() {
        return Err(value(key, "needs folder"));
    }
    if !partners.iter().any(|partner| partner.name == raw.partner) {
        return Err(value(key, &format!("partner {:?} is no [[partner]]", raw.partner)));
    }
    let units: Vec<String> = match raw.units {
        Some(units) => units.iter().map(|unit| unit.to_ascii_uppercase()).collect(),
        None => directory.of_partner(&raw.partner).map(|unit| unit.hsa_id.to_ascii_uppercase()).collect(),
    };
    if let Some(unit) = units.iter().find(|unit| directory.find(unit).is_none()) {
        return Err(value(key, &format!("unit {unit} is not in gateway.units")));
    }
    if units.is_empty() {
        return Err(value(key, "speaks for no unit: its partner serves none, and units names none"));
    }
    let kind = Kind::from_str(&raw.kind).map_err(|e| value(key, &format!("kind is one of {}", e.known)))?;
    let files = match raw.format.as_str() {
        "json" => Files::Whole(Format::Json),
        "riv" => Files::Whole(Format::Riv),
        "ndjson" if kind == Kind::Activity => Files::Lines,
        _ => return Err(value(key, "format is \"json\", \"riv\", or for activities \"ndjson\"")),
    };
    let settled_s = raw.settled_s.unwrap_or(10);
    let every_s = raw.every_s.unwrap_or(5);
    check_waits(key, &[settled_s, every_s])?;
    let most_bytes = raw.most_bytes.unwrap_or(limits.body_bytes as u64);
    let at_once = raw.at_once.unwrap_or(100);
    if every_s == 0 || most_bytes == 0 || at_once == 0 {
        return Err(value(key, "every_s, most_bytes and at_once are at least 1"));
    }
    if most_bytes > limits.body_bytes as u64 {
        return Err(value(key, "most_bytes is at most limits.body_bytes: a file is no more than a request"));
    }
    let keep_d = raw.keep_d.unwrap_or(30);
    if keep_d == 0 || keep_d > 3650 {
        return Err(value(key, "keep_d is from 1 to 3650"));
    }
    let folder = base.join(raw.folder);
    let inside = |given: Option<PathBuf>, name: &str| match given {
        Some(path) => base.join(path),
        None => folder.join(name),
    };
    Ok(FileDrop {
        done: inside(raw.done, "done"),
        refused: inside(raw.refused, "refused"),
        answers: inside(raw.answers, "answers"),
        name: raw.name,
        partner: raw.partner,
        units,
        kind,
        files,
        most_bytes,
        settled: Duration::from_secs(settled_s),
        every: Duration::from_secs(every_s),
        keep: Duration::from_secs(keep_d * 86_400),
        at_once,
        folder,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::Files;
    use crate::domain::{Format, Kind};

    const PARTNER: &str = "[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n";

    fn drop(more: &str) -> Result<Config, String> {
        let lines =
            "name = \"plans\"\npartner = \"platform\"\nkind = \"rehab-plan\"\nformat = \"json\"\nfolder = \"in\"\n";
        let mut text = format!("{PARTNER}[[drop]]\n");
        let given: Vec<&str> = more.lines().filter_map(|line| line.split(" =").next()).collect();
        for line in lines.lines().filter(|line| line.split(" =").next().is_some_and(|key| !given.contains(&key))) {
            text.push_str(line);
            text.push('\n');
        }
        Config::parse(&format!("{text}{more}")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_drop_says_whose_it_is_and_what_lands_in_it() {
        let config = drop("units = [\"se2321000131-e000000000101\", \"SE2321000131-E000000000202\"]").unwrap();
        let found = &config.drops[0];
        assert_eq!((found.kind, found.files), (Kind::RehabPlan, Files::Whole(Format::Json)));
        assert_eq!(found.units, ["SE2321000131-E000000000101", "SE2321000131-E000000000202"]);
        assert_eq!(drop("").unwrap().drops[0].units.len(), 2, "all of its partner's");
        assert_eq!(found.refused, std::path::Path::new("in/refused"));
        assert!(drop("kind = \"activity\"\nformat = \"ndjson\"").is_ok());
        for (more, what) in [
            ("name = \"Min vårdplan\"", "small letters"),
            ("partner = \"nobody\"", "no [[partner]]"),
            ("units = [\"SE2321000131-E000000000999\"]", "not in gateway.units"),
            ("units = []", "speaks for no unit"),
            ("kind = \"letter\"", "kind is one of"),
            ("format = \"ndjson\"", "format is"),
            ("folder = \"\"", "needs folder"),
            ("done = \"in/refused\"", "four folders"),
            ("answers = \"in/.\"", "four folders"),
            ("every_s = 0", "at least 1"),
            ("keep_d = 0", "from 1"),
            ("most_bytes = 99999999999", "limits.body_bytes"),
            ("settled_s = 9999999", "seven days"),
            ("color = 1", "color"),
        ] {
            let error = drop(more).unwrap_err();
            assert!(error.contains(what), "{more}: {error}");
        }
    }
}
