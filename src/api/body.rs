//! The body of a request, within the configured limits of size and time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, dev, web};
use tokio::time::timeout;

use super::limits::{Connection, too_many_parameters};
use super::problem::Problem;
use crate::Gateway;
use crate::fhir::issue::{Code, Issue};

/// The bytes of the body.
pub struct Body(pub web::Bytes);

impl FromRequest for Body {
    type Error = Problem;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let most = request.app_data::<web::Data<Gateway>>().map_or(0, |g| g.config.limits.body_bytes);
        let read = read(request, payload, most, "limits.body_bytes");
        Box::pin(async move { read.await.map(Self) })
    }
}

/// The bytes of a body, or what is wrong with it.
pub type Reading<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

/// Reads a body of at most so many bytes; `limit` is the setting that says so.
pub fn read(
    request: &HttpRequest,
    payload: &mut dev::Payload,
    most_bytes: usize,
    limit: &'static str,
) -> Reading<web::Bytes> {
    let limits = request.app_data::<web::Data<Gateway>>().map(|g| g.config.limits);
    let encoded = request.headers().get(CONTENT_ENCODING).is_some_and(|e| e != "identity");
    let is_form = media_type(request) == FORM;
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let payload = web::Payload::from_request(request, payload);
    Box::pin(async move {
        let limits = limits.ok_or_else(|| Problem::bad_request("", "Ingen tjänst.", "No service."))?;
        if encoded {
            return Err(compressed());
        }
        let payload = payload.await.map_err(|_| broken())?;
        let read = timeout(Duration::from_secs(limits.body_s), payload.to_bytes_limited(most_bytes));
        let bytes = match read.await {
            Ok(Ok(Ok(bytes))) => bytes,
            Ok(Ok(Err(_))) => return Err(broken()),
            Ok(Err(_)) => return Err(Problem::too_long("", most_bytes, limit, ("Kroppen", "The body"))),
            Err(_) => {
                if let Some(connection) = connection {
                    connection.dismiss();
                }
                return Err(slow(limits.body_s));
            }
        };
        match too_many_parameters(&bytes, limits.query_parameters).filter(|_| is_form) {
            Some(problem) => Err(problem),
            None => Ok(bytes),
        }
    })
}

/// The media type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// What a body unpacks to is not known before it is unpacked.
fn compressed() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Issue::error(
            Code::NotSupported,
            "Content-Encoding",
            "Komprimerad kropp tas inte emot; sänd den som den är.",
            "A compressed body is not taken; send it as it is.",
        ),
    )
}

fn slow(most_s: u64) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        Issue::error(
            Code::TooCostly,
            "",
            format!("Kroppen kom inte på {most_s} sekunder (limits.body_s); inget togs emot."),
            format!("The body did not come in {most_s} seconds (limits.body_s); nothing was accepted."),
        ),
    )
}

fn broken() -> Problem {
    Problem::bad_request("", "Kroppen bröts innan den var slut.", "The body broke off before its end.")
}

/// The media type without its parameters, in lower case.
pub fn media_type(request: &HttpRequest) -> String {
    let header = request.headers().get(CONTENT_TYPE).and_then(|h| h.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
