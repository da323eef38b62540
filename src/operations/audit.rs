//! The audit log as whoever answers for it handles it: walk it and hold it against its signed checkpoints, and write it out as
//! AuditEvents. A gateway may go on serving meanwhile; nothing is written.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::config::Config;
use crate::fhir::audit_event::{Observer, audit_event};
use crate::store::{
    CheckpointKind, Manifest, Mark, Walked, checkpoints_of, is_of, manifest_of, rows_in_order, walk_file,
};
use crate::sync::seal::{Checker, Stand, lines, public_path};

/// Findings told one by one.
const MOST_TOLD: usize = 100;

/// Where the log is, and what it is held against.
#[derive(Debug, Clone)]
pub struct Verify {
    pub db: PathBuf,
    /// `None`: the file beside the database, where there is one.
    pub checkpoints: Option<PathBuf>,
    /// `None`: the public half of the key beside the database, where there is one.
    pub public_key: Option<PathBuf>,
}

/// What was found, for whoever reads it.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<String>,
    notes: Vec<String>,
}

/// `vardkedja audit verify`: true where nothing is wrong.
pub fn verify(wish: &Verify) -> anyhow::Result<bool> {
    let mut report = Report::default();
    // Whoever can write the log can write a manifest beside it: only the very bytes that it speaks of are a copy.
    let manifest = copy_of(&wish.db, &mut report)?;
    let is_still = manifest.is_some();
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", wish.db.display()));
    let key = wish.public_key.clone().unwrap_or_else(|| public_path(&wish.db.with_file_name("audit.key")));
    let checker = match (key.exists(), &wish.public_key) {
        (false, None) => None,
        _ => Some(Checker::open(&key).with_context(|| format!("the public key {} cannot be used", key.display()))?),
    };
    let file = wish.checkpoints.clone().unwrap_or_else(|| beside(".checkpoints"));
    // The file first: what is sealed while we look is in the database then.
    let outside = match (file.exists(), &wish.checkpoints) {
        (false, None) => None,
        _ => Some(lines(&file).with_context(|| format!("{} cannot be read", file.display()))?),
    };
    let made_at = manifest.as_ref().map_or(i64::MAX, |manifest| manifest.made_at.timestamp_millis());
    let outside = outside.map(|lines| of_file(&lines, checker.as_ref(), made_at, &mut report));
    let inside = of_database(wish, checker.as_ref(), is_still, &mut report)?;
    let mut marks: Vec<&Stand> = inside.iter().collect();
    if let Some(outside) = &outside {
        marks.extend(outside);
        missing_outside(&inside, outside, &mut report);
    }
    let mut given: Vec<Mark> =
        marks.iter().filter_map(|stand| Some(Mark { seq: stand.seq, hash: stand.bytes()? })).collect();
    if let Some(manifest) = &manifest {
        let stand = Stand { seq: manifest.audit.seq, hash: manifest.audit.hash.clone(), ..Stand::default() };
        given.extend(stand.bytes().filter(|_| stand.seq > 0).map(|hash| Mark { seq: stand.seq, hash }));
    }
    let walked = walk_file(&wish.db, &given, is_still, Utc::now())
        .with_context(|| format!("the audit log of {} cannot be read", wish.db.display()))?;
    report.findings.extend(walked.faults.iter().map(ToString::to_string));
    let untold = walked.fault_count - walked.faults.len() as u64;
    report.findings.extend((untold > 0).then(|| format!("and {untold} more")));
    pruned(&walked, &marks, checker.is_some(), &mut report);
    if walked.emptied > 0 {
        report.notes.push(format!(
            "{} rows have lost what they said, of things that were removed; their hashes are kept.",
            walked.emptied
        ));
    }
    if checker.is_none() {
        report.notes.push("No public key: signatures were not checked, so whoever can write the database could have written the log anew (--public-key).".into());
    }
    if outside.is_none() {
        report.notes.push("No file of checkpoints: a log that was cut off at its end, with its checkpoints, does not show (--checkpoints).".into());
    }
    say(&wish.db, &walked, &marks, &report);
    Ok(report.findings.is_empty())
}

/// What is said of the file by the manifest beside it, where that is a copy's. What was sealed after a copy was made is not held
/// against it, and that is told: a log that was cut off would otherwise pass for a copy.
fn copy_of(db: &Path, report: &mut Report) -> anyhow::Result<Option<Manifest>> {
    let Some(manifest) = manifest_of(db) else { return Ok(None) };
    if !is_of(&manifest, db).with_context(|| format!("{} cannot be read", db.display()))? {
        report
            .findings
            .push("the manifest beside the database is of another file: it is no copy, or one that was changed".into());
        return Ok(None);
    }
    report.notes.push(format!(
        "By its manifest this is a copy of {}: what was sealed later is not held against it.",
        time(manifest.made_at.timestamp_millis())
    ));
    Ok(Some(manifest))
}

/// What the file says, of what still stands: a restore sets aside what was lost with it.
fn of_file(lines: &[String], checker: Option<&Checker>, made_at: i64, report: &mut Report) -> Vec<Stand> {
    let mut stands: Vec<Stand> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(stand) = read(line, checker) else {
            // A fall cut the line short, and it was written again.
            if lines.get(index + 1).is_some_and(|next| next.starts_with(line.as_str())) {
                continue;
            }
            let text = format!(
                "line {} of the file of checkpoints is not signed by the gateway's key: it was forged or damaged",
                index + 1
            );
            report.findings.push(text);
            continue;
        };
        // A copy is of its moment: what was sealed later is not in it.
        if stand.at > made_at {
            continue;
        }
        if stand.kind() == Some(CheckpointKind::Restore) {
            let lost = stands.iter().map(|old| old.seq).filter(|seq| *seq >= stand.seq).max();
            report.notes.extend(lost.map(|lost| {
                format!(
                    "At {} a copy took the database's place: at least rows {} to {lost} of before are lost.",
                    time(stand.at),
                    stand.seq
                )
            }));
            stands.retain(|old| old.seq < stand.seq);
        }
        stands.push(stand);
    }
    stands
}

fn read(token: &str, checker: Option<&Checker>) -> Option<Stand> {
    match checker {
        Some(checker) => checker.check(token),
        None => Stand::unchecked(token),
    }
}

fn of_database(
    wish: &Verify,
    checker: Option<&Checker>,
    is_still: bool,
    report: &mut Report,
) -> anyhow::Result<Vec<Stand>> {
    let found = checkpoints_of(&wish.db, is_still).context("the checkpoints in the database cannot be read")?;
    let (mut stands, mut number) = (Vec::new(), 0);
    for made in found {
        let said = read(&made.token, checker);
        let own = Stand::new("", made.number, made.kind, made.seq, &made.hash, made.at);
        match said {
            Some(said) if (Stand { iss: String::new(), ..said.clone() }) == own => stands.push(said),
            Some(_) => report.findings.push(format!(
                "checkpoint {} (row {}) in the database says another thing than what was signed",
                made.number, made.seq
            )),
            None => report.findings.push(format!(
                "checkpoint {} (row {}) in the database is not signed by the gateway's key: it was forged or damaged",
                made.number, made.seq
            )),
        }
        if made.number != number + 1 {
            report.findings.push(format!(
                "checkpoints {} to {} are missing in the database",
                number + 1,
                made.number - 1
            ));
        }
        number = made.number;
    }
    Ok(stands)
}

/// What the database has and the file does not, though it has later ones.
fn missing_outside(inside: &[Stand], outside: &[Stand], report: &mut Report) {
    let last = outside.last().map_or(0, |stand| stand.number);
    let missing = inside.iter().filter(|stand| stand.number < last && !outside.contains(stand)).count();
    if missing > 0 {
        report.findings.push(format!("the file of checkpoints lacks {missing} that the database has"));
    }
    let own = inside.last().map_or(0, |stand| stand.number);
    let cut: Vec<i64> = outside.iter().filter(|stand| stand.number > own).map(|stand| stand.seq).collect();
    if let (Some(first), false) = (cut.first(), inside.is_empty()) {
        report.findings.push(format!(
            "the database lacks {} checkpoints that the file has, the first of them of row {first}",
            cut.len()
        ));
    }
}

/// What is missing at the oldest end has to be covered by a checkpoint that let it go.
fn pruned(walked: &Walked, marks: &[&Stand], is_checked: bool, report: &mut Report) {
    if walked.first <= 1 {
        return;
    }
    let lets = marks.iter().any(|stand| stand.kind() == Some(CheckpointKind::Prune) && stand.seq >= walked.first - 1);
    if lets {
        report
            .notes
            .push(format!("Rows 1 to {} have left for their age, behind a signed checkpoint.", walked.first - 1));
    } else if is_checked {
        report
            .findings
            .push(format!("rows 1 to {} are missing, and no signed checkpoint let them go", walked.first - 1));
    }
}

fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn say(db: &Path, walked: &Walked, marks: &[&Stand], report: &Report) {
    let mut out = String::new();
    let last = marks.iter().max_by_key(|stand| stand.seq);
    let sealed = last.map_or_else(
        || "no checkpoint".to_owned(),
        |stand| format!("sealed up to row {} at {}", stand.seq, time(stand.at)),
    );
    let _ = writeln!(
        out,
        "{}: {} rows, {} to {} ({}…); {sealed}.",
        db.display(),
        walked.rows,
        walked.first,
        walked.head,
        walked.head_hash.get(..16).unwrap_or_default()
    );
    for finding in report.findings.iter().take(MOST_TOLD) {
        let _ = writeln!(out, "WRONG: {finding}");
    }
    for note in &report.notes {
        let _ = writeln!(out, "{note}");
    }
    let _ = writeln!(
        out,
        "{}",
        if report.findings.is_empty() { "The audit log is whole." } else { "The audit log is NOT whole." }
    );
    let _ = std::io::stdout().write_all(out.as_bytes());
}

/// `vardkedja audit export`: every row as an AuditEvent, a line each, in the order of the chain.
pub fn export(config: &Config, db: Option<&Path>, to: Option<&Path>) -> anyhow::Result<bool> {
    let db = db.unwrap_or(&config.db);
    let observer = Observer { hsa_id: &config.hsa_id, name: &config.name, directory: &config.directory };
    let out: Box<dyn std::io::Write> = match to {
        Some(path) => {
            use std::os::unix::fs::OpenOptionsExt as _;
            let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
            Box::new(file.with_context(|| format!("{} cannot be made", path.display()))?)
        }
        None => Box::new(std::io::stdout()),
    };
    let mut out = std::io::BufWriter::new(out);
    let (mut rows, mut failed) = (0_u64, None);
    rows_in_order(db, manifest_of(db).is_some(), |record| {
        let line = audit_event(&record, &observer);
        rows += 1;
        failed = writeln!(out, "{line}").err();
        failed.is_none()
    })
    .with_context(|| format!("the audit log of {} cannot be read", db.display()))?;
    match failed.or_else(|| out.flush().err()) {
        // Nobody may be reading any more (`vardkedja audit export | head`).
        Some(error) if to.is_none() && error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Some(error) => bail!("the AuditEvents could not be written: {error}"),
        None => eprintln!("{rows} AuditEvents; who took them out is not in the log: note it where you keep them"),
    }
    Ok(true)
}
