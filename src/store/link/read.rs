//! Reads links, and who is the same person.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::Value;
use uuid::Uuid;

use super::super::query::Filter;
use super::super::row::{time, time_if_any, uuid};
use super::super::search::{Asked, Condition};
use super::super::sql::Sql;
use super::super::statement::Statements;
use super::super::visible::units;
use super::super::{Store, StoreError};
use super::{Link, Says, Undone};
use crate::fhir::search::TokenMatch;

const ONE: &str = "SELECT * FROM patient_link WHERE id = ?1";
const OF_OLD: &str = "SELECT * FROM patient_link INDEXED BY patient_link_of_old WHERE old = ?1 AND undone_at IS NULL";
const OF_NEW: &str = "SELECT * FROM patient_link INDEXED BY patient_link_of_new WHERE new = ?1 AND undone_at IS NULL ORDER BY made_at, id";
const KIN: &str = "SELECT other FROM kin WHERE patient = ?1 ORDER BY other";
const ANY: &str = "SELECT 1 FROM kin WHERE patient > '' LIMIT 1";
/// Who was one person at that commit.
const JOINED: &str = "SELECT old, new FROM patient_link INDEXED BY patient_link_made \
     WHERE made_seq <= ?1 AND (undone_seq IS NULL OR undone_seq > ?1)";
const MADE_SINCE: &str = "SELECT old, new FROM patient_link INDEXED BY patient_link_made WHERE made_seq > ?1";
const UNDONE_SINCE: &str = "SELECT old, new FROM patient_link INDEXED BY patient_link_undone \
                            WHERE undone_seq IS NOT NULL AND undone_seq > ?1";
const LAST_WORD: &str = "SELECT max(at) FROM patient_word WHERE patient = ?1 AND what = ?2 AND unit = ?3";
const LAST_SAID: &str = "SELECT max(at) FROM patient_word WHERE patient = ?1 AND what = ?2";
const DEAD: &str =
    concat!("SELECT 1 FROM deceased WHERE until_at IS NULL AND patient IN ", super::person!("?1"), " LIMIT 1");

fn link(row: &Row<'_>) -> Result<Link, StoreError> {
    let undone = time_if_any(row, "undone_at")?;
    let by: Option<String> = row.get("undone_by")?;
    let reason: Option<String> = row.get("undone_reason")?;
    Ok(Link {
        id: uuid(row, "id")?,
        old: row.get("old")?,
        new: row.get("new")?,
        unit: row.get("unit")?,
        made_at: time(row, "made_at")?,
        made_by: row.get("made_by")?,
        reason: row.get("reason")?,
        undone: undone.zip(by).zip(reason).map(|((at, by), reason)| Undone { at, by, reason }),
    })
}

/// The other Patients of the same person.
pub(in crate::store) fn kin(db: &Statements<'_>, patient: &str) -> Result<Vec<String>, StoreError> {
    db.all(KIN, [patient], |row| Ok(row.get(0)?))
}

/// Patients of whom it was said since that they are, or are not, one person.
pub(in crate::store) fn changed_since(db: &Statements<'_>, seq: i64) -> Result<Vec<String>, StoreError> {
    let pair = |row: &Row<'_>| Ok::<(String, String), StoreError>((row.get(0)?, row.get(1)?));
    let mut all = db.all(MADE_SINCE, [seq], pair)?;
    all.extend(db.all(UNDONE_SINCE, [seq], pair)?);
    let mut patients: Vec<String> = all.into_iter().flat_map(|(old, new)| [old, new]).collect();
    patients.sort_unstable();
    patients.dedup();
    Ok(patients)
}

fn any(db: &Statements<'_>) -> Result<bool, StoreError> {
    Ok(db.first(ANY, [], |_| Ok::<_, StoreError>(()))?.is_some())
}

impl Asked<'_, '_> {
    /// The other Patients of the same person, for the one who asks about this one: whoever does not see it is told nothing by
    /// what follows from it, and the criteria of a scope mean the Patient that they name.
    pub(in crate::store) fn kin_of(&self, patient: &str) -> Result<Vec<String>, StoreError> {
        if self.is_criterion {
            return Ok(Vec::new());
        }
        let all = kin(self.db, patient)?;
        if all.is_empty() || self.sees(patient)? { Ok(all) } else { Ok(Vec::new()) }
    }

    fn sees(&self, patient: &str) -> Result<bool, StoreError> {
        let Some(units) = units(self.filter) else { return Ok(true) };
        const SEES: &str = "SELECT 1 FROM resource r CROSS JOIN concern c ON c.rid = r.rid \
            WHERE r.type = 'Patient' AND r.id = ?1 AND c.unit IN (SELECT value FROM json_each(?2)) LIMIT 1";
        Ok(self.db.first(SEES, (patient, units), |_| Ok::<_, StoreError>(()))?.is_some())
    }

    /// References with those to the other Patients of the same person.
    pub(in crate::store) fn with_kin(&self, targets: &[String]) -> Result<Vec<String>, StoreError> {
        let mut all = targets.to_vec();
        for patient in targets.iter().filter_map(|target| target.strip_prefix("Patient/")) {
            for other in self.kin_of(patient)? {
                let name = format!("Patient/{other}");
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
        Ok(all)
    }

    /// Patients found by a number, with the others of the same person: a number finds the person, under whichever it is. Everybody has
    /// a number, so only who is named finds others.
    pub(in crate::store) fn of_person(
        &self,
        row: &str,
        named: &[TokenMatch],
        found: Condition,
    ) -> Result<Condition, StoreError> {
        let is_named = !self.is_criterion && named.iter().all(|token| token.code.is_some());
        let Some(set) = found.set.as_ref().filter(|_| is_named) else { return Ok(found) };
        if !any(self.db)? {
            return Ok(found);
        }
        let sql = Sql::new("SELECT DISTINCT r.id FROM (", []).then(set).text(
            ") f CROSS JOIN resource r ON r.rid = f.rid AND r.type = 'Patient' CROSS JOIN kin k ON k.patient = r.id LIMIT 1000",
        );
        let mut others = Vec::new();
        for patient in sql.all(self.db, |row| Ok::<_, StoreError>(row.get::<_, String>(0)?))? {
            others.extend(self.kin_of(&patient)?);
        }
        if others.is_empty() {
            return Ok(found);
        }
        let ids = ids(others);
        let holds = Sql::new(format!("{row}.id IN (SELECT value FROM json_each(?))"), [ids.clone()]);
        let set = "SELECT t.rid FROM resource t WHERE t.type = 'Patient' AND t.id IN (SELECT value FROM json_each(?))";
        Ok(Condition::any(vec![found, Condition::exact(holds, Sql::new(set, [ids]))]))
    }
}

impl Store {
    pub async fn link(&self, id: Uuid) -> Result<Option<Link>, StoreError> {
        self.read(move |db| db.first(ONE, [id.as_bytes()], link)).await
    }

    /// The link that says what replaces this Patient; and those that say whom this Patient replaces.
    pub async fn links_of(&self, patient: &str) -> Result<(Option<Link>, Vec<Link>), StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| Ok((db.first(OF_OLD, [&patient], link)?, db.all(OF_NEW, [&patient], link)?))).await
    }

    /// The other Patients of the same person.
    pub async fn kin(&self, patient: &str) -> Result<Vec<String>, StoreError> {
        let patient = patient.to_owned();
        self.read(move |db| kin(db, &patient)).await
    }

    /// The same, as far as the one who asks may be told.
    pub async fn kin_seen(&self, filter: &Filter, patient: &str) -> Result<Vec<String>, StoreError> {
        let (filter, patient) = (filter.clone(), patient.to_owned());
        self.read(move |db| Asked::of(db, &filter).kin_of(&patient)).await
    }

    /// Which Patient stood for which at that commit.
    pub async fn joined_at(&self, seq: i64) -> Result<HashMap<String, String>, StoreError> {
        self.read(move |db| db.all(JOINED, [seq], |row| Ok((row.get(0)?, row.get(1)?))))
            .await
            .map(|all: Vec<(String, String)>| all.into_iter().collect())
    }

    /// Patients of whom it was said since that they are, or are not, one person.
    pub async fn linked_since(&self, seq: i64) -> Result<Vec<String>, StoreError> {
        self.read(move |db| changed_since(db, seq)).await
    }

    /// When somebody of the unit said that last.
    pub async fn last_word(&self, patient: &str, what: Says, unit: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let key = (patient.to_owned(), what.code(), unit.to_ascii_uppercase());
        let at = self
            .read(move |db| db.first(LAST_WORD, key, |row| Ok::<_, StoreError>(row.get::<_, Option<i64>>(0)?)))
            .await?;
        Ok(at.flatten().and_then(DateTime::from_timestamp_millis))
    }

    /// The same, of anybody.
    pub async fn last_said(&self, patient: &str, what: Says) -> Result<Option<DateTime<Utc>>, StoreError> {
        let key = (patient.to_owned(), what.code());
        let at = self
            .read(move |db| db.first(LAST_SAID, key, |row| Ok::<_, StoreError>(row.get::<_, Option<i64>>(0)?)))
            .await?;
        Ok(at.flatten().and_then(DateTime::from_timestamp_millis))
    }

    /// Of these Patients and those they are linked to, which replaces which: as far as the one who asks sees both.
    pub async fn links_seen(&self, filter: &Filter, patients: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let (filter, patients) = (filter.clone(), patients.to_vec());
        self.read(move |db| {
            if !any(db)? {
                return Ok(Vec::new());
            }
            let asked = Asked::of(db, &filter);
            let pair = |row: &Row<'_>| Ok::<(String, String), StoreError>((row.get("old")?, row.get("new")?));
            let mut all: Vec<(String, String)> = Vec::new();
            for patient in &patients {
                all.extend(db.first(OF_OLD, [patient], pair)?);
                all.extend(db.all(OF_NEW, [patient], pair)?);
            }
            all.sort_unstable();
            all.dedup();
            let mut seen = Vec::new();
            for (old, new) in all {
                if asked.sees(&old)? && asked.sees(&new)? {
                    seen.push((old, new));
                }
            }
            Ok(seen)
        })
        .await
    }

    /// Whether the person is known to have died, by whichever number that was said.
    pub async fn is_deceased(&self, patient: &str) -> Result<bool, StoreError> {
        let patient = patient.to_owned();
        Ok(self.read(move |db| db.first(DEAD, [&patient], |_| Ok::<_, StoreError>(()))).await?.is_some())
    }
}

/// As a value of a statement.
pub(in crate::store) fn ids(patients: impl IntoIterator<Item = String>) -> Value {
    Value::from(super::super::row::list(patients))
}
