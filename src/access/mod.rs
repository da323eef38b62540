//! Who is calling, and for which units. Every read and write of the API passes through a [`Caller`].
//!
//! With keys configured, a caller shows a JWT that its partner signed. With none, the gateway listens on loopback only and
//! a caller may name its unit in the header `Vardkedja-Unit`; without it the caller is the operator of this machine.

pub mod grants;
pub mod keys;
pub mod operation;
pub mod scope;
pub mod token;
mod verified;

use std::sync::Arc;

use crate::config::Config;
use crate::domain::Directory;
use crate::fhir::search::Reader;
use crate::store::{Extent, Filter, Grants, Right};

pub use grants::{compile, served};
pub use keys::Keyring;
pub use operation::Operation;
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
    /// The same as the store compares it, once [`Self::narrowed`]; without that nothing is shown to who came with scopes.
    pub grants: Option<Arc<Grants>>,
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
            grants: None,
        }
    }

    /// A caller that speaks for one unit.
    pub fn unit(hsa_id: &str, directory: &Directory) -> Self {
        let hsa_id = hsa_id.to_ascii_uppercase();
        let partner = directory.find(&hsa_id).map(|u| u.partner.clone());
        Self {
            name: hsa_id.clone(),
            partner,
            reach: Reach::Units(vec![hsa_id]),
            purpose: Purpose::Care,
            scopes: None,
            grants: None,
        }
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
            grants: None,
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

    /// Whether it is the operator on this machine, where no access is configured: before it nothing is hidden. Whoever came
    /// with a token has scopes.
    pub fn is_operator(&self) -> bool {
        self.reach == Reach::Everything && self.purpose == Purpose::Operations && self.scopes.is_none()
    }

    /// With its scopes read. In care a token without scopes is good for all that its units may do; for any other purpose it is
    /// good for nothing.
    pub fn narrowed(mut self, reader: &Reader<'_>) -> Self {
        self.grants = match &self.scopes {
            Some(scopes) => Some(Arc::new(compile(scopes, self.purpose, reader))),
            None if self.is_operator() || self.purpose == Purpose::Care => None,
            None => Some(Arc::default()),
        };
        self
    }

    /// What the store may show it.
    pub fn filter(&self) -> Filter {
        match (&self.grants, &self.scopes) {
            (Some(grants), _) => self.within_reach().within(Arc::clone(grants)),
            (None, None) if self.is_operator() || self.purpose == Purpose::Care => self.within_reach(),
            (None, _) => Filter::nothing(),
        }
    }

    /// What it may use that right on.
    pub fn filter_to(&self, right: Right) -> Filter {
        self.filter().to(right)
    }

    /// What its organisation takes part in, whatever its scopes: for what follows from something that they allow.
    pub fn within_reach(&self) -> Filter {
        match &self.reach {
            Reach::Everything if self.is_operator() => Filter::ALL,
            // Figures and deliveries are no patient's affairs, and all that runs a gateway needs.
            Reach::Everything => Filter::units(Vec::new()),
            Reach::Units(units) => Filter::units(units.clone()),
            Reach::Registry(name) => Filter::registry(name.as_str()),
        }
    }

    /// Whether its scopes let it read every resource of the type that is in its reach.
    pub fn may_read_every(&self, resource_type: &str) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.extent(resource_type, Right::Read) == Extent::All)
    }

    /// Whose acts it gets counted: for who runs the gateway all of them, because what is counted names nobody.
    pub fn of_statistics(&self) -> Filter {
        if self.purpose == Purpose::Operations { Filter::ALL } else { self.filter() }
    }

    /// Whose deliveries it may see the state of: who runs the gateway has to see to all of them, and their bytes are shown to
    /// nobody.
    pub fn of_deliveries(&self) -> Filter {
        if self.purpose == Purpose::Operations { Filter::ALL } else { self.filter() }
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
    let scopes: Option<Arc<[Scope]>> = shown.scope.as_deref().map(|text| scope::read(text).into());
    let Some(hsa_id) = asked else {
        return Ok(Caller { scopes, ..Caller::partner(&shown.partner, &config.directory) });
    };
    let known = config.directory.find(hsa_id).filter(|u| u.partner == shown.partner);
    known.ok_or(Denied::UnknownUnit)?;
    Ok(Caller { partner: Some(shown.partner), scopes, ..Caller::unit(hsa_id, &config.directory) })
}
