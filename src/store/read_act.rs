//! Counts acts and milestones: from the counters of months where nothing is hidden from the one who asks, otherwise act by act,
//! each asked whether it may be seen by the one condition that searches use too.

use std::collections::HashMap;

use chrono::NaiveDate;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::fill::IS_DUE;
use super::grants::Right;
use super::query::Filter;
use super::search::Asked;
use super::sql::Sql;
use super::statement::Statements;
use super::{Store, StoreError};
use crate::domain::statistic::{Part, day_number, day_of_number, month_number, parts};
use crate::fhir::act::Kind;

const UNITS: &str = "SELECT id, hsa_id FROM fact_unit WHERE id > 0 ORDER BY id";
const NEXT_CODE: &str = "SELECT min(code) FROM act_month WHERE code > ?1";
const DAYS_OF_CODE: &str =
    "SELECT (SELECT min(day) FROM act WHERE code = ?1), (SELECT max(day) FROM act WHERE code = ?1)";
/// Columns: month, unit, acts nearby, acts at a distance. One pass along the key in either case.
const YEARS: &str = "SELECT year * 12, unit, acts * (1 - distance), acts * distance FROM act_year \
     WHERE code = ?1 AND year BETWEEN ?2 AND ?3";
const MONTHS: &str = "SELECT month, unit, acts * (1 - distance), acts * distance FROM act_month \
     WHERE code = ?1 AND month BETWEEN ?2 AND ?3";
const SUMS_OF_YEARS: &str = "SELECT year * 12, 0, sum(acts * (1 - distance)), sum(acts * distance) FROM act_year \
     WHERE code = ?1 AND year BETWEEN ?2 AND ?3 GROUP BY year";
const SUMS_OF_MONTHS: &str = "SELECT month, 0, sum(acts * (1 - distance)), sum(acts * distance) FROM act_month \
     WHERE code = ?1 AND month BETWEEN ?2 AND ?3 GROUP BY month";
const DAYS: &str = "SELECT NULL, unit, sum(1 - distance), sum(distance) FROM act \
     WHERE code = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY unit";

/// Days of a code, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub code: String,
    pub first: NaiveDate,
    pub last: NaiveDate,
}

/// A question for acts.
#[derive(Debug, Clone, Default)]
pub struct ActQuestion {
    /// Which do not overlap.
    pub spans: Vec<Span>,
    /// What rows must tell apart; what they need not, they may leave out.
    pub apart: Apart,
}

/// What the rows of an answer tell apart, beside the code, the year, and whether it was at a distance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apart {
    pub month: bool,
    pub unit: bool,
    pub patient: bool,
}

/// Acts that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActRow<'a> {
    /// The place of its span in the question.
    pub span: usize,
    /// Where months are not told apart, any of the year.
    pub month: i32,
    /// HSA-id in upper case; empty: nobody knows, or units are not told apart.
    pub unit: &'a str,
    pub distance: bool,
    pub acts: u64,
    /// A number that stands for the patient, where patients are told apart.
    pub patient: Option<i64>,
}

/// A patient who reached a milestone, and the unit it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub patient: i64,
    pub unit: String,
}

impl Store {
    /// Folds the acts of the question into `begun`, on the thread that reads them: rows may be many. Rows that are alike may come
    /// more than once.
    pub async fn fold_acts<T: Send + 'static>(
        &self,
        filter: &Filter,
        question: ActQuestion,
        begun: T,
        mut add: impl FnMut(&mut T, &ActRow<'_>) + Send + 'static,
    ) -> Result<T, StoreError> {
        let filter = filter.clone();
        self.read(move |db| {
            check_filled(db)?;
            let units = units(db)?;
            let narrow = Asked::of(db, &filter).visible(Right::Search, "Procedure", "r")?;
            let mut folded = begun;
            for (place, span) in question.spans.iter().enumerate() {
                let mut row = |month, unit, distance, acts, patient| {
                    let unit = units.get(&unit).map_or("", String::as_str);
                    add(&mut folded, &ActRow { span: place, month, unit, distance, acts, patient });
                };
                match &narrow {
                    None if !question.apart.patient => counted(db, span, question.apart, &mut row)?,
                    _ => one_by_one(db, span, question.apart.patient, narrow.as_ref(), &mut row)?,
                }
            }
            Ok(folded)
        })
        .await
    }

    /// The codes that acts stand under, with the first and the last day of each: for the gateway itself.
    pub async fn codes_in_use(&self) -> Result<Vec<Span>, StoreError> {
        self.read(|db| {
            check_filled(db)?;
            let mut found = Vec::new();
            let mut last = String::new();
            while let Some(code) = db.first(NEXT_CODE, [&last], |row| row.get::<_, Option<String>>(0))?.flatten() {
                let days = db.first(DAYS_OF_CODE, [&code], |row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?)))?;
                if let Some((Some(first), Some(end))) = days {
                    let (first, end) = (day_of_number(first), day_of_number(end));
                    found.push(Span { code: code.clone(), first, last: end });
                }
                last = code;
            }
            Ok(found)
        })
        .await
    }

    /// Who reached a milestone on these days, or has it standing without a day.
    pub async fn reached(
        &self,
        filter: &Filter,
        kind: Kind,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Vec<Reached>, StoreError> {
        let filter = filter.clone();
        self.read(move |db| {
            check_filled(db)?;
            let units = units(db)?;
            let resource_type = match kind {
                Kind::Plan | Kind::MinVardplan => "CarePlan",
                Kind::Halsoskattning => "Observation",
                Kind::ContactNurse => "CareTeam",
            };
            let on = if kind == Kind::ContactNurse { "" } else { " AND m.day BETWEEN ? AND ?" };
            let patient = if merged(db)? { OF_PERSON.replace('§', "m") } else { "m.patient".into() };
            let mut sql = format!("SELECT {patient}, m.unit FROM milestone m{} WHERE m.kind = ?{on}", of_resource("m"));
            let mut values = vec![Value::from(kind.code().to_owned())];
            if !on.is_empty() {
                values.extend([first, last].map(|day| Value::from(i64::from(day_number(day)))));
            }
            if let Some(test) = Asked::of(db, &filter).visible(Right::Search, resource_type, "r")? {
                sql.push_str(" AND ");
                sql.push_str(&test.text);
                values.extend(test.values);
            }
            db.all(&sql, params_from_iter(values), |row| {
                let unit: i64 = row.get(1)?;
                Ok(Reached { patient: row.get(0)?, unit: units.get(&unit).cloned().unwrap_or_default() })
            })
        })
        .await
    }
}

type Row<'r> = dyn FnMut(i32, i64, bool, u64, Option<i64>) + 'r;

/// Whole years and months from their counters, what is left of others from the acts of those days.
fn counted(db: &Statements<'_>, span: &Span, apart: Apart, row: &mut Row<'_>) -> Result<(), StoreError> {
    for part in parts(span.first, span.last) {
        let (sql, from, to) = match (part, apart.unit) {
            (Part::Years(from, to), unit) if apart.month => {
                (if unit { MONTHS } else { SUMS_OF_MONTHS }, from * 12, to * 12 + 11)
            }
            (Part::Years(from, to), unit) => (if unit { YEARS } else { SUMS_OF_YEARS }, from, to),
            (Part::Months(from, to), unit) => (if unit { MONTHS } else { SUMS_OF_MONTHS }, from, to),
            (Part::Days(from, to), _) => (DAYS, from, to),
        };
        let month = month_number(day_of_number(from));
        db.all(sql, (&span.code, from, to), |found| {
            let month = if matches!(part, Part::Days(..)) { month } else { found.get(0)? };
            for (distance, column) in [(false, 2), (true, 3)] {
                let acts = found.get::<_, i64>(column)?.unsigned_abs();
                if acts > 0 {
                    row(month, found.get(1)?, distance, acts, None);
                }
            }
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(())
}

fn one_by_one(
    db: &Statements<'_>,
    span: &Span,
    people: bool,
    narrow: Option<&Sql>,
    row: &mut Row<'_>,
) -> Result<(), StoreError> {
    // Nearly every row is another patient's, so that grouping them would be in vain.
    let columns = match people {
        true if merged(db)? => format!("{}, 1", OF_PERSON.replace('§', "a")),
        true => "a.patient, 1".into(),
        false => "NULL, count(*)".to_owned(),
    };
    let of = if narrow.is_some() { of_resource("a") } else { String::new() };
    let mut sql = format!(
        "SELECT a.day, a.unit, a.distance, {columns} FROM act a{of} WHERE a.code = ? AND a.day BETWEEN ? AND ?"
    );
    let days = [span.first, span.last].map(|day| Value::from(i64::from(day_number(day))));
    let mut values = vec![Value::from(span.code.clone())];
    values.extend(days);
    if let Some(test) = narrow {
        sql.push_str(" AND ");
        sql.push_str(&test.text);
        values.extend(test.values.iter().cloned());
    }
    if !people {
        sql.push_str(" GROUP BY a.day, a.unit, a.distance");
    }
    let mut known = (i32::MIN, 0);
    db.all(&sql, params_from_iter(values), |found| {
        let day: i32 = found.get(0)?;
        if known.0 != day {
            known = (day, month_number(day_of_number(day)));
        }
        row(known.1, found.get(1)?, found.get(2)?, found.get::<_, i64>(4)?.unsigned_abs(), found.get(3)?);
        Ok::<_, StoreError>(())
    })?;
    Ok(())
}

/// The Patient that stands for the person of the fact `§`.
const OF_PERSON: &str = "coalesce((SELECT p.into_rid FROM merged p WHERE p.rid = §.patient), §.patient)";

/// Whether anybody has several numbers: who is counted is asked no more where nobody has.
fn merged(db: &Statements<'_>) -> Result<bool, StoreError> {
    Ok(db.first("SELECT 1 FROM merged WHERE rid > 0 LIMIT 1", [], |_| Ok::<_, StoreError>(()))?.is_some())
}

/// The resource `r` that a fact is of: what may be seen is a question to it.
fn of_resource(fact: &str) -> String {
    format!(" CROSS JOIN resource r ON r.rid = {fact}.rid")
}

/// Facts in part are no answer.
fn check_filled(db: &Statements<'_>) -> Result<(), StoreError> {
    let due: Option<bool> = db.first(IS_DUE, [], |row| row.get(0))?;
    if due == Some(false) { Ok(()) } else { Err(StoreError::Indexing) }
}

fn units(db: &Statements<'_>) -> Result<HashMap<i64, String>, StoreError> {
    let all = db.all(UNITS, [], |row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?)))?;
    Ok(all.into_iter().collect())
}
