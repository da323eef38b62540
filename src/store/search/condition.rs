//! A clause as SQL: the set of rows it allows where that can be small, and the question to one row.

use rusqlite::types::Value;

use super::super::StoreError;
use super::super::grants::Right;
use super::super::known_patient::tells;
use super::super::query::Filter;
use super::super::row::list;
use super::super::sql::Sql;
use super::super::statement::Statements;
use super::compare::{span, words};
use super::{RARE, count};
use crate::fhir::search::{Clause, Kind, Param, Span, TokenMatch};

const LIST: &str = "(SELECT value FROM json_each(?))";
const PARAM: &str = "SELECT id, coded, ready FROM param WHERE type = ?1 AND name = ?2";
const SYSTEM: &str = "SELECT id FROM system WHERE uri = ?1";

/// Who asks, and the database it is asked of.
#[derive(Clone, Copy)]
pub(in crate::store) struct Asked<'a, 'c> {
    pub(in crate::store) db: &'a Statements<'c>,
    pub(in crate::store) filter: &'a Filter,
    /// Whether what is asked is itself a criterion of a scope.
    pub(in crate::store) is_criterion: bool,
    /// Whether sets are wanted: to know whether one is rare, its rows are counted.
    pub(in crate::store) wants_sets: bool,
}

/// What a clause allows.
pub(in crate::store) struct Condition {
    /// The question to the row that it was made for.
    pub(in crate::store) holds: Sql,
    /// `SELECT … rid`: every row that it allows. None where they are surely too many or cannot be listed.
    pub(in crate::store) set: Option<Sql>,
    /// Whether the set has no other rows of the type, so that none of it needs to be asked.
    pub(in crate::store) is_exact: bool,
}

impl Condition {
    pub(in crate::store) fn nothing() -> Self {
        Self::exact(Sql::new("false", []), Sql::new("SELECT NULL AS rid WHERE false", []))
    }

    /// A question to a row, and the rows of which it holds.
    pub(in crate::store) fn exact(holds: Sql, set: Sql) -> Self {
        Self { holds, set: Some(set), is_exact: true }
    }

    pub(in crate::store) fn any(parts: Vec<Self>) -> Self {
        let is_exact = parts.iter().all(|part| part.is_exact);
        let holds: Vec<Sql> = parts.iter().map(|part| part.holds.clone()).collect();
        let sets: Option<Vec<Sql>> = parts.into_iter().map(|part| part.set).collect();
        Self {
            holds: Sql::new("(", []).then(&Sql::join(&holds, " OR ", "false")).text(")"),
            set: sets.map(|sets| Sql::join(&sets, " UNION ALL ", "SELECT NULL AS rid WHERE false")),
            is_exact,
        }
    }
}

/// A parameter as the database keeps it.
pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) coded: bool,
}

/// An index table, always called `t`, read from its values or from a `rid`. Which index to use is said, because SQLite
/// would at times rather read a whole range of values for every row that is asked.
#[derive(Clone, Copy)]
struct Table {
    by_value: &'static str,
    by_rid: &'static str,
}

const TOKEN: Table = Table { by_value: "token t", by_rid: "token t INDEXED BY token_of" };
const REFERENCE: Table = Table { by_value: "reference t", by_rid: "reference t INDEXED BY reference_of" };
const DATE: Table = Table { by_value: "date t", by_rid: "date t INDEXED BY date_of" };
const TEXT: Table = Table { by_value: "text t", by_rid: "text t INDEXED BY text_of" };

impl<'a, 'c> Asked<'a, 'c> {
    pub(in crate::store) fn of(db: &'a Statements<'c>, filter: &'a Filter) -> Self {
        Self { db, filter, is_criterion: false, wants_sets: false }
    }
}

impl Asked<'_, '_> {
    /// The clause as a question to the row `row` of that type. `depth` is how many hops it is from what is searched for.
    pub(in crate::store) fn condition(
        &self,
        resource_type: &str,
        row: &str,
        depth: usize,
        clause: &Clause,
    ) -> Result<Condition, StoreError> {
        let condition = self.bare(resource_type, row, depth, clause)?;
        if resource_type == "Patient"
            && tells(clause)
            && let Some(has_come) = self.has_come(row)
        {
            let holds = Sql::new("(", []).then(&condition.holds).text(" AND ").then(&has_come).text(")");
            return Ok(Condition { holds, is_exact: false, ..condition });
        }
        Ok(condition)
    }

    /// The same, whoever may have said what it asks for.
    fn bare(&self, resource_type: &str, row: &str, depth: usize, clause: &Clause) -> Result<Condition, StoreError> {
        Ok(match clause {
            Clause::Id(ids) => {
                let ids = Value::from(list(ids.iter().cloned()));
                let of_type = Value::from(resource_type.to_owned());
                let set = format!("SELECT t.rid FROM resource t WHERE t.type = ? AND t.id IN {LIST}");
                Condition::exact(Sql::new(format!("{row}.id IN {LIST}"), [ids.clone()]), Sql::new(set, [of_type, ids]))
            }
            Clause::Token { param, any_of } if resource_type == "Patient" && param == "identifier" => {
                self.of_person(row, any_of, self.tokens(resource_type, row, param, any_of)?)?
            }
            Clause::Token { param, any_of } => self.tokens(resource_type, row, param, any_of)?,
            Clause::Reference { param, any_of } => {
                let Some(kept) = self.kept(resource_type, param)? else { return Ok(Condition::nothing()) };
                // By whichever number of the person.
                let any_of = self.with_kin(any_of)?;
                let test = Sql::new(format!("t.target IN {LIST}"), [Value::from(list(any_of))]);
                rows(REFERENCE, row, kept.id, &test)
            }
            Clause::Date { param, any_of } => {
                let Some(kept) = self.kept(resource_type, param)? else { return Ok(Condition::nothing()) };
                Condition::any(any_of.iter().map(|s| rows(DATE, row, kept.id, &span(s, "t.lo", "t.hi"))).collect())
            }
            Clause::LastUpdated { any_of } => {
                let one = |s: &Span| {
                    let at = format!("{row}.updated_at");
                    let set = Sql::new(
                        "SELECT t.rid FROM resource t WHERE t.type = ? AND ",
                        [resource_type.to_owned().into()],
                    );
                    Condition::exact(span(s, &at, &at), set.then(&span(s, "t.updated_at", "t.updated_at")))
                };
                Condition::any(any_of.iter().map(one).collect())
            }
            Clause::Text { param, any_of, how } => {
                let Some(kept) = self.kept(resource_type, param)? else { return Ok(Condition::nothing()) };
                Condition::any(any_of.iter().map(|word| rows(TEXT, row, kept.id, &words(word, *how))).collect())
            }
            Clause::Present(param) => self.present(resource_type, row, param)?,
            Clause::Chain { param, target, clause } => {
                self.chain(resource_type, row, depth + 1, (param, target), clause)?
            }
            Clause::Has { source, param, clause } => {
                self.has(resource_type, row, depth + 1, (source, param), clause)?
            }
            Clause::Not(clause) => {
                let inner = self.bare(resource_type, row, depth, clause)?;
                Condition { holds: Sql::new("NOT (", []).then(&inner.holds).text(")"), set: None, is_exact: false }
            }
            Clause::Awaited { due_by } => awaited(resource_type, row, *due_by),
            Clause::Any(clauses) => {
                let parts = clauses.iter().map(|clause| self.bare(resource_type, row, depth, clause));
                Condition::any(parts.collect::<Result<_, _>>()?)
            }
        })
    }

    /// None: nothing was ever indexed by it.
    pub(super) fn kept(&self, resource_type: &str, name: &str) -> Result<Option<Kept>, StoreError> {
        let found = self.db.first(PARAM, (resource_type, name), |row| {
            Ok::<_, StoreError>((Kept { id: row.get("id")?, coded: row.get("coded")? }, row.get::<_, bool>("ready")?))
        })?;
        match found {
            Some((_, false)) => Err(StoreError::Indexing),
            Some((kept, true)) => Ok(Some(kept)),
            None => Ok(None),
        }
    }

    fn system(&self, uri: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.db.first(SYSTEM, [uri], |row| row.get(0))?)
    }

    fn tokens(
        &self,
        resource_type: &str,
        row: &str,
        param: &str,
        any_of: &[TokenMatch],
    ) -> Result<Condition, StoreError> {
        let Some(kept) = self.kept(resource_type, param)? else { return Ok(Condition::nothing()) };
        let (mut whole, mut codes, mut systems) = (Vec::new(), Vec::new(), Vec::new());
        for token in any_of {
            let system = match &token.system {
                Some(uri) => match self.system(uri)? {
                    Some(id) => Some(id),
                    // Nothing has a value of that system.
                    None => continue,
                },
                None => None,
            };
            match (system, &token.code) {
                (Some(system), Some(code)) => {
                    whole.push(serde_json::Value::from(vec![system.into(), serde_json::Value::from(code.clone())]));
                }
                (None, Some(code)) => codes.push(serde_json::Value::from(code.clone())),
                (Some(system), None) => systems.push(serde_json::Value::from(system)),
                (None, None) => {}
            }
        }
        let mut parts = Vec::new();
        // At most one part for each way to name a token, however many tokens are named.
        if !whole.is_empty() {
            let test = "(t.code, t.system_id) IN (SELECT value ->> 1, value ->> 0 FROM json_each(?))";
            parts.push(Sql::new(test, [Value::from(list(whole))]));
        }
        if !codes.is_empty() {
            parts.push(Sql::new(format!("t.code IN {LIST}"), [Value::from(list(codes))]));
        }
        if !systems.is_empty() {
            parts.push(Sql::new(format!("t.system_id IN {LIST}"), [Value::from(list(systems))]));
        }
        let parts = parts
            .iter()
            .map(|test| if kept.coded { facets(row, kept.id, Some(test)) } else { rows(TOKEN, row, kept.id, test) });
        Ok(Condition::any(parts.collect()))
    }

    fn present(&self, resource_type: &str, row: &str, param: &Param) -> Result<Condition, StoreError> {
        let Some(kept) = self.kept(resource_type, param.kept_as)? else { return Ok(Condition::nothing()) };
        if kept.coded {
            return Ok(facets(row, kept.id, None));
        }
        let table = match param.kind {
            Kind::Token | Kind::Uri => TOKEN,
            Kind::Reference | Kind::Canonical => REFERENCE,
            Kind::Date => DATE,
            Kind::String => TEXT,
        };
        let test = match param.only {
            Some(only) => {
                let mut test = within(only);
                test.text = format!("({} OR t.target >= 'identifier:' AND t.target < 'identifier;')", test.text);
                test
            }
            None => Sql::new("true", []),
        };
        Ok(rows(table, row, kept.id, &test))
    }

    fn chain(
        &self,
        resource_type: &str,
        row: &str,
        depth: usize,
        (param, target): (&str, &str),
        clause: &Clause,
    ) -> Result<Condition, StoreError> {
        let Some(kept) = self.kept(resource_type, param)? else { return Ok(Condition::nothing()) };
        let hop = format!("h{depth}");
        let inner = self.condition(target, &hop, depth, clause)?;
        let visible = self.visible(Right::Search, target, &hop)?;
        let and_visible = visible.map(|v| Sql::new(" AND ", []).then(&v)).unwrap_or_default();
        let start = format!("{target}/").len() as i64 + 1;
        let holds = Sql::new(
            format!(
                "EXISTS (SELECT 1 FROM reference t INDEXED BY reference_of CROSS JOIN resource {hop} \
                 ON {hop}.type = ? AND {hop}.id = substr(t.target, ?) WHERE t.rid = {row}.rid AND t.param = ? AND "
            ),
            [Value::from(target.to_owned()), start.into(), kept.id.into()],
        )
        .then(&within(target))
        .then(&and_visible)
        .text(" AND ")
        .then(&inner.holds)
        .text(")");
        // A set that has more than the inner condition allows is asked again.
        let and_holds = match inner.is_exact {
            true => Sql::default(),
            false => Sql::new(" AND ", []).then(&inner.holds),
        };
        let set = self.rare(inner.set)?.map(|set| {
            Sql::new("SELECT t.rid FROM (", [])
                .then(&set)
                .text(&format!(
                    ") i CROSS JOIN resource {hop} ON {hop}.rid = i.rid CROSS JOIN reference t \
                     ON t.param = ? AND t.target = {hop}.type || '/' || {hop}.id WHERE {hop}.type = ?"
                ))
                .value(kept.id)
                .value(target.to_owned())
                .then(&and_visible)
                .then(&and_holds)
        });
        Ok(Condition { holds, set, is_exact: true })
    }

    fn has(
        &self,
        resource_type: &str,
        row: &str,
        depth: usize,
        (source, param): (&str, &str),
        clause: &Clause,
    ) -> Result<Condition, StoreError> {
        let Some(kept) = self.kept(source, param)? else { return Ok(Condition::nothing()) };
        let hop = format!("h{depth}");
        let inner = self.condition(source, &hop, depth, clause)?;
        let visible = self.visible(Right::Search, source, &hop)?;
        let and_visible = visible.map(|v| Sql::new(" AND ", []).then(&v)).unwrap_or_default();
        let holds = Sql::new(
            format!(
                "EXISTS (SELECT 1 FROM reference t CROSS JOIN resource {hop} ON {hop}.rid = t.rid \
                 WHERE t.param = ? AND t.target = {row}.type || '/' || {row}.id"
            ),
            [Value::from(kept.id)],
        )
        .then(&and_visible)
        .text(" AND ")
        .then(&inner.holds)
        .text(")");
        let start = format!("{resource_type}/").len() as i64 + 1;
        // A set that has more than the inner condition allows is asked again.
        let and_holds = match inner.is_exact {
            true => Sql::default(),
            false => Sql::new(" AND ", []).then(&inner.holds),
        };
        let set = self.rare(inner.set)?.map(|set| {
            Sql::new("SELECT f.rid FROM (", [])
                .then(&set)
                .text(&format!(
                    ") i CROSS JOIN resource {hop} ON {hop}.rid = i.rid CROSS JOIN reference t INDEXED BY reference_of \
                     ON t.rid = {hop}.rid AND t.param = ? CROSS JOIN resource f ON f.type = ? AND f.id = substr(t.target, ?) WHERE "
                ))
                .value(kept.id)
                .value(resource_type.to_owned())
                .value(start)
                .then(&within(resource_type))
                .then(&and_visible)
                .then(&and_holds)
        });
        Ok(Condition { holds, set, is_exact: true })
    }

    /// The set, if it has few rows.
    fn rare(&self, set: Option<Sql>) -> Result<Option<Sql>, StoreError> {
        let Some(set) = set.filter(|_| self.wants_sets) else { return Ok(None) };
        Ok((count(self.db, &set)? <= RARE).then_some(set))
    }
}

/// References to that type.
fn within(target: &str) -> Sql {
    // '0' is the character behind '/'.
    let bounds = [format!("{target}/"), format!("{target}0")];
    Sql::new("t.target >= ? AND t.target < ?", bounds.map(Value::from))
}

/// Rows of an index table that satisfy a test.
fn rows(table: Table, row: &str, param: i64, test: &Sql) -> Condition {
    let holds = format!("EXISTS (SELECT 1 FROM {} WHERE t.rid = {row}.rid AND t.param = ? AND ", table.by_rid);
    let set = format!("SELECT t.rid FROM {} WHERE t.param = ? AND ", table.by_value);
    Condition::exact(
        Sql::new(holds, [Value::from(param)]).then(test).text(")"),
        Sql::new(set, [Value::from(param)]).then(test),
    )
}

/// Resources whose facet has a value that satisfies the test, or any. The facets are looked up once for all rows.
fn facets(row: &str, param: i64, test: Option<&Sql>) -> Condition {
    let facets = Sql::new("(SELECT t.facet FROM facet_token t WHERE t.param = ?", [Value::from(param)]);
    let facets = match test {
        Some(test) => facets.text(" AND ").then(test),
        None => facets,
    }
    .text(")");
    Condition::exact(
        // Where there is no facet the answer is no, also to the opposite question.
        Sql::new(format!("coalesce({row}.facet IN "), []).then(&facets).text(", false)"),
        Sql::new("SELECT f.rid FROM resource f INDEXED BY resource_facet WHERE f.facet IN ", []).then(&facets),
    )
}

/// Waits name the Task that is not moved; of a request to stop, that is what they are about.
fn awaited(resource_type: &str, row: &str, due_by: Option<i64>) -> Condition {
    if resource_type != "Task" {
        return Condition::nothing();
    }
    let due = if due_by.is_some() { " AND w.due_at <= ?" } else { "" };
    let time = || due_by.map(Value::from);
    let holds = format!(
        "EXISTS (SELECT 1 FROM exchange_resource x CROSS JOIN wait w ON w.exchange = x.exchange WHERE x.rid = {row}.rid \
         AND iif(w.subject = '', w.task, w.subject) = {row}.id{due})"
    );
    let set = format!(
        "SELECT t.rid FROM wait w INDEXED BY wait_due CROSS JOIN resource t ON t.type = 'Task' \
         AND t.id = iif(w.subject = '', w.task, w.subject) WHERE true{due}"
    );
    Condition::exact(Sql::new(holds, time()), Sql::new(set, time()))
}
