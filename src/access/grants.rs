//! Scopes as the store compares them: each criterion is read as a search would read it, once for each token.
//!
//! A scope of which a criterion is not served is left out whole: to leave out the criterion alone would widen the scope. Names
//! and numbers of people are no criteria, because a token is written down in many places; neither is what follows more
//! references than a search may (`limits.search_hops`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::Purpose;
use super::scope::Scope;
use crate::fhir::about::{WORDS, is_words};
use crate::fhir::r4::is_resource;
use crate::fhir::search::{Clause, Fault, Reader, names_person, split, types};
use crate::store::{Grants, Right};

/// A type that is served beside those of the store: it has no search parameters, so no criteria narrow it.
const SUBSCRIPTION: &str = "Subscription";
/// Criteria of one scope.
const MOST_CRITERIA: usize = 10;
/// Values of the criteria of one scope.
const MOST_VALUES: usize = 50;
/// Scopes with criteria for one type: each is asked of every resource that is shown.
const MOST_NARROW: usize = 20;

/// Types that are about no patient: what a token for operations may cover of the FHIR face.
pub const NO_PATIENTS: [&str; 9] = [
    "AuditEvent",
    "CapabilityStatement",
    "CodeSystem",
    "Measure",
    "Organization",
    "PlanDefinition",
    "Practitioner",
    "PractitionerRole",
    "ValueSet",
];

/// Grants of scopes that were read lately: most requests come with the scopes of the one before.
#[derive(Debug, Default)]
pub struct Compiled {
    known: Mutex<HashMap<Key, (i64, Arc<Grants>)>>,
}

type Key = (Purpose, Arc<[Scope]>);

/// Sets of scopes that are remembered at once.
const MOST_KNOWN: usize = 1000;
/// Seconds that they are: what a criterion says of time is read anew after that, as a new token's would be.
const FRESH_S: i64 = 300;

impl Compiled {
    /// What [`compile`] makes of them.
    pub fn of(&self, scopes: &Arc<[Scope]>, purpose: Purpose, reader: &Reader<'_>) -> Arc<Grants> {
        let key = (purpose, Arc::clone(scopes));
        let now = reader.now.timestamp();
        if let Ok(known) = self.known.lock()
            && let Some((at, grants)) = known.get(&key)
            && (*at..at.saturating_add(FRESH_S)).contains(&now)
        {
            return Arc::clone(grants);
        }
        let grants = Arc::new(compile(scopes, purpose, reader));
        if let Ok(mut known) = self.known.lock() {
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(key, (now, Arc::clone(&grants)));
        }
        grants
    }
}

/// The code lists that everybody here goes by: whoever counts needs them, and nobody is in them.
const CODE_LIST: &str = "CodeSystem";

/// What the scopes allow a caller with that purpose. A registry changes nothing here and gets nobody's words, and operations are
/// about no patient. Code lists are there for whoever was let in.
pub fn compile(scopes: &[Scope], purpose: Purpose, reader: &Reader<'_>) -> Grants {
    let mut grants = Grants::default();
    if purpose == Purpose::Registry {
        grants.bar(&WORDS);
    }
    for right in [Right::Read, Right::Search] {
        grants.allow(CODE_LIST, right, Vec::new());
    }
    let mut narrow: Vec<(&str, Right)> = Vec::new();
    for scope in scopes {
        let rights: Vec<Right> = scope.rights.each().filter(|right| may_hold(purpose, *right)).collect();
        if scope.resource_type.is_none() && scope.criteria.is_empty() && purpose != Purpose::Operations {
            rights.iter().for_each(|right| grants.allow_everywhere(*right));
            continue;
        }
        for (resource_type, criteria) in meanings(scope, reader) {
            if purpose == Purpose::Operations && !NO_PATIENTS.contains(&resource_type) {
                continue;
            }
            for right in &rights {
                let key = (resource_type, *right);
                if !criteria.is_empty() {
                    if narrow.iter().filter(|known| **known == key).count() >= MOST_NARROW {
                        continue;
                    }
                    narrow.push(key);
                }
                grants.allow(resource_type, *right, criteria.clone());
            }
        }
    }
    grants
}

/// Whether a scope can give somebody with that purpose anything.
pub fn suits(purpose: Purpose, scope: &Scope) -> bool {
    let resource_type = scope.resource_type.as_deref();
    match purpose {
        Purpose::Care => true,
        Purpose::Registry => !resource_type.is_some_and(is_words),
        Purpose::Operations => resource_type.is_none_or(|name| NO_PATIENTS.contains(&name)),
    }
}

/// The scopes that say something which is served, for a grant: the others are left out of it.
pub fn served(scopes: &[Scope], reader: &Reader<'_>) -> Vec<Scope> {
    scopes.iter().filter(|scope| !meanings(scope, reader).is_empty()).cloned().collect()
}

fn may_hold(purpose: Purpose, right: Right) -> bool {
    purpose != Purpose::Registry || matches!(right, Right::Read | Right::Search)
}

/// What the scope means for each type that it is about and can be asked of.
pub(super) fn meanings<'s>(scope: &'s Scope, reader: &Reader<'_>) -> Vec<(&'s str, Vec<Clause>)> {
    let about: Vec<&str> = match &scope.resource_type {
        Some(resource_type) if is_resource(resource_type) || resource_type == SUBSCRIPTION => vec![resource_type],
        Some(_) => Vec::new(),
        None if scope.criteria.is_empty() => types().iter().chain(&NO_PATIENTS).copied().collect(),
        None => types().to_vec(),
    };
    let read = |resource_type| Some((resource_type, criteria(scope, resource_type, reader).ok()?));
    about.into_iter().filter_map(read).collect()
}

fn criteria(scope: &Scope, resource_type: &str, reader: &Reader<'_>) -> Result<Vec<Clause>, Fault> {
    let values: usize = scope.criteria.iter().map(|(_, value)| split(value).len()).sum();
    if scope.criteria.len() > MOST_CRITERIA || values > MOST_VALUES {
        return Err(Fault::too_far(reader.hops));
    }
    // A scope stands in tokens and logs, as an address does.
    let reader = Reader { in_url: true, ..*reader };
    let read = |(name, value): &(String, String)| {
        if names_person(value) {
            return Err(Fault::personal(name));
        }
        reader.clause(resource_type, name, value)
    };
    scope.criteria.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::scope::read;
    use super::*;
    use crate::Conformance;
    use crate::store::Extent;

    fn with<T>(work: impl FnOnce(&Reader<'_>) -> T) -> T {
        let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
        let terminology = conformance.profiles.terminology();
        work(&Reader { terminology, base_url: "http://x", now: DateTime::UNIX_EPOCH, hops: 2, in_url: false })
    }

    #[test]
    fn a_scope_whose_criteria_are_not_served_is_left_out_whole() {
        let text = "system/Procedure.rs?code=DV133 system/Procedure.rs?colour=red system/Procedure.rs?code=A&colour=red \
                    system/Patient.rs?name=Ek system/Patient.rs?identifier=195009072553 system/Foo.rs system/AuditEvent.rs \
                    system/Task.rs?focus:Procedure.patient:Patient.gender=male \
                    system/Task.rs?focus:Procedure.part-of:Procedure.part-of:Procedure.code=X";
        let left: Vec<String> = with(|reader| served(&read(text), reader)).iter().map(Scope::to_string).collect();
        let expected = [
            "system/Procedure.rs?code=DV133",
            "system/AuditEvent.rs",
            "system/Task.rs?focus%3AProcedure.patient%3APatient.gender=male",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_wildcard_with_criteria_covers_the_types_that_know_them() {
        let grants = with(|reader| compile(&read("system/*.rs?patient=Patient/x"), Purpose::Care, reader));
        assert!(matches!(grants.extent("Task", Right::Read), Extent::AnyOf(_)));
        assert_eq!(grants.extent("Organization", Right::Read), Extent::Nothing);
        assert_eq!(grants.extent("Task", Right::Update), Extent::Nothing);
    }

    #[test]
    fn the_purpose_bounds_what_scopes_can_give() {
        let all = read("system/*.cruds");
        let of = |purpose| with(|reader| compile(&all, purpose, reader));
        assert_eq!(of(Purpose::Care).extent("Task", Right::Update), Extent::All);
        let registry = of(Purpose::Registry);
        assert_eq!(registry.extent("Procedure", Right::Search), Extent::All);
        for right in [Right::Create, Right::Update, Right::Delete] {
            assert_eq!(registry.extent("Procedure", right), Extent::Nothing);
        }
        for words in WORDS {
            assert!(Right::ALL.iter().all(|right| registry.extent(words, *right) == Extent::Nothing), "{words}");
        }
        let operations = of(Purpose::Operations);
        assert_eq!(operations.extent("CodeSystem", Right::Update), Extent::All);
        for resource_type in ["Patient", "Procedure", "Task", "CarePlan", "Consent"] {
            assert!(Right::ALL.iter().all(|right| operations.extent(resource_type, *right) == Extent::Nothing));
        }
    }

    #[test]
    fn a_code_list_is_there_for_whoever_was_let_in_and_its_change_is_not() {
        for purpose in [Purpose::Care, Purpose::Registry, Purpose::Operations] {
            let grants = with(|reader| compile(&read("system/Procedure.cruds"), purpose, reader));
            assert_eq!(grants.extent("CodeSystem", Right::Read), Extent::All);
            assert_eq!(grants.extent("CodeSystem", Right::Search), Extent::All);
            assert_eq!(grants.extent("CodeSystem", Right::Update), Extent::Nothing);
            assert_eq!(grants.extent("PlanDefinition", Right::Read), Extent::Nothing);
        }
    }

    #[test]
    fn what_is_remembered_is_of_these_scopes_and_this_purpose() {
        let compiled = Compiled::default();
        let of = |text: &str, purpose| with(|reader| compiled.of(&read(text).into(), purpose, reader));
        let first = of("system/Task.cruds", Purpose::Care);
        assert!(Arc::ptr_eq(&first, &of("system/Task.cruds", Purpose::Care)));
        assert_eq!(of("system/Task.cruds", Purpose::Registry).extent("Task", Right::Update), Extent::Nothing);
        assert_eq!(of("system/Task.r", Purpose::Care).extent("Task", Right::Update), Extent::Nothing);
    }

    #[test]
    fn many_narrow_scopes_are_bounded() {
        let text: String = (0..190).map(|n| format!("system/Task.r?_id={n} ")).collect();
        let grants = with(|reader| compile(&read(&text), Purpose::Care, reader));
        let Extent::AnyOf(lists) = grants.extent("Task", Right::Read) else { panic!("narrow") };
        assert_eq!(lists.len(), MOST_NARROW);
    }
}
