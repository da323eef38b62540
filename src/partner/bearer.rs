//! Tokens that a partner demands of us: fetched with an assertion that we sign (SMART Backend Services), kept until shortly
//! before they expire, and fetched once more where the partner does not take one that we thought good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::client::{bounded, http, retry_after};
use super::guard::Guard;
use super::outcome::{Asked, NO_TOKEN, classify, unreadable};
use crate::config::TokenSource;
use crate::domain::delivery::Outcome;
use crate::signing::Signer;

/// The largest answer of a token endpoint, in bytes.
const MOST_BYTES: usize = 64 * 1024;
/// How long what we sign for a token endpoint is good.
const ASSERTION_S: i64 = 240;
/// A token is not used in its last seconds: it would end on the way.
const SPARE: Duration = Duration::from_secs(15);
/// How long a token lives of which nothing is said, and the longest that one is kept.
const UNSAID: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);
/// Whoever waited for a token while it was refused is told the same, without asking again.
const SHARED: Duration = Duration::from_secs(1);

/// The errors of RFC 6749, 5.2; what else a server says may be anything.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Where tokens for one partner come from, and the one that is good now.
pub struct Bearer {
    http: reqwest::Client,
    guard: Guard,
    source: TokenSource,
    signer: Arc<Signer>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<(String, Instant)>,
    refused: Option<(Outcome, Instant)>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer")
    }
}

impl Bearer {
    pub fn new(
        source: &TokenSource,
        signer: Arc<Signer>,
        timeout: Duration,
        guard: &Guard,
    ) -> Result<Self, reqwest::Error> {
        let held = Mutex::default();
        Ok(Self { http: http(timeout, guard)?, guard: guard.clone(), source: source.clone(), signer, held })
    }

    /// A token that is good now. Whoever needs one while it is being fetched waits for that.
    pub async fn token(&self) -> Result<String, Outcome> {
        self.other_than(None).await
    }

    /// A token other than this, which the partner did not take.
    pub async fn renewed(&self, refused: &str) -> Result<String, Outcome> {
        self.other_than(Some(refused)).await
    }

    async fn other_than(&self, refused: Option<&str>) -> Result<String, Outcome> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some((token, until)) = &held.token
            && *until > now
            && Some(token.as_str()) != refused
        {
            return Ok(token.clone());
        }
        if let Some((outcome, until)) = &held.refused
            && *until > now
        {
            return Err(outcome.clone());
        }
        held.token = None;
        match self.fetch().await {
            Ok((token, life)) => {
                *held = Held { token: Some((token.clone(), now + life)), refused: None };
                Ok(token)
            }
            Err(outcome) => {
                let outcome = without_token(outcome);
                held.refused = Some((outcome.clone(), Instant::now() + SHARED));
                Err(outcome)
            }
        }
    }

    async fn fetch(&self) -> Result<(String, Duration), Outcome> {
        let url = Url::parse(&self.source.url)
            .map_err(|_| Outcome::Permanent { reason: "the address cannot be built".into() })?;
        self.guard.check(&url)?;
        let form = self.form()?;
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form);
        let response = request.send().await.map_err(|e| unreadable(&e))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = bounded(response, MOST_BYTES).await?;
        if status != StatusCode::OK {
            return Err(match status.as_u16() {
                400 | 401 => Outcome::Unauthorized { reason: format!("HTTP {}{}", status.as_u16(), named(&body)) },
                _ => classify(Asked::Read, status, retry_after, &[]),
            });
        }
        let answer = serde_json::from_slice::<Answer>(&body).ok();
        let answer = answer.filter(|a| a.token_type.eq_ignore_ascii_case("bearer") && is_token(&a.access_token));
        let unclear = || Outcome::Transient { reason: "the answer brings no bearer token".into(), retry_after: None };
        let answer = answer.ok_or_else(unclear)?;
        let life = answer.expires_in.map_or(UNSAID, Duration::from_secs).min(LONGEST);
        Ok((answer.access_token, life.saturating_sub(SPARE)))
    }

    fn form(&self) -> Result<String, Outcome> {
        let now = Utc::now().timestamp();
        let client = self.source.client_id.as_str();
        let claims = json!({
            "iss": client, "sub": client, "aud": self.source.url, "jti": Uuid::new_v4().to_string(),
            "iat": now, "exp": now + ASSERTION_S,
        });
        let assertion = self
            .signer
            .sign("JWT", &claims)
            .map_err(|e| Outcome::Unauthorized { reason: format!("we cannot sign: {e}") })?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials")
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &assertion);
        if let Some(scope) = &self.source.scope {
            form.append_pair("scope", scope);
        }
        Ok(form.finish())
    }
}

/// What can stand in a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The error that the server names, if it is one of the standard's.
fn named(body: &[u8]) -> String {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = said.as_ref().and_then(|value| value["error"].as_str());
    said.and_then(|said| ERRORS.into_iter().find(|known| *known == said)).map_or(String::new(), |e| format!(" ({e})"))
}

/// The same outcome, saying that nothing was sent yet.
fn without_token(outcome: Outcome) -> Outcome {
    let told = |reason: String| format!("{NO_TOKEN}{reason}");
    match outcome {
        Outcome::Transient { reason, retry_after } => Outcome::Transient { reason: told(reason), retry_after },
        Outcome::Unauthorized { reason } => Outcome::Unauthorized { reason: told(reason) },
        Outcome::Conflict { reason } | Outcome::Permanent { reason } => Outcome::Unauthorized { reason: told(reason) },
        Outcome::Barred { reason } => Outcome::Barred { reason: told(reason) },
        Outcome::Delivered => Outcome::Unauthorized { reason: told(String::new()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_errors_of_the_standard_are_told() {
        assert_eq!(named(br#"{"error":"invalid_client","error_description":"Anna Alm"}"#), " (invalid_client)");
        assert_eq!(named(br#"{"error":"195009072553"}"#), "");
        assert_eq!(named(b"<html>"), "");
    }

    #[test]
    fn a_token_that_could_not_be_fetched_is_no_attempt_that_could_have_arrived() {
        let refused = without_token(Outcome::Permanent { reason: "HTTP 404".into() });
        assert_eq!(refused, Outcome::Unauthorized { reason: "no token: HTTP 404".into() });
        assert!(super::super::had_no_effect(refused.reason()));
        assert!(!is_token("a b") && !is_token("") && !is_token("a\r\nb") && is_token("a.b-c"));
    }
}
