//! A walk over all resources of a type as they stood at one commit, piece by piece, for exports of any size.
//!
//! Rows are walked in the order in which the resources were made, which never changes, and each is shown in the version that
//! stood when the walk was asked for: what is written meanwhile neither moves the walk nor gets into it. Whether a row may be
//! seen is decided as it stands now, so that what has been hidden since does not go out. One piece looks at so many rows and no
//! more, however few of them are shown: a reader that stays long keeps the log of the database from being emptied.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use rusqlite::params_from_iter;
use rusqlite::types::Value;
use uuid::Uuid;

use super::super::block::readers;
use super::super::export::Until;
use super::super::grants::Right;
use super::super::query::{Filter, Who};
use super::super::read_resource::stored;
use super::super::record::Stored;
use super::super::sql::Sql;
use super::super::visible::{and, units};
use super::super::{Store, StoreError};
use super::condition::Asked;
use crate::fhir::lifecycle::is_retired;
use crate::fhir::search::{Beyond, Clause, holds, index, param};

/// Rows that one piece of a walk looks at.
const PIECE: i64 = 20_000;

/// Columns of [`standing`] by their places: to look for a name in every row of millions costs as much as the row.
const RID: usize = 0;
const ID: usize = 1;
const PATIENT: usize = 2;
const CURRENT: usize = 3;
const BODY: usize = 8;

const LAST: &str = "SELECT coalesce(max(rid), 0) AS last FROM resource";
/// Requests that took longer than this before they were committed are counted as late.
const SLACK_MS: i64 = 24 * 3600 * 1000;

const STOOD: &str = "SELECT r.type, r.id, v.version, v.seq, v.at, v.body, r.patient FROM version v CROSS JOIN resource r ON r.rid = v.rid \
     WHERE v.rid = ?1 AND v.seq <= ?2 ORDER BY v.version DESC LIMIT 1";
const BEFORE: &str = "SELECT 1 FROM version WHERE rid = ?1 AND seq <= ?2 LIMIT 1";
const LIST: &str = "(SELECT value FROM json_each(?))";

/// What to walk over.
#[derive(Debug, Clone)]
pub struct Walk {
    pub resource_type: String,
    /// The last commit that is seen.
    pub seq: i64,
    /// Only what changed after this commit, and what left since.
    pub since: Option<i64>,
    /// The moment that this was.
    pub since_at: Option<DateTime<Utc>>,
    pub until: Option<Until>,
    /// Only what is about a patient.
    pub of_patients: bool,
    /// The export whose list of patients counts.
    pub list: Option<List>,
    /// One of these must hold, each of them whole; without any, everything does.
    pub any_of: Vec<Vec<Clause>>,
    /// Only Provenance of resources of these types.
    pub provenance: Option<Targets>,
    /// Behind this row.
    pub after: i64,
}

/// The patients of an export.
#[derive(Debug, Clone, Copy)]
pub struct List {
    pub export: Uuid,
    /// Nobody else counts; otherwise the list only says who came and who left.
    pub is_whole: bool,
}

/// What Provenance is wanted of.
#[derive(Debug, Clone)]
pub struct Targets {
    pub types: Vec<String>,
    /// Only the newest of each.
    pub latest: bool,
}

/// A resource on the way.
#[derive(Debug)]
pub enum Passed<'r> {
    /// As it stood.
    Stands { rid: i64, id: &'r str, patient: Option<&'r str>, body: &'r [u8] },
    /// The client had it, and is to have it no more.
    Left { id: &'r str },
}

/// How far a piece of a walk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HowFar {
    /// The last row that was looked at.
    pub position: i64,
    /// There is nothing behind it.
    pub is_end: bool,
}

impl Store {
    /// One piece of the walk, on the reader that is kept for this. `pass` says when it has had enough; it is given back.
    pub async fn walk<P>(&self, filter: &Filter, walk: Walk, mut pass: P) -> Result<(P, HowFar), StoreError>
    where
        P: FnMut(Passed<'_>) -> ControlFlow<()> + Send + 'static,
    {
        let filter = filter.clone();
        self.scan(move |db| {
            let walked = piece(&Asked::of(db, &filter), &walk, &mut pass)?;
            Ok((pass, walked))
        })
        .await
    }
}

fn piece(
    asked: &Asked<'_, '_>,
    walk: &Walk,
    pass: &mut impl FnMut(Passed<'_>) -> ControlFlow<()>,
) -> Result<HowFar, StoreError> {
    let db = asked.db;
    let last = db.first(LAST, [], |row| Ok::<i64, StoreError>(row.get("last")?))?.unwrap_or(0);
    let upto = walk.after.saturating_add(PIECE);
    let mut left: Vec<(i64, String)> = Vec::new();
    let sql = standing(asked, walk, upto)?;
    let mut stopped = None;
    db.some(
        &sql.text,
        params_from_iter(sql.values),
        |row| {
            let rid: i64 = row.get(RID)?;
            let id = row.get_ref(ID)?.as_str().map_err(|_| StoreError::Corrupt("an id"))?;
            let body = row.get_ref(BODY)?.as_blob().map_err(|_| StoreError::Corrupt("a resource"))?;
            // What is found by stands for the version in force; an older one is asked itself.
            if row.get::<_, i64>(CURRENT)? > walk.seq {
                let stood = Stored { resource_type: walk.resource_type.clone(), ..stored(row)? };
                if !asked.covers(Right::Read, &stood)? || !fits(walk, &stood)? {
                    return Ok::<_, StoreError>(None);
                }
            }
            if is_retired(body) {
                if let Some(since) = walk.since
                    && db.first(BEFORE, (rid, since), |_| Ok::<_, StoreError>(()))?.is_some()
                {
                    left.push((rid, id.to_owned()));
                }
                return Ok(None);
            }
            let patient = row.get_ref(PATIENT)?.as_str_or_null().map_err(|_| StoreError::Corrupt("a patient"))?;
            if pass(Passed::Stands { rid, id, patient, body }).is_break() {
                stopped = Some(rid);
                return Ok(Some(()));
            }
            Ok(None)
        },
        1,
    )?;
    let position = stopped.unwrap_or(upto);
    if let Some(sql) = leaving(asked, walk, position)? {
        let rows = sql.all(db, |row| Ok((row.get("rid")?, row.get("id")?, row.get::<_, bool>("is_sure")?)))?;
        for (rid, id, is_sure) in rows {
            if is_sure || was_had(asked, walk, rid, walk.since.unwrap_or(0))? {
                left.push((rid, id));
            }
        }
        left.sort_unstable();
        left.dedup();
    }
    for (_, id) in &left {
        // Those are few and short; they are not left for the next piece.
        let _ = pass(Passed::Left { id });
    }
    Ok(HowFar { position: position.min(last.max(walk.after)), is_end: position >= last })
}

/// Whether a version satisfies the filters by its own content.
pub(super) fn fits(walk: &Walk, version: &Stored) -> Result<bool, StoreError> {
    if walk.any_of.is_empty() {
        return Ok(true);
    }
    let values = index(&serde_json::from_slice(&version.body).map_err(|_| StoreError::Corrupt("a resource"))?);
    let at = version.updated_at.timestamp_millis();
    for all in &walk.any_of {
        let mut is_all = true;
        for clause in all {
            is_all = is_all && holds(clause, &version.id, at, &values, &mut Alone)?;
        }
        if is_all {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A filter asks the resource itself; whatever leads to others was refused when it came.
struct Alone;

impl Beyond for Alone {
    type Error = StoreError;

    fn target(&mut self, _: &str, _: &Clause) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn pointed_at(&mut self, _: &Clause) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// One of the filters of the walk, of the row as it stands.
fn filters(asked: &Asked<'_, '_>, walk: &Walk) -> Result<Option<Sql>, StoreError> {
    let mut any = Vec::new();
    for all in &walk.any_of {
        let all = all.iter().map(|clause| Ok(asked.condition(&walk.resource_type, "r", 0, clause)?.holds));
        let all: Vec<Sql> = all.collect::<Result<_, StoreError>>()?;
        any.push(Sql::new("(", []).then(&Sql::join(&all, " AND ", "true")).text(")"));
    }
    Ok((!any.is_empty()).then(|| Sql::join(&any, " OR ", "true")))
}

/// The patient that a row is about.
pub(super) fn patient_of(resource_type: &str) -> &'static str {
    if resource_type == "Patient" { "r.id" } else { "r.patient" }
}

/// What goes out of the rows behind `after` up to `upto`.
fn standing(asked: &Asked<'_, '_>, walk: &Walk, upto: i64) -> Result<Sql, StoreError> {
    let patient = patient_of(&walk.resource_type);
    let mut sql = Sql::new(
        "SELECT r.rid AS rid, r.id AS id, r.patient AS patient, r.seq AS current, r.type AS type, v.version AS version, \
         v.seq AS seq, v.at AS at, v.body AS body \
         FROM resource r INDEXED BY resource_of_type CROSS JOIN version v ON v.seq = CASE WHEN r.seq <= ? THEN r.seq \
         ELSE (SELECT max(o.seq) FROM version o WHERE o.rid = r.rid AND o.seq <= ?) END \
         WHERE r.type = ? AND r.rid > ? AND r.rid <= ?",
        [walk.seq.into(), walk.seq.into(), walk.resource_type.clone().into(), walk.after.into(), upto.into()],
    );
    if walk.of_patients {
        sql = sql.text(&format!(" AND {patient} IS NOT NULL"));
    }
    if let Some(since) = walk.since {
        let came = came(asked, walk, since);
        // Asked of the resource before its version is looked for.
        sql = sql
            .text(" AND (r.seq > ?")
            .value(since)
            .then(&came)
            .text(") AND (v.seq > ?")
            .value(since)
            .then(&came)
            .text(")");
    }
    if let Some(until) = walk.until {
        sql = sql.text(" AND (v.seq <= ? OR v.at <= ?)").value(until.seq).value(until.at.timestamp_millis());
    }
    if let Some(visible) = asked.visible(Right::Read, &walk.resource_type, "r")? {
        sql = sql.text(" AND ").then(&visible);
    }
    if let Some(list) = walk.list.filter(|list| list.is_whole) {
        sql = sql.text(" AND ").then(&listed(list.export, patient, "m.state <> 'left'"));
    }
    if let Some(filters) = filters(asked, walk)? {
        sql = sql.text(" AND (r.seq > ? OR ").value(walk.seq).then(&filters).text(")");
    }
    if walk.resource_type == "Patient"
        && let Some(has_come) = asked.has_come("r")
    {
        // A unit has its own words about a patient; those of others go only where they have come with a document.
        sql = sql.text(" AND ").then(&has_come);
    }
    if let Some(targets) = &walk.provenance {
        sql = sql.text(" AND ").then(&provenance(asked, targets)?);
    }
    Ok(sql.text(" ORDER BY r.rid"))
}

/// ` OR …`: that the row came to the client otherwise than by a new version.
pub(super) fn came(asked: &Asked<'_, '_>, walk: &Walk, since: i64) -> Sql {
    let mut sql = Sql::default();
    if let Some(list) = walk.list {
        let new = listed(list.export, patient_of(&walk.resource_type), "m.state = 'new'");
        sql = sql.text(" OR ").then(&new);
    }
    if let Some(sight) = sight(asked, since, 1) {
        sql = sql.text(" OR ").then(&sight);
    }
    if let (true, Some(at), Some(units)) = (walk.resource_type == "Patient", walk.since_at, units(asked.filter)) {
        // A document about a patient whom the unit knew by its own word only. When it came is its request's time.
        let from = at.timestamp_millis() - SLACK_MS;
        sql = sql
            .text(
                " OR EXISTS (SELECT 1 FROM exchange e CROSS JOIN party p ON p.exchange = e.id WHERE e.patient = r.id \
                 AND e.updated_at >= ? AND +p.unit IN (SELECT value FROM json_each(?)))",
            )
            .value(from)
            .value(units);
    }
    sql
}

pub(super) fn listed(export: Uuid, patient: &str, state: &str) -> Sql {
    let text = format!("EXISTS (SELECT 1 FROM export_patient m WHERE m.job = ? AND m.patient = {patient} AND {state})");
    Sql::new(text, [Value::from(export.as_bytes().to_vec())])
}

fn sight(asked: &Asked<'_, '_>, since: i64, gained: i64) -> Option<Sql> {
    let units = readers(asked.filter)?;
    let text = format!(
        "EXISTS (SELECT 1 FROM sight c WHERE c.rid = r.rid AND c.unit IN {LIST} AND c.seq > ? AND c.gained = {gained})"
    );
    Some(Sql::new(text, [Value::from(units), Value::from(since)]))
}

/// What the client had and is to have no more: hidden from it, about a patient that left, or no longer what it may see or has
/// asked for. Of the last it is to be asked whether it was so before (`is_sure` is false).
fn leaving(asked: &Asked<'_, '_>, walk: &Walk, upto: i64) -> Result<Option<Sql>, StoreError> {
    let Some(since) = walk.since else { return Ok(None) };
    let patient = patient_of(&walk.resource_type);
    let visible = asked.visible(Right::Read, &walk.resource_type, "r")?;
    let whole = walk.list.filter(|list| list.is_whole);
    let of_list = whole.map(|list| listed(list.export, patient, "true"));
    let mut gone = Vec::new();
    if let Some(list) = walk.list {
        gone.push(and(listed(list.export, patient, "m.state = 'left'"), had(asked, since).as_ref()));
    }
    // What a registry is to erase is kept by itself, as it knows it.
    let is_registry = matches!(asked.filter.who, Who::Registry(_));
    if let Some((lost, visible)) = sight(asked, since, 0).zip(visible.as_ref()).filter(|_| !is_registry) {
        gone.push(and(lost.text(" AND NOT (").then(visible).text(")"), of_list.as_ref()));
    }
    // Of what it could have had by whom it concerns, scopes and filters may have left something out.
    let is_narrowed = asked.filter.grants.is_some() || !walk.any_of.is_empty();
    let (sure, gone) = if is_narrowed { (Vec::new(), gone) } else { (gone, Vec::new()) };
    // What changes later is told later: until then it is what it was.
    let changed = || Sql::new("r.seq > ? AND r.seq <= ?", [since.into(), walk.seq.into()]);
    let mut perhaps = gone;
    if let Some(visible) = visible.as_ref().filter(|_| asked.filter.grants.is_some()) {
        let uncovered = and(changed(), asked.concerning(&walk.resource_type, "r").as_ref());
        perhaps.push(and(uncovered.text(" AND NOT (").then(visible).text(")"), of_list.as_ref()));
    }
    if let Some(filters) = filters(asked, walk)? {
        let other = and(changed(), visible.as_ref()).text(" AND NOT (").then(&filters).text(")");
        perhaps.push(and(other, of_list.as_ref()));
    }
    if sure.is_empty() && perhaps.is_empty() {
        return Ok(None);
    }
    let sure = Sql::new("(", []).then(&Sql::join(&sure, " OR ", "false")).text(")");
    let perhaps = Sql::join(&perhaps, " OR ", "false");
    let sql = Sql::new("SELECT r.rid AS rid, r.id AS id, ", []).then(&sure).text(
        " AS is_sure FROM resource r INDEXED BY resource_of_type WHERE r.type = ? AND r.rid > ? AND r.rid <= ? \
         AND EXISTS (SELECT 1 FROM version o WHERE o.rid = r.rid AND o.seq <= ?) AND (",
    );
    let bounds = [walk.resource_type.clone().into(), walk.after.into(), upto.into(), since.into()];
    let sql = bounds.into_iter().fold(sql, |sql, bound: Value| sql.value(bound));
    Ok(Some(sql.then(&sure).text(" OR ").then(&perhaps).text(") ORDER BY r.rid")))
}

/// Whether the client had the resource: the version that stood then was what it may see and has asked for.
fn was_had(asked: &Asked<'_, '_>, walk: &Walk, rid: i64, since: i64) -> Result<bool, StoreError> {
    let Some(before) = asked.db.first(STOOD, (rid, since), stored)? else { return Ok(false) };
    Ok(!is_retired(&before.body) && asked.may_have_covered(Right::Read, &before)? && fits(walk, &before)?)
}

/// That the one who asks could see the row then, as far as it is known whom it concerned, or has got it. Of what somebody never
/// had nothing is told when its patient leaves.
fn had(asked: &Asked<'_, '_>, since: i64) -> Option<Sql> {
    if let Who::Registry(name) = &asked.filter.who {
        let got = "EXISTS (SELECT 1 FROM disclosure d CROSS JOIN registry g ON g.id = d.registry WHERE d.rid = r.rid AND g.name = ?)";
        return Some(Sql::new(got, [Value::from(name.clone())]));
    }
    let units = Value::from(units(asked.filter)?);
    let concerns = format!("(EXISTS (SELECT 1 FROM concern c WHERE c.rid = r.rid AND c.unit IN {LIST})");
    let lost = sight(asked, since, 0)?;
    Some(Sql::new(concerns, [units]).text(" OR ").then(&lost).text(")"))
}

fn provenance(asked: &Asked<'_, '_>, targets: &Targets) -> Result<Sql, StoreError> {
    let name = param("Provenance", "target").map_or("target", |p| p.kept_as);
    let Some(kept) = asked.kept("Provenance", name)? else { return Ok(Sql::new("false", [])) };
    let types: Vec<Sql> = targets
        .types
        .iter()
        .map(|kind| {
            // '0' is the character behind '/'.
            let bounds = [format!("{kind}/"), format!("{kind}0")];
            Sql::new("t.target >= ? AND t.target < ?", bounds.map(Value::from))
        })
        .collect();
    let mut sql = Sql::new(
        "EXISTS (SELECT 1 FROM reference t INDEXED BY reference_of WHERE t.rid = r.rid AND t.param = ? AND (",
        [Value::from(kept.id)],
    )
    .then(&Sql::join(&types, " OR ", "false"))
    .text(")");
    if targets.latest {
        sql = sql
            .text(" AND NOT EXISTS (SELECT 1 FROM reference o WHERE o.param = ? AND o.target = t.target AND o.rid > r.rid)")
            .value(kept.id);
    }
    Ok(sql.text(")"))
}
