//! What resources are judged by: the profiles of the package, and the KVÅ list in force, which changes while the gateway runs.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::DateTime;
use serde_json::Value;

use crate::domain::kva::CodeList;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::profile::Profiles;
use crate::fhir::search::Reader;
use crate::fhir::subscription::Topics;
use crate::fhir::validate::{self, Context};
use crate::rules::RuleSets;
use crate::rules::programme::Programmes;
use crate::{assets, registry};

const KVA_FILE: &str = "CodeSystem-kva.json";

/// What resources are validated against: the profiles, and the KVÅ list that the regional process team owns.
pub struct Conformance {
    pub profiles: Profiles,
    /// What can be subscribed to.
    pub topics: Topics,
    /// Who is responsible for what, by the guidelines of regions.
    pub rules: RuleSets,
    /// Programmes that patients may be offered.
    pub programmes: Programmes,
    codes: RwLock<InForce>,
    /// The package's code list, measures and rules, as resources that are kept in the store.
    definitions: Vec<Value>,
}

/// The KVÅ list in force. Its version is that of the stored CodeSystem; 0 is the one of the package.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    pub version: u32,
    pub list: Arc<CodeList>,
    /// What the list calls its version itself.
    pub edition: Option<String>,
}

impl std::fmt::Debug for Conformance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conformance")
    }
}

impl Conformance {
    /// Loads a package; every finding names its file.
    pub fn load(files: &assets::Files) -> (Self, Vec<Issue>) {
        let (profiles, mut issues) = Profiles::load(files);
        let terminology = profiles.terminology();
        let reader = Reader { terminology, base_url: "", now: DateTime::UNIX_EPOCH, hops: 0, in_url: true };
        let (topics, found) = Topics::load(files, &reader);
        issues.extend(found);
        let codes = match files.get(KVA_FILE).map(|text| CodeList::parse(text)) {
            Some(Ok(codes)) => codes,
            Some(Err(error)) => {
                issues.push(Issue::error(Code::Structure, KVA_FILE, "Kodlistan kan inte läsas.", error.to_string()));
                CodeList::default()
            }
            None => {
                issues.push(Issue::error(
                    Code::NotFound,
                    KVA_FILE,
                    "Kodlistan för KVÅ saknas.",
                    "The KVÅ code list is missing.",
                ));
                CodeList::default()
            }
        };
        let stored = |text: &String| {
            let mut resource = serde_json::from_str::<Value>(text).ok()?;
            if resource["resourceType"] == "CodeSystem" {
                // Whatever a package of one's own calls it: this is where it is found and edited.
                resource["id"] = Value::from(registry::definitions::KVA);
            }
            Some(resource)
        };
        let is_kept = |name: &str| ["Measure-", "PlanDefinition-"].iter().any(|kind| name.starts_with(kind));
        let kept = |name: &str| name == KVA_FILE || is_kept(name) && name.ends_with(".json");
        let definitions: Vec<Value> =
            files.iter().filter(|(name, _)| kept(name)).filter_map(|(_, text)| stored(text)).collect();
        let of_kva = definitions.iter().find(|d| d["resourceType"] == "CodeSystem");
        let edition = of_kva.and_then(|d| d["version"].as_str()).map(str::to_owned);
        let codes = RwLock::new(InForce { version: 0, list: Arc::new(codes), edition });
        let (rules, found) = RuleSets::load(files, profiles.terminology());
        issues.extend(found);
        let (programmes, found) = Programmes::load(files, profiles.terminology());
        issues.extend(found);
        let conformance = Self { profiles, topics, rules, programmes, codes, definitions };
        // A guideline is served as it stands, and others read it.
        for plan in conformance.definitions.iter().filter(|d| d["resourceType"] == "PlanDefinition") {
            let file = format!("PlanDefinition-{}.json", plan["id"].as_str().unwrap_or_default());
            issues.extend(conformance.validate(std::slice::from_ref(plan)).into_iter().map(|issue| issue.from(&file)));
        }
        (conformance, issues)
    }

    /// The KVÅ list in force now. What is judged by one list takes it once.
    pub fn codes(&self) -> InForce {
        self.codes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a stored list in force, unless a later one is already.
    pub fn put_in_force(&self, list: InForce) {
        let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        if codes.version < list.version {
            *codes = list;
        }
    }

    /// The package's code list, measures and rules.
    pub fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    /// Validates resources that go out or come in.
    pub fn validate(&self, resources: &[Value]) -> Vec<Issue> {
        let codes = self.codes().list;
        let context = Context { profiles: &self.profiles, codes: &codes };
        resources.iter().flat_map(|r| validate::validate(r, &context)).collect()
    }
}
