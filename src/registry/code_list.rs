//! A new version of the KVÅ list: checked whole, stored with its audit row, and in force from that moment on. What was taken in
//! before is not judged again; what is counted is counted by the list in force.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::definitions::{KVA, in_force, is_kva};
use crate::Gateway;
use crate::access::{Caller, Purpose, Scope};
use crate::domain::kva::CodeList;
use crate::fhir::canonical::BASE;
use crate::fhir::code_list::{Standing, check};
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::resource::content;
use crate::store::{Audit, Commit, Committed, Extent, Filter, Right, Stored};
use crate::sync::Refusal;
use crate::sync::refusal::missing;
use crate::sync::weigh::{Current, Scale, Weighed};

/// Whoever runs the gateway, and a client whose agreement names the type: the process team's. What opens everything to a unit
/// does not open this.
pub fn may_edit(caller: &Caller) -> bool {
    let named = |scope: &Scope| scope.resource_type.as_deref() == Some("CodeSystem") && scope.rights.update;
    let is_named = caller.scopes.as_ref().is_some_and(|scopes| scopes.iter().any(named));
    let extent = caller.grants.as_ref().map(|grants| grants.extent("CodeSystem", Right::Update));
    caller.is_operator() || extent == Some(Extent::All) && (is_named || caller.purpose == Purpose::Operations)
}

/// Puts the list in force in the place of the version that the caller has read. With it come the findings that refuse nothing.
pub async fn put(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    list: &Value,
    version: u32,
    now: DateTime<Utc>,
) -> Result<(Stored, Vec<Issue>), Refusal> {
    if !may_edit(caller) {
        return Err(Refusal::Forbidden(Issue::error(
            Code::Forbidden,
            "CodeSystem",
            "Kodlistan ändras av regionalt processteam eller driften (scope system/CodeSystem.u).",
            "The code list is edited by the regional process team or operations (scope system/CodeSystem.u).",
        )));
    }
    if id != KVA {
        return Err(missing("CodeSystem"));
    }
    let standing = gateway.store.resource(&Filter::ALL, "CodeSystem", KVA).await?;
    let standing = standing.ok_or_else(|| missing("CodeSystem"))?;
    if standing.version != version {
        return Err(stale(standing.version));
    }
    let before: Value = serde_json::from_slice(&standing.body).unwrap_or_default();
    let mut list = list.clone();
    // What a server writes is ours to write.
    if let Some(meta) = list.get_mut("meta").and_then(Value::as_object_mut) {
        meta.retain(|name, _| !["versionId", "lastUpdated", "source"].contains(&name.as_str()));
    }
    list = content(&list);
    if content(&before) == list {
        return Ok((standing, Vec::new()));
    }
    let issues = findings(gateway, &before, &list).await?;
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    let scale = Scale { now, patient: None, units: &[], exchange: None };
    let mut weighed = Weighed::default();
    let known = Current::from([(format!("CodeSystem/{KVA}"), (standing.version, before.clone()))]);
    scale.add(&list, &known, &mut weighed);
    let audit = Audit {
        at: now,
        actor: caller.name.clone(),
        action: "update".into(),
        object: format!("CodeSystem/{KVA}"),
        payload: changes(&before, &list, version + 1).to_string(),
    };
    let commit = Commit { expect: weighed.expect, put: weighed.put, audit: vec![audit], ..Commit::default() };
    if let Committed::Conflict(_) = gateway.store.commit(commit).await? {
        return Err(stale(version + 1));
    }
    let stored = gateway.store.version(&Filter::ALL, "CodeSystem", KVA, version + 1).await?;
    let stored = stored.ok_or_else(|| missing("CodeSystem"))?;
    gateway.conformance.put_in_force(in_force(&stored)?);
    Ok((stored, issues))
}

async fn findings(gateway: &Gateway, before: &Value, list: &Value) -> Result<Vec<Issue>, Refusal> {
    let mut issues = gateway.validate(std::slice::from_ref(list));
    if !is_kva(list) && list["id"] != KVA {
        issues.push(Issue::error(
            Code::Value,
            "CodeSystem.id",
            "Kodlistans id är kva, som i adressen.",
            "The id of the code list is kva, as in the address.",
        ));
    }
    let in_use: Vec<_> = gateway.store.codes_in_use().await?.into_iter().map(|u| (u.code, u.first, u.last)).collect();
    let standing = CodeList::read(before).unwrap_or_default();
    let set = format!("{BASE}/ValueSet/rehab-area");
    let areas = gateway.conformance.profiles.terminology().compose(&set, &mut Vec::new()).unwrap_or_default();
    let version = before["version"].as_str();
    issues.extend(check(list, &Standing { list: &standing, version, in_use: &in_use, areas: &areas }));
    Ok(issues)
}

fn stale(version: u32) -> Refusal {
    Refusal::Stale(Issue::error(
        Code::Conflict,
        "If-Match",
        format!("Kodlistan är ändrad sedan den lästes: version {version} gäller. Läs den och gör ändringen där."),
        format!(
            "The code list has changed since it was read: version {version} is in force. Read it and edit that one."
        ),
    ))
}

/// Which codes came, went or changed, for the log.
fn changes(before: &Value, after: &Value, version: u32) -> Value {
    let codes = |list: &Value| CodeList::read(list).unwrap_or_default();
    let (before, after) = (codes(before), codes(after));
    let names = |list: &CodeList| list.codes().map(|code| code.code.clone()).collect::<BTreeSet<_>>();
    let (old, new) = (names(&before), names(&after));
    let changed: Vec<&String> = old.intersection(&new).filter(|code| before.get(code) != after.get(code)).collect();
    json!({
        "version": version,
        "added": new.difference(&old).collect::<Vec<_>>(),
        "removed": old.difference(&new).collect::<Vec<_>>(),
        "changed": changed,
    })
}
