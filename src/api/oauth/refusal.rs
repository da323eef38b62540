//! Refusals as RFC 6749, 5.2 has them: a code, and a sentence that says what to mend. The statuses are the standard's own.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::super::problem::Problem;
use super::private;
use crate::access::attempts::TooMany;
use crate::access::grant::{Fault, Refused};
use crate::sync::Refusal as Fallen;

/// When a client that has used too many assertions should come back, in seconds.
const RETRY_AFTER_S: u32 = 60;

/// A request at a door of OAuth that is answered with what is wrong.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    description: String,
    retry_after_s: u32,
    /// It was known who asked.
    is_proved: bool,
}

impl Refusal {
    /// 400 for a form that cannot be used.
    pub fn form(description: impl Into<String>) -> Self {
        Self { description: description.into(), ..Self::of(Fault::InvalidRequest) }
    }

    pub fn of(fault: Fault) -> Self {
        let status = match fault {
            Fault::InvalidClient => StatusCode::UNAUTHORIZED,
            Fault::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Fault::InvalidRequest | Fault::InvalidScope | Fault::UnsupportedGrantType => StatusCode::BAD_REQUEST,
        };
        let is_proved = matches!(fault, Fault::InvalidScope | Fault::TooMany);
        Self { status, code: fault.code(), description: String::new(), retry_after_s: RETRY_AFTER_S, is_proved }
    }

    /// So many attempts have failed that no more are looked at now.
    pub fn too_many(TooMany(retry_after_s): TooMany) -> Self {
        let why =
            "too many attempts that failed came from this source, or from all (oauth.attempts, oauth.attempts_all)";
        Self { retry_after_s, is_proved: false, ..Self::of(Fault::TooMany) }.with(why)
    }

    /// Whether the client had proved who it is when it was refused.
    pub fn is_proved(&self) -> bool {
        self.is_proved
    }

    pub fn with(self, description: impl Into<String>) -> Self {
        Self { description: description.into(), ..self }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Fault(fault, why) => Self::of(fault).with(why),
            Refused::Store(error) => Problem::from(Fallen::from(error)).into(),
            Refused::Signing(error) => Problem::fault(&error.to_string()).into(),
        }
    }
}

/// What every route refuses, in this shape: a body that is too long or slow, a store that is full.
impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = match problem.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "invalid_client",
            status if status.is_server_error() => "server_error",
            StatusCode::TOO_MANY_REQUESTS => "temporarily_unavailable",
            _ => "invalid_request",
        };
        let (status, description) = (problem.status(), problem.english().to_owned());
        Self { status, code, description, retry_after_s: RETRY_AFTER_S, is_proved: false }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        // RFC 6749 has no other characters in a description; in JSON they would do no harm, in a log of a client's they might.
        let plain = |c: char| if c == '"' || c == '\\' { '\'' } else { c };
        let description: String = self.description.chars().map(plain).collect();
        let mut response = private(self.status, &json!({ "error": self.code, "error_description": description }));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(self.retry_after_s));
        }
        response
    }
}
