//! Notices: what a partner is told when there is something for it to read. A door bell, not a letter: no patient, no text.
//!
//! A notice is a stored delivery like any other, made in the commit that it tells of, so it is sent at least once and always
//! under the same id. Its lane is its own: nothing waits for it, and it waits for nothing.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::package::{Address, delivery_of};
use super::weigh::instant;
use crate::Gateway;
use crate::domain::delivery::notices_of;
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
    /// Somebody has changed what is its own in a plan, or a difference was settled.
    Change,
    /// What somebody owes is overdue.
    Overdue,
    /// An intervention has ended, and the unit is asked for a new assessment.
    Reassessment,
}

impl News {
    fn code(self) -> &'static str {
        match self {
            Self::Document => "document.available",
            Self::Cancellation => "cancellation.available",
            Self::Answer => "answer.available",
            Self::Change => "change.available",
            Self::Overdue => "overdue.available",
            Self::Reassessment => "reassessment.available",
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
    wanted.map(|party| notice(gateway, exchange, party, news, None, now)).collect()
}

/// The same of a version of a document to its recipients; of a plan that was revised with how much has changed, in numbers.
pub(super) fn notices_of_version(
    gateway: &Gateway,
    exchange: &Exchange,
    changes: Option<&Value>,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let wanted = exchange.recipients().filter(|p| gateway.notifiers.contains_key(&p.partner));
    wanted.map(|party| notice(gateway, exchange, party, News::Document, changes, now)).collect()
}

fn notice(
    gateway: &Gateway,
    exchange: &Exchange,
    party: &Party,
    news: News,
    changes: Option<&Value>,
    now: DateTime<Utc>,
) -> Delivery {
    let base = gateway.config.base_url.trim_end_matches('/');
    let task = party.task.as_ref().map(|task| format!("{base}/fhir/Task/{task}"));
    let mut body = json!({
        "type": news.code(),
        "timestamp": instant(now),
        "data": {
            "exchange": exchange.id.to_string(),
            "kind": exchange.kind.name(),
            "unit": party.unit,
            "links": { "exchange": format!("{base}/v1/exchanges/{}", exchange.id), "task": task },
        },
    });
    if let Some(changes) = changes {
        body["data"]["changes"] = changes.clone();
    }
    let partner = notices_of(&party.partner);
    let address = Address { partner: &partner, ..Address::of(exchange, party, now) };
    let notice = delivery_of(&address, Action::Notice, serde_json::to_vec(&body).unwrap_or_default());
    // A lane of its own: a notice waits for no other.
    Delivery { patient: notice.id.to_string(), ..notice }
}
