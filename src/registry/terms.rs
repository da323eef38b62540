//! What a client's agreement makes of what goes out to it: the one place that every exported and every compared resource passes,
//! and that says which patients came to or left the client for other reasons than the resources themselves.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use super::form::Form;
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::fhir::protection::{conceal, is_protected};
use crate::store::{Disclosed, Given, Membership, StoreError};

/// The terms of one client.
#[derive(Debug, Clone)]
pub enum Terms {
    /// Everything as it is: the operator on this machine.
    Whole,
    /// Units: where a person with a protected identity lives is kept from them.
    Care,
    /// A registry, in the form of its agreement.
    Registry { name: String, form: Form, year: i32 },
    /// A registry without an agreement, or without a key: nothing.
    Nothing,
}

impl Terms {
    pub fn of(gateway: &Gateway, caller: &Caller, now: DateTime<Utc>) -> Self {
        match &caller.reach {
            _ if caller.is_operator() => Self::Whole,
            Reach::Everything | Reach::Units(_) => Self::Care,
            Reach::Registry(name) => {
                let form = gateway.config.registry(name).and_then(|registry| Form::of(gateway, registry, None));
                form.map_or(Self::Nothing, |form| Self::Registry { name: name.clone(), form, year: now.year() })
            }
        }
    }

    /// Whether a resource of that type may go out as other bytes than those that are stored, or not at all.
    pub fn alters(&self, resource_type: &str) -> bool {
        match self {
            Self::Whole => false,
            Self::Care => matches!(resource_type, "Patient" | "RelatedPerson"),
            Self::Registry { form, .. } => form.changes(resource_type),
            Self::Nothing => true,
        }
    }

    /// The resource as the client gets it; `None` where it gets nothing of it.
    pub fn outgoing<'b>(&self, resource_type: &str, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        if !self.alters(resource_type) {
            return Some(Cow::Borrowed(body));
        }
        match self {
            Self::Whole | Self::Nothing => None,
            Self::Care => {
                let mut person: Value = serde_json::from_slice(body).ok()?;
                if is_protected(&person) && conceal(&mut person) {
                    return Some(Cow::Owned(person.to_string().into_bytes()));
                }
                Some(Cow::Borrowed(body))
            }
            Self::Registry { form, year, .. } => form.write(resource_type, body, *year).map(Cow::Owned),
        }
    }

    /// The id by which the client knows a resource.
    pub fn known_as<'i>(&self, resource_type: &str, id: &'i str) -> Cow<'i, str> {
        match self {
            Self::Registry { form, .. } => Cow::Owned(form.id(resource_type, id)),
            Self::Whole | Self::Care | Self::Nothing => Cow::Borrowed(id),
        }
    }

    /// The record that these resources went out, where the client is a registry: it may have to erase them.
    pub fn disclosed(&self, rows: Vec<i64>, at: DateTime<Utc>) -> Option<Disclosed> {
        let Self::Registry { name, form, .. } = self else { return None };
        let key = form.key().map(str::to_owned);
        (!rows.is_empty()).then(|| Disclosed { registry: name.clone(), what: Given::Rows(rows), key, at })
    }

    /// Patients of whom everything is to go out ([`Membership::New`]) or to be erased ([`Membership::Left`]) because of what was
    /// decided since.
    pub async fn changes(
        &self,
        gateway: &Gateway,
        since: DateTime<Utc>,
    ) -> Result<Vec<(String, Membership)>, StoreError> {
        let Self::Registry { name, .. } = self else { return Ok(Vec::new()) };
        let mut returned = gateway.store.returned_since(name, since).await?;
        returned.extend(gateway.store.informed_since(name, since).await?);
        let left = gateway.store.objected_since(name, since).await?;
        let returned = returned.into_iter().map(|patient| (patient, Membership::New));
        Ok(returned.chain(left.into_iter().map(|patient| (patient, Membership::Left))).collect())
    }

    /// Whether somebody who may be in what was made ready for the client then has objected since: then it must not go out.
    pub async fn is_outdated(&self, gateway: &Gateway, made_at: DateTime<Utc>) -> Result<bool, StoreError> {
        match self {
            Self::Registry { name, .. } => Ok(!gateway.store.objected_since(name, made_at).await?.is_empty()),
            Self::Nothing => Ok(true),
            Self::Whole | Self::Care => Ok(false),
        }
    }
}
