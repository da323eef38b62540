//! The patients of a cohort: those with a diagnosis and a plan, as far as the one who asks may see both.

use rusqlite::params_from_iter;
use rusqlite::types::Value;
use uuid::Uuid;

use super::super::grants::Right;
use super::super::query::Filter;
use super::super::read_export::is_listed;
use super::super::row::list;
use super::super::sql::Sql;
use super::super::{Store, StoreError};
use super::condition::Asked;
use super::walk::HowFar;
use crate::fhir::search::param;

/// Patients that one piece of a walk looks at.
const PIECE: i64 = 10_000;
const LAST: &str = "SELECT coalesce(max(rid), 0) AS last FROM resource";

/// What makes a patient a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Codes from the first category to the last, both included; empty: any diagnosis or none.
    pub diagnoses: Vec<(String, String)>,
    /// The code system of the diagnoses, and the names it goes by.
    pub systems: Vec<String>,
    /// Kinds of plan, by code; empty: no plan is asked for.
    pub plans: Vec<String>,
    /// HSA-ids in upper case of units that take part in the plan; empty: any.
    pub units: Vec<String>,
    /// In milliseconds: something of the plan is to be done within this.
    pub period: Option<(i64, i64)>,
}

/// A patient that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub patient: String,
    /// On the list of the export that it is compared with.
    pub was_listed: bool,
}

impl Store {
    /// Members among the patients behind `after`: one piece of the walk.
    pub async fn members(
        &self,
        filter: &Filter,
        criteria: &Criteria,
        basis: Option<Uuid>,
        after: i64,
    ) -> Result<(Vec<Found>, HowFar), StoreError> {
        let (filter, criteria) = (filter.clone(), criteria.clone());
        self.scan(move |db| {
            let asked = Asked::of(db, &filter);
            let last = db.first(LAST, [], |row| Ok::<i64, StoreError>(row.get("last")?))?.unwrap_or(0);
            let upto = after.saturating_add(PIECE);
            let sql = members(&asked, &criteria, after, upto)?;
            let ids: Vec<String> =
                db.all(&sql.text, params_from_iter(sql.values), |row| Ok::<_, StoreError>(row.get("id")?))?;
            let found = ids.into_iter().map(|patient| {
                let was_listed = basis.map(|basis| is_listed(db, basis, &patient)).transpose()?.unwrap_or(false);
                Ok(Found { patient, was_listed })
            });
            Ok((found.collect::<Result<_, StoreError>>()?, HowFar { position: upto, is_end: upto >= last }))
        })
        .await
    }
}

fn members(asked: &Asked<'_, '_>, criteria: &Criteria, after: i64, upto: i64) -> Result<Sql, StoreError> {
    let mut sql = Sql::new(
        "SELECT r.id AS id FROM resource r INDEXED BY resource_of_type WHERE r.type = 'Patient' AND r.rid > ? AND r.rid <= ?",
        [after.into(), upto.into()],
    );
    if let Some(visible) = asked.visible(Right::Read, "Patient", "r")? {
        sql = sql.text(" AND ").then(&visible);
    }
    if !criteria.diagnoses.is_empty() {
        sql = sql.text(" AND ").then(&has(asked, "Condition", &diagnosis(asked, criteria)?)?);
    }
    if !criteria.plans.is_empty() {
        sql = sql.text(" AND ").then(&has(asked, "CarePlan", &plan(asked, criteria)?)?);
    }
    Ok(sql.text(" ORDER BY r.rid"))
}

/// Something about the patient that the caller may see, was not entered in error, and satisfies the test, there called `h`.
fn has(asked: &Asked<'_, '_>, resource_type: &str, test: &Sql) -> Result<Sql, StoreError> {
    let Some(patient) = kept(asked, resource_type, "patient")? else { return Ok(Sql::new("false", [])) };
    let wrong =
        facets(asked, resource_type, if resource_type == "Condition" { "verification-status" } else { "status" })?;
    let mut sql = Sql::new(
        "EXISTS (SELECT 1 FROM reference t CROSS JOIN resource h ON h.rid = t.rid WHERE t.param = ? AND t.target = 'Patient/' || r.id AND ",
        [Value::from(patient)],
    )
    .then(test);
    if let Some(visible) = asked.visible(Right::Search, resource_type, "h")? {
        sql = sql.text(" AND ").then(&visible);
    }
    if let Some(wrong) = wrong {
        sql = sql.text(" AND coalesce(h.facet NOT IN ").then(&wrong).text(" AND f.code = 'entered-in-error'), true)");
    }
    Ok(sql.text(")"))
}

fn kept(asked: &Asked<'_, '_>, resource_type: &str, name: &str) -> Result<Option<i64>, StoreError> {
    let name = param(resource_type, name).map_or(name, |p| p.kept_as);
    Ok(asked.kept(resource_type, name)?.map(|kept| kept.id))
}

/// `(SELECT … WHERE f.param = ?`, to be gone on with.
fn facets(asked: &Asked<'_, '_>, resource_type: &str, name: &str) -> Result<Option<Sql>, StoreError> {
    let kept = kept(asked, resource_type, name)?;
    Ok(kept.map(|id| Sql::new("(SELECT f.facet FROM facet_token f WHERE f.param = ?", [Value::from(id)])))
}

fn diagnosis(asked: &Asked<'_, '_>, criteria: &Criteria) -> Result<Sql, StoreError> {
    let Some(facets) = facets(asked, "Condition", "code")? else { return Ok(Sql::new("false", [])) };
    let ranges: Vec<Sql> = criteria
        .diagnoses
        .iter()
        .map(|(first, last)| {
            let last = format!("{last}\u{10FFFF}");
            Sql::new("f.code >= ? AND f.code < ?", [first.clone().into(), last.into()])
        })
        .collect();
    Ok(Sql::new("h.facet IN ", [])
        .then(&facets)
        .text(" AND (")
        .then(&Sql::join(&ranges, " OR ", "false"))
        .text(") AND f.system_id IN (SELECT s.id FROM system s WHERE s.uri IN (SELECT value FROM json_each(?))))")
        .value(list(criteria.systems.iter().cloned())))
}

fn plan(asked: &Asked<'_, '_>, criteria: &Criteria) -> Result<Sql, StoreError> {
    let Some(facets) = facets(asked, "CarePlan", "category")? else { return Ok(Sql::new("false", [])) };
    let mut sql = Sql::new("h.facet IN ", [])
        .then(&facets)
        .text(" AND f.code IN (SELECT value FROM json_each(?)))")
        .value(list(criteria.plans.iter().cloned()));
    if !criteria.units.is_empty() {
        sql = sql
            .text(" AND EXISTS (SELECT 1 FROM concern c WHERE c.rid = h.rid AND c.unit IN (SELECT value FROM json_each(?)))")
            .value(list(criteria.units.iter().cloned()));
    }
    if let Some((from, to)) = criteria.period {
        let mut params = Vec::new();
        for name in ["activity-date", "date"] {
            params.extend(kept(asked, "CarePlan", name)?.map(serde_json::Value::from));
        }
        sql = sql
            .text(
                " AND EXISTS (SELECT 1 FROM date d INDEXED BY date_of WHERE d.rid = h.rid \
                 AND d.param IN (SELECT value FROM json_each(?)) AND d.lo <= ? AND d.hi >= ?)",
            )
            .value(list(params))
            .value(to)
            .value(from);
    }
    Ok(sql)
}
