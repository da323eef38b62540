//! Notices: what a partner is told when there is something for it to read. A door bell, not a letter: no patient, no text.
//!
//! A notice is a stored delivery like any other, made in the commit that it tells of, so it is sent at least once and always
//! under the same id. Its lane is its own: nothing waits for it, and it waits for nothing.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::weigh::instant;
use crate::Gateway;
use crate::domain::delivery::{State, notices_of};
use crate::store::{Action, Delivery, Exchange, Party};

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A document, or a newer version of it, with a Task where the unit is asked for something.
    Document,
    /// The sender has taken its request back, or asks to stop.
    Cancellation,
    /// A recipient has answered.
    Answer,
}

impl News {
    fn code(self) -> &'static str {
        match self {
            Self::Document => "document.available",
            Self::Cancellation => "cancellation.available",
            Self::Answer => "answer.available",
        }
    }
}

/// A notice to each of these parties whose partner wants one; one for a partner and Task, however many commits bring it.
pub(super) fn notices<'a>(
    gateway: &Gateway,
    exchange: &Exchange,
    parties: impl Iterator<Item = &'a Party>,
    news: News,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let wanted = parties.filter(|p| gateway.notifiers.contains_key(&p.partner));
    wanted.map(|party| notice(gateway, exchange, party, news, now)).collect()
}

fn notice(gateway: &Gateway, exchange: &Exchange, party: &Party, news: News, now: DateTime<Utc>) -> Delivery {
    let id = Uuid::now_v7();
    let base = gateway.config.base_url.trim_end_matches('/');
    let task = party.task.as_ref().map(|task| format!("{base}/fhir/Task/{task}"));
    let body = json!({
        "type": news.code(),
        "timestamp": instant(now),
        "data": {
            "exchange": exchange.id.to_string(),
            "kind": exchange.kind.name(),
            "unit": party.unit,
            "links": { "exchange": format!("{base}/v1/exchanges/{}", exchange.id), "task": task },
        },
    });
    Delivery {
        id,
        exchange: exchange.id,
        document_version: exchange.version,
        partner: notices_of(&party.partner),
        unit: party.unit.clone(),
        patient: id.to_string(),
        action: Action::Notice,
        body: serde_json::to_vec(&body).unwrap_or_default(),
        state: State::Waiting,
        attempts: 0,
        seq: 0,
        created_at: now,
        first_attempt_at: None,
        due_at: now,
        begun_at: None,
        note: None,
        urgent: false,
        resend_of: None,
    }
}
