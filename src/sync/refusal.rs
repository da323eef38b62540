//! Why a request was not carried out. Nothing was written; the sender keeps its document and knows what to mend.

use crate::fhir::issue::{Code, Issue};
use crate::store::StoreError;

/// A request that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no document: 400.
    #[error("the body cannot be read")]
    Malformed(Vec<Issue>),
    /// The document has errors: 422.
    #[error("the document has errors")]
    Findings(Vec<Issue>),
    /// The caller may not do this: 403.
    #[error("the caller may not do this")]
    Forbidden(Issue),
    /// What was asked for is not there, or not for this caller: 404.
    #[error("there is no such thing")]
    Missing(Issue),
    /// It contradicts what is already stored: 409.
    #[error("it contradicts what is stored")]
    Conflict(Issue),
    /// The version given is not the current one: 412.
    #[error("the version is stale")]
    Stale(Issue),
    /// The Idempotency-Key was used with another request: 422.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// Too much is waiting, or others were faster every time: 429, nothing was accepted.
    #[error("too busy")]
    Busy,
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl Refusal {
    /// What was found, where findings are the reason.
    pub fn issues(&self) -> &[Issue] {
        match self {
            Self::Malformed(issues) | Self::Findings(issues) => issues,
            Self::Forbidden(issue) | Self::Missing(issue) | Self::Conflict(issue) | Self::Stale(issue) => {
                std::slice::from_ref(issue)
            }
            Self::KeyReused | Self::Busy | Self::Store(_) => &[],
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            other => Self::Store(other),
        }
    }
}

/// There is no such thing, or it is none of the caller's business: the same answer, so that nothing leaks.
pub fn missing(what: &str) -> Refusal {
    Refusal::Missing(Issue::error(
        Code::NotFound,
        what,
        "Finns inte, eller rör inte den anropande enheten.",
        "Does not exist, or does not concern the calling unit.",
    ))
}
