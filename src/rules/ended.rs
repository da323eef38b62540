//! What rules ask for when an intervention in specialist care has ended: those that hold then and do not before, whatever they
//! are called.

use serde_json::{Map, json};

use super::assessment::Inputs;
use super::judge::holds;
use super::set::{Group, Kind, Responsible, Rule, RuleSet};

/// The field of an assessment that says that one has ended.
const ENDED: &str = "criteria.specialistInterventionCompleted";
/// Advice is given and not ended: only a rule that names it follows from it.
const ADVICE: &str = "self-care-advice";

/// A rule that follows, and where in the guideline it stands.
#[derive(Debug, Clone, Copy)]
pub struct Following<'s> {
    pub group: &'s Group,
    pub rule: &'s Rule,
}

impl Following<'_> {
    /// The rule by name and words, as whoever acts on it reads it.
    pub fn cited(&self) -> String {
        let Rule { id, quote, source, .. } = self.rule;
        format!("{id}: ”{quote}” ({source}, {})", self.group.title)
    }
}

/// The rules that follow when an intervention of that area and form ends in specialist care. A guideline may say it once, under
/// one area, of any intervention; where it says it of the area itself, that is what counts. Empty: nothing is asked for.
pub fn on_ended<'s>(set: &'s RuleSet, area: Option<&str>, form: Option<&str>) -> Vec<Following<'s>> {
    let own = set.groups.iter().filter(|group| group.is_area() && area == Some(group.about.code()));
    let own: Vec<Following<'s>> = own.flat_map(|group| of_group(group, form)).collect();
    let found = match own.is_empty() {
        true => set.groups.iter().flat_map(|group| of_group(group, form)).collect(),
        false => own,
    };
    // What is only said beside a duty asks for nothing by itself.
    if found.iter().any(|following| following.rule.kind == Kind::Duty) { found } else { Vec::new() }
}

fn of_group<'s>(group: &'s Group, form: Option<&str>) -> Vec<Following<'s>> {
    let said = |ended: bool| {
        let mut said = Map::new();
        Inputs::put(&mut said, ENDED, json!(ended));
        said
    };
    let (before, after) = (said(false), said(true));
    let follows = |rule: &&Rule| {
        matches!(rule.kind, Kind::Duty | Kind::Info)
            && rule.is_for(&[Responsible::Specialist])
            && holds(rule, &after) == Some(true)
            && holds(rule, &before) == Some(false)
            && match rule.offers.as_slice() {
                [] => form != Some(ADVICE),
                named => named.iter().any(|offer| form == Some(offer.form.as_str())),
            }
    };
    group.rules.iter().filter(follows).map(|rule| Following { group, rule }).collect()
}
