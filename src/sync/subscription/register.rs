//! Takes subscriptions in, changes and ends them: only care systems, only what their scopes cover, only endpoints that were agreed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::rights::rights;
use super::{Kept, said, trouble};
use crate::Gateway;
use crate::access::{Caller, Operation, Purpose, Reach, write_caller};
use crate::domain::audit::Deed;
use crate::domain::subscription::Status;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::subscription::{Asked, Shown, read, write};
use crate::store::{Commit, Committed, Expect, Hook, Subscription, SubscriptionChange, SubscriptionOrder};
use crate::sync::refusal::missing;
use crate::sync::{Refusal, TRIES, witness};

/// Makes a subscription. It hears of what is committed after it; its endpoint is asked at once.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<Subscription, Refusal> {
    check_owner(caller)?;
    let asked = read(body, &gateway.conformance.topics, &gateway.reader(now)).map_err(Refusal::Findings)?;
    if asked.status == Status::Off {
        let (sv, en) = ("En ny prenumeration är requested.", "A new subscription is requested.");
        return Err(finding("status", sv, en));
    }
    let order = order(gateway, caller, Uuid::new_v4(), &asked, Vec::new(), now)?;
    let most = gateway.config.subscriptions.per_client;
    let commit = Commit {
        expect: vec![Expect::SubscriptionRoom { client: caller.name.clone(), most }],
        audit: vec![row(gateway, caller, "create", &order, now).into()],
        subscriptions: vec![SubscriptionChange::Begin(Box::new(order.clone()))],
        ..Commit::default()
    };
    if let Committed::Conflict(_) = gateway.store.commit(commit).await? {
        let sv = format!("Högst {most} prenumerationer (subscriptions.per_client); ta bort någon.");
        let en = format!("At most {most} subscriptions (subscriptions.per_client); delete one.");
        return Err(finding("", &sv, &en));
    }
    gateway.subscriptions.changed();
    own(gateway, caller, order.id).await
}

/// The caller's own; another's does not exist.
pub async fn own(gateway: &Gateway, caller: &Caller, id: Uuid) -> Result<Subscription, Refusal> {
    check_owner(caller)?;
    let found = gateway.store.subscription(id).await?;
    found.filter(|found| found.client == caller.name).ok_or_else(|| missing("Subscription"))
}

/// A page of the caller's own, behind that one, the first made first.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Subscription>, Refusal> {
    check_owner(caller)?;
    let after = match after {
        Some(id) => Some(own(gateway, caller, id).await.map(|found| (found.created_at, found.id))?),
        None => None,
    };
    Ok(gateway.store.subscriptions_of(&caller.name, after, limit).await?)
}

/// Changes where and how it is told, ends it (`off`) or begins it again (anything else: the endpoint is asked anew). Headers that are
/// not given stay: nobody can read them to give them again.
pub async fn revise(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    body: &Value,
    version: Option<u32>,
    now: DateTime<Utc>,
) -> Result<Subscription, Refusal> {
    for _ in 0..TRIES {
        let before = own(gateway, caller, id).await?;
        if version.is_some_and(|version| version != before.version) {
            let (sv, en) =
                ("Prenumerationen har ändrats; läs den igen.", "The subscription has changed; read it again.");
            return Err(Refusal::Stale(Issue::error(Code::Conflict, "If-Match", sv, en)));
        }
        let mut commit = revision(gateway, caller, &before, body, now)?;
        trouble::end(gateway, &mut commit, id, now).await?;
        if let Committed::Done { .. } = gateway.store.commit(commit).await? {
            gateway.subscriptions.changed();
            return own(gateway, caller, id).await;
        }
    }
    Err(Refusal::Busy)
}

fn revision(
    gateway: &Gateway,
    caller: &Caller,
    before: &Subscription,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<Commit, Refusal> {
    if body.get("id").is_some_and(|named| *named != before.id.to_string()) {
        return Err(finding("id", "Kroppens id är inte adressens.", "The id of the body is not that of the address."));
    }
    let asked = read(body, &gateway.conformance.topics, &gateway.reader(now)).map_err(Refusal::Findings)?;
    let kept = Kept::read(&before.asked);
    if asked.topic != before.topic || asked.filters != kept.filters {
        let sv = "Ämne och filter ändras inte: numren skulle betyda något annat. Gör en ny prenumeration.";
        let en = "Topic and filters do not change: the numbers would mean something else. Make a new subscription.";
        return Err(finding("criteria", sv, en));
    }
    let mut order = order(gateway, caller, before.id, &asked, before.channel.headers.clone(), now)?;
    // What it is about stays as it was written.
    order.asked.clone_from(&before.asked);
    let change = if order.status == Status::Off { "off" } else { "change" };
    Ok(Commit {
        audit: vec![row(gateway, caller, change, &order, now).into()],
        subscriptions: vec![SubscriptionChange::Revise { order: Box::new(order), version: before.version }],
        ..Commit::default()
    })
}

/// Ends it with all its numbers. That it was stays in the audit log.
pub async fn remove(gateway: &Gateway, caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Result<(), Refusal> {
    let found = own(gateway, caller, id).await?;
    let event = witness::did(gateway, caller, Deed::Subscribe, format!("subscription/{id}"), now)
        .with("change", "delete")
        .with("topic", found.topic.as_str())
        .about([]);
    let mut commit = Commit {
        audit: vec![event.into()],
        subscriptions: vec![SubscriptionChange::Remove { id }],
        ..Commit::default()
    };
    trouble::end(gateway, &mut commit, id, now).await?;
    if let Committed::Conflict(_) = gateway.store.commit(commit).await? {
        return Err(missing("Subscription"));
    }
    gateway.subscriptions.ended(id);
    Ok(())
}

/// The resource, without its secrets.
pub fn shown(subscription: &Subscription) -> Value {
    let kept = Kept::read(&subscription.asked);
    let channel = &subscription.channel;
    write(&Shown {
        id: &subscription.id.to_string(),
        version: subscription.version,
        updated_at: &said(subscription.updated_at),
        status: subscription.status,
        error: subscription.error.as_deref(),
        end: subscription.end_at.map(said),
        topic: &subscription.topic,
        filters: &kept.filters,
        reason: &kept.reason,
        contact: kept.contact.as_ref(),
        endpoint: &channel.endpoint,
        payload: channel.payload,
        heartbeat_s: channel.heartbeat_s,
        timeout_s: channel.timeout_s,
        max_count: channel.max_count,
    })
}

/// Care systems have units, and units see what concerns them. A registry gets what it may have by `$export`, in the form of its
/// agreement; who runs the gateway sees to its worklist.
fn check_owner(caller: &Caller) -> Result<(), Refusal> {
    if caller.purpose == Purpose::Care && caller.partner.is_some() && matches!(caller.reach, Reach::Units(_)) {
        return Ok(());
    }
    let sv =
        "Prenumerationer är till för vårdens system: ett register hämtar med $export, och driften har sin arbetslista.";
    let en = "Subscriptions are for care systems: a registry fetches by $export, and operations have their worklist.";
    Err(Refusal::Forbidden(Issue::error(Code::Forbidden, "Subscription", sv, en)))
}

fn finding(at: &str, sv: &str, en: &str) -> Refusal {
    Refusal::Findings(vec![issue(at, sv, en)])
}

fn issue(at: &str, sv: &str, en: &str) -> Issue {
    let place = if at.is_empty() { "Subscription".to_owned() } else { format!("Subscription.{at}") };
    Issue::error(Code::BusinessRule, place, sv, en)
}

/// What was read, held against what was agreed; `headers` are those that it has already.
fn order(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    asked: &Asked,
    headers: Vec<String>,
    now: DateTime<Utc>,
) -> Result<SubscriptionOrder, Refusal> {
    let bounds = &gateway.config.subscriptions;
    let types = gateway.conformance.topics.find(&asked.topic).map(|topic| topic.types()).unwrap_or_default();
    for right in rights(asked.channel.payload) {
        for kind in &types {
            caller.may(Operation::Fhir(right, kind)).map_err(Refusal::Forbidden)?;
        }
    }
    let mut found = Vec::new();
    let hooks = caller.partner.as_deref().and_then(|name| gateway.config.partner(name)).map_or(&[][..], |p| &p.hooks);
    let endpoint = hooks.iter().find_map(|hook| hook.covers(&asked.channel.endpoint));
    if endpoint.is_none() {
        let sv = "Adressen är inte överenskommen: den som driver gatewayen skriver in den under hooks för er part.";
        let en = "The address was not agreed: whoever runs the gateway enters it under hooks of your partner.";
        found.push(issue("channel.endpoint", sv, en));
    }
    if asked.channel.heartbeat_s.is_some_and(|s| s < bounds.heartbeat_min_s) {
        let least = bounds.heartbeat_min_s;
        let sv = format!("backport-heartbeat-period är minst {least} sekunder (subscriptions.heartbeat_min_s).");
        let en = format!("backport-heartbeat-period is at least {least} seconds (subscriptions.heartbeat_min_s).");
        found.push(issue("channel.extension", &sv, &en));
    }
    if asked.channel.timeout_s.is_some_and(|s| s > bounds.timeout_s) {
        let most = bounds.timeout_s;
        let sv = format!("backport-timeout är högst {most} sekunder (subscriptions.timeout_s).");
        let en = format!("backport-timeout is at most {most} seconds (subscriptions.timeout_s).");
        found.push(issue("channel.extension", &sv, &en));
    }
    if asked.channel.max_count.is_some_and(|n| n > bounds.max_count) {
        let most = bounds.max_count;
        let sv = format!("backport-max-count är högst {most} (subscriptions.max_count).");
        let en = format!("backport-max-count is at most {most} (subscriptions.max_count).");
        found.push(issue("channel.extension", &sv, &en));
    }
    let end_at = asked.end.and_then(DateTime::from_timestamp_millis);
    if end_at.is_some_and(|end| end <= now) && asked.status != Status::Off {
        found.push(issue("end", "Slutet har redan varit.", "The end has been already."));
    }
    let Some(endpoint) = endpoint.filter(|_| found.is_empty()) else { return Err(Refusal::Findings(found)) };
    let kept = Kept { filters: asked.filters.clone(), reason: asked.reason.clone(), contact: asked.contact.clone() };
    Ok(SubscriptionOrder {
        id,
        client: caller.name.clone(),
        caller: write_caller(caller),
        topic: asked.topic.clone(),
        asked: serde_json::to_string(&kept).unwrap_or_default(),
        channel: Hook {
            endpoint,
            headers: asked.channel.headers.clone().unwrap_or(headers),
            payload: asked.channel.payload,
            heartbeat_s: asked.channel.heartbeat_s,
            timeout_s: asked.channel.timeout_s.unwrap_or(bounds.timeout_s),
            max_count: asked.channel.max_count.unwrap_or(bounds.max_count),
        },
        status: asked.status,
        end_at,
        at: now,
    })
}

fn row(
    gateway: &Gateway,
    caller: &Caller,
    change: &str,
    order: &SubscriptionOrder,
    now: DateTime<Utc>,
) -> crate::domain::audit::Event {
    witness::did(gateway, caller, Deed::Subscribe, format!("subscription/{}", order.id), now)
        .with("change", change)
        .with("topic", order.topic.as_str())
        .with("payload", order.channel.payload.code())
        .about([])
}
