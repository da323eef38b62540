//! A charge as an EpisodeOfCare: which ones a commit changes, and how each is to stand.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::weigh::{Scale, Weighed, current, instant};
use super::super::{Refusal, identify};
use super::said::{list, organization};
use crate::Gateway;
use crate::domain::HsaId;
use crate::domain::charge::Charge;
use crate::fhir::canonical::{BASE, HSA_ID};
use crate::fhir::issue::any_error;
use crate::fhir::resource::type_of;
use crate::store::{Commit, Exchange, Filter};

/// The id of the EpisodeOfCare that a charge stands as.
pub fn episode_id(charge: &Charge) -> String {
    identify::id(&["charge", &charge.id.to_string()])
}

/// The person who met the patient, where a handover ends with that: who leads the care from then on.
pub(super) async fn in_contact(
    gateway: &Gateway,
    commit: &Commit,
    resources: &[Value],
) -> Result<Option<Value>, Refusal> {
    let outputs = resources.iter().filter(|r| type_of(r) == "Task").flat_map(|task| list(&task["output"]));
    let Some(name) = outputs
        .filter(|o| o["type"]["text"] == "patient-contact")
        .find_map(|o| o["valueReference"]["reference"].as_str())
    else {
        return Ok(None);
    };
    let put = commit.put.iter().find(|p| format!("{}/{}", p.resource_type, p.id) == name);
    let told: Option<Value> = match put {
        Some(put) => serde_json::from_slice(&put.body).ok(),
        None => {
            let found = gateway.store.resources(&Filter::ALL, &[name.to_owned()]).await?;
            current(found).into_values().map(|(_, value)| value).next()
        }
    };
    let sender = told.map(|told| told["sender"]["identifier"].clone()).unwrap_or_default();
    let person = sender["value"].as_str().filter(|id| HsaId::parse(id).is_ok());
    let is_person = person.is_some_and(|id| gateway.config.directory.find(id).is_none());
    Ok(is_person.then(|| json!({ "type": "Practitioner", "identifier": { "system": HSA_ID, "value": person } })))
}

/// Charges that are not as they were: those that stand, and those that never were.
pub(super) fn changed(before: &[Charge], after: &[Charge]) -> Vec<(Charge, bool)> {
    let same = |one: &Charge, all: &[Charge]| {
        all.iter().find(|c| c.id == one.id).map(|c| (c.from, c.to) == (one.from, one.to))
    };
    let mut found: Vec<(Charge, bool)> = Vec::new();
    found.extend(before.iter().filter(|c| same(c, after).is_none()).map(|c| (c.clone(), false)));
    found.extend(after.iter().filter(|c| same(c, before) != Some(true)).map(|c| (c.clone(), true)));
    found
}

/// Writes each of them as it is to stand.
pub(super) async fn write(
    gateway: &Gateway,
    commit: &mut Commit,
    exchange: &Exchange,
    changed: &[(Charge, bool)],
    contact: Option<&Value>,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, Refusal> {
    let names: Vec<String> = changed.iter().map(|(c, _)| format!("EpisodeOfCare/{}", episode_id(c))).collect();
    let known = current(gateway.store.resources(&Filter::ALL, &names).await?);
    let mut others: BTreeMap<Uuid, Exchange> = BTreeMap::new();
    let mut weighed = Weighed::default();
    let mut episodes = Vec::new();
    for ((charge, stands), name) in changed.iter().zip(&names) {
        // Of what was removed nothing is written again.
        let Some(id) = charge.exchange else { continue };
        if id != exchange.id
            && !others.contains_key(&id)
            && let Some(other) = gateway.store.exchange(&Filter::ALL, id).await?
        {
            others.insert(id, other);
        }
        let of = if id == exchange.id { Some(exchange) } else { others.get(&id) };
        let Some(of) = of else { continue };
        let stored = known.get(name).map(|(_, value)| value);
        let mut episode = episode(of, charge, *stands, stored, now);
        if let (Some(contact), None, true) = (contact, stored, id == exchange.id)
            && exchange.recipients().any(|p| p.unit.eq_ignore_ascii_case(&charge.unit))
        {
            episode["careManager"] = contact.clone();
        }
        // Who sees one of another exchange is settled there.
        let units = if stored.is_none() || id == exchange.id { of.units() } else { Vec::new() };
        let scale = Scale { now, patient: of.patient.as_deref(), units: &units, exchange: Some(id) };
        scale.add(&episode, &known, &mut weighed);
        episodes.push(episode);
    }
    let issues = gateway.validate(&episodes);
    if any_error(&issues) {
        return Err(Refusal::Findings(issues));
    }
    commit.put.extend(weighed.put);
    commit.expect.extend(weighed.expect);
    Ok(episodes)
}

/// The charge as it came to be, where all of it is known at once: active first, and then ended.
pub(super) fn derived(exchange: &Exchange, charge: &Charge) -> Value {
    let mut open = charge.clone();
    open.to = None;
    let active = episode(exchange, &open, true, None, charge.from);
    match charge.to {
        Some(to) => episode(exchange, charge, true, Some(&active), to),
        None => active,
    }
}

/// A charge in FHIR. Its history of statuses tells what it was before it was ended or declared never to have been.
fn episode(exchange: &Exchange, charge: &Charge, stands: bool, stored: Option<&Value>, now: DateTime<Utc>) -> Value {
    let status = match (stands, charge.is_open()) {
        (false, _) => "entered-in-error",
        (true, true) => "active",
        (true, false) => "finished",
    };
    let mut period = json!({ "start": instant(charge.from) });
    if let Some(to) = charge.to {
        period["end"] = json!(instant(to));
    }
    let mut history = stored.map(|s| list(&s["statusHistory"]).to_vec()).unwrap_or_default();
    if let Some(was) = stored.and_then(|s| s["status"].as_str()).filter(|was| *was != status) {
        let began = history.last().map_or_else(|| json!(instant(charge.from)), |last| last["period"]["end"].clone());
        history.push(json!({ "status": was, "period": { "start": began, "end": instant(now.max(charge.from)) } }));
    }
    let organization = organization(&charge.unit);
    let mut managing = json!({ "type": "Organization", "identifier": { "system": HSA_ID, "value": charge.unit } });
    if exchange.resources.contains(&organization) {
        managing["reference"] = json!(organization);
    }
    let requests = exchange.resources.iter().filter(|name| name.starts_with("ServiceRequest/"));
    let requests: Vec<Value> = requests.map(|name| json!({ "reference": name })).collect();
    let mut episode = json!({
        "resourceType": "EpisodeOfCare",
        "id": episode_id(charge),
        "meta": { "profile": [format!("{BASE}/StructureDefinition/area-responsibility")] },
        "status": status,
        "statusHistory": history,
        "type": [{ "coding": [{ "system": format!("{BASE}/CodeSystem/rehab-area"), "code": charge.area }] }],
        "patient": { "reference": format!("Patient/{}", exchange.patient.as_deref().unwrap_or_default()) },
        "managingOrganization": managing,
        "period": period,
        "referralRequest": requests,
        "careManager": stored.map_or(Value::Null, |s| s["careManager"].clone()),
    });
    if let Some(object) = episode.as_object_mut() {
        object.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    }
    episode
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SENDER, exchange};
    use super::*;
    use crate::domain::charge::{Move, Step, charges};

    #[test]
    fn an_episode_tells_what_it_was_before() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let step = |n: u128, step, unit: &str, minute: &str| Move {
            id: Uuid::from_u128(n),
            origin: Uuid::from_u128(1),
            exchange: Some(Uuid::from_u128(1)),
            at: at(minute),
            step,
            patient: "p".into(),
            area: "fatigue".into(),
            unit: unit.into(),
        };
        let first = step(7, Step::States, SENDER, "2026-03-01T08:00:00Z");
        let open = charges(std::slice::from_ref(&first)).remove(0);
        let active = episode(&exchange(), &open, true, None, at("2026-03-01T08:00:00Z"));
        assert_eq!((&active["status"], active.get("statusHistory")), (&json!("active"), None));
        let gives = step(8, Step::Gives, SENDER, "2026-03-05T08:00:00Z");
        let ended = charges(&[first, gives]).remove(0);
        let finished = episode(&exchange(), &ended, true, Some(&active), at("2026-03-05T08:00:00Z"));
        assert_eq!(finished["period"]["end"], "2026-03-05T08:00:00.000Z");
        assert_eq!(finished["statusHistory"][0]["period"]["end"], "2026-03-05T08:00:00.000Z");
        let never = episode(&exchange(), &ended, false, Some(&finished), at("2026-03-09T08:00:00Z"));
        assert_eq!(never["status"], "entered-in-error");
        let history: Vec<&Value> = never["statusHistory"].as_array().unwrap().iter().map(|h| &h["status"]).collect();
        assert_eq!(history, ["active", "finished"]);
    }
}
