//! The body of a request, within the configured limit.

use std::pin::Pin;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, dev, web};

use super::problem::Problem;
use crate::Gateway;
use crate::fhir::issue::{Code, Issue};

/// The bytes of the body.
pub struct Body(pub web::Bytes);

impl FromRequest for Body {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let limit = request.app_data::<web::Data<Gateway>>().map_or(1 << 20, |g| g.config.limits.body_bytes);
        let encoded = request.headers().get(CONTENT_ENCODING).is_some_and(|e| e != "identity");
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            if encoded {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    Issue::error(
                        Code::NotSupported,
                        "Content-Encoding",
                        "Komprimerad kropp tas inte emot; sänd den som den är.",
                        "A compressed body is not taken; send it as it is.",
                    ),
                ));
            }
            let payload = payload.await.map_err(|_| broken())?;
            match payload.to_bytes_limited(limit).await {
                Ok(Ok(bytes)) => Ok(Self(bytes)),
                Ok(Err(_)) => Err(broken()),
                Err(_) => Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    Issue::error(
                        Code::TooLong,
                        "",
                        format!("Kroppen är större än {limit} byte (limits.body_bytes)."),
                        format!("The body is larger than {limit} bytes (limits.body_bytes)."),
                    ),
                )),
            }
        })
    }
}

fn broken() -> Problem {
    Problem::bad_request("", "Kroppen bröts innan den var slut.", "The body broke off before its end.")
}

/// The media type without its parameters, in lower case.
pub fn media_type(request: &HttpRequest) -> String {
    let header = request.headers().get(CONTENT_TYPE).and_then(|h| h.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
