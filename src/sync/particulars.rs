//! A patient's name, telephone and address: everybody who sends a document gives them, and nobody overwrites what another
//! unit gave. On the way back a sender reads its own words.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Refusal;
use super::identify::Blank;
use super::weigh::{Current, instant};
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Document, Exchange, ExchangeQuery, Filter, Stored};

/// Exchanges of one patient in which the unit's last word is looked for, the newest first.
const LOOKED_AT: u32 = 50;

/// What is shown, with each Patient of whom the caller has only spoken itself in the caller's own words, as its newest document
/// has them. Of several versions of such a Patient one is left.
pub async fn as_known(gateway: &Gateway, caller: &Caller, shown: Vec<Stored>) -> Result<Vec<Stored>, Refusal> {
    let shown = replace(gateway, caller, shown, 1).await?;
    linked(gateway, caller, shown).await
}

/// With what other numbers the patients have: which Patient replaces which is told to those who see both. Of who else has the
/// patient under another number nothing is told, so the Patient that is used now does not say it in its own words.
async fn linked(gateway: &Gateway, caller: &Caller, mut shown: Vec<Stored>) -> Result<Vec<Stored>, Refusal> {
    let patients: Vec<String> =
        shown.iter().filter(|stored| stored.resource_type == "Patient").map(|stored| stored.id.clone()).collect();
    if patients.is_empty() {
        return Ok(shown);
    }
    let links = gateway.store.links_seen(&caller.within_reach(), &patients).await?;
    for stored in shown.iter_mut().filter(|stored| stored.resource_type == "Patient") {
        let Ok(mut body) = serde_json::from_slice::<Value>(&stored.body) else { continue };
        let replaces = links.iter().filter(|(_, new)| *new == stored.id).map(|(old, _)| (old, "replaces"));
        let replaced = links.iter().filter(|(old, _)| *old == stored.id).map(|(_, new)| (new, "replaced-by"));
        let now: Vec<Value> = replaced
            .clone()
            .chain(replaces)
            .map(|(other, kind)| json!({ "other": { "reference": format!("Patient/{other}") }, "type": kind }))
            .collect();
        if now.is_empty() && body["link"].is_null() {
            continue;
        }
        let is_replaced = replaced.count() > 0;
        let Some(object) = body.as_object_mut() else { continue };
        object.shift_remove("link");
        if is_replaced {
            object.insert("active".into(), json!(false));
        }
        if !now.is_empty() {
            object.insert("link".into(), Value::Array(now));
        }
        stored.body = body.to_string().into_bytes();
    }
    Ok(shown)
}

/// The same of a history: all that the caller has said, the newest first.
pub async fn as_known_ever(gateway: &Gateway, caller: &Caller, shown: Vec<Stored>) -> Result<Vec<Stored>, Refusal> {
    replace(gateway, caller, shown, usize::MAX).await
}

/// A version of a Patient, as far as it is known to the caller.
pub async fn version(gateway: &Gateway, caller: &Caller, id: &str, version: u32) -> Result<Option<Stored>, Refusal> {
    let (store, filter) = (&gateway.store, caller.filter());
    if !store.own_words(&filter, &[id.to_owned()]).await?.contains(id) {
        return Ok(store.version(&filter, "Patient", id, version).await?);
    }
    let now = store.resource(&filter, "Patient", id).await?.into_iter().collect();
    Ok(as_known_ever(gateway, caller, now).await?.into_iter().find(|own| own.version == version))
}

async fn replace(gateway: &Gateway, caller: &Caller, shown: Vec<Stored>, most: usize) -> Result<Vec<Stored>, Refusal> {
    let patients = shown.iter().filter(|stored| stored.resource_type == "Patient");
    let ids: Vec<String> = patients.map(|stored| stored.id.clone()).collect();
    if ids.is_empty() {
        return Ok(shown);
    }
    let own = gateway.store.own_words(&caller.filter(), &ids).await?;
    let mut known = Vec::with_capacity(shown.len());
    let mut told = BTreeSet::new();
    for stored in shown {
        if stored.resource_type != "Patient" || !own.contains(&stored.id) {
            known.push(stored);
        } else if told.insert(stored.id.clone()) {
            known.extend(own_words(gateway, caller, &stored).await?.into_iter().rev().take(most));
        }
    }
    Ok(known)
}

/// The Patient as the caller's units said themselves, one version for each time that they said something else: how often others
/// spoke is not told either.
async fn own_words(gateway: &Gateway, caller: &Caller, stored: &Stored) -> Result<Vec<Stored>, Refusal> {
    let whole: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
    let query = ExchangeQuery { patient: Some(stored.id.clone()), limit: LOOKED_AT, ..ExchangeQuery::default() };
    let exchanges = gateway.store.exchanges(&caller.within_reach(), &query).await?.matches;
    let mut said: Vec<(DateTime<Utc>, Value)> = Vec::new();
    let own = |e: &&Exchange| e.sender().is_some_and(|s| caller.may_act_for(&s.unit));
    // What it said of the person under another number is another Patient's.
    for exchange in exchanges.iter().filter(own).filter(|e| e.patient.as_deref() == Some(stored.id.as_str())) {
        for document in gateway.store.documents(exchange.id).await? {
            let same = |p: &Value| p["identifier"].as_array().is_some_and(|l| l.iter().any(|i| is_among(i, &whole)));
            // Where the document can be read no more, it is known that there is such a patient.
            let own = written(gateway, exchange, &document).into_iter().find(same);
            said.push((document.received_at, own.unwrap_or_else(|| json!({ "resourceType": "Patient" }))));
        }
    }
    said.sort_by_key(|(at, _)| *at);
    said.dedup_by(|(_, later), (_, earlier)| later == earlier);
    let made = (1..).zip(said).map(|(version, (at, mut own)): (u32, _)| {
        own["id"] = Value::from(stored.id.clone());
        if let Some(labels) = whole.pointer("/meta/security") {
            own["meta"]["security"] = labels.clone();
        }
        // Nobody calls the home of one who has died, whoever told it.
        for name in ["deceasedDateTime", "deceasedBoolean"].into_iter().filter(|name| !whole[*name].is_null()) {
            own[name] = whole[name].clone();
        }
        own["meta"]["versionId"] = Value::from(version.to_string());
        own["meta"]["lastUpdated"] = Value::from(instant(at));
        let body = serde_json::to_vec(&own).unwrap_or_default();
        Stored { version, updated_at: at, body, ..stored.clone() }
    });
    let made: Vec<Stored> = made.collect();
    if !made.is_empty() {
        return Ok(made);
    }
    // Whoever is told that a number is replaced is told by which.
    let links = gateway.store.links_seen(&caller.within_reach(), std::slice::from_ref(&stored.id)).await?;
    Ok(vec![unsaid(stored, (!links.is_empty()).then_some(&whole))])
}

/// A Patient of whom nothing more is known than that there is one.
fn unsaid(stored: &Stored, linked: Option<&Value>) -> Stored {
    let mut body = json!({ "resourceType": "Patient", "id": stored.id, "meta": { "versionId": "1" } });
    if let Some(whole) = linked {
        if let Some(labels) = whole.pointer("/meta/security") {
            body["meta"]["security"] = labels.clone();
        }
        for name in ["identifier", "deceasedDateTime", "deceasedBoolean"].into_iter().filter(|n| !whole[*n].is_null()) {
            body[name] = whole[name].clone();
        }
    }
    Stored { version: 1, body: body.to_string().into_bytes(), ..stored.clone() }
}

/// Whether it stands in documents of units that know nothing of each other: it does not say who gave it.
pub(super) fn is_known_to_many(resource: &Value) -> bool {
    matches!(type_of(resource), "Patient" | "Organization" | "Practitioner" | "PractitionerRole")
}

/// Takes out of the incoming Patients what would overwrite another unit's word: what is empty is filled, lists (telephone,
/// address) get what is new behind what they have, a name or a date stays. What the unit gave itself it may change.
pub(super) async fn keep_others_word(
    gateway: &Gateway,
    unit: &str,
    resources: &mut [Value],
    current: &Current,
) -> Result<(), Refusal> {
    for patient in resources.iter_mut().filter(|r| type_of(r) == "Patient") {
        let Some((_, stored)) = reference_of(patient).and_then(|name| current.get(&name)) else { continue };
        let id = patient["id"].as_str().unwrap_or_default().to_owned();
        let Some(incoming) = patient.as_object_mut() else { continue };
        let differ = |name: &String, value: &Value| {
            !["resourceType", "id", "meta", "identifier"].contains(&name.as_str())
                && stored.get(name).is_some_and(|known| known != value)
        };
        let differing: Vec<String> = incoming.iter().filter(|(n, v)| differ(n, v)).map(|(n, _)| n.clone()).collect();
        if differing.is_empty() {
            continue;
        }
        let own = last_word(gateway, unit, &id, stored).await?;
        for name in differing {
            let (known, earlier) = (&stored[&name], &own[&name]);
            if known == earlier {
                continue;
            }
            match (known.as_array(), incoming.get_mut(&name)) {
                (Some(known), Some(Value::Array(new))) if name != "name" => *new = joined(known, earlier, new),
                _ => {
                    incoming.shift_remove(&name);
                }
            }
        }
    }
    Ok(())
}

/// What others gave, and behind it what the unit gives now instead of what it gave earlier.
fn joined(known: &[Value], earlier: &Value, new: &[Value]) -> Vec<Value> {
    let earlier = earlier.as_array().map_or(&[][..], Vec::as_slice);
    let mut all: Vec<Value> = known.iter().filter(|k| !earlier.contains(k) || new.contains(k)).cloned().collect();
    let missing: Vec<Value> = new.iter().filter(|n| !all.contains(n)).cloned().collect();
    all.extend(missing);
    all
}

/// The Patient as the unit's newest document gave it; `Null` where it gave none.
async fn last_word(gateway: &Gateway, unit: &str, id: &str, stored: &Value) -> Result<Value, Refusal> {
    let query = ExchangeQuery {
        patient: Some(id.to_owned()),
        unit: Some(unit.to_owned()),
        limit: LOOKED_AT,
        ..ExchangeQuery::default()
    };
    for exchange in gateway.store.exchanges(&Filter::ALL, &query).await?.matches {
        if exchange.sender().is_none_or(|s| !s.unit.eq_ignore_ascii_case(unit)) {
            continue;
        }
        let Some(document) = gateway.store.document(exchange.id, None).await? else { continue };
        let same = |p: &Value| p["identifier"].as_array().is_some_and(|l| l.iter().any(|i| is_among(i, stored)));
        if let Some(patient) = written(gateway, &exchange, &document).into_iter().find(same) {
            return Ok(patient);
        }
    }
    Ok(Value::Null)
}

fn is_among(identifier: &Value, stored: &Value) -> bool {
    let known = stored["identifier"].as_array().map_or(&[][..], Vec::as_slice);
    known.iter().any(|k| k["system"] == identifier["system"] && k["value"] == identifier["value"])
}

/// Puts the patient as the document has it in place of what is known of the patient from everybody.
pub(super) fn as_written(gateway: &Gateway, exchange: &Exchange, document: &Document, resources: &mut [Value]) {
    let written = written(gateway, exchange, document);
    for patient in resources.iter_mut().filter(|r| type_of(r) == "Patient") {
        let same = |w: &&Value| w["identifier"].as_array().is_some_and(|l| l.iter().any(|i| is_among(i, patient)));
        let Some(mut own) = written.iter().find(same).cloned() else { continue };
        own["id"] = patient["id"].clone();
        if let Some(labels) = patient.pointer("/meta/security") {
            own["meta"]["security"] = labels.clone();
        }
        *patient = own;
    }
}

/// The Patients that the document makes by itself.
pub(super) fn written(gateway: &Gateway, exchange: &Exchange, document: &Document) -> Vec<Value> {
    let Some(table) = gateway.mappings.tables().find(|t| t.name() == document.table) else { return Vec::new() };
    let Ok(tree) = gateway.read(exchange.kind, document.format, &document.source) else { return Vec::new() };
    let mapped = table.out(&tree.value, &Blank).resources.into_iter().map(|m| m.value);
    mapped.filter(|r| type_of(r) == "Patient").collect()
}
