//! Notices: a small signed POST that tells a partner to come and look. Signed as Standard Webhooks says, version 1.0.
//!
//! The signature is HMAC-SHA256 over `id.timestamp.body`, once for each secret, so that secrets can be changed without a
//! gap (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::client::{Reply, http, write};
use super::guard::Guard;
use super::outcome::Asked;
use crate::config::{Notice, Secret};
use crate::domain::delivery::Outcome;

/// Tells one partner.
#[derive(Debug, Clone)]
pub struct Notifier {
    http: reqwest::Client,
    guard: Guard,
    notice: Notice,
}

impl Notifier {
    pub fn new(notice: &Notice, timeout: Duration, guard: &Guard) -> Result<Self, reqwest::Error> {
        Ok(Self { http: http(timeout, guard)?, guard: guard.clone(), notice: notice.clone() })
    }

    /// Posts a notice. `id` is the same at every attempt; the signature is made anew, because it holds the time.
    pub async fn tell(&self, id: &str, body: Vec<u8>, at: DateTime<Utc>) -> Reply {
        let started = Instant::now();
        let (outcome, status) = match self.guarded() {
            Ok(url) => {
                let timestamp = at.timestamp();
                let request = self
                    .http
                    .post(url)
                    .header(CONTENT_TYPE, "application/json")
                    .header("webhook-id", id)
                    .header("webhook-timestamp", timestamp)
                    .header("webhook-signature", signature(&self.notice.secrets, id, timestamp, &body))
                    .body(body);
                write(request, Asked::Notice).await
            }
            Err(outcome) => (outcome, None),
        };
        Reply { outcome, status, took: started.elapsed() }
    }

    fn guarded(&self) -> Result<Url, Outcome> {
        let url = Url::parse(&self.notice.url)
            .map_err(|_| Outcome::Permanent { reason: "the address cannot be built".into() })?;
        self.guard.check(&url)?;
        Ok(url)
    }
}

/// The header `webhook-signature`: `v1,` and the signature in base64, for each secret, with a space between.
fn signature(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = secrets.iter().map(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_that_of_the_specifications_own_example() {
        let secrets = [Secret::parse(SECRET).unwrap()];
        let signed = signature(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_secrets_are_changed_each_of_them_signs() {
        let old = Secret::parse(SECRET).unwrap();
        let new = Secret::parse("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX").unwrap();
        let both = signature(&[old.clone(), new.clone()], "m", 1, b"{}");
        let one_by_one = [signature(&[old], "m", 1, b"{}"), signature(&[new], "m", 1, b"{}")].join(" ");
        assert_eq!(both, one_by_one);
    }
}
