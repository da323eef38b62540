//! `[clocks]`: how often what is overdue is looked for, and the file of rules, read and checked. Every finding has its line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::limits::LONGEST_WAIT_S;
use super::{ConfigError, value};
use crate::domain::Directory;
use crate::domain::clock::after::FORM;
use crate::domain::clock::{After, Clocks, Priority, Rule, Sort, Step};

/// How what is overdue is found and told.
#[derive(Debug, Clone)]
pub struct ClockSettings {
    pub rules: Clocks,
    /// What the rules call their version.
    pub version: String,
    /// The longest time between two looks; what becomes due earlier is looked for then.
    pub every: Duration,
    /// Waits that one round escalates at most.
    pub at_once: u32,
    /// How long a named person may pause at most, in days.
    pub most_pause_days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClocks {
    rules: PathBuf,
    every_s: u64,
    at_once: u32,
    most_pause_days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    version: Spanned<String>,
    on_hold_pauses: bool,
    deceased_pauses: bool,
    #[serde(default)]
    clock: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    step: Spanned<String>,
    region: Option<Spanned<String>>,
    sorts: Vec<Spanned<String>>,
    after: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

const RULES: &str = include_str!("clocks.toml");
/// Each is a commit of its own; a round is bounded so that nobody waits behind it.
const MOST_AT_ONCE: u32 = 10_000;
const MOST_PAUSE_DAYS: u32 = 366;

pub(super) fn check(raw: RawClocks, base: &Path, directory: &Directory) -> Result<ClockSettings, ConfigError> {
    let (name, text) = if raw.rules.as_os_str().is_empty() {
        ("clocks.toml".to_owned(), RULES.to_owned())
    } else {
        let path = base.join(&raw.rules);
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
        (path.display().to_string(), text)
    };
    if raw.every_s == 0 || raw.every_s > LONGEST_WAIT_S {
        return Err(value("clocks.every_s", "is from 1 to 604800 (seven days)"));
    }
    if raw.at_once == 0 || raw.at_once > MOST_AT_ONCE {
        return Err(value("clocks.at_once", "is from 1 to 10000"));
    }
    if raw.most_pause_days == 0 || raw.most_pause_days > MOST_PAUSE_DAYS {
        return Err(value("clocks.most_pause_days", "is from 1 to 366"));
    }
    let (rules, version) = parse(&text).map_err(|what| value(&name, &what.join("; ")))?;
    let rules = rules.with_regions(directory.iter().map(|unit| (unit.hsa_id.as_str(), unit.region.as_str())));
    let (every, at_once) = (Duration::from_secs(raw.every_s), raw.at_once);
    Ok(ClockSettings { rules, version, every, at_once, most_pause_days: raw.most_pause_days })
}

/// The rules and their version, or everything that is wrong with them.
fn parse(text: &str) -> Result<(Clocks, String), Vec<String>> {
    let raw: RawRules = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let line = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
    let mut wrong: Vec<(usize, String)> = Vec::new();
    if raw.version.get_ref().trim().is_empty() {
        wrong.push((line(raw.version.span().start), "version is empty: it is shown with every due time".to_owned()));
    }
    let mut rules = Vec::new();
    for found in raw.clock {
        let at = line(found.span().start);
        let RawRule { step, region, sorts, after } = found.into_inner();
        if let Some(region) = region.as_ref().filter(|r| !is_county(r.get_ref())) {
            let what = format!("region {:?} is a county code of two digits, like \"14\"", region.get_ref());
            wrong.push((line(region.span().start), what));
        }
        let region = region.map(Spanned::into_inner);
        let step = read(&step, Step::parse, &known(Step::ALL.map(Step::code)), line, &mut wrong);
        if sorts.is_empty() || after.is_empty() {
            wrong.push((at, "sorts and after name at least one each".to_owned()));
        }
        let sorts: Vec<Sort> = sorts
            .iter()
            .filter_map(|sort| read(sort, Sort::parse, &known(Sort::ALL.map(Sort::code)), line, &mut wrong))
            .collect();
        for (priority, levels) in after {
            let at = line(priority.span().start);
            let priority =
                read(&priority, Priority::parse, &known(Priority::ALL.map(Priority::code)), line, &mut wrong);
            let levels = levels.iter().filter_map(|level| read(level, After::parse, FORM, line, &mut wrong)).collect();
            if let (Some(step), Some(priority)) = (step, priority) {
                let (sorts, region) = (sorts.clone(), region.clone());
                rules.push(Rule { step, sorts, priorities: vec![priority], region, levels, line: at });
            }
        }
    }
    let mark = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let checked = Clocks::check(rules, raw.on_hold_pauses, raw.deceased_pauses, mark);
    match checked {
        Ok(clocks) if wrong.is_empty() => Ok((clocks, raw.version.into_inner())),
        checked => {
            // A value that could not be read is told once, and not again for what is missing without it.
            let told: Vec<usize> = wrong.iter().map(|(line, _)| *line).collect();
            wrong.extend(checked.err().into_iter().flatten().filter(|(line, _)| !told.contains(line)));
            wrong.sort();
            Err(wrong.into_iter().map(|(line, what)| format!("line {line}: {what}")).collect())
        }
    }
}

fn is_county(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|b| b.is_ascii_digit())
}

fn known<const N: usize>(codes: [&'static str; N]) -> String {
    codes.join(", ")
}

fn read<T>(
    text: &Spanned<String>,
    parse: impl FnOnce(&str) -> Option<T>,
    known: &str,
    line: impl Fn(usize) -> usize,
    wrong: &mut Vec<(usize, String)>,
) -> Option<T> {
    let read = parse(text.get_ref());
    if read.is_none() {
        wrong.push((line(text.span().start), format!("{:?} is not one of {known}", text.get_ref())));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::domain::clock::Matter;

    #[test]
    fn the_rules_that_come_with_the_program_cover_every_step_and_are_marked_as_ours() {
        let clocks = Config::parse("").unwrap().clocks;
        for step in Step::ALL {
            let sort = match step {
                Step::NoContact => Sort::Active,
                Step::NoConsultation | Step::NoTaker => Sort::Referral,
                _ => Sort::Sip,
            };
            for priority in Priority::ALL {
                let matter = Matter { step, sort, priority, sender: "" };
                assert_eq!(clocks.rules.levels(matter).len(), 2, "{} {}", step.code(), priority.code());
            }
        }
        assert!(RULES.contains("The times are OURS") && clocks.rules.on_hold_pauses);
        assert!(!clocks.version.is_empty() && !clocks.rules.mark.is_empty());
    }

    #[test]
    fn what_is_urgent_is_never_waited_for_longer_than_what_is_not() {
        let clocks = Config::parse("").unwrap().clocks.rules;
        let from = 1_781_686_800_000; // a Wednesday before Midsummer
        for (step, sort) in Step::ALL.into_iter().flat_map(|step| Sort::ALL.map(|sort| (step, sort))) {
            let first = Priority::ALL.map(|priority| {
                let matter = Matter { step, sort, priority, sender: "" };
                clocks.levels(matter).first().map(|after| after.end(from, &[]))
            });
            assert!(first.windows(2).all(|pair| pair[0] >= pair[1]), "{} {}", step.code(), sort.code());
        }
    }

    #[test]
    fn every_finding_has_its_line() {
        let text = "version = \"1\"\non_hold_pauses = true\ndeceased_pauses = true\n\n[[clock]]\nstep = \"no-reciept\"\n\
                    sorts = [\"referral\", \"letter\"]\nafter = { routine = [\"2 days\"], later = [\"1d\"] }\n\n\
                    [[clock]]\nstep = \"no-outcome\"\nsorts = [\"referral\"]\n\
                    after = { routine = [\"9d\", \"8d\"] }\n";
        let wrong = parse(text).unwrap_err();
        let lines: Vec<&str> = wrong.iter().map(|w| w.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 6", "line 7", "line 8", "line 8", "line 13"], "{wrong:#?}");
        assert!(wrong[0].contains("no-receipt") && wrong[1].contains("\"letter\""), "{wrong:#?}");
        let region = "version = \"1\"\non_hold_pauses = true\ndeceased_pauses = true\n[[clock]]\nstep = \"parked\"\n\
                      region = \"VGR\"\nsorts = [\"referral\"]\nafter = { routine = [\"1h\"] }\n";
        assert!(parse(region).unwrap_err()[0].starts_with("line 6: region \"VGR\""), "{:?}", parse(region));
        let error = parse("version = \"1\"\non_hold_pauses = true\ndeceased_pauses = 1\n").unwrap_err();
        assert!(error[0].contains("line 3"), "{error:?}");
        assert!(Config::parse("[clocks]\nat_once = 0").is_err());
    }
}
