//! The HTTP client. No redirects, no proxies from the environment, a time limit and a size limit on every answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, ETAG, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::bearer::Bearer;
use super::guard::Guard;
use super::outcome::{Asked, NOTHING_SAID, classify, unreadable};
use crate::domain::delivery::Outcome;
use crate::telemetry;

/// The largest answer that is read, in bytes.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Identifiers in one search: an address of some thousand characters is refused by many servers.
const TASKS_AT_ONCE: usize = 20;
/// Pages of one search that are followed.
const MOST_PAGES: usize = 20;
/// How often in one attempt a partner's copy is read and changed anew when its own people were faster.
pub const MOST_TRIES: usize = 4;
pub(super) const FHIR_JSON: &str = "application/fhir+json";
pub(super) const NO_ADDRESS: &str = "the address cannot be built";

/// What a write came to.
#[derive(Debug, Clone)]
pub struct Reply {
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub took: Duration,
}

/// A client for one partner.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    guard: Guard,
    /// Where tokens come from, if the partner demands them.
    bearer: Option<Arc<Bearer>>,
}

impl Client {
    /// `base` is the partner's FHIR address, without a slash at the end.
    pub fn new(base: &str, timeout: Duration, guard: &Guard) -> Result<Self, reqwest::Error> {
        Ok(Self { http: http(timeout, guard)?, base: base.to_owned(), guard: guard.clone(), bearer: None })
    }

    /// The same, showing a token with every request.
    pub fn with_bearer(self, bearer: Bearer) -> Self {
        Self { bearer: Some(Arc::new(bearer)), ..self }
    }

    /// Whether the partner's CapabilityStatement says that a Provenance may be put under our id; unknown is no.
    pub async fn takes_provenance(&self) -> Option<bool> {
        let (statement, _) = self.get("metadata", &[]).await.ok()?;
        let resources = statement["rest"][0]["resource"].as_array()?;
        Some(resources.iter().any(|r| r["type"] == "Provenance" && r["updateCreate"] == true))
    }

    /// Posts a transaction Bundle. What the partner answers to each entry is there where all of them were done.
    pub async fn transact(&self, body: Vec<u8>) -> (Reply, Option<Value>) {
        let started = Instant::now();
        let asked = Asked::Transaction { entries: entries_of(&body) };
        let (outcome, status, said) = match self.base_url() {
            Ok(url) => {
                let request =
                    traced(self.http.post(url)).header(CONTENT_TYPE, FHIR_JSON).header(ACCEPT, FHIR_JSON).body(body);
                self.write(request, asked).await
            }
            Err(outcome) => (outcome, None, Value::Null),
        };
        let said = (outcome == Outcome::Delivered).then_some(said);
        (Reply { outcome, status, took: started.elapsed() }, said)
    }

    /// Brings the partner's copy of a Task to what `change` makes of it: read, change, put with If-Match.
    /// `change` returning `None` means that the copy is already right. Where the partner's people are faster it is read and
    /// changed anew, a few times. `known` is the partner's id of a Task that does not have our identifier.
    pub async fn move_task(
        &self,
        identifier: &str,
        known: Option<&str>,
        change: impl Fn(&Value) -> Option<Value>,
    ) -> Reply {
        let started = Instant::now();
        let mut tries = 1;
        let (outcome, status) = loop {
            match self.try_move(identifier, known, &change).await {
                Ok((Outcome::Conflict { .. }, Some(_))) if tries < MOST_TRIES => tries += 1,
                // Still faster: the next attempt reads again.
                Ok((Outcome::Conflict { reason }, status @ Some(_))) => {
                    break (Outcome::Transient { reason, retry_after: None }, status);
                }
                Ok(done) => break done,
                Err(outcome) => break (outcome, None),
            }
        };
        Reply { outcome, status, took: started.elapsed() }
    }

    async fn try_move(
        &self,
        identifier: &str,
        known: Option<&str>,
        change: impl Fn(&Value) -> Option<Value>,
    ) -> Result<(Outcome, Option<u16>), Outcome> {
        let mut found = self.tasks(&[identifier.to_owned()]).await?;
        if let Some(id) = known.filter(|_| found.is_empty()) {
            found.push(self.read(&format!("Task/{id}")).await?);
        }
        let (Some(task), true) = (found.pop(), found.is_empty()) else {
            return Ok((Outcome::Conflict { reason: "the partner has none or several of this Task".into() }, None));
        };
        let id = task["id"].as_str().unwrap_or_default().to_owned();
        let Some(changed) = change(&task) else { return Ok((Outcome::Delivered, None)) };
        let version = match task["meta"]["versionId"].as_str() {
            Some(version) => format!("W/\"{version}\""),
            None => self.get(&format!("Task/{id}"), &[]).await?.1.unwrap_or_default(),
        };
        let body = serde_json::to_vec(&changed).unwrap_or_default();
        let request = traced(self.http.put(self.url(&format!("Task/{id}"), &[])?))
            .header(CONTENT_TYPE, FHIR_JSON)
            .header(ACCEPT, FHIR_JSON)
            .header(IF_MATCH, version)
            .body(body);
        let (outcome, status, _) = self.write(request, Asked::Put).await;
        Ok(match (outcome, status) {
            // It may have been done by a server that says nothing, or not at all by something in front of it.
            (Outcome::Transient { reason, .. }, status) if reason == NOTHING_SAID => {
                let (stands, _) = self.get(&format!("Task/{id}"), &[]).await?;
                match change(&stands) {
                    None => (Outcome::Delivered, status),
                    Some(_) => (Outcome::Transient { reason, retry_after: None }, status),
                }
            }
            other => other,
        })
    }

    /// The partner's copies of our Tasks, by our identifier (`system|value`), each once.
    pub async fn tasks(&self, identifiers: &[String]) -> Result<Vec<Value>, Outcome> {
        self.tasks_since(identifiers, None).await
    }

    /// The same, but only those that changed at `since` or later (an instant by the partner's clock).
    pub async fn tasks_since(&self, identifiers: &[String], since: Option<&str>) -> Result<Vec<Value>, Outcome> {
        self.find("Task", "identifier", identifiers, since).await
    }

    /// What the partner has of a type for any of these values of a search parameter, each once; with `since` only what changed
    /// then or later.
    pub async fn find(
        &self,
        resource_type: &str,
        parameter: &str,
        values: &[String],
        since: Option<&str>,
    ) -> Result<Vec<Value>, Outcome> {
        let since = since.map(|at| format!("ge{at}"));
        let mut tasks: Vec<Value> = Vec::new();
        for asked in values.chunks(TASKS_AT_ONCE) {
            let joined = asked.join(",");
            let count = asked.len().saturating_mul(2).max(10).to_string();
            let mut query = vec![(parameter, joined.as_str()), ("_count", count.as_str())];
            query.extend(since.as_deref().map(|since| ("_lastUpdated", since)));
            let mut next = Some(self.url(resource_type, &query)?);
            for _ in 0..MOST_PAGES {
                let Some(url) = next.take() else { break };
                let (bundle, _) = self.get_url(url.clone()).await?;
                if bundle["resourceType"] != "Bundle" {
                    return Err(Outcome::Permanent { reason: "a search was not answered with a Bundle".into() });
                }
                let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
                for task in entries.iter().map(|e| &e["resource"]).filter(|r| r["resourceType"] == *resource_type) {
                    // Pages move when something changes between them.
                    if !tasks.iter().any(|t| t["id"] == task["id"]) {
                        tasks.push(task.clone());
                    }
                }
                next = self.next_page(&url, &bundle);
            }
        }
        Ok(tasks)
    }

    /// Reads one resource of the partner (`Type/id`). Anything else that comes with a 200, like a login page's outcome, says
    /// nothing of the resource: it is asked for again.
    pub async fn read(&self, reference: &str) -> Result<Value, Outcome> {
        let (resource, _) = self.get(reference, &[]).await?;
        if resource["resourceType"].as_str() == reference.split('/').next() {
            return Ok(resource);
        }
        Err(Outcome::Transient { reason: "the answer does not bring what was asked for".into(), retry_after: None })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<(Value, Option<String>), Outcome> {
        self.get_url(self.url(path, query)?).await
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Outcome> {
        let mut url = Url::parse(&format!("{}/{path}", self.base))
            .map_err(|_| Outcome::Permanent { reason: NO_ADDRESS.into() })?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// The base as it stands, judged.
    fn base_url(&self) -> Result<Url, Outcome> {
        let url = Url::parse(&self.base).map_err(|_| Outcome::Permanent { reason: NO_ADDRESS.into() })?;
        self.guard.check(&url)?;
        Ok(url)
    }

    /// Where a search goes on: on the same server, or where the settings say, whatever the partner tells us.
    fn next_page(&self, page: &Url, bundle: &Value) -> Option<Url> {
        let links = bundle["link"].as_array()?;
        let next = links.iter().find(|l| l["relation"] == "next")?["url"].as_str()?;
        let next = page.join(next).ok()?;
        if !self.guard.may_follow(page, &next) {
            tracing::warn!(
                "a search goes on at another server than it was asked of (see [outgoing] allow): it is not followed"
            );
            return None;
        }
        Some(next)
    }

    async fn get_url(&self, url: Url) -> Result<(Value, Option<String>), Outcome> {
        self.guard.check(&url)?;
        let request = traced(self.http.request(Method::GET, url)).header(ACCEPT, FHIR_JSON);
        let response = self.send(request).await?;
        let (status, etag) = (response.status(), text_header(&response, ETAG.as_str()));
        let retry_after = retry_after(&response);
        let body = bounded(response, MOST_BYTES).await?;
        if status != StatusCode::OK {
            return Err(classify(Asked::Read, status, retry_after, &body));
        }
        let value = serde_json::from_slice(&body)
            .map_err(|_| Outcome::Transient { reason: "the answer is no FHIR JSON".into(), retry_after: None })?;
        Ok((value, etag))
    }
}

/// Requests with what the partner demands.
impl Client {
    /// With a token where one is demanded. One that the partner does not take is renewed once; what it says then is its answer.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Outcome> {
        let Some(bearer) = &self.bearer else { return request.send().await.map_err(|e| unreadable(&e)) };
        let token = bearer.token().await?;
        let again = request.try_clone();
        let response = request.bearer_auth(&token).send().await.map_err(|e| unreadable(&e))?;
        match again {
            Some(again) if response.status() == StatusCode::UNAUTHORIZED => {
                let renewed = bearer.renewed(&token).await?;
                again.bearer_auth(renewed).send().await.map_err(|e| unreadable(&e))
            }
            _ => Ok(response),
        }
    }

    async fn write(&self, request: reqwest::RequestBuilder, asked: Asked) -> (Outcome, Option<u16>, Value) {
        match self.send(request).await {
            Ok(response) => answered(response, asked).await,
            Err(outcome) => (outcome, None, Value::Null),
        }
    }
}

/// Hands the thread on: the partner's log and ours can be read together.
pub(super) fn traced(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match telemetry::current() {
        Some(context) => request.header("traceparent", context.header()),
        None => request,
    }
}

/// How many entries a Bundle has, without reading what is in them.
fn entries_of(bundle: &[u8]) -> usize {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        entry: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Bundle>(bundle).map_or(0, |bundle| bundle.entry.len())
}

pub(super) async fn write(request: reqwest::RequestBuilder, asked: Asked) -> (Outcome, Option<u16>) {
    match request.send().await {
        Ok(response) => {
            let (outcome, status, _) = answered(response, asked).await;
            (outcome, status)
        }
        Err(error) => (unreadable(&error), None),
    }
}

/// The outcome, the status, and what was said with it.
async fn answered(response: Response, asked: Asked) -> (Outcome, Option<u16>, Value) {
    let (status, retry_after) = (response.status(), retry_after(&response));
    match bounded(response, MOST_BYTES).await {
        Ok(body) => {
            let outcome = classify(asked, status, retry_after, &body);
            (outcome, Some(status.as_u16()), serde_json::from_slice(&body).unwrap_or_default())
        }
        Err(outcome) => (outcome, Some(status.as_u16()), Value::Null),
    }
}

/// The body, if it has at most so many bytes.
pub(super) async fn bounded(mut response: Response, most_bytes: usize) -> Result<Vec<u8>, Outcome> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| unreadable(&e))? {
        if body.len() + chunk.len() > most_bytes {
            return Err(Outcome::Transient { reason: "the answer is too large".into(), retry_after: None });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn text_header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// How long the partner asks us to wait. A date is counted from the partner's own clock where it tells the time.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let asked = text_header(response, RETRY_AFTER.as_str())?;
    let now = text_header(response, DATE.as_str()).and_then(|text| http_date(&text)).unwrap_or_else(Utc::now);
    wait(&asked, now)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. How long it may be is decided where it is used.
fn wait(asked: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = asked.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some((http_date(asked)? - now).to_std().unwrap_or_default())
}

/// The form that HTTP dates are sent in (RFC 9110, 5.6.7); the two that only very old servers send are no date here.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|at| at.to_utc())
}

/// A client that connects only where the guard lets it.
pub(super) fn http(timeout: Duration, guard: &Guard) -> Result<reqwest::Client, reqwest::Error> {
    builder(timeout).dns_resolver(Arc::new(guard.clone())).build()
}

fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("vardkedja/", env!("CARGO_PKG_VERSION")))
}

/// What a small document may cost.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    pub timeout: Duration,
    pub most_bytes: usize,
}

/// Fetches a small public document, like a JWK set, from a configured address.
pub async fn fetch_small(url: &str, bounds: &Small, guard: &Guard) -> Result<Vec<u8>, Outcome> {
    let url = Url::parse(url).map_err(|_| Outcome::Permanent { reason: NO_ADDRESS.into() })?;
    guard.check(&url)?;
    let client = http(bounds.timeout, guard).map_err(|e| unreadable(&e))?;
    let response = client.get(url).send().await.map_err(|e| unreadable(&e))?;
    let status = response.status();
    let body = bounded(response, bounds.most_bytes).await?;
    if status == StatusCode::OK { Ok(body) } else { Err(classify(Asked::Read, status, None, &body)) }
}

/// A call to a gateway of our own kind, for the command line: GET, or POST where there is a body. Whoever types the address
/// chooses it, so nothing is judged.
pub async fn call(
    url: &str,
    token: Option<String>,
    path: &str,
    body: Option<Value>,
) -> Result<(u16, Value), reqwest::Error> {
    let client = builder(Duration::from_secs(30)).build()?;
    let url = format!("{}{path}", url.trim_end_matches('/'));
    let mut request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    Ok((status, response.json().await.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_may_say_how_long_or_until_when() {
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let seconds = |asked: &str| wait(asked, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 5 "), Some(5));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "it has been");
        for wrong in ["", "soon", "-5", "1.5", "1994-11-06T08:49:37Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
