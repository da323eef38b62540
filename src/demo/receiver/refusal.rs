//! How the receiver says no: a status and findings, answered as an OperationOutcome.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use super::answer::Answer;
use crate::fhir::issue::{Code, Issue, outcome};

#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub issues: Vec<Issue>,
}

impl Refusal {
    pub fn new(status: StatusCode, issue: Issue) -> Self {
        Self { status, issues: vec![issue] }
    }

    /// The request itself cannot be read.
    pub fn malformed(at: &str, sv: &str, en: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Issue::error(Code::Structure, at, sv, en))
    }

    /// JSON that is none, or not of the expected form. Says where, and never what: that may be somebody's data.
    pub fn unreadable(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let sv = format!("Innehållet kan inte läsas: rad {line}, tecken {column}.");
        let en = format!("The body cannot be read: line {line}, column {column}.");
        Self::malformed("", &sv, &en)
    }

    /// A search that cannot be understood.
    pub fn query(issues: Vec<Issue>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, issues }
    }

    pub fn unprocessable(issues: Vec<Issue>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, issues }
    }

    pub fn missing(at: &str) -> Self {
        let (sv, en) = ("Resursen finns inte.", "There is no such resource.");
        Self::new(StatusCode::NOT_FOUND, Issue::error(Code::NotFound, at, sv, en))
    }

    pub fn gone(at: &str) -> Self {
        let (sv, en) = ("Resursen är borttagen.", "The resource was deleted.");
        Self::new(StatusCode::GONE, Issue::error(Code::NotFound, at, sv, en))
    }

    /// A condition of the request does not hold: stale version or several matches.
    pub fn precondition(at: &str, code: Code, sv: &str, en: &str) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, Issue::error(code, at, sv, en))
    }

    pub fn method(at: &str) -> Self {
        let (sv, en) =
            ("Den åtgärden finns inte här; se /fhir/metadata.", "No such interaction here; see /fhir/metadata.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Issue::error(Code::NotSupported, at, sv, en))
    }

    /// A fault of ours, which the caller may try again.
    pub fn fault() -> Self {
        let (sv, en) = ("Internt fel.", "Internal error.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Issue::error(Code::Exception, "", sv, en))
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!(%error, "the receiver's database failed");
        Self::fault()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {} and {} findings", self.status.as_u16(), self.issues.len())
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        Answer::of(self.status, outcome(&self.issues)).into_response()
    }
}
