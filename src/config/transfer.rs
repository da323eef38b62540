//! `[transfer]`: the file of rules for transfers, read and checked, with the line of everything that is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, value};
use crate::domain::transfer::{AreaRule, Demand, Effect, Evidence, Ground, Mode, ModeRule, Policy, Rule};
use crate::domain::{Format, Level};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTransfer {
    rules: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    version: Spanned<String>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    area: Vec<Spanned<RawArea>>,
}

type Words = Spanned<Vec<Spanned<String>>>;

/// A section that stands on a ground, with what is its own. A macro, because `serde(flatten)` forgets on which line a field stands.
macro_rules! grounded {
    ($name:ident { $($own:tt)* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            id: Spanned<String>,
            region: Spanned<String>,
            document: Spanned<String>,
            document_version: Spanned<String>,
            lines: String,
            quote: Spanned<String>,
            from: Words,
            to: Words,
            valid_from: Option<Spanned<String>>,
            valid_to: Option<Spanned<String>>,
            $($own)*
        }

        impl $name {
            fn ground(&self, file: &mut File<'_>) -> Ground {
                let texts = [&self.document, &self.document_version, &self.quote];
                let days = [self.valid_from.as_ref(), self.valid_to.as_ref()];
                file.ground(&self.id, &self.region, texts, &self.lines, [&self.from, &self.to], days)
            }
        }
    };
}

grounded!(RawRule {
    #[serde(default)]
    mode: Vec<Spanned<RawMode>>,
});

grounded!(RawArea {
    area: Spanned<String>,
    modes: Words,
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMode {
    mode: Spanned<String>,
    missing: Spanned<BTreeMap<String, Spanned<String>>>,
    must: Vec<Spanned<RawDemand>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDemand {
    carry: Spanned<String>,
    at: String,
    sv: String,
    en: String,
}

const RULES: &str = include_str!("transfer.toml");
const AREAS: &str = include_str!("../../profiles/CodeSystem-rehab-area.json");

pub(super) fn check(raw: &RawTransfer, base: &Path) -> Result<Policy, ConfigError> {
    let (name, text) = if raw.rules.as_os_str().is_empty() {
        ("transfer.toml".to_owned(), RULES.to_owned())
    } else {
        let path = base.join(&raw.rules);
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
        (path.display().to_string(), text)
    };
    parse(&text).map_err(|wrong| value(&name, &wrong.join("; ")))
}

/// The rules, or everything that is wrong with them, each with its line.
fn parse(text: &str) -> Result<Policy, Vec<String>> {
    let raw: RawPolicy = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut file = File { text, wrong: Vec::new() };
    if raw.version.get_ref().trim().is_empty() {
        file.wrong(raw.version.span(), "version is empty");
    }
    let mut policy = Policy { version: raw.version.into_inner(), ..Policy::default() };
    let mut seen: Vec<(String, String)> = Vec::new();
    for rule in raw.rule {
        let span = rule.span();
        let mut rule = rule.into_inner();
        if rule.mode.is_empty() {
            file.wrong(span, "a rule without a mode asks for nothing");
        }
        file.once(&mut seen, &rule.id, &rule.region);
        let modes = std::mem::take(&mut rule.mode);
        let modes = modes.into_iter().filter_map(|mode| file.mode(mode.into_inner())).collect();
        let ground = rule.ground(&mut file);
        policy.rules.push(Rule { ground, modes });
    }
    let codes: serde_json::Value = serde_json::from_str(AREAS).unwrap_or_default();
    let is_area = |code: &str| codes["concept"].as_array().is_some_and(|list| list.iter().any(|c| c["code"] == code));
    for area in raw.area {
        let area = area.into_inner();
        if !is_area(area.area.get_ref()) {
            file.wrong(area.area.span(), &format!("{:?} is no code of rehab-area", area.area.get_ref()));
        }
        file.once(&mut seen, &area.id, &area.region);
        let modes = file.words(&area.modes, "mode", Mode::parse, &Mode::ALL.map(Mode::code));
        let ground = area.ground(&mut file);
        policy.areas.push(AreaRule { ground, area: area.area.into_inner(), modes });
    }
    if file.wrong.is_empty() { Ok(policy) } else { Err(file.wrong) }
}

/// The text, and what is wrong with it.
struct File<'t> {
    text: &'t str,
    wrong: Vec<String>,
}

impl File<'_> {
    fn wrong(&mut self, at: Range<usize>, what: &str) {
        let line = self.text.get(..at.start).map_or(1, |before| before.matches('\n').count() + 1);
        self.wrong.push(format!("line {line}: {what}"));
    }

    fn once(&mut self, seen: &mut Vec<(String, String)>, id: &Spanned<String>, region: &Spanned<String>) {
        let key = (id.get_ref().clone(), region.get_ref().clone());
        if key.0.trim().is_empty() {
            self.wrong(id.span(), "id is empty");
        }
        if seen.contains(&key) {
            self.wrong(id.span(), &format!("{} stands twice for region {}", key.0, key.1));
        }
        seen.push(key);
    }

    fn word<T>(
        &mut self,
        word: &Spanned<String>,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
        known: &[&str],
    ) -> Option<T> {
        let found = parse(word.get_ref());
        if found.is_none() {
            let known = known.join(", ");
            self.wrong(word.span(), &format!("{what} {:?} is none of {known}", word.get_ref()));
        }
        found
    }

    fn words<T>(&mut self, words: &Words, what: &str, parse: impl Fn(&str) -> Option<T>, known: &[&str]) -> Vec<T> {
        if words.get_ref().is_empty() {
            self.wrong(words.span(), &format!("no {what} is named"));
        }
        words.get_ref().iter().filter_map(|word| self.word(word, what, &parse, known)).collect()
    }

    fn day(&mut self, day: Option<&Spanned<String>>) -> Option<NaiveDate> {
        let day = day?;
        let read = day.get_ref().parse().ok();
        if read.is_none() {
            self.wrong(day.span(), "is no day, like \"2026-01-01\"");
        }
        read
    }

    fn ground(
        &mut self,
        id: &Spanned<String>,
        region: &Spanned<String>,
        texts: [&Spanned<String>; 3],
        lines: &str,
        levels: [&Words; 2],
        days: [Option<&Spanned<String>>; 2],
    ) -> Ground {
        let county = region.get_ref();
        if county.len() != 2 || !county.bytes().all(|b| b.is_ascii_digit()) {
            self.wrong(region.span(), "region is a county code of two digits, like \"14\"");
        }
        for text in texts {
            if text.get_ref().trim().is_empty() {
                self.wrong(text.span(), "is empty: a finding cites document, version and quote");
            }
        }
        let [from, to] = levels.map(|words| self.words(words, "level", Level::parse, &Level::ALL.map(Level::code)));
        let [valid_from, valid_to] = days.map(|day| self.day(day));
        if let (Some(first), Some(last), Some(day)) = (valid_from, valid_to, days[1])
            && first > last
        {
            self.wrong(day.span(), "valid_to is before valid_from");
        }
        let [document, document_version, quote] = texts.map(|text| text.get_ref().clone());
        let (id, region) = (id.get_ref().clone(), county.clone());
        Ground {
            id,
            region,
            document,
            document_version,
            lines: lines.to_owned(),
            quote,
            from,
            to,
            valid_from,
            valid_to,
        }
    }

    fn mode(&mut self, raw: RawMode) -> Option<ModeRule> {
        let mode = self.word(&raw.mode, "mode", Mode::parse, &Mode::ALL.map(Mode::code));
        let mut must = Vec::new();
        for demand in raw.must {
            let span = demand.span();
            let demand = demand.into_inner();
            let known = Evidence::ALL.map(Evidence::code);
            let carry = self.word(&demand.carry, "carry", Evidence::parse, &known);
            if [&demand.at, &demand.sv, &demand.en].iter().any(|text| text.trim().is_empty()) {
                self.wrong(span, "at, sv and en say where it belongs and what to add: none of them is empty");
            }
            must.extend(carry.map(|carry| Demand { carry, at: demand.at, sv: demand.sv, en: demand.en }));
        }
        let mut missing = Vec::new();
        for (format, effect) in raw.missing.get_ref() {
            let Ok(format) = format.parse::<Format>() else {
                self.wrong(effect.span(), &format!("format {format:?} is none of json, riv"));
                continue;
            };
            let Some(effect_read) = self.word(effect, "effect", Effect::parse, &Effect::ALL.map(Effect::code)) else {
                continue;
            };
            let can_hold = mode == Some(Mode::Referral) && must.iter().all(|demand| demand.carry.can_follow());
            if effect_read == Effect::Hold && mode.is_some() && !can_hold {
                self.wrong(
                    effect.span(),
                    "hold is for referrals that lack a consultation: nothing else can be added later",
                );
            }
            missing.push((format, effect_read));
        }
        Some(ModeRule { mode: mode?, must, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of the only finding.
    fn line(text: &str) -> String {
        match parse(text).unwrap_err().as_slice() {
            [one] => one.clone(),
            many => panic!("{many:?}"),
        }
    }

    #[test]
    fn the_rules_that_come_with_the_program_are_read_whole() {
        let policy = parse(RULES).unwrap();
        let [rule] = &policy.rules[..] else { panic!("one rule") };
        assert_eq!((rule.ground.id.as_str(), rule.ground.region.as_str(), rule.modes.len()), ("TRF-1", "14", 3));
        assert_eq!(rule.modes[0].missing, [(Format::Json, Effect::Refuse), (Format::Riv, Effect::Hold)]);
        let areas: Vec<&str> = policy.areas.iter().map(|a| a.ground.id.as_str()).collect();
        assert_eq!(areas, ["FAT-S3", "NUT-3"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let row = |text: &str| RULES.lines().position(|l| l.starts_with(text)).unwrap() + 1;
        let swap = |from: &str, to: &str| line(&RULES.replacen(from, to, 1));
        let rule = row("region = ");
        assert!(swap("region = \"14\"", "region = \"Västra\"").starts_with(&format!("line {rule}: region")));
        let from = row("from = ");
        let found = swap("from = [\"specialist\"]", "from = [\"hospital\"]");
        assert!(found.starts_with(&format!("line {from}: level \"hospital\"")), "{found}");
        let found = swap("riv = \"hold\"", "riv = \"park\"");
        assert!(found.starts_with(&format!("line {}: effect \"park\"", row("missing = "))), "{found}");
        let found = swap("missing = { json = \"warn\" }", "missing = { json = \"hold\" }");
        assert!(found.contains("hold is for referrals"), "{found}");
        let found = swap("area = \"fatigue\"", "area = \"tiredness\"");
        assert!(found.starts_with(&format!("line {}: \"tiredness\"", row("area = "))), "{found}");
        let found = swap("id = \"FAT-S3\"", "id = \"TRF-1\"");
        assert!(found.contains("stands twice"), "{found}");
        let found = swap("carry = \"meeting\"", "carry = \"handshake\"");
        assert!(found.contains("handshake"), "{found}");
        assert!(swap("quote = \"När", "qoute = \"När").contains("qoute"));
        assert_eq!(parse("version = \"\"").unwrap_err(), ["line 1: version is empty"]);
    }

    #[test]
    fn a_rule_says_what_is_lacked_from_specialist_to_primary_care_only_and_while_it_is_valid() {
        use crate::domain::transfer::{Finding, Transfer};
        let policy =
            parse(&RULES.replacen("to = [\"primary\"]", "to = [\"primary\"]\nvalid_to = \"2026-12-31\"", 1)).unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let areas = ["fatigue".to_owned(), "nutrition".to_owned()];
        let said = |mode, format, region, from, to, carries: &[Evidence], on| -> Vec<String> {
            let transfer = Transfer { mode, format, region, from, to: vec![to], areas: &areas, carries, day: day(on) };
            let told = |finding| match finding {
                Finding::Lacks { demand, effect, .. } => format!("{} {}", effect.code(), demand.carry.code()),
                Finding::OtherMode { rule } => rule.ground.id.clone(),
            };
            policy.weigh(&transfer).into_iter().map(told).collect()
        };
        let (json, riv, today) = (Format::Json, Format::Riv, "2026-11-22");
        let (specialist, primary) = (Level::Specialist, Level::Primary);
        let both = [Evidence::ConsultationPatient, Evidence::ConsultationPrimaryCare];
        assert_eq!(
            said(Mode::Referral, json, "14", specialist, primary, &[], today),
            ["refuse consultation-patient", "refuse consultation-primary-care", "FAT-S3"]
        );
        assert_eq!(
            said(Mode::Referral, riv, "14", specialist, primary, &both[..1], today),
            ["hold consultation-primary-care", "FAT-S3"]
        );
        assert_eq!(said(Mode::Referral, json, "14", specialist, primary, &both, today), ["FAT-S3"]);
        assert_eq!(
            said(Mode::Active, json, "14", specialist, primary, &[Evidence::OralContact], today),
            ["warn consultation-patient", "NUT-3"]
        );
        assert_eq!(
            said(Mode::Sip, json, "14", specialist, primary, &[Evidence::Consent], today),
            ["refuse meeting", "FAT-S3", "NUT-3"]
        );
        assert!(
            said(Mode::Referral, json, "14", primary, specialist, &[], today).is_empty(),
            "the way back asks for nothing"
        );
        assert!(said(Mode::Referral, json, "14", specialist, Level::Municipality, &[], today).is_empty());
        assert!(
            said(Mode::Referral, json, "07", specialist, primary, &[], today).is_empty(),
            "another region has no such rule"
        );
        assert_eq!(said(Mode::Referral, json, "14", specialist, primary, &[], "2027-01-01"), ["FAT-S3"]);
    }
}
