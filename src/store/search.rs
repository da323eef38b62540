//! Search: clauses become conditions on `rid`, and the rarest of them, if one is rare, leads.
//!
//! A condition can be used in two ways: as the set of rows it allows, or as a question to one row. Where some condition
//! allows few rows, those are taken and the others asked of each; otherwise the type is walked in the order of `seq` until
//! the page is full. SQLite has no statistics to choose by, so the rows are counted, up to [`RARE`].

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::query::{Clause, DateOp, Filter, Page, Search, TokenMatch};
use super::read_resource::at;
use super::row::list;
use super::statement::Statements;
use super::{Store, StoreError};

/// A condition that allows more rows than this does not lead.
const RARE: i64 = 1000;

const PARAM: &str = "t.param = (SELECT id FROM param WHERE type = ? AND name = ?)";
const LIST: &str = "(SELECT value FROM json_each(?))";

/// What a clause allows: any of these.
type Condition = Vec<Set>;

/// Rows of an index table that satisfy a test.
struct Set {
    table: Table,
    test: String,
    values: Vec<Value>,
}

impl Set {
    fn new(table: Table, test: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { table, test: test.into(), values: values.into_iter().collect() }
    }

    /// Everything behind `SELECT t.rid`.
    fn rows(&self) -> String {
        format!("FROM {} WHERE {}", self.table.by_value, self.test)
    }

    /// The question to the row `r`. Which index to use is said, because SQLite would at times rather read a whole range of
    /// values for every row that is asked.
    fn holds(&self) -> String {
        format!("EXISTS (SELECT 1 FROM {} WHERE {} AND t.rid = r.rid)", self.table.by_rid, self.test)
    }
}

/// An index table, always called `t`, read from its values or from a `rid`.
#[derive(Clone, Copy)]
struct Table {
    by_value: &'static str,
    by_rid: &'static str,
}

const TOKEN: Table = Table { by_value: "token t", by_rid: "token t INDEXED BY token_of" };
/// Tokens named as `[system, code]` in a JSON array.
const NAMED_TOKEN: Table = Table {
    by_value: "json_each(?) m CROSS JOIN system s ON s.uri = m.value ->> 0 CROSS JOIN token t",
    by_rid: "json_each(?) m CROSS JOIN system s ON s.uri = m.value ->> 0 CROSS JOIN token t INDEXED BY token_of",
};
const REFERENCE: Table = Table { by_value: "reference t", by_rid: "reference t INDEXED BY reference_of" };
const DATE: Table = Table { by_value: "date t", by_rid: "date t INDEXED BY date_of" };
const RESOURCE: Table = Table { by_value: "resource t", by_rid: "resource t NOT INDEXED" };
const CONCERN: Table = Table { by_value: "concern t", by_rid: "concern t" };

impl Store {
    pub async fn search(&self, filter: &Filter, search: &Search) -> Result<Page, StoreError> {
        let (search, units) = (search.clone(), filter.units_for(&search.resource_type));
        self.read(move |db| {
            let limit = search.limit as usize;
            let mut found = Query::plan(db, &search, units)?.run(db)?;
            let more = found.len() > limit;
            found.truncate(limit);
            let matches = found.into_iter().filter_map(|seq| at(db, seq).transpose()).collect::<Result<_, _>>()?;
            Ok(Page { matches, more })
        })
        .await
    }
}

/// One statement that gives the `seq` of what was found.
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn plan(db: &Statements<'_>, search: &Search, units: Option<String>) -> Result<Self, StoreError> {
        let mut conditions: Vec<Condition> =
            search.clauses.iter().map(|clause| condition(&search.resource_type, clause)).collect();
        if let Some(units) = units {
            conditions.push(vec![Set::new(CONCERN, format!("t.unit IN {LIST}"), [Value::from(units)])]);
        }
        let mut rarest: Option<(i64, usize)> = None;
        for (index, condition) in conditions.iter().enumerate() {
            let count = count(db, condition)?;
            if count <= RARE && rarest.is_none_or(|(least, _)| count < least) {
                rarest = Some((count, index));
            }
        }
        let lead = rarest.map(|(_, index)| conditions.swap_remove(index));
        Ok(Self::compose(search, lead, conditions))
    }

    fn compose(search: &Search, lead: Option<Condition>, others: Vec<Condition>) -> Self {
        let mut values = Vec::new();
        let mut sql = String::from("SELECT r.seq FROM ");
        match lead {
            Some(sets) => {
                let union: Vec<String> = sets.iter().map(|set| format!("SELECT t.rid {}", set.rows())).collect();
                let union = if union.is_empty() { "SELECT NULL AS rid".to_owned() } else { union.join(" UNION ") };
                sql.push_str(&format!("(SELECT DISTINCT rid FROM ({union})) l CROSS JOIN resource r ON r.rid = l.rid"));
                values.extend(sets.into_iter().flat_map(|set| set.values));
            }
            None => sql.push_str("resource r INDEXED BY resource_walk"),
        }
        sql.push_str(" WHERE r.type = ?");
        values.push(Value::from(search.resource_type.clone()));
        if let Some(after) = search.after {
            sql.push_str(if search.newest_first { " AND r.seq < ?" } else { " AND r.seq > ?" });
            values.push(Value::from(after));
        }
        for sets in others {
            let any: Vec<String> = sets.iter().map(Set::holds).collect();
            let any = if any.is_empty() { "false".to_owned() } else { any.join(" OR ") };
            sql.push_str(&format!(" AND ({any})"));
            values.extend(sets.into_iter().flat_map(|set| set.values));
        }
        sql.push_str(if search.newest_first { " ORDER BY r.seq DESC" } else { " ORDER BY r.seq" });
        sql.push_str(" LIMIT ?");
        values.push(Value::from(i64::from(search.limit).saturating_add(1)));
        Self { sql, values }
    }

    fn run(self, db: &Statements<'_>) -> Result<Vec<i64>, StoreError> {
        db.all(&self.sql, params_from_iter(self.values), |row| Ok(row.get(0)?))
    }
}

/// How many index rows a condition allows; more than [`RARE`] are not counted.
fn count(db: &Statements<'_>, condition: &Condition) -> Result<i64, StoreError> {
    let mut sum = 0;
    for set in condition {
        let sql = format!("SELECT count(*) FROM (SELECT 1 {} LIMIT {})", set.rows(), RARE + 1);
        let rows: Option<i64> = db.first(&sql, params_from_iter(&set.values), |row| row.get(0))?;
        sum += rows.unwrap_or(0);
    }
    Ok(sum)
}

fn condition(resource_type: &str, clause: &Clause) -> Condition {
    let of_type = || Value::from(resource_type.to_owned());
    let param = |name: &String| [of_type(), Value::from(name.clone())];
    match clause {
        Clause::Id(ids) => {
            let ids = Value::from(list(ids.iter().cloned()));
            vec![Set::new(RESOURCE, format!("t.type = ? AND t.id IN {LIST}"), [of_type(), ids])]
        }
        Clause::Token { param: name, any_of } => tokens(&param(name), any_of),
        Clause::Reference { param: name, any_of } => {
            let targets = Value::from(list(any_of.iter().cloned()));
            let test = format!("{PARAM} AND t.target IN {LIST}");
            vec![Set::new(REFERENCE, test, param(name).into_iter().chain([targets]))]
        }
        Clause::Date { param: name, op, low, high } => {
            let (test, bounds) = span(*op, "t.lo", "t.hi", *low, *high);
            vec![Set::new(DATE, format!("{PARAM} AND {test}"), param(name).into_iter().chain(bounds))]
        }
        Clause::LastUpdated { op, low, high } => {
            let (test, bounds) = span(*op, "t.updated_at", "t.updated_at", *low, *high);
            vec![Set::new(RESOURCE, format!("t.type = ? AND {test}"), [of_type()].into_iter().chain(bounds))]
        }
    }
}

/// At most one set for each way to name a token, however many tokens are named.
fn tokens(param: &[Value; 2], any_of: &[TokenMatch]) -> Condition {
    let mut whole = Vec::new();
    let mut codes = Vec::new();
    let mut systems = Vec::new();
    for token in any_of {
        match (&token.system, &token.code) {
            (Some(system), Some(code)) => whole.push(serde_json::Value::from(vec![system.clone(), code.clone()])),
            (None, Some(code)) => codes.push(serde_json::Value::from(code.clone())),
            (Some(system), None) => systems.push(serde_json::Value::from(system.clone())),
            (None, None) => {}
        }
    }
    let param = || param.iter().cloned();
    let mut sets = Vec::new();
    if !whole.is_empty() {
        let test = format!("t.code = m.value ->> 1 AND t.system_id = s.id AND {PARAM}");
        sets.push(Set::new(NAMED_TOKEN, test, [Value::from(list(whole))].into_iter().chain(param())));
    }
    if !codes.is_empty() {
        let test = format!("{PARAM} AND t.code IN {LIST}");
        sets.push(Set::new(TOKEN, test, param().chain([Value::from(list(codes))])));
    }
    if !systems.is_empty() {
        let test = format!("{PARAM} AND t.system_id IN (SELECT id FROM system WHERE uri IN {LIST})");
        sets.push(Set::new(TOKEN, test, param().chain([Value::from(list(systems))])));
    }
    sets
}

/// FHIR's comparison of the span `lo..hi` of a resource with the span `low..high` of a search. Where a bound follows from the
/// others it is written out: it is what an index can find.
fn span(op: DateOp, lo: &str, hi: &str, low: i64, high: i64) -> (String, Vec<Value>) {
    let (test, bounds) = match op {
        DateOp::Eq => (format!("{lo} BETWEEN ? AND ? AND {hi} <= ?"), vec![low, high, high]),
        DateOp::Ne => (format!("({lo} < ? OR {hi} > ?)"), vec![low, high]),
        DateOp::Gt => (format!("{hi} > ?"), vec![high]),
        DateOp::Lt => (format!("{lo} < ?"), vec![low]),
        // Reaching beyond, or wholly inside.
        DateOp::Ge => (format!("{hi} >= ? AND ({hi} > ? OR {lo} >= ?)"), vec![low, high, low]),
        DateOp::Le => (format!("{lo} <= ? AND ({lo} < ? OR {hi} <= ?)"), vec![high, low, high]),
        DateOp::Sa => (format!("{lo} > ?"), vec![high]),
        DateOp::Eb => (format!("{hi} < ?"), vec![low]),
    };
    (test, bounds.into_iter().map(Value::from).collect())
}
