//! Reads a PlanDefinition into a rule set. What it says and cannot be judged is a finding that names file and rule, and the
//! set is not used: a rule that is silently left out would change who is responsible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::assessment::Inputs;
use super::set::{About, Group, Kind, Offer, Outcome, Profession, Responsible, Rule, RuleSet, Target};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue};
use crate::fhir::profile::expression::{Condition, Refusal};
use crate::fhir::terminology::Terminology;
use crate::fhir::validate::{hint, nearest};

/// Rules within rules.
const DEEPEST: usize = 8;

struct Reader<'a> {
    file: &'a str,
    inputs: &'a Inputs,
    terminology: &'a Terminology,
    issues: &'a mut Vec<Issue>,
}

/// Reads a file; nothing where it is no PlanDefinition.
pub fn read(
    file: &str,
    text: &str,
    inputs: &Inputs,
    terminology: &Terminology,
    issues: &mut Vec<Issue>,
) -> Option<RuleSet> {
    // What is no JSON has been said by who loads the package.
    let plan: Value = serde_json::from_str(text).ok()?;
    let mut reader = Reader { file, inputs, terminology, issues };
    let needed = |reader: &mut Reader<'_>, name: &str| {
        let found = plan[name].as_str().map(str::to_owned);
        if found.is_none() {
            reader.wrong("", name, "saknas", "is missing");
        }
        found.unwrap_or_default()
    };
    let (id, url) = (needed(&mut reader, "id"), needed(&mut reader, "url"));
    let (version, title) = (needed(&mut reader, "version"), needed(&mut reader, "title"));
    let regions = codes(&plan["jurisdiction"], "region");
    if regions.is_empty() {
        reader.wrong("", "jurisdiction", "en region (region) saknas", "a region (region) is missing");
    }
    let mut end = |name: &str| {
        let text = plan["effectivePeriod"][name].as_str()?;
        let day = text.parse::<NaiveDate>().ok();
        if day.is_none() {
            reader.wrong("", "effectivePeriod", "ska vara hela dagar", "should be whole days");
        }
        day
    };
    let (from, to) = (end("start"), end("end"));
    let groups: Vec<Group> = list(&plan["action"]).filter_map(|group| reader.group(group)).collect();
    let set = RuleSet {
        file: file.to_owned(),
        id,
        url,
        version,
        title,
        document: list(&plan["identifier"]).find_map(|i| i["value"].as_str()).map(str::to_owned),
        is_active: plan["status"] == "active",
        regions,
        from,
        to,
        groups,
    };
    reader.whole(&set);
    Some(set)
}

impl Reader<'_> {
    fn wrong(&mut self, rule: &str, element: &str, sv: &str, en: &str) {
        let issue = Issue::error(
            Code::Value,
            format!("PlanDefinition.{element}"),
            format!("{element} {sv}"),
            format!("{element} {en}"),
        );
        let origin = if rule.is_empty() { self.file.to_owned() } else { format!("{} rule {rule}", self.file) };
        self.issues.push(issue.from(origin));
    }

    /// Whether the code is one of the system's; the nearest is named where it is not.
    fn known(&mut self, rule: &str, set: &str, code: &str) -> bool {
        let url = format!("{BASE}/ValueSet/{set}");
        let Some(values) = self.terminology.compose(&url, &mut Vec::new()) else { return true };
        if values.has_code(code) {
            return true;
        }
        let (sv, en) = values.help(Some(code));
        self.wrong(rule, "action.code", &format!("har ingen kod {code}: {sv}"), &format!("has no code {code}: {en}"));
        false
    }

    fn group(&mut self, action: &Value) -> Option<Group> {
        let title = action["title"].as_str().unwrap_or_default().to_owned();
        let area = codes(&action["code"], "rehab-area").pop().map(About::Area);
        let Some(about) = area.or_else(|| codes(&action["code"], "rule-topic").pop().map(About::Topic)) else {
            self.wrong(
                &title,
                "action.code",
                "säger inte vad reglerna gäller",
                "does not say what its rules are about",
            );
            return None;
        };
        let set = if matches!(about, About::Area(_)) { "rehab-area" } else { "rule-topic" };
        self.known(&title, set, about.code());
        let gate = self.condition(&title, action);
        let mut rules = Vec::new();
        for inner in list(&action["action"]) {
            self.rule(inner, &[], 0, &mut rules);
        }
        Some(Group { title, about, gate, rules })
    }

    /// A rule and those inside it, for which its condition must hold too.
    fn rule(&mut self, action: &Value, around: &[Arc<Condition>], depth: usize, rules: &mut Vec<Rule>) {
        let Some(id) = action["id"].as_str().map(str::to_owned) else {
            let title = action["description"].as_str().unwrap_or_default();
            return self.wrong(title, "action.id", "saknas", "is missing");
        };
        if depth > DEEPEST {
            return self.wrong(&id, "action.action", "är för djupt", "is too deep");
        }
        if action["prefix"] != id.as_str() {
            self.wrong(&id, "action.prefix", "är inte regelns id", "is not the rule's id");
        }
        let mut when = around.to_vec();
        when.extend(self.condition(&id, action));
        let kind = codes(&action["code"], "rule-kind").pop().unwrap_or_default();
        self.known(&id, "rule-kind", &kind);
        let strength = codes(&action["code"], "rule-strength").pop().unwrap_or_default();
        self.known(&id, "rule-strength", &strength);
        let text = |name: &str| action[name].as_str().map(str::to_owned);
        let source = list(&action["documentation"]).find_map(|d| d["label"].as_str()).map(str::to_owned);
        for (element, is_there) in
            [("action.description", action["description"].is_string()), ("action.documentation", source.is_some())]
        {
            if !is_there {
                self.wrong(&id, element, "saknas: orden och var de står", "is missing: the words and where they stand");
            }
        }
        let mut outcomes: Vec<Outcome> =
            self.targets(&id, action).into_iter().map(|to| Outcome { to, when: None, says: None }).collect();
        let mut offers = Vec::new();
        let mut inner = Vec::new();
        for part in list(&action["action"]) {
            let forms = codes(&part["code"], "intervention-form");
            if part["id"].is_string() {
                inner.push(part);
            } else if let Some(form) = forms.into_iter().next() {
                self.known(&id, "intervention-form", &form);
                let weeks = part["timingDuration"]["value"].as_u64().filter(|_| part["timingDuration"]["code"] == "wk");
                let title = part["title"].as_str().unwrap_or(&form).to_owned();
                offers.push(Offer { form, title, weeks: weeks.and_then(|n| u32::try_from(n).ok()) });
            } else {
                let condition = self.condition(&id, part);
                let says = part["textEquivalent"].as_str().map(str::to_owned);
                let targets = self.targets(&id, part);
                let outcome = |to| Outcome { to, when: condition.clone(), says: says.clone() };
                outcomes.extend(targets.into_iter().map(outcome));
            }
        }
        let sets_aside = list(&action["extension"])
            .filter(|e| e["url"] == format!("{BASE}/StructureDefinition/sets-aside"))
            .filter_map(|e| e["valueString"].as_str().map(str::to_owned))
            .collect();
        let professions = list(&action["participant"]).map(|p| &p["role"]).map(|role| Profession {
            code: list(&role["coding"]).find_map(|c| c["code"].as_str()).map(str::to_owned),
            text: role["text"].as_str().map(str::to_owned),
        });
        let professions: Vec<Profession> = professions.collect();
        for code in professions.iter().filter_map(|p| p.code.as_deref()) {
            self.known(&id, "profession", code);
        }
        let includes: Vec<String> = list(&action["output"])
            .flat_map(|output| list(&output["codeFilter"]))
            .flat_map(|filter| codes(&json!([{ "coding": filter["code"] }]), "rehab-area"))
            .collect();
        for code in &includes {
            self.known(&id, "rehab-area", code);
        }
        let Some(kind) = Kind::parse(&kind) else { return };
        if kind == Kind::Criterion && outcomes.is_empty() && inner.is_empty() {
            self.wrong(&id, "action.code", "pekar inte ut någon ansvarig", "points at nobody");
        }
        let is_told = text("textEquivalent").is_some() || outcomes.iter().all(|outcome| outcome.says.is_some());
        if kind == Kind::Criterion && !is_told {
            let (sv, en) =
                ("saknas: vad regeln kommer till, på svenska", "is missing: what the rule comes to, in Swedish");
            self.wrong(&id, "action.textEquivalent", sv, en);
        }
        let (quote, says) = (text("description").unwrap_or_default(), text("textEquivalent"));
        let source = source.unwrap_or_default();
        let around = when.clone();
        let rule =
            Rule { id, kind, strength, quote, source, says, when, outcomes, sets_aside, offers, professions, includes };
        rules.push(rule);
        for part in inner {
            self.rule(part, &around, depth + 1, rules);
        }
    }

    fn targets(&mut self, id: &str, action: &Value) -> Vec<Target> {
        let mut targets = Vec::new();
        for concept in list(&action["code"]) {
            let Some(code) = of_system(concept, "responsibility").pop() else { continue };
            self.known(id, "responsibility", &code);
            let Some(responsible) = Responsible::parse(&code).filter(|r| r.is_target()) else {
                self.wrong(id, "action.code", "är ett svar och inget mål", "is an answer and no target");
                continue;
            };
            let text = concept["text"].as_str().map(str::to_owned);
            if matches!(responsible, Responsible::Other | Responsible::NotRegulated) && text.is_none() {
                self.wrong(id, "action.code.text", "saknas: vart eller var", "is missing: whither or where");
            }
            let destination = of_system(concept, "other-destination").pop();
            if let Some(destination) = &destination {
                self.known(id, "other-destination", destination);
            }
            targets.push(Target { responsible, destination, text });
        }
        targets
    }

    fn condition(&mut self, id: &str, action: &Value) -> Option<Arc<Condition>> {
        let conditions = action["condition"].as_array()?;
        let [condition] = conditions.as_slice() else {
            self.wrong(id, "action.condition", "ska vara en", "should be one");
            return None;
        };
        let expression = &condition["expression"];
        if condition["kind"] != "applicability" || expression["language"] != "text/fhirpath" {
            let (sv, en) = ("ska vara applicability i text/fhirpath", "should be applicability in text/fhirpath");
            self.wrong(id, "action.condition", sv, en);
            return None;
        }
        let text = expression["expression"].as_str().unwrap_or_default();
        match Condition::compile(text, self.inputs.fields()) {
            Ok(condition) => Some(Arc::new(condition)),
            Err(refusal) => {
                let near = match &refusal {
                    Refusal::Element(name) => hint(nearest(name, self.inputs.fields().names())).1,
                    _ => String::new(),
                };
                let en = format!("cannot be judged: {refusal}{near}");
                self.wrong(id, "action.condition", "går inte att pröva", &en);
                None
            }
        }
    }

    /// What can be seen only when all rules are read.
    fn whole(&mut self, set: &RuleSet) {
        let mut seen = BTreeSet::new();
        for rule in set.rules() {
            if !seen.insert(rule.id.as_str()) {
                self.wrong(&rule.id, "action.id", "förekommer två gånger", "occurs twice");
            }
        }
        let mut abouts = BTreeSet::new();
        for group in &set.groups {
            if !abouts.insert(group.about.code()) {
                self.wrong(&group.title, "action.code", "har en grupp till", "has another group");
            }
            let aside: BTreeMap<&str, &[String]> =
                group.rules.iter().map(|rule| (rule.id.as_str(), rule.sets_aside.as_slice())).collect();
            for rule in &group.rules {
                for other in rule.sets_aside.iter().filter(|other| !aside.contains_key(other.as_str())) {
                    let (sv, en) = hint(nearest(other, aside.keys().copied()));
                    self.wrong(
                        &rule.id,
                        "action.extension",
                        &format!("ingen regel {other} i gruppen{sv}"),
                        &format!("no rule {other} in the group{en}"),
                    );
                }
                if reaches(&aside, &rule.id, &rule.id, &mut BTreeSet::new()) {
                    self.wrong(&rule.id, "action.extension", "sätter sig själv åt sidan", "sets itself aside");
                }
            }
        }
    }
}

/// Whether a rule sets another aside, straight or by way of others.
fn reaches<'a>(aside: &BTreeMap<&'a str, &'a [String]>, from: &str, to: &str, seen: &mut BTreeSet<&'a str>) -> bool {
    let Some((_, others)) = aside.get_key_value(from) else { return false };
    others.iter().any(|other| other == to || seen.insert(other) && reaches(aside, other, to, seen))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The codes of a system of ours among several concepts.
fn codes(concepts: &Value, system: &str) -> Vec<String> {
    list(concepts).flat_map(|concept| of_system(concept, system)).collect()
}

fn of_system(concept: &Value, system: &str) -> Vec<String> {
    let url = format!("{BASE}/CodeSystem/{system}");
    list(&concept["coding"])
        .filter(|c| c["system"] == url.as_str())
        .filter_map(|c| c["code"].as_str())
        .map(str::to_owned)
        .collect()
}
