//! `[statistics]`: how small a number may be that is shown, and how long an answer may be.

use serde::Deserialize;

use super::{ConfigError, value};

/// What holds for every statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// The smallest number of acts or people that is shown.
    pub smallest: u64,
    /// Rows of one answer.
    pub groups: usize,
}

/// Below this a number tells of persons.
const LEAST: u64 = 5;
const MOST: u64 = 1_000;
const MOST_GROUPS: usize = 100_000;

pub(super) fn check(statistics: &Statistics) -> Result<(), ConfigError> {
    if !(LEAST..=MOST).contains(&statistics.smallest) {
        return Err(value("statistics.smallest", &format!("is from {LEAST} to {MOST}: fewer tells of persons")));
    }
    if !(1..=MOST_GROUPS).contains(&statistics.groups) {
        return Err(value("statistics.groups", &format!("is from 1 to {MOST_GROUPS}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn small_numbers_can_be_hidden_more_and_never_less() {
        let load = |line: &str| Config::parse(&format!("[statistics]\n{line}"));
        assert_eq!(Config::parse("").unwrap().statistics.smallest, 5);
        assert_eq!(load("smallest = 10").unwrap().statistics.smallest, 10);
        for line in ["smallest = 4", "smallest = 0", "smallest = 1001", "groups = 0", "groups = 100001"] {
            let error = load(line).unwrap_err().to_string();
            assert!(error.starts_with("statistics."), "{error}");
        }
    }
}
