//! What registries have got, and what they must erase: a row for each resource and registry, which becomes a row of what is to
//! be erased when the patient objects or the resource is removed.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rusqlite::{Row, ToSql};

use super::apply::{Refusal, Writing};
use super::grants::Right;
use super::objection::EVERY;
use super::query::Filter;
use super::rights::{Disclosed, DisclosedTo, Erasure, Given};
use super::row::time;
use super::search::Asked;
use super::sql::Sql;
use super::visible::and;
use super::{Store, StoreError};

const ID: &str = "SELECT id FROM registry WHERE name = ?1";
/// `?1`: the registry, `?2`: its name, `?3`: rows as a JSON array. Actors are about nobody.
macro_rules! given {
    () => {
        "json_each(?3) m CROSS JOIN resource r ON r.rid = m.value WHERE "
    };
}
macro_rules! objects {
    () => {
        "(r.type NOT IN ('Organization', 'Practitioner', 'PractitionerRole') AND EXISTS \
         (SELECT 1 FROM opt_out o INDEXED BY opt_out_of_patient WHERE o.patient IN \
          (SELECT iif(r.type = 'Patient', r.id, r.patient) UNION ALL \
           SELECT k.other FROM kin k WHERE k.patient = iif(r.type = 'Patient', r.id, r.patient)) \
          AND o.registry IN (?2, '*') AND o.lifted_at IS NULL))"
    };
}
macro_rules! withheld {
    () => {
        "EXISTS (SELECT 1 FROM withheld w WHERE w.rid = r.rid AND w.unit = '')"
    };
}
/// What somebody who objects must have erased it has got all the same.
const RECORD: &str = "INSERT INTO disclosure (registry, rid, key, first_at, last_at) \
     SELECT ?1, m.value, ?3, ?4, ?4 FROM json_each(?2) m WHERE true \
     ON CONFLICT (registry, rid) DO UPDATE SET key = excluded.key, last_at = excluded.last_at";
const ROW: &str = "SELECT rid FROM resource WHERE type = ?1 AND id = ?2";
/// Whether there is anything that the next two could change: of a million rows they would look at each.
const MAY_COME_AGAIN: &str = "SELECT EXISTS (SELECT 1 FROM erasure WHERE registry = ?1)";
const MAY_BE_ERASED: &str = "SELECT EXISTS (SELECT 1 FROM opt_out WHERE lifted_at IS NULL AND registry IN (?1, '*')) \
     OR EXISTS (SELECT 1 FROM withheld WHERE unit = '')";
/// What comes again need not be erased.
const COMES_AGAIN: &str = concat!(
    "DELETE FROM erasure WHERE registry = ?1 AND (type, id) IN (SELECT r.type, r.id FROM ",
    given!(),
    "NOT ",
    objects!(),
    " AND NOT ",
    withheld!(),
    ")"
);
/// Of a patient who objected meanwhile it is to be erased at once; so is what a block has closed meanwhile.
const ERASE: &str = concat!(
    "INSERT INTO erasure (registry, type, id, patient, key, reason, at, withheld) \
     SELECT ?1, r.type, r.id, iif(r.type = 'Patient', r.id, r.patient), ?4, iif(",
    objects!(),
    ", 'opt-out', 'removed'), ?5, ",
    withheld!(),
    " FROM ",
    given!(),
    "(",
    objects!(),
    " OR ",
    withheld!(),
    ") ON CONFLICT (registry, type, id) DO UPDATE SET key = excluded.key, reason = excluded.reason, withheld = excluded.withheld"
);
/// The Patient and all that is about it; actors are about nobody.
macro_rules! of_patient {
    () => {
        of_patient!("?1")
    };
    ($patient:literal) => {
        concat!(
            "resource r WHERE (r.patient = ",
            $patient,
            " OR r.type = 'Patient' AND r.id = ",
            $patient,
            ") AND r.type NOT IN ('Organization', 'Practitioner', 'PractitionerRole')"
        )
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
     WHERE true ON CONFLICT (registry, type, id) DO UPDATE SET reason = 'opt-out'"
);
/// Of registries to which no objection of the patient is left.
macro_rules! objected_no_more {
    () => {
        "patient = ?1 AND reason = 'opt-out' AND registry IN \
         (SELECT g.id FROM registry g WHERE NOT EXISTS (SELECT 1 FROM opt_out o INDEXED BY opt_out_of_patient \
          WHERE o.patient IN (SELECT ?1 UNION ALL SELECT k.other FROM kin k WHERE k.patient = ?1) \
          AND o.registry IN (g.name, '*') AND o.lifted_at IS NULL))"
    };
}
/// What a block closes too is to be erased for that: whichever ends first, the other stands.
const STILL_WITHHELD: &str =
    concat!("UPDATE erasure SET reason = 'removed' WHERE withheld = 1 AND ", objected_no_more!());
const TAKE_BACK: &str = concat!("DELETE FROM erasure WHERE withheld = 0 AND ", objected_no_more!());
/// What a block closes to registries each that has got it must erase. It is told as removed: of a block nothing is told.
const WITHHOLD: &str = "INSERT INTO erasure (registry, type, id, patient, key, reason, at, withheld) \
     SELECT d.registry, r.type, r.id, iif(r.type = 'Patient', r.id, r.patient), d.key, 'removed', ?2, 1 \
     FROM disclosure d CROSS JOIN resource r ON r.rid = d.rid WHERE d.rid = ?1 \
     ON CONFLICT (registry, type, id) DO UPDATE SET withheld = 1";
const OPEN: &str = "DELETE FROM erasure WHERE (type, id) = (SELECT type, id FROM resource WHERE rid = ?1) AND withheld = 1 \
     AND reason = 'removed'";
const NO_LONGER_WITHHELD: &str = "UPDATE erasure SET withheld = 0 WHERE (type, id) = (SELECT type, id FROM resource WHERE rid = ?1) AND withheld = 1";
const REMOVED: &str = "INSERT INTO erasure (registry, type, id, patient, key, reason, at) \
     SELECT d.registry, r.type, r.id, NULL, d.key, 'removed', ?2 FROM disclosure d CROSS JOIN resource r ON r.rid = d.rid \
     WHERE d.rid = ?1 ON CONFLICT (registry, type, id) DO UPDATE SET reason = 'removed', patient = NULL, withheld = 0";
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
    of_patient!("?")
);
const BY_TYPE: &str = concat!(
    ") r CROSS JOIN disclosure d ON d.rid = r.rid CROSS JOIN registry g ON g.id = d.registry WHERE ",
    kept!(),
    " GROUP BY g.name, r.type ORDER BY g.name, r.type"
);
const TO_ERASE: &str = "SELECT g.name, e.type, count(*) AS resources, min(e.at) AS first_at, max(e.at) AS last_at \
     FROM erasure e INDEXED BY erasure_of_patient CROSS JOIN registry g ON g.id = e.registry";
const THERE: &str = " CROSS JOIN resource r ON r.type = e.type AND r.id = e.id";
const TO_ERASE_BY_TYPE: &str = " GROUP BY g.name, e.type ORDER BY g.name, e.type";
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
        let rows = serde_json::json!(self.rows(&disclosed.what)?).to_string();
        let (at, name) = (disclosed.at.timestamp_millis(), &disclosed.registry);
        if self.is_so(MAY_COME_AGAIN, registry)? {
            db.run(COMES_AGAIN, (registry, name, &rows))?;
        }
        db.run(RECORD, (registry, &rows, &disclosed.key, at))?;
        if self.is_so(MAY_BE_ERASED, name)? {
            db.run(ERASE, (registry, name, &rows, &disclosed.key, at))?;
        }
        Ok(())
    }

    fn is_so(&self, sql: &str, of: impl ToSql) -> Result<bool, Refusal> {
        let found = self.statements.first(sql, [of], |row| row.get(0).map_err(Refusal::from))?;
        Ok(found.unwrap_or(true))
    }

    /// The rows of what is there.
    fn rows<'g>(&self, given: &'g Given) -> Result<Cow<'g, [i64]>, Refusal> {
        let names = match given {
            Given::Rows(rows) => return Ok(Cow::Borrowed(rows)),
            Given::Names(names) => names.iter().filter_map(|name| name.split_once('/')),
        };
        let mut rows = Vec::new();
        for (resource_type, id) in names {
            rows.extend(
                self.statements.first(ROW, (resource_type, id), |row| row.get::<_, i64>(0).map_err(Refusal::from))?,
            );
        }
        Ok(Cow::Owned(rows))
    }

    /// Everything of the patient that the registry, or every one, has got is to be erased.
    pub(super) fn withdraw(&mut self, patient: &str, registry: &str, at_ms: i64) -> Result<(), Refusal> {
        debug_assert!(registry == EVERY || !registry.is_empty());
        self.statements.run(WITHDRAW, (patient, registry, at_ms))?;
        Ok(())
    }

    /// What was not erased yet need not be, where the patient objects no more.
    pub(super) fn take_back(&mut self, patient: &str) -> Result<(), Refusal> {
        self.statements.run(STILL_WITHHELD, [patient])?;
        self.statements.run(TAKE_BACK, [patient])?;
        Ok(())
    }

    /// A block has closed the resource to registries: those that have got it are to erase it.
    pub(super) fn withhold_from_registries(&mut self, rid: i64) -> Result<(), Refusal> {
        self.statements.run(WITHHOLD, (rid, self.now_ms))?;
        Ok(())
    }

    /// It is open again: what was not erased yet need not be, unless the patient objects.
    pub(super) fn give_back_to_registries(&mut self, rid: i64) -> Result<(), Refusal> {
        self.statements.run(OPEN, [rid])?;
        self.statements.run(NO_LONGER_WITHHELD, [rid])?;
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

    /// What of a patient registries have, by registry and type, as far as the one who asks may see it.
    pub async fn disclosed(&self, filter: &Filter, patient: &str) -> Result<Vec<DisclosedTo>, StoreError> {
        let (filter, patient) = (filter.clone(), patient.to_owned());
        self.read(move |db| {
            let visible = Asked::of(db, &filter).visible_of_any_type(Right::Read)?;
            and(Sql::new(BY_PATIENT, [patient.clone().into(), patient.into()]), visible.as_ref())
                .text(BY_TYPE)
                .all(db, disclosed_to)
        })
        .await
    }

    /// What of a patient registries have got and must erase, as far as the one who asks may see it.
    pub async fn to_erase(&self, filter: &Filter, patient: &str) -> Result<Vec<DisclosedTo>, StoreError> {
        let (filter, patient) = (filter.clone(), patient.to_owned());
        self.read(move |db| {
            let visible = Asked::of(db, &filter).visible_of_any_type(Right::Read)?;
            let sql = Sql::new(TO_ERASE, []).text(if visible.is_some() { THERE } else { "" });
            let sql = and(sql.text(" WHERE e.patient = ?").value(patient), visible.as_ref());
            sql.text(TO_ERASE_BY_TYPE).all(db, disclosed_to)
        })
        .await
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
