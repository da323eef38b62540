//! The answer as a FHIR CarePlan: one activity for each area that needs something, with its rules.
//!
//! R4's `$apply` answers with a CarePlan or a RequestGroup. A CarePlan was chosen, because it is what our profiles, partners and
//! readers know, and because nothing here is chosen among or ordered in time, which is what a RequestGroup adds. It is a
//! proposal that nobody has kept.

use serde_json::{Value, json};

use super::assessment::{Assessment, Inputs};
use super::explain::because;
use super::judge::{Finding, Judged};
use super::set::{Responsible, Rule};
use crate::fhir::canonical::BASE;

/// The CarePlan of what was judged. `subject` is a Reference.
pub fn care_plan(judged: &Judged<'_>, inputs: &Inputs, assessment: &Assessment, subject: Value) -> Value {
    let set = judged.set;
    let mut plan = json!({
        "resourceType": "CarePlan",
        "meta": { "profile": [format!("{BASE}/StructureDefinition/responsibility-proposal")] },
        "instantiatesCanonical": [set.canonical()],
        "status": "draft",
        "intent": "proposal",
        "title": format!("Vem som ansvarar för vad enligt {} version {}", set.title, set.version),
        "subject": subject,
        "created": assessment.as_of.to_string(),
    });
    let activities: Vec<Value> =
        judged.findings.iter().filter_map(|finding| activity(finding, inputs, &set.url)).collect();
    // FHIR has no empty lists.
    if !activities.is_empty() {
        plan["activity"] = json!(activities);
    }
    let topics = judged.findings.iter().filter(|finding| !finding.group.is_area());
    let notes: Vec<Value> = topics
        .flat_map(|finding| finding.duties.iter().chain(&finding.cited).map(move |rule| (finding, rule)))
        .map(|(finding, rule)| json!({ "text": format!("{}: {}", finding.group.title, words(rule)) }))
        .collect();
    if !notes.is_empty() {
        plan["note"] = json!(notes);
    }
    plan
}

fn activity(finding: &Finding<'_>, inputs: &Inputs, url: &str) -> Option<Value> {
    let responsible = finding.responsible?;
    let area = format!("{BASE}/CodeSystem/rehab-area");
    let rules = || finding.fired.iter().map(|(rule, _)| *rule).chain(finding.duties.iter().copied());
    let mut extensions =
        vec![json!({ "url": format!("{BASE}/StructureDefinition/responsibility"), "valueCode": responsible.code() })];
    if matches!(responsible, Responsible::Specialist | Responsible::Primary) {
        let level = format!("{BASE}/StructureDefinition/responsible-level");
        extensions.push(json!({ "url": level, "valueCode": responsible.code() }));
    }
    for (_, offers) in &finding.offers {
        for offer in *offers {
            let text = match offer.weeks {
                Some(weeks) => format!("{}, {weeks} veckor", offer.title),
                None => offer.title.clone(),
            };
            let form = json!({
                "coding": [{ "system": format!("{BASE}/CodeSystem/intervention-form"), "code": offer.form }],
                "text": text,
            });
            let url = format!("{BASE}/StructureDefinition/offered-form");
            extensions.push(json!({ "url": url, "valueCodeableConcept": form }));
        }
    }
    for name in &finding.missing {
        let url = format!("{BASE}/StructureDefinition/missing-input");
        extensions.push(json!({ "url": url, "valueCode": name }));
    }
    let mut reasons = vec![json!({
        "coding": [{ "system": area, "code": finding.group.about.code() }],
        "text": finding.group.title,
    })];
    reasons.extend(rules().map(|rule| json!({ "text": words(rule) })));
    let mut detail = json!({
        "extension": extensions,
        "reasonCode": reasons,
        "status": if responsible == Responsible::NoNeed { "cancelled" } else { "not-started" },
        "description": because(finding, inputs),
    });
    let rules: Vec<String> = rules().map(|rule| format!("{url}#{}", rule.id)).collect();
    if !rules.is_empty() {
        detail["instantiatesUri"] = json!(rules);
    }
    Some(json!({ "detail": detail }))
}

/// A rule's name, words and place, as one line.
fn words(rule: &Rule) -> String {
    format!("{}: ”{}” ({})", rule.id, rule.quote, rule.source)
}
