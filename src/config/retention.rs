//! `[retention]`: whether and how often what is due is removed, and the file of rules, read and checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, LONGEST_WAIT_S, value};
use crate::domain::Kind;
use crate::domain::retention::{Keep, Rule, Rules, What};

/// How what is due is removed.
#[derive(Debug, Clone)]
pub struct Retention {
    pub rules: Rules,
    /// Whether the running gateway removes by itself.
    pub removes: bool,
    pub every: Duration,
    /// Exchanges, and copies of each sort, that one round removes at most.
    pub at_once: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    rules: PathBuf,
    removes: bool,
    every_s: u64,
    at_once: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    version: String,
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    what: String,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    keep_years: u32,
    #[serde(default)]
    keep_days: u32,
    basis: String,
}

const RULES: &str = include_str!("retention.toml");
/// Each is a commit of its own; a round is bounded so that nobody waits behind it.
const MOST_AT_ONCE: u32 = 10_000;

pub(super) fn check(raw: RawRetention, base: &Path) -> Result<Retention, ConfigError> {
    let (name, text) = if raw.rules.as_os_str().is_empty() {
        ("retention.toml".to_owned(), RULES.to_owned())
    } else {
        let path = base.join(&raw.rules);
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
        (path.display().to_string(), text)
    };
    if raw.every_s == 0 || raw.every_s > LONGEST_WAIT_S {
        return Err(value("retention.every_s", "is from 1 to 604800 (seven days)"));
    }
    if raw.at_once == 0 || raw.at_once > MOST_AT_ONCE {
        return Err(value("retention.at_once", "is from 1 to 10000"));
    }
    let rules = parse(&text).map_err(|what| value(&name, &what))?;
    Ok(Retention { rules, removes: raw.removes, every: Duration::from_secs(raw.every_s), at_once: raw.at_once })
}

fn parse(text: &str) -> Result<Rules, String> {
    let raw: RawRules = toml::from_str(text).map_err(|error| error.to_string())?;
    let rules = raw.rule.into_iter().map(|rule| {
        let what =
            What::parse(&rule.what).ok_or_else(|| format!("{}: what {:?} is not known", rule.name, rule.what))?;
        let kinds = rule
            .kinds
            .iter()
            .map(|kind| kind.parse::<Kind>().map_err(|_| format!("{}: kind {kind:?} is not known", rule.name)));
        let kinds = kinds.collect::<Result<_, String>>()?;
        let keep = Keep { years: rule.keep_years, days: rule.keep_days };
        Ok(Rule { name: rule.name, what, kinds, keep, basis: rule.basis })
    });
    let rules = rules.collect::<Result<_, String>>()?;
    Rules::check(raw.version, rules).map_err(|wrong| wrong.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_rules_that_come_with_the_program_are_lawful_and_nothing_is_removed_unasked() {
        let retention = Config::parse("").unwrap().retention;
        assert!(!retention.removes);
        assert!(retention.rules.iter().all(|rule| !rule.basis.is_empty()));
    }

    #[test]
    fn rules_below_the_law_do_not_let_the_program_start() {
        let short = RULES.replace("keep_years = 10", "keep_years = 9");
        assert!(parse(&short).unwrap_err().contains("PDL"));
        assert!(parse(&RULES.replace("\"referral\", ", "")).unwrap_err().contains("referral"));
        assert!(Config::parse("[retention]\nat_once = 0").is_err());
    }
}
