//! Whose events a commit makes. Subscriptions are found by the units that a resource concerns, or by the patient that they ask for:
//! what a commit costs follows from how many may be told of it, and not from how many there are.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Kept;
use crate::access::{Reach, read_caller};
use crate::fhir::search::{Beyond, Clause, Index as Value, Reader, holds, index, param};
use crate::fhir::subscription::Topics;
use crate::store::{Happening, NewEvent, Subscription};

/// One way in which something becomes an event of a subscription.
#[derive(Debug)]
struct Wish {
    resource_type: String,
    on_create: bool,
    on_update: bool,
    clauses: Vec<Clause>,
    /// The only patients (`Patient/id`) it is asked for, where some are.
    patients: Option<Vec<String>>,
}

#[derive(Debug)]
struct Known {
    since_seq: i64,
    /// In upper case.
    units: BTreeSet<String>,
    wishes: Vec<Wish>,
}

/// All subscriptions that are told of something, by what they can be found by.
#[derive(Debug, Default)]
pub struct Index {
    known: HashMap<Uuid, Known>,
    by_unit: HashMap<(String, String), BTreeSet<Uuid>>,
    by_patient: HashMap<(String, String), BTreeSet<Uuid>>,
}

/// Nothing is asked of others: topics and filters look at the resource alone.
struct Nobody;

impl Beyond for Nobody {
    type Error = std::convert::Infallible;

    fn target(&mut self, _: &str, _: &Clause) -> Result<bool, Self::Error> {
        Ok(false)
    }

    fn pointed_at(&mut self, _: &Clause) -> Result<bool, Self::Error> {
        Ok(false)
    }
}

impl Index {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Types whose changes may be somebody's events.
    pub fn types(&self) -> Vec<String> {
        let types = self.known.values().flat_map(|known| known.wishes.iter().map(|wish| wish.resource_type.clone()));
        types.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The first commit that anybody is to be told of comes after this.
    pub fn since(&self) -> i64 {
        self.known.values().map(|known| known.since_seq).min().unwrap_or(0)
    }

    /// Puts a subscription in, as it stands now.
    pub fn put(&mut self, subscription: &Subscription, topics: &Topics, reader: &Reader<'_>) {
        self.remove(subscription.id);
        let Some(known) = known(subscription, topics, reader) else { return };
        for (map, key) in keys(&known) {
            let map = if map { &mut self.by_patient } else { &mut self.by_unit };
            map.entry(key).or_default().insert(subscription.id);
        }
        self.known.insert(subscription.id, known);
    }

    pub fn remove(&mut self, id: Uuid) {
        let Some(known) = self.known.remove(&id) else { return };
        for (map, key) in keys(&known) {
            let map = if map { &mut self.by_patient } else { &mut self.by_unit };
            if let Some(ids) = map.get_mut(&key) {
                ids.remove(&id);
                if ids.is_empty() {
                    map.remove(&key);
                }
            }
        }
    }

    /// The events of what happened, in its order. Whether they may be seen is asked when they are told.
    pub fn events(&self, rows: &[Happening], now: DateTime<Utc>) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for row in rows {
            let Ok(body) = serde_json::from_slice::<serde_json::Value>(&row.body) else { continue };
            let values = index(&body);
            for id in self.candidates(row, &values) {
                if self.known.get(&id).is_some_and(|known| known.wants(row, &values)) {
                    // When a unit was let in no resource says; it was a moment ago.
                    let at = if row.gained.is_some() { now } else { row.at };
                    let (seq, rid, version) = (row.seq, row.rid, row.version_seq);
                    events.push(NewEvent { subscription: id, seq, rid, version, at });
                }
            }
        }
        events
    }

    fn candidates(&self, row: &Happening, values: &[Value]) -> BTreeSet<Uuid> {
        let units: &[String] = row.gained.as_ref().map_or(&row.units, std::slice::from_ref);
        let key = |name: &str| (row.resource_type.clone(), name.to_owned());
        let of_units = units.iter().filter_map(|unit| self.by_unit.get(&key(unit)));
        let kept_as = param(&row.resource_type, "patient").map_or("", |param| param.kept_as);
        let patients = values.iter().filter_map(|value| match value {
            Value::Reference { param, target } if *param == kept_as => Some(target.as_str()),
            _ => None,
        });
        let of_patients = patients.filter_map(|target| self.by_patient.get(&key(target)));
        of_units.chain(of_patients).flatten().copied().collect()
    }
}

/// Where it is to be found: by patient (true) or by unit, with the type.
fn keys(known: &Known) -> Vec<(bool, (String, String))> {
    let mut keys = Vec::new();
    for wish in &known.wishes {
        let kind = || wish.resource_type.clone();
        match &wish.patients {
            Some(patients) => keys.extend(patients.iter().map(|patient| (true, (kind(), patient.clone())))),
            None => keys.extend(known.units.iter().map(|unit| (false, (kind(), unit.clone())))),
        }
    }
    keys
}

impl Known {
    fn wants(&self, row: &Happening, values: &[Value]) -> bool {
        let concerns = match &row.gained {
            Some(unit) => self.units.contains(unit),
            None => row.units.iter().any(|unit| self.units.contains(unit)),
        };
        // What stood already is new to whoever was let in to it.
        let is_new = row.version == 1 || row.gained.is_some();
        let at = row.at.timestamp_millis();
        let satisfies = |clause: &Clause| holds(clause, &row.id, at, values, &mut Nobody).unwrap_or(false);
        concerns
            && row.seq > self.since_seq
            && self.wishes.iter().any(|wish| {
                wish.resource_type == row.resource_type
                    && (if is_new { wish.on_create } else { wish.on_update })
                    && wish.clauses.iter().all(satisfies)
            })
    }
}

/// `None` where it is told of nothing: it has ended, or cannot be read.
fn known(subscription: &Subscription, topics: &Topics, reader: &Reader<'_>) -> Option<Known> {
    use crate::domain::subscription::Status;
    if subscription.status == Status::Off {
        return None;
    }
    let topic = topics.find(&subscription.topic)?;
    let caller = read_caller(&subscription.caller)?;
    let Reach::Units(units) = &caller.reach else { return None };
    let kept = Kept::read(&subscription.asked);
    let mut wishes = Vec::new();
    for trigger in &topic.triggers {
        let kind = trigger.resource_type.as_str();
        let own = trigger.criteria.iter().map(|(name, value)| (name, value));
        let filters = kept.filters.iter().filter(|(of, ..)| of == kind).map(|(_, name, value)| (name, value));
        let clauses: Result<Vec<Clause>, _> =
            own.chain(filters).map(|(name, value)| reader.clause(kind, name, value)).collect();
        // A filter that cannot be read any more must not let through what it kept out.
        let Ok(clauses) = clauses else { continue };
        let kept_as = param(kind, "patient").map_or("", |param| param.kept_as);
        let patients = clauses.iter().find_map(|clause| match clause {
            Clause::Reference { param, any_of } if param == kept_as => Some(any_of.clone()),
            _ => None,
        });
        let (on_create, on_update) = (trigger.on_create, trigger.on_update);
        wishes.push(Wish { resource_type: kind.to_owned(), on_create, on_update, clauses, patients });
    }
    let units = units.iter().map(|unit| unit.to_ascii_uppercase()).collect();
    Some(Known { since_seq: subscription.since_seq, units, wishes })
}
