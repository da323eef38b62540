//! What a client's agreement makes of what goes out to it: the one place that every exported and every compared resource passes,
//! and that says which patients came to or left the client for other reasons than the resources themselves.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use super::form::Form;
use crate::Gateway;
use crate::access::{Caller, Reach};
use crate::fhir::about::is_definition;
use crate::fhir::protection::{conceal, is_protected};
use crate::fhir::resource::visit_references;
use crate::store::{Disclosed, Given, Membership, StoreError};

/// The terms of one client.
#[derive(Debug, Clone)]
pub enum Terms {
    /// Everything as it is: the operator on this machine.
    Whole,
    /// Units: where a person with a protected identity lives is kept from them.
    Care,
    /// A registry, in the form of its agreement.
    Registry {
        name: String,
        form: Form,
        before: Vec<Form>,
        year: i32,
        /// Which Patient stands for which, where a person has several numbers: for a registry it is one.
        joined: Arc<HashMap<String, String>>,
    },
    /// A registry without an agreement, or without a key: nothing.
    Nothing,
}

impl Terms {
    pub fn of(gateway: &Gateway, caller: &Caller, now: DateTime<Utc>) -> Self {
        match &caller.reach {
            _ if caller.is_operator() => Self::Whole,
            Reach::Everything | Reach::Units(_) => Self::Care,
            Reach::Registry(name) => {
                let Some(registry) = gateway.config.registry(name) else { return Self::Nothing };
                let mut before = Form::ever(gateway, &registry, None);
                let Some(form) = before.pop() else { return Self::Nothing };
                Self::Registry { name: name.clone(), form, before, year: now.year(), joined: Arc::default() }
            }
        }
    }

    /// The same, with who was one person at that commit: an export that goes on later writes the same bytes.
    pub async fn joined_at(mut self, gateway: &Gateway, seq: i64) -> Result<Self, StoreError> {
        if let Self::Registry { joined, .. } = &mut self {
            *joined = Arc::new(gateway.store.joined_at(seq).await?);
        }
        Ok(self)
    }

    /// Whether a resource of that type may go out as other bytes than those that are stored, or not at all.
    pub fn alters(&self, resource_type: &str) -> bool {
        match self {
            Self::Whole => false,
            Self::Care => matches!(resource_type, "Patient" | "RelatedPerson"),
            Self::Registry { form, joined, .. } => form.changes(resource_type) || !joined.is_empty(),
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
            Self::Registry { form, year, joined, .. } if !joined.is_empty() && resource_type != "Patient" => {
                let mut resource: Value = serde_json::from_slice(body).ok()?;
                join(&mut resource, joined);
                let body = resource.to_string().into_bytes();
                match form.changes(resource_type) {
                    true => form.write(resource_type, &body, *year).map(Cow::Owned),
                    false => Some(Cow::Owned(body)),
                }
            }
            // What a person with several numbers has nothing to do with goes as it is.
            Self::Registry { form, .. } if !form.changes(resource_type) => Some(Cow::Borrowed(body)),
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

    /// Every id by which the client may know a resource that it has got: codes of before the key was changed too.
    pub fn ever_known_as(&self, resource_type: &str, id: &str) -> Vec<String> {
        let before = match self {
            Self::Registry { before, .. } if !is_definition(resource_type) => before.as_slice(),
            _ => &[],
        };
        let now = self.known_as(resource_type, id).into_owned();
        before.iter().map(|form| form.id(resource_type, id)).chain([now]).collect()
    }

    /// The record that these resources went out, where the client is a registry: it may have to erase them.
    pub fn disclosed(&self, rows: Vec<i64>, at: DateTime<Utc>) -> Option<Disclosed> {
        let Self::Registry { name, form, .. } = self else { return None };
        let key = form.key().map(str::to_owned);
        (!rows.is_empty()).then(|| Disclosed { registry: name.clone(), what: Given::Rows(rows), key, at })
    }

    /// Patients of whom everything is to go out ([`Membership::New`]) or to be erased ([`Membership::Left`]) because of what was
    /// decided after that commit.
    pub async fn changes(&self, gateway: &Gateway, since: i64) -> Result<Vec<(String, Membership)>, StoreError> {
        let Self::Registry { name, .. } = self else { return Ok(Vec::new()) };
        let mut returned = gateway.store.returned_since(name, since).await?;
        returned.extend(gateway.store.informed_since(name, since).await?);
        let left = gateway.store.objected_since(name, since).await?;
        let returned = returned.into_iter().map(|patient| (patient, Membership::New));
        Ok(returned.chain(left.into_iter().map(|patient| (patient, Membership::Left))).collect())
    }

    /// Whether somebody who may be in what was made ready of what stood at that commit has objected since: then it must not go
    /// out.
    pub async fn is_outdated(&self, gateway: &Gateway, seq: i64) -> Result<bool, StoreError> {
        match self {
            // Nor is what was written under a number that is another person's, or this person's no more.
            Self::Registry { name, .. } => Ok(!gateway.store.objected_since(name, seq).await?.is_empty()
                || !gateway.store.linked_since(seq).await?.is_empty()),
            Self::Nothing => Ok(true),
            Self::Whole | Self::Care => Ok(false),
        }
    }
}

/// Points what refers to a replaced Patient at the one that stands for the person now. The replaced one keeps its own id: by that
/// the registry is told to erase it.
fn join(resource: &mut Value, joined: &HashMap<String, String>) {
    if joined.is_empty() || resource["resourceType"] == "Patient" {
        return;
    }
    visit_references(resource, &mut |reference| {
        let target = reference.get("reference").and_then(Value::as_str).and_then(|r| r.strip_prefix("Patient/"));
        if let Some(new) = target.and_then(|old| joined.get(old)) {
            reference.insert("reference".into(), Value::from(format!("Patient/{new}")));
        }
    });
}
