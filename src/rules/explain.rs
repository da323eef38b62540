//! An answer as a nurse reads it, in Swedish: who, because of what, and what that makes possible.

use super::assessment::Inputs;
use super::judge::Finding;
use super::set::{Outcome, Responsible, Rule};

/// Who is responsible, as the first words of a sentence.
pub fn named(responsible: Responsible) -> &'static str {
    match responsible {
        Responsible::Specialist => "Specialistvård",
        Responsible::Primary => "Primärvård",
        Responsible::Shared => "Gemensamt ansvar för specialistvård och primärvård",
        Responsible::Other => "Annan mottagare",
        Responsible::NotRegulated => "Regleras inte här",
        Responsible::Undetermined => "Kan inte avgöras ännu",
        Responsible::Conflict => "Motstridigt",
        Responsible::NoNeed => "Inget behov är bedömt",
    }
}

/// The whole explanation of an area; none for a topic.
pub fn because(finding: &Finding<'_>, inputs: &Inputs) -> Option<String> {
    let mut text = answer(finding, inputs)?;
    let offers: Vec<String> = finding.offers.iter().flat_map(|(rule, _)| offered(rule)).collect();
    if !offers.is_empty() {
        text.push_str(&format!(" Kan erbjudas: {}.", unique(offers).join(", ")));
    }
    let professions = finding.professions.iter().filter_map(|(_, profession)| profession.text.clone());
    let professions = unique(professions.collect());
    if !professions.is_empty() {
        text.push_str(&format!(" Yrkesgrupper: {}.", professions.join(", ")));
    }
    Some(text)
}

fn answer(finding: &Finding<'_>, inputs: &Inputs) -> Option<String> {
    let responsible = finding.responsible?;
    let reasons = finding.fired.iter().map(|(rule, outcome)| reason(rule, outcome)).collect::<Vec<_>>().join("; ");
    Some(match responsible {
        Responsible::NoNeed => format!("{}.", named(responsible)),
        Responsible::Specialist | Responsible::Primary | Responsible::Shared => {
            format!("{}, därför att {reasons}.", named(responsible))
        }
        Responsible::Other => {
            let to = finding.target.and_then(|to| to.text.as_deref()).unwrap_or(named(responsible));
            format!("{to}, därför att {reasons}.")
        }
        Responsible::NotRegulated => match (finding.target.and_then(|to| to.text.as_deref()), finding.fired.last()) {
            (Some(place), Some((rule, _))) => {
                format!("Regleras inte här utan i {place} ({}: ”{}”).", rule.id, rule.quote)
            }
            _ => "Regleras inte här: reglerna säger inget om det.".to_owned(),
        },
        Responsible::Conflict => {
            let sides = finding.by_side();
            let side = |(side, rules): (&Responsible, &Vec<(&Rule, &Outcome)>)| {
                let reasons = rules.iter().map(|(rule, outcome)| reason(rule, outcome)).collect::<Vec<_>>().join("; ");
                format!("för {} talar att {reasons}", small(named(*side)))
            };
            let sides = sides.iter().map(side).collect::<Vec<_>>().join(". Men ");
            format!("{}, en människa får avgöra: {sides}.", named(responsible))
        }
        Responsible::Undetermined => {
            let missing = finding.missing.iter().filter_map(|name| inputs.get(name)).map(|input| input.sv.as_str());
            let missing = missing.collect::<Vec<_>>().join("; ");
            let so_far = if finding.points_to.is_empty() {
                String::new()
            } else {
                let to = finding.points_to.iter().map(|to| small(named(*to))).collect::<Vec<_>>().join(" och för ");
                format!(" Det som är känt talar för {to}: {reasons}.")
            };
            format!("{}. Besked saknas: {missing}.{so_far}", named(responsible))
        }
    })
}

fn reason(rule: &Rule, outcome: &Outcome) -> String {
    let says = outcome.says.as_ref().or(rule.says.as_ref()).unwrap_or(&rule.quote);
    format!("{says} ({}: ”{}”)", rule.id, rule.quote)
}

fn offered(rule: &Rule) -> Vec<String> {
    if rule.offers.is_empty() {
        return rule.says.iter().cloned().collect();
    }
    let one = |offer: &super::set::Offer| match offer.weeks {
        Some(weeks) => format!("{}, {weeks} veckor", offer.title),
        None => offer.title.clone(),
    };
    rule.offers.iter().map(one).collect()
}

fn unique(list: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for one in list {
        if !out.contains(&one) {
            out.push(one);
        }
    }
    out
}

fn small(text: &str) -> String {
    text.to_lowercase()
}
