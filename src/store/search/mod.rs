//! Search: clauses become conditions on resources, and the rarest of them, if one is rare, leads.
//!
//! A condition can be used in two ways: as the set of rows it allows, or as a question to one row. Where some condition
//! allows few rows, those are taken and the others asked of each; otherwise the type is walked in its order until the page is
//! full. SQLite has no statistics to choose by, so the rows are counted, up to [`RARE`]. Every resource on the way, not only
//! the one found, must be visible to the one who asks: a chain tells nothing of what is hidden.

mod closed;
mod cohort;
mod compare;
mod compose;
mod condition;
mod include;
mod sort;
mod walk;

use super::query::{Filter, Page, Search};
use super::read_resource::at;
use super::sql::Sql;
use super::statement::Statements;
use super::{Store, StoreError};
pub use cohort::{Criteria, Found};
use compose::Query;
pub(super) use condition::{Asked, Condition};
pub use walk::{HowFar, List, Passed, Targets, Walk};

/// A condition that allows more rows than this does not lead.
const RARE: i64 = 1000;

impl Store {
    /// A page of what satisfies every clause.
    pub async fn search(&self, filter: &Filter, search: &Search) -> Result<Page, StoreError> {
        let (search, filter) = (search.clone(), filter.clone());
        self.read(move |db| {
            let limit = search.limit as usize;
            let after = match search.after {
                Some(seq) => {
                    Some(sort::Position::of(&Asked::of(db, &filter), &search, seq)?.ok_or(StoreError::LostPage)?)
                }
                None => None,
            };
            let query = Query::plan(&Asked::of(db, &filter), &search)?;
            let mut found = query.page(db, &search, after)?;
            let more = found.len() > limit;
            found.truncate(limit);
            let matches = found.into_iter().filter_map(|seq| at(db, seq).transpose()).collect::<Result<_, _>>()?;
            Ok(Page { matches, more })
        })
        .await
    }

    /// How many satisfy every clause.
    pub async fn count(&self, filter: &Filter, search: &Search) -> Result<u64, StoreError> {
        let (search, filter) = (search.clone(), filter.clone());
        self.read(move |db| Query::plan(&Asked::of(db, &filter), &search)?.count(db)).await
    }
}

/// How many rows a set has; more than [`RARE`] are not counted.
fn count(db: &Statements<'_>, set: &Sql) -> Result<i64, StoreError> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM ({}) LIMIT {})", set.text, RARE + 1);
    let rows: Option<i64> = db.first(&sql, rusqlite::params_from_iter(&set.values), |row| row.get(0))?;
    Ok(rows.unwrap_or(0))
}
