//! Sends a delivery's Bundle. What the partner has already is replaced only at the version that we know, and keeps what is the
//! partner's own word; where its people were faster it is read again and brought together anew, a few times.
//!
//! The first Bundle leaves as it is stored. A later one says over which versions it is written; what else may differ from the
//! stored bytes is what the partner itself has said.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::{Refusal, TRIES};
use super::{Clashes, home, is_theirs, open};
use crate::Gateway;
use crate::domain::delivery::Outcome;
use crate::fhir::bundle::{Dialect, as_sent};
use crate::fhir::canonical::RESOURCE_ID;
use crate::fhir::resource::{identifier, type_of};
use crate::fhir::three_way::{Outgoing, get, outgoing, put};
use crate::partner::{Client, MOST_TRIES, Reply};
use crate::store::{Commit, Committed, Counterpart, Delivery, Exchange, Filter, StoreError};

/// What became of an attempt.
pub(in crate::sync) struct Sent {
    pub(in crate::sync) reply: Reply,
    /// What the partner has now.
    pub(in crate::sync) counterparts: Vec<Counterpart>,
}

impl Sent {
    pub(in crate::sync) fn plain(reply: Reply) -> Self {
        Self { reply, counterparts: Vec::new() }
    }
}

/// What stands at the partner, as far as it is known.
struct There {
    resource: Value,
    version: Option<String>,
    /// What both sides knew before.
    base: Value,
}

/// Sends it.
pub(in crate::sync) async fn send(
    gateway: &Gateway,
    client: &Client,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, Refusal> {
    let bundle: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
    let names = updated(&bundle);
    let known = gateway.store.counterparts(&delivery.partner, &names).await?;
    // What nobody has there yet leaves as it is. An attempt whose outcome is not known may have written it.
    let is_first = delivery.attempts == 0 && delivery.begun_at.is_none();
    if known.is_empty() && is_first {
        let (reply, said) = client.transact(delivery.body.clone()).await;
        let counterparts =
            said.map_or_else(Vec::new, |said| written(delivery, &bundle, &HashMap::new(), &known, &said));
        return Ok(Sent { reply, counterparts });
    }
    let is_certain = |c: &Counterpart| c.settled && c.version.is_some();
    let mut reads = !is_first || delivery.resend_of.is_some() || !known.iter().all(is_certain);
    let sides = sides(gateway, delivery, &bundle, &names).await?;
    let mut took = Duration::ZERO;
    for tried in 1..=MOST_TRIES {
        let there = match reads {
            true => match ask(client, &names, &bundle, &known).await {
                Ok(there) => there,
                Err(outcome) => return Ok(Sent::plain(Reply { outcome, status: None, took })),
            },
            false => remembered(&known),
        };
        let (body, together, is_conditional) = compose(gateway, delivery, &bundle, &there, &sides);
        // A word is on record before it is written over. Whoever asks for a resend wants it as it was sent.
        if delivery.resend_of.is_none() {
            let of = |(name, out): (&String, &Outgoing)| Clashes { name: name.clone(), found: out.clashes.clone() };
            let clashes: Vec<Clashes> = together.iter().map(of).filter(|c| !c.found.is_empty()).collect();
            note(gateway, delivery, &clashes, now).await?;
        }
        let (mut reply, said) = client.transact(serde_json::to_vec(&body).unwrap_or_default()).await;
        took += reply.took;
        reply.took = took;
        // Somebody was faster, or what was there is there no more: only what is read again says so.
        let is_stale = match reply.status {
            Some(409 | 412) => is_conditional,
            Some(404 | 405 | 410) => is_conditional && !reads,
            _ => false,
        };
        if is_stale && tried < MOST_TRIES {
            reads = true;
            continue;
        }
        let counterparts = said.map_or_else(Vec::new, |said| written(delivery, &body, &together, &known, &said));
        return Ok(Sent { reply, counterparts });
    }
    let reason = "the partner's people were faster every time".to_owned();
    Ok(Sent::plain(Reply { outcome: Outcome::Conflict { reason }, status: None, took }))
}

/// Puts on record where the partner's people had changed what is not theirs.
async fn note(gateway: &Gateway, delivery: &Delivery, clashes: &[Clashes], now: DateTime<Utc>) -> Result<(), Refusal> {
    'each: for one in clashes {
        for _ in 0..TRIES {
            let Some(home) = home(gateway, &one.name).await? else { continue 'each };
            let mut commit = Commit::default();
            open(gateway, &mut commit, &home, &delivery.partner, one, now).await?;
            if let Committed::Done { .. } = gateway.store.commit(commit).await? {
                continue 'each;
            }
        }
        return Err(Refusal::Busy);
    }
    Ok(())
}

/// `Type/id` of what the Bundle brings up to date by our identifier.
fn updated(bundle: &Value) -> Vec<String> {
    entries(bundle).iter().filter(|entry| is_update(entry)).filter_map(name_of).collect()
}

fn entries(bundle: &Value) -> &[Value] {
    bundle["entry"].as_array().map_or(&[], Vec::as_slice)
}

fn is_update(entry: &Value) -> bool {
    let by_identifier = |url: &str| url.contains(&format!("?identifier={RESOURCE_ID}|"));
    entry["request"]["method"] == "PUT" && entry["request"]["url"].as_str().is_some_and(by_identifier)
}

fn name_of(entry: &Value) -> Option<String> {
    let id = entry["fullUrl"].as_str()?.strip_prefix("urn:uuid:")?;
    Some(format!("{}/{id}", type_of(&entry["resource"])))
}

/// The exchange that makes each resource, and how it stands here now.
async fn sides(
    gateway: &Gateway,
    delivery: &Delivery,
    bundle: &Value,
    names: &[String],
) -> Result<HashMap<String, (Exchange, Value)>, StoreError> {
    let mut sides = HashMap::new();
    let carried = gateway.store.exchange(&Filter::ALL, delivery.exchange).await?;
    for stored in gateway.store.resources(&Filter::ALL, names).await? {
        let name = format!("{}/{}", stored.resource_type, stored.id);
        let Ok(now) = serde_json::from_slice::<Value>(&stored.body) else { continue };
        let own = carried.as_ref().filter(|c| c.resources.contains(&name)).cloned();
        let exchange = match own {
            Some(own) => Some(own),
            None => home(gateway, &name).await?,
        };
        if let Some(exchange) = exchange {
            sides.insert(name, (exchange, now));
        }
    }
    debug_assert!(bundle.is_object() || names.is_empty());
    Ok(sides)
}

fn remembered(known: &[Counterpart]) -> HashMap<String, There> {
    let mut there = HashMap::new();
    for c in known {
        let Ok(base) = serde_json::from_slice::<Value>(&c.body) else { continue };
        let mut resource = base.clone();
        if let Some(object) = resource.as_object_mut() {
            object.insert("id".into(), json!(c.theirs));
        }
        let name = format!("{}/{}", c.resource_type, c.id);
        there.insert(name, There { resource, version: c.version.clone(), base });
    }
    there
}

/// What stands at the partner, by our identifiers.
async fn ask(
    client: &Client,
    names: &[String],
    bundle: &Value,
    known: &[Counterpart],
) -> Result<HashMap<String, There>, Outcome> {
    let mut types: Vec<&str> = names.iter().filter_map(|name| name.split_once('/')).map(|(of, _)| of).collect();
    types.sort_unstable();
    types.dedup();
    let mut there = HashMap::new();
    for of in types {
        let ids = names.iter().filter_map(|name| name.strip_prefix(of)?.strip_prefix('/'));
        let asked: Vec<String> = ids.map(|id| format!("{RESOURCE_ID}|{id}")).collect();
        for resource in client.find(of, "identifier", &asked, None).await? {
            let Some(name) = identifier(&resource, RESOURCE_ID).map(|id| format!("{of}/{id}")) else { continue };
            let version = resource["meta"]["versionId"].as_str().map(str::to_owned);
            let before = known.iter().find(|c| format!("{of}/{}", c.id) == name);
            let base = before.and_then(|c| serde_json::from_slice(&c.body).ok());
            // Written by an attempt of which nothing was heard: it is this very version that both knew.
            let sent = || entries(bundle).iter().find(|e| name_of(e).as_ref() == Some(&name));
            let base = base.or_else(|| Some(sent()?["resource"].clone())).unwrap_or_default();
            there.insert(name, There { resource, version, base });
        }
    }
    Ok(there)
}

/// The Bundle with what stands at the partner brought together, and whether it holds only for the versions that are known.
fn compose(
    gateway: &Gateway,
    delivery: &Delivery,
    bundle: &Value,
    there: &HashMap<String, There>,
    sides: &HashMap<String, (Exchange, Value)>,
) -> (Value, HashMap<String, Outgoing>, bool) {
    let mut body = bundle.clone();
    let inside: Vec<String> = entries(bundle).iter().filter_map(name_of).collect();
    let none = Dialect::default();
    let dialect = gateway.config.partner(&delivery.partner).map_or(&none, |p| &p.dialect);
    let mut together = HashMap::new();
    let mut is_conditional = false;
    for entry in body["entry"].as_array_mut().into_iter().flatten().filter(|entry| is_update(entry)) {
        let Some(name) = name_of(entry) else { continue };
        let Some(There { resource: theirs, version, base }) = there.get(&name) else { continue };
        let Some(id) = theirs["id"].as_str() else { continue };
        let ours = entry["resource"].clone();
        let out = match sides.get(&name) {
            Some((exchange, now)) => outgoing(base, &ours, theirs, &as_sent(now, &inside, dialect), |path| {
                is_theirs(gateway, exchange, &delivery.partner, now, path)
            }),
            None => outgoing(base, &ours, theirs, &ours, |_| false),
        };
        let url = format!("{}/{id}", type_of(&ours));
        entry["resource"] = out.resource.clone();
        entry["request"]["url"] = json!(url);
        if let Some(version) = version {
            entry["request"]["ifMatch"] = json!(format!("W/\"{version}\""));
            is_conditional = true;
        }
        together.insert(name, out);
    }
    (body, together, is_conditional)
}

/// What the partner has after it took the Bundle.
fn written(
    delivery: &Delivery,
    body: &Value,
    together: &HashMap<String, Outgoing>,
    known: &[Counterpart],
    said: &Value,
) -> Vec<Counterpart> {
    let answers = said["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let mut counterparts = Vec::new();
    for (entry, answer) in entries(body).iter().zip(answers) {
        let response = &answer["response"];
        let resource_type = type_of(&entry["resource"]);
        let is_put = entry["request"]["method"] == "PUT" && resource_type != "Provenance";
        let is_new = response["status"].as_str().is_some_and(|status| status.starts_with("201"));
        // Whom the partner means is known by what it calls them; nothing of a person is kept for that.
        let is_patient = resource_type == "Patient";
        if !(is_put || is_patient || resource_type == "Task" && is_new) {
            continue;
        }
        let Some(name) = name_of(entry) else { continue };
        let Some((_, id)) = name.split_once('/') else { continue };
        let out = together.get(&name);
        let before = known.iter().find(|c| c.resource_type == resource_type && c.id == id);
        let located = response["location"].as_str().and_then(|at| located(at, resource_type));
        let own = entry["resource"]["id"].as_str().or(before.map(|c| c.theirs.as_str()));
        let Some(theirs) = located.map(|(id, _)| id).or(own) else { continue };
        let etag = response["etag"].as_str().map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
        let version = etag.or(located.and_then(|(_, version)| version)).filter(|v| !v.is_empty());
        let mut base = if is_patient { json!({}) } else { entry["resource"].clone() };
        let mut settled = true;
        if let Some(out) = out {
            let old: Value = before.and_then(|c| serde_json::from_slice(&c.body).ok()).unwrap_or_default();
            for path in &out.unread {
                put(&mut base, path, get(&old, path).cloned());
                settled = false;
            }
        }
        counterparts.push(Counterpart {
            partner: delivery.partner.clone(),
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            theirs: theirs.to_owned(),
            version: version.map(str::to_owned),
            changed: response["lastModified"].as_str().map(str::to_owned),
            patient: delivery.patient.clone(),
            exchange: delivery.exchange,
            mark: 0,
            settled,
            body: serde_json::to_vec(&base).unwrap_or_default(),
        });
    }
    counterparts
}

/// The id and version in a `Location`: `https://…/Task/1/_history/2`.
fn located<'a>(at: &'a str, resource_type: &str) -> Option<(&'a str, Option<&'a str>)> {
    let (_, rest) = at.rsplit_once(&format!("{resource_type}/"))?;
    let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
    (!id.is_empty()).then_some((id, rest.strip_prefix("_history/")))
}
