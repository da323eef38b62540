//! Every refusal as an HTTP answer: one table of statuses, one shape (OperationOutcome).

use std::fmt;

use actix_web::error::BlockingError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use uuid::Uuid;

use super::ROUTES;
use super::fhir;
use super::observe::number;
use crate::access::Denied;
pub use crate::fhir::issue::told;
use crate::fhir::issue::{Code, Issue};
use crate::store::StoreError;
use crate::sync::Refusal;
use crate::sync::receipt::bounded_outcome;

/// The most findings in an answer where no configuration is at hand.
const MOST_FINDINGS: usize = 200;

/// A request that is answered with what is wrong.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    issues: Vec<Issue>,
    retry_after_s: Option<u32>,
    /// 405: the methods that are taken there.
    allow: Option<String>,
}

/// What a handler gives back.
pub type Answer = Result<HttpResponse, Problem>;

impl Problem {
    pub fn new(status: StatusCode, issue: Issue) -> Self {
        Self { status, issues: vec![issue], retry_after_s: None, allow: None }
    }

    /// Several findings under one status.
    pub fn all(status: StatusCode, issues: impl IntoIterator<Item = Issue>) -> Self {
        Self { status, issues: issues.into_iter().collect(), retry_after_s: None, allow: None }
    }

    /// 400 with where and what.
    pub fn bad_request(expression: &str, sv: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Issue::error(Code::Value, expression, sv, en))
    }

    /// 405, with the methods that are taken at that address.
    pub fn not_allowed(methods: &[&str], issue: Issue) -> Self {
        Self { allow: Some(methods.join(", ")), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, issue) }
    }

    /// Nothing is taken there: `Allow` is empty.
    fn with_no_methods(self) -> Self {
        Self { allow: Some(String::new()), ..self }
    }

    /// 413 for `what` (in Swedish and English), with the limit that says so.
    pub fn too_long(expression: &str, most: usize, limit: &str, (sv, en): (&str, &str)) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Issue::error(
                Code::TooLong,
                expression,
                format!("{sv} är större än {most} byte ({limit})."),
                format!("{en} is larger than {most} bytes ({limit})."),
            ),
        )
    }

    /// 429 to one caller, before anything of the request was looked at.
    pub fn too_many(limit: &str, retry_after_s: u32) -> Self {
        let issue = Issue::error(
            Code::Throttled,
            "",
            format!("För många begäranden från samma anropare ({limit}); inget togs emot. Sänd igen om en stund."),
            format!("Too many requests of one caller ({limit}); nothing was accepted. Send again in a while."),
        );
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            issues: vec![issue],
            retry_after_s: Some(retry_after_s),
            allow: None,
        }
    }

    /// The same, with when to come back.
    pub fn after(self, retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..self }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The findings as an OperationOutcome.
    pub fn outcome(&self) -> serde_json::Value {
        bounded_outcome(&self.issues, MOST_FINDINGS)
    }
}

/// The table of statuses.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, issues) = match refusal {
            Refusal::Malformed(issues) => (StatusCode::BAD_REQUEST, issues),
            Refusal::Findings(issues) => (StatusCode::UNPROCESSABLE_ENTITY, issues),
            Refusal::Forbidden(issue) => (StatusCode::FORBIDDEN, vec![issue]),
            Refusal::Missing(issue) => (StatusCode::NOT_FOUND, vec![issue]),
            Refusal::Conflict(issue) => (StatusCode::CONFLICT, vec![issue]),
            Refusal::Stale(issue) => (StatusCode::PRECONDITION_FAILED, vec![issue]),
            Refusal::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                vec![Issue::error(
                    Code::Duplicate,
                    "Idempotency-Key",
                    "Nyckeln har använts med en annan begäran; välj en ny för ett nytt dokument.",
                    "The key was used with another request; choose a new one for a new document.",
                )],
            ),
            Refusal::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                vec![Issue::error(
                    Code::Transient,
                    "",
                    "För mycket väntar just nu; inget togs emot. Sänd igen om en stund.",
                    "Too much is waiting; nothing was accepted. Send again in a while.",
                )],
            ),
            Refusal::Store(StoreError::Indexing) => return indexing(),
            Refusal::Store(error) => return fault(&error),
        };
        let retry_after_s = (status == StatusCode::TOO_MANY_REQUESTS).then_some(2);
        Self { status, issues, retry_after_s, allow: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

/// No fault: what is searched by is being made anew, and would be answered in part only.
fn indexing() -> Problem {
    let issue = Issue::error(
        Code::Transient,
        "",
        "Det som söks eller räknas byggs om efter en uppgradering; fråga igen om en stund.",
        "What is searched or counted is being rebuilt after an upgrade; ask again in a while.",
    );
    Problem { status: StatusCode::SERVICE_UNAVAILABLE, issues: vec![issue], retry_after_s: Some(10), allow: None }
}

/// A fault of ours: a number to ask about and nothing else. The disk's refusals are 503, because they pass.
fn fault(error: &StoreError) -> Problem {
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        chain.push_str(": ");
        chain.push_str(&inner.to_string());
        source = inner.source();
    }
    Problem::of_ours(&chain, matches!(error, StoreError::Commit(_) | StoreError::Stopped))
}

impl Problem {
    /// A fault of ours that is not the store's: 500.
    pub fn fault(what: &str) -> Self {
        Self::of_ours(what, false)
    }

    /// `passes`: it may be gone the next time. The number is the request's, which every line of its log has.
    fn of_ours(what: &str, passes: bool) -> Self {
        let id = number().unwrap_or_else(Uuid::now_v7);
        tracing::error!(fault = %id, error = what, "fault {id}");
        let status = if passes { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        let issue = Issue::error(
            Code::Exception,
            "",
            format!("Fel i tjänsten; inget togs emot. Ange {id} vid felanmälan."),
            format!("A fault of the service; nothing was accepted. Quote {id} when reporting."),
        );
        Self { status, issues: vec![issue], retry_after_s: passes.then_some(5), allow: None }
    }
}

/// The thread that worked on a large document ended before it was done.
impl From<BlockingError> for Problem {
    fn from(_: BlockingError) -> Self {
        let id = Uuid::now_v7();
        tracing::error!(fault = %id, "a document's thread ended, fault {id}");
        let issue = Issue::error(
            Code::Exception,
            "",
            format!("Fel i tjänsten; sänd samma dokument igen, det tas emot en gång. Ange {id} vid felanmälan."),
            format!(
                "A fault of the service; send the same document again, it is taken once. Quote {id} when reporting."
            ),
        );
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, issue)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let status = match denied {
            Denied::UnknownUnit => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        let code = if status == StatusCode::FORBIDDEN { Code::Forbidden } else { Code::Login };
        Self::new(status, Issue::error(code, "Authorization", "Anroparen kan inte släppas in.", denied.to_string()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, methods.as_str()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.content_type("application/fhir+json").body(self.outcome().to_string())
    }
}

/// No such address, or not with this method.
pub async fn no_route(request: HttpRequest) -> HttpResponse {
    let path = request.path();
    if matches!(path, "/fhir" | "/fhir/") {
        return whole_server(request.method()).error_response();
    }
    let methods = match taken(path) {
        Ok(methods) => methods,
        Err(problem) => return problem.error_response(),
    };
    if methods.is_empty() {
        let issue = Issue::error(
            Code::NotFound,
            "",
            format!("{} på den adressen finns inte; se openapi.yaml.", request.method()),
            format!("{} at that address does not exist; see openapi.yaml.", request.method()),
        );
        return Problem::new(StatusCode::NOT_FOUND, issue).error_response();
    }
    let known = methods.join(", ");
    let issue = Issue::error(
        Code::NotSupported,
        "",
        format!("{} tas inte emot på den adressen; där finns {known}. Se openapi.yaml.", request.method()),
        format!("{} is not taken at that address; there is {known}. See openapi.yaml.", request.method()),
    );
    Problem::not_allowed(&methods, issue).error_response()
}

/// The methods of the route that means the address most closely; none where no route does.
fn taken(path: &str) -> Result<Vec<&'static str>, Problem> {
    let closest = ROUTES.iter().filter_map(|(_, route)| closeness(route, path)).max();
    let meant = || ROUTES.iter().filter(|(_, route)| closest.is_some() && closeness(route, path) == closest);
    let resource_type = path.split('/').nth(2).unwrap_or_default();
    match meant().next() {
        Some((_, "/fhir/{type}")) => fhir::known_type(resource_type).map(|()| fhir::type_methods(resource_type)),
        Some((_, "/fhir/{type}/{id}")) => {
            fhir::known_type(resource_type).map(|()| fhir::instance_methods(resource_type))
        }
        _ => Ok(meant()
            .flat_map(|(method, _)| if *method == "GET" { vec!["GET", "HEAD"] } else { vec![*method] })
            .collect()),
    }
}

/// What would be asked of the whole server at once.
fn whole_server(method: &actix_web::http::Method) -> Problem {
    let (sv, en) = if method == actix_web::http::Method::POST {
        (
            "Bundle av typ batch eller transaction tas inte emot; sänd varje resurs till sin typ.",
            "A Bundle of type batch or transaction is not taken; send each resource to its type.",
        )
    } else {
        (
            "Sökning över alla typer finns inte; sök i en typ. Se /fhir/metadata.",
            "There is no search over all types; search one. See /fhir/metadata.",
        )
    };
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Issue::error(Code::NotSupported, "", sv, en)).with_no_methods()
}

/// How many parts of the address the route has by name; none where the address is not one of the route's.
fn closeness(route: &str, path: &str) -> Option<usize> {
    let (mut parts, mut named, mut same) = (path.split('/'), route.split('/'), 0);
    loop {
        match (parts.next(), named.next()) {
            (None, None) => return Some(same),
            (Some(part), Some(name)) if name == part => same += 1,
            (Some(part), Some(name)) if name.starts_with('{') && !part.is_empty() => {}
            _ => return None,
        }
    }
}
