//! `[subscriptions]`, and `hooks` of partners: how much subscribers may ask for, and where they may be told.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Url;
use serde::Deserialize;

use super::{ConfigError, addresses, value};
use crate::domain::delivery::Schedule;
use crate::domain::outgoing::Outgoing;

/// What subscribers may ask for.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    pub per_client: u32,
    pub at_once: usize,
    pub heartbeat_min_s: u32,
    pub timeout_s: u32,
    pub max_count: u32,
    pub keep: TimeDelta,
    pub kept: u32,
    /// Of failed notifications: that of deliveries.
    pub schedule: Schedule,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSubscriptions {
    per_client: u32,
    at_once: usize,
    heartbeat_min_s: u32,
    timeout_s: u32,
    max_count: u32,
    keep_d: u32,
    kept: u32,
}

impl Subscriptions {
    /// The longest that any endpoint may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_s))
    }
}

pub(super) fn check(raw: &RawSubscriptions, schedule: Schedule) -> Result<Subscriptions, ConfigError> {
    let at_once = u32::try_from(raw.at_once).unwrap_or(u32::MAX);
    for (name, number, most) in [
        ("per_client", raw.per_client, 100_000),
        ("at_once", at_once, 1024),
        ("heartbeat_min_s", raw.heartbeat_min_s, 86_400),
        ("timeout_s", raw.timeout_s, 300),
        ("max_count", raw.max_count, 1000),
        ("keep_d", raw.keep_d, 3660),
        ("kept", raw.kept, 10_000_000),
    ] {
        if !(1..=most).contains(&number) {
            return Err(value(&format!("subscriptions.{name}"), &format!("must be from 1 to {most}")));
        }
    }
    Ok(Subscriptions {
        per_client: raw.per_client,
        at_once: raw.at_once,
        heartbeat_min_s: raw.heartbeat_min_s,
        timeout_s: raw.timeout_s,
        max_count: raw.max_count,
        keep: TimeDelta::days(i64::from(raw.keep_d)),
        kept: raw.kept,
        schedule,
    })
}

/// An address that a partner's subscriptions may be told at: this one, or one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook(Url);

/// `hooks` read and judged as every address is.
pub(super) fn hooks(
    key: &str,
    list: &[String],
    outgoing: &Outgoing,
    warnings: &mut Vec<String>,
) -> Result<Vec<Hook>, ConfigError> {
    let mut hooks = Vec::new();
    for text in list {
        let key = format!("{key}: hooks");
        warnings.extend(addresses::check(&key, text, outgoing)?);
        hooks.push(Hook(Url::parse(text).map_err(|_| value(&key, "is no http or https address"))?));
    }
    Ok(hooks)
}

impl Hook {
    /// The endpoint as it will be called, where it is this one or below it. Written otherwise, it is still the same place.
    pub fn covers(&self, endpoint: &str) -> Option<String> {
        let url = Url::parse(endpoint).ok()?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        // `%2e%2e` is for some servers what `..` is for all; here it has no use.
        let is_plain = !has_user && url.fragment().is_none() && !url.path().to_ascii_lowercase().contains("%2");
        let base = self.0.path().trim_end_matches('/');
        let below = url.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (is_plain && below && url.origin() == self.0.origin()).then(|| url.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn an_endpoint_is_below_what_was_agreed_however_it_is_written() {
        let text =
            "[[partner]]\nname = \"north\"\nchannel = \"poll\"\nhooks = [\"https://north.example.se/fhir/hook\"]";
        let config = Config::parse(text).unwrap();
        let hook = &config.partners[0].hooks[0];
        for good in [
            "https://north.example.se/fhir/hook",
            "https://north.example.se/fhir/hook/",
            "https://NORTH.example.se:443/fhir/hook/a?b=c",
            "https://north.example.se/fhir/x/../hook/a",
        ] {
            assert!(hook.covers(good).is_some(), "{good}");
        }
        for bad in [
            "http://north.example.se/fhir/hook",
            "https://north.example.se:8443/fhir/hook",
            "https://north.example.se/fhir/hooks",
            "https://north.example.se/fhir/hook/../admin",
            "https://north.example.se/fhir/hook/%2e%2e/admin",
            "https://north.example.se.evil.example/fhir/hook",
            "https://u:p@north.example.se/fhir/hook",
            "https://evil.example/#https://north.example.se/fhir/hook",
            "https://north.example.se/fhir/hook#x",
            "https://169.254.169.254/fhir/hook",
            "file:///fhir/hook",
            "",
        ] {
            assert_eq!(hook.covers(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_can_never_be_connected_to_is_refused_at_the_start() {
        for (hooks, what) in
            [("https://169.254.169.254/x", "link-local"), ("ftp://x.example", "http"), ("https://u@x.example", "user")]
        {
            let text = format!("[[partner]]\nname = \"north\"\nchannel = \"poll\"\nhooks = [\"{hooks}\"]");
            let error = Config::parse(&text).unwrap_err().to_string();
            assert!(error.contains("hooks") && error.contains(what), "{error}");
        }
        assert!(
            Config::parse("[subscriptions]\nat_once = 0").unwrap_err().to_string().starts_with("subscriptions.at_once")
        );
    }
}
