//! What registries have got, and what they must erase: a row for each resource and registry, which becomes a row of what is to
//! be erased when the patient objects or the resource is removed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::Row;

use super::apply::{Refusal, Writing};
use super::objection::EVERY;
use super::rights::{Disclosed, DisclosedTo, Erasure};
use super::row::time;
use super::{Store, StoreError};

const ID: &str = "SELECT id FROM registry WHERE name = ?1";
/// `?1`: the registry, `?2`: its name, `?3`: the type, `?4`: ids as a JSON array. Actors are about nobody.
macro_rules! given {
    () => {
        "json_each(?4) m CROSS JOIN resource r ON r.type = ?3 AND r.id = m.value WHERE "
    };
}
macro_rules! objects {
    () => {
        "(r.type NOT IN ('Organization', 'Practitioner', 'PractitionerRole') AND EXISTS \
         (SELECT 1 FROM opt_out o INDEXED BY opt_out_of_patient WHERE o.patient = iif(r.type = 'Patient', r.id, r.patient) \
          AND o.registry IN (?2, '*') AND o.lifted_at IS NULL))"
    };
}
/// What somebody who objects must have erased it has got all the same.
const RECORD: &str = concat!(
    "INSERT INTO disclosure (registry, rid, key, first_at, last_at) SELECT ?1, r.rid, ?5, ?6, ?6 FROM ",
    given!(),
    "true ON CONFLICT (registry, rid) DO UPDATE SET key = excluded.key, last_at = excluded.last_at"
);
/// What comes again need not be erased.
const COMES_AGAIN: &str = concat!(
    "DELETE FROM erasure WHERE registry = ?1 AND type = ?3 AND id IN (SELECT r.id FROM ",
    given!(),
    "NOT ",
    objects!(),
    ")"
);
/// Of a patient who objected meanwhile it is to be erased at once.
const ERASE: &str = concat!(
    "INSERT INTO erasure (registry, type, id, patient, key, reason, at) \
     SELECT ?1, r.type, r.id, r.patient, ?5, 'opt-out', ?6 FROM ",
    given!(),
    objects!(),
    " ON CONFLICT (registry, type, id) DO UPDATE SET key = excluded.key"
);
/// The Patient and all that is about it; actors are about nobody.
macro_rules! of_patient {
    () => {
        "resource r WHERE (r.patient = ?1 OR r.type = 'Patient' AND r.id = ?1) \
         AND r.type NOT IN ('Organization', 'Practitioner', 'PractitionerRole')"
    };
}
/// That the registry need not erase what it has.
macro_rules! kept {
    () => {
        "NOT EXISTS (SELECT 1 FROM erasure e WHERE e.registry = d.registry AND e.type = r.type AND e.id = r.id)"
    };
}
const WITHDRAW: &str = concat!(
    "INSERT INTO erasure (registry, type, id, patient, key, reason, at) \
     SELECT d.registry, r.type, r.id, ?1, d.key, 'opt-out', ?3 FROM (SELECT r.rid, r.type, r.id FROM ",
    of_patient!(),
    ") r CROSS JOIN disclosure d ON d.rid = r.rid CROSS JOIN registry g ON g.id = d.registry AND ?2 IN (g.name, '*') \
     WHERE true ON CONFLICT (registry, type, id) DO NOTHING"
);
/// Of registries to which no objection of the patient is left.
const TAKE_BACK: &str = "DELETE FROM erasure WHERE patient = ?1 AND reason = 'opt-out' AND registry IN \
     (SELECT g.id FROM registry g WHERE NOT EXISTS (SELECT 1 FROM opt_out o INDEXED BY opt_out_of_patient \
      WHERE o.patient = ?1 AND o.registry IN (g.name, '*') AND o.lifted_at IS NULL))";
const REMOVED: &str = "INSERT INTO erasure (registry, type, id, patient, key, reason, at) \
     SELECT d.registry, r.type, r.id, NULL, d.key, 'removed', ?2 FROM disclosure d CROSS JOIN resource r ON r.rid = d.rid \
     WHERE d.rid = ?1 ON CONFLICT (registry, type, id) DO UPDATE SET reason = 'removed', patient = NULL";
const GONE: &str = "DELETE FROM disclosure WHERE rid = ?1";
/// What is erased there, the registry has no more; until then it has it, also where the objection is taken back meanwhile.
const HAS_NO_MORE: &str = "DELETE FROM disclosure WHERE registry = ?1 AND rid IN (SELECT r.rid FROM erasure e INDEXED BY erasure_of_registry \
     CROSS JOIN resource r ON r.type = e.type AND r.id = e.id WHERE e.registry = ?1 AND e.seq <= ?2)";
const CONFIRM: &str = "DELETE FROM erasure WHERE registry = ?1 AND seq <= ?2";
const ERASURES: &str = "SELECT e.* FROM erasure e INDEXED BY erasure_of_registry \
     WHERE e.registry = (SELECT id FROM registry WHERE name = ?1) AND e.seq > ?2 ORDER BY e.seq LIMIT ?3";
const BY_PATIENT: &str = concat!(
    "SELECT g.name, r.type, count(*) AS resources, min(d.first_at) AS first_at, max(d.last_at) AS last_at FROM \
     (SELECT r.rid, r.type, r.id FROM ",
    of_patient!(),
    ") r CROSS JOIN disclosure d ON d.rid = r.rid CROSS JOIN registry g ON g.id = d.registry WHERE ",
    kept!(),
    " GROUP BY g.name, r.type ORDER BY g.name, r.type"
);
const TO_ERASE: &str = "SELECT g.name, e.type, count(*) AS resources, min(e.at) AS first_at, max(e.at) AS last_at \
     FROM erasure e INDEXED BY erasure_of_patient CROSS JOIN registry g ON g.id = e.registry WHERE e.patient = ?1 \
     GROUP BY g.name, e.type ORDER BY g.name, e.type";
const CODED: &str = concat!(
    "SELECT r.rid, r.type, r.id FROM disclosure d CROSS JOIN resource r ON r.rid = d.rid \
     WHERE d.registry = (SELECT id FROM registry WHERE name = ?1) AND d.rid > ?2 AND ",
    kept!(),
    " ORDER BY d.rid LIMIT ?3"
);

impl Writing<'_, '_> {
    /// Of a patient who objected meanwhile it is to be erased at once.
    pub(super) fn disclose(&mut self, disclosed: &Disclosed) -> Result<(), Refusal> {
        let db = self.statements;
        let Some(registry) = self.registry(&disclosed.registry)? else {
            return Err(Refusal::Corrupt("a registry that is not among the settings"));
        };
        let mut by_type: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (resource_type, id) in disclosed.resources.iter().filter_map(|name| name.split_once('/')) {
            by_type.entry(resource_type).or_default().push(id);
        }
        let at = disclosed.at.timestamp_millis();
        for (resource_type, ids) in by_type {
            let ids = serde_json::json!(ids).to_string();
            let given = (registry, &disclosed.registry, resource_type, &ids);
            db.run(COMES_AGAIN, given)?;
            db.run(RECORD, (given.0, given.1, given.2, given.3, &disclosed.key, at))?;
            db.run(ERASE, (given.0, given.1, given.2, given.3, &disclosed.key, at))?;
        }
        Ok(())
    }

    /// Everything of the patient that the registry, or every one, has got is to be erased.
    pub(super) fn withdraw(&mut self, patient: &str, registry: &str, at_ms: i64) -> Result<(), Refusal> {
        debug_assert!(registry == EVERY || !registry.is_empty());
        self.statements.run(WITHDRAW, (patient, registry, at_ms))?;
        Ok(())
    }

    /// What was not erased yet need not be, where the patient objects no more.
    pub(super) fn take_back(&mut self, patient: &str) -> Result<(), Refusal> {
        self.statements.run(TAKE_BACK, [patient])?;
        Ok(())
    }

    /// A resource is removed here: whoever has got it removes it too.
    pub(super) fn erase_everywhere(&mut self, rid: i64, at_ms: i64) -> Result<(), Refusal> {
        self.statements.run(REMOVED, (rid, at_ms))?;
        self.statements.run(GONE, [rid])?;
        Ok(())
    }

    pub(super) fn confirm(&mut self, registry: &str, through: i64) -> Result<(), Refusal> {
        let registry = self.registry(registry)?;
        self.statements.run(HAS_NO_MORE, (registry, through))?;
        self.statements.run(CONFIRM, (registry, through))?;
        Ok(())
    }

    fn registry(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.statements.first(ID, [name], |row| row.get(0).map_err(Refusal::from))
    }
}

fn erasure(row: &Row<'_>) -> Result<Erasure, StoreError> {
    Ok(Erasure {
        seq: row.get("seq")?,
        resource_type: row.get("type")?,
        id: row.get("id")?,
        key: row.get("key")?,
        reason: row.get("reason")?,
        at: time(row, "at")?,
    })
}

fn disclosed_to(row: &Row<'_>) -> Result<DisclosedTo, StoreError> {
    let (first_at, last_at): (DateTime<Utc>, DateTime<Utc>) = (time(row, "first_at")?, time(row, "last_at")?);
    Ok(DisclosedTo {
        registry: row.get("name")?,
        resource_type: row.get("type")?,
        resources: row.get("resources")?,
        first_at,
        last_at,
    })
}

impl Store {
    /// What the registry must erase, the first first; `after` is the `seq` of the last of the page before.
    pub async fn erasures(&self, registry: &str, after: i64, limit: u32) -> Result<Vec<Erasure>, StoreError> {
        let key = (registry.to_owned(), after, limit);
        self.read(move |db| db.all(ERASURES, key, erasure)).await
    }

    /// What of a patient registries have, by registry and type.
    pub async fn disclosed(&self, patient: &str) -> Result<Vec<DisclosedTo>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| db.all(BY_PATIENT, [patient], disclosed_to)).await
    }

    /// What of a patient registries have got and must erase.
    pub async fn to_erase(&self, patient: &str) -> Result<Vec<DisclosedTo>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| db.all(TO_ERASE, [patient], disclosed_to)).await
    }

    /// What a registry has, a page at a time, for a list of old and new codes: its place, type and id.
    pub async fn held_by(
        &self,
        registry: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, String, String)>, StoreError> {
        let key = (registry.to_owned(), after, limit);
        self.read(move |db| db.all(CODED, key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))).await
    }
}
