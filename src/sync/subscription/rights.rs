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
        let speaks = |client: &&Arc<Client>| {
            // Another system of the unit does not keep it alive; of before it is not known which it was.
            let is_it = caller.client.as_ref().is_none_or(|id| client.id == *id);
            let is_meant = is_it && (client.id == caller.name || is_unit && allows(client, &caller.name));
            client.purpose == Purpose::Care && client.partner.as_ref() == Some(&partner) && is_meant
        };
        let agreed = config.agreements.now();
        let clients: Vec<&Arc<Client>> = agreed.clients.iter().filter(speaks).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::write_caller;
    use crate::config::Config;
    use crate::store::Extent;

    const SOUTH: &str = "SE2321000131-E000000000203";

    /// What a caller that was kept may do under these settings.
    fn under(settings: &str, caller: &Caller) -> Option<Caller> {
        let folder = std::env::temp_dir().join(format!("vardkedja-rights-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("gateway.toml");
        std::fs::write(&file, format!("[gateway]\ndb = \"g.db\"\n{settings}")).unwrap();
        let gateway = Gateway::open(Config::load(Some(&file)).unwrap()).unwrap();
        let revived = revive(&gateway, &write_caller(caller), Utc::now());
        drop(gateway);
        std::fs::remove_dir_all(folder).unwrap();
        revived
    }

    fn caller(name: &str, scopes: Option<&str>) -> Caller {
        Caller {
            client: None,
            name: name.into(),
            partner: Some("reader".into()),
            reach: Reach::Units(vec![SOUTH.into()]),
            purpose: Purpose::Care,
            scopes: scopes.map(|text| scope::read(text).into()),
            grants: None,
        }
    }

    fn partner(more: &str) -> String {
        format!("[[partner]]\nname = \"reader\"\nchannel = \"poll\"\n{more}\n")
    }

    fn client(more: &str) -> String {
        let client = "[[client]]\nid = \"c\"\nname = \"C\"\nhsa_id = \"SE2321000131-E000000000203\"\npurpose = \"care\"\npartner = \"reader\"\njwks_file = \"c.json\"";
        format!("{}{client}\n{more}\n", partner(""))
    }

    fn may(caller: &Caller, kind: &str, right: Right) -> bool {
        caller.grants.as_ref().is_none_or(|grants| grants.extent(kind, right) != Extent::Nothing)
    }

    #[test]
    fn a_subscriber_is_never_wider_than_it_was_nor_than_what_is_agreed_today() {
        let both = caller("c", Some("system/Task.rs system/CarePlan.rs"));
        let agreed = |scopes: &str| under(&client(&format!("scopes = [{scopes}]")), &both);
        let all = agreed("\"system/*.cruds\"").unwrap();
        assert!(
            may(&all, "Task", Right::Search) && may(&all, "CarePlan", Right::Read) && !may(&all, "Goal", Right::Read)
        );
        let less = agreed("\"system/Task.s\"").unwrap();
        assert!(
            may(&less, "Task", Right::Search)
                && !may(&less, "Task", Right::Read)
                && !may(&less, "CarePlan", Right::Search)
        );
        assert!(agreed("\"system/Procedure.rs\"").is_none(), "nothing of it is agreed any more");
        let other = caller("gone", Some("system/Task.rs"));
        assert!(under(&client("scopes = [\"system/*.cruds\"]"), &other).is_none(), "the client is gone");
        let unit = caller(SOUTH, Some("system/Task.rs"));
        assert!(under(&client("scopes = [\"system/*.cruds\"]"), &unit).is_some(), "by the name of its unit");
    }

    #[test]
    fn a_partner_without_keys_and_a_unit_that_changed_hands_are_told_no_more() {
        let own = caller("reader", None);
        assert!(under(&partner(""), &own).is_some(), "where nobody has to log in");
        assert!(under(&partner("jwks_file = \"k.json\""), &own).is_some());
        let keys_elsewhere =
            format!("{}[[partner]]\nname = \"x\"\nchannel = \"poll\"\njwks_file = \"k.json\"", partner(""));
        assert!(under(&keys_elsewhere, &own).is_none());
        let moved = Caller { reach: Reach::Units(vec!["SE2321000131-E000000000202".into()]), ..own.clone() };
        assert!(under(&partner(""), &moved).is_none(), "another partner serves the unit");
        let registry = Caller { reach: Reach::Registry("r".into()), ..own };
        assert!(under(&partner(""), &registry).is_none());
    }
}
