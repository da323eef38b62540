//! A protected identity that is one no more. The label comes with documents and stays however silent later ones are: it is lifted
//! only by a named person at a unit that set it, and falls when no other unit's word stands.
//!
//! Fail-closed: whoever did not set it cannot lift it (who decides is Skatteverket, or the unit that entered it), and a document
//! that has it again sets it again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::particulars::written;
use super::refusal::missing;
use super::weigh::{Scale, Weighed, current, instant};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::domain::audit::{Deed, Event};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::protection::{LABELS, conceal, is_protected};
use crate::fhir::resource::{reference_of, type_of};
use crate::store::{Commit, Committed, Delivery, ExchangeQuery, Expect, Filter, Says, StoreError, Word};

/// Exchanges of one patient that are looked at.
const MOST: u32 = 100_000;

/// Takes the caller's word about a protected identity back. Whether the label stands all the same, another unit having said it
/// too, stands in the answer: the Patient shows it anyway.
pub async fn lift(
    gateway: &Gateway,
    caller: &Caller,
    patient: &str,
    by: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    let store = &gateway.store;
    for _ in 0..TRIES {
        store.resource(&caller.within_reach(), "Patient", patient).await?.ok_or_else(|| missing("Patient"))?;
        let changes = store.changes_of_patient(patient).await?;
        let person: Vec<String> = store.kin(patient).await?.into_iter().chain([patient.to_owned()]).collect();
        let names: Vec<String> = person.iter().map(|id| format!("Patient/{id}")).collect();
        let known = current(store.resources(&Filter::ALL, &names).await?);
        let said = said(gateway, patient).await?;
        let Reach::Units(units) = &caller.reach else { return Err(not_ones_word()) };
        let own: Vec<String> =
            units.iter().map(|unit| unit.to_ascii_uppercase()).filter(|unit| said.contains_key(unit)).collect();
        if own.is_empty() {
            return Err(not_ones_word());
        }
        let (mut mine, mut others) = (Vec::new(), false);
        for (unit, last) in &said {
            let lifted = store.last_word(patient, Says::Unprotected, unit).await?;
            if lifted.is_some_and(|lifted| lifted >= *last) {
                continue;
            }
            match own.contains(unit) {
                true => mine.push(unit.clone()),
                false => others = true,
            }
        }
        let answer =
            json!({ "patient": format!("Patient/{patient}"), "protected": others, "by": by, "at": instant(now) });
        if mine.is_empty() {
            return Ok(answer);
        }
        let mut weighed = Weighed::default();
        if !others {
            for (_, body) in known.values() {
                let mut body = body.clone();
                unlabel(&mut body);
                let id = body["id"].as_str().map(str::to_owned);
                Scale { now, patient: id.as_deref(), units: &[], exchange: None }.add(&body, &known, &mut weighed);
            }
            for related in near(gateway, patient).await? {
                let known = current(vec![related]);
                for (_, body) in known.values() {
                    let mut body = body.clone();
                    unlabel(&mut body);
                    Scale { now, patient: Some(patient), units: &[], exchange: None }.add(&body, &known, &mut weighed);
                }
            }
        }
        let words =
            mine.iter().flat_map(|unit| person.iter().map(move |patient| (unit, patient))).map(|(unit, patient)| {
                Word {
                    id: Uuid::now_v7(),
                    patient: patient.clone(),
                    what: Says::Unprotected,
                    unit: unit.clone(),
                    by: by.to_owned(),
                    reason: Some(reason.to_owned()),
                    at: now,
                }
            });
        let mut commit =
            Commit { put: weighed.put, expect: weighed.expect, words: words.collect(), ..Commit::default() };
        // A document that comes meanwhile may have set it.
        commit.expect.push(Expect::Unchanged { patient: patient.to_owned(), changes });
        let who = witness::by(&gateway.config.directory, caller);
        let event = Event::new(now, who, Deed::Protection, format!("Patient/{patient}"))
            .about(person)
            .with("change", if others { "word-taken-back" } else { "lifted" })
            .with("units", mine)
            .with("decidedBy", by);
        commit.audit.push(event.into());
        if let Committed::Done { .. } = store.commit(commit).await? {
            return Ok(answer);
        }
    }
    Err(Refusal::Busy)
}

fn not_ones_word() -> Refusal {
    Refusal::Forbidden(Issue::error(
        Code::Forbidden,
        "Patient",
        "Bara en enhet som själv har märkt patienten med skyddade personuppgifter kan häva märkningen.",
        "Only a unit that has itself labelled the patient as protected can lift the label.",
    ))
}

/// The units whose documents have the label, with when each said it last.
async fn said(gateway: &Gateway, patient: &str) -> Result<BTreeMap<String, DateTime<Utc>>, Refusal> {
    let query = ExchangeQuery { patient: Some(patient.to_owned()), limit: MOST, ..ExchangeQuery::default() };
    let mut said: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
    for exchange in gateway.store.exchanges(&Filter::ALL, &query).await?.matches {
        let Some(unit) = exchange.sender().map(|sender| sender.unit.to_ascii_uppercase()) else { continue };
        for document in gateway.store.documents(exchange.id).await? {
            if written(gateway, &exchange, &document).iter().any(is_protected) {
                let last = said.entry(unit.clone()).or_insert(document.received_at);
                *last = document.received_at.max(*last);
            }
        }
    }
    Ok(said)
}

/// Those who are near the patient, labelled as the patient was.
async fn near(gateway: &Gateway, patient: &str) -> Result<Vec<crate::store::Stored>, Refusal> {
    let query = ExchangeQuery { patient: Some(patient.to_owned()), limit: MOST, ..ExchangeQuery::default() };
    let mut names = Vec::new();
    for exchange in gateway.store.exchanges(&Filter::ALL, &query).await?.matches {
        let all = gateway.store.resources_of(exchange.id).await?;
        names.extend(all.into_iter().filter(|name| name.starts_with("RelatedPerson/")));
    }
    names.sort_unstable();
    names.dedup();
    Ok(gateway.store.resources(&Filter::ALL, &names).await?)
}

/// Says of the one that it is protected where the other is.
pub(super) fn carry(from: &Value, to: &mut Value) {
    let labels: Vec<Value> = from["meta"]["security"].as_array().into_iter().flatten().cloned().collect();
    let labels: Vec<Value> = labels.into_iter().filter(|label| label["system"] == LABELS).collect();
    if labels.is_empty() || is_protected(to) {
        return;
    }
    match to.pointer_mut("/meta/security").and_then(Value::as_array_mut) {
        Some(known) => known.extend(labels),
        None => to["meta"]["security"] = json!(labels),
    }
}

/// Whether a document that came under this very number says it.
pub(super) async fn was_said(gateway: &Gateway, patient: &str) -> Result<bool, Refusal> {
    let query = ExchangeQuery { patient: Some(patient.to_owned()), limit: MOST, ..ExchangeQuery::default() };
    let all = gateway.store.exchanges(&Filter::ALL, &query).await?.matches;
    for exchange in all.iter().filter(|exchange| exchange.patient.as_deref() == Some(patient)) {
        for document in gateway.store.documents(exchange.id).await? {
            if written(gateway, exchange, &document).iter().any(is_protected) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A document that says that a person is protected says it of every number of the person.
pub(super) async fn of_every_number(
    gateway: &Gateway,
    resources: &[Value],
    now: DateTime<Utc>,
    weighed: &mut Weighed,
) -> Result<(), Refusal> {
    for patient in resources.iter().filter(|r| type_of(r) == "Patient" && is_protected(r)) {
        let kin = gateway.store.kin(patient["id"].as_str().unwrap_or_default()).await?;
        let names: Vec<String> = kin.iter().map(|id| format!("Patient/{id}")).collect();
        let names: Vec<String> = names
            .into_iter()
            .filter(|name| !resources.iter().any(|r| reference_of(r).as_ref() == Some(name)))
            .collect();
        if names.is_empty() {
            continue;
        }
        let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
        for (_, body) in known.values().filter(|(_, body)| !is_protected(body)) {
            let mut body = body.clone();
            carry(patient, &mut body);
            let id = body["id"].as_str().map(str::to_owned);
            Scale { now, patient: id.as_deref(), units: &[], exchange: None }.add(&body, &known, weighed);
        }
    }
    Ok(())
}

/// Whether a delivery that was made before would tell where somebody is whose identity is protected since. Its bytes never change,
/// so it does not leave: a newer version of the document goes in its place.
pub(super) async fn exposes(gateway: &Gateway, delivery: &Delivery) -> Result<bool, StoreError> {
    let says = |name: &str| std::str::from_utf8(&delivery.body).is_ok_and(|body| body.contains(name));
    if !["\"telecom\"", "\"address\"", "\"contact\"", "\"photo\""].into_iter().any(says) {
        return Ok(false);
    }
    let bundle: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
    for entry in bundle["entry"].as_array().into_iter().flatten() {
        let mut person = entry["resource"].clone();
        if !matches!(type_of(&person), "Patient" | "RelatedPerson") || !conceal(&mut person) {
            continue;
        }
        let Some(id) = entry["fullUrl"].as_str().and_then(|url| url.strip_prefix("urn:uuid:")) else { continue };
        // What cannot be asked is not sent now; it is tried again.
        let Some(stored) = gateway.store.resource(&Filter::ALL, type_of(&person), id).await? else { continue };
        if serde_json::from_slice(&stored.body).is_ok_and(|now| is_protected(&now)) && !is_protected(&person) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn unlabel(person: &mut Value) {
    if let Some(labels) = person.pointer_mut("/meta/security").and_then(Value::as_array_mut) {
        labels.retain(|label| label["system"] != LABELS);
    }
    let is_bare = person.pointer("/meta/security").and_then(Value::as_array).is_some_and(Vec::is_empty);
    if let Some(meta) = person["meta"].as_object_mut().filter(|_| is_bare) {
        meta.shift_remove("security");
    }
}
