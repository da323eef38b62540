//! Where subscribers are told: an endpoint that a client chose within what was agreed with it. Its status is its whole answer: no byte
//! of a body is waited for, and nothing it says leads us anywhere.

use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::client::{FHIR_JSON, NO_ADDRESS, Reply, http, retry_after, traced};
use super::guard::Guard;
use super::outcome::{Asked, classify, unreadable};
use crate::domain::delivery::Outcome;

/// The client of every endpoint.
#[derive(Debug, Clone)]
pub struct Hooks {
    http: reqwest::Client,
    guard: Guard,
}

impl Hooks {
    /// `timeout` bounds every call, whatever a subscriber asks for.
    pub fn new(timeout: Duration, guard: &Guard) -> Result<Self, reqwest::Error> {
        Ok(Self { http: http(timeout, guard)?, guard: guard.clone() })
    }

    /// Posts a notification with the subscriber's own headers (`Name: value`).
    pub async fn tell(&self, endpoint: &str, headers: &[String], timeout: Duration, body: Vec<u8>) -> Reply {
        let started = Instant::now();
        let (outcome, status) = match self.post(endpoint, headers, timeout, body).await {
            Ok(response) => {
                let (status, retry_after) = (response.status(), retry_after(&response));
                (classify(Asked::Notice, status, retry_after, &[]), Some(status.as_u16()))
            }
            Err(outcome) => (outcome, None),
        };
        Reply { outcome, status, took: started.elapsed() }
    }

    async fn post(
        &self,
        endpoint: &str,
        headers: &[String],
        timeout: Duration,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, Outcome> {
        let url = Url::parse(endpoint).map_err(|_| Outcome::Permanent { reason: NO_ADDRESS.into() })?;
        self.guard.check(&url)?;
        let mut request = traced(self.http.post(url)).header(CONTENT_TYPE, FHIR_JSON).header(ACCEPT, FHIR_JSON);
        for (name, value) in headers.iter().filter_map(|line| line.split_once(':')) {
            request = request.header(name.trim(), value.trim());
        }
        request.timeout(timeout).body(body).send().await.map_err(|error| unreadable(&error))
    }
}
