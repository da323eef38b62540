//! Who is calling, and for which units. Every read and write of the API passes through a [`Caller`].
//!
//! With keys configured, a caller shows a JWT that its partner signed. With none, the gateway listens on loopback only and
//! a caller may name its unit in the header `Vardkedja-Unit`; without it the caller is the operator of this machine.

pub mod keys;
pub mod scope;
pub mod token;
mod verified;

use std::sync::Arc;

use crate::config::Config;
use crate::domain::Directory;
use crate::store::Filter;

pub use keys::Keyring;
pub use scope::Scope;
pub use token::Denied;

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is in the audit log and as owner of Idempotency-Keys: a unit's HSA-id, a partner's name, or `operator`.
    pub name: String,
    /// The partner whose system is calling.
    pub partner: Option<String>,
    pub reach: Reach,
    pub purpose: Purpose,
    /// What its token covers. `None`: everything within its reach.
    pub scopes: Option<Arc<[Scope]>>,
}

/// What a caller's organisation gets things for; it decides which faces of the gateway are open to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Units that send, receive and answer.
    Care,
    /// A quality registry: what was done, as far as its agreement goes.
    Registry,
    /// Whoever runs the gateway: figures, deliveries and the log, and no document.
    Operations,
}

/// Which units' affairs are open to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The operator on this machine.
    Everything,
    /// HSA-ids in upper case.
    Units(Vec<String>),
    /// The quality registry of that name: every patient who has not opted out.
    Registry(String),
}

impl Caller {
    /// The operator: whoever can reach loopback where no access is configured.
    pub fn operator() -> Self {
        Self {
            name: "operator".into(),
            partner: None,
            reach: Reach::Everything,
            purpose: Purpose::Operations,
            scopes: None,
        }
    }

    /// A caller that speaks for one unit.
    pub fn unit(hsa_id: &str, directory: &Directory) -> Self {
        let hsa_id = hsa_id.to_ascii_uppercase();
        let partner = directory.find(&hsa_id).map(|u| u.partner.clone());
        Self { name: hsa_id.clone(), partner, reach: Reach::Units(vec![hsa_id]), purpose: Purpose::Care, scopes: None }
    }

    /// A partner's system, for all its units.
    pub fn partner(name: &str, directory: &Directory) -> Self {
        let units = directory.of_partner(name).map(|u| u.hsa_id.clone()).collect();
        Self {
            name: name.to_owned(),
            partner: Some(name.to_owned()),
            reach: Reach::Units(units),
            purpose: Purpose::Care,
            scopes: None,
        }
    }

    /// Whether the caller may act as this unit.
    pub fn may_act_for(&self, hsa_id: &str) -> bool {
        match &self.reach {
            Reach::Everything => true,
            Reach::Units(units) => units.iter().any(|u| u.eq_ignore_ascii_case(hsa_id)),
            Reach::Registry(_) => false,
        }
    }

    /// Whether the audit log is open to it: whoever runs the gateway, with a scope that says so. A scope that would show a
    /// part of the log only is none.
    pub fn may_read_log(&self) -> bool {
        let covers = |s: &Scope| s.is_about("AuditEvent") && s.rights.read && s.rights.search && s.criteria.is_empty();
        self.purpose == Purpose::Operations && self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(covers))
    }

    /// What the store may show it.
    pub fn filter(&self) -> Filter {
        match &self.reach {
            Reach::Everything => Filter::ALL,
            Reach::Units(units) => Filter::units(units.clone()),
            Reach::Registry(name) => Filter::registry(name.as_str()),
        }
    }
}

/// Lets a caller in, or says why not. `now` is the time in seconds since 1970.
pub async fn admit(
    config: &Config,
    keyring: &Keyring,
    authorization: Option<&str>,
    unit: Option<&str>,
    now: i64,
) -> Result<Caller, Denied> {
    if !config.is_authenticated() {
        return match unit {
            Some(hsa_id) => {
                config.directory.find(hsa_id).ok_or(Denied::UnknownUnit)?;
                Ok(Caller::unit(hsa_id, &config.directory))
            }
            None => Ok(Caller::operator()),
        };
    }
    let token = authorization.and_then(|h| h.strip_prefix("Bearer ")).ok_or(Denied::NoToken)?;
    let shown = token::verify(config, keyring, token.trim(), now).await?;
    let asked = shown.unit.as_deref().or(unit);
    let Some(hsa_id) = asked else { return Ok(Caller::partner(&shown.partner, &config.directory)) };
    let known = config.directory.find(hsa_id).filter(|u| u.partner == shown.partner);
    known.ok_or(Denied::UnknownUnit)?;
    Ok(Caller { partner: Some(shown.partner), ..Caller::unit(hsa_id, &config.directory) })
}
