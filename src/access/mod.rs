//! Who is calling, and for which units. Every read and write of the API passes through a [`Caller`].
//!
//! With keys configured, a caller shows a token: one that it got here (`grant`), one that an outside issuer gave it, or a JWT that
//! it signed itself, as partners may. With none, the gateway listens on loopback only and
//! a caller may name its unit in the header `Vardkedja-Unit`; without it the caller is the operator of this machine.

mod assertion;
pub mod attempts;
pub mod certificate;
pub mod grant;
pub mod grants;
pub mod jwt;
mod kept;
pub mod keys;
pub mod operation;
mod refusals;
pub mod scope;
pub mod token;
mod verified;

use std::sync::Arc;

use crate::Gateway;
use crate::config::Client;
use crate::domain::{Directory, Unit};
use crate::fhir::search::Reader;
use crate::store::{Extent, Filter, Grants, Owner, Right};

pub use certificate::Certificate;
pub use grant::granted;
pub use grants::{Compiled, compile, served};
pub use kept::{read_caller, write_caller};
pub use keys::Keyring;
pub use operation::Operation;
pub use scope::Scope;
pub use token::Denied;

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is in the audit log and as owner of Idempotency-Keys: a unit's HSA-id, a partner's name, or `operator`.
    pub name: String,
    /// The client whose token it is, or the system that signed it: several may speak for one unit.
    pub client: Option<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
            client: None,
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
            client: None,
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
            client: Some(name.to_owned()),
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
            // Who comes with a token runs the gateway, and acts for no unit.
            Reach::Everything => self.scopes.is_none(),
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
    pub fn narrowed(mut self, compiled: &Compiled, reader: &Reader<'_>) -> Self {
        self.grants = match &self.scopes {
            Some(scopes) => Some(compiled.of(scopes, self.purpose, reader)),
            None if self.is_operator() || self.purpose == Purpose::Care => None,
            None => Some(Arc::default()),
        };
        self
    }

    /// The same as far as it is about these types.
    #[must_use]
    pub fn only(mut self, types: &[&str]) -> Self {
        self.grants = Some(Arc::new(self.grants.as_ref().map(|grants| grants.only(types)).unwrap_or_default()));
        self
    }

    /// Whose something is that it leaves here: its own, and not another system's of the same unit.
    pub fn owner(&self) -> Owner {
        Owner { name: self.name.clone(), client: self.client.clone() }
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

/// What a request shows of who makes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    pub authorization: Option<&'a str>,
    /// The unit that it wants to speak for.
    pub unit: Option<&'a str>,
    /// The certificate shown in the TLS connection.
    pub certificate: Option<&'a Certificate>,
}

/// Lets a caller in, or says why not. `now` is the time in seconds since 1970.
pub async fn admit(gateway: &Gateway, shown: Credentials<'_>, now: i64) -> Result<Caller, Denied> {
    let config = &gateway.config;
    if !config.is_authenticated() {
        return match shown.unit {
            Some(hsa_id) => {
                config.directory.find(hsa_id).ok_or(Denied::UnknownUnit)?;
                Ok(Caller::unit(hsa_id, &config.directory))
            }
            None => Ok(Caller::operator()),
        };
    }
    let bearer = shown.authorization.and_then(|header| header.split_once(' '));
    let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")).ok_or(Denied::NoToken)?.1;
    let said = token::verify(gateway, token.trim(), now).await?;
    let client = config.client(&said.client).ok_or(Denied::UnknownClient)?;
    let client = client.as_ref();
    if !shows(client, shown.certificate) {
        return Err(Denied::Certificate);
    }
    let (reach, name) = match said.unit.as_deref().or(shown.unit) {
        Some(hsa_id) => {
            let unit =
                config.directory.find(hsa_id).filter(|unit| speaks_for(client, unit)).ok_or(Denied::UnknownUnit)?;
            let hsa_id = unit.hsa_id.to_ascii_uppercase();
            (Reach::Units(vec![hsa_id.clone()]), hsa_id)
        }
        None => (reach(client, &config.directory)?, client.id.clone()),
    };
    let (partner, purpose) = (client.partner.clone(), client.purpose);
    Ok(Caller { name, client: Some(client.id.clone()), partner, reach, purpose, scopes: said.scopes, grants: None })
}

/// Whether the connection is with one of the client's certificates, where it is bound to them.
fn shows(client: &Client, certificate: Option<&Certificate>) -> bool {
    let bound = &client.certificates;
    bound.is_empty() || certificate.is_some_and(|shown| bound.iter().any(|binding| shown.is(binding)))
}

/// Whether the unit is one of the client's.
fn speaks_for(client: &Client, unit: &Unit) -> bool {
    client.purpose == Purpose::Care
        && client.partner.as_ref() == Some(&unit.partner)
        && client.units.as_ref().is_none_or(|units| units.iter().any(|u| u.eq_ignore_ascii_case(&unit.hsa_id)))
}

/// All that the client may reach.
fn reach(client: &Client, directory: &Directory) -> Result<Reach, Denied> {
    match client.purpose {
        Purpose::Care => {
            let partner = client.partner.as_deref().ok_or(Denied::UnknownClient)?;
            let own = directory.of_partner(partner).filter(|unit| speaks_for(client, unit));
            Ok(Reach::Units(own.map(|unit| unit.hsa_id.to_ascii_uppercase()).collect()))
        }
        Purpose::Registry => Ok(Reach::Registry(client.registry.clone().ok_or(Denied::UnknownClient)?)),
        Purpose::Operations => Ok(Reach::Everything),
    }
}
