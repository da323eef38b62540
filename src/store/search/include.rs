//! What belongs to matches: the resources they point at, and those that point at them, as far as the one who asks may see.

use std::collections::{BTreeSet, VecDeque};

use rusqlite::types::Value;

use super::super::grants::Right;
use super::super::query::{Filter, Include};
use super::super::read_resource::now;
use super::super::record::Stored;
use super::super::sql::Sql;
use super::super::visible::and;
use super::super::{Store, StoreError};
use super::Asked;

const RID: &str = "SELECT rid FROM resource WHERE type = ?1 AND id = ?2";
const READY: &str = "SELECT id, ready FROM param WHERE type = ?1 AND name = ?2";
const POINTS_AT: &str =
    "SELECT t.target FROM reference t INDEXED BY reference_of WHERE t.rid = ?1 AND t.param = ?2 ORDER BY t.target";
const POINTED_AT_BY: &str =
    "SELECT r.id FROM reference t CROSS JOIN resource r ON r.rid = t.rid WHERE t.param = ? AND t.target = ?";

/// A rule with the integer of its parameter.
struct Rule<'a> {
    include: &'a Include,
    param: i64,
}

impl Store {
    /// Follows references from `Type/id`s by rules. Each resource comes once, none that is among the `names`; `None` where there
    /// would be more than `most`: a part of them could be taken for all.
    pub async fn included(
        &self,
        filter: &Filter,
        names: Vec<String>,
        rules: Vec<Include>,
        most: usize,
    ) -> Result<Option<Vec<Stored>>, StoreError> {
        let filter = filter.clone();
        self.read(move |db| follow(&Asked::of(db, &filter), names, &rules, most)).await
    }
}

fn follow(
    asked: &Asked<'_, '_>,
    names: Vec<String>,
    rules: &[Include],
    most: usize,
) -> Result<Option<Vec<Stored>>, StoreError> {
    let mut kept = Vec::new();
    for include in rules {
        let found = asked.db.first(READY, (&include.source, &include.param), |row| {
            Ok::<(i64, bool), StoreError>((row.get(0)?, row.get(1)?))
        })?;
        match found {
            Some((_, false)) => return Err(StoreError::Indexing),
            Some((param, true)) => kept.push(Rule { include, param }),
            None => {}
        }
    }
    let mut seen: BTreeSet<String> = names.iter().cloned().collect();
    let mut open: VecDeque<(String, bool)> = names.into_iter().map(|name| (name, false)).collect();
    let mut out = Vec::new();
    while let Some((name, was_included)) = open.pop_front() {
        for rule in kept.iter().filter(|rule| !was_included || rule.include.iterates) {
            for other in rule.others(asked, &name, most)? {
                if seen.contains(&other) {
                    continue;
                }
                let Some(stored) = visible(asked, &other)? else { continue };
                if out.len() >= most {
                    return Ok(None);
                }
                seen.insert(other.clone());
                open.push_back((other, true));
                out.push(stored);
            }
        }
    }
    Ok(Some(out))
}

fn visible(asked: &Asked<'_, '_>, name: &str) -> Result<Option<Stored>, StoreError> {
    let Some((resource_type, id)) = name.split_once('/') else { return Ok(None) };
    now(asked, Right::Search, resource_type, id)
}

impl Rule<'_> {
    /// `Type/id` of what this resource leads to.
    fn others(&self, asked: &Asked<'_, '_>, name: &str, most: usize) -> Result<Vec<String>, StoreError> {
        let Some((resource_type, id)) = name.split_once('/') else { return Ok(Vec::new()) };
        let source = &self.include.source;
        let is_target = |name: &str| {
            let target = name.split_once('/').map(|(target, _)| target);
            self.include.target.as_deref().is_none_or(|only| target == Some(only))
        };
        if self.include.is_reverse {
            if !is_target(name) {
                return Ok(Vec::new());
            }
            // One more than is allowed, so that it is noticed.
            let limit = i64::try_from(most).unwrap_or(i64::MAX - 1) + 1;
            let visible = asked.visible(Right::Search, source, "r")?;
            let mut ids: Vec<String> = Vec::new();
            for name in asked.with_kin(&[name.to_owned()])? {
                let from = Sql::new(POINTED_AT_BY, [Value::from(self.param), Value::from(name)]);
                let sql = and(from, visible.as_ref()).text(" ORDER BY t.rid LIMIT ?").value(limit);
                ids.extend(sql.all(asked.db, |row| Ok::<_, StoreError>(row.get::<_, String>(0)?))?);
            }
            return Ok(ids.into_iter().map(|id| format!("{source}/{id}")).collect());
        }
        if resource_type != source {
            return Ok(Vec::new());
        }
        let Some(rid) = asked.db.first(RID, (resource_type, id), |row| row.get::<_, i64>(0))? else {
            return Ok(Vec::new());
        };
        let targets: Vec<String> =
            asked.db.all(POINTS_AT, (rid, self.param), |row| Ok::<_, StoreError>(row.get(0)?))?;
        // With a Patient the others of the same person: the number that is used now is among them.
        let targets = asked.with_kin(&targets)?;
        Ok(targets.into_iter().filter(|target| is_target(target)).collect())
    }
}
