//! What a client's agreement makes of what goes out to it: the one place that every exported and every compared resource passes,
//! and that says which patients came to or left the client for other reasons than the resources themselves.

use std::borrow::Cow;

use crate::Gateway;
use crate::access::Caller;
use crate::store::{Membership, StoreError};

/// The terms of one client.
#[derive(Debug, Clone, Default)]
pub struct Terms {}

impl Terms {
    pub fn of(_: &Gateway, _: &Caller) -> Self {
        Self {}
    }

    /// The resource as the client gets it; `None` where it gets nothing of it.
    pub fn outgoing<'b>(&self, _resource_type: &str, _id: &str, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        Some(Cow::Borrowed(body))
    }

    /// The id by which the client knows a resource.
    pub fn known_as<'i>(&self, _resource_type: &str, id: &'i str) -> Cow<'i, str> {
        Cow::Borrowed(id)
    }

    /// Patients of whom everything is to go out ([`Membership::New`]) or to be erased ([`Membership::Left`]) because of what was
    /// decided behind that commit.
    pub async fn changes(&self, _: &Gateway, _since: i64) -> Result<Vec<(String, Membership)>, StoreError> {
        Ok(Vec::new())
    }
}
