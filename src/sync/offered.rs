//! What a sender is told of a plan whose interventions are not what the region's guideline has its level of care offer: a warning
//! with the rule and its words. The plan is taken; a person has decided.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::planned::{interventions, plan_in};
use super::responsibility::today;
use crate::Gateway;
use crate::domain::unit::Level;
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::rules::{Planned, Responsible, Unusual, unusual};

/// Warnings for what a document plans. The guideline is that of the region of the unit that does it.
pub(super) fn warnings(gateway: &Gateway, resources: &[Value], now: DateTime<Utc>) -> Vec<Issue> {
    let Some(plan) = plan_in(resources) else { return Vec::new() };
    let mut issues = Vec::new();
    for one in interventions(gateway, plan, resources) {
        let (Some(area), Some(form)) = (&one.area, &one.form) else { continue };
        let level = match one.level {
            Some(Level::Specialist) => Responsible::Specialist,
            Some(Level::Primary) => Responsible::Primary,
            _ => continue,
        };
        if matches!(one.status.as_str(), "cancelled" | "entered-in-error") {
            continue;
        }
        let unit = one.unit.as_deref().and_then(|unit| gateway.config.directory.find(unit));
        let Some(Ok(set)) = unit.map(|unit| gateway.conformance.rules.choose(Some(&unit.region), today(now))) else {
            continue;
        };
        // What was broken off lasted as long as it did.
        let days = one.start.zip(one.end).map(|(start, end)| (end - start).num_days());
        let days = if one.status == "stopped" { None } else { days };
        for found in unusual(set, &Planned { area, form, level, days }) {
            if one.status == "stopped" && matches!(found, Unusual::Length(..)) {
                continue;
            }
            issues.push(issue(gateway, one.place, &found, (area, form, level)));
        }
    }
    issues
}

fn issue(
    gateway: &Gateway,
    place: usize,
    found: &Unusual<'_>,
    (area, form, level): (&str, &str, Responsible),
) -> Issue {
    let word = |system: &str, code: &str| {
        let words = gateway.conformance.profiles.terminology().words(&format!("{BASE}/CodeSystem/{system}"), code);
        words.map_or((code.to_owned(), code.to_owned()), |words| (words.sv.clone(), words.en.clone()))
    };
    let (area, form, level) = (word("rehab-area", area), word("intervention-form", form), level.code());
    let level = word("care-level", level);
    match found {
        Unusual::Form(rule) => Issue::warning(
            Code::BusinessRule,
            format!("CarePlan.activity[{place}].detail.code"),
            format!(
                "{}: {} hör inte till det som {} erbjuder. {}: ”{}” ({})",
                area.0,
                form.0.to_lowercase(),
                level.0.to_lowercase(),
                rule.id,
                rule.quote,
                rule.source
            ),
            format!(
                "{}: {} is not what {} offers. {} ({})",
                area.1,
                form.1.to_lowercase(),
                level.1.to_lowercase(),
                rule.id,
                rule.source
            ),
        ),
        Unusual::Length(rule, weeks) => Issue::warning(
            Code::BusinessRule,
            format!("CarePlan.activity[{place}].detail.scheduled"),
            format!(
                "{}: {} brukar vara {weeks} veckor, från start till end. {}: ”{}” ({})",
                area.0,
                form.0.to_lowercase(),
                rule.id,
                rule.quote,
                rule.source
            ),
            format!(
                "{}: {} is for {weeks} weeks as a rule, from start to end. {} ({})",
                area.1,
                form.1.to_lowercase(),
                rule.id,
                rule.source
            ),
        ),
    }
}
