//! A rule set as a page that a clinician reads row by row, in Swedish: what each rule says, when it counts, what it asks to know,
//! where it points, and which rule sets which aside. Made of the data, so that it cannot say anything else.

use super::assessment::Inputs;
use super::explain::named;
use super::set::{Group, Kind, Rule, RuleSet};

/// The page in Markdown.
pub fn page(set: &RuleSet, inputs: &Inputs) -> String {
    let mut text = format!("# {}\n\n", set.title);
    let document = set.document.as_deref().unwrap_or(&set.id);
    text.push_str(&format!("{document}, version {}. ", set.version));
    text.push_str(
        "Gjord ur reglerna själva (`vardkedja rules`). En regel utan villkor gäller alltid; flera skäl som pekar åt olika håll är ett \
         motstridigt svar som en människa avgör, om ingen av dem sätter den andra åt sidan. Det som ingen har sagt är okänt, aldrig nej.\n",
    );
    for group in &set.groups {
        text.push_str(&section(set, group, inputs));
    }
    text
}

fn section(set: &RuleSet, group: &Group, inputs: &Inputs) -> String {
    let mut text = format!("\n## {}\n\n", group.title);
    if let Some(gate) = &group.gate {
        let asked = asked(&gate.fields().into_iter().collect::<Vec<_>>(), inputs);
        text.push_str(&format!("Det finns något att ansvara för beroende på {asked}.\n\n"));
    }
    text.push_str(
        "| regel | riktlinjens ord | vad den gör | gäller när | beror på | sätter åt sidan | sätts åt sidan av |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    for rule in &group.rules {
        let aside: Vec<&str> =
            set.rules().filter(|other| other.sets_aside.contains(&rule.id)).map(|other| other.id.as_str()).collect();
        let fields: Vec<String> = {
            let own = rule.when.iter().flat_map(|condition| condition.fields());
            let pointed = rule.outcomes.iter().filter_map(|outcome| outcome.when.as_ref()).flat_map(|c| c.fields());
            let mut all: Vec<String> = own.chain(pointed).collect();
            all.sort();
            all.dedup();
            all
        };
        let cells = [
            rule.id.clone(),
            format!("”{}” ({})", rule.quote, rule.source),
            does(rule),
            rule.says
                .clone()
                .unwrap_or_else(|| if rule.is_conditional() { String::new() } else { "alltid".to_owned() }),
            asked(&fields, inputs),
            rule.sets_aside.join(", "),
            aside.join(", "),
        ];
        text.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    text
}

/// What kind of rule it is, and where it points.
fn does(rule: &Rule) -> String {
    let kind = match rule.kind {
        Kind::Criterion => "skäl för",
        Kind::Offer => "kan erbjudas",
        Kind::Profession => "yrkesgrupp",
        Kind::Duty => "skyldighet",
        Kind::Info => "upplysning",
        Kind::Reference => "hänvisning",
    };
    let mut to: Vec<String> = Vec::new();
    for outcome in &rule.outcomes {
        let target = outcome.to.text.clone().unwrap_or_else(|| named(outcome.to.responsible).to_lowercase());
        let target = match &outcome.says {
            Some(says) => format!("{target} ({says})"),
            None => target,
        };
        if !to.contains(&target) {
            to.push(target);
        }
    }
    let offers = rule.offers.iter().map(|offer| match offer.weeks {
        Some(weeks) => format!("{}, {weeks} veckor", offer.title),
        None => offer.title.clone(),
    });
    let professions = rule.professions.iter().filter_map(|profession| profession.text.clone());
    let all: Vec<String> = offers.chain(professions).chain(to).collect();
    if all.is_empty() { kind.to_owned() } else { format!("{kind}: {}", all.join("; ")) }
}

/// The fields in words.
fn asked(fields: &[String], inputs: &Inputs) -> String {
    let word = |name: &String| inputs.get(name).map_or_else(|| name.clone(), |input| input.sv.clone());
    fields.iter().map(word).collect::<Vec<_>>().join("; ")
}
