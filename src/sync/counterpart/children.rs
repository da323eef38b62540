//! Areas of a request at a partner: the Tasks that it made for them, or that we sent, each part of its copy of the whole Task.
//! What they say is said of the areas, and applied with the whole.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Refusal;
use super::super::acknowledge::{Change, Child};
use super::super::moved::business_status;
use super::super::part::{AreaAnswer, area_of, parts_of};
use super::super::weigh::{current, instant};
use crate::Gateway;
use crate::domain::business_status::BusinessStatus;
use crate::domain::delivery::Outcome;
use crate::domain::task::Status;
use crate::partner::Client;
use crate::store::{Filter, OpenTask};
use crate::sync::seen::Seen;

/// What is said of areas beside what stands here already.
#[derive(Debug, Default)]
pub(in crate::sync) struct Parts {
    areas: Vec<AreaAnswer>,
    children: Vec<Child>,
    /// What makes it the same if it is read again; empty where nothing new is said.
    pub(in crate::sync) key: String,
}

impl Parts {
    /// With what the whole says. What it says of an area itself comes first.
    pub(in crate::sync) fn join(self, mut change: Change) -> Change {
        let said: Vec<String> = change.areas.iter().map(|answer| answer.area.clone()).collect();
        change.areas.extend(self.areas.into_iter().filter(|answer| !said.contains(&answer.area)));
        change.children = self.children;
        change
    }
}

/// The wholes of which a part has changed at the partner, as they stand there.
pub(in crate::sync) async fn changed_wholes(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    open: &[OpenTask],
    seen: &mut Seen,
) -> Result<Vec<(String, Value)>, Refusal> {
    let names: Vec<String> = open.iter().map(|o| format!("Task/{}", o.task)).collect();
    let there = gateway.store.counterparts(partner, &names).await?;
    let key = |id: &str| format!("parts/{id}");
    let since = seen.since().map(instant);
    let (known, new): (Vec<&str>, Vec<&str>) =
        there.iter().map(|c| c.theirs.as_str()).partition(|id| since.is_some() && seen.knows(&key(id)));
    let mut found: Vec<Value> = Vec::new();
    for (those, since) in [(new, None), (known, since.as_deref())] {
        let places: Vec<String> = those.iter().map(|id| format!("Task/{id}")).collect();
        match client.find("Task", "part-of", &places, since).await {
            Ok(parts) => found.extend(parts),
            // A server that cannot be asked so says what it has to say in the output of its Task.
            Err(_) => return Ok(Vec::new()),
        }
    }
    for c in &there {
        seen.asked(&key(&c.theirs));
    }
    let mut wholes: BTreeMap<String, Value> = BTreeMap::new();
    for part in &found {
        let Some(of) = there.iter().find(|c| is_part_of(part, &c.theirs)) else { continue };
        if !wholes.contains_key(&of.id)
            && let Ok(whole) = client.read(&format!("Task/{}", of.theirs)).await
        {
            wholes.insert(of.id.clone(), whole);
        }
    }
    Ok(wholes.into_iter().collect())
}

/// What the partner's parts of that Task say. `None`: they cannot be read now.
pub(in crate::sync) async fn parts_at(
    gateway: &Gateway,
    client: &Client,
    partner: &str,
    ours: &str,
    whole: &Value,
) -> Result<Option<Parts>, Refusal> {
    let theirs = whole["id"].as_str().unwrap_or_default();
    let is_open = whole["status"].as_str().and_then(Status::parse).is_some_and(|s| s > Status::OnHold);
    // A part is decided with the whole, not before.
    if !is_open || gateway.store.counterparts(partner, &[format!("Task/{ours}")]).await?.is_empty() {
        return Ok(Some(Parts::default()));
    }
    let found = match client.find("Task", "part-of", &[format!("Task/{theirs}")], None).await {
        Ok(found) => found,
        Err(Outcome::Permanent { .. }) => return Ok(Some(Parts::default())),
        Err(_) => return Ok(None),
    };
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    for part in found.into_iter().filter(|part| is_part_of(part, theirs)) {
        let Some(area) = area_of(&part).map(str::to_owned) else { continue };
        let at = |of: &Value| of["meta"]["lastUpdated"].as_str().map(str::to_owned);
        if newest.get(&area).is_none_or(|other| at(other) < at(&part)) {
            newest.insert(area, part);
        }
    }
    if newest.is_empty() {
        return Ok(Some(Parts::default()));
    }
    let mut stored = Vec::new();
    for exchange in gateway.store.exchange_of_resource("Task", ours).await? {
        if let Some(exchange) = gateway.store.exchange(&Filter::ALL, exchange).await? {
            let names: Vec<String> = exchange.resources.into_iter().filter(|name| name.starts_with("Task/")).collect();
            stored.extend(current(gateway.store.resources(&Filter::ALL, &names).await?).into_values().map(|(_, v)| v));
        }
    }
    let here = parts_of(&stored, &format!("Task/{ours}"));
    let mut parts = Parts::default();
    for (area, part) in newest {
        let Some(status) = part["status"].as_str().and_then(Status::parse) else { continue };
        let reason = part["statusReason"]["text"].as_str().filter(|text| !text.trim().is_empty());
        let business = business_status(&part).and_then(BusinessStatus::parse);
        let stands = here.get(area.as_str()).is_some_and(|own| {
            own["status"] == part["status"]
                && own["statusReason"]["text"].as_str() == reason
                && business_status(own).and_then(BusinessStatus::parse) == business
        });
        if !stands && status > Status::OnHold {
            let id = part["id"].as_str().unwrap_or_default();
            parts.key.push_str(&format!("+{id}/{}", part["meta"]["versionId"].as_str().unwrap_or_default()));
            parts.areas.push(AreaAnswer {
                area: area.clone(),
                status,
                reason: reason.map(str::to_owned),
                business_status: business,
                place: "Task.partOf".to_owned(),
            });
        }
        parts.children.push(Child { area, task: part });
    }
    Ok(Some(parts))
}

fn is_part_of(part: &Value, whole: &str) -> bool {
    let of = part["partOf"].as_array().into_iter().flatten().filter_map(|p| p["reference"].as_str());
    of.map(|reference| reference.rsplit('/').next().unwrap_or_default()).any(|id| id == whole)
}
