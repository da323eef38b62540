//! What a client's agreement makes of what goes out to it: the one place that every exported and every compared resource passes,
//! and that says which patients came to or left the client for other reasons than the resources themselves.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use super::form::Form;
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::store::{Deed, Disclosed, Membership, StoreError};

/// The terms of one client.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    registry: Option<Agreement>,
}

/// A registry's own.
#[derive(Debug, Clone)]
struct Agreement {
    name: String,
    /// `None`: there is no key to code by, and nothing goes out.
    form: Option<Form>,
    year: i32,
}

impl Terms {
    /// `at`: when it was asked for; what is written again after a crash is the same.
    pub fn of(gateway: &Gateway, caller: &Caller, at: DateTime<Utc>) -> Self {
        let Reach::Registry(name) = &caller.reach else { return Self::default() };
        let form = gateway.config.registry(name).and_then(|registry| Form::of(gateway, registry, None));
        Self { registry: Some(Agreement { name: name.clone(), form, year: at.year() }) }
    }

    /// The resource as the client gets it; `None` where it gets nothing of it.
    pub fn outgoing<'b>(&self, resource_type: &str, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        let Some(Agreement { form, year, .. }) = &self.registry else { return Some(Cow::Borrowed(body)) };
        let form = form.as_ref()?;
        if !form.changes(resource_type) {
            return Some(Cow::Borrowed(body));
        }
        let resource: Value = serde_json::from_slice(body).ok()?;
        Some(Cow::Owned(form.write(&resource, *year)?.to_string().into_bytes()))
    }

    /// The id by which the client knows a resource.
    pub fn known_as<'i>(&self, resource_type: &str, id: &'i str) -> Cow<'i, str> {
        match self.registry.as_ref().and_then(|agreement| agreement.form.as_ref()) {
            Some(form) => Cow::Owned(form.id(resource_type, id)),
            None => Cow::Borrowed(id),
        }
    }

    /// Whether it goes on record of each resource that the client has got it: so that it can be told to erase it.
    pub fn remembers(&self) -> bool {
        self.registry.is_some()
    }

    /// What goes on record of resources (`Type/id`) that are handed over.
    pub fn disclosed(&self, resources: Vec<String>, at: DateTime<Utc>) -> Vec<Deed> {
        let Some(Agreement { name, form, .. }) = self.registry.as_ref().filter(|_| !resources.is_empty()) else {
            return Vec::new();
        };
        let key = form.as_ref().and_then(Form::key).map(str::to_owned);
        vec![Deed::Disclosed(Disclosed { registry: name.clone(), resources, key, at })]
    }

    /// Patients of whom everything is to go out ([`Membership::New`]) or to be erased ([`Membership::Left`]) because of what was
    /// decided since then.
    pub async fn changes(
        &self,
        gateway: &Gateway,
        since: DateTime<Utc>,
    ) -> Result<Vec<(String, Membership)>, StoreError> {
        let Some(Agreement { name, .. }) = &self.registry else { return Ok(Vec::new()) };
        let objected = gateway.store.objected_since(name, since).await?;
        let returned = gateway.store.returned_since(name, since).await?;
        let left = objected.iter().cloned().map(|patient| (patient, Membership::Left));
        let new = returned.into_iter().filter(|patient| !objected.contains(patient));
        Ok(left.chain(new.map(|patient| (patient, Membership::New))).collect())
    }

    /// Whether a patient has objected since what was made then was made: it holds what must not go out any more.
    pub async fn is_overtaken(&self, gateway: &Gateway, made_at: DateTime<Utc>) -> Result<bool, StoreError> {
        let Some(Agreement { name, .. }) = &self.registry else { return Ok(false) };
        Ok(!gateway.store.objected_since(name, made_at).await?.is_empty())
    }
}
