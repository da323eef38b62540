//! The one answer to "who may see this": what a row must satisfy for a [`Filter`], put into every statement that reads for
//! somebody. No other file of the store asks who is asking.
//!
//! A row is visible where every one of [`Asked::grounds`] holds and a scope covers it; a new reason to hide something is one
//! more ground, and holds on every path from then on. For exchanges [`Asked::exchange`] is the same.

use rusqlite::types::Value;
use serde_json::Value as Json;

use super::StoreError;
use super::block::{UNBLOCKED_PARTY, open_to};
use super::grants::{Extent, Right};
use super::known_patient::tells;
use super::objection::may_get;
use super::query::{Filter, Search, Who};
use super::record::Stored;
use super::row::list;
use super::search::{Asked, Condition};
use super::sql::Sql;
use crate::domain::Kind;
use crate::fhir::search::{Beyond, Clause, Index, holds, index, types};

/// Who exists in care is no secret of a patient's, and every resource refers to them; code lists, measures and rules are about nobody:
/// among units scopes alone decide.
const OPEN: [&str; 6] = ["CodeSystem", "Measure", "Organization", "PlanDefinition", "Practitioner", "PractitionerRole"];

/// What a document is mainly about. An exchange is covered where every resource of these types in its version in force is, and
/// there is one.
fn main_types(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::RehabPlan => &["CarePlan"],
        Kind::Referral => &["ServiceRequest"],
        // A SIP is a plan, an active handover a document.
        Kind::Handover => &["CarePlan", "Composition"],
        Kind::Activity => &["Procedure"],
    }
}

impl Asked<'_, '_> {
    /// That the one who asks may see the row `row` of that type; none where nothing of the type is hidden.
    pub(super) fn visible(&self, right: Right, resource_type: &str, row: &str) -> Result<Option<Sql>, StoreError> {
        Ok(all(self.conditions(right, resource_type, row)?))
    }

    /// What a row of that type must satisfy, condition by condition.
    pub(super) fn conditions(
        &self,
        right: Right,
        resource_type: &str,
        row: &str,
    ) -> Result<Vec<Condition>, StoreError> {
        let mut conditions = self.grounds(Some(resource_type), row);
        conditions.extend(self.covered(right, resource_type, row)?);
        Ok(conditions)
    }

    /// What scopes ask of what a search finds. A scope whose criteria the search asks for itself need not be asked too.
    pub(super) fn covered_beyond(&self, search: &Search) -> Result<Option<Condition>, StoreError> {
        let is_asked = match self.extent(Right::Search, &search.resource_type) {
            Extent::AnyOf(lists) => {
                lists.iter().any(|list| list.iter().all(|one| !follows(one) && search.clauses.contains(one)))
            }
            Extent::All | Extent::Nothing => false,
        };
        if is_asked { Ok(None) } else { self.covered(Right::Search, &search.resource_type, "r") }
    }

    /// The conditions beside scopes, of a type.
    pub(super) fn beside(&self, resource_type: &str) -> Vec<Condition> {
        self.grounds(Some(resource_type), "r")
    }

    /// The conditions beside scopes: a place for each reason to hide a resource. Without a type, of everything at once.
    fn grounds(&self, resource_type: Option<&str>, row: &str) -> Vec<Condition> {
        let grounds = [self.concerns(resource_type, row), self.objected(row), self.unblocked(row)];
        grounds.into_iter().flatten().collect()
    }

    /// [`Self::grounds`] as one.
    pub(super) fn concerning(&self, resource_type: &str, row: &str) -> Option<Sql> {
        all(self.grounds(Some(resource_type), row))
    }

    /// Disclosure: the resource concerns one of the units who ask. Of everything at once a unit gets the actors that take part
    /// in what concerns it.
    fn concerns(&self, resource_type: Option<&str>, row: &str) -> Option<Condition> {
        if resource_type.is_some_and(|resource_type| OPEN.contains(&resource_type)) {
            return None;
        }
        let units = Value::from(units(self.filter)?);
        let holds = format!(
            "EXISTS (SELECT 1 FROM concern c WHERE c.rid = {row}.rid AND c.unit IN (SELECT value FROM json_each(?)))"
        );
        let set = "SELECT t.rid FROM concern t WHERE t.unit IN (SELECT value FROM json_each(?))";
        Some(Condition::exact(Sql::new(holds, [units.clone()]), Sql::new(set, [units])))
    }

    /// Spärr: no block keeps the resource from a reader without a unit. From units it is kept by what concerns them: what a
    /// block closes to one is not in `concern` while the block stands.
    fn unblocked(&self, row: &str) -> Option<Condition> {
        open_to(self.filter, row).map(|open| Condition { holds: Sql::new(open, []), set: None, is_exact: false })
    }

    /// A registry gets what no patient has objected to.
    fn objected(&self, row: &str) -> Option<Condition> {
        match &self.filter.who {
            Who::Registry(name) => Some(may_get(name, row)),
            Who::Gateway | Who::Units(_) => None,
        }
    }

    /// Scopes: one of them covers the resource as it stands.
    fn covered(&self, right: Right, resource_type: &str, row: &str) -> Result<Option<Condition>, StoreError> {
        let lists = match self.extent(right, resource_type) {
            Extent::All => return Ok(None),
            Extent::Nothing => return Ok(Some(Condition::nothing())),
            Extent::AnyOf(lists) => lists,
        };
        let criteria = Asked { is_criterion: true, ..*self };
        let mut parts = Vec::new();
        // What a criterion follows a reference to is visible by itself, through a scope whose criteria follow none: else what is
        // hidden could be asked about by way of what refers to it.
        for list in lists.iter().filter(|list| !self.is_criterion || !list.iter().any(follows)) {
            let clauses = list.iter().map(|clause| criteria.condition(resource_type, row, depth(row), clause));
            let clauses: Vec<Condition> = clauses.collect::<Result<_, _>>()?;
            let tests: Vec<Sql> = clauses.iter().map(|clause| clause.holds.clone()).collect();
            let holds = Sql::new("(", []).then(&Sql::join(&tests, " AND ", "true")).text(")");
            let is_exact = clauses.len() == 1 && clauses.iter().all(|clause| clause.is_exact);
            parts.push(Condition { holds, set: clauses.into_iter().find_map(|clause| clause.set), is_exact });
        }
        Ok(Some(Condition::any(parts)))
    }

    fn extent(&self, right: Right, resource_type: &str) -> Extent<'_> {
        match &self.filter.grants {
            // What a criterion follows is looked at, whatever is to be done with what it starts from.
            Some(grants) if self.is_criterion => grants.extent(resource_type, right),
            Some(grants) => grants.extent(resource_type, self.filter.instead.unwrap_or(right)),
            None => Extent::All,
        }
    }

    /// That the one who asks may see a row `r` of whatever type.
    pub(super) fn visible_of_any_type(&self, right: Right) -> Result<Option<Sql>, StoreError> {
        let mut conditions: Vec<Sql> = self.grounds(None, "r").into_iter().map(|condition| condition.holds).collect();
        if self.filter.grants.is_some() {
            let mut whole = Vec::new();
            let mut parts = Vec::new();
            for resource_type in types() {
                match self.covered(right, resource_type, "r")? {
                    None => whole.push(*resource_type),
                    Some(condition) if self.extent(right, resource_type) != Extent::Nothing => {
                        let of_type = Sql::new("(r.type = ? AND ", [Value::from((*resource_type).to_owned())]);
                        parts.push(of_type.then(&condition.holds).text(")"));
                    }
                    Some(_) => {}
                }
            }
            parts.push(Sql::new("r.type IN (SELECT value FROM json_each(?))", [Value::from(list(whole))]));
            conditions.push(Sql::new("(", []).then(&Sql::join(&parts, " OR ", "false")).text(")"));
        }
        Ok((!conditions.is_empty()).then(|| Sql::join(&conditions, " AND ", "true")))
    }

    /// That the one who asks may see the exchange `e`; none where none is hidden. A registry sees what was done, and no
    /// exchange.
    pub(super) fn exchange(&self, right: Right) -> Result<Option<Sql>, StoreError> {
        let mut conditions = Vec::new();
        match &self.filter.who {
            Who::Gateway => {}
            // Never true, and not told to SQLite as that: it finds no plan for nothing where an index is named.
            Who::Registry(_) => return Ok(Some(Sql::new("e.revision < 0", []))),
            Who::Units(_) => {
                // The `+` keeps SQLite from reading all that a unit has for every exchange that is asked.
                let text = format!(
                    "EXISTS (SELECT 1 FROM party p WHERE p.exchange = e.id AND +p.unit IN (SELECT value FROM json_each(?)) \
                     AND {UNBLOCKED_PARTY})"
                );
                conditions.extend(units(self.filter).map(|units| Sql::new(text, [Value::from(units)])));
            }
        }
        if self.filter.grants.is_some() {
            let kinds = Kind::ALL.iter().map(|kind| self.kind_is_covered(*kind, right));
            let kinds: Vec<Sql> = kinds.collect::<Result<_, _>>()?;
            conditions.push(Sql::new("(", []).then(&Sql::join(&kinds, " OR ", "false")).text(")"));
        }
        Ok((!conditions.is_empty()).then(|| Sql::join(&conditions, " AND ", "true")))
    }

    /// That the exchange `e` is of that kind, and what it is mainly about is covered.
    fn kind_is_covered(&self, kind: Kind, right: Right) -> Result<Sql, StoreError> {
        let of_kind = Sql::new("(e.kind = ?", [Value::from(kind.name().to_owned())]);
        let mut hidden = Vec::new();
        for resource_type in main_types(kind) {
            if let Some(condition) = self.covered(right, resource_type, "r")? {
                let of_type = Sql::new("r.type = ? AND NOT (", [Value::from((*resource_type).to_owned())]);
                hidden.push(of_type.then(&condition.holds).text(")"));
            }
        }
        if hidden.is_empty() {
            return Ok(of_kind.text(")"));
        }
        const IN_FORCE: &str = "EXISTS (SELECT 1 FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid \
                                WHERE x.exchange = e.id AND x.position IS NOT NULL AND ";
        let any_main = Sql::new(
            "r.type IN (SELECT value FROM json_each(?))",
            [Value::from(list(main_types(kind).iter().copied()))],
        );
        Ok(of_kind
            .text(&format!(" AND {IN_FORCE}"))
            .then(&any_main)
            .text(&format!(") AND NOT {IN_FORCE}("))
            .then(&Sql::join(&hidden, " OR ", "false"))
            .text(")))"))
    }

    /// Whether scopes cover a version as it stood, or a body that is not stored yet.
    pub(super) fn covers(&self, right: Right, version: &Stored) -> Result<bool, StoreError> {
        self.covers_as(right, version, false)
    }

    /// Whether they may have covered it when it stood. What a criterion follows a reference to may have changed or be hidden
    /// since, so such a criterion is taken to have held.
    pub(super) fn may_have_covered(&self, right: Right, version: &Stored) -> Result<bool, StoreError> {
        self.covers_as(right, version, true)
    }

    fn covers_as(&self, right: Right, version: &Stored, is_past: bool) -> Result<bool, StoreError> {
        let lists = match self.extent(right, &version.resource_type) {
            Extent::All => return Ok(true),
            Extent::Nothing => return Ok(false),
            Extent::AnyOf(lists) => lists,
        };
        let body: Json = serde_json::from_slice(&version.body).map_err(|_| StoreError::Corrupt("a resource"))?;
        let values: Vec<Index> = index(&body);
        let at = version.updated_at.timestamp_millis();
        let mut others = Others { asked: Asked { is_criterion: true, ..*self }, version };
        let is_own_word = !is_past && version.resource_type == "Patient" && self.is_own_word(&version.id)?;
        for list in lists.iter().filter(|list| !is_own_word || !list.iter().any(tells)) {
            let mut all = true;
            for clause in list.iter().filter(|clause| !is_past || !follows(clause)) {
                all = all && holds(clause, &version.id, at, &values, &mut others)?;
            }
            if all {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a version's criteria say of other resources, as these stand.
struct Others<'v, 'a, 'c> {
    asked: Asked<'a, 'c>,
    version: &'v Stored,
}

impl Beyond for Others<'_, '_, '_> {
    type Error = StoreError;

    fn target(&mut self, name: &str, clause: &Clause) -> Result<bool, StoreError> {
        let Some((resource_type, id)) = name.split_once('/') else { return Ok(false) };
        let visible = self.asked.visible(Right::Search, resource_type, "h1")?;
        let condition = self.asked.condition(resource_type, "h1", 1, clause)?;
        let sql = Sql::new("SELECT 1 FROM resource h1 WHERE h1.type = ? AND h1.id = ?", named(resource_type, id));
        Ok(and(sql, visible.as_ref()).text(" AND ").then(&condition.holds).first(self.asked.db, |_| Ok(()))?.is_some())
    }

    fn pointed_at(&mut self, clause: &Clause) -> Result<bool, StoreError> {
        let condition = self.asked.condition(&self.version.resource_type, "r", 0, clause)?;
        let sql = Sql::new(
            "SELECT 1 FROM resource r WHERE r.type = ? AND r.id = ? AND ",
            named(&self.version.resource_type, &self.version.id),
        );
        Ok(sql.then(&condition.holds).first(self.asked.db, |_| Ok(()))?.is_some())
    }
}

fn named(resource_type: &str, id: &str) -> [Value; 2] {
    [Value::from(resource_type.to_owned()), Value::from(id.to_owned())]
}

/// The statement with one more condition, if there is one.
pub(super) fn and(sql: Sql, condition: Option<&Sql>) -> Sql {
    match condition {
        Some(condition) => sql.text(" AND ").then(condition),
        None => sql,
    }
}

fn all(conditions: Vec<Condition>) -> Option<Sql> {
    let tests: Vec<Sql> = conditions.into_iter().map(|condition| condition.holds).collect();
    (!tests.is_empty()).then(|| Sql::join(&tests, " AND ", "true"))
}

/// The units who ask, as the database keeps them; none where it is not units who ask.
pub(super) fn units(filter: &Filter) -> Option<String> {
    match &filter.who {
        Who::Gateway | Who::Registry(_) => None,
        Who::Units(units) => Some(list(units.iter().map(|unit| unit.to_ascii_uppercase()))),
    }
}

/// Whether a clause looks at other resources.
fn follows(clause: &Clause) -> bool {
    match clause {
        Clause::Chain { .. } | Clause::Has { .. } => true,
        Clause::Not(clause) => follows(clause),
        Clause::Any(clauses) => clauses.iter().any(follows),
        _ => false,
    }
}

/// How many hops a row called `h1`, `h2`, … is from what is asked for, so that what is nested gets a name of its own.
fn depth(row: &str) -> usize {
    row.strip_prefix('h').and_then(|hops| hops.parse().ok()).unwrap_or(0)
}
