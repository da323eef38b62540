//! What changed from one version of a plan to another, as far as the caller may see both.
//!
//! What a plan refers to is taken as it stood when that version of the plan was committed. Of what the caller may not see in one of
//! the two versions nothing is said at all: else it would look as if it had been added, or had ended.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::refusal::missing;
use super::{Refusal, particulars, witness};
use crate::Gateway;
use crate::access::Caller;
use crate::fhir::canonical::BASE;
use crate::fhir::difference::{Change, Outline, Part, Speaker, counts, difference, outline};
use crate::fhir::resource::{reference_of, references, type_of};
use crate::store::{Filter, Stored, Versions};

/// Versions of one resource that are looked at.
const MOST_VERSIONS: u32 = 500;
/// What of a plan's references belongs to it; a Patient or an author does not.
const BELONGS: [&str; 5] = ["CareTeam", "Condition", "Goal", "Observation", "PractitionerRole"];

/// How versions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `meta.versionId`.
    Version,
    /// The sender's own number of the document.
    Document,
}

/// Which two; without a number the newest, and the one before that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    pub from: Option<u32>,
    pub to: Option<u32>,
}

/// What leads from one version to another.
#[derive(Debug)]
pub struct Difference {
    pub from: u32,
    pub to: u32,
    pub changes: Vec<Change>,
}

/// Of the plan of an exchange, by the numbers of its document.
pub async fn of_exchange(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    between: Between,
    now: DateTime<Utc>,
) -> Result<Difference, Refusal> {
    gateway.store.exchange(&caller.filter(), id).await?.ok_or_else(|| missing("exchange"))?;
    let names = gateway.store.resources_of(id).await?;
    let plan = names.iter().find_map(|name| name.strip_prefix("CarePlan/")).ok_or_else(|| missing("CarePlan"))?;
    let object = format!("exchange/{id}/diff");
    of_plan(gateway, caller, plan, between, By::Document, (&object, now)).await
}

/// Of a plan.
pub async fn of_plan(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    between: Between,
    by: By,
    (object, now): (&str, DateTime<Utc>),
) -> Result<Difference, Refusal> {
    let mut seen: BTreeMap<u32, (Stored, Value)> = BTreeMap::new();
    for stored in versions(gateway, &caller.filter(), "CarePlan", id).await? {
        let Ok(plan) = serde_json::from_slice::<Value>(&stored.body) else { continue };
        let number = match by {
            By::Version => Some(stored.version),
            By::Document => document_version(&plan),
        };
        // The newest comes first: of a document's number the last word counts.
        if let Some(number) = number {
            seen.entry(number).or_insert((stored, plan));
        }
    }
    let newest = *seen.keys().next_back().ok_or_else(|| missing("CarePlan"))?;
    let to = between.to.unwrap_or(newest);
    let from = between.from.or_else(|| seen.range(..to).next_back().map(|(number, _)| *number));
    // A first version differs from nothing that was said here.
    let from = from.unwrap_or(to);
    let of = |number: u32, name: &str| seen.get(&number).ok_or_else(|| missing(name));
    let (before, after) = (of(from, "from")?, of(to, "to")?);
    let (mut old, mut new) = (gather(gateway, caller, before).await?, gather(gateway, caller, after).await?);
    let hidden: BTreeSet<String> = old.hidden.union(&new.hidden).cloned().collect();
    for side in [&mut old, &mut new] {
        side.resources.retain(|resource| reference_of(resource).is_none_or(|name| !hidden.contains(&name)));
    }
    let shown: Vec<Stored> =
        [before.0.clone(), after.0.clone()].into_iter().chain(old.shown).chain(new.shown).collect();
    let shown = particulars::as_known_ever(gateway, caller, shown).await?;
    witness::shown(gateway, caller, "read", object, &shown, now).await?;
    let changes = difference(&outline(&before.1, &old.resources), &outline(&after.1, &new.resources));
    Ok(Difference { from, to, changes })
}

#[derive(Default)]
struct Side {
    resources: Vec<Value>,
    shown: Vec<Stored>,
    /// What is there and not for the caller.
    hidden: BTreeSet<String>,
}

/// What a version of a plan refers to, and what that refers to, as it stood then.
async fn gather(gateway: &Gateway, caller: &Caller, (plan, body): &(Stored, Value)) -> Result<Side, Refusal> {
    let mut side = Side::default();
    let mut met = BTreeSet::new();
    let mut wanted: Vec<String> = references(body).into_iter().map(str::to_owned).collect();
    while let Some(name) = wanted.pop() {
        let Some((kind, id)) = name.split_once('/').filter(|(kind, _)| BELONGS.contains(kind)) else { continue };
        if !met.insert(name.clone()) {
            continue;
        }
        let then = |all: Vec<Stored>| all.into_iter().find(|stored| stored.updated_at <= plan.updated_at);
        let Some(stood) = then(versions(gateway, &Filter::ALL, kind, id).await?) else { continue };
        let visible = then(versions(gateway, &caller.filter(), kind, id).await?);
        let Some(visible) = visible.filter(|visible| visible.version == stood.version) else {
            side.hidden.insert(name);
            continue;
        };
        let Ok(resource) = serde_json::from_slice::<Value>(&visible.body) else { continue };
        if type_of(&resource) == "CareTeam" {
            wanted.extend(references(&resource).into_iter().map(str::to_owned));
        }
        side.resources.push(resource);
        side.shown.push(visible);
    }
    Ok(side)
}

async fn versions(gateway: &Gateway, filter: &Filter, kind: &str, id: &str) -> Result<Vec<Stored>, Refusal> {
    let of = Versions {
        resource_type: Some(kind.to_owned()),
        id: Some(id.to_owned()),
        limit: MOST_VERSIONS,
        ..Versions::default()
    };
    Ok(gateway.store.versions(filter, &of).await?)
}

fn document_version(plan: &Value) -> Option<u32> {
    let url = format!("{BASE}/StructureDefinition/document-version");
    let extension = plan["extension"].as_array()?.iter().find(|extension| extension["url"] == *url)?;
    extension["valuePositiveInt"].as_u64()?.try_into().ok()
}

/// A change with its sentences, for a reader of the plan.
pub fn line(gateway: &Gateway, change: &Change) -> Map<String, Value> {
    let said = speaker(gateway, &|hsa_id| unit_name(gateway, hsa_id), true).say(change);
    let fields: Vec<Value> =
        change.fields.iter().map(|f| json!({ "name": f.name, "from": f.from, "to": f.to })).collect();
    let mut line = Map::new();
    line.insert("what".into(), json!(change.what.code()));
    line.insert("of".into(), json!(change.part.code()));
    if change.part != Part::Plan {
        line.insert("key".into(), json!(change.key));
    }
    if let Some(area) = change.of("area") {
        line.insert("area".into(), json!(area));
    }
    line.insert("fields".into(), json!(fields));
    line.insert("sv".into(), json!(said.sv));
    line.insert("en".into(), json!(said.en));
    line
}

fn unit_name(gateway: &Gateway, hsa_id: &str) -> Option<String> {
    gateway.config.directory.find(hsa_id).map(|unit| unit.name.clone())
}

fn speaker<'a>(gateway: &'a Gateway, unit: &'a dyn Fn(&str) -> Option<String>, quotes: bool) -> Speaker<'a> {
    Speaker { terminology: gateway.conformance.profiles.terminology(), unit, quotes }
}

/// What a new version of a document changes in its plan, for those who are told of it: read from what is about to be committed.
pub(super) fn from_resources(before: &[Value], after: &[Value]) -> Vec<Change> {
    let of = |resources: &[Value]| {
        let plan = resources.iter().find(|resource| type_of(resource) == "CarePlan")?;
        Some(outline(plan, resources))
    };
    match (of(before), of(after)) {
        (Some(before), Some(after)) => difference(&before, &after),
        // A first version is no change of anything.
        (None, _) | (_, None) => difference(&Outline::default(), &Outline::default()),
    }
}

/// The changes as an extension of the version's Provenance: what, of what, and in words that repeat nothing that anybody wrote.
pub(super) fn extensions(gateway: &Gateway, changes: &[Change]) -> Vec<Value> {
    let unit = |hsa_id: &str| unit_name(gateway, hsa_id);
    let speaker = speaker(gateway, &unit, false);
    let one = |change: &Change| {
        let said = speaker.say(change);
        let mut parts = vec![
            json!({ "url": "what", "valueCode": change.what.code() }),
            json!({ "url": "of", "valueCode": change.part.code() }),
        ];
        if matches!(change.part, Part::Intervention | Part::Goal | Part::Need) && !change.key.is_empty() {
            parts.push(json!({ "url": "key", "valueString": change.key }));
        }
        parts.push(json!({ "url": "sv", "valueString": said.sv }));
        parts.push(json!({ "url": "en", "valueString": said.en }));
        json!({ "url": format!("{BASE}/StructureDefinition/plan-change"), "extension": parts })
    };
    changes.iter().map(one).collect()
}

/// How many, for a notice: numbers and nothing of care.
pub(super) fn numbers(changes: &[Change]) -> Value {
    json!(counts(changes))
}
