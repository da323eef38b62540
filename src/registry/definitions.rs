//! The package's code list, measures and rules as stored resources: read, searched and versioned like any other.
//!
//! The code list is the process team's from the first start on: the package only gives the first version. The measures and rules
//! say what this program computes, so a program that computes otherwise stores them anew.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::audit::{self, By, Event};
use crate::domain::kva::{CodeList, is_system};
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Commit, Committed, Filter, StoreError, Stored};
use crate::sync::weigh::{Scale, Weighed, current};
use crate::{Gateway, InForce};

/// The id of the CodeSystem of KVÅ.
pub const KVA: &str = "kva";

/// Stores what is missing, and puts the stored list in force.
pub async fn settle(gateway: &Gateway, now: DateTime<Utc>) -> Result<(), StoreError> {
    let names: Vec<String> = gateway.conformance.definitions().iter().filter_map(reference_of).collect();
    let standing = gateway.store.resources(&Filter::ALL, &names).await?;
    let own = standing.iter().find(|stored| stored.resource_type == "CodeSystem" && stored.id == KVA);
    if let Some(stored) = own {
        let package = gateway.conformance.codes().edition;
        let list = in_force(stored)?;
        if list.edition != package {
            let (stored, package) = (list.edition.as_deref().unwrap_or("none"), package.as_deref().unwrap_or("none"));
            tracing::info!(stored, package, "the code list in the database is in force, not the package's");
        }
        gateway.conformance.put_in_force(list);
    }
    let known = current(standing.clone());
    let scale = Scale { now, patient: None, units: &[], exchange: None };
    let mut weighed = Weighed::default();
    for definition in gateway.conformance.definitions() {
        let is_theirs = type_of(definition) == "CodeSystem" && own.is_some();
        if !is_theirs {
            scale.add(definition, &known, &mut weighed);
        }
    }
    if weighed.put.is_empty() {
        return Ok(());
    }
    let audit = |put: &crate::store::Put| {
        let object = format!("{}/{}", put.resource_type, put.id);
        Event::new(now, By::gateway(), audit::Deed::Define, object).with("version", put.version).about([]).into()
    };
    let audit = weighed.put.iter().map(audit).collect();
    let commit = Commit { expect: weighed.expect, put: weighed.put, audit, ..Commit::default() };
    match gateway.store.commit(commit).await {
        Ok(Committed::Done { .. } | Committed::Conflict(_)) => {}
        // The gateway says itself that it is not ready, and is no worse for it: the package's list is in force.
        Err(error) => {
            tracing::warn!(error = %error, "the code list and measures could not be stored; the next start tries again");
            return Ok(());
        }
    }
    if let Some(stored) = gateway.store.resource(&Filter::ALL, "CodeSystem", KVA).await? {
        gateway.conformance.put_in_force(in_force(&stored)?);
    }
    Ok(())
}

/// A stored CodeSystem as the list that it is.
pub fn in_force(stored: &Stored) -> Result<InForce, StoreError> {
    let body: Value = serde_json::from_slice(&stored.body).map_err(|_| StoreError::Corrupt("the code list"))?;
    let list = CodeList::read(&body).map_err(|_| StoreError::Corrupt("the code list"))?;
    let edition = body["version"].as_str().map(str::to_owned);
    Ok(InForce { version: stored.version, list: Arc::new(list), edition })
}

/// Whether a resource is the KVÅ list.
pub fn is_kva(resource: &Value) -> bool {
    resource["id"] == KVA && resource["url"].as_str().is_some_and(is_system)
}
