//! What a subscriber may be told now: what its caller could see when it subscribed, as far as the settings still say so. What of that
//! it may see is for the store to decide, event by event.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::Gateway;
use crate::access::{Caller, Purpose, Reach, Scope, read_caller, scope};
use crate::config::Client;
use crate::domain::subscription::Payload;
use crate::store::{Eyes, Right, Subscription};

/// The subscriber, and what it sees with.
pub(super) struct Standing {
    pub(super) caller: Caller,
    pub(super) eyes: Eyes,
}

/// `None` where nothing is agreed with it any more.
pub(super) fn standing(gateway: &Gateway, subscription: &Subscription, now: DateTime<Utc>) -> Option<Standing> {
    let caller = revive(gateway, &subscription.caller, now)?;
    let rights = rights(subscription.channel.payload);
    Some(Standing { eyes: Eyes { filter: caller.filter(), rights }, caller })
}

/// To be told of something is to have searched for it; to get it whole is to read it.
pub(super) fn rights(payload: Payload) -> Vec<Right> {
    match payload {
        Payload::Empty | Payload::IdOnly => vec![Right::Search],
        Payload::FullResource => vec![Right::Search, Right::Read],
    }
}

/// The caller again, no wider than it was and no wider than what is agreed today.
fn revive(gateway: &Gateway, kept: &str, now: DateTime<Utc>) -> Option<Caller> {
    let config = &gateway.config;
    let mut caller = read_caller(kept)?;
    let partner = caller.partner.clone()?;
    let Reach::Units(units) = &caller.reach else { return None };
    let serves = |unit: &&String| config.directory.find(unit).is_some_and(|known| known.partner == partner);
    let mut units: Vec<String> = units.iter().filter(serves).cloned().collect();
    if config.is_authenticated() {
        let allows = |client: &Client, unit: &str| {
            client.units.as_ref().is_none_or(|units| units.iter().any(|u| u.eq_ignore_ascii_case(unit)))
        };
        let is_unit = config.directory.find(&caller.name).is_some();
        let speaks = |client: &&Client| {
            let is_meant = client.id == caller.name || is_unit && allows(client, &caller.name);
            client.purpose == Purpose::Care && client.partner.as_ref() == Some(&partner) && is_meant
        };
        let clients: Vec<&Client> = config.clients.iter().filter(speaks).collect();
        units.retain(|unit| clients.iter().any(|client| allows(client, unit)));
        caller.scopes = match &caller.scopes {
            // A partner's own token without scopes is good for all that its units may do, as long as the partner has keys.
            None => clients.iter().any(|client| client.id == partner).then_some(None)?,
            Some(scopes) => {
                let text = scope::write(scopes);
                let mut agreed: Vec<Scope> = Vec::new();
                for scope in clients.iter().flat_map(|client| scope::grant(&client.scopes, Some(&text))) {
                    if !agreed.contains(&scope) {
                        agreed.push(scope);
                    }
                }
                (!agreed.is_empty()).then(|| Some(Arc::from(agreed)))?
            }
        };
    }
    if units.is_empty() {
        return None;
    }
    caller.reach = Reach::Units(units);
    Some(caller.narrowed(&gateway.compiled, &gateway.reader(now)))
}
