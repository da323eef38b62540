//! `[export]` and `[[cohort]]`: how bulk exports are written, and the groups of patients that can be asked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Europe::Stockholm;
use serde::Deserialize;

use super::{ConfigError, value};
use crate::domain::{Directory, icd10::Icd10};

/// Of all numbers: a million files, exports or ranges are enough for anybody.
const MOST: usize = 1_000_000;
/// Nobody waits for an export longer than a year, or asks what has changed in ten.
const LONGEST_KEPT_H: u64 = 366 * 24;
const LONGEST_REMEMBERED_D: u64 = 3660;
/// A file that is smaller would be all manifest.
const LEAST_BYTES: u64 = 64;

/// How bulk exports are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub folder: PathBuf,
    pub file_bytes: u64,
    pub file_lines: u64,
    pub record_bytes: u64,
    pub leave_bytes: u64,
    pub at_once: usize,
    pub open_per_client: u32,
    pub kept_per_client: u32,
    pub keep: TimeDelta,
    pub remember: TimeDelta,
    pub poll: Duration,
    pub verify_ranges: usize,
    pub verify_listed: usize,
}

/// A group of patients by criteria.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    pub id: String,
    pub name: String,
    pub clients: Vec<String>,
    /// From the first category to the last, both included.
    pub diagnoses: Vec<(String, String)>,
    pub plans: Vec<String>,
    /// HSA-ids in upper case of all units that count; empty: any.
    pub units: Vec<String>,
    pub care_providers: Vec<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
}

impl Cohort {
    /// From the first millisecond of the period to its last, in Swedish time.
    pub fn period_ms(&self) -> Option<(i64, i64)> {
        let start = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_local_timezone(Stockholm).earliest();
        let ms = |date: Option<NaiveDate>| date.and_then(start).map(|at| at.timestamp_millis());
        if self.from.is_none() && self.to.is_none() {
            return None;
        }
        let after = self.to.and_then(|to| to.checked_add_days(Days::new(1)));
        Some((ms(self.from).unwrap_or(i64::MIN), ms(after).map_or(i64::MAX, |ms| ms - 1)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExport {
    folder: PathBuf,
    file_bytes: u64,
    file_lines: u64,
    record_bytes: u64,
    leave_bytes: u64,
    at_once: usize,
    open_per_client: u32,
    kept_per_client: u32,
    keep_h: u64,
    remember_d: u64,
    poll_s: u64,
    verify_ranges: usize,
    verify_listed: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCohort {
    id: String,
    name: String,
    clients: Vec<String>,
    #[serde(default)]
    diagnoses: Vec<String>,
    #[serde(default)]
    plans: Vec<String>,
    #[serde(default)]
    units: Vec<String>,
    #[serde(default)]
    care_providers: Vec<String>,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
}

fn within(name: &str, count: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    Err(value(&format!("export.{name}"), &format!("must be from {least} to {most}")))
}

pub(super) fn check(raw: RawExport, base: &Path, db: &Path) -> Result<Export, ConfigError> {
    let most = MOST as u64;
    within("file_bytes", raw.file_bytes, LEAST_BYTES, i64::MAX.unsigned_abs())?;
    within("file_lines", raw.file_lines, 1, i64::MAX.unsigned_abs())?;
    within("record_bytes", raw.record_bytes, LEAST_BYTES, i64::MAX.unsigned_abs())?;
    within("at_once", raw.at_once as u64, 1, 16)?;
    within("open_per_client", u64::from(raw.open_per_client), 1, most)?;
    within("kept_per_client", u64::from(raw.kept_per_client), 1, most)?;
    within("keep_h", raw.keep_h, 1, LONGEST_KEPT_H)?;
    within("remember_d", raw.remember_d, 1, LONGEST_REMEMBERED_D)?;
    within("poll_s", raw.poll_s, 1, 3600)?;
    within("verify_ranges", raw.verify_ranges as u64, 1, most)?;
    within("verify_listed", raw.verify_listed as u64, 1, most)?;
    let beside = || {
        let mut name = OsString::from(db);
        name.push(".exports");
        PathBuf::from(name)
    };
    Ok(Export {
        folder: if raw.folder.as_os_str().is_empty() { beside() } else { base.join(raw.folder) },
        file_bytes: raw.file_bytes,
        file_lines: raw.file_lines,
        record_bytes: raw.record_bytes,
        leave_bytes: raw.leave_bytes,
        at_once: raw.at_once,
        open_per_client: raw.open_per_client,
        kept_per_client: raw.kept_per_client,
        keep: TimeDelta::hours(i64::try_from(raw.keep_h).unwrap_or(1)),
        remember: TimeDelta::days(i64::try_from(raw.remember_d).unwrap_or(1)),
        poll: Duration::from_secs(raw.poll_s),
        verify_ranges: raw.verify_ranges,
        verify_listed: raw.verify_listed,
    })
}

pub(super) fn check_cohorts(raw: Vec<RawCohort>, directory: &Directory) -> Result<Vec<Cohort>, ConfigError> {
    let mut cohorts: Vec<Cohort> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = format!("cohort[{index}] ({})", raw.id);
        if cohorts.iter().any(|c| c.id == raw.id) {
            return Err(value(&key, "is named twice"));
        }
        cohorts.push(cohort(&key, raw, directory)?);
    }
    Ok(cohorts)
}

fn cohort(key: &str, raw: RawCohort, directory: &Directory) -> Result<Cohort, ConfigError> {
    let is_id = !raw.id.is_empty()
        && raw.id.len() <= 64
        && raw.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    if !is_id {
        return Err(value(key, "id is one to 64 letters, digits, - and ."));
    }
    if raw.clients.is_empty() {
        return Err(value(key, "clients is empty: nobody could ask for it"));
    }
    if raw.diagnoses.is_empty() && raw.plans.is_empty() {
        return Err(value(key, "needs diagnoses or plans: without either every patient would be in it"));
    }
    let is_of_plan = !raw.units.is_empty() || !raw.care_providers.is_empty() || raw.from.is_some() || raw.to.is_some();
    if raw.plans.is_empty() && is_of_plan {
        return Err(value(key, "units, care_providers, from and to are asked of the plan: it needs plans"));
    }
    if raw.from.zip(raw.to).is_some_and(|(from, to)| from > to) {
        return Err(value(key, "ends before it begins"));
    }
    let mut units = Vec::new();
    for id in &raw.units {
        let unit = directory.find(id).ok_or_else(|| value(key, &format!("{id} is no unit of gateway.units")))?;
        units.push(unit.hsa_id.clone());
    }
    for provider in &raw.care_providers {
        let before = units.len();
        units.extend(
            directory.iter().filter(|u| u.care_provider.eq_ignore_ascii_case(provider)).map(|u| u.hsa_id.clone()),
        );
        if units.len() == before {
            return Err(value(key, &format!("{provider} is the care provider of no unit of gateway.units")));
        }
    }
    let diagnoses = raw.diagnoses.iter().map(|text| range(text).ok_or_else(|| value(key, &format!("{text} {RANGE}"))));
    Ok(Cohort {
        diagnoses: diagnoses.collect::<Result<_, _>>()?,
        id: raw.id,
        name: raw.name,
        clients: raw.clients,
        plans: raw.plans,
        units,
        care_providers: raw.care_providers,
        from: raw.from,
        to: raw.to,
    })
}

const RANGE: &str = "is no range of ICD-10-SE categories, as C00-C97 or C61";

fn range(text: &str) -> Option<(String, String)> {
    let (first, last) = text.split_once(['-', '–']).unwrap_or((text, text));
    let category = |text: &str| (text.len() == 3).then(|| Icd10::parse(text).ok().map(|_| text.to_owned())).flatten();
    let (first, last) = (category(first.trim())?, category(last.trim())?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const WHOLE: &str =
        "[[cohort]]\nid = \"a\"\nname = \"A\"\nclients = [\"r\"]\ndiagnoses = [\"C00-C97\", \"D37–D48\", \"C61\"]\n";

    #[test]
    fn a_cohort_is_read_with_its_ranges_its_units_and_its_days() {
        let more = "plans = [\"RP\"]\ncare_providers = [\"se2321000131-e000000000001\"]\nfrom = \"2026-03-29\"\nto = \"2026-03-29\"\n";
        let config = Config::parse(&format!("{WHOLE}{more}")).unwrap();
        let cohort = &config.cohorts[0];
        assert_eq!(cohort.diagnoses[1], ("D37".to_owned(), "D48".to_owned()));
        assert_eq!(cohort.diagnoses[2], ("C61".to_owned(), "C61".to_owned()));
        assert!(!cohort.units.is_empty() && cohort.units.iter().all(|u| *u == u.to_ascii_uppercase()));
        let (from, to) = cohort.period_ms().unwrap();
        assert_eq!(to - from + 1, 23 * 3_600_000, "the day on which summer time begins");
    }

    #[test]
    fn a_cohort_that_would_hold_everybody_or_nobody_is_refused() {
        let all = WHOLE.replace("diagnoses = [\"C00-C97\", \"D37–D48\", \"C61\"]\n", "");
        for (text, said) in [
            (all, "every patient"),
            (WHOLE.replace("[\"r\"]", "[]"), "nobody"),
            (format!("{WHOLE}from = \"2026-01-01\"\n"), "needs plans"),
            (format!("{WHOLE}plans = [\"RP\"]\nunits = [\"SE0\"]\n"), "no unit"),
            (WHOLE.replace("C00-C97", "C97-C00"), "no range"),
            (WHOLE.replace("C00-C97", "cancer"), "no range"),
            (WHOLE.replace("\"a\"", "\"a/b\""), "letters, digits"),
            (format!("{WHOLE}{WHOLE}"), "twice"),
        ] {
            let error = Config::parse(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
    }

    #[test]
    fn an_export_that_could_not_be_written_or_would_never_end_is_refused() {
        for key in
            ["file_bytes = 0", "file_lines = 0", "at_once = 0", "keep_h = 0", "poll_s = 0", "remember_d = 100000"]
        {
            let error = Config::parse(&format!("[export]\n{key}")).unwrap_err().to_string();
            assert!(error.starts_with("export."), "{error}");
        }
        assert!(Config::parse("").unwrap().export.folder.to_string_lossy().ends_with(".exports"));
    }
}
