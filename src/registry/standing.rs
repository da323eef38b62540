//! An export that is there: how it stands, its manifest, one of its files, and its end. To everyone but its client it is not.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::begin::row;
use super::criteria::reader;
use super::manifest::manifest;
use super::request::Request;
use super::terms::Terms;
use super::writing::{STEPS_BEFORE_TYPES, is_closed};
use crate::Gateway;
use crate::access::{Caller, Reach, read_caller};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Clause, Commit, Committed, Export, ExportChange, ExportFile, ExportState, Extent, FileKind, Right};
use crate::sync::Refusal;
use crate::sync::refusal::missing;

/// How an export stands.
#[derive(Debug)]
pub enum Standing {
    /// What `X-Progress` says.
    Open(String),
    Done {
        manifest: Value,
        expires_at: Option<DateTime<Utc>>,
    },
    Failed,
}

/// The client's own export: that it is of the same unit or partner is not enough, nor that it is the same client where its
/// agreement is another registry's now.
async fn own(gateway: &Gateway, caller: &Caller, id: Uuid) -> Result<Export, Refusal> {
    let export = gateway.store.export_of(&caller.owner(), id).await?.ok_or_else(|| missing("export"))?;
    let then = read_caller(&export.caller).map(|then| then.reach);
    match (&caller.reach, then) {
        (Reach::Registry(now), Some(Reach::Registry(then))) if *now == then => Ok(export),
        (Reach::Registry(_), _) | (_, None | Some(Reach::Registry(_))) => Err(missing("export")),
        _ => Ok(export),
    }
}

/// The same, where it may still go out: whoever has objected since must not be in it, nor what a block has closed since.
async fn own_today(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<Export, Refusal> {
    let export = own(gateway, caller, id).await?;
    let is_outdated =
        Terms::of(gateway, caller, now).is_outdated(gateway, export.seq).await? || is_closed(gateway, &export).await?;
    if is_outdated { Err(missing("export")) } else { Ok(export) }
}

/// Whether what satisfies the one list of criteria satisfies the other: the same, or the same of more codes.
fn holds(now: &[Clause], then: &[Clause]) -> bool {
    match (now, then) {
        ([Clause::Token { param: of_now, any_of: now }], [Clause::Token { param: of_then, any_of: then }]) => {
            of_now == of_then && then.iter().all(|token| now.contains(token))
        }
        (now, then) => now == then,
    }
}

/// Whether the token covers now what the one covered that the export was asked for with: of one type, or of all. A unit is one
/// caller to whichever of its systems comes, and what one of them may fetch another may not.
fn check_covered(gateway: &Gateway, caller: &Caller, export: &Export, of_type: Option<&str>) -> Result<(), Refusal> {
    let Some(then) = read_caller(&export.caller) else { return Err(missing("export")) };
    let then = then.narrowed(&gateway.compiled, &reader(gateway, export.created_at));
    let types = Request::read(&export.asked).map(|request| request.types).unwrap_or_default();
    let reaches = match (&caller.reach, &then.reach) {
        (Reach::Units(now), Reach::Units(then)) => then.iter().all(|unit| now.contains(unit)),
        (now, then) => now == then,
    };
    let covers = |resource_type: &str| {
        let Some(now) = caller.grants.as_ref().map(|grants| grants.extent(resource_type, Right::Read)) else {
            return true;
        };
        match (now, then.grants.as_ref().map_or(Extent::All, |grants| grants.extent(resource_type, Right::Read))) {
            (Extent::All, _) | (_, Extent::Nothing) => true,
            (Extent::AnyOf(now), Extent::AnyOf(then)) => then.iter().all(|then| now.iter().any(|now| holds(now, then))),
            (Extent::Nothing | Extent::AnyOf(_), _) => false,
        }
    };
    let lacked = match of_type {
        Some(one) => (!covers(one)).then(|| one.to_owned()),
        None => types.into_iter().find(|kind| !covers(kind)),
    };
    match lacked {
        _ if !reaches => Err(missing("export")),
        None => Ok(()),
        Some(kind) => Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "",
            format!("Biljetten täcker mindre av {kind} än den som exporten begärdes med."),
            format!("The token covers less of {kind} than the one that the export was asked for with."),
        ))),
    }
}

/// Whether the export is the caller's, before anything is counted against it.
pub async fn standing(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<Standing, Refusal> {
    let export = own_today(gateway, caller, id, now).await?;
    check_covered(gateway, caller, &export, None)?;
    // What nobody has tidied away yet is gone all the same.
    if export.expires_at.is_some_and(|at| at <= now) {
        return Err(missing("export"));
    }
    Ok(match export.state {
        ExportState::Open => Standing::Open(progress(&export)),
        ExportState::Done => {
            let files = gateway.store.export_files(id).await?;
            let manifest = manifest(&export, &files, &gateway.config.base_url);
            Standing::Done { manifest, expires_at: export.expires_at }
        }
        ExportState::Failed | ExportState::Gone => Standing::Failed,
    })
}

fn progress(export: &Export) -> String {
    let types = Request::read(&export.asked).map(|request| request.types).unwrap_or_default();
    let done = export.step.saturating_sub(STEPS_BEFORE_TYPES) as usize;
    match types.get(done) {
        Some(kind) if export.step >= STEPS_BEFORE_TYPES => {
            format!("{} resources; {kind}, {} of {} types", export.resources, done + 1, types.len())
        }
        _ => format!("{} resources; 0 of {} types", export.resources, types.len()),
    }
}

/// A file to be sent: where it lies, and what is on record of it.
#[derive(Debug)]
pub struct Sendable {
    pub path: PathBuf,
    pub file: ExportFile,
}

/// A file of the caller's export that is whole.
pub async fn file(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Sendable, Refusal> {
    let export = own_today(gateway, caller, id, now).await?;
    if export.state != ExportState::Done || export.expires_at.is_some_and(|at| at <= now) {
        return Err(missing("file"));
    }
    let file = gateway.store.export_file(id, name).await?.ok_or_else(|| missing("file"))?;
    let of_type = (file.kind == FileKind::Output).then_some(file.resource_type.as_str());
    check_covered(gateway, caller, &export, of_type)?;
    Ok(Sendable { path: folder(gateway, id).join(&file.name), file })
}

/// Records what of a file is about to leave, and to whom; on disk before it leaves. What has been closed until then does not
/// leave, although it was found before.
pub async fn disclose(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    file: &ExportFile,
    (first, length): (u64, u64),
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let payload = json!({
        "recipient": caller.name,
        "file": file.name,
        "type": file.resource_type,
        "resources": file.lines,
        "bytes": length,
        "from": first,
        "of": file.bytes,
        "sha256": file.sha256,
    });
    let audit = vec![row(gateway, caller, "file", id, &payload, now)];
    gateway.store.commit(Commit { audit, ..Commit::default() }).await?;
    own_today(gateway, caller, id, now).await.map(|_| ())
}

/// Ends the export and takes its files away. What it was about stays on record.
pub async fn remove(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<(), Refusal> {
    let export = own(gateway, caller, id).await?;
    let payload = json!({ "recipient": caller.name, "state": export.state.code(), "resources": export.resources });
    let commit = Commit {
        exports: vec![ExportChange::Remove { id }],
        audit: vec![row(gateway, caller, "delete", id, &payload, now)],
        ..Commit::default()
    };
    if let Committed::Conflict(_) = gateway.store.commit(commit).await? {
        return Err(missing("export"));
    }
    gateway.exports.wake.notify_one();
    clear(gateway, id).await;
    Ok(())
}

/// Where the files of an export lie.
pub(super) fn folder(gateway: &Gateway, id: Uuid) -> PathBuf {
    gateway.config.export.folder.join(id.to_string())
}

/// Takes the files of an export away. What cannot be taken away now is when the worker tidies up.
pub(super) async fn clear(gateway: &Gateway, id: Uuid) {
    let folder = folder(gateway, id);
    let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
}
