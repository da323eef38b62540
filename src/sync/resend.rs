//! Sends again what somebody asks for: by exchange, or by partner and time, after a look at what it would send.
//!
//! What waits or is parked becomes due. What was delivered gets a new delivery with the same bytes, behind everything that
//! stands in its lane. Nothing turns back time: where a later delivery to the same partner carries another content of the same
//! resource, the older one is left out and named, because sending it would undo the newer, if only for a moment. Whoever lost
//! its data asks for the window that it lost: the newest of each resource is among what is sent.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::consent::rests_on_nothing;
use super::release::{Decision, decide};
use super::{Refusal, TRIES, witness};
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::delivery::State;
use crate::store::{Action, Commit, Committed, Delivery, DeliveryQuery, Exchange, Expect, Filter, Window};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Exchange(Uuid),
    /// By when each was last tried, or made where it never was; both ends included.
    Partner {
        name: String,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    },
}

/// How one delivery is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It becomes due.
    Due,
    /// A new delivery with its bytes.
    Again,
}

impl Way {
    pub fn code(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Again => "again",
        }
    }
}

/// Why one is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// This later delivery has another content of something in it.
    Overtaken { by: Uuid },
    /// This delivery of the same bytes waits or is parked.
    UnderWay { already: Uuid },
    /// It is itself one that was sent again: its first stands for it.
    Copy { of: Uuid },
    /// Its unit takes no part in the exchange any more: left out of a newer version, or without consent.
    NoParty,
    /// The consent it rests on is withdrawn, or its document was entered in error: only what says so may be sent again.
    NotInForce,
    /// Its bytes were removed when their time was over; the sender may send the document anew.
    Removed,
    /// It is neither waiting, parked nor delivered any more.
    Over,
}

impl LeftOut {
    /// In Swedish and English.
    pub fn text(self) -> String {
        match self {
            Self::Overtaken { by } => format!(
                "leverans {by} har nyare innehåll; den äldre skulle skriva över det | delivery {by} has newer content, which the older would overwrite"
            ),
            Self::UnderWay { already } => {
                format!("sänds redan igen som leverans {already} | is being sent again already, as delivery {already}")
            }
            Self::Copy { of } => {
                format!("är själv sänd igen; välj leverans {of} | was itself sent again; choose delivery {of}")
            }
            Self::NoParty => {
                "enheten är inte längre part i ärendet | the unit is no party to the exchange any more".into()
            }
            Self::NotInForce => {
                "vilar på ett återkallat samtycke eller ett återtaget dokument; bara versionen som säger det kan sändas igen | rests on a withdrawn consent or a retracted document; only the version that says so may be sent again".into()
            }
            Self::Removed => {
                "kopian är gallrad; sänd dokumentet på nytt | the copy was removed when its time was over; send the document anew".into()
            }
            Self::Over => "är redan avslutad | has ended".into(),
        }
    }
}

/// What would be sent, or was.
#[derive(Debug, Default)]
pub struct Plan {
    pub sends: Vec<(Delivery, Way)>,
    pub left_out: Vec<(Delivery, LeftOut)>,
    /// Where more match than were looked at, the `seq` of the last that was: ask for what comes after it.
    pub next: Option<i64>,
}

/// A page of what matches, as it would be sent at this moment: of a partner's what concerns these units.
pub async fn preview(
    gateway: &Gateway,
    filter: &Filter,
    scope: &Scope,
    states: &[State],
    after: Option<i64>,
) -> Result<Plan, Refusal> {
    let most = gateway.config.limits.page_max as usize;
    let mut found = match scope {
        Scope::Exchange(id) => {
            let query = DeliveryQuery { exchange: Some(*id), after, ..DeliveryQuery::default() };
            gateway.store.deliveries(&query).await?
        }
        Scope::Partner { name, from, to } => {
            let window = Window {
                partner: name.clone(),
                from: *from,
                to: *to,
                states: states.to_vec(),
                filter: filter.clone(),
                after,
                limit: gateway.config.limits.page_max.saturating_add(1),
            };
            gateway.store.deliveries_between(&window).await?
        }
    };
    let is_whole = found.len() <= most;
    found.truncate(most);
    let mut plan = Plan { next: found.last().map(|last| last.seq).filter(|_| !is_whole), ..Plan::default() };
    found.retain(|d| states.contains(&d.state) && d.action != Action::Notice);
    for delivery in found {
        match way(gateway, &delivery).await? {
            Ok(way) => plan.sends.push((delivery, way)),
            Err(why) => plan.left_out.push((delivery, why)),
        }
    }
    Ok(plan)
}

/// Sends one again; the delivery that carries it now. What happened since the preview is looked at anew.
pub async fn resend(
    gateway: &Gateway,
    id: Uuid,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Result<(Delivery, Way), (Delivery, LeftOut)>, Refusal> {
    for _ in 0..TRIES {
        let query = DeliveryQuery { id: Some(id), ..DeliveryQuery::default() };
        let found = gateway.store.deliveries(&query).await?.into_iter().next();
        let delivery = found.ok_or_else(|| super::refusal::missing("delivery"))?;
        let later = later(gateway, &delivery).await?;
        let exchange = gateway.store.exchange(&Filter::ALL, delivery.exchange).await?;
        match allowed(gateway, judge(&delivery, &later), &delivery, exchange.as_ref()).await? {
            Err(why) => return Ok(Err((delivery, why))),
            Ok(Way::Due) => match decide(gateway, id, Decision::Retry, actor, now).await {
                Ok(due) => return Ok(Ok((due, Way::Due))),
                Err(Refusal::Conflict(_)) => {} // it was delivered or skipped in between
                Err(other) => return Err(other),
            },
            Ok(Way::Again) => {
                let again = again(&delivery, now);
                let end = later.last().map_or(delivery.seq, |last| last.seq);
                let mut commit = commit_of(&delivery, &again, end, witness::named(gateway, actor), now);
                let revision = exchange.map(|e| Expect::Revision { exchange: e.id, revision: e.revision });
                commit.expect.extend(revision);
                if let Committed::Done { .. } = gateway.store.commit(commit).await? {
                    gateway.wake.notify_one();
                    return Ok(Ok((again, Way::Again)));
                }
            }
        }
    }
    Err(Refusal::Busy)
}

fn again(delivery: &Delivery, now: DateTime<Utc>) -> Delivery {
    Delivery {
        id: Uuid::now_v7(),
        state: State::Waiting,
        attempts: 0,
        seq: 0,
        created_at: now,
        first_attempt_at: None,
        due_at: now,
        begun_at: None,
        note: None,
        resend_of: Some(delivery.id),
        ..delivery.clone()
    }
}

fn commit_of(of: &Delivery, again: &Delivery, end: i64, who: By, now: DateTime<Utc>) -> Commit {
    let event = Event::new(now, who, Deed::Resend, format!("delivery/{}", again.id))
        .with("exchange", of.exchange.to_string())
        .with("of", of.id.to_string());
    Commit {
        expect: vec![
            Expect::Delivery { delivery: of.id, state: State::Delivered },
            Expect::LaneEnd { exchange: of.exchange, partner: of.partner.clone(), seq: end },
        ],
        deliveries: vec![again.clone()],
        audit: vec![event.into()],
        ..Commit::default()
    }
}

async fn way(gateway: &Gateway, delivery: &Delivery) -> Result<Result<Way, LeftOut>, Refusal> {
    let later = if delivery.state == State::Delivered { later(gateway, delivery).await? } else { Vec::new() };
    let exchange = gateway.store.exchange(&Filter::ALL, delivery.exchange).await?;
    allowed(gateway, judge(delivery, &later), delivery, exchange.as_ref()).await
}

/// The way, if the exchange still lets it be sent to its unit.
async fn allowed(
    gateway: &Gateway,
    judged: Result<Way, LeftOut>,
    delivery: &Delivery,
    exchange: Option<&Exchange>,
) -> Result<Result<Way, LeftOut>, Refusal> {
    let way = match judged.and_then(|way| at_party(way, delivery, exchange)) {
        Ok(Way::Again) if delivery.body.is_empty() => return Ok(Err(LeftOut::Removed)),
        Ok(way) => way,
        Err(why) => return Ok(Err(why)),
    };
    // Whatever was delivered, parked or skipped since: what was withdrawn never goes out once more. What waits of a document
    // that was entered in error may go: the version that says so stands behind it in its lane.
    if let Some(exchange) = exchange
        && delivery.document_version != exchange.version
        && ((way == Way::Again && exchange.entered_in_error) || rests_on_nothing(gateway, exchange).await?)
    {
        return Ok(Err(LeftOut::NotInForce));
    }
    Ok(Ok(way))
}

/// Only who still has a part in the exchange is sent its documents once more.
fn at_party(way: Way, delivery: &Delivery, exchange: Option<&Exchange>) -> Result<Way, LeftOut> {
    let takes_part = exchange.is_some_and(|e| e.parties.iter().any(|p| p.unit.eq_ignore_ascii_case(&delivery.unit)));
    if way == Way::Again && !takes_part { Err(LeftOut::NoParty) } else { Ok(way) }
}

/// What was made after it for the same patient and partner, in order.
async fn later(gateway: &Gateway, delivery: &Delivery) -> Result<Vec<Delivery>, Refusal> {
    Ok(gateway.store.lane_after(delivery.exchange, &delivery.partner, delivery.seq).await?)
}

/// How a delivery may be sent again, given what came after it in its lane.
fn judge(delivery: &Delivery, later: &[Delivery]) -> Result<Way, LeftOut> {
    match delivery.state {
        State::Waiting | State::Parked => return Ok(Way::Due),
        State::Skipped => return Err(LeftOut::Over),
        State::Delivered => {}
    }
    if let Some(of) = delivery.resend_of {
        return Err(LeftOut::Copy { of });
    }
    let is_open = |d: &&Delivery| matches!(d.state, State::Waiting | State::Parked);
    if let Some(already) = later.iter().filter(is_open).find(|d| d.resend_of == Some(delivery.id)) {
        return Err(LeftOut::UnderWay { already: already.id });
    }
    let own = contents(delivery);
    // A newer version that somebody skipped is in force all the same: the older one would contradict it.
    let counts = |d: &Delivery| {
        d.state != State::Skipped || (d.exchange == delivery.exchange && d.document_version > delivery.document_version)
    };
    let overtakes =
        |d: &&Delivery| counts(d) && contents(d).iter().any(|(name, new)| own.get(name).is_some_and(|old| old != new));
    match later.iter().find(overtakes) {
        Some(newer) => Err(LeftOut::Overtaken { by: newer.id }),
        None => Ok(Way::Again),
    }
}

/// What a delivery makes the partner's resources be, by how the partner recognises them. What is only created where it is
/// not there yet overwrites nothing.
fn contents(delivery: &Delivery) -> HashMap<String, Value> {
    let body: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
    if delivery.action == Action::MoveTask {
        let identifier = body["identifier"].as_str().unwrap_or_default();
        return HashMap::from([(format!("Task?identifier={identifier}"), body.clone())]);
    }
    let entries = body["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let updates = entries.iter().filter(|entry| entry["request"]["method"] == "PUT");
    updates
        .filter_map(|entry| Some((entry["request"]["url"].as_str()?.to_owned(), entry["resource"].clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delivery(state: State, entries: &[(&str, &str, &str)]) -> Delivery {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(method, url, content)| json!({ "request": { "method": method, "url": url }, "resource": { "title": content } }))
            .collect();
        Delivery {
            id: Uuid::now_v7(),
            exchange: Uuid::now_v7(),
            document_version: 1,
            partner: "north".into(),
            unit: "u".into(),
            patient: "p".into(),
            action: Action::Transaction,
            body: json!({ "resourceType": "Bundle", "entry": entries }).to_string().into(),
            state,
            attempts: 0,
            seq: 1,
            created_at: DateTime::UNIX_EPOCH,
            first_attempt_at: None,
            due_at: DateTime::UNIX_EPOCH,
            begun_at: None,
            note: None,
            urgent: false,
            resend_of: None,
        }
    }

    #[test]
    fn an_older_content_never_overwrites_a_newer_one() {
        let first = delivery(State::Delivered, &[("PUT", "CarePlan?identifier=1", "v1"), ("POST", "Task", "t")]);
        let same = delivery(State::Delivered, &[("PUT", "CarePlan?identifier=1", "v1")]);
        let other = delivery(State::Delivered, &[("PUT", "CarePlan?identifier=2", "v9"), ("POST", "Task", "x")]);
        assert_eq!(judge(&first, &[same, other]), Ok(Way::Again));
        for state in [State::Waiting, State::Parked, State::Delivered] {
            let newer = delivery(state, &[("PUT", "CarePlan?identifier=1", "v2")]);
            assert_eq!(
                judge(&first, std::slice::from_ref(&newer)),
                Err(LeftOut::Overtaken { by: newer.id }),
                "{state:?}"
            );
        }
        let skipped = delivery(State::Skipped, &[("PUT", "CarePlan?identifier=1", "v2")]);
        assert_eq!(judge(&first, &[skipped]), Ok(Way::Again), "what was never sent overtakes nothing");
        let newer = Delivery {
            exchange: first.exchange,
            document_version: 2,
            ..delivery(State::Skipped, &[("PUT", "CarePlan?identifier=1", "v2")])
        };
        let judged = judge(&first, std::slice::from_ref(&newer));
        assert_eq!(judged, Err(LeftOut::Overtaken { by: newer.id }), "but for a newer version of the same");
    }

    #[test]
    fn a_later_move_of_a_task_overtakes_an_earlier_one_and_its_report() {
        let moved = |status: &str, state: State| Delivery {
            action: Action::MoveTask,
            body: json!({ "identifier": "s|1", "set": { "status": status } }).to_string().into(),
            ..delivery(state, &[])
        };
        let (first, second) = (moved("requested", State::Delivered), moved("cancelled", State::Delivered));
        assert_eq!(judge(&first, std::slice::from_ref(&second)), Err(LeftOut::Overtaken { by: second.id }));
        assert_eq!(judge(&second, &[]), Ok(Way::Again));
        let report = delivery(State::Delivered, &[("PUT", "Task?identifier=s|1", "accepted")]);
        assert_eq!(judge(&report, std::slice::from_ref(&second)), Err(LeftOut::Overtaken { by: second.id }));
    }

    #[test]
    fn one_copy_at_a_time_is_under_way() {
        let first = delivery(State::Delivered, &[("PUT", "CarePlan?identifier=1", "v1")]);
        let copy = |state| Delivery {
            resend_of: Some(first.id),
            state,
            ..delivery(state, &[("PUT", "CarePlan?identifier=1", "v1")])
        };
        let open = copy(State::Waiting);
        assert_eq!(judge(&first, std::slice::from_ref(&open)), Err(LeftOut::UnderWay { already: open.id }));
        assert_eq!(judge(&first, &[copy(State::Delivered)]), Ok(Way::Again), "it may be asked for again");
        assert_eq!(judge(&copy(State::Delivered), &[]), Err(LeftOut::Copy { of: first.id }));
        assert_eq!(judge(&open, &[]), Ok(Way::Due));
        assert_eq!(judge(&delivery(State::Skipped, &[]), &[]), Err(LeftOut::Over));
    }
}
