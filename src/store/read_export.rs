//! Reads exports: whose they are, how far they have come, and what has been written.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use uuid::Uuid;

use super::export::{Export, ExportFile, ExportLevel, ExportState, FileKind, Membership, Owner, Until};
use super::row::{time, time_if_any, uuid, uuid_if_any, word};
use super::statement::Statements;
use super::{Store, StoreError};

/// One of before of which no client is known is the one's whose own name it has.
const OF_CLIENT: &str = "SELECT * FROM export_job WHERE id = ?1 AND client = ?2 AND state <> 'gone' \
                         AND (client_id IS ?3 OR client_id IS NULL AND client = ?3)";
const BY_ID: &str = "SELECT * FROM export_job WHERE id = ?1";
const OPEN: &str =
    "SELECT id, client FROM export_job INDEXED BY export_open WHERE state = 'open' ORDER BY created_at, id LIMIT ?1";
const EXPIRED: &str = "SELECT id FROM export_job INDEXED BY export_expires WHERE expires_at <= ?1 \
                       AND state IN ('done', 'failed') ORDER BY expires_at LIMIT ?2";
const FILES: &str = "SELECT * FROM export_file WHERE job = ?1 ORDER BY name";
const FILE: &str = "SELECT * FROM export_file WHERE job = ?1 AND name = ?2 AND sha256 IS NOT NULL";
const PATIENTS: &str = "SELECT patient FROM export_patient WHERE job = ?1 AND patient > ?2 AND state <> 'left' \
                        AND NOT EXISTS (SELECT 1 FROM export_patient m WHERE m.job = ?3 AND m.patient = export_patient.patient) \
                        ORDER BY patient LIMIT ?4";
const HAS_PATIENTS: &str = "SELECT 1 FROM export_patient WHERE job = ?1 AND state <> 'left' LIMIT 1";
const WHICH: &str = "SELECT state FROM export_patient WHERE job = ?1 AND patient = ?2";
/// Done with, and of no use as what a client had before.
const FORGOTTEN: &str = "SELECT id FROM export_job INDEXED BY export_kept WHERE client = ?1 AND state = 'gone' AND created_at < ?2 LIMIT ?3";
const NEXT_CLIENT: &str = "SELECT min(client) AS client FROM export_job INDEXED BY export_kept WHERE client > ?1";

fn export(row: &Row<'_>) -> Result<Export, StoreError> {
    let until = time_if_any(row, "until_at")?.zip(row.get("until_seq")?).map(|(at, seq)| Until { at, seq });
    let resources: i64 = row.get("resources")?;
    Ok(Export {
        id: uuid(row, "id")?,
        client: row.get("client")?,
        caller: row.get("caller")?,
        level: word(row, "level", "the level of an export", ExportLevel::parse)?,
        cohort: row.get("cohort")?,
        request: row.get("request")?,
        asked: row.get("asked")?,
        is_partial: row.get("is_partial")?,
        created_at: time(row, "created_at")?,
        transaction_at: time(row, "transaction_at")?,
        seq: row.get("seq")?,
        since_at: time_if_any(row, "since_at")?,
        since_seq: row.get("since_seq")?,
        basis: uuid_if_any(row, "basis")?,
        until,
        state: word(row, "state", "the state of an export", ExportState::parse)?,
        step: row.get("step")?,
        position: row.get("position")?,
        resources: u64::try_from(resources).unwrap_or(0),
        note: row.get("note")?,
        finished_at: time_if_any(row, "finished_at")?,
        expires_at: time_if_any(row, "expires_at")?,
    })
}

fn file(row: &Row<'_>) -> Result<ExportFile, StoreError> {
    let count = |name: &str| Ok::<u64, StoreError>(u64::try_from(row.get::<_, i64>(name)?).unwrap_or(0));
    Ok(ExportFile {
        name: row.get("name")?,
        kind: word(row, "kind", "the kind of a file", FileKind::parse)?,
        resource_type: row.get("type")?,
        lines: count("lines")?,
        bytes: count("bytes")?,
        sha256: row.get("sha256")?,
    })
}

/// Whether the patient is on that export's list and was not there as one who left.
pub(super) fn is_listed(db: &Statements<'_>, export: Uuid, patient: &str) -> Result<bool, StoreError> {
    let state: Option<String> =
        db.first(WHICH, (export.as_bytes(), patient), |row| Ok::<_, StoreError>(row.get("state")?))?;
    Ok(state.is_some_and(|state| state != Membership::Left.code()))
}

impl Store {
    /// The client's export. Another's does not exist.
    pub async fn export_of(&self, owner: &Owner, id: Uuid) -> Result<Option<Export>, StoreError> {
        let owner = owner.clone();
        self.read(move |db| db.first(OF_CLIENT, (id.as_bytes(), owner.name, owner.client), export)).await
    }

    /// For whoever works on it.
    pub async fn export(&self, id: Uuid) -> Result<Option<Export>, StoreError> {
        self.read(move |db| db.first(BY_ID, [id.as_bytes()], export)).await
    }

    /// Exports that are not over, with their clients, the oldest first.
    pub async fn open_exports(&self, limit: u32) -> Result<Vec<(Uuid, String)>, StoreError> {
        self.read(move |db| db.all(OPEN, [limit], |row| Ok((uuid(row, "id")?, row.get("client")?)))).await
    }

    /// Exports whose time is up.
    pub async fn expired_exports(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        self.read(move |db| db.all(EXPIRED, (now.timestamp_millis(), limit), |row| uuid(row, "id"))).await
    }

    /// Exports that are gone since so long that nobody asks for what changed since then.
    pub async fn forgotten_exports(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        self.read(move |db| {
            let (mut all, mut client) = (Vec::new(), String::new());
            loop {
                let next: Option<Option<String>> =
                    db.first(NEXT_CLIENT, [&client], |row| Ok::<_, StoreError>(row.get("client")?))?;
                let Some(next) = next.flatten() else { return Ok(all) };
                client = next;
                all.extend(db.all(FORGOTTEN, (&client, before.timestamp_millis(), limit), |row| uuid(row, "id"))?);
            }
        })
        .await
    }

    /// What is on record of its files.
    pub async fn export_files(&self, id: Uuid) -> Result<Vec<ExportFile>, StoreError> {
        self.read(move |db| db.all(FILES, [id.as_bytes()], file)).await
    }

    /// A file that is whole.
    pub async fn export_file(&self, id: Uuid, name: &str) -> Result<Option<ExportFile>, StoreError> {
        let name = name.to_owned();
        self.read(move |db| db.first(FILE, (id.as_bytes(), name), file)).await
    }

    /// Patients of an earlier export that are not on the list of this one, in their order.
    pub async fn export_leavers(
        &self,
        earlier: Uuid,
        now: Uuid,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let after = after.to_owned();
        self.read(move |db| {
            db.all(PATIENTS, (earlier.as_bytes(), after, now.as_bytes(), limit), |row| Ok(row.get("patient")?))
        })
        .await
    }

    /// Whether there is anybody on its list who has not left.
    pub async fn export_has_patients(&self, id: Uuid) -> Result<bool, StoreError> {
        let found = self.read(move |db| db.first(HAS_PATIENTS, [id.as_bytes()], |_| Ok::<_, StoreError>(()))).await?;
        Ok(found.is_some())
    }

    /// The last commit that can have been seen at that moment; nothing where all may be later.
    pub async fn seq_at(&self, at: DateTime<Utc>) -> Result<i64, StoreError> {
        let found = self
            .read(move |db| {
                db.first(super::write_export::MARK_BEFORE, [at.timestamp_millis()], |row| {
                    Ok::<i64, StoreError>(row.get("seq")?)
                })
            })
            .await?;
        Ok(found.unwrap_or(0))
    }

    /// The last commit and the time it had, for a comparison with what stands now.
    pub async fn last_seq(&self) -> Result<i64, StoreError> {
        let found =
            self.read(move |db| db.first(super::state::LAST_SEQ, [], |row| Ok::<i64, StoreError>(row.get(0)?))).await?;
        Ok(found.unwrap_or(0))
    }
}
