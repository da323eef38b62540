//! What was judged as JSON: for each area the answer, the rules with their words, and what is missing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::assessment::{Assessment, Inputs};
use super::explain::because;
use super::judge::{Finding, Judged};
use super::set::{Rule, RuleSet, Target};

/// The answer of `POST /v1/responsibility`.
pub fn shown(judged: &Judged<'_>, inputs: &Inputs, assessment: &Assessment) -> Value {
    let (areas, topics): (Vec<_>, Vec<_>) = judged.findings.iter().partition(|finding| finding.group.is_area());
    json!({
        "asOf": assessment.as_of.to_string(),
        "ruleSet": shown_set(judged.set),
        "areas": areas.into_iter().map(|finding| area(finding, inputs)).collect::<Vec<_>>(),
        "topics": topics.into_iter().map(|finding| topic(finding, inputs)).collect::<Vec<_>>(),
        "notRead": judged.unread,
    })
}

/// Which rules were asked.
pub fn shown_set(set: &RuleSet) -> Value {
    let mut shown = json!({
        "id": set.id, "url": set.url, "version": set.version, "title": set.title, "regions": set.regions,
    });
    if let Some(document) = &set.document {
        shown["document"] = json!(document);
    }
    shown
}

fn area(finding: &Finding<'_>, inputs: &Inputs) -> Value {
    let mut shown = Map::new();
    shown.insert("area".into(), json!(finding.group.about.code()));
    shown.insert("title".into(), json!(finding.group.title));
    shown.insert("responsible".into(), json!(finding.responsible.map(|one| one.code())));
    if let Some(destination) = finding.target.filter(|to| to.text.is_some()) {
        shown.insert("destination".into(), to(destination));
    }
    shown.insert("because".into(), json!(because(finding, inputs)));
    let fired = finding.fired.iter().map(|(fired, outcome)| {
        let mut fired = rule(fired);
        fired["pointsTo"] = json!(outcome.to.responsible.code());
        fired
    });
    shown.insert("fired".into(), fired.collect());
    let aside = finding.aside.iter().map(|aside| {
        let mut shown = rule(aside.rule);
        shown["by"] = json!(aside.by);
        shown
    });
    shown.insert("setAside".into(), aside.collect());
    shown.insert("missing".into(), missing(&finding.missing, inputs));
    let points_to: Vec<&str> = finding.points_to.iter().map(|one| one.code()).collect();
    shown.insert("pointsTo".into(), json!(points_to));
    beside(finding, inputs, &mut shown);
    Value::Object(shown)
}

fn topic(finding: &Finding<'_>, inputs: &Inputs) -> Value {
    let mut shown = Map::new();
    shown.insert("topic".into(), json!(finding.group.about.code()));
    shown.insert("title".into(), json!(finding.group.title));
    beside(finding, inputs, &mut shown);
    Value::Object(shown)
}

/// What follows beside who is responsible.
fn beside(finding: &Finding<'_>, inputs: &Inputs, shown: &mut Map<String, Value>) {
    let unjudged = finding.unjudged.iter().map(|unjudged| {
        let mut shown = rule(unjudged.rule);
        shown["missing"] = missing(&unjudged.missing, inputs);
        shown
    });
    shown.insert("unjudged".into(), unjudged.collect());
    let mut offers = Vec::new();
    for (of, all) in &finding.offers {
        if all.is_empty() {
            offers.push(json!({ "rule": of.id, "text": of.says.as_ref().unwrap_or(&of.quote) }));
        }
        for offer in *all {
            let mut one = json!({ "rule": of.id, "form": offer.form, "text": offer.title });
            if let Some(weeks) = offer.weeks {
                one["weeks"] = json!(weeks);
            }
            offers.push(one);
        }
    }
    shown.insert("offers".into(), json!(offers));
    let professions = finding.professions.iter().map(|(of, profession)| {
        let mut one = json!({ "rule": of.id, "text": profession.text });
        if let Some(code) = &profession.code {
            one["profession"] = json!(code);
        }
        one
    });
    shown.insert("professions".into(), professions.collect());
    shown.insert("duties".into(), finding.duties.iter().map(|duty| rule(duty)).collect());
    shown.insert("cited".into(), finding.cited.iter().map(|cited| rule(cited)).collect());
}

/// A rule with its words and where they stand.
fn rule(of: &Rule) -> Value {
    let mut shown = json!({
        "id": of.id, "kind": of.kind.code(), "strength": of.strength, "quote": of.quote, "source": of.source,
    });
    if let Some(says) = &of.says {
        shown["says"] = json!(says);
    }
    shown
}

fn to(target: &Target) -> Value {
    let mut shown = json!({ "text": target.text });
    if let Some(code) = &target.destination {
        shown["code"] = json!(code);
    }
    shown
}

fn missing(names: &BTreeSet<String>, inputs: &Inputs) -> Value {
    let one = |name: &String| {
        let input = inputs.get(name);
        json!({ "field": name, "sv": input.map(|i| i.sv.as_str()), "en": input.map(|i| i.en.as_str()) })
    };
    names.iter().map(one).collect()
}
