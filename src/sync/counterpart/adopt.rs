//! What a partner did for our requests and plans, and keeps at its own server: its Procedures, read there and taken in as they
//! stand, again when they change. They are the partner's alone: nothing here ever writes them.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::acknowledge::{Heard, hold};
use super::super::identify;
use super::super::notice::{News, notices};
use super::super::package::{self, Address, is_pushed};
use super::super::reconcile::{Round, adopt, key_of};
use super::super::weigh::{Current, Scale, Weighed, current, instant};
use super::super::{Refusal, TRIES, witness};
use super::apply::names;
use super::home;
use crate::Gateway;
use crate::domain::audit::{By, Deed, Event};
use crate::domain::delivery::Outcome;
use crate::fhir::bundle::TaskMode;
use crate::fhir::issue::Issue;
use crate::partner::Client;
use crate::store::{Commit, Committed, Counterpart, Delivery, Exchange, Expect, Filter, Inbound};
use crate::sync::consent::rests_on_nothing;
use crate::sync::seen::Seen;

/// Reads what was done for these; they are of one type.
pub(super) async fn done_for(
    gateway: &Gateway,
    client: &Client,
    asked: &[Counterpart],
    now: DateTime<Utc>,
    seen: &mut Seen,
    round: &mut Round,
) -> Result<(), Refusal> {
    let at = |c: &Counterpart| format!("{}/{}", c.resource_type, c.theirs);
    let key = |c: &Counterpart| format!("done/{}", at(c));
    let since = seen.since().map(instant);
    let (known, new): (Vec<&Counterpart>, Vec<&Counterpart>) =
        asked.iter().partition(|c| since.is_some() && seen.knows(&key(c)));
    let mut found: Vec<Value> = Vec::new();
    for (those, since) in [(new, None), (known, since.as_deref())] {
        let places: Vec<String> = those.iter().map(|c| at(c)).collect();
        match client.find("Procedure", "based-on", &places, since).await {
            Ok(those) => found.extend(those),
            // A server that cannot be asked so names what was done in the output of its Task.
            Err(Outcome::Permanent { .. }) => return Ok(()),
            Err(_) => {
                return Ok(());
            }
        }
    }
    for c in asked {
        seen.asked(&key(c));
    }
    for procedure in found {
        seen.read(procedure["meta"]["lastUpdated"].as_str());
        let based: Vec<&str> =
            procedure["basedOn"].as_array().into_iter().flatten().filter_map(|b| b["reference"].as_str()).collect();
        let Some(of) = asked.iter().find(|c| based.iter().any(|b| b.ends_with(&at(c)))) else { continue };
        if !take(gateway, of, procedure, now, round).await? {
            round.left += 1;
            seen.left(&key(of));
        }
    }
    Ok(())
}

/// Takes it in; false where it has to be looked at again.
async fn take(
    gateway: &Gateway,
    of: &Counterpart,
    procedure: Value,
    now: DateTime<Utc>,
    round: &mut Round,
) -> Result<bool, Refusal> {
    let store = &gateway.store;
    let partner = of.partner.as_str();
    let body = serde_json::to_vec(&procedure).unwrap_or_default();
    let key = key_of("Procedure", &procedure, &body);
    if store.is_heard(partner, &key).await? {
        return Ok(true);
    }
    let name = format!("{}/{}", of.resource_type, of.id);
    let theirs = format!("Procedure/{}", procedure["id"].as_str().unwrap_or_default());
    let ours = format!("Procedure/{}", identify::id(&["partner", partner, &theirs]));
    let mut known = names(gateway, of).await?;
    let patient = procedure["subject"]["reference"].as_str().and_then(|subject| known.get(subject)).cloned();
    known.insert(theirs.clone(), ours.clone());
    let adopted = adopt(procedure, &theirs, &known);
    for _ in 0..TRIES {
        let Some(exchange) = home(gateway, &name).await? else { return Ok(true) };
        // Nothing more is shared through it; should consent be given again, a full round finds it again.
        if rests_on_nothing(gateway, &exchange).await? {
            return Ok(true);
        }
        let heard = Heard {
            partner,
            actor: partner,
            key: &key,
            body: &body,
            expected_version: None,
            by: None,
            here: false,
            kept: None,
        };
        let mut wrong: Vec<String> = gateway
            .validate(std::slice::from_ref(&adopted))
            .iter()
            .filter(|issue| issue.is_error())
            .map(Issue::line)
            .collect();
        if patient != exchange.patient.as_ref().map(|id| format!("Patient/{id}")) {
            wrong.push(
                "Procedure.subject — rör en annan patient än begäran | is about another patient than the request"
                    .into(),
            );
        }
        if exchange.entered_in_error {
            wrong.push("Procedure.basedOn — begäran är återtagen | the request was retracted".into());
        }
        if !wrong.is_empty() {
            round.held += 1;
            hold(gateway, &heard, Some(exchange.id), wrong.join("\n"), now).await?;
            return Ok(true);
        }
        let wanted: Vec<String> = exchange.resources.iter().chain([&ours]).cloned().collect();
        let found = current(store.resources(&Filter::ALL, &wanted).await?);
        let commit = commit_of(gateway, &exchange, partner, &ours, &adopted, &found, &heard, now);
        let is_news = !commit.put.is_empty();
        match store.commit(commit).await? {
            Committed::Done { .. } => {
                gateway.wake.notify_one();
                round.applied += usize::from(is_news);
                return Ok(true);
            }
            Committed::Conflict(Expect::Unheard { .. }) => return Ok(true),
            Committed::Conflict(_) => {}
        }
    }
    Ok(false)
}

#[expect(clippy::too_many_arguments, reason = "all of it is in the commit")]
fn commit_of(
    gateway: &Gateway,
    exchange: &Exchange,
    partner: &str,
    name: &str,
    adopted: &Value,
    found: &Current,
    heard: &Heard<'_>,
    now: DateTime<Utc>,
) -> Commit {
    let mut after = Exchange { revision: exchange.revision + 1, updated_at: now, ..exchange.clone() };
    if !after.resources.iter().any(|own| own == name) {
        after.resources.push(name.to_owned());
    }
    let units = after.units();
    let mut weighed = Weighed::default();
    let scale = Scale { now, patient: after.patient.as_deref(), units: &units, exchange: Some(after.id) };
    scale.add(adopted, found, &mut weighed);
    let said = Inbound {
        partner: partner.to_owned(),
        key: heard.key.to_owned(),
        exchange: Some(after.id),
        at: now,
        body: heard.body.to_vec(),
        finding: None,
    };
    let mut commit = Commit { put: weighed.put, expect: weighed.expect, inbound: vec![said], ..Commit::default() };
    commit.expect.push(Expect::Unheard { partner: partner.to_owned(), key: heard.key.to_owned() });
    if commit.put.is_empty() {
        return commit;
    }
    commit.expect.push(Expect::Revision { exchange: exchange.id, revision: exchange.revision });
    commit.deliveries = report(gateway, &after, partner, adopted, found, now);
    let sender = after.sender().filter(|sender| sender.partner != partner);
    commit.deliveries.extend(notices(gateway, &after, sender.into_iter(), News::Change, now));
    let event = Event::new(now, By::named(partner), Deed::Sync, name.to_owned())
        .with("exchange", after.id.to_string())
        .with("partner", partner);
    commit.audit.push(witness::wrote(event, &commit));
    commit.exchanges.push(after);
    commit
}

/// To the sender's own server, where it has one.
fn report(
    gateway: &Gateway,
    exchange: &Exchange,
    partner: &str,
    adopted: &Value,
    found: &Current,
    now: DateTime<Utc>,
) -> Vec<Delivery> {
    let sender = exchange.sender().filter(|s| s.partner != partner && is_pushed(gateway, &s.partner));
    let Some(sender) = sender else { return Vec::new() };
    let carried = ["Patient", "Organization", "ServiceRequest", "CarePlan"];
    let carries = |name: &&String| carried.iter().any(|kind| name.starts_with(&format!("{kind}/")));
    let mut resources: Vec<Value> =
        exchange.resources.iter().filter(carries).filter_map(|name| found.get(name)).map(|(_, v)| v.clone()).collect();
    resources.push(adopted.clone());
    let address = Address::of(exchange, sender, now);
    vec![package::bundle(gateway, &address, &resources, TaskMode::CreateOnce, None)]
}
