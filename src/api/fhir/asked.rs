//! The parameters of reads, histories and operations: each is served or refused, none is ignored.

use actix_web::HttpRequest;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::problem::{Problem, told};
use super::query;
use crate::config::Limits;

/// What was asked for, beside the address.
#[derive(Debug, Default)]
pub struct Asked {
    pub count: u32,
    pub since: Option<DateTime<Utc>>,
    /// Only these types; empty: all.
    pub types: Vec<String>,
    /// Of our own `next` links: where the page begins.
    pub before: Option<String>,
    pub after: Option<String>,
    /// What a `next` link has to repeat.
    pub repeated: Vec<(String, String)>,
}

/// Of the address. `served` are the names that are taken here, beside `_format`.
pub fn asked(request: &HttpRequest, served: &[&str], limits: &Limits) -> Result<Asked, Problem> {
    of_pairs(query::pairs(request.query_string())?, served, limits)
}

/// Of a `Parameters` resource in a body.
pub fn asked_in(body: &Value, served: &[&str], limits: &Limits) -> Result<Asked, Problem> {
    let pairs = parameters(body)?.into_iter().map(|parameter| (parameter.name, parameter.text));
    of_pairs(pairs.collect(), served, limits)
}

/// A parameter of a `Parameters` resource.
pub struct Parameter<'a> {
    pub name: String,
    /// Its value as it would stand in an address; empty where it has none.
    pub text: String,
    pub resource: Option<&'a Value>,
}

/// What a `Parameters` resource says; all of it is read, or it is refused.
pub fn parameters(body: &Value) -> Result<Vec<Parameter<'_>>, Problem> {
    let wrong = || {
        Problem::bad_request(
            "parameter",
            "Parameters har en lista parameter, och var och en name med value[x] eller resource.",
            "Parameters has a list parameter, and each of them name with value[x] or resource.",
        )
    };
    let fields = body.as_object().into_iter().flatten();
    let own = ["resourceType", "id", "meta", "implicitRules", "language", "parameter"];
    if fields.clone().any(|(name, _)| !own.contains(&name.as_str())) {
        return Err(wrong());
    }
    let Some(list) = body.get("parameter") else { return Ok(Vec::new()) };
    let read = |parameter| one_parameter(parameter).ok_or_else(wrong);
    list.as_array().ok_or_else(wrong)?.iter().map(read).collect()
}

fn one_parameter(parameter: &Value) -> Option<Parameter<'_>> {
    let (mut name, mut value, mut resource) = (None, None, None);
    for (field, content) in parameter.as_object()? {
        match field.as_str() {
            "name" => name = content.as_str(),
            "resource" => resource = Some(content),
            "id" => {}
            _ if field.starts_with("value") && value.is_none() => value = Some(content),
            _ => return None,
        }
    }
    let text = value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    Some(Parameter { name: name?.to_owned(), text: text.unwrap_or_default(), resource })
}

fn of_pairs(pairs: Vec<(String, String)>, served: &[&str], limits: &Limits) -> Result<Asked, Problem> {
    let mut asked = Asked { count: limits.page_max, ..Asked::default() };
    for (name, value) in pairs {
        let is_served = name == "_format" || served.contains(&name.as_str());
        match name.as_str() {
            _ if !is_served => return Err(unknown(&name, served)),
            "_count" => {
                let count: u32 = value.parse().map_err(|_| wrong(&name, "ett heltal", "a whole number"))?;
                asked.count = count.clamp(1, limits.page_max);
                continue;
            }
            "_since" => {
                // A + that was not encoded has become a space.
                let at = DateTime::parse_from_rfc3339(&value.replace(' ', "+"));
                let at =
                    at.map_err(|_| wrong(&name, "ett klockslag med zon", "an instant, like 2026-01-31T10:00:00Z"))?;
                asked.since = Some(at.to_utc());
            }
            "_type" => {
                for kind in value.split(',') {
                    super::known_type(kind)
                        .map_err(|_| wrong(&name, "typer som finns här", "types that are served"))?;
                    asked.types.push(kind.to_owned());
                }
            }
            "_before" | "_after" => {
                let place = if name == "_before" { &mut asked.before } else { &mut asked.after };
                *place = Some(value);
                continue;
            }
            "persist" if value != "false" => {
                return Err(wrong(&name, "false: dokument sparas inte här", "false: documents are not kept here"));
            }
            // The answer's format is settled around the handlers.
            _ => {}
        }
        asked.repeated.push((name, value));
    }
    Ok(asked)
}

impl Asked {
    /// The address of this page, or of the one that begins at a cursor.
    pub fn address(&self, base: &str, cursor: Option<(&str, &str)>) -> String {
        let mut url = format!("{base}?_count={}", self.count);
        for (name, value) in &self.repeated {
            url.push_str(&format!("&{name}={}", encoded(value)));
        }
        if let Some((name, at)) = cursor {
            url.push_str(&format!("&{name}={}", encoded(at)));
        }
        url
    }
}

/// Percent-encodes everything but what a query value may hold as it is.
fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/,".contains(&b);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn unknown(name: &str, served: &[&str]) -> Problem {
    let known: Vec<&str> = served.iter().copied().filter(|n| !matches!(*n, "_before" | "_after")).collect();
    let known = if known.is_empty() { "_format".to_owned() } else { known.join(", ") };
    Problem::bad_request(
        told(name),
        format!("Parametern finns inte här; kända: {known}."),
        format!("There is no such parameter here; known: {known}."),
    )
}

fn wrong(name: &str, sv: &str, en: &str) -> Problem {
    Problem::bad_request(name, format!("Värdet ska vara {sv}."), format!("The value should be {en}."))
}
