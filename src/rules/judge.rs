//! Judges the rules of a set over an assessment: for each area who is responsible, by which rules, and what is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::assessment::Assessment;
use super::set::{Group, Kind, Offer, Outcome, Profession, Responsible, Rule, RuleSet, Target};

/// What a set says of one patient.
#[derive(Debug)]
pub struct Judged<'s> {
    pub set: &'s RuleSet,
    pub findings: Vec<Finding<'s>>,
    /// Fields that were said and that no rule of what was asked reads.
    pub unread: Vec<String>,
}

/// What the rules of an area or topic come to.
#[derive(Debug)]
pub struct Finding<'s> {
    pub group: &'s Group,
    /// None for a topic: nobody is responsible for it.
    pub responsible: Option<Responsible>,
    /// Where to, of an answer that points at somebody.
    pub target: Option<&'s Target>,
    /// Criteria that apply, each with what it points at.
    pub fired: Vec<(&'s Rule, &'s Outcome)>,
    pub aside: Vec<Aside<'s>>,
    /// Rules that could not be judged.
    pub unjudged: Vec<Unjudged<'s>>,
    /// What has to be said before there is an answer.
    pub missing: BTreeSet<String>,
    /// Where the criteria that apply point, while there is no answer yet.
    pub points_to: Vec<Responsible>,
    pub offers: Vec<(&'s Rule, &'s [Offer])>,
    pub professions: Vec<(&'s Rule, &'s Profession)>,
    pub duties: Vec<&'s Rule>,
    /// Rules that say or refer.
    pub cited: Vec<&'s Rule>,
}

/// A criterion that applies, set aside by others.
#[derive(Debug)]
pub struct Aside<'s> {
    pub rule: &'s Rule,
    pub by: Vec<&'s str>,
}

/// A rule that could not be judged, and what would have to be said.
#[derive(Debug)]
pub struct Unjudged<'s> {
    pub rule: &'s Rule,
    pub missing: BTreeSet<String>,
}

/// Judges the groups that are asked for by their codes. Where nothing is: the areas whose need was said (all, where none was), and
/// of topics what applies because of what was said.
pub fn judge<'s>(set: &'s RuleSet, assessment: &Assessment, asked: &[&str]) -> Judged<'s> {
    let said = assessment.said();
    let is_said = |group: &Group| {
        let mut fields = group.gate.iter().flat_map(|gate| gate.fields());
        fields.any(|field| assessment.names().contains(&field))
    };
    let any_said = set.groups.iter().any(|group| group.is_area() && is_said(group));
    let is_wanted = |group: &Group| match asked {
        [] => !group.is_area() || !any_said || is_said(group),
        asked => asked.contains(&group.about.code()),
    };
    let mut findings: Vec<Finding<'s>> =
        set.groups.iter().filter(|group| is_wanted(group)).map(|group| one(set, group, said)).collect();
    let mut read = BTreeSet::from(["asOf".to_owned()]);
    for group in findings.iter().map(|finding| finding.group) {
        read.extend(group.gate.iter().flat_map(|gate| gate.fields()));
        for rule in &group.rules {
            let branches = rule.outcomes.iter().filter_map(|outcome| outcome.when.as_ref());
            read.extend(rule.when.iter().chain(branches).flat_map(|condition| condition.fields()));
        }
    }
    if asked.is_empty() {
        findings.retain_mut(|finding| finding.group.is_area() || applies(finding));
    }
    Judged { set, findings, unread: assessment.names().difference(&read).cloned().collect() }
}

/// Leaves of a topic what applies because of what was said; whether anything is left.
fn applies(topic: &mut Finding<'_>) -> bool {
    topic.duties.retain(|rule| rule.is_conditional());
    topic.cited.retain(|rule| rule.is_conditional());
    topic.professions.retain(|(rule, _)| rule.is_conditional());
    topic.unjudged.clear();
    !topic.duties.is_empty() || !topic.cited.is_empty()
}

/// Whether a rule's conditions hold: its own and those around it.
pub(super) fn holds(rule: &Rule, said: &Map<String, Value>) -> Option<bool> {
    all(rule.when.iter().map(|condition| condition.judge(said)))
}

fn points(rule: &Rule, outcome: &Outcome, said: &Map<String, Value>) -> Option<bool> {
    let own = outcome.when.as_ref().map_or(Some(true), |condition| condition.judge(said));
    all([holds(rule, said), own])
}

fn all(values: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut so_far = Some(true);
    for value in values {
        so_far = match (so_far, value) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
    so_far
}

fn any(values: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    all(values.into_iter().map(|value| value.map(|b| !b))).map(|b| !b)
}

fn missing(rule: &Rule, said: &Map<String, Value>) -> BTreeSet<String> {
    let branches = rule.outcomes.iter().filter_map(|outcome| outcome.when.as_ref());
    if holds(rule, said) == Some(false) {
        return BTreeSet::new();
    }
    rule.when.iter().chain(branches).flat_map(|condition| condition.missing(said)).collect()
}

/// The criteria of a group: which are left when those that set others aside have done so.
struct Criteria<'s, 'a> {
    rules: Vec<&'s Rule>,
    said: &'a Map<String, Value>,
}

impl<'s> Criteria<'s, '_> {
    /// Whether a rule applies and nothing sets it aside. The loader has refused circles.
    fn is_left(&self, rule: &Rule, outcome: Option<&Outcome>) -> Option<bool> {
        let applies = match outcome {
            Some(outcome) => points(rule, outcome, self.said),
            None => any(rule.outcomes.iter().map(|outcome| points(rule, outcome, self.said))),
        };
        if applies == Some(false) {
            return applies;
        }
        let aside = any(self.over(rule).map(|over| self.is_left(over, None)));
        all([applies, aside.map(|b| !b)])
    }

    /// The rules that would set it aside.
    fn over(&self, rule: &Rule) -> impl Iterator<Item = &'s Rule> {
        self.rules.iter().copied().filter(move |over| over.sets_aside.contains(&rule.id))
    }
}

fn one<'s>(set: &'s RuleSet, group: &'s Group, said: &Map<String, Value>) -> Finding<'s> {
    let mut finding = Finding {
        group,
        responsible: None,
        target: None,
        fired: Vec::new(),
        aside: Vec::new(),
        unjudged: Vec::new(),
        missing: BTreeSet::new(),
        points_to: Vec::new(),
        offers: Vec::new(),
        professions: Vec::new(),
        duties: Vec::new(),
        cited: Vec::new(),
    };
    let gate = group.gate.as_ref().map_or(Some(true), |gate| gate.judge(said));
    if gate != Some(false) {
        criteria(set, group, said, gate, &mut finding);
    } else if group.is_area() {
        finding.responsible = Some(Responsible::NoNeed);
    }
    follow(group, said, gate, &mut finding);
    finding
}

/// Who is responsible.
fn criteria<'s>(
    set: &'s RuleSet,
    group: &'s Group,
    said: &Map<String, Value>,
    gate: Option<bool>,
    finding: &mut Finding<'s>,
) {
    let rules: Vec<&Rule> = group.rules.iter().filter(|rule| rule.kind == Kind::Criterion).collect();
    let criteria = Criteria { rules, said };
    let mut open: Vec<&'s Target> = Vec::new();
    for rule in &criteria.rules {
        for outcome in &rule.outcomes {
            match criteria.is_left(rule, Some(outcome)) {
                Some(true) => finding.fired.push((rule, outcome)),
                None => open.push(&outcome.to),
                Some(false) if points(rule, outcome, said) == Some(true) => {
                    let over = criteria.over(rule).filter(|over| criteria.is_left(over, None) == Some(true));
                    finding.aside.push(Aside { rule, by: over.map(|over| over.id.as_str()).collect() });
                }
                Some(false) => {}
            }
        }
        let applies = any(rule.outcomes.iter().map(|outcome| points(rule, outcome, said)));
        if applies.is_none() && criteria.is_left(rule, None).is_none() {
            finding.unjudged.push(Unjudged { rule, missing: missing(rule, said) });
        }
    }
    if !group.is_area() {
        return;
    }
    let mut targets: Vec<&'s Target> = Vec::new();
    for (_, outcome) in &finding.fired {
        if !targets.contains(&&outcome.to) {
            targets.push(&outcome.to);
        }
    }
    let is_open = gate.is_none() || open.iter().any(|to| !targets.contains(to));
    let answer = match targets.as_slice() {
        // Nothing that is still to be said makes two sides into one.
        [_, _, ..] if gate == Some(true) => Responsible::Conflict,
        _ if is_open => {
            let mut points_to: Vec<Responsible> = targets.iter().map(|to| to.responsible).collect();
            points_to.sort_unstable();
            points_to.dedup();
            finding.points_to = points_to;
            // What could only point where something points already changes nothing.
            let matters = |rule: &Rule| rule.outcomes.iter().any(|outcome| !targets.contains(&&outcome.to));
            let open = finding.unjudged.iter().filter(|unjudged| matters(unjudged.rule));
            finding.missing = open.flat_map(|unjudged| unjudged.missing.iter().cloned()).collect();
            finding.missing.extend(group.gate.iter().flat_map(|gate| gate.missing(said)));
            Responsible::Undetermined
        }
        [] => {
            let elsewhere = elsewhere(set, group);
            finding.target = elsewhere.map(|(_, outcome)| &outcome.to);
            finding.fired.extend(elsewhere);
            Responsible::NotRegulated
        }
        [to, ..] => {
            finding.target = Some(to);
            to.responsible
        }
    };
    finding.responsible = Some(answer);
}

/// Where an area is regulated that no criterion answers: as its own reference says, or one that is of no area.
fn elsewhere<'s>(set: &'s RuleSet, group: &'s Group) -> Option<(&'s Rule, &'s Outcome)> {
    let general = set.groups.iter().filter(|other| !other.is_area());
    let rules = std::iter::once(group).chain(general).flat_map(|group| &group.rules);
    let references = rules.filter(|rule| rule.kind == Kind::Reference && !rule.is_conditional());
    let mut found = references.flat_map(|rule| rule.outcomes.iter().map(move |outcome| (rule, outcome)));
    found.find(|(_, outcome)| outcome.to.responsible == Responsible::NotRegulated)
}

/// What follows: what can be offered by whoever is responsible, who does it, what is to be done, and what is said beside.
fn follow<'s>(group: &'s Group, said: &Map<String, Value>, gate: Option<bool>, finding: &mut Finding<'s>) {
    let sides = sides(finding);
    let applied: Vec<&'s Rule> = finding.fired.iter().map(|(rule, _)| *rule).collect();
    let mut professions: Vec<(&'s Rule, &'s Profession)> = Vec::new();
    let of = |rule: &'s Rule| rule.professions.iter().map(move |profession| (rule, profession));
    professions.extend(applied.iter().flat_map(|rule| of(rule)));
    for rule in &group.rules {
        let holds = holds(rule, said);
        let is_possible = gate == Some(true) && rule.is_for(&sides);
        match (rule.kind, holds) {
            (Kind::Criterion, _) => {}
            (Kind::Offer | Kind::Profession, _) if !is_possible => {}
            (_, Some(false)) => {}
            (_, None) => finding.unjudged.push(Unjudged { rule, missing: missing(rule, said) }),
            (Kind::Offer, Some(true)) => {
                finding.offers.push((rule, &rule.offers));
                professions.extend(of(rule));
            }
            (Kind::Profession, Some(true)) => professions.extend(of(rule)),
            (Kind::Duty, Some(true)) => {
                finding.duties.push(rule);
                professions.extend(of(rule));
            }
            (Kind::Info, Some(true)) => finding.cited.push(rule),
            (Kind::Reference, Some(true)) if applied.iter().any(|fired| fired.id == rule.id) => {}
            (Kind::Reference, Some(true)) => finding.cited.push(rule),
        }
    }
    // A criterion that only others stand inside says what it says where it holds.
    for rule in group.rules.iter().filter(|rule| rule.kind == Kind::Criterion && rule.outcomes.is_empty()) {
        match holds(rule, said) {
            Some(true) if gate == Some(true) => {
                finding.cited.push(rule);
                professions.extend(of(rule));
            }
            None if gate != Some(false) => {
                finding.unjudged.push(Unjudged { rule, missing: missing(rule, said) });
            }
            _ => {}
        }
    }
    finding.professions = professions;
}

/// The levels of care that an answer is about.
fn sides(finding: &Finding<'_>) -> Vec<Responsible> {
    use Responsible::{Conflict, Primary, Shared, Specialist};
    match finding.responsible {
        Some(Shared) => vec![Specialist, Primary, Shared],
        Some(Conflict) => finding.fired.iter().map(|(_, outcome)| outcome.to.responsible).collect(),
        Some(one @ (Specialist | Primary)) => vec![one],
        // For a topic nobody is responsible: what is said is said to everybody.
        None => vec![Specialist, Primary],
        Some(_) => Vec::new(),
    }
}

impl Finding<'_> {
    /// The sides of a conflict, each with its rules.
    pub fn by_side(&self) -> BTreeMap<Responsible, Vec<(&Rule, &Outcome)>> {
        let mut sides: BTreeMap<Responsible, Vec<(&Rule, &Outcome)>> = BTreeMap::new();
        for (rule, outcome) in &self.fired {
            sides.entry(outcome.to.responsible).or_default().push((rule, outcome));
        }
        sides
    }
}
