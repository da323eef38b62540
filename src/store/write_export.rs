//! Writes exports: where one stands in the order of commits is decided here, by the only one who knows that order.

use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::export::{ExportChange, ExportFile, ExportOrder, Membership};
use super::{Expect, StoreError};

/// The last mark not after a moment.
pub(super) const MARK_BEFORE: &str = "SELECT seq FROM mark WHERE at <= ?1 ORDER BY at DESC LIMIT 1";
const MARK: &str = "INSERT INTO mark (at, seq) VALUES (?1, ?2)";
/// What the client had of the cohort at that moment; what is not known to be another's counts.
const BASIS: &str = "SELECT id FROM export_job INDEXED BY export_of_cohort WHERE client = ?1 AND cohort = ?2 AND transaction_at <= ?3 \
                     AND (client_id IS ?4 OR client_id IS NULL) AND finished_at IS NOT NULL AND is_partial = 0 AND cohort IS NOT NULL \
                     ORDER BY transaction_at DESC LIMIT 1";
const INSERT: &str = "INSERT INTO export_job (id, client, client_id, caller, level, cohort, request, asked, is_partial, created_at, \
                      transaction_at, seq, since_at, since_seq, basis, until_at, until_seq, state, step, position, resources) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 'open', 0, 0, 0)";
const ADVANCE: &str = "UPDATE export_job SET step = ?2, position = ?3, resources = ?4 WHERE id = ?1 AND state = 'open' AND (step, position) <= (?2, ?3)";
const FILE: &str = "INSERT INTO export_file (job, name, kind, type, lines, bytes, sha256) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                    ON CONFLICT (job, name) DO UPDATE SET lines = excluded.lines, bytes = excluded.bytes, sha256 = excluded.sha256 \
                    WHERE sha256 IS NULL";
const PATIENT: &str =
    "INSERT INTO export_patient (job, patient, state) VALUES (?1, ?2, ?3) ON CONFLICT (job, patient) DO NOTHING";
const FINISH: &str =
    "UPDATE export_job SET state = 'done', finished_at = ?2, expires_at = ?3 WHERE id = ?1 AND state = 'open'";
const FAIL: &str =
    "UPDATE export_job SET state = 'failed', expires_at = ?2, note = ?3 WHERE id = ?1 AND state = 'open'";
const REMOVE: &str = "UPDATE export_job SET state = 'gone' WHERE id = ?1 AND state <> 'gone'";
const FORGET_FILES: &str = "DELETE FROM export_file WHERE job = ?1";
const FORGET_PATIENTS: &str = "DELETE FROM export_patient WHERE job = ?1";
const FORGET: &str = "DELETE FROM export_job WHERE id = ?1 AND state = 'gone'";
/// What a client has: open, and with files.
pub(super) const OPEN_OF: &str = "SELECT count(*) AS n FROM export_job INDEXED BY export_kept WHERE client = ?1 AND state = 'open' AND client_id IS ?2";
pub(super) const KEPT_OF: &str = "SELECT count(*) AS n FROM export_job INDEXED BY export_kept WHERE client = ?1 AND state IN ('open', 'done', 'failed') AND client_id IS ?2";

impl Writing<'_, '_> {
    pub(super) fn change_export(&mut self, change: &ExportChange) -> Result<(), Refusal> {
        let db = self.statements;
        match change {
            ExportChange::Begin(order) => self.begin_export(order),
            ExportChange::Advance { id, step, position, resources, files, patients } => {
                let resources = i64::try_from(*resources).unwrap_or(i64::MAX);
                let changed = db.run(ADVANCE, (id.as_bytes(), step, position, resources))?;
                expect_open(*id, changed)?;
                files.iter().try_for_each(|file| self.put_file(*id, file))?;
                patients.iter().try_for_each(|(patient, state)| self.put_patient(*id, patient, *state))
            }
            ExportChange::Finish { id, at, expires_at } => {
                let times = (at.timestamp_millis(), expires_at.timestamp_millis());
                expect_open(*id, db.run(FINISH, (id.as_bytes(), times.0, times.1))?)
            }
            ExportChange::Fail { id, expires_at, note } => {
                let row = (id.as_bytes(), expires_at.timestamp_millis(), note);
                expect_open(*id, db.run(FAIL, row)?)
            }
            ExportChange::Remove { id } => expect_open(*id, db.run(REMOVE, [id.as_bytes()])?),
            ExportChange::Forget { id } => {
                for sql in [FORGET_FILES, FORGET_PATIENTS, FORGET] {
                    db.run(sql, [id.as_bytes()])?;
                }
                Ok(())
            }
        }
    }

    fn begin_export(&mut self, order: &ExportOrder) -> Result<(), Refusal> {
        let db = self.statements;
        let (at, seq) = self.mark_now()?;
        let since_at = order.since_at.map(|t| t.timestamp_millis());
        let until_at = order.until_at.map(|t| t.timestamp_millis());
        // Before the first mark nothing is known of the order of things: then everything counts as changed since.
        let seq_at = |at: i64| {
            let found = db.first(MARK_BEFORE, [at], |row| Ok::<i64, StoreError>(row.get("seq")?))?;
            Ok::<i64, StoreError>(found.unwrap_or(0))
        };
        let since_seq = since_at.map(seq_at).transpose()?;
        let until_seq = until_at.map(seq_at).transpose()?;
        let basis: Option<[u8; 16]> = match (&order.cohort, since_at) {
            (Some(cohort), Some(since)) => {
                let of = (&order.owner.name, cohort, since, &order.owner.client);
                db.first(BASIS, of, |row| Ok::<_, StoreError>(row.get("id")?))?
            }
            _ => None,
        };
        // Whoever goes on from a window's end must not lose what lies between it and now.
        let transaction_at = until_at.map_or(at, |until| until.min(at));
        db.run(
            INSERT,
            rusqlite::params![
                order.id.as_bytes(),
                order.owner.name,
                order.owner.client,
                order.caller,
                order.level.code(),
                order.cohort,
                order.request,
                order.asked,
                order.is_partial,
                order.created_at.timestamp_millis(),
                transaction_at,
                seq,
                since_at,
                since_seq,
                basis,
                until_at,
                until_seq,
            ],
        )?;
        Ok(())
    }

    /// A mark behind everything that is committed: nothing that comes later has a lower `seq`, whatever time it says.
    fn mark_now(&mut self) -> Result<(i64, i64), rusqlite::Error> {
        let (at, seq) = self.state.mark_at(self.now_ms);
        self.statements.run(MARK, (at, seq))?;
        Ok((at, seq))
    }

    /// Now and then, so that a moment that is no export's can be placed among the commits too.
    pub(super) fn mark_sometimes(&mut self) -> Result<(), rusqlite::Error> {
        if self.state.is_mark_due(self.now_ms) {
            self.mark_now()?;
        }
        Ok(())
    }

    fn put_file(&self, job: Uuid, file: &ExportFile) -> Result<(), Refusal> {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (kind, of) = (file.kind.code(), &file.resource_type);
        let row = (job.as_bytes(), &file.name, kind, of, count(file.lines), count(file.bytes), &file.sha256);
        self.statements.run(FILE, row)?;
        Ok(())
    }

    fn put_patient(&self, job: Uuid, patient: &str, state: Membership) -> Result<(), Refusal> {
        self.statements.run(PATIENT, (job.as_bytes(), patient, state.code()))?;
        Ok(())
    }
}

fn expect_open(export: Uuid, changed: usize) -> Result<(), Refusal> {
    if changed == 1 { Ok(()) } else { Err(Refusal::Unmet(Expect::ExportOpen { export })) }
}
