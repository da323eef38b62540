//! Answers who is responsible for what about a patient, at any moment: as far as the one who asks may see the episodes that say so.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Refusal;
use super::charge::{Unclear, episode_id, settled, unclear};
use super::refusal::missing;
use super::weigh::instant;
use crate::Gateway;
use crate::access::Caller;
use crate::domain::charge::{Charge, charges};
use crate::fhir::canonical::BASE;
use crate::store::Stored;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The id of the Patient; `None`: nobody of that number is known.
    pub patient: Option<&'a str>,
    /// One area; `None`: all.
    pub area: Option<&'a str>,
    pub at: DateTime<Utc>,
}

/// The answer, and what of the store it shows.
#[derive(Debug, Clone)]
pub struct Answered {
    pub body: Value,
    pub shown: Vec<Stored>,
    /// Whether anything of the patient is there for the one who asks.
    pub is_known: bool,
}

/// The codes of every area, as the package has them.
pub fn areas(gateway: &Gateway) -> Vec<String> {
    let system = format!("{BASE}/CodeSystem/rehab-area");
    gateway.conformance.profiles.terminology().codes(&system).map(<[String]>::to_vec).unwrap_or_default()
}

/// Who has charge of what. What the caller may not see is answered as what nobody knows.
pub async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    asked: &Question<'_>,
    now: DateTime<Utc>,
) -> Result<Answered, Refusal> {
    let filter = caller.filter();
    let store = &gateway.store;
    let (mut all, mut open): (Vec<Charge>, Vec<Unclear>) = Default::default();
    if let Some(patient) = asked.patient {
        settled(gateway, patient, now).await;
        let steps = store.charge_moves(patient).await?.steps;
        all = charges(&steps);
        open = unclear(gateway, &filter, patient, &steps, asked.at).await?;
    }
    let names: Vec<String> = all.iter().map(|c| format!("EpisodeOfCare/{}", episode_id(c))).collect();
    let seen = store.resources(&filter, &names).await?;
    let is_seen = |charge: &&Charge| seen.iter().any(|s| s.id == episode_id(charge));
    let held: Vec<&Charge> = all.iter().filter(is_seen).filter(|c| c.holds_at(asked.at)).collect();
    let mut lines = Vec::new();
    for area in areas(gateway).into_iter().filter(|area| asked.area.is_none_or(|asked| asked == area)) {
        let mut responsible = Vec::new();
        for charge in held.iter().filter(|c| c.area == area) {
            responsible.push(line(gateway, caller, charge).await?);
        }
        // Whoever had it may have handed it over since: rather nobody is named than a unit that has it no more.
        let is_doubtful = |c: &&&Charge| open.iter().any(|u| u.sender == c.unit && c.from <= u.since);
        let doubt = held.iter().filter(|c| c.area == area).any(|c| is_doubtful(&c));
        let (responsible, before) = if doubt { (Vec::new(), responsible) } else { (responsible, Vec::new()) };
        let said = match responsible.len() {
            0 => "unknown",
            1 => "one",
            _ => "shared",
        };
        lines.push(json!({ "area": area, "answer": said, "responsible": responsible, "lastKnown": before }));
    }
    let patient = match asked.patient {
        Some(id) => store.resource(&filter, "Patient", id).await?,
        None => None,
    };
    let is_known = patient.is_some() || !seen.is_empty();
    let shown: Vec<Stored> = seen.into_iter().filter(|s| held.iter().any(|c| episode_id(c) == s.id)).collect();
    let patient = asked.patient.filter(|_| is_known).map(|id| format!("Patient/{id}"));
    let body = json!({ "patient": patient, "at": instant(asked.at), "areas": lines, "unclear": open.iter().map(told).collect::<Vec<_>>() });
    Ok(Answered { body, shown, is_known })
}

/// An accepted referral after which it cannot be told.
fn told(one: &Unclear) -> Value {
    json!({
        "exchange": one.exchange.to_string(),
        "sender": one.sender,
        "unit": one.unit,
        "since": instant(one.since),
        "why": one.why.code(),
        "sv": one.why.sv(),
        "en": one.why.en(),
    })
}

/// One unit that is responsible: since when, and by which exchange, where the caller may see that.
async fn line(gateway: &Gateway, caller: &Caller, charge: &Charge) -> Result<Value, Refusal> {
    let exchange = match charge.exchange {
        Some(id) => gateway.store.exchange(&caller.filter(), id).await?,
        None => None,
    };
    let unit = gateway.config.directory.find(&charge.unit);
    Ok(json!({
        "unit": charge.unit,
        "name": unit.map(|unit| &unit.name),
        "level": unit.map(|unit| unit.level.code()),
        "since": instant(charge.from),
        "until": charge.to.map(instant),
        "exchange": exchange.map(|e| e.id.to_string()),
        "episode": format!("EpisodeOfCare/{}", episode_id(charge)),
    }))
}

/// The same for a patient by our id: who sees nothing of the patient is told that there is no such patient.
pub async fn of_patient(
    gateway: &Gateway,
    caller: &Caller,
    asked: &Question<'_>,
    now: DateTime<Utc>,
) -> Result<Answered, Refusal> {
    let answered = answer(gateway, caller, asked, now).await?;
    if answered.is_known { Ok(answered) } else { Err(missing("Patient")) }
}
