//! What is refused of any request before its handler: other people's web pages where nobody shows a token, and parameters
//! at addresses that take none.
//!
//! Without keys the gateway trusts whoever reaches loopback, and the operator's own browser does so for every page that it
//! shows. A page elsewhere is known by its `Origin`; one that has a name point at 127.0.0.1 is known by its `Host`.

use std::net::IpAddr;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, TRANSFER_ENCODING};
use actix_web::http::uri::{Authority, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::problem::Problem;
use crate::Gateway;
use crate::fhir::issue::{Code, Issue};

/// Addresses under /v1 that take parameters; their handlers say which.
const ASKED: &[&str] = &[
    "/v1/exchanges",
    "/v1/open-loops",
    "/v1/exchanges/{id}/diff",
    "/v1/programmes",
    "/v1/deliveries",
    "/v1/registries/{name}/erasures",
    "/v1/registries/{name}/codes",
    "/v1/removals",
    "/v1/patients/{id}/access-log",
    "/v1/patients/{id}/responsibility",
    "/v1/statistics/kva",
    "/v1/statistics/indicators",
];

/// Middleware around every route.
pub async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let gateway = request.app_data::<web::Data<Gateway>>();
    let open = gateway.filter(|gateway| !gateway.config.is_authenticated());
    let refused = open.and_then(|gateway| stranger(&request, &gateway.config.base_url)).or_else(|| unread(&request));
    match refused {
        Some(problem) => Ok(request.into_response(problem.error_response())),
        None => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
    }
}

/// A request that a page from elsewhere may have made. Programs that are no browser send no `Origin`.
fn stranger(request: &ServiceRequest, base_url: &str) -> Option<Problem> {
    let own = base_url.parse::<Uri>().ok();
    let own = own.as_ref().and_then(Uri::host);
    let headers = request.headers();
    let whole = request.uri().authority().map(Authority::as_str);
    let mut hosts = headers.get_all(HOST).map(HeaderValue::to_str).chain(whole.map(Ok));
    if !hosts.all(|host| host.is_ok_and(|host| is_own(host, own))) {
        return Some(elsewhere("Host"));
    }
    let is_page = headers.contains_key(ORIGIN);
    let is_known = |origin: &HeaderValue| {
        let host = origin.to_str().ok().and_then(|text| text.split_once("://"));
        host.is_some_and(|(_, host)| is_own(host, own))
    };
    if !headers.get_all(ORIGIN).all(is_known) {
        return Some(elsewhere("Origin"));
    }
    let has_body =
        headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if is_page && has_body && !headers.contains_key(CONTENT_TYPE) {
        return Some(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Issue::error(
                Code::NotSupported,
                "Content-Type",
                "En webbsida ska säga vad den sänder: Content-Type.",
                "A web page has to say what it sends: Content-Type.",
            ),
        ));
    }
    None
}

/// This machine, at any port, or the name that the gateway is known by.
fn is_own(authority: &str, own: Option<&str>) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
        || host.eq_ignore_ascii_case("localhost")
        || own.is_some_and(|own| own.eq_ignore_ascii_case(host))
}

fn elsewhere(header: &str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        Issue::error(
            Code::Forbidden,
            header,
            "Utan nycklar tas bara begäranden till och från den egna maskinen emot: localhost, 127.0.0.1, [::1] eller \
             gateway.base_url. Ge parterna nycklar för att släppa in andra.",
            "Without keys only requests to and from this machine are taken: localhost, 127.0.0.1, [::1] or \
             gateway.base_url. Give the partners keys to let others in.",
        ),
    )
}

/// Parameters that no handler would read.
fn unread(request: &ServiceRequest) -> Option<Problem> {
    let route = request.match_pattern()?;
    let is_asked = request.query_string().is_empty() || ASKED.contains(&route.as_str());
    if is_asked || !route.starts_with("/v1/") {
        return None;
    }
    Some(Problem::bad_request(
        "",
        "Adressen tar inga parametrar; ta bort det som står efter frågetecknet.",
        "The address takes no parameters; leave out what stands after the question mark.",
    ))
}
