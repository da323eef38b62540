//! The cases of a rule set: assessments with what has to come of them. They are documentation and test at once, and belong to
//! whoever owns the rules: a rule that no case shows is a finding.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::judge::{Finding, judge};
use super::set::RuleSet;
use super::sets::{Files, RuleSets};
use crate::fhir::issue::{Code, Issue};

/// `examples/PlanDefinition-{id}.cases.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Assessments that cases build on.
    #[serde(default)]
    base: BTreeMap<String, Map<String, Value>>,
    case: Vec<Case>,
}

/// One case. Rules are named by their ids.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    pub name: String,
    #[serde(default)]
    base: Option<String>,
    /// Laid over the base.
    #[serde(default)]
    given: Map<String, Value>,
    /// The area or topic that is looked at.
    about: String,
    #[serde(default)]
    answer: Option<String>,
    #[serde(default)]
    destination: Option<String>,
    /// Criteria that apply, just these.
    #[serde(default)]
    fires: Option<Vec<String>>,
    /// Criteria that apply and are set aside, just these.
    #[serde(default)]
    aside: Vec<String>,
    /// Rules that follow: offers, professions, duties, and what is said and referred to; these and maybe others.
    #[serde(default)]
    cites: Vec<String>,
    /// Rules that do not apply.
    #[serde(default)]
    not: Vec<String>,
    /// What is missing, just that.
    #[serde(default)]
    missing: Option<Vec<String>>,
    #[serde(default)]
    points_to: Vec<String>,
    /// Forms that can be offered, and weeks where that is said, just these: `group 12`.
    #[serde(default)]
    offers: Option<Vec<String>>,
    /// Professions, just these.
    #[serde(default)]
    professions: Option<Vec<String>>,
}

/// The name of the file of a set's cases.
fn file_of(set: &RuleSet) -> String {
    format!("examples/PlanDefinition-{}.cases.toml", set.id)
}

/// Runs the cases of every set, and tells what no case shows.
pub fn check_cases(sets: &RuleSets, files: &Files) -> Vec<Issue> {
    let mut issues = Vec::new();
    for set in sets.all() {
        let file = file_of(set);
        let Some(text) = files.get(&file) else {
            let (sv, en) = ("regelverket har inga fall som prövar det", "the rule set has no cases that try it");
            issues.push(Issue::warning(Code::NotFound, "PlanDefinition", sv, en).from(file));
            continue;
        };
        let table: Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                issues.push(Issue::error(Code::Structure, "", "filen går inte att läsa", error.to_string()).from(file));
                continue;
            }
        };
        for case in &table.case {
            if let Err(wrong) = run(sets, set, &table, case) {
                let origin = format!("{file} {:?}", case.name);
                issues.push(Issue::error(Code::Processing, &case.about, "fallet blir något annat", wrong).from(origin));
            }
        }
        issues.extend(uncovered(set, &table).into_iter().map(|(rule, what)| {
            let origin = format!("{file} rule {rule}");
            Issue::error(Code::NotFound, "PlanDefinition.action", "inget fall visar regeln", what).from(origin)
        }));
    }
    issues
}

fn run(sets: &RuleSets, set: &RuleSet, table: &Table, case: &Case) -> Result<(), String> {
    let base =
        case.base.as_ref().map(|name| table.base.get(name).ok_or(format!("there is no base {name}"))).transpose()?;
    let mut body = base.cloned().unwrap_or_default();
    lay(&mut body, &case.given);
    let assessment = sets.inputs.check(&body, NaiveDate::default()).map_err(|found| {
        found.iter().map(|issue| format!("{}: {}", issue.expression, issue.en)).collect::<Vec<_>>().join("; ")
    })?;
    let judged = judge(set, &assessment, &[case.about.as_str()]);
    let finding = judged.findings.first().ok_or(format!("there is no group {}", case.about))?;
    let mut wrong = Vec::new();
    let mut same = |what: &str, is: String, due: String| {
        if is != due {
            wrong.push(format!("{what} is {is:?}, not {due:?}"));
        }
    };
    if let Some(due) = &case.answer {
        same("the answer", finding.responsible.map_or("", |one| one.code()).to_owned(), due.clone());
    }
    if let Some(due) = &case.destination {
        let is = finding.target.and_then(|to| to.destination.as_ref().or(to.text.as_ref()));
        same("the destination", is.cloned().unwrap_or_default(), due.clone());
    }
    if let Some(due) = &case.fires {
        same(
            "what applies",
            sorted(finding.fired.iter().map(|(rule, _)| rule.id.clone())),
            sorted(due.iter().cloned()),
        );
    }
    let aside = finding.aside.iter().map(|aside| aside.rule.id.clone());
    same("what is set aside", sorted(aside), sorted(case.aside.iter().cloned()));
    let points_to = finding.points_to.iter().map(|one| one.code().to_owned());
    same("what is known points to", sorted(points_to), sorted(case.points_to.iter().cloned()));
    if let Some(due) = &case.missing {
        same("what is missing", sorted(finding.missing.iter().cloned()), sorted(due.iter().cloned()));
    }
    if let Some(due) = &case.offers {
        let all = finding.offers.iter().flat_map(|(_, offers)| *offers);
        let all = all.map(|offer| offer.weeks.map_or(offer.form.clone(), |weeks| format!("{} {weeks}", offer.form)));
        same("what is offered", sorted(all), sorted(due.iter().cloned()));
    }
    if let Some(due) = &case.professions {
        let all = finding.professions.iter().map(|(_, one)| one.code.as_ref().or(one.text.as_ref()).cloned());
        same("who does it", sorted(all.flatten()), sorted(due.iter().cloned()));
    }
    let applied = applied(finding);
    for rule in case.cites.iter().filter(|rule| !applied.contains(rule.as_str())) {
        wrong.push(format!("{rule} is not cited"));
    }
    let open: BTreeSet<&str> = finding.unjudged.iter().map(|unjudged| unjudged.rule.id.as_str()).collect();
    for rule in case.not.iter().filter(|rule| applied.contains(rule.as_str()) || open.contains(rule.as_str())) {
        wrong.push(format!("{rule} applies, or may"));
    }
    for rule in case.not.iter().chain(&case.cites).filter(|rule| set.rules().all(|known| known.id != **rule)) {
        wrong.push(format!("there is no rule {rule}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Every rule that an answer names.
pub(super) fn applied<'s>(finding: &Finding<'s>) -> BTreeSet<&'s str> {
    let mut all: BTreeSet<&str> = finding.fired.iter().map(|(rule, _)| rule.id.as_str()).collect();
    all.extend(finding.aside.iter().map(|aside| aside.rule.id.as_str()));
    all.extend(finding.offers.iter().map(|(rule, _)| rule.id.as_str()));
    all.extend(finding.professions.iter().map(|(rule, _)| rule.id.as_str()));
    all.extend(finding.duties.iter().chain(&finding.cited).map(|rule| rule.id.as_str()));
    all
}

/// Rules that no case shows: one that can apply or not needs a case of each, any other one that names it.
fn uncovered<'s>(set: &'s RuleSet, table: &Table) -> Vec<(&'s str, &'static str)> {
    let shows = |case: &Case, id: &String| {
        case.fires.iter().flatten().chain(&case.aside).chain(&case.cites).any(|shown| shown == id)
    };
    let mut missing = Vec::new();
    for rule in set.rules() {
        if !table.case.iter().any(|case| shows(case, &rule.id)) {
            missing.push((rule.id.as_str(), "no case in which it applies"));
        }
        if rule.is_conditional() && !table.case.iter().any(|case| case.not.contains(&rule.id)) {
            missing.push((rule.id.as_str(), "no case in which it does not apply"));
        }
    }
    missing
}

fn lay(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => lay(inner, more),
            _ => drop(under.insert(name.clone(), value.clone())),
        }
    }
}

fn sorted(list: impl Iterator<Item = String>) -> String {
    let set: BTreeSet<String> = list.collect();
    set.into_iter().collect::<Vec<_>>().join(" ")
}
