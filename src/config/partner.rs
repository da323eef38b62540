//! `[[partner]]`: a system we exchange with, read and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use super::client::{self, Keys};
use super::subscriptions::{self, Hook};
use super::{ConfigError, Secret, addresses, check_waits, value};
use crate::domain::bucket::Bucket;
use crate::domain::delivery::Schedule;
use crate::domain::outgoing::Outgoing;
use crate::domain::window::{self, Window};
use crate::fhir::bundle::Dialect;

/// How a partner gets what is meant for its units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// We send to its FHIR server, and read its Tasks for answers.
    Push { fhir_base: String },
    /// It reads from us and moves its Tasks here.
    Poll,
}

/// Where we get tokens to show a partner, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSource {
    pub url: String,
    pub client_id: String,
    pub scope: Option<String>,
}

/// A system we exchange with.
#[derive(Debug, Clone)]
pub struct Partner {
    pub name: String,
    pub channel: Channel,
    pub dialect: Dialect,
    pub keys: Option<Keys>,
    /// What it demands of us.
    pub token: Option<TokenSource>,
    pub timeout: Duration,
    pub max_in_flight: usize,
    /// Attempts a second, and how many may go at once.
    pub rate: Option<(f64, u32)>,
    /// When nothing is sent to it.
    pub windows: Vec<Window>,
    pub notice: Option<Notice>,
    /// Where its subscriptions may be told.
    pub hooks: Vec<Hook>,
    pub schedule: Schedule,
    /// Why what it sends and takes is an assumption, where nobody has published how it is integrated.
    pub assumed: Option<String>,
}

/// Where a partner is told that there is something for it, and the secrets that the notices are signed with.
#[derive(Debug, Clone)]
pub struct Notice {
    pub url: String,
    pub secrets: Vec<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPartner {
    pub(super) name: String,
    channel: String,
    fhir_base: Option<String>,
    #[serde(default)]
    identifiers: BTreeMap<String, String>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    jwks: Option<String>,
    token_url: Option<String>,
    client_id: Option<String>,
    scope: Option<String>,
    timeout_s: Option<u64>,
    max_in_flight: Option<usize>,
    rate_per_s: Option<f64>,
    burst: Option<u32>,
    #[serde(default)]
    windows: Vec<String>,
    notice_url: Option<String>,
    notice_secret_file: Option<PathBuf>,
    #[serde(default)]
    hooks: Vec<String>,
    pub(super) retry: Option<Vec<u64>>,
    #[serde(default)]
    contained: Vec<String>,
    assumed: Option<String>,
}

/// `key` names the section in errors; `schedule` is made of its own delays or everybody's.
pub(super) fn check(
    key: &str,
    partner: RawPartner,
    base: &Path,
    schedule: Schedule,
    outgoing: &Outgoing,
    warnings: &mut Vec<String>,
) -> Result<Partner, ConfigError> {
    check_waits(key, partner.timeout_s.as_slice())?;
    if partner.name.is_empty() || partner.name.contains('#') {
        return Err(value(key, "has a name that is empty or has a # in it"));
    }
    let mut check_url = |what: &str, url: &str| {
        addresses::check(&format!("{key}: {what}"), url, outgoing).map(|warning| warnings.extend(warning))
    };
    for (what, url) in [
        ("fhir_base", &partner.fhir_base),
        ("jwks_url", &partner.jwks_url),
        ("notice_url", &partner.notice_url),
        ("token_url", &partner.token_url),
    ] {
        if let Some(url) = url {
            check_url(what, url)?;
        }
    }
    let channel = match (partner.channel.as_str(), partner.fhir_base) {
        ("push", Some(base)) => Channel::Push { fhir_base: base.trim_end_matches('/').to_owned() },
        ("push", _) => return Err(value(key, "channel push needs fhir_base, an http or https address")),
        ("poll", _) => Channel::Poll,
        _ => return Err(value(key, "channel is \"push\" or \"poll\"")),
    };
    let keys = client::keys(key, base, partner.jwks, partner.jwks_file, partner.jwks_url)?;
    let token = match (partner.token_url, partner.client_id, partner.scope) {
        (Some(url), Some(client_id), scope) if !client_id.is_empty() => Some(TokenSource { url, client_id, scope }),
        (None, None, None) => None,
        _ => return Err(value(key, "needs token_url and client_id together; scope is beside them")),
    };
    if token.is_some() && channel == Channel::Poll {
        return Err(value(key, "has a token_url, and nothing is sent to it: channel is poll"));
    }
    let rate = match (partner.rate_per_s, partner.burst) {
        (Some(per_s), burst) => {
            let rate = (per_s, burst.unwrap_or(1));
            // Slower than one a day is a mistake for one a second.
            let is_rate = per_s >= 1.0 / 86_400.0 && Bucket::new(rate.0, rate.1, DateTime::UNIX_EPOCH).is_some();
            if !is_rate {
                return Err(value(key, "rate_per_s is a number above 0 and burst at least 1"));
            }
            Some(rate)
        }
        (None, Some(_)) => return Err(value(key, "has a burst and no rate_per_s")),
        (None, None) => None,
    };
    let windows = partner.windows.iter().map(|text| {
        Window::parse(text).ok_or_else(|| value(&format!("{key}: windows"), &format!("{text:?}: {}", window::FORM)))
    });
    let windows: Vec<Window> = windows.collect::<Result<_, _>>()?;
    let assumed = partner.assumed.map(|why| why.trim().to_owned());
    if let Some(why) = &assumed {
        if why.is_empty() {
            return Err(value(key, "assumed says why: what is not published, and when somebody looked"));
        }
        warnings.push(format!("partner {:?} is ASSUMED: {why}", partner.name));
    }
    Ok(Partner {
        channel,
        assumed,
        rate,
        windows,
        hooks: subscriptions::hooks(key, &partner.hooks, outgoing, warnings)?,
        notice: addresses::notice(key, base, partner.notice_url, partner.notice_secret_file)?,
        keys,
        token,
        dialect: Dialect { systems: partner.identifiers.into_iter().collect(), contained: partner.contained },
        timeout: Duration::from_secs(partner.timeout_s.unwrap_or(30).max(1)),
        max_in_flight: partner.max_in_flight.unwrap_or(4).max(1),
        schedule,
        name: partner.name,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn how_a_partner_may_be_sent_to_is_checked() {
        let partner = |more: &str| {
            Config::parse(&format!(
                "[[partner]]\nname = \"north\"\nchannel = \"push\"\nfhir_base = \"https://north.example.se/r4\"\n{more}"
            ))
        };
        let good = partner("rate_per_s = 2\nburst = 5\nwindows = [\"Sun 01:00-05:00\"]\nmax_in_flight = 8").unwrap();
        assert_eq!(good.partners[0].rate, Some((2.0, 5)));
        assert_eq!(good.partners[0].windows[0].text(), "Sun 01:00-05:00");
        for (more, what) in [
            ("rate_per_s = 0", "rate_per_s"),
            ("rate_per_s = -1.5", "rate_per_s"),
            ("rate_per_s = 1\nburst = 0", "burst"),
            ("burst = 3", "rate_per_s"),
            ("windows = [\"Sunday night\"]", "Sunday night"),
            ("notice_url = \"https://north.example.se/notices\"", "notice_secret_file"),
            ("token_url = \"https://north.example.se/token\"", "client_id"),
            ("client_id = \"us\"", "token_url"),
            ("assumed = \" \"", "assumed says why"),
            ("token_url = \"ftp://north.example.se/token\"\nclient_id = \"us\"", "token_url"),
        ] {
            let error = partner(more).unwrap_err().to_string();
            assert!(error.starts_with("partner[0] (north)") && error.contains(what), "{more}: {error}");
        }
        let assumed = partner("assumed = \"nothing is published (2026-11)\"").unwrap();
        assert!(assumed.warnings.iter().any(|w| w.contains("\"north\" is ASSUMED: nothing is published")));
        assert!(Config::parse("[[partner]]\nname = \"north#notices\"\nchannel = \"poll\"").is_err());
    }
}
