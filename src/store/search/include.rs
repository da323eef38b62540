//! What belongs to matches: the resources they point at, and those that point at them, as far as the one who asks may see.

use std::collections::{BTreeSet, VecDeque};

use super::super::block::Gate;
use super::super::query::{Filter, Include};
use super::super::read_resource::now;
use super::super::record::Stored;
use super::super::statement::Statements;
use super::super::{Store, StoreError};

const RID: &str = "SELECT rid FROM resource WHERE type = ?1 AND id = ?2";
const READY: &str = "SELECT id, ready FROM param WHERE type = ?1 AND name = ?2";
const POINTS_AT: &str =
    "SELECT t.target FROM reference t INDEXED BY reference_of WHERE t.rid = ?1 AND t.param = ?2 ORDER BY t.target";
const POINTED_AT_BY: &str = "SELECT r.id FROM reference t CROSS JOIN resource r ON r.rid = t.rid WHERE t.param = ?1 AND t.target = ?2 \
     AND (?3 IS NULL OR EXISTS (SELECT 1 FROM concern c WHERE c.rid = r.rid AND c.unit IN (SELECT value FROM json_each(?3)))) \
     ORDER BY t.rid LIMIT ?4";

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
        self.read(move |db| follow(db, &filter, names, &rules, most)).await
    }
}

fn follow(
    db: &Statements<'_>,
    filter: &Filter,
    names: Vec<String>,
    rules: &[Include],
    most: usize,
) -> Result<Option<Vec<Stored>>, StoreError> {
    let mut kept = Vec::new();
    for include in rules {
        let found = db.first(READY, (&include.source, &include.param), |row| {
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
            for other in rule.others(db, filter, &name, most)? {
                if seen.contains(&other) {
                    continue;
                }
                let Some(stored) = visible(db, filter, &other)? else { continue };
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

fn visible(db: &Statements<'_>, filter: &Filter, name: &str) -> Result<Option<Stored>, StoreError> {
    let Some((resource_type, id)) = name.split_once('/') else { return Ok(None) };
    match Gate::of(filter).admits(db, resource_type, id)? {
        true => now(db, resource_type, id, &filter.units_for(resource_type)),
        false => Ok(None),
    }
}

impl Rule<'_> {
    /// `Type/id` of what this resource leads to.
    fn others(&self, db: &Statements<'_>, filter: &Filter, name: &str, most: usize) -> Result<Vec<String>, StoreError> {
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
            let key = (self.param, name, filter.units_for(source), i64::try_from(most).unwrap_or(i64::MAX - 1) + 1);
            let ids: Vec<String> = db.all(POINTED_AT_BY, key, |row| Ok::<_, StoreError>(row.get(0)?))?;
            return Ok(ids.into_iter().map(|id| format!("{source}/{id}")).collect());
        }
        if resource_type != source {
            return Ok(Vec::new());
        }
        let Some(rid) = db.first(RID, (resource_type, id), |row| row.get::<_, i64>(0))? else {
            return Ok(Vec::new());
        };
        let targets: Vec<String> = db.all(POINTS_AT, (rid, self.param), |row| Ok::<_, StoreError>(row.get(0)?))?;
        Ok(targets.into_iter().filter(|target| is_target(target)).collect())
    }
}
