//! What went out to registries, and what they must erase of it. Every disclosure is in the audit log with its recipient and
//! its amount, in the commit that says which resources it was.

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Value, json};

use super::form::Form;
use super::objection::{check_own, known};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::config::Registry;
use crate::domain::{PersonId, audit};
use crate::fhir::issue::{Code, Issue};
use crate::store::{Commit, Deed, Disclosed, DisclosedTo, EVERY, Erasure, Given, Informed};
use crate::sync::refusal::missing;
use crate::sync::{Refusal, witness};

/// Records that resources went out to a registry, before their bytes do. `object` names what they went out in: a file of an
/// export. Call it for each part that is handed over, with the names (`Type/id`) in it.
pub async fn disclose(
    gateway: &Gateway,
    caller: &Caller,
    registry: &Registry,
    object: &str,
    resources: Vec<String>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let key = Form::of(gateway, registry, None).and_then(|form| form.key().map(str::to_owned));
    let mut amount = serde_json::Map::new();
    for name in &resources {
        let of = name.split_once('/').map_or("", |(resource_type, _)| resource_type);
        let count = amount.get(of).and_then(Value::as_u64).unwrap_or(0);
        amount.insert(of.to_owned(), json!(count + 1));
    }
    let payload = json!({ "registry": registry.name, "recipient": registry.hsa_id, "amount": amount, "key": key });
    let event =
        witness::did(gateway, caller, audit::Deed::Export, object, now).with_all(&payload).showing(resources.clone());
    let disclosed = Disclosed { registry: registry.name.clone(), what: Given::Names(resources), key, at: now };
    let commit = Commit { deeds: vec![Deed::Disclosed(disclosed)], audit: vec![event.into()], ..Commit::default() };
    gateway.store.commit(commit).await?;
    Ok(())
}

/// A resource that the registry must erase, by the id it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToErase {
    pub seq: i64,
    pub resource_type: String,
    /// As the registry has it: under a key that it was sent with. Where that key is gone from the settings, none.
    pub id: Option<String>,
    pub reason: String,
    pub at: DateTime<Utc>,
}

/// What the registry must erase, the first first: for its export's `deleted`, and for whoever asks. What was sent again after the
/// key was changed it has under both codes, so each stands under every code that it may have there.
pub async fn to_erase(gateway: &Gateway, registry: &Registry, after: i64, limit: u32) -> Result<Vec<ToErase>, Refusal> {
    let list = gateway.store.erasures(&registry.name, after, limit).await?;
    let coded = |erasure: Erasure| {
        let name = |form: &Form| Some(form.id(&erasure.resource_type, &erasure.id));
        let ids: Vec<Option<String>> = match &erasure.key {
            Some(version) => {
                let is_gone = registry.key(Some(version)).is_none();
                let known = Form::ever(gateway, registry, Some(version));
                is_gone.then_some(None).into_iter().chain(known.iter().map(name)).collect()
            }
            // It was sent as it is.
            None => vec![Some(erasure.id.clone())],
        };
        ids.into_iter().map(move |id| ToErase {
            seq: erasure.seq,
            resource_type: erasure.resource_type.clone(),
            id,
            reason: erasure.reason.clone(),
            at: erasure.at,
        })
    };
    Ok(list.into_iter().flat_map(coded).collect())
}

/// The registry has erased what stands up to that `seq`.
pub async fn confirm(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    through: i64,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let registry = known(gateway, name)?;
    check_own(caller, &registry)?;
    let event =
        witness::did(gateway, caller, audit::Deed::Erased, format!("registry/{name}"), now).with("through", through);
    let deeds = vec![Deed::Erased { registry: name.to_owned(), through }];
    gateway.store.commit(Commit { deeds, audit: vec![event.into()], ..Commit::default() }).await?;
    Ok(())
}

/// What registries have of one patient and must erase, and when the patient was informed.
#[derive(Debug, Clone, Default)]
pub struct OfPatient {
    pub disclosed: Vec<DisclosedTo>,
    pub to_erase: Vec<DisclosedTo>,
    pub informed: Vec<Informed>,
}

/// For units that the patient concerns, and the operator. That it was asked is on disk before it is told.
pub async fn of_patient(
    gateway: &Gateway,
    caller: &Caller,
    person: &PersonId,
    now: DateTime<Utc>,
) -> Result<OfPatient, Refusal> {
    let store = &gateway.store;
    let id = store.patient_id(person.system(), person.value()).await?;
    let id = match (id, &caller.reach) {
        (_, Reach::Registry(_)) | (None, _) => return Err(missing("Patient")),
        (Some(id), _) => id,
    };
    // What another unit has reported is another unit's, as is what a block keeps from this one: neither is counted here.
    let filter = caller.filter();
    store.resource(&filter, "Patient", &id).await?.ok_or_else(|| missing("Patient"))?;
    let event =
        witness::did(gateway, caller, audit::Deed::Read, format!("Patient/{id}/disclosures"), now).about([id.clone()]);
    store.commit(Commit { audit: vec![event.into()], ..Commit::default() }).await?;
    Ok(OfPatient {
        disclosed: store.disclosed(&filter, &id).await?,
        to_erase: store.to_erase(&filter, &id).await?,
        informed: store.informed(person.system(), person.value()).await?,
    })
}

/// A code that a resource had, and the one it has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recoded {
    pub place: i64,
    pub resource_type: String,
    pub old: String,
    pub new: String,
}

/// For a registry whose key was changed: what it has, under the key of `from` and the one in use, so that it can go on with the
/// same patients. A page at a time; `after` is the place of the last.
pub async fn recoded(
    gateway: &Gateway,
    registry: &Registry,
    from: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Recoded>, Refusal> {
    let (old, new) = (Form::of(gateway, registry, Some(from)), Form::of(gateway, registry, None));
    let (Some(old @ Form::Coded(_)), Some(new)) = (old, new) else {
        return Err(Refusal::Findings(vec![Issue::error(
            Code::NotFound,
            "from",
            "Registrets nyckelfil har ingen nyckel med den versionen.",
            "The registry's key file has no key of that version.",
        )]));
    };
    let held = gateway.store.held_by(&registry.name, after, limit).await?;
    let line = |(place, resource_type, id): (i64, String, String)| {
        let (old, new) = (old.id(&resource_type, &id), new.id(&resource_type, &id));
        Recoded { place, resource_type, old, new }
    };
    Ok(held.into_iter().map(line).collect())
}

/// The name that people know a row's registry by.
pub fn shown_name(column: &str) -> &str {
    if column == EVERY { crate::config::ALL_REGISTRIES } else { column }
}

/// This year's number, which a coded birth date is held against.
pub fn year(now: DateTime<Utc>) -> i32 {
    now.year()
}
