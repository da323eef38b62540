//! One file: read, sent the road of every document, and moved to where it stays.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::folder::{Folder, Found, Place};
use super::{Broken, blocking, name};
use crate::Gateway;
use crate::access::Caller;
use crate::config::{FileDrop, Files};
use crate::domain::audit::{Deed, Event, Outcome};
use crate::domain::{Format, Kind};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Commit, Dropped};
use crate::sync::receipt::bounded_outcome;
use crate::sync::{Answered, Refusal, Submission, submit, witness};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Taken,
    Refused,
    /// It stays claimed, and is looked at again.
    Later(io::ErrorKind),
}

/// What is to be written about it.
#[derive(Debug, Default)]
struct Said {
    exchanges: Vec<Uuid>,
    /// With the end of its name.
    receipt: Option<(&'static str, Vec<u8>)>,
    findings: Option<Value>,
}

impl Said {
    fn refused(gateway: &Gateway, issues: &[Issue]) -> Self {
        let findings = bounded_outcome(issues, gateway.config.limits.findings);
        Self { findings: Some(findings), ..Self::default() }
    }
}

pub async fn take(
    gateway: &Arc<Gateway>,
    settings: &FileDrop,
    caller: &Caller,
    folder: &Folder,
    claimed: &OsStr,
    now: DateTime<Utc>,
) -> Result<Ended, Broken> {
    let own: OsString = claimed.to_owned();
    let (hash, said) = match blocking(folder.work(move |folder| folder.read(&own))).await? {
        Found::Unsettled(kind) => return Ok(Ended::Later(kind)),
        Found::Bytes(bytes) => (name::hash(&bytes), ask(gateway, settings, caller, bytes, now).await?),
        // Nothing of it was read: its name must do, and is hashed, for whoever it names.
        found => (name::hash(claimed.as_encoded_bytes()), Said::refused(gateway, &[unreadable(settings, &found)])),
    };
    let refused = said.findings.is_some();
    if refused {
        let by = witness::by(&gateway.config.directory, caller);
        let event = Event::new(now, by, Deed::Refuse, format!("drop/{}", settings.name));
        witness::tell(gateway, event.ended(Outcome::Minor).about([]).with("file", hash.as_str())).await?;
    }
    if !said.exchanges.is_empty() {
        let dropped = |exchange: &Uuid| Dropped { name: settings.name.clone(), exchange: *exchange, told: 0 };
        let dropped = said.exchanges.iter().map(dropped).collect();
        gateway.store.commit(Commit { dropped, ..Commit::default() }).await.map_err(Refusal::from)?;
    }
    let place = if refused { Place::Refused } else { Place::Done };
    let (own, kept) = (claimed.to_owned(), name::kept(claimed, &hash));
    blocking(folder.work(move |folder| -> io::Result<()> {
        let name = folder.free(place, &own, &kept)?;
        if let Some((end, receipt)) = said.receipt {
            folder.write_answer(&format!("{name}.receipt.{end}"), &receipt)?;
        }
        if let Some(findings) = said.findings {
            folder.write_findings(&format!("{name}.findings.json"), &serde_json::to_vec_pretty(&findings)?)?;
        }
        folder.settle(&own, place, &name)
    }))
    .await??;
    if refused {
        tracing::warn!(drop = settings.name, file = hash, "a file was refused; its findings are beside it");
        return Ok(Ended::Refused);
    }
    tracing::info!(drop = settings.name, file = hash, "a file was taken");
    Ok(Ended::Taken)
}

/// Why a file was not even read.
fn unreadable(settings: &FileDrop, found: &Found) -> Issue {
    match found {
        Found::TooLong(bytes) => Issue::error(
            Code::TooLong,
            "",
            format!("Filen har {bytes} byte; högst {} tas emot (most_bytes). Dela upp den.", settings.most_bytes),
            format!("The file has {bytes} bytes; at most {} are taken (most_bytes). Divide it.", settings.most_bytes),
        ),
        Found::NoFile => Issue::error(
            Code::NotSupported,
            "",
            "Länkar och annat som inte är filer följs inte; lägg filen själv i mappen.",
            "Links and other things that are no files are not followed; put the file itself into the folder.",
        ),
        Found::Bytes(_) | Found::Closed | Found::Unsettled(_) => Issue::error(
            Code::Forbidden,
            "",
            "Filen får inte läsas av programmet; ge det läsrätt och lägg filen i mappen igen.",
            "The program may not read the file; let it read, and put the file into the folder again.",
        ),
    }
}

/// Sends what the file holds. An error is one of ours, or that too much waits: the file stays as it is.
async fn ask(
    gateway: &Arc<Gateway>,
    settings: &FileDrop,
    caller: &Caller,
    bytes: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<Said, Broken> {
    let (gateway, caller) = (Arc::clone(gateway), caller.clone());
    let (kind, files, runtime) = (settings.kind, settings.files, Handle::current());
    // Mapping and validating keep a thread busy, as for a request that is large.
    let work = move || {
        runtime.block_on(async {
            match files {
                Files::Whole(format) => whole(&gateway, &caller, kind, format, &bytes, now).await,
                Files::Lines => lines(&gateway, &caller, kind, &bytes, now).await,
            }
        })
    };
    Ok(blocking(work).await??)
}

async fn whole(
    gateway: &Gateway,
    caller: &Caller,
    kind: Kind,
    format: Format,
    bytes: &[u8],
    now: DateTime<Utc>,
) -> Result<Said, Refusal> {
    match submit(gateway, &Submission { caller, kind, format, bytes, key: None, now }).await {
        Ok(answered) => {
            let exchanges = exchange(&answered).into_iter().collect();
            Ok(Said { exchanges, receipt: Some(("json", answered.body)), findings: None })
        }
        Err(refusal) if is_ours(&refusal) => Err(refusal),
        Err(refusal) => Ok(Said::refused(gateway, refusal.issues())),
    }
}

/// An activity on each line. A bad line does not hold up the others; it makes the file one that was refused, so that somebody sees
/// it, and what was taken of it is taken once however often the mended file comes.
async fn lines(
    gateway: &Gateway,
    caller: &Caller,
    kind: Kind,
    bytes: &[u8],
    now: DateTime<Utc>,
) -> Result<Said, Refusal> {
    let most = gateway.config.limits.line_bytes;
    let (mut said, mut receipts, mut findings) = (Said::default(), Vec::new(), Vec::new());
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    for (number, line) in lines.map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty()) {
        let result = if line.len() > most {
            Err(vec![too_long(most)])
        } else {
            match submit(gateway, &Submission { caller, kind, format: Format::Json, bytes: line, key: None, now }).await
            {
                Ok(answered) => Ok(answered),
                Err(refusal) if is_ours(&refusal) => return Err(refusal),
                Err(refusal) => Err(refusal.issues().to_vec()),
            }
        };
        let line = match result {
            Ok(answered) => {
                said.exchanges.extend(exchange(&answered));
                json!({
                    "line": number, "status": answered.status, "location": answered.location,
                    "receipt": serde_json::from_slice::<Value>(&answered.body).unwrap_or_default(),
                })
            }
            Err(issues) => {
                let line =
                    json!({ "line": number, "outcome": bounded_outcome(&issues, gateway.config.limits.findings) });
                findings.extend(issues.into_iter().map(|issue| {
                    let place = issue
                        .origin
                        .as_ref()
                        .map_or_else(|| format!("line {number}"), |origin| format!("line {number}, {origin}"));
                    issue.from(place)
                }));
                line
            }
        };
        receipts.extend(line.to_string().bytes());
        receipts.push(b'\n');
    }
    if receipts.is_empty() {
        findings.push(Issue::error(Code::Required, "", "Filen har inga rader.", "The file has no lines."));
    }
    said.receipt = Some(("ndjson", receipts));
    if !findings.is_empty() {
        said.findings = Said::refused(gateway, &findings).findings;
    }
    Ok(said)
}

fn too_long(most: usize) -> Issue {
    Issue::error(
        Code::TooLong,
        "",
        format!("Raden är för lång; högst {most} byte tas emot (limits.line_bytes)."),
        format!("The line is too long; at most {most} bytes are taken (limits.line_bytes)."),
    )
}

/// Nothing of it is the file's fault: it is tried again.
fn is_ours(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Busy | Refusal::Store(_))
}

fn exchange(answered: &Answered) -> Option<Uuid> {
    answered.location.as_deref()?.rsplit('/').next()?.parse().ok()
}
