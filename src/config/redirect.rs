//! `[redirect]`: who may send on what it was asked to do, and to whom.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ConfigError, value};
use crate::domain::Level;
use crate::domain::redirect::Rule;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRedirect {
    levels: BTreeMap<String, Vec<String>>,
    same_region: bool,
    most: usize,
}

/// Nobody looks for a patient through more hands than this.
const MOST: usize = 20;

pub(super) fn check(raw: &RawRedirect) -> Result<Rule, ConfigError> {
    if raw.most > MOST {
        return Err(value("redirect.most", &format!("is from 0 to {MOST}")));
    }
    let level = |key: &str, code: &str| {
        let known: Vec<&str> = Level::ALL.iter().map(|level| level.code()).collect();
        Level::parse(code)
            .ok_or_else(|| value(key, &format!("{code:?} is no level of care; known: {}", known.join(", "))))
    };
    let levels = raw.levels.iter().map(|(from, to)| {
        let key = format!("redirect.levels.{from}");
        let to = to.iter().map(|to| level(&key, to)).collect::<Result<Vec<_>, _>>()?;
        Ok((level(&key, from)?, to))
    });
    Ok(Rule { levels: levels.collect::<Result<_, ConfigError>>()?, same_region: raw.same_region, most: raw.most })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use crate::domain::Level;

    #[test]
    fn primary_care_may_send_on_as_it_stands_and_a_region_may_say_otherwise() {
        let standing = Config::parse("").unwrap().redirect;
        let of = |level| standing.levels.iter().find(|(from, _)| *from == level).map(|(_, to)| to.clone());
        assert_eq!(of(Level::Primary), Some(vec![Level::Primary, Level::Municipality, Level::External]));
        let closed = Config::parse("[redirect]\nmost = 0\n").unwrap().redirect;
        assert_eq!(closed.most, 0);
        for (text, told) in [
            ("most = 21", "redirect.most"),
            ("levels.primary = [\"prime\"]", "redirect.levels.primary"),
            ("levels.prime = []", "redirect.levels.prime"),
        ] {
            let error = Config::parse(&format!("[redirect]\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
