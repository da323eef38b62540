//! How outcomes are written: a resource with its headers, or a Bundle.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, Responder};
use chrono::DateTime;
use serde_json::{Value, json};

use super::interaction::Verb;
use super::records::Version;
use super::search::Found;
use super::transaction::Outcome;
use super::{Receiver, locked};

const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// A response before it is one: unlike HttpResponse it may cross threads.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Answer {
    pub fn of(status: StatusCode, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    pub fn ok(body: Value) -> Self {
        Self::of(StatusCode::OK, body)
    }

    fn version(status: StatusCode, version: Version) -> Self {
        let modified = DateTime::from_timestamp_millis(version.updated_ms).unwrap_or_default();
        let headers =
            vec![("ETag", version.etag()), ("Last-Modified", modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string())];
        Self { status, headers, body: version.resource }
    }

    pub fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for header in self.headers {
            response.insert_header(header);
        }
        match self.body {
            Some(body) => response.content_type(FHIR_JSON).body(body.to_string()),
            None => response.finish(),
        }
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.into_response()
    }
}

/// Where links lead: the base under which the caller knows the server, and the searches that go on.
pub struct Links<'a> {
    pub receiver: &'a Receiver,
    pub base: &'a str,
}

impl Links<'_> {
    /// The answer to an interaction that came by itself.
    pub fn alone(&self, verb: Verb, kind: &str, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Done(status, version) => {
                let location = format!("{}/{}", self.base, version.location());
                let mut answer = Answer::version(status, version);
                if matches!(verb, Verb::Post | Verb::Put) {
                    answer.headers.push(("Location", location));
                }
                answer
            }
            Outcome::Read(version) => Answer::version(StatusCode::OK, version),
            other => Answer::ok(self.bundle(kind, other)),
        }
    }

    /// The answer to an interaction of a transaction, as an entry of its response.
    pub fn entry(&self, kind: &str, outcome: Outcome) -> Value {
        match outcome {
            Outcome::Done(status, version) => {
                let mut entry = json!({ "response": stamps(status, &version) });
                if version.resource.is_some() {
                    entry["response"]["location"] = json!(version.location());
                }
                entry
            }
            Outcome::Read(version) => {
                let response = stamps(StatusCode::OK, &version);
                json!({ "resource": version.resource, "response": response })
            }
            other => json!({ "resource": self.bundle(kind, other), "response": { "status": "200 OK" } }),
        }
    }

    fn bundle(&self, kind: &str, outcome: Outcome) -> Value {
        match outcome {
            Outcome::Found(pairs, found) => self.searchset(kind, pairs, found),
            Outcome::Versions(versions) => self.history(versions),
            Outcome::Done(_, version) | Outcome::Read(version) => version.resource.unwrap_or_default(),
        }
    }

    /// One page of a search. The link to itself is left out: its URL could carry what must not stand in one.
    pub fn searchset(&self, kind: &str, pairs: Vec<(String, String)>, found: Found) -> Value {
        let base = self.base;
        let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": found.total });
        if let Some(after) = found.next {
            let token = locked(&self.receiver.pages).keep(kind, pairs, after);
            bundle["link"] = json!([{ "relation": "next", "url": format!("{base}/{kind}?_page={token}") }]);
        }
        let entry = |mode: &'static str| move |v: Version| json!({ "fullUrl": format!("{base}/{}", v.local()), "resource": v.resource, "search": { "mode": mode } });
        let matches = found.matches.into_iter().map(entry("match"));
        let list: Vec<Value> = matches.chain(found.included.into_iter().map(entry("include"))).collect();
        if !list.is_empty() {
            bundle["entry"] = Value::Array(list);
        }
        bundle
    }

    fn history(&self, versions: Vec<Version>) -> Value {
        let total = versions.len();
        let entry = |v: Version| {
            let status = if v.number == 1 { StatusCode::CREATED } else { StatusCode::OK };
            let method = if v.resource.is_some() { "PUT" } else { "DELETE" };
            let mut entry = json!({
                "fullUrl": format!("{}/{}", self.base, v.local()),
                "request": { "method": method, "url": v.local() },
                "response": stamps(status, &v),
            });
            if let Some(resource) = v.resource {
                entry["resource"] = resource;
            }
            entry
        };
        let list: Vec<Value> = versions.into_iter().map(entry).collect();
        json!({ "resourceType": "Bundle", "type": "history", "total": total, "entry": list })
    }
}

fn stamps(status: StatusCode, version: &Version) -> Value {
    json!({ "status": status.to_string(), "etag": version.etag(), "lastModified": version.updated() })
}
