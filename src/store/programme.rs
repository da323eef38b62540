//! Programmes in the store: their rows, what is due of them, and the purge, which takes everything of one that is not the
//! journal's and leaves a stub.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use serde_json::json;
use uuid::Uuid;

use super::apply::{Refusal, Writing};
use super::link::person;
use super::removal::{ANOTHER_PROGRAMME, Named, STUB, hashed};
use super::rights::Removal;
use super::row::{list, time, time_if_any, uuid, uuid_if_any};
use super::visible::units;
use super::{Expect, Filter, Store, StoreError};
use crate::domain::programme::Stage;

/// A programme of one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programme {
    pub id: Uuid,
    /// Counts its changes; a commit expects the one it read.
    pub revision: u32,
    /// The id of its PlanDefinition, and which version it was started by.
    pub definition: String,
    pub version: String,
    pub stage: Stage,
    /// The id of the Patient; none once it was purged.
    pub patient: Option<String>,
    /// The unit that started it.
    pub unit: String,
    /// The unit that it was handed over to.
    pub team: Option<String>,
    pub started_at: DateTime<Utc>,
    /// The earliest start of a moment.
    pub moment_at: DateTime<Utc>,
    pub active_at: Option<DateTime<Utc>>,
    pub treatment_at: Option<DateTime<Utc>>,
    pub closed_at: Option<DateTime<Utc>>,
    pub purged_at: Option<DateTime<Utc>>,
    pub swept_at: DateTime<Utc>,
    pub purge_at: DateTime<Utc>,
    pub next_at: Option<DateTime<Utc>>,
    /// A JSON object: codes and HSA-ids of staff, no word of a patient's.
    pub state: String,
    /// `Type/id` of what this commit makes of it, and whether it outlives the purge.
    pub made: Vec<(String, bool)>,
}

/// Everything of a programme that is not the journal's goes, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    pub programme: Uuid,
    /// Of its stub, why and by whom; `exchange` and `revision` are the programme's.
    pub removal: Removal,
}

const PUT: &str = "INSERT INTO programme (id, revision, definition, version, stage, patient, unit, team, started_at, moment_at, \
     active_at, treatment_at, closed_at, purged_at, swept_at, purge_at, next_at, state) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, NULL, ?14, ?15, ?16, ?17) \
     ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, stage = excluded.stage, team = excluded.team, \
     moment_at = excluded.moment_at, active_at = excluded.active_at, treatment_at = excluded.treatment_at, \
     closed_at = excluded.closed_at, swept_at = excluded.swept_at, purge_at = excluded.purge_at, next_at = excluded.next_at, \
     state = excluded.state";
const MADE: &str = "INSERT INTO programme_resource (programme, rid, kept) SELECT ?1, rid, ?4 FROM resource WHERE type = ?2 AND id = ?3 \
     ON CONFLICT (programme, rid) DO NOTHING";
const ONE: &str = "SELECT * FROM programme WHERE id = ?1";
pub(super) const REVISION: &str = "SELECT revision FROM programme WHERE id = ?1";
/// A hold on its patient keeps it.
const HELD: &str = concat!(
    "SELECT h.id FROM hold h INDEXED BY hold_of_patient WHERE h.patient IN ",
    person!("?1"),
    " AND h.patient IS NOT NULL AND h.lifted_at IS NULL LIMIT 1"
);
const DUE: &str = "SELECT * FROM programme INDEXED BY programme_next WHERE next_at IS NOT NULL AND next_at <= ?1 \
     ORDER BY next_at LIMIT ?2";
const NEXT: &str =
    "SELECT next_at FROM programme INDEXED BY programme_next WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1";
const OF_PATIENT: &str = concat!(
    "SELECT * FROM programme INDEXED BY programme_of_patient WHERE patient IN ",
    person!("?1"),
    " AND patient IS NOT NULL"
);
const RECENT: &str =
    "SELECT * FROM programme INDEXED BY programme_recent WHERE started_at < ?1 ORDER BY started_at DESC LIMIT ?2";
const OF_UNITS: &str = "SELECT p.* FROM (\
     SELECT a.id FROM json_each(?3) CROSS JOIN programme a INDEXED BY programme_of_unit ON a.unit = json_each.value \
     WHERE a.started_at < ?1 \
     UNION SELECT t.id FROM json_each(?3) CROSS JOIN programme t INDEXED BY programme_of_team ON t.team = json_each.value \
     WHERE t.team IS NOT NULL AND t.started_at < ?1) l CROSS JOIN programme p ON p.id = l.id ORDER BY p.started_at DESC LIMIT ?2";
/// What the journal still has to say is kept until it does: a reminder that is done goes with the rest.
const OWN: &str = "SELECT r.rid, r.type, r.id FROM programme_resource x CROSS JOIN resource r ON r.rid = x.rid \
     CROSS JOIN version v ON v.seq = r.seq WHERE x.programme = ?1 \
     AND (x.kept = 0 OR r.type = 'Task' AND json_extract(CAST(v.body AS TEXT), '$.status') = 'completed')";
const NAMES: &str = "SELECT r.type || '/' || r.id FROM programme_resource x CROSS JOIN resource r ON r.rid = x.rid \
     WHERE x.programme = ?1";
/// The Patient itself goes where nothing else is about them.
const ALONE: &str = "SELECT r.rid, r.type, r.id FROM resource r WHERE r.type = 'Patient' AND r.id = ?1 \
     AND NOT EXISTS (SELECT 1 FROM resource o INDEXED BY resource_of_patient WHERE o.patient = ?1 AND o.rid <> r.rid) \
     AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.patient = ?1) \
     AND NOT EXISTS (SELECT 1 FROM opt_out o WHERE o.patient = ?1) \
     AND NOT EXISTS (SELECT 1 FROM information i WHERE i.patient = ?1) \
     AND NOT EXISTS (SELECT 1 FROM block b WHERE b.patient = ?1) \
     AND NOT EXISTS (SELECT 1 FROM kin k WHERE k.patient = ?1)";
const EMPTIED: &str = "UPDATE programme SET stage = 'purged', revision = revision + 1, patient = NULL, purged_at = ?2, \
     closed_at = coalesce(closed_at, ?2), next_at = NULL, state = '{}' WHERE id = ?1";

fn programme(row: &Row<'_>) -> Result<Programme, StoreError> {
    let stage: String = row.get("stage")?;
    Ok(Programme {
        id: uuid(row, "id")?,
        revision: row.get("revision")?,
        definition: row.get("definition")?,
        version: row.get("version")?,
        stage: Stage::parse(&stage).ok_or(StoreError::Corrupt("a stage"))?,
        patient: row.get("patient")?,
        unit: row.get("unit")?,
        team: row.get("team")?,
        started_at: time(row, "started_at")?,
        moment_at: time(row, "moment_at")?,
        active_at: time_if_any(row, "active_at")?,
        treatment_at: time_if_any(row, "treatment_at")?,
        closed_at: time_if_any(row, "closed_at")?,
        purged_at: time_if_any(row, "purged_at")?,
        swept_at: time(row, "swept_at")?,
        purge_at: time(row, "purge_at")?,
        next_at: time_if_any(row, "next_at")?,
        state: row.get("state")?,
        made: Vec::new(),
    })
}

impl Writing<'_, '_> {
    pub(super) fn put_programme(&mut self, one: &Programme) -> Result<(), Refusal> {
        let db = self.statements;
        let ms = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_millis());
        let row = rusqlite::params![
            one.id.as_bytes(),
            one.revision,
            &one.definition,
            &one.version,
            one.stage.code(),
            &one.patient,
            one.unit.to_ascii_uppercase(),
            one.team.as_ref().map(|team| team.to_ascii_uppercase()),
            one.started_at.timestamp_millis(),
            one.moment_at.timestamp_millis(),
            ms(one.active_at),
            ms(one.treatment_at),
            ms(one.closed_at),
            one.swept_at.timestamp_millis(),
            one.purge_at.timestamp_millis(),
            ms(one.next_at),
            &one.state,
        ];
        db.run(PUT, row)?;
        for (name, kept) in &one.made {
            if let Some((resource_type, id)) = name.split_once('/') {
                db.run(MADE, (one.id.as_bytes(), resource_type, id, kept))?;
            }
        }
        Ok(())
    }

    /// Takes what is not the journal's, in every version, and what it is found by; the log's words go as the log's rule says.
    pub(super) fn purge(&mut self, purge: &Purge) -> Result<(), Refusal> {
        let removal = &purge.removal;
        let (programme, revision) = (purge.programme, removal.revision);
        self.check(&Expect::Programme { programme, revision })?;
        self.check(&Expect::Unheld { programme })?;
        self.removing(removal.at.timestamp_millis(), |writing| writing.take_programme(purge))
    }

    fn take_programme(&mut self, purge: &Purge) -> Result<(), Refusal> {
        let (db, removal) = (self.statements, &purge.removal);
        let id = purge.programme.as_bytes();
        let one = db.first(ONE, [id], programme)?.ok_or(Refusal::Corrupt("a programme"))?;
        let mut gone: Vec<Named> = db.all(OWN, [id], Named::read)?;
        let mut versions = 0;
        for rid in gone.iter().map(|one| one.rid).collect::<Vec<_>>() {
            versions += self.let_go(rid, removal)?;
        }
        let patient = one.patient.clone().unwrap_or_default();
        if db.first(ANOTHER_PROGRAMME, (&patient, id), |_| Ok::<_, Refusal>(()))?.is_none() {
            for last in db.all(ALONE, [&patient], Named::read)? {
                versions += self.let_go(last.rid, removal)?;
                gone.push(last);
            }
        }
        let at = removal.at.timestamp_millis();
        db.run(EMPTIED, (id, at))?;
        let mut objects = vec![format!("programme/{}", purge.programme)];
        let resources = gone.len();
        objects.extend(gone.into_iter().map(|one| one.name));
        let (now, later) = self.unsay(&objects, removal)?;
        let counts = json!({ "resources": resources, "versions": versions, "payloads": now, "payloadsLater": later })
            .to_string();
        let salt = *Uuid::new_v4().as_bytes();
        let object: [u8; 32] = hashed(&salt, purge.programme);
        let stub = removal.id.as_bytes();
        let kind = Some(&one.definition);
        let row =
            (stub, "programme", kind, salt, object, &removal.rule, &removal.rule_version, at, &removal.by, counts);
        db.run(STUB, row)?;
        Ok(())
    }

    pub(super) fn is_held(&self, programme: Uuid) -> Result<bool, Refusal> {
        let db = self.statements;
        let one = db.first(ONE, [programme.as_bytes()], self::programme)?;
        let Some(patient) = one.and_then(|one| one.patient) else { return Ok(false) };
        Ok(db.first(HELD, [patient], |_| Ok::<_, Refusal>(()))?.is_some())
    }
}

impl Store {
    /// One programme, whoever asks: who may see it is asked of its CarePlan.
    pub async fn programme(&self, id: Uuid) -> Result<Option<Programme>, StoreError> {
        self.read(move |db| db.first(ONE, [id.as_bytes()], programme)).await
    }

    /// `Type/id` of everything of it.
    pub async fn programme_resources(&self, id: Uuid) -> Result<Vec<String>, StoreError> {
        self.read(move |db| db.all(NAMES, [id.as_bytes()], |row| row.get(0).map_err(StoreError::from))).await
    }

    /// Those of a patient that were not purged, whoever asks.
    pub async fn programmes_of(&self, patient: &str) -> Result<Vec<Programme>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| {
            let mut all = db.all(OF_PATIENT, [patient], programme)?;
            all.sort_by_key(|one| (one.started_at, one.id));
            Ok(all)
        })
        .await
    }

    /// Those that were started before a time and that the one who asks has a part in by name, the latest first.
    pub async fn programmes(
        &self,
        filter: &Filter,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Programme>, StoreError> {
        let (filter, before) = (filter.clone(), before.timestamp_millis());
        self.read(move |db| match &filter.who {
            super::Who::Gateway => db.all(RECENT, (before, limit), programme),
            super::Who::Registry(_) => Ok(Vec::new()),
            super::Who::Units(_) => {
                let units = units(&filter).unwrap_or_else(|| list(Vec::<String>::new()));
                db.all(OF_UNITS, (before, limit, units), programme)
            }
        })
        .await
    }

    /// Those of which something is due, the longest due first.
    pub async fn programmes_due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Programme>, StoreError> {
        let key = (now.timestamp_millis(), limit);
        self.read(move |db| db.all(DUE, key, programme)).await
    }

    /// When something is due next.
    pub async fn programme_next(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.read(move |db| db.first(NEXT, [], |row| time(row, "next_at"))).await
    }

    /// The hold that keeps a patient's programmes from being purged.
    pub async fn programme_hold(&self, patient: &str) -> Result<Option<Uuid>, StoreError> {
        let patient = patient.to_owned();
        let found = self.read(move |db| db.first(HELD, [patient], |row| uuid_if_any(row, "id"))).await?;
        Ok(found.flatten())
    }
}
