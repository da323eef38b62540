//! The whole statement: what leads, what is asked of each row, in what order, and from where on.

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::super::StoreError;
use super::super::query::{Search, SortBy};
use super::super::sql::Sql;
use super::super::statement::Statements;
use super::condition::{Asked, Condition};
use super::sort::{self, Position};
use super::{RARE, count};

/// Where matches come from, `r` by name, and the conditions on them.
pub(super) struct Query {
    lead: Option<Sql>,
    tests: Vec<Sql>,
    resource_type: String,
    keys: Vec<Sql>,
}

/// A condition that allows few rows.
struct Rarest {
    rows: i64,
    set: Sql,
    /// The test that need not be asked of its rows.
    answers: Option<usize>,
}

impl Query {
    pub(super) fn plan(asked: &Asked<'_, '_>, search: &Search) -> Result<Self, StoreError> {
        let mut rarest: Option<Rarest> = None;
        let mut tests = Vec::new();
        let clauses = search.clauses.iter().map(|clause| asked.condition(&search.resource_type, "r", 0, clause));
        let conditions = clauses.collect::<Result<Vec<Condition>, _>>()?;
        for condition in conditions.into_iter().chain(asked.hidden_by(search)?) {
            if let Some(set) = condition.set {
                let rows = count(asked.db, &set)?;
                if rows <= RARE && rarest.as_ref().is_none_or(|known| rows < known.rows) {
                    let answers = condition.is_exact.then_some(tests.len());
                    rarest = Some(Rarest { rows, set, answers });
                }
            }
            tests.push(condition.holds);
        }
        let lead = rarest.map(|Rarest { set, answers, .. }| {
            if let Some(at) = answers {
                tests.swap_remove(at);
            }
            set
        });
        let keys = sort::keys(asked, search)?;
        Ok(Self { lead, tests, resource_type: search.resource_type.clone(), keys })
    }

    /// `FROM` and `WHERE`, of every match.
    fn matches(&self, walk: &str) -> Sql {
        let from = match &self.lead {
            Some(set) => Sql::new("FROM (SELECT DISTINCT rid FROM (", [])
                .then(set)
                .text(")) l CROSS JOIN resource r ON r.rid = l.rid"),
            None => Sql::new(format!("FROM resource r INDEXED BY {walk}"), []),
        };
        let mut all = from.text(" WHERE r.type = ?").value(self.resource_type.clone());
        for test in &self.tests {
            all = all.text(" AND ").then(test);
        }
        all
    }

    pub(super) fn count(&self, db: &Statements<'_>) -> Result<u64, StoreError> {
        let sql = Sql::new("SELECT count(*) ", []).then(&self.matches("resource_of_type"));
        let count: Option<i64> = db.first(&sql.text, params_from_iter(sql.values), |row| row.get(0))?;
        Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
    }

    /// `seq` of the next matches, one more than the page takes.
    pub(super) fn page(
        &self,
        db: &Statements<'_>,
        search: &Search,
        after: Option<Position>,
    ) -> Result<Vec<i64>, StoreError> {
        let limit = i64::from(search.limit).saturating_add(1);
        let backwards = search.sort.first().is_some_and(|key| key.descending);
        let (way, beyond) = if backwards { (" DESC", "<") } else { ("", ">") };
        let sql = match search.sort.as_slice() {
            [] => {
                let mut sql = Sql::new("SELECT r.seq ", []).then(&self.matches("resource_of_type"));
                if let Some(after) = after {
                    sql = sql.text(" AND r.rid > ?").value(after.rid);
                }
                sql.text(" ORDER BY r.rid")
            }
            // The one order beside the default that an index has for every type.
            [key] if key.by == SortBy::LastUpdated => {
                let mut sql = Sql::new("SELECT r.seq ", []).then(&self.matches("resource_updated"));
                if let Some(after) = after {
                    let at = after.keys.into_iter().next().unwrap_or(Value::Null);
                    sql = sql.text(&format!(" AND (r.updated_at, r.rid) {beyond} (?, ?)")).value(at).value(after.rid);
                }
                sql.text(&format!(" ORDER BY r.updated_at{way}, r.rid{way}"))
            }
            keys => {
                let mut sql = Sql::new("SELECT seq FROM (SELECT r.seq AS seq, r.rid AS rid", []);
                for (n, key) in self.keys.iter().enumerate() {
                    sql = sql.text(", ").then(key).text(&format!(" AS k{n}"));
                }
                sql = sql.text(" ").then(&self.matches("resource_of_type")).text(") s");
                if let Some(after) = after {
                    sql = sql.text(" WHERE ").then(&after.behind(keys, beyond));
                }
                let order = keys
                    .iter()
                    .enumerate()
                    .map(|(n, key)| format!("k{n} IS NULL, k{n}{}, ", if key.descending { " DESC" } else { "" }));
                sql.text(&format!(" ORDER BY {}rid{way}", order.collect::<String>()))
            }
        };
        let sql = sql.text(" LIMIT ?").value(limit);
        db.all(&sql.text, params_from_iter(sql.values), |row| Ok(row.get(0)?))
    }
}
