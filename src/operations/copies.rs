//! Copies of the database, as commands: what was done, what is in the copy, and what follows from it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::store::{self, BackupError, Commit, Manifest};

/// `vardkedja backup`: true where there is a copy.
pub fn back_up(db: &Path, to: &Path) -> anyhow::Result<bool> {
    let mut out = String::new();
    let manifest = store::back_up(db, to, Utc::now()).context("no copy was made")?;
    let _ = writeln!(out, "{} and its manifest are written ({} bytes).", to.display(), manifest.bytes);
    tell(&mut out, &manifest);
    if let Err(error) = store::leave_for_log(db, &manifest) {
        let _ =
            writeln!(out, "The audit log will not tell of it: beside the database nothing could be left ({error}).");
    }
    let _ = writeln!(
        out,
        "It holds personal data: keep it encrypted, and elsewhere. Try it: vardkedja verify-backup {}",
        to.display()
    );
    say(&out);
    Ok(true)
}

/// Puts copies that were made of the database, while the gateway ran or before, into its audit log. What a process that was
/// killed in between leaves behind is told twice rather than not at all.
pub async fn record(gateway: &Gateway, now: DateTime<Utc>) {
    let left = match store::left_for_log(&gateway.config.db) {
        Ok(left) => left,
        Err(error) => return tracing::error!(error = %error, "copies of the database could not be recorded"),
    };
    for (path, note) in left {
        let event = Event::new(now, By::named("operator"), Deed::Backup, "database")
            .about([])
            .with("madeAt", note.made_at.to_rfc3339_opts(SecondsFormat::Millis, true))
            .with("bytes", note.bytes)
            .with("sha256", note.sha256);
        let commit = Commit { audit: vec![event.into()], ..Commit::default() };
        let recorded = gateway.store.commit(commit).await.is_ok();
        if !recorded || std::fs::remove_file(&path).is_err() {
            tracing::error!("that a copy of the database was made could not be recorded, and is tried again");
            return;
        }
    }
}

/// `vardkedja verify-backup`: true where the copy is good.
pub fn verify_backup(file: &Path) -> anyhow::Result<bool> {
    let mut out = String::new();
    let manifest = store::verify_backup(file).with_context(|| format!("{} is no good copy", file.display()))?;
    let _ = writeln!(
        out,
        "{} is good: bytes, structure, references, audit log and counts are as they were.",
        file.display()
    );
    tell(&mut out, &manifest);
    say(&out);
    Ok(true)
}

/// `vardkedja restore`: true where the copy stands in the database's place.
pub fn restore(file: &Path, to: &Path, force: bool) -> anyhow::Result<bool> {
    let mut out = String::new();
    let restored = store::restore(file, to, force, Utc::now()).map_err(|error| match error {
        BackupError::Halfway { .. } => error.into(),
        _ => anyhow::Error::from(error).context("nothing was restored"),
    })?;
    let _ = writeln!(out, "{} is restored from {}.", to.display(), file.display());
    if let Some(aside) = &restored.aside {
        let _ = writeln!(out, "What stood there is kept at {} (with its log beside it).", aside.display());
    }
    tell(&mut out, &restored.manifest);
    if !restored.manifest.undelivered.is_empty() {
        let _ = writeln!(
            out,
            "Look at them before the gateway is started: vardkedja status --db {}. What has got a newer version since is sent \
             as it was; the partner has the older until the newer comes again.",
            to.display()
        );
    }
    let made_at = restored.manifest.made_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let _ = writeln!(
        out,
        "What this means:\n\
         - What was undelivered at {made_at} is sent when the gateway starts. Some of it may have arrived since: the same \
         bytes again, which change nothing unless the partner has got a newer version meanwhile.\n\
         - Documents that were taken in after {made_at} are not here. Ask the senders to send again whatever they sent since: \
         what is known already is answered as before, and a newer version puts the partner right.\n\
         - Answers that partners gave since are read again from their Tasks."
    );
    say(&out);
    Ok(true)
}

fn tell(out: &mut String, manifest: &Manifest) {
    let rows = |table: &str| manifest.rows.get(table).copied().unwrap_or(0);
    let _ = writeln!(
        out,
        "Made {}: {} exchanges, {} documents, {} resource versions, {} audit rows (head {}:{}).",
        manifest.made_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        rows("exchange"),
        rows("document"),
        rows("version"),
        rows("audit"),
        manifest.audit.seq,
        manifest.audit.hash.get(..16).unwrap_or_default(),
    );
    if manifest.undelivered.is_empty() {
        let _ = writeln!(out, "Nothing was undelivered.");
    }
    for (partner, count) in &manifest.undelivered {
        let _ = writeln!(out, "Undelivered to {partner}: {count}.");
    }
}

/// Nobody may be reading any more (`vardkedja verify-backup … | head`); what was done is done.
fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}
