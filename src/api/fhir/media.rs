//! JSON or XML: what the caller asks for, what it sends, and the one place where either is made of the other.
//!
//! Handlers know JSON only. On the way out [`negotiate`] writes their answers, refusals included, as what was asked for; on the
//! way in [`Sent`] reads what was sent. `_format` in the address or form wins over `Accept`.

use std::cmp::Reverse;
use std::pin::Pin;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use serde_json::Value;

use super::super::body::Body;
use super::super::problem::Problem;
use super::query;
use crate::fhir::guard::{self, Limits};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::xml;

const FHIR_XML: &str = "application/fhir+xml";
const JSON: [&str; 3] = [super::FHIR_JSON, "application/json", "text/json"];
const XML: [&str; 3] = [FHIR_XML, "application/xml", "text/xml"];
/// The version of FHIR that a media type may name.
const VERSION: &str = "4.0";

/// How a resource is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Xml,
}

impl Format {
    /// By the name of a media type without parameters, in small letters.
    fn named(media_type: &str) -> Option<Self> {
        match media_type {
            name if JSON.contains(&name) => Some(Self::Json),
            name if XML.contains(&name) => Some(Self::Xml),
            _ => None,
        }
    }

    /// By what `_format` says; a `+` that was not encoded has become a space.
    fn asked(text: &str) -> Option<Self> {
        let range = Range::parse(&text.replacen("/fhir ", "/fhir+", 1)).filter(|range| range.quality > 0)?;
        match range.name.as_str() {
            "json" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            name => Self::named(name),
        }
    }
}

/// A media type with what it says of itself, where that can be served here.
struct Range {
    name: String,
    /// In thousandths; 1000 where nothing is said.
    quality: u16,
}

impl Range {
    /// None where it wants another version of FHIR, or letters other than UTF-8.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let mut quality = 1000;
        for part in parts {
            let (parameter, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match parameter.trim().to_ascii_lowercase().as_str() {
                "q" => quality = thousandths(value)?,
                "charset" if !matches!(value.to_ascii_lowercase().as_str(), "utf-8" | "utf8") => return None,
                "fhirversion" if value != VERSION => return None,
                _ => {}
            }
        }
        Some(Self { name, quality })
    }

    /// How closely it means the format: by name, by family, or anything at all.
    fn covers(&self, format: Format) -> Option<u8> {
        match self.name.as_str() {
            name if Format::named(name) == Some(format) => Some(2),
            "application/*" | "text/*" => Some(1),
            "*/*" => Some(0),
            _ => None,
        }
    }
}

/// `0.85` as 850.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{rest:0<3}");
    match (whole, digits.parse::<u16>().ok().filter(|_| digits.len() == 3)?) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// The format that a list of media types wants most: by weight, then by who is named, then JSON.
fn preferred(accept: &str) -> Option<Format> {
    let ranges: Vec<Range> = accept.split(',').filter_map(Range::parse).collect();
    let weight = |format: Format| {
        let closest = ranges.iter().filter_map(|r| Some((r.covers(format)?, r.quality))).max()?;
        (closest.1 > 0).then_some((closest.1, closest.0))
    };
    let formats = [Format::Json, Format::Xml].into_iter().filter_map(|f| Some((weight(f)?, f)));
    formats.min_by_key(|(weight, _)| Reverse(*weight)).map(|(_, format)| format)
}

/// What the caller wants to read.
fn wanted(request: &HttpRequest) -> Result<Format, Problem> {
    let pairs = query::pairs(request.query_string()).unwrap_or_default();
    if let Some((_, text)) = pairs.iter().find(|(name, _)| name == "_format") {
        return Format::asked(text).ok_or_else(|| unacceptable("_format"));
    }
    let accepts: Vec<&str> = request.headers().get_all(ACCEPT).filter_map(|a| a.to_str().ok()).collect();
    if !request.headers().contains_key(ACCEPT) || accepts.iter().all(|a| a.trim().is_empty()) {
        return Ok(Format::Json);
    }
    preferred(&accepts.join(",")).ok_or_else(|| unacceptable("Accept"))
}

/// What a search in a form wants: there `_format` stands among the parameters.
pub fn asked_in_form(request: &HttpRequest, pairs: &[(String, String)]) -> Result<(), Problem> {
    if let Some((_, text)) = pairs.iter().find(|(name, _)| name == "_format") {
        let format = Format::asked(text).ok_or_else(|| unacceptable("_format"))?;
        request.extensions_mut().insert(format);
    }
    Ok(())
}

fn unacceptable(place: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        Issue::error(
            Code::NotSupported,
            place,
            "Svar ges som application/fhir+json eller application/fhir+xml (FHIR 4.0, UTF-8).",
            "Answers are given as application/fhir+json or application/fhir+xml (FHIR 4.0, UTF-8).",
        ),
    )
}

/// Around every route: on the FHIR face, refuses what cannot be given before anything is done, and gives what was asked for.
pub async fn negotiate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // Where to find the doors of OAuth is no FHIR, wherever it stands.
    if !request.path().starts_with("/fhir/") || request.path().starts_with("/fhir/.well-known/") {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let wanted = wanted(request.request());
    let answer = match &wanted {
        Ok(_) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => request.into_response(problem.error_response()),
    };
    let (request, mut response) = answer.into_parts();
    let in_form = request.extensions().get::<Format>().copied();
    if in_form.or(wanted.ok()) == Some(Format::Xml) {
        response = as_xml(&request, response);
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    Ok(ServiceResponse::new(request, response))
}

/// The same answer in XML. What XML cannot hold is refused when it is only read; what has been done is told in JSON.
fn as_xml(request: &HttpRequest, response: HttpResponse) -> HttpResponse {
    if response.headers().get(CONTENT_TYPE).is_none_or(|t| t != super::FHIR_JSON) {
        return response;
    }
    let (head, body) = response.into_parts();
    let bytes = match body.try_into_bytes() {
        Ok(bytes) if !bytes.is_empty() => bytes,
        Ok(_) => return head.set_body(BoxBody::new(())),
        Err(body) => return head.set_body(body),
    };
    let read = serde_json::from_slice::<Value>(&bytes);
    let issues = match read.map(|value| xml::write(&value)) {
        Ok(Ok(text)) => return with_xml(head.set_body(BoxBody::new(text))),
        Ok(Err(issues)) => issues,
        Err(_) => Vec::new(),
    };
    let only_read = matches!(*request.method(), Method::GET | Method::HEAD) || request.path().ends_with("/_search");
    if !only_read || !head.status().is_success() {
        return head.set_body(BoxBody::new(bytes));
    }
    let problem = Problem::all(
        StatusCode::NOT_ACCEPTABLE,
        std::iter::once(Issue::error(
            Code::NotSupported,
            "Accept",
            "Svaret går inte att skriva som XML; be om application/fhir+json.",
            "The answer cannot be written as XML; ask for application/fhir+json.",
        ))
        .chain(issues),
    );
    match xml::write(&problem.outcome()) {
        Ok(text) => with_xml(problem.error_response().set_body(BoxBody::new(text))),
        Err(_) => problem.error_response(),
    }
}

fn with_xml(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FHIR_XML));
    response
}

/// The resource in a body, in either format. A body that does not say is JSON.
pub struct Sent {
    format: Format,
    bytes: Bytes,
}

impl Sent {
    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The tree, or everything that keeps it from being one.
    pub fn read(&self, limits: &Limits) -> Result<Value, Vec<Issue>> {
        match self.format {
            Format::Json => guard::parse(&self.bytes, limits),
            Format::Xml => xml::read(&self.bytes, limits),
        }
    }
}

impl FromRequest for Sent {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let format = match request.headers().get(CONTENT_TYPE) {
            None => Some(Format::Json),
            Some(header) => header.to_str().ok().and_then(Range::parse).and_then(|r| Format::named(&r.name)),
        };
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            let format = format.ok_or_else(|| {
                Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    Issue::error(
                        Code::NotSupported,
                        "Content-Type",
                        "En resurs tas emot som application/fhir+json eller application/fhir+xml (FHIR 4.0, UTF-8).",
                        "A resource is taken as application/fhir+json or application/fhir+xml (FHIR 4.0, UTF-8).",
                    ),
                )
            })?;
            Ok(Self { format, bytes: body.await?.0 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_most_is_given() {
        for (accept, wanted) in [
            ("application/fhir+json", Some(Format::Json)),
            ("application/fhir+xml", Some(Format::Xml)),
            ("Text/XML ; Charset=\"UTF-8\"", Some(Format::Xml)),
            ("*/*", Some(Format::Json)),
            ("application/*;q=0.1", Some(Format::Json)),
            ("application/fhir+xml, */*", Some(Format::Xml)),
            ("application/fhir+xml, */*;q=0.8", Some(Format::Xml)),
            ("application/xml;q=0.5, application/json;q=0.501", Some(Format::Json)),
            ("application/json;q=0.5, application/xml;q=0.9", Some(Format::Xml)),
            ("application/json;q=0, */*", Some(Format::Xml)),
            ("application/json;q=0, application/xml;q=0.000", None),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Format::Xml)),
            ("application/fhir+xml; fhirVersion=4.0", Some(Format::Xml)),
            ("application/fhir+xml; fhirVersion=5.0", None),
            ("application/fhir+xml; fhirVersion=5.0, application/fhir+json", Some(Format::Json)),
            ("application/json; charset=iso-8859-1", None),
            ("application/json; q=2", None),
            ("application/json; q=x", None),
            ("image/png", None),
        ] {
            assert_eq!(preferred(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_refused_when_read_and_told_in_json_when_it_has_been_done() {
        let answer = |method: Method, status: StatusCode| {
            let request = actix_web::test::TestRequest::default().method(method).uri("/fhir/Task/1").to_http_request();
            let body = r#"{"resourceType":"Task","contained":[{"resourceType":"Bicycle"}]}"#;
            as_xml(&request, HttpResponse::build(status).content_type(super::super::FHIR_JSON).body(body))
        };
        let media_type = |r: &HttpResponse| r.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
        let read = answer(Method::GET, StatusCode::OK);
        assert_eq!((read.status(), media_type(&read).as_str()), (StatusCode::NOT_ACCEPTABLE, FHIR_XML));
        let text = String::from_utf8(read.into_body().try_into_bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains("ask for application/fhir+json") && text.contains("Task.contained[0]"), "{text}");
        let done = answer(Method::PUT, StatusCode::CREATED);
        assert_eq!((done.status(), media_type(&done).as_str()), (StatusCode::CREATED, super::super::FHIR_JSON));
        assert!(done.into_body().try_into_bytes().unwrap().ends_with(b"}"));
    }

    #[test]
    fn the_parameter_takes_short_names_and_media_types() {
        for (text, wanted) in [
            ("xml", Some(Format::Xml)),
            ("json", Some(Format::Json)),
            ("application/fhir+xml", Some(Format::Xml)),
            ("application/fhir xml", Some(Format::Xml)),
            ("application/fhir+json; fhirVersion=4.0", Some(Format::Json)),
            ("application/fhir+json; fhirVersion=3.0", None),
            ("XML", Some(Format::Xml)),
            ("application/FHIR+json", Some(Format::Json)),
            ("application/fhir+json;q=0", None),
            ("xml;q=0.000", None),
            ("html", None),
            ("", None),
        ] {
            assert_eq!(Format::asked(text), wanted, "{text}");
        }
    }
}
