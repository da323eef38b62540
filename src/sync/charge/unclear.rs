//! What cannot be told: referrals that were accepted and may have handed over responsibility, without saying for what. Rather
//! nobody is named than a unit that may not have it any more.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::Refusal;
use super::super::weigh::current;
use super::said::leaves_open;
use crate::Gateway;
use crate::domain::Kind;
use crate::domain::charge::{Answer, Errand, Move, answer};
use crate::fhir::resource::type_of;
use crate::store::{Exchange, ExchangeQuery, Filter, Party};

/// Exchanges of one patient that are looked at.
const MOST: u32 = 500;

/// Why it cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It says neither areas nor whether the responsibility remains.
    NotSaid,
    /// It was accepted before responsibility was kept, and what is stored does not show how.
    NotKept,
}

impl Why {
    pub fn code(self) -> &'static str {
        match self {
            Self::NotSaid => "not-said",
            Self::NotKept => "not-kept",
        }
    }

    pub fn sv(self) -> &'static str {
        match self {
            Self::NotSaid => {
                "Remissen är accepterad men säger varken vilka områden den gäller eller om vårdansvaret kvarstår: fråga avsändaren och mottagaren."
            }
            Self::NotKept => {
                "Remissen accepterades innan ansvar bokfördes här, och det går inte att härleda: fråga avsändaren och mottagaren."
            }
        }
    }

    pub fn en(self) -> &'static str {
        match self {
            Self::NotSaid => {
                "The referral is accepted but says neither which areas it is about nor whether the responsibility remains: ask the sender and the recipient."
            }
            Self::NotKept => {
                "The referral was accepted before responsibility was kept here, and it cannot be derived: ask the sender and the recipient."
            }
        }
    }
}

/// An accepted referral of which it cannot be told who is responsible after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    pub exchange: Uuid,
    pub sender: String,
    /// Who has accepted it, and when.
    pub unit: String,
    pub since: DateTime<Utc>,
    pub why: Why,
}

/// Those of the patient, as far as the filter shows them, as they stood at that time.
pub async fn unclear(
    gateway: &Gateway,
    filter: &Filter,
    patient: &str,
    steps: &[Move],
    at: DateTime<Utc>,
) -> Result<Vec<Unclear>, Refusal> {
    let query = ExchangeQuery {
        kind: Some(Kind::Referral),
        patient: Some(patient.to_owned()),
        limit: MOST,
        ..ExchangeQuery::default()
    };
    let mut found = Vec::new();
    for exchange in gateway.store.exchanges(filter, &query).await?.matches {
        // What has moved anything is told by that.
        if exchange.entered_in_error || steps.iter().any(|step| step.exchange == Some(exchange.id)) {
            continue;
        }
        let names: Vec<String> =
            exchange.resources.iter().filter(|name| name.starts_with("ServiceRequest/")).cloned().collect();
        let requests = current(gateway.store.resources(&Filter::ALL, &names).await?);
        let Some((_, request)) = requests.values().find(|(_, r)| type_of(r) == "ServiceRequest") else { continue };
        let why = match (leaves_open(request), is_takeover(request)) {
            (true, _) => Why::NotSaid,
            (false, true) => Why::NotKept,
            (false, false) => continue,
        };
        let sender = exchange.sender().map(|s| s.unit.to_ascii_uppercase()).unwrap_or_default();
        for party in exchange.recipients() {
            if let Some(since) = accepted_since(gateway, &exchange, party, at).await? {
                let (unit, sender) = (party.unit.to_ascii_uppercase(), sender.clone());
                found.push(Unclear { exchange: exchange.id, sender, unit, since, why });
            }
        }
    }
    Ok(found)
}

fn is_takeover(request: &serde_json::Value) -> bool {
    super::said::has_category(request, "care-responsibility", "takeover")
}

/// Since when the unit had said yes at that time; none where it had not, or no more.
async fn accepted_since(
    gateway: &Gateway,
    exchange: &Exchange,
    party: &Party,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Refusal> {
    let Some(task) = &party.task else { return Ok(None) };
    let mut since = None;
    let moves = gateway.store.moves(exchange.id).await?;
    let own: Vec<_> = moves.into_iter().filter(|m| m.task == *task).collect();
    if own.is_empty() {
        // Before moves were kept: how it stands is all there is.
        let stands = party.status.map(|status| answer(Errand::Takeover, status, false));
        return Ok((stands == Some(Answer::Yes) && exchange.updated_at <= at).then_some(exchange.updated_at));
    }
    for one in own.iter().filter(|m| m.at <= at) {
        let is_sent_on = one.business_status.as_deref() == Some("redirected");
        match answer(Errand::Takeover, one.status, false) {
            Answer::No => since = None,
            Answer::Yes if is_sent_on => since = None,
            Answer::Yes => since = since.or(Some(one.at)),
            Answer::Open => {}
        }
    }
    Ok(since)
}
